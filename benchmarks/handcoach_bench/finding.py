"""Whether hands are found, and only hands: in a webcam's photographs, and where there is nothing to find."""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from handcoach import camera
from handcoach.coach import UNSURE
from handcoach.errors import HandCoachError
from handcoach.hand import Frame
from handcoach_bench.common import Models, progress, rounded, share
from handcoach_bench.pipeline import FPS, HEIGHT, WIDTH

Image = NDArray[np.uint8]

# A hand lies in a labelled box if so large a share of its points lies in the box, made so much larger.
INSIDE, LARGER = 0.9, 1.1
# A labelled hand is recalled if a found box overlaps it so much (intersection over union).
IOU = 0.5
# The box of a found hand over the box of its points.
BOX_LARGER = 1.2
EMPTY_FRAMES = 60  # of each clip without a hand


def recording(name: str) -> str:
    """The recording that a photograph is from: its name up to the last underscore."""
    stem = Path(name).stem
    return stem.rsplit("_", 1)[0] if "_" in stem else "."


def read_held_out(path: Path) -> set[str]:
    """Recordings, one a line; lines that start with # are comments."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise HandCoachError(
            f"{path} cannot be read ({error}): give --held-out a text file, one recording a line."
        ) from error
    return {line.strip() for line in lines if line.strip() and not line.startswith("#")}


def read_boxes(path: Path) -> dict[str, NDArray[np.float64]]:
    """Boxes (N, 4) xmin, ymin, xmax, ymax in pixels, by file name.

    Raises:
        HandCoachError: the file is missing or does not fit.
    """
    boxes: dict[str, list[list[float]]] = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                box = [float(row[column]) for column in ("xmin", "ymin", "xmax", "ymax")]
                boxes.setdefault(row["file"], []).append(box)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise HandCoachError(
            f"{path} cannot be read ({error}): it needs the columns file, xmin, ymin, xmax, ymax."
        ) from error
    return {name: np.array(rows) for name, rows in boxes.items()}


def share_inside(points: NDArray[np.floating], boxes: NDArray[np.floating]) -> float:
    """The largest share of the points (21, 2) that lies in one of the boxes (N, 4), each made larger."""
    low, high = boxes[:, :2], boxes[:, 2:]
    centre, half = (low + high) / 2, LARGER * (high - low) / 2
    inside = (np.abs(points[None] - centre[:, None]) <= half[:, None]).all(axis=-1)  # (N, 21)
    return float(inside.mean(axis=1).max())


def webcam(folder: Path, models: Models, held_out: set[str]) -> dict[str, Any]:
    """Whether the hands of photographs are found where they are, by recordings trained on and held out.

    `groups` judge the one hand that the program would follow; `recall` all labelled hands, by the boxes of
    all hands that finder and landmark network see.
    """
    boxes = read_boxes(folder / "boxes.csv")
    line = models.load(judged=False, still=True)
    shares: dict[str, float | None] = {}
    overlaps: dict[str, list[float]] = {}
    loose: dict[str, int] = {}
    unlabelled = 0
    with camera.open_source(folder / "images") as source:
        for frame in progress(source, source.total or 0, "webcam"):
            name = Path(frame.file or "").name
            if name not in boxes:
                unlabelled += 1
                continue
            hand = line.step(frame)[0].hand
            shares[name] = None if hand is None else round(share_inside(hand.points, boxes[name]), 4)
            hands = line.tracker.all_hands(frame.image)
            found = [box_of(hand.points, *frame.image.shape[1::-1]) for hand in hands]
            best, alone = match(found, boxes[name])
            overlaps[name], loose[name] = [round(v, 4) for v in best], alone
        unreadable = source.skipped
    there = {file.name for file in (folder / "images").iterdir()}
    kept = [name for name in shares if recording(name) in held_out]
    others = [name for name in shares if recording(name) not in held_out]
    groups = {"all": list(shares), "held out": kept, "others": others}
    return {
        "rule": f"at least {100 * INSIDE:.0f} % of 21 points in one box, {LARGER:g} times as wide and high",
        "box": f"around the 21 points, {BOX_LARGER:g} times as wide and high, within the picture",
        "unlabelled": unlabelled,
        "unreadable": unreadable,
        "missing": len(boxes.keys() - there),
        "groups": {group: _inside({name: shares[name] for name in names}) for group, names in groups.items()},
        "recall": {group: _recall(names, overlaps, loose) for group, names in groups.items()},
        "shares": shares,
        "overlaps": overlaps,
    }


def box_of(points: NDArray[np.floating], width: int, height: int) -> NDArray[np.float64]:
    """The box (4,) xmin, ymin, xmax, ymax of a hand's points (21, 2): joints lie inside the flesh, so it is
    BOX_LARGER times the points' own, cut at the picture's border as the labels are."""
    low, high = points.min(0).astype(np.float64), points.max(0).astype(np.float64)
    centre, half = (low + high) / 2, BOX_LARGER * (high - low) / 2
    return np.concatenate([centre - half, centre + half]).clip(0, [width, height, width, height])


def iou(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Intersection over union of two boxes (4,)."""
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    inner = float(np.prod(np.maximum(sides, 0)))
    union = float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2])) - inner
    return inner / union if union > 0 else 0.0


def match(found: list[NDArray[np.float64]], labelled: NDArray[np.float64]) -> tuple[list[float], int]:
    """Overlap of each labelled box with the found box that is matched to it, best pairs first, each once; 0
    where there is none. And how many found boxes overlap no label by IOU: they are alone."""
    pairs = sorted(
        ((iou(f, box), i, j) for i, f in enumerate(found) for j, box in enumerate(labelled)), reverse=True
    )
    best = [0.0] * len(labelled)
    used: set[int] = set()
    for overlap, i, j in pairs:
        if overlap > 0 and i not in used and best[j] == 0:
            used.add(i)
            best[j] = overlap
    alone = sum(all(iou(f, box) < IOU for box in labelled) for f in found)
    return best, alone


def _recall(
    names: list[str], overlaps: Mapping[str, list[float]], loose: Mapping[str, int]
) -> dict[str, Any]:
    every = [overlap for name in names for overlap in overlaps[name]]
    two = [overlap for name in names if len(overlaps[name]) > 1 for overlap in overlaps[name]]
    return {
        "hands": len(every),
        "found": sum(o >= IOU for o in every),
        "recall": share(sum(o >= IOU for o in every), len(every)),
        "recall_of_two": share(sum(o >= IOU for o in two), len(two)),
        "median_iou": rounded(np.median, every),
        "others_per_frame": share(sum(loose[name] for name in names), len(names)),
    }


def _inside(shares: Mapping[str, float | None]) -> dict[str, Any]:
    found = [s for s in shares.values() if s is not None]
    right = sum(s >= INSIDE for s in found)
    return {
        "photographs": len(shares),
        "recordings": len({recording(name) for name in shares}),
        "found": len(found),
        "found_share": share(len(found), len(shares)),
        "inside": right,
        "inside_share": share(right, len(shares)),
        "median_points": rounded(np.median, found),
    }


# --- empty ---


def empty_clips(
    rooms: Path | None = None, frames: int = EMPTY_FRAMES
) -> dict[str, Callable[[], Iterator[Image]]]:
    """Clips 640 x 480 without a hand, by name; always the same ones.

    Args:
        rooms: folder of environment maps (.hdr), for a camera that is swung through real places.
    """
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)

    def fade() -> Iterator[Image]:
        for i in range(frames):
            yield np.full((HEIGHT, WIDTH, 3), round(255 * i / max(1, frames - 1)), np.uint8)

    def noise() -> Iterator[Image]:
        rng = np.random.default_rng(0)
        for _ in range(frames):
            yield rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)

    def clouds() -> Iterator[Image]:
        coarse = np.random.default_rng(1).integers(0, 256, (15, 20 + frames, 3), dtype=np.uint8)
        wide = cv2.resize(coarse, None, fx=32, fy=32, interpolation=cv2.INTER_CUBIC)
        for i in range(frames):
            yield np.ascontiguousarray(wide[:, 32 * i // 2 :][:, :WIDTH]).astype(np.uint8)

    def gradient() -> Iterator[Image]:
        for i in range(frames):
            waves = [np.sin((x * (c + 1) + y * (2 - c)) / 180 + i / 7 + c) for c in range(3)]
            yield (127.5 + 127.5 * np.stack(waves, axis=-1)).astype(np.uint8)

    def ball() -> Iterator[Image]:
        # The colour of skin, and the shape of a face or an arm, but no fingers.
        for i in range(frames):
            image = np.full((HEIGHT, WIDTH, 3), (70, 80, 95), np.uint8)
            at = (round(320 + 180 * math.sin(i / 9)), round(240 + 60 * math.cos(i / 7)))
            cv2.ellipse(image, at, (75, 100), 4.0 * i, 0, 360, (205, 160, 135), -1, cv2.LINE_AA)
            cv2.line(image, (0, 470 - i), (250, 400), (190, 145, 120), 60, cv2.LINE_AA)
            yield np.asarray(cv2.GaussianBlur(image, (0, 0), 2), np.uint8)

    def places() -> Iterator[Image]:
        files = sorted(rooms.glob("*.hdr")) if rooms else []
        for file in files:
            data = cv2.imdecode(np.frombuffer(file.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
            if data is None or data.ndim != 3:
                continue
            light = data[..., 2::-1] / (4 * max(float(np.median(data)), 1e-6))
            image = (255 * np.clip(light, 0, 1) ** (1 / 2.2)).astype(np.uint8)
            high, wide = image.shape[0] // 2, image.shape[0] * 2 // 3
            for i in range(max(1, frames // 5)):
                view = np.roll(image, -12 * i, axis=1)[image.shape[0] // 4 :][:high, :wide]
                yield np.asarray(cv2.resize(view, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC), np.uint8)

    clips = {"blank": fade, "noise": noise, "clouds": clouds, "gradient": gradient, "ball": ball}
    return clips | ({"places": places} if rooms is not None and rooms.is_dir() else {})


def empty(models: Models, rooms: Path | None = None, frames: int = EMPTY_FRAMES) -> dict[str, Any]:
    """Frames in which the program sees a hand where there is none, judges it, or praises it.

    `false_finds` are all hands that finder and landmark network see in a frame taken as a still.
    """
    result: dict[str, Any] = {"modes": {}, "praise": 0}
    for mode in ("still", "tracked"):
        line = models.load(judged=True, still=mode == "still")
        praise = line.judge.labels[0]
        rows = {}
        for name, clip in empty_clips(rooms, frames).items():
            line.reset()
            counts = Counter(frames=0, found=0, posture=0, praise=0)
            if mode == "still":
                counts["false_finds"] = 0
            for i, image in enumerate(progress(clip(), 0, f"empty, {mode}, {name}")):
                track, posture = line.step(Frame(image, i / FPS, i))
                label = posture.label if posture else None
                counts["frames"] += 1
                counts["found"] += track.hand is not None
                if mode == "still":
                    counts["false_finds"] += len(line.tracker.all_hands(image))
                counts["posture"] += label not in (None, UNSURE)
                counts["praise"] += label == praise
            rows[name] = dict(counts)
        result["modes"][mode] = rows
        result["praise"] += sum(row["praise"] for row in rows.values())
    stills = result["modes"]["still"].values()
    result["frames"] = sum(row["frames"] for row in stills)
    result["false_finds"] = sum(row["false_finds"] for row in stills)
    result["false_finds_per_frame"] = share(result["false_finds"], result["frames"])
    return result
