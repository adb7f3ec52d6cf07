"""The two networks and their checkpoints.

`forward` is what is exported: uint8 pictures in, the contract's outputs out, with scaling and ImageNet
normalisation inside. `raw` is what is trained.
"""

from __future__ import annotations

import json
import struct
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

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


def check_sides(*sides: int) -> None:
    """
    Raises:
        TrainError: cells of 8 and of 16 pixels do not both cover a picture of such a side.
    """
    for side in sides:
        if side % 16 or side < 64:
            raise TrainError(f"{side} pixels do not fit the network: take a multiple of 16 from 64 up.")


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


class _Float32Conv(nn.Conv2d):
    """A convolution in float32 under a CPU's autocast, too: oneDNN's backward pass of a strided depthwise one
    takes 2 to 12 times as long in bfloat16, which was a third of a step of the last layers."""

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
            with torch.autocast("cpu", enabled=False):
                return super().forward(x.float())
        return super().forward(x)


def _mobilenetv2() -> nn.Sequential:
    features = torchvision.models.mobilenet_v2(weights=None).features
    for layer in features.modules():
        if isinstance(layer, nn.Conv2d) and layer.groups > 1 and layer.stride[0] > 1:
            layer.__class__ = _Float32Conv
    return features


class Hidden(NamedTuple):
    """The layers about the hidden channels of one of MobileNetV2's blocks.

    Attributes:
        before: the convolution that makes them (of the first block it is the network's first), with its norm.
        depthwise: with its norm and activation. project: to what the block gives. norm: the one after it.
    """

    before: nn.Sequential
    depthwise: nn.Sequential
    project: nn.Conv2d
    norm: nn.BatchNorm2d

    @property
    def width(self) -> int:
        return self.project.in_channels


def hidden_layers(features: nn.Sequential) -> list[Hidden]:
    """Of the 17 blocks of MobileNetV2's layers."""
    blocks: list[Any] = [layer.conv for layer in features if hasattr(layer, "conv")]
    first: Any = features[0]
    return [Hidden(b[0] if len(b) == 4 else first, b[-3], b[-2], b[-1]) for b in blocks]


def narrow(hidden: Hidden, keep: Tensor) -> None:
    """Keep these hidden channels alone, with their weights."""
    before, norm = hidden.before[0], hidden.before[1]
    _take(before, "out_channels", keep)
    _take(norm, "num_features", keep)
    depthwise, norm = hidden.depthwise[0], hidden.depthwise[1]
    _take(depthwise, "out_channels", keep)
    depthwise.in_channels = depthwise.groups = len(keep)  # type: ignore[assignment]
    _take(norm, "num_features", keep)
    hidden.project.weight = nn.Parameter(hidden.project.weight.detach()[:, keep].clone())
    hidden.project.in_channels = len(keep)


def _take(layer: Any, count: str, keep: Tensor) -> None:
    for name, value in [*layer.named_parameters(), *layer.named_buffers()]:
        if value.ndim:
            kept = value.detach()[keep].clone()
            setattr(layer, name, nn.Parameter(kept) if isinstance(value, nn.Parameter) else kept)
    setattr(layer, count, len(keep))


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


def _backbone(name: str) -> _Backbone:
    if name not in BACKBONES:
        raise TrainError(f"A network {name!r} does not exist: take one of {', '.join(BACKBONES)}.")
    return BACKBONES[name]


def mlp(features: int, hidden: int) -> nn.Sequential:
    """From what `LandmarkNet.seen` gives to flattened landmarks."""
    return nn.Sequential(nn.Linear(features, hidden), nn.ReLU6(inplace=True), nn.Linear(hidden, 63))


class LandmarkNet(_Network):
    """A backbone with image points by integral regression (Sun et al. 2018) and landmarks by a small MLP.

    The points are expectations over a heat map for each joint, which keeps what global pooling loses: where
    things are. The MLP sees the pooled features and the points.

    Args:
        size: side of the pictures, a multiple of 16. backbone: one of `BACKBONES`. head: `integral`, or
            `pooled`: everything by one linear layer on pooled features, to compare with. hidden: units of the
            MLP, which cost next to nothing beside the backbone. widths: hidden channels of the blocks of a
            MobileNetV2 that was cut (`training/narrow.py`); empty: the usual ones.

    Raises:
        TrainError: no such backbone or head, or widths that do not fit it.
    """

    def __init__(
        self, size: int = 160, backbone: str = "mobilenetv2", head: str = "integral", hidden: int = 512,
        widths: Sequence[int] = (),
    ) -> None:  # fmt: skip
        super().__init__()
        kind = _backbone(backbone)
        if head not in ("integral", "pooled"):
            raise TrainError(f"A head {head!r} does not exist: take integral or pooled.")
        check_sides(size)
        self.size, self.backbone, self.head, self.hidden = size, backbone, head, hidden
        self.cut = kind.cut
        self.features = kind.make()
        if widths:
            blocks = hidden_layers(self.features) if backbone == "mobilenetv2" else []
            if len(widths) != len(blocks) or any(
                not 0 < n <= b.width for n, b in zip(widths, blocks, strict=True)
            ):
                raise TrainError(f"A {backbone} of the widths {list(widths)} does not exist.")
            for block, width in zip(blocks, widths, strict=True):
                narrow(block, torch.arange(width))
        self.flags = nn.Linear(kind.deep, 2)
        if head == "pooled":
            self.linear = nn.Linear(kind.deep, 63 + 42)
            return
        self.deep = _conv(kind.deep, 128)
        self.side = _conv(kind.middle, 128)
        self.mix = nn.Sequential(_conv(128, 128, 3, groups=128), _conv(128, 128))
        self.heat = nn.Conv2d(128, 42, 1)
        self.register_buffer("grid", _grid(size // 16, size // 16), persistent=False)
        self.reach = 1.3  # joints may lie a little outside the picture
        self.dense = mlp(kind.deep + 63, hidden)

    def resize(self, size: int) -> None:
        """From now on pictures of another side: the layers are the same, only the cells' centres move."""
        self.size = size
        if self.head == "integral":
            self.grid = _grid(size // 16, size // 16).to(self.grid.device)

    def raw(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Normalised pictures (N, 3, S, S) to landmarks (N, 21, 3), points (N, 21, 2), logits (N, 2)."""
        if self.head == "pooled":
            pooled = self.features(x).float().mean((2, 3))
            joints, points = self.linear(pooled).float().split([63, 42], 1)
            joints = joints.view(-1, 21, 3)
            return joints - joints[:, :1], points.reshape(-1, 21, 2) + 0.5, self.flags(pooled).float()
        seen, points, flags = self.seen(x)
        return self.posed(seen), points, flags

    def seen(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What the MLP sees of normalised pictures (N, 3, S, S): pooled features, points and depths (N, F);
        and points and logits as of `raw`."""
        return self.seen_late(self.middle(x))

    def middle(self, x: Tensor) -> Tensor:
        """The backbone's maps at stride 16 (N, C, S / 16, S / 16) of normalised pictures (N, 3, S, S)."""
        return self.features[: self.cut](x)

    def seen_late(self, middle: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """`seen` from what `middle` gives."""
        deep = self.features[self.cut :](middle)
        pooled = deep.float().mean((2, 3))
        flags = self.flags(pooled).float()
        up = F.interpolate(self.deep(deep), scale_factor=2.0, mode="nearest")
        cells = self.size // 16
        if cells % 2:  # the last deep cell then stands for one only
            up = up[..., :cells, :cells]
        maps = self.heat(self.mix(up + self.side(middle))).flatten(2).float()
        weight = F.softmax(maps[:, :21], dim=2)
        points = (weight @ self.grid - 0.5) * self.reach
        depth = (weight * maps[:, 21:]).sum(2)
        return torch.cat([pooled, points.flatten(1) * 4, depth], 1), points + 0.5, flags

    def posed(self, seen: Tensor) -> Tensor:
        """Landmarks (N, 21, 3) from what the MLP sees."""
        landmarks = self.dense(seen).view(-1, 21, 3).float()
        return landmarks - landmarks[:, :1]

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        landmarks, points, flags = self.raw(self.normalise(image))
        flags = torch.sigmoid(flags)
        return landmarks, points, flags[:, 0], flags[:, 1]


class FinderNet(_Network):
    """Hands as peaks of a heat map at stride 8 (CenterNet, Zhou et al. 2019) over early MobileNetV2 layers.

    Channels of the map: centre, right, wrist dx, dy, middle-MCP dx, dy (units of the frame's width), and the
    logarithm of the extent.
    """

    def __init__(self, height: int = 144, width: int = 192, max_hands: int = 4) -> None:
        super().__init__()
        self.height, self.width, self.max_hands = height, width, max_hands
        self.features = _mobilenetv2()[:14]
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
        return self.decode(self.raw(self.normalise(image)))

    def decode(self, maps: Tensor) -> Tensor:
        """The map (N, 7, H / 8, W / 8) to the contract's hands (N, M, 7)."""
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


class PaperNet(_Network):
    """The paper's network (Table 1): pooled ResNet50 features, 2048 to 2048, ReLU, 2048 to 63.

    `mobilenetv2` has one linear layer instead. The whole picture goes in, the landmarks alone come out.

    Args:
        size: side of the pictures; any that the backbone takes. dropout: before the last layer (5.1.3).
        joints: 21, or 20 without the wrist (6.1), which is the origin in any case.
    """

    def __init__(
        self, size: int = 224, backbone: str = "resnet50", dropout: float = 0.0, joints: int = 21
    ) -> None:
        super().__init__()
        kind = _backbone(backbone)
        if joints not in (20, 21):
            raise TrainError(f"There is no network of {joints} joints: take 21, or 20 without the wrist.")
        self.size, self.backbone, self.joints = size, backbone, joints
        self.features = kind.make()
        drop = [nn.Dropout(dropout)] if dropout else []
        first = [nn.Linear(kind.deep, kind.deep), nn.ReLU()] if backbone == "resnet50" else []
        self.head = nn.Sequential(*first, *drop, nn.Linear(kind.deep, 3 * joints))

    def raw(self, x: Tensor) -> Tensor:
        """Normalised pictures (N, 3, S, S) to flattened landmarks (N, 63), or (N, 60) without the wrist."""
        return self.head(self.features(x).mean((2, 3))).float()

    def forward(self, image: Tensor) -> Tensor:
        """uint8 (N, S, S, 3) to landmarks (N, 21, 3); without the wrist's outputs it is the origin."""
        landmarks = self.raw(self.normalise(image)).view(-1, self.joints, 3)
        return landmarks if self.joints == 21 else F.pad(landmarks, (0, 0, 1, 0))


Network = LandmarkNet | FinderNet | PaperNet


def build(config: dict[str, Any]) -> Network:
    """An untrained network for a checkpoint's configuration."""
    if config["kind"] == "landmarks":
        return LandmarkNet(
            config["size"], config.get("backbone", "mobilenetv2"), config.get("head", "integral"),
            config.get("hidden", 512), config.get("widths", ()),
        )  # fmt: skip
    if config["kind"] == "paper":
        return PaperNet(config["size"], config["backbone"], config["dropout"], config["joints"])
    if config["kind"] == "finder":
        return FinderNet(config["height"], config["width"], config["max_hands"])
    raise TrainError(f"A network of kind {config['kind']!r} is unknown: landmarks, finder or paper.")


def load_backbone(network: Network, weights: Path | None) -> None:
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
                "give a file by --weights, or --weights none."
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


def load_checkpoint(path: Path) -> tuple[Network, dict[str, Any]]:
    """A network in evaluation mode and its configuration, from a finished checkpoint (.safetensors) or from
    the state of a training (`last.ckpt`; its average over the steps).

    Raises:
        TrainError: missing, another kind of file, or without HandCoach's configuration.
    """
    path = Path(path)
    if not path.is_file():
        raise TrainError(f"{path} does not exist: give a checkpoint (.safetensors).")
    try:
        config, state = _read_training(path) if path.suffix == ".ckpt" else _read_safetensors(path)
        network = build(config)
    except (SafetensorError, KeyError, TypeError, ValueError, struct.error) as error:
        raise TrainError(f"{path} is not a HandCoach checkpoint: train one with handcoach-train.") from error
    shapes = {k: v.shape for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")}
    odd = [k for k in {**shapes, **state} if k not in state or state[k].shape != shapes.get(k)]
    if odd:
        raise TrainError(f"{path} does not fit its own description ({odd[0]}): train it again.")
    network.load_state_dict({k: v.float() for k, v in state.items()}, strict=False)
    return network.eval(), config


def _read_safetensors(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(min(length, 10_000_000)))
    return json.loads(header["__metadata__"]["handcoach"]), load_file(path)


def _read_training(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    training = load_training(path)
    state = {
        k.removeprefix("average."): v
        for k, v in training["state_dict"].items()
        if k.startswith("average.") and not k.endswith("num_batches_tracked")
    }
    there = training["handcoach"]
    # As a finished checkpoint has them: how the data were split stands there.
    return there["config"] | {key: there[key] for key in ("recipe", "data") if key in there}, state


def load_training(path: Path) -> dict[str, Any]:
    """The state of a training as Lightning writes it, with our settings under `handcoach`.

    Raises:
        TrainError: damaged, or not of HandCoach.
    """
    try:
        training = torch.load(path, map_location="cpu", weights_only=True)
        training["handcoach"]["config"]["kind"]
    except Exception as error:  # torch raises many kinds
        raise TrainError(
            f"{path} is damaged: delete it, and --start from the best checkpoint beside it."
        ) from error
    return training
