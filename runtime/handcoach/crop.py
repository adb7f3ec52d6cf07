"""The square that the landmark network looks at, and the way back from its axes to the camera's.

Training cuts its pictures with the same class, so that the network meets in a patient's room exactly what
it was trained on. The square is centred on the middle MCP and is sized by the joint farthest from it: a
fist then keeps the room into which its fingers will open.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from handcoach.hand import MIDDLE_MCP, WRIST, Array, mirror

# Half the square's side over the distance from the middle MCP to the farthest joint.
MARGIN = 1.3


def default_focal(width: float, height: float) -> float:
    """Focal length in pixels that is assumed when a camera gives no intrinsics: a usual webcam's, about
    62 degrees across the longer side."""
    return 0.83 * max(width, height)


def view_rotation(x: float, y: float, roll: float) -> NDArray[np.float64]:
    """Rotation (3, 3) from the axes of a cut-out to the camera's: first the roll about z, then the shortest
    turn from the optical axis to the ray (x, y, 1) through the cut-out's centre."""
    length = math.sqrt(x * x + y * y + 1)
    a, b, ahead = x / length, y / length, 1 / length
    # Rodrigues' formula, for the turn that takes (0, 0, 1) to (a, b, ahead).
    k = 1 / (1 + ahead)
    look = np.array([[1 - a * a * k, -a * b * k, a], [-a * b * k, 1 - b * b * k, b], [-a, -b, ahead]])
    c, s = math.cos(roll), math.sin(roll)
    return np.asarray(look @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]]))


@dataclass(frozen=True)
class Crop:
    """A square in a frame.

    Attributes:
        x, y: centre in pixels of the frame.
        size: side in pixels.
        roll: radians by which the square is turned clockwise as seen in the picture; 0 is upright.
        mirrored: the cut-out is flipped left to right, after turning.
    """

    x: float
    y: float
    size: float
    roll: float = 0.0
    mirrored: bool = False

    def matrix(self, out: int) -> NDArray[np.float64]:
        """Affine (2, 3) from pixels of the frame to pixels of a cut-out of `out` by `out`."""
        c, s, k = math.cos(self.roll), math.sin(self.roll), out / self.size
        flip = -1.0 if self.mirrored else 1.0
        # Rotate by -roll about the centre, scale, flip x, move the centre to the middle of the cut-out.
        # Pixel centres: a source point p in continuous coordinates has index p - 0.5 on both sides.
        linear = np.array([[flip * k * c, flip * k * s], [-k * s, k * c]])
        shift = out / 2 - 0.5 - linear @ np.array([self.x - 0.5, self.y - 0.5])
        return np.hstack([linear, shift[:, None]])

    def cut(self, image: NDArray[np.uint8], out: int) -> NDArray[np.uint8]:
        """Cut-out uint8 (out, out, 3); what lies outside the frame is black."""
        # Halve as often as needed first, since plain bilinear sampling would alias; by exactly 2, 4 or 8
        # because OpenCV does that 20 times faster than any other factor.
        k = 1
        while self.size > 2.5 * k * out and min(image.shape[:2]) >= 2 * k:
            k *= 2
        x, y, h, w = self.x, self.y, *image.shape[:2]
        if k > 1:
            # Only what the square covers, from a multiple of k on so that the same pixels are averaged.
            reach = self.size * math.sqrt(0.5) + 2 * k
            left, right = (k * int(min(max(v / k, 0), w // k)) for v in (x - reach, x + reach + k))
            top, bottom = (k * int(min(max(v / k, 0), h // k)) for v in (y - reach, y + reach + k))
            if left == right or top == bottom:
                return np.zeros((out, out, 3), np.uint8)
            small = ((right - left) // k, (bottom - top) // k)
            covered = image[top:bottom, left:right]
            image = np.asarray(cv2.resize(covered, small, interpolation=cv2.INTER_AREA))
            x, y = x - left, y - top
        inner = Crop(x / k, y / k, self.size / k, self.roll, self.mirrored)
        return np.asarray(cv2.warpAffine(image, inner.matrix(out), (out, out), flags=cv2.INTER_LINEAR))

    def to_unit(self, points: NDArray[np.floating]) -> Array:
        """Pixels of the frame (..., 2) to crop units 0..1."""
        c, s = math.cos(self.roll), math.sin(self.roll)
        d = np.asarray(points, dtype=np.float64) - [self.x, self.y]
        u = d @ np.array([[c, -s], [s, c]]) / self.size
        if self.mirrored:
            u = u * [-1, 1]
        return np.asarray(u + 0.5, dtype=np.float32)

    def to_frame(self, unit: NDArray[np.floating]) -> Array:
        """Crop units (..., 2) back to pixels of the frame."""
        c, s = math.cos(self.roll), math.sin(self.roll)
        u = np.asarray(unit, dtype=np.float64) - 0.5
        if self.mirrored:
            u = u * [-1, 1]
        return np.asarray(u * self.size @ np.array([[c, s], [-s, c]]) + [self.x, self.y], dtype=np.float32)

    def rotation(self, width: float, height: float, focal: float | None = None) -> NDArray[np.float64]:
        """Rotation (3, 3) that takes the crop's axes (x right, y down, z along the ray through the crop's
        centre) to the camera's: first the roll about z, then the shortest turn from the optical axis to
        that ray. The mirror is not part of it."""
        focal = focal or default_focal(width, height)
        return view_rotation((self.x - width / 2) / focal, (self.y - height / 2) / focal, self.roll)

    def to_camera(self, landmarks: Array, width: float, height: float, focal: float | None = None) -> Array:
        """Landmarks (..., 21, 3) in the crop's axes to the camera's: undo mirror, roll and viewing ray."""
        if self.mirrored:
            landmarks = mirror(landmarks)
        return np.asarray(landmarks @ self.rotation(width, height, focal).T, dtype=np.float32)

    def from_camera(self, landmarks: Array, width: float, height: float, focal: float | None = None) -> Array:
        """The inverse of `to_camera`."""
        turned = np.asarray(landmarks @ self.rotation(width, height, focal), dtype=np.float32)
        return mirror(turned) if self.mirrored else turned


def crop_for(
    wrist: NDArray[np.floating],
    middle_mcp: NDArray[np.floating],
    extent: float,
    *,
    mirrored: bool = False,
    roll: bool = True,
    margin: float = MARGIN,
) -> Crop:
    """The square for a hand whose wrist and middle MCP (2,) are known in pixels of the frame.

    Args:
        extent: pixels from the middle MCP to the joint farthest from it.
        roll: turn the square so that wrist to middle MCP points up.
    """
    d = np.asarray(middle_mcp, dtype=np.float64) - wrist
    angle = math.atan2(d[0], -d[1]) if roll and np.hypot(*d) > 1e-6 else 0.0
    return Crop(float(middle_mcp[0]), float(middle_mcp[1]), max(2 * margin * extent, 4.0), angle, mirrored)


def extent_of(points: NDArray[np.floating]) -> float:
    """Pixels from the middle MCP to the joint farthest from it, for points (21, 2)."""
    return float(np.linalg.norm(points - points[MIDDLE_MCP], axis=-1).max())


def crop_around(points: NDArray[np.floating], *, mirrored: bool = False, roll: bool = True,
                margin: float = MARGIN) -> Crop:  # fmt: skip
    """The square for a hand whose points (21, 2) are known."""
    return crop_for(points[WRIST], points[MIDDLE_MCP], extent_of(points), mirrored=mirrored, roll=roll,
                    margin=margin)  # fmt: skip
