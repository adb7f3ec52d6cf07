"""What is loaded for a person: the hand that is looked for is the exercise's, unless somebody chose."""

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
