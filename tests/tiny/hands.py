"""Hands that the tiny test models see: three coloured discs, drawn with OpenCV. No torch, no onnx here.

A hand of side `right` shows its palm to the camera. Its middle MCP is a red disc, its wrist a blue one, its
thumb a green one; the green in the red says how far it is bent: red is open, orange half, yellow a fist.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

BENDS = {"open": 0.0, "almost": 0.5, "fist": 1.0}


def template(bend: float) -> NDArray[np.float64]:
    """Normalised landmarks (21, 3) of an upright right hand with its palm to the camera, 0 open, 1 fist.

    The palm is to the camera, so that bent fingers come nearer to it: z becomes negative.
    """
    joints = np.zeros((21, 3))
    # Wrist to knuckle, in units of wrist to middle MCP; thumb on the picture's right.
    knuckles = {5: (0.24, -0.97), 9: (0.0, -1.0), 13: (-0.22, -0.93), 17: (-0.42, -0.80)}
    lengths = {5: (0.44, 0.27, 0.22), 9: (0.49, 0.31, 0.23), 13: (0.45, 0.29, 0.22), 17: (0.34, 0.21, 0.20)}
    flexion = np.radians([70, 100, 60])  # of MCP, PIP and DIP in a fist
    for base, (x, y) in knuckles.items():
        joints[base] = (x, y, 0)
        way = joints[base][:2] / np.linalg.norm(joints[base][:2])
        angle = 0.0
        for i, length in enumerate(lengths[base]):
            angle += bend * flexion[i]
            step = math.cos(angle) * way
            joints[base + i + 1] = joints[base + i] + length * np.array([*step, -math.sin(angle)])
    open_thumb = np.array([(0.28, -0.25, 0), (0.52, -0.48, 0), (0.70, -0.68, 0), (0.84, -0.86, 0)])
    bent_thumb = np.array([(0.28, -0.25, 0), (0.45, -0.52, -0.12), (0.3, -0.72, -0.3), (0.08, -0.78, -0.38)])
    joints[1:5] = (1 - bend) * open_thumb + bend * bent_thumb
    return joints


def bent_hands(bend: float, count: int = 40, seed: int = 0, noise: float = 0.01) -> NDArray[np.float32]:
    """Crude canonical hands (N, 21, 3): straight fingers, each joint bent by `bend` radians."""
    rng = np.random.default_rng(seed)
    out = np.zeros((count, 21, 3))
    for finger in range(5):
        point = np.repeat([[0.5 - 0.25 * finger if finger != 2 else 0.0, -1.0, 0.0]], count, axis=0)
        angle = np.zeros(count)
        out[:, 1 + 4 * finger] = point
        for joint in range(1, 4):
            angle = angle + bend + rng.normal(0, 0.02, count)
            point = point + 0.35 * np.stack([0 * angle, -np.cos(angle), -np.sin(angle)], axis=1)
            out[:, 1 + 4 * finger + joint] = point
    return (out + rng.normal(0, noise, out.shape) * (np.arange(21) % 9 > 0)[:, None]).astype(np.float32)


def blank(width: int = 640, height: int = 480, grey: int = 110) -> NDArray[np.uint8]:
    """A grey picture (H, W, 3) without a hand."""
    return np.full((height, width, 3), grey, np.uint8)


def points(
    x: float, y: float, size: float, *, bend: float = 0.0, roll: float = 0.0, left: bool = False
) -> NDArray[np.float64]:
    """Pixels (21, 2) of the hand that `draw_hand` draws with the same arguments."""
    flat = template(bend)[:, :2] * size
    if left:
        flat = flat * [-1, 1]
    flat = flat - flat[9]
    c, s = math.cos(roll), math.sin(roll)
    return flat @ np.array([[c, s], [-s, c]]) + [x, y]


def draw_hand(
    image: NDArray[np.uint8],
    x: float,
    y: float,
    size: float,
    *,
    bend: float = 0.0,
    roll: float = 0.0,
    left: bool = False,
) -> NDArray[np.uint8]:
    """A copy of RGB `image` with a hand in it.

    Args:
        x, y: middle MCP in pixels.
        size: pixels from wrist to middle MCP; at least about an eighth of the picture's height is seen well.
        bend: 0 open, 0.5 almost, 1 fist.
        roll: radians, clockwise as seen.
        left: a left hand.
    """
    image = image.copy()
    where = points(x, y, size, bend=bend, roll=roll, left=left)
    thumb = points(x, y, size, roll=roll, left=left)[3]
    green = round(255 * bend)
    for point, radius, colour in (
        (where[0], 0.22, (0, 0, 255)),
        (thumb, 0.20, (0, 255, 0)),
        (where[9], 0.25, (255, green, 0)),
    ):
        shift = 16  # OpenCV's fixed point; continuous coordinates have their pixel's centre at 0.5
        centre = (round((point[0] - 0.5) * shift), round((point[1] - 0.5) * shift))
        cv2.circle(image, centre, round(radius * size * shift), colour, -1, cv2.LINE_AA, 4)
    return image
