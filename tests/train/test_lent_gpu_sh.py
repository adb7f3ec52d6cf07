"""The script for a lent GPU machine: what it refuses, and weights that come back in parts."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "train" / "lent_gpu.sh"

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")


def call(where: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    """The script from a tree that holds nothing else."""
    (where / "train").mkdir(exist_ok=True)
    shutil.copy(SCRIPT, where / "train")
    env = {k: v for k, v in os.environ.items() if k != "OUT"} | environment
    return subprocess.run(
        ["bash", str(where / "train" / "lent_gpu.sh"), *arguments],
        capture_output=True, text=True, env=env, timeout=60, cwd=where,
    )  # fmt: skip


@pytest.mark.parametrize(
    "arguments, environment, word",
    [
        ((), {}, "usage"),
        (("dance",), {}, "usage"),
        (("go",), {}, "OUT"),
        (("go",), {"OUT": "."}, "pack"),
        (("pack",), {}, "assets"),
    ],
)
def test_what_is_missing_is_said(tmp_path, arguments, environment, word):
    done = call(tmp_path, *arguments, **environment)
    assert done.returncode != 0 and word in done.stderr
    assert not (tmp_path / "build").exists()


def test_parts_become_the_weights_again(tmp_path):
    weights = os.urandom(3000)
    for n in range(3):
        (tmp_path / f"resnet50.safetensors.{n:02d}").write_bytes(weights[1000 * n : 1000 * (n + 1)])
    done = call(tmp_path, "join", str(tmp_path), str(tmp_path / "run"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run/resnet50.safetensors").read_bytes() == weights
    assert [f.name for f in (tmp_path / "run").iterdir()] == ["resnet50.safetensors"]


def test_without_parts_there_is_nothing_to_join(tmp_path):
    done = call(tmp_path, "join", str(tmp_path), str(tmp_path / "run"))
    assert done.returncode != 0 and "no parts" in done.stderr
