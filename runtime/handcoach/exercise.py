"""An exercise: what the therapist showed, and how close a hand is to it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from handcoach.coach import SESSION_S, UNSURE
from handcoach.hand import FINGERS, Array, DegenerateHandError, Hand, hand_axes, hand_frame
from handcoach.model import ModelFile, Session

THUMB = slice(1, 5)  # its joints
# Whether the thumb is in the verdict, judged apart because the exercise leaves it out, or not judged at all.
Thumb = Literal["counts", "apart", "off"]

# Presence below which a hand is followed, but not judged.
MIN_PRESENCE = 0.6
# Times as far as from another posture at most, however much it is widened.
MOST_PRAISE = 2.0
# The only message that an exercise file need not carry.
UNSURE_MESSAGE = {
    "en": "I cannot tell yet: show your whole hand, and hold it still.",
    "da": "Jeg kan ikke se det endnu: vis hele hånden, og hold den stille.",
}


@dataclass(frozen=True, eq=False)
class Posture:
    """A judged hand.

    Attributes:
        label: one of the exercise's labels, or "unsure".
        cluster: the nearest cluster; -1 where the hand has no palm plane.
        distances: float32 (K,), to each cluster's centroid in units of the hand's scale; NaN without a palm.
        margin: 0..1, how much nearer the nearest cluster is than the nearest one of another label, by
            `praise`.
        aligned: float32 (21, 3), canonical landmarks in the hand frame.
        joint_distances: float32 (21,), from each joint to the reference hand's, both in the hand frame, in
            units of the hand's scale; 0 of a joint that does not count in this exercise.
        thumb: mean distance of the thumb's two outer joints, which show what it does, to the reference's, in
            the same units; NaN where unknown.
    """

    label: str
    cluster: int
    distances: Array
    margin: float
    aligned: Array
    joint_distances: Array
    thumb: float = math.nan

    @property
    def sure(self) -> bool:
        return self.label != UNSURE


class Exercise:
    """An exercise file that runs. Use it from one thread at a time.

    Attributes:
        labels: postures from best to worst.
        clusters: the label of each cluster.
        reference_aligned: float32 (21, 3), the reference hand in the hand frame.
        kept_axes: axes of the hand frame whose direction counts too; "" where the hand may be turned at will.
        fingers: those that count. joints_count: bool (21,), the joints that do. thumb: see `Thumb`.
        green, red: distance of a joint, in units of the hand's scale, up to which it is wholly right, and
            from which it is wholly wrong.
        speak_s: seconds between two corrections at least.
        praise: how many times as far as from another posture a hand may be from the best one to count as it.
        widest: how many times `praise` that may become for a person's own range, see `coach.OwnRange`.
    """

    def __init__(
        self,
        file: ModelFile,
        threads: int = 1,
        provider: str = "CPUExecutionProvider",
        *,
        thumb: bool = True,
    ) -> None:
        """Args:
        thumb: False leaves the thumb out of the verdict, whatever the exercise says.
        """
        self.file, self.threads = file, threads
        meta = file.meta
        self.name = file.name
        self.labels: tuple[str, ...] = tuple(meta["labels"])
        self.clusters: tuple[str, ...] = tuple(meta["clusters"])
        self.colours: dict[str, str] = dict(meta["colours"])
        self.hand: str = meta["hand"]
        self.hold_s, self.rest_s = float(meta["hold_s"]), float(meta["rest_s"])
        self.repetitions = int(meta["repetitions"])
        self.session_s = float(meta.get("session_s", SESSION_S))
        self.speak_s = float(meta.get("speak_s", 0))
        self.green, self.red = float(meta["tolerance"]["green"]), float(meta["tolerance"]["red"])
        # Absent in files of before the verdict could be more or less strict.
        self.praise = float(meta["tolerance"].get("praise", 1.0))
        # Absent in files of before it could fit itself to a person: what the therapist set is all there is.
        self.widest = min(float(meta["tolerance"].get("widest", 1.0)), max(MOST_PRAISE / self.praise, 1.0))
        self.kept_axes: str = meta["kept_axes"]
        # Absent in files of before fingers could be left out.
        listed = meta.get("fingers")
        self.fingers: tuple[str, ...] = tuple(
            f for f in FINGERS if not isinstance(listed, list) or f in listed
        )
        self.thumb: Thumb = "off" if not thumb else "counts" if "thumb" in self.fingers else "apart"
        leave_out = self.thumb == "off" and "thumb" in self.fingers and len(self.fingers) > 1
        if leave_out:
            self.fingers = tuple(f for f in self.fingers if f != "thumb")
        self.joints_count = np.array([True, *(f in self.fingers for f in FINGERS for _ in range(4))])
        self.max_distance = float(meta["unsure"]["max_distance"])
        self.min_margin = float(meta["unsure"]["min_margin"])
        self.reference = np.asarray(meta["reference"], dtype=np.float32)
        self.reference_aligned = hand_frame(self.reference)
        self.widen(1.0)
        self._session = Session(file, threads, provider)
        self._thumb = self._find_thumb() if leave_out else None

    def widen(self, times: float) -> None:
        """Let the best posture count up to so many times `praise` from now on, 1 to `widest`."""
        praise = self.praise * min(max(times, 1.0), self.widest)
        self._ease = np.where([label == self.labels[0] for label in self.clusters], praise, 1.0)

    def title(self, lang: str = "en") -> str:
        return text_of(self.file.meta["title"], lang)

    def instructions(self, lang: str = "en") -> str:
        return text_of(self.file.meta["instructions"], lang)

    def message(self, label: str, lang: str = "en") -> str:
        """What to say for a posture's label, or for "unsure"."""
        texts = self.file.meta["messages"].get(label)
        if texts is None and label != UNSURE:
            raise ValueError(f"{self.name} has no posture {label!r}")
        return text_of(texts or UNSURE_MESSAGE, lang)

    def run(self, hands: Array) -> dict[str, NDArray[Any]]:
        """The graph on canonical landmarks, float32 (N, 21, 3): the outputs of the contract, by name."""
        return self._session.run(hands)

    def assess(self, hand: Hand) -> Posture:
        """Judge a hand. A left hand is judged as its mirror image."""
        canonical = hand.canonical
        try:
            hand_frame(canonical)
        except DegenerateHandError:
            nowhere = np.full(len(self.clusters), np.nan, dtype=np.float32)
            return self._posture(UNSURE, -1, nowhere, 0.0, canonical)
        out = self.run(canonical[None] if self._thumb is None else _thumb_moved(canonical))
        aligned = out["hand_frame"][0].reshape(21, 3)
        distances, cluster = out["distances"][0], int(out["cluster"][0])
        if self._thumb is not None:
            distances = self._without_thumb(out["distances"])
        eased = distances / self._ease
        if self._thumb is not None or (self._ease != 1).any():
            cluster = int(eased.argmin())
        known = 0 <= cluster < len(self.clusters)
        if not known or not np.isfinite(distances).all() or not np.isfinite(aligned).all():
            return self._posture(UNSURE, -1, distances, 0.0, canonical)
        margin = margin_of(eased, self.clusters)
        sure = (
            hand.score >= MIN_PRESENCE and margin >= self.min_margin and distances.min() <= self.max_distance
        )
        return self._posture(self.clusters[cluster] if sure else UNSURE, cluster, distances, margin, aligned)

    def _posture(self, label: str, cluster: int, distances: Array, margin: float, aligned: Array) -> Posture:
        apart = np.linalg.norm(aligned - self.reference_aligned, axis=-1)
        thumb = float(apart[3:5].mean()) if cluster >= 0 else math.nan
        return Posture(label, cluster, distances, margin, aligned, apart * self.joints_count, thumb)

    def _without_thumb(self, distances: Array) -> Array:
        """Distances (K,) of the hand as if its thumb were where it is nearest to each cluster, the fingers
        being what they are: of all joints but the thumb's, where coordinates count each for itself, and the
        Mahalanobis distance of the others where they are mixed (Schur complement).

        Args:
            distances: (13, K) of the hands of `_thumb_moved`.
        """
        assert self._thumb is not None
        rise, inverse = self._thumb
        squares = distances.astype(np.float64) ** 2
        slope = (squares[1:] - squares[0] - rise).T
        nearest = np.einsum("ki,kij,kj->k", slope, inverse, slope) / 4
        return np.asarray(np.sqrt(np.maximum(squares[0] - nearest, 0)), np.float32)

    def _find_thumb(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """How each cluster's squared distance rises with the thumb's coordinates in the hand frame: the
        diagonal (12, K) of the matrix of that, and its inverse (K, 12, 12).

        The file does not say it, but its graph gives it away: the thumb's joints do not move the hand frame,
        and a squared distance is a paraboloid in their coordinates, the same for every hand.
        """
        one = _thumb_moved(self.reference)
        steps = one[1:] - one[0]
        i, j = np.triu_indices(12)
        both = one[0] + steps[i] + steps[j]
        squares = (
            self.run(np.concatenate([one, both]).astype(np.float32))["distances"].astype(np.float64) ** 2
        )
        here, single, pairs = squares[0], squares[1:13], squares[13:]
        bend = np.zeros((squares.shape[1], 12, 12))
        bend[:, i, j] = bend[:, j, i] = (pairs - single[i] - single[j] + here).T / 2
        inverse = np.asarray(np.linalg.pinv(bend, 1e-4, hermitian=True), np.float64)
        return np.diagonal(bend, axis1=1, axis2=2).T, inverse


def _thumb_moved(hand: Array) -> Array:
    """A hand (21, 3), and it with each of the thumb's joints moved along each axis of its hand frame by one
    unit: float32 (13, 21, 3)."""
    moved = np.repeat(hand[None], 13, axis=0)
    axes = hand_axes(hand)
    for n in range(12):
        moved[1 + n, THUMB.start + n // 3] += axes[n % 3]
    return moved


def margin_of(distances: NDArray[np.floating], clusters: Sequence[str]) -> float:
    """`margins` of one hand; distances (K,)."""
    return float(margins(distances[None], clusters)[0])


def margins(distances: NDArray[np.floating], clusters: Sequence[str]) -> NDArray[np.float64]:
    """How much nearer the nearest cluster is than the nearest one of another label, as a share of the latter:
    0 on the border between two labels, 1 on a centroid; 1 if there is no other label.

    Args:
        distances: (N, K) to the centroids.
        clusters: label of each centroid.
    """
    if len(set(clusters)) == 1:
        return np.ones(len(distances))
    names = np.asarray(clusters)
    distances = distances.astype(np.float64)
    nearest = distances.argmin(1)
    near = distances[np.arange(len(distances)), nearest]
    same = names[None, :] == names[nearest][:, None]
    other = np.where(same, np.inf, distances).min(1)
    # Both are zero only where two labels share a centroid: that is no margin at all.
    share = np.divide(other - near, other, out=np.zeros_like(other), where=other > 0)
    return np.asarray(np.clip(share, 0.0, 1.0), dtype=np.float64)


def text_of(texts: dict[str, str], lang: str) -> str:
    """The text in a language, else in its base language (en for en-GB), else in English."""
    return str(texts.get(lang) or texts.get(lang.split("-")[0].split("_")[0]) or texts["en"])
