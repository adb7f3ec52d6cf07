"""What is measured of postures, and the paper's figures from its own landmarks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn")

from tiny.hands import bent_hands

from handcoach_train.posture import HandFrame
from handcoach_train.posture.study import angle_rule, elbow, explained, summed_flexion

PAPER = Path(__file__).parents[3] / "shared/data/paper_landmarks.json"  # beside the checkout, if at hand


def test_the_elbow_is_furthest_below_the_line():
    assert elbow(np.array([100.0, 30, 10, 9, 8, 7])) == 3


def test_a_cluster_in_the_middle_explains_less():
    rng = np.random.default_rng(0)
    cluster = np.repeat([0, 1, 2], 50)
    hands = rng.normal(0, 0.1, (150, 21, 3)) + (cluster - 1)[:, None, None]
    hands[:, 0] = 0  # the wrist never varies
    centres = np.stack([hands[cluster == k].mean(0) for k in range(3)])
    share = explained(hands, cluster, centres)
    assert np.isnan(share[:, 0]).all()
    assert (share[[0, 2], 1:] > 0.95).all() and (share[1, 1:] < 0.3).all()


def test_flexion_is_nothing_in_a_straight_hand():
    hand = np.zeros((1, 21, 3))
    for joint in range(1, 21):
        hand[0, joint, 1] = -1 - 0.3 * ((joint - 1) % 4)
    assert summed_flexion(hand)[0] == pytest.approx(0, abs=1e-4)
    hand[0, 8] = hand[0, 7] + (0.3, 0, 0)  # the last joint of the index finger by 90 degrees
    assert summed_flexion(hand, ["index"])[0] == pytest.approx(90)
    values = {"open": np.array([1.0, 2, 3, 4]), "fist": np.array([90.0, 91, 92, 93])}
    assert angle_rule(values, {label: np.array([0, 0, 1, 1]) for label in values}) == 1.0


def test_kept_axes_tell_how_a_hand_is_turned_and_left_out_fingers_nothing():
    hand = np.random.default_rng(1).normal(size=(1, 21, 3)).astype(np.float32)
    turned = hand @ np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]], np.float32)
    plain, kept = HandFrame(), HandFrame("xz", ["index"])
    np.testing.assert_allclose(plain.transform(hand), plain.transform(turned), atol=1e-5)
    a, b = kept.transform(hand), kept.transform(turned)
    assert a.shape == (1, 69) and np.abs(a[:, 63:] - b[:, 63:]).max() > 0.1
    joints = a[0, :63].reshape(21, 3)
    assert (joints[9:] == 0).all() and (joints[1:5] == 0).all() and (joints[5:9] != 0).any()


def test_the_papers_figures_and_its_two_people(tmp_path):
    if not PAPER.exists():
        pytest.skip(f"{PAPER} is not here")
    from handcoach_train.posture import paper

    result = paper.reproduce(PAPER, tmp_path)
    assert result["right_frames"] == 1166 and result["clusters"]["elbow"] == 3
    across = result["across_people"]
    assert across["A judges B"]["right"] >= 0.996 and across["B judges A"]["right"] >= 0.987
    assert all(who["mirrored_the_same"] == 1 for who in across.values())
    tips = {name.split()[1]: np.mean(row[8::4]) for name, row in result["wrist_distance"].items()}
    assert tips["open"] > tips["almost"] > tips["fist"]
    share = {
        name.split()[1]: np.nanmean(np.array(row[5:], float)) for name, row in result["explained"].items()
    }
    assert share["almost"] < min(share["open"], share["fist"])
    assert len(list(tmp_path.glob("figure-*.png"))) == 3


def test_what_smoothing_and_dwell_make_of_a_flicker():
    """Sessions 1 and 2 teach; in session 4 one frame of an open hand is a fist's."""
    from handcoach_train.posture.paper import across

    bends = {"open": 0.02, "almost": 0.4, "fist": 1.2}
    shown = {k: np.concatenate([bent_hands(b, 40, seed) for seed in (1, 2)]) for k, b in bends.items()}
    sessions = {label: np.repeat([1, 4], 40) for label in bends}
    calm = across(shown, sessions, (1,), (4,))
    assert (calm["frames"], calm["right"], calm["right_believed"]) == (120, 1.0, 1.0)
    assert (calm["flips"], calm["flips_believed"], calm["mirrored_the_same"]) == (0, 0, 1.0)
    shown["open"][60] = shown["fist"][60]
    flicker = across(shown, sessions, (1,), (4,))
    assert flicker["right"] == pytest.approx(119 / 120, abs=1e-4) and flicker["flips"] == 2
    assert flicker["right_believed"] == 1.0 and flicker["flips_believed"] == 0
