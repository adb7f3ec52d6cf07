"""How right the program is: on photographs with known joints, on webcam sessions, and where there is no hand.

Everything goes through `handcoach.pipeline`, as a patient's frames do. A part takes its data folder and
gives a plain dict, which is what the JSON file holds; `tables.py` shows it to people. A hand that is not
found is a failure in every share, never left out.
"""

from __future__ import annotations

import csv
import math
import sys
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from handcoach import camera, defaults, model
from handcoach import pipeline as runtime
from handcoach.coach import UNSURE
from handcoach.errors import HandCoachError
from handcoach.hand import Frame
from handcoach.measure import pa_mpjpe
from handcoach.tracker import Choice
from handcoach_bench import runner
from handcoach_bench.pipeline import FPS, HEIGHT, MAX_FRAMES, WIDTH
from handcoach_bench.results import Case, Summary

T = TypeVar("T")
Image = NDArray[np.uint8]

SCHEMA = 1
NOT_FOUND = "not found"
# The folder of each part within the data folder; "empty" makes its own pictures.
FOLDERS = {
    "real-3d": "real_3d",
    "teacher": "teacher_sessions",
    "webcam": "webcam_hands",
    "latency": "teacher_sessions",
}
PARTS = ("real-3d", "teacher", "webcam", "empty", "latency")
JUDGED = ("teacher", "empty", "latency")  # parts that need an exercise
# Recordings of the webcam photographs that were kept out of training: handcoach_train.data.held_out.
HELD_OUT = Path(__file__).with_name("held_out.txt")

# A hand lies in a labelled box if so large a share of its points lies in the box, made so much larger.
INSIDE, LARGER = 0.9, 1.1
EMPTY_FRAMES = 60  # of each clip without a hand
LATENCY_WARMUP = 20


@dataclass(frozen=True)
class Models:
    """Names of shipped models, or files."""

    landmarks: str = defaults.LANDMARKS
    finder: str = defaults.FINDER
    exercise: str = defaults.EXERCISE

    def paths(self, judged: bool) -> dict[str, Path]:
        """By kind; the exercise only where postures are judged.

        Raises:
            ModelError: one of them is unknown or does not fit.
        """
        kinds = ("landmarks", "finder", "exercise") if judged else ("landmarks", "finder")
        return {kind: model.find(getattr(self, kind), kind) for kind in kinds}

    def load(self, *, judged: bool, still: bool, hand: Choice = "auto") -> runtime.Pipeline:
        exercise = self.exercise if judged else None
        return runtime.load(exercise, self.landmarks, self.finder, hand=hand, still=still)


def describe(paths: Mapping[str, Path]) -> dict[str, Any]:
    """Which files were measured."""
    files = {kind: model.read(path, kind) for kind, path in paths.items()}
    return {
        kind: {"name": f.name, "version": f.meta["version"], "sha256": f.sha256, "file": str(f.path)}
        for kind, f in files.items()
    }


def run(
    part: str, data: Path, models: Models, held_out: Path = HELD_OUT, timeout_s: float = 600
) -> dict[str, Any]:
    """One part; {"skipped": why} where its data are not there.

    Raises:
        HandCoachError: a model or data do not fit.
    """
    folder = data / FOLDERS.get(part, "")
    if not folder.is_dir():
        return {"skipped": f"{folder} is missing"}
    began = time.monotonic()
    measure: dict[str, Callable[[], dict[str, Any]]] = {
        "real-3d": lambda: real_3d(folder, models),
        "teacher": lambda: teacher(folder, models),
        "webcam": lambda: webcam(folder, models, read_held_out(held_out)),
        "empty": lambda: empty(models, data / "assets/hdri"),
        "latency": lambda: latency(folder, models, timeout_s),
    }
    result = measure[part]()
    return result | {"seconds": round(time.monotonic() - began, 1)}


# --- real-3d ---


def read_joints(folder: Path) -> tuple[list[Path], NDArray[np.float64]]:
    """Photographs and their joints (N, 21, 3) in cm.

    Raises:
        HandCoachError: joints.npz is missing or does not fit.
    """
    path = folder / "joints.npz"
    try:
        with np.load(path, allow_pickle=False) as content:
            joints = np.asarray(content["joints_cm"], np.float64)
            names = [str(name) for name in content["image_path"]]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise HandCoachError(
            f"{path} cannot be read ({error}): it must hold joints_cm and image_path."
        ) from error
    if joints.shape != (len(names), 21, 3) or not np.isfinite(joints).all() or not names:
        raise HandCoachError(f"{path} does not fit: joints_cm must be (N, 21, 3) for N photographs.")
    return [folder / name for name in names], joints


def real_3d(folder: Path, models: Models) -> dict[str, Any]:
    """PA-MPJPE in mm, with the side as the program sees it and as it is: all are left hands."""
    files, joints = read_joints(folder)
    result: dict[str, Any] = {"photographs": len(files), "unit": "mm", "true_side": "left", "hands": {}}
    hands: tuple[Choice, ...] = ("auto", "left")
    for hand in hands:
        line = models.load(judged=False, still=True, hand=hand)
        errors: dict[str, float | None] = {}
        sides, reasons, unreadable = Counter[str](), Counter[str](), 0
        for i, file in progress(enumerate(files), len(files), f"real-3d, hand {hand}"):
            image = camera.read_still(file)
            if image is None:
                unreadable += 1
                continue
            track, _ = line.step(Frame(image, 0.0, i, str(file)))
            if track.hand is None:
                reasons[track.reason or "no_hand"] += 1
                errors[file.name] = None
            else:
                sides[track.hand.side] += 1
                errors[file.name] = round(10 * float(pa_mpjpe(track.hand.landmarks, joints[i])), 3)
        known = [e for e in errors.values() if e is not None]
        result["hands"][hand] = {
            "read": len(errors),
            "unreadable": unreadable,
            "found": len(known),
            "found_share": _share(len(known), len(errors)),
            "not_found": dict(reasons),
            "side_share": _share(sides["left"], len(errors)),
            "mean": _rounded(np.mean, known),
            "median": _rounded(np.median, known),
            "p90": _rounded(lambda e: np.percentile(e, 90), known),
            "errors": errors,
        }
    return result


# --- teacher ---


@dataclass(frozen=True)
class Seen:
    """What the program made of a frame: a label, "unsure" or "not found"; and the side."""

    posture: str
    side: str | None
    reason: str | None


def play(folder: Path, line: runtime.Pipeline, *, mirrored: bool, what: str) -> dict[str, Seen]:
    """The frames of a folder in order, as a movement of 30 frames per second; by file name."""
    line.reset()
    seen = {}
    with camera.open_source(folder) as source:
        for number, frame in enumerate(progress(source, source.total or 0, what)):
            image = np.ascontiguousarray(frame.image[:, ::-1]) if mirrored else frame.image
            track, posture = line.step(replace(frame, image=image, t=number / FPS))
            name = Path(frame.file or "").name
            label = posture.label if posture else NOT_FOUND
            seen[name] = Seen(label, track.hand.side if track.hand else None, track.reason)
    return seen


def teacher(folder: Path, models: Models) -> dict[str, Any]:
    """Postures of webcam sessions whose folders are named like the exercise's labels; and mirrored."""
    result: dict[str, Any] = {"modes": {}}
    for mode in ("still", "tracked"):
        line = models.load(judged=True, still=mode == "still")
        labels = line.exercise.labels if line.exercise else ()
        sessions = [label for label in labels if (folder / label).is_dir()]
        if not sessions:
            return {"skipped": f"{folder} has none of the folders {', '.join(labels)}"}
        result |= {"labels": list(labels), "sessions": sessions}
        looks = {
            mirrored: {
                session: play(folder / session, line, mirrored=mirrored,
                              what=f"teacher, {mode}{', mirrored' * mirrored}, {session}")
                for session in sessions
            }
            for mirrored in (False, True)
        }  # fmt: skip
        result["frames"] = sum(map(len, looks[False].values()))
        result["modes"][mode] = {
            "original": confusion(looks[False], labels),
            "mirrored": confusion(looks[True], labels),
            "mirror": same_mirrored(looks[False], looks[True]),
        }
    return result


def confusion(looks: Mapping[str, Mapping[str, Seen]], labels: Sequence[str]) -> dict[str, Any]:
    """Truth by what was said. Praise is the first label; it is wrong for every other truth."""
    columns = [*labels, UNSURE, NOT_FOUND]
    counts = {truth: Counter(s.posture for s in seen.values()) for truth, seen in looks.items()}
    total = sum(sum(c.values()) for c in counts.values())
    bent = {truth: c for truth, c in counts.items() if truth != labels[0]}
    praise, bent_total = sum(c[labels[0]] for c in bent.values()), sum(sum(c.values()) for c in bent.values())
    reasons = Counter(s.reason for seen in looks.values() for s in seen.values() if s.reason)
    sides = Counter(s.side for seen in looks.values() for s in seen.values() if s.side)
    return {
        "confusion": {truth: {column: c[column] for column in columns} for truth, c in counts.items()},
        "frames": total,
        "found_share": _share(total - sum(c[NOT_FOUND] for c in counts.values()), total),
        "right_share": _share(sum(c[truth] for truth, c in counts.items()), total),
        "right_by_posture": {truth: _share(c[truth], sum(c.values())) for truth, c in counts.items()},
        "unsure_share": _share(sum(c[UNSURE] for c in counts.values()), total),
        "wrong_praise": praise,
        "wrong_praise_share": _share(praise, bent_total),
        "not_found": dict(reasons),
        "sides": dict(sides),
        "postures": {
            f"{truth}/{name}": s.posture for truth, seen in looks.items() for name, s in seen.items()
        },
    }


def same_mirrored(
    original: Mapping[str, Mapping[str, Seen]], mirrored: Mapping[str, Mapping[str, Seen]]
) -> dict[str, Any]:
    """How many mirrored frames get the original's posture, and the other side. Both must be found."""
    pairs = [(s, mirrored[session][name]) for session, seen in original.items() for name, s in seen.items()]
    found = [(a, b) for a, b in pairs if NOT_FOUND not in (a.posture, b.posture)]
    same = sum(a.posture == b.posture for a, b in found)
    against = sum(a.posture != b.posture and UNSURE not in (a.posture, b.posture) for a, b in found)
    return {
        "frames": len(pairs),
        "same": same,
        "same_share": _share(same, len(pairs)),
        "both_found": len(found),
        "contradictions": against,  # two different postures, both sure
        "other_side_share": _share(sum(a.side != b.side for a, b in found), len(pairs)),
    }


# --- webcam ---


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
    """Whether the found hand lies where the photograph has one, by recordings trained on and held out."""
    boxes = read_boxes(folder / "boxes.csv")
    line = models.load(judged=False, still=True)
    shares: dict[str, float | None] = {}
    unlabelled = 0
    with camera.open_source(folder / "images") as source:
        for frame in progress(source, source.total or 0, "webcam"):
            name = Path(frame.file or "").name
            if name not in boxes:
                unlabelled += 1
                continue
            hand = line.step(frame)[0].hand
            shares[name] = None if hand is None else round(share_inside(hand.points, boxes[name]), 4)
        unreadable = source.skipped
    kept = {name: s for name, s in shares.items() if recording(name) in held_out}
    trained = {name: s for name, s in shares.items() if name not in kept}
    return {
        "rule": f"at least {100 * INSIDE:.0f} % of 21 points in one box, {LARGER:g} times as wide and high",
        "unlabelled": unlabelled,
        "unreadable": unreadable,
        "groups": {"all": _inside(shares), "held out": _inside(kept), "others": _inside(trained)},
        "shares": shares,
    }


def _inside(shares: Mapping[str, float | None]) -> dict[str, Any]:
    found = [s for s in shares.values() if s is not None]
    right = sum(s >= INSIDE for s in found)
    return {
        "photographs": len(shares),
        "recordings": len({recording(name) for name in shares}),
        "found": len(found),
        "found_share": _share(len(found), len(shares)),
        "inside": right,
        "inside_share": _share(right, len(shares)),
        "median_points": _rounded(np.median, found),
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
            data = cv2.imdecode(np.fromfile(file, np.uint8), cv2.IMREAD_UNCHANGED)
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
    """Frames in which the program sees a hand where there is none, judges it, or praises it."""
    result: dict[str, Any] = {"modes": {}, "praise": 0}
    for mode in ("still", "tracked"):
        line = models.load(judged=True, still=mode == "still")
        praise = line.exercise.labels[0] if line.exercise else None
        rows = {}
        for name, clip in empty_clips(rooms, frames).items():
            line.reset()
            counts = Counter(frames=0, found=0, posture=0, praise=0)
            for i, image in enumerate(progress(clip(), 0, f"empty, {mode}, {name}")):
                track, posture = line.step(Frame(image, i / FPS, i))
                label = posture.label if posture else None
                counts["frames"] += 1
                counts["found"] += track.hand is not None
                counts["posture"] += label not in (None, UNSURE)
                counts["praise"] += label == praise
            rows[name] = dict(counts)
        result["modes"][mode] = rows
        result["praise"] += sum(row["praise"] for row in rows.values())
    return result


# --- latency ---


def latency(folder: Path, models: Models, timeout_s: float) -> dict[str, Any]:
    """Milliseconds of a tracked frame of 640 x 480 on one thread; each session in a fresh process."""
    paths = models.paths(judged=True)
    name = model.read(paths["landmarks"]).name
    outcomes = []
    sessions = sorted(p for p in folder.iterdir() if p.is_dir())
    for session in sessions:
        frames = min(MAX_FRAMES, camera.open_source(session).total or 1)
        case = Case(
            "pipeline", str(paths["landmarks"]), name, 1, "CPUExecutionProvider", LATENCY_WARMUP, frames,
            finder=str(paths["finder"]), exercise=str(paths["exercise"]), clip=str(session),
        )  # fmt: skip
        outcomes.append(runner.run(case, timeout_s))
    if not outcomes:
        return {"skipped": f"{folder} has no folders"}
    failed = [o for o in outcomes if o.status != "ok"]
    if failed:
        return {"failed": f"{Path(failed[0].case.clip or '').name}: {failed[0].error}"}
    times = {
        "step_wall": [ms for o in outcomes for ms in o.wall_ms],
        "step_cpu": [ms for o in outcomes for ms in o.cpu_ms],
        "network_wall": [ms for o in outcomes for ms in o.network_wall_ms],
        "network_cpu": [ms for o in outcomes for ms in o.network_cpu_ms],
    }
    runs = len(times["step_wall"])
    return {
        "unit": "ms",
        "threads": 1,
        "frames": runs,
        **{what: asdict(Summary.of(values)) for what, values in times.items()},
        "network_share": round(sum(times["network_wall"]) / sum(times["step_wall"]), 4),
        "found_share": round(sum((o.found or 0) * len(o.wall_ms) for o in outcomes) / runs, 4),
        "sessions": [o.as_json() for o in outcomes],
    }


# --- helpers ---


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


def _rounded(function: Callable[[list[float]], Any], values: list[float]) -> float | None:
    return round(float(function(values)), 4) if values else None


def progress(items: Iterable[T], total: int, what: str) -> Iterator[T]:
    """The items, with a bar on the terminal; `total` 0 is unknown."""
    if not sys.stderr.isatty():
        yield from items
        return
    shown = 0.0
    try:
        for number, item in enumerate(items, 1):
            now = time.monotonic()
            if now - shown > 0.1:
                shown = now
                bar = f"[{'#' * (30 * number // total):<30}] {number}/{total}" if total else str(number)
                print(f"\r{what}  {bar}\x1b[K", end="", file=sys.stderr, flush=True)
            yield item
    finally:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
