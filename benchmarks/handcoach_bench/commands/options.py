"""What several commands share: numbers, places for results, and the command line that repeats one."""

from __future__ import annotations

import argparse
import datetime
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from handcoach.errors import HandCoachError

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


def check_json(path: Path | None) -> None:
    """Before minutes of measuring, not after.

    Raises:
        HandCoachError: the file could not be written there.
    """
    if path is not None and not path.absolute().parent.is_dir():
        raise HandCoachError(f"The folder {path.parent} does not exist: give --json another place.")


def repeated(argv: Sequence[str] | None) -> list[str]:
    """The words that repeat this command; `argv` is what `main` was given."""
    return ["handcoach-bench", *(sys.argv[1:] if argv is None else argv)]


def said(command: Sequence[str]) -> str:
    """A command for a shell."""
    return shlex.join(command)


def now() -> str:
    """ISO 8601, UTC."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
