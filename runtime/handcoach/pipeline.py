"""The path of a frame, put together once: what the commands, the window and the benchmarks all run."""

from __future__ import annotations

from pathlib import Path

import cv2

from handcoach import model
from handcoach.defaults import FINDER, LANDMARKS
from handcoach.exercise import Exercise, Posture
from handcoach.finder import Finder
from handcoach.hand import Frame
from handcoach.landmarker import Landmarker
from handcoach.tracker import Choice, Track, Tracker

# Of a step's time while a hand is followed (`handcoach-bench accuracy --part latency`).
NETWORK_SHARE = 0.77


class Pipeline:
    """Tracker and, where there is one, exercise. Use it from one thread at a time.

    Attributes:
        usual_s: how long a step takes on this laptop when it is cool, seconds; None where nobody measured.
    """

    def __init__(
        self, tracker: Tracker, exercise: Exercise | None = None, usual_s: float | None = None
    ) -> None:
        self.tracker, self.exercise, self.usual_s = tracker, exercise, usual_s
        tracker.along = exercise is not None and exercise.along

    def step(self, frame: Frame) -> tuple[Track, Posture | None]:
        """The hand of a frame, and its posture where there are a hand and an exercise."""
        track = self.tracker.step(frame)
        if track.hand is None or self.exercise is None:
            return track, None
        return track, self.exercise.assess(track.hand)

    @property
    def judge(self) -> Exercise:
        """The exercise of a pipeline that has one."""
        assert self.exercise is not None
        return self.exercise

    def reset(self) -> None:
        """Forget the hand, for a new source or after a jump in time."""
        self.tracker.reset()


def load(
    exercise: str | Path | None = None,
    landmarks: str | Path = LANDMARKS,
    finder: str | Path = FINDER,
    *,
    hand: Choice = "auto",
    still: bool = False,
    threads: int = 1,
    provider: str = "CPUExecutionProvider",
    thumb: bool = True,
    network_ms: float | None = None,
) -> Pipeline:
    """Load models by the names of shipped ones or by file.

    Args:
        exercise: None for landmarks alone.
        hand: the patient's hand, where somebody chose it; else the exercise's own, where it has one.
        still: see `Tracker`.
        threads: of each model; they run one after the other.
        provider: of the landmark model; the others are too small to gain from another than the CPU.
        thumb: False leaves the thumb out of the verdict.
        network_ms: what the landmark network takes for one hand on this laptop, where it was measured.

    Raises:
        ModelError: one of them is missing or does not fit.
    """
    # OpenCV's own threads cost more than they bring for pictures this small, and spin.
    cv2.setNumThreads(1)
    judge = None
    if exercise is not None:
        judge, hand = _judge(exercise, hand, threads, thumb)
    find = Finder(model.read(model.find(str(finder), "finder"), "finder"), threads)
    read = Landmarker(model.read(model.find(str(landmarks), "landmarks"), "landmarks"), threads, provider)
    usual_s = None if network_ms is None else network_ms / 1e3 / NETWORK_SHARE
    return Pipeline(Tracker(find, read, hand, still), judge, usual_s)


def with_exercise(
    before: Pipeline, exercise: str | Path, *, hand: Choice = "auto", thumb: bool = True
) -> Pipeline:
    """The same networks with another exercise: quick, and no second copy of them is in memory.

    Args:
        before: is not used any more. exercise, hand, thumb: as for `load`.

    Raises:
        ModelError: it is missing or does not fit; `before` is as it was.
    """
    judge, hand = _judge(exercise, hand, before.judge.threads, thumb)
    tracker = before.tracker
    return Pipeline(Tracker(tracker.finder, tracker.landmarker, hand, tracker.still), judge, before.usual_s)


def _judge(exercise: str | Path, hand: Choice, threads: int, thumb: bool) -> tuple[Exercise, Choice]:
    """The exercise, and the hand to look for: its own where nobody chose one."""
    judge = Exercise(model.read(model.find(str(exercise), "exercise"), "exercise"), threads, thumb=thumb)
    if hand == "auto" and judge.hand in ("left", "right"):
        hand = "left" if judge.hand == "left" else "right"
    return judge, hand
