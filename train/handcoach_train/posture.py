"""Postures from landmarks: the hand frame and k-means of the paper's section 5.2, in scikit-learn.

The ids of k-means clusters are arbitrary, so a fit always carries the map from cluster to label, and
everything outside this module speaks of labels. No torch in here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.cluster import KMeans
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from handcoach.errors import HandCoachError
from handcoach.exercise import margins
from handcoach.hand import Array, hand_frame

# One start merged two postures in 1 of 8 seeds (inertia 378 against 136 on the paper's data).
N_INIT = 10
# A cluster with fewer of its frames from one label than this does not stand for that label.
MIN_PURITY = 0.9
MIN_FRAMES = 20
# A posture is "unsure" beyond HEADROOM times this percentile of the recorded distances, or beyond the
# distance between the two closest labels if that is larger: another person's hand lies farther from the
# centroids than the recorded one (on the paper's two people p99 grows by about a tenth).
DISTANCE_PERCENTILE, HEADROOM = 99.0, 1.5
# Frames that the paper's clusters get wrong have a median margin of 0.22; 95 % of all have more than 0.4.
MIN_MARGIN = 0.1
FOLDS = 5
MOST_CLUSTERS = 5  # of one label


class HandFrame(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Canonical landmarks (N, 63) or (N, 21, 3) to hand-frame features float32 (N, 63); stateless."""

    def fit(self, X: NDArray[np.floating], y: object = None) -> HandFrame:
        self.n_features_in_ = 63
        return self

    def transform(self, X: NDArray[np.floating]) -> Array:
        """Raises DegenerateHandError where a palm has no area or a value is not finite."""
        return hand_frame(np.asarray(X).reshape(-1, 21, 3)).reshape(-1, 63)


@dataclass(frozen=True, eq=False)
class Fit:
    """A fitted posture pipeline and everything that explains it.

    Attributes:
        pipeline: HandFrame, then KMeans with K clusters on float32 features.
        labels: best posture first.
        clusters: label of cluster 0 .. K-1.
        unsure: max_distance (hand units, in the 63-dimensional feature space) and min_margin (0..1).
        quality: frames per label, purity, accuracy on held-out blocks, how the clusters came about.
    """

    pipeline: Pipeline
    labels: tuple[str, ...]
    clusters: tuple[str, ...]
    unsure: dict[str, float]
    quality: dict[str, Any]

    def predict(self, landmarks: NDArray[np.floating]) -> NDArray[np.str_]:
        """Label of each canonical hand (N, 21, 3); never "unsure"."""
        return np.asarray(self.clusters)[self.pipeline.predict(landmarks)]


def fit(recording: Mapping[str, NDArray[np.floating]], labels: Sequence[str], *, seed: int = 0) -> Fit:
    """Fit the hand frame and k-means to the recorded postures.

    One k-means over all frames, one cluster per label, each mapped to the label of most of its frames.
    Where a cluster is impure or a label has none, k-means runs within each label instead (1 to MOST_CLUSTERS
    clusters, whichever first does as well on held-out frames as the best) and the centroids are stacked.

    Args:
        recording: canonical landmarks (N, 21, 3) of each label.
        labels: the labels in order, best first.

    Raises:
        HandCoachError: one posture only, too few frames, or landmarks that are not finite.
    """
    labels = tuple(labels)
    features = {label: _features(recording, label) for label in labels}
    if len(labels) < 2:
        raise HandCoachError(
            f"The recording has only the posture {', '.join(labels) or '(none)'}: record at least two."
        )
    for label, rows in features.items():
        if len(rows) < MIN_FRAMES:
            raise HandCoachError(
                f"The posture {label} has only {len(rows)} frames with a hand: "
                f"record at least {MIN_FRAMES - len(rows)} more."
            )

    one = _cluster_all(features, seed)
    method = "one k-means"
    if one is None:
        method = "k-means within each label"
        scores = [_merit(*_held_out(features, seed, k), labels) for k in range(1, MOST_CLUSTERS + 1)]
        k = 1 + next(i for i, score in enumerate(scores) if score >= max(scores) - 0.005)
        kmeans, clusters = _cluster_within(features, seed, k)
        accuracy, confusion = _held_out(features, seed, k)
    else:
        kmeans, clusters = one
        accuracy, confusion = _held_out(features, seed, None)

    rows = np.concatenate(list(features.values()))
    truth = np.repeat(np.asarray(labels), [len(features[label]) for label in labels])
    distances = kmeans.transform(rows)
    predicted = np.asarray(clusters)[distances.argmin(1)]
    purity = {}
    for k, label in enumerate(clusters):
        members = truth[distances.argmin(1) == k]
        purity[f"{k} {label}"] = round(float(np.mean(members == label)), 4) if len(members) else 0.0
    reach = float(np.percentile(distances.min(1), DISTANCE_PERCENTILE))
    centres = kmeans.cluster_centers_
    apart = min(
        float(np.linalg.norm(centres[i] - centres[j]))
        for i, a in enumerate(clusters)
        for j, b in enumerate(clusters)
        if a != b
    )
    margin = margins(distances, clusters)
    return Fit(
        pipeline=Pipeline([("hand_frame", HandFrame().fit(rows)), ("kmeans", kmeans)]),
        labels=labels,
        clusters=clusters,
        unsure={"max_distance": round(max(HEADROOM * reach, apart), 4), "min_margin": MIN_MARGIN},
        quality={
            "frames": {label: len(features[label]) for label in labels},
            "method": method,
            "purity": purity,
            "accuracy_held_out": round(accuracy, 4),
            "confusion_held_out": confusion,
            "accuracy_recorded": round(float(np.mean(predicted == truth)), 4),
            "below_min_margin": round(float(np.mean(margin < MIN_MARGIN)), 4),
            "distance_p99": round(reach, 4),
            "labels_apart": round(apart, 4),
            "inertia": round(float(kmeans.inertia_), 3),
            "seed": seed,
        },
    )


def _features(recording: Mapping[str, NDArray[np.floating]], label: str) -> Array:
    if label not in recording:
        raise HandCoachError(f"The recording has no posture {label}: record it, or leave it out.")
    landmarks = np.asarray(recording[label], dtype=np.float32)
    if landmarks.ndim != 3 or landmarks.shape[1:] != (21, 3):
        raise HandCoachError(
            f"The landmarks of {label} have shape {landmarks.shape}, not (N, 21, 3): record it again."
        )
    bad = int((~np.isfinite(landmarks).all(axis=(1, 2))).sum())
    if bad:
        raise HandCoachError(f"The posture {label} has {bad} frames with missing landmarks: record it again.")
    return HandFrame().transform(landmarks)


def _kmeans(rows: Array, k: int, seed: int) -> KMeans:
    # One thread: the data are small, and OpenMP's threads wait for each other by spinning.
    with threadpool_limits(1):
        return KMeans(n_clusters=k, n_init=N_INIT, random_state=seed).fit(np.asarray(rows, np.float32))


def _cluster_all(features: Mapping[str, Array], seed: int) -> tuple[KMeans, tuple[str, ...]] | None:
    """One cluster per label over all frames, or None where they do not stand for the labels."""
    kmeans = _kmeans(np.concatenate(list(features.values())), len(features), seed)
    # Shares, not counts: a label that was recorded for longer must not outvote the others.
    share = np.stack([np.bincount(kmeans.predict(rows), minlength=len(features)) / len(rows)
                      for rows in features.values()])  # fmt: skip
    owner = share.argmax(0)
    pure = share.max(0) / np.maximum(share.sum(0), 1e-12)
    if len(set(owner.tolist())) < len(features) or pure.min() < MIN_PURITY:
        return None
    names = list(features)
    return kmeans, tuple(names[i] for i in owner)


def _cluster_within(features: Mapping[str, Array], seed: int, k: int) -> tuple[KMeans, tuple[str, ...]]:
    """k clusters in each label, stacked into one KMeans."""
    parts = {label: _kmeans(rows, k, seed) for label, rows in features.items()}
    # A fit on one row per centre gives a complete estimator, whose centres and figures are then set.
    centres = np.concatenate([part.cluster_centers_ for part in parts.values()]).astype(np.float32)
    stacked = KMeans(n_clusters=len(centres), init=centres, n_init=1, random_state=seed).fit(centres)
    stacked.cluster_centers_ = centres
    stacked.inertia_ = sum(part.inertia_ for part in parts.values())
    return stacked, tuple(label for label in features for _ in range(k))


def _held_out(
    features: Mapping[str, Array], seed: int, k: int | None
) -> tuple[float, dict[str, dict[str, int]]]:
    """Accuracy (mean over labels) and confusion on blocks that the centroids did not see.

    Blocks are contiguous, because neighbouring frames of a recording are nearly the same picture.
    """
    confusion = {label: dict.fromkeys(features, 0) for label in features}
    for fold in range(FOLDS):
        train, test = {}, {}
        for label, rows in features.items():
            block = np.arange(len(rows)) * FOLDS // len(rows) == fold
            train[label], test[label] = rows[~block], rows[block]
        found = _cluster_all(train, seed) if k is None else None
        kmeans, clusters = found or _cluster_within(train, seed, k or 1)
        for label, rows in test.items():
            for cluster in kmeans.predict(rows):
                confusion[label][clusters[cluster]] += 1
    rates = [confusion[label][label] / len(features[label]) for label in features]
    return float(np.mean(rates)), confusion


def _merit(accuracy: float, confusion: dict[str, dict[str, int]], labels: tuple[str, ...]) -> float:
    """Accuracy, with praise for a posture that deserves none counted twice: it teaches the wrong thing."""
    best = labels[0]
    praised = [confusion[label][best] / max(1, sum(confusion[label].values())) for label in labels[1:]]
    return accuracy - float(np.mean(praised))


def reference(fit: Fit, recording: Mapping[str, NDArray[np.floating]]) -> tuple[int, Array]:
    """The recorded hand that the patient is shown: of the best label, nearest to one of its centroids.

    Never a mean hand: a mean of joints has bones that no hand has.

    Returns:
        index within the label, canonical landmarks float32 (21, 3).
    """
    best = fit.labels[0]
    distances = fit.pipeline.transform(recording[best])
    own = [k for k, label in enumerate(fit.clusters) if label == best]
    index = int(distances[:, own].min(1).argmin())
    return index, np.asarray(recording[best][index], dtype=np.float32)


def tolerance(fit: Fit, recording: Mapping[str, NDArray[np.floating]], shown: Array) -> dict[str, float]:
    """Distances of a joint from the reference hand (hand units) that are full green and full red.

    Green holds nine tenths of the joints of the best posture as recorded; red starts where the worst tenth
    of the joints of the next posture lies.
    """
    target = hand_frame(shown)

    def p90(label: str) -> float:
        away = np.linalg.norm(hand_frame(recording[label]) - target, axis=-1)
        return float(np.percentile(away, 90))

    green = min(max(p90(fit.labels[0]), 0.05), 0.3)
    return {"green": round(green, 4), "red": round(max(p90(fit.labels[1]), 2 * green), 4)}
