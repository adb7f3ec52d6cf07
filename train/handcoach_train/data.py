"""Training data: HanCo's folder layout (real or rendered) and photographs with pseudo-labelled points.

Everything is held as one `Samples`: where the picture is, where the joints are in it, and in 3D where that
is known. Cut-outs are made by the runtime's own `Crop`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from handcoach.crop import MARGIN, Crop, crop_around, view_rotation
from handcoach.hand import mirror, normalise
from handcoach_train.errors import TrainError

Floats = NDArray[np.float32]


@dataclass
class Samples:
    """N labelled hands.

    Attributes:
        files: picture of each. points (N, 21, 2): pixels. joints (N, 21, 3): camera axes, any unit, NaN
        where unknown. K (N, 3, 3): intrinsics, NaN where unknown. right (N,): a right hand. group (N,):
        what must not be split between training and validation (a sequence, a recording).
    """

    files: list[Path]
    points: Floats
    joints: Floats
    K: Floats
    right: NDArray[np.bool_]
    group: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.files)

    def take(self, index: NDArray[Any]) -> Samples:
        """The samples at these numbers, or where a mask is true."""
        rows = np.flatnonzero(index) if index.dtype == bool else index
        return Samples([self.files[i] for i in rows], self.points[rows], self.joints[rows], self.K[rows],
                       self.right[rows], self.group[rows])  # fmt: skip


def join(parts: list[Samples]) -> Samples:
    """All samples of several sources, in order."""
    if not parts:
        raise TrainError("No training data was given.")
    return Samples(
        [f for p in parts for f in p.files],
        *(
            np.concatenate([getattr(p, n) for p in parts])
            for n in ("points", "joints", "K", "right", "group")
        ),
    )


def split(samples: Samples, share: float = 0.1, seed: int = 42) -> tuple[Samples, Samples]:
    """Training and validation by whole groups: frames of one sequence never stand on both sides."""
    out = held_out(samples.group, share, seed)
    return samples.take(~out), samples.take(out)


def held_out(groups: NDArray[np.str_], share: float, seed: int = 42) -> NDArray[np.bool_]:
    """Which samples (N,) to keep out of training: whole groups, about this share of them, at least one."""
    names = np.unique(groups)
    kept = np.random.default_rng(seed).permutation(names)[: max(1, round(share * len(names)))]
    return np.isin(groups, kept)


PHOTOS_HELD_OUT = 0.25  # share of the photographs' recordings


def _read_json(file: Path) -> Any:
    try:
        return json.loads(file.read_text())
    except FileNotFoundError as error:
        raise TrainError(f"{file} is missing: the data set is incomplete.") from error
    except ValueError as error:
        raise TrainError(f"{file} is not JSON: the file is damaged.") from error


def load_hanco(root: Path, variant: str = "rgb_merged") -> Samples:
    """Real HanCo or a rendering of ours; right hands only, as HanCo says.

    World to camera by M (paper eq. 1): x_cam = M x_world; pixels by K.

    Raises:
        TrainError: no such folder or variant, a label that is missing or damaged.
    """
    root = Path(root)
    if not (root / "xyz").is_dir() or not (root / variant).is_dir():
        raise TrainError(f"{root} is not in the HanCo layout: it needs {variant}/, xyz/ and calib/.")
    files, joints, ks, groups = [], [], [], []
    for label in sorted((root / "xyz").glob("*/*.json")):
        sequence, frame = label.parent.name, label.stem
        truth = _read_json(label)
        calibration = _read_json(root / "calib" / sequence / label.name)
        try:
            world = np.asarray(truth, dtype=np.float64)
            k = np.asarray(calibration["K"], dtype=np.float64)
            m = np.asarray(calibration["M"], dtype=np.float64)
        except (KeyError, TypeError, ValueError):
            world = k = m = np.empty(0)
        if world.shape != (21, 3) or k.shape != (len(k), 3, 3) or m.shape != (len(k), 4, 4):
            raise TrainError(f"{label} does not hold 21 joints with their cameras: the data set is damaged.")
        for camera in range(len(k)):
            file = root / variant / sequence / f"cam{camera}" / f"{frame}.jpg"
            files.append(file)
            joints.append(world @ m[camera, :3, :3].T + m[camera, :3, 3])
            ks.append(k[camera])
            groups.append(f"{root.name}/{sequence}")
    if not files:
        raise TrainError(f"{root} holds no labelled frames.")
    joints_, k_ = np.asarray(joints), np.asarray(ks)
    pixels = np.einsum("nij,npj->npi", k_, joints_)
    points = pixels[..., :2] / pixels[..., 2:]
    n = len(files)
    return Samples(files, points.astype(np.float32), joints_.astype(np.float32), k_.astype(np.float32),
                   np.ones(n, bool), np.array(groups))  # fmt: skip


def load_frames(root: Path) -> list[dict[str, Any]]:
    """Rendered full frames: a list of {file, size, hands: [{side, points, ...}], group}."""
    root = Path(root)
    labels = sorted((root / "labels").glob("*.json"))
    if not labels:
        raise TrainError(f"{root} holds no full frames: render some with --full-frames.")
    frames = []
    for label in labels:
        frame = _read_json(label)
        frame["file"] = root / "frames" / f"{label.stem}.jpg"
        frame["group"] = f"{root.name}/{label.stem}"
        frames.append(frame)
    return frames


AGREE = 0.25  # of a hand's length: the farthest that the two models' points may lie apart


def load_photos(labels: Path, root: Path, agree: float = AGREE) -> list[dict[str, Any]]:
    """Photographs with pseudo-labels (`pseudo_label.py`), those hands kept on which its two models agree.

    Returns:
        [{file, group, complete, hands}]; `complete` is False where a hand was dropped. The group is the
        recording: the file name up to its last underscore, or its folder; where all have the same, a hundred
        consecutive numbers (`sign_digits`: about ten people).

    Raises:
        TrainError: the labels are missing or of another kind.
    """
    photos = _read_json(labels)
    photos = photos.get("photos") if isinstance(photos, dict) else None
    if not isinstance(photos, dict):
        raise TrainError(f"{labels} holds no pseudo-labels: make them with pseudo_label.py.")
    frames = []
    for name, hands in photos.items():
        good = [h for h in hands if h["agreement"] is not None and h["agreement"] < agree]
        good = [{"points": h["points"], "side": h["side"]} for h in good]
        stem = Path(name).stem
        group = stem.rsplit("_", 1)[0] if "_" in stem else str(Path(name).parent)
        frames.append({"file": Path(root) / name, "group": f"{Path(root).name}/{group}", "hands": good,
                       "complete": len(good) == len(hands) > 0})  # fmt: skip
    if len({f["group"] for f in frames}) == 1:
        for f in frames:
            number = "".join(c for c in f["file"].stem if c.isdigit())
            f["group"] += f"/{int(number or 0) // 100}"
    return frames


def photo_samples(frames: list[dict[str, Any]]) -> Samples:
    """The hands of photographs, with points and side, without 3D."""
    rows = [(f, h) for f in frames for h in f["hands"] if h.get("points") is not None]
    n = len(rows)
    return Samples(
        [f["file"] for f, _ in rows],
        np.array([h["points"] for _, h in rows], np.float32).reshape(n, 21, 2),
        np.full((n, 21, 3), np.nan, np.float32),
        np.full((n, 3, 3), np.nan, np.float32),
        np.array([h["side"] == "right" for _, h in rows], bool),
        np.array([f["group"] for f, _ in rows]),
    )


def read_image(file: Path) -> NDArray[np.uint8]:
    """uint8 RGB (H, W, 3); TrainError names a broken file."""
    image = cv2.imread(str(file), cv2.IMREAD_COLOR)
    if image is None:
        raise TrainError(f"{file} is missing or not a picture.")
    return np.asarray(image[..., ::-1])


def jitter(crop: Crop, rng: np.random.Generator, amount: float = 1.0) -> Crop:
    """The crop as a finder or a moving hand would have placed it: off-centre, wrong size, turned."""
    shift = rng.normal(0, 0.06 * amount, 2) * crop.size
    size = crop.size * float(np.exp(rng.normal(0.02, 0.12 * amount)))
    roll = crop.roll + float(rng.normal(0, 0.22 * amount))
    return Crop(crop.x + shift[0], crop.y + shift[1], size, roll, crop.mirrored)


def target(crop: Crop, joints: Floats, k: Floats) -> Floats:
    """Normalised landmarks (21, 3) in the axes of the cut-out, for joints in the camera's."""
    landmarks, _, _ = normalise(joints)
    x, y = (crop.x - k[0, 2]) / k[0, 0], (crop.y - k[1, 2]) / k[1, 1]
    turned = np.asarray(landmarks @ view_rotation(x, y, crop.roll), dtype=np.float32)
    return mirror(turned) if crop.mirrored else turned


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


class LandmarkSet(torch.utils.data.Dataset):
    """Cut-outs with their truth, augmented for training or fixed for validation.

    Items: image uint8 (S, S, 3), landmarks (21, 3), points (21, 2), presence, right, known3d.
    """

    def __init__(
        self, samples: Samples, size: int, train: bool, roll: bool = True,
        empty: list[dict[str, Any]] | None = None, empty_share: float = 0.1,
    ) -> None:  # fmt: skip
        self.samples, self.size, self.train, self.roll = samples, size, train, roll
        self.empty = empty or []
        self.empty_share = empty_share if self.empty else 0.0
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, i: int) -> dict[str, Any]:
        rng = np.random.default_rng(None if self.train else [7, i])
        if self.train and rng.random() < self.empty_share:
            return self._nothing(rng)
        s = self.samples
        image = read_image(s.files[i])
        # A right hand is what the runtime shows to the network; some left ones keep its side output honest.
        wrong = rng.random() < 0.2
        crop = crop_around(s.points[i], mirrored=bool(s.right[i]) == wrong, roll=self.roll, margin=MARGIN)
        if not self.roll and self.train:
            crop = Crop(crop.x, crop.y, crop.size, float(rng.normal(0, 0.3)), crop.mirrored)
        crop = jitter(crop, rng, 1.0 if self.train else 0.4)
        away = self.train and rng.random() < 0.03
        if away:  # half a hand at the border is no hand: the tracker must look for it again
            a = rng.uniform(0, 2 * np.pi)
            crop = Crop(crop.x + crop.size * 0.6 * np.cos(a), crop.y + crop.size * 0.6 * np.sin(a), crop.size,
                        crop.roll, crop.mirrored)  # fmt: skip
        cut = crop.cut(image, self.size)
        points = crop.to_unit(s.points[i])
        inside = ((points > 0) & (points < 1)).all(1).mean()
        known = bool(np.isfinite(s.joints[i]).all())
        landmarks = target(crop, s.joints[i], s.K[i]) if known else np.zeros((21, 3), np.float32)
        return {
            "image": colour(cut, rng) if self.train else cut,
            "landmarks": landmarks,
            "points": points,
            "presence": np.float32(inside > 0.55),
            "right": np.float32(not wrong),
            "known3d": np.float32(known),
        }

    def _nothing(self, rng: np.random.Generator) -> dict[str, Any]:
        """A piece of a picture without a hand in it."""
        frame = self.empty[int(rng.integers(len(self.empty)))]
        image = read_image(frame["file"])
        h, w = image.shape[:2]
        boxes = [np.asarray(b, float) for b in frame["boxes"]]
        for _ in range(20):
            size = min(h, w) * rng.uniform(0.15, 0.9)
            x, y = rng.uniform(0, w), rng.uniform(0, h)
            half = size * 0.5
            overlap = [
                max(0.0, min(x + half, b[2]) - max(x - half, b[0]))
                * max(0.0, min(y + half, b[3]) - max(y - half, b[1]))
                / max(1.0, (b[2] - b[0]) * (b[3] - b[1]))
                for b in boxes
            ]
            if not overlap or max(overlap) < 0.1:
                break
        else:
            image = np.full_like(image, rng.integers(0, 256))
        crop = Crop(x, y, size, float(rng.uniform(-np.pi, np.pi)), bool(rng.random() < 0.5))
        return {
            "image": colour(crop.cut(image, self.size), rng),
            "landmarks": np.zeros((21, 3), np.float32),
            "points": np.zeros((21, 2), np.float32),
            "presence": np.float32(0),
            "right": np.float32(0.5),
            "known3d": np.float32(0),
        }


def with_boxes(frames: list[dict[str, Any]], boxes: dict[str, list[list[float]]]) -> list[dict[str, Any]]:
    """Photographs with every hand's box: a hand without points keeps its box alone.

    Args:
        boxes: file name to [xmin, ymin, xmax, ymax] of each hand (`webcam_hands/boxes.csv`).
    """
    result = []
    for frame in frames:
        mine = [list(b) for b in boxes.get(frame["file"].name, [])]
        hands = []
        for hand in frame["hands"]:
            centre = np.asarray(hand["points"]).mean(0)
            inside = [b for b in mine if b[0] <= centre[0] <= b[2] and b[1] <= centre[1] <= b[3]]
            if inside:
                mine.remove(inside[0])
                hands.append(hand)
        hands += [{"box": b, "points": None, "side": None} for b in mine]
        result.append({**frame, "hands": hands, "complete": True})
    return result


def read_boxes(file: Path) -> dict[str, list[list[float]]]:
    """Boxes per file of a CSV with the columns file, xmin, ymin, xmax, ymax; others are ignored.

    Raises:
        TrainError: no such file, or not such a CSV.
    """
    boxes: dict[str, list[list[float]]] = {}
    try:
        lines = file.read_text().splitlines()
        columns = lines[0].split(",")
        name, *sides = (columns.index(c) for c in ("file", "xmin", "ymin", "xmax", "ymax"))
        for line in lines[1:]:
            row = line.split(",")
            boxes.setdefault(row[name], []).append([float(row[c]) for c in sides])
    except (OSError, IndexError, ValueError) as error:
        raise TrainError(
            f"{file} is not a CSV of boxes: it needs the columns file, xmin, ymin, xmax, ymax."
        ) from error
    return boxes


def empty_areas(frames: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """For `LandmarkSet.empty`: pictures and the boxes of their hands, where every hand is labelled."""
    result = []
    for frame in frames:
        if not frame.get("complete", True):
            continue
        boxes = []
        for hand in frame["hands"]:
            p = (
                np.asarray(hand["points"])
                if hand.get("points") is not None
                else np.reshape(hand["box"], (2, 2))
            )
            boxes.append([*p.min(0), *p.max(0)])
        result.append({"file": frame["file"], "boxes": boxes})
    return result


class FinderSet(torch.utils.data.Dataset):
    """Whole frames with the map that the finder should draw.

    Items: image uint8 (H, W, 3), map (7, H / 8, W / 8) as in `FinderNet`, heat (H / 8, W / 8), known
    (H / 8, W / 8): where position, side and extent are to be learnt.
    """

    def __init__(self, frames: list[dict[str, Any]], height: int, width: int, train: bool) -> None:
        self.frames, self.height, self.width, self.train = frames, height, width, train

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, i: int) -> dict[str, Any]:
        rng = np.random.default_rng(None if self.train else [7, i])
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
            size = float(np.linalg.norm(p.max(0) - p.min(0))) / 8
            if inside < 0.5 or not (0 <= centre[0] < gw and 0 <= centre[1] < gh):
                continue
            sigma = float(np.clip(size * 0.11, 0.6, 2.5))
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
