"""MediaPipe's own environment, and `pseudo_label.py` run in it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from handcoach_train.errors import TrainError

MEDIAPIPE = "mediapipe==0.10.21"  # the last one whose wheel carries the hand models; wants numpy < 2


def pseudo_label(photos: Path, out: Path, python: Path | None = None, processes: int = 1) -> None:
    """Labels the photographs of a folder; see `pseudo_label.py` for what it writes.

    Raises:
        TrainError: no such folder, the environment cannot be made or lacks MediaPipe, or labelling failed.
    """
    if not Path(photos).is_dir():
        raise TrainError(f"{photos} is not a folder of photographs.")
    if python is not None and not Path(python).exists():
        raise TrainError(f"{python} does not exist: give the python of an environment with {MEDIAPIPE}.")
    script = Path(__file__).with_name("pseudo_label.py")
    command = [
        str(python or environment()),
        str(script),
        str(photos),
        str(out),
        "--processes",
        str(processes),
    ]
    # MediaPipe chatters about itself on stderr, where the progress is shown as well.
    done = subprocess.run(command, check=False, env={**os.environ, "GLOG_minloglevel": "2"})
    if done.returncode:
        raise TrainError(
            f"Labelling failed (exit code {done.returncode}): the same command goes on from here."
        )


def environment() -> Path:
    """The python of MediaPipe's environment, made on first use in the user's cache (about 900 MB).

    Raises:
        TrainError: it cannot be made.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "handcoach" / MEDIAPIPE.replace("==", "-")
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    ready = folder / "ready"  # written last: a half-made environment is made again
    if ready.is_file() and python.exists():
        return python
    print(f"Making an environment for {MEDIAPIPE} in {folder} ...", file=sys.stderr)
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(folder)],
        [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", MEDIAPIPE],
    ):
        done = subprocess.run(command, check=False)
        if done.returncode:
            raise TrainError(
                f"The environment for {MEDIAPIPE} could not be made in {folder}: "
                "make one with python 3.9 to 3.12 and give it with --python."
            )
    ready.touch()
    return python
