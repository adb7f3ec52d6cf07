"""The coach counts holds and rests from posture labels: a pure state machine, no clock, no thread, no widget.

Time comes in with every call, in seconds of any steadily rising clock. The same labels at the same times
always give the same progress.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

State = Literal["ready", "search", "hold", "move", "rest", "paused", "stopped", "done"]

UNSURE = "unsure"
# Seconds that a new label must last before it is believed: shorter changes are flicker.
DWELL_S = 0.3
# Seconds whose frames say together what a hand shows that never rests: three turns of a slow tremor.
MOSTLY_S = 1.0
# Seconds without a hand, or with an unsure one, before the hold is given up: a hand that is lost for a moment
# must not cost the patient the whole hold. The hold's clock stands still meanwhile, and nothing is praised.
GRACE_S = 0.8
# Seconds of exercise, rests included, after which a session ends, where the exercise says nothing else.
SESSION_S = 15 * 60.0
# Seconds without exercise, after which it is another session.
APART_S = 3600.0
# Seconds of rest at least, whatever an exercise says: the praise and the result are read in it.
LEAST_REST_S = 2
# A longer gap between two frames counts as no time at all: a laptop that slept held nothing. One beyond
# GRACE_S ends the hold as well, for nobody saw what the hand did meanwhile.
MAX_STEP_S = 0.5
# Seconds with a hand in view and no hold under way, after which a try has failed.
TRY_S = 15.0
# A failed try makes it easier by three steps, one that succeeds harder by one: this settles where three of
# four succeed (weighted up-down method, Kaernbach 1991). So many steps lie between the therapist's measure
# and the widest that the exercise allows.
EASIER, HARDER, STEPS = 3, 1, 6
# Times the therapist's tolerance at most, in an exercise whose therapist says nothing else.
WIDEST = 1.25
# Times as far as from another posture that a praised hand may be, however much it is widened.
MOST_PRAISE = 2.0


@dataclass(frozen=True)
class Progress:
    """What the coach says now.

    Attributes:
        state: ready (not started), search (no hand, or one that it cannot judge, yet or at all), hold (the
            best posture is held), move (a hand in another posture), rest (forced), paused, stopped (by the
            patient), done.
        label: the believed posture; None where there is none.
        message: what to say, a key: a label of the exercise, or leave (open from the best posture first),
            look (nothing is known of the hand yet), search (it cannot be judged), ready, rest, paused,
            stopped, done, enough (no more in this session).
        hold: 0..1 of this repetition's hold.
        repetition: repetitions finished.
        repetitions: repetitions in all.
        rest: 0..1 of this rest.
        enough: the session's time is over; it does not start again.
    """

    state: State
    label: str | None
    message: str
    hold: float
    repetition: int
    repetitions: int
    rest: float
    enough: bool = False


class OwnRange:
    """How much wider than the therapist's the tolerance is for a person who cannot do better yet.

    People keep at it where most tries succeed, and learn where not all do: three of four are aimed at.

    Attributes:
        widest: times the therapist's tolerance at most; 1 leaves it alone.
    """

    def __init__(self, widest: float = 1.0) -> None:
        self.widest = widest
        self._step = 0  # 0 .. STEPS
        self._tried = 0.0  # seconds of this try

    @property
    def times(self) -> float:
        """Times the therapist's tolerance, from 1 to `widest`."""
        return float(self.widest ** (self._step / STEPS))

    def try_anew(self) -> None:
        """What was tried until now counts neither way."""
        self._tried = 0.0

    def tried(self, seconds: float) -> None:
        """A hand was seen for some time and did not come to the best posture."""
        self._tried += seconds
        if self._tried >= TRY_S:
            self._step = min(self._step + EASIER, STEPS)
            self.try_anew()

    def succeeded(self) -> None:
        self._step = max(self._step - HARDER, 0)
        self.try_anew()


class Coach:
    """Holds and repetitions of one exercise.

    A repetition counts when the best posture has been held for `hold_s` without a break. A rest follows, and
    before the next repetition the hand must have left the best posture once: an open hand that is simply left
    lying there counts once.

    Attributes:
        spent_s: seconds of this session with a hand in view or in a rest, over all starts. From `session_s`
            on it ends, after a hold that is under way, and does not start again for `APART_S`.
        own_range: how much easier it is for this person, over all starts.
    """

    def __init__(
        self,
        hold_s: float,
        repetitions: int,
        rest_s: float,
        labels: Sequence[str],
        session_s: float = SESSION_S,
        widest: float = 1.0,
    ) -> None:
        """Args:
        hold_s, rest_s, session_s: seconds.
        labels: postures from best to worst; the first one is to be held.
        widest: see `OwnRange`.
        """
        if not labels or repetitions < 1 or hold_s < 0 or rest_s < 0 or session_s <= 0:
            raise ValueError("an exercise needs a label, a repetition, and times that are not negative")
        self.hold_s, self.rest_s = hold_s, rest_s
        self.repetitions = repetitions
        self.labels = tuple(labels)
        self.session_s, self.spent_s = session_s, 0.0
        self._spent_t = 0.0  # when any of it was spent last
        self.own_range = OwnRange(widest)
        self._state: Literal["ready", "running", "rest", "paused", "stopped", "done"] = "ready"
        self._reset()

    def _reset(self) -> None:
        self._repetition = 0
        self._before_pause: Literal["running", "rest"] = "running"
        self._rested = 0.0
        self._t: float | None = None
        self._new_hold()
        self._must_leave = False
        self._forget_label()

    def _new_hold(self) -> None:
        self._held = 0.0

    def _forget_label(self) -> None:
        self._label: str | None = None  # believed
        self._candidate: str | None = None  # seen, not yet believed
        self._since = 0.0  # when the candidate was first seen
        self._recent: deque[tuple[float, str | None]] = deque()  # times and labels of the last MOSTLY_S
        self._best_t = -math.inf  # when a frame last showed the best posture while that was believed
        self.own_range.try_anew()

    def take_over(self, before: Coach, *, same_exercise: bool) -> None:
        """Go on with the same person's session, and with how easy the same exercise had become for them."""
        self.spent_s, self._spent_t = before.spent_s, before._spent_t
        if same_exercise:
            self.own_range = before.own_range

    def start(self, t: float) -> Progress:
        """Begin, go on after a pause, or begin anew after the end or a stop; not after a whole session."""
        self._another_session(t)
        if self._enough():
            self._state = "done"
        elif self._state == "paused":
            self._state = self._before_pause
        elif self._state in ("ready", "stopped", "done"):
            self._reset()
            self._state = "running"
        self._t = t
        return self._progress()

    def pause(self, t: float) -> Progress:
        """Keep the repetitions, give up the hold that was under way. Only while running or resting."""
        if self._state in ("running", "rest"):
            self._before_pause = "rest" if self._state == "rest" else "running"
            self._state = "done" if self._enough() else "paused"  # it would not go on
            self._new_hold()
            self._forget_label()
        self._t = t
        return self._progress()

    def stop(self, t: float) -> Progress:
        """End at once, from any state: "Stop, it hurts"."""
        self._state = "stopped"
        self._new_hold()
        self._forget_label()
        self._t = t
        return self._progress()

    def update(self, label: str | None, t: float) -> Progress:
        """One frame.

        Args:
            label: the posture of this frame, "unsure", or None without a hand.
            t: seconds; never before the last call's.
        """
        gap = 0.0 if self._t is None else max(t - self._t, 0.0)
        asleep = gap > MAX_STEP_S
        step = 0.0 if asleep else gap
        self._t = t
        self._another_session(t)
        if self._state in ("running", "rest", "ready"):
            if gap > GRACE_S:
                self._new_hold()
                self._forget_label()
            before = self._label
            self._believe(label, t, restart=asleep)
            if self._state == "rest" or (self._state == "running" and self._candidate is not None):
                self.spent_s, self._spent_t = self.spent_s + step, t
            if self._state == "rest":
                self._rest(step)
            elif self._state == "running":
                self._run(step, before, t)
            if self._enough() and (self._state == "rest" or (self._state == "running" and not self._held)):
                self._state = "done"
        return self._progress()

    def _enough(self) -> bool:
        return self.spent_s >= self.session_s

    def _another_session(self, t: float) -> None:
        if t - self._spent_t >= APART_S:
            self.spent_s = 0.0

    def _believe(self, label: str | None, t: float, *, restart: bool) -> None:
        """Debounce: a label is believed once it has been seen without a break for the dwell time. Of a hand
        that trembles between postures no label lasts so long: then the one of most frames is enough, if it is
        none to praise."""
        if label != self._candidate or restart:
            self._candidate, self._since = label, t
        if restart:
            self._recent.clear()
        self._recent.append((t, label))
        while t - self._recent[0][0] > MOSTLY_S:
            self._recent.popleft()
        best = self.labels[0]
        if t - self._since >= DWELL_S - 1e-9:
            self._label = self._candidate
        elif self._label != best and t - self._recent[0][0] >= DWELL_S - 1e-9:
            self._label = self._mostly()
        if label == self._label == best:
            self._best_t = t
        elif t - self._best_t > GRACE_S + DWELL_S:  # whoever comes back within the grace is believed by then
            # Labels that flicker are never believed: they must not keep the praise either.
            self._new_hold()
            if self._label == best:
                self._label = None

    def _mostly(self) -> str | None:
        """What is seen most of all that is not the best posture; what is believed already stays so as long as
        it is a third of it, that sentences do not flicker."""
        seen = Counter(label for _, label in self._recent if label != self.labels[0])
        if 3 * seen[self._label] >= seen.total():
            return self._label
        return seen.most_common(1)[0][0]

    def _rest(self, step: float) -> None:
        self._rested += step
        self._leave()
        if self._rested >= self.rest_s:
            self._state = "running"
            self._new_hold()

    def _leave(self) -> None:
        """Only a hand that shows other postures for the dwell time frees the next repetition, whichever they
        are and be some of it unsure; one out of view does not."""
        late = reversed(self._recent)
        other = [*itertools.takewhile(lambda seen: seen[1] not in (None, self.labels[0]), late)]
        sure = sum(label != UNSURE for _, label in other)
        flickers = other and other[0][0] - other[-1][0] >= DWELL_S - 1e-9 and 2 * sure >= len(other)
        believed = self._label in self.labels[1:] and other and other[0][0] - self._since >= DWELL_S - 1e-9
        if flickers or believed:
            self._must_leave = False

    def _run(self, step: float, before: str | None, t: float) -> None:
        self._leave()
        # Whoever nearly reaches it is between two postures, and unsure.
        if self._candidate is not None and not self._must_leave and not self._held:
            self.own_range.tried(step)
        if self._label != self.labels[0]:
            if self._label in self.labels or t - self._since > GRACE_S:
                self._new_hold()
        elif not self._must_leave and before == self.labels[0] and self._candidate == self.labels[0]:
            # Time counts only while the frame itself shows the best posture: a flicker stops the clock.
            self._held += step
            if self._held >= self.hold_s - 1e-9:
                self._count()

    def _count(self) -> None:
        self._repetition += 1
        self.own_range.succeeded()
        self._must_leave = len(self.labels) > 1
        if self._repetition >= self.repetitions:
            self._state = "done"
        else:
            self._state, self._rested = "rest", 0.0

    def _progress(self) -> Progress:
        state: State
        best = self.labels[0]
        if self._state != "running":
            state, message = self._state, str(self._state)
            if state in ("ready", "done") and self._enough():
                message = "enough"
        elif self._must_leave and (self._label or self._candidate):
            state, message = "move", "leave"  # on its way to another posture
        elif self._label is None:
            state, message = "search", "look"
        elif self._label == UNSURE:
            state, message = "search", "search"
        elif self._label == best:
            state, message = "hold", best
        else:
            state, message = "move", self._label
        done = self._state in ("rest", "done")
        hold = 1.0 if done else min(1.0, self._held / self.hold_s) if self.hold_s else 0.0
        rest = min(1.0, self._rested / self.rest_s) if self._state == "rest" and self.rest_s else 0.0
        return Progress(
            state, self._label, message, hold, self._repetition, self.repetitions, rest, self._enough()
        )
