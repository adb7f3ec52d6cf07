"""What `accuracy` measured, as lines for a terminal. It reads the dicts that the JSON file holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from handcoach_bench.accuracy import NOT_FOUND
from handcoach_bench.results import grid

MEDIAPIPE_MM = 10.05  # mediapipe 0.10.21 on the same 283 photographs, all found


def lines(part: str, result: Mapping[str, Any]) -> list[str]:
    """A headline and a table; or one line that says why there is none."""
    for why in ("skipped", "failed"):
        if why in result:
            return [f"{part}: {why}, {result[why]}"]
    head, rows, notes = {
        "real-3d": _real_3d, "teacher": _teacher, "webcam": _webcam, "empty": _empty, "latency": _latency,
    }[part](result)  # fmt: skip
    return [f"{part}: {head}", *("  " + line for line in grid(rows)), *("  " + note for note in notes)]


Rows = list[tuple[str, ...]]
Table = tuple[str, Rows, list[str]]


def _real_3d(result: Mapping[str, Any]) -> Table:
    rows: Rows = [("hand", "found", "share", "mean", "median", "p90", "side right")]
    notes = [f"mediapipe's full model: {MEDIAPIPE_MM} mm"]
    for hand, r in result["hands"].items():
        errors = (_number(r[key]) for key in ("mean", "median", "p90"))
        rows.append(
            (
                hand,
                f"{r['found']}/{r['read']}",
                _percent(r["found_share"]),
                *errors,
                _percent(r["side_share"]),
            )
        )
        notes += _lost(hand, r)
    return (
        f"PA-MPJPE in mm over the hands found in {result['photographs']} photographs (all left hands)",
        rows, notes,
    )  # fmt: skip


def _teacher(result: Mapping[str, Any]) -> Table:
    labels = [*result["labels"], "unsure", NOT_FOUND]
    rows: Rows = [("frames", "truth", *labels, "found", "right", "wrong praise")]
    notes = []
    for mode, looks in result["modes"].items():
        for copy in ("original", "mirrored"):
            r = looks[copy]
            name = f"{mode}, {copy}"
            for truth, said in r["confusion"].items():
                counts = (str(said[label]) for label in labels)
                right = r["right_by_posture"][truth]
                wrong = "" if truth == result["labels"][0] else str(said[result["labels"][0]])
                found = 1 - said[NOT_FOUND] / max(1, sum(said.values()))
                rows.append((name, truth, *counts, _percent(found), _percent(right), wrong))
                name = ""
            shares = (_percent(r["found_share"]), _percent(r["right_share"]))
            praise = f"{r['wrong_praise']} ({_percent(r['wrong_praise_share'])})"
            rows.append(("", "all", *[""] * len(labels), *shares, praise))
            notes += _lost(f"{mode}, {copy}", r)
        m = looks["mirror"]
        notes.append(
            f"{mode}: {m['same']} of {m['frames']} mirrored frames ({_percent(m['same_share'])}) have the "
            f"original's posture; {m['contradictions']} have another sure one; "
            f"{_percent(m['other_side_share'])} the other side"
        )
    return f"{result['frames']} frames; goals: found 99 %, right 90 %, wrong praise 0", rows, notes


def _webcam(result: Mapping[str, Any]) -> Table:
    rows: Rows = [("photographs", "recordings", "number", "found", "in a box", "median points in it")]
    for group, r in result["groups"].items():
        shares = (_percent(r[key]) for key in ("found_share", "inside_share", "median_points"))
        rows.append((group, str(r["recordings"]), str(r["photographs"]), *shares))
    notes = [f"in a box: {result['rule']}; not found counts as outside; goal 90 %"]
    for what in ("unlabelled", "unreadable"):
        if result[what]:
            notes.append(f"{result[what]} more photographs are {what}")
    return "a found hand whose points lie in a labelled box", rows, notes


def _empty(result: Mapping[str, Any]) -> Table:
    rows: Rows = [("clip", "mode", "frames", "hand found", "posture", "praise")]
    for mode, clips in result["modes"].items():
        for name, r in clips.items():
            rows.append((name, mode, *(str(r[key]) for key in ("frames", "found", "posture", "praise"))))
    return f"{result['praise']} frames without a hand are praised; goal 0", rows, []


def _latency(result: Mapping[str, Any]) -> Table:
    rows: Rows = [("ms", "n", "mean", "sd", "p50", "p95", "CPU mean", "CPU p50", "CPU p95")]
    for name, what in (("whole step", "step"), ("landmark network", "network")):
        wall, cpu = result[f"{what}_wall"], result[f"{what}_cpu"]
        walls = (_number(wall[key]) for key in ("mean", "sd", "median", "p95"))
        cpus = (_number(cpu[key]) for key in ("mean", "median", "p95"))
        rows.append((name, str(wall["n"]), *walls, *cpus))
    return (
        f"a tracked frame of 640 x 480, {result['threads']} thread, whole step from crop to posture; the "
        f"landmark network has {_percent(result['network_share'])} of it; hand found in "
        f"{_percent(result['found_share'])}",
        rows, [],
    )  # fmt: skip


def _lost(name: str, r: Mapping[str, Any]) -> list[str]:
    """Why hands were not found, where some were not."""
    why = ", ".join(f"{reason} {count}" for reason, count in r["not_found"].items())
    unread = f"{name}: {r['unreadable']} photographs cannot be read" if r.get("unreadable") else ""
    return [note for note in (f"{name}, not found: {why}" if why else "", unread) if note]


def _percent(share: float | None) -> str:
    """Never rounded up to 100 %."""
    return "?" if share is None else f"{min(100 * share, 100 if share == 1 else 99.9):.1f} %"


def _number(value: float | None) -> str:
    return "?" if value is None else f"{value:.2f}"
