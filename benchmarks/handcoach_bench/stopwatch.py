"""What is measured of a process: wall and CPU time of every run, and its memory."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


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
    # It starts anew with exec; getrusage would count the parent's memory too.
    if (peak := _status_mb("VmHWM")) is not None:
        return peak
    if sys.platform != "win32":
        import resource

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most / (2**20 if sys.platform == "darwin" else 1024)
    try:
        import psutil
    except ImportError:
        return None
    return float(psutil.Process().memory_info().peak_wset) / 2**20


def rss_mb() -> float | None:
    """Resident memory of this process now, in MB, or None where nothing tells it."""
    if (now := _status_mb("VmRSS")) is not None:
        return now
    try:
        import psutil
    except ImportError:
        return None
    return float(psutil.Process().memory_info().rss) / 2**20


def _status_mb(name: str) -> float | None:
    """A line of Linux's status of this process."""
    try:
        found = re.search(rf"^{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.M)
    except OSError:
        return None
    return int(found[1]) / 1024 if found else None
