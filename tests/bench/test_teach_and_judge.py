"""benchmarks/teach_and_judge.sh with programs that only pretend: what is taught, what is judged, the sums."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks/teach_and_judge.sh"
pytestmark = pytest.mark.skipif(
    sys.platform == "win32" or shutil.which("bash") is None, reason="needs bash and programs that are scripts"
)

# Takes every hand for what its folder is called; the first one in a folder that WRONG names, for an open one.
HANDCOACH = """#!{python}
import json, os, pathlib, sys
command, place, *_ = sys.argv[1:]
if command == "assess":
    if os.environ.get("REFUSES"):
        sys.exit("no luck today")
    for i, file in enumerate(sorted(pathlib.Path(place).iterdir())):
        wrong = i == 0 and os.environ.get("WRONG") == "/".join(file.parts[-3:-1])
        print(json.dumps({{"file": str(file), "posture": "open" if wrong else file.parts[-2]}}))
"""


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("handcoach", "handcoach-export"):
        (folder / name).write_text(HANDCOACH.format(python=sys.executable))
        (folder / name).chmod(0o755)
    (folder / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (folder / "python").chmod(0o755)
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Four frames of each posture, darker from one to the next, with a white left edge."""
    for label in ("open", "almost", "fist"):
        (tmp_path / "data" / label).mkdir(parents=True)
        for number, grey in ((1, 200), (2, 150), (9, 100), (10, 50)):
            image = np.full((8, 8, 3), grey, np.uint8)
            image[:, 0] = 255
            cv2.imwrite(str(tmp_path / "data" / label / f"{number}.png"), image)
    return tmp_path / "data"


def run(data: Path, work: Path, programs: Path, **more: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", **more}
    return subprocess.run(
        ["bash", str(SCRIPT), str(data), str(work)], env=env, capture_output=True, text=True, timeout=120
    )


def test_the_first_half_teaches_and_the_second_is_judged(data, programs, tmp_path):
    done = run(data, tmp_path / "work", programs)
    assert done.returncode == 0, done.stderr
    assert [line.split() for line in done.stdout.splitlines()] == [
        f"{mode} right 6 of 6 (100.0%), wrong praise 0 of 4, mirrored the same 6 of 6".split()
        for mode in ("still", "tracked")
    ]
    for to, greys, edge in (("taught", [200, 150], 0), ("judged", [100, 50], 0), ("mirrored", [100, 50], 7)):
        files = sorted((tmp_path / "work" / to / "fist").iterdir())
        images = [cv2.imread(str(file)) for file in files]
        assert [int(image[4, 4, 0]) for image in images] == greys
        assert all((image[:, edge] == 255).all() and image[0, 7 - edge, 0] < 255 for image in images)


@pytest.mark.parametrize(("wrong", "says"), [
    ("judged/fist", "right 5 of 6 (83.3%), wrong praise 1 of 4, mirrored the same 5 of 6"),
    ("mirrored/almost", "right 6 of 6 (100.0%), wrong praise 0 of 4, mirrored the same 5 of 6"),
])  # fmt: skip
def test_a_goal_that_is_missed_is_told(data, programs, tmp_path, wrong, says):
    done = run(data, tmp_path / "work", programs, WRONG=wrong)
    assert done.returncode == 1 and done.stdout.count(says) == 2


def test_what_cannot_be_read_or_judged_is_said(data, programs, tmp_path):
    (data / "open/9.png").write_bytes(b"none")
    done = run(data, tmp_path / "work", programs)
    assert done.returncode == 0 and "right 5 of 5" in done.stdout
    assert "open: 1 of 4 frames cannot be read, and count nowhere" in done.stdout
    done = run(data, tmp_path / "work", programs, REFUSES="1")
    assert done.returncode == 1 and done.stderr.endswith("no luck today\n") and not done.stdout.count("right")
    for file in (data / "open").iterdir():
        file.unlink()
    done = run(data, tmp_path / "work", programs)
    assert done.returncode == 2 and "holds no images" in done.stderr and done.stderr.count("\n") == 1
    done = run(data / "open", tmp_path / "work", programs)
    assert done.returncode == 2 and "give a folder that holds open, almost and fist" in done.stderr
