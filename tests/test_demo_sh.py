"""demo.sh, the README's first line, on machines that lack something: stand-ins for Python, apt-get and id."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "demo.sh"
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the stand-ins are a Debian machine's")

# Has what $BOX/has lists; `-m venv` makes an environment whose handcoach says what it was told.
PYTHON = """\
#!/bin/sh
case "$1" in
--version) echo "Python $(cat "$BOX/version")" ;;
-c) [ "$(cat "$BOX/version")" = 3.11.2 ] || exit 1
    for module in ensurepip tkinter; do
        case "$2" in *$module*) grep -q $module "$BOX/has" || exit 1 ;; esac
    done ;;
-m) mkdir -p .venv/bin && printf '#!/bin/sh\\necho pip "$@"\\n' >.venv/bin/python &&
    printf '#!/bin/sh\\necho handcoach "$@" in "$PWD"\\n' >.venv/bin/handcoach && chmod +x .venv/bin/* ;;
esac
"""
APT = """\
#!/bin/sh
case "$*" in *install*) echo "$*" >>"$BOX/apt"; printf 'ensurepip tkinter' >"$BOX/has" ;; esac
"""


@pytest.fixture
def machine(tmp_path):
    """A function that runs demo.sh on a machine with these modules and this user, in a folder of its own."""

    def run(has: str, *, uid: int = 1000, version: str = "3.11.2") -> subprocess.CompletedProcess[str]:
        tools = tmp_path / "bin"
        code = tmp_path / "the code"
        for folder in (tools, code):
            folder.mkdir()
        shutil.copy(SCRIPT, code)
        for name, text in (("python3", PYTHON), ("apt-get", APT), ("id", f"#!/bin/sh\necho {uid}\n")):
            (tools / name).write_text(text)
            (tools / name).chmod(0o755)
        (tmp_path / "has").write_text(has)
        (tmp_path / "version").write_text(version)
        environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "BOX": str(tmp_path)}
        return subprocess.run(
            ["sh", str(code / "demo.sh"), "--lang", "da"],
            env={**environment, "PYTHON": "python3"},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run


def test_a_complete_machine_installs_and_shows_the_demo(machine, tmp_path):
    done = machine("ensurepip tkinter")
    assert done.returncode == 0, done.stderr
    assert "pip -m pip install ." in done.stdout
    assert done.stdout.endswith(f"handcoach demo --lang da in {tmp_path}\n")
    assert not (tmp_path / "apt").exists()


def test_an_ordinary_user_is_told_the_packages_in_one_sentence(machine, tmp_path):
    done = machine("")
    assert done.returncode == 1
    assert done.stderr.endswith("run this again: sudo apt install python3-venv python3-tk\n")
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
    assert not (tmp_path / "apt").exists()


def test_without_tk_the_demo_can_still_write_its_video(machine):
    done = machine("ensurepip")
    assert done.returncode == 0, done.stderr
    assert "handcoach demo" in done.stdout


def test_root_gets_what_is_missing(machine, tmp_path):
    done = machine("", uid=0)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "apt").read_text().endswith("python3-venv python3-tk\n")
    assert "handcoach demo" in done.stdout


@pytest.mark.parametrize("uid", [0, 1000])
def test_an_old_python_is_named(machine, tmp_path, uid):
    done = machine("ensurepip tkinter", uid=uid, version="3.10.12")
    assert done.returncode == 1
    assert done.stderr.startswith("HandCoach needs Python 3.11 or newer and found Python 3.10.12")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "apt").exists()
