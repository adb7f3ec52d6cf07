"""What is behind a hand and what comes between it and the camera, drawn flat."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from handcoach_train.render import draw
from handcoach_train.render.arm import Floats


def clutter(rng: np.random.Generator, width: int, height: int) -> NDArray[np.float32]:
    """A made-up background: soft colours, shapes, stripes, skin-coloured things among them."""
    n = int(rng.integers(2, 9))
    base = (
        rng.uniform(0, 255)
        + rng.normal(0, rng.uniform(5, 60), (n, n, 1))
        + rng.normal(0, rng.uniform(2, 30), (n, n, 3))
    )
    image = cv2.resize(base.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    for _ in range(int(rng.integers(0, 12))):
        grey = rng.uniform(0, 255)  # rooms are duller than dice
        colour = grey + (rng.uniform(0, 255, 3) - grey) * rng.uniform(0, 1) ** 1.5
        if rng.random() < 0.35:
            colour = draw.TONES[rng.integers(len(draw.TONES))] * 255 * rng.uniform(0.5, 1.1)
        c = tuple(float(x) for x in colour)
        p = rng.uniform(-0.1, 1.1, (4, 2)) * [width, height]
        kind = rng.choice(4, p=[0.32, 0.32, 0.32, 0.04])
        if kind == 0:
            cv2.fillPoly(image, [p.astype(np.int32)], c, cv2.LINE_AA)
        elif kind == 1:
            axes = tuple(int(x) for x in rng.uniform(0.03, 0.35, 2) * width)
            cv2.ellipse(
                image, tuple(int(x) for x in p[0]), axes, rng.uniform(0, 180), 0, 360, c, -1, cv2.LINE_AA
            )
        elif kind == 2:
            ends = tuple(int(x) for x in p[0]), tuple(int(x) for x in p[1])
            cv2.line(image, *ends, c, int(rng.integers(1, max(2, width // 9))), cv2.LINE_AA)
        else:
            step, lean = int(rng.integers(4, 60)), int(rng.normal(0, 0.4) * width)
            for x in range(int(rng.integers(step)) - width, 2 * width, step):
                cv2.line(image, (x, 0), (x + lean, height), c, max(1, step // int(rng.integers(3, 9))))
            if rng.random() < 0.5:
                image = image.transpose(1, 0, 2).copy() if width == height else image[::-1].copy()
    return np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 3)), dtype=np.float32)


def person(rng: np.random.Generator, image: NDArray[np.float32], look: draw.Look) -> NDArray[np.float32]:
    """Somebody behind the hand: head, face, hair, shoulders; of the look's skin. RGB 0..255 (H, W, 3)."""
    height, width = image.shape[:2]
    layer = image.copy()
    size = rng.uniform(0.12, 0.4) * width
    x, y = rng.uniform(0, 1) * width, rng.uniform(-0.1, 0.9) * height
    light = rng.uniform(0.5, 1.1)

    def rgb(linear: Floats) -> tuple[float, ...]:
        return tuple(float(v) for v in 255 * np.clip(linear, 0, 1) ** (1 / 2.2) * light)

    def oval(dx: float, dy: float, a: float, b: float, colour: tuple[float, ...]) -> None:
        centre = (int(x + dx * size), int(y + dy * size))
        axes = (max(1, int(a * size)), max(1, int(b * size)))
        cv2.ellipse(layer, centre, axes, 0, 0, 360, colour, -1, cv2.LINE_AA)

    skin = rgb(look.back)
    shade = rgb(look.back * rng.uniform(0.5, 0.8))
    hair = rgb(rng.uniform(0.01, 0.25) * np.array([1, rng.uniform(0.5, 1), rng.uniform(0.3, 1)]))
    cloth = rgb(rng.uniform(0, 1, 3) ** 2 * rng.uniform(0.2, 1))
    oval(0, 2.3, 1.5, 1.1, cloth)
    oval(0, 1.0, 0.28, 0.5, shade)
    oval(0, -0.15, 0.62, 0.75, hair)
    oval(0, 0.05, 0.5, 0.68, skin)
    oval(0.16, 0.1, 0.3, 0.5, shade) if rng.random() < 0.4 else None
    for side in (-1, 1):
        oval(0.2 * side, -0.05, 0.09, 0.045, (225.0 * light,) * 3)
        oval(0.2 * side, -0.05, 0.04, 0.045, (30.0,) * 3)
        oval(0.2 * side, -0.17, 0.12, 0.025, hair)
    oval(0, 0.16, 0.07, 0.1, shade)
    oval(0, 0.38, 0.17, 0.05, rgb(look.back * [0.8, 0.35, 0.35]))
    return np.asarray(cv2.GaussianBlur(layer, (0, 0), rng.uniform(0.6, 4)), dtype=np.float32)


def in_front(
    rng: np.random.Generator, image: NDArray[Any], points: Floats, rest: NDArray[Any]
) -> NDArray[np.float32]:
    """A thing at the camera's side that hides a part of the hand: a bar, a blob, the edge of a board.

    Args:
        image: RGB 0..255 (H, W, 3). points: the joints in it (21, 2). rest: a picture of the same size whose
            colours the thing takes.
    """
    height, width = image.shape[:2]
    hand = float(np.ptp(points, axis=0).max())
    mask: NDArray[Any] = np.zeros((height, width), np.float32)
    target = points[rng.integers(1, 21)] + rng.normal(0, 0.05, 2) * hand
    away = rng.normal(size=2)
    away = away / np.linalg.norm(away)
    kind = rng.integers(3)
    if kind == 0:
        wide = max(2, int(rng.uniform(0.03, 0.22) * hand))
        ends = [
            (target - away * hand * rng.uniform(0, 3)).astype(int),
            (target + away * 4 * hand).astype(int),
        ]
        cv2.line(mask, ends[0].tolist(), ends[1].tolist(), 1.0, wide, cv2.LINE_AA)
    elif kind == 1:
        axes = np.maximum(2, rng.uniform(0.06, 0.2, 2) * hand).astype(int).tolist()
        cv2.ellipse(
            mask, target.astype(int).tolist(), axes, rng.uniform(0, 180), 0, 360, 1.0, -1, cv2.LINE_AA
        )
    else:  # all of the hand that lies beyond a line through its outer part
        middle = points.mean(0)
        reach = ((points - middle) @ away).max()
        edge = middle + away * reach * rng.uniform(0.35, 1.0)
        side = np.array([-away[1], away[0]]) * 4 * width
        far = away * 4 * width
        corners = np.array([edge - side, edge + side, edge + side + far, edge - side + far])
        cv2.fillPoly(mask, [corners.astype(np.int32)], 1.0, cv2.LINE_AA)
    if rng.random() < 0.5:
        mask = cv2.GaussianBlur(mask, (0, 0), rng.uniform(0.5, 2.5))
    colour = rng.uniform(0, 255) + (rest - rest.mean()) * rng.uniform(0, 0.8) + rng.normal(0, 25, 3)
    return np.asarray(image + (colour - image) * mask[..., None], dtype=np.float32)
