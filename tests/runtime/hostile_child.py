"""Open every file of a folder as an exercise, and say what each costs; one JSON object per file.

    python hostile_child.py FOLDER

Where there is `fork`, each file has a process of its own, so that the peak of its memory is its own.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path


def peak_mb() -> float | None:
    """The most memory that this process has had, in MB; None where the system does not say."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux: getrusage would also count what the process that started this one had
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(lines["VmHWM"].split()[0]) / 1024
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # macOS counts in bytes


def open_it(path: Path, before: float) -> dict[str, object]:
    """What one file costs, in a process that had its peak at `before` MB."""
    from handcoach import exercise_file
    from handcoach.errors import HandCoachError

    start = peak_mb()
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        exercise_file.model.read(path, "exercise")  # as it is, not only where `find` sees a file
        message = None
    except HandCoachError as error:
        message = str(error)
    found = {"name": path.name, "message": message, "cpu_s": round(time.process_time() - cpu, 3)}
    # A forked process is not counted the pages of libraries that it shares, so its growth is added.
    end = peak_mb()
    peak = None if start is None or end is None else round(before + end - start, 1)
    return found | {"wall_s": round(time.perf_counter() - wall, 3), "peak_mb": peak}


def main(folder: str) -> None:
    from handcoach import exercise_file  # noqa: F401  (imported once, before the forks)

    before = peak_mb() or 0.0
    for path in sorted(Path(folder).iterdir()):
        if hasattr(os, "fork"):
            if os.fork() == 0:
                print(json.dumps(open_it(path, before)), flush=True)
                os._exit(0)
            os.wait()
        else:
            print(json.dumps(open_it(path, before)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
