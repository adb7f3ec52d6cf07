"""Shared fixtures: the tiny models, and a display or a visible skip for the tests of the window."""

from __future__ import annotations

import gc
import os
import shutil
import sys
from pathlib import Path

import pytest

TINY = Path(__file__).parent / "tiny"


@pytest.fixture(scope="session")
def tiny_landmarks() -> Path:
    """A landmark model that sees the discs of tiny/hands.py."""
    return TINY / "landmarks.onnx"


@pytest.fixture(scope="session")
def tiny_finder() -> Path:
    """A finder that sees the discs of tiny/hands.py."""
    return TINY / "finder.onnx"


@pytest.fixture(scope="session")
def tiny_exercise() -> Path:
    """An exercise with the postures of tiny/hands.py: open, almost, fist."""
    return TINY / "exercise.onnx"


@pytest.fixture
def tiny_shipped(tmp_path: Path, tiny_exercise: Path, tiny_finder: Path, tiny_landmarks: Path) -> Path:
    """A folder of models: the tiny ones under the names of the shipped ones."""
    folder = tmp_path / "models"
    (folder / "exercises").mkdir(parents=True)
    shutil.copy(tiny_exercise, folder / "exercises" / "finger-stretch.onnx")
    shutil.copy(tiny_finder, folder / "finder.onnx")
    shutil.copy(tiny_landmarks, folder / "mobilenetv2.onnx")
    return folder


def _why_no_window() -> str | None:
    """Why no window can be opened here, or None."""
    try:
        import tkinter
    except ImportError:
        return "Python's Tk is not installed"
    if sys.platform.startswith("linux") and not os.environ.get("DISPLAY"):
        return "there is no display (run under xvfb-run -a)"
    try:
        tkinter.Tk().destroy()
    except tkinter.TclError as error:
        return f"Tk opens no window: {error}"
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked `ui` are skipped visibly without a display. With HANDCOACH_REQUIRE_UI=1 nothing is
    skipped here, so that they fail instead."""
    marked = [item for item in items if item.get_closest_marker("ui")]
    if not marked or os.environ.get("HANDCOACH_REQUIRE_UI") == "1":
        return
    reason = _why_no_window()
    if reason is not None:
        for item in marked:
            item.add_marker(pytest.mark.skip(reason=f"UI test: {reason}"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item):
    """Closed windows are freed here, in Tk's own thread. Freed by chance in another test's thread, each of
    their variables and pictures waits a second for a main loop that is not there."""
    result = yield
    if item.get_closest_marker("ui"):
        gc.collect()
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    """With HANDCOACH_REQUIRE_UI=1 a UI test that skips itself fails; but xdotool drives X's windows only, so
    that on Windows and macOS the tests that need it are skipped visibly."""
    report = yield
    required = os.environ.get("HANDCOACH_REQUIRE_UI") == "1"
    if "driven" in getattr(item, "fixturenames", ()) and sys.platform in ("win32", "darwin"):
        required = False
    if required and report.skipped and item.get_closest_marker("ui") and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, but HANDCOACH_REQUIRE_UI=1: {report.longrepr}"
    return report
