"""A trained landmark network with fewer hidden channels, taught by the one that it was cut from.

Many of a block's hidden channels repeat others. Those that the rest can best stand in for are taken out one
by one, and the projection after them is fitted anew each time: the optimal brain surgeon (Hassibi and Stork
1993), in closed form, on whole channels. How many go from which block is chosen by what the landmarks lose
for the time that it saves. Then every block is fitted to give what the whole network's gives, of what the
cut ones before it give (He et al. 2017, "Channel pruning"), and what is lost all the same is learnt from the
whole network, whose word needs no labels.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Subset
from tqdm import tqdm

from handcoach_train.data import LandmarkSet
from handcoach_train.errors import TrainError
from handcoach_train.networks import (
    Hidden,
    LandmarkNet,
    hidden_layers,
    load_training,
    narrow,
)
from handcoach_train.training.edge import Edge, check_enough, draws_of, landmark_network
from handcoach_train.training.losses import NOISE, Batch
from handcoach_train.training.recipe import NarrowRecipe
from handcoach_train.training.run import Machine, about, fit, loaders, say

LOOKED_AT = 1000  # pictures by which channels are judged
PROBE = 4  # batches of fifty of them by which blocks are judged
TRIAL = 0.04  # of what a block gives is lost when it is judged
CELLS = 40_000  # of a layer's cells of one batch at most
# Weights of what is learnt, beside the recipe's of what the MLP sees: plain distances in the outputs' units.
LANDMARKS, POINTS, FLAGS = 20.0, 40.0, 0.5
STEP = 16  # channels; onnxruntime's kernels take as many at once, and are slow with a rest
RIDGE = 1e-4  # of the channels' mean variance

# Microseconds of a block's hidden channel: by the products of its two dense layers, of which those of the
# network's first layer, with three channels, take longer, and by the cells of its depthwise one. Fitted to
# onnxruntime's own profile of the integer network on one core of an AMD EPYC with AVX2.
PRODUCT, FIRST, CELL = 1.8e-5, 3.4, 8.5e-4


class Narrow(Edge):
    """A narrow network that learns what a whole one says, of pictures with a camera's noise."""

    recipe: NarrowRecipe
    network: LandmarkNet
    average: LandmarkNet

    def __init__(self, settings: dict[str, Any], recipe: NarrowRecipe, whole: LandmarkNet) -> None:
        super().__init__(settings, recipe)
        self.teacher = [whole.requires_grad_(False)]

    def on_train_epoch_start(self) -> None:
        super().on_train_epoch_start()
        self.network.eval()  # statistics stay those that the cut was made by

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        x = self.network.normalise(batch["image"]).contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            whole = self.teacher[0].to(x.device)
            taught, points, flags = whole.seen(x)
            landmarks = whole.posed(taught)
        # A still hand in front of a restless camera is to stay still: the noise is the pupil's alone.
        luck = torch.Generator(x.device).manual_seed(self.recipe.seed + self.global_step)
        noise = torch.randn(x.shape, generator=luck, device=x.device)
        amount = NOISE * torch.rand(len(x), 1, 1, 1, generator=luck, device=x.device)
        seen, my_points, my_flags = self.network.seen(x + amount * noise)
        here = batch["presence"][:, None]
        spread = taught.std(0).clamp(min=1e-2)
        turned = (self.network.posed(seen) - landmarks).abs().mean((1, 2))[:, None]
        moved = (my_points - points).abs().mean((1, 2))[:, None]
        # Whether a hand is there is known, also of squares that fool the whole network.
        wanted = torch.stack([batch["presence"], flags[:, 1].sigmoid()], 1)
        gaps = {
            "seen": self.recipe.seen * ((seen - taught) / spread).square().mean(1, keepdim=True),
            "landmarks": LANDMARKS * here * turned,
            "points": POINTS * here * moved,
            "flags": FLAGS * F.binary_cross_entropy_with_logits(my_flags, wanted, reduction="none"),
        }
        parts = {name: gap.mean() for name, gap in gaps.items()}
        return {"loss": torch.stack([*parts.values()]).sum(), **parts}


@torch.no_grad()
def cut(network: LandmarkNet, pictures: LandmarkSet, time: float, workers: int = 0) -> LandmarkNet:
    """The network with as few hidden channels as take this share of its blocks' time, or STEP of each.

    Raises:
        TrainError: it is no MobileNetV2 with the integral head.
    """
    if network.backbone != "mobilenetv2" or network.head != "integral":
        raise TrainError("Only a MobileNetV2 with the integral head can be made narrower.")
    some = np.random.default_rng(0).permutation(len(pictures))[:LOOKED_AT]
    loader = DataLoader(Subset(pictures, some.tolist()), 50, num_workers=workers)
    batches = [
        network.normalise(batch["image"]).contiguous(memory_format=torch.channels_last)
        for batch in tqdm(loader, desc="pictures")
    ]
    blocks = hidden_layers(network.features)
    seen = [_Seen(block) for block in blocks]
    for x in tqdm(batches, desc="look"):
        network.raw(x)
    for each in seen:
        each.handle.remove()
    said = _said(network, batches[:PROBE])
    plans = []
    for block, each in zip(tqdm(blocks, desc="try"), seen, strict=True):
        covariance = each.covariance
        order, lost = surgery(block, covariance)
        trial = next((n for n, share in enumerate(lost) if share > TRIAL), len(order))
        with _without(block, each.mean, covariance, order[:trial]):
            gap = sum(
                float((now - before).square().mean() / before.var(0).mean())
                for now, before in zip(_said(network, batches[:PROBE]), said, strict=True)
            )
        plans.append(_Plan(block.width, order, lost, gap / max(lost[trial], 1e-9), each.time))
    thin = copy.deepcopy(network).eval()
    for block, plan, gone in zip(hidden_layers(thin.features), plans, shares(plans, time), strict=True):
        narrow(block, torch.tensor(sorted({*range(plan.width)} - {*plan.order[:gone]})))
    _fit(network, thin, batches)
    return thin


@dataclass(frozen=True)
class _Plan:
    """Of one block: its width, its channels in the order of their going, the share of what it gives that is
    lost after each (from none on), how much worse the network gets for a share, and a channel's time."""

    width: int
    order: list[int]
    lost: list[float]
    hurt: float
    time: float


def shares(plans: list[_Plan], time: float) -> list[int]:
    """How many channels to take out of each block, so that this share of their time is left."""
    gone = [0] * len(plans)
    whole = left = sum(plan.width * plan.time for plan in plans)
    while left > time * whole:
        prices = {}
        for i, plan in enumerate(plans):
            after = gone[i] + STEP
            if after <= len(plan.order) and plan.width - after >= STEP:
                prices[i] = plan.hurt * (plan.lost[after] - plan.lost[gone[i]]) / plan.time
        if not prices:
            break
        best = min(prices, key=lambda i: prices[i])
        gone[best] += STEP
        left -= STEP * plans[best].time
    return gone


def _said(network: LandmarkNet, batches: list[Tensor]) -> list[Tensor]:
    """Landmarks and points of all pictures."""
    return [torch.cat(said) for said in zip(*(network.raw(x)[:2] for x in batches), strict=True)]


class _Seen:
    """What goes through a block: mean and covariance of its hidden channels, and the time of one."""

    def __init__(self, block: Hidden) -> None:
        self.block, self.count, self.time = block, 0, 0.0
        self.sum: Any = 0.0
        self.square: Any = 0.0
        self.handle = block.depthwise.register_forward_hook(self.add)

    def add(self, _: Any, inputs: tuple[Tensor], out: Tensor) -> None:
        before, after = (x.shape[2] * x.shape[3] for x in (inputs[0], out))
        first: Any = self.block.before[0]
        dense = first.in_channels * (FIRST * 9 if first.kernel_size[0] == 3 else 1)
        products = dense * before + self.block.project.out_channels * after
        self.time = PRODUCT * products + CELL * after
        rows = _rows(out)
        self.count += len(rows)
        self.sum = self.sum + rows.sum(0)
        self.square = self.square + rows.T @ rows

    @property
    def mean(self) -> Tensor:
        return self.sum / self.count  # type: ignore[no-any-return]

    @property
    def covariance(self) -> Tensor:
        return _ridged(self.square / self.count - torch.outer(self.mean, self.mean))


def _rows(x: Tensor) -> Tensor:
    """Cells (at most CELLS, C) of (N, C, H, W), as doubles."""
    rows = x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])
    step = -(-len(rows) // CELLS) | 1  # odd: else it meets the same columns of every picture
    return rows[::step].double()


def _ridged(covariance: Tensor) -> Tensor:
    return covariance + RIDGE * covariance.diagonal().mean() * torch.eye(len(covariance), dtype=torch.float64)


@torch.no_grad()
def surgery(block: Hidden, covariance: Tensor) -> tuple[list[int], list[float]]:
    """In which order to take out hidden channels, all but the last STEP, and what share of the variance of
    what the block gives is lost after each, from none on.

    Args:
        covariance (C, C): of the hidden channels.
    """
    variance: Any = block.norm.running_var
    scale = block.norm.weight / (variance + block.norm.eps).sqrt()
    weights = scale.double()[:, None] * block.project.weight[:, :, 0, 0].double()  # in units of what it gives
    total = float(torch.trace(weights @ covariance @ weights.T))
    inverse = torch.linalg.inv(covariance)
    alive = torch.ones(len(covariance), dtype=torch.bool)
    order: list[int] = []
    lost = [0.0]
    for _ in range(len(covariance) - STEP):
        cost = weights.square().sum(0) / inverse.diagonal().clamp(min=1e-12)
        gone = int(torch.where(alive, cost, torch.inf).argmin())
        lost.append(lost[-1] + float(cost[gone]) / total)
        order.append(gone)
        alive[gone] = False
        share = inverse[gone] / inverse[gone, gone]
        weights.addr_(weights[:, gone].clone(), share, alpha=-1)
        inverse.addr_(inverse[:, gone].clone(), share, alpha=-1)
        # Zero but for rounding: it must not come back.
        weights[:, gone] = inverse[gone] = inverse[:, gone] = 0
        inverse[gone, gone] = 1
    return order, lost


@contextmanager
def _without(block: Hidden, means: Tensor, covariance: Tensor, gone: list[int]) -> Iterator[None]:
    """The block without these channels, the projection fitted to the others; after that as it was."""
    running: Any = block.norm.running_mean
    weight, mean = block.project.weight.clone(), running.clone()
    rows = torch.tensor(sorted({*range(block.width)} - {*gone}))
    first = weight[:, :, 0, 0].double()
    fitted = torch.linalg.solve(covariance[rows][:, rows], covariance[rows] @ first.T).T
    block.project.weight.zero_()
    block.project.weight[:, rows, 0, 0] = fitted.float()
    running += (fitted @ means[rows] - first @ means).float()
    try:
        yield
    finally:
        block.project.weight.copy_(weight)
        running.copy_(mean)


def _fit(whole: LandmarkNet, thin: LandmarkNet, batches: list[Tensor]) -> None:
    """Fit every block's projection, one after the other, so that the thin network's layers give what the
    whole one's give."""
    theirs, mine = [*batches], [*batches]
    for layer, own in zip(whole.features, tqdm(thin.features, desc="fit"), strict=True):
        for i, x in enumerate(theirs):  # in place: these are gigabytes
            theirs[i] = layer(x)
        if hasattr(own, "conv"):
            _fit_block(own, mine, theirs)
        for i, x in enumerate(mine):
            mine[i] = own(x)


def _fit_block(block: Any, inputs: list[Tensor], given: list[Tensor]) -> None:
    count = 0
    sums: Any = 0.0
    square: Any = 0.0
    product: Any = 0.0
    for x, y in zip(inputs, given, strict=True):
        hidden = _rows(block.conv[:-2](x))
        wanted = _rows(y - x if block.use_res_connect else y)
        both = torch.cat([hidden, wanted], 1)
        count += len(both)
        sums = sums + both.sum(0)
        square = square + hidden.T @ hidden
        product = product + hidden.T @ wanted
    n = square.shape[0]
    mean, want = sums[:n] / count, sums[n:] / count
    covariance = square / count - torch.outer(mean, mean)
    weights = torch.linalg.solve(_ridged(covariance), product / count - torch.outer(mean, want)).T
    project, norm = block.conv[-2:]
    # As batch statistics would have it, so that a training by them can go on.
    variance = (weights @ covariance @ weights.T).diagonal().clamp(min=1e-8)
    project.weight.copy_(weights[:, :, None, None])
    norm.running_mean.copy_(weights @ mean)
    norm.running_var.copy_(variance)
    norm.weight.copy_((variance + norm.eps).sqrt())
    norm.bias.copy_(want)


def train(
    config: dict[str, Any], recipe: NarrowRecipe, start: Path, training: LandmarkSet,
    photographs: NDArray[np.bool_], validation: LandmarkSet, run: Path, machine: Machine,
    data: dict[str, Any] | None = None,
) -> dict[str, float]:  # fmt: skip
    """Cut a checkpoint's network and teach it; returns the figures of the best checkpoint.

    Args:
        config: of the checkpoint to be made; its `hidden` and `widths` are those of the cut network. Others
            as of `edge.train`.

    Raises:
        TrainError: too little data, a checkpoint of another network, or a folder of another run.
    """
    whole = landmark_network(start)
    check_enough(training, validation, recipe)
    if machine.nodes > 1:
        raise TrainError("A network is cut on one machine: leave out --num-nodes.")
    if recipe.batch // (machine.devices * machine.accumulate) < 2:
        raise TrainError("Every part of a batch needs two pictures: give a larger --batch.")
    if machine.threads:
        torch.set_num_threads(machine.threads)
    cv2.setNumThreads(1)  # before the workers are forked, see `loaders`
    thin = None
    if (run / "last.ckpt").is_file():
        widths = load_training(run / "last.ckpt")["handcoach"]["config"].get("widths", [])
    else:
        thin = cut(whole, training, recipe.time, machine.workers)
        widths = [block.width for block in hidden_layers(thin.features)]
        say(f"hidden channels: {' '.join(map(str, widths))}")
    described = about(data, training, validation, photographs=int(photographs.sum()), start=start.name,
                      teacher=hashlib.sha256(start.read_bytes()).hexdigest())  # fmt: skip
    config = {**config, "hidden": whole.hidden, "widths": widths}
    module = Narrow({"config": config, "recipe": asdict(recipe), "data": described}, recipe, whole)
    if thin is not None:
        module.start(thin)
    draws = draws_of(recipe, photographs, [], recipe.check_every, machine)
    batches, checking = loaders(training, validation, draws, machine)
    return fit(module, batches, checking, run, machine, recipe.steps // recipe.check_every, recipe.clip)
