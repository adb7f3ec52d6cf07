"""An exercise: what the therapist showed, and how close a hand is to it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from handcoach import angles, clusters
from handcoach.coach import MOST_PRAISE, SESSION_S, UNSURE
from handcoach.hand import (
    FINGERS,
    MIDDLE_MCP,
    Array,
    DegenerateHandError,
    Hand,
    as_held,
    beside,
    hand_axes,
    hand_frame,
)
from handcoach.model import ModelFile
from handcoach.session import Session

# Whether the thumb is in the verdict, judged apart because the exercise leaves it out, or not judged at all.
Thumb = Literal["counts", "apart", "off"]
# How the teacher's arm is held: `up` from the elbow, which rests on the table, or lying there, `towards` the
# laptop or `along` its screen.
Arm = Literal["up", "towards", "along"]

# Presence below which a hand is followed, but not judged.
MIN_PRESENCE = 0.6
# How far up a teacher's hand points whose elbow rests on the table, and how far across the person, its
# little finger's side to the camera, one whose arm lies along the screen; of the distance from wrist to
# middle MCP. The shipped exercises keep clear of both.
UPRIGHT, ASIDE = 0.8, 0.33
# Hands that the graph is run on at once: `graph.MAX_VALUES` of each are 130 MB as float64.
AT_ONCE = 32
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
        shown: float32 (21, 3), the same `hand.beside` the reference hand: turned from it where that counts.
        joint_distances: float32 (21,), from each joint so to the reference hand's, in units of the hand's
            scale; 0 of a joint that does not count in this exercise.
        thumb: mean distance of the thumb's two outer joints, which show what it does, to the reference's, in
            the same units; NaN where unknown.
    """

    label: str
    cluster: int
    distances: Array
    margin: float
    aligned: Array
    shown: Array
    joint_distances: Array
    thumb: float = math.nan

    @property
    def sure(self) -> bool:
        return self.label != UNSURE


class Exercise:
    """An exercise file that runs. Use it from one thread at a time.

    Attributes:
        labels: postures from best to worst. author: who says to have made it; "" where nobody does.
        clusters: the label of each cluster.
        reference_aligned: float32 (21, 3), the reference hand in the hand frame.
        kept_axes: axes of the hand frame whose direction counts too; "" where the hand may be turned at will.
        held: (3, 3), see `hand.as_held`.
        arm: how the teacher's lies: see `Arm`.
        along: it lies along the screen and how the hand is turned counts, so that people hold theirs so, too.
        fingers: those that count. joints_count: bool (21,), the joints that do. thumb: see `Thumb`.
        counted: numbers of the fingers that count, without the thumb, 0 the index.
        thumb_needed: the thumb was to be left out and counts all the same, for the exercise is about it.
        trains_flexion: the good posture and another one differ in how far fingers are bent.
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
        *,
        thumb: bool = True,
    ) -> None:
        """Args:
        thumb: False leaves the thumb out of the verdict, whatever the exercise says, but for one about it.
        """
        self.file, self.threads = file, threads
        meta = file.meta
        self.name = file.name
        self.labels: tuple[str, ...] = tuple(meta["labels"])
        self.clusters: tuple[str, ...] = tuple(meta["clusters"])
        self.colours: dict[str, str] = dict(meta["colours"])
        self.hand: str = meta["hand"]
        self.author: str = meta["author"]
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
        self.fingers: tuple[str, ...] = tuple(f for f in FINGERS if f in meta.get("fingers", FINGERS))
        self.max_distance = float(meta["unsure"]["max_distance"])
        self.min_margin = float(meta["unsure"]["min_margin"])
        self.reference = np.asarray(meta["reference"], dtype=np.float32)
        self.reference_aligned = hand_frame(self.reference)
        self.held = as_held(self.reference, self.kept_axes)
        self.arm = _arm(self.reference[MIDDLE_MCP])
        self.along = self.arm == "along" and bool(self.kept_axes)
        self.widen(1.0)
        self._session = Session(file, threads)
        self.counted = [FINGERS.index(finger) - 1 for finger in self.fingers if finger != "thumb"]
        ways = self._way(clusters.Free(self.run, self.reference, clusters.FINGERTIPS))
        self.trains_flexion = self._bends(ways)
        self.thumb: Thumb = "counts" if "thumb" in self.fingers else "apart"
        self.thumb_needed = False
        self._without: clusters.Free | None = None  # the thumb, where its joints are left out
        if not thumb and self.thumb == "counts":
            # Absent in files of before it was told.
            self.thumb_needed = not self.counted or meta.get("about_thumb", False)
            if not self.thumb_needed:
                self.thumb = "off"
                self._without = clusters.Free(self.run, self.reference, clusters.THUMB)
                self.fingers = tuple(f for f in self.fingers if f != "thumb")
        elif not thumb:
            self.thumb = "off"
        self.joints_count = np.array([True, *(f in self.fingers for f in FINGERS for _ in range(4))])

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
        parts = [self._session.run(hands[i : i + AT_ONCE]) for i in range(0, max(len(hands), 1), AT_ONCE)]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def assess(self, hand: Hand) -> Posture:
        """Judge a hand. A left hand is judged as its mirror image."""
        canonical = hand.canonical
        try:
            hand_frame(canonical)
        except DegenerateHandError:
            nowhere = np.full(len(self.clusters), np.nan, dtype=np.float32)
            return self._posture(UNSURE, -1, nowhere, 0.0, canonical, canonical)
        out = self.run(canonical[None] if self._without is None else self._without.moved(canonical))
        aligned = out["hand_frame"][0].reshape(21, 3)
        distances, cluster = out["distances"][0], int(out["cluster"][0])
        if self._without is not None:
            _, distances = self._without.nearest(out["distances"])
        eased = distances / self._ease
        if self._without is not None or (self._ease != 1).any():
            cluster = int(eased.argmin())
        known = 0 <= cluster < len(self.clusters)
        if not known or not np.isfinite(distances).all() or not np.isfinite(aligned).all():
            return self._posture(UNSURE, -1, distances, 0.0, canonical, canonical)
        margin = margin_of(eased, self.clusters)
        sure = (
            hand.score >= MIN_PRESENCE and margin >= self.min_margin and distances.min() <= self.max_distance
        )
        label = self.clusters[cluster] if sure else UNSURE
        return self._posture(label, cluster, distances, margin, canonical, aligned)

    def _posture(
        self, label: str, cluster: int, distances: Array, margin: float, canonical: Array, aligned: Array
    ) -> Posture:
        shown = aligned
        if self.kept_axes and cluster < 0:  # without a palm: as the camera sees it
            shown = canonical @ hand_axes(self.reference).T.astype(np.float32)
        elif self.kept_axes:
            shown = beside(canonical, self.reference, self.kept_axes)
        apart = np.linalg.norm(shown - self.reference_aligned, axis=-1) * self.joints_count
        thumb = aligned[3:5] - self.reference_aligned[3:5]
        far = float(np.linalg.norm(thumb, axis=-1).mean()) if cluster >= 0 else math.nan
        return Posture(label, cluster, distances, margin, aligned, shown, apart, far)

    def _way(self, free: clusters.Free) -> NDArray[np.float64]:
        """From where the joints of the teacher's hand are to where each cluster has them, (K, n, 3)."""
        return free.nearest(self.run(free.moved(self.reference))["distances"])[0]

    def _bends(self, fingers: NDArray[np.float64]) -> bool:
        """Whether fingers that go these ways (K, 12, 3) bend; True too where there is no other posture."""
        others = np.array([label != self.labels[0] for label in self.clusters])
        if not np.isfinite(fingers).all():
            return False
        shown = np.repeat(self.reference_aligned[None], len(fingers), axis=0).astype(np.float64)
        shown[:, clusters.FINGERTIPS] += fingers
        bent = angles.flexion(shown).sum(-1) - angles.flexion(self.reference_aligned).sum(-1)
        return not others.any() or bool((np.abs(bent[others][:, self.counted]) >= angles.CHANGE).any())


def _arm(middle_mcp: Array) -> Arm:
    """How the arm of a canonical hand with this middle MCP (3,) is held."""
    x, y, _ = middle_mcp
    if -y > UPRIGHT:
        return "up"
    return "along" if x > ASIDE else "towards"


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
