"""What the finder sees: whole frames, with the map that it should draw."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from handcoach_train.data.cutouts import colour
from handcoach_train.data.samples import Drawn, read_image


class FinderSet(Drawn):
    """Whole frames with the map that the finder should draw.

    Items: image uint8 (H, W, 3), map (7, H / 8, W / 8) as in `FinderNet`, heat (H / 8, W / 8), known
    (H / 8, W / 8): where position, side and extent are to be learnt.
    """

    def __init__(
        self, frames: list[dict[str, Any]], height: int, width: int, train: bool, seed: int = 0
    ) -> None:
        super().__init__(train, seed)
        self.frames, self.height, self.width = frames, height, width

    def __len__(self) -> int:
        return len(self.frames)

    def item(self, i: int, rng: np.random.Generator, size: int | None = None) -> dict[str, Any]:
        frame = self.frames[i]
        image: NDArray[Any] = read_image(frame["file"])
        h, w = image.shape[:2]
        k = min(self.width / w, self.height / h)
        angle, flip = 0.0, False
        shift = np.zeros(2)
        if self.train:
            # A thumbnail that a hand fills is shrunk as often as not, so that hands of every size are met.
            k *= float(np.exp(rng.uniform(-1.1, 0.4) if max(h, w) < 200 else rng.uniform(-0.45, 0.75)))
            angle = float(rng.normal(0, 12)) if rng.random() < 0.7 else float(rng.uniform(-180, 180))
            flip = bool(rng.random() < 0.5)
            shift = rng.uniform(-0.25, 0.25, 2) * [self.width, self.height]
        a: NDArray[Any] = cv2.getRotationMatrix2D((w / 2, h / 2), angle, k)
        a[:, 2] += np.array([self.width / 2 - w / 2, self.height / 2 - h / 2]) + shift
        if k < 0.6:
            image = cv2.GaussianBlur(image, (0, 0), 0.35 / k)
        border = cv2.BORDER_CONSTANT if rng.random() < 0.5 or not self.train else cv2.BORDER_REPLICATE
        # The warp counts from the centre of the first pixel, points from its corner.
        indices = a.copy()
        indices[:, 2] += a[:, :2] @ [0.5, 0.5] - 0.5
        out: NDArray[Any] = cv2.warpAffine(
            image, indices, (self.width, self.height), flags=cv2.INTER_LINEAR, borderMode=border
        )
        if flip:
            out = np.ascontiguousarray(out[:, ::-1])
        gh, gw = self.height // 8, self.width // 8
        heat = np.zeros((gh, gw), np.float32)
        maps = np.zeros((7, gh, gw), np.float32)
        known = np.zeros((gh, gw), np.float32)
        gy, gx = np.mgrid[:gh, :gw] + 0.5
        for hand in frame["hands"]:
            whole = hand.get("points") is not None
            p = np.asarray(hand["points"] if whole else _corners(hand["box"]), float) @ a[:, :2].T + a[:, 2]
            if flip:
                p[:, 0] = self.width - p[:, 0]
            inside = ((p > 0) & (p < [self.width, self.height])).all(1).mean()
            centre = (p.min(0) + p.max(0)) / 2 / 8
            length = float(np.linalg.norm(p.max(0) - p.min(0))) / 8
            if inside < 0.5 or not (0 <= centre[0] < gw and 0 <= centre[1] < gh):
                continue
            sigma = float(np.clip(length * 0.11, 0.6, 2.5))
            blob = np.exp(-((gx - centre[0]) ** 2 + (gy - centre[1]) ** 2) / (2 * sigma**2)).astype(
                np.float32
            )
            cx, cy = int(centre[0]), int(centre[1])
            blob[cy, cx] = 1.0
            near = (blob > 0.5) & (blob >= heat)
            heat = np.maximum(heat, blob)
            if not whole:
                known[near] = 0
                continue
            known[near] = 1
            right = (hand["side"] == "right") ^ flip
            maps[1][near] = float(right)
            for channel, joint in ((2, 0), (4, 9)):
                maps[channel][near] = (p[joint, 0] / 8 - gx[near]) * 8 / self.width
                maps[channel + 1][near] = (p[joint, 1] / 8 - gy[near]) * 8 / self.width
            maps[6][near] = np.log(max(np.linalg.norm(p - p[9], axis=1).max(), 2.0) / self.width)
        return {"image": colour(out, rng) if self.train else out, "map": maps, "heat": heat, "known": known}


def _corners(box: list[float]) -> NDArray[np.float64]:
    x0, y0, x1, y1 = box
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])
