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
        margin: 0..1, how much nearer the nearest cluster is than the nearest one of another label.
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
        self.green, self.red = float(meta["tolerance"]["green"]), float(meta["tolerance"]["red"])
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
        self._session = Session(file, threads, provider)
        self._thumb_part = self._find_thumb_part() if leave_out else None

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
        out = self._session.run(canonical[None])
        aligned = out["hand_frame"].reshape(21, 3)
        distances, cluster = out["distances"][0], int(out["cluster"][0])
        if self._thumb_part is not None:
            weights, centroids = self._thumb_part
            thumb = (weights * (aligned[THUMB].reshape(12) - centroids) ** 2).sum(1)
            distances = np.sqrt(np.maximum(distances.astype(np.float64) ** 2 - thumb, 0)).astype(np.float32)
            cluster = int(distances.argmin())
        known = 0 <= cluster < len(self.clusters)
        if not known or not np.isfinite(distances).all() or not np.isfinite(aligned).all():
            return self._posture(UNSURE, -1, distances, 0.0, canonical)
        margin = margin_of(distances, self.clusters)
        sure = (
            hand.score >= MIN_PRESENCE and margin >= self.min_margin and distances.min() <= self.max_distance
        )
        return self._posture(self.clusters[cluster] if sure else UNSURE, cluster, distances, margin, aligned)

    def _posture(self, label: str, cluster: int, distances: Array, margin: float, aligned: Array) -> Posture:
        apart = np.linalg.norm(aligned - self.reference_aligned, axis=-1)
        thumb = float(apart[3:5].mean()) if cluster >= 0 else math.nan
        return Posture(label, cluster, distances, margin, aligned, apart * self.joints_count, thumb)

    def _find_thumb_part(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The weights (K, 12) and centroids (K, 12) of the thumb's coordinates in the hand frame.

        The file does not say them, but its graph gives them away: the thumb's joints do not move the hand
        frame, and a squared distance is a parabola in each of their coordinates. What the thumb adds to it
        can then be taken off again.
        """
        axes = hand_axes(self.reference)
        steps = np.zeros((12, 21, 3))
        for i in range(12):
            steps[i, THUMB.start + i // 3] = axes[i % 3]
        hands = np.concatenate([self.reference[None], self.reference + steps, self.reference - steps])
        squares = np.concatenate([self.run(hand[None].astype(np.float32))["distances"] for hand in hands])
        square = squares.astype(np.float64) ** 2
        here, more, less = square[0], square[1:13], square[13:]
        weights = np.maximum((more + less - 2 * here) / 2, 0).T
        rise = ((more - less) / 4).T
        # The weight of a coordinate that does not count is rounding noise.
        counts = weights > 1e-4
        away = np.divide(rise, weights, out=np.zeros_like(rise), where=counts)
        return weights * counts, self.reference_aligned[THUMB].reshape(12) - away


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
