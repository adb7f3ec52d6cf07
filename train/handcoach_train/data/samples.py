"""Labelled hands in one shape, whatever they come from, and their split by whole groups."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from handcoach_train.errors import TrainError

Floats = NDArray[np.float32]


@dataclass
class Samples:
    """N labelled hands.

    Attributes:
        files: picture of each. points (N, 21, 2): pixels. joints (N, 21, 3): camera axes, any unit, NaN
        where unknown. K (N, 3, 3): intrinsics, NaN where unknown. right (N,): a right hand. group (N,):
        what must not be split between training and validation (a sequence, a recording).
    """

    files: list[Path]
    points: Floats
    joints: Floats
    K: Floats
    right: NDArray[np.bool_]
    group: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.files)

    def take(self, index: NDArray[Any]) -> Samples:
        """The samples at these numbers, or where a mask is true."""
        rows = np.flatnonzero(index) if index.dtype == bool else index
        return Samples([self.files[i] for i in rows], self.points[rows], self.joints[rows], self.K[rows],
                       self.right[rows], self.group[rows])  # fmt: skip


def join(parts: list[Samples]) -> Samples:
    """All samples of several sources, in order."""
    if not parts:
        raise TrainError("No training data was given.")
    return Samples(
        [f for p in parts for f in p.files],
        *(
            np.concatenate([getattr(p, n) for p in parts])
            for n in ("points", "joints", "K", "right", "group")
        ),
    )


def split(samples: Samples, share: float = 0.1, seed: int = 42) -> tuple[Samples, Samples]:
    """Training and validation by whole groups: frames of one sequence never stand on both sides."""
    out = held_out(samples.group, share, seed)
    return samples.take(~out), samples.take(out)


def held_out(groups: NDArray[np.str_], share: float, seed: int = 42) -> NDArray[np.bool_]:
    """Which samples (N,) to keep out of training: whole groups, about this share of them, at least one."""
    names = np.unique(groups)
    kept = np.random.default_rng(seed).permutation(names)[: max(1, round(share * len(names)))]
    return np.isin(groups, kept)


def read_json(file: Path) -> Any:
    try:
        return json.loads(file.read_text())
    except FileNotFoundError as error:
        raise TrainError(f"{file} is missing: the data set is incomplete.") from error
    except ValueError as error:
        raise TrainError(f"{file} is not JSON: the file is damaged.") from error


def read_image(file: Path) -> NDArray[np.uint8]:
    """uint8 RGB (H, W, 3); TrainError names a broken file."""
    image = cv2.imread(str(file), cv2.IMREAD_COLOR)
    if image is None:
        raise TrainError(f"{file} is missing or not a picture.")
    return np.asarray(image[..., ::-1])


class Drawn(torch.utils.data.Dataset):
    """Items that are changed at random: item i of an epoch depends on (seed, epoch, i) alone.

    A training that stops and goes on, or that loads with other workers, then meets the same pictures. The
    epoch lies in shared memory, so that workers which outlive an epoch (`persistent_workers`) see it change.

    Attributes:
        train: changed at random; else every item is the same in every epoch, whatever the seed.
    """

    def __init__(self, train: bool, seed: int = 0) -> None:
        self.train, self.seed = train, seed
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    @property
    def epoch(self) -> int:
        return int(self._epoch)

    @epoch.setter
    def epoch(self, value: int) -> None:
        self._epoch.fill_(value)

    def rng(self, i: int) -> np.random.Generator:
        """The random numbers of item i."""
        return np.random.default_rng([self.seed, self.epoch, i] if self.train else [7, i])
