"""The pictures of a `Study`: the paper's figures 9, 10 and 14, and what the paper does not show.

Their words are those of `locale/studio`, since a therapist reads them in the studio.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np

from handcoach.hand import JOINTS
from handcoach.texts import Texts
from handcoach_train.posture.study import Study

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

# Okabe & Ito: told apart by everybody. Red is kept for the centroids.
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#000000")
RED = "#d00000"
ENGLISH = Texts("en", "studio")
MOST_FRAMES = 250  # of a cluster that are drawn as lines


def draw_all(study: Study, folder: Path, texts: Texts = ENGLISH) -> dict[str, Path]:
    """Every picture into a folder that exists; name to file."""
    drawn = {
        "elbow": elbow(study, texts),
        "distances": distances(study, texts),
        "explained": explained(study, texts),
        "confusion": confusion(study, texts),
        "margins": margin_histogram(study, texts),
        "angles": angles(study, texts),
    }
    return {name: save(figure, folder / f"{name}.png") for name, figure in drawn.items()}


def save(figure: Figure, path: Path) -> Path:
    beside = path.with_name(f".{path.name}")
    figure.savefig(beside, dpi=110, format="png", bbox_inches="tight")
    plt.close(figure)
    beside.replace(path)
    return path


def elbow(study: Study, texts: Texts = ENGLISH) -> Figure:
    """Figure 9: inertia by the number of clusters, its elbow, and the silhouette beside it."""
    k = np.arange(1, len(study.inertia) + 1)
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    left.plot(k, study.inertia, "o-", color=COLOURS[0])
    left.plot(k[[0, -1]], study.inertia[[0, -1]], ":", color="grey", label=texts("fig_line"))
    left.plot(study.elbow, study.inertia[study.elbow - 1], "o", ms=14, mfc="none", mec=RED, mew=2,
              label=texts("fig_elbow_at", k=study.elbow))  # fmt: skip
    left.axvline(
        len(study.labels), color="grey", ls="--", lw=1, label=texts("fig_postures", k=len(study.labels))
    )
    left.set(xlabel=texts("fig_clusters"), ylabel=texts("fig_inertia"), title=texts("fig_elbow"), xticks=k)
    right.plot(k, study.silhouette, "o-", color=COLOURS[2])
    right.plot(study.roundest, study.silhouette[study.roundest - 1], "o", ms=14, mfc="none", mec=RED, mew=2,
               label=texts("fig_highest", k=study.roundest))  # fmt: skip
    right.set(xlabel=texts("fig_clusters"), ylabel=texts("fig_silhouette_mean"),
              title=texts("fig_silhouette"), xticks=k, xlim=(0.5, k[-1] + 0.5))  # fmt: skip
    for axes in (left, right):
        axes.legend(frameon=False)
    return figure


def distances(study: Study, texts: Texts = ENGLISH) -> Figure:
    """Figure 10: wrist to landmark, a line for every frame of a cluster and the centroid in red."""
    count = len(study.clusters)
    columns = min(3, count)
    rows = -(-count // columns)
    figure, grid = plt.subplots(rows, columns, figsize=(4.4 * columns, 3.4 * rows), sharey=True,
                                squeeze=False, layout="constrained")  # fmt: skip
    joints = np.flatnonzero(study.joints_count)
    for k, axes in enumerate(grid.flat):
        if k >= count:
            axes.axis("off")
            continue
        mine = study.distances[k]
        step = max(1, -(-len(mine) // MOST_FRAMES))
        colour = COLOURS[study.labels.index(study.clusters[k]) % len(COLOURS)]
        axes.plot(range(len(joints)), mine[::step][:, joints].T, color=colour, alpha=0.15, lw=0.6)
        axes.plot(
            range(len(joints)),
            study.centroids[k][joints],
            "o-",
            color=RED,
            ms=4,
            lw=1.8,
            label=texts("fig_centroid"),
        )
        axes.set_title(texts("fig_cluster", k=k, label=study.clusters[k], n=len(mine)))
        _name_joints(axes, joints, texts)
    grid[0, 0].set_ylabel(texts("fig_from_wrist"))
    grid[0, 0].legend(frameon=False)
    return figure


def explained(study: Study, texts: Texts = ENGLISH) -> Figure:
    """Figure 14: variance explained (eq. 8) of every cluster and landmark as a heat map."""
    joints = np.flatnonzero(study.joints_count)
    figure, axes = plt.subplots(figsize=(11, 1.2 + 0.55 * len(study.clusters)), layout="constrained")
    values = 100 * study.explained[:, joints]
    image = axes.imshow(values, cmap="viridis", vmin=0, vmax=100, aspect="auto")
    for k, row in enumerate(values):
        for j, value in enumerate(row):
            if not np.isnan(value):
                axes.text(j, k, f"{value:.0f}", ha="center", va="center", fontsize=7,
                          color="black" if value > 60 else "white")  # fmt: skip
    axes.set_yticks(range(len(study.clusters)), [f"{k}: {label}" for k, label in enumerate(study.clusters)])
    _name_joints(axes, joints, texts)
    axes.set_title(texts("fig_explained"))
    figure.colorbar(image, ax=axes, pad=0.01)
    return figure


def confusion(study: Study, texts: Texts = ENGLISH) -> Figure:
    """Frames that the centroids did not see: recorded posture by judged posture."""
    counts = np.array([[study.confusion[a][b] for b in study.labels] for a in study.labels])
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    size = 2.4 + 0.8 * len(study.labels)
    figure, axes = plt.subplots(figsize=(size + 1, size), layout="constrained")
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for (i, j), count in np.ndenumerate(counts):
        axes.text(j, i, f"{count}\n{share[i, j]:.1%}", ha="center", va="center",
                  color="white" if share[i, j] > 0.5 else "black")  # fmt: skip
    axes.set_xticks(range(len(study.labels)), study.labels)
    axes.set_yticks(range(len(study.labels)), study.labels)
    title = texts("fig_right", share=study.accuracy) + "\n" + texts(f"fig_by_{study.held_out_by}")
    axes.set(xlabel=texts("fig_judged"), ylabel=texts("fig_recorded"), title=title)
    return figure


def margin_histogram(study: Study, texts: Texts = ENGLISH) -> Figure:
    """How clearly the frames belong to their posture: 0 on the border, 1 on a centroid."""
    figure, axes = plt.subplots(figsize=(6.5, 3.4), layout="constrained")
    for i, (label, values) in enumerate(study.margins.items()):
        axes.hist(values, bins=np.linspace(0, 1, 41).tolist(), histtype="step", lw=2,
                  color=COLOURS[i % len(COLOURS)], label=label)  # fmt: skip
    axes.set(xlabel=texts("fig_margin"), ylabel=texts("fig_frames"), title=texts("fig_margins"))
    axes.legend(frameon=False)
    return figure


def angles(study: Study, texts: Texts = ENGLISH) -> Figure:
    """The baseline to beat: the fingers' summed flexion."""
    figure, axes = plt.subplots(figsize=(6.5, 3.4), layout="constrained")
    edges = np.linspace(0, max(float(v.max()) for v in study.flexion.values()) * 1.02, 41)
    for i, (label, values) in enumerate(study.flexion.items()):
        axes.hist(
            values, bins=edges.tolist(), histtype="step", lw=2, color=COLOURS[i % len(COLOURS)], label=label
        )
    title = texts("fig_angles", angles=study.angle_accuracy, clusters=study.accuracy)
    axes.set(xlabel=texts("fig_flexion"), ylabel=texts("fig_frames"), title=title)
    axes.legend(frameon=False)
    return figure


def _name_joints(axes, joints, texts: Texts) -> None:
    names = [texts(f"joint_{JOINTS[j]}") for j in joints]
    axes.set_xticks(range(len(joints)), names, rotation=90, fontsize=7)
