"""The two networks: what comes out, and checkpoints that come back or are refused."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("torch")
pytest.importorskip("torchvision")
pytest.importorskip("safetensors")

import torch
from safetensors.torch import load_file, save_file
from tiny.networks import FINDER, LANDMARKS

from handcoach_train.errors import TrainError
from handcoach_train.networks import build, load_backbone, load_checkpoint, save_checkpoint

pytestmark = pytest.mark.usefixtures("one_thread")


def network(config: dict, seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    made = build(config)
    # As after training: batch statistics and biases that are not those of an untrained network.
    for m in made.modules():
        if isinstance(m, torch.nn.BatchNorm2d):
            m.running_mean.normal_(0, 0.1)
            m.running_var.uniform_(0.5, 1.5)
    return made.eval()


def pictures(config: dict, count: int) -> torch.Tensor:
    height, width = config.get("height", config.get("size")), config.get("width", config.get("size"))
    return torch.randint(0, 256, (count, height, width, 3), generator=torch.manual_seed(1), dtype=torch.uint8)


# An even and an odd number of cells of 16 pixels.
SIZES = [{**LANDMARKS, "size": size} for size in (64, 80)]


@torch.inference_mode()
@pytest.mark.parametrize("config", SIZES, ids=lambda config: config["size"])
def test_landmarks_are_as_in_the_contract(config):
    made = network(config)
    landmarks, points, presence, right = made(pictures(config, 3))
    assert landmarks.shape == (3, 21, 3) and points.shape == (3, 21, 2)
    assert presence.shape == right.shape == (3,)
    assert {o.dtype for o in (landmarks, points, presence, right)} == {torch.float32}
    assert torch.equal(landmarks[:, 0], torch.zeros(3, 3))  # the wrist is the origin
    assert points.min() > 0.5 - 0.65 and points.max() < 0.5 + 0.65
    for flag in (presence, right):
        assert flag.min() >= 0 and flag.max() <= 1


@torch.inference_mode()
@pytest.mark.parametrize("config", SIZES, ids=lambda config: config["size"])
def test_points_follow_the_heat_map(config):
    made = network(config)
    made.heat.weight.zero_()
    made.heat.bias.zero_()
    points = made(pictures(config, 1))[1]
    torch.testing.assert_close(points, torch.full_like(points, 0.5))  # an even map points to the middle


@torch.inference_mode()
def test_a_deep_cell_lies_under_the_cells_that_it_was_made_of():
    """A stride-2 convolution with a border of one centres its cell i on the cell 2 i before it, however many
    there are; so what is put back over cells 2 i and 2 i + 1 is deep cell i."""
    made = network(SIZES[1])
    seen = []
    made.mix.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    made.deep.register_forward_hook(lambda _, given, out: seen.append(out))
    made.side.register_forward_hook(lambda _, given, out: torch.zeros_like(out))
    made(pictures(SIZES[1], 1))
    deep, up = seen
    assert deep.shape[-2:] == (3, 3) and up.shape[-2:] == (5, 5)
    for i in range(5):
        for j in range(5):
            assert torch.equal(up[..., i, j], deep[..., i // 2, j // 2])


@torch.inference_mode()
def test_hands_are_as_in_the_contract():
    hands = network(FINDER)(pictures(FINDER, 2))
    assert hands.shape == (2, 3, 7) and hands.dtype == torch.float32
    score, right, extent = hands[..., 0], hands[..., 1], hands[..., 6]
    assert (score[:, :-1] >= score[:, 1:]).all()  # best first
    for value in (score, right):
        assert value.min() >= 0 and value.max() <= 1
    assert (extent > 0).all() and hands.isfinite().all()


@torch.inference_mode()
def test_an_untrained_finder_finds_nothing():
    torch.manual_seed(0)
    assert build(FINDER).eval()(pictures(FINDER, 2))[..., 0].max() < 0.5


@torch.inference_mode()
@pytest.mark.parametrize("config", [LANDMARKS, FINDER], ids=["landmarks", "finder"])
def test_a_picture_does_not_depend_on_its_neighbours(config):
    made, images = network(config), pictures(config, 3)
    together = made(images)
    together = together if isinstance(together, tuple) else (together,)
    for i in range(3):
        alone = made(images[i : i + 1])
        alone = alone if isinstance(alone, tuple) else (alone,)
        for a, b in zip(alone, together, strict=True):
            torch.testing.assert_close(a[0], b[i], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("config", [LANDMARKS, FINDER], ids=["landmarks", "finder"])
def test_a_checkpoint_comes_back(tmp_path, config):
    made = network(config)
    file = tmp_path / "new" / "n.safetensors"
    save_checkpoint(made, {**config, "validation": {"score": 0.5}}, file)
    again, its = load_checkpoint(file)
    assert its == {**config, "validation": {"score": 0.5}}
    assert not again.training and type(again) is type(made)
    assert [f.name for f in file.parent.iterdir()] == ["n.safetensors"]
    assert {v.dtype for v in load_file(file).values()} == {torch.float16}
    for (name, a), b in zip(made.state_dict().items(), again.state_dict().values(), strict=True):
        if a.is_floating_point():
            torch.testing.assert_close(a, b, rtol=2**-10, atol=1e-7, msg=name)
    with torch.inference_mode():
        a, b = made(pictures(config, 2)), again(pictures(config, 2))
    if config is LANDMARKS:
        for x, y in zip(a, b, strict=True):
            torch.testing.assert_close(x, y, atol=0.02, rtol=0.02)
    second = tmp_path / "second.safetensors"
    save_checkpoint(again, its, second)
    assert second.read_bytes() == file.read_bytes()  # fp16 loses nothing twice


def _refused(path, word: str) -> None:
    with pytest.raises(TrainError, match=word) as caught:
        load_checkpoint(path)
    message = str(caught.value)
    assert str(path) in message and "\n" not in message and message.endswith(".")


def test_what_is_no_checkpoint_is_refused(tmp_path):
    _refused(tmp_path / "none.safetensors", "does not exist")
    _refused(tmp_path, "does not exist")
    file = tmp_path / "n.safetensors"
    huge, empty_list = (2**60).to_bytes(8, "little") + b"{}", (2).to_bytes(8, "little") + b"[]"
    for content in (b"", b"abc", b"PK\x03\x04 a picture or so", b"\0" * 64, huge, empty_list):
        file.write_bytes(content)
        _refused(file, "not a HandCoach checkpoint")
    weights = {"a": torch.zeros(2)}
    save_file(weights, file)
    _refused(file, "not a HandCoach checkpoint")
    for config in (
        "no JSON",
        "[]",
        json.dumps({"kind": "landmarks"}),
        json.dumps({"kind": "finder", "height": 8}),
    ):
        save_file(weights, file, metadata={"handcoach": config})
        _refused(file, "not a HandCoach checkpoint")


def test_a_checkpoint_of_another_kind_is_refused(tmp_path):
    file = tmp_path / "e.safetensors"
    save_file({"a": torch.zeros(2)}, file, metadata={"handcoach": json.dumps({"kind": "exercise"})})
    with pytest.raises(TrainError, match="exercise"):
        load_checkpoint(file)


def test_weights_that_do_not_fit_are_refused(tmp_path):
    file = tmp_path / "n.safetensors"
    made = network(FINDER)
    save_checkpoint(made, FINDER, file)
    # Copies: the file is mapped, and gets written over.
    state = {k: v.clone() for k, v in load_file(file).items()}
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    _refused(file, "not a HandCoach checkpoint")
    save_file(
        {k: v for k, v in state.items() if k != "head.bias"}, file, metadata={"handcoach": json.dumps(FINDER)}
    )
    _refused(file, "head.bias")
    save_file({**state, "more": torch.zeros(1)}, file, metadata={"handcoach": json.dumps(FINDER)})
    _refused(file, "more")
    save_file({**state, "head.bias": torch.zeros(3)}, file, metadata={"handcoach": json.dumps(FINDER)})
    _refused(file, "head.bias")
    save_file(state, file, metadata={"handcoach": json.dumps(LANDMARKS)})
    _refused(file, "does not fit")


def test_the_backbone_is_loaded_or_refused(tmp_path):
    source, made = network(LANDMARKS, 1), network(FINDER, 2)
    state = {k: v for k, v in source.state_dict().items() if k.startswith("features.")}
    file = tmp_path / "b.pth"
    torch.save({**state, "classifier.1.weight": torch.zeros(2)}, file)
    head = made.head.weight.clone()
    load_backbone(made, file)
    for k, v in made.features.state_dict().items():
        assert torch.equal(v, state[f"features.{k}"])
    assert torch.equal(made.head.weight, head)
    torch.save({k: v for k, v in state.items() if not k.startswith("features.3.")}, file)
    with pytest.raises(TrainError, match=r"features\.3\."):
        load_backbone(made, file)
    for other in ([1, 2], {"features.0.0.weight": torch.zeros(1)}):
        torch.save(other, file)
        with pytest.raises(TrainError, match=r"b\.pth lacks"):
            load_backbone(made, file)
    file.write_text("no weights")
    with pytest.raises(TrainError, match="not a file of weights"):
        load_backbone(made, file)
    with pytest.raises(TrainError, match="not a file of weights"):
        load_backbone(made, tmp_path / "none.pth")


def test_strided_depthwise_convolutions_compute_in_float32_under_a_cpus_autocast():
    features = build(LANDMARKS).features.eval()
    convolutions = [m for m in features.modules() if isinstance(m, torch.nn.Conv2d)]
    strided = [m for m in convolutions if m.groups > 1 and m.stride[0] > 1]
    assert len(strided) == 4
    layer = strided[-1].requires_grad_(False)
    x = torch.randn(2, layer.in_channels, 10, 10, generator=torch.Generator().manual_seed(0))
    plain = layer(x)
    with torch.autocast("cpu", torch.bfloat16):
        said, usual = layer(x), convolutions[0](torch.zeros(1, 3, 8, 8))
    assert said.dtype == torch.float32 and usual.dtype == torch.bfloat16
    torch.testing.assert_close(said, plain)
