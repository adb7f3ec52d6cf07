"""A list of processes to be measured one after the other, and the file that grows with them.

What a process makes is written at once, so that an interrupted command goes on where it was. A child that
dies or hangs is a marked row, and the others go on.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from handcoach_bench import machine, results, runner

Result = dict[str, Any]
NOT_HERE = "not measured: "  # how the reason begins where a machine lacks what no program can bring


@dataclass(frozen=True)
class Job:
    """One process.

    Attributes:
        case: as the file holds it: key, what, name, threads, provider and whatever else tells it apart.
        repeat: which process of the case: 0, 1, 2, ...
        task: for the child. command: what runs it.
        read: makes of the child's result what the file holds of it (`schema.json`, result).
        impossible: why it cannot be measured here, without trying; None where it may be tried.
    """

    case: Mapping[str, Any]
    repeat: int
    task: Mapping[str, Any]
    command: tuple[str, ...]
    read: Callable[[Result], Result] = dict
    impossible: str | None = None


def of_case(
    case: results.Case, repeat: int, command: tuple[str, ...] = runner.CHILD, impossible: str | None = None
) -> Job:
    """The process of a case that `runner.run` would run."""
    read = functools.partial(runner.figures, case)
    return Job(case.as_json(), repeat, asdict(case), command, read, impossible)


def run(content: dict[str, Any], jobs: Sequence[Job], args: argparse.Namespace) -> list[Result]:
    """Do the jobs in order; those that went well in an interrupted file are taken from it.

    Args:
        content: `results.envelope`; the results are added to it.
        args: the command's `timeout` of a process in seconds and `json`, the file to write, if any; `kept`
            becomes true once something is in it.

    Raises:
        HandCoachError: the file is another command's unfinished one, or cannot be written.
    """
    done = results.unfinished(args.json, content) if args.json is not None else []
    kept = {(r["case"]["key"], r["repeat"]): r for r in done}
    content["results"] = found = []
    if kept:
        print(f"Going on: {len(kept)} of {len(jobs)} processes are done.", flush=True)
        if busy := machine.busy(content["machine"]):
            print(f"note: {busy}, now or when they began", flush=True)
        args.kept = True
    began, measured = time.monotonic(), 0
    for number, job in enumerate(jobs, 1):
        before = kept.pop((job.case["key"], job.repeat), None)
        if before is not None:
            found.append(before)
            continue
        left = sum(not other.impossible for other in jobs[number - 1 :]) - len(kept)
        late = (time.monotonic() - began) / measured * left if measured else None
        result = _measure(job, args.timeout, f"[{number}/{len(jobs)}] {job.case['key']}", late)
        measured += not job.impossible
        found.append({"case": dict(job.case), "repeat": job.repeat} | result)
        if args.json is not None:
            # What the file has of jobs that are still to come must outlive a second interruption too.
            results.write_json(args.json, content | {"results": [*found, *kept.values()]})
            args.kept = True
    content["complete"] = True
    if args.json is not None:
        results.write_json(args.json, content)
    return found


def finished(found: Sequence[Result], path: Path | None) -> int:
    """The exit code: 1 if a case that could be measured gave no numbers. Says where they are."""
    if path is not None:
        print(f"\nEvery run is in {path}; `handcoach-bench report {path} -o DIR` draws it.")
    return int(any(r["status"] != "ok" and not str(r["error"]).startswith(NOT_HERE) for r in found))


def _measure(job: Job, timeout_s: float, what: str, left_s: float | None) -> Result:
    """
    Args:
        left_s: how long all that is still to be measured may take; None: nothing is known of that yet.
    """
    if job.impossible:
        print(f"{what}: {job.impossible}", file=sys.stderr, flush=True)
        return {"status": "failed", "error": job.impossible}
    began = time.monotonic()
    with line(what if left_s is None else f"{what}, about {left_s:.0f} s left") as told:
        task = {**job.task, "began": time.time()}
        result = runner.attempt(task, timeout_s, job.command, job.read, told)
    said = result["error"] or f"{time.monotonic() - began:.0f} s"
    if times := result.get("wall_ms"):
        said += f", median {statistics.median(times):.2f} ms"
    print(f"{what}: {said}", file=sys.stderr, flush=True)
    return result


@contextmanager
def line(what: str) -> Iterator[Callable[[int, int], None]]:
    """A line of progress on a terminal, which is gone afterwards; gives what is to be called with (done,
    total)."""

    def told(done: int, total: int) -> None:
        if sys.stderr.isatty():
            bar = f"[{'#' * (30 * done // max(1, total)):<30}] {done}/{total}" if total else "..."
            print(f"\r{what}  {bar}\x1b[K", end="", file=sys.stderr, flush=True)

    told(0, 0)
    try:
        yield told
    finally:
        if sys.stderr.isatty():
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
