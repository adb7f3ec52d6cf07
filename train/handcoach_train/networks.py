"""The two networks and their checkpoints.

`forward` is what is exported: uint8 pictures in, the contract's outputs out, with scaling and ImageNet
normalisation inside. `raw` is what is trained.
"""

from __future__ import annotations

import json
import struct
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torchvision
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from handcoach_train.errors import TrainError

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def _conv(inputs: int, outputs: int, kernel: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU6(inplace=True),
    )


class _Network(nn.Module):
    mean: Tensor
    std: Tensor
    grid: Tensor
    features: nn.Sequential
    backbone = "mobilenetv2"

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1) * 255, persistent=False)

    def normalise(self, image: Tensor) -> Tensor:
        """uint8 (N, H, W, 3) to float (N, 3, H, W), ImageNet statistics."""
        return (image.permute(0, 3, 1, 2).float() - self.mean) / self.std


def _grid(height: int, width: int) -> Tensor:
    """Centres of cells (height * width, 2), x then y, in units 0..1."""
    y, x = torch.meshgrid(
        (torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / width, indexing="ij"
    )
    return torch.stack([x.reshape(-1), y.reshape(-1)], dim=1)


def _mobilenetv2() -> nn.Sequential:
    return torchvision.models.mobilenet_v2(weights=None).features


def _resnet50() -> nn.Sequential:
    r = torchvision.models.resnet50(weights=None)
    return nn.Sequential(OrderedDict(
        stem=nn.Sequential(OrderedDict(conv1=r.conv1, bn1=r.bn1, relu=r.relu, maxpool=r.maxpool)),
        layer1=r.layer1, layer2=r.layer2, layer3=r.layer3, layer4=r.layer4,
    ))  # fmt: skip


@dataclass(frozen=True)
class _Backbone:
    """Layers whose first `cut` end at stride 16 with `middle` channels, and all at 32 with `deep`."""

    make: Callable[[], nn.Sequential]
    cut: int
    middle: int
    deep: int


BACKBONES = {
    "mobilenetv2": _Backbone(_mobilenetv2, 14, 96, 1280),
    "resnet50": _Backbone(_resnet50, 4, 1024, 2048),
}


class LandmarkNet(_Network):
    """A backbone with image points by integral regression (Sun et al. 2018) and landmarks by a small MLP.

    The points are expectations over a heat map for each joint, which keeps what global pooling loses: where
    things are. The MLP sees the pooled features and the points.

    Args:
        size: side of the pictures, a multiple of 32. backbone: one of `BACKBONES`.

    Raises:
        TrainError: no such backbone.
    """

    names = ("landmarks", "points", "presence", "right")

    def __init__(self, size: int = 160, backbone: str = "mobilenetv2") -> None:
        super().__init__()
        if backbone not in BACKBONES:
            raise TrainError(f"A network {backbone!r} does not exist: take one of {', '.join(BACKBONES)}.")
        kind = BACKBONES[backbone]
        self.size, self.backbone = size, backbone
        self.cut = kind.cut
        self.features = kind.make()
        self.deep = _conv(kind.deep, 128)
        self.side = _conv(kind.middle, 128)
        self.mix = nn.Sequential(_conv(128, 128, 3, groups=128), _conv(128, 128))
        self.heat = nn.Conv2d(128, 42, 1)
        self.register_buffer("grid", _grid(size // 16, size // 16), persistent=False)
        self.reach = 1.3  # joints may lie a little outside the picture
        self.dense = nn.Sequential(nn.Linear(kind.deep + 63, 512), nn.ReLU6(inplace=True), nn.Linear(512, 63))
        self.flags = nn.Linear(kind.deep, 2)

    def raw(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Normalised pictures (N, 3, S, S) to landmarks (N, 21, 3), points (N, 21, 2), logits (N, 2)."""
        middle = self.features[: self.cut](x)
        deep = self.features[self.cut :](middle)
        up = F.interpolate(self.deep(deep), scale_factor=2.0, mode="nearest")
        maps = self.heat(self.mix(up + self.side(middle))).flatten(2).float()
        weight = F.softmax(maps[:, :21], dim=2)
        points = (weight @ self.grid - 0.5) * self.reach
        depth = (weight * maps[:, 21:]).sum(2)
        pooled = deep.float().mean((2, 3))
        landmarks = self.dense(torch.cat([pooled, points.flatten(1) * 4, depth], 1)).view(-1, 21, 3).float()
        landmarks = landmarks - landmarks[:, :1]
        return landmarks, points + 0.5, self.flags(pooled).float()

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        landmarks, points, flags = self.raw(self.normalise(image))
        flags = torch.sigmoid(flags)
        return landmarks, points, flags[:, 0], flags[:, 1]


class FinderNet(_Network):
    """Hands as peaks of a heat map at stride 8 (CenterNet, Zhou et al. 2019) over early MobileNetV2 layers.

    Channels of the map: centre, right, wrist dx, dy, middle-MCP dx, dy (units of the frame's width), and the
    logarithm of the extent.
    """

    names = ("hands",)

    def __init__(self, height: int = 144, width: int = 192, max_hands: int = 4) -> None:
        super().__init__()
        self.height, self.width, self.max_hands = height, width, max_hands
        self.features = torchvision.models.mobilenet_v2(weights=None).features[:14]
        self.deep = _conv(96, 64)
        self.side = _conv(32, 64)
        self.mix = nn.Sequential(
            _conv(64, 64, 5, groups=64), _conv(64, 64), _conv(64, 64, 5, groups=64), _conv(64, 64)
        )
        self.head = nn.Conv2d(64, 7, 1)
        with torch.no_grad():
            # Hands are rare, and about a seventh of the frame wide.
            start = torch.zeros(7)
            start[0], start[6] = -4.0, -2.0
            self.head.bias = nn.Parameter(start)
        self.register_buffer("grid", _grid(height // 8, width // 8).T.contiguous(), persistent=False)

    def raw(self, x: Tensor) -> Tensor:
        """Normalised pictures (N, 3, H, W) to the map (N, 7, H / 8, W / 8)."""
        early = self.features[:7](x)
        late = self.features[7:](early)
        up = F.interpolate(self.deep(late), scale_factor=2.0, mode="nearest")
        return self.head(self.mix(up + self.side(early))).float()

    def forward(self, image: Tensor) -> Tensor:
        maps = self.raw(self.normalise(image))
        heat = torch.sigmoid(maps[:, :1])
        peak = (heat >= F.max_pool2d(heat, 5, stride=1, padding=2)).float() * heat
        score, place = peak.flatten(1).topk(self.max_hands, dim=1)
        rest = maps[:, 1:].flatten(2)
        cell = rest.gather(2, place[:, None].expand(-1, 6, -1))
        centre = self.grid[:, place].permute(1, 0, 2)  # (N, 2, M)
        aspect = self.width / self.height
        return torch.stack(
            [
                score,
                torch.sigmoid(cell[:, 0]),
                centre[:, 0] + cell[:, 1],
                centre[:, 1] + cell[:, 2] * aspect,
                centre[:, 0] + cell[:, 3],
                centre[:, 1] + cell[:, 4] * aspect,
                torch.exp(cell[:, 5]),
            ],
            dim=2,
        )


def build(config: dict[str, Any]) -> LandmarkNet | FinderNet:
    """An untrained network for a checkpoint's configuration."""
    if config["kind"] == "landmarks":
        return LandmarkNet(config["size"], config.get("backbone", "mobilenetv2"))
    if config["kind"] == "finder":
        return FinderNet(config["height"], config["width"], config["max_hands"])
    raise TrainError(f"A network of kind {config['kind']!r} is unknown: landmarks or finder.")


def load_backbone(network: LandmarkNet | FinderNet, weights: Path | None) -> None:
    """ImageNet weights for the backbone's layers: from a file with torchvision's keys, or its own download.

    Raises:
        TrainError: no such weights, or of another network.
    """
    if weights is not None:
        try:
            state = torch.load(weights, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises many kinds
            raise TrainError(f"{weights} is not a file of weights: {error}") from error
    else:
        try:
            state = torchvision.models.get_model_weights(network.backbone).DEFAULT.get_state_dict(
                check_hash=True
            )
        except OSError as error:
            raise TrainError(
                f"ImageNet weights could not be downloaded ({error}): "
                "give a file by --backbone, or --backbone none."
            ) from error
    mine = {f"features.{k}": v.shape for k, v in network.features.state_dict().items()}
    state = {_our_key(k): v for k, v in state.items()} if isinstance(state, dict) else {}
    fitting = {k: v for k, v in state.items() if k in mine and v.shape == mine[k]}
    missing, _ = network.load_state_dict(fitting, strict=False)
    lost = [k for k in missing if k in mine]
    if lost:
        raise TrainError(f"{weights} lacks {len(lost)} layers of {network.backbone}, {lost[0]} first.")


def _our_key(key: str) -> str:
    """torchvision's ResNet keeps its stem and stages loose; here all layers are `features`."""
    if key.startswith("layer"):
        return f"features.{key}"
    return f"features.stem.{key}" if key.startswith(("conv1.", "bn1.")) else key


def save_checkpoint(network: nn.Module, config: dict[str, Any], path: Path) -> None:
    """fp16 safetensors with the configuration as metadata, written beside and renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {
        k: (v.half() if v.is_floating_point() else v).contiguous().cpu()
        for k, v in network.state_dict().items()
        if not k.endswith("num_batches_tracked")
    }
    partial = path.with_name(path.name + ".partial")
    save_file(state, partial, metadata={"handcoach": json.dumps(config)})
    partial.replace(path)


def load_checkpoint(path: Path) -> tuple[LandmarkNet | FinderNet, dict[str, Any]]:
    """A network in evaluation mode and its configuration.

    Raises:
        TrainError: missing, not safetensors, or without HandCoach's configuration.
    """
    path = Path(path)
    if not path.is_file():
        raise TrainError(f"{path} does not exist: give a checkpoint (.safetensors).")
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(min(length, 10_000_000)))
        config = json.loads(header["__metadata__"]["handcoach"])
        state = load_file(path)
        network = build(config)
    except (SafetensorError, KeyError, TypeError, ValueError, struct.error) as error:
        raise TrainError(f"{path} is not a HandCoach checkpoint: train one with handcoach-train.") from error
    shapes = {k: v.shape for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")}
    odd = [k for k in {**shapes, **state} if k not in state or state[k].shape != shapes.get(k)]
    if odd:
        raise TrainError(f"{path} does not fit its own description ({odd[0]}): train it again.")
    network.load_state_dict({k: v.float() for k, v in state.items()}, strict=False)
    return network.eval(), config
