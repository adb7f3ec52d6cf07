"""The landmark network's MLP trained alone, on what the rest of a trained network sees of the pictures.

The backbone takes nearly all of a training step, and what it sees of a picture stays the same while it does:
it is computed once. The MLP, which costs a laptop next to nothing, can then be wide and learn for long in
minutes.
"""

from __future__ import annotations

import copy
import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader
from tqdm import tqdm

from handcoach_train.data import Draw, LandmarkSet
from handcoach_train.errors import TrainError
from handcoach_train.networks import LandmarkNet, load_checkpoint, load_training, mlp, save_checkpoint
from handcoach_train.training.edge import Edge, check_enough, draws_of, landmark_network
from handcoach_train.training.losses import Batch, next_frame
from handcoach_train.training.recipe import HeadRecipe
from handcoach_train.training.run import Machine, compare, fit, loaders, writing, written

# Beside the features that are dropped: noise of points (in the MLP's units) and of depths.
POINT_NOISE, DEPTH_NOISE = 0.016, 0.01


class SeenSet(torch.utils.data.Dataset):
    """What a network sees of pictures. Items: `seen` (F,), `points_seen` (21, 2) and `flags_seen` (2,), with
    `steady` also `seen_next` (F,) of the next frame of a held hand, and of `LandmarkSet` all but the
    picture."""

    def __init__(self, columns: dict[str, Tensor]) -> None:
        self.columns = columns

    def __len__(self) -> int:
        return len(self.columns["seen"])

    def __getitem__(self, draw: int | Draw) -> dict[str, Tensor]:
        i = draw.item if isinstance(draw, Draw) else draw
        return {k: v[i].float() if v.is_floating_point() else v[i] for k, v in self.columns.items()}


class Head(Edge):
    """A network of which only the MLP learns."""

    recipe: HeadRecipe
    network: LandmarkNet
    average: LandmarkNet

    def __init__(self, settings: dict[str, Any], recipe: HeadRecipe) -> None:
        super().__init__(settings, recipe)
        self.network.requires_grad_(False)
        self.network.dense.requires_grad_(True)

    def on_train_epoch_start(self) -> None:
        super().on_train_epoch_start()
        self.network.eval()

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        seen = batch["seen"]
        pooled, points, depths = seen.split([seen.shape[1] - 63, 42, 21], 1)
        noisy = [
            F.dropout(pooled, self.recipe.dropout),
            points + POINT_NOISE * torch.randn_like(points),
            depths + DEPTH_NOISE * torch.randn_like(depths),
        ]
        said = self.network.posed(torch.cat(noisy, 1)), batch["points_seen"], batch["flags_seen"]
        parts = self._losses(said, batch)
        if self.recipe.steady:
            parts["steady"] = self.recipe.steady * _restlessness(self.network, batch)
        return {"loss": torch.stack([*parts.values()]).sum(), **parts}

    def measured(self, batch: Batch) -> Any:
        return self.average.posed(batch["seen"]), batch["points_seen"], batch["flags_seen"]

    def validation_step(self, batch: Batch, index: int) -> None:
        super().validation_step(batch, index)
        if self.recipe.steady:
            value = _restlessness(self.average, batch)
            self.log("val_steady", value, batch_size=len(batch["seen"]), sync_dist=True)


def _restlessness(network: LandmarkNet, batch: Batch) -> Tensor:
    """How far apart the landmarks of pictures and of their next frames are, the mean over coordinates."""
    now, later = network.posed(torch.cat([batch["seen"], batch["seen_next"]])).chunk(2)
    return (now - later).abs().mean()


def widened(network: LandmarkNet, hidden: int) -> LandmarkNet:
    """The network with more units in its MLP, which says the same until the new ones have learnt something.

    Raises:
        TrainError: it has no MLP, or one with more units than that.
    """
    if network.head != "integral" or hidden < network.hidden:
        raise TrainError(
            f"A network with the head {network.head} and {getattr(network, 'hidden', 0)} units has no MLP "
            f"that {hidden} units widen."
        )
    wide = copy.deepcopy(network)
    old, wide.hidden = network.dense, hidden
    wide.dense = mlp(old[0].in_features, hidden)  # type: ignore[arg-type]
    with torch.no_grad():
        wide.dense[2].weight.zero_()  # type: ignore[operator]
        for layer in (0, 2):
            for name, value in old[layer].named_parameters():
                getattr(wide.dense[layer], name)[tuple(slice(n) for n in value.shape)] = value
    return wide


def train(
    config: dict[str, Any], recipe: HeadRecipe, start: Path, training: LandmarkSet,
    photographs: NDArray[np.bool_], validation: LandmarkSet, run: Path, machine: Machine,
    data: dict[str, Any] | None = None,
) -> dict[str, float]:  # fmt: skip
    """Train the MLP of a checkpoint's network; returns the figures of the best checkpoint.

    What the network sees is kept in the run's folder, so that a run that was stopped goes on. Beside the best
    checkpoint lies NAME-mean.safetensors, the mean of its weights and of those that it started from (Wortsman
    et al. 2022): a little less accurate, and steadier.

    Args:
        config: of the checkpoint to be made; its `hidden` is the recipe's. Others as of `edge.train`.

    Raises:
        TrainError: too little data, a checkpoint of another network, or a folder of another run.
    """
    network = landmark_network(start)
    check_enough(training, validation, recipe, recipe.looks)
    if machine.devices * machine.nodes > 1:
        raise TrainError("The last layers alone are trained by one process: one device of one machine.")
    torch.manual_seed(recipe.seed)
    network = widened(network, recipe.hidden)
    described = {**(data or {}), "training": len(training), "validation": len(validation),
                 "photographs": int(photographs.sum()), "start": start.name}  # fmt: skip
    config = {**config, "hidden": recipe.hidden}
    settings = {"config": config, "recipe": asdict(recipe), "data": described}
    if (run / "last.ckpt").is_file():  # before what that run saw is overwritten
        compare(run, load_training(run / "last.ckpt")["handcoach"], settings)
    module = Head(settings, recipe)
    module.start(network)
    if machine.threads:
        torch.set_num_threads(machine.threads)
    first = hashlib.sha256(start.read_bytes()).hexdigest()
    looks = [
        look_at(network, training, run / f"seen-{look}.pt", first, machine, look, recipe.steady > 0)
        for look in range(recipe.looks)
    ]
    held = look_at(network, validation, run / "seen-validation.pt", first, machine, steady=recipe.steady > 0)
    together = {k: torch.cat([look.pop(k) for look in looks]) for k in [*looks[0]]}
    which = np.tile(photographs, recipe.looks)
    draws = draws_of(recipe, which, [], recipe.check_every, machine)
    batches, checking = loaders(SeenSet(together), SeenSet(held), draws, machine)
    figures = fit(module, batches, checking, run, machine, recipe.steps // recipe.check_every, recipe.clip)
    best = run / f"{config['name']}.safetensors"
    if best.is_file():
        learnt, note = load_checkpoint(best)
        before = network.cpu().state_dict()
        for name, value in learnt.state_dict().items():
            if value.is_floating_point():
                value.lerp_(before[name], 0.5)
        with writing(best.with_stem(f"{best.stem}-mean")) as file:
            save_checkpoint(learnt, note, file)
    return figures


@torch.no_grad()
def look_at(
    network: LandmarkNet, pictures: LandmarkSet, file: Path, whose: str, machine: Machine, look: int = 0,
    steady: bool = False,
) -> dict[str, Tensor]:  # fmt: skip
    """What a network sees of all pictures, as the columns of a `SeenSet`.

    Args:
        file: read where it is there and shows what this network sees of these pictures; else it is written.
        whose: the network's checksum.
        look: with another number the pictures of a training set are changed in other ways.
        steady: of each picture's next frame, too (`losses.next_frame`).
    """
    s = pictures.samples
    about = [whose, pictures.size, pictures.roll, pictures.other_side, pictures.seed, *map(str, s.files)]
    if steady:
        about.append("steady")
    arrays = [np.ascontiguousarray(a).tobytes() for a in (s.points, s.joints, s.right)]
    key = hashlib.sha256(b"".join([json.dumps(about).encode(), *arrays])).hexdigest()
    if file.is_file():
        kept = torch.load(file, weights_only=True)
        if kept["key"] == key:
            return kept["columns"]  # type: ignore[no-any-return]
    cv2.setNumThreads(1)  # before the workers are forked, see `loaders`
    device = machine.accelerator
    network = network.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    first = look * len(pictures)
    order = [Draw(item, first + item) for item in range(len(pictures))]
    # Half the digits move the landmarks by a fifth of what a camera's noise does, in less than half the time.
    half = pictures.train and machine.mixed == "bf16-mixed"

    def seen(x: Tensor) -> dict[str, Tensor]:
        with torch.autocast(device, torch.bfloat16, enabled=half):
            what, points, flags = network.seen(x.contiguous(memory_format=torch.channels_last))
        return {"seen": what.half(), "points_seen": points.float(), "flags_seen": flags.float()}

    rows: list[dict[str, Tensor]] = []
    for batch in tqdm(
        DataLoader(pictures, 64, sampler=order, num_workers=machine.workers),  # type: ignore[arg-type]
        desc=f"look at {file.stem.removeprefix('seen-')}",
    ):
        x = network.normalise(batch.pop("image").to(device))
        row = {k: v.cpu() for k, v in seen(x).items()} | batch
        if steady:
            later, _ = next_frame(x, torch.Generator(device).manual_seed(first + len(rows)))
            row["seen_next"] = seen(later)["seen"].cpu()
        rows.append(row)
    columns = {k: torch.cat([row[k] for row in rows]) for k in rows[0]}
    file.parent.mkdir(parents=True, exist_ok=True)
    with written(file) as partial:
        torch.save({"key": key, "columns": columns}, partial)
    return columns
