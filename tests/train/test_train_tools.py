"""`throughput` and `ablate`: what they measure, write and refuse."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("pytorch_lightning")

import torch

from handcoach_train.cli import main
from handcoach_train.networks import load_checkpoint
from handcoach_train.training.throughput import PlainSet

pytestmark = pytest.mark.usefixtures("one_thread", "tiny_backbone")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, samples):
    """Forty pictures with landmarks."""
    root = tmp_path_factory.mktemp("folder")
    images = {}
    for n in range(40):
        i = n % 5
        name = f"{n}.png"
        (root / name).write_bytes(samples.files[i].read_bytes())
        images[name] = {"landmarks": samples.joints[i].tolist(), "K": samples.K[i].tolist()}
    (root / "landmarks.json").write_text(json.dumps({"images": images}))
    return root


def test_throughput_writes_a_ratio(tmp_path, capsys, folder):
    out = tmp_path / "new" / "t.json"
    command = [
        "throughput",
        str(folder),
        "--network",
        "tiny",
        "--size",
        "64",
        "--images",
        "16",
        "--rounds",
        "3",
    ]
    assert main([*command, "--device", "cpu", "--threads", "1", "--workers", "0", "--out", str(out)]) == 0
    result = json.loads(out.read_text())
    for name, rates in result["images_per_second"].items():
        assert len(rates) == 3 and result["median"][name] == sorted(rates)[1] > 0
    ours, plain = result["median"]["ours"], result["median"]["plain"]
    assert result["ratio"] == pytest.approx(ours / plain, rel=0.01)
    assert "ratio" in capsys.readouterr().out
    assert main([*command, "--network", "tinier"]) == 2
    assert "'tinier' does not exist" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--workers", "--threads"])
def test_throughput_refuses_less_than_none(folder, capsys, option):
    assert main(["throughput", str(folder), option, "-1"]) == 2
    assert option in capsys.readouterr().err


def test_the_plain_loop_sees_the_same_hands(samples):
    plain = PlainSet(samples.take(np.arange(5)), 64)
    image, landmarks = plain[3]
    assert image.shape == (3, 64, 64) and image.dtype == torch.float32 and image.min() < 0
    joints = samples.joints[3] - samples.joints[3, 0]
    expected = joints / np.linalg.norm(joints[9])
    np.testing.assert_allclose(landmarks.reshape(21, 3), expected, atol=1e-5)
    assert cv2.imread(str(plain.files[3])) is not None


SPEC = """
steps = 2
arguments = ["{data}", "--network", "tiny", "--size", "64", "--batch", "4", "--weights", "none",
             "--device", "cpu", "--workers", "0", "--threads", "1"]
[variants.base]
[variants."no bones"]
set = ["bones=0"]
[variants.pooled]
set = ["head=pooled"]
arguments = ["--rate", "0.002"]
"""


def test_an_ablation_is_a_table(tmp_path, capsys, folder):
    spec = tmp_path / "spec.toml"
    spec.write_text(SPEC.format(data=folder))
    out = tmp_path / "out"
    assert main(["ablate", str(spec), "--out", str(out)]) == 0
    rows = (out / "table.md").read_text().splitlines()
    names = [row.split("|")[1].strip() for row in rows if row.startswith("|")]
    assert names == ["variant", "---", "base", "no bones", "pooled"]
    for row, run, changes in (
        (rows[-3], "base", "nothing"),
        (rows[-2], "no-bones", "bones=0"),
        (rows[-1], "pooled", "head=pooled, --rate 0.002"),
    ):
        its = load_checkpoint(out / run / "network.safetensors")[1]
        cells = [cell.strip() for cell in row.split("|")[2:]]
        assert cells[0] == changes and float(cells[1]) == pytest.approx(its["accuracy"]["score"], abs=1e-4)
        assert its["recipe"]["bones"] == (0 if run == "no-bones" else 1)
        assert its["recipe"]["rate"] == (0.002 if run == "pooled" else 0.001)
    before = (out / "table.md").read_text()
    assert main(["ablate", str(spec), "--out", str(out)]) == 0  # all of them are over
    assert (out / "table.md").read_text() == before
    capsys.readouterr()


@pytest.mark.parametrize(
    "text, word",
    [
        ("steps = ", "not TOML"),
        ("steps = 2", "variants"),
        ("[variants.a]", "steps"),
        ("steps = 2\n[variants.a]\nsets = []", "as a,"),
        ("steps = 2\n[variants.a]\nset = [1]", "as a,"),
        ('steps = 2\n[variants."../a"]', "name of a folder"),
        ('steps = 2\n[variants."no a"]\n[variants."no-a"]', "share a folder"),
        ('steps = 2\n[variants.a]\nset = ["bonse=0"]\narguments = ["x"]', "bonse"),
    ],
)
def test_a_spec_that_cannot_be(tmp_path, capsys, text, word):
    spec = tmp_path / "spec.toml"
    spec.write_text(text)
    assert main(["ablate", str(spec), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert word in error and error.count("\n") == 1
    assert main(["ablate", str(tmp_path / "none.toml"), "--out", str(tmp_path / "out")]) == 2
    assert "does not exist" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
