"""What several commands share: numbers, places for results, and the command line that repeats one."""

from __future__ import annotations

import argparse
import datetime
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from handcoach.errors import HandCoachError
from handcoach_bench import results

Commands = argparse._SubParsersAction
RAW = argparse.RawDescriptionHelpFormatter


def count(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError("must not be negative")
    return value


def positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def seconds(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError("must be more than 0 seconds")
    return value


def check_json(path: Path | None, benchmark: str) -> None:
    """Before minutes of measuring, not after.

    Raises:
        HandCoachError: the file could not be written there, or something else would be lost.
    """
    if path is None:
        return
    folder = path.absolute().parent
    if not folder.is_dir():
        raise HandCoachError(f"The folder {path.parent} does not exist: give --json another place.")
    if path.is_dir() or not os.access(folder, os.W_OK):
        raise HandCoachError(f"{path} cannot be written: give --json another place.")
    if path.exists():
        there = results.load(path)
        if not there["complete"] and there["benchmark"] != benchmark:
            raise HandCoachError(
                f"{path} is the unfinished file of {there['benchmark']}: give --json another place, or "
                "delete it."
            )


def repeated(argv: Sequence[str] | None) -> list[str]:
    """The words that repeat this command; `argv` is what `main` was given."""
    return ["handcoach-bench", *(sys.argv[1:] if argv is None else argv)]


def now() -> str:
    """ISO 8601, UTC."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
