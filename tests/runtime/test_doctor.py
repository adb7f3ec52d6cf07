"""The doctor says what is wrong and what to do."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from handcoach import doctor, model, session
from handcoach.doctor import Check
from handcoach.ui import probe


class Capture:
    """A camera of one grey picture, whose first reads may fail."""

    def __init__(self, opened: bool = True, fails: int = 0) -> None:
        self.opened, self.fails, self.released = opened, fails, False

    def isOpened(self) -> bool:
        return self.opened

    def read(self) -> tuple[bool, object]:
        self.fails -= 1
        return self.fails < 0, np.zeros((480, 640, 3), np.uint8) if self.fails < 0 else None

    def release(self) -> None:
        self.released = True


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_exercise: Path, tiny_finder: Path,
           tiny_landmarks: Path) -> Path:  # fmt: skip
    (tmp_path / "exercises").mkdir()
    (tmp_path / "exercises" / "e.onnx").write_bytes(tiny_exercise.read_bytes())
    (tmp_path / "f.onnx").write_bytes(tiny_finder.read_bytes())
    (tmp_path / "l.onnx").write_bytes(tiny_landmarks.read_bytes())
    monkeypatch.setattr(model, "models_dir", lambda: tmp_path)
    return tmp_path


def test_all_well(models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(doctor, "open_capture", lambda index, turn: Capture())
    monkeypatch.setattr(probe, "tk_problem", lambda: None)
    monkeypatch.setattr(probe, "tk_version", lambda: "8.6.13")
    monkeypatch.setattr(probe, "display_problem", lambda: None)
    checks = doctor.report()
    assert [check for check in checks if not check.ok] == []
    assert doctor.print_report(checks) == 0
    text = capsys.readouterr().out
    for word in ("onnxruntime", "CPUExecutionProvider", "640 x 480", "e.onnx", "8.6.13", "a window opens"):
        assert word in text


def test_every_failing_line_has_a_cure(capsys: pytest.CaptureFixture[str]) -> None:
    checks = [Check("camera", False, "no camera 0 found", "plug it in"), Check("Tk", True, "8.6")]
    assert doctor.print_report(checks) == 1
    text = capsys.readouterr().out
    assert "FAIL  camera" in text and "-> plug it in" in text and "1 of 2" in text


def test_real_report_names_cures_and_does_not_raise() -> None:
    for check in doctor.report():
        assert check.detail and "\n" not in check.detail
        assert check.ok == (not check.cure), check


def test_broken_and_missing_models(models: Path) -> None:
    (models / "f.onnx").write_bytes((models / "f.onnx").read_bytes()[:500])
    (models / "l.onnx").unlink()
    failing = {check.name: check for check in doctor._models() if not check.ok}
    assert set(failing) == {"f.onnx", "a landmark model", "a hand finder"}
    assert "not a whole ONNX model" in failing["f.onnx"].detail


def test_camera(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "CAMERA_SECONDS", 0.5)
    for capture, ok, says in (
        (Capture(), True, "640 x 480"),
        (Capture(fails=3), True, "640 x 480"),  # a first read that fails is no broken camera
        (Capture(opened=False), False, "no camera 0 answers"),
        (Capture(fails=99999), False, "opens but gives no picture"),
    ):
        monkeypatch.setattr(doctor, "open_capture", lambda index, turn, capture=capture: capture)
        check = doctor._camera()
        assert check.ok is ok and bool(check.cure) is not ok and says in check.detail
        assert capture.released


def test_a_camera_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    def hang(index: int, turn: int) -> Capture:
        release.wait(10)
        return Capture()

    monkeypatch.setattr(doctor, "open_capture", hang)
    monkeypatch.setattr(doctor, "CAMERA_SECONDS", 0.05)
    began = time.monotonic()
    check = doctor._camera()
    assert time.monotonic() - began < 8  # it is left behind
    release.set()
    assert not check.ok and "no camera 0 answers" in check.detail


def test_no_tk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tkinter", None)
    (check,) = doctor._window()
    assert check.name == "Tk" and not check.ok and check.cure


@pytest.mark.skipif(sys.platform != "linux", reason="displays are named by DISPLAY on Linux only")
def test_no_display(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tkinter")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    *_, check = doctor._window()
    assert check.name == "display" and not check.ok and "desktop" in check.cure
    assert probe.window_problem() is not None


@pytest.mark.ui
def test_a_window_opens() -> None:
    assert probe.window_problem() is None


def test_provider_that_does_not_compute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "providers", list)
    (check,) = doctor._inference()
    assert not check.ok and "pip install" in check.cure
