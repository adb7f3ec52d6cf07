"""Angles of the fingers' joints in degrees, as a goniometer reads them.

0 is straight, flexion is positive and hyperextension negative: angles are signed, about each finger's flexion
axis, for arccos would take a finger that bends back for one that bends. By a camera they are good to 5 to 10
degrees, so that people are told angles of the whole hand, `rounded`, and nothing under `CHANGE` is called a
change.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from handcoach.hand import hand_axes

STEP = 5  # degrees that an angle is rounded to
CHANGE = 10  # degrees below which two angles are not called different
STRETCHED = 45  # degrees of a finger's three joints together, up to which a hand is a stretched one
MCPS = np.array([5, 9, 13, 17])


def flexion(landmarks: NDArray[np.floating]) -> NDArray[np.float64]:
    """MCP, PIP and DIP of the four fingers, index first.

    The MCP is measured from its metacarpal's direction in the plane of the palm.

    Args:
        landmarks: (..., 21, 3), canonical or in the hand frame: of a right hand.

    Returns:
        degrees (..., 4, 3).

    Raises:
        DegenerateHandError: the palm triangle has no area.
    """
    p = np.asarray(landmarks, np.float64)
    palm = hand_axes(p)[..., None, 2, :]  # out of the palm
    knuckles = p[..., MCPS, :]
    bones = [p[..., MCPS + n + 1, :] - p[..., MCPS + n, :] for n in range(3)]
    straight = knuckles - p[..., :1, :]
    straight = straight - palm * (straight * palm).sum(-1, keepdims=True)
    across = np.cross(straight, palm)  # the axis about which a finger flexes
    chain = [straight, *bones]
    return np.stack([_signed(chain[n], chain[n + 1], across) for n in range(3)], axis=-1)


def _signed(a: NDArray[np.float64], b: NDArray[np.float64], axis: NDArray[np.float64]) -> NDArray[np.float64]:
    """Degrees from a to b (..., 3) about an axis, both seen along it."""
    axis = axis / np.maximum(np.linalg.norm(axis, axis=-1, keepdims=True), 1e-12)
    a, b = (v - axis * (v * axis).sum(-1, keepdims=True) for v in (a, b))
    return np.asarray(np.degrees(np.arctan2((np.cross(a, b) * axis).sum(-1), (a * b).sum(-1))))


def extension_deficit(joints: NDArray[np.floating]) -> NDArray[np.float64]:
    """What each finger lacks to be straight: its joints' flexion together, degrees (...) for (..., 3).
    Hyperextension of one joint makes up for no other."""
    return np.asarray(np.maximum(joints, 0.0).sum(-1))


def apart(
    hand: NDArray[np.floating], teacher: NDArray[np.floating], fingers: Sequence[int] = (0, 1, 2, 3)
) -> float:
    """How far a hand (21, 3) is from the teacher's, degrees: the mean over these fingers (0 index).

    Of a finger that the teacher stretches it is what extension lacks to the teacher's, for who stretches
    farther lacks nothing; of any other the difference of total flexion.
    """
    return float(np.abs(too_bent(hand, teacher))[list(fingers)].mean())


def fan(landmarks: NDArray[np.floating]) -> NDArray[np.float64]:
    """Degrees between neighbouring fingers in the plane of the palm, index and middle first: (..., 3) for
    landmarks (..., 21, 3), canonical or in the hand frame; more is farther apart.

    Raises:
        DegenerateHandError: the palm triangle has no area.
    """
    p = np.asarray(landmarks, np.float64)
    palm = hand_axes(p)[..., None, 2, :]
    bones = p[..., MCPS + 1, :] - p[..., MCPS, :]
    return _signed(bones[..., :-1, :], bones[..., 1:, :], palm)


def turned(hand: NDArray[np.floating], teacher: NDArray[np.floating]) -> float:
    """Degrees by which a hand (21, 3) is turned from the teacher's, about whatever axis.

    Raises:
        DegenerateHandError: a palm triangle has no area.
    """
    cosine = (np.trace(hand_axes(hand) @ hand_axes(teacher).T) - 1) / 2
    return float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))


def too_bent(hand: NDArray[np.floating], teacher: NDArray[np.floating]) -> NDArray[np.float64]:
    """By how many degrees each finger of a hand (21, 3) is bent more than the teacher's, index first; below 0
    where it is bent less. Who stretches farther than a stretched finger of the teacher's lacks nothing: 0."""
    one, other = flexion(hand), flexion(teacher)
    lacks = extension_deficit(one) - extension_deficit(other)
    stretched = extension_deficit(other) <= STRETCHED
    return np.where(stretched, np.maximum(lacks, 0.0), one.sum(-1) - other.sum(-1))


def rounded(degrees: float) -> int:
    return STEP * round(degrees / STEP)
