"""The last layers trained alone: the rest sees what it saw, and what was said is where it begins."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("pytorch_lightning")

import torch
from tiny.networks import FINDER, SMALL

from handcoach_train.data import LandmarkSet
from handcoach_train.errors import TrainError
from handcoach_train.networks import build, load_checkpoint, save_checkpoint
from handcoach_train.training import head
from handcoach_train.training.edge import train
from handcoach_train.training.recipe import HeadRecipe, LandmarkRecipe
from handcoach_train.training.run import Machine

pytestmark = pytest.mark.usefixtures("one_thread", "tiny_backbone")
CPU = Machine(device="cpu", workers=0, threads=1)
RECIPE = HeadRecipe(steps=60, check_every=20, batch=8, warmup=1, rate=3e-3, ema=0.5, hidden=600, looks=2)
PHOTOS = np.arange(8) >= 5
CONFIG = {**SMALL, "crop": {"margin": 1.3, "roll": True}}


@pytest.fixture
def start(tmp_path) -> Path:
    torch.manual_seed(0)
    save_checkpoint(build(CONFIG), CONFIG, tmp_path / "start.safetensors")
    return tmp_path / "start.safetensors"


def go(samples, start: Path, out: Path, recipe=RECIPE, machine=CPU) -> dict[str, float]:
    sets = (LandmarkSet(samples, 64, True, seed=recipe.seed), LandmarkSet(samples, 64, False))
    return head.train(CONFIG, recipe, start, sets[0], PHOTOS, sets[1], out, machine)


def test_the_last_layers_learn_and_nothing_else(tmp_path, samples, start):
    figures = go(samples, start, tmp_path / "run")
    before, _ = load_checkpoint(start)
    after, its = load_checkpoint(tmp_path / "run/small.safetensors")
    assert its["hidden"] == after.hidden == 600 and its["recipe"]["looks"] == 2
    for name, value in before.state_dict().items():
        if not name.startswith("dense"):
            assert torch.equal(after.state_dict()[name], value), name
    checked = LandmarkSet(samples, 64, False)
    images = torch.stack([torch.as_tensor(checked[i]["image"]) for i in range(5)])
    truth = torch.stack([torch.as_tensor(checked[i]["landmarks"]) for i in range(5)])
    with torch.no_grad():
        gap = [(network(images)[0] - truth).norm(dim=2).mean() for network in (before, after)]
    assert gap[1] < 0.8 * gap[0]
    mean, note = load_checkpoint(tmp_path / "run/small-mean.safetensors")
    assert note == {**its, "accuracy": {}}  # which is of the other weights
    wide = mean.get_parameter("dense.0.weight")[:512]
    halfway = (before.get_parameter("dense.0.weight") + after.get_parameter("dense.0.weight")[:512]) / 2
    torch.testing.assert_close(wide, halfway, rtol=0, atol=1e-3)  # of halves
    assert not torch.equal(mean.get_parameter("dense.2.bias"), after.get_parameter("dense.2.bias"))
    assert figures == its["accuracy"] and {"pa", "real_points", "score"} <= set(figures)


def test_a_held_hand_is_asked_to_stay_still(tmp_path, samples, start):
    def restless(steady: float) -> float:
        recipe, machine = replace(RECIPE, steady=steady), replace(CPU, precision="32")
        return go(samples, start, tmp_path / str(steady), recipe, machine)["steady"]

    assert 0 < restless(50.0) < 0.8 * restless(1e-6)
    kept = torch.load(tmp_path / "50.0/seen-0.pt", weights_only=True)["columns"]
    assert kept["seen_next"].shape == kept["seen"].shape
    assert not torch.equal(kept["seen_next"], kept["seen"])


def test_with_late_all_from_stride_16_on_learns_and_what_is_before_does_not(tmp_path, samples, start):
    recipe = replace(RECIPE, late=True, steady=1.0, rate=1e-3, dropout=0.0)
    figures = go(samples, start, tmp_path / "run", recipe)
    before, _ = load_checkpoint(start)
    after, its = load_checkpoint(tmp_path / "run/small.safetensors")
    late = {"flags", "deep", "side", "mix", "heat", "dense"}
    for name, value in before.state_dict().items():
        first, number, *_ = name.split(".")
        learns = first in late or (first == "features" and int(number) >= before.cut)
        statistics = "running_" in name or "num_batches" in name
        if not learns or statistics:
            assert torch.equal(after.state_dict()[name], value), name
        elif first != "dense":  # which was made wider
            assert not torch.equal(after.state_dict()[name], value), name
    # Of the pictures themselves, which the training has not seen: maps of them were enough.
    checked = LandmarkSet(samples, 64, False)
    images, *truth = (
        torch.stack([torch.as_tensor(checked[i][name]) for i in range(5)])
        for name in ("image", "landmarks", "points")
    )
    with torch.no_grad():
        said = [network(images) for network in (before, after)]
    for n, least in enumerate((0.8, 0.99)):
        gap = [(outputs[n] - truth[n]).norm(dim=2).mean() for outputs in said]
        assert gap[1] < least * gap[0]
    assert its["recipe"]["late"] and figures["steady"] > 0
    kept = torch.load(tmp_path / "run/seen-0.pt", weights_only=True)["columns"]
    assert kept["middle"].shape == kept["middle_next"].shape == (8, 16, 4, 4) and "seen" not in kept


def test_presence_and_side_stay_as_they_were_where_that_is_asked(tmp_path, samples, start):
    def strayed(keep: float) -> float:
        recipe = replace(RECIPE, late=True, keep=keep, rate=1e-3, dropout=0.0)
        go(samples, start, tmp_path / str(keep), recipe)
        images = torch.stack([torch.as_tensor(LandmarkSet(samples, 64, False)[i]["image"]) for i in range(8)])
        with torch.no_grad():
            said = [
                load_checkpoint(f)[0](images)[2:] for f in (start, tmp_path / str(keep) / "small.safetensors")
            ]
        return max(float((a - b).abs().mean()) for a, b in zip(*said, strict=True))

    assert strayed(30.0) < 0.5 * strayed(0.0)


def test_a_wider_one_says_the_same_until_it_has_learnt(start):
    network, _ = load_checkpoint(start)
    wide = head.widened(network, 700)
    picture = torch.randint(0, 255, (2, 64, 64, 3), dtype=torch.uint8)
    for a, b in zip(network(picture), wide(picture), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-6)
    assert wide.hidden == 700 and network.hidden == 512
    with pytest.raises(TrainError, match="no MLP that 100 units widen"):
        head.widened(network, 100)


def test_stopping_and_going_on_is_the_same_and_looks_at_nothing_twice(tmp_path, samples, start, monkeypatch):
    go(samples, start, tmp_path / "whole")
    go(samples, start, tmp_path / "run", machine=replace(CPU, minutes=0))
    seen = sorted(f.name for f in (tmp_path / "run").glob("seen-*"))
    assert seen == ["seen-0.pt", "seen-1.pt", "seen-validation.pt"]
    monkeypatch.setattr(LandmarkSet, "item", lambda *_: pytest.fail("it is known what is seen"))
    go(samples, start, tmp_path / "run")
    a, b = (
        torch.load(tmp_path / run / "last.ckpt", weights_only=True)["state_dict"] for run in ("whole", "run")
    )
    assert a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
    with pytest.raises(TrainError, match="looks 2 there, 1 here"):  # before it looks at anything
        go(samples, start, tmp_path / "run", replace(RECIPE, looks=1))


def test_a_whole_network_goes_on_from_a_wide_one(tmp_path, samples, start):
    go(samples, start, tmp_path / "run", machine=replace(CPU, minutes=0))
    sets = (LandmarkSet(samples, 64, True), LandmarkSet(samples, 64, False))
    recipe = LandmarkRecipe(steps=1, check_every=1, batch=4, rate=0.0, ema=0.0)
    wide = tmp_path / "run/small.safetensors"
    train(CONFIG, recipe, sets[0], PHOTOS, sets[1], tmp_path / "on", CPU, start=wide)
    network, its = load_checkpoint(tmp_path / "on/small.safetensors")
    assert its["hidden"] == network.hidden == 600
    assert torch.equal(
        network.get_parameter("dense.2.weight"), load_checkpoint(wide)[0].get_parameter("dense.2.weight")
    )


def test_what_another_network_saw_is_not_taken_for_its_own(tmp_path, samples, start):
    go(samples, start, tmp_path / "run", machine=replace(CPU, minutes=0))
    first = torch.load(tmp_path / "run/seen-0.pt", weights_only=True)["columns"]["seen"]
    (tmp_path / "run/last.ckpt").unlink()
    torch.manual_seed(1)
    save_checkpoint(build(CONFIG), CONFIG, start)
    go(samples, start, tmp_path / "run", machine=replace(CPU, minutes=0))
    assert not torch.equal(
        torch.load(tmp_path / "run/seen-0.pt", weights_only=True)["columns"]["seen"], first
    )
    other = torch.load(tmp_path / "run/seen-1.pt", weights_only=True)["columns"]["seen"]
    assert not torch.equal(other, first)  # every look shows the pictures in another way


def test_other_pictures_without_a_hand_are_looked_at_anew(tmp_path, samples, start):
    network, _ = load_checkpoint(start)
    files, machine = samples.files[:1], replace(CPU, minutes=0)
    columns = []
    for empty in ([], [{"file": files[0], "boxes": [], "hard": []}]):
        pictures = LandmarkSet(samples, 64, True, empty=empty, empty_share=1.0)
        columns.append(head.look_at(network, pictures, tmp_path / "seen.pt", "", machine, RECIPE))
    assert any(not torch.equal(columns[0][name], columns[1][name]) for name in columns[0])


def test_what_cannot_be(tmp_path, samples, start):
    save_checkpoint(build(FINDER), FINDER, tmp_path / "finder.safetensors")
    with pytest.raises(TrainError, match="finder network, not of landmarks"):
        go(samples, tmp_path / "finder.safetensors", tmp_path / "run")
    with pytest.raises(TrainError, match="one device"):
        go(samples, start, tmp_path / "run", machine=replace(CPU, devices=2))
    with pytest.raises(TrainError, match="Too little data"):
        go(samples, start, tmp_path / "run", replace(RECIPE, batch=64))
    for wrong in (
        {"looks": 0},
        {"dropout": 1.0},
        {"teacher": "x"},
        {"distil": 3.0},
        {"keep": 1.0, "late": False},
    ):
        with pytest.raises(TrainError):
            replace(RECIPE, **wrong)
    assert not (tmp_path / "run").exists()
