"""Decides what the studio shows and what is allowed. Pure: no toolkit, no clock, no file, no thread."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from handcoach import quality
from handcoach.builders import PIP_LINE
from handcoach.coach import MOST_PRAISE, UNSURE
from handcoach.contract import one_line
from handcoach.draft import MOST_POSTURES, NUMBERS, STRICTNESS, Draft, Posture, label_of
from handcoach.errors import HandCoachError
from handcoach.hand import FINGERS, Array, Side, beside, hand_frame, has_palm
from handcoach.quality import Finding, Report
from handcoach.texts import LANGUAGES, Texts
from handcoach.ui import view3d
from handcoach.ui.presenter import Tone, ViewState

if TYPE_CHECKING:
    from handcoach.draft import Kept
    from handcoach.recorder import Moment, Take
    from handcoach.worker import Result

Step = Literal["home", "new", "record", "check", "messages", "attempt", "save"]
STEPS: tuple[Step, ...] = ("new", "record", "check", "messages", "attempt", "save")
FIGURES = ("confusion", "margins", "angles", "distances", "explained", "elbow")

# White has 4.5:1 on none of them, black on all: a swatch is never without its name.
COLOURS = {"green": "#2e9e5b", "yellow": "#e0a100", "orange": "#d9722e", "red": "#d1495b", "blue": "#3d7fd6",
           "purple": "#8a63c9"}  # fmt: skip
# A take with hands in fewer of its pictures than this share is told to be patchy.
FEW_HANDS = 0.7
MOST_TEXT = {"title": 100, "name": 40, "message": 120, "instructions": 600, "author": 80}

Level = Literal["none", "poor", "fair", "good"]


@dataclass(frozen=True, eq=False)
class Recorded:
    """What is known of a recorded posture.

    Attributes:
        frames, takes: how many.
        findings: about its frames.
        hand: (21, 3), canonical, the recorded one nearest to the median in the hand frame and, where the turn
            counts, to the median as turned; or None.
        problem: a sentence where the file cannot be read.
    """

    frames: int = 0
    takes: int = 0
    findings: tuple[Finding, ...] = ()
    hand: Array | None = None
    problem: str = ""


@lru_cache
def _words(lang: str) -> Texts:
    return Texts(lang, "studio")


def _middle(hands: Array) -> int:
    """Which of these hands (N, 21, 3) is nearest to the median of all."""
    return int(np.linalg.norm(hands - np.median(hands, axis=0), axis=(1, 2)).argmin())


def recorded_of(
    label: str,
    landmarks: Array,
    t: NDArray[np.float64],
    takes: NDArray[np.integer],
    view: NDArray[np.floating],
    kept_axes: str = "",
) -> Recorded:
    """What the studio says of a posture's frames; arrays as in `handcoach.recording.Recording`."""
    found = quality.of_posture(label, landmarks, t, takes, view)
    good = landmarks[has_palm(landmarks)]
    hand = None
    if len(good):
        # A recorded hand, not the mean of all: a mean of joints has bones that no hand has.
        hand = good[_middle(hand_frame(good))]
        if kept_axes:
            hand = good[_middle(beside(good, hand, kept_axes))]
    return Recorded(len(landmarks), len(np.unique(takes)), tuple(found), hand)


@dataclass(frozen=True)
class Row:
    """A posture in a list: its sign and words say how it stands; colour only repeats them."""

    name: str
    status: str
    level: Level
    current: bool


@dataclass(frozen=True)
class HomeRow:
    """A draft to go on with."""

    key: str
    title: str
    status: str
    readable: bool


@dataclass(frozen=True, eq=False)
class RecordView:
    """The record step.

    Attributes:
        live: the camera's picture and the sentence below it.
        big: the number of the countdown, "" where nothing counts.
        level: of the quality meter.
        advice: what would make it better; "" for nothing.
        record_text, add_text: of the buttons; "" hides one.
        busy: a take is under way.
        pictures_text: of Delete; "" where no picture is kept.
        failed: the camera does not work; sentence in `live`.
    """

    live: ViewState
    rows: tuple[Row, ...]
    big: str = ""
    level: Level = "none"
    advice: str = ""
    record_text: str = ""
    add_text: str = ""
    can_record: bool = False
    busy: bool = False
    keep_pictures: bool = False
    pictures_text: str = ""
    failed: bool = False


@dataclass(frozen=True, eq=False)
class CheckView:
    """The check step.

    Attributes:
        stage: working, failed or done.
        findings: (sign level, sentence), those that refuse first.
        hands: (name, hand as `view3d.as_shown` makes it) of each posture. stand: how they stand.
        figures: name to file. figure: the one that is shown, "" for the verdict.
    """

    stage: Literal["working", "failed", "done"]
    verdict: str
    tone: Tone
    findings: tuple[tuple[Level, str], ...] = ()
    hands: tuple[tuple[str, Array], ...] = ()
    stand: view3d.Stand = "right"
    figures: Mapping[str, Any] = field(default_factory=dict)
    figure: str = ""


def _role(labels: Sequence[str], label: str) -> str:
    """A posture's place: best, almost or last."""
    rank = labels.index(label)
    return "best" if rank == 0 else "last" if rank == len(labels) - 1 else "almost"


def _free(label: str, taken: Collection[str]) -> str:
    """A label that is not taken: this one, or with a number."""
    numbered = (f"{label[: 39 - len(str(n))]}-{n}" for n in itertools.count(2))
    return next(one for one in itertools.chain([label], numbered) if one not in taken)


class StudioPresenter:
    """The state of the studio and its rules. The app calls a method for each thing that a person does, or
    that happened, and shows the views again."""

    def __init__(self, texts: Texts) -> None:
        self.texts = texts
        self.step: Step = "home"
        self._forget()

    def _forget(self) -> None:
        """Everything of the last draft."""
        self.draft = Draft()
        self.recorded: dict[str, Recorded] = {}
        self.pictures = 0
        self.current = 0  # posture that is recorded, or whose message is edited
        self.note: tuple[str, Tone] | None = None  # after a take
        self.report: Report | None = None
        self.check_problem = ""
        self.checking = False
        self.figure = ""
        self.lang = self.texts.lang  # of the words that are edited
        self.build_problem = ""
        self.built: tuple[object, ...] | None = None  # for which choices the exercise to try was built
        self.checked: tuple[object, ...] | None = None
        self._checking_for: tuple[object, ...] = ()
        self._building_for: tuple[object, ...] = ()
        self.takes_made = 0  # changes of the recording, so that a verdict on an older one is not taken
        self.sign = False
        self.fingerprint = self.key_problem = ""
        self.saved = self.saved_as = ""
        self.save_problem = ""
        self.replacing = ""
        self.unsigns = False  # what is replaced is signed, and what replaces it is not

    # --- home ---

    def home(self, kept: Sequence[Kept], now: float) -> tuple[HomeRow, ...]:
        """The drafts to go on with; `now` in seconds since 1970."""
        rows = []
        for one in kept:
            if one.draft is None:
                rows.append(HomeRow(str(one.folder), one.folder.name, self.texts("home_broken"), False))
                continue
            done = sum(label in one.recorded for label in one.draft.labels)
            status = self.texts("home_status", done=done, all=len(one.draft.postures),
                                when=self._ago(now - one.changed))  # fmt: skip
            if one.problem:
                status = self.texts("home_unreadable")
            rows.append(HomeRow(str(one.folder), one.draft.title or self.texts("untitled"), status, True))
        return tuple(rows)

    def _ago(self, seconds: float) -> str:
        hours, days = seconds / 3600, seconds / 86400
        if hours < 1:
            return self.texts("ago_now")
        if days < 1:
            return self.texts("ago_hours", n=round(hours))
        return self.texts("ago_day" if round(days) == 1 else "ago_days", n=round(days))

    def begin(self) -> None:
        """A new exercise."""
        self._forget()
        names = [self.texts(f"posture_{n}") for n in (1, 2, 3)]
        named = tuple(Posture(label_of(name), name) for name in names)
        self.draft = Draft(postures=named, lang=self.texts.lang)
        self.step = "new"

    def go_on(self, draft: Draft, recorded: Mapping[str, Recorded], pictures: int) -> None:
        """With a draft of before: where something is still to be recorded, at that step."""
        self._forget()
        self.draft, self.recorded, self.pictures = draft, dict(recorded), pictures
        self.step = "new" if self.new_problem() else "record"
        self._select_unrecorded()

    def _select_unrecorded(self) -> None:
        self.current = -1
        self._next_posture()
        self.current = max(self.current, 0)

    # --- steps ---

    def why_not(self, step: Step) -> str:
        """A sentence that says what is to be done before a step can be entered; "" where it can."""
        wanted = STEPS.index(step)
        problem = self.new_problem()
        if wanted > 0 and problem:
            return problem
        if wanted > 1:
            lacking = [p.name for p in self.draft.postures if not self._enough(p.label)]
            if lacking:
                return self.texts("need_recorded", name=lacking[0])
        if wanted > 2 and not self.is_checked():
            return self.texts("need_check")
        if wanted > 3 and (problem := self.messages_problem()):
            return problem
        if wanted > 4 and not self.is_built():
            return self.texts("need_built_again" if self.build_problem else "need_built")
        return ""

    def can_next(self) -> bool:
        return self.step in STEPS[:-1] and not self.why_not(STEPS[STEPS.index(self.step) + 1])

    def go(self, step: Step) -> bool:
        """Enter a step if that is allowed."""
        if step != "home" and self.why_not(step):
            return False
        self.step, self.note, self.figure = step, None, ""
        if step == "record":
            self._select_unrecorded()
        if step == "messages":
            self.current = 0
        return True

    def next(self) -> bool:
        return self.step in STEPS[:-1] and self.go(STEPS[STEPS.index(self.step) + 1])

    def back(self) -> bool:
        at = STEPS.index(self.step)
        return self.go(STEPS[at - 1] if at else "home")

    def _enough(self, label: str) -> bool:
        return self.recorded.get(label, Recorded()).frames >= quality.MIN_FRAMES

    def _what_counts(self) -> tuple[object, ...]:
        """All that the verdict depends on."""
        d = self.draft
        return d.labels, d.kept_axes, d.fingers, self.takes_made, self.texts.lang

    def is_checked(self) -> bool:
        return self.report is not None and self.report.good and self.checked == self._what_counts()

    def is_built(self) -> bool:
        return self.built is not None and self.built == self._what_goes_in()

    def _what_goes_in(self) -> tuple[object, ...]:
        return self._what_counts(), replace(self.draft, author="", keep_pictures=False)

    # --- new exercise ---

    def set(self, **changes: Any) -> None:
        """Change fields of the draft; texts that are too long are cut, and lines are made one."""
        for key in changes.keys() & MOST_TEXT.keys():
            if isinstance(changes[key], str):
                changes[key] = one_line(changes[key])[: MOST_TEXT[key]]
        self.draft = replace(self.draft, **changes)
        self.saved = self.save_problem = self.replacing = ""

    def _set_postures(self, postures: Sequence[Posture]) -> None:
        """A colour that was chosen for another place is none for this one; of words see `message`."""
        labels = [posture.label for posture in postures]
        before = {label: _role(self.draft.labels, label) for label in self.draft.labels}
        kept = {
            label: colour
            for label, colour in self.draft.colours.items()
            if label in labels and before.get(label) == _role(labels, label)
        }
        self.set(postures=tuple(postures), colours=kept)

    def rename(self, index: int, name: str) -> None:
        """What is recorded keeps its label, which names its file, and no other posture gets that one."""
        postures = list(self.draft.postures)
        old = postures.pop(index)
        taken = {posture.label for posture in postures if posture.label in self.recorded}
        keeps = old.label in self.recorded and old.label not in taken
        label = old.label if keeps else _free(label_of(name), taken)
        others = {posture.label for posture in postures}
        postures.insert(index, Posture(label, one_line(name)[: MOST_TEXT["name"]]))
        own = {} if others & {label, old.label} else {old.label: label}  # its words and colour go with it
        self.set(
            postures=tuple(postures),
            messages={own.get(k, k): v for k, v in self.draft.messages.items()},
            colours={own.get(k, k): v for k, v in self.draft.colours.items()},
        )

    def add_posture(self) -> None:
        if len(self.draft.postures) < MOST_POSTURES:
            self._set_postures((*self.draft.postures, Posture("", "")))

    def remove_posture(self, index: int) -> str:
        """Its label, whose recording goes too; "" where another posture has come to be named alike."""
        postures = list(self.draft.postures)
        gone = postures.pop(index)
        self._set_postures(postures)
        if gone.label in self.draft.labels:
            self.current = 0
            return ""
        self.set(messages={k: v for k, v in self.draft.messages.items() if k != gone.label})
        self.recorded.pop(gone.label, None)
        self.takes_made += 1
        self.current = 0
        return gone.label

    def move_up(self, index: int) -> None:
        postures = list(self.draft.postures)
        postures[index - 1], postures[index] = postures[index], postures[index - 1]
        self._set_postures(postures)

    def toggle_finger(self, finger: str) -> None:
        on = set(self.draft.fingers) ^ {finger}
        self.set(fingers=tuple(f for f in FINGERS if f in on))

    def new_problem(self) -> str:
        """What is missing or wrong in the first step; "" for nothing."""
        texts, d = self.texts, self.draft
        if not d.title.strip():
            return texts("need_title")
        if len(d.postures) < 2:
            return texts("need_two")
        names: set[str] = set()
        labels: set[str] = set()
        for posture in d.postures:
            if not posture.name.strip() or not label_of(posture.name):
                return texts("need_name")
            if UNSURE in (posture.label, label_of(posture.name)):
                return texts("need_other_name", name=posture.name)
            name, label = label_of(posture.name).casefold(), posture.label.casefold()
            if name in names or label in labels:
                return texts("need_different", name=posture.name)
            names.add(name)
            labels.add(label)
        return "" if d.fingers else texts("need_finger")

    # --- record ---

    def select(self, index: int) -> None:
        """Of a recorded posture, say what could be better."""
        self.current, self.note = index, None
        known = self.recorded.get(self.posture.label)
        if self.step == "record" and known is not None:
            if known.problem:
                self.note = known.problem, "look"
            self._say_finding(known)

    def _say_finding(self, recorded: Recorded) -> None:
        for finding in sorted(recorded.findings, key=lambda f: not f.refuses)[:1]:
            self.note = finding.say(self.texts, self.draft.names), "look" if finding.refuses else "almost"

    @property
    def posture(self) -> Posture:
        return self.draft.postures[self.current]

    def took(self, take: Take) -> bool:
        """A take is over; is it worth keeping? Says what came of it, and goes on to the next posture."""
        names, texts = self.draft.names, self.texts
        name = names.get(take.label, take.label)
        n = len(take.landmarks)
        if n < quality.MIN_FRAMES:
            key = "take_other" if take.other > n else "take_none"
            self.note = texts(key, name=name, n=n), "look"
            return False
        found = quality.of_posture(take.label, take.landmarks, take.t, None, take.view)
        refused = [finding for finding in found if finding.refuses]
        if refused and self._is_good(take.label):  # it would replace, or spoil, what can be used
            self.note = texts("take_refused", why=refused[0].say(texts, names)), "look"
            return False
        patchy = n < FEW_HANDS * take.frames
        if patchy and take.replace and self._is_good(take.label):
            self.note = texts("take_worse", name=name, share=n / take.frames), "almost"
            return False
        if take.other > 0.1 * n:
            self.note = texts("take_some_other", name=name, n=take.other), "almost"
        elif patchy:
            self.note = texts("take_patchy", name=name, share=n / take.frames), "almost"
        else:
            self.note = texts("take_good", name=name, n=n), "praise"
        return True

    def _is_good(self, label: str) -> bool:
        known = self.recorded.get(label)
        return known is not None and not known.problem and known.frames > 0 and not any(
            finding.refuses for finding in known.findings
        )  # fmt: skip

    def not_kept(self, error: Exception) -> None:
        """A take that was worth keeping could not be written."""
        self.note = self.sentence_of(error), "error"

    def keep(self, label: str, recorded: Recorded) -> None:
        """What lies in the recording of a label now."""
        self.recorded[label] = recorded
        self.takes_made += 1
        self.saved = self.replacing = ""  # the file holds the older recording
        if self.note is None or self.note[1] == "praise" or any(f.refuses for f in recorded.findings):
            self._say_finding(recorded)  # else there was something to say of the take itself
        if self.note and self.note[1] == "praise" and label == self.posture.label:
            self._next_posture()

    def _next_posture(self) -> None:
        """The next one that is still to be recorded, or to be recorded again."""
        labels = self.draft.labels
        lacking = [i for i, label in enumerate(labels) if not (self._enough(label) and self._is_good(label))]
        if not lacking:
            self.note = self.texts("all_recorded"), "praise"
            return
        self.current = next((i for i in lacking if i > self.current), lacking[0])
        if self._enough(labels[self.current]):
            self._say_finding(self.recorded[labels[self.current]])

    def record(self, result: Result | None, moment: Moment) -> RecordView:
        """The record step at one moment."""
        texts, posture = self.texts, self.posture
        rows = tuple(self._row(i, p) for i, p in enumerate(self.draft.postures))
        base = RecordView(
            ViewState("loading", texts("word_loading"), texts("loading_model"), "calm"), rows,
            keep_pictures=self.draft.keep_pictures,
            pictures_text=texts("delete_pictures" if self.pictures > 1 else "delete_picture", n=self.pictures)
            if self.pictures
            else "",
        )  # fmt: skip
        if result is None or result.stage == "models":
            return base
        if result.stage == "error":
            sentence = texts(result.error_key) if result.error_key else result.error or ""
            if sentence.startswith("!"):
                sentence = texts("crashed", what=sentence[1:].split(":")[0])
            return replace(base, live=ViewState("error", texts("word_error"), sentence, "error"), failed=True)
        if result.frame is None:
            return replace(base, live=ViewState("loading", texts("word_loading"), texts("loading"), "calm"))
        if result.stage == "ended":
            live = ViewState("ended", texts("word_ended"), texts("ended"), "done")
            return replace(base, live=live, failed=True)
        known = self.recorded.get(posture.label)
        hand = result.track.hand if result.track else None
        shown: dict[str, Any] = {
            "image": result.frame.image, "mirrored": result.live,
            "points": hand.points if hand is not None else None,
        }  # fmt: skip
        if moment.stage == "countdown":
            left = str(max(math.ceil(moment.left), 1))
            live = ViewState("rest", texts("word_get_ready"), texts("get_ready", name=posture.name), "rest",
                              **shown)  # fmt: skip
            return replace(base, live=live, big=left, busy=True, record_text=texts("cancel"))
        level, advice = self._judge(result, moment)
        if moment.stage == "burst":
            live = ViewState(
                "hold", texts("word_recording"), texts("hold_posture", name=posture.name), "praise",
                hold=moment.share, seconds=math.ceil(moment.left), **shown,
            )  # fmt: skip
            return replace(base, live=live, busy=True, record_text=texts("cancel"), level=level,
                           advice=advice)  # fmt: skip
        if self.note is not None:
            sentence, tone = self.note
        elif hand is None:
            sentence, tone = texts((result.track.reason if result.track else None) or "no_hand"), "look"
        else:
            sentence, tone = texts("press_record", name=posture.name), "ready"
        again = known is not None and known.frames > 0
        return replace(
            base,
            live=ViewState("ready" if hand is not None else "search", posture.name, sentence, tone, **shown),
            level=level, advice=advice, can_record=True,
            record_text=texts("record_again" if again else "record"),
            add_text=texts("record_more") if again else "",
        )  # fmt: skip

    def _judge(self, result: Result, moment: Moment) -> tuple[Level, str]:
        """The quality meter: of the take so far, or of what the camera sees now."""
        texts = self.texts
        track, names = result.track, self.draft.names
        if track is None or track.hand is None:
            return "poor", texts((track.reason if track else None) or "no_hand")
        if track.mismatch:
            return "poor", texts(f"show_{self.draft.hand}")
        if moment.stage == "burst":
            for finding in moment.findings:
                return ("poor" if finding.refuses else "fair"), finding.say(texts, names)
            if moment.frames >= 10 and moment.hands < FEW_HANDS * moment.frames:
                return "fair", texts("hand_lost")
            return "good", ""
        assert result.frame is not None
        inside, light = quality.view(result.frame.image, track.hand.points)
        if inside < 1:
            return "fair", texts("half_out")
        if light < quality.DARK:
            return "fair", texts("too_dark")
        return "good", ""

    def _row(self, index: int, posture: Posture) -> Row:
        texts, known = self.texts, self.recorded.get(posture.label)
        level: Level
        if known is not None and known.problem:
            status, level = texts("row_damaged"), "poor"
        elif known is None or not known.frames:
            status, level = texts("row_none"), "none"
        else:
            bad = any(f.refuses for f in known.findings)
            level = "poor" if bad else "fair" if known.findings else "good"
            key = "row_again" if bad else "row_takes" if known.takes != 1 else "row_take"
            status = texts(key, n=known.frames, takes=known.takes)
        return Row(posture.name, status, level, index == self.current)

    # --- check ---

    def check_began(self) -> None:
        self.checking, self.check_problem, self.report = True, "", None
        self._checking_for = self._what_counts()

    def check_done(self, report: Report | None, error: Exception | None) -> None:
        self.checking = False
        if error is not None:
            self.check_problem = self.sentence_of(error)
        elif self._checking_for == self._what_counts():
            self.report, self.checked = report, self._checking_for

    def sentence_of(self, error: Exception) -> str:
        """An error in the studio's words."""
        if isinstance(error, HandCoachError):
            if error.key == "extra_missing":
                return self.texts(error.key, pip=PIP_LINE)
            return self.texts(error.key) if error.key and error.key in self.texts else str(error)
        return self.texts("crashed", what=type(error).__name__)

    def needs_check(self) -> bool:
        return not self.checking and (self.report is None or self.checked != self._what_counts())

    def check(self) -> CheckView:
        texts, names = self.texts, self.draft.names
        hands = tuple(
            (names[label], self._shown(known.hand, known.hand))
            for label in self.draft.labels
            if (known := self.recorded.get(label)) is not None and known.hand is not None
        )
        stand = view3d.stand_of(self._side, self.draft.kept_axes)
        if self.check_problem:
            return CheckView("failed", self.check_problem, "error", (), hands, stand)
        if self.report is None:
            return CheckView("working", texts("check_working"), "calm", (), hands, stand)
        report = self.report
        found: tuple[tuple[Level, str], ...] = tuple(
            ("poor" if f.refuses else "fair", f.say(texts, names)) for f in report.findings
        )
        share = report.measured.get("accuracy_held_out")
        if not report.good:
            verdict, tone = texts("check_refused"), "look"
        elif found:
            verdict, tone = texts("check_warned", share=share or 0), "almost"
        else:
            verdict, tone = texts("check_good", share=share or 0), "praise"
        return CheckView("done", verdict, tone, found, hands, stand, report.figures, self.figure)  # type: ignore[arg-type]

    @property
    def _side(self) -> Side:
        return "left" if self.draft.hand == "left" else "right"

    def _shown(self, hand: Array, reference: Array) -> Array:
        return view3d.as_shown(hand, reference, self._side, self.draft.kept_axes)

    # --- messages ---

    def message(self, label: str, lang: str) -> str:
        """What the patient reads: as written, or a default."""
        given = self.draft.messages.get(label, {})
        # A draft of before places were told apart has plain languages.
        return given.get(self._place(label, lang), given.get(lang, self._default(label, lang)))

    def _place(self, label: str, lang: str) -> str:
        """Under which words are kept: what was written for a posture in another place, as praise of one that
        is none to reach any more, waits until it is back there."""
        return f"{_role(self.draft.labels, label)} {lang}"

    def _default(self, label: str, lang: str) -> str:
        texts, role = _words(lang), _role(self.draft.labels, label)
        # The postures' names are in the therapist's language.
        named = lang == (self.draft.lang or self.texts.lang)
        best = self.draft.postures[0].name
        name = texts("default_named", name=best) if named else texts("default_name")
        return texts("default_best") if role == "best" else texts(f"default_{role}", name=name)

    def instructions(self, lang: str) -> str:
        given = self.draft.instructions.get(lang)
        if given is not None:
            return given
        return _words(lang)("default_instructions")

    def set_message(self, label: str, text: str) -> None:
        text, place = one_line(text)[: MOST_TEXT["message"]], self._place(label, self.lang)
        gone = (place, self.lang)
        written = {k: v for k, v in self.draft.messages.get(label, {}).items() if k not in gone}
        if text != self._default(label, self.lang):  # else it goes on following the names
            written[place] = text
        messages = {k: v for k, v in self.draft.messages.items() if k != label}
        self.set(messages=messages | ({label: written} if written else {}))

    def set_instructions(self, text: str) -> None:
        words = " ".join(one_line(text).split())[: MOST_TEXT["instructions"]]
        self.set(instructions={**self.draft.instructions, self.lang: words})

    def colour(self, label: str) -> str:
        """The name of a posture's colour."""
        given = self.draft.colours.get(label)
        for name, code in COLOURS.items():
            if code == given:
                return name
        return {"best": "green", "last": "red", "almost": "yellow"}[_role(self.draft.labels, label)]

    def next_colour(self, label: str) -> None:
        names = list(COLOURS)
        name = names[(names.index(self.colour(label)) + 1) % len(names)]
        self.set(colours={**self.draft.colours, label: COLOURS[name]})

    def step_number(self, name: str, up: int) -> None:
        step, least, most = NUMBERS[name]
        self.set(**{name: min(max(self._number(name) + up * step, least), most)})

    def _number(self, name: str) -> int:
        """As it will be: a verdict that is gentle already can be widened less."""
        n: int = getattr(self.draft, name)
        most = 100 * (MOST_PRAISE / STRICTNESS[self.draft.strictness] - 1)
        return min(n, math.floor(most)) if name == "easier" else n

    def number_text(self, name: str) -> str:
        return self.texts(f"value_{name}", n=self._number(name))

    def messages_problem(self) -> str:
        for posture in self.draft.postures:
            for lang in LANGUAGES:
                if not self.message(posture.label, lang).strip():
                    return self.texts("need_message", name=posture.name, lang=self.texts(f"in_{lang}"))
        for lang in LANGUAGES:
            if not self.instructions(lang).strip():
                return self.texts("need_instructions", lang=self.texts(f"in_{lang}"))
        return ""

    def tolerance(self) -> dict[str, float]:
        """From the recording, times what the therapist chose."""
        given = self.report.measured["tolerance"] if self.report is not None else {"green": 0.1, "red": 0.4}
        factor = STRICTNESS[self.draft.strictness]
        scaled = {key: round(float(given[key]) * factor, 4) for key in ("green", "red")}
        return {**scaled, "praise": factor, "widest": 1 + self._number("easier") / 100}

    def preview(self) -> ViewState:
        """What the patient sees in the posture that is edited."""
        words, posture = _words(self.lang), self.posture
        labels = self.draft.labels
        rank = labels.index(posture.label)
        known = self.recorded.get(posture.label)
        best = self.recorded.get(labels[0])
        reference = best.hand if best is not None else None
        if self.report is not None and "reference" in self.report.measured:
            reference = np.asarray(self.report.measured["reference"], np.float32)
        teacher = live = far = None
        if reference is not None:
            teacher = self._shown(reference, reference)
        if reference is not None and known is not None and known.hand is not None:
            live = self._shown(known.hand, reference)
        if teacher is not None and live is not None:
            counts = np.array([True, *(f in self.draft.fingers for f in FINGERS for _ in range(4))])
            tolerance = self.tolerance()
            far = view3d.closeness(
                np.linalg.norm(live - teacher, axis=-1) * counts, tolerance["green"], tolerance["red"]
            )
        state, tone = (
            ("hold", "praise") if rank == 0 else ("move", "stretch" if rank == len(labels) - 1 else "almost")
        )
        return ViewState(
            state, words(f"word_{state}"), self.message(posture.label, self.lang), tone,  # type: ignore[arg-type]
            hold=0.4 if rank == 0 else 0.0, repetition=1, repetitions=self.draft.repetitions,
            seconds=self.draft.hold_s if rank == 0 else None,
            teacher=teacher, live=live, far=far, stand=view3d.stand_of(self._side, self.draft.kept_axes),
            accent=COLOURS[self.colour(posture.label)],
        )  # fmt: skip

    def settings(self, name: str) -> dict[str, Any]:
        """What the exercise builder is given. Whoever reads the file finds the postures' names of now, by
        whichever the recording calls them."""
        d = self.draft
        called = {posture.label: label_of(posture.name) for posture in d.postures}
        made: dict[str, Any] = {
            "name": name,
            "title": {lang: d.title.strip() for lang in LANGUAGES},
            "instructions": {lang: self.instructions(lang).strip() for lang in LANGUAGES},
            "labels": list(called.values()),
            "recorded_as": {new: label for label, new in called.items()},
            "messages": {
                new: {lang: self.message(label, lang).strip() for lang in LANGUAGES}
                for label, new in called.items()
            },
            "colours": {new: COLOURS[self.colour(label)] for label, new in called.items()},
            "hold_s": d.hold_s, "repetitions": d.repetitions, "rest_s": d.rest_s,
            "session_s": 60 * d.session_min, "speak_s": d.speak_s,
            "kept_axes": d.kept_axes, "fingers": list(d.fingers), "hand": d.hand,
        }  # fmt: skip
        if d.author.strip():
            made["author"] = d.author.strip()
        if self.report is not None and "tolerance" in self.report.measured:
            made["tolerance"] = self.tolerance()
        return made

    # --- try ---

    def build_began(self) -> None:
        self.build_problem, self.built = "", None
        self._building_for = self._what_goes_in()

    def build_done(self, error: Exception | None) -> None:
        if error is not None:
            self.build_problem = self.sentence_of(error)
        else:
            self.built = self._building_for

    # --- save ---

    @property
    def file_name(self) -> str:
        return label_of(self.draft.title) or "exercise"

    def run_lines(self) -> tuple[str, str]:
        """What starts the saved exercise, here and, in the folder with the file, at the patient's."""
        return self._run_line(self.saved_as), self._run_line(Path(self.saved).name)

    @staticmethod
    def _run_line(exercise: str) -> str:
        plain = re.fullmatch(r"[\w./\\:-]+", exercise)  # to every shell
        return "handcoach run --exercise " + (exercise if plain else f'"{exercise}"')

    def save_done(self, where: str, name: str, error: Exception | None) -> None:
        """Args:
        where: path of the file. name: by which it is run.
        """
        self.saved_as = name
        self.saved, self.save_problem = (where, "") if error is None else ("", self.sentence_of(error))
        self.replacing = ""
