"""Webcam sessions whose folders are named like postures: are they told apart, does a held hand look still?"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from handcoach import camera, model, recording
from handcoach import pipeline as runtime
from handcoach.coach import UNSURE
from handcoach.errors import HandCoachError
from handcoach.exercise import Exercise
from handcoach.hand import Array, Hand
from handcoach.measure import Watched, jitter, watch
from handcoach_bench import runner
from handcoach_bench.common import NOT_FOUND, Models, demo_clip, progress, share
from handcoach_bench.pipeline import FPS

FIT_S = 600  # the longest that fitting an exercise may take


@dataclass(frozen=True)
class Seen:
    """What the program made of a frame: a label, "unsure" or "not found"; and the side."""

    posture: str
    side: str | None
    reason: str | None


def play(
    folder: Path, line: runtime.Pipeline, *, mirrored: bool, what: str, lost: dict[str, int] | None = None
) -> dict[str, Seen]:
    """The frames of a folder in order, as a movement of 30 frames per second; by file name. `lost` is told
    how many of its pictures cannot be read."""
    line.reset()
    seen = {}
    with camera.open_source(folder) as source:
        for number, frame in enumerate(progress(source, source.total or 0, what)):
            image = np.ascontiguousarray(frame.image[:, ::-1]) if mirrored else frame.image
            track, posture = line.step(replace(frame, image=image, t=number / FPS))
            name = Path(frame.file or "").name
            label = posture.label if posture else NOT_FOUND
            seen[name] = Seen(label, track.hand.side if track.hand else None, track.reason)
        if lost is not None:
            lost[folder.name] = source.skipped
    return seen


def teacher(folder: Path, models: Models) -> dict[str, Any]:
    """Postures of webcam sessions whose folders are named like the exercise's labels; and mirrored."""
    result: dict[str, Any] = {"modes": {}}
    lost: dict[str, int] = {}
    for mode in ("still", "tracked"):
        line = models.load(judged=True, still=mode == "still")
        labels = line.judge.labels
        sessions = [label for label in labels if (folder / label).is_dir()]
        if not sessions:
            return {"skipped": f"{folder} has none of the folders {', '.join(labels)}"}
        result |= {"labels": list(labels), "sessions": sessions}
        looks = {
            mirrored: {
                session: play(folder / session, line, mirrored=mirrored,
                              what=f"teacher, {mode}{', mirrored' * mirrored}, {session}", lost=lost)
                for session in sessions
            }
            for mirrored in (False, True)
        }  # fmt: skip
        result |= {"frames": sum(map(len, looks[False].values())), "unreadable": sum(lost.values())}
        result["modes"][mode] = {
            "original": confusion(looks[False], labels),
            "mirrored": confusion(looks[True], labels),
            "mirror": same_mirrored(looks[False], looks[True]),
        }
    hands = {session: follow(folder / session, models) for session in result["sessions"]}
    result["still_hand"] = still_hand(hands) | moving_hand(models)
    frames = {session: len(seen) for session, seen in looks[False].items()}
    result["own_fit"] = {
        what: own_fit({session: getattr(seen, what) for session, seen in hands.items()}, frames)
        for what in ("raw", "smooth")
    }
    return result


# --- a still hand looks still ---


def follow(clip: Path, models: Models, fps: float | None = FPS) -> Watched:
    """The hand of a clip, or of a folder of pictures played at so many frames per second; None: at the
    clip's own times."""
    line = models.load(judged=False, still=False)
    with camera.open_source(clip) as source:
        return watch(line, progress(source, source.total or 0, f"still hand, {clip.name}"), fps)


def still_hand(hands: Mapping[str, Watched]) -> dict[str, Any]:
    """Jitter (`handcoach.measure.jitter`) of held postures, unfiltered and filtered: by session and the mean
    over all pairs of successive frames."""
    pairs = {session: int((np.diff(seen.number) == 1).sum()) for session, seen in hands.items()}
    result: dict[str, Any] = {"unit": "wrist to middle MCP", "pairs": pairs}
    for what in ("raw", "smooth"):
        each = {session: jitter(getattr(seen, what), seen.number) for session, seen in hands.items()}
        known = {session: value for session, value in each.items() if np.isfinite(value)}
        total = sum(pairs.values())
        result[what] = {
            "mean": round(sum(v * pairs[s] for s, v in known.items()) / total, 5) if total else None,
            "sessions": {session: round(value, 5) for session, value in known.items()},
        }
    return result


def moving_hand(models: Models) -> dict[str, Any]:
    """Lag of the tracker's filter in ms, in the hand frame, on the demo's clip of a finger stretch."""
    clip = demo_clip()
    seen = follow(clip, models, fps=None)
    late = seen.lag_ms()
    return {
        "clip": clip.name,
        "fps": round(seen.fps, 2),
        "frames": len(seen.number),
        "lag_ms": None if late is None else round(late, 1),
    }


# --- postures fitted on these very frames ---


def own_fit(hands: Mapping[str, Array], frames: Mapping[str, int]) -> dict[str, Any]:
    """Do clusters fitted on these frames recover their labels? The exercise stage itself fits them.

    `all` is fitted and judged on all frames. `halves` is fitted on one half of each session and judged on the
    other, both ways round. Of each the share that lies in a cluster of its own label, and the share that is
    also told so: not called "unsure". A frame without a found hand is in no cluster.

    Args:
        hands: canonical landmarks (N, 21, 3) of each label. frames: how many it has, found or not.
    """
    try:
        whole = _judged(_fit(hands), hands)
        halves: list[tuple[str, str, str]] = []
        cut = {label: np.array_split(rows, 2) for label, rows in hands.items()}
        for part in (0, 1):
            exercise = _fit({label: rows[part] for label, rows in cut.items()})
            halves += _judged(exercise, {label: rows[1 - part] for label, rows in cut.items()})
    except (runner.ChildError, HandCoachError) as error:
        return {"failed": str(error)}
    lost = [
        (label, NOT_FOUND, NOT_FOUND) for label in hands for _ in range(frames[label] - len(hands[label]))
    ]
    return {"all": _recovered([*whole, *lost]), "halves": _recovered([*halves, *lost])}


def _judged(exercise: Exercise, hands: Mapping[str, Array]) -> list[tuple[str, str, str]]:
    """Label, label of the nearest cluster, and what is said, of every canonical hand."""
    nowhere = np.zeros((21, 2), np.float32)
    result = []
    for label, rows in hands.items():
        for row in rows:
            posture = exercise.assess(Hand(row, nowhere, "right", 1.0))
            near = exercise.clusters[posture.cluster] if posture.cluster >= 0 else UNSURE
            result.append((label, near, posture.label))
    return result


def _recovered(judged: Sequence[tuple[str, str, str]]) -> dict[str, Any]:
    confusion: dict[str, Counter[str]] = {}
    for label, near, _ in judged:
        confusion.setdefault(label, Counter())[near] += 1
    return {
        "frames": len(judged),
        "cluster_share": share(sum(label == near for label, near, _ in judged), len(judged)),
        "said_share": share(sum(label == said for label, _, said in judged), len(judged)),
        "confusion": {label: dict(counts) for label, counts in confusion.items()},
    }


def _fit(hands: Mapping[str, Array]) -> Exercise:
    """An exercise made from these hands as a therapist makes it: recorded, then built by handcoach-export, in
    a process of its own, since the benchmarks import no training.

    Raises:
        ChildError: it could not be built.
    """
    with tempfile.TemporaryDirectory(prefix="handcoach-bench-") as folder:
        place, file = Path(folder) / "recording", Path(folder) / "own.onnx"
        for label, rows in hands.items():
            recording.add(place, label, rows, np.arange(len(rows)) / FPS, hand="right", landmark_model="any")
        command = [sys.executable, "-m", "handcoach_export", "exercise", str(place), "-o", str(file)]
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=FIT_S)
        except subprocess.TimeoutExpired as error:
            raise runner.ChildError("timeout", f"no exercise after {FIT_S} s") from error
        if done.returncode != 0:
            last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
            raise runner.ChildError("died", " ".join(last)[:300] or f"exit code {done.returncode}")
        return Exercise(model.read(file, "exercise"))


# --- what was said ---


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
        "found_share": share(total - sum(c[NOT_FOUND] for c in counts.values()), total),
        "right_share": share(sum(c[truth] for truth, c in counts.items()), total),
        "right_by_posture": {truth: share(c[truth], sum(c.values())) for truth, c in counts.items()},
        "unsure_share": share(sum(c[UNSURE] for c in counts.values()), total),
        "wrong_praise": praise,
        "wrong_praise_share": share(praise, bent_total),
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
        "same_share": share(same, len(pairs)),
        "both_found": len(found),
        "contradictions": against,  # two different postures, both sure
        "other_side_share": share(sum(a.side != b.side for a, b in found), len(pairs)),
    }
