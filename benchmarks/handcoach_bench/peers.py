"""MediaPipe, the paper's way and ours on the same pictures: who is measured, in which environments, and the
table that puts them side by side."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import handcoach
from handcoach import camera, model
from handcoach import places as keeping
from handcoach.errors import HandCoachError
from handcoach.hand import DegenerateHandError, mirror, normalise
from handcoach.measure import interval, jitter, pa_mpjpe
from handcoach_bench import environments
from handcoach_bench.campaign import Job
from handcoach_bench.photographs import PEER, read_joints, readable
from handcoach_bench.results import Row
from handcoach_bench.tables import grid, number, percent, stability, whole

MEDIAPIPE = "mediapipe==0.10.21"  # the last one whose wheel carries the hand models; wants numpy < 2
PINNED = ("numpy", "onnxruntime", "opencv-python-headless")
POSTURES = "paper_landmarks.json"  # in the data folder, where somebody has it
READ = ("real_3d", "teacher_sessions", POSTURES)  # what is read of it
FULL = "MediaPipe full"  # what the others are measured against
PAPER = ("torch", "torchvision", "scikit-learn")


@dataclass(frozen=True)
class Peer:
    """A program that is compared.

    Attributes:
        task: what it needs of a child's task. requirements: of its own environment. packages: whose size on
            disk counts. files: that count besides, in bytes.
        trained: its landmarks mean something.
    """

    name: str
    which: str
    provider: str
    task: Mapping[str, Any]
    requirements: Sequence[str]
    packages: Sequence[str]
    bytes: int = 0
    trained: bool = True


def contestants(models: Mapping[str, Path], checkpoint: Path | None, postures: Path) -> list[Peer]:
    """Ours first, then MediaPipe's full model, its lite one, and the paper's way.

    Args:
        models: ours, by kind. checkpoint: of `handcoach-train landmarks --preset paper`, for the paper's way.
        postures: the paper's landmarks, to which its k-means is fitted where they are there.
    """
    known = _postures(postures) if postures.is_file() else None
    lite, full = ({"peer": "mediapipe", "complexity": c} for c in (0, 1))
    ours = {"peer": "ours", **{kind: str(path) for kind, path in models.items()}}
    own = Path(str(handcoach.__file__)).parent
    code = sum(f.stat().st_size for f in own.rglob("*") if f.is_file() and f.suffix not in (".pyc", ".onnx"))
    weight = code + sum(path.stat().st_size for path in models.values())
    paper = {"peer": "paper", "checkpoint": str(checkpoint) if checkpoint else None, "postures": known}
    return [
        Peer(f"HandCoach {model.read(models['landmarks']).name}", "ours", "CPUExecutionProvider", ours,
             _pinned(_needs()), [_name(need) for need in _needs()], weight),
        Peer(FULL, "mediapipe", "TFLite CPU", full, [MEDIAPIPE], ["mediapipe"]),
        Peer("MediaPipe lite", "mediapipe", "TFLite CPU", lite, [MEDIAPIPE], ["mediapipe"]),
        Peer("the paper's way", "paper", "PyTorch CPU", paper,
             [*_needs("train", PAPER), *_pinned(_needs(only=("opencv-python-headless",)))],
             [*PAPER, "opencv-python-headless"], trained=checkpoint is not None),
    ]  # fmt: skip


def _postures(file: Path) -> list[list[float]]:
    try:
        return [np.reshape(f["landmarks"], 63).tolist() for f in json.loads(file.read_text("utf-8"))]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise HandCoachError(f"{file} is not the file of the paper's landmarks ({error}).") from error


def _needs(extra: str | None = None, only: Sequence[str] = ()) -> list[str]:
    """What HandCoach asks for: its own needs or those of an extra, those of some names only."""
    found = []
    for need in metadata.requires("handcoach") or []:
        text, _, marker = need.partition(";")
        given = re.search(r"extra\s*==\s*['\"]([^'\"]+)", marker)
        if (given[1] if given else None) == extra and (not only or _name(text) in only):
            found.append(text.strip())
    return found


def _pinned(needs: Sequence[str]) -> list[str]:
    """What decides how fast a model runs in the version that is here, so that an environment measures the
    program that is here."""
    made = []
    for need in needs:
        try:
            version = metadata.version(_name(need)) if _name(need) in PINNED else None
        except metadata.PackageNotFoundError:  # another build of it is here
            version = None
        made.append(need if version is None else f"{_name(need)}=={version}")
    return made


def _name(requirement: str) -> str:
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    return found.group() if found else requirement


def pythons(peers: Sequence[Peer], given: Mapping[str, str | None]) -> dict[str, tuple[str, str | None]]:
    """The python of each environment by `which`, and why there is none; made where it is not given."""
    found: dict[str, tuple[str, str | None]] = {}
    for peer in peers:
        if peer.which in found:
            continue
        python = given.get(peer.which)
        if python is not None:
            there = shutil.which(python) is not None
            found[peer.which] = (
                python, None if there else f"{python} does not exist: give the python of an environment"
            )  # fmt: skip
            continue
        try:
            made = environments.make(f"peers-{peer.which}", peer.requirements)
            if peer.which == "ours":
                environments.refresh(made)
            found[peer.which] = str(made), None
        except HandCoachError as error:
            found[peer.which] = "", str(error)
    return found


@dataclass(frozen=True)
class Pictures:
    """What everybody is shown.

    Attributes:
        photographs: with `joints` (N, 21, 3) in cm. guess: (21, 3), what a program would say without looking,
            which a missed hand counts as.
        frames: of clips, one after the other; `numbers` (T,): neighbours of one clip have successive ones.
        unreadable: how many photographs and frames were left out, since they cannot be decoded.
    """

    photographs: list[Path]
    joints: NDArray[np.float64]
    guess: NDArray[np.floating]
    frames: list[Path] = field(default_factory=list)
    numbers: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    unreadable: int = 0


def read_pictures(data: Path, exercise: Path, most: int | None) -> Pictures:
    """The photographs and clips of a data folder, at most so many of each; of a clip its first ones.

    Raises:
        HandCoachError: there is neither, or none of them can be read.
    """
    photographs: list[Path] = []
    joints = np.zeros((0, 21, 3))
    if (data / "real_3d").is_dir():
        photographs, joints = read_joints(data / "real_3d")
        photographs, joints = photographs[:most], joints[:most]
    frames: list[Path] = []
    numbers: list[int] = []
    clips = sorted(p for p in (data / "teacher_sessions").glob("*") if p.is_dir())
    for session, clip in enumerate(clips):
        found = [p for p in clip.iterdir() if p.suffix.lower() in (".jpg", ".jpeg", ".png")]
        found = sorted(found, key=lambda p: camera.natural(p.name))
        found = found[: None if most is None else max(1, most // len(clips))]
        # A gap after every clip: its last frame and the next one's first are no neighbours.
        numbers += [len(frames) + session + i for i in range(len(found))]
        frames += found
    if not photographs and not frames:
        raise HandCoachError(
            f"{data} has no folder real_3d or teacher_sessions: give the one that holds them."
        )
    # Not a miss of everybody's, which would be as many wrong figures as there are programs.
    seen, followed = readable(photographs), readable(frames)
    unreadable = len(photographs) + len(frames) - int(seen.sum() + followed.sum())
    if unreadable == len(photographs) + len(frames):
        raise HandCoachError(f"None of the {unreadable} pictures of {data} can be read: give others.")
    reference = np.asarray(model.read(exercise, "exercise").meta["reference"], np.float32)
    return Pictures(
        list(itertools.compress(photographs, seen)), joints[seen], mirror(reference),
        list(itertools.compress(frames, followed)), np.array(numbers, np.int64)[followed], unreadable,
    )  # fmt: skip


def jobs(
    peers: Sequence[Peer], pictures: Pictures, places: Mapping[str, tuple[str, str | None]], *, cores: int,
    warmup: int, repeats: int, keep: Path | None,
) -> list[Job]:  # fmt: skip
    """Clips in rounds, everybody once in each; then photographs and the size on disk, once."""
    todo = []

    def job(
        peer: Peer, what: str, repeat: int, task: dict[str, Any], read: Callable[..., dict[str, Any]]
    ) -> Job:
        python, why = places[peer.which]
        case = {"key": f"{peer.name} {what}", "what": what, "name": peer.name, "threads": cores,
                "provider": peer.provider, "python": python,
                **({"images": len(task["files"])} if "files" in task else {})}  # fmt: skip

        def kept(found: dict[str, Any]) -> dict[str, Any]:
            if keep is not None and "landmarks" in found:
                raw = {"files": task["files"], **{k: found[k] for k in ("landmarks", "sides", "versions")}}
                file = keep / f"{re.sub(r'[^A-Za-z0-9]+', '-', peer.name)}-{what}-{repeat}.json"
                keeping.save(file, json.dumps(raw).encode())
            return {"provider": peer.provider, **read(peer, found)}

        return Job(case, repeat, task, (python, str(PEER)), kept, why)

    for repeat in range(repeats if pictures.frames else 0):
        for peer in peers:
            task = {**peer.task, "files": [str(f) for f in pictures.frames], "tracked": True, "cores": cores,
                    "warmup": min(warmup, len(pictures.frames) // 4)}  # fmt: skip
            todo.append(job(peer, "clips", repeat, task, lambda p, found: read_clips(p, found, pictures)))
    for peer in peers if pictures.photographs else []:
        task = {**peer.task, "files": [str(f) for f in pictures.photographs], "cores": cores}
        todo.append(job(peer, "photographs", 0, task, lambda p, found: read_photographs(p, found, pictures)))
    for peer in peers:
        todo.append(job(peer, "install", 0, {"size": list(peer.packages)}, read_size))
    return todo


def read_clips(peer: Peer, found: dict[str, Any], pictures: Pictures) -> dict[str, Any]:
    """Times, the share of frames in which a hand was found, and how much a held hand jitters."""
    rows, numbers = [], []
    for joints, place in zip(found["landmarks"], pictures.numbers, strict=True):
        try:
            rows.append(normalise(np.array(joints, np.float64))[0])
        except (DegenerateHandError, IndexError, TypeError, ValueError):  # not found, or no hand's shape
            continue
        numbers.append(place)
    moved = jitter(np.array(rows), np.array(numbers)) if peer.trained else float("nan")
    seen = [joints is not None for joints in found["landmarks"]]
    return {
        **_times(found),
        "found": sum(seen) / len(seen) if peer.which != "paper" else None,  # it has no word for "no hand"
        "figures": {
            "startup_ms": found["startup_ms"],
            "jitter_hand_units": moved if np.isfinite(moved) else None,
        },
    }


def read_photographs(peer: Peer, found: dict[str, Any], pictures: Pictures) -> dict[str, Any]:
    """PA-MPJPE in mm of each photograph; a missed hand has that of a guess, an untrained program none."""
    errors: dict[str, float] = {}
    missed = []
    if peer.trained:
        for file, truth, joints in zip(
            pictures.photographs, pictures.joints, found["landmarks"], strict=True
        ):
            said = pictures.guess if joints is None else np.array(joints)
            errors[file.name] = round(10 * float(pa_mpjpe(said, truth)), 4)
            missed += [file.name] if joints is None else []
    low, high = interval(list(errors.values())) if errors else (None, None)
    return {
        **_times(found),
        "found": 1 - len(missed) / len(found["landmarks"]) if peer.which != "paper" else None,
        "errors_mm": errors,
        "missed": missed,
        "figures": {
            "pa_mpjpe_mm": statistics.fmean(errors.values()) if errors else None,
            "low_mm": low,
            "high_mm": high,
            "missed": len(missed) if peer.trained else None,
        },
    }


def _times(found: dict[str, Any]) -> dict[str, Any]:
    names = (
        "warmup_ms",
        "wall_ms",
        "cpu_ms",
        "load_ms",
        "peak_rss_mb",
        "steady_rss_mb",
        "versions",
        "pinned",
    )
    return {name: found[name] for name in names}


def read_size(peer: Peer, found: dict[str, Any]) -> dict[str, Any]:
    whole = sum(found["size_mb"].values()) + peer.bytes / 2**20
    return {"versions": found["versions"], "size_mb": found["size_mb"], "figures": {"install_mb": whole}}


COLUMNS = ("", "PA-MPJPE mm [95 %]", "missed", "CPU ms/frame", "of full [rounds]", "latency p50", "p95",
           "found", "jitter", "start-up s", "peak MB", "steady MB", "install MB")  # fmt: skip


def table(
    rows: Sequence[Row], peers: Sequence[Peer], pictures: Pictures, data: Path, cores: int
) -> list[str]:
    """Everybody side by side, and how ours differs from each other one on the same photographs."""
    by = {(row.case["name"], row.case["what"]): row for row in rows}
    full = by.get((FULL, "clips"))
    cells: list[tuple[str, ...]] = [COLUMNS]
    marks = [""]
    for peer in peers:
        clips, stills, size = (by.get((peer.name, what)) for what in ("clips", "photographs", "install"))
        s = clips.summary if clips else None
        peak = clips.most("peak_rss_mb") if clips else None
        started = _mean(clips, "startup_ms")
        cells.append((
            peer.name, _accuracy(stills, peer), whole(_mean(stills, "missed")),
            number(clips.cpu_ms if clips else None), of_full(clips, full), number(s.median if s else None),
            number(s.p95 if s else None),
            "always" if peer.which == "paper" else percent(_mean(clips, "found")),
            number(_mean(clips, "jitter_hand_units")), number(None if started is None else started / 1000),
            whole(peak), whole(_mean(clips, "steady_rss_mb")), whole(_mean(size, "install_mb")),
        ))  # fmt: skip
        notes = dict.fromkeys(row.note for row in (clips, stills, size) if row and row.note)
        marks.append("; ".join([*map(str, notes), *([clips.unstable] if clips and clips.unstable else [])]))
    lines = [
        f"{len(pictures.frames)} frames of {data / 'teacher_sessions'}, followed, "
        f"{_place(rows, cores)} (CPU: all threads; a frame is given decoded); "
        f"{len(pictures.photographs)} photographs of {data / 'real_3d'}, each on its own"
        + (f"; {pictures.unreadable} more cannot be read" if pictures.unreadable else "")
    ]
    drawn = grid(cells, left=(0,))
    lines += [*drawn[:2], *(f"{at}  {mark}".rstrip() for at, mark in zip(drawn[2:], marks[1:], strict=True))]
    lines += _differences(by, peers)
    if any(not peer.trained for peer in peers):
        lines.append(
            "the paper's way: random weights, which take as long; the paper's own are not public "
            "(--paper-checkpoint FILE brings some)"
        )
    return lines + stability([row for row in rows if row.case["what"] == "clips"])


def _place(rows: Sequence[Row], cores: int) -> str:
    free = any(r.get("pinned") is False for row in rows for r in row.good)
    return f"{'not pinned to' if free else 'on'} {cores} core{'s' * (cores > 1)}"


def facts(rows: Sequence[Row]) -> list[str]:
    """For a report: CPU time by MediaPipe's in the same rounds, and whether everybody kept to his cores."""
    clips = {row.case["name"]: row for row in rows if row.case["what"] == "clips" and row.good}
    cores = next((row.case["threads"] for row in clips.values()), None)
    said = [
        f"CPU time of {name} by that of {FULL} in the same round, median [range]: {of_full(row, clips[FULL])}"
        for name, row in clips.items() if FULL in clips and name != FULL
    ]  # fmt: skip
    return ([f"measured {_place(list(clips.values()), cores)}"] if cores else []) + said


def of_full(row: Row | None, full: Row | None) -> str:
    """CPU time by that of MediaPipe's full model in the same round, which a change of the machine's pace hits
    alike: the median of the rounds, and their range."""
    mine, theirs = (r.cpu_by_repeat() if r else {} for r in (row, full))
    ratios = [mine[r] / theirs[r] for r in mine if theirs.get(r)]
    if not ratios:
        return "?"
    span = f" [{min(ratios):.2f}, {max(ratios):.2f}]" if len(ratios) > 1 else ""
    return f"{statistics.median(ratios):.2f}{span}"


def _differences(by: Mapping[tuple[str, str], Row], peers: Sequence[Peer]) -> list[str]:
    """On the same photographs; an interval without 0 is a difference."""
    errors = {
        peer.name: row.good[0]["errors_mm"]
        for peer in peers
        if (row := by.get((peer.name, "photographs"))) and row.good and row.good[0]["errors_mm"]
    }
    ours, *others = [peer.name for peer in peers]
    lines = []
    for other in others if ours in errors else []:
        if other in errors:
            apart = [errors[ours][name] - errors[other][name] for name in errors[ours]]
            low, high = interval(apart)
            word = "better" if high < 0 else "worse" if low > 0 else "no clear difference"
            lines.append(
                f"{ours} less {other}, the same photographs: {statistics.fmean(apart):+.2f} mm "
                f"[{low:+.2f}, {high:+.2f}], {word}"
            )
    return lines


def _mean(row: Row | None, name: str) -> float | None:
    return row.mean(name) if row else None


def _accuracy(row: Row | None, peer: Peer) -> str:
    mean, low, high = (_mean(row, name) for name in ("pa_mpjpe_mm", "low_mm", "high_mm"))
    if mean is None:
        return "?" if peer.trained else "untrained"
    return f"{mean:.2f} [{low:.2f}, {high:.2f}]"
