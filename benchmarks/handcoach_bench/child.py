"""One case in a fresh process: `python -m handcoach_bench.child TASK.json RESULT.json`.

A process of its own for each case, so that no case inherits another's threads, arena or caches, and so that
a crash costs one row of the table. The python may be that of an environment with another build of
onnxruntime.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handcoach import model, session
from handcoach.errors import HandCoachError
from handcoach.session import Session
from handcoach_bench.children.serve import serve
from handcoach_bench.stopwatch import measure, peak_rss_mb, rss_mb

CPU = "CPUExecutionProvider"


def probe() -> dict[str, Any]:
    """Which execution providers there are, and which compute. In a process of its own: a broken driver may
    end it."""
    return {"providers": session.providers(), "listed": session.listed_providers()}


def network(case: dict[str, Any]) -> dict[str, Any]:
    """Run a model on one picture, batch 1."""
    start = time.perf_counter()
    file = model.read(case["model"])
    session = Session(file, threads=case["threads"], provider=case["provider"])
    load = time.perf_counter() - start
    image = _random(file)
    times = measure(session.run, case["warmup"], case["runs"], lambda _: image)
    return {"provider": session.provider, "load_ms": 1e3 * load, "sha256": {file.kind: file.sha256}, **times}


def _random(file: model.ModelFile) -> NDArray[np.uint8]:
    shape = tuple(1 if size is None else size for size in file.input.shape)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def steps(case: dict[str, Any]) -> dict[str, Any]:
    """How many steps of the network each provider ran, and the share of the one that was asked for.

    A session may list a provider that then leaves steps to others. Some run many steps fused into one, so
    that what was left to others is counted against the steps that there are without that provider.

    Raises:
        HandCoachError: the provider ran fewer than half of them.
    """
    file, asked = model.read(case["model"]), case["provider"]
    ran = session.steps_by_provider(file, _random(file), case["threads"], asked)
    others = {name: count for name, count in ran.items() if name != asked}
    if not ran.get(asked):
        raise HandCoachError(
            f"it was set up, but every step ran on {', '.join(others) or 'nothing'} instead of {asked}"
        )
    if not others:
        return {"steps": ran, "provider_share": 1.0}
    alone = session.steps_by_provider(file, _random(file), case["threads"], CPU)
    whole, left = max(sum(ran.values()), sum(alone.values())), sum(others.values())
    if left > whole / 2:
        raise HandCoachError(f"{left} of {whole} steps ran on {', '.join(others)} instead of {asked}")
    return {"steps": ran, "provider_share": 1 - left / whole}


def work(task: dict[str, Any]) -> dict[str, Any]:
    if task["what"] == "probe":
        return probe()
    if task["what"] == "peak":
        from handcoach_bench.roofline import measure_peak

        return measure_peak(task)
    if task["what"] == "network":
        result = network(task)
    else:
        from handcoach_bench.pipeline import pipeline

        result = pipeline(task)
    result |= {"steady_rss_mb": rss_mb(), "peak_rss_mb": peak_rss_mb()}
    result["versions"] = {"onnxruntime": session.runtime_version()}
    return result | steps(task)  # last: its own sessions must not count as the case's memory


if __name__ == "__main__":
    sys.exit(serve(sys.argv[1:], work))
