"""Where a person's own files lie, and how one is written. Nothing is made until somebody asks for it."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def user_folder() -> Path:
    """HandCoach's folder of this user; it may not exist. The environment variable HANDCOACH_HOME moves it."""
    if chosen := os.environ.get("HANDCOACH_HOME"):
        return Path(chosen)
    home = Path.home()
    if sys.platform == "win32":
        return Path(os.environ.get("APPDATA") or home / "AppData" / "Roaming") / "HandCoach"
    if sys.platform == "darwin":
        return home / "Library" / "Application Support" / "HandCoach"
    return Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share") / "handcoach"


def exercises_folder() -> Path:
    """Exercises in it are known by name, as the shipped ones are."""
    return user_folder() / "exercises"


def save(path: Path, data: bytes, mode: int = 0o666) -> None:
    """Write a file beside its place and rename it into place: after an error the older one is whole.

    Args:
        mode: permissions of a new file, less what the umask takes.

    Raises:
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
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
