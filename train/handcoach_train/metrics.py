"""How right landmarks are, in numpy. Predictions and truth are (N, 21, 3) unless said otherwise.

`pa_mpjpe` and `jitter` are the runtime's own, so that training, evaluation and benchmarks mean the same by
them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from handcoach.hand import WRIST
from handcoach.measure import jitter, pa_mpjpe

__all__ = [
    "THRESHOLDS", "THRESHOLDS_MM", "auc", "distances", "jitter", "mpjpe", "mse", "pa_mpjpe", "pck_curve",
    "r2", "r2_outputs", "r2_per_landmark",
]  # fmt: skip

Floats = NDArray[np.float64]

# Thresholds of the PCK curve: 0 to 50 mm as in the literature (Zimmermann & Brox 2017), where truth has a
# unit. Where it has none, 0 to 0.5 of the distance from wrist to middle MCP, which is 9 to 10 cm in an adult:
# the same to within a tenth.
THRESHOLDS_MM = np.linspace(0, 50, 101)
THRESHOLDS = np.linspace(0, 0.5, 101)


def mse(landmarks: NDArray[np.floating], truth: NDArray[np.floating]) -> float:
    """Mean squared error over all 63 outputs (paper 5.1), in truth's unit squared."""
    gap = np.asarray(landmarks, np.float64) - truth
    return float((gap**2).mean())


def distances(landmarks: NDArray[np.floating], truth: NDArray[np.floating]) -> Floats:
    """Distance (N, 21) of each joint to truth, both with their wrists at the origin."""
    a, b = np.asarray(landmarks, np.float64), np.asarray(truth, np.float64)
    return np.asarray(np.linalg.norm((a - a[:, WRIST, None]) - (b - b[:, WRIST, None]), axis=-1))


def mpjpe(landmarks: NDArray[np.floating], truth: NDArray[np.floating]) -> Floats:
    """Mean distance (N,) of the joints to truth, root-aligned (wrists at the origin), in truth's unit."""
    return np.asarray(distances(landmarks, truth).mean(-1))


def pck_curve(gaps: NDArray[np.floating], thresholds: NDArray[np.floating] = THRESHOLDS) -> Floats:
    """Share (T,) of joints whose distance to truth is at most each threshold (percentage of correct
    keypoints).

    Args:
        gaps: distances of joints, any shape; a hand that was not found has infinite ones.
    """
    ordered = np.sort(np.asarray(gaps, np.float64), axis=None)
    if not len(ordered):
        raise ValueError("no distances, no curve")
    return np.searchsorted(ordered, thresholds, side="right") / len(ordered)


def auc(curve: NDArray[np.floating], thresholds: NDArray[np.floating] = THRESHOLDS) -> float:
    """Area under a PCK curve over its range of thresholds, 0..1."""
    y, x = np.asarray(curve, np.float64), np.asarray(thresholds, np.float64)
    return float(((y[1:] + y[:-1]) / 2 * np.diff(x)).sum() / (x[-1] - x[0]))


def r2_outputs(landmarks: NDArray[np.floating], truth: NDArray[np.floating]) -> Floats:
    """R2 (63,) of each output: 1 less the squared error over the variance of truth.

    An output whose truth never changes has no R2. As in scikit-learn's r2_score (force_finite) it counts 1
    where it is predicted without an error and 0 otherwise.
    """
    p = np.asarray(landmarks, np.float64).reshape(len(landmarks), -1)
    t = np.asarray(truth, np.float64).reshape(len(truth), -1)
    error, spread = ((p - t) ** 2).sum(0), ((t - t.mean(0)) ** 2).sum(0)
    fixed = np.where(error == 0, 1.0, 0.0)
    return np.asarray(np.where(spread > 0, 1 - error / np.where(spread > 0, spread, 1.0), fixed))


def r2(landmarks: NDArray[np.floating], truth: NDArray[np.floating], *, wrist: bool = True) -> float:
    """R2 as the paper has it: the plain mean over all 63 outputs (scikit-learn's uniform average).

    The wrist's three outputs are always 0 in the truth. A network that predicts them too gets 0 for each,
    and cannot have more than 60/63 = 0.952; one that gives exact zeros gets 1 for each. `wrist=False` leaves
    them out, which is the figure to compare networks by.
    """
    outputs = r2_outputs(landmarks, truth)
    return float(outputs.mean() if wrist else np.delete(outputs, np.arange(3) + 3 * WRIST).mean())


def r2_per_landmark(landmarks: NDArray[np.floating], truth: NDArray[np.floating]) -> Floats:
    """R2 (21,) of each landmark, the mean over its x, y and z; the wrist's as in `r2_outputs`."""
    return np.asarray(r2_outputs(landmarks, truth).reshape(21, 3).mean(1))
