"""What the landmark network sees: cut-outs by the runtime's own `Crop`, with their truth."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from handcoach.crop import MARGIN, Crop, crop_around, view_rotation
from handcoach.hand import mirror, normalise
from handcoach_train.data.samples import Drawn, Floats, Samples, read_image

WINDOW = 1.5  # side of what is kept of a large picture, in sides of its upright cut-out
# How a finder or a moving hand misplaces a cut-out: standard deviations of its shift (in sides), of its
# size's logarithm about GROW, and of its turn (radians). A share of them, AWAY, lies ASIDE by so many sides.
SHIFT, GROW, SPREAD, TURN = 0.06, 0.02, 0.12, 0.22
AWAY, ASIDE = 0.03, 0.6
INSIDE = 0.55  # share of the joints in the cut-out beyond which a hand is there


def jitter(crop: Crop, rng: np.random.Generator, amount: float = 1.0) -> Crop:
    """The crop as a finder or a moving hand would have placed it: off-centre, wrong size, turned."""
    shift = rng.normal(0, SHIFT * amount, 2) * crop.size
    size = crop.size * float(np.exp(rng.normal(GROW, SPREAD * amount)))
    roll = crop.roll + float(rng.normal(0, TURN * amount))
    return Crop(crop.x + shift[0], crop.y + shift[1], size, roll, crop.mirrored)


def target(crop: Crop, joints: Floats, k: Floats) -> Floats:
    """Normalised landmarks (21, 3) in the axes of the cut-out, for joints in the camera's."""
    landmarks, _, _ = normalise(joints)
    x, y = (crop.x - k[0, 2]) / k[0, 0], (crop.y - k[1, 2]) / k[1, 1]
    turned = np.asarray(landmarks @ view_rotation(x, y, crop.roll), dtype=np.float32)
    return mirror(turned) if crop.mirrored else turned


def window(image: NDArray[np.uint8], points: Floats, side: int) -> tuple[NDArray[np.uint8], NDArray[Any]]:
    """What is kept of a picture: all of one that fits into (side, side, 3), else the hand's surroundings.

    Returns:
        The window with the affine (3, 3) from pixels of the picture to its own.
    """
    if max(image.shape[:2]) <= side:
        return image, np.eye(3)
    hand = crop_around(points, roll=False)
    around = Crop(hand.x, hand.y, WINDOW * hand.size)
    scale = side / around.size
    shift = [side / 2 - scale * around.x, side / 2 - scale * around.y]
    return around.cut(image, side), np.array([[scale, 0, shift[0]], [0, scale, shift[1]], [0, 0, 1]])


def colour(picture: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Exposure, gamma, white balance, softness, noise and things in front, as cameras have them."""
    ramp = np.linspace(0, 1, 256)[:, None] ** np.exp(rng.normal(0, 0.25))
    ramp = ramp * np.exp(rng.normal(0, 0.22)) * (1 + rng.normal(0, 0.06, 3)) + rng.normal(0, 0.04)
    table = np.clip(ramp * 255, 0, 255).astype(np.uint8)[None]
    image: NDArray[Any] = cv2.LUT(picture, table)
    if rng.random() < 0.3:
        grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        k = rng.uniform(0, 1)
        image = cv2.addWeighted(image, k, grey, 1 - k, 0)
    if rng.random() < 0.25:
        k = rng.uniform(0.3, 0.9)
        small = cv2.resize(image, None, fx=k, fy=k, interpolation=cv2.INTER_AREA)
        image = cv2.resize(small, image.shape[1::-1])
    if rng.random() < 0.3:
        dots = rng.integers(0, 256, (image.shape[0] // 2, image.shape[1] // 2, 3), dtype=np.uint8)
        noise = cv2.resize(dots, image.shape[1::-1], interpolation=cv2.INTER_NEAREST)
        image = cv2.addWeighted(image, 1.0, noise, k := float(rng.uniform(0.02, 0.12)), -127 * k)
    if rng.random() < 0.2:
        h, w = (rng.uniform(0.08, 0.35, 2) * image.shape[0]).astype(int)
        y, x = rng.integers(0, image.shape[0] - h), rng.integers(0, image.shape[1] - w)
        image = image.copy()
        image[y : y + h, x : x + w] = rng.integers(0, 256, 3)
    return np.asarray(image)


class LandmarkSet(Drawn):
    """Cut-outs with their truth, augmented for training or fixed for validation.

    Args:
        other_side: share of the hands that are shown as the other side. A right hand is what the runtime
            shows to the network; some left ones keep its side output honest. 0.5: both alike.

    Items: image uint8 (S, S, 3), landmarks (21, 3), points (21, 2), presence, right, known3d, lifted: the
        landmarks are a guess, which then does not count as known.
    """

    def __init__(
        self, samples: Samples, size: int, train: bool, roll: bool = True,
        empty: list[dict[str, Any]] | None = None, empty_share: float = 0.1, seed: int = 0,
        other_side: float = 0.2,
    ) -> None:  # fmt: skip
        super().__init__(train, seed)
        self.samples, self.size, self.roll, self.other_side = samples, size, roll, other_side
        self.empty = empty or []
        self.empty_share = empty_share if self.empty else 0.0
        self.hard = [frame for frame in self.empty if frame.get("hard")]

    def __len__(self) -> int:
        return len(self.samples)

    def item(self, i: int, rng: np.random.Generator, size: int | None = None) -> dict[str, Any]:
        size = size or self.size
        if self.train and rng.random() < self.empty_share:
            return self.nothing(rng, size)
        s = self.samples
        image = read_image(s.files[i])
        wrong = rng.random() < self.other_side
        crop = crop_around(s.points[i], mirrored=bool(s.right[i]) == wrong, roll=self.roll, margin=MARGIN)
        if not self.roll and self.train:
            crop = Crop(crop.x, crop.y, crop.size, float(rng.normal(0, 0.3)), crop.mirrored)
        crop = jitter(crop, rng, 1.0 if self.train else 0.4)
        away = self.train and rng.random() < AWAY
        if away:  # half a hand at the border is no hand: the tracker must look for it again
            a = rng.uniform(0, 2 * np.pi)
            x, y = crop.x + crop.size * ASIDE * np.cos(a), crop.y + crop.size * ASIDE * np.sin(a)
            crop = Crop(x, y, crop.size, crop.roll, crop.mirrored)
        cut = crop.cut(image, size)
        points = crop.to_unit(s.points[i])
        inside = ((points > 0) & (points < 1)).all(1).mean()
        known = bool(np.isfinite(s.joints[i]).all() and np.isfinite(s.K[i]).all())
        landmarks = target(crop, s.joints[i], s.K[i]) if known else np.zeros((21, 3), np.float32)
        return {
            "image": colour(cut, rng) if self.train else cut,
            "landmarks": landmarks,
            "points": points,
            "presence": np.float32(inside > INSIDE),
            "right": np.float32(not wrong),
            "known3d": np.float32(known and not s.lifted[i]),
            "lifted": np.float32(known and s.lifted[i]),
        }

    def nothing(self, rng: np.random.Generator, side: int) -> dict[str, Any]:
        """A piece of a picture without a hand in it, coloured; see `plain_piece`."""
        piece = self.plain_piece(rng, side)
        return {
            "image": colour(piece, rng),
            "landmarks": np.zeros((21, 3), np.float32),
            "points": np.zeros((21, 2), np.float32),
            "presence": np.float32(0),
            "right": np.float32(0.5),
            "known3d": np.float32(0),
            "lifted": np.float32(0),
        }

    def plain_piece(self, rng: np.random.Generator, side: int) -> NDArray[np.uint8]:
        """A piece (side, side, 3) of a picture without a hand in it; half are hard ones, if there are any."""
        if self.hard and rng.random() < 0.5:
            frame = self.hard[int(rng.integers(len(self.hard)))]
            image = read_image(frame["file"])
            x, y, size, roll, mirrored = frame["hard"][int(rng.integers(len(frame["hard"])))]
            crop = jitter(Crop(x, y, size, roll, bool(mirrored)), rng, 0.4)
        else:
            image, crop = self._anywhere(rng)
        return crop.cut(image, side)

    def _anywhere(self, rng: np.random.Generator) -> tuple[NDArray[np.uint8], Crop]:
        """A picture and a square in it that no hand is in."""
        frame = self.empty[int(rng.integers(len(self.empty)))]
        image = read_image(frame["file"])
        h, w = image.shape[:2]
        boxes = np.reshape(np.asarray(frame["boxes"], float), (-1, 4))
        roll = float(rng.uniform(-np.pi, np.pi))
        around = abs(np.cos(roll)) + abs(np.sin(roll))  # the upright square that holds the turned one
        for _ in range(20):
            size = min(h, w) * rng.uniform(0.15, 0.9)
            x, y = rng.uniform(0, w), rng.uniform(0, h)
            if overlap(x, y, size * around, boxes) < 0.1:
                break
        else:
            image = np.full_like(image, rng.integers(0, 256))
        return image, Crop(x, y, size, roll, bool(rng.random() < 0.5))


def overlap(x: float, y: float, size: float, boxes: NDArray[np.floating]) -> float:
    """The largest share of any box (N, 4: x0, y0, x1, y1) that an upright square covers, 0 without boxes."""
    half = size * 0.5
    width = (np.minimum(x + half, boxes[:, 2]) - np.maximum(x - half, boxes[:, 0])).clip(0)
    height = (np.minimum(y + half, boxes[:, 3]) - np.maximum(y - half, boxes[:, 1])).clip(0)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return float((width * height / np.maximum(area, 1)).max(initial=0))
