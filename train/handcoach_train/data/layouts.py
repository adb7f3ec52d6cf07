"""Folders with labels on disk: HanCo (real or rendered) and rendered full frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from handcoach_train.data.samples import Samples, read_json
from handcoach_train.errors import TrainError


def load_hanco(root: Path, variant: str = "rgb_merged") -> Samples:
    """Real HanCo or a rendering of ours; right hands only, as HanCo says.

    World to camera by M (paper eq. 1): x_cam = M x_world; pixels by K.

    Raises:
        TrainError: no such folder or variant, a label that is missing or damaged.
    """
    root = Path(root)
    if not (root / "xyz").is_dir() or not (root / variant).is_dir():
        raise TrainError(f"{root} is not in the HanCo layout: it needs {variant}/, xyz/ and calib/.")
    files, joints, ks, groups = [], [], [], []
    for label in sorted((root / "xyz").glob("*/*.json")):
        sequence, frame = label.parent.name, label.stem
        truth = read_json(label)
        calibration = read_json(root / "calib" / sequence / label.name)
        try:
            world = np.asarray(truth, dtype=np.float64)
            k = np.asarray(calibration["K"], dtype=np.float64)
            m = np.asarray(calibration["M"], dtype=np.float64)
        except (KeyError, TypeError, ValueError):
            world = k = m = np.empty(0)
        if world.shape != (21, 3) or k.shape != (len(k), 3, 3) or m.shape != (len(k), 4, 4):
            raise TrainError(f"{label} does not hold 21 joints with their cameras: the data set is damaged.")
        for camera in range(len(k)):
            file = root / variant / sequence / f"cam{camera}" / f"{frame}.jpg"
            files.append(file)
            joints.append(world @ m[camera, :3, :3].T + m[camera, :3, 3])
            ks.append(k[camera])
            groups.append(f"{root.name}/{sequence}")
    if not files:
        raise TrainError(f"{root} holds no labelled frames.")
    joints_, k_ = np.asarray(joints), np.asarray(ks)
    pixels = np.einsum("nij,npj->npi", k_, joints_)
    points = pixels[..., :2] / pixels[..., 2:]
    n = len(files)
    return Samples(files, points.astype(np.float32), joints_.astype(np.float32), k_.astype(np.float32),
                   np.ones(n, bool), np.array(groups))  # fmt: skip


def load_frames(root: Path) -> list[dict[str, Any]]:
    """Rendered full frames: a list of {file, size, hands: [{side, points, ...}], group}."""
    root = Path(root)
    labels = sorted((root / "labels").glob("*.json"))
    if not labels:
        raise TrainError(f"{root} holds no full frames: render some with --full-frames.")
    frames = []
    for label in labels:
        frame = read_json(label)
        frame["file"] = root / "frames" / f"{label.stem}.jpg"
        frame["group"] = f"{root.name}/{label.stem}"
        frames.append(frame)
    return frames
