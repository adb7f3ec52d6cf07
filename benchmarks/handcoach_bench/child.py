"""One case in a fresh process: `python -m handcoach_bench.child TASK.json RESULT.json`.

A process of its own for each case, so that no case inherits another's threads, arena or caches, and so that
a crash costs one row of the table. The result goes to a file, because libraries print to standard output.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from handcoach import model
from handcoach.errors import HandCoachError

T = TypeVar("T")


def probe() -> dict[str, Any]:
    """Which execution providers compute here. In a process of its own: a broken driver may end it."""
    return {"providers": list(model.providers())}


def network(case: dict[str, Any]) -> dict[str, Any]:
    """Run a model on one picture, batch 1."""
    start = time.perf_counter()
    file = model.read(case["model"])
    session = model.Session(file, threads=case["threads"], provider=case["provider"])
    load = time.perf_counter() - start
    shape = tuple(1 if size is None else size for size in file.input.shape)
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    times = measure(session.run, case["warmup"], case["runs"], lambda _: image)
    return {"provider": session.provider, "load_ms": 1e3 * load, "sha256": {file.kind: file.sha256}, **times}


def measure(
    step: Callable[[T], object], warmup: int, runs: int, prepare: Callable[[int], T]
) -> dict[str, Any]:
    """Wall and CPU time of every run, in ms; warm-up runs are kept apart.

    Args:
        prepare: makes the input of run 0, 1, 2, ... (warm-up runs first); not measured.
    """
    settle()
    wall, cpu = [], []
    for i in range(warmup + runs):
        given = prepare(i)
        busy, start = time.process_time(), time.perf_counter()
        step(given)
        wall.append(1e3 * (time.perf_counter() - start))
        cpu.append(1e3 * (time.process_time() - busy))
    return {"warmup_ms": wall[:warmup], "wall_ms": wall[warmup:], "cpu_ms": cpu[warmup:]}


def settle(quiet_s: float = 0.05, limit_s: float = 2.0) -> None:
    """Wait until no thread of this process is busy: OpenBLAS' worker, for one, spins for 26 ms after numpy's
    import, and would be counted as the model's CPU time."""
    end = time.perf_counter() + limit_s
    while time.perf_counter() < end:
        busy = time.process_time()
        time.sleep(quiet_s)
        if time.process_time() - busy < 0.02 * quiet_s:
            return


def peak_rss_mb() -> float | None:
    """Largest resident memory of this process, in MB (2**20 bytes), or None where nothing tells it."""
    status = Path("/proc/self/status")
    if status.exists():  # VmHWM starts anew with exec; getrusage would count the parent's memory too
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    if sys.platform != "win32":
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / (2**20 if sys.platform == "darwin" else 1024)
    try:
        import psutil
    except ImportError:
        return None
    return float(psutil.Process().memory_info().peak_wset) / 2**20


def main(argv: list[str]) -> int:
    task = json.loads(Path(argv[0]).read_text("utf-8"))
    try:
        if task["what"] == "probe":
            result = probe()
        elif task["what"] == "network":
            result = network(task)
        else:
            from handcoach_bench.pipeline import pipeline

            result = pipeline(task)
        result["peak_rss_mb"] = peak_rss_mb()
    except HandCoachError as error:
        result = {"error": str(error)}
    Path(argv[1]).write_text(json.dumps(result), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
