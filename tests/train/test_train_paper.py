"""The paper's network and training: section 5.1 and its options, and going on after a stop."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("pytorch_lightning")

import torch
from torch import nn

from handcoach_train.data import Samples
from handcoach_train.errors import TrainError
from handcoach_train.networks import PaperNet, build, load_checkpoint
from handcoach_train.training.paper import Paper, train
from handcoach_train.training.recipe import PaperRecipe
from handcoach_train.training.run import NONE, Machine, checksum

pytestmark = pytest.mark.usefixtures("one_thread", "tiny_backbone")
CPU = Machine(device="cpu", workers=0, threads=1)
CONFIG = {"kind": "paper", "name": "p", "size": 64, "backbone": "tiny", "dropout": 0.3, "joints": 21}
RECIPE = PaperRecipe(epochs=20, batch=4, rate=0.01, patience=1, stop=3, dropout=0.3)
# What is measured after each epoch: more than one without a lower loss is a tenth of the rate, three the end.
LOSSES = [5.0, 4.0, 4.0, 4.0, 3.0, 3.0, 3.0, 3.0, 1.0]
RATES = [0.01, 0.01, 0.01, 0.01, 0.001, 0.001, 0.001, 0.0001]


@pytest.fixture(scope="module")
def hands(samples) -> Samples:
    """The five whose landmarks are known."""
    return samples.take(np.arange(5))


def go(hands: Samples, run: Path, recipe=RECIPE, machine=CPU, config=CONFIG) -> dict[str, float]:
    training, validation = hands.take(np.arange(4)), hands.take(np.arange(4, 5))
    return train(config, recipe, training, validation, run, machine, weights=NONE)


def log_of(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def test_the_network_is_table_1():
    network = PaperNet()
    layers = [m for m in network.head if not isinstance(m, nn.ReLU)]
    assert [(m.in_features, m.out_features) for m in layers] == [(2048, 2048), (2048, 63)]
    assert isinstance(network.head[1], nn.ReLU)
    assert sum(p.numel() for p in network.features.parameters()) == 23_508_032  # ResNet50 without its fc
    dropped = PaperNet(dropout=0.2).head
    assert [type(m) for m in dropped] == [nn.Linear, nn.ReLU, nn.Dropout, nn.Linear]
    small = PaperNet(backbone="mobilenetv2").head
    assert [(m.in_features, m.out_features) for m in small] == [(1280, 63)]
    with pytest.raises(TrainError, match="19 joints"):
        PaperNet(joints=19)


def test_twenty_joints_hang_at_the_wrist():
    network = PaperNet(64, "mobilenetv2", joints=20).eval()
    x = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8)
    with torch.inference_mode():
        landmarks = network(x)
        raw = network.raw(network.normalise(x))
    assert landmarks.shape == (2, 21, 3) and raw.shape == (2, 60)
    assert not landmarks[:, 0].any() and torch.equal(landmarks[:, 1:].flatten(1), raw)


@pytest.fixture(scope="module")
def measured():
    """Validation says LOSSES, whatever the network says."""

    def say(self: Paper, *_: object) -> None:
        self.log("val_loss", torch.tensor(LOSSES[self.current_epoch]), batch_size=1)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Paper, "validation_step", say)
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory, hands, one_thread, tiny_backbone, measured) -> Path:
    """A training that nobody stopped."""
    run = tmp_path_factory.mktemp("paper")
    go(hands, run)
    return run


def test_plateau_and_early_stop(whole):
    log = log_of(whole)
    assert [line["val_loss"] for line in log] == LOSSES[:8]
    assert [line["rate"] for line in log] == pytest.approx(RATES)
    statistics = json.loads((whole / "statistics.json").read_text())
    assert statistics == {"val_loss": 3.0, "epoch": 8, "plateau": 3}
    its = load_checkpoint(whole / "p.safetensors")[1]
    assert its["recipe"]["stop"] == 3 and its["accuracy"]["loss"] == 3 and its["steps"] == 5


def test_going_on_is_the_same_as_not_stopping(tmp_path, hands, whole):
    """Dropout, augmentation, Adam, the plateau and the early stop all go on where they were."""
    machine = Machine(device="cpu", workers=0, threads=1, minutes=0)
    for epochs in range(1, 9):
        go(hands, tmp_path, machine=machine)
        assert len(log_of(tmp_path)) == epochs
    go(hands, tmp_path)  # it is over
    a, b = ([{**line, "minutes": 0} for line in log_of(run)] for run in (tmp_path, whole))
    assert a == b and len({line["loss"] for line in a}) == 8
    with pytest.raises(TrainError, match=r"dropout 0\.3 there, 0\.1 here"):
        go(hands, whole, config={**CONFIG, "dropout": 0.1})


def test_the_loss_is_the_squared_error_or_hubers(hands):
    batch = {"image": torch.rand(4, 3, 64, 64), "landmarks": torch.randn(4, 63)}
    for joints, huber in ((21, 0.0), (20, 0.0), (21, 0.5)):
        recipe = PaperRecipe(joints=joints, huber=huber)
        module = Paper({"config": {**CONFIG, "joints": joints}, "recipe": {}, "data": {}}, recipe).eval()
        x = (batch["image"] * 255).permute(0, 2, 3, 1)
        with torch.inference_mode():
            said = module.network.raw(module.network.normalise(x))
            loss = module._loss(batch)
        e = (said - batch["landmarks"][:, 63 - 3 * joints :]).abs()
        expected = torch.where(e < huber, e**2 / 2, huber * (e - huber / 2)) if huber else e**2
        torch.testing.assert_close(loss, expected.mean(), rtol=1e-4, atol=1e-5)


def test_a_checkpoint_knows_its_options():
    config = {**CONFIG, "backbone": "mobilenetv2", "joints": 20, "dropout": 0.5}
    network = build(config)
    assert isinstance(network, PaperNet) and network.joints == 20
    assert [m.p for m in network.head if isinstance(m, nn.Dropout)] == [0.5]


def test_a_run_goes_on_with_the_pictures_that_it_began_with_and_no_others(tmp_path, hands):
    """As many of other people would mix what is trained on with what it is judged by."""
    go(hands, tmp_path / "run", machine=replace(CPU, minutes=0))
    other = replace(hands, joints=hands.joints + np.float32(0.001))
    with pytest.raises(TrainError, match=r"other settings.*pictures"):
        go(other, tmp_path / "run")
    moved = replace(hands, files=[Path("elsewhere") / file.name for file in hands.files])
    assert checksum(moved) == checksum(hands) != checksum(other)
