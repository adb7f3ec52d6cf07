"""Finds hands in a whole frame: where a track starts. Export compares on pictures letterboxed alike."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from handcoach.hand import Array, Side
from handcoach.model import ModelFile
from handcoach.session import Session


@dataclass(frozen=True, eq=False)
class Detection:
    """A hand that the finder sees.

    Attributes:
        score: 0..1.
        right: probability that it is a right hand, 0..1.
        wrist, middle_mcp: float32 (2,), pixels of the frame.
        extent: pixels from the middle MCP to the joint farthest from it.
    """

    score: float
    right: float
    wrist: Array
    middle_mcp: Array
    extent: float

    @property
    def side(self) -> Side:
        return "right" if self.right >= 0.5 else "left"


@dataclass(frozen=True)
class Letterbox:
    """How a frame was fitted into a network's picture: scaled by `scale`, then moved by (x, y) pixels."""

    scale_x: float
    scale_y: float
    x: int
    y: int


def letterbox(
    image: NDArray[np.uint8], height: int, width: int, fill: float = 1.0
) -> tuple[NDArray[np.uint8], Letterbox]:
    """Fit an image (H, W, 3) into (height, width, 3) without distortion, centred, black around it.

    Args:
        fill: share of the space that the image takes, 0..1: less is like a step back from a near hand.
    """
    h, w = image.shape[:2]
    scale = min(width / w, height / h) * fill
    inner_w, inner_h = max(1, round(w * scale)), max(1, round(h * scale))
    while scale <= 0.5 and min(image.shape[:2]) >= 2:  # exact halves are 20 times faster than other factors
        half = image.shape[0] // 2, image.shape[1] // 2
        image = np.asarray(
            cv2.resize(image[: 2 * half[0], : 2 * half[1]], half[::-1], interpolation=cv2.INTER_AREA),
            dtype=np.uint8,
        )
        scale *= 2
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    small = np.asarray(cv2.resize(image, (inner_w, inner_h), interpolation=interpolation), dtype=np.uint8)
    x, y = (width - inner_w) // 2, (height - inner_h) // 2
    box = Letterbox(inner_w / w, inner_h / h, x, y)
    if (inner_w, inner_h) == (width, height):
        return small, box
    canvas = np.zeros((height, width, 3), dtype=np.uint8)
    canvas[y : y + inner_h, x : x + inner_w] = small
    return canvas, box


class Finder:
    """A finder model that runs. Use it from one thread at a time."""

    def __init__(self, file: ModelFile, threads: int = 1) -> None:
        self.file = file
        self.height, self.width = int(file.meta["height"]), int(file.meta["width"])
        self.threshold = float(file.meta["score_threshold"])
        self._session = Session(file, threads)

    def find(
        self,
        image: NDArray[np.uint8],
        threshold: float | None = None,
        fill: float = 1.0,
        both: bool = False,
    ) -> list[Detection]:
        """Hands in an RGB image uint8 (H, W, 3), best score first.

        Args:
            threshold: least score; the model's own if None.
            fill: see `letterbox`.
            both: look at the mirror image as well and take the mean, so that a mirrored frame gives exactly
                the mirrored hands; twice the time.
        """
        threshold = self.threshold if threshold is None else threshold
        picture, box = letterbox(image, self.height, self.width, fill)
        found = self._read(picture, box, threshold)
        if both:
            found = _mean(found, self._read(picture, box, threshold, flip=True))
        return sorted(found, key=lambda d: -d.score)

    def _read(
        self, picture: NDArray[np.uint8], box: Letterbox, threshold: float, flip: bool = False
    ) -> list[Detection]:
        if flip:
            picture = np.ascontiguousarray(picture[:, ::-1])
        rows = self._session.run(picture[None])["hands"][0].astype(np.float64)
        if flip:  # back to how the picture was: right, and both x
            rows[:, [1, 2, 4]] = 1 - rows[:, [1, 2, 4]]
        found = []
        for score, right, *place in rows:
            if not score >= threshold or not np.isfinite(place).all() or place[4] <= 0:
                continue
            points = np.array(place[:4]).reshape(2, 2) * [self.width, self.height] - [box.x, box.y]
            points = (points / [box.scale_x, box.scale_y]).astype(np.float32)
            extent = place[4] * self.width / box.scale_x
            found.append(Detection(float(score), float(right), points[0], points[1], float(extent)))
        return found


def _mean(some: list[Detection], others: list[Detection]) -> list[Detection]:
    """Detections of two looks at one frame; a hand that both saw becomes their mean."""
    result, left = [], list(others)
    for a in some:
        near = [b for b in left if np.linalg.norm(a.middle_mcp - b.middle_mcp) < min(a.extent, b.extent) / 2]
        if not near:
            result.append(a)
            continue
        b = max(near, key=lambda d: d.score)
        left.remove(b)
        result.append(
            Detection(
                (a.score + b.score) / 2,
                (a.right + b.right) / 2,
                ((a.wrist + b.wrist) / 2).astype(np.float32),
                ((a.middle_mcp + b.middle_mcp) / 2).astype(np.float32),
                (a.extent + b.extent) / 2,
            )
        )
    return result + left
