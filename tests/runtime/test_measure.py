"""What training and benchmarks share: alignment, still-hand jitter and the lag of a filter."""

import cv2
import numpy as np
import pytest
from tiny.hands import template

from handcoach.crop import Crop
from handcoach.measure import Watched, align, jitter, lag, off, pa_mpjpe


def test_alignment_undoes_rotation_scale_and_shift_but_no_mirror():
    rng = np.random.default_rng(3)
    truth = rng.normal(size=(21, 3))
    for seed in range(20):
        q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
        q *= np.sign(np.diag(r))
        q *= np.sign(np.linalg.det(q))
        copy = 0.3 * truth @ q.T + [5, -2, 40]
        assert pa_mpjpe(copy, truth) < 1e-9
        assert pa_mpjpe(copy * [-1, 1, 1], truth) > 0.1
    flat = truth * [1, 1, 0]  # a plane and its mirror image are the same
    assert pa_mpjpe(flat * [-1, 1, 1], flat) < 1e-9
    assert np.isfinite(pa_mpjpe(np.zeros((21, 3)), truth))


def test_alignment_is_the_best_one():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(21, 3))
    for sign in (1, -1):  # -1: the unconstrained best would mirror
        other = sign * truth + rng.normal(0, 0.2, size=(21, 3))
        fitted = align(other, truth)
        best = ((fitted - truth) ** 2).sum()
        for axis in range(3):
            for angle in (-0.01, 0.01):
                turn, _ = cv2.Rodrigues(angle * np.eye(3)[axis])
                near = (fitted - fitted.mean(0)) @ turn.T + fitted.mean(0)
                assert ((near - truth) ** 2).sum() > best
        for scale in (0.99, 1.01):
            near = scale * (fitted - fitted.mean(0)) + fitted.mean(0)
            assert ((near - truth) ** 2).sum() > best


def test_many_hands_are_aligned_each_on_its_own():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(3, 4, 21, 3))
    other = np.where(rng.random((3, 4, 1, 1)) < 0.5, -1, 1) * truth + rng.normal(0, 0.2, truth.shape)
    together = align(other, truth)
    assert together.shape == truth.shape and pa_mpjpe(other, truth).shape == (3, 4)
    for i in range(3):
        for j in range(4):
            np.testing.assert_allclose(together[i, j], align(other[i, j], truth[i, j]), atol=1e-9)


def test_a_hand_that_moves_and_turns_as_a_whole_does_not_jitter():
    hand = template(0.3)
    turned = [3 * i + hand @ cv2.Rodrigues(np.array([0.1, 0.2, 0.3]) * i)[0].T for i in range(5)]
    assert jitter(np.array(turned)) < 1e-6
    assert np.isnan(jitter(hand[None]))


def test_jitter_is_the_mean_way_of_a_joint_from_one_frame_to_the_next():
    hand = np.tile(template(0.0), (4, 1, 1))
    hand[1::2, 8, 2] += 0.21  # one tip of 21 joints goes to and fro; the palm stays
    assert jitter(hand) == pytest.approx(0.01, rel=1e-5)
    # Between frames 1 and 5 nobody was looking: what moved meanwhile is no jitter.
    hand[2:] = hand[0]
    assert jitter(hand, np.array([0, 1, 5, 6])) == pytest.approx(0.005, rel=1e-5)


@pytest.mark.parametrize("late", [0.0, 1.0, 2.4, -1.3])
def test_the_lag_is_known_to_parts_of_a_frame(late):
    t = np.arange(150)
    raw = np.stack([np.sin(t / 9), np.cos(t / 14), 0.1 * np.sin(t / 5)], axis=1)
    s = t - late
    behind = np.stack([np.sin(s / 9), np.cos(s / 14), 0.1 * np.sin(s / 5)], axis=1) + 0.3
    assert lag(behind, raw, 30) == pytest.approx(1000 * late / 30, abs=1.0)


def test_what_stands_still_or_is_too_short_has_no_lag():
    with pytest.raises(ValueError, match="stands still"):
        lag(np.ones((90, 3)), np.ones((90, 3)), 30)
    with pytest.raises(ValueError, match="34 frames"):
        lag(np.ones((20, 3)), np.ones((20, 3)), 30)


def test_a_cut_out_is_off_by_a_tenth_and_15_degrees_every_time():
    crop = Crop(100, 80, 50, 0.2, mirrored=True)
    seen = [off(crop, np.random.default_rng(i)) for i in range(20)]
    for c in seen:
        assert np.hypot(c.x - 100, c.y - 80) == pytest.approx(5) and c.mirrored
        assert abs(np.log(c.size / 50)) == pytest.approx(np.log(1.1))
        assert abs(c.roll - 0.2) == pytest.approx(np.pi / 12)
    assert len({(c.size > 50, c.roll > 0.2) for c in seen}) == 4
    assert off(crop, np.random.default_rng(3)) == seen[3]


def test_a_hand_that_was_lost_in_between_has_no_lag():
    hands = np.stack([template(0.5 + 0.5 * np.sin(i / 9)) for i in range(90)]).astype(np.float32)
    assert Watched(np.arange(90), hands, hands, 30.0).lag_ms() == pytest.approx(0, abs=1)
    assert Watched(np.r_[0:45, 60:105], hands, hands, 30.0).lag_ms() is None
