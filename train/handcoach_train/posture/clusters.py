"""The hand frame and k-means of the paper's section 5.2, in scikit-learn.

The ids of k-means clusters are arbitrary, so a fit always carries the map from cluster to label, and
everything outside this module speaks of labels.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from handcoach.errors import HandCoachError
from handcoach.exercise import margins
from handcoach.hand import FINGERS, Array, DegenerateHandError, beside, hand_axes, hand_frame
from handcoach.quality import MIN_FRAMES

# A start drawn at random merged two postures in 37 of 200 seeds, scikit-learn's own (k-means++) in one of 200
# (inertia 378 against 136 on the paper's data).
N_INIT = 10
# A cluster with fewer of its frames from one label than this does not stand for that label.
MIN_PURITY = 0.9
# A posture is "unsure" beyond HEADROOM times this percentile of the recorded distances, or beyond the
# distance between the two closest labels if that is larger: another person's hand lies farther from the
# centroids than the recorded one (on the paper's two people p99 grows by about a tenth).
DISTANCE_PERCENTILE, HEADROOM = 99.0, 1.5
FOLDS = 5
MOST_CLUSTERS = 5  # of one label
AS_WELL = 0.005  # of `_merit` on held-out frames, by which more clusters must do better
# Where the orientation counts: a turn by 30 degrees moves a hand by 1, which lies between a hand's shaking
# (0.3) and what parts a fist from a stretched hand (3).
ROTATION_WEIGHT = 2.0
# How the coordinates count: all alike, or by how little those of one posture scatter, as a recording of a few
# hands tells, from which other people's differ, or one of many.
WEIGHTS = ("equal", "few", "many")
# The variance, in hand units squared, that is added in every direction for what a recording does not show:
# a few hands lack the 0.2 units by which people differ, many lack next to nothing.
CALM = {"few": 0.045, "many": 0.0002}
# A few hands' recording is fitted as if of many where so much more of its held-out frames is told then: where
# the postures differ in little, and the pictures in much.
FINE = 0.02
# Below such a margin a posture is unsure. Frames that the paper's clusters get wrong have a median margin of
# 0.22; 95 % of all have more than 0.4. After a recording of many people it costs more than it saves, and half
# of it is enough after one that is fitted so.
MIN_MARGIN = {"equal": 0.1, "few": 0.1, "many": 0.0}


class HandFrame(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Canonical landmarks (N, 63) or (N, 21, 3) to features float32 (N, 63 + 3 A); stateless.

    Parameters:
        kept_axes: A of the letters x, y, z. Of each of these axes of the hand frame its direction in the
            camera's axes, a unit vector times ROTATION_WEIGHT, is added, so that how the hand is turned
            counts: x keeps where the hand points, z where the palm looks, all three the whole rotation. A
            direction has no jump, as an angle has at 180 degrees.
        fingers: those that count; the landmarks of the others are set to 0.
        mix: (D, D), by which the features are multiplied in the end, see `calmed`; None: by nothing.
    """

    def __init__(
        self, kept_axes: str = "", fingers: Sequence[str] = FINGERS, mix: NDArray[np.float64] | None = None
    ) -> None:
        self.kept_axes = kept_axes
        self.fingers = fingers
        self.mix = mix

    @property
    def weights(self) -> Array:
        """Of the 63 coordinates: 1 where the joint counts, else 0."""
        return np.repeat(counts(self.fingers), 3).astype(np.float32)

    @property
    def kept_rows(self) -> list[int]:
        """Rows of `hand_axes` that are kept, in the order x, y, z."""
        return [i for i, axis in enumerate("xyz") if axis in self.kept_axes]

    def fit(self, X: NDArray[np.floating], y: object = None) -> HandFrame:
        self.n_features_in_ = 63
        return self

    def transform(self, X: NDArray[np.floating]) -> Array:
        """Raises DegenerateHandError where a palm has no area or a value is not finite."""
        plain = self.plain(X)
        return plain if self.mix is None else np.asarray(plain @ self.mix, np.float32)

    def plain(self, X: NDArray[np.floating]) -> Array:
        """The features before they are mixed; see `transform`."""
        landmarks = np.asarray(X).reshape(-1, 21, 3)
        features = hand_frame(landmarks).reshape(-1, 63) * self.weights
        if not self.kept_rows:
            return features
        turned = hand_axes(landmarks)[:, self.kept_rows].reshape(len(landmarks), -1) * ROTATION_WEIGHT
        return np.concatenate([features, turned.astype(np.float32)], axis=1)


def calmed(features: Mapping[str, NDArray[np.floating]], calm: float) -> NDArray[np.float64]:
    """A matrix (D, D) that makes directions count the less, the more hands of one posture scatter in them.

    The inverse root of the covariance within the postures, `calm` added to each variance, as in regularised
    discriminant analysis (Friedman 1989), scaled so that the postures' means stay as far apart.

    Args:
        features: of each label (N, D).
        calm: see CALM.
    """
    means = np.array([rows.mean(0, dtype=np.float64) for rows in features.values()])
    within = np.mean([np.cov(rows.T, bias=True) for rows in features.values()], axis=0)
    variance, ways = np.linalg.eigh(within + calm * np.eye(len(within)))
    mix = (ways / np.sqrt(variance)) @ ways.T
    apart = means - means.mean(0)
    before, now = float(np.linalg.norm(apart)), float(np.linalg.norm(apart @ mix))
    # Postures may be the same, which the gate says.
    return np.asarray(mix * (before / now if now > 1e-9 else 1.0))


def counts(fingers: Sequence[str]) -> NDArray[np.bool_]:
    """Which of the 21 joints count, where these fingers do; the wrist always does.

    Raises:
        HandCoachError: there is no such finger, or none at all.
    """
    unknown = [finger for finger in fingers if finger not in FINGERS]
    if unknown or not fingers:
        raise HandCoachError(
            f"An exercise cannot look at the fingers {', '.join(map(str, fingers)) or '(none)'}: "
            f"choose from {', '.join(FINGERS)}."
        )
    return np.array([True, *(finger in fingers for finger in FINGERS for _ in range(4))])


@dataclass(frozen=True, eq=False)
class Fit:
    """A fitted posture pipeline and everything that explains it.

    Attributes:
        pipeline: HandFrame, then KMeans with K clusters on float32 features.
        labels: best posture first.
        clusters: label of cluster 0 .. K-1.
        unsure: max_distance (hand units, in the feature space) and min_margin (0..1).
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


def fit(
    recording: Mapping[str, NDArray[np.floating]],
    labels: Sequence[str],
    *,
    seed: int = 0,
    kept_axes: str = "",
    fingers: Sequence[str] = FINGERS,
    groups: Mapping[str, NDArray[np.integer]] | None = None,
    paper: bool = False,
    weights: str = "equal",
    per_label: int = 0,
) -> Fit:
    """Fit the hand frame and k-means to the recorded postures.

    One k-means over all frames, one cluster per label, each mapped to the label of most of its frames. Where
    a cluster is impure or a label has none, or where several clusters a label tell held-out frames better by
    AS_WELL, k-means runs within each label instead (1 to MOST_CLUSTERS clusters, the fewest that do as well
    as the best) and the centroids are stacked.

    Args:
        recording: canonical landmarks (N, 21, 3) of each label.
        labels: the labels in order, best first.
        kept_axes, fingers: see `HandFrame`.
        groups: session (N,) of each label's frames; where every label has the same two or more, held-out
            accuracy is by leave-one-session-out, else on FOLDS contiguous blocks.
        paper: as the paper did it: scikit-learn's defaults, which are one start, over all frames.
        weights: equal; or few or many: directions in which hands of one posture scatter count less, as a
            recording of so many people tells (`calmed`). Few takes what `many` would, where by FINE more of
            the held-out frames are told so.
        per_label: clusters of each label, where somebody knows better than the recording; 0: as above.

    Raises:
        HandCoachError: one posture only, too few frames, landmarks that are not finite or have no palm; with
            `paper`, clusters that do not stand for the labels.
    """
    labels = tuple(labels)
    if weights not in WEIGHTS:
        raise HandCoachError(f"The weights are {', '.join(WEIGHTS)}, not {weights!r}.")
    frame = HandFrame(kept_axes, fingers).fit(np.empty((0, 63)))
    features = {label: _features(recording, label, frame) for label in labels}
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

    held = folds(features, groups)
    margin = MIN_MARGIN[weights]
    made = _fitted_by(CALM.get(weights), frame, features, held, seed, paper, per_label, margin)
    if weights == "few" and made.quality["accuracy_held_out"] < 1 - FINE:
        fine = _fitted_by(CALM["many"], frame, features, held, seed, paper, per_label, margin / 2)
        if fine.quality["accuracy_held_out"] > made.quality["accuracy_held_out"] + FINE:
            made = fine
    made.quality["held_out_by"] = "session" if groups and shared_sessions(features, groups) else "block"
    return made


def _fitted_by(
    calm: float | None,
    frame: HandFrame,
    plain: Mapping[str, Array],
    held: Mapping[str, NDArray[np.integer]],
    seed: int,
    paper: bool,
    per_label: int,
    least: float,
) -> Fit:
    """A fit with so much variance added (CALM); None: coordinates count alike.

    Args:
        plain: features of each label, as the frame gives them without a mix. held: see `folds`.
        least: margin below which a posture is unsure.
    """
    labels, features = tuple(plain), plain
    if calm is not None:
        mix = calmed(plain, calm)
        frame = HandFrame(frame.kept_axes, frame.fingers, mix).fit(np.empty((0, 63)))
        features = {label: np.asarray(rows @ mix, np.float32) for label, rows in plain.items()}
    one = _cluster_all(features, seed, paper)
    if one is None and paper:
        raise HandCoachError("One start of k-means, as the paper's, merged postures: leave out --paper.")
    tried, merit = {}, {}
    counts = range(0 if one else 1, MOST_CLUSTERS + 1)  # 0: one k-means over all
    for k in [0] if paper else [per_label] if per_label else counts:
        tried[k] = held_out(plain, held, seed, k, calm, paper)
        merit[k] = _merit(*tried[k], labels)
        if merit[k] >= 1 - AS_WELL:
            break
    k = next(k for k in tried if merit[k] >= max(merit.values()) - AS_WELL)  # the fewest that do
    accuracy, confusion = tried[k]
    if one is not None and k == 0:
        method = "one k-means, as the paper's" if paper else "one k-means"
        kmeans, clusters = one
    else:
        method = "k-means within each label"
        kmeans, clusters = _cluster_within(features, seed, k)

    rows = np.concatenate(list(features.values()))
    truth = np.repeat(np.asarray(labels), [len(features[label]) for label in labels])
    distances = kmeans.transform(rows)
    predicted = np.asarray(clusters)[distances.argmin(1)]
    purity = {}
    for number, label in enumerate(clusters):
        members = truth[distances.argmin(1) == number]
        purity[f"{number} {label}"] = round(float(np.mean(members == label)), 4) if len(members) else 0.0
    reach = float(np.percentile(distances.min(1), DISTANCE_PERCENTILE))
    means = np.array([x.mean(0) for x in features.values()])
    apart = float(min(np.linalg.norm(a - b) for a, b in itertools.combinations(means, 2)))
    margin = margins(distances, clusters)
    return Fit(
        pipeline=Pipeline([("hand_frame", frame), ("kmeans", kmeans)]),
        labels=labels,
        clusters=clusters,
        unsure={"max_distance": round(max(HEADROOM * reach, apart), 4), "min_margin": least},
        quality={
            "frames": {label: len(features[label]) for label in labels},
            "method": method,
            "purity": purity,
            "accuracy_held_out": round(accuracy, 4),
            "confusion_held_out": confusion,
            "calm": calm,
            "accuracy_recorded": round(float(np.mean(predicted == truth)), 4),
            "below_min_margin": round(float(np.mean(margin < least)), 4),
            "distance_p99": round(reach, 4),
            "labels_apart": round(apart, 4),
            "inertia": round(float(kmeans.inertia_), 3),
            "seed": seed,
        },
    )


def _features(recording: Mapping[str, NDArray[np.floating]], label: str, frame: HandFrame) -> Array:
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
    try:
        return frame.transform(landmarks)
    except DegenerateHandError as error:
        raise HandCoachError(
            f"In the posture {label} are hands whose joints coincide and that have no palm: record it again."
        ) from error


def kmeans_of(rows: Array, k: int, seed: int, starts: int | str = N_INIT) -> KMeans:
    # One thread: the data are small, and OpenMP's threads wait for each other by spinning.
    return _fitted(KMeans(n_clusters=k, n_init=starts, random_state=seed), rows)


def _fitted(kmeans: KMeans, rows: Array) -> KMeans:
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # postures that are the same: the gate says so
        return kmeans.fit(np.asarray(rows, np.float32))


def _cluster_all(
    features: Mapping[str, Array], seed: int, paper: bool = False
) -> tuple[KMeans, tuple[str, ...]] | None:
    """One cluster per label over all frames, or None where they do not stand for the labels."""
    starts = "auto" if paper else N_INIT
    kmeans = kmeans_of(np.concatenate(list(features.values())), len(features), seed, starts)
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
    parts = {label: kmeans_of(rows, k, seed) for label, rows in features.items()}
    # A fit on one row per centre gives a complete estimator, whose centres and figures are then set.
    centres = np.concatenate([part.cluster_centers_ for part in parts.values()]).astype(np.float32)
    start = KMeans(n_clusters=len(centres), init=centres, n_init=1, random_state=seed)
    stacked = _fitted(start, centres)
    stacked.cluster_centers_ = centres
    stacked.inertia_ = sum(part.inertia_ for part in parts.values())
    return stacked, tuple(label for label in features for _ in range(k))


def shared_sessions(features: Mapping[str, Array], groups: Mapping[str, NDArray[np.integer]]) -> list[int]:
    """The sessions of the labels, if all have the same two or more, each of MIN_FRAMES or more; else none."""
    found = [np.unique(groups[label], return_counts=True) for label in features]
    names = [sessions.tolist() for sessions, _ in found]
    alike = len(names[0]) > 1 and all(sessions == names[0] for sessions in names)
    return names[0] if alike and min(count.min() for _, count in found) >= MIN_FRAMES else []


def folds(
    features: Mapping[str, Array], groups: Mapping[str, NDArray[np.integer]] | None
) -> dict[str, NDArray[np.integer]]:
    """Which fold (N,) each frame of a label is judged in: its session, else its block of successive frames.

    Blocks, because neighbouring frames of a recording are nearly the same picture.
    """
    if groups is not None and (sessions := shared_sessions(features, groups)):
        return {label: np.searchsorted(sessions, groups[label]) for label in features}
    return {label: np.arange(len(rows)) * FOLDS // len(rows) for label, rows in features.items()}


def held_out(
    features: Mapping[str, Array],
    fold_of: Mapping[str, NDArray[np.integer]],
    seed: int,
    k: int,
    calm: float | None = None,
    paper: bool = False,
) -> tuple[float, dict[str, dict[str, int]]]:
    """Accuracy (mean over labels) and confusion on folds that the centroids did not see.

    Args:
        features: of each label (N, D). fold_of: fold (N,) of each label's frames, see `folds`.
        k: clusters of each label; 0: one k-means over all where that is pure.
        calm: where the features are yet to be mixed: by `calmed`, which sees as little of the fold.
        paper: one start, as the fit has it; where it merges postures, all of the fold is wrong.
    """
    confusion = {label: dict.fromkeys(features, 0) for label in features}
    for fold in range(1 + max(int(numbers.max()) for numbers in fold_of.values())):
        train = {label: rows[fold_of[label] != fold] for label, rows in features.items()}
        mix = None if calm is None else calmed(train, calm)
        if mix is not None:
            train = {label: np.asarray(rows @ mix, np.float32) for label, rows in train.items()}
        found = None if k else _cluster_all(train, seed, paper)
        if paper and found is None:
            continue
        kmeans, clusters = found or _cluster_within(train, seed, k or 1)
        for label, rows in features.items():
            test = rows[fold_of[label] == fold]
            test = test if mix is None else np.asarray(test @ mix, np.float32)
            for cluster in kmeans.predict(test) if len(test) else ():
                confusion[label][clusters[cluster]] += 1
    rates = [confusion[label][label] / len(features[label]) for label in features]
    return float(np.mean(rates)), confusion


def _merit(accuracy: float, confusion: dict[str, dict[str, int]], labels: tuple[str, ...]) -> float:
    """Accuracy, with praise for a posture that deserves none counted twice: it teaches the wrong thing."""
    best = labels[0]
    praised = [confusion[label][best] / max(1, sum(confusion[label].values())) for label in labels[1:]]
    return accuracy - float(np.mean(praised))


def reference(fit: Fit, recording: Mapping[str, NDArray[np.floating]]) -> tuple[int, Array]:
    """The recorded hand that the patient is shown. Of the best label's hands the tenth nearest to its
    centroids; of those the ones that are, for that, farthest from other labels' (a fiftieth of all): they are
    clear; and of those the one that is held most as all are, since the hand frame does not tell how.

    Never a mean hand: a mean of joints has bones that no hand has.

    Returns:
        index within the label, canonical landmarks float32 (21, 3).
    """
    best = fit.labels[0]
    distances = fit.pipeline.transform(recording[best])
    own = np.array([label == best for label in fit.clusters])
    near, other = distances[:, own].min(1), distances[:, ~own].min(1)
    nearest = near.argsort()[: max(1, len(near) // 10)]
    clear = nearest[(near / np.maximum(other, 1e-9))[nearest].argsort()[: max(1, len(near) // 50)]]
    hands = np.asarray(recording[best], dtype=np.float32)
    usual = np.median(hands, 0)
    index = int(min(clear, key=lambda i: np.linalg.norm(hands[i] - usual)))
    return index, hands[index]


def tolerance(fit: Fit, recording: Mapping[str, NDArray[np.floating]], shown: Array) -> dict[str, float]:
    """Distances of a joint from the reference hand (hand units) that are full green and full red.

    Green holds nine tenths of the joints of the best posture as recorded; red starts where the worst tenth
    of the joints of the next posture lies.
    """
    target, kept_axes = hand_frame(shown), fit.pipeline[0].kept_axes
    used = counts(fit.pipeline[0].fingers)

    def p90(label: str) -> float:
        away = np.linalg.norm(beside(recording[label], shown, kept_axes) - target, axis=-1)[:, used]
        return float(np.percentile(away, 90))

    # Where the whole hand turns, its fingertips go far: by 10 degrees, 0.35.
    green = min(max(p90(fit.labels[0]), 0.05), 0.6 if kept_axes else 0.3)
    return {"green": round(green, 4), "red": round(max(p90(fit.labels[1]), 2 * green), 4)}
