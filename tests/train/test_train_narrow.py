"""A narrower network: channels that say nothing new cost nothing, and the whole network teaches the rest."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("pytorch_lightning")

import torch
from tiny.networks import FINDER, SMALL
from torch import nn
from torchvision.models import mobilenet_v2

from handcoach_train import networks
from handcoach_train.data import Draw, LandmarkSet
from handcoach_train.errors import TrainError
from handcoach_train.networks import (
    LandmarkNet,
    build,
    hidden_layers,
    load_checkpoint,
    narrow,
    save_checkpoint,
)
from handcoach_train.training import narrow as narrowing
from handcoach_train.training.edge import train as train_on
from handcoach_train.training.recipe import LandmarkRecipe, NarrowRecipe
from handcoach_train.training.run import Machine

pytestmark = pytest.mark.usefixtures("one_thread")
CPU = Machine(device="cpu", workers=0, threads=1)
RECIPE = NarrowRecipe(steps=4, check_every=2, batch=4, warmup=1, ema=0.0, time=0.8)
PHOTOS = np.arange(8) >= 5
CONFIG = {"kind": "landmarks", "name": "cut", "size": 64, "backbone": "mobilenetv2", "head": "integral",
          "crop": {"margin": 1.3, "roll": True}}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def third():
    """MobileNetV2 with a third of its channels."""
    usual = networks.BACKBONES["mobilenetv2"]
    small = networks._Backbone(lambda: mobilenet_v2(width_mult=0.35).features, 14, 32, 1280)
    networks.BACKBONES["mobilenetv2"] = small
    yield
    networks.BACKBONES["mobilenetv2"] = usual


@pytest.fixture(scope="module")
def whole(samples, third) -> LandmarkNet:
    torch.manual_seed(0)
    network = build(CONFIG)
    assert isinstance(network, LandmarkNet)
    shown = LandmarkSet(samples, 64, True)
    with torch.no_grad():
        for place in range(30):  # its norms see some pictures, else all look alike to it
            some = torch.stack([torch.as_tensor(shown[Draw(i, 8 * place + i)]["image"]) for i in range(8)])
            network.raw(network.normalise(some))
    return network.eval()


@pytest.fixture
def start(tmp_path, whole) -> Path:
    save_checkpoint(whole, CONFIG, tmp_path / "start.safetensors")
    return tmp_path / "start.safetensors"


def pictures(n: int = 2) -> torch.Tensor:
    return torch.randint(
        0, 255, (n, 64, 64, 3), generator=torch.Generator().manual_seed(1), dtype=torch.uint8
    )


def test_channels_that_repeat_others_go_first_and_cost_nothing():
    torch.manual_seed(3)
    block = hidden_layers(build(CONFIG).features)[4]
    rows = torch.randn(5000, block.width, dtype=torch.float64)
    new = block.width - 8
    rows[:, new:] = 2 * rows[:, :8] - 1  # each of the last eight repeats one of the first eight
    covariance = torch.cov(rows.T) + 1e-6 * torch.eye(block.width)
    order, lost = narrowing.surgery(block, covariance)
    assert {channel % new for channel in order[:8]} == set(range(8))
    assert lost[8] < 1e-4 < 1e-3 < lost[9] and lost == sorted(lost) and lost[-1] < 1
    assert len(order) == len(lost) - 1 == block.width - narrowing.STEP == len(set(order))
    # What it says is lost is what is lost when the projection is fitted to the channels that stay.
    keep = sorted({*range(block.width)} - {*order[:20]})
    said = (rows - rows.mean(0)) @ (block.project.weight[:, :, 0, 0].double() / (1 + block.norm.eps) ** 0.5).T
    kept = rows[:, keep] - rows[:, keep].mean(0)
    gap = said - kept @ torch.linalg.lstsq(kept, said).solution
    assert float((gap.square().sum() / said.square().sum()).detach()) == pytest.approx(lost[20], rel=0.05)


def test_a_block_is_tried_without_some_channels_and_is_as_it_was():
    torch.manual_seed(4)
    layer = build(CONFIG).eval().features[5]
    block = hidden_layers(nn.Sequential(nn.Identity(), layer))[0]
    weight, norm = block.project.weight.detach().clone(), block.norm.running_mean.clone()
    picture = torch.randn(1, block.before[0].in_channels, 12, 12)
    with torch.no_grad():
        hidden = layer.conv[:-2](picture)
        rows = hidden.permute(0, 2, 3, 1).reshape(-1, block.width).double()
        covariance = torch.cov(rows.T) + 1e-9 * torch.eye(block.width)
        before = layer(picture)
        order, _ = narrowing.surgery(block, covariance)
        gaps = []
        for some in (order[:40], order[-40:]):
            with narrowing._without(block, rows.mean(0), covariance, some):
                without = layer(picture)
            gaps.append((without - before).norm())
            # What it gives is fitted: its mean stays.
            torch.testing.assert_close(without.mean((2, 3)), before.mean((2, 3)), rtol=0, atol=1e-4)
    assert gaps[0] < 0.7 * gaps[1]  # the first to go are missed less than the last
    assert torch.equal(block.project.weight, weight) and torch.equal(block.norm.running_mean, norm)


def test_channels_go_where_the_time_they_save_costs_least():
    def plan(hurt: float, time: float) -> narrowing._Plan:
        return narrowing._Plan(96, [*range(80)], [0.01 * n for n in range(81)], hurt, time)

    assert narrowing.shares([plan(1, 1), plan(1, 3)], 0.7) == [0, 48]
    assert narrowing.shares([plan(1, 1), plan(9, 3)], 0.9) == [48, 0]
    assert narrowing.shares([plan(1, 1), plan(1, 1)], 1.0) == [0, 0]
    assert narrowing.shares([plan(1, 1), plan(1, 1)], 0.01) == [80, 80]  # sixteen are left of each


def test_a_cut_network_says_nearly_the_same(samples, whole):
    shown = LandmarkSet(samples, 64, False)
    images = torch.stack([torch.as_tensor(shown[i]["image"]) for i in range(8)])
    with torch.no_grad():
        before = whole(images)
        same = narrowing.cut(whole, shown, 1.0)
        for a, b in zip(before, same(images), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=5e-3)
        for a, b in zip(before, whole(images), strict=True):  # nothing that was tried is left in it
            assert torch.equal(a, b)
        thin = narrowing.cut(whole, shown, 0.7)
        blind = copy.deepcopy(whole)
        for block, other in zip(hidden_layers(blind.features), hidden_layers(thin.features), strict=True):
            narrow(block, torch.arange(other.width))
        seen = [n.seen(n.normalise(images))[0] for n in (whole, thin, blind)]
    widths = [[block.width for block in hidden_layers(n.features)] for n in (whole, thin)]
    assert sum(widths[1]) < 0.85 * sum(widths[0]) and all(w % 16 == 0 for w in widths[1])
    assert (seen[1] - seen[0]).norm() < 0.1 * (seen[2] - seen[0]).norm()


def test_it_is_taught_and_kept_with_its_widths(tmp_path, samples, start):
    sets = (LandmarkSet(samples, 64, True), LandmarkSet(samples, 64, False))

    def go(run: str, recipe: NarrowRecipe = RECIPE, machine: Machine = CPU) -> dict[str, float]:
        return narrowing.train(CONFIG, recipe, start, sets[0], PHOTOS, sets[1], tmp_path / run, machine)

    figures = go("run")
    thin, its = load_checkpoint(tmp_path / "run/cut.safetensors")
    widths = [block.width for block in hidden_layers(thin.features)]
    whole, _ = load_checkpoint(start)
    assert its["widths"] == widths and its["recipe"]["time"] == 0.8
    assert sum(widths) < sum(block.width for block in hidden_layers(whole.features))
    assert figures == its["accuracy"]
    assert not torch.equal(thin.get_parameter("flags.weight"), whole.get_parameter("flags.weight"))
    # Stopped half-way and gone on, without cutting it again, it is the same.
    go("stopped", machine=replace(CPU, minutes=0))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(narrowing, "cut", lambda *_: pytest.fail("its widths are known"))
        go("stopped")
        with pytest.raises(TrainError, match="time"):
            go("stopped", replace(RECIPE, time=0.7))
    a, b = (
        torch.load(tmp_path / run / "last.ckpt", weights_only=True)["state_dict"]
        for run in ("run", "stopped")
    )
    assert a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
    recipe = LandmarkRecipe(steps=1, check_every=1, batch=4, rate=0.0, ema=0.0)
    cut = tmp_path / "run/cut.safetensors"
    train_on(CONFIG, recipe, sets[0], PHOTOS, sets[1], tmp_path / "on", CPU, start=cut)
    assert load_checkpoint(tmp_path / "on/cut.safetensors")[1]["widths"] == widths


def test_teaching_brings_it_nearer_to_the_whole(samples, whole):
    shown = LandmarkSet(samples, 64, False)
    thin = copy.deepcopy(whole)
    for block in hidden_layers(thin.features):
        narrow(block, torch.arange(8))  # blindly: there is much to learn
    config = {**CONFIG, "widths": [8] * 17}
    module = narrowing.Narrow({"config": config}, replace(RECIPE, steps=100, rate=3e-4), whole)
    module.start(thin)
    module.network.eval()
    module._trainer = SimpleNamespace(global_step=0)  # type: ignore[assignment]  # asked for its step alone
    batch = torch.utils.data.default_collate([shown[i] for i in range(8)])
    optimiser = module.configure_optimizers()["optimizer"]
    first = module.loss(batch)
    assert set(first) == {"loss", "seen", "landmarks", "points", "flags"}
    for _ in range(20):
        optimiser.zero_grad()
        module.loss(batch)["loss"].backward()
        optimiser.step()
    last = module.loss(batch)
    assert last["loss"] < 0.7 * first["loss"] and last["seen"] < 0.7 * first["seen"]
    # Whether a hand is there is not the whole network's word, but the truth.
    none = {**batch, "presence": torch.zeros(8)}
    assert module.loss(none)["flags"] > module.loss(batch)["flags"] + 0.05


def test_what_cannot_be(tmp_path, samples, start):
    sets = (LandmarkSet(samples, 64, True), LandmarkSet(samples, 64, False))

    def go(file: Path, recipe: NarrowRecipe = RECIPE) -> None:
        narrowing.train(CONFIG, recipe, file, sets[0], PHOTOS, sets[1], tmp_path / "run", CPU)

    save_checkpoint(build(FINDER), FINDER, tmp_path / "finder.safetensors")
    with pytest.raises(TrainError, match="finder network, not of landmarks"):
        go(tmp_path / "finder.safetensors")
    pooled = {**CONFIG, "head": "pooled"}
    save_checkpoint(build(pooled), pooled, tmp_path / "pooled.safetensors")
    with pytest.raises(TrainError, match="integral head"):
        go(tmp_path / "pooled.safetensors")
    with pytest.raises(TrainError, match="Too little data"):
        go(start, replace(RECIPE, batch=64))
    with pytest.raises(TrainError, match="two pictures"):
        go(start, replace(RECIPE, batch=1))
    for wrong in ({"time": 0.0}, {"steady": 2.0}):
        with pytest.raises(TrainError):
            replace(RECIPE, **wrong)
    for config in ({**CONFIG, "widths": [8] * 16}, {**CONFIG, "widths": [8] * 16 + [2000]},
                   {**SMALL, "backbone": "resnet50", "widths": [8] * 17}):  # fmt: skip
        with pytest.raises(TrainError, match="widths"):
            build(config)
    assert not (tmp_path / "run").exists()


def test_only_the_named_channels_stay():
    network = build(CONFIG).eval()
    block = hidden_layers(network.features)[0]  # the first block's are made by the network's first layer
    first = network.features[0][0].weight.detach().clone()
    narrow(block, torch.tensor([3, 5, 7]))
    assert torch.equal(network.features[0][0].weight, first[[3, 5, 7]])
    assert [b.width for b in hidden_layers(network.features)][:2] == [3, 48]
    with torch.no_grad():
        assert network(pictures())[0].shape == (2, 21, 3)
