"""The whole app on this machine: what is measured of it, where its window opens, and the tables."""

from __future__ import annotations

import os
import select
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from handcoach_bench.campaign import NOT_HERE, Job
from handcoach_bench.results import Row
from handcoach_bench.tables import marked, number, percent, stability, whole

CHILD = (sys.executable, "-m", "handcoach_bench.children.app")
RESOLUTIONS = ((320, 240), (640, 480), (1280, 720), (1920, 1080))
HANDS = (0, 1, 2, 4)
CAMERAS = (15, 30, 60)
USUAL = (640, 480)
GOAL_MB = 250
STEPS = ("decode", "find", "crop", "network", "smoothing", "posture", "drawing", "other")
NO_SCREEN = f"{NOT_HERE}there is no display here, and no Xvfb (apt install xvfb)"


@contextmanager
def screen() -> Iterator[str | None]:
    """Where windows open meanwhile: "this display", "Xvfb", or None: nowhere.

    Without a display on Linux a virtual one is started, which needs no graphics card.
    """
    if not sys.platform.startswith("linux") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        yield "this display"
        return
    program = shutil.which("Xvfb")
    if program is None:
        yield None
        return
    ours, its = os.pipe()
    server = subprocess.Popen(
        [program, "-displayfd", str(its), "-screen", "0", "1600x1000x24", "-nolisten", "tcp"],
        pass_fds=(its,), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(its)
    try:
        ready, _, _ = select.select([ours], [], [], 30)
        number = os.read(ours, 16).strip().decode() if ready else ""
        if number:
            os.environ["DISPLAY"] = f":{number}"
        yield "Xvfb" if number else None
    finally:
        os.environ.pop("DISPLAY", None)
        server.terminate()
        server.wait()
        os.close(ours)


def jobs(
    models: dict[str, str], clip: str, *, resolutions: Sequence[tuple[int, int]], hands: Sequence[int],
    threads: Sequence[int], cameras: Sequence[int], runs: int, warmup: int, seconds: float, repeats: int,
    shown: str | None,
) -> list[Job]:  # fmt: skip
    """One thing varies at a time: resolution, hands or threads; then a camera's pace, then the window.

    Args:
        models: files by kind: landmarks, finder, exercise. shown: see `screen`.
    """
    least = min(threads)
    usual = (*USUAL, 1, least)
    grids = [usual, *((w, h, 1, least) for w, h in resolutions), *((*USUAL, n, least) for n in hands),
             *((*USUAL, 1, n) for n in threads)]  # fmt: skip
    todo: list[tuple[dict[str, Any], str | None]] = []
    for w, h, n, t in dict.fromkeys(grids):
        size = {"width": w, "height": h, "hands": n, "warmup": warmup, "runs": runs}
        name = f"app {w}x{h} {n} hand{'s' * (n != 1)}"
        todo.append(({"name": name, "what": "steps", "threads": t, **size}, None))
    for fps in cameras:
        pace = {"width": USUAL[0], "height": USUAL[1], "fps": fps, "seconds": seconds}
        todo.append(({"name": f"app at {fps} fps", "what": "paced", "threads": least, **pace}, None))
    why = None if shown else NO_SCREEN
    todo.append(({"name": "app in a window", "what": "window", "threads": least, "seconds": seconds}, why))
    common = {"provider": "CPUExecutionProvider", "screen": shown, **models, "clip": clip}
    todo = [
        ({"key": f"{case['name']}, {_threads(case['threads'])}", **case, **common}, why) for case, why in todo
    ]
    return [
        Job(case, r, case, CHILD, impossible=why)
        for r in range(repeats)
        for case, why in todo
        if not (r and why)
    ]


def _threads(n: int) -> str:
    return f"{n} thread{'s' * (n > 1)}"


# --- tables ---


def table(rows: Sequence[Row]) -> list[str]:
    """Three tables: what each step takes, how it keeps a camera's pace, and memory."""
    by: dict[str, list[Row]] = {"steps": [], "paced": [], "window": []}
    for row in rows:
        by[row.case["what"]].append(row)
    lines: list[str] = []
    for what, show in (("steps", _steps), ("paced", _paced), ("window", _window)):
        if by[what]:
            lines += ["", *show(by[what])]
    return [*lines[1:], *stability([row for row in rows if row.case["what"] != "window"])]


def _steps(rows: Sequence[Row]) -> list[str]:
    cells: list[tuple[str, ...]] = [
        ("frame to picture, ms", "n", "median", "p95", "CPU", "fps", *STEPS, "found")
    ]
    for row in rows:
        if row.summary is None:
            cells.append((row.key, *[""] * (6 + len(STEPS))))
            continue
        mean = {step: statistics.fmean(r["parts_ms"].get(step, 0.0) for r in row.good) for step in STEPS}
        total = sum(mean.values())
        s = row.summary
        cells.append((
            row.key.removeprefix("app "), str(s.n), f"{s.median:.1f}", f"{s.p95:.1f}",
            "?" if row.cpu_ms is None else f"{row.cpu_ms:.1f}", whole(row.fps),
            *(f"{mean[step] / total:.1%}" for step in STEPS), percent(row.mean("found")),
        ))  # fmt: skip
    return marked(cells, rows)


def _paced(rows: Sequence[Row]) -> list[str]:
    head = ("at a camera's pace", "judged fps", "shown fps", "of them unread", "dropped", "at rest",
            "latency p50 ms", "p95", "CPU %", "shown in")  # fmt: skip
    cells: list[tuple[str, ...]] = [head]
    for row in rows:
        if not row.good:
            cells.append((row.key, *[""] * 9))
            continue
        s = row.summary
        where = row.case["screen"] if row.mean("in_window") == 1 else "no window"
        rates = (row.mean(name) for name in ("judged_fps", "shown_fps", "unread_fps"))
        shares = (row.mean(name) for name in ("drop_share", "rest_share"))
        times = (s.median if s else None, s.p95 if s else None, row.mean("cpu_percent"))
        cells.append((
            row.key.removeprefix("app at "), *map(number, rates), *map(percent, shares), *map(whole, times),
            str(where),
        ))  # fmt: skip
    return marked(cells, rows)


def _window(rows: Sequence[Row]) -> list[str]:
    lines = []
    for row in rows:
        if not row.good:
            lines.append(f"memory of the whole app: {row.note}")
            continue
        peak, steady = row.most("peak_rss_mb"), row.mean("steady_rss_mb")
        verdict = "unknown" if peak is None else "kept" if peak <= GOAL_MB else "missed"
        lines.append(
            f"memory of the whole app, `handcoach demo` in a window ({row.case['screen']}): "
            f"{whole(steady)} MB, at most {whole(peak)} MB; goal {GOAL_MB} MB {verdict}"
            + (f"; {row.note}" if row.note else "")
        )
    return lines
