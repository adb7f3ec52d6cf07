"""Our training on a handful of pictures: its folder, going on after a stop, and what it refuses."""

from __future__ import annotations

import json
import os
import signal
import socket
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("pytorch_lightning")

import torch
from tiny.networks import FINDER, LANDMARKS, SMALL

from handcoach_train.data import FinderSet, LandmarkSet
from handcoach_train.errors import TrainError
from handcoach_train.networks import load_checkpoint
from handcoach_train.training import run as running
from handcoach_train.training.edge import Edge, train
from handcoach_train.training.recipe import FinderRecipe, LandmarkRecipe, changed
from handcoach_train.training.run import NONE, Machine, follow

pytestmark = pytest.mark.usefixtures("one_thread", "tiny_backbone")
CPU = Machine(device="cpu", workers=0, threads=1)
RECIPE = LandmarkRecipe(steps=4, check_every=2, batch=4, warmup=1, steady=1.0)
PHOTOS = np.arange(8) >= 5


def go(samples, out: Path, recipe=RECIPE, machine=CPU, config=SMALL, **other) -> dict[str, float]:
    """A short training of the landmark network."""
    sets = (LandmarkSet(samples, 64, True, seed=recipe.seed), LandmarkSet(samples, 64, False))
    options = {"weights": NONE, **other}
    return train(config, recipe, sets[0], PHOTOS[: len(samples)], sets[1], out, machine, **options)


def log_of(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def weights(run: Path) -> dict[str, torch.Tensor]:
    return torch.load(run / "last.ckpt", weights_only=True)["state_dict"]


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, samples, one_thread, tiny_backbone) -> Path:
    """A training that nobody stopped, and that asks nobody on the network."""

    def forbidden(*_: object) -> None:
        raise AssertionError("a training has no business on the network")

    run = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", forbidden)
        go(samples, run)
    return run


def test_a_run_leaves_checkpoints_log_and_statistics(whole):
    names = {f.name for f in whole.iterdir()}
    assert names == {"small.safetensors", "last.ckpt", "log.jsonl", "statistics.json", "tensorboard"}
    its = load_checkpoint(whole / "small.safetensors")[1]
    assert {k: its[k] for k in SMALL} == SMALL
    # The whole configuration is in it.
    assert its["recipe"]["steps"] == 4 and its["recipe"]["bones"] == 1 and its["recipe"]["seed"] == 0
    pictures = its["data"].pop("pictures")
    assert its["data"] == {"training": 8, "validation": 8, "photographs": 3, "start": "random"}
    assert len(pictures) == 2 and all(pictures)
    log = log_of(whole)
    assert [line["step"] for line in log] == [2, 4] and [line["epoch"] for line in log] == [1, 2]
    assert {"loss", "landmarks", "bones", "points", "project", "val_loss", "val_score", "rate"} <= set(log[0])
    best = min(line["val_score"] for line in log)
    assert its["accuracy"]["score"] == pytest.approx(best, abs=1e-5)
    statistics = json.loads((whole / "statistics.json").read_text())
    assert set(statistics) == {"val_score", "epoch", "plateau"}
    assert statistics["epoch"] == 2 and statistics["val_score"] == pytest.approx(best, rel=1e-5)
    assert [*(whole / "tensorboard").glob("events*")]


@pytest.mark.parametrize("workers", [0, 1])
def test_stopping_and_going_on_is_the_same_as_not_stopping(tmp_path, samples, whole, workers):
    machine = Machine(device="cpu", workers=workers, threads=1, minutes=0)  # stops at the first check
    go(samples, tmp_path, machine=machine)
    assert [line["step"] for line in log_of(tmp_path)] == [2] and not same(weights(tmp_path), weights(whole))
    with (tmp_path / "log.jsonl").open("a") as log:
        log.write('{"step": 4}\n{"ste')  # what a crash between checkpoint and log may leave
    go(samples, tmp_path, machine=machine)
    assert same(weights(tmp_path), weights(whole))
    for a, b in zip(log_of(tmp_path), log_of(whole), strict=True):
        assert {**a, "minutes": 0} == {**b, "minutes": 0}
    # What is over is over, and still knows its figures.
    before = (tmp_path / "last.ckpt").read_bytes()
    assert go(samples, tmp_path) == load_checkpoint(whole / "small.safetensors")[1]["accuracy"]
    assert (tmp_path / "last.ckpt").read_bytes() == before


def test_the_state_of_a_training_is_a_checkpoint_too(whole):
    """Its average, which the last check measured, is what `load_checkpoint` gives."""
    network, config = load_checkpoint(whole / "last.ckpt")
    finished = load_checkpoint(whole / "small.safetensors")[1]
    assert config == {**SMALL, "recipe": finished["recipe"], "data": finished["data"]}
    state = weights(whole)
    for name, value in network.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            assert torch.equal(value, state[f"average.{name}"])


def test_other_settings_are_refused(whole, samples):
    before = (whole / "last.ckpt").read_bytes()
    other = LandmarkRecipe(steps=6, check_every=2, batch=4, warmup=1, steady=1.0, bones=0)
    with pytest.raises(TrainError, match=r"bones 1\.0 there, 0 here, steps 4 there, 6 here"):
        go(samples, whole, other)
    with pytest.raises(TrainError, match="size 64 there, 96 here"):
        go(samples, whole, config={**SMALL, "size": 96})
    with pytest.raises(TrainError, match="training 8 there, 7 here"):
        go(samples.take(np.arange(7)), whole)
    with pytest.raises(TrainError, match=r"start random there, small\.safetensors here"):
        go(samples, whole, start=whole / "small.safetensors")
    assert (whole / "last.ckpt").read_bytes() == before


def test_a_damaged_state_is_refused(tmp_path, samples):
    (tmp_path / "last.ckpt").write_bytes(b"half")
    with pytest.raises(TrainError, match="damaged"):
        go(samples, tmp_path)


def test_the_finder_is_trained_by_the_same_loop(tmp_path, samples, frames, whole):
    recipe = FinderRecipe(steps=2, check_every=1, batch=4, warmup=1)
    sets = (FinderSet(frames, 64, 96, True), FinderSet(frames, 64, 96, False))
    figures = train(FINDER, recipe, sets[0], PHOTOS, sets[1], tmp_path, CPU, weights=NONE)
    assert set(figures) == {"loss", "found", "side", "extent", "false", "score"}
    assert {"heat", "place", "extent", "side"} <= set(log_of(tmp_path)[0])
    best = tmp_path / "finder.safetensors"
    assert load_checkpoint(best)[1]["recipe"]["place"] == 10
    # Neither a folder nor a checkpoint of another network is gone on with.
    with pytest.raises(TrainError, match="kind finder there, landmarks here"):
        go(samples, tmp_path)
    with pytest.raises(TrainError, match="checkpoint of a finder network, not landmarks"):
        go(samples, tmp_path / "new", start=best)
    with pytest.raises(TrainError, match="tiny network, not mobilenetv2"):
        go(samples, tmp_path / "new", config=LANDMARKS, start=whole / "small.safetensors")
    with pytest.raises(TrainError, match="finder network, not of landmarks"):
        go(samples, tmp_path / "new", LandmarkRecipe(2, 4, check_every=2, teacher=str(best)))


def test_a_start_is_where_it_begins(tmp_path, samples, whole):
    recipe = LandmarkRecipe(steps=1, check_every=1, batch=4, rate=0.0, ema=0.0)
    go(samples, tmp_path, recipe, start=whole / "small.safetensors")
    first = load_checkpoint(whole / "small.safetensors")[0]
    for name, value in load_checkpoint(tmp_path / "last.ckpt")[0].named_parameters():
        assert torch.equal(value, first.get_parameter(name)), name


def test_sizes_teacher_and_pooled_head(tmp_path, samples, whole):
    recipe = LandmarkRecipe(
        steps=4, check_every=2, batch=4, sizes="96:1,64:1", head="pooled", mirror=False, roll=False, ema=0.0,
        teacher=str(whole / "small.safetensors"),
    )  # fmt: skip
    config = {**SMALL, "head": "pooled"}
    met = []
    original = Edge.training_step
    try:
        Edge.training_step = lambda self, batch, i: (
            met.append(batch["image"].shape[1]) or original(self, batch, i)
        )
        go(samples, tmp_path, recipe, config=config)
    finally:
        Edge.training_step = original
    assert met == [96, 96, 64, 64]
    assert all(line["distil"] > 0 for line in log_of(tmp_path))
    network, its = load_checkpoint(tmp_path / "small.safetensors")
    assert network.head == "pooled" and its["head"] == "pooled"
    assert [o.shape for o in network(torch.zeros(1, 64, 64, 3, dtype=torch.uint8))] == [
        (1, 21, 3), (1, 21, 2), (1,), (1,)
    ]  # fmt: skip


def test_accumulated_parts_make_the_same_step(tmp_path, samples):
    """A batch in two parts is one step of the optimiser."""
    go(samples, tmp_path, machine=Machine(device="cpu", workers=0, threads=1, accumulate=2))
    assert [line["step"] for line in log_of(tmp_path)] == [2, 4]


def test_an_interrupted_run_keeps_its_last_checkpoint(tmp_path, samples, whole):
    """Ctrl-C and SIGTERM in the second epoch: what the first left is whole, and the command goes on."""
    original = Edge.training_step
    for number in (signal.SIGINT, signal.SIGTERM):
        run = tmp_path / str(number)
        calls = []

        def stop(self, batch, i, calls=calls, number=number):
            calls.append(i)
            if len(calls) == 3:
                os.kill(os.getpid(), number)
            return original(self, batch, i)

        Edge.training_step = stop
        try:
            with pytest.raises(KeyboardInterrupt):
                go(samples, run)
        finally:
            Edge.training_step = original
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        assert [line["step"] for line in log_of(run)] == [2]
        go(samples, run)
        assert same(weights(run), weights(whole))


def test_a_full_disk_harms_no_checkpoint(tmp_path, samples, whole):
    resource = pytest.importorskip("resource")
    go(samples, tmp_path, machine=Machine(device="cpu", workers=0, threads=1, minutes=0))
    kept = (tmp_path / "last.ckpt").read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(kept) - 10_000, limits[1]))  # the write fails near its end
    try:
        with pytest.raises(TrainError, match=r"last\.ckpt could not be written.*File too large.*make room"):
            go(samples, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (tmp_path / "last.ckpt").read_bytes() == kept
    assert not [*tmp_path.glob("*.partial")]
    go(samples, tmp_path)
    assert same(weights(tmp_path), weights(whole))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_picture_is_named_in_one_sentence(tmp_path, samples, workers):
    broken = samples.take(np.arange(8))
    broken.files[2] = tmp_path / "gone.png"
    with pytest.raises(TrainError) as caught:
        go(broken, tmp_path / "run", machine=Machine(device="cpu", workers=workers, threads=1))
    assert str(caught.value) == f"{tmp_path / 'gone.png'} is missing or not a picture."


def test_a_training_that_has_failed_says_so(tmp_path, samples, monkeypatch):
    monkeypatch.setattr(
        "handcoach_train.training.checks.landmark_figures", lambda rows: {"score": float("nan")}
    )
    with pytest.raises(TrainError, match="lower rate"):
        go(samples, tmp_path)


def test_too_little_data_is_refused(tmp_path, samples):
    with pytest.raises(TrainError, match="3 training samples"):
        go(samples.take(np.arange(3)), tmp_path / "r")
    sets = LandmarkSet(samples, 64, True), LandmarkSet(samples.take(np.zeros(8, bool)), 64, False)
    with pytest.raises(TrainError, match="0 for validation"):
        train(LANDMARKS, RECIPE, sets[0], PHOTOS, sets[1], tmp_path / "r", CPU, weights=NONE)
    assert not (tmp_path / "r").exists()


def test_a_machine_that_is_not_there_is_refused(tmp_path, samples):
    for machine, word in (
        (Machine(device="cpu", strategy="teleport"), "teleport"),
        (Machine(device="cuda"), "no CUDA device"),
        (Machine(device="cpu", devices=3), "multiple of 3"),
    ):
        if machine.device == "cuda" and torch.cuda.is_available():
            continue
        with pytest.raises(TrainError, match=word):
            go(samples, tmp_path / "r", machine=machine)
    assert not (tmp_path / "r").exists()


def test_low_precision_only_where_the_processor_has_it(monkeypatch):
    assert running.bf16_pays("cuda")
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    monkeypatch.setattr(torch.ops, "mkldnn", SimpleNamespace(_is_mkldnn_bf16_supported=lambda: True))
    assert running.bf16_pays("cpu")
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    assert not running.bf16_pays("cpu")
    monkeypatch.setattr(torch.ops, "mkldnn", SimpleNamespace())  # a torch without the private operator
    assert not running.bf16_pays("cpu")


def test_the_average_follows():
    a, b = torch.nn.BatchNorm1d(2), torch.nn.BatchNorm1d(2)
    with torch.no_grad():
        a.weight.fill_(1), b.weight.fill_(3)
        b.num_batches_tracked += 5
    follow(a, b, 0.75)
    assert a.weight.tolist() == [1.5, 1.5] and a.num_batches_tracked == 5


def test_frozen_layers_stay_as_they_are(samples, tmp_path):
    """`freeze` keeps weights and batch statistics of the first layers, and the rest still learns."""
    before = Edge({"config": SMALL, "recipe": {}, "data": {}}, RECIPE).network.features.state_dict()
    before = {k: v.clone() for k, v in before.items()}
    go(samples, tmp_path, changed(RECIPE, ["freeze=2"]))
    after = {k.removeprefix("network.features."): v for k, v in weights(tmp_path).items()}
    kept = [k for k in before if k.split(".")[0] in ("0", "1")]
    assert kept and all(torch.equal(before[k], after[k]) for k in kept)
    last = max(int(k.split(".")[0]) for k in before)
    learnt = [k for k in before if k.startswith(f"{last}.") and k.endswith(".weight")]
    assert learnt and not any(torch.equal(before[k], after[k]) for k in learnt)
