"""The benchmark's list of held-out recordings is training's: the benchmark may not import training."""

from __future__ import annotations

import json

import numpy as np
import pytest

from handcoach_bench.accuracy import HELD_OUT
from handcoach_bench.finding import read_held_out, recording

pytest.importorskip("torch")

from handcoach_train import data

# Recordings in webcam_hands/images, as `recording` names them.
RECORDINGS = (
    ".", "15", "1528664299.56", "16", "2", "25", "26", "3", "35", "3_1528499009.07", "3_1528505750.77", "46",
    "5", "55", "96", "996", "Hand",
)  # fmt: skip


def test_the_benchmark_holds_out_what_training_does():
    names = [name for name in RECORDINGS for _ in range(3)]  # how many photographs each has does not matter
    out = data.held_out(np.array([f"images/{name}" for name in names]), data.PHOTOS_HELD_OUT)
    assert read_held_out(HELD_OUT) == {name for name, is_out in zip(names, out, strict=True) if is_out}


def test_both_name_recordings_alike(tmp_path):
    files = ["3_1528499009.07_pic00003.jpg", "pic00107.jpg", "Hand_0000001.jpg"]
    labels = tmp_path / "labels.json"
    labels.write_text(json.dumps({"photos": {name: [] for name in files}}))
    groups = [frame["group"] for frame in data.load_photos(labels, tmp_path / "images")]
    assert groups == [f"images/{recording(name)}" for name in files]
