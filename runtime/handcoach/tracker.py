"""Follows one hand: find it, cut it out, read it, smooth it, and say why there is none.

Which hand it is gets settled before anything is judged, since a mirrored hand has the opposite palm normal.
The network always sees what should be a right hand: a left hand's cut-out is mirrored. The finder's side
starts a track, the running average of the network's `right` corrects it; where the exercise has the arm lie
along the screen, the side that it comes from counts, too. The user's choice overrules all of them.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from handcoach.crop import Crop, crop_around, crop_for, extent_of
from handcoach.finder import Detection, Finder
from handcoach.hand import MIDDLE_MCP, WRIST, Array, DegenerateHandError, Frame, Hand, Side, normalise
from handcoach.landmarker import Landmarker, Reading

Reason = Literal["no_hand", "too_dark", "too_bright", "too_near", "too_far", "half_out"]
Choice = Literal["auto", "left", "right"]
CHOICES: tuple[str, ...] = get_args(Choice)
SIDES: tuple[Side, ...] = get_args(Side)

# After a hand is found it is read again in the cut-out of its own points, this many times: the finder's
# square is rough, and the network was trained on squares around true points.
REFINEMENTS = 1
# How much of the finder's picture the frame takes: whole, and, when no hand is found so, a step back, since a
# hand that fills the frame is larger than those that the finder knows best.
LOOKS = (1.0, 0.6)
# Candidates of the finder that are tried in one look.
CANDIDATES = 2
# A candidate of at least WEAK_SCORE is a hand where presence is over its threshold and finder and landmark
# network together are sure of it: SCORE_WEIGHT times the logit of the finder's score and the logit of the
# last presence, each over its threshold's, are EVIDENCE at least. Chosen from a grid on held-out pictures
# (models/history.md): about a third of the false finds and of the misses that two thresholds have.
WEAK_SCORE = 0.2
SCORE_WEIGHT, EVIDENCE = 4.0, 5.0
# Seconds between two looks at the whole frame while a hand is followed.
FIND_EVERY_S = 1.0
# Seconds without a frame after which a track has no past: everything starts anew.
FORGET_S = 1.0
# Frames are looked at in turns (LOOKS), and each guesses anew why there is no hand; but a sentence that
# changes with every frame is none. A reason stands until in the last REASON_S another one was given by so
# many times as many frames. That there is no hand tells least: it counts half.
REASON_S, REASON_AHEAD = 1.0, 1.5
# A followed hand is the one that the finder sees if their middle MCPs are nearer than this, in units of the
# larger extent of the two.
SAME_HAND = 0.6
# Presence below which a followed hand that the finder does not see is left for one that it does see.
WEAK_PRESENCE = 0.8
# Looks at the whole frame, one after the other, that may miss the followed hand before it is doubted.
MISSES = 2

# Readings that the average of `_right` covers, at least: about half a second. It changes its mind beyond
# these bounds, not at 0.5, so that it does not flicker.
SIDE_READINGS = 15
SIDE_FLIPS = 0.35
# Of an arm along the screen: how far a hand must point across the picture, as a share of the way from its
# wrist to its middle MCP, for that to say something of its side, and how much of the belief that is. Rendered
# wrists that are bent by 65 degrees have 0.23 or more; where the network takes one for the other hand it is
# not sure, and where it is sure it overrules an arm that lies there from the wrong side.
ACROSS = 0.15
ARM_COUNTS = 0.4

# One-Euro (Casiez et al. 2012). Speeds are in hand extents per second, so that one set fits near and far
# hands: cutoff (Hz) = MIN_CUTOFF_HZ + BETA * speed. Chosen from a grid on the demo's rendered clip, as it is
# and three times slower, at 30 frames a second with noise of 0.0075 hand units on every coordinate: these
# lag by at most 73 ms (`handcoach.measure.lag`; the goal is 80) and add 23 % less jitter than constants that
# lag by 68 ms.
MIN_CUTOFF_HZ = 0.1
BETA = 0.9  # Hz per extent per second
SPEED_CUTOFF_HZ = 1.0

# A cut-out that would move, grow and turn by less than this (shares of its size, radians) follows slowly, by
# STEADY_SHARE of the way: it moves by the points' noise, which moves the next reading. On three rendered
# clips with sensor noise a held hand's unfiltered landmarks then jitter by a quarter less.
STEADY_SHIFT, STEADY_SIZE, STEADY_ROLL = 0.04, 0.06, 0.08
STEADY_SHARE = 0.2

# Why there is no hand.
DARK_LEVEL = 30  # mean of the picture, 0..255
BURNT_LEVEL, MOST_BURNT = 250, 0.5  # of a pixel's darkest channel, and of the picture that is so bright
NEAR_EXTENT = 0.5  # of the frame's shorter side
FAR_EXTENT = 0.045  # of the frame's shorter side
FAR_PIXELS = 10.0  # extent below which no network tells a fist from a flat hand
OUT_POINTS = 6  # of 21 outside the frame: the network guesses them
OUT_MARGIN = 0.01  # of the frame's longer side by which a point must be outside to count


@dataclass(frozen=True)
class Track:
    """What is known of the hand in one frame: a hand, or a reason why there is none.

    Attributes:
        mismatch: the user chose a side, and it looks like the other one.
        raw: the hand as the network saw it in this frame, before anything was smoothed; with `hand` only.
    """

    hand: Hand | None
    reason: Reason | None = None
    mismatch: bool = False
    raw: Hand | None = None


class OneEuro:
    """One-Euro filter of an array (..., D) of points: still points stand still, fast ones do not lag.

    Cutoffs in Hz, times in seconds. Points of one filter keep their shape.
    """

    def __init__(
        self,
        min_cutoff: float = MIN_CUTOFF_HZ,
        beta: float = BETA,
        speed_cutoff: float = SPEED_CUTOFF_HZ,
    ) -> None:
        self.min_cutoff, self.beta, self.speed_cutoff = min_cutoff, beta, speed_cutoff
        self.reset()

    def reset(self) -> None:
        """Forget everything: the next value is taken as it is."""
        self._value: NDArray[np.float64] | None = None
        self._velocity: NDArray[np.float64] | None = None
        self._t = 0.0

    def __call__(self, value: NDArray[np.floating], t: float, unit: float = 1.0) -> Array:
        """The smoothed value at time t.

        Args:
            unit: what counts as one unit of length when speed is judged, in the value's unit.
        """
        new = np.asarray(value, dtype=np.float64)
        dt = t - self._t
        if self._value is None or self._velocity is None or dt > FORGET_S:
            self._value, self._velocity, self._t = new, np.zeros_like(new), t
        elif dt > 0:
            velocity = (new - self._value) / dt
            self._velocity = self._velocity + _share(self.speed_cutoff, dt) * (velocity - self._velocity)
            speed = np.sqrt((self._velocity**2).sum(axis=-1, keepdims=True)) / unit
            self._value = self._value + _share(self.min_cutoff + self.beta * speed, dt) * (new - self._value)
            self._t = t
        return self._value.astype(np.float32)


def _share(cutoff: float | NDArray[np.float64], dt: float) -> float | NDArray[np.float64]:
    """How much of the way to a new value a low-pass of this cutoff (Hz) goes in dt seconds."""
    return 1 / (1 + 1 / (2 * math.pi * cutoff * dt))


class Tracker:
    """One hand through the frames of one source. Use it from one thread at a time.

    Attributes:
        along: the forearm is to lie along the screen, see `handcoach.exercise.Arm`; a `Pipeline` sets it.
    """

    def __init__(
        self, finder: Finder, landmarker: Landmarker, hand: Choice = "auto", still: bool = False
    ) -> None:
        """
        Args:
            hand: the patient's hand, where somebody chose it.
            still: frames are independent pictures: nothing is remembered or smoothed.
        """
        if hand not in CHOICES:
            raise ValueError(f"hand must be one of {CHOICES}, not {hand!r}")
        self.finder, self.landmarker, self.choice, self.still = finder, landmarker, hand, still
        self.along = False
        self._smooth_points, self._smooth_landmarks = OneEuro(), OneEuro()
        self.reset()

    def reset(self) -> None:
        """Forget the hand, for a new source or after a jump in time."""
        self._reading: Reading | None = None  # of the last frame, raw
        self._crop: Crop | None = None  # in which it was read, while a hand is followed
        self._t = self._found_t = 0.0
        self._why: Reason | None = None  # there is no hand, as it was said last
        self._whys: deque[tuple[float, Reason]] = deque()  # and as the frames of late have it
        self._look = 0  # which of LOOKS is next
        self._misses = 0  # looks at the whole frame that did not see the followed hand
        self._rights, self._count = 0.5, 0  # running average of `_right`, and of how many
        self._side: Side = "right"
        self._smooth_points.reset()
        self._smooth_landmarks.reset()

    def step(self, frame: Frame) -> Track:
        """The hand in the next frame. Times must not go back, except after `reset`."""
        if self.still or not 0 <= frame.t - self._t <= FORGET_S:
            self.reset()
        self._t = frame.t
        detections: list[Detection] = []
        reading = self._follow(frame.image)
        if reading is None:
            self._lose()
            # A still gets all looks; of moving pictures each frame gets one, since the next frame is near.
            looks = LOOKS if self.still else (LOOKS[self._look],)
            self._look = (self._look + 1) % len(LOOKS)
            for fill in looks:
                seen = self._candidates(frame.image, fill, both=True)
                detections = detections or seen
                reading = self._start(frame.image, self._ranked(seen))
                if reading is not None:
                    break
            self._found_t = frame.t
        elif frame.t - self._found_t >= FIND_EVERY_S:
            self._found_t = frame.t
            reading = self._look_around(frame.image, reading)
        self._reading = reading
        if reading is None:
            return self._none(self._reason(frame.image, detections), frame.t)
        height, width = frame.image.shape[:2]
        reason = _unusable(reading.points, width, height)
        if reason is not None:
            return self._none(reason, frame.t)
        return self._publish(reading, frame.t)

    def all_hands(self, image: NDArray[np.uint8]) -> list[Hand]:
        """Every hand in a picture RGB (H, W, 3): the finder's detections, each read by the landmark network,
        surest detection first. Whatever was followed is forgotten."""
        hands: list[Hand] = []
        for fill in LOOKS:
            for detection in self._candidates(image, fill, both=True):
                self.reset()
                reading = self._start(image, [detection])
                if reading is None or _unusable(reading.points, image.shape[1], image.shape[0]):
                    continue
                # Two detections may lead to one hand.
                if any(_near(hand.points, reading.points) for hand in hands):
                    continue
                hand = self._hand(reading.points, reading.landmarks, reading)
                hands += [hand] if hand else []
            if hands:
                break
        self.reset()
        return hands

    # --- reading ---

    def _follow(self, image: NDArray[np.uint8]) -> Reading | None:
        """The hand near where it was."""
        if self._reading is None:
            return None
        # Around the raw points, not the smoothed ones: a cut-out that lags loses a fast hand.
        self._crop = _steady(self._crop, self._around(self._reading.points))
        reading = self.landmarker.read(image, self._crop)
        if reading.presence < self.landmarker.threshold:
            return None
        self._believe(reading)
        return self._of_this_side(self._other_side(image, reading))

    def _candidates(self, image: NDArray[np.uint8], fill: float = 1.0, both: bool = False) -> list[Detection]:
        """What the finder takes for a hand, if only weakly; arguments as `Finder.find`'s."""
        return self.finder.find(image, min(WEAK_SCORE, self.finder.threshold), fill, both=both)

    def _start(self, image: NDArray[np.uint8], candidates: list[Detection]) -> Reading | None:
        """The first of these detections that the landmark network takes for a hand."""
        for detection in candidates[:CANDIDATES]:
            self._rights, self._count = detection.right, 1
            square = crop_for(
                detection.wrist,
                detection.middle_mcp,
                detection.extent,
                roll=self.landmarker.roll,
                margin=self.landmarker.margin,
            )
            # Seen both ways round, so that neither side has the advantage of having been tried first.
            seen = {
                side: self.landmarker.read(image, replace(square, mirrored=side == "left"))
                for side in (SIDES if self.choice == "auto" else (self.choice,))
            }
            for reading in seen.values():
                self._believe(reading)
            self._side = self._choose()
            reading = seen[self._side]
            for _ in range(REFINEMENTS):
                # The finder's square may be rough, so that only the last reading must be convincing.
                if reading.presence < self.landmarker.threshold / 2:
                    break
                reading = self._read(image, reading.points)
                self._believe(reading)
            if self._convincing(detection, reading):
                # A posture that no hand of this side has: the side is doubted, unless more speaks for it.
                if reading.turned is not None and self.choice == "auto" and self._belief() < 0.5:
                    self._side = _opposite(self._side)
                    return reading
                return self._of_this_side(reading)
        self._count = 0
        return None

    def _convincing(self, detection: Detection, reading: Reading) -> bool:
        """Whether what the finder proposed and the landmark network read there is a hand."""
        score = _logit(detection.score) - _logit(self.finder.threshold)
        presence = _logit(reading.presence) - _logit(self.landmarker.threshold)
        return presence >= 0 and SCORE_WEIGHT * score + presence >= EVIDENCE

    def _around(self, points: Array) -> Crop:
        return crop_around(
            points, mirrored=self._side == "left", roll=self.landmarker.roll, margin=self.landmarker.margin
        )

    def _read(self, image: NDArray[np.uint8], points: Array) -> Reading:
        return self.landmarker.read(image, self._around(points))

    def _look_around(self, image: NDArray[np.uint8], reading: Reading) -> Reading | None:
        """Ask the finder whether what is followed is a hand, and the right one; else change or lose it."""
        here: list[Detection] = []
        elsewhere: list[Detection] = []
        for detection in self._ranked(self._candidates(image)):
            (here if _same(detection, reading.points) else elsewhere).append(detection)
        seen = any(d.score >= self.finder.threshold or self._convincing(d, reading) for d in here)
        self._misses = 0 if seen else self._misses + 1
        weak = reading.presence < WEAK_PRESENCE
        if self._misses and (weak or self._misses >= MISSES):
            other = self._change(image, elsewhere, least=reading.presence)
            if other is not None:
                return other
            if weak and self._misses >= MISSES:
                self._lose()
                return None
        elif self._mismatch():
            wanted = [d for d in elsewhere if d.side == self.choice]
            return self._change(image, wanted, least=self.landmarker.threshold) or reading
        return reading

    def _change(self, image: NDArray[np.uint8], to: list[Detection], least: float) -> Reading | None:
        """Follow one of these hands from now on, if its presence is at least so much."""
        state = self._rights, self._count, self._side
        other = self._start(image, to)
        if other is None or other.presence < least:
            self._rights, self._count, self._side = state
            return None
        self._lose()
        return other

    def _ranked(self, detections: list[Detection]) -> list[Detection]:
        """Candidates, the one to follow first: sure ones before others, large, and of the side that the user
        chose."""

        def worth(d: Detection) -> float:
            fits = {"auto": 1.0, "right": d.right, "left": 1 - d.right}[self.choice]
            return d.score * d.extent * (0.2 + fits)

        return sorted(detections, key=lambda d: (d.score >= self.finder.threshold, worth(d)), reverse=True)

    def _lose(self) -> None:
        self._reading, self._crop, self._misses = None, None, 0
        self._smooth_points.reset()
        self._smooth_landmarks.reset()

    # --- side ---

    def _right(self, reading: Reading) -> float:
        """How probably this is a right hand: by its looks and, where that lies along the screen, by its arm.

        A right arm comes from the picture's left, while of a wrist that is bent up one hand's palm looks
        like the other one's back.
        """
        way = reading.points[MIDDLE_MCP] - reading.points[WRIST]
        if not self.along or not abs(way[0]) > ACROSS * np.linalg.norm(way):
            return reading.right
        return (1 - ARM_COUNTS) * reading.right + ARM_COUNTS * float(way[0] > 0)

    def _believe(self, reading: Reading) -> None:
        """Take one more reading into the running average."""
        self._count = min(self._count + 1, SIDE_READINGS)
        self._rights += (self._right(reading) - self._rights) / self._count

    def _belief(self) -> float:
        """How sure it is that the hand is of the track's side, 0..1."""
        return self._rights if self._side == "right" else 1 - self._rights

    def _of_this_side(self, reading: Reading) -> Reading:
        """A reading whose landmarks are those of a hand of the track's side.

        From its front a fist looks like the back of the other hand's, and the depth of all of it depends on
        which of the two is seen. The track knows better than a single reading which hand it is.
        """
        return reading if reading.turned is None else replace(reading, landmarks=reading.turned)

    def _choose(self) -> Side:
        """The side at the start of a track."""
        if self.choice != "auto":
            return self.choice
        return "right" if self._rights >= 0.5 else "left"

    def _other_side(self, image: NDArray[np.uint8], reading: Reading) -> Reading:
        """Read again, the other way round, if the average has come to contradict the track's side."""
        if self.choice != "auto":
            return reading
        if self._belief() >= SIDE_FLIPS:
            return reading
        before = self._side
        self._side = _opposite(before)
        again = self._read(image, reading.points)
        # As at the start of a track, both ways round must say so together: of some fists each view takes its
        # picture for the other side, and a hand would change sides for nothing.
        rights = (self._right(reading) + self._right(again)) / 2
        both = rights if before == "right" else 1 - rights
        if again.presence < self.landmarker.threshold or both >= 0.5:
            self._side = before
            self._believe(again)
            return reading
        self._smooth_points.reset()
        self._smooth_landmarks.reset()
        return again

    def _mismatch(self) -> bool:
        """The user chose a side, and it has looked like the other one for a while."""
        if self.choice == "auto" or self._count < SIDE_READINGS:
            return False
        return (self._rights if self.choice == "right" else 1 - self._rights) < SIDE_FLIPS

    # --- result ---

    def _publish(self, reading: Reading, t: float) -> Track:
        hand = raw = self._hand(reading.points, reading.landmarks, reading)
        if not self.still:
            points = self._smooth_points(reading.points, t, max(extent_of(reading.points), 1.0))
            hand = self._hand(points, self._smooth_landmarks(reading.landmarks, t), reading)
        if hand is None:
            return Track(None, "no_hand")
        return Track(hand, None, self._mismatch(), raw)

    def _hand(self, points: Array, landmarks: Array, reading: Reading) -> Hand | None:
        """A hand of the track's side, or None where its landmarks have no scale."""
        try:
            landmarks, _, _ = normalise(landmarks)
        except DegenerateHandError:
            return None
        return Hand(landmarks, points, self._side, reading.presence)

    def _none(self, reason: Reason, t: float) -> Track:
        """No hand, for the reason that most frames of late give."""
        self._whys.append((t, reason))
        while t - self._whys[0][0] > REASON_S:
            self._whys.popleft()
        given = Counter[Reason]()
        for _, why in self._whys:
            given[why] += 1 if why == "no_hand" else 2
        ((most, times),) = given.most_common(1)
        if self._why is None or times > REASON_AHEAD * given[self._why]:
            self._why = most
        return Track(None, self._why)

    def _reason(self, image: NDArray[np.uint8], detections: list[Detection]) -> Reason:
        """Why there is no hand, as far as the picture and the finder's guesses tell."""
        some = image[::8, ::8]
        if some.mean() < DARK_LEVEL:
            return "too_dark"
        nothing: Reason = "too_bright" if (some.min(2) >= BURNT_LEVEL).mean() > MOST_BURNT else "no_hand"
        if not detections:
            return nothing
        height, width = image.shape[:2]
        guess = detections[0]
        extent = guess.extent / min(width, height)
        if extent > NEAR_EXTENT:
            return "too_near"
        if extent < FAR_EXTENT:
            return "too_far"
        # The fingers reach as far beyond the middle MCP as the extent says.
        way = guess.middle_mcp - guess.wrist
        tips = guess.middle_mcp + way / (np.linalg.norm(way) + 1e-6) * guess.extent
        outside = _outside(np.stack([guess.wrist, guess.middle_mcp, tips]), width, height)
        return "half_out" if outside else nothing


def _logit(p: float) -> float:
    p = min(max(p, 1e-6), 1 - 1e-6)
    return math.log(p / (1 - p))


def _opposite(side: Side) -> Side:
    return "left" if side == "right" else "right"


def _unusable(points: Array, width: int, height: int) -> Reason | None:
    """Why a hand that is there cannot be judged, or None."""
    if _outside(points, width, height) >= OUT_POINTS:
        return "half_out"
    return "too_far" if extent_of(points) < FAR_PIXELS else None


def _outside(points: NDArray[np.floating], width: int, height: int) -> int:
    """How many points lie clearly outside the frame."""
    slack = OUT_MARGIN * max(width, height)
    low, high = -slack, np.array([width, height]) + slack
    return int(((points < low) | (points > high)).any(axis=-1).sum())


def _same(detection: Detection, points: Array) -> bool:
    apart = float(np.linalg.norm(detection.middle_mcp - points[MIDDLE_MCP]))
    return apart < SAME_HAND * max(detection.extent, extent_of(points))


def _steady(kept: Crop | None, new: Crop) -> Crop:
    """The cut-out for a hand that may stand still: `new` where the hand has moved, else nearly `kept`."""
    if kept is None or kept.mirrored != new.mirrored:
        return new
    x, y = new.x - kept.x, new.y - kept.y
    growth, turn = math.log(new.size / kept.size), math.remainder(new.roll - kept.roll, 2 * math.pi)
    still = (
        math.hypot(x, y) < STEADY_SHIFT * kept.size and abs(growth) < STEADY_SIZE and abs(turn) < STEADY_ROLL
    )
    if not still:
        return new
    return Crop(
        kept.x + STEADY_SHARE * x,
        kept.y + STEADY_SHARE * y,
        kept.size * math.exp(STEADY_SHARE * growth),
        kept.roll + STEADY_SHARE * turn,
        kept.mirrored,
    )


def _near(one: Array, other: Array) -> bool:
    """Whether two hands' points lie so that both are one hand."""
    apart = float(np.linalg.norm(one[MIDDLE_MCP] - other[MIDDLE_MCP]))
    return apart < SAME_HAND * max(extent_of(one), extent_of(other))
