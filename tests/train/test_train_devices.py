"""Two processes reach what one reaches at the same global batch (gloo, on the CPU)."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tiny import networks

pytest.importorskip("torch")
pytest.importorskip("pytorch_lightning")

# What the command does with the network, whose backbone the processes would not know.
SCRIPT = """
import sys
from tiny.networks import add_tiny_backbone
add_tiny_backbone()
from handcoach_train.cli import main
sys.exit(main(sys.argv[1:]))
"""


def folder(root: Path, samples) -> Path:
    """The known hands as a folder of pictures with landmarks, twelve of each."""
    root.mkdir()
    images = {}
    for copy in range(12):
        for i in range(5):
            name = f"{copy:02d}_{i}.png"
            (root / name).write_bytes(samples.files[i].read_bytes())
            images[name] = {"landmarks": samples.joints[i].tolist(), "K": samples.K[i].tolist()}
    (root / "landmarks.json").write_text(json.dumps({"images": images}))
    return root


@pytest.mark.slow
def test_two_processes_reach_the_loss_of_one(tmp_path, samples):
    data = folder(tmp_path / "data", samples)
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    tests = str(Path(networks.__file__).parents[1])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "PYTHONPATH": tests, "OMP_NUM_THREADS": "1", "MASTER_PORT": str(port)}
    logs = []
    for name, options in (("one", []), ("two", ["--devices", "2", "--strategy", "ddp"])):
        command = [
            *(sys.executable, str(script), "landmarks", str(data), "--out", str(tmp_path / name)),
            *(
                "--network",
                "tiny",
                "--size",
                "64",
                "--weights",
                "none",
                "--steps",
                "30",
                "--check-every",
                "15",
            ),
            *("--batch", "16", "--rate", "0.01", "--set", "warmup=1", "--set", "ema=0.5"),
            *("--device", "cpu", "--workers", "0", "--threads", "1", "--precision", "32"),
            *options,
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
        assert done.returncode == 0, done.stderr[-2000:]
        log = (tmp_path / name / "log.jsonl").read_text().splitlines()
        assert len(log) == 2  # one process writes
        logs.append([json.loads(line) for line in log])
    one, two = logs
    # Batch norm sees half a batch in each of two processes, so that the paths are close, not the same.
    assert two[1]["loss"] < 0.8 * two[0]["loss"]
    for a, b in zip(one, two, strict=True):
        assert a["step"] == b["step"]
        assert b["loss"] == pytest.approx(a["loss"], rel=0.1)
    assert two[1]["val_loss"] == pytest.approx(one[1]["val_loss"], rel=0.15)
