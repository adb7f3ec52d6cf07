"""Where a person's own files lie, and how one is written. Nothing is made until somebody asks for it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from handcoach.errors import HandCoachError


def user_folder() -> Path:
    """HandCoach's folder of this user; it may not exist. The environment variable HANDCOACH_HOME moves it.

    Raises:
        HandCoachError: the user has no home, and none is set.
    """
    if chosen := os.environ.get("HANDCOACH_HOME"):
        return Path(chosen)
    if sys.platform == "win32":
        return Path(os.environ.get("APPDATA") or _home() / "AppData" / "Roaming") / "HandCoach"
    if sys.platform == "darwin":
        return _home() / "Library" / "Application Support" / "HandCoach"
    return Path(os.environ.get("XDG_DATA_HOME") or _home() / ".local" / "share") / "handcoach"


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError as error:  # a service's user may have none
        raise HandCoachError("This user has no home folder: set HANDCOACH_HOME to a folder.") from error


def exercises_folder() -> Path:
    """Exercises in it are known by name, as the shipped ones are."""
    return user_folder() / "exercises"


def save(path: Path, data: bytes, mode: int = 0o666, *, replace: bool = True) -> None:
    """Write a file beside its place and rename it into place: after an error the older one is whole.

    Args:
        mode: permissions of a new file, less what the umask takes.
        replace: what is there makes room; else it stays, whoever wrote it a moment ago.

    Raises:
        FileExistsError: it is there and is to stay.
        OSError: it cannot be written.
    """
    # Unique to this process, so that two at once do not write into one another.
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        with os.fdopen(os.open(beside, flags, mode), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            beside.replace(path)
        else:
            _link(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def _link(beside: Path, path: Path) -> None:
    try:
        os.link(beside, path)
    except FileExistsError:
        raise
    except OSError as error:  # a disk without links, as a USB stick's: there it can only be looked for
        if path.exists():
            raise FileExistsError(error.errno, "File exists", str(path)) from error
        beside.replace(path)
