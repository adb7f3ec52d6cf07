"""Can a window be opened here? Asked by `handcoach doctor` and by the commands that need one."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """Why no window opens: what is wrong, and what to do about it."""

    what: str
    cure: str


def tk_problem() -> Problem | None:
    """Whether this Python has Tk, without opening anything."""
    try:
        import tkinter  # noqa: F401
    except ImportError as error:
        if sys.platform == "linux":
            cure = "sudo apt install python3-tk (for a Python of the system), or use a Python that has Tk"
        elif sys.platform == "darwin":
            cure = "brew install python-tk, or use the Python from https://www.python.org"
        else:
            cure = "run Python's installer again, choose Modify and tick 'tcl/tk and IDLE'"
        return Problem(f"this Python has no Tk ({error})", cure)
    return None


def display_problem() -> Problem | None:
    """Whether a window opens: makes a hidden one and destroys it. Main thread only."""
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return Problem("there is no display", "start it from a desktop session (over ssh: ssh -X)")
    import tkinter

    try:
        root = tkinter.Tk()
    except tkinter.TclError as error:
        return Problem(f"no window opens ({error})", "start it from a desktop session (over ssh: ssh -X)")
    root.destroy()
    return None


def window_problem() -> Problem | None:
    """The first reason why no window can be opened, or None. Main thread only."""
    return tk_problem() or display_problem()


def tk_version() -> str:
    """Patch level of Tk ("8.6.13"). Only where `tk_problem` found none."""
    import tkinter

    return str(tkinter.Tcl().eval("info patchlevel"))
