"""What a fit of postures is worth: the paper's figures 9, 10 and 14 as numbers, held-out confusion, margins,
and the joint-angle rule as a baseline to beat.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import silhouette_score
from threadpoolctl import threadpool_limits

from handcoach.exercise import margins
from handcoach.hand import FINGERS
from handcoach_train.posture.clusters import Fit, counts, folds, kmeans_of

MOST_K = 10  # of the elbow curve, the paper's figure 9
MOST_ROWS = 2000  # of the elbow and the silhouette, which compares every frame with every other

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Study:
    """Everything that is measured of a fit, on the frames that it was fitted on unless "held out".

    Attributes:
        labels: best first. clusters: label of cluster 0 .. K-1.
        joints_count: bool (21,), of the exercise.
        inertia, silhouette: float64 (M,) for 1 .. M clusters; silhouette is NaN for one cluster.
        elbow: number of clusters by `elbow`. roundest: number with the best silhouette.
        distances: of each cluster (n, 21), wrist to landmark in hand units. centroids: (K, 21), the same.
        explained: (K, 21), `explained`; NaN where a landmark does not vary.
        confusion: truth, then judged, of held-out frames. held_out_by: session or block. accuracy: the mean
            of the labels' shares.
        margins: of each label (n,), of the frames that lie in a cluster of theirs.
        flexion: of each label (n,), `summed_flexion` in degrees. angle_accuracy: of the joint-angle rule, on
            the same held-out frames.
    """

    labels: tuple[str, ...]
    clusters: tuple[str, ...]
    joints_count: NDArray[np.bool_]
    inertia: Floats
    silhouette: Floats
    elbow: int
    roundest: int
    distances: tuple[Floats, ...]
    centroids: Floats
    explained: Floats
    confusion: dict[str, dict[str, int]]
    held_out_by: str
    accuracy: float
    margins: dict[str, Floats]
    flexion: dict[str, Floats]
    angle_accuracy: float

    def named(self, names: Mapping[str, str]) -> Study:
        """The same with what people call the labels, for its pictures; names that are all different."""

        def of(label: str) -> str:
            return names.get(label, label)

        return replace(
            self,
            labels=tuple(map(of, self.labels)),
            clusters=tuple(map(of, self.clusters)),
            confusion={of(a): {of(b): n for b, n in row.items()} for a, row in self.confusion.items()},
            margins={of(label): values for label, values in self.margins.items()},
            flexion={of(label): values for label, values in self.flexion.items()},
        )

    def as_json(self) -> dict[str, Any]:
        """Its figures, rounded, without what is there for every frame."""
        names = [f"{k} {label}" for k, label in enumerate(self.clusters)]
        return {
            "inertia": self.inertia.round(2).tolist(),
            "silhouette": [None if np.isnan(v) else round(float(v), 4) for v in self.silhouette],
            "clusters": {"elbow": self.elbow, "silhouette": self.roundest, "labels": len(self.labels)},
            "wrist_distance": dict(zip(names, self.centroids.round(4).tolist(), strict=True)),
            "explained": {
                name: [None if np.isnan(v) else round(float(v), 4) for v in row]
                for name, row in zip(names, self.explained, strict=True)
            },
            "confusion_held_out": self.confusion,
            "held_out_by": self.held_out_by,
            "accuracy_held_out": round(self.accuracy, 4),
            "angle_rule_held_out": round(self.angle_accuracy, 4),
            "margin_median": {
                label: round(float(np.median(m)), 4) for label, m in self.margins.items() if len(m)
            },
        }  # fmt: skip


def study(
    fit: Fit,
    recording: Mapping[str, NDArray[np.floating]],
    groups: Mapping[str, NDArray[np.integer]] | None = None,
) -> Study:
    """Measure a fit.

    Args:
        recording: canonical landmarks (N, 21, 3) of each label, those of the fit.
        groups: sessions, as given to the fit.
    """
    frame, estimator = fit.pipeline[0], fit.pipeline[1]
    features = {label: frame.transform(recording[label]) for label in fit.labels}
    rows = np.concatenate(list(features.values()))
    inertia, silhouette = curves(rows, int(fit.quality["seed"]))
    away = {label: estimator.transform(x) for label, x in features.items()}
    nearest = np.concatenate([d.argmin(1) for d in away.values()])
    # What pictures show is the hand itself, before directions were weighed.
    plain = {label: frame.plain(recording[label]) for label in fit.labels}
    hands = np.concatenate(list(plain.values()))[:, :63].reshape(-1, 21, 3).astype(np.float64)
    wrist = np.linalg.norm(hands, axis=-1)
    centres = estimator.cluster_centers_.astype(np.float64)
    if frame.mix is not None:
        centres = np.linalg.solve(frame.mix.T, centres.T).T
    centres = centres[:, :63].reshape(-1, 21, 3)
    names = np.asarray(fit.clusters)
    fold_of = folds(features, groups)
    flexion = {label: summed_flexion(recording[label], frame.fingers) for label in fit.labels}
    return Study(
        labels=fit.labels,
        clusters=fit.clusters,
        joints_count=counts(frame.fingers),
        inertia=inertia,
        silhouette=silhouette,
        elbow=elbow(inertia),
        roundest=1 + int(np.nan_to_num(silhouette, nan=-1.0).argmax()),  # one cluster has none
        distances=tuple(wrist[nearest == k] for k in range(len(fit.clusters))),
        centroids=np.linalg.norm(centres, axis=-1),
        explained=explained(hands, nearest, centres),
        confusion=fit.quality["confusion_held_out"],
        held_out_by=fit.quality["held_out_by"],
        accuracy=fit.quality["accuracy_held_out"],
        margins={label: margins(d, fit.clusters)[names[d.argmin(1)] == label] for label, d in away.items()},
        flexion=flexion,
        angle_accuracy=angle_rule(flexion, fold_of),
    )


def curves(rows: NDArray[np.floating], seed: int = 0) -> tuple[Floats, Floats]:
    """Inertia and silhouette (M,) of 1 .. M clusters over features (N, D); of every so many rows, if many."""
    rows = np.asarray(rows[:: -(-len(rows) // MOST_ROWS)], np.float32)
    inertia, silhouette = [], []
    with threadpool_limits(1):
        for k in range(1, min(MOST_K, len(rows) - 1, len(np.unique(rows, axis=0))) + 1):
            found = kmeans_of(rows, k, seed)
            inertia.append(float(found.inertia_))
            silhouette.append(float(silhouette_score(rows, found.labels_)) if k > 1 else np.nan)
    return np.array(inertia), np.array(silhouette)


def elbow(inertia: NDArray[np.floating]) -> int:
    """Number of clusters at the elbow of an inertia curve for 1, 2, ... clusters.

    The rule: the point furthest below the straight line from the curve's first to its last point, both axes
    scaled to 0..1 (Satopää et al. 2011, "Kneedle", without smoothing).
    """
    inertia = np.asarray(inertia, np.float64)
    fallen = (inertia - inertia[-1]) / max(float(inertia[0] - inertia[-1]), 1e-12)
    return 1 + int((1 - np.linspace(0, 1, len(inertia)) - fallen).argmax())


def explained(hands: Floats, cluster: NDArray[np.integer], centres: Floats) -> Floats:
    """Variance explained (paper eq. 8), (K, 21): 1 - S_within / S_total of each cluster and landmark.

    S_within sums the squared distances of the cluster's frames to its centroid, S_total those of the same
    frames to the mean of all frames. A cluster in the middle of the others therefore explains less.

    Args:
        hands: (N, 21, 3) in the hand frame. cluster: (N,). centres: (K, 21, 3).
    """
    result = np.full(centres.shape[:2], np.nan)
    mean = hands.mean(0)
    for k, centre in enumerate(centres):
        mine = hands[cluster == k]
        within = ((mine - centre) ** 2).sum((0, 2))
        total = ((mine - mean) ** 2).sum((0, 2))
        np.divide(total - within, total, out=result[k], where=total > 1e-9 * max(len(mine), 1))
    return result


def summed_flexion(landmarks: NDArray[np.floating], fingers: Sequence[str] = FINGERS) -> Floats:
    """Degrees (N,) by which the joints of these fingers are bent, summed: MCP, PIP and DIP, each the angle
    between the bones on its two sides. Without the thumb, unless it is the only one that counts."""
    points = np.asarray(landmarks, np.float64)
    used = [f for f in FINGERS if f in fingers and f != "thumb"] or ["thumb"]
    total = np.zeros(len(points))
    for finger in used:
        first = 1 + 4 * FINGERS.index(finger)
        bones = np.diff(points[:, [0, *range(first, first + 4)]], axis=1)
        bones /= np.maximum(np.linalg.norm(bones, axis=-1, keepdims=True), 1e-9)
        total += np.degrees(np.arccos(np.clip((bones[:, 1:] * bones[:, :-1]).sum(-1), -1, 1))).sum(1)
    return total


def angle_rule(flexion: Mapping[str, Floats], fold_of: Mapping[str, NDArray[np.integer]]) -> float:
    """Share of held-out frames (the mean of the labels' shares) whose summed flexion is nearest to their
    label's mean: the plain rule that clusters have to beat."""
    right = {label: 0 for label in flexion}
    for fold in range(1 + max(int(numbers.max()) for numbers in fold_of.values())):
        means = np.array([values[fold_of[label] != fold].mean() for label, values in flexion.items()])
        for i, (label, values) in enumerate(flexion.items()):
            test = values[fold_of[label] == fold]
            right[label] += int((np.abs(test[:, None] - means).argmin(1) == i).sum())
    return float(np.mean([right[label] / len(values) for label, values in flexion.items()]))
