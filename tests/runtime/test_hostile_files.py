"""Whatever is sent in place of an exercise is refused with one sentence, within a second and 200 MB."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from tiny import hostile

SECONDS, MEGABYTES = 1.0, 200.0


def opened(folder: Path) -> dict[str, dict]:
    """What `hostile_child.py` says of every file in a folder."""
    child = Path(__file__).parent / "hostile_child.py"
    done = subprocess.run(
        [sys.executable, str(child), str(folder)], capture_output=True, text=True, timeout=300, check=True
    )
    return {row["name"]: row for row in map(json.loads, done.stdout.splitlines())}


def test_hostile_files_are_refused_quickly_and_in_little_memory(tmp_path: Path, tiny_exercise: Path) -> None:
    wanted = hostile.write(tmp_path, tiny_exercise.read_bytes())
    assert len(wanted) >= 50
    found = opened(tmp_path)
    assert set(found) == set(wanted)
    for name, words in wanted.items():
        row = found[name]
        message = row["message"]
        assert message is not None, f"{name} was accepted"
        assert words in message and message.startswith((str(tmp_path / name), "There is no")), (name, message)
        assert message.endswith(".") and "\n" not in message and message.isprintable(), (name, message)
        # Of the processor, since a busy machine must not fail this.
        assert row["cpu_s"] < SECONDS, row
        assert row["peak_mb"] is None or row["peak_mb"] < MEGABYTES, row
    if os.environ.get("HANDCOACH_TABLE"):
        print_table(found)


def print_table(found: dict[str, dict]) -> None:
    for name, row in found.items():
        what = re.sub(rf"\S*{re.escape(name)}", "it", row["message"]).removeprefix("it ")
        print(f"| {name.removesuffix('.onnx')} | {what} | {row['cpu_s']:.2f} s | {row['peak_mb']:.0f} MB |")


def test_the_exercise_itself_is_taken(tmp_path: Path, tiny_exercise: Path) -> None:
    """What is refused above is refused for its change."""
    (tmp_path / "good.onnx").write_bytes(tiny_exercise.read_bytes())
    (row,) = opened(tmp_path).values()
    assert row["message"] is None and (row["peak_mb"] is None or row["peak_mb"] < MEGABYTES)
