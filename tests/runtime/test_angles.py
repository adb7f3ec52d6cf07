"""Angles are signed, whatever way the hand is turned, and rounded to what a camera can tell."""

import numpy as np
import pytest
from tiny.hands import template

from handcoach import angles
from handcoach.hand import DegenerateHandError, hand_frame

FIST = np.array([70.0, 100.0, 60.0])  # of the drawn hand that is bent by 1


@pytest.mark.parametrize("bend", [-0.2, 0.0, 0.3, 1.0])
def test_flexion_is_positive_and_hyperextension_negative(bend):
    hand = template(bend)
    found = angles.flexion(hand)
    np.testing.assert_allclose(found, np.tile(bend * FIST, (4, 1)), atol=1e-6)
    np.testing.assert_allclose(angles.flexion(hand_frame(hand)), found, atol=1e-3)
    turned = hand @ np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0].T
    if np.linalg.det(np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]) < 0:
        turned = turned * [-1, 1, 1]
    np.testing.assert_allclose(angles.flexion(turned), found, atol=1e-6)
    np.testing.assert_allclose(angles.flexion(np.stack([hand, template(0.0)]))[0], found)


def test_neither_a_knuckle_out_of_the_palms_plane_nor_a_finger_that_leans_aside_is_bending():
    """Angles are measured from the plane of the palm, and seen along the axis about which a finger flexes."""
    hand = template(0.3)
    arched = hand.copy()
    arched[9:13] -= [0, 0, 0.15]  # the middle finger and its knuckle, as in a cupped hand
    np.testing.assert_allclose(angles.flexion(arched), angles.flexion(hand), atol=1e-6)
    aside, a = hand.copy(), np.radians(40)
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    aside[10:13] = hand[9] + (hand[10:13] - hand[9]) @ turn.T
    lean = np.radians(np.cumsum(0.3 * FIST))  # of each bone to the palm
    seen = np.degrees(np.arctan2(np.sin(lean), np.cos(lean) * np.cos(a)))
    np.testing.assert_allclose(angles.flexion(aside)[1], np.diff(seen, prepend=0), atol=1e-6)


def test_a_joint_that_bends_back_makes_up_for_no_other():
    joints = np.array([[20.0, -15.0, 5.0], [0.0, 0.0, 0.0]])
    np.testing.assert_allclose(angles.extension_deficit(joints), [25, 0])


def test_two_hands_are_as_far_apart_as_their_fingers_bend():
    assert angles.apart(template(0.5), template(1.0)) == pytest.approx(0.5 * FIST.sum())
    one = template(0.0)
    one[5:9] = template(1.0)[5:9]
    assert angles.apart(one, template(0.0)) == pytest.approx(FIST.sum() / 4, rel=1e-6)
    assert angles.apart(one, template(0.0), [1, 2]) == pytest.approx(0, abs=1e-6)
    # One finger that the teacher bends is asked to bend, however straight the others are.
    assert angles.apart(template(0.0), one) == pytest.approx(FIST.sum() / 4, rel=1e-6)


def test_who_stretches_farther_than_the_teacher_lacks_nothing():
    assert angles.apart(template(-0.1), template(0.1)) == 0
    assert angles.apart(template(0.3), template(0.1)) == pytest.approx(0.2 * FIST.sum())
    assert angles.apart(template(1.2), template(1.0)) == pytest.approx(
        0.2 * FIST.sum()
    )  # a fist is no stretch


def test_each_finger_is_bent_too_much_or_too_little():
    np.testing.assert_allclose(angles.too_bent(template(0.5), template(1.0)), -0.5 * FIST.sum())
    np.testing.assert_allclose(angles.too_bent(template(1.3), template(1.0)), 0.3 * FIST.sum())
    np.testing.assert_allclose(angles.too_bent(template(0.5), template(0.0)), 0.5 * FIST.sum())
    np.testing.assert_allclose(angles.too_bent(template(-0.2), template(0.1)), 0, atol=1e-9)


def test_fingers_are_as_far_apart_as_they_are_spread():
    flat = hand_frame(template(0.0)).astype(float)
    spread = flat.copy()
    a = np.radians(12)  # the little finger away from the others, about the palm's normal
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    spread[17:] = flat[17] + (flat[17:] - flat[17]) @ turn.T
    np.testing.assert_allclose(angles.fan(spread) - angles.fan(flat), [0, 0, 12], atol=1e-4)
    np.testing.assert_allclose(angles.fan(np.stack([flat, spread]))[1], angles.fan(spread))


def test_a_hand_is_turned_by_the_least_angle():
    hand = template(0.3)
    a = np.radians(40)
    turn = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    assert angles.turned(hand @ turn.T, hand) == pytest.approx(40)
    assert angles.turned(hand, hand) == pytest.approx(0, abs=1e-4)


def test_degrees_are_rounded_to_five():
    assert [angles.rounded(d) for d in (0, 2.4, 12.6, 88)] == [0, 0, 15, 90]


def test_a_hand_without_a_palm_is_told():
    with pytest.raises(DegenerateHandError):
        angles.flexion(np.zeros((21, 3)))
