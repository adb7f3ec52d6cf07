"""Data sets in HanCo's layout, frame by frame: for tests of whatever reads them. No torch here."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike


def write_frame(
    root: Path,
    sequence: int,
    frame: int,
    joints: ArrayLike,
    k: Sequence[ArrayLike],
    m: Sequence[ArrayLike] = (np.eye(4),),
    variants: Sequence[str] = ("rgb_merged",),
    picture: Callable[[Path], object] = Path.touch,
) -> None:
    """One frame of a sequence: its label, and a picture of each camera in each variant.

    Args:
        joints: (21, 3), metres in the world. k: intrinsics (3, 3) of each camera. m: extrinsics (4, 4).
        picture: writes one; without it the files are empty, as long as nobody opens them.
    """
    calibration = {"K": [np.asarray(a).tolist() for a in k], "M": [np.asarray(a).tolist() for a in m]}
    for kind, content in (("xyz", np.asarray(joints).tolist()), ("calib", calibration)):
        file = root / kind / f"{sequence:04d}/{frame:08d}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(content))
    for variant in variants:
        for camera in range(len(k)):
            file = root / variant / f"{sequence:04d}/cam{camera}/{frame:08d}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            picture(file)
