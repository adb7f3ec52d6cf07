"""What the window says in each state, and that it can be read by everyone."""

import json
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from tiny.colours import contrast
from tiny.hands import blank, template
from tiny.hands import points as hand_points

import handcoach
from handcoach import angles
from handcoach.coach import Progress
from handcoach.errors import HandCoachError
from handcoach.exercise import Exercise
from handcoach.hand import Frame, Hand, as_held, hand_frame
from handcoach.model import find, read
from handcoach.texts import LANGUAGES, Texts
from handcoach.tracker import Reason, Track
from handcoach.ui import drawing
from handcoach.ui.presenter import Presenter
from handcoach.worker import Result

FRAME = Frame(blank(), 0.0, 0)


@pytest.fixture(scope="module")
def exercise(tiny_exercise_path):
    return Exercise(read(tiny_exercise_path, "exercise"))


@pytest.fixture(scope="module")
def tiny_exercise_path():
    return Path(__file__).parents[1] / "tiny" / "exercise.onnx"


def hand(side="right", bend=0.0):
    landmarks = template(bend).astype(np.float32)
    if side == "left":
        landmarks = landmarks * np.float32([-1, 1, 1])
    return Hand(landmarks, np.full((21, 2), 100, np.float32), side, 0.9)


def progress(state, label=None, message="", hold=0.0, repetition=1, rest=0.0):
    return Progress(state, label, message or state, hold, repetition, 5, rest)


def result(exercise, what, t=10.0, seen=None, reason=None, stage="running", **more):
    posture = exercise.assess(seen) if seen else None
    return Result(t, stage, frame=FRAME, track=Track(seen, reason), posture=posture, progress=what,
                  exercise=exercise, hold_s=4.0, rest_s=6.0, **more)  # fmt: skip


@pytest.fixture
def presenter():
    return Presenter(Texts("en"))


def test_loading(presenter):
    view = presenter.present(Result(0.0))
    assert (view.state, view.can_start, view.can_pause) == ("loading", False, False)
    assert "moment" in view.message


def test_the_camera_is_waking_up(presenter, exercise):
    view = presenter.present(Result(0.0, "camera", progress=progress("ready"), exercise=exercise))
    assert view.state == "loading"
    assert "camera" in view.message


def test_ready(presenter, exercise):
    view = presenter.present(result(exercise, progress("ready"), seen=hand()))
    assert (view.state, view.can_start, view.can_pause) == ("ready", True, False)
    assert view.points is not None


@pytest.mark.parametrize("lang", LANGUAGES)
def test_the_exercise_is_explained_before_it_starts_and_not_later(exercise, lang):
    presenter, texts = Presenter(Texts(lang)), Texts(lang)
    view = presenter.present(result(exercise, progress("ready"), seen=hand()))
    assert (view.title, view.instructions) == (exercise.title(lang), exercise.instructions(lang))
    assert view.maker == f"{texts('not_signed')} {texts('made_by', author='HandCoach tests')}"
    for state in ("search", "rest", "paused", "stopped", "done"):
        later = presenter.present(result(exercise, progress(state), seen=hand()))
        assert (later.title, later.instructions) == ("", "")
    # It lies beside the camera's picture and hides nothing in it: hand, wrist and forearm are all seen.
    size = (900, 500)
    with_it = drawing.compose(view, texts, size)
    without = drawing.compose(replace(view, title="", instructions=""), texts, size)
    rows, columns = np.nonzero((with_it != without).any(axis=2))
    box = drawing.layout(*size, 1.0).hands
    assert box.y <= rows.min() and rows.max() < box.y + box.h
    assert box.x <= columns.min() and columns.max() < box.x + box.w


@pytest.mark.parametrize("lang", LANGUAGES)
def test_an_exercise_that_needs_the_thumb_says_so_where_it_was_left_out(lang):
    exercise = Exercise(read(find("thumb-to-index", "exercise"), "exercise"), thumb=False)
    view = Presenter(Texts(lang)).present(result(exercise, progress("ready"), seen=hand()))
    assert view.instructions == f"{exercise.instructions(lang)} {Texts(lang)('thumb_needed')}"


@pytest.mark.parametrize(("label", "tone"), [("almost", "almost"), ("fist", "stretch")])
def test_each_posture_has_the_message_of_the_exercise(presenter, exercise, label, tone):
    view = presenter.present(result(exercise, progress("move", label, label), seen=hand(bend=0.5)))
    assert view.message == exercise.message(label, "en")
    assert view.tone == tone


def test_a_therapist_may_want_corrections_seldom_and_praise_at_once(presenter, exercise, monkeypatch):
    monkeypatch.setattr(exercise, "speak_s", 4.0)

    def say(t, state, label):
        view = presenter.present(result(exercise, progress(state, label, label), t=t, seen=hand(bend=0.5)))
        colour = exercise.colours[label] if state != "search" else ""
        return view.message, view.accent == colour

    almost, fist = (exercise.message(label, "en") for label in ("almost", "fist"))
    assert say(10.0, "move", "fist") == (fist, True)
    assert say(11.0, "move", "almost") == (fist, False)  # sentence and colour stay together
    assert say(14.1, "move", "almost") == (almost, True)
    assert say(15.0, "move", "fist")[0] == almost
    assert say(15.5, "hold", "open") == (exercise.message("open", "en"), True)
    assert say(16.0, "move", "fist") == (fist, True)  # and what comes after it is new
    other = result(exercise, progress("move", "fist", "fist"), t=16.5, seen=hand(bend=0.5))
    other = replace(other, track=replace(other.track, mismatch=True))
    assert presenter.present(other).hint == presenter.texts("mismatch")  # nor is the wrong hand kept quiet


def test_that_the_posture_is_to_be_left_is_said_at_once_and_no_longer_than_it_is_true(
    presenter, exercise, monkeypatch
):
    monkeypatch.setattr(exercise, "speak_s", 20.0)
    fist = exercise.message("fist", "en")
    for t, label, message, says in (
        (0.0, "fist", "fist", fist),
        (1.0, "open", "leave", Texts("en")("leave")),
        (2.0, "fist", "fist", fist),
    ):
        view = presenter.present(result(exercise, progress("move", label, message), t=t, seen=hand()))
        assert view.message == says


def test_who_stops_is_told_so_even_where_the_camera_is_gone(presenter, exercise):
    gone = result(exercise, progress("stopped"), stage="error", error="The camera is gone.")
    assert presenter.present(gone).message == "The camera is gone."  # nothing was under way
    presenter.present(result(exercise, progress("hold", "open", "open"), seen=hand()))
    view = presenter.present(gone)
    assert (view.state, view.message, view.instructions) == (
        "stopped", Texts("en")("stopped"), "The camera is gone.",
    )  # fmt: skip
    assert presenter.present(replace(gone, progress=progress("hold", "open"))).state == "error"


def test_the_last_praise_and_result_outlast_the_camera(presenter, exercise):
    for repetition, t in ((0, 10.0), (1, 20.0)):
        held(presenter, exercise, 0.2, t, repetition)
    done = presenter.present(result(exercise, progress("done", message="done", repetition=2)))
    assert done.thumb
    silent = presenter.present(result(exercise, progress("done", message="done"), stage="camera"))
    gone = result(exercise, progress("done", message="done"), stage="error", error="The camera is gone.")
    assert (silent.state, silent.message, silent.thumb) == ("done", done.message, done.thumb)
    view = presenter.present(gone)
    assert (view.state, view.message) == ("done", done.message)
    assert view.instructions == f"{done.thumb}. The camera is gone."


def test_a_hand_that_has_only_come_is_not_told_to_turn(presenter, exercise, monkeypatch):
    monkeypatch.setattr(exercise, "speak_s", 4.0)
    looks, turn = Texts("en")("look"), Texts("en")("search")
    fist = exercise.message("fist", "en")
    for t, what, says in (
        (0.0, progress("search", None, "look"), looks),
        (0.3, progress("move", "fist", "fist"), fist),  # what is looked at is no correction that stands
        (1.0, progress("search", None, "look"), fist),  # and what was said is not wiped
        (9.0, progress("search", None, "look"), looks),
        (9.5, progress("search", None, "search"), turn),
    ):
        assert presenter.present(result(exercise, what, t=t, seen=hand())).message == says


def test_a_computer_that_is_too_slow_is_told_of_and_no_hand_is_blamed(presenter, exercise):
    what = progress("search", None, "look")
    assert presenter.present(result(exercise, what, seen=hand(), fps=1.5)).message == Texts("en")("slow")
    still = result(exercise, what, seen=hand(), fps=1.0)
    still = replace(still, frame=replace(FRAME, file="a.png"))  # pictures are shown for a second each
    assert presenter.present(still).message == Texts("en")("look")
    for fps in (0.0, 5.0):
        assert presenter.present(result(exercise, what, seen=hand(), fps=fps)).message == Texts("en")("look")


def test_hold_praises_and_counts_down(presenter, exercise):
    view = presenter.present(result(exercise, progress("hold", "open", "open", hold=0.3), seen=hand()))
    assert view.message == exercise.message("open", "en")
    assert (view.tone, view.hold, view.seconds) == ("praise", 0.3, 3)


def test_the_hand_must_leave_the_posture_before_the_next_repetition(presenter, exercise):
    view = presenter.present(result(exercise, progress("move", "open", "leave"), seen=hand()))
    assert view.message == Texts("en")("leave")
    assert view.tone != "praise"


def test_rest_counts_down(presenter, exercise):
    view = presenter.present(result(exercise, progress("rest", rest=0.5, hold=1.0), seen=hand()))
    assert (view.state, view.seconds, view.can_pause) == ("rest", 3, True)


@pytest.mark.parametrize("reason", get_args(Reason))
def test_no_hand_says_what_to_do_after_a_moment(presenter, exercise, reason):
    presenter.present(result(exercise, progress("move", "almost", "almost"), t=10.0, seen=hand()))
    soon = presenter.present(result(exercise, progress("search"), t=10.2, reason=reason))
    assert soon.state == "search"  # one lost frame is not worth a word
    later = presenter.present(result(exercise, progress("search"), t=11.0, reason=reason))
    assert later.state == "no_hand"
    assert later.message == Texts("en")(reason)
    assert later.live is None
    assert later.points is None


def test_unsure_asks_for_a_better_view_and_never_praises(presenter, exercise):
    view = presenter.present(result(exercise, progress("search", "unsure", "search"), seen=hand()))
    assert view.tone == "look"
    assert view.message == exercise.message("unsure", "en")


def test_pause_and_stop_say_nothing_about_postures(presenter, exercise):
    for state in ("paused", "stopped"):
        view = presenter.present(result(exercise, progress(state)))
        assert view.message == Texts("en")(state)
        assert (view.dim, view.hint, view.hold, view.can_start) == (True, "", 0.0, True)
    assert "rest your hand" in view.message
    assert view.start_text == "Start again"


def test_done(presenter, exercise):
    view = presenter.present(result(exercise, progress("done", hold=1.0, repetition=5)))
    assert (view.state, view.tone, view.repetition, view.repetitions) == ("done", "done", 5, 5)
    assert (view.can_start, view.start_text) == (True, Texts("en")("again"))


def test_the_end_of_a_video(presenter, exercise):
    view = presenter.present(result(exercise, progress("search"), stage="ended"))
    assert (view.state, view.can_start, view.can_pause) == ("ended", False, False)


def test_an_error_is_one_sentence(presenter):
    view = presenter.present(Result(0.0, "error", error="The camera is gone: plug it in."))
    assert (view.state, view.message) == ("error", "The camera is gone: plug it in.")
    view = presenter.present(Result(0.0, "error", error="!KeyError: 'x'"))
    assert "KeyError" in view.message
    assert "start again" in view.message


@pytest.mark.parametrize("lang", LANGUAGES)
def test_what_fails_is_said_in_the_patients_language(lang):
    """The commands' sentence speaks of options and files, in English."""
    for key in ("camera_absent", "camera_silent", "camera_gone", "source_unreadable", "model_broken",
                "runtime_missing", "visual_cpp_missing"):  # fmt: skip
        view = Presenter(Texts(lang)).present(Result(0.0, "error", error="... --source.", error_key=key))
        assert view.message == Texts(lang)(key)


@pytest.mark.parametrize("lang", LANGUAGES)
def test_an_exercise_that_was_chosen_and_does_not_load_is_said(exercise, lang):
    presenter, sentence = Presenter(Texts(lang)), Texts(lang)("exercise_fails")
    for state in ("ready", "stopped", "done"):
        view = presenter.present(result(exercise, progress(state), note="exercise_fails"))
        assert (view.message, view.tone) == (sentence, "look")  # before what the set-up lacks
        assert view.exercise == exercise.file.path  # the list marks what runs, not what was wished for
    view = presenter.present(result(exercise, progress("paused"), note="exercise_fails"))
    assert view.message == Texts(lang)("paused")


@pytest.mark.parametrize("catalogue", [(), ("studio",)])
def test_a_camera_that_shows_nothing_may_only_be_covered(catalogue):
    """A lid before the lens is likelier than a camera that left a laptop."""
    for lang, uncover in (("en", "uncover"), ("da", "afdæk")):
        for key in ("camera_silent", "camera_gone"):
            assert uncover in Texts(lang, *catalogue)(key), (lang, key)


def test_a_left_hand_is_shown_as_a_left_hand(presenter, exercise):
    right = presenter.present(result(exercise, progress("ready"), seen=hand("right", 0.5)))
    left = presenter.present(result(exercise, progress("ready"), seen=hand("left", 0.5)))
    flip = np.float32([1, -1, 1])
    np.testing.assert_allclose(left.live, right.live * flip, atol=1e-5)
    np.testing.assert_allclose(left.teacher, right.teacher * flip, atol=1e-5)
    np.testing.assert_allclose(left.far, right.far, atol=1e-6)


@pytest.mark.parametrize(
    ("chosen", "own", "side"),
    [
        ("auto", "either", "right"),
        ("left", "either", "left"),
        ("auto", "left", "left"),
        ("right", "left", "right"),
    ],
)
def test_the_teachers_hand_begins_with_the_side_that_was_chosen(exercise, monkeypatch, chosen, own, side):
    monkeypatch.setattr(exercise, "hand", own)
    presenter = Presenter(Texts("en"), chosen)
    view = presenter.present(result(exercise, progress("ready")))
    assert view.stand == side
    assert (view.teacher[4, 1] == exercise.reference_aligned[4, 1]) == (side == "right")
    seen = presenter.present(result(exercise, progress("ready"), seen=hand("right")))
    later = presenter.present(result(exercise, progress("ready")))
    assert (seen.stand, later.stand) == ("right", "right")  # a hand that was seen tells more


@pytest.mark.parametrize("live", [True, False])
@pytest.mark.parametrize("side", ["right", "left"])
def test_hands_whose_turn_counts_move_as_those_in_the_picture_do(
    presenter, exercise, monkeypatch, side, live
):
    monkeypatch.setattr(exercise, "kept_axes", "xz")
    monkeypatch.setattr(exercise, "held", as_held(exercise.reference, "xz"))
    seen = hand(side)
    if live:  # until it opens, a camera's is expected
        opening = presenter.present(replace(result(exercise, progress("ready"), seen=seen), frame=None))
    view = presenter.present(result(exercise, progress("move"), seen=seen, live=live))
    assert view.stand == "turned"
    assert not live or (opening.teacher == view.teacher).all()
    x, y, z = seen.landmarks.T
    np.testing.assert_allclose(view.live, np.stack([-y, x if live else -x, -z], 1), atol=1e-4)


def test_where_the_turn_counts_no_finger_and_no_thumb_is_corrected(exercise, monkeypatch):
    """It is the whole hand that is to turn."""
    landmarks = with_finger(13, 1.0).landmarks.copy()
    landmarks[1:5] = template(1.0)[1:5]
    seen = Hand(landmarks, np.full((21, 2), 100, np.float32), "right", 0.9)

    def said():
        presenter, what = Presenter(Texts("en")), progress("move", "almost", "almost")
        views = [presenter.present(result(exercise, what, t, seen)) for t in (1.0, 1.8)]
        return views[-1].hint != "", views[-1].thumb != ""

    assert said() == (True, True)
    monkeypatch.setattr(exercise, "kept_axes", "xz")
    monkeypatch.setattr(exercise, "held", as_held(exercise.reference, "xz"))
    assert said() == (False, False)


def test_of_a_hand_without_a_palm_no_finger_is_told(presenter, exercise):
    """It has no angles."""
    landmarks = exercise.reference_aligned.copy()
    landmarks[17] = landmarks[5] / 2
    landmarks[14:17] += 2  # one finger is clearly the farthest
    seen = Hand(landmarks, np.full((21, 2), 100, np.float32), "right", 0.9)
    assert hints(presenter, exercise, seen) == ["", "", ""]
    far = presenter.present(result(exercise, progress("move", "almost", "almost"), 2.0, seen)).far
    assert far is not None and far[13:17].mean() > far[17:].mean() + 0.3


def test_only_a_camera_is_shown_as_a_mirror(presenter, exercise):
    assert presenter.present(result(exercise, progress("ready"), live=True)).mirrored
    assert not presenter.present(result(exercise, progress("ready"))).mirrored


def test_the_finger_that_is_clearly_farthest_is_named_after_a_while(presenter, exercise):
    assert hints(presenter, exercise, with_finger(13, 1.0)) == ["", "", "Open the ring finger a little more"]


def with_finger(base, bend, others=0.0):
    """A hand with one finger, from its knuckle's number on, that is bent otherwise than the others."""
    landmarks = template(others)
    landmarks[base : base + 4] = template(bend)[base : base + 4]
    return Hand(landmarks.astype(np.float32), np.full((21, 2), 100, np.float32), "right", 0.9)


def hints(presenter, exercise, seen):
    """The hints of one second of a hand in another posture than the best one."""
    what = progress("move", "almost", "almost")
    return [presenter.present(result(exercise, what, t, seen)).hint for t in (1.0, 1.3, 1.8)]


@pytest.mark.parametrize(
    ("lang", "opens", "bends"),
    [("en", "Open the middle finger a little more", "Bend the middle finger a little more"),
     ("da", "Stræk langfingeren lidt mere", "Bøj langfingeren lidt mere")],
)  # fmt: skip
def test_a_finger_is_told_which_way(exercise, lang, opens, bends, monkeypatch):
    def hint(seen):
        return hints(Presenter(Texts(lang)), exercise, seen)[-1]

    assert hint(with_finger(9, 0.8)) == opens
    assert hint(with_finger(9, -0.9)) == ""  # who stretches farther lacks nothing
    monkeypatch.setattr(exercise, "reference_aligned", hand_frame(template(0.5)).astype(np.float32))
    assert hint(with_finger(9, 0.0, others=0.5)) == bends
    assert hint(with_finger(9, 1.0, others=0.5)) == opens


def test_who_is_to_relax_is_not_corrected(presenter, exercise):
    landmarks = with_finger(13, 1.0).landmarks.copy()
    landmarks[1:5] = template(1.0)[1:5]
    seen = Hand(landmarks, np.full((21, 2), 100, np.float32), "right", 0.9)
    for t in (1.0, 1.8):
        view = presenter.present(result(exercise, progress("move", "open", "leave"), t, seen))
    assert (view.hint, view.thumb) == ("", "")


def test_where_neither_bending_nor_opening_helps_nothing_is_said(presenter, exercise):
    landmarks = template(0.0)
    landmarks[14:17, 0] -= np.float32([0.2, 0.5, 0.8])  # to the side
    seen = Hand(landmarks.astype(np.float32), np.full((21, 2), 100, np.float32), "right", 0.9)
    assert hints(presenter, exercise, seen) == ["", "", ""]


def test_a_finger_that_lies_straight_is_not_told_to_open(presenter, exercise):
    """Bent in its knuckle alone, it is to be lifted."""
    seen = with_finger(5, 0.4)
    assert hints(presenter, exercise, seen)[-1] == "Open the index finger a little more"
    straight = template(0.0)
    knuckle, bones = straight[5], np.linalg.norm(straight[6:9] - straight[5], axis=1)
    ahead = knuckle * np.cos(np.radians(80)) / np.linalg.norm(knuckle) - [0, 0, np.sin(np.radians(80))]
    seen.landmarks[6:9] = knuckle + bones[:, None] * ahead
    np.testing.assert_allclose(angles.flexion(seen.landmarks)[0], [80, 0, 0], atol=1e-3)
    assert hints(Presenter(Texts("en")), exercise, seen) == ["", "", ""]


def test_touching_with_another_finger_is_not_cheered_on():
    """The exercise's own sentence says that it is another finger."""
    exercise = Exercise(read(find("thumb-to-index", "exercise"), "exercise"))
    landmarks = exercise.reference.copy()
    other = read(find("thumb-to-middle", "exercise"), "exercise").meta["reference"]
    landmarks[1:5], landmarks[10:13] = np.float32(other)[1:5], np.float32(other)[10:13]
    seen = Hand(landmarks, np.full((21, 2), 100, np.float32), "right", 0.9)
    presenter = Presenter(Texts("en"))
    for t in (1.0, 1.8):
        view = presenter.present(result(exercise, progress("move", "other", "other"), t, seen))
    assert view.message == exercise.message("other", "en")
    assert (view.hint, view.thumb_good) == ("Open the middle finger a little more", False)


def test_a_mismatch_of_sides_is_asked_about(presenter, exercise):
    what = result(exercise, progress("move", "almost", "almost"), seen=hand())
    view = presenter.present(
        Result(1.0, "running", frame=FRAME, track=Track(hand(), None, True), posture=what.posture,
               progress=what.progress, exercise=exercise)
    )  # fmt: skip
    assert "other hand" in view.hint
    for state in ("ready", "paused", "stopped", "done"):  # nobody is judged
        calm = replace(result(exercise, progress(state), seen=hand()), track=Track(hand(), None, True))
        assert presenter.present(calm).hint == ""


# --- the set-up, the thumb, the end of a session ---


def large_hand(side="right"):
    seen = hand(side)
    return Hand(seen.landmarks, hand_points(320, 300, 100).astype(np.float32), side, 0.9)


@pytest.mark.parametrize(
    ("arm", "says"), [("up", "setup_elbow"), ("towards", "setup_arm"), ("along", "setup_support")]
)
def test_the_set_up_says_whether_the_elbow_or_the_forearm_rests(presenter, exercise, monkeypatch, arm, says):
    monkeypatch.setattr(exercise, "arm", arm)
    monkeypatch.setattr(exercise, "along", arm == "along")
    view = presenter.present(result(exercise, progress("ready")))
    assert (view.checks[0].text, view.arm) == (Texts("en")(says), arm)
    shown = drawing.compose(view, Texts("en"), (1280, 720))
    for other in {"up", "towards", "along"} - {arm}:
        assert (shown != drawing.compose(replace(view, arm=other), Texts("en"), (1280, 720))).any()


def test_before_the_first_start_the_set_up_is_checked_and_can_be_skipped(presenter, exercise):
    view = presenter.present(result(exercise, progress("ready"), seen=large_hand()))
    assert [check.good for check in view.checks] == [None, None, True, True]
    assert view.message == Texts("en")("ready")
    assert view.can_start
    presenter.present(result(exercise, progress("search"), seen=large_hand()))
    assert presenter.present(result(exercise, progress("ready"), seen=large_hand())).checks == ()


@pytest.mark.parametrize(
    ("seen", "reason", "grey", "good", "says"),
    [
        (None, "no_hand", 110, [True, False], "no_hand"),
        (None, "half_out", 110, [True, False], "half_out"),
        (None, "too_dark", 10, [False, False], "too_dark"),
        (None, "too_bright", 255, [False, False], "too_bright"),
        ((320, 300, 100), None, 10, [False, True], "too_dark"),
        ((320, 60, 100), None, 110, [True, False], "half_out"),
        ((320, 300, 30), None, 110, [True, False], "too_far"),
    ],
)
def test_what_is_not_well_says_what_to_do_and_start_still_works(exercise, seen, reason, grey, good, says):
    presenter = Presenter(Texts("en"))
    there = None
    if seen is not None:
        there = Hand(template(0.0).astype(np.float32), hand_points(*seen).astype(np.float32), "right", 0.9)
    what = result(exercise, progress("ready"), seen=there, reason=reason)
    view = presenter.present(replace(what, frame=Frame(blank(grey=grey), 0.0, 0)))
    assert [check.good for check in view.checks[2:]] == good
    assert (view.message, view.tone) == (Texts("en")(says), "look")
    assert view.can_start


def test_a_check_does_not_flicker(presenter, exercise):
    def ticks(t, seen):
        what = result(exercise, progress("ready"), t=t, seen=seen, reason=None if seen else "no_hand")
        return presenter.present(what).checks[3].good

    assert ticks(0.0, large_hand())
    assert ticks(0.1, None)
    assert ticks(0.2, large_hand())
    assert ticks(0.3, None)
    assert not ticks(0.9, None)


@pytest.mark.parametrize(
    ("thumb", "words"), [("counts", "Thumb"), ("apart", "Thumb, not counted"), ("off", "")]
)
def test_the_thumb_has_a_line_of_its_own(presenter, tiny_exercise_path, thumb, words):
    exercise = Exercise(read(tiny_exercise_path, "exercise"))
    exercise.thumb = thumb
    lines = []
    for bend, t, state in ((0.0, 1.0, "hold"), (0.0, 1.5, "move"), (1.0, 2.0, "move"), (1.0, 3.0, "move")):
        landmarks = template(0.0)
        landmarks[1:5] = template(bend)[1:5]
        seen = Hand(landmarks.astype(np.float32), large_hand().points, "right", 0.9)
        view = presenter.present(result(exercise, progress(state, "almost", "almost"), t=t, seen=seen))
        lines.append((view.thumb, view.thumb_good))
        assert "humb" not in view.hint
    if thumb == "off":
        assert lines == [("", False)] * 4
    else:
        assert lines[0] == (f"{words}: just right", True)
        assert lines[1] == ("", False)  # no praise while the posture is another one
        assert lines[3] == (f"{words}: look at the teacher's", False)
    assert presenter.present(result(exercise, progress("rest"), seen=seen)).thumb == ""


def test_a_whole_session_ends_kindly_and_offers_no_more(presenter, exercise):
    over = replace(progress("done", message="enough"), enough=True)
    view = presenter.present(result(exercise, over, seen=hand()))
    assert view.message == Texts("en")("enough")
    assert (view.can_start, view.can_choose, view.tone) == (False, False, "done")
    stopped = presenter.present(result(exercise, replace(progress("stopped"), enough=True), seen=hand()))
    assert (stopped.can_start, stopped.can_choose) == (False, False)  # what would be refused
    usual = presenter.present(result(exercise, progress("done"), seen=hand()))
    assert (usual.can_start, usual.can_choose) == (True, True)


@pytest.mark.parametrize("state", ["search", "hold", "move", "rest", "paused"])
def test_no_other_exercise_is_offered_in_the_middle_of_one(presenter, exercise, state):
    assert not presenter.present(result(exercise, progress(state), seen=hand())).can_choose
    assert presenter.present(result(exercise, progress("stopped"), seen=hand())).can_choose


# --- texts and legibility ---


def test_languages_have_the_same_keys_and_short_sentences():
    tables = {lang: Texts(lang) for lang in LANGUAGES}
    assert tables["en"].keys() == tables["da"].keys()
    for path in (Path(handcoach.__file__).parent / "locale").glob("*.json"):
        for key, text in json.loads(path.read_text(encoding="utf-8")).items():
            assert text.strip() == text != "", key
            assert len(text) < 80, key
            assert sum(text.count(end) for end in ".!?") <= 1, f"{key}: one sentence at a time"
    with pytest.raises(HandCoachError, match="no language"):
        Texts("xx")


@pytest.mark.parametrize("ground", [drawing.CARD, drawing.WINDOW])
def test_every_text_and_sign_has_a_contrast_of_4_5(ground):
    for colour in (drawing.INK, drawing.SOFT, *drawing.TONES.values()):
        assert contrast(colour, ground) >= 4.5, colour


def test_contrast_is_the_one_of_wcag():
    assert contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21)
    assert contrast((119, 119, 119), (255, 255, 255)) == pytest.approx(4.48, abs=0.01)


def test_danish_letters_are_there():
    missing = drawing._letters("\uffff", 30, False)
    for letter in "æøåÆØÅ":
        shape = drawing._letters(letter, 30, False)
        assert shape.shape != missing.shape or not np.array_equal(shape, missing), letter


def test_a_long_sentence_shrinks_until_it_fits():
    text = Texts("da")("leave") * 2
    px, lines = drawing.fit_text(text, 300, 90, 40, True)
    assert px < 40
    assert all(drawing.text_size(line, px, True)[0] <= 300 for line in lines)
    assert " ".join(lines) == text


def test_a_text_on_one_line_keeps_all_its_words():
    """The state's word and the hint have one line; what wraps would lose its end."""
    for width in (90, 120, 150, 180, 400):
        for text in ("Is this your other hand?", "Leder efter din hånd"):
            px, lines = drawing.fit_text(text, width, 36, 20, True, most=1)
            assert lines == (text,) or px == 9


@pytest.mark.parametrize("size", [(1280, 600), (1366, 560), (760, 340), (400, 200)])
@pytest.mark.parametrize("scale", [1.0, 1.5, 2.0])
def test_the_parts_never_overlap_or_leave_the_stage(size, scale):
    where = drawing.layout(*size, scale)
    assert where.camera.x + where.camera.w < where.hands.x
    assert where.hands.x + where.hands.w <= size[0]
    assert where.camera.y + where.camera.h < where.bar.y
    assert where.bar.y + where.bar.h <= size[1]


def test_the_picture_is_mirrored_for_display_together_with_its_points(exercise, presenter):
    image = blank()
    image[:, :100] = (255, 0, 0)
    seen = hand()
    views = [
        presenter.present(
            Result(1.0, "running", frame=Frame(image, 0.0, 0), track=Track(seen), progress=progress("search"),
                   posture=exercise.assess(seen), exercise=exercise, live=live)
        )
        for live in (False, True)
    ]  # fmt: skip
    plain, mirror = (drawing.compose(v, Texts("en"), (900, 500)) for v in views)
    box = drawing.layout(900, 500, 1.0).camera
    row = box.y + box.h - 60

    def red(picture, x):
        return picture[row, x, 0] > 200 and picture[row, x, 2] < 50

    assert red(plain, box.x + 20)
    assert not red(plain, box.x + box.w - 20)
    assert red(mirror, box.x + box.w - 20)
    assert not red(mirror, box.x + 20)


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_every_state_can_be_drawn_at_any_size(exercise, scale):
    for lang in LANGUAGES:
        texts, presenter = Texts(lang), Presenter(Texts(lang))
        for what in (
            Result(0.0), Result(0.0, "error", error="Something is missing: do this."),
            result(exercise, progress("ready"), seen=hand()), result(exercise, progress("stopped")),
            result(exercise, progress("hold", "open", "open", hold=0.5), seen=hand("left")),
            result(exercise, progress("rest", rest=0.3)), result(exercise, progress("done", repetition=5)),
        ):  # fmt: skip
            view = presenter.present(what)
            for size in ((640, 360), (120, 90)):
                assert drawing.compose(view, texts, size, scale).shape == (size[1], size[0], 3)


# --- how a repetition went ---


def held(presenter, exercise, bend, t, repetition=0):
    """One repetition: a hold of some frames, then the rest; the view of the rest."""
    for n in range(3):
        doing = progress("hold", "open", hold=0.3 * n, repetition=repetition)
        presenter.present(result(exercise, doing, t + n / 10, hand(bend=bend)))
    return presenter.present(result(exercise, progress("rest", repetition=repetition + 1), t + 1))


def test_a_rest_says_how_near_the_repetition_came(presenter, exercise):
    assert held(presenter, exercise, 0.2, 0.0).thumb == "Within about 45° of the teacher's fingers"
    assert held(presenter, exercise, 0.18, 10.0, 1).thumb == "Within about 40° of the teacher's fingers"
    nearer = held(presenter, exercise, 0.1, 20.0, 2)
    assert nearer.thumb == "Within about 25°: nearer than at first" and nearer.thumb_good
    assert held(presenter, exercise, 0.0, 30.0, 3).thumb.startswith("Within about 5°")  # never more exact


def test_a_broken_hold_and_another_round_are_not_counted(presenter, exercise):
    presenter.present(result(exercise, progress("hold", "open", repetition=0), 0.0, hand(bend=0.3)))
    presenter.present(result(exercise, progress("move", "almost", repetition=0), 0.5, hand(bend=0.5)))
    assert presenter.present(result(exercise, progress("rest", repetition=0), 1.0)).thumb == ""
    assert "45°" in held(presenter, exercise, 0.2, 2.0).thumb
    assert "nearer" not in held(presenter, exercise, 0.0, 20.0).thumb  # a new round begins at 0


@pytest.mark.parametrize("gives_up", ["search", "hold"])
def test_a_repetition_is_judged_by_the_hold_that_counted(presenter, exercise, gives_up):
    """Given up for a lost hand, or begun anew without anything between: the coach's clock is at 0 again."""
    for n in range(9):
        doing = progress("hold", "open", hold=0.1 * n, repetition=0)
        presenter.present(result(exercise, doing, n / 10, hand(bend=0.3)))
    presenter.present(result(exercise, progress("search", hold=0.8, repetition=0), 1.0))  # lost for a moment
    kept = presenter.present(result(exercise, progress("rest", repetition=1), 1.1))
    assert "70°" in kept.thumb
    for n in range(9):
        doing = progress("hold", "open", hold=0.1 * n, repetition=1)
        presenter.present(result(exercise, doing, 2 + n / 10, hand(bend=0.3)))
    presenter.present(result(exercise, progress(gives_up, "open", hold=0.0, repetition=1), 4.0))
    assert "25°" in held(presenter, exercise, 0.1, 5.0, 1).thumb


def test_a_frame_of_a_hold_that_nobody_can_judge_does_not_count(presenter, exercise):
    for n, (bend, label) in enumerate(((0.1, "open"), (0.8, "unsure"), (0.8, "unsure"))):
        doing = result(
            exercise, progress("hold", "open", hold=0.3 * n, repetition=0), n / 10, hand(bend=bend)
        )
        presenter.present(replace(doing, posture=replace(doing.posture, label=label)))
    rest = presenter.present(result(exercise, progress("rest", repetition=1), 1.0))
    assert "25°" in rest.thumb


def test_where_fingers_need_not_bend_it_is_how_far_they_are_apart(presenter, exercise, monkeypatch):
    monkeypatch.setattr(exercise, "trains_flexion", False)
    assert held(presenter, exercise, 0.2, 0.0).thumb == "Within about 5° of the teacher's fingers"
    monkeypatch.setattr(exercise, "counted", [1])  # one finger is apart from none
    assert held(presenter, exercise, 0.2, 10.0).thumb == ""


def test_where_the_turn_counts_it_is_how_far_the_hand_is_turned(presenter, exercise, monkeypatch):
    monkeypatch.setattr(exercise, "kept_axes", "xyz")
    turned = hand()
    a = np.radians(30)
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    turned = replace(turned, landmarks=(exercise.reference @ turn.T).astype(np.float32))
    doing = progress("hold", "open", hold=0.5, repetition=0)
    presenter.present(result(exercise, doing, 0.0, turned))
    view = presenter.present(result(exercise, progress("rest", repetition=1), 1.0))
    assert view.thumb == "Within about 30° of the teacher's hand"


def test_a_hand_whose_turn_counts_is_told_to_move_back(presenter, exercise, monkeypatch):
    """Relaxed it is still turned."""
    monkeypatch.setattr(exercise, "kept_axes", "z")
    view = presenter.present(result(exercise, progress("move", "open", "leave"), seen=hand()))
    assert view.message == Texts("en")("leave_turn")


# --- who is told what ---


def test_fingers_that_are_all_as_far_off_are_not_told_one_by_one(presenter, exercise):
    assert hints(presenter, exercise, hand(bend=1.0)) == ["", "", ""]
    two = template(0.0)
    for base in (9, 13):
        two[base : base + 4] = template(1.0)[base : base + 4]
    seen = Hand(two.astype(np.float32), np.full((21, 2), 100, np.float32), "right", 0.9)
    assert hints(Presenter(Texts("en")), exercise, seen) == ["", "", ""]


def test_a_finger_that_is_nearly_right_is_not_corrected(presenter, exercise):
    assert hints(presenter, exercise, with_finger(13, 0.2)) == ["", "", ""]


def test_who_starts_without_a_hand_is_told_why_at_once(presenter, exercise):
    view = presenter.present(result(exercise, progress("search"), reason="too_near"))
    assert (view.state, view.message) == ("no_hand", Texts("en")("too_near"))


def test_of_an_exercise_that_came_with_the_program_nobody_needs_to_ask_who_made_it(presenter):
    ours = Exercise(read(find("finger-stretch", "exercise"), "exercise"))
    assert presenter.present(result(ours, progress("ready"))).maker == ""
