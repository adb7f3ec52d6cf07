"""Takes of a posture from live frames: a countdown, then a burst of some seconds, whose landmarks are kept.

A `Recorder` stands where the worker's pipeline stands: the worker hands it every frame, the window begins and
cancels takes and looks at the `Moment`.
"""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from handcoach import model, quality
from handcoach.hand import Array, Frame, has_palm
from handcoach.pipeline import Pipeline
from handcoach.quality import Finding
from handcoach.tracker import Track
from handcoach.worker import Mailbox

COUNTDOWN_S, BURST_S = 3.0, 10.0
PICTURE_EVERY_S = 1.0
JUDGE_EVERY = 8  # frames between two looks at the quality of the take so far


@dataclass(frozen=True, eq=False)
class Take:
    """What a burst saw.

    Attributes:
        landmarks: float32 (N, 21, 3), canonical; N may be 0. t: seconds (N,). view: (N, 2).
        hand: left, right or either. landmark_model: its family's name.
        frames: pictures in all. other: those that showed the other hand and were left out.
        replace: older takes of the posture are to go. pictures: JPEG files, where they are to be kept.
    """

    label: str
    landmarks: Array
    t: NDArray[np.float64]
    view: Array
    hand: str
    landmark_model: str
    frames: int
    other: int
    replace: bool = True
    pictures: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class Moment:
    """Where a take stands.

    Attributes:
        stage: idle, countdown or burst.
        left: seconds of the countdown or of the burst.
        share: 0..1 of the burst.
        frames, hands: pictures so far, and those with a hand that is kept.
        findings: about what has been taken so far.
    """

    stage: Literal["idle", "countdown", "burst"] = "idle"
    label: str = ""
    left: float = 0.0
    share: float = 0.0
    frames: int = 0
    hands: int = 0
    findings: tuple[Finding, ...] = ()


class Recorder:
    """A pipeline that keeps what it sees while a take is under way."""

    exercise = None
    usual_s = None  # a take wants every frame

    def __init__(self, line: Pipeline, *, countdown_s: float = COUNTDOWN_S, burst_s: float = BURST_S) -> None:
        self.takes: Mailbox[Take] = Mailbox()
        self._line, self._countdown_s, self._burst_s = line, countdown_s, burst_s
        self._lock = threading.Lock()
        self._moment = Moment()
        self._since: float | None = None  # when the countdown began, in the frames' time
        self._replace, self._keep_pictures = True, False
        self._clear()

    def _clear(self) -> None:
        self._seen: list[tuple[Array, float, tuple[float, float], str]] = []
        self._pictures: list[bytes] = []
        self._pictured = -np.inf

    # Called from the view's thread.

    def begin(self, label: str, *, replace: bool = True, keep_pictures: bool = False) -> None:
        """Count down, then take the posture; in place of older takes, or beside them."""
        with self._lock:
            self._clear()
            self._since, self._replace, self._keep_pictures = None, replace, keep_pictures
            self._moment = Moment("countdown", label, self._countdown_s)

    def cancel(self) -> None:
        """Forget the take that is under way."""
        with self._lock:
            self._clear()
            self._moment = Moment()

    @property
    def moment(self) -> Moment:
        with self._lock:
            return self._moment

    # Called from the worker's thread.

    def step(self, frame: Frame) -> tuple[Track, None]:
        track, _ = self._line.step(frame)
        with self._lock:
            if self._moment.stage != "idle":
                self._advance(frame, track)
        return track, None

    def reset(self) -> None:
        """The source begins anew; a take goes on, since its frames' time does."""
        self._line.reset()

    def _advance(self, frame: Frame, track: Track) -> None:
        if self._since is None:
            self._since = frame.t
        gone = frame.t - self._since
        label = self._moment.label
        if gone < self._countdown_s:
            self._moment = Moment("countdown", label, self._countdown_s - gone)
            return
        gone -= self._countdown_s
        if gone >= self._burst_s:
            self.takes.put(self._take())
            self._clear()
            self._moment = Moment()
            return
        self._look(frame, track)
        before = self._moment
        frames, findings = before.frames + 1, before.findings
        kept, _ = self._sorted()
        if frames % JUDGE_EVERY == 0 and len(kept) >= 2:
            landmarks, t, view = _arrays(kept)
            found = quality.of_posture(label, landmarks, t, None, view)
            findings = tuple(f for f in found if not f.kind.endswith("few_frames"))  # there will be more
        self._moment = Moment(
            "burst", label, self._burst_s - gone, gone / self._burst_s, frames, len(kept), findings
        )

    def _look(self, frame: Frame, track: Track) -> None:
        hand = track.hand
        if hand is not None and has_palm(hand.canonical):
            choice = self._line.tracker.choice
            side = "other" if track.mismatch else hand.side if choice == "auto" else choice
            self._seen.append((hand.canonical, frame.t, quality.view(frame.image, hand.points), side))
        if self._keep_pictures and frame.t - self._pictured >= PICTURE_EVERY_S:
            self._pictured = frame.t
            ok, data = cv2.imencode(".jpg", frame.image[..., ::-1])
            if ok:
                self._pictures.append(bytes(data))

    def _sorted(self) -> tuple[list[tuple[Array, float, tuple[float, float], str]], int]:
        """What is kept, all of one hand, and how many frames showed the other one."""
        sides = Counter(side for *_, side in self._seen if side != "other")
        most = sides.most_common(1)[0][0] if sides else ""
        kept = [seen for seen in self._seen if seen[3] == most]
        return kept, len(self._seen) - len(kept)

    def _take(self) -> Take:
        kept, other = self._sorted()
        landmarks, t, view = _arrays(kept)
        name = model.family(self._line.tracker.landmarker.file)
        return Take(
            self._moment.label, landmarks, t, view, kept[0][3] if kept else "either", name,
            self._moment.frames, other, self._replace, tuple(self._pictures),
        )  # fmt: skip


def _arrays(
    seen: list[tuple[Array, float, tuple[float, float], str]],
) -> tuple[Array, NDArray[np.float64], Array]:
    if not seen:
        return np.zeros((0, 21, 3), np.float32), np.zeros(0), np.zeros((0, 2), np.float32)
    return (
        np.stack([one[0] for one in seen]).astype(np.float32),
        np.array([one[1] for one in seen]),
        np.array([one[2] for one in seen], np.float32),
    )
