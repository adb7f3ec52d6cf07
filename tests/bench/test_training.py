"""`handcoach-bench training`: what is varied, what the child measures on a tiny network, and the table."""

from __future__ import annotations

import json
import math
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny.hands import template

from handcoach.errors import HandCoachError
from handcoach_bench import results, training
from handcoach_bench.cli import main

CPU = {"device": "cpu", "name": "CPU", "mixed": None}
GPU = {"device": "cuda:0", "name": "Some GPU", "mixed": "bf16"}

# Answers like children.training without PyTorch. In "fp16" it dies; its second epoch is faster.
FAKE = """
import json, sys
task = json.load(open(sys.argv[1]))
if task["what"] == "devices":
    found = {"devices": %s, "torch": "0"}
elif task["what"] == "subset":
    found = {"images": min(task["images"], 40), "of": 40}
else:
    assert task["images"] == 20 and task["batch"] == 8 and task["subset"].endswith("subset.npz")
    if task["precision"] == "bf16":
        sys.exit("out of memory")
    epochs = [{"seconds": 4 / (task["threads"] or 4), "loading_s": 0.5, "loss": 2.0 - i} for i in range(2)]
    found = {"epochs": epochs, "images": 16, "cpu_s": 6.0, "threads": 1, "device": task["device"],
             "gpu_mb": None, "loader_mb": 40.0, "torch": "0", "peak_rss_mb": 100.0}
json.dump(found, open(sys.argv[2], "w"))
"""


@pytest.fixture
def fake(tmp_path, monkeypatch) -> Path:
    script = tmp_path / "fake.py"
    script.write_text(FAKE % json.dumps([CPU, GPU]).replace("null", "None"))
    monkeypatch.setattr(training, "CHILD", (sys.executable, str(script)))
    data = tmp_path / "set"
    data.mkdir()
    return data


def settings(**changes) -> dict:
    return {"images": 100, "epochs": 3, "batch": 64, "size": 224, "workers": None} | changes


def test_devices_threads_and_precisions_are_varied():
    def keys(asked=(), precisions=(), repeats=1):
        todo = training.jobs([CPU, GPU], asked, [1, 2], precisions, repeats, settings(), Path("s"))
        return [(j.case["key"].removeprefix("training in "), bool(j.impossible)) for j in todo]

    assert keys() == [("fp32, 1 thread, cpu", False), ("fp32, 2 threads, cpu", False),
                      ("fp32, cuda:0", False), ("bf16, cuda:0", False)]  # fmt: skip
    assert keys(["cuda"], ["mixed"]) == [("bf16, cuda:0", False)]
    # What is not there is one marked row, whatever the number of repeats.
    assert keys(["tpu"], repeats=3) == [("fp32, tpu", True)]
    assert keys(["cpu"], ["mixed"]) == [("mixed, 1 thread, cpu", True), ("mixed, 2 threads, cpu", True)]
    rounds = training.jobs([CPU], [], [1, 2], [], 2, settings(), Path("s"))
    assert [(j.case["threads"], j.repeat) for j in rounds] == [(1, 0), (2, 0), (1, 1), (2, 1)]
    assert rounds[0].task["workers"] == 1 and rounds[0].task["device"] == "cpu"
    assert training.default_threads()[0] == 1


def test_the_command_its_file_and_its_table(fake, tmp_path, capsys):
    out = tmp_path / "training.json"
    argv = ["training", str(fake), "--images", "20", "--batch", "8", "--threads", "1", "2", "--repeats", "2"]
    assert main([*argv, "--json", str(out)]) == 1  # the GPU's mixed precision died
    content = results.load(out)
    assert {r["case"]["variant"] for r in content["results"]} == {None}
    assert content["complete"] and content["subset"] == {"images": 20, "of": 40}
    rows = {row.key: row for row in results.rows(content["results"])}
    one = rows["training in fp32, 1 thread, cpu"]
    assert one.summary is not None and (one.summary.n, one.summary.mean) == (4, 4000.0)
    assert one.good[0]["figures"]["images_per_s"] == 4.0 and one.good[0]["figures"]["loader_share"] == 0.125
    assert (one.mean("cpu_percent"), one.mean("epoch_s"), one.mean("last_loss")) == (75, 4, 1)
    assert one.good[0]["versions"] == {"torch": "0"}
    printed = capsys.readouterr()
    assert "20 of 40 pictures" in printed.out and "2.000 to 1.000" in printed.out
    table = [line.split() for line in printed.out.splitlines() if line.startswith(("cpu", "cuda"))]
    assert [line[:3] for line in table][:2] == [["cpu", "1", "fp32"], ["cpu", "2", "fp32"]]
    assert table[1][8] == "2.00"  # two threads are twice as fast
    assert "2 of 2" not in printed.out and "died: exit code 1 (out of memory)" in printed.out
    assert "\nstable: medians of repeated processes lie at most 0.0% (wall), 0.0% (CPU) apart" in printed.out


def test_bad_input_is_one_sentence(fake, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for argv, says in (
        ([str(tmp_path / "none")], "does not exist"),
        ([], "There is no data set in data/"),
        ([str(fake), "--images", "4"], "4 pictures are fewer than a batch of 64"),
        ([str(fake), "--json", "no/x.json"], "does not exist"),
    ):
        assert main(["training", *argv]) == 2
        error = capsys.readouterr().err
        assert says in error and error.count("\n") == 1
    monkeypatch.setattr(training, "CHILD", (sys.executable, "-c", "import sys; sys.exit('broken')"))
    assert main(["training", str(fake)]) == 2
    assert "Training does not start here (exit code 1 (broken))" in capsys.readouterr().err


def test_hanco_comes_before_what_was_rendered(tmp_path):
    with pytest.raises(HandCoachError, match="handcoach-train render"):
        training.find_data(tmp_path)
    for name in ("any", "HanCo", "a-photo-folder"):
        (tmp_path / "data" / name).mkdir(parents=True)
    for name in ("any", "HanCo"):
        (tmp_path / "data" / name / "xyz").mkdir()
        (tmp_path / "data" / name / "calib").mkdir()
    assert training.find_data(tmp_path) == tmp_path / "data/HanCo"
    (tmp_path / "data/HanCo/xyz").rmdir()
    assert training.find_data(tmp_path) == tmp_path / "data/any"


@pytest.fixture
def pictures(tmp_path) -> Path:
    """Six drawn hands with their landmarks, as `handcoach-train` reads them from a folder."""
    root = tmp_path / "hands"
    root.mkdir()
    images = {}
    for i in range(6):
        picture = np.random.default_rng(i).integers(0, 255, (64, 64, 3), dtype=np.uint8)
        cv2.imwrite(str(root / f"{i}.png"), picture)
        joints = (template(i / 6) + np.array([0, 0, 6])) * 0.1
        images[f"{i}.png"] = {"landmarks": joints.tolist(), "K": [[80, 0, 32], [0, 80, 32], [0, 0, 1]]}
    (root / "landmarks.json").write_text(json.dumps({"images": images}))
    return root


def test_the_child_trains_on_the_same_pictures_every_time(pictures, tmp_path, monkeypatch):
    pytest.importorskip("torch")
    from tiny.networks import add_tiny_backbone

    from handcoach_bench.children import training as child
    from handcoach_train import networks
    from handcoach_train.data import HandDataset

    add_tiny_backbone()
    monkeypatch.setattr(child, "NETWORK", "tiny")
    try:
        subset = {"what": "subset", "data": str(pictures), "variant": None, "images": 5}
        kept = [tmp_path / "a.npz", tmp_path / "b.npz"]
        for file in kept:
            assert child.work({**subset, "to": str(file)}) == {"images": 5, "of": 6}
        assert kept[0].read_bytes() == kept[1].read_bytes()
        task = {"what": "train", "subset": str(kept[0]), "device": "cpu", "threads": 1, "precision": "fp32",
                "epochs": 3, "batch": 2, "size": 64, "workers": 0,
                "progress": str(tmp_path / "p")}  # fmt: skip
        monkeypatch.setattr(child, "RATE", 1e-2)
        once, again = child.work(task), child.work(task)
        assert once["images"] == 4 and len(once["epochs"]) == 3 and once["threads"] == 1
        losses = [[e["loss"] for e in found["epochs"]] for found in (once, again)]
        assert losses[0] == losses[1] and losses[0][2] < losses[0][0]
        assert all(0 <= e["loading_s"] < e["seconds"] for e in once["epochs"])
        assert (tmp_path / "p").read_text() == "6 6"
        assert once["loader_mb"] == 0
        plain = HandDataset.__getitem__

        def slow(self, i: int) -> dict:
            time.sleep(0.03)
            return plain(self, i)

        with monkeypatch.context() as patch:  # of both batches of two count the time that is waited for them
            patch.setattr(HandDataset, "__getitem__", slow)
            assert child.work(task | {"epochs": 1})["epochs"][0]["loading_s"] >= 4 * 0.03
        loading = child.work(task | {"workers": 1, "epochs": 1})
        assert loading["loader_mb"] > 1 and loading["peak_rss_mb"] > once["peak_rss_mb"] + 1
        with pytest.raises(HandCoachError, match="5 pictures are fewer than a batch of 6"):
            child.work(task | {"batch": 6})
        with pytest.raises(HandCoachError, match="There is no device cuda:9 here: take cpu"):
            child.work(task | {"device": "cuda:9"})
        monkeypatch.setattr(child, "RATE", math.inf)
        with pytest.raises(HandCoachError, match="no finite number in fp32"):
            child.work(task)
    finally:
        del networks.BACKBONES["tiny"]


def test_the_network_is_the_papers():
    pytest.importorskip("torch")
    from handcoach_bench.children import training as child
    from handcoach_train.networks import PaperNet

    layers = list(PaperNet(64, child.NETWORK).head)
    assert len(layers) == 1 and (layers[0].in_features, layers[0].out_features) == (1280, 63)
