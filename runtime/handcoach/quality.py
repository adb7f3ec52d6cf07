"""Is a recording any good? What is said of each posture while it is recorded, and the verdict at the end.
The same eyes look at a patient's picture before the first start: `set_up`.

`of_posture` needs numpy only, so that a window can ask it of the frames so far. The whole verdict, a `Report`
with its pictures, comes from the exercise builder: entry point `check` of the group
`handcoach.exercise_builders`, which needs `handcoach[studio]`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handcoach.crop import extent_of
from handcoach.hand import Array, hand_frame, has_palm
from handcoach.texts import Texts

MIN_FRAMES, GOOD_FRAMES = 20, 60
# Of the webcam sessions at hand every frame has the whole hand in the picture.
MOST_CUT_FRAMES = 0.2
# Brightness of the hand, 0..1, between its darkest and lightest twentieth of the frames.
LIGHT_SPREAD, DARK = 0.06, 0.12
# Mean motion of a joint between frames in the hand frame, in units of wrist to middle MCP. Held hands have
# 0.01 to 0.03 before the filter.
SHAKY, VERY_SHAKY = 0.06, 0.12
SUCCESSIVE_S = 0.2  # frames further apart do not show how a hand shakes
# A frame that its mirror image brings this much nearer to the posture was taken for the other hand.
OTHER_SIDE, FEW_OTHER_SIDE = 0.5, 3
# Pixels from the middle MCP to the farthest joint: with fewer the network's cut-out would be enlarged.
LARGE = 50.0


@dataclass(frozen=True)
class SetUp:
    """What can be seen of how a patient sits, in one picture.

    Attributes:
        bright: the hand is not dark; of a picture without one the tracker's reason tells. Whether light comes
            from behind is not told: a dark hand before a white wall looks the same.
        found: there is a hand. whole: all of it is in the picture. large: it is near enough.
    """

    bright: bool
    found: bool
    whole: bool
    large: bool


@dataclass(frozen=True)
class Finding:
    """One thing to say about a recording.

    Attributes:
        kind: few_frames, too_few_frames, no_palm, other_side, out_of_view, shaky, dark, one_lighting,
            both_hands, overlap or missing: `finding_KIND` is its sentence in `locale/studio`.
        refuses: no exercise is made of the recording until this is mended; otherwise it is a warning.
        label: the posture, "" if it is about all of them.
        values: what the sentence names besides the posture.
    """

    kind: str
    refuses: bool
    label: str
    values: Mapping[str, Any] = field(default_factory=dict)

    @property
    def sentence(self) -> str:
        """What is wrong, and what to record again, in English."""
        return self.say(Texts("en", "studio"))

    def say(self, texts: Texts, names: Mapping[str, str] | None = None) -> str:
        """The sentence in another language; `names` are what the postures are called, by label."""
        names = names or {}
        values = dict(self.values)
        if "other" in values:
            values["other"] = names.get(values["other"], values["other"])
        return texts(f"finding_{self.kind}", label=names.get(self.label, self.label), **values)


@dataclass(frozen=True, eq=False)
class Report:
    """The verdict on a recording.

    Attributes:
        labels: best first. frames: of each label.
        findings: those that refuse come first.
        figures: name (elbow, distances, ...) to picture.
        measured: what the pictures show, as JSON; empty where nothing could be fitted.
    """

    labels: tuple[str, ...]
    frames: Mapping[str, int]
    findings: tuple[Finding, ...]
    figures: Mapping[str, Path] = field(default_factory=dict)
    measured: Mapping[str, Any] = field(default_factory=dict)

    @property
    def good(self) -> bool:
        """An exercise may be made of it."""
        return not any(finding.refuses for finding in self.findings)


def view(image: NDArray[np.uint8], points: NDArray[np.floating]) -> tuple[float, float]:
    """Of a hand in a picture: the share of its joints inside it, and the mean brightness around them, 0..1.

    Args:
        image: uint8 RGB (H, W, 3).
        points: (21, 2), pixels.
    """
    height, width = image.shape[:2]
    inside = ((points >= 0) & (points < (width, height))).all(axis=1)
    (left, top), (right, bottom) = points.min(0), points.max(0)
    x0, x1 = (int(np.clip(v, 0, width - 1)) for v in (left, right))
    y0, y1 = (int(np.clip(v, 0, height - 1)) for v in (top, bottom))
    # Every fourth pixel: a mean needs no more.
    patch = image[y0 : y1 + 1 : 4, x0 : x1 + 1 : 4]
    return float(inside.mean()), float(patch.mean() / 255)


def set_up(image: NDArray[np.uint8], points: NDArray[np.floating] | None) -> SetUp:
    """How a patient sits.

    Args:
        image: uint8 RGB (H, W, 3).
        points: (21, 2) pixels of the hand, None without one.
    """
    if points is None:
        return SetUp(True, False, False, False)
    inside, light = view(image, points)
    return SetUp(light >= DARK, True, inside == 1.0, extent_of(points) >= LARGE)


def of_posture(
    label: str,
    landmarks: Array,
    times: NDArray[np.float64] | None = None,
    takes: NDArray[np.integer] | None = None,
    views: NDArray[np.floating] | None = None,
) -> list[Finding]:
    """What is wrong with the frames of one posture, so far.

    Args:
        landmarks: canonical, (N, 21, 3), finite.
        times: seconds (N,). takes: (N,), frames of one take share a number. views: (N, 2), see `view`.
    """
    found: list[Finding] = []

    def say(kind: str, refuses: bool, **values: object) -> None:
        found.append(Finding(kind, refuses, label, values))

    n = len(landmarks)
    if n < MIN_FRAMES:
        say("too_few_frames", True, n=n, more=MIN_FRAMES - n)
    elif n < GOOD_FRAMES:
        say("few_frames", False, n=n, good=GOOD_FRAMES)
    palm = has_palm(landmarks)
    if not palm.all():
        say("no_palm", True, **_frames(~palm))
    if palm.sum() >= 2:
        other = other_side(landmarks[palm])
        if other.sum() >= FEW_OTHER_SIDE:
            say("other_side", True, **_frames(other))
        moved = _shaking(landmarks, palm, times, takes)
        if moved > SHAKY:
            say("shaky", moved > VERY_SHAKY, moved=moved)
    views = None if views is None else views[np.isfinite(views).all(axis=1)]  # the rest is not known
    if views is not None and len(views):
        cut = views[:, 0] < 1
        if cut.any():
            say("out_of_view", bool(cut.mean() > MOST_CUT_FRAMES), share=float(cut.mean()))
        if np.median(views[:, 1]) < DARK:
            say("dark", False)
    return found


def other_side(landmarks: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Which frames (N, 21, 3) of one posture look like the mirror image of the others: (N,).

    Mirroring a hand turns z of the hand frame around and leaves x and y. A frame is one of the other side if
    its mirror image lies at less than half its distance from the posture's median hand.
    """
    features = hand_frame(landmarks).astype(np.float64)
    middle = np.median(features, axis=0)
    away = np.linalg.norm(features - middle, axis=(1, 2))
    mirrored = np.linalg.norm(features * (1, 1, -1) - middle, axis=(1, 2))
    return np.asarray(mirrored < OTHER_SIDE * away)


def light_spread(views: Mapping[str, NDArray[np.floating]]) -> float | None:
    """How much the brightness of the hand varies over a recording, 0..1; None if it is not known."""
    light = np.concatenate([v[:, 1] for v in views.values()]) if views else np.empty(0)
    light = light[np.isfinite(light)]
    if not len(light):
        return None
    low, high = np.percentile(light, (5, 95))
    return float(high - low)


def _shaking(
    landmarks: Array,
    palm: NDArray[np.bool_],
    times: NDArray[np.float64] | None,
    takes: NDArray[np.integer] | None,
) -> float:
    """Mean motion between successive frames of a take; 0 where there are no successive frames, as of stills.

    Like `handcoach.measure.jitter`, with pairs told by their times.
    """
    if times is None:
        return 0.0
    step = np.diff(times)
    pair = (step > 0) & (step < SUCCESSIVE_S) & palm[1:] & palm[:-1]
    if takes is not None:
        pair &= np.diff(takes) == 0
    if not pair.any():
        return 0.0
    features = np.zeros(landmarks.shape)
    features[palm] = hand_frame(landmarks[palm])
    return float(np.linalg.norm(np.diff(features, axis=0), axis=-1).mean(-1)[pair].mean())


def _frames(which: NDArray[np.bool_]) -> dict[str, int]:
    """How many frames, and the first and the last of them, counted from 1."""
    numbers = np.flatnonzero(which) + 1
    return {"n": len(numbers), "first": int(numbers[0]), "last": int(numbers[-1])}
