"""The coach counts what a patient really held: no flicker, no lost hand, no sleep and no idle hand counts."""

import itertools

import numpy as np
import pytest

from handcoach.coach import APART_S, DWELL_S, GRACE_S, STEPS, TRY_S, Coach, OwnRange, Progress

LABELS = ("open", "almost", "fist")
FPS = 30


class Clock:
    """Feeds a coach 30 labels a second."""

    def __init__(self, coach: Coach) -> None:
        self.coach, self.t = coach, 0.0

    def show(self, label: str | None, seconds: float) -> list[Progress]:
        out = []
        for _ in range(round(seconds * FPS)):
            self.t += 1 / FPS
            out.append(self.coach.update(label, self.t))
        return out


def running(hold_s: float = 2, repetitions: int = 2, rest_s: float = 1) -> Clock:
    clock = Clock(Coach(hold_s, repetitions, rest_s, LABELS))
    clock.coach.start(0.0)
    return clock


def test_two_repetitions_to_the_end() -> None:
    clock = running()
    clock.show("fist", 1)
    assert clock.show("open", 1)[-1].state == "hold"
    first = clock.show("open", 1.4)
    assert first[-1].state == "rest" and first[-1].repetition == 1
    clock.show("fist", 1.5)
    last = clock.show("open", 3)[-1]
    assert (last.state, last.repetition, last.hold) == ("done", 2, 1.0)


def test_nothing_counts_before_start() -> None:
    clock = Clock(Coach(1, 1, 1, LABELS))
    last = clock.show("open", 5)[-1]
    assert (last.state, last.repetition, last.label) == ("ready", 0, "open")


def test_one_frame_of_another_label_is_not_believed() -> None:
    clock = running()
    clock.show("open", 1)
    for _ in range(5):
        assert {p.label for p in clock.show("almost", 0.1)} == {"open"}
        clock.show("open", 0.1)


def test_the_best_posture_is_not_praised_before_the_dwell_time() -> None:
    clock = running()
    shown = clock.show("open", DWELL_S * 0.9)
    assert all(p.label is None and p.hold == 0 for p in shown)


def test_alternating_labels_count_for_nothing() -> None:
    clock = running(hold_s=0.5)
    for _ in range(60):
        clock.show("open", 0.1)
        last = clock.show("fist", 0.1)[-1]
    assert last.repetition == 0 and last.hold == 0


def test_a_lost_hand_stops_the_clock_and_then_the_hold() -> None:
    clock = running(hold_s=3)
    held = clock.show("open", 2)[-1].hold
    lost = clock.show(None, GRACE_S * 0.8)
    assert lost[-1].hold == held and lost[-1].state == "search" and lost[-1].message == "look"
    assert clock.show("open", 0.5)[-1].hold > held  # went on
    assert clock.show(None, GRACE_S + 0.1)[-1].hold == 0


def test_another_posture_ends_the_hold() -> None:
    clock = running(hold_s=3)
    clock.show("open", 2)
    assert clock.show("almost", DWELL_S + 0.1)[-1].hold == 0
    assert clock.show("open", 1)[-1].hold < 0.4


@pytest.mark.parametrize("flicker", [(None, "unsure"), ("almost", "fist"), (None, "almost", "unsure")])
def test_labels_that_flicker_keep_neither_the_praise_nor_the_session(flicker: tuple[str | None, ...]) -> None:
    """None of them lasts long enough to be believed; what was believed before is over all the same."""
    clock = Clock(Coach(5, 2, 1, LABELS, session_s=20))
    clock.coach.start(0.0)
    assert clock.show("open", 2)[-1].state == "hold"
    shown = [clock.show(label, 0.1)[-1] for _ in range(200) for label in flicker]
    for progress in shown[round((GRACE_S + DWELL_S) / 0.1) + 1 :]:
        assert progress.state == "done" or progress.state in ("search", "move")
        assert progress.label != "open" and (progress.hold == 0 or progress.state == "done")
    assert (shown[-1].state, shown[-1].message, shown[-1].enough) == ("done", "enough", True)


def test_a_hold_that_is_only_glimpsed_again_and_again_does_not_keep_the_session() -> None:
    clock = Clock(Coach(5, 2, 1, LABELS, session_s=10))
    clock.coach.start(0.0)
    clock.show("open", 2)
    for _ in range(100):
        clock.show(None, 0.5)
        last = clock.show("open", 0.1)[-1]
    assert (last.state, last.message, last.repetition) == ("done", "enough", 0)


def tremble(clock: Clock, labels: tuple[str, ...], seconds: float) -> list[Progress]:
    """A tremor of 3 Hz: each label is seen for a part of the period that is too short to be believed."""
    shown: list[Progress] = []
    for _ in range(round(seconds * 3)):
        for label in labels:
            shown += clock.show(label, 1 / 3 / len(labels))
    return shown


@pytest.mark.parametrize("labels", [("almost", "fist"), ("almost", "unsure")])
def test_whoever_trembles_is_freed_by_letting_go(labels: tuple[str, ...]) -> None:
    clock = running(hold_s=1, rest_s=1, repetitions=3)
    for repetition in (1, 2):
        assert clock.show("open", 2)[-1].repetition == repetition
        last = tremble(clock, labels, 3)[-1]
        assert last.state == "move" and last.message in labels  # told what the hand shows, not to turn it
    assert clock.show("open", 2)[-1].state == "done"


def test_whoever_lets_go_by_way_of_an_unsure_hand_is_freed_once_a_posture_is_believed() -> None:
    clock = running(hold_s=1, rest_s=0.1)
    clock.show("open", 2)
    clock.show("unsure", 1.0)
    assert clock.show("almost", DWELL_S + 0.05)[-1].message == "almost"
    assert clock.show("open", 2)[-1].repetition == 2


def test_who_has_not_let_go_is_told_to_whatever_flickers() -> None:
    """Advice to open more would contradict it: opening counts for nothing yet."""
    clock = running(hold_s=1, rest_s=0.1)
    clock.show("open", 2)
    clock.show(None, 2.3)
    said = [clock.show(label, 5 / FPS)[-1].message for _ in range(15) for label in ("almost", "open")]
    assert set(said[4:]) == {"leave"}


def test_a_tremor_across_the_best_posture_is_no_letting_go() -> None:
    clock = running(hold_s=1, rest_s=1)
    clock.show("open", 2)
    assert {p.message for p in tremble(clock, ("open", "almost"), 5)[60:]} == {"leave"}
    assert clock.show("open", 3)[-1].repetition == 1


def test_a_tremor_that_never_rests_gets_advice_and_an_easier_exercise() -> None:
    clock = Clock(Coach(2, 2, 1, LABELS, widest=1.25))
    clock.coach.start(0.0)
    shown = tremble(clock, ("open", "almost"), TRY_S + 1)
    assert {(p.state, p.message) for p in shown[15:]} == {("move", "almost")}
    assert shown[-1].hold == 0 and clock.coach.own_range.times > 1


def test_a_sentence_does_not_follow_every_turn_of_a_tremor() -> None:
    clock = running()
    said = [p.message for p in tremble(clock, ("almost", "fist"), 10)[15:]]
    assert sum(a != b for a, b in itertools.pairwise(said)) <= 1


def test_what_a_hand_showed_more_than_a_second_ago_counts_no_more() -> None:
    clock = running()
    assert tremble(clock, ("almost", "unsure"), 10)[-1].message == "almost"
    assert tremble(clock, ("fist", "unsure"), 2)[-1].message in ("fist", "search")


def test_a_hand_that_comes_is_looked_at_before_it_is_told_anything() -> None:
    clock = running()
    assert {p.message for p in clock.show("open", DWELL_S * 0.9)} == {"look"}
    clock.show(None, 2)
    assert {p.message for p in clock.show("almost", DWELL_S * 0.9)} == {"look"}


def test_unsure_is_never_held_and_never_praised() -> None:
    clock = running(hold_s=0.5)
    shown = clock.show("unsure", 5)
    assert {p.message for p in shown[10:]} == {"search"} and shown[-1].repetition == 0


def test_a_hand_left_lying_open_counts_once() -> None:
    clock = running(hold_s=1, rest_s=1)
    last = clock.show("open", 20)[-1]
    assert (last.repetition, last.state, last.message) == (1, "move", "leave")
    assert clock.show("unsure", 2)[-1].message == "leave"  # on the way, and still told where to
    clock.show(None, 2)  # taking the hand away is not leaving the posture
    assert clock.show("open", 3)[-1].repetition == 1
    clock.show("almost", 0.5)
    assert clock.show("open", 2)[-1].repetition == 2


def test_the_rest_is_forced() -> None:
    clock = running(hold_s=1, rest_s=5)
    clock.show("open", 1.5)
    clock.show("fist", 1)
    last = clock.show("open", 3)[-1]
    assert last.state == "rest" and last.repetition == 1 and 0 < last.rest < 1


def test_closing_during_the_rest_frees_the_next_repetition() -> None:
    clock = running(hold_s=1, rest_s=2)
    clock.show("open", 1.5)
    clock.show("fist", 1)
    assert clock.show("open", 4)[-1].repetition == 2


def test_pause_keeps_repetitions_and_gives_up_the_hold() -> None:
    clock = running(hold_s=1)
    clock.show("open", 1.5)
    clock.show("fist", 1.5)
    clock.show("open", 0.8)
    paused = clock.coach.pause(clock.t)
    assert (paused.state, paused.repetition, paused.hold) == ("paused", 1, 0.0)
    assert clock.show("open", 9)[-1].state == "paused"
    assert clock.coach.start(clock.t).state == "search"
    assert clock.show("open", 2)[-1].repetition == 2


def test_pause_in_a_rest_comes_back_to_the_rest() -> None:
    clock = running(hold_s=1, rest_s=3)
    clock.show("open", 1.5)
    clock.coach.pause(clock.t)
    clock.show(None, 10)
    assert clock.coach.start(clock.t).state == "rest"
    assert clock.show("fist", 1)[-1].state == "rest"


@pytest.mark.parametrize("before", ["ready", "running", "hold", "paused", "rest", "done"])
def test_stop_works_from_everywhere_and_stays(before: str) -> None:
    clock = Clock(Coach(1, 1 if before == "done" else 2, 9, LABELS))
    if before != "ready":
        clock.coach.start(0.0)
    if before == "hold":
        assert clock.show("open", 1)[-1].hold > 0
    if before in ("rest", "done"):
        assert clock.show("open", 2)[-1].state == before
    if before == "paused":
        clock.coach.pause(clock.t)
    stopped = clock.coach.stop(clock.t)
    assert (stopped.state, stopped.hold, stopped.label) == ("stopped", 0, None)
    assert clock.coach.pause(clock.t).state == "stopped"
    assert clock.show("open", 5)[-1].state == "stopped"
    fresh = clock.coach.start(clock.t)
    assert (fresh.state, fresh.repetition, fresh.label) == ("search", 0, None)


def test_a_laptop_that_slept_held_nothing() -> None:
    clock = running(hold_s=3)
    held = clock.show("open", 1)[-1].hold
    clock.t += GRACE_S * 0.9
    assert clock.coach.update("open", clock.t).hold == held  # a stutter is none
    clock.t += 3600
    woken = clock.coach.update("open", clock.t)
    assert (woken.state, woken.label, woken.hold) == ("search", None, 0)
    assert 0 < clock.show("open", 0.8)[-1].hold < held  # from the start, once it is believed again


def test_a_laptop_that_slept_keeps_its_repetitions_and_its_rest() -> None:
    clock = running(hold_s=1, rest_s=5)
    clock.show("open", 1.5)
    clock.t += 3600
    woken = clock.coach.update("fist", clock.t)
    assert (woken.state, woken.repetition) == ("rest", 1) and woken.rest < 0.1
    clock.show("fist", 5)
    assert clock.show("open", 1.5)[-1].repetition == 2


def test_time_that_stands_still_or_goes_back_does_no_harm() -> None:
    clock = running()
    held, spent = clock.show("open", 1)[-1].hold, clock.coach.spent_s
    for back in (0.0, 0.1, 1.0):
        assert clock.coach.update("open", clock.t - back).hold == held > 0
    assert clock.coach.spent_s == spent


def test_message_is_the_believed_label() -> None:
    clock = running()
    last = clock.show("almost", 1)[-1]
    assert (last.state, last.message) == ("move", "almost")


def round_after_round(clock: Clock, seconds: float) -> Progress:
    """Stretch and let go, and start again after each end, for so long."""
    last = clock.coach.start(clock.t)
    end = clock.t + seconds
    while clock.t < end:
        clock.show("fist", 0.5)
        last = clock.show("open", 2.6)[-1]
        if last.state == "done":
            last = clock.coach.start(clock.t)
    return last


def test_a_session_ends_kindly_over_all_its_starts_and_does_not_start_again() -> None:
    clock = Clock(Coach(2, 2, 1, LABELS, session_s=30))
    last = round_after_round(clock, 60)
    assert (last.state, last.message) == ("done", "enough")
    assert 30 <= clock.coach.spent_s < 34
    assert clock.coach.start(clock.t).message == "enough"
    clock.coach.stop(clock.t)
    assert clock.coach.start(clock.t).message == "enough"


def test_a_pause_after_the_sessions_time_is_its_end() -> None:
    clock = Clock(Coach(9, 2, 1, LABELS, session_s=2))
    clock.coach.start(0.0)
    assert clock.show("open", 4)[-1].state == "hold"
    assert clock.coach.pause(clock.t).message == "enough"  # it would not go on


def test_a_hold_that_is_under_way_is_not_cut_off() -> None:
    clock = Clock(Coach(3, 5, 1, LABELS, session_s=2))
    clock.coach.start(0.0)
    clock.show("fist", 0.5)
    shown = clock.show("open", 4)
    assert [p.state for p in shown if p.repetition == 0][-1] == "hold"
    assert (shown[-1].state, shown[-1].message, shown[-1].repetition) == ("done", "enough", 1)


def test_pauses_and_the_time_before_the_start_are_not_counted() -> None:
    clock = Clock(Coach(2, 2, 1, LABELS, session_s=30))
    clock.show("fist", 40)
    clock.coach.start(clock.t)
    clock.show("fist", 1)
    clock.coach.pause(clock.t)
    clock.show("fist", 40)
    assert clock.coach.start(clock.t).state != "done"
    assert clock.coach.spent_s < 2


def test_nobody_spends_a_session_by_walking_away() -> None:
    clock = Clock(Coach(2, 2, 1, LABELS, session_s=30))
    clock.coach.start(0.0)
    clock.show(None, 60)
    assert clock.coach.spent_s == 0 and clock.show("open", 1)[-1].state == "hold"


def test_after_an_hour_it_is_another_session() -> None:
    clock = Clock(Coach(2, 9, 1, LABELS, session_s=30))
    assert round_after_round(clock, 60).enough
    assert clock.coach.start(clock.t).enough
    clock.t += APART_S / 2
    assert clock.coach.update(None, clock.t).message == "enough"
    clock.t += APART_S / 2
    last = clock.coach.update(None, clock.t)  # the window need not be opened anew
    assert (last.state, last.message, last.enough) == ("done", "done", False)
    assert clock.coach.start(clock.t).state == "search"
    assert round_after_round(clock, 60).enough
    clock.t += APART_S  # and no camera was there meanwhile
    assert clock.coach.start(clock.t).state == "search"


def test_a_stop_after_a_whole_session_offers_no_other_one() -> None:
    clock = Clock(Coach(2, 2, 1, LABELS, session_s=30))
    round_after_round(clock, 60)
    assert clock.coach.stop(clock.t).enough
    other = Coach(2, 2, 1, LABELS, session_s=30)
    other.take_over(clock.coach, same_exercise=False)
    last = other.update(None, clock.t)
    assert (last.state, last.message) == ("ready", "enough")


def test_a_usual_end_may_start_again() -> None:
    clock = running(repetitions=1)
    clock.show("fist", 0.5)
    last = clock.show("open", 3)[-1]
    assert (last.state, last.message) == ("done", "done")
    assert clock.coach.start(clock.t).state == "search"


def test_three_of_four_tries_come_to_succeed() -> None:
    """Whatever a person can do, as long as it lies within what the therapist allows."""
    rng = np.random.default_rng(0)
    for able in (1.05, 1.12, 1.2):  # times the therapist's tolerance that this person reaches on average
        own, won = OwnRange(1.5), []
        for _ in range(4000):
            won.append(rng.normal(able, 0.08) < own.times)
            if won[-1]:
                own.succeeded()
            else:
                own.tried(TRY_S)
        assert 0.70 <= np.mean(won[200:]) <= 0.80


def test_whoever_cannot_reach_it_gets_it_easier_and_whoever_can_as_it_was() -> None:
    clock = Clock(Coach(1, 60, 0.5, LABELS, session_s=3600, widest=1.25))
    own = clock.coach.own_range
    clock.show("almost", TRY_S + 1)
    assert own.times == 1  # not started
    clock.coach.start(clock.t)
    clock.show(None, 2 * TRY_S)
    assert own.times == 1  # no hand, no try
    clock.show("almost", TRY_S - 1)
    assert own.times == 1
    clock.show("unsure", 2)  # between two postures: nearly there
    once = own.times
    assert 1 < once < 1.25
    clock.show("almost", 5 * TRY_S)
    assert own.times == pytest.approx(1.25)  # and no farther
    clock.coach.stop(clock.t)
    clock.coach.start(clock.t)
    assert own.times == pytest.approx(1.25)  # it is the same person
    easier = []
    for _ in range(STEPS + 1):
        clock.show("open", 2)
        clock.show("almost", 2)
        easier.append(own.times)
    assert easier == sorted(easier, reverse=True) and easier[0] < 1.25 and easier[-1] == 1


def test_a_hold_under_way_a_rest_and_a_hand_left_open_are_no_tries() -> None:
    clock = Clock(Coach(2 * TRY_S, 2, 2 * TRY_S, LABELS, widest=1.25))
    clock.coach.start(0.0)
    clock.show("open", 2 * TRY_S + 1)
    assert clock.show("open", 2 * TRY_S - 1)[-1].state == "rest"
    assert clock.show("open", 2 * TRY_S)[-1].message == "leave"
    assert clock.coach.own_range.times == 1


@pytest.mark.parametrize("between", ["success", "pause", "sleep"])
def test_what_was_tried_before_does_not_make_the_next_try_a_failed_one(between: str) -> None:
    clock = Clock(Coach(1, 9, 0.1, LABELS, widest=1.25))
    clock.coach.start(0.0)
    clock.show("almost", TRY_S - 1)
    if between == "success":
        assert clock.show("open", 2)[-1].repetition == 1
    elif between == "pause":
        clock.coach.pause(clock.t)
        clock.coach.start(clock.t)
    else:
        clock.t += 60
    clock.show("almost", TRY_S - 1)
    assert clock.coach.own_range.times == 1
    clock.show("almost", 2)
    assert clock.coach.own_range.times > 1


def test_an_exercise_that_does_not_allow_it_stays_as_it_is() -> None:
    clock = running()
    clock.show("almost", 5 * TRY_S)
    assert clock.coach.own_range.times == 1


@pytest.mark.parametrize(
    "wrong",
    [{"labels": ()}, {"repetitions": 0}, {"hold_s": -1}, {"rest_s": -1}, {"session_s": 0}],
)
def test_numbers_that_no_exercise_has_are_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match="an exercise needs"):
        Coach(**({"hold_s": 1, "repetitions": 1, "rest_s": 1, "labels": LABELS} | wrong))
