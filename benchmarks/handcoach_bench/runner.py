"""Runs each case in a child process, and outlives a child that dies or hangs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from handcoach.errors import HandCoachError
from handcoach_bench.results import Case, Outcome

CHILD = (sys.executable, "-m", "handcoach_bench.child")
EAGER = (sys.executable, "-m", "handcoach_bench.children.eager")


class ChildError(Exception):
    """A child gave no result: `status` is died or timeout."""

    def __init__(self, status: str, message: str) -> None:
        super().__init__(message)
        self.status = status


def call(
    task: dict[str, Any],
    timeout_s: float,
    command: tuple[str, ...] = CHILD,
    env: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Hand a task to a fresh process and wait for its result.

    Args:
        env: variables besides this process's.

    Raises:
        ChildError: it died, hung, or left no result.
    """
    with tempfile.TemporaryDirectory(prefix="handcoach-bench-") as folder:
        given, result = Path(folder) / "task.json", Path(folder) / "result.json"
        given.write_text(json.dumps(task), "utf-8")
        try:
            done = subprocess.run(
                [*command, str(given), str(result)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE, timeout=timeout_s, env={**os.environ, **(env or {})},
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise ChildError("timeout", f"no result after {timeout_s:.0f} s") from error
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        if done.returncode != 0:
            raise ChildError(
                "died", f"exit code {done.returncode}" + "".join(f" ({line[:200]})" for line in last)
            )
        try:
            content = json.loads(result.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise ChildError("died", "it left no result") from error
        return dict(content)


def providers(timeout_s: float) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Execution providers that compute on this machine, and all that its onnxruntime lists.

    Raises:
        HandCoachError: onnxruntime does not even start.
    """
    try:
        found = call({"what": "probe"}, timeout_s)
    except ChildError as error:
        raise HandCoachError(f"onnxruntime does not start here ({error}): run `handcoach doctor`.") from error
    if "error" in found:
        raise HandCoachError(found["error"])
    return tuple(found["providers"]), tuple(found["listed"])


def run(case: Case, timeout_s: float, command: tuple[str, ...] = CHILD, repeat: int = 0) -> Outcome:
    """Measure one case; whatever happens to the child becomes an outcome."""
    try:
        found = call(asdict(case), timeout_s, command)
    except ChildError as error:
        return Outcome(case, "timeout" if error.status == "timeout" else "died", str(error), repeat)
    if "error" in found:
        return Outcome(case, "failed", found["error"], repeat)
    if found["provider"] != case.provider:  # a silent fallback is no measurement
        return Outcome(case, "failed", f"it ran on {found['provider']} instead of {case.provider}", repeat)
    return Outcome(
        case,
        "ok",
        repeat=repeat,
        provider=found["provider"],
        warmup_ms=tuple(found["warmup_ms"]),
        wall_ms=tuple(found["wall_ms"]),
        cpu_ms=tuple(found["cpu_ms"]),
        load_ms=found["load_ms"],
        peak_rss_mb=found["peak_rss_mb"],
        steady_rss_mb=found.get("steady_rss_mb"),
        sha256=found["sha256"],
        versions=found.get("versions", {}),
        parts_ms=found.get("parts_ms", {}),
        network_wall_ms=tuple(found.get("network_wall_ms", ())),
        network_cpu_ms=tuple(found.get("network_cpu_ms", ())),
        found=found.get("found"),
    )
