"""Photographs with joints in 3D: how far the landmarks are off, beside those of MediaPipe."""

from __future__ import annotations

import itertools
import zipfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handcoach import camera
from handcoach.crop import crop_around
from handcoach.errors import HandCoachError
from handcoach.hand import Frame
from handcoach.measure import interval, off, pa_mpjpe
from handcoach.tracker import Choice
from handcoach_bench import runner
from handcoach_bench.common import Models, progress, rounded, share

PEER = Path(__file__).with_name("children") / "peer.py"


def read_joints(folder: Path) -> tuple[list[Path], NDArray[np.float64]]:
    """Photographs and their joints (N, 21, 3) in cm.

    Raises:
        HandCoachError: joints.npz is missing or does not fit.
    """
    path = folder / "joints.npz"
    try:
        with np.load(path, allow_pickle=False) as content:
            joints = np.asarray(content["joints_cm"], np.float64)
            names = [str(name) for name in content["image_path"]]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise HandCoachError(
            f"{path} cannot be read ({error}): it must hold joints_cm and image_path."
        ) from error
    if joints.shape != (len(names), 21, 3) or not np.isfinite(joints).all() or not names:
        raise HandCoachError(f"{path} does not fit: joints_cm must be (N, 21, 3) for N photographs.")
    return [folder / name for name in names], joints


def readable(files: Sequence[Path]) -> NDArray[np.bool_]:
    """Which of these pictures (N,) can be decoded: the others are nobody's misses."""
    return np.array([camera.read_still(file) is not None for file in files], bool)


def real_3d(folder: Path, models: Models) -> dict[str, Any]:
    """PA-MPJPE in mm of the landmarks that a patient's program would have, from the finder's own cut-out.

    All are left hands: once as the program sees the side, once as it is. `jittered` reads each found hand
    once more in a cut-out that is `off`.

    Raises:
        HandCoachError: there are no joints, or none of the photographs can be read.
    """
    files, joints = read_joints(folder)
    result: dict[str, Any] = {"photographs": len(files), "unit": "mm", "true_side": "left", "hands": {}}
    hands: tuple[Choice, ...] = ("auto", "left")
    for hand in hands:
        line = models.load(judged=False, still=True, hand=hand)
        errors: dict[str, float | None] = {}
        jittered: dict[str, float | None] = {}
        sides, reasons, unreadable = Counter[str](), Counter[str](), 0
        for i, file in progress(enumerate(files), len(files), f"real-3d, hand {hand}"):
            image = camera.read_still(file)
            if image is None:
                unreadable += 1
                continue
            track, _ = line.step(Frame(image, 0.0, i, str(file)))
            if track.hand is None:
                reasons[track.reason or "no_hand"] += 1
                errors[file.name] = jittered[file.name] = None
                continue
            sides[track.hand.side] += 1
            errors[file.name] = _mm(track.hand.landmarks, joints[i])
            reader = line.tracker.landmarker
            crop = crop_around(track.hand.points, mirrored=track.hand.side == "left", roll=reader.roll,
                               margin=reader.margin)  # fmt: skip
            reading = reader.read(image, off(crop, np.random.default_rng(i)))
            jittered[file.name] = _mm(reading.landmarks, joints[i])
        if not errors:
            raise HandCoachError(f"None of the {len(files)} photographs of {folder} can be read.")
        result["hands"][hand] = {
            **figures(errors),
            "unreadable": unreadable,
            "not_found": dict(reasons),
            "side_share": share(sides["left"], len(errors)),
            "jittered": figures(jittered),
        }
    return result


def _mm(landmarks: NDArray[np.floating], joints_cm: NDArray[np.floating]) -> float:
    return round(10 * float(pa_mpjpe(landmarks, joints_cm)), 3)


def figures(errors: dict[str, float | None]) -> dict[str, Any]:
    """Mean with its 95 % interval, median and p90 over the hands found; None is a hand that was not."""
    known = [e for e in errors.values() if e is not None]
    return {
        "read": len(errors),
        "found": len(known),
        "found_share": share(len(known), len(errors)),
        "mean": rounded(np.mean, known),
        "ci95": [round(end, 3) for end in interval(known)] if known else None,
        "median": rounded(np.median, known),
        "p90": rounded(lambda e: np.percentile(e, 90), known),
        "errors": errors,
    }


def real_3d_peer(folder: Path, python: str, timeout_s: float) -> tuple[str, dict[str, Any]]:
    """Name and figures of MediaPipe on the same photographs, in a process of its own environment.

    Args:
        python: of an environment with mediapipe 0.10.21, which HandCoach's own cannot have (numpy < 2).

    Raises:
        HandCoachError: it does not run there.
    """
    every, joints = read_joints(folder)
    there = readable(every)
    files, joints = list(itertools.compress(every, there)), joints[there]
    try:
        found = runner.call({"files": [str(f) for f in files]}, timeout_s, (python, str(PEER)))
    except (runner.ChildError, OSError) as error:
        raise HandCoachError(
            f"MediaPipe does not run with {python} ({error}): give --peer the python of an environment with "
            "mediapipe==0.10.21."
        ) from error
    if "error" in found:
        raise HandCoachError(f"MediaPipe does not run: {found['error']}.")
    errors: dict[str, float | None] = {}
    for file, joint, landmarks in zip(files, joints, found["landmarks"], strict=True):
        errors[file.name] = None if landmarks is None else _mm(np.array(landmarks), joint)
    left = sum(side == "left" for side in found["sides"])
    missed = sum(e is None for e in errors.values())
    one = {**figures(errors), "unreadable": len(every) - len(files), "side_share": share(left, len(files)),
           "not_found": {"no_hand": missed} if missed else {}}  # fmt: skip
    result = {"photographs": len(every), "unit": "mm", "true_side": "left", "hands": {"auto": one}}
    return f"mediapipe {found['versions']['mediapipe']}", result
