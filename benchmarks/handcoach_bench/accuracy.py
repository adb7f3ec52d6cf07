"""How right the program is: on photographs with known joints, on webcam sessions, and where there is no hand.

Everything goes through `handcoach.pipeline`, as a patient's frames do. A part takes its data folder and
gives a plain dict, which is what the JSON file holds; `tables.py` shows it to people. A hand that is not
found is a failure in every share, never left out.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from handcoach import camera, model
from handcoach.errors import HandCoachError
from handcoach_bench import runner
from handcoach_bench.common import Models
from handcoach_bench.finding import empty, read_held_out, webcam
from handcoach_bench.photographs import real_3d
from handcoach_bench.pipeline import MAX_FRAMES
from handcoach_bench.results import Case, Summary
from handcoach_bench.sessions import teacher

# The folder of each part within the data folder; "empty" makes its own pictures.
FOLDERS = {
    "real-3d": "real_3d",
    "teacher": "teacher_sessions",
    "webcam": "webcam_hands",
    "latency": "teacher_sessions",
}
ROOMS = "assets/hdri"  # environment maps, which join in where they are
PARTS = ("real-3d", "teacher", "webcam", "empty", "latency")
JUDGED = ("teacher", "empty", "latency")  # parts that need an exercise
# Recordings of the webcam photographs that were kept out of training: handcoach_train.data.held_out.
HELD_OUT = Path(__file__).with_name("held_out.txt")
LATENCY_WARMUP = 20


def run(
    part: str, data: Path, models: Models, held_out: Path = HELD_OUT, timeout_s: float = 600
) -> dict[str, Any]:
    """One part; {"skipped": why} where its data are not there, {"failed": why} where they or a model do not
    fit: the other parts go on."""
    folder = data / FOLDERS.get(part, "")
    if not folder.is_dir():
        return {"skipped": f"{folder} is missing"}
    began = time.monotonic()
    measure: dict[str, Callable[[], dict[str, Any]]] = {
        "real-3d": lambda: real_3d(folder, models),
        "teacher": lambda: teacher(folder, models),
        "webcam": lambda: webcam(folder, models, read_held_out(held_out)),
        "empty": lambda: empty(models, data / ROOMS),
        "latency": lambda: latency(folder, models, timeout_s),
    }
    try:
        result = measure[part]()
    except HandCoachError as error:
        return {"failed": str(error)}
    return result | {"seconds": round(time.monotonic() - began, 1)}


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
    for session, outcome in zip(sessions, outcomes, strict=True):
        if outcome["status"] != "ok":
            return {"failed": f"{session.name}: {outcome['error']}"}
    times = {
        "step_wall": [ms for o in outcomes for ms in o["wall_ms"]],
        "step_cpu": [ms for o in outcomes for ms in o["cpu_ms"]],
        "network_wall": [ms for o in outcomes for ms in o["network_wall_ms"]],
        "network_cpu": [ms for o in outcomes for ms in o["network_cpu_ms"]],
    }
    runs = len(times["step_wall"])
    return {
        "unit": "ms",
        "threads": 1,
        "frames": runs,
        **{what: asdict(Summary.of(values)) for what, values in times.items()},
        "network_share": round(sum(times["network_wall"]) / sum(times["step_wall"]), 4),
        "found_share": round(sum(o["found"] * len(o["wall_ms"]) for o in outcomes) / runs, 4),
        "sessions": outcomes,
    }
