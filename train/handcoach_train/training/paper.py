"""The paper's training (`--preset paper`): sections 5.1 and 6.1 of Skøt & Wolf 2025."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from handcoach_train.augment import augment, normalise
from handcoach_train.data import HandDataset, Samples
from handcoach_train.errors import TrainError
from handcoach_train.networks import PaperNet, load_backbone
from handcoach_train.training.draws import Draws
from handcoach_train.training.recipe import PaperRecipe
from handcoach_train.training.run import NONE, Machine, Training, about, began_with, fit, loaders

Batch = dict[str, Any]


class Paper(Training):
    """Adam, the squared error of all outputs, a tenth of the rate on a plateau, an early stop."""

    network: PaperNet
    monitor = "val_loss"

    def __init__(self, settings: dict[str, Any], recipe: PaperRecipe) -> None:
        super().__init__(settings, recipe.seed)
        self.recipe, self.patience = recipe, recipe.stop
        torch.manual_seed(recipe.seed)
        c = settings["config"]
        network = PaperNet(c["size"], c["backbone"], c["dropout"], c["joints"])
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = self.network  # the paper averages nothing
        self.plateau: Any = None
        self._plateau_state: dict[str, Any] = {}

    def configure_optimizers(self) -> Any:
        optimiser = torch.optim.Adam(self.network.parameters(), lr=self.recipe.rate)
        self.plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimiser, factor=self.recipe.factor, patience=self.recipe.patience
        )
        if self._plateau_state:
            self.plateau.load_state_dict(self._plateau_state)
        return optimiser

    # Lightning would step the plateau after the checkpoint of its epoch, so that going on is not the same.
    def after_check(self, value: float) -> None:
        self.plateau.step(value)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["plateau"] = self.plateau.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._plateau_state = checkpoint["plateau"]

    def training_step(self, batch: Batch, _: int) -> Tensor:
        loss = self._loss(augment(batch) if self.recipe.augment else batch)
        self.log("loss", loss, on_step=False, on_epoch=True, batch_size=len(batch["image"]), sync_dist=True)
        return loss

    def validation_step(self, batch: Batch, _: int) -> None:
        loss = self._loss(batch)
        self.log("val_loss", loss, batch_size=len(batch["image"]), sync_dist=True)

    def _loss(self, batch: Batch) -> Tensor:
        image = batch["image"]
        image = image.float() / 255 if image.dtype == torch.uint8 else image
        x = normalise(image).contiguous(memory_format=torch.channels_last)
        said, truth = self.network.raw(x), batch["landmarks"][:, 63 - 3 * self.recipe.joints :]
        if self.recipe.huber:
            return F.huber_loss(said, truth, delta=self.recipe.huber)
        return F.mse_loss(said, truth)


def train(
    config: dict[str, Any], recipe: PaperRecipe, training: Samples, validation: Samples, run: Path,
    machine: Machine, *, weights: Path | None = None, data: dict[str, Any] | None = None,
) -> dict[str, float]:  # fmt: skip
    """Train the paper's network; returns the figures of the best checkpoint.

    Args:
        config: as for `networks.build`. weights: ImageNet's for the backbone; None: torchvision's own,
            `NONE`: random ones. data: what to remember of the data besides their numbers.

    Raises:
        TrainError: too little data, weights that do not fit, or a folder of another run.
    """
    if len(training) < recipe.batch or not len(validation):
        raise TrainError(
            f"Too little data: {len(training)} training samples and {len(validation)} for validation; "
            "give more or a smaller --batch."
        )
    described = about(data, training, validation, start=began_with(weights))
    settings = {"config": config, "recipe": asdict(recipe), "data": described}
    module = Paper(settings, recipe)
    if weights != NONE and not (run / "last.ckpt").is_file():
        load_backbone(module.network, weights)
    steps = math.ceil(len(training) / recipe.batch)
    draws = Draws(
        [np.arange(len(training))], [1.0], recipe.batch, steps, steps * recipe.epochs, recipe.seed,
        ranks=machine.devices * machine.nodes, parts=machine.accumulate,
    )  # fmt: skip
    size = config["size"]
    batches, checking = loaders(
        HandDataset(training, size, train=True, seed=recipe.seed),
        HandDataset(validation, size),
        draws,
        machine,
    )
    return fit(module, batches, checking, run, machine, recipe.epochs)
