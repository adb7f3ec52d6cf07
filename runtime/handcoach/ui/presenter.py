"""Decides what the window shows. Pure: no toolkit, no clock, no drawing; a view only draws a `ViewState`."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from handcoach import angles, model, quality
from handcoach.hand import FINGERS, Array, Side
from handcoach.texts import Texts
from handcoach.ui import view3d

if TYPE_CHECKING:
    from handcoach.exercise import Arm, Exercise, Posture
    from handcoach.worker import Result

Tone = Literal["praise", "almost", "stretch", "look", "calm", "ready", "rest", "stop", "done", "error"]

# Seconds: a hand that is lost for a moment is not worth a sentence, nor a finger that is farthest for one.
LOST_S = 0.5
HINT_S = 0.7
# A finger is named if it is at least this far off (0..1), this much farther than the next one, and bent more
# or less than the teacher's by so many degrees.
HINT_FAR, HINT_AHEAD, HINT_BENT = 0.35, 0.18, 2 * angles.CHANGE
# Judged pictures a second, below which the coach cannot follow a hand (its MAX_STEP_S).
SLOW_FPS = 2.2
UNDER_WAY = ("search", "hold", "move")
# A check of the set-up, or a word about the thumb, changes once the new one has lasted so long, seconds.
SETTLE_S = 0.5
# What says how to move, which a therapist may want said seldom; everything else is said at once.
CORRECTING = ("search", "move")

Settled = TypeVar("Settled")


@dataclass(frozen=True)
class Check:
    """One line of the set-up: what to see to.

    Attributes:
        good: it is as it should be; None where only the person can tell.
    """

    text: str
    good: bool | None = None


@dataclass(frozen=True, eq=False)
class ViewState:
    """One moment of the window.

    Attributes:
        state: loading, ready, no_hand, search, hold, move, rest, paused, stopped, done, ended or error.
        word: one or two words for the label on the picture.
        message: the one sentence.
        tone: which sign stands beside the sentence, and its colour.
        seconds: left to hold or to rest, None where nothing is counted.
        hold, rest: 0..1.
        title, instructions: what the exercise is, before it is started, or what the camera wants after its
            end; "" otherwise.
        maker: of one that is not ours, whether it is signed and by which key, and who says to have made it.
        checks: the set-up, before the first start of a session; empty later.
        hint: which finger is farthest from the teacher's, or that it may be the wrong hand; "" for none.
        thumb: what the thumb does, in words of its own, and in a rest how the repetition went; "" for
            nothing. thumb_good: it is as the teacher's.
        exercise: file of the one that runs; None before it is loaded.
        can_choose: another exercise may be chosen now.
        mirrored: show the picture as a mirror does; points are those of the unmirrored picture.
        dim: the picture is not being judged.
        points: (21, 2) pixels of `image`.
        teacher, live: (21, 3) as `view3d.draw_hands` wants them. stand: how they stand.
        arm, side: how the teacher's arm is held, and which hand is to do so.
        far: (21,) 0..1, how far each live joint is from the teacher's.
        accent: the colour that the therapist gave the posture, like #2e9e5b; "" where none is judged.
    """

    state: str
    word: str
    message: str
    tone: Tone
    hold: float = 0.0
    rest: float = 0.0
    seconds: int | None = None
    repetition: int = 0
    repetitions: int = 0
    title: str = ""
    instructions: str = ""
    maker: str = ""
    checks: tuple[Check, ...] = ()
    hint: str = ""
    thumb: str = ""
    thumb_good: bool = False
    exercise: Path | None = None
    can_choose: bool = False
    can_start: bool = False
    can_pause: bool = False
    start_text: str = ""
    image: NDArray[np.uint8] | None = None
    mirrored: bool = False
    dim: bool = False
    points: Array | None = None
    teacher: Array | None = None
    live: Array | None = None
    far: NDArray[np.float64] | None = None
    stand: view3d.Stand = "right"
    arm: Arm = "towards"
    side: Side = "right"
    accent: str = ""


class _Settles(Generic[Settled]):
    """A value that is believed once it has lasted for `SETTLE_S`; the first one at once."""

    def __init__(self) -> None:
        self._value: Settled | None = None
        self._candidate: Settled | None = None
        self._since = 0.0

    def __call__(self, value: Settled, t: float) -> Settled:
        if value != self._candidate:
            self._candidate, self._since = value, t
        if self._value is None or t - self._since >= SETTLE_S:
            self._value = value
        return self._value


class Presenter:
    """Turns the worker's results into view states. It remembers what keeps words from flickering, and what
    a session has come to."""

    def __init__(self, texts: Texts, hand: str = "auto") -> None:
        """Args:
        hand: the patient's, where somebody chose it: left or right.
        """
        self.texts = texts
        self._seen = -math.inf  # when a hand was last there
        self._hand = hand
        self._side: Side = "right"
        self._exercise: Exercise | None = None
        self._made_by = ""
        self._finger: tuple[int, bool] | None = None  # candidate for the hint, and whether it is to open
        self._finger_since = 0.0
        self._started = False  # in this session
        self._set_up: _Settles[tuple[quality.SetUp, str]] = _Settles()
        self._thumb: _Settles[bool] = _Settles()
        # What was said last, and when.
        self._correction: tuple[tuple[str, Tone, str, str], float] | None = None
        self._held: list[float] = []  # degrees from the teacher's hand, in this hold
        self._repetitions: list[float] = []  # and the median of each finished one

    def present(self, result: Result) -> ViewState:
        """The view of one result; results come in the order of their times."""
        texts = self.texts
        if result.stage == "error":
            return self._error(result)
        if result.progress is None or result.exercise is None:
            return ViewState("loading", texts("word_loading"), texts("loading_model"), "calm",
                             start_text=texts("start"))  # fmt: skip
        progress, exercise = result.progress, result.exercise
        hand = result.track.hand if result.track else None
        if exercise is not self._exercise:  # until a hand is seen
            self._exercise, self._made_by = exercise, self._maker(exercise)
            known = exercise.hand if self._hand == "auto" else self._hand
            self._side = "left" if known == "left" else "right" if known == "right" else self._side
        if hand is not None:
            self._seen, self._side = result.t, hand.side
        state = self._state(result)
        self._started = self._started or progress.state in (*UNDER_WAY, "rest")
        message, tone = self._say(state, result)
        checks: tuple[Check, ...] = ()
        if state == "ready" and not self._started:
            checks, cure = self._checks(result)
            if cure and result.note is None:
                message, tone = cure, "look"
        self._measure(state, result)
        thumb, thumb_good = self._say_thumb(state, result)
        if state in ("rest", "done"):
            thumb, thumb_good = self._say_result(exercise), True
        live, far = None, None
        if result.posture is not None and hand is not None:
            live = self._shown(result.posture.shown, result, exercise)
            far = view3d.closeness(result.posture.joint_distances, exercise.green, exercise.red)
        teacher = self._shown(exercise.reference_aligned, result, exercise)
        seconds = None
        if state == "rest":
            seconds = math.ceil((1 - progress.rest) * result.rest_s - 1e-6)
        elif state == "hold" and progress.hold > 0:
            seconds = math.ceil((1 - progress.hold) * result.hold_s - 1e-6)
        running = progress.state in (*UNDER_WAY, "rest")
        hint = self._hint(state, far, result)
        accent = exercise.colours.get(progress.message, "") if state in ("hold", "move") else ""
        said = message, tone, hint, accent
        message, tone, hint, accent = self._seldom(state, result, said, exercise.speak_s)
        if result.track and result.track.mismatch and running:
            hint = texts("mismatch")
        start = {"paused": "go_on", "stopped": "again", "done": "again"}.get(progress.state, "start")
        over = result.stage == "ended" or progress.enough
        ready = state == "ready"
        return ViewState(
            state=state,
            word=texts(f"word_{state}"),
            message=message,
            tone=tone,
            hold=progress.hold if state in ("hold", "search", "no_hand", "done", "rest") else 0.0,
            rest=progress.rest,
            seconds=seconds,
            repetition=progress.repetition,
            repetitions=progress.repetitions,
            title=exercise.title(texts.lang) if ready else "",
            instructions=self._instructions(exercise) if ready else "",
            maker=self._made_by if ready else "",
            hint=hint,
            checks=checks,
            thumb=thumb,
            thumb_good=thumb_good,
            exercise=exercise.file.path,
            can_choose=progress.state in ("ready", "stopped", "done") and not over,
            can_start=not running and not over,
            can_pause=running and result.stage != "ended",
            start_text=texts(start),
            image=result.frame.image if result.frame else None,
            mirrored=result.live,
            dim=progress.state in ("paused", "stopped", "done"),
            points=hand.points if hand is not None else None,
            teacher=teacher,
            live=live,
            far=far,
            stand=view3d.stand_of(self._side, exercise.kept_axes),
            arm=exercise.arm,
            side=self._side,
            accent=accent,
        )

    def _shown(self, hand: Array, result: Result, exercise: Exercise) -> Array:
        """A hand `beside` the reference as it is drawn. Until it opens, a camera is expected."""
        turned = np.asarray(hand @ exercise.held, np.float32)
        return view3d.facing(turned, self._side, exercise.kept_axes, result.live or result.frame is None)

    def _seldom(
        self, state: str, result: Result, said: tuple[str, Tone, str, str], least_s: float
    ) -> tuple[str, Tone, str, str]:
        """A correction stands for as long as the therapist wished before another one takes its place; that
        the good posture is to be left is none, and is said until it is."""
        if state not in CORRECTING or _leaves(result):
            self._correction = None
            return said
        if self._correction is not None and result.t - self._correction[1] < least_s:
            return self._correction[0]
        looks = result.progress is not None and result.progress.message == "look"
        if not looks and (self._correction is None or self._correction[0] != said):
            self._correction = said, result.t
        return said

    def _checks(self, result: Result) -> tuple[tuple[Check, ...], str]:
        """The lines of the set-up, and what to do first; "" where all that can be seen is well."""
        texts, cure = self.texts, ""
        bright = whole = None
        if result.frame is not None and result.track is not None:
            hand = result.track.hand
            seen = quality.set_up(result.frame.image, hand.points if hand is not None else None)
            seen, reason = self._set_up((seen, result.track.reason or ""), result.t)
            bright = seen.bright and reason not in ("too_dark", "too_bright")
            whole = seen.found and seen.whole and seen.large
            if not seen.bright:
                cure = texts("too_dark")
            elif not seen.found:
                cure = texts(reason or "no_hand")
            elif not seen.whole:
                cure = texts("half_out")
            elif not seen.large:
                cure = texts("too_far")
        exercise = result.exercise
        if exercise is not None and exercise.along:  # a hand that is to go down needs room
            rest = "setup_support"
        else:
            rest = "setup_elbow" if exercise is not None and exercise.arm == "up" else "setup_arm"
        return (
            Check(texts(rest)),
            Check(texts("setup_book")),
            Check(texts("setup_light"), bright),
            Check(texts("setup_view"), whole),
        ), cure

    def _say_thumb(self, state: str, result: Result) -> tuple[str, bool]:
        """A line about the thumb alone, and whether it is as the teacher's: that is praise, and is only said
        in the good posture."""
        posture, exercise = result.posture, result.exercise
        if state not in ("hold", "move") or posture is None or exercise is None or exercise.thumb == "off":
            return "", False
        # The tolerance of an exercise about the turn is that of turned hands.
        if not math.isfinite(posture.thumb) or exercise.kept_axes:
            return "", False
        far = float(view3d.closeness(np.array(posture.thumb), exercise.green, exercise.red))
        good = self._thumb(far < HINT_FAR, result.t)
        if _leaves(result) or (good and state != "hold"):
            return "", False
        who = self.texts("thumb_apart" if exercise.thumb == "apart" else "finger_thumb")
        return self.texts("thumb_good" if good else "thumb_far", finger=who), good

    def _measure(self, state: str, result: Result) -> None:
        """Keep how near the held hand was: `rest` ends a repetition, a new start all of them."""
        posture, exercise, progress = result.posture, result.exercise, result.progress
        assert exercise is not None and progress is not None
        if state in ("rest", "done"):
            if self._held:
                self._repetitions.append(statistics.median(self._held))
                self._held = []
            return
        if progress.hold == 0:  # not held yet, or given up: that is no repetition
            self._held = []
        if state in ("ready", "stopped"):
            self._repetitions = []
        elif state == "hold" and posture is not None and posture.sure:
            if progress.repetition == 0 and not self._held:
                self._repetitions = []
            off = _degrees_off(posture, exercise)
            if off is not None:
                self._held.append(off)

    def _say_result(self, exercise: Exercise) -> str:
        """How near the last repetition came, and if it was nearer than the first; "" if that is unknown."""
        if not self._repetitions:
            return ""
        first, last = self._repetitions[0], self._repetitions[-1]
        degrees = max(angles.rounded(last), angles.STEP)
        what = "result_turn" if exercise.kept_axes else "result"
        return self.texts("result_nearer" if first - last >= angles.CHANGE else what, degrees=degrees)

    def _instructions(self, exercise: Exercise) -> str:
        """What to do, and that the thumb counts where it was to be left out."""
        needed = [self.texts("thumb_needed")] if exercise.thumb_needed else []
        return " ".join([exercise.instructions(self.texts.lang), *needed])

    def _maker(self, exercise: Exercise) -> str:
        """The fingerprint to compare with the therapist's. Apart from the file's own texts, which may say
        anything, and first: what the file says of its author is in quotes."""
        if model.is_shipped(exercise.file.path):
            return ""
        key = exercise.file.signed_by
        signed = self.texts("signed", by=key) if key else self.texts("not_signed")
        author = [self.texts("made_by", author=exercise.author)] if exercise.author else []
        return " ".join([signed, *author])

    def _error(self, result: Result) -> ViewState:
        error = result.error or ""
        if error.startswith("!"):  # not written for people
            error = self.texts("crashed", what=error[1:].split(":")[0])
        elif result.error_key is not None:
            error = self.texts(result.error_key)
        progress = result.progress
        if self._started and progress is not None and progress.state in ("stopped", "done"):
            # Who stopped or finished is told so first.
            done = progress.state == "done"
            came = self._say_result(result.exercise) if done and result.exercise else ""
            return ViewState(
                progress.state, self.texts(f"word_{progress.state}"), self.texts(progress.message),
                "done" if done else "stop", title=self.texts("word_error"),
                instructions=f"{came}. {error}" if came else error, hold=progress.hold,
                repetition=progress.repetition, repetitions=progress.repetitions,
                start_text=self.texts("again"),
            )  # fmt: skip
        return ViewState("error", self.texts("word_error"), error, "error", start_text=self.texts("start"))

    def _state(self, result: Result) -> str:
        assert result.progress is not None
        state: str = result.progress.state
        if result.stage == "ended" and state not in ("stopped", "done"):
            return "ended"
        if result.stage == "camera" and state not in ("stopped", "paused", "done"):
            return "loading"
        lost = result.track is not None and result.track.hand is None
        if lost and state in UNDER_WAY and result.t - self._seen > LOST_S:
            return "no_hand"
        return state

    def _say(self, state: str, result: Result) -> tuple[str, Tone]:
        """The sentence and its tone. After a stop and in a pause there is nothing about postures."""
        assert result.progress is not None and result.exercise is not None
        progress, exercise = result.progress, result.exercise
        if state == "no_hand":
            return self.texts((result.track.reason if result.track else None) or "no_hand"), "look"
        if state in ("hold", "move"):
            if progress.message in exercise.labels:
                rank = list(exercise.labels).index(progress.message)
                last = rank == len(exercise.labels) - 1
                tone: Tone = "praise" if rank == 0 else "stretch" if last else "almost"
                return exercise.message(progress.message, self.texts.lang), tone
            # A hand whose turn counts is relaxed and still turned.
            return self.texts("leave_turn" if exercise.kept_axes else "leave"), "calm"
        stills = result.frame is not None and result.frame.file is not None  # shown slowly
        if state == "search" and 0 < result.fps < SLOW_FPS and not stills:
            return self.texts("slow"), "look"
        if state == "search" and progress.label == "unsure":
            return exercise.message("unsure", self.texts.lang), "look"
        if result.note is not None and state in ("ready", "stopped", "done"):
            return self.texts(result.note), "look"
        tones: dict[str, Tone] = {
            "loading": "calm", "ready": "ready", "search": "look", "rest": "rest", "paused": "rest",
            "stopped": "stop", "done": "done", "ended": "done",
        }  # fmt: skip
        # After a whole session there is no next round, and a hand that has only come is not to turn yet.
        said = progress.message if progress.message in ("enough", "look") and state != "loading" else state
        return self.texts(said), tones[state]

    def _farthest(
        self, far: NDArray[np.float64], posture: Posture, exercise: Exercise | None
    ) -> tuple[int, bool] | None:
        """The finger that is clearly farthest from the teacher's, 0 the index, and whether it is to open;
        None where there is none, or neither opening nor bending would bring it nearer."""
        # No palm, no angles; and where it counts how the hand is turned, all of it is to turn.
        if posture.cluster < 0 or exercise is None or exercise.kept_axes:
            return None
        fingers = far[5:].reshape(4, 4).mean(axis=1)  # the thumb has a line of its own
        *_, second, first = np.argsort(fingers)
        if fingers[first] < HINT_FAR or fingers[first] - fingers[second] < HINT_AHEAD:
            return None
        bent = angles.too_bent(posture.aligned, exercise.reference_aligned)[first]
        # A finger that is straight, and bent in its knuckle alone, is to be lifted and not to open.
        curled = angles.extension_deficit(angles.flexion(posture.aligned)[:, 1:])[first]
        if abs(bent) < HINT_BENT or (bent > 0 and curled < HINT_BENT):
            return None
        return int(first), bool(bent > 0)

    def _hint(self, state: str, far: NDArray[np.float64] | None, result: Result) -> str:
        """What the finger that is clearly farthest from the teacher's is to do, once that has lasted."""
        finger = None
        if state == "move" and not _leaves(result) and far is not None and result.posture is not None:
            finger = self._farthest(far, result.posture, result.exercise)
        if finger != self._finger:
            self._finger, self._finger_since = finger, result.t
        if finger is None or result.t - self._finger_since < HINT_S:
            return ""
        which, opens = finger
        name = self.texts(f"finger_{FINGERS[1 + which]}")
        return self.texts("hint_open" if opens else "hint_bend", finger=name)


def _degrees_off(posture: Posture, exercise: Exercise) -> float | None:
    """How far a hand is from the teacher's in what the exercise is about: how it is turned, how far its
    fingers are bent, or how far they are apart; None where it is about the thumb alone."""
    teacher, counted = exercise.reference_aligned, exercise.counted
    if exercise.kept_axes:
        return angles.turned(posture.shown, teacher)
    if exercise.trains_flexion and counted:
        return angles.apart(posture.aligned, teacher, counted)
    pairs = [finger for finger in counted if finger + 1 in counted]
    off = np.abs(angles.fan(posture.aligned) - angles.fan(teacher))[pairs]
    return float(off.mean()) if pairs else None


def _leaves(result: Result) -> bool:
    """Whether the good posture is to be left, so that nothing of it is to be mended."""
    return result.progress is not None and result.progress.message == "leave"
