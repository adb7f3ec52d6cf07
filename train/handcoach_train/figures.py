"""The drawings of an evaluation: the paper's figures 11 to 13, the PCK curve and the worst cases.

They are drawn from what `evaluate` gives, without a display.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import matplotlib
import numpy as np
from numpy.typing import NDArray

from handcoach.hand import BONES, FINGERS, JOINTS
from handcoach_train import metrics
from handcoach_train.data.samples import read_image
from handcoach_train.errors import TrainError
from handcoach_train.posture.figures import save

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

if TYPE_CHECKING:
    from handcoach_train.evaluate import Part

# Okabe & Ito: told apart by everybody. Wrist, then thumb to little finger.
COLOURS = ("#000000", "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00")
TRUE, SAID = "#009e73", "#d55e00"
# An open right hand, palm up, for drawing figures on: wrist, then the joints of every finger outwards.
_BASES = ((0.62, 0.30), (0.66, 1.0), (0.40, 1.05), (0.14, 1.0), (-0.12, 0.88))
_TIPS = ((1.22, 0.98), (0.86, 1.92), (0.46, 2.06), (0.02, 1.94), (-0.40, 1.62))
OUTLINE = np.array([(0.35, 0.0)] + [
    np.array(a) + k * (np.array(b) - a) for a, b in zip(_BASES, _TIPS, strict=True)
    for k in (0.0, 0.42, 0.72, 1.0)
])  # fmt: skip
WORST = 12
SIDE = 300  # of each of them, in pixels
POINTS = 4000  # of the scatter: more only make the file large
X = ("epoch", "minutes", "step")  # of the losses: the first that a log has
SHARES = ("presence", "right", "inside_out", "found", "side")  # of training's checks: no losses


def finger_of(joint: int) -> int:
    """0 for the wrist, 1 to 5 for thumb to little finger."""
    return 0 if joint == 0 else 1 + (joint - 1) // 4


def draw_all(
    out: Path, content: Mapping[str, Any], parts: Sequence[Part], losses: dict[str, Any] | None = None
) -> list[Path]:
    """Every figure into a folder, for the test split, or the last where there is none.

    Args:
        content, parts: what `evaluate` gave.
        losses: what `read_losses` gave.
    """
    split = "test" if "test" in content["splits"] else list(content["splits"])[-1]
    chosen = [part for part in parts if part.split == split]
    figures = {
        "figure-12-r2-per-landmark": r2_on_a_hand(content["splits"][split], split),
        "figure-13-actual-predicted": actual_predicted(chosen, split),
        "pck": pck(content),
        "worst": worst(chosen, split),
    }
    if losses is not None:
        figures = {"figure-11-losses": draw_losses(losses)} | figures
    groups = draw_groups(content, split)
    if groups is not None:
        figures["groups"] = groups
    return [save(figure, out / f"{name}.png") for name, figure in figures.items()]


# --- figure 11 ---


def read_losses(run: Path) -> dict[str, Any]:
    """What a training wrote of its losses in log.jsonl.

    Returns:
        {"x": name of the axis, "training": {name: [(x, y), ...]}, "validation": the same}

    Raises:
        TrainError: the folder holds no such file, or a damaged one.
    """
    log = run / "log.jsonl"
    try:
        entries = [json.loads(line) for line in log.read_text().splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise TrainError(f"{log} cannot be read: give the folder of a training run.") from error
    # By the clock an epoch may be the whole training: then it says nothing.
    x = next((key for key in X if len({entry.get(key) for entry in entries}) > 1), "entry")
    result: dict[str, Any] = {"x": x, "training": {}, "validation": {}}
    for number, entry in enumerate(entries):
        for key, value in entry.items():
            kind, name = ("validation", key[4:]) if key.startswith("val_") else ("training", key)
            other = key in (*X, "rate") or (kind == "validation" and name in SHARES)
            if other or not isinstance(value, (int, float)):
                continue
            result[kind].setdefault(name, []).append((entry.get(x, number), value))
    return result


def draw_losses(losses: Mapping[str, Any]) -> Figure:
    """Figure 11: losses over the training, on a logarithmic scale."""
    figure, axes = plt.subplots(1, 2, figsize=(11, 4))
    for axis, kind in zip(axes, ("training", "validation"), strict=True):
        for name, points in losses[kind].items():
            x, y = np.array(sorted(points)).T
            axis.plot(x, y, marker="." if len(x) < 40 else None, label=name)
        axis.set(title=kind, xlabel=losses["x"], yscale="log")
        axis.grid(alpha=0.3, which="both")
        if losses[kind]:
            axis.legend(fontsize=8)
    return figure


# --- figure 12 ---


def r2_on_a_hand(whole: Mapping[str, Any], split: str) -> Figure:
    """Figure 12: R2 of each landmark, as bars, and on a drawn hand."""
    figure, (bars, hand) = plt.subplots(1, 2, figsize=(13, 5), width_ratios=(3, 2))
    exact, jittered = (np.array(whole[crop]["r2_per_landmark"]) for crop in ("exact", "jittered"))
    names = [name.replace("_", " ") for name in JOINTS]
    colours = [COLOURS[finger_of(j)] for j in range(21)]
    bars.bar(np.arange(21), exact, color=colours, label="cut-out from the truth")
    bars.plot(np.arange(21), jittered, "_", color="#666666", ms=12, mew=2, label="jittered cut-out")
    bars.set_xticks(np.arange(21), names, rotation=60, ha="right", fontsize=8)
    low = min(exact[1:].min(), jittered[1:].min())
    bars.set(ylabel="R²", ylim=(max(-0.1, min(0.9, low - 0.05)), 1.005))
    bars.set_title(
        f"{split}: R² {whole['exact']['r2']:.4f}, without the wrist {whole['exact']['r2_without_wrist']:.4f}"
        f" (jittered {whole['jittered']['r2_without_wrist']:.4f})", fontsize=10,
    )  # fmt: skip
    bars.grid(axis="y", alpha=0.3)
    bars.legend(fontsize=8, loc="lower right")
    for a, b in BONES:
        hand.plot(*OUTLINE[[a, b]].T, color="#bbbbbb", lw=3, zorder=1)
    dots = hand.scatter(*OUTLINE[1:].T, c=exact[1:], cmap="viridis", s=420, zorder=2, vmax=1)
    dark = dots.norm(exact) < 0.6
    for j in range(1, 21):
        hand.annotate(f"{100 * exact[j]:.0f}", OUTLINE[j], ha="center", va="center", fontsize=8,
                      color="white" if dark[j] else "black")  # fmt: skip
    hand.scatter(*OUTLINE[0], color="#bbbbbb", s=200, zorder=2)
    hand.annotate("wrist: the origin", OUTLINE[0] - [0, 0.17], ha="center", fontsize=8)
    hand.set(title="100 R² of each landmark", aspect="equal")
    hand.set(xlim=(-0.7, 1.5), ylim=(-0.3, 2.3))
    hand.axis("off")
    return figure


# --- figure 13 ---


def actual_predicted(parts: Sequence[Part], split: str) -> Figure:
    """Figure 13: predicted against actual coordinates of the landmarks, for each axis."""
    figure, axes = plt.subplots(1, 3, figsize=(13, 4.5))
    said = np.concatenate([p.predicted["exact"].said for p in parts])[:, 1:].reshape(-1, 3)
    truth = np.concatenate([p.predicted["exact"].truth for p in parts])[:, 1:].reshape(-1, 3)
    finger = np.tile([finger_of(j) for j in range(1, 21)], len(said) // 20)
    some = np.random.default_rng(0).permutation(len(said))[:POINTS]
    for i, (axis, name) in enumerate(
        zip(axes, ("x, right", "y, down", "z, away from the camera"), strict=True)
    ):
        colours = np.array(COLOURS)[finger[some]]
        axis.scatter(truth[some, i], said[some, i], c=colours, s=3, alpha=0.5, linewidths=0)
        both = np.array([truth[some, i], said[some, i]])
        ends = both.min(), both.max()
        axis.plot(ends, ends, color="black", lw=0.8)
        error, spread = ((said - truth)[:, i] ** 2).sum(), ((truth[:, i] - truth[:, i].mean()) ** 2).sum()
        axis.set(title=f"{name}: R² {1 - error / spread:.4f}", xlabel="actual", aspect="equal")
        axis.grid(alpha=0.3)
    axes[0].set_ylabel(f"predicted ({split}), wrist to middle MCP is 1")
    handles = [
        Line2D([], [], marker="o", ls="", color=COLOURS[1 + i], label=f) for i, f in enumerate(FINGERS)
    ]
    axes[2].legend(handles=handles, fontsize=8, loc="lower right")
    return figure


# --- PCK ---


def pck(content: Mapping[str, Any]) -> Figure:
    """Share of joints within a distance, root-aligned, for each split and kind of cut-out."""
    mm = all("pck_mm" in r for crops in content["splits"].values() for r in crops.values())
    key, area = ("pck_mm", "auc_mm") if mm else ("pck", "auc")
    figure, axis = plt.subplots(figsize=(6.5, 4.5))
    for i, (split, crops) in enumerate(content["splits"].items()):
        for crop, r in crops.items():
            axis.plot(
                content["thresholds"][key], r[key], color=COLOURS[1 + i % 5],
                ls="-" if crop == "exact" else "--", label=f"{split}, {crop}: AUC {r[area]:.3f}",
            )  # fmt: skip
    axis.set(
        xlabel="distance, wrists together, " + ("mm" if mm else "wrist to middle MCP is 1"),
        ylabel="share of joints (PCK)", ylim=(0, 1.01), xlim=(0, content["thresholds"][key][-1]),
    )  # fmt: skip
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    return figure


# --- groups ---


def draw_groups(content: Mapping[str, Any], split: str) -> Figure | None:
    """Mean PA-MPJPE by what is known of the hands, all data sets of one split; None where nothing is."""
    rows: list[tuple[str, float, int, str]] = []
    for dataset, splits in content["datasets"].items():
        for key, names in splits.get(split, {}).get("jittered", {}).get("groups", {}).items():
            if len(names) < 2:
                continue
            for name, r in names.items():
                value = r["pa_mpjpe_mm"]["mean"] if "pa_mpjpe_mm" in r else r["pa_mpjpe"]["mean"]
                rows.append((f"{dataset}: {key} {name}", value, r["hands"], key))
    if not rows:
        return None
    figure, axis = plt.subplots(figsize=(8, 0.6 + 0.26 * len(rows)))
    keys = list(dict.fromkeys(key for *_, key in rows))
    for y, (_, value, hands, key) in enumerate(rows):
        axis.barh(y, value, color=COLOURS[1 + keys.index(key) % 5])
        axis.annotate(f" {value:.3g} ({hands})", (value, y), va="center", fontsize=7)
    axis.set_yticks(range(len(rows)), [row[0] for row in rows], fontsize=7)
    axis.invert_yaxis()
    axis.margins(x=0.15)
    axis.set(xlabel=f"mean PA-MPJPE ({split}, jittered cut-outs; hands)")
    return figure


# --- worst cases ---


def worst(parts: Sequence[Part], split: str) -> Figure:
    """The cut-outs with the largest PA-MPJPE (jittered), truth and prediction drawn in them.

    A prediction has no place in the picture: it is drawn where its x and y fit the true points best.
    """
    off = [(metrics.pa_mpjpe(p.predicted["jittered"].said, p.predicted["jittered"].truth), p) for p in parts]
    rows = [(float(error), part, i) for errors, part in off for i, error in enumerate(errors)]
    rows = sorted(rows, key=lambda row: -row[0])[:WORST]
    columns = 4
    lines = -(-len(rows) // columns)
    size = (3 * columns, 3.3 * lines)
    figure, axes = plt.subplots(lines, columns, squeeze=False, figsize=size, layout="constrained")
    for axis in axes.flat:
        axis.axis("off")
    for axis, (error, part, i) in zip(axes.flat, rows, strict=False):
        p = part.predicted["jittered"]
        axis.imshow(_drawn(part, i))
        mm = f" = {1000 * error * p.scale[i]:.0f} mm" if np.isfinite(p.scale[i]) else ""
        file = part.samples.files[i]
        axis.set_title(f"{part.dataset} {'/'.join(file.parts[-3:])}\nPA {error:.2f}{mm}", fontsize=6)
    figure.suptitle(f"worst of {split}: truth green, prediction orange", fontsize=10)
    return figure


def _drawn(part: Part, i: int) -> NDArray[np.uint8]:
    """The cut-out of one hand with both skeletons, (SIDE, SIDE, 3)."""
    p = part.predicted["jittered"]
    crop = p.crops[i]
    picture = np.ascontiguousarray(crop.cut(read_image(part.samples.files[i]), SIDE))
    true = crop.to_unit(part.samples.points[i]) * SIDE
    said = _fitted(p.said[i], p.truth[i], true)
    for points, colour in ((true, TRUE), (said, SAID)):
        rgb = tuple(int(colour[k : k + 2], 16) for k in (1, 3, 5))
        for a, b in BONES:
            ends = [tuple(int(v) for v in np.clip(points[j], -999, 999).round()) for j in (a, b)]
            cv2.line(picture, ends[0], ends[1], rgb, 2, cv2.LINE_AA)
    return picture


def _fitted(
    said: NDArray[np.floating], truth: NDArray[np.floating], points: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Image points (21, 2) of a prediction, by the affine map that takes the true landmarks to theirs."""
    known = np.hstack([truth, np.ones((21, 1))]).astype(np.float64)
    to_picture, *_ = np.linalg.lstsq(known, points.astype(np.float64), rcond=None)
    return np.asarray(np.hstack([said, np.ones((21, 1))]) @ to_picture)
