"""What is said of a posture's frames: the right reason for each fault, and nothing of good ones."""

from __future__ import annotations

import numpy as np
import pytest

from handcoach import quality


def hands(count: int = 80, noise: float = 0.005) -> np.ndarray:
    """A half-bent right hand that hardly moves, (N, 21, 3)."""
    hand = np.zeros((21, 3))
    for finger in range(5):
        base = np.array([0.4 - 0.2 * finger, -1.0, 0.0])
        for joint in range(4):
            hand[1 + 4 * finger + joint] = base + joint * np.array([0, -0.2, -0.25])
    out = hand + np.random.default_rng(0).normal(0, noise, (count, 21, 3)) * (np.arange(21) > 0)[:, None]
    return out.astype(np.float32)


T = np.arange(80) / 30
GOOD = np.tile(np.float32([1.0, 0.5]), (80, 1))


def flipped() -> np.ndarray:
    x = hands()
    x[30:40] *= np.float32([-1, 1, 1])
    return x


def coinciding() -> np.ndarray:
    x = hands()
    x[5] = 0
    return x


def test_nothing_is_said_of_good_frames():
    assert quality.of_posture("fist", hands(), T, np.zeros(80, int), GOOD) == []
    for views in (None, GOOD * np.nan):  # not known
        assert quality.of_posture("fist", hands(), views=views) == []


@pytest.mark.parametrize(
    ("kind", "refuses", "landmarks", "views"),
    [
        ("too_few_frames", True, hands()[:19], GOOD[:19]),
        ("few_frames", False, hands()[:59], GOOD[:59]),
        ("no_palm", True, coinciding(), GOOD),
        ("other_side", True, flipped(), GOOD),
        ("shaky", True, hands(noise=0.15), GOOD),
        ("out_of_view", True, hands(), GOOD * np.float32([0.5, 1])),
        ("dark", False, hands(), GOOD * np.float32([1, 0.1])),
    ],
)
def test_each_fault_has_its_sentence(kind, refuses, landmarks, views):
    found = quality.of_posture("fist", landmarks, T[: len(landmarks)], None, views)
    first = next(finding for finding in found if finding.kind == kind)
    assert first.refuses is refuses and first.label == "fist" and first.sentence.endswith(".")
    frames = {"no_palm": (1, 6, 6), "other_side": (10, 31, 40)}  # how many, the first and the last
    if kind in frames:
        assert tuple(first.values.values()) == frames[kind]


def test_the_view_is_the_share_inside_and_the_brightness_of_the_hand():
    image = np.zeros((100, 100, 3), np.uint8)
    image[:, 50:] = 255
    points = np.stack([np.linspace(60, 120, 21), np.linspace(10, 90, 21)], axis=1)
    inside, light = quality.view(image, points)
    assert inside == pytest.approx(14 / 21) and light == 1.0
    assert quality.light_spread({"a": GOOD}) == 0.0
    assert quality.light_spread({"a": GOOD * np.nan}) is None
    # Between the darkest and the lightest twentieth, of all postures together.
    dark = np.column_stack([np.ones(80), np.linspace(0.2, 0.3, 80)])
    spread = quality.light_spread({"a": dark, "b": np.add(dark, (0, 0.1))})
    assert spread == pytest.approx(0.18, abs=0.005)


def test_pictures_that_do_not_follow_one_another_do_not_shake():
    shaken = hands(noise=0.03)
    (found,) = quality.of_posture("fist", shaken, T, np.zeros(80, int), GOOD)
    assert (found.kind, found.refuses) == ("shaky", False)  # as a little shaking is
    for times, takes in ((np.zeros(80), None), (10 * T, None), (T, np.arange(80))):
        assert quality.of_posture("fist", shaken, times, takes, GOOD) == []


def test_frames_of_which_no_view_is_known_hide_nothing_of_the_others():
    view = np.tile(np.float32([0.5, 0.05]), (60, 1))
    kinds = {finding.kind for finding in quality.of_posture("open", hands()[:60], views=view)}
    view[7] = np.nan
    assert {finding.kind for finding in quality.of_posture("open", hands()[:60], views=view)} == kinds
    assert {"out_of_view", "dark"} <= kinds and quality.light_spread({"a": view}) == 0


@pytest.mark.parametrize(("n", "refuses"), [(8, False), (24, True)])
def test_a_few_frames_at_the_border_are_warned_of_and_many_refused(n, refuses):
    views = GOOD.copy()
    views[:n, 0] = 0.8
    (found,) = quality.of_posture("fist", hands(), T, None, views)
    assert (found.kind, found.refuses) == ("out_of_view", refuses)
