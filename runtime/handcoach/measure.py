"""What training and benchmarks both measure of landmarks, so that one figure means one thing.

Landmarks are arrays (..., 21, 3) in any unit and axes unless said otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from handcoach.crop import Crop
from handcoach.hand import Array, Frame, hand_frame
from handcoach.pipeline import Pipeline

Floats = NDArray[np.float64]

# How far a cut-out is `off`: shares of its side, and degrees.
SHIFT, SCALE, TURN_DEGREES = 0.1, 0.1, 15.0
BLOCK, DRAWS = 10, 10_000  # of the bootstrap: photographs that are drawn together, and draws


def off(crop: Crop, rng: np.random.Generator) -> Crop:
    """The cut-out as a poor finder would have placed it: moved by a tenth of its side in any direction, a
    tenth larger or smaller, and turned by 15 degrees one way or the other, all at once."""
    way, larger, turn = rng.uniform(0, 2 * math.pi), rng.choice([-1, 1]), rng.choice([-1, 1])
    return replace(
        crop,
        x=crop.x + SHIFT * crop.size * math.cos(way),
        y=crop.y + SHIFT * crop.size * math.sin(way),
        size=crop.size * (1 + SCALE) ** float(larger),
        roll=crop.roll + math.radians(TURN_DEGREES) * float(turn),
    )


def align(landmarks: NDArray[np.floating], truth: NDArray[np.floating]) -> Floats:
    """Landmarks rotated, scaled and shifted, never mirrored, to lie as near to truth as can be.

    The least-squares similarity of Umeyama (1991), for each hand of (..., J, 3) on its own.
    """
    x, y = np.asarray(landmarks, np.float64), np.asarray(truth, np.float64)
    x0, y0 = x.mean(-2, keepdims=True), y.mean(-2, keepdims=True)
    x, y = x - x0, y - y0
    u, singular, vt = np.linalg.svd(np.swapaxes(x, -1, -2) @ y)
    # Where the best fit would mirror, the axis that costs least is turned instead.
    sign = np.ones_like(singular)
    sign[..., 2] = np.where(np.linalg.det(u @ vt) < 0, -1.0, 1.0)
    turn = (u * sign[..., None, :]) @ vt
    scale = (singular * sign).sum(-1) / np.maximum((x**2).sum((-1, -2)), 1e-12)
    return np.asarray(scale[..., None, None] * (x @ turn) + y0)


def pa_mpjpe(landmarks: NDArray[np.floating], truth: NDArray[np.floating]) -> Floats:
    """Mean distance (...) of the joints to truth after `align`, in truth's unit."""
    return np.asarray(np.linalg.norm(align(landmarks, truth) - truth, axis=-1).mean(-1))


def jitter(canonical: NDArray[np.floating], numbers: NDArray[np.integer] | None = None) -> float:
    """Mean motion of the hand-frame landmarks between successive frames, in units of wrist to middle MCP.

    The mean goes over all 21 joints (the wrist, which never moves, among them) and all pairs of frames. In
    the hand frame (paper 5.2.1) a hand that moves or turns as a whole does not count as moving. Not a number
    if no frame has a successor.

    Args:
        canonical: (T, 21, 3), canonical and normalised.
        numbers: of the frames (T,): pairs are only those whose numbers differ by 1. None: all are
            successive.
    """
    if len(canonical) < 2:
        return float("nan")
    moved = np.linalg.norm(np.diff(hand_frame(canonical).astype(np.float64), axis=0), axis=-1).mean(-1)
    if numbers is not None:
        moved = moved[np.diff(numbers) == 1]
    return float(moved.mean()) if len(moved) else float("nan")


def lag(filtered: NDArray[np.floating], raw: NDArray[np.floating], fps: float, most_s: float = 0.5) -> float:
    """Milliseconds by which a filtered sequence (T, ...) comes behind the raw one, by cross-correlation.

    The shift at which the two correlate best over all coordinates together (each less its mean), refined to
    parts of a frame by the parabola through the best value and its neighbours. The clip must move: what
    stands still has no lag.

    Raises:
        ValueError: the sequences differ in shape, are too short for `most_s`, or stand still.
    """
    a = np.asarray(filtered, np.float64).reshape(len(filtered), -1)
    b = np.asarray(raw, np.float64).reshape(len(raw), -1)
    most = round(most_s * fps)
    if a.shape != b.shape or len(a) < 2 * most + 4:
        raise ValueError(f"two sequences of one shape and of at least {2 * most + 4} frames are needed")
    # The filtered window stays; the raw one slides, from `most` frames earlier to `most` later.
    window = slice(most, len(a) - most)
    x = a[window] - a[window].mean(0)
    shifts = np.arange(-most, most + 1)
    score = np.empty(len(shifts))
    for i, shift in enumerate(shifts):
        y = b[most - shift : len(b) - most - shift]
        y = y - y.mean(0)
        score[i] = (x * y).sum() / max(float(np.sqrt((x**2).sum() * (y**2).sum())), 1e-30)
    if score.max() <= 1e-6:
        raise ValueError("the sequence stands still")
    best = int(score.argmax())
    part = 0.0
    if 0 < best < len(shifts) - 1:
        left, here, right = score[best - 1 : best + 2]
        bend = left - 2 * here + right
        part = 0.5 * (left - right) / bend if bend < 0 else 0.0
    return float(1000 * (shifts[best] + part) / fps)


@dataclass(frozen=True, eq=False)
class Watched:
    """The hand of a clip as a tracked movement, those frames in which it was found.

    Attributes:
        number: int (T,) of each frame. raw, smooth: canonical landmarks float32 (T, 21, 3) before and after
        the filter. fps: frames per second.
    """

    number: NDArray[np.int64]
    raw: Array
    smooth: Array
    fps: float

    def lag_ms(self) -> float | None:
        """Lag of the filter in the hand frame; None where nothing moves, or the hand was lost in between."""
        if len(self.number) < 2 or (np.diff(self.number) != 1).any():
            return None
        try:
            return lag(hand_frame(self.smooth), hand_frame(self.raw), self.fps)
        except ValueError:  # too short, or nothing moves
            return None


def watch(line: Pipeline, frames: Iterable[Frame], fps: float | None = None) -> Watched:
    """Follow the hand of a clip.

    Args:
        line: made for moving pictures; it starts anew.
        fps: play the frames at so many a second; None: at their own times.
    """
    line.reset()
    number, times, raw, smooth = [], [], [], []
    for i, frame in enumerate(frames):
        times.append(frame.t if fps is None else i / fps)
        track, _ = line.step(replace(frame, t=times[-1]))
        if track.hand is not None and track.raw is not None:
            number.append(i)
            raw.append(track.raw.canonical)
            smooth.append(track.hand.canonical)
    own = fps or (len(times) - 1) / max(times[-1] - times[0], 1e-9) if len(times) > 1 else 1.0
    shape = (len(number), 21, 3)
    return Watched(
        np.array(number, np.int64),
        np.reshape(raw, shape).astype(np.float32),
        np.reshape(smooth, shape).astype(np.float32),
        float(own),
    )


def interval(values: Sequence[float], seed: int = 0) -> tuple[float, float]:
    """95 % bootstrap interval of the mean, percentile method.

    Photographs that follow one another are nearly the same, so blocks of BLOCK of them are drawn, which wrap
    around at the end (circular block bootstrap, Politis and Romano 1992): single ones would feign certainty.
    """
    x = np.asarray(values, np.float64)
    block = min(BLOCK, max(1, len(x) // 10))
    starts = np.random.default_rng(seed).integers(len(x), size=(DRAWS, -(-len(x) // block)))
    numbers = (starts[..., None] + np.arange(block)) % len(x)
    means = x[numbers.reshape(DRAWS, -1)[:, : len(x)]].mean(1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)
