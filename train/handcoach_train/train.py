"""Training the landmark network and the finder: one loop, two kinds of work.

The schedule runs by the clock (`minutes`), since time is what a laptop or a lent GPU has. A run's folder
holds `last.pt`, from which the same command goes on, `log.jsonl`, and the best `NAME.safetensors`: weights
averaged over training (EMA), fp16, with their configuration.
"""

from __future__ import annotations

import copy
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from tqdm import tqdm

from handcoach_train.data import FinderSet, LandmarkSet
from handcoach_train.errors import TrainError
from handcoach_train.networks import (
    FinderNet,
    LandmarkNet,
    build,
    load_backbone,
    load_checkpoint,
    save_checkpoint,
)

Batch = dict[str, Tensor]
DataSet = LandmarkSet | FinderSet


@dataclass(frozen=True)
class Settings:
    """How long and how fast to train.

    Attributes:
        out: folder of the run.
        minutes: length of the whole schedule, resumed parts counted in.
        batch, rate: size and peak learning rate (AdamW, one cosine after a short warm-up).
        workers: processes that load pictures. threads: of the network on a CPU.
        backbone: MobileNetV2 weights; None: torchvision's own, Path("none"): random ones.
        check_minutes: time between two looks at the validation data.
        start: checkpoint to start from instead of ImageNet's weights.
    """

    out: Path
    minutes: float
    batch: int = 64
    rate: float = 1e-3
    workers: int = 1
    threads: int | None = None
    backbone: Path | None = None
    start: Path | None = None
    check_minutes: float = 6.0


def landmark_loss(network: LandmarkNet, batch: Batch, x: Tensor) -> dict[str, Tensor]:
    """Weighted parts of the loss; x: the batch's pictures, normalised."""
    landmarks, points, flags = network.raw(x)
    here = batch["presence"]
    known = here * batch["known3d"]
    real = here * (1 - batch["known3d"])

    def mean(value: Tensor, weight: Tensor) -> Tensor:
        return (value * weight).sum() / weight.sum().clamp(min=1)

    distance = F.smooth_l1_loss(landmarks, batch["landmarks"], reduction="none", beta=0.05).mean((1, 2))
    # Bones carry the posture: their errors count beside those of the joints, which add up along a finger.
    bones = F.smooth_l1_loss(_bones(landmarks), _bones(batch["landmarks"]), reduction="none", beta=0.05).mean(
        (1, 2)
    )
    flat = F.smooth_l1_loss(points, batch["points"], reduction="none", beta=0.02).mean((1, 2))
    return {
        "landmarks": mean(distance, known),
        "bones": mean(bones, known),
        "points": 4 * mean(flat, here),
        # Photographs have no depth, but their landmarks must project on their points: weak perspective.
        "project": 0.5 * mean(_projection_error(landmarks, batch["points"]), real),
        "presence": 0.1 * F.binary_cross_entropy_with_logits(flags[:, 0], batch["presence"]),
        # Four of five cut-outs show a right hand: weighed, so that the network says what it sees, not what is
        # usual.
        "right": 0.1
        * mean(
            F.binary_cross_entropy_with_logits(flags[:, 1], batch["right"], reduction="none"),
            here * (4 - 3 * batch["right"]),
        ),
    }


_FROM = torch.tensor([0 if j % 4 == 1 else j - 1 for j in range(1, 21)])


def _bones(landmarks: Tensor) -> Tensor:
    return landmarks[:, 1:] - landmarks[:, _FROM.to(landmarks.device)]


def _projection_error(landmarks: Tensor, points: Tensor) -> Tensor:
    """Mean residual (N,) of points (N, 21, 2) against landmarks' x, y under the best scale and shift, in
    units of the points' own spread."""
    a = landmarks[..., :2] - landmarks[..., :2].mean(1, keepdim=True)
    b = points - points.mean(1, keepdim=True)
    scale = (a * b).sum((1, 2), keepdim=True) / (a * a).sum((1, 2), keepdim=True).clamp(min=1e-4)
    spread = b.square().sum((1, 2)).sqrt().clamp(min=1e-3) / 21**0.5
    return F.smooth_l1_loss(a * scale, b, reduction="none", beta=0.02).mean((1, 2)) / spread


def finder_loss(network: FinderNet, batch: Batch, x: Tensor) -> dict[str, Tensor]:
    """Weighted parts of the loss; x: the batch's pictures, normalised."""
    maps = network.raw(x)
    heat, known = batch["heat"], batch["known"]
    p = torch.sigmoid(maps[:, 0]).clamp(1e-4, 1 - 1e-4)
    peak = (heat >= 0.999).float()
    # Penalty-reduced focal loss of CenterNet (Zhou et al. 2019, eq. 1).
    focal = -(peak * (1 - p) ** 2 * p.log() + (1 - peak) * (1 - heat) ** 4 * p**2 * (1 - p).log()).sum((1, 2))
    count = known.sum().clamp(min=1)
    place = F.smooth_l1_loss(maps[:, 2:6], batch["map"][:, 2:6], reduction="none", beta=0.01).sum(1)
    extent = F.smooth_l1_loss(maps[:, 6], batch["map"][:, 6], reduction="none", beta=0.1)
    side = F.binary_cross_entropy_with_logits(maps[:, 1], batch["map"][:, 1], reduction="none")
    return {
        "heat": focal.mean() / peak.sum((1, 2)).mean().clamp(min=1),
        "place": 10 * (place * known).sum() / count,
        "extent": (extent * known).sum() / count,
        "side": 0.6 * (side * known).sum() / count,
    }


@torch.inference_mode()
def check_landmarks(network: LandmarkNet, loader: DataLoader, device: str) -> dict[str, float]:
    """Figures on validation data; `score` (lower is better) chooses the checkpoint."""
    pa, flat, real_flat, presence, right = [], [], [], [], []
    for batch in loader:
        landmarks, points, here, is_right = network(batch["image"].to(device))
        gap = (points.cpu() - batch["points"]).norm(dim=2).mean(1)
        known = batch["known3d"] > 0
        if known.any():
            pa.append(procrustes(landmarks.cpu()[known].double(), batch["landmarks"][known].double()))
        flat.append(gap[known])
        real_flat.append(gap[~known])
        presence.append((here.cpu() > 0.5).float())
        right.append(((is_right.cpu() > 0.5) == (batch["right"] > 0.5)).float())
    result = {
        "pa": float(torch.cat(pa).mean()) if pa else 0.0,
        "points": float(torch.cat(flat).mean()) if pa else 0.0,
        "presence": float(torch.cat(presence).mean()),
        "right": float(torch.cat(right).mean()),
    }
    real = torch.cat(real_flat)
    if len(real):
        result["real_points"] = float(real.mean())
    result["score"] = result["pa"] + result.get("real_points", 0.0)
    return result


def procrustes(a: Tensor, b: Tensor) -> Tensor:
    """Mean distance (N,) between landmarks (N, 21, 3) after the best rotation, scale and shift of a to b,
    reflections excluded (Umeyama 1991)."""
    a = a - a.mean(1, keepdim=True)
    b = b - b.mean(1, keepdim=True)
    u, s, v = torch.linalg.svd(a.transpose(1, 2) @ b)
    sign = torch.ones_like(s)
    sign[:, 2] = torch.det(u @ v).sign()
    turn = u @ torch.diag_embed(sign) @ v
    scale = (s * sign).sum(1) / a.square().sum((1, 2))
    return (a @ turn * scale[:, None, None] - b).norm(dim=2).mean(1)


@torch.inference_mode()
def check_finder(network: FinderNet, loader: DataLoader, device: str) -> dict[str, float]:
    """Share of hands found (peak within half an extent of the middle MCP), right sides, and false alarms
    per frame at a score of 0.5."""
    found = total = sides = false = frames = 0
    errors = []
    for batch in loader:
        hands = network(batch["image"].to(device)).cpu()
        for n in range(len(hands)):
            frames += 1
            truths = _peaks(batch, n)
            seen = [h for h in hands[n].tolist() if h[0] > 0.5]
            for right, x, y, extent in truths:
                total += 1
                near = [
                    h
                    for h in seen
                    if math.hypot(h[4] - x, (h[5] - y) * network.height / network.width) < extent / 2
                ]
                if near:
                    found += 1
                    best = near[0]
                    sides += (best[1] > 0.5) == (right > 0.5)
                    errors.append(abs(math.log(best[6] / extent)))
            loose = [
                h
                for h in seen
                if not any(
                    math.hypot(h[4] - x, (h[5] - y) * network.height / network.width) < e
                    for _, x, y, e in truths
                )
            ]
            false += len(loose) if batch["known"][n].sum() > 0 or batch["heat"][n].max() == 0 else 0
    result = {"found": found / max(total, 1), "side": sides / max(found, 1), "false": false / max(frames, 1),
              "extent": float(np.mean(errors)) if errors else 9.0}  # fmt: skip
    result["score"] = (
        (1 - result["found"]) + result["false"] + 0.3 * (1 - result["side"]) + 0.3 * result["extent"]
    )
    return result


def _peaks(batch: Batch, n: int) -> list[tuple[float, float, float, float]]:
    """Labelled hands of picture n: right, middle MCP x, y and extent, in the contract's units."""
    heat, known, maps = batch["heat"][n], batch["known"][n], batch["map"][n]
    h, w = heat.shape
    result = []
    for y, x in (heat >= 0.999).nonzero().tolist():
        if known[y, x] > 0:
            mx = (x + 0.5) / w + float(maps[4, y, x])
            my = (y + 0.5) / h + float(maps[5, y, x]) * w / h
            result.append((float(maps[1, y, x]), mx, my, math.exp(float(maps[6, y, x]))))
    return result


def train(
    config: dict[str, Any], training: DataSet, validation: DataSet, settings: Settings
) -> dict[str, float]:
    """Train the network that `config` describes; returns the figures of the best checkpoint.

    Raises:
        TrainError: too little data, weights that do not fit, or a run folder of another network.
    """
    if len(training) < settings.batch or not len(validation):
        raise TrainError(
            f"Too little data: {len(training)} training samples and {len(validation)} for validation; "
            "give more or a smaller --batch."
        )
    if settings.threads:
        torch.set_num_threads(settings.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    work: dict[str, tuple[Any, Any]] = {
        "landmarks": (landmark_loss, check_landmarks),
        "finder": (finder_loss, check_finder),
    }
    network = build(config)
    loss_of, check = work[config["kind"]]
    if settings.start:
        start, its = load_checkpoint(settings.start)
        if its["kind"] != config["kind"]:
            raise TrainError(f"{settings.start} is a checkpoint of a {its['kind']} network: give another.")
        network.load_state_dict(start.state_dict())
    elif settings.backbone != Path("none"):
        load_backbone(network, settings.backbone)
    network.to(device)
    network.to(memory_format=torch.channels_last)
    average = copy.deepcopy(network).eval()
    plain = [p for p in network.parameters() if p.ndim < 2]
    heavy = [p for p in network.parameters() if p.ndim >= 2]
    groups = [{"params": heavy, "weight_decay": 0.02}, {"params": plain, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=settings.rate)
    run = settings.out
    run.mkdir(parents=True, exist_ok=True)
    spent, step, best = 0.0, 0, math.inf
    last, chosen = run / "last.pt", run / f"{config['name']}.safetensors"
    if last.is_file():
        try:
            state = torch.load(last, map_location=device, weights_only=True)
        except Exception as error:  # torch raises many kinds
            raise TrainError(
                f"{last} is damaged: delete it, and --start from the best checkpoint."
            ) from error
        if state["kind"] != config["kind"]:
            raise TrainError(f"{run} holds a run of another network: choose another folder.")
        network.load_state_dict(state["network"])
        average.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
        spent, step, best = state["spent"], state["step"], state["best"]
    loader = DataLoader(training, settings.batch, shuffle=True, drop_last=True, num_workers=settings.workers,
                        persistent_workers=settings.workers > 0, pin_memory=device == "cuda")  # fmt: skip
    quiet = DataLoader(validation, settings.batch, num_workers=0)
    figures: dict[str, float] = {}
    limit = settings.minutes * 60
    mark, checked = time.monotonic(), time.monotonic()
    sums: dict[str, float] = {}
    counted = 0
    low = _bf16_pays(device)
    with tqdm(total=round(limit), initial=round(spent), unit="s", desc=config["kind"]) as bar:
        while spent < limit:
            for batch in loader:
                batch = {k: v.to(device, non_blocking=True) for k, v in batch.items()}
                part = spent / limit
                rate = (
                    settings.rate
                    * min(1.0, (step + 1) / 200)
                    * (0.5 + 0.5 * math.cos(math.pi * min(part, 1.0)) + 0.005)
                )
                for group in optimiser.param_groups:
                    group["lr"] = rate
                network.train()
                x = network.normalise(batch["image"]).contiguous(memory_format=torch.channels_last)
                with torch.autocast(device, torch.bfloat16, enabled=low):
                    losses = loss_of(network, batch, x)
                total = sum(losses.values())
                optimiser.zero_grad(set_to_none=True)
                total.backward()  # type: ignore[union-attr]
                nn.utils.clip_grad_norm_(network.parameters(), 2.0)
                optimiser.step()
                step += 1
                _follow(average, network, min(0.998, (1 + step) / (20 + step)))
                for k, v in losses.items():
                    sums[k] = sums.get(k, 0.0) + float(v.detach())
                counted += 1
                now = time.monotonic()
                spent += now - mark
                mark = now
                bar.update(round(spent) - bar.n)
                if now - checked > settings.check_minutes * 60 or spent >= limit:
                    figures = check(average, quiet, device)
                    if figures["score"] < best:
                        best = figures["score"]
                        note = {
                            **config,
                            "accuracy": {k: round(v, 5) for k, v in figures.items()},
                            "steps": step,
                        }
                        save_checkpoint(average, note, chosen)
                    entry = {
                        "step": step,
                        "minutes": round(spent / 60, 1),
                        "rate": rate,
                        **{k: v / counted for k, v in sums.items()},
                        **{f"val_{k}": v for k, v in figures.items()},
                    }
                    with (run / "log.jsonl").open("a") as log:
                        log.write(json.dumps({k: round(v, 5) for k, v in entry.items()}) + "\n")
                    bar.write(json.dumps({k: round(v, 4) for k, v in entry.items()}))
                    sums, counted = {}, 0
                    partial = last.with_suffix(".partial")
                    state = {
                        "kind": config["kind"],
                        "network": network.state_dict(),
                        "average": average.state_dict(),
                        "optimiser": optimiser.state_dict(),
                        "spent": spent,
                        "step": step,
                        "best": best,
                    }
                    torch.save(state, partial)
                    partial.replace(last)
                    checked = mark = time.monotonic()
                if spent >= limit:
                    break
    if chosen.is_file():
        figures = load_checkpoint(chosen)[1].get("accuracy", figures)
    return figures


def _bf16_pays(device: str) -> bool:
    """On GPUs, and on processors that compute in it; elsewhere it is emulated and slow."""
    if device == "cuda":
        return True
    try:
        able = torch.ops.mkldnn._is_mkldnn_bf16_supported()  # private: another torch may lack it
    except (AttributeError, RuntimeError):
        return False
    return bool(able) and torch.backends.cpu.get_cpu_capability() == "AVX512"


@torch.no_grad()
def _follow(average: nn.Module, network: nn.Module, keep: float) -> None:
    """Exponential moving average of weights and batch statistics."""
    for a, b in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        if a.is_floating_point():
            a.lerp_(b, 1 - keep)
        else:
            a.copy_(b)
