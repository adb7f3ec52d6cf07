"""From a checkpoint to a model file, with a network of a few weights."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("torchvision")
pytest.importorskip("safetensors")

import onnx
import torch
from torch import nn

from handcoach import contract, model
from handcoach.errors import HandCoachError
from handcoach.session import Session
from handcoach_export import networks
from handcoach_export.cli import main
from handcoach_train import networks as trained


class Landmarks(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 8, 3, 4, bias=False), nn.BatchNorm2d(8), nn.ReLU6())
        self.head = nn.Linear(8, 107)
        self.features[1].running_mean.uniform_(-0.5, 0.5)
        self.features[1].running_var.uniform_(0.5, 2.0)

    def forward(self, image):
        y = self.head(self.features(image.permute(0, 3, 1, 2).float() / 255 - 0.5).mean((2, 3)))
        presence, right = y[:, 105:].sigmoid().unbind(1)
        return y[:, :63].reshape(-1, 21, 3), y[:, 63:105].reshape(-1, 21, 2), presence, right


class Finder(nn.Module):
    """Each cell of a coarse grid is a hand; the best 3 by score."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, 7, 8, 8)

    def forward(self, image):
        cells = self.head(image.permute(0, 3, 1, 2).float() / 255).sigmoid().flatten(2).transpose(1, 2)
        order = cells[..., 0].topk(3, dim=1).indices
        return torch.gather(cells, 1, order[..., None].expand(-1, -1, 7))


COMMON = {"licence": "Apache-2.0", "trained_on": "nothing", "accuracy": {"pa_mpjpe_mm": 99.0}}
CONFIGS = {
    "landmarks": {"kind": "landmarks", "name": "toy", "size": 16, "crop": {"margin": 1.3, "roll": True},
                  **COMMON},
    "finder": {"kind": "finder", "name": "toy-finder", "height": 24, "width": 32, "max_hands": 3, **COMMON},
}  # fmt: skip


@pytest.fixture
def files(tmp_path: Path, monkeypatch) -> Path:
    """A folder with a checkpoint and two pictures; `load_checkpoint` gives the toy networks."""
    torch.manual_seed(0)
    toys = {"landmarks": Landmarks(), "finder": Finder()}
    monkeypatch.setattr(trained, "load_checkpoint", lambda path: (toys[path.stem], dict(CONFIGS[path.stem])))
    rng = np.random.default_rng(0)
    for kind in toys:
        (tmp_path / f"{kind}.safetensors").write_bytes(b"weights")
    (tmp_path / "images").mkdir()
    for i in range(3):
        image = cv2.resize(rng.integers(0, 256, (5, 6, 3), dtype=np.uint8), (60 + i, 50))
        cv2.imwrite(str(tmp_path / "images" / f"{i}.jpg"), image)
    return tmp_path


def arguments(files: Path, kind: str) -> list[str]:
    return [kind, str(files / f"{kind}.safetensors"), "-o", str(files / f"{kind}.onnx"), "--images",
            str(files / "images")]  # fmt: skip


@pytest.mark.parametrize("kind", ["landmarks", "finder"])
def test_a_checkpoint_becomes_a_model_file(files, kind, capsys):
    assert main([*arguments(files, kind), "--version", "7"]) == 0
    assert "pytorch on 3 images" in capsys.readouterr().out
    file = model.read(files / f"{kind}.onnx", kind)
    assert file.meta["version"] == "7" and file.meta["parity"]["images"] == 3
    assert file.meta["parity"]["max_abs"] <= 1e-4 and file.meta["opset"] == 17
    assert file.meta["source"].startswith(f"{kind}.safetensors sha256:")
    session = Session(file)
    for n in (1, 4):
        outputs = session.run(np.zeros((n, *file.input.shape[1:]), np.uint8))
        assert all(len(value) == n for value in outputs.values())
    assert not list(files.glob(".*"))


def test_weights_that_are_halves_are_stored_as_halves():
    """The checkpoint's halves cost two bytes each in the model file, and lose nothing."""
    toy = Finder().half().float()
    toy.head.bias.requires_grad_(False)[0] = 1 / 3  # small and no half: stays a float
    example = np.random.default_rng(0).integers(0, 256, (2, 24, 32, 3), dtype=np.uint8)
    wanted, outputs = contract.tensors("finder", CONFIGS["finder"])
    graph = networks.to_onnx(networks._AsTuple(toy).eval(), example, wanted, outputs)
    networks.store_halves(graph)
    stored = {w.name: onnx.numpy_helper.to_array(w) for w in graph.graph.initializer}
    weight = next(v for v in stored.values() if v.shape == (7, 3, 8, 8))
    assert weight.dtype == np.float16
    assert np.array_equal(weight, toy.head.weight.detach().numpy())
    assert next(v for v in stored.values() if v.shape == (7,)).dtype == np.float32


def test_nothing_is_written_without_parity(files, capsys, monkeypatch):
    right = networks.to_onnx

    def wrong(whole, *rest):
        with torch.no_grad():
            whole.network.head.bias += 0.001
        graph = right(whole, *rest)
        with torch.no_grad():
            whole.network.head.bias -= 0.001
        return graph

    monkeypatch.setattr(networks, "to_onnx", wrong)
    assert main(arguments(files, "landmarks")) == 2
    assert "does not give what pytorch gives" in capsys.readouterr().err
    assert not (files / "landmarks.onnx").exists()


def test_bad_input_is_one_sentence(files, capsys, monkeypatch):
    def says(argv: list[str]) -> str:
        assert main(argv) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        return error

    other = arguments(files, "landmarks")
    other[0] = "finder"
    assert "use handcoach-export landmarks" in says(other)
    monkeypatch.delitem(CONFIGS["landmarks"], "licence")
    assert "does not say its licence" in says(arguments(files, "landmarks"))
    missing = arguments(files, "landmarks")
    missing[1] = "nothing.safetensors"
    assert "There is no checkpoint nothing.safetensors" in says(missing)
    assert "no pictures" in says([*arguments(files, "finder")[:-1], str(files)])
    (files / "images" / "9.jpg").write_bytes(b"no picture")
    assert "9.jpg is not a picture" in says(arguments(files, "finder"))


def test_hands_with_equal_scores_may_change_places():
    a = np.zeros((1, 3, 7), np.float32)
    a[0, :, 0] = 0.9, 0.9, 0.1
    a[0, :, 1] = 0.2, 0.3, 0.4
    b = a[:, [1, 0, 2]].copy()
    b[0, 2, 3] = 5.0  # another one of those that score like the last
    assert networks.hands_apart(a, b) == 0.0
    b[0, 1, 3] = 0.5
    assert networks.hands_apart(a, b) == pytest.approx(0.5)
    with pytest.raises(HandCoachError, match="no pictures"):
        networks.pictures(Path("nowhere"), "finder", 8, 8)
