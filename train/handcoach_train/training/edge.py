"""Our training (`--preset edge`) of the landmark network and of the finder: one loop, two kinds of work."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Sized
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from handcoach_train.data import FinderSet, LandmarkSet, ResidentSet
from handcoach_train.errors import TrainError
from handcoach_train.networks import (
    FinderNet,
    LandmarkNet,
    build,
    load_backbone,
    load_checkpoint,
    load_training,
)
from handcoach_train.training import checks, losses
from handcoach_train.training.draws import Draws
from handcoach_train.training.losses import Batch
from handcoach_train.training.recipe import FinderRecipe, LandmarkRecipe, Recipe, read_sizes
from handcoach_train.training.run import (
    NONE,
    Machine,
    Training,
    about,
    began_with,
    fit,
    follow,
    loaders,
    say,
)


class Edge(Training):
    """A network with its running average; AdamW, a warm-up and one cosine by steps."""

    network: LandmarkNet | FinderNet
    average: LandmarkNet | FinderNet

    def __init__(self, settings: dict[str, Any], recipe: LandmarkRecipe | FinderRecipe) -> None:
        super().__init__(settings, recipe.seed)
        self.recipe = recipe
        torch.manual_seed(recipe.seed)
        network = build(settings["config"])
        assert isinstance(network, LandmarkNet | FinderNet)
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.frozen = getattr(recipe, "freeze", 0)
        network.features[: self.frozen].requires_grad_(False)
        self.average = copy.deepcopy(network).eval().requires_grad_(False)
        self.rows: list[checks.Rows] = []
        # In a list, so that it is no part of what is trained and saved.
        self.teacher = [landmark_network(Path(path))] if (path := getattr(recipe, "teacher", "")) else []

    def start(self, network: torch.nn.Module) -> None:
        """Weights to begin with."""
        for mine in (self.network, self.average):
            mine.load_state_dict(network.state_dict())

    def on_train_epoch_start(self) -> None:
        super().on_train_epoch_start()
        self.network.features[: self.frozen].eval()

    def configure_optimizers(self) -> Any:
        r = self.recipe
        learning = [p for p in self.network.parameters() if p.requires_grad]
        plain = [p for p in learning if p.ndim < 2]
        heavy = [p for p in learning if p.ndim >= 2]
        groups = [{"params": heavy, "weight_decay": r.decay}, {"params": plain, "weight_decay": 0.0}]
        optimiser = torch.optim.AdamW(groups, lr=r.rate)

        def factor(step: int) -> float:
            cosine = 0.5 + 0.5 * math.cos(math.pi * min(step / r.steps, 1.0)) + 0.005
            return min(1.0, (step + 1) / max(r.warmup, 1)) * cosine

        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, factor)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        super().optimizer_step(*args, **kwargs)
        step = self.global_step + 1
        follow(self.average, self.network, min(self.recipe.ema, (1 + step) / (20 + step)))

    def training_step(self, batch: Batch, _: int) -> Tensor:
        said = self.loss(batch)
        self.log_dict(said, on_step=False, on_epoch=True, batch_size=_count(batch), sync_dist=True)
        return said["loss"]

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """All parts of a batch's loss, and `loss`, their sum."""
        x = self.network.normalise(batch["image"]).contiguous(memory_format=torch.channels_last)
        if isinstance(self.network, LandmarkNet) and x.shape[-1] != self.network.size:
            self.network.resize(x.shape[-1])
        taught = self._taught(x, batch)
        if isinstance(self.recipe, LandmarkRecipe) and self.recipe.steady:
            # The next frames go along in one batch, so that both have the same statistics.
            luck = torch.Generator(x.device).manual_seed(self.recipe.seed + self.global_step)
            again, moved = losses.next_frame(x[losses.SHOWN_AGAIN], luck)
            both: Any = self.network.raw(torch.cat([x, again]).contiguous(memory_format=torch.channels_last))
            parts = self._losses([said[: len(x)] for said in both], batch, taught)
            parts["steady"] = self.recipe.steady * losses.unsteadiness(both, moved)
        else:
            parts = self._losses(self.network.raw(x), batch, taught)
        return {"loss": torch.stack([*parts.values()]).sum(), **parts}

    def _losses(self, outputs: Any, batch: Batch, taught: Any = None) -> dict[str, Tensor]:
        if isinstance(self.recipe, FinderRecipe):
            return losses.finder_loss(outputs, batch, self.recipe)
        return losses.landmark_loss(outputs, batch, self.recipe, taught)

    @torch.no_grad()
    def _taught(self, x: Tensor, batch: Batch) -> losses.Outputs | None:
        """What the teacher says of the photographs, the only ones that follow it; zeros elsewhere."""
        if not self.teacher:
            return None
        teacher = self.teacher[0].to(x.device)
        real = batch["known3d"] == 0
        size = teacher.size
        mine = x[real]
        if mine.shape[-1] != size:
            mine = torch.nn.functional.interpolate(mine, (size, size), mode="bilinear")
        landmarks, points, flags = (x.new_zeros(len(x), *shape) for shape in ((21, 3), (21, 2), (2,)))
        for place, said in zip((landmarks, points, flags), teacher.raw(mine), strict=True):
            place[real] = said.to(place.dtype)
        return landmarks, points, flags

    def validation_step(self, batch: Batch, _: int) -> None:
        # In float32, as the exported network computes.
        with torch.autocast(self.device.type, enabled=False):
            outputs = self.measured(batch)
            total = torch.stack([*self._losses(outputs, batch).values()]).sum()
            if isinstance(self.average, FinderNet):
                rows = checks.finder_rows(self.average, outputs, batch)
            else:
                rows = checks.landmark_rows(outputs, batch)
        self.rows.append({k: v.cpu() for k, v in rows.items()})
        self.log("val_loss", total, batch_size=_count(batch), sync_dist=True)

    def measured(self, batch: Batch) -> Any:
        """What the average says of a batch, as of its `raw`."""
        x = self.average.normalise(batch["image"]).contiguous(memory_format=torch.channels_last)
        return self.average.raw(x)

    def on_validation_epoch_end(self) -> None:
        rows = {k: torch.cat([r[k] for r in self.rows]) for k in self.rows[0]}
        self.rows = []
        kind = checks.finder_figures if isinstance(self.average, FinderNet) else checks.landmark_figures
        self.log_dict({f"val_{k}": v for k, v in kind(rows).items()}, sync_dist=True)


def _count(batch: Batch) -> int:
    return len(next(iter(batch.values())))


def landmark_network(path: Path) -> LandmarkNet:
    """A checkpoint's network, to learn from.

    Raises:
        TrainError: a checkpoint of another network.
    """
    network, config = load_checkpoint(path)
    if not isinstance(network, LandmarkNet):
        raise TrainError(f"{path} is a checkpoint of a {config['kind']} network, not of landmarks.")
    return network.requires_grad_(False)


def check_enough(training: Sized, validation: Sized, recipe: Recipe, looks: int = 1) -> None:
    """
    Raises:
        TrainError: not even one batch, with each picture looked at so often, or nothing to validate by.
    """
    if len(training) * looks < recipe.batch or not len(validation):
        raise TrainError(
            f"Too little data: {len(training)} training samples and {len(validation)} for validation; "
            "give more or a smaller --batch."
        )


def train(
    config: dict[str, Any], recipe: LandmarkRecipe | FinderRecipe,
    training: LandmarkSet | FinderSet | ResidentSet,
    photographs: NDArray[np.bool_], validation: LandmarkSet | FinderSet,
    run: Path, machine: Machine, *,
    weights: Path | None = None, start: Path | None = None, data: dict[str, Any] | None = None,
    fill: float | None = None,
) -> dict[str, float]:  # fmt: skip
    """Train the network that `config` describes; returns the figures of the best checkpoint.

    Args:
        photographs: which of the training items (N,) are real photographs.
        weights: ImageNet's for the backbone; None: torchvision's own, `NONE`: random ones.
        start: checkpoint to start from instead.
        data: what to remember of the data besides their numbers.
        fill: as many steps as fit into these minutes, instead of the recipe's, and two looks at the
            validation data.

    Raises:
        TrainError: too little data, weights that do not fit, or a folder of another run.
    """
    check_enough(training, validation, recipe)
    if isinstance(training, ResidentSet) and machine.devices * machine.nodes > 1:
        raise TrainError("Pictures in a device's memory are for one device: leave out --resident.")
    if fill and machine.devices * machine.nodes > 1:
        raise TrainError(
            "How many steps fill a time is measured by one device: give --steps instead of --fill."
        )
    first = None
    if start:
        first, config = _start(start, config)
    if fill and (run / "last.ckpt").is_file():  # it goes on as far as it was going to
        there = load_training(run / "last.ckpt")["handcoach"]["recipe"]
        recipe = replace(recipe, steps=there["steps"], check_every=there["check_every"])
    elif fill:
        recipe = _filling(recipe, config, training, photographs, validation, machine, fill)
    described = about(data, training, validation, photographs=int(photographs.sum()),
                      start=began_with(weights, start))  # fmt: skip
    settings = {"config": config, "recipe": asdict(recipe), "data": described}
    module = Edge(settings, recipe)
    if not (run / "last.ckpt").is_file():
        if first is not None:
            module.start(first)
        elif weights != NONE:
            load_backbone(module.network, weights)
            module.start(module.network)
    draws = draws_of(recipe, photographs, _sizes(recipe, config), recipe.check_every, machine)
    batches, checking = loaders(training, validation, draws, machine)
    return fit(module, batches, checking, run, machine, recipe.steps // recipe.check_every, recipe.clip)


def _sizes(recipe: LandmarkRecipe | FinderRecipe, config: dict[str, Any]) -> list[tuple[int, float]]:
    return read_sizes(recipe.sizes, config["size"]) if isinstance(recipe, LandmarkRecipe) else []


def draws_of(
    recipe: Recipe, photographs: NDArray[np.bool_], sizes: list[tuple[int, float]],
    steps: int, machine: Machine,
) -> Draws:  # fmt: skip
    return Draws(
        [np.flatnonzero(photographs), np.flatnonzero(~photographs)],
        [recipe.photo_share, 1 - recipe.photo_share],
        recipe.batch, steps, recipe.steps, recipe.seed, tuple(sizes),
        ranks=machine.devices * machine.nodes, parts=machine.accumulate,
    )  # fmt: skip


def _filling(
    recipe: LandmarkRecipe | FinderRecipe, config: dict[str, Any], training: Any,
    photographs: NDArray[np.bool_], validation: Any, machine: Machine, minutes: float,
) -> LandmarkRecipe | FinderRecipe:  # fmt: skip
    """The recipe with as many steps as fit into these minutes, by the time of a few steps of every size."""
    kind = machine.accelerator
    module = Edge({"config": config}, recipe).to(kind).train()
    optimiser = module.configure_optimizers()["optimizer"]
    half = machine.mixed == "bf16-mixed"
    seconds = 0.0
    for size, share in _sizes(recipe, config):
        draws = draws_of(recipe, photographs, [(size, 1.0)], sum(PROBE), machine)
        for step, batch in enumerate(loaders(training, validation, draws, machine)[0]):
            if step == PROBE[0]:
                start = _now(kind)
            batch = {k: v.to(kind) for k, v in batch.items()}
            with torch.autocast(kind, torch.bfloat16, enabled=half):
                loss = module.loss(batch)["loss"]
            loss.backward()
            optimiser.step()
            optimiser.zero_grad()
            follow(module.average, module.network, 0.5)
        seconds += share * (_now(kind) - start) / PROBE[1]
    # Twice a validation, Lightning's own work between the steps (a quarter of the time on an H200: 14.1 steps
    # instead of 18.6 a second), and a machine that may be busier later.
    steps = max(2, int(0.7 * 60 * minutes / seconds) // 2 * 2)
    say(f"{1 / seconds:.2f} steps/s: {steps} steps of {recipe.batch} in {minutes:g} minutes")
    return replace(recipe, steps=steps, check_every=steps // 2)


PROBE = (5, 15)  # steps to warm up and to time


def _now(kind: str) -> float:
    if kind == "cuda":
        torch.cuda.synchronize()
    return time.monotonic()


def _start(path: Path, config: dict[str, Any]) -> tuple[torch.nn.Module, dict[str, Any]]:
    """A checkpoint's network, and the configuration with its widths, which `head` and `narrow` may change."""
    network, its = load_checkpoint(path)
    for name, usual in (("kind", ""), ("backbone", "mobilenetv2"), ("head", "integral")):
        a, b = its.get(name, usual), config.get(name, usual)
        if a != b:
            raise TrainError(f"{path} is a checkpoint of a {a} network, not {b}: give another.")
    return network, config | {name: its[name] for name in ("hidden", "widths") if name in its}
