"""One case in a fresh process: `python -m handcoach_bench.child TASK.json RESULT.json`.

A process of its own for each case, so that no case inherits another's threads, arena or caches, and so that
a crash costs one row of the table. The result goes to a file, because libraries print to standard output.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from handcoach import model
from handcoach.errors import HandCoachError
from handcoach_bench.stopwatch import measure, peak_rss_mb


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
