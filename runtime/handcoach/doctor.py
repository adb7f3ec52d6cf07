"""`handcoach doctor`: is everything here that a session needs, and what to do about what is not."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from handcoach import model, session, tune
from handcoach.camera import Camera, CameraError, open_capture
from handcoach.errors import HandCoachError
from handcoach.session import Session
from handcoach.ui import probe

CAMERA_SECONDS = 10.0
LIBRARIES = ("numpy", "onnxruntime", "opencv-python-headless", "pillow", "customtkinter", "cryptography")
NEEDED = {"landmarks": "landmark model", "finder": "hand finder", "exercise": "exercise"}


@dataclass(frozen=True)
class Check:
    """One line of the report.

    Attributes:
        name: what was looked at.
        ok: it is as it should be.
        detail: what was found.
        cure: what to do; empty where all is well.
    """

    name: str
    ok: bool
    detail: str
    cure: str = ""


def report() -> list[Check]:
    """All checks. Opens camera 0 for at most `CAMERA_SECONDS` and a hidden window. Main thread only."""
    return [*_versions(), *_inference(), *_models(), *_tuning(), _camera(), *_window()]


def print_report(checks: list[Check]) -> int:
    """Print one line for each check, and under a failing one its cure; 0 if all are well, else 1."""
    width = max((len(check.name) for check in checks), default=0)
    for check in checks:
        print(f"{'ok  ' if check.ok else 'FAIL'}  {check.name:<{width}}  {check.detail}")
        if not check.ok:
            print(f"{'':{width + 6}}  -> {check.cure}")
    failing = sum(not check.ok for check in checks)
    if failing:
        print(f"\n{failing} of {len(checks)} checks fail; the arrows say what to do.")
    else:
        print(f"\nAll {len(checks)} checks are well.")
    return 1 if failing else 0


def main() -> int:
    """The command `handcoach doctor`."""
    return print_report(report())


def _versions() -> Iterator[Check]:
    yield Check("HandCoach", True, f"{_version('handcoach') or 'not installed as a package'}")
    new = sys.version_info >= (3, 11)
    detail = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    yield Check("Python", new, detail, "" if new else "install Python 3.11 or newer")
    for library in LIBRARIES:
        version = _version(library)
        cure = "" if version else f"{sys.executable} -m pip install {library}"
        yield Check(library, version is not None, version or "is missing", cure)


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _inference() -> Iterator[Check]:
    try:
        working = session.providers()
    except HandCoachError as error:
        yield Check("inference", False, "onnxruntime does not start", str(error))
        return
    cpu = "CPUExecutionProvider"
    detail = f"{cpu} runs" if cpu in working else f"{cpu} does not compute here"
    others = [name for name in working if name != cpu]
    if others:
        detail += f"; also found: {', '.join(others)}"
    cure = f"{sys.executable} -m pip install --force-reinstall onnxruntime"
    yield Check("inference", cpu in working, detail, "" if cpu in working else cure)


def _models() -> Iterator[Check]:
    try:
        folder = model.models_dir()
    except HandCoachError as error:
        yield Check("models", False, "the folder of the models is missing", str(error))
        return
    kinds = set()
    for path in sorted(folder.rglob("*.onnx")):
        check, kind = _model(path, str(path.relative_to(folder)))
        kinds.add(kind)
        yield check
    for kind, what in NEEDED.items():
        if kind not in kinds:
            yield Check(f"a {what}" if kind != "exercise" else f"an {what}", False,
                        f"none that works in {folder}", "install HandCoach again")  # fmt: skip


def _model(path: Path, name: str) -> tuple[Check, str | None]:
    """Read one file, make a session of it and run it once on an empty input."""
    try:
        file = model.read(path)
        session = Session(file)
        shape = (1, *(size or 1 for size in file.input.shape[1:]))
        session.run(np.zeros(shape, dtype=file.input.dtype))
    except HandCoachError as error:
        return Check(name, False, str(error), "install HandCoach again, or export this model again"), None
    meta = file.meta
    detail = f"{file.kind}, version {meta['version']}, {meta['licence']}, runs on {session.provider}"
    return Check(name, True, detail), file.kind


def _tuning() -> Iterator[Check]:
    """Which landmark model runs on this laptop, and whether that is quick enough."""
    try:
        tuned = tune.stored()
    except HandCoachError:  # told above
        return
    if tuned is None:
        yield Check("speed", True, "not measured yet: handcoach tune does it, or the first handcoach run")
        return
    slow = tuned.choice.ms > tune.HEADROOM * 1e3 / tune.LEAST_FPS
    cure = "close other programs, plug the laptop in, and run: handcoach tune" if slow else ""
    yield Check("speed", not slow, tune.summary(tuned), cure)


def _camera() -> Check:
    """One picture of camera 0, opened as a session opens it: some fail their first reads, and a driver that
    hangs is left behind."""
    with Camera(0, open_capture, open_s=CAMERA_SECONDS) as camera:
        try:
            height, width, _ = next(iter(camera)).image.shape
        except CameraError as error:
            silent = error.key == "camera_silent"
            detail = "camera 0 opens but gives no picture" if silent else "no camera 0 answers"
            return Check("camera", False, detail, _camera_cure())
    return Check("camera", True, f"camera 0 gives pictures of {width} x {height}")


def _camera_cure() -> str:
    if sys.platform == "darwin":
        return "allow the camera for your terminal in System Settings, Privacy & Security, Camera"
    if sys.platform == "win32":
        return "plug it in, close other programs that use it, allow desktop apps in Settings, Privacy, Camera"
    if not any(Path("/dev").glob("video*")):
        return "plug in a webcam (Linux shows it as /dev/video0), or use a recorded clip with --source"
    return "close other programs that use it; if it stays so: sudo usermod -aG video $USER, then log in again"


def _window() -> Iterator[Check]:
    problem = probe.tk_problem()
    if problem is not None:
        yield Check("Tk", False, problem.what, problem.cure)
        return
    yield Check("Tk", True, probe.tk_version())
    problem = probe.display_problem()
    yield Check("display", problem is None, problem.what if problem else "a window opens",
                problem.cure if problem else "")  # fmt: skip
