"""What is loaded for a person: the hand that is looked for is the exercise's, unless somebody chose; and what
stays when another exercise is taken."""

import pytest

from handcoach import pipeline


@pytest.mark.parametrize(
    ("own", "chosen", "looks_for"),
    [
        ("either", "auto", "auto"),
        ("left", "auto", "left"),
        ("right", "auto", "right"),
        ("left", "right", "right"),
    ],
)
def test_the_hand_of_the_exercise_is_looked_for_unless_somebody_chose(
    monkeypatch, tiny_exercise, tiny_landmarks, tiny_finder, own, chosen, looks_for
):
    made = pipeline.Exercise

    def exercise(*given, **more):
        one = made(*given, **more)
        monkeypatch.setattr(one, "hand", own)
        return one

    monkeypatch.setattr(pipeline, "Exercise", exercise)
    line = pipeline.load(tiny_exercise, tiny_landmarks, tiny_finder, hand=chosen)
    assert line.tracker.choice == looks_for
    assert pipeline.with_exercise(line, tiny_exercise, hand=chosen).tracker.choice == looks_for


@pytest.mark.parametrize("still", [False, True])
def test_another_exercise_has_the_same_networks_and_what_was_measured_of_them(
    tiny_exercise, tiny_landmarks, tiny_finder, still
):
    line = pipeline.load(tiny_exercise, tiny_landmarks, tiny_finder, still=still, threads=2, network_ms=7.7)
    assert line.usual_s == pytest.approx(0.01) and line.judge.thumb == "counts"
    other = pipeline.with_exercise(line, tiny_exercise, thumb=False)
    assert (other.tracker.finder, other.tracker.landmarker) == (line.tracker.finder, line.tracker.landmarker)
    assert (other.usual_s, other.tracker.still, other.judge.threads) == (line.usual_s, still, 2)
    assert other.judge is not line.judge and other.judge.thumb == "off"
