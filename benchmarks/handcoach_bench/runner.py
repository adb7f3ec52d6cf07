"""Runs each case in a child process, and outlives a child that dies or hangs."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from handcoach.errors import HandCoachError
from handcoach_bench.results import Case, not_finite

CHILD = (sys.executable, "-m", "handcoach_bench.child")
EAGER = (sys.executable, "-m", "handcoach_bench.children.eager")


class ChildError(Exception):
    """A child gave no result."""

    def __init__(self, status: Literal["died", "timeout"], message: str) -> None:
        super().__init__(message)
        self.status = status


def call(
    task: dict[str, Any],
    timeout_s: float,
    command: tuple[str, ...] = CHILD,
    env: Mapping[str, str] | None = None,
    told: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Hand a task to a fresh process and wait for its result.

    Args:
        env: variables besides this process's.
        told: called now and then with how far the child is and with what is to be done in all, if it says so
            (`children.serve.tell`).

    Raises:
        ChildError: it died, hung, or left no result.
    """
    with tempfile.TemporaryDirectory(prefix="handcoach-bench-", ignore_cleanup_errors=True) as folder:
        given, result, progress = (Path(folder) / name for name in ("task.json", "result.json", "progress"))
        given.write_text(json.dumps(task | {"progress": str(progress)} if told else task), "utf-8")
        child = subprocess.Popen(
            [*command, str(given), str(result)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, start_new_session=True, env={**os.environ, **(env or {})},
        )  # fmt: skip
        try:
            errors = _wait(child, timeout_s, progress, told)
        except BaseException:  # an interruption too: nothing that was started here goes on
            _end(child)
            raise
        last = errors.decode(errors="replace").strip().splitlines()[-1:]
        if child.returncode != 0:
            raise ChildError(
                "died", f"exit code {child.returncode}" + "".join(f" ({line[:200]})" for line in last)
            )
        try:
            content = json.loads(result.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise ChildError("died", "it left no result") from error
        return dict(content)


def _wait(
    child: subprocess.Popen[bytes], timeout_s: float, progress: Path, told: Callable[[int, int], None] | None
) -> bytes:
    """What the child wrote on standard error."""
    end = time.monotonic() + timeout_s
    while True:
        try:
            return child.communicate(timeout=max(0.0, min(0.5, end - time.monotonic())))[1]
        except subprocess.TimeoutExpired as error:
            if time.monotonic() >= end:
                raise ChildError("timeout", f"no result after {timeout_s:.0f} s") from error
        if told is not None:
            try:
                done, total = progress.read_text("utf-8").split()
                told(int(done), int(total))
            except (OSError, ValueError):  # it has said nothing yet, or is just saying it
                continue


def _end(child: subprocess.Popen[bytes]) -> None:
    """With all that it has started."""
    if sys.platform == "win32":
        subprocess.run(["taskkill", "/F", "/T", "/PID", str(child.pid)], capture_output=True)
    else:
        with contextlib.suppress(ProcessLookupError):  # it may be over, and what it started not
            os.killpg(child.pid, signal.SIGKILL)
    child.communicate()


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


def attempt(
    task: dict[str, Any],
    timeout_s: float,
    command: tuple[str, ...],
    read: Callable[[dict[str, Any]], dict[str, Any]],
    told: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """What a file of results holds of a process: whatever happens to the child, its status says it.

    Args:
        read: makes of the child's answer what is kept of it; raises HandCoachError where it is none.
        told: see `call`.
    """
    try:
        found = call(task, timeout_s, command, told=told)
    except ChildError as error:
        return {"status": error.status, "error": str(error)}
    except OSError as error:  # there is no such python
        return {"status": "failed", "error": f"{command[0]} does not run: {error.strerror}"}
    if "error" in found:
        return {"status": "failed", "error": str(found["error"])}
    try:
        result = {"status": "ok", "error": None, **read(found)}
    except HandCoachError as error:
        return {"status": "failed", "error": str(error)}
    except Exception as error:  # a child of any program may say anything
        return {"status": "failed", "error": f"its answer cannot be kept ({type(error).__name__}: {error})"}
    if wrong := not_finite(result):
        return {"status": "failed", "error": f"these of its figures are no finite numbers: {wrong}"}
    return result


def run(case: Case, timeout_s: float, command: tuple[str, ...] = CHILD, repeat: int = 0) -> dict[str, Any]:
    """Measure one case: what a file of results holds of the process."""
    found = attempt(asdict(case), timeout_s, command, functools.partial(figures, case))
    return {"case": case.as_json(), "repeat": repeat, **found}


def figures(case: Case, found: dict[str, Any]) -> dict[str, Any]:
    """Of a child's answer what is kept of it.

    Raises:
        HandCoachError: another provider ran than that of the case, or none.
    """
    if found["provider"] is None:
        raise HandCoachError("the landmark network never ran, since no hand was found in any picture")
    if found["provider"] != case.provider:  # a silent fallback is no measurement
        raise HandCoachError(f"it ran on {found['provider']} instead of {case.provider}")
    needed = ("provider", "warmup_ms", "wall_ms", "cpu_ms", "load_ms", "peak_rss_mb", "sha256")
    more = ("steady_rss_mb", "versions", "steps", "provider_share", "parts_ms", "network_wall_ms",
            "network_cpu_ms", "found")  # fmt: skip
    return {name: found[name] for name in needed} | {name: found[name] for name in more if name in found}
