"""Every command works without the training stack, opens no socket and writes nothing unasked."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
from tiny.hands import BENDS, blank, draw_hand

import handcoach
from handcoach import cli

# Every one that there is, so that none is forgotten.
COMMANDS = tuple(next(action for action in cli.parser()._actions if action.choices).choices or ())
PACKAGE = Path(handcoach.__file__).parent


@pytest.fixture
def here(tmp_path: Path, tiny_shipped: Path) -> Path:
    """A folder with `home`, `models`, `work` and `stills`."""
    assert tiny_shipped == tmp_path / "models"
    for name in ("home", "work", "stills"):
        (tmp_path / name).mkdir()
    for name, bend in BENDS.items():
        picture = draw_hand(blank(), 320, 240, 80, bend=bend)
        cv2.imwrite(str(tmp_path / "stills" / f"{name}.png"), picture[..., ::-1])
    cv2.imwrite(str(tmp_path / "stills" / "nothing.png"), blank())
    return tmp_path


def alone(here: Path, *arguments: str, models: bool = True) -> subprocess.CompletedProcess[str]:
    # As little as possible of this environment: in CI, some libraries keep quiet that would not elsewhere.
    kept = ("PATH", "SYSTEMROOT", "TEMP", "TMP", "TMPDIR", "LD_LIBRARY_PATH", "OMP_NUM_THREADS")
    env = {key: os.environ[key] for key in kept if key in os.environ}
    env |= {"HOME": str(here / "home"), "USERPROFILE": str(here / "home"), "LANG": "C.UTF-8"}
    folder = str(here / "models") if models else "-"
    return subprocess.run(
        [sys.executable, str(Path(__file__).parent / "alone.py"), str(here / "work"), folder, *arguments],
        cwd=here / "work", env=env, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_every_module_imports(here: Path) -> None:
    result = alone(here, "import everything")
    assert result.returncode == 0, result.stderr
    assert files(here / "home") == [] and files(here / "work") == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(here: Path, command: str) -> None:
    result = alone(here, command, "--help")
    assert result.returncode == 0 and result.stdout.startswith(f"usage: handcoach {command} "), result.stderr
    assert len(result.stdout.splitlines()) > 5
    assert files(here / "home") == [] and files(here / "work") == []


def test_landmarks_and_assess(here: Path) -> None:
    for arguments in (("landmarks",), ("assess", "--exercise", "finger-stretch")):
        result = alone(here, arguments[0], str(here / "stills"), *arguments[1:], "--json")
        assert result.returncode == 0, result.stderr
        rows = {Path(row["file"]).stem: row for row in map(json.loads, result.stdout.splitlines())}
        assert {name: row["found"] for name, row in rows.items()} == {
            "open": True, "almost": True, "fist": True, "nothing": False,
        }  # fmt: skip
        if arguments[0] == "assess":
            assert {name: rows[name]["posture"] for name in BENDS} == {name: name for name in BENDS}
            assert rows["nothing"].get("posture") is None
    assert files(here / "home") == [] and files(here / "work") == []


def test_the_demo_writes_only_its_video(here: Path) -> None:
    clip = here / "clip.mp4"
    video = cv2.VideoWriter(str(clip), cv2.VideoWriter.fourcc(*"mp4v"), 10, (640, 480))
    for _ in range(8):
        video.write(draw_hand(blank(), 320, 240, 110)[..., ::-1].copy())
    video.release()
    result = alone(here, "demo", "--out", "view.mp4", "--source", str(clip))
    assert result.returncode == 0 and "open 8" in result.stdout, (result.stdout, result.stderr)
    assert files(here / "home") == [] and len(files(here / "work")) == 1
    assert files(here / "work")[0].startswith("view.")  # .avi where OpenCV writes no MPEG-4


def test_record_writes_only_its_folder(here: Path) -> None:
    source = str(here / "stills" / "open.png")
    result = alone(here, "record", "rec", "--label", "open", "--source", source)
    assert result.returncode == 0, result.stderr
    assert files(here / "home") == [] and {name.split("/")[0] for name in files(here / "work")} == {"rec"}


def test_doctor(here: Path) -> None:
    result = alone(here, "doctor")
    assert result.returncode in (0, 1) and "onnxruntime" in result.stdout, result.stderr
    assert files(here / "home") == [] and files(here / "work") == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("assess", "nowhere.mp4", "--exercise", "finger-stretch"),
        ("assess", "{stills}", "--exercise", "no-such-exercise"),
        ("assess", "{stills}", "--exercise", "{models}/finder.onnx"),
        ("landmarks", "{stills}", "--model", "{stills}/open.png"),
        ("landmarks", "{models}"),
        ("landmarks", "{stills}", "--model", "nowhere/x.onnx"),
    ],
)
def test_bad_input_is_one_sentence(here: Path, arguments: tuple[str, ...]) -> None:
    filled = [a.format(stills=here / "stills", models=here / "models") for a in arguments]
    result = alone(here, *filled)
    assert result.returncode == 2, (result.stdout, result.stderr)
    assert result.stderr.strip() and len(result.stderr.strip().splitlines()) == 1, result.stderr
    assert "Traceback" not in result.stderr


def test_the_guard_itself(here: Path) -> None:
    """The test above would notice: a socket, a process, a stray file, a training import."""
    for code, expected in (
        ("import socket; socket.socket()", 99),
        ("import subprocess; subprocess.Popen(['true'])", 99),
        ("open('../stray', 'w')", 99),
        ("open('mine', 'w')", 0),
        ("import onnx", 1),
    ):
        run = f"import sys; from pathlib import Path; sys.path.insert(0, {str(Path(__file__).parent)!r});"
        run += f"import alone; sys.meta_path.insert(0, alone.Blocker()); alone.watch(Path.cwd()); {code}"
        result = subprocess.run(
            [sys.executable, "-c", run], cwd=here / "work", capture_output=True, check=False
        )
        assert result.returncode == expected, (code, result.stderr)
    assert not (here / "stray").exists()


def imports(path: Path) -> set[str]:
    """Modules that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_only_the_window_imports_imagetk() -> None:
    """import-linter cannot tell PIL.ImageTk from PIL; the other arrows are its business."""
    for path in PACKAGE.rglob("*.py"):
        if "PIL.ImageTk" in imports(path):
            assert path.parent.name == "ui" and path.name != "presenter.py", path


def test_nothing_imports_a_network_library() -> None:
    network = {"socket", "http", "urllib", "ssl", "requests", "ftplib", "smtplib", "pickle"}
    for path in PACKAGE.rglob("*.py"):
        assert not {name.partition(".")[0] for name in imports(path)} & network, path


@pytest.mark.skipif(os.environ.get("HANDCOACH_WHEEL") != "1", reason="looks at an installed wheel only")
def test_this_is_the_wheel_and_it_is_light() -> None:
    assert "site-packages" in PACKAGE.parts
    import importlib.util

    for name in ("torch", "torchvision", "sklearn", "skl2onnx", "onnx", "scipy", "matplotlib"):
        assert importlib.util.find_spec(name) is None, name
