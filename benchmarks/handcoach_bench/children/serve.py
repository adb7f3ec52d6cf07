"""What the children that know HandCoach share: a task comes as a file, and its result goes into one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from handcoach.errors import HandCoachError
from handcoach_bench.stopwatch import peak_rss_mb


def serve(argv: list[str], work: Callable[[dict[str, Any]], dict[str, Any]]) -> int:
    """Do the task of a file; what a person can mend becomes {"error": sentence}. Libraries print to standard
    output, so the result goes into a file."""
    task = json.loads(Path(argv[0]).read_text("utf-8"))
    try:
        result = work(task)
        result.setdefault("peak_rss_mb", peak_rss_mb())
    except HandCoachError as error:
        result = {"error": str(error)}
    Path(argv[1]).write_text(json.dumps(result), "utf-8")
    return 0


def tell(task: dict[str, Any], done: int, total: int) -> None:
    """Say how far the task is, for the parent's bar, where it asked for that."""
    if task.get("progress"):
        Path(task["progress"]).write_text(f"{done} {total}", "utf-8")
