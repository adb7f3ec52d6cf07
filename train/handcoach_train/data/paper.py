"""The data set and the splits of the paper (Skøt & Wolf 2025, section 4.2 and 5.1)."""

from __future__ import annotations

import math
from typing import Any, Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from handcoach.hand import MIDDLE_MCP, WRIST
from handcoach_train.augment import DRAWS
from handcoach_train.data.samples import Drawn, Samples, read_image
from handcoach_train.errors import TrainError

Split = Literal["sequence", "image", "subject"]


class HandDataset(Drawn):
    """Whole pictures with normalised landmarks in the camera's axes: items as in section 4.2.

    An item: `image` float32 RGB (3, S, S), 0..1, the picture resized; `landmarks` (63,), wrist at the origin,
    wrist to middle MCP 1 (eq. 2-4), in the order of `handcoach.hand.JOINTS`; `root` (3,), the wrist, and
    `scale` (), both in the unit of the joints (metres), so that joints = landmarks * scale + root; `K` (3, 3)
    for the resized picture; `M` (4, 4), world to camera (eq. 1); `hand`, left or right; `frame` and `camera`,
    their ids. For training also `draw` (DRAWS,), the random numbers from which `augment` makes its changes on
    the device.

    Args:
        size: side S of the pictures.
        as_bytes: pictures as uint8 0..255, a quarter of what travels to the device.

    Raises:
        TrainError: a hand without joints in 3D, without K or without a length.
    """

    def __init__(
        self, samples: Samples, size: int = 224, train: bool = False, seed: int = 0, as_bytes: bool = False
    ) -> None:
        super().__init__(train, seed)
        self.samples, self.size, self.as_bytes = samples, size, as_bytes
        # float64 as in `handcoach.hand.normalise`: the wrist is subtracted from joints far away.
        joints = samples.joints.astype(np.float64)
        root = joints[:, WRIST]
        scale = np.linalg.norm(joints[:, MIDDLE_MCP] - root, axis=1)
        bad = ~(np.isfinite(joints).all((1, 2)) & np.isfinite(samples.K).all((1, 2)) & (scale > 1e-9))
        if bad.any():
            raise TrainError(
                f"{samples.files[int(bad.argmax())]} has no landmarks in 3D with intrinsics "
                f"({int(bad.sum())} of {len(samples)} pictures): the paper's data set needs them."
            )
        landmarks = (joints - root[:, None]) / scale[:, None, None]
        self.landmarks = landmarks.reshape(len(samples), 63).astype(np.float32)
        self.root, self.scale = root.astype(np.float32), scale.astype(np.float32)

    def __len__(self) -> int:
        return len(self.samples)

    def item(self, i: int, rng: np.random.Generator, size: int | None = None) -> dict[str, Any]:
        size = size or self.size
        s = self.samples
        picture = read_image(s.files[i])
        h, w = picture.shape[:2]
        picture = squared(picture, size)
        image = torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))
        item = {
            "image": image if self.as_bytes else image.float() / 255,
            "landmarks": self.landmarks[i],
            "root": self.root[i],
            "scale": self.scale[i],
            "K": s.K[i] * np.array([[size / w], [size / h], [1]], np.float32),
            "M": s.M[i],
            "hand": "right" if s.right[i] else "left",
            "frame": str(s.frame[i]),
            "camera": str(s.camera[i]),
        }
        if self.train:
            item["draw"] = rng.random(DRAWS, dtype=np.float32)
        return item


def squared(picture: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """A picture (H, W, 3), stretched to a square as the paper's network sees it."""
    if picture.shape[:2] == (size, size):
        return picture
    how = cv2.INTER_AREA if size < max(picture.shape[:2]) else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, (size, size), interpolation=how), np.uint8)


def split_by(
    samples: Samples,
    how: Split = "sequence",
    shares: tuple[float, float, float] = (0.8, 0.1, 0.1),
    seed: int = 42,
) -> tuple[Samples, Samples, Samples]:
    """Training, validation and test.

    The paper takes whole numbers by floor, the rest is the test (section 5.1, seed 42). Its split is by
    `image`: it leaks, since the same hand at the same moment, seen by another camera, stands on both sides.
    Only the backgrounds of one picture are kept together. `sequence` splits whole groups, `subject` people.

    Raises:
        TrainError: fewer than three pictures, sequences or people; a subject that nobody knows; an unknown
            way.
    """
    if how == "image":
        names = np.char.add(np.char.add(samples.frame, "\n"), samples.camera)
    elif how == "sequence":
        names = samples.group
    elif how == "subject":
        names = samples.subject
        if (names == "").any():
            raise TrainError("The data set does not say whose hands these are: split it by sequence.")
    else:
        raise TrainError(f"A split by {how!r} is unknown: give sequence, image or subject.")
    unique, first, inverse = np.unique(names, return_index=True, return_inverse=True)
    n = len(unique)
    if n < 3:
        raise TrainError(
            f"{n} {how}{'s' * (n != 1)} cannot be split in three: give more data, or another split."
        )
    if any(s < 0 for s in shares) or abs(sum(shares) - 1) > 1e-6:
        raise TrainError(f"The shares {shares} of training, validation and test do not add up to 1.")
    training, validation = (math.floor(s * n + 1e-9) for s in shares[:2])  # 0.29 * 100 is 28.99..., not 28
    # A part may be small, not empty.
    validation = max(1, validation)
    training = min(max(1, training), n - validation - 1)
    # Units in the order of the data, so that the same data set always splits alike.
    rank = np.empty(n, np.int64)
    rank[np.argsort(first)] = np.arange(n)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed)).numpy()
    part: NDArray[np.int64] = np.full(n, 2)
    part[order[:training]] = 0
    part[order[training : training + validation]] = 1
    mine = part[rank[inverse]]
    return samples.take(mine == 0), samples.take(mine == 1), samples.take(mine == 2)
