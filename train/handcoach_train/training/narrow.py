"""A trained landmark network with fewer hidden channels, taught by the one that it was cut from.

Many of a block's hidden channels repeat others. Those that the rest can best stand in for are taken out one
by one, and the projection after them is fitted anew each time: the optimal brain surgeon (Hassibi and Stork
1993), in closed form, on whole channels (He et al. 2017, "Channel pruning"). What is lost all the same is
learnt again from the whole network, whose word needs no labels.
"""

from __future__ import annotations

import copy
from dataclasses import asdict
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
    load_checkpoint,
    load_training,
    narrow,
)
from handcoach_train.training.draws import Draws
from handcoach_train.training.edge import Edge
from handcoach_train.training.losses import NOISE, Batch
from handcoach_train.training.recipe import NarrowRecipe
from handcoach_train.training.run import Machine, fit, loaders, say

LOOKED_AT = 1000  # pictures by which channels are judged
CELLS = 40_000  # of a layer's cells of one batch of them at most
STEP = 8  # channels; processors take as many at once
RIDGE = 1e-4  # of the channels' mean variance


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
        r = self.recipe
        gaps = {
            "seen": r.seen * ((seen - taught) / spread).square().mean(1, keepdim=True),
            "landmarks": 20 * here * (self.network.posed(seen) - landmarks).abs().mean((1, 2))[:, None],
            "points": 40 * here * (my_points - points).abs().mean((1, 2))[:, None],
            "flags": 0.5 * F.binary_cross_entropy_with_logits(my_flags, flags.sigmoid(), reduction="none"),
        }
        parts = {name: gap.mean() for name, gap in gaps.items()}
        return {"loss": torch.stack([*parts.values()]).sum(), **parts}


@torch.no_grad()
def cut(network: LandmarkNet, pictures: LandmarkSet, lose: float, workers: int = 0) -> LandmarkNet:
    """The network with as few hidden channels as lose no more than this share of what each block gives.

    Raises:
        TrainError: it is no MobileNetV2.
    """
    if network.backbone != "mobilenetv2" or network.head != "integral":
        raise TrainError("Only a MobileNetV2 with the integral head can be made narrower.")
    thin = copy.deepcopy(network).eval()
    blocks = hidden_layers(thin.features)
    sums = [_Sums(block) for block in blocks]
    some = np.random.default_rng(0).permutation(len(pictures))[:LOOKED_AT]
    for batch in tqdm(DataLoader(Subset(pictures, some.tolist()), 50, num_workers=workers), desc="look"):
        thin.raw(thin.normalise(batch["image"]).contiguous(memory_format=torch.channels_last))
    for block, seen in zip(blocks, sums, strict=True):
        seen.handle.remove()
        keep, weight, mean = surgery(block, seen.mean, seen.covariance, lose)
        before = block.project.weight[:, :, 0, 0].double() @ seen.mean
        narrow(block, keep)
        block.project.weight.copy_(weight[:, :, None, None])
        block.norm.running_mean += (weight @ mean - before).float()  # type: ignore[operator]
    return thin


class _Sums:
    """Mean and covariance of a block's hidden channels, of all that goes through it."""

    def __init__(self, block: Hidden) -> None:
        self.count = 0
        self.sum: Any = 0.0
        self.square: Any = 0.0
        self.handle = block.depthwise.register_forward_hook(self.add)

    def add(self, _: Any, __: Any, out: Tensor) -> None:
        rows = out.permute(0, 2, 3, 1).reshape(-1, out.shape[1])
        rows = rows[:: -(-len(rows) // CELLS)].double()
        self.count += len(rows)
        self.sum = self.sum + rows.sum(0)
        self.square = self.square + rows.T @ rows

    @property
    def mean(self) -> Tensor:
        return self.sum / self.count  # type: ignore[no-any-return]

    @property
    def covariance(self) -> Tensor:
        return self.square / self.count - torch.outer(self.mean, self.mean)


@torch.no_grad()
def surgery(block: Hidden, mean: Tensor, covariance: Tensor, lose: float) -> tuple[Tensor, Tensor, Tensor]:
    """Which hidden channels to keep (K,), the projection's weights (O, K) for them, and their means (K,).

    Args:
        mean (C,), covariance (C, C): of the hidden channels.
    """
    variance: Any = block.norm.running_var
    scale = block.norm.weight / (variance + block.norm.eps).sqrt()
    first = block.project.weight[:, :, 0, 0].double()
    weights = scale.double()[:, None] * first  # in units of what the block gives
    spread = covariance + RIDGE * covariance.diagonal().mean() * torch.eye(len(mean), dtype=torch.float64)
    allowed = lose * torch.trace(weights @ spread @ weights.T)
    inverse = torch.linalg.inv(spread)
    alive = torch.ones(len(mean), dtype=torch.bool)
    keep, lost = alive.clone(), 0.0
    while int(alive.sum()) > STEP:
        cost = weights.square().sum(0) / inverse.diagonal().clamp(min=1e-12)
        gone = int(torch.where(alive, cost, torch.inf).argmin())
        lost += float(cost[gone])
        if lost > allowed:
            break
        alive[gone] = False
        share = inverse[gone] / inverse[gone, gone]
        weights.addr_(weights[:, gone].clone(), share, alpha=-1)
        inverse.addr_(inverse[:, gone].clone(), share, alpha=-1)
        # Its row is zero but for rounding: it must not come back.
        weights[:, gone] = inverse[gone] = inverse[:, gone] = 0
        inverse[gone, gone] = 1
        if int(alive.sum()) % STEP == 0:
            keep = alive.clone()
    rows = keep.nonzero()[:, 0]
    # The best weights in closed form, for the channels kept.
    fitted = first @ spread[:, rows] @ torch.linalg.inv(spread[rows][:, rows])
    return rows, fitted, mean[rows]


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
    whole, its = load_checkpoint(start)
    if not isinstance(whole, LandmarkNet):
        raise TrainError(f"{start} is a checkpoint of a {its['kind']} network, not of landmarks.")
    if len(training) < recipe.batch or not len(validation):
        raise TrainError(
            f"Too little data: {len(training)} training samples and {len(validation)} for validation; "
            "give more or a smaller --batch."
        )
    if machine.threads:
        torch.set_num_threads(machine.threads)
    cv2.setNumThreads(1)  # before the workers are forked, see `loaders`
    thin = None
    if (run / "last.ckpt").is_file():
        widths = load_training(run / "last.ckpt")["handcoach"]["config"].get("widths", [])
    else:
        thin = cut(whole, training, recipe.lose, machine.workers)
        widths = [block.width for block in hidden_layers(thin.features)]
        say(f"hidden channels: {' '.join(map(str, widths))}")
    described = {**(data or {}), "training": len(training), "validation": len(validation),
                 "photographs": int(photographs.sum()), "start": start.name}  # fmt: skip
    config = {**config, "hidden": whole.hidden, "widths": widths}
    module = Narrow({"config": config, "recipe": asdict(recipe), "data": described}, recipe, whole)
    if thin is not None:
        module.start(thin)
    draws = Draws(
        [np.flatnonzero(photographs), np.flatnonzero(~photographs)],
        [recipe.photo_share, 1 - recipe.photo_share],
        recipe.batch, recipe.check_every, recipe.steps, recipe.seed,
        ranks=machine.devices * machine.nodes, parts=machine.accumulate,
    )  # fmt: skip
    batches, checking = loaders(training, validation, draws, machine)
    return fit(module, batches, checking, run, machine, recipe.steps // recipe.check_every, recipe.clip)
