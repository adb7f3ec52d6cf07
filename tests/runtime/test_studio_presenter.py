"""What the studio allows and says, without a window: no step before its time, no name twice, no verdict on a
recording that has changed since, and a sentence for everything that goes wrong with a take."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from tiny.hands import BENDS, blank, template

import handcoach
from handcoach import builders, draft, recording
from handcoach.coach import LEAST_REST_S
from handcoach.draft import Draft, Posture, label_of
from handcoach.hand import Frame, Hand
from handcoach.quality import Finding, Report
from handcoach.recorder import Moment, Take
from handcoach.texts import LANGUAGES, Texts
from handcoach.tracker import Track
from handcoach.ui.studio import presenter as module
from handcoach.ui.studio.presenter import STEPS, Recorded, StudioPresenter, recorded_of
from handcoach.worker import Result

TOLERANCE = {"green": 0.1, "red": 0.4}


@pytest.fixture(params=LANGUAGES)
def studio(request) -> StudioPresenter:
    presenter = StudioPresenter(Texts(request.param, "studio"))
    presenter.begin()
    return presenter


def many(bend: float, n: int = 80) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 0.004, (n, 21, 3)) * (np.arange(21) > 0)[:, None]
    return (template(bend) + noise).astype(np.float32)


def known(bend: float, n: int = 80) -> Recorded:
    view = np.tile(np.float32([1, 0.5]), (n, 1))
    return recorded_of("open", many(bend, n), np.arange(n) / 30, np.zeros(n, int), view)


def test_a_posture_is_shown_by_a_hand_that_is_turned_as_most_are_where_that_counts() -> None:
    hands = many(0.5)
    about_x = np.array([[1, 0, 0], [0, 0.5, -0.87], [0, 0.87, 0.5]])
    hands[0] = (template(0.5) @ about_x).astype(np.float32)  # the middle of all, but for its turn
    rest = (
        np.arange(len(hands)) / 30,
        np.zeros(len(hands), int),
        np.tile(np.float32([1, 0.5]), (len(hands), 1)),
    )
    for kept_axes, turned in (("", True), ("xz", False), ("z", False)):
        shown = recorded_of("open", hands, *rest, kept_axes).hand
        assert shown is not None and bool(np.array_equal(shown, hands[0])) == turned


def take(label: str, n: int, frames: int | None = None, other: int = 0) -> Take:
    return Take(label, many(0.0, n), np.arange(n) / 30, np.ones((n, 2), np.float32), "right", "tiny",
                n if frames is None else frames, other)  # fmt: skip


def record_all(studio: StudioPresenter) -> None:
    studio.set(title="Stretch")
    for label, bend in zip(studio.draft.labels, BENDS.values(), strict=True):
        studio.keep(label, known(bend))


def check_all(studio: StudioPresenter, good: bool = True) -> None:
    studio.check_began()
    finding = Finding(
        "overlap", True, studio.draft.labels[0], {"other": studio.draft.labels[1], "share": 0.4}
    )
    measured = {"accuracy_held_out": 0.98, "tolerance": TOLERANCE, "reference": template(0.0).tolist()}
    studio.check_done(Report(studio.draft.labels, {}, () if good else (finding,), {}, measured), None)


# --- steps ---


def test_no_step_is_entered_before_its_time(studio):
    assert [step for step in STEPS if not studio.why_not(step)] == ["new"]
    studio.set(title="Stretch")
    assert studio.next() and studio.step == "record"
    assert studio.draft.postures[0].name in studio.why_not("check")
    record_all(studio)
    assert studio.next() and studio.needs_check()
    assert not studio.can_next()
    check_all(studio)
    assert "98" in studio.check().verdict
    assert studio.next() and studio.step == "messages"
    assert studio.next() and studio.step == "attempt" and not studio.can_next()
    studio.build_began()
    studio.build_done(None)
    assert studio.next() and studio.step == "save"
    assert not studio.next()
    for step in (*reversed(STEPS[:-1]), "home"):
        assert studio.back() and studio.step == step


@pytest.mark.parametrize("how", ["begin", "go_on"])
def test_another_exercise_knows_nothing_of_the_last_one(studio, how):
    """Not even where it looks the same: a verdict on another recording must not let it through."""
    record_all(studio)
    check_all(studio)
    studio.build_began()
    studio.build_done(None)
    studio.save_done("/x/stretch.onnx", "stretch", None)
    assert studio.is_checked() and studio.is_built() and studio.saved
    if how == "begin":
        studio.begin()
        assert studio.draft.title == "" and studio.step == "new"
    else:
        studio.go_on(studio.draft, {}, 0)
    assert not studio.recorded and not studio.is_checked() and not studio.is_built()
    assert studio.report is None and studio.saved == ""


def test_a_verdict_on_an_older_recording_does_not_count(studio):
    record_all(studio)
    check_all(studio)
    assert studio.is_checked()
    studio.keep(studio.draft.labels[0], known(0.1))
    assert not studio.is_checked() and studio.needs_check() and studio.why_not("messages")


@pytest.mark.parametrize("change", [{"kept_axes": "x"}, {"fingers": ("index",)}])
def test_what_counts_is_checked_again(studio, change):
    record_all(studio)
    check_all(studio)
    studio.set(**change)
    assert not studio.is_checked()


def test_a_verdict_that_comes_after_a_change_is_dropped(studio):
    record_all(studio)
    studio.check_began()
    studio.set(fingers=("index",))
    studio.check_done(Report(studio.draft.labels, {}, ()), None)
    assert studio.report is None and studio.needs_check()


def test_what_could_not_be_built_is_told_and_not_tried(studio):
    record_all(studio)
    check_all(studio)
    studio.build_began()
    studio.build_done(recording.RecordingError("It is damaged: record it again."))
    assert studio.build_problem == "It is damaged: record it again." and not studio.is_built()
    assert studio.why_not("save")
    studio.build_began()
    studio.build_done(None)
    assert studio.build_problem == "" and studio.is_built()


def test_a_changed_message_is_built_anew_and_a_name_is_not(studio):
    record_all(studio)
    check_all(studio)
    studio.build_began()
    studio.build_done(None)
    studio.set(author="Ada")
    assert studio.is_built()
    studio.set_message(studio.draft.labels[0], "Hold.")
    assert not studio.is_built()


def test_a_refused_recording_stops_here_and_says_why(studio):
    record_all(studio)
    check_all(studio, good=False)
    view = studio.check()
    one, other = (posture.name for posture in studio.draft.postures[:2])
    assert (view.verdict, view.tone) == (studio.texts("check_refused"), "look")
    assert view.findings[0][0] == "poor" and one in view.findings[0][1] and other in view.findings[0][1]
    studio.step = "check"
    assert not studio.can_next()


# --- the first step ---


@pytest.mark.parametrize("name", ["Open", "open", " OPEN ", "o p e n"])
def test_two_postures_of_one_name_are_told(name):
    studio = StudioPresenter(Texts("en", "studio"))
    studio.begin()
    studio.set(title="Stretch")
    studio.rename(1, name)
    assert ("Two postures" in studio.new_problem()) == (name != "o p e n")
    assert studio.next() == (name == "o p e n")


@pytest.mark.parametrize("name", ["", "  ", "?!", "unsure", "Unsure"])
def test_a_name_that_is_none_is_told(studio, name):
    studio.set(title="Stretch")
    studio.rename(1, name)
    assert studio.new_problem() and not studio.next()


def test_a_recorded_posture_keeps_its_label_when_it_is_renamed(studio):
    record_all(studio)
    label = studio.draft.labels[0]
    studio.rename(0, "Flat as a table")
    assert studio.draft.postures[0] == Posture(label, "Flat as a table")


def test_a_posture_that_is_renamed_before_it_is_recorded_keeps_its_words_and_colour(studio):
    label = studio.draft.labels[0]
    studio.set_message(label, "My own words")
    before = studio.colour(label)
    studio.next_colour(label)
    colour = studio.colour(label)
    assert colour != before
    studio.rename(0, "Wide open")
    label = studio.draft.labels[0]
    assert label == "wide-open"
    assert studio.message(label, studio.lang) == "My own words" and studio.colour(label) == colour


def test_a_name_that_begins_like_a_recorded_postures_is_a_name_of_its_own(studio):
    """Typed letter by letter it is the other one's for a moment."""
    record_all(studio)
    first = studio.draft.postures[0]
    studio.add_posture()
    for end in range(1, len(first.name) + 6):
        studio.rename(3, f"{first.name} wide"[:end])
    assert studio.draft.postures[0] == first
    assert studio.draft.postures[3].label not in studio.draft.labels[:3]
    assert not studio.new_problem()


def test_an_exercise_has_two_postures_and_a_finger(studio):
    studio.set(title="Stretch")
    for finger in studio.draft.fingers:
        assert not studio.new_problem()
        studio.toggle_finger(finger)
    assert studio.new_problem()
    studio.toggle_finger("ring")
    assert studio.draft.fingers == ("ring",)
    studio.remove_posture(2)
    assert not studio.new_problem()
    studio.remove_posture(1)
    assert studio.new_problem()
    for _ in range(2 * module.MOST_POSTURES):
        studio.add_posture()
    assert len(studio.draft.postures) == module.MOST_POSTURES


@pytest.mark.parametrize("studio", LANGUAGES, indirect=True)
def test_a_default_sentence_has_no_name_in_another_language(studio):
    first = studio.draft.postures[0].name
    for posture in studio.draft.postures[1:]:
        for lang in LANGUAGES:
            assert (first in studio.message(posture.label, lang)) == (lang == studio.texts.lang)
    assert all(first not in studio.instructions(lang) for lang in LANGUAGES)


def test_removing_a_posture_spares_the_recording_of_one_that_is_named_alike(studio):
    first = studio.draft.labels[0]
    studio.rename(1, first)
    studio.keep(first, known(0.0))
    assert studio.remove_posture(1) == "" and first in studio.recorded
    assert studio.remove_posture(0) == first and not studio.recorded


@pytest.mark.parametrize("name", ["Åben hånd", "a/b\\c", "../../x", "-x", "x" * 60, "Fist (left)"])
def test_any_name_makes_a_label_that_a_recording_takes(name, tmp_path):
    recording.check(tmp_path / "recording", label_of(name), "tiny")


# --- record ---


def seen(studio: StudioPresenter, hand: Hand | None, **more) -> Result:
    return Result(1.0, "running", frame=Frame(blank(), 1.0, 30), track=Track(hand, **more))


def a_hand(side: str = "right", x: float = 300) -> Hand:
    points = np.stack([np.linspace(x, x + 60, 21), np.linspace(100, 300, 21)], 1).astype(np.float32)
    return Hand(template(0).astype(np.float32), points, side, 0.9)


def test_takes_lead_from_posture_to_posture(studio):
    studio.set(title="Stretch")
    studio.next()
    for i, label in enumerate(studio.draft.labels):
        assert studio.current == i
        assert studio.took(take(label, 80))
        studio.keep(label, known(0.0))
    assert studio.note == (studio.texts("all_recorded"), "praise") and studio.can_next()


@pytest.mark.parametrize(
    ("what", "kept", "tone"),
    [
        (take("open", 80), True, "praise"),
        (take("open", 7, frames=80), False, "look"),
        (take("open", 0, frames=80), False, "look"),
        (take("open", 7, frames=80, other=70), False, "look"),
        (take("open", 60, frames=80, other=20), True, "almost"),
        (take("open", 40, frames=80), True, "almost"),
    ],
)
def test_a_take_is_kept_or_not_and_a_sentence_says_so(what, kept, tone):
    studio = StudioPresenter(Texts("en", "studio"))
    studio.begin()
    assert studio.took(what) is kept
    assert studio.note is not None and studio.note[1] == tone
    if what.other:
        assert "other hand" in studio.note[0]


def test_a_patchy_take_does_not_replace_a_good_one(studio):
    label = studio.draft.labels[0]
    studio.keep(label, known(0.0))
    assert not studio.took(take(label, 40, frames=80)) and "50%" in studio.note[0]
    added = replace(take(label, 40, frames=80), replace=False)
    assert studio.took(added)  # what is added takes nothing away
    studio.keep(label, replace(known(0.0), findings=(Finding("shaky", True, label, {"moved": 0.2}),)))
    assert studio.took(take(label, 40, frames=80))  # nor is there anything to lose


def test_a_take_with_the_other_hand_in_it_does_not_replace_a_good_one_either(studio):
    label = studio.draft.labels[0]
    studio.keep(label, known(0.0))
    assert not studio.took(take(label, 40, frames=80, other=20)) and "50%" in studio.note[0]


def test_a_posture_that_is_refused_is_shown_before_anything_is_said_to_be_done(studio):
    record_all(studio)
    label = studio.draft.labels[1]
    bad = replace(known(0.5), findings=(Finding("out_of_view", True, label, {"share": 0.4}),))
    studio.go_on(replace(studio.draft, title=""), studio.recorded, 0)
    assert studio.step == "new"  # what is missing there comes first
    studio.go_on(replace(studio.draft, title="Stretch"), studio.recorded | {label: bad}, 0)
    assert studio.step == "record" and studio.posture.label == label
    assert studio.note == (bad.findings[0].say(studio.texts, studio.draft.names), "look")


@pytest.mark.parametrize("replaces", [True, False])
def test_a_take_that_would_be_refused_neither_replaces_nor_spoils_a_good_one(studio, replaces):
    label = studio.draft.labels[0]
    half_out = replace(take(label, 80), view=np.tile(np.float32([0.5, 0.5]), (80, 1)), replace=replaces)
    assert studio.took(half_out)  # there is nothing better
    studio.keep(label, known(0.0))
    studio.select(0)
    assert not studio.took(half_out) and studio.note[1] == "look"
    assert studio.note[0] != studio.texts("take_refused", why="")
    assert studio.note[0].startswith(studio.texts("take_refused", why="").strip())


def test_a_recorded_posture_keeps_its_frames_whatever_others_are_called(studio):
    names = [posture.name for posture in studio.draft.postures]
    label = studio.draft.labels[0]
    studio.set(title="Stretch")
    studio.keep(label, known(0.0))
    studio.add_posture()
    studio.rename(len(names), names[0])
    assert studio.new_problem() == studio.texts("need_different", name=names[0])
    studio.rename(0, "Wide")
    assert studio.draft.labels[0] == label and studio.draft.labels.count(label) == 1
    assert studio.new_problem() == ""


def test_a_take_that_cannot_be_written_is_not_called_recorded(studio):
    label = studio.draft.labels[0]
    assert studio.took(take(label, 80))
    studio.not_kept(recording.RecordingError("The disk is full: make room."))
    assert studio.note == ("The disk is full: make room.", "error") and not studio.recorded


def test_a_finding_of_a_take_is_said_at_once(studio):
    label = studio.draft.labels[0]
    studio.took(take(label, 80))
    shaky = Finding("shaky", True, label, {"moved": 0.2})
    studio.keep(label, replace(known(0.0), findings=(shaky,)))
    assert studio.note == (shaky.say(studio.texts, studio.draft.names), "look") and studio.current == 0
    row = studio.record(None, Moment()).rows[0]
    assert row.level == "poor" and row.status == studio.texts("row_again")


def test_what_could_be_better_is_said_of_a_posture_that_is_chosen(studio):
    record_all(studio)
    label = studio.draft.labels[1]
    warned = Finding("few_frames", False, label, {"n": 30, "good": 60})
    studio.keep(label, replace(known(0.5), findings=(warned,)))
    assert studio.go("record")
    studio.select(1)
    assert studio.note == (warned.say(studio.texts, studio.draft.names), "almost")
    studio.select(0)
    assert studio.note is None


def test_a_step_begins_with_what_is_still_to_be_recorded(studio):
    studio.set(title="Stretch")
    for label in studio.draft.labels[:2]:
        studio.keep(label, known(0.0))
    studio.select(0)
    assert studio.go("record") and studio.current == 2


def test_a_damaged_posture_is_told_and_can_be_recorded_again(studio):
    studio.set(title="Stretch")
    label = studio.draft.labels[1]
    studio.go_on(studio.draft, {label: Recorded(problem="almost.npz is damaged")}, 0)
    assert studio.record(None, Moment()).rows[1].status == studio.texts("row_damaged")
    studio.select(1)
    assert studio.note == ("almost.npz is damaged", "look")


def test_the_live_view_says_what_to_do(studio):
    studio.set(title="Stretch", hand="right")
    studio.next()
    texts, name = studio.texts, studio.draft.postures[0].name
    loading = studio.record(None, Moment())
    assert loading.live.state == "loading" and not loading.can_record
    nothing = studio.record(seen(studio, None, reason="too_far"), Moment())
    assert nothing.live.message == texts("too_far") and nothing.level == "poor"
    ready = studio.record(seen(studio, a_hand()), Moment())
    assert ready.live.message == texts("press_record", name=name) and ready.level == "good"
    wrong = studio.record(seen(studio, a_hand(), mismatch=True), Moment())
    assert (wrong.level, wrong.advice) == ("poor", texts("show_right"))
    cut = studio.record(seen(studio, a_hand(x=600)), Moment())
    assert (cut.level, cut.advice) == ("fair", texts("half_out"))
    dark = replace(seen(studio, a_hand()), frame=Frame(blank(grey=20), 1.0, 30))
    dark = studio.record(dark, Moment())
    assert (dark.level, dark.advice, dark.can_record) == ("fair", texts("too_dark"), True)
    ended = studio.record(replace(seen(studio, a_hand()), stage="ended"), Moment())
    assert (ended.live.message, ended.failed, ended.can_record) == (texts("ended"), True, False)
    count = studio.record(seen(studio, a_hand()), Moment("countdown", "open", 2.2))
    assert count.big == "3" and count.busy and count.record_text == texts("cancel")
    burst = studio.record(seen(studio, a_hand()), Moment("burst", "open", 4.0, 0.6, 90, 88))
    assert burst.live.hold == 0.6 and burst.live.seconds == 4 and burst.level == "good"
    lost = studio.record(seen(studio, a_hand()), Moment("burst", "open", 4.0, 0.6, 90, 20))
    assert lost.advice == texts("hand_lost")


@pytest.mark.parametrize("key", ["camera_absent", "camera_silent", "camera_gone", "source_unreadable"])
def test_a_camera_that_fails_is_one_sentence(studio, key):
    view = studio.record(Result(0.0, "error", error="Camera 0 does not open: ...", error_key=key), Moment())
    assert view.failed and view.live.message == studio.texts(key) and not view.can_record


# --- check, messages, save ---


def test_missing_libraries_are_one_sentence_with_the_line_that_brings_them(studio, monkeypatch):
    monkeypatch.setattr(builders, "missing", lambda: ["sklearn"])
    studio.check_began()
    with pytest.raises(builders.MissingBuilder) as error:
        builders.check(Path("x"), Path("y"), {}, "en", {})
    studio.check_done(None, error.value)
    view = studio.check()
    assert view.stage == "failed" and builders.PIP_LINE in view.verdict


def test_an_error_that_is_not_for_people_becomes_a_sentence(studio):
    studio.check_began()
    studio.check_done(None, KeyError("x"))
    assert studio.check().verdict == studio.texts("crashed", what="KeyError")


def test_settings_are_what_the_builder_takes(studio):
    record_all(studio)
    check_all(studio)
    studio.set(strictness="gentle", session_min=20, speak_s=4, easier=20, author=" Ada ")
    studio.set_instructions("  Rest your\narm. ")
    made = studio.settings("stretch")
    assert made["instructions"][studio.lang] == "Rest your arm."
    assert made["tolerance"] == {"green": 0.15, "red": 0.6, "praise": 1.5, "widest": 1.2}
    assert made["session_s"] == 1200 and studio.number_text("easier") == "20 %"
    assert made["speak_s"] == 4 and studio.number_text("speak_s") == "4 s"
    assert made["author"] == "Ada" and made["labels"] == list(studio.draft.labels)
    for texts in (made["title"], made["instructions"], *made["messages"].values()):
        assert set(texts) == set(LANGUAGES) and all(text.strip() for text in texts.values())
    assert all(re.fullmatch("#[0-9a-f]{6}", colour) for colour in made["colours"].values())
    assert len(set(made["colours"].values())) == 3


def test_the_files_labels_are_the_names_that_are_read(studio):
    """However a posture was called when it was recorded, and also where two names were exchanged."""
    record_all(studio)
    (first, one), _, (last, two) = ((p.label, p.name) for p in studio.draft.postures)
    studio.rename(0, two)
    studio.rename(2, one)
    check_all(studio)
    made = studio.settings("stretch")
    assert (made["labels"][0], made["labels"][2]) == (last, first)
    assert (made["recorded_as"][last], made["recorded_as"][first]) == (first, last)
    assert list(made["messages"]) == list(made["colours"]) == made["labels"]


def test_words_and_colours_of_a_posture_to_reach_do_not_stay_where_it_is_none(studio):
    best, other, _ = studio.draft.labels
    default = studio.message(best, studio.lang)
    studio.set_message(best, "Lovely, hold it just like that!")
    studio.next_colour(best)
    studio.move_up(1)
    assert studio.draft.labels[:2] == (other, best)
    assert studio.message(best, studio.lang) not in ("Lovely, hold it just like that!", default)
    assert studio.message(other, studio.lang) == default and studio.colour(best) == "yellow"
    studio.set_message(best, "Almost there.")
    studio.move_up(1)  # a press too much takes no words away
    assert studio.message(best, studio.lang) == "Lovely, hold it just like that!"


def test_words_that_are_the_default_follow_the_names(studio):
    _, almost, _ = studio.draft.labels
    default = studio.message(almost, studio.lang)
    studio.set_message(almost, default + " x")
    studio.set_message(almost, default)
    studio.rename(0, "Star")
    assert "Star" in studio.message(almost, studio.lang)
    studio.set_message(almost, "Mine.")
    studio.remove_posture(1)
    studio.add_posture()
    studio.rename(2, almost)
    assert almost not in studio.draft.messages


def test_a_draft_keeps_the_language_that_its_postures_are_named_in(studio):
    other = StudioPresenter(Texts(next(lang for lang in LANGUAGES if lang != studio.texts.lang), "studio"))
    other.go_on(studio.draft, {}, 0)
    for label in studio.draft.labels:
        assert [other.message(label, lang) for lang in LANGUAGES] == [
            studio.message(label, lang) for lang in LANGUAGES
        ]


def test_lines_and_signs_that_a_file_may_not_hold_are_spaces(studio):
    studio.set(title="A\x0bB", author="C\nD\u202e")
    studio.set_message(studio.draft.labels[0], "E\u2028F ")
    assert (studio.draft.title, studio.draft.author) == ("A B", "C D ")
    assert studio.message(studio.draft.labels[0], studio.lang) == "E F "  # a space is typed before a word


def test_a_gentle_exercise_says_how_much_easier_it_really_gets(studio):
    studio.set(easier=50, strictness="gentle")
    assert studio.number_text("easier") == "33 %" and studio.tolerance()["widest"] == 1.33
    studio.step_number("easier", -1)
    assert studio.number_text("easier") == "28 %"


def test_saved_is_said_of_what_is_in_the_file(studio):
    record_all(studio)
    for change in (lambda: studio.keep(studio.draft.labels[0], known(0.0)), lambda: studio.set(author="A")):
        studio.save_done("/x/stretch.onnx", "stretch", None)
        assert studio.saved
        change()
        assert studio.saved == ""


@pytest.mark.parametrize(
    ("name", "quoted"),
    [("fist", False), ("C:\\a\\b.onnx", False), ("fist(2).onnx", True), ("a b", True), ("$x", True)],
)
def test_a_line_for_the_terminal_is_quoted_where_a_shell_would_read_it_otherwise(studio, name, quoted):
    studio.save_done(name, name, None)
    assert studio.run_lines()[0].endswith(f'"{name}"' if quoted else f" {name}")


def test_an_empty_message_stops_here(studio):
    record_all(studio)
    check_all(studio)
    studio.set_message(studio.draft.labels[1], "  ")
    assert studio.draft.postures[1].name in studio.messages_problem() and studio.why_not("attempt")


def test_numbers_stay_in_their_bounds(studio):
    for name, (_, least, most) in draft.NUMBERS.items():
        for _ in range(100):
            studio.step_number(name, 1)
        assert getattr(studio.draft, name) == most
        for _ in range(100):
            studio.step_number(name, -1)
        assert getattr(studio.draft, name) == least
        assert str(least) in studio.number_text(name)


def test_the_preview_is_the_patients_own_view(studio):
    record_all(studio)
    check_all(studio)
    studio.select(2)
    studio.go("messages")  # which begins with the best one
    best = studio.preview()
    assert best.tone == "praise" and best.far is not None and best.far.max() < 0.1
    studio.select(2)
    studio.set_message(studio.draft.labels[2], "Stretch, please.")
    worst = studio.preview()
    assert worst.message == "Stretch, please." and worst.far is not None and worst.far.max() == 1
    studio.set(hand="left")
    assert studio.preview().stand == "left"


# --- texts and drafts ---


def test_both_languages_have_the_same_keys_and_values_and_every_key_is_there():
    tables = {}
    for lang in LANGUAGES:
        path = Path(handcoach.__file__).parent / "locale" / "studio" / f"{lang}.json"
        tables[lang] = json.loads(path.read_text(encoding="utf-8"))
    assert tables["en"].keys() == tables["da"].keys()
    for key, text in tables["en"].items():
        other = tables["da"][key]
        assert sorted(re.findall(r"{(\w+)", text)) == sorted(re.findall(r"{(\w+)", other)), key
        for one in (text, other):
            assert one.strip() == one != "" and len(one) < 190, key
    texts = Texts("en", "studio")
    source = "".join(path.read_text(encoding="utf-8") for path in Path(module.__file__).parent.glob("*.py"))
    for key in re.findall(r'texts\(\s*"(\w+)"', source):
        assert key in texts, key


def test_a_draft_is_read_back_and_a_damaged_one_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("HANDCOACH_HOME", str(tmp_path))
    two = (Posture("aaben", "Åben"), Posture("x", "X"))
    made = Draft("Stræk", "left", two, "x", ("index",), {"da": "Gør"},
                 {"x": {"da": "Hej"}}, {"x": "#d1495b"}, "strict", 4, 6, 2, 20, 4, 9,
                 "Ada", True)  # fmt: skip
    draft.save(draft.new_folder("one"), made)
    assert draft.kept()[0].draft == made and draft.kept()[0].recorded == ()
    assert draft.new_folder("one").name == "one-2"
    for spoilt in ("", "[]", "{}", '{"format": 1, "hold_s": "3"}', '{"format": 2}', '{"format": 1, "x": 1}'):
        (tmp_path / "studio" / "one" / draft.FILE).write_text(spoilt)
        assert draft.kept()[0].draft is None
    studio = StudioPresenter(Texts("en", "studio"))
    assert not studio.home(draft.kept(), 0.0)[0].readable
    draft.delete(tmp_path / "studio" / "one")
    assert draft.kept() == []


@pytest.mark.parametrize(
    "spoilt",
    [
        {"postures": []}, {"hand": "foot"}, {"kept_axes": "q"}, {"hold_s": -5}, {"hold_s": 900},
        {"rest_s": 61}, {"repetitions": 0}, {"session_min": 0}, {"instructions": {"en": 3}},
        {"messages": {"open": "x"}}, {"messages": {"open": {"en": None}}},
    ],
)  # fmt: skip
def test_a_draft_that_a_later_step_would_stumble_over_is_told_as_damaged(spoilt):
    whole = json.loads(Draft(postures=(Posture("open", "Open"), Posture("fist", "Fist"))).as_json())
    # One of before there was a least rest is whole.
    assert draft.parse(json.dumps(whole | {"rest_s": 0})).rest_s == LEAST_REST_S
    with pytest.raises(ValueError):
        draft.parse(json.dumps(whole | spoilt))


def test_the_start_page_says_how_far_a_draft_is():
    studio = StudioPresenter(Texts("en", "studio"))
    kept = draft.Kept(
        Path("x"), Draft("Stretch", postures=(Posture("a", "A"), Posture("b", "B"))), ("a",), 0.0
    )
    for now, says in ((60.0, "a moment ago"), (2 * 3600.0, "2 h ago"), (3 * 86400.0, "3 days ago")):
        (row,) = studio.home([kept], now)
        assert row.title == "Stretch" and row.status == f"1 of 2 postures recorded, {says}"


def test_what_cannot_be_deleted_is_told_and_stays_in_the_list(tmp_path, monkeypatch):
    monkeypatch.setattr(draft, "studio_folder", lambda: tmp_path)
    folder = tmp_path / "one"
    draft.save(folder, Draft(postures=(Posture("open", "Open"),)))
    draft.add_pictures(folder, "open", [b"1"])
    (folder / "recording-damaged").mkdir()  # landmarks of before

    def refuse(*args, **more):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as broken:
        broken.setattr(draft.shutil, "rmtree", refuse)
        broken.setattr(Path, "unlink", refuse)
        for delete in (draft.delete, draft.delete_pictures):
            with pytest.raises(draft.DeleteError, match="delete it again") as told:
                delete(folder)
            assert told.value.key in Texts("da", "studio")
    assert len(draft.kept()) == 1 and len(draft.pictures(folder)) == 1
    draft.delete(folder)
    assert not folder.exists()


def test_pictures_are_deleted_alone_or_all(tmp_path):
    draft.add_pictures(tmp_path, "open", [b"1", b"2"])
    draft.add_pictures(tmp_path, "open", [b"3"])
    draft.add_pictures(tmp_path, "fist", [b"4"])
    assert [path.name for path in draft.pictures(tmp_path)] == [
        "fist-001.jpg", "open-001.jpg", "open-002.jpg", "open-003.jpg",
    ]  # fmt: skip
    draft.delete_pictures(tmp_path, "open")
    assert len(draft.pictures(tmp_path)) == 1
    draft.delete_pictures(tmp_path)
    assert draft.pictures(tmp_path) == []


def test_pictures_of_a_posture_leave_those_of_a_similar_name_alone(tmp_path):
    draft.add_pictures(tmp_path, "open-wide", [b"1", b"2"])
    draft.add_pictures(tmp_path, "open", [b"3", b"4"])
    draft.pictures_of(tmp_path).joinpath("open-001.jpg").unlink()
    draft.add_pictures(tmp_path, "open", [b"5"])  # after the last one, which a count would overwrite
    kept = {path.name: path.read_bytes() for path in draft.pictures(tmp_path)}
    assert kept == {
        "open-002.jpg": b"4", "open-003.jpg": b"5", "open-wide-001.jpg": b"1", "open-wide-002.jpg": b"2",
    }  # fmt: skip
    draft.delete_pictures(tmp_path, "open")
    assert [path.name for path in draft.pictures(tmp_path)] == ["open-wide-001.jpg", "open-wide-002.jpg"]


def test_a_take_replaces_the_older_ones_whole_or_not_at_all(tmp_path, monkeypatch):
    def add(n: int, replace: bool, hand: str = "right") -> int:
        return recording.add(tmp_path / "r", "open", many(0, n), np.arange(n) / 30, hand=hand,
                             landmark_model="tiny", replace=replace)  # fmt: skip

    add(30, False)
    assert add(25, True, "left") == 25
    got = recording.read(tmp_path / "r")
    assert got.hand == "left" and got.takes["open"].max() == 0

    def full_disk(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(recording.places.os, "fsync", full_disk)
        with pytest.raises(recording.RecordingError):
            add(40, True)
    assert len(recording.read(tmp_path / "r").labels["open"]) == 25
    (tmp_path / "r" / "open.npz").write_bytes(b"damaged")
    assert add(30, True) == 30  # a damaged posture is mended by recording it again
    assert len(recording.read(tmp_path / "r", only="open").labels["open"]) == 30
    recording.remove(tmp_path / "r", "open")
    assert recording.labels_in(tmp_path / "r") == [] and not (tmp_path / "r" / "open.npz").exists()


# --- takes ---


def recorder(tracks, choice: str = "auto", **more):
    from handcoach.recorder import Recorder

    tracks = iter(tracks)
    file = SimpleNamespace(name="tiny-float", meta={"variant": {"of": "tiny"}})
    tracker = SimpleNamespace(choice=choice, landmarker=SimpleNamespace(file=file))
    line = SimpleNamespace(step=lambda frame: (next(tracks), None), tracker=tracker, reset=lambda: None)
    return Recorder(line, countdown_s=0.2, burst_s=1.0, **more)


def play(made, n: int) -> Take | None:
    for i in range(n):
        made.step(Frame(blank(64, 48), i / 20, i))
    return made.takes.take()


def test_a_take_counts_down_and_ends_by_the_frames_own_times():
    made = recorder([Track(a_hand())] * 60)
    assert play(made, 5) is None  # nobody has begun
    made.begin("open")
    stages, left, got = [], [], None
    for i in range(40):
        made.step(Frame(blank(64, 48), 10 + i / 20, i))
        stages.append(made.moment.stage)
        left.append(made.moment.left)
        got = got or made.takes.take()
    assert stages[:4] == ["countdown"] * 4 and stages[5:20] == ["burst"] * 15 and stages[-1] == "idle"
    np.testing.assert_allclose(left[:4], 0.2 - np.arange(4) / 20, atol=1e-9)
    np.testing.assert_allclose(left[5:20], 1.0 - np.arange(1, 16) / 20, atol=1e-9)
    assert got is not None and got.label == "open" and len(got.landmarks) == got.frames == 20
    assert np.isfinite(got.landmarks).all() and got.hand == "right"


def test_a_take_names_the_landmark_model_whatever_its_precision():
    made = recorder([Track(a_hand())] * 30)
    made.begin("open")
    got = play(made, 30)
    assert got is not None and got.landmark_model == "tiny"


def test_the_other_hand_in_the_middle_of_a_take_is_left_out():
    made = recorder([Track(a_hand())] * 15 + [Track(a_hand("left"))] * 6 + [Track(a_hand())] * 9)
    made.begin("open")
    got = play(made, 30)
    assert got is not None and got.other == 6 and len(got.landmarks) == got.frames - 6 and got.hand == "right"
    chosen = recorder([Track(a_hand())] * 15 + [Track(a_hand(), mismatch=True)] * 15, choice="right")
    chosen.begin("open")
    got = play(chosen, 30)
    assert got is not None and got.other > 5 and len(got.landmarks) + got.other == got.frames


def test_frames_without_a_hand_or_a_palm_are_not_kept():
    flat = Hand(np.zeros((21, 3), np.float32), a_hand().points, "right", 0.9)
    made = recorder([Track(None, "no_hand")] * 10 + [Track(flat)] * 10 + [Track(a_hand())] * 10)
    made.begin("open")
    got = play(made, 30)
    assert got is not None and got.frames == 20 and len(got.landmarks) == 4
    nobody = recorder([Track(None, "no_hand")] * 30)
    nobody.begin("open")
    got = play(nobody, 30)
    assert got is not None and got.landmarks.shape == (0, 21, 3) and (got.hand, got.frames) == ("either", 20)


def test_what_is_wrong_with_a_take_is_told_while_it_is_taken():
    """But not that there are few frames: there will be more."""
    made = recorder([Track(a_hand(x=300))] * 40)  # the picture is 64 pixels wide
    made.begin("open")
    kinds = []
    for i in range(20):
        made.step(Frame(blank(64, 48), i / 20, i))
        kinds.append({finding.kind for finding in made.moment.findings})
    assert kinds[4] == set() and kinds[-1] == {"out_of_view"}


def test_a_cancelled_take_leaves_nothing_and_pictures_are_kept_only_where_they_are_wished():
    made = recorder([Track(a_hand())] * 90)
    made.begin("open")
    play(made, 10)
    made.cancel()
    assert made.moment.stage == "idle" and play(made, 20) is None
    for wished in (False, True):
        made.begin("open", keep_pictures=wished)
        got = play(made, 30)
        assert got is not None and len(got.pictures) == int(wished)  # one a second
        assert all(data[:2] == b"\xff\xd8" for data in got.pictures)
