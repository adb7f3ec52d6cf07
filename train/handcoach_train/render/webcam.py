"""What a cheap webcam, its exposure and its video compression do to a picture."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]


def photograph(rng: np.random.Generator, drawn: NDArray[np.floating], grain: NDArray[np.float32]) -> Picture:
    """Motion, focus, white balance, exposure, few pixels, noise and video compression.

    Args:
        drawn: RGB 0..255 (H, W, 3). grain: normal noise, at least 64 pixels larger each way.
    """
    height, width = drawn.shape[:2]
    image: NDArray[Any] = np.asarray(drawn, np.float32)
    moved = rng.random() < 0.14
    if moved:
        image = _motion(rng, image)
    elif rng.random() < 0.5:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 1.5))
    image = _exposure(rng, image)
    # The hand is a part of the webcam's frame: often it has fewer pixels than our picture.
    small = not moved and rng.random() < 0.35
    if small:
        side = int(width * np.exp(rng.uniform(np.log(0.4), np.log(0.9))))
        image = cv2.resize(image, (side, max(1, side * height // width)), interpolation=cv2.INTER_AREA)
    if rng.random() < 0.8:
        x, y = rng.integers(0, 64, 2)
        part = grain[y : y + image.shape[0], x : x + image.shape[1]]
        if rng.random() < 0.3:  # of brightness alone
            part = part[..., :1]
        image = image + part * float(rng.uniform(0.5, 8))
    image = np.clip(image, 0, 255)
    if rng.random() < 0.3:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(28, 65))]
        _, data = cv2.imencode(".jpg", image.astype(np.uint8), quality)
        image = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.float32)
    if small:
        how = (cv2.INTER_LINEAR, cv2.INTER_CUBIC)[int(rng.integers(2))]
        image = cv2.resize(image, (width, height), interpolation=how)
    if rng.random() < 0.1:  # a camera that sharpens
        image = image + (image - cv2.GaussianBlur(image, (0, 0), 1.2)) * rng.uniform(0.3, 1.2)
    return np.asarray(np.clip(image, 0, 255), dtype=np.uint8)


def _motion(rng: np.random.Generator, image: NDArray[Any]) -> NDArray[Any]:
    n = int(rng.integers(3, 11))
    kernel = np.zeros((n, n), np.float32)
    a = rng.uniform(0, np.pi)
    d = np.array([np.cos(a), np.sin(a)]) * n / 2
    ends = (n / 2 - d).astype(np.int32), (n / 2 + d).astype(np.int32)
    cv2.line(kernel, ends[0].tolist(), ends[1].tolist(), 1.0)
    return np.asarray(cv2.filter2D(image, -1, kernel / max(kernel.sum(), 1e-6)))


def _exposure(rng: np.random.Generator, image: NDArray[Any]) -> NDArray[Any]:
    """White balance, saturation, contrast; now and then far too much light or too little."""
    strength = 0.07 if rng.random() < 0.8 else 0.14
    image = image * (1 + rng.normal(0, strength, 3).astype(np.float32))
    if rng.random() < 0.35:
        grey = image.mean(-1, keepdims=True)
        image = grey + (image - grey) * float(
            rng.choice([rng.uniform(0.3, 1), rng.uniform(1, 1.5), 0], p=[0.6, 0.3, 0.1])
        )
    image = (image - 128) * rng.uniform(0.75, 1.25) + 128 + rng.normal(0, 12)
    chance = rng.random()
    if chance < 0.06:
        image = image * rng.uniform(1.25, 2.2)
    elif chance < 0.12:
        image = image * rng.uniform(0.35, 0.75)
    return np.asarray(image, dtype=np.float32)
