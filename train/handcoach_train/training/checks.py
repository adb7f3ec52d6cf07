"""What is measured on validation data: a row for each picture, then figures, of which `score` (lower is
better) chooses the checkpoint."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from handcoach_train.networks import FinderNet
from handcoach_train.training.losses import PEAK, Batch, Outputs, flexion

Rows = dict[str, Tensor]  # (N,) each; NaN where it does not apply


def landmark_rows(outputs: Outputs, batch: Batch) -> Rows:
    """For each picture: distance of landmarks after Procrustes (hands' units) to the truth and to what was
    guessed of photographs, distance of points (units of the cut-out) on renders and on photographs, whether
    the fingers of a photograph's hand bend back on the whole, and whether presence and side were right."""
    landmarks, points, flags = outputs
    known = batch["known3d"] > 0
    gap = (points - batch["points"]).norm(dim=2).mean(1)
    pa, lifted = torch.full_like(gap, torch.nan), torch.full_like(gap, torch.nan)
    for row, which in ((pa, known), (lifted, batch["lifted"] > 0)):
        if which.any():
            row[which] = procrustes(landmarks[which].double(), batch["landmarks"][which].double()).float()
    nothing = torch.full_like(gap, torch.nan)
    # No photograph's depth is known, but nearly nobody's fingers bend back: such a fist is read inside out.
    back = (flexion(landmarks.float(), batch["right"])[0].mean((1, 2)) < 0).float()
    return {
        "pa": pa,
        "lifted": lifted,
        "points": torch.where(known, gap, nothing),
        "real_points": torch.where(known, nothing, gap),
        "inside_out": torch.where(known, nothing, back),
        "presence": ((flags[:, 0] > 0) == (batch["presence"] > 0.5)).float(),
        "right": ((flags[:, 1] > 0) == (batch["right"] > 0.5)).float(),
    }


def landmark_figures(rows: Rows) -> dict[str, float]:
    """Means; `real_points`, `inside_out` and `lifted` only where there are such photographs. Guesses choose
    nothing."""
    figures = {k: float(torch.nanmean(v)) for k, v in rows.items() if not v.isnan().all()}
    return {**figures, "score": figures.get("pa", 0.0) + figures.get("real_points", 0.0)}


def procrustes(a: Tensor, b: Tensor) -> Tensor:
    """Mean distance (N,) between landmarks (N, 21, 3) after the best rotation, scale and shift of a to b,
    reflections excluded (Umeyama 1991). On the device, where `metrics` is numpy."""
    a = a - a.mean(1, keepdim=True)
    b = b - b.mean(1, keepdim=True)
    u, s, v = torch.linalg.svd(a.transpose(1, 2) @ b)
    sign = torch.ones_like(s)
    sign[:, 2] = torch.det(u @ v).sign()
    turn = u @ torch.diag_embed(sign) @ v
    scale = (s * sign).sum(1) / a.square().sum((1, 2))
    return (a @ turn * scale[:, None, None] - b).norm(dim=2).mean(1)


def finder_rows(network: FinderNet, maps: Tensor, batch: Batch) -> Rows:
    """For each picture: hands in it, those found (a peak within half an extent of the middle MCP), those of
    them whose side is right, the sum of their errors of log extent, and false alarms, at a score of 0.5."""
    hands = network.decode(maps).cpu()
    aspect = network.height / network.width
    rows = torch.zeros(len(hands), 5)
    for n in range(len(hands)):
        truths = _peaks(batch, n)
        seen = [h for h in hands[n].tolist() if h[0] > 0.5]

        def gap(h: list[float], truth: tuple[float, float, float, float]) -> float:
            return math.hypot(h[4] - truth[1], (h[5] - truth[2]) * aspect)

        rows[n, 0] = len(truths)
        for truth in truths:
            near = [h for h in seen if gap(h, truth) < truth[3] / 2]
            if near:
                rows[n, 1] += 1
                rows[n, 2] += (near[0][1] > 0.5) == (truth[0] > 0.5)
                rows[n, 3] += abs(math.log(near[0][6] / truth[3]))
        # Where a hand's place is unknown, an alarm may be that hand.
        if not ((batch["heat"][n] >= PEAK) & (batch["known"][n] == 0)).any():
            rows[n, 4] = len([h for h in seen if not any(gap(h, t) < t[3] for t in truths)])
    return dict(zip(("hands", "found", "side", "extent", "false"), rows.T, strict=True))


def finder_figures(rows: Rows) -> dict[str, float]:
    """Share of hands found, of right sides, mean error of log extent, false alarms per frame."""
    total = {k: float(v.sum()) for k, v in rows.items()}
    found = total["found"] / max(total["hands"], 1)
    side = total["side"] / max(total["found"], 1)
    extent = total["extent"] / total["found"] if total["found"] else 9.0
    false = total["false"] / max(len(rows["false"]), 1)
    score = (1 - found) + false + 0.3 * (1 - side) + 0.3 * extent
    return {"found": found, "side": side, "extent": extent, "false": false, "score": score}


def _peaks(batch: Batch, n: int) -> list[tuple[float, float, float, float]]:
    """Labelled hands of picture n: right, middle MCP x, y and extent, in the contract's units."""
    heat, known, maps = batch["heat"][n], batch["known"][n], batch["map"][n]
    h, w = heat.shape
    result = []
    for y, x in np.argwhere(heat.cpu().numpy() >= PEAK).tolist():
        if known[y, x] > 0:
            mx = (x + 0.5) / w + float(maps[4, y, x])
            my = (y + 0.5) / h + float(maps[5, y, x]) * w / h
            result.append((float(maps[1, y, x]), mx, my, math.exp(float(maps[6, y, x]))))
    return result
