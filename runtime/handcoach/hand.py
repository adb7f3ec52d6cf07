"""The conventions of the whole project, written once: joints, axes, scale, sides and the hand frame.

Joint order is that of FreiHAND, HanCo and MediaPipe. Camera axes are x right, y down, z away from the
camera. Normalised landmarks have the wrist at the origin and the distance from the wrist to the middle
MCP equal to 1 (Skøt & Wolf 2025, eq. 2-4).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from handcoach.errors import HandCoachError

Side = Literal["left", "right"]
Array = NDArray[np.float32]

FINGERS = ("thumb", "index", "middle", "ring", "little")
JOINTS = (
    "wrist",
    "thumb_cmc", "thumb_mcp", "thumb_ip", "thumb_tip",
    "index_mcp", "index_pip", "index_dip", "index_tip",
    "middle_mcp", "middle_pip", "middle_dip", "middle_tip",
    "ring_mcp", "ring_pip", "ring_dip", "ring_tip",
    "little_mcp", "little_pip", "little_dip", "little_tip",
)  # fmt: skip
WRIST, INDEX_MCP, MIDDLE_MCP, LITTLE_MCP = 0, 5, 9, 17
# Each bone runs from a joint to the next one out; every finger starts at the wrist.
BONES = tuple((0 if j % 4 == 1 else j - 1, j) for j in range(1, 21))


class DegenerateHandError(HandCoachError):
    """Joints coincide or are not finite, so that the hand has no scale or no palm plane."""


def _array(value: object, shape: tuple[int, ...], what: str) -> Array:
    array = np.asarray(value, dtype=np.float32)
    if array.shape != shape:
        raise ValueError(f"{what} must have shape {shape}, not {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{what} must be finite")
    return array


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture from a source.

    Attributes:
        image: uint8 RGB (H, W, 3), never mirrored.
        t: seconds since the source started; for stills 0.
        index: 0, 1, 2, ... within the source, skipped frames counted.
        file: path of a still, None for a camera or a video.
    """

    image: NDArray[np.uint8]
    t: float
    index: int
    file: str | None = None

    def __post_init__(self) -> None:
        if self.image.dtype != np.uint8 or self.image.ndim != 3 or self.image.shape[2] != 3:
            raise ValueError(f"image must be uint8 (H, W, 3), not {self.image.dtype} {self.image.shape}")


@dataclass(frozen=True, eq=False)
class Hand:
    """One hand as seen in one frame.

    Attributes:
        landmarks: float32 (21, 3), normalised, in the camera's axes and as seen (not mirrored).
        points: float32 (21, 2), pixels of the source frame.
        side: which hand of the person it is.
        score: presence, 0..1.
    """

    landmarks: Array
    points: Array
    side: Side
    score: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "landmarks", _array(self.landmarks, (21, 3), "landmarks"))
        object.__setattr__(self, "points", _array(self.points, (21, 2), "points"))
        if self.side not in ("left", "right"):
            raise ValueError(f"side must be left or right, not {self.side!r}")

    @property
    def canonical(self) -> Array:
        """Landmarks (21, 3) as a right hand: what every exercise judges."""
        return mirror(self.landmarks) if self.side == "left" else self.landmarks


def mirror(landmarks: Array) -> Array:
    """Mirror landmarks (..., 21, 3) across the YZ plane: a left hand becomes a right hand and back."""
    return np.asarray(landmarks * np.array([-1, 1, 1], dtype=landmarks.dtype))


def normalise(joints: NDArray[np.floating]) -> tuple[Array, Array, float]:
    """Wrist-centre and scale joints (21, 3) in any unit (paper eq. 2-4).

    Returns:
        landmarks float32 (21, 3); root (3,), the wrist; scale, the wrist to middle-MCP distance, both in
        the unit of the joints.

    Raises:
        DegenerateHandError: the joints are not finite, or wrist and middle MCP coincide.
    """
    joints = np.asarray(joints, dtype=np.float64)
    root = joints[WRIST]
    scale = float(np.linalg.norm(joints[MIDDLE_MCP] - root))
    if not np.isfinite(joints).all() or not scale > 1e-9:
        raise DegenerateHandError("The wrist and the middle knuckle coincide, so this hand has no scale.")
    return ((joints - root) / scale).astype(np.float32), root.astype(np.float32), scale


def hand_frame(landmarks: NDArray[np.floating]) -> Array:
    """Turn canonical landmarks (..., 21, 3) into the hand frame (paper 5.2.1, eq. 6-7).

    x runs from the wrist to the index MCP, z is the normal of the palm triangle (wrist, index MCP,
    little MCP) and y = z cross x. The result does not depend on how the hand is turned.

    Returns:
        float32 of the same shape; the wrist stays at the origin.

    Raises:
        DegenerateHandError: the palm triangle has no area.
    """
    p = np.asarray(landmarks, dtype=np.float64)
    axes = hand_axes(p)
    return np.asarray(np.einsum("...ij,...kj->...ki", axes, p - p[..., :1, :]), dtype=np.float32)


def has_palm(landmarks: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Which hands (..., 21, 3) have a hand frame, their palm triangle an area: (...,)."""
    p = np.asarray(landmarks, dtype=np.float64)
    p = p - p[..., :1, :]
    x = p[..., INDEX_MCP, :]
    area = np.linalg.norm(_cross(x, p[..., LITTLE_MCP, :]), axis=-1)
    whole = np.isfinite(p).all(axis=(-2, -1))
    return np.asarray(whole & (np.linalg.norm(x, axis=-1) >= 1e-6) & (area >= 1e-6))


def hand_axes(landmarks: NDArray[np.floating]) -> NDArray[np.float64]:
    """The hand frame's axes in the camera's: how a hand is turned.

    Args:
        landmarks: canonical, (..., 21, 3).

    Returns:
        float64 (..., 3, 3); its rows are the unit vectors x, y and z of `hand_frame`.

    Raises:
        DegenerateHandError: the palm triangle has no area.
    """
    p = np.asarray(landmarks, dtype=np.float64)
    p = p - p[..., :1, :]
    x = p[..., INDEX_MCP, :]
    z = _cross(x, p[..., LITTLE_MCP, :])
    length_x = np.linalg.norm(x, axis=-1, keepdims=True)
    length_z = np.linalg.norm(z, axis=-1, keepdims=True)
    if not has_palm(p).all():
        raise DegenerateHandError("Wrist, index and little knuckles lie on a line: this hand has no palm.")
    x, z = x / length_x, z / length_z
    return np.asarray(np.stack([x, _cross(z, x), z], axis=-2))


# Rows: the axes, in the camera's, of a right hand that is held upright with its palm to the camera.
_UPRIGHT = np.array([[0.0, -1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])


def beside(landmarks: NDArray[np.floating], reference: NDArray[np.floating], kept_axes: str) -> Array:
    """Canonical landmarks (..., 21, 3) beside a reference hand (21, 3), in the latter's hand frame.

    Without kept axes that is `hand_frame`. Else a hand stays turned from the reference by as much as counts:
    with one kept axis by what turns its direction (and, the farther it is turned, by the rest as well, see
    `_twisted`), with more by all of it.

    Raises:
        DegenerateHandError: a palm triangle has no area.
    """
    aligned = hand_frame(landmarks)
    if not kept_axes:
        return aligned
    axes, shown = hand_axes(landmarks), hand_axes(reference)
    if len(kept_axes) == 1:
        axes = _twisted(axes, shown, "xyz".index(kept_axes))
    return np.asarray(aligned @ axes @ shown.T, np.float32)


def as_held(reference: NDArray[np.floating], kept_axes: str) -> NDArray[np.float64]:
    """Rotation (3, 3), `aligned @ rotation`, that shows a reference hand (21, 3) and those `beside` it as it
    was held before the camera, in the axes of a right hand that is held upright with its palm to the camera;
    no rotation where it does not matter how a hand is turned.

    Raises:
        DegenerateHandError: the palm triangle has no area.
    """
    return hand_axes(reference) @ _UPRIGHT.T if kept_axes else np.eye(3)


def _twisted(axes: NDArray[np.float64], shown: NDArray[np.float64], kept: int) -> NDArray[np.float64]:
    """Axes (..., 3, 3) turned about their axis `kept`, which counts alone, to where they are nearest to those
    shown (3, 3); the less, the farther that axis is away, since of an opposite one no turn is the nearest."""
    j, k = (kept + 1) % 3, (kept + 2) % 3
    near = axes @ shown.T  # cosines
    sine = near[..., k, j] - near[..., j, k]
    angle = np.arctan2(sine, near[..., j, j] + near[..., k, k] + 1 - near[..., kept, kept])[..., None]
    turned = axes.copy()
    turned[..., j, :] = np.cos(angle) * axes[..., j, :] + np.sin(angle) * axes[..., k, :]
    turned[..., k, :] = np.cos(angle) * axes[..., k, :] - np.sin(angle) * axes[..., j, :]
    return turned


_YZX, _ZXY = np.array([1, 2, 0]), np.array([2, 0, 1])


def _cross(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """a cross b for vectors (..., 3): what np.cross gives, at a tenth of its cost for single ones."""
    return a.take(_YZX, -1) * b.take(_ZXY, -1) - a.take(_ZXY, -1) * b.take(_YZX, -1)
