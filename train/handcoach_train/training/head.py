"""The landmark network's last layers trained alone, on what the rest of a trained one sees of the pictures.

The backbone takes nearly all of a training step, and what it sees of a picture stays the same while it does:
it is computed once. The MLP, which costs a laptop next to nothing, can then be wide and learn for long in
minutes. The layers from stride 16 on (`late`) learn about ten times as fast as the whole.
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
from handcoach_train.training.losses import SHOWN_AGAIN, Batch, Outputs, next_frame, unsteadiness
from handcoach_train.training.recipe import HeadRecipe
from handcoach_train.training.run import Machine, about, compare, fit, loaders, writing, written

# Beside the features that are dropped: noise of points (in the MLP's units) and of depths.
POINT_NOISE, DEPTH_NOISE = 0.016, 0.01


class SeenSet(torch.utils.data.Dataset):
    """What a network sees of pictures. Items: `flags_seen` (2,); `seen` (F,) and `points_seen` (21, 2), or of
    the layers before the late ones `middle` (C, S / 16, S / 16); with `steady` also `seen_next` or
    `middle_next` and `moved` (2,), of the next frame of a held hand; and of `LandmarkSet` all but the
    picture."""

    def __init__(self, columns: dict[str, Tensor]) -> None:
        self.columns = columns

    def __len__(self) -> int:
        return len(self.columns["flags_seen"])

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
        for layers in self.learning():
            layers.requires_grad_(True)

    def learning(self) -> list[torch.nn.Module]:
        return [self.network.dense]

    def on_train_epoch_start(self) -> None:
        super().on_train_epoch_start()
        self.network.eval()

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        parts = self.parts(batch)
        return {"loss": torch.stack([*parts.values()]).sum(), **parts}

    def parts(self, batch: Batch) -> dict[str, Tensor]:
        """The weighted parts of a batch's loss."""
        pooled, points, depths = _split(batch["seen"])
        noisy = [
            F.dropout(pooled, self.recipe.dropout),
            points + POINT_NOISE * torch.randn_like(points),
            depths + DEPTH_NOISE * torch.randn_like(depths),
        ]
        said = self.network.posed(torch.cat(noisy, 1)), batch["points_seen"], batch["flags_seen"]
        parts = self._losses(said, batch)
        if self.recipe.steady:
            parts["steady"] = self.recipe.steady * _restlessness(self.network, batch)
        return parts

    def measured(self, batch: Batch) -> Any:
        return self.average.posed(batch["seen"]), batch["points_seen"], batch["flags_seen"]

    def validation_step(self, batch: Batch, index: int) -> None:
        super().validation_step(batch, index)
        if self.recipe.steady:
            value = self.restlessness(batch)
            self.log("val_steady", value, batch_size=len(batch["flags_seen"]), sync_dist=True)

    def restlessness(self, batch: Batch) -> Tensor:
        return _restlessness(self.average, batch)


class Late(Head):
    """A network of which all layers from stride 16 on learn, by what those before see; its batch statistics
    stay as they are."""

    def learning(self) -> list[torch.nn.Module]:
        n = self.network
        return [n.features[n.cut :], n.flags, n.deep, n.side, n.mix, n.heat, n.dense]

    def parts(self, batch: Batch) -> dict[str, Tensor]:
        middle = batch["middle"]
        if self.recipe.steady:
            middle = torch.cat([middle, batch["middle_next"][SHOWN_AGAIN]])
        both = self._said(self.network, middle, self.recipe.dropout)
        said: Any = tuple(column[: len(batch["middle"])] for column in both)
        parts = self._losses(said, batch)
        if self.recipe.steady:
            parts["steady"] = self.recipe.steady * unsteadiness(both, batch["moved"][SHOWN_AGAIN])
        if self.recipe.keep:
            before = batch["flags_seen"].sigmoid()
            parts["keep"] = self.recipe.keep * F.binary_cross_entropy_with_logits(said[2], before)
        return parts

    def measured(self, batch: Batch) -> Any:
        return self._said(self.average, batch["middle"])

    def restlessness(self, batch: Batch) -> Tensor:
        now, later = (self._said(self.average, batch[name])[0] for name in ("middle", "middle_next"))
        return (now - later).abs().mean()

    @staticmethod
    def _said(network: LandmarkNet, middle: Tensor, dropout: float = 0.0) -> Outputs:
        seen, points, flags = network.seen_late(middle.contiguous(memory_format=torch.channels_last))
        pooled, *rest = _split(seen)
        return network.posed(torch.cat([F.dropout(pooled, dropout), *rest], 1)), points, flags


def _split(seen: Tensor) -> tuple[Tensor, ...]:
    """Pooled features, points and depths."""
    return seen.split([seen.shape[1] - 63, 42, 21], 1)


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
    """Train the MLP of a checkpoint's network, or with `late` all from stride 16 on; returns the figures of
    the best checkpoint.

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
    described = about(data, training, validation, photographs=int(photographs.sum()), start=start.name)
    config = {**config, "hidden": recipe.hidden}
    settings = {"config": config, "recipe": asdict(recipe), "data": described}
    if (run / "last.ckpt").is_file():  # before what that run saw is overwritten
        compare(run, load_training(run / "last.ckpt")["handcoach"], settings)
    module = (Late if recipe.late else Head)(settings, recipe)
    module.start(network)
    if machine.threads:
        torch.set_num_threads(machine.threads)
    first = hashlib.sha256(start.read_bytes()).hexdigest()
    looks = [
        look_at(network, training, run / f"seen-{look}.pt", first, machine, recipe, look)
        for look in range(recipe.looks)
    ]
    held = look_at(network, validation, run / "seen-validation.pt", first, machine, recipe)
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
        note = {**note, "accuracy": {}}  # of what was learnt; nobody has measured this
        with writing(best.with_stem(f"{best.stem}-mean")) as file:
            save_checkpoint(learnt, note, file)
    return figures


@torch.no_grad()
def look_at(
    network: LandmarkNet, pictures: LandmarkSet, file: Path, whose: str, machine: Machine,
    recipe: HeadRecipe, look: int = 0,
) -> dict[str, Tensor]:  # fmt: skip
    """What a network sees of all pictures, as the columns of a `SeenSet`.

    Args:
        file: read where it is there and shows what this network sees of these pictures; else it is written.
        whose: the network's checksum.
        recipe: `late` and `steady` say what is kept, see `SeenSet`.
        look: with another number the pictures of a training set are changed in other ways.
    """
    s = pictures.samples
    named = [whose, pictures.size, pictures.roll, pictures.other_side, pictures.seed, pictures.empty_share]
    named += map(str, s.files)
    named += (name for name in ("steady", "late") if getattr(recipe, name))
    named += (f"{area['file']} {area['boxes']} {area['hard']}" for area in pictures.empty)
    arrays = [np.ascontiguousarray(a).tobytes() for a in (s.points, s.joints, s.right, s.K, s.lifted)]
    key = hashlib.sha256(b"".join([json.dumps(named).encode(), *arrays])).hexdigest()
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

    what = "middle" if recipe.late else "seen"

    def seen(x: Tensor, later: bool = False) -> dict[str, Tensor]:
        """What is kept of pictures, or of their next frames, whose flags nobody asks for."""
        with torch.autocast(device, torch.bfloat16, enabled=half):
            middle = network.middle(x.contiguous(memory_format=torch.channels_last))
            if recipe.late and later:
                return {"middle_next": middle.half().cpu()}
            seen, points, flags = network.seen_late(middle)
        if later:
            return {"seen_next": seen.half().cpu()}
        row = {what: (middle if recipe.late else seen).half(), "flags_seen": flags.float()}
        if not recipe.late:
            row["points_seen"] = points.float()
        return {k: v.cpu() for k, v in row.items()}

    rows: list[dict[str, Tensor]] = []
    for batch in tqdm(
        DataLoader(pictures, 64, sampler=order, num_workers=machine.workers),  # type: ignore[arg-type]
        desc=f"look at {file.stem.removeprefix('seen-')}",
    ):
        x = network.normalise(batch.pop("image").to(device))
        row = seen(x) | batch
        if recipe.steady:
            later, moved = next_frame(x, torch.Generator(device).manual_seed(first + len(rows)))
            row |= seen(later, later=True)
            if recipe.late:  # of the MLP alone, a run from before goes on with what it kept
                row["moved"] = moved.cpu()
        rows.append(row)
    columns = {k: torch.cat([row[k] for row in rows]) for k in rows[0]}
    file.parent.mkdir(parents=True, exist_ok=True)
    with written(file) as partial:
        torch.save({"key": key, "columns": columns}, partial)
    return columns
