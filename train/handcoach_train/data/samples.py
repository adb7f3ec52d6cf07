"""Labelled hands in one shape, whatever they come from, and their split by whole groups."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from handcoach import places
from handcoach_train.errors import TrainError

Floats = NDArray[np.float32]


@dataclass
class Samples:
    """N labelled hands.

    Attributes:
        files: picture of each. points (N, 21, 2): pixels. joints (N, 21, 3): camera axes, metres in data
        sets, NaN where unknown. K (N, 3, 3): intrinsics, NaN where unknown. right (N,): a right hand.
        group (N,): what must not be split between training and validation (a sequence, a recording).
        M (N, 4, 4): world to camera (paper eq. 1); the identity where the world is the camera's.
        frame (N,): id of the moment, the same for all cameras and backgrounds. camera (N,): its id.
        subject (N,): whose hand, "" where nobody knows.
        skipped: how many pictures were left out while reading, by reason.
        lifted (N,): the joints are a guess (`lifting.py`), not the truth.
    """

    files: list[Path]
    points: Floats
    joints: Floats
    K: Floats
    right: NDArray[np.bool_]
    group: NDArray[np.str_]
    M: Floats = None  # type: ignore[assignment]  # what is not given is filled in below
    frame: NDArray[np.str_] = None  # type: ignore[assignment]
    camera: NDArray[np.str_] = None  # type: ignore[assignment]
    subject: NDArray[np.str_] = None  # type: ignore[assignment]
    skipped: Counter[str] = field(default_factory=Counter)
    lifted: NDArray[np.bool_] = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        n = len(self.files)
        if self.M is None:
            self.M = np.tile(np.eye(4, dtype=np.float32), (n, 1, 1))
        if self.frame is None:
            self.frame = np.array([str(f) for f in self.files], dtype=np.str_)
        if self.camera is None:
            self.camera = np.full(n, "", dtype=np.str_)
        if self.subject is None:
            self.subject = np.full(n, "", dtype=np.str_)
        if self.lifted is None:
            self.lifted = np.zeros(n, bool)
        for name in _ROWS:
            if len(getattr(self, name)) != n:
                raise ValueError(f"{name} must have {n} rows, not {len(getattr(self, name))}")

    def __len__(self) -> int:
        return len(self.files)

    def take(self, index: NDArray[Any]) -> Samples:
        """The samples at these numbers, or where a mask is true."""
        rows = np.flatnonzero(index) if index.dtype == bool else index
        return Samples([self.files[i] for i in rows], **{n: getattr(self, n)[rows] for n in _ROWS})


_ROWS = ("points", "joints", "K", "right", "group", "M", "frame", "camera", "subject", "lifted")


def join(parts: list[Samples]) -> Samples:
    """All samples of several sources, in order."""
    if not parts:
        raise TrainError("No training data was given.")
    return Samples(
        [f for p in parts for f in p.files],
        **{n: np.concatenate([getattr(p, n) for p in parts]) for n in _ROWS},
        skipped=sum((p.skipped for p in parts), Counter()),
    )


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


def write_json(file: Path, value: Any) -> None:
    """Written beside and renamed, so that nothing is lost half-way."""
    places.save(file, json.dumps(value).encode())


def read_image(file: Path) -> NDArray[np.uint8]:
    """uint8 RGB (H, W, 3).

    Raises:
        TrainError: names a file that is missing, no picture, or cut short: decoders draw the rest of a JPEG
            that was not copied to its end in grey, and say nothing.
    """
    try:
        content = np.frombuffer(file.read_bytes(), np.uint8)
    except OSError as error:
        raise TrainError(f"{file} is missing or not a picture.") from error
    image = cv2.imdecode(content, cv2.IMREAD_COLOR) if content.size else None
    if image is None:
        raise TrainError(f"{file} is missing or not a picture.")
    if content[:2].tobytes() == b"\xff\xd8" and content[-_TAIL:].tobytes().rfind(b"\xff\xd9") < 0:
        raise TrainError(f"{file} is cut short: copy it again.")
    return np.asarray(image[..., ::-1])


_TAIL = 4096  # some cameras write a little after the end mark of a JPEG


class Draw(NamedTuple):
    """Which item, for which place in the training, and how large: what a sampler asks for.

    Attributes:
        place: a number that no other draw of the training has (the step times the batch, and the row).
        size: side of the picture in pixels; None: the data set's own.
    """

    item: int
    place: int = 0
    size: int | None = None


class Drawn(torch.utils.data.Dataset):
    """Items that are changed at random: item i at a place of the training depends on (seed, place, i) alone.

    A training that stops and goes on, or that loads with other workers, then meets the same pictures.

    Attributes:
        train: changed at random; else every item is the same at every place, whatever the seed.
    """

    def __init__(self, train: bool, seed: int = 0) -> None:
        self.train, self.seed = train, seed

    def __getitem__(self, draw: int | Draw) -> dict[str, Any]:
        draw = draw if isinstance(draw, Draw) else Draw(draw)
        key = [self.seed, draw.place, draw.item] if self.train else [7, draw.item]
        return self.item(draw.item, np.random.default_rng(key), draw.size)

    def item(self, i: int, rng: np.random.Generator, size: int | None = None) -> dict[str, Any]:
        """Item i with these random numbers, as a picture of this side (None: the usual one)."""
        raise NotImplementedError
