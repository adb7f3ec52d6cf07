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
RECIPE = NarrowRecipe(steps=4, check_every=2, batch=4, warmup=1, ema=0.0, lose=0.3)
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


def test_channels_that_repeat_others_cost_nothing():
    torch.manual_seed(3)
    hidden = hidden_layers(build(CONFIG).features)[4]
    rows = torch.randn(5000, hidden.width, dtype=torch.float64)
    new = hidden.width - 8
    rows[:, new:] = 2 * rows[:, :8] - 1
    mean, covariance = rows.mean(0), torch.cov(rows.T)
    keep, weight, kept = narrowing.surgery(hidden, mean, covariance, 1e-3)
    assert len(keep) == new
    said = (rows - mean) @ hidden.project.weight[:, :, 0, 0].double().T
    again = (rows[:, keep] - kept) @ weight.T
    assert (said - again).square().mean() < 1e-4 * said.square().mean()
    fewer, worse, fewer_mean = narrowing.surgery(hidden, mean, covariance, 0.2)
    assert len(fewer) < new
    again = (rows[:, fewer] - fewer_mean) @ worse.T
    assert (said - again).square().mean() < 0.2 * said.square().mean()
    # The weights are fitted anew: the old ones for the same channels say it worse.
    plain = (rows[:, fewer] - fewer_mean) @ hidden.project.weight[:, fewer, 0, 0].double().T
    assert (said - again).square().mean() < 0.8 * (said - plain).square().mean()


def test_a_cut_network_says_nearly_the_same(samples, whole):
    shown = LandmarkSet(samples, 64, False)
    images = torch.stack([torch.as_tensor(shown[i]["image"]) for i in range(8)])
    with torch.no_grad():
        same = narrowing.cut(whole, shown, 0.0)
        for a, b in zip(whole(images), same(images), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-4)
        thin = narrowing.cut(whole, shown, 0.1)
        by_number = build({**CONFIG, "widths": [b.width for b in hidden_layers(thin.features)]}).eval()
        blind = {k: v for k, v in whole.state_dict().items() if k in by_number.state_dict()}
        sizes = {k: v.shape for k, v in by_number.state_dict().items()}
        by_number.load_state_dict({k: v[tuple(map(slice, sizes[k]))] for k, v in blind.items()})
        seen = [n.seen(n.normalise(images))[0] for n in (whole, thin, by_number)]
    assert sum(b.width for b in hidden_layers(thin.features)) < 0.7 * sum(
        b.width for b in hidden_layers(whole.features)
    )
    assert (seen[1] - seen[0]).norm() < 0.5 * (seen[2] - seen[0]).norm()


def test_it_is_taught_and_kept_with_its_widths(tmp_path, samples, start):
    sets = (LandmarkSet(samples, 64, True), LandmarkSet(samples, 64, False))
    figures = narrowing.train(CONFIG, RECIPE, start, sets[0], PHOTOS, sets[1], tmp_path / "run", CPU)
    thin, its = load_checkpoint(tmp_path / "run/cut.safetensors")
    widths = [block.width for block in hidden_layers(thin.features)]
    assert its["widths"] == widths and max(widths) < 336 and its["recipe"]["lose"] == 0.3
    assert figures == its["accuracy"]
    with torch.no_grad():
        untaught = narrowing.cut(load_checkpoint(start)[0], sets[0], 0.3)
    assert not torch.equal(thin.get_parameter("flags.weight"), untaught.get_parameter("flags.weight"))
    again = narrowing.train(CONFIG, RECIPE, start, sets[0], PHOTOS, sets[1], tmp_path / "run", CPU)
    assert again == figures  # it is over
    with pytest.raises(TrainError, match="lose"):
        narrowing.train(
            CONFIG, replace(RECIPE, lose=0.2), start, sets[0], PHOTOS, sets[1], tmp_path / "run", CPU
        )
    recipe = LandmarkRecipe(steps=1, check_every=1, batch=4, rate=0.0, ema=0.0)
    train_on(
        CONFIG, recipe, sets[0], PHOTOS, sets[1], tmp_path / "on", CPU, start=tmp_path / "run/cut.safetensors"
    )
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
    for wrong in ({"lose": 1.0}, {"steady": 2.0}):
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
