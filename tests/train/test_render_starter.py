"""The library's postures: their angles, thumbs that meet their finger, hands held as the exercise says."""

from __future__ import annotations

import numpy as np
import pytest
from tiny import arms

from handcoach_train.errors import TrainError
from handcoach_train.render import posture, starter
from handcoach_train.render.arm import hand_axes
from handcoach_train.render.posture import joints_of_pose


@pytest.fixture(scope="module")
def arm(tmp_path_factory):
    return arms.arm(tmp_path_factory.mktemp("arm"), 0.0)


def gap(joints, finger):
    return np.linalg.norm(joints[starter.TIPS[finger]] - joints[4]) / np.linalg.norm(joints[9])


@pytest.mark.parametrize(
    "name", [name for name, how in starter.SHOWN.items() if not how.touch and not how.kind]
)
def test_angles_are_as_said(name):
    rng = np.random.default_rng(0)
    how = starter.shown(name)
    for _ in range(30):
        pose = starter.sample(rng, how)
        for finger in range(4):
            ranges = how.own.get(finger, how.flexion)
            assert all(
                low <= angle <= high for angle, (low, high) in zip(pose.flexion[finger], ranges, strict=True)
            )
        assert (pose.flexion >= posture.LOW - 4).all() and (pose.flexion <= posture.HIGH).all()
        assert how.wrist[0] <= pose.wrist[0] <= how.wrist[1]


def test_good_and_almost_good_do_not_touch():
    for name, how in starter.SHOWN.items():
        half = starter.SHOWN.get(f"{name}_half")
        if half is None or how.kind or how.touch:  # of a thumb's way see the next test
            continue
        ranges = [(how.turn, half.turn), (how.fan, half.fan), (how.wrist, half.wrist)]
        ranges += list(zip(how.flexion, half.flexion, strict=True))
        assert any(one[1] < other[0] or other[1] < one[0] for one, other in ranges), name


@pytest.mark.parametrize("finger", starter.TIPS)
def test_the_thumb_meets_its_finger_and_almost_does(arm, finger):
    rng = np.random.default_rng(1)
    joints = starter.posed(rng, arm, starter.shown(f"thumb_{finger}"))[1]
    half = gap(starter.posed(rng, arm, starter.shown(f"thumb_{finger}_half"))[1], finger)
    # This arm's thumb is too short for the two far fingers, but comes nearest to the one that is meant.
    assert gap(joints, finger) == min(gap(joints, other) for other in starter.TIPS)
    straight = gap(starter.posed(rng, arm, starter.shown("flat"))[1], finger)
    assert gap(joints, finger) + 0.1 < half < straight - 0.1
    if finger in ("index", "middle"):
        assert gap(joints, finger) < 0.25


@pytest.mark.parametrize("turn", [0, 90, 180])
def test_an_upright_hand_turns_from_palm_to_back(turn):
    rng = np.random.default_rng(2)
    how = starter.Shown(turn=(turn, turn))
    pose = starter.sample(rng, how)
    out = np.mean([starter.turn_to_camera(rng, how, pose)[2] for _ in range(60)], axis=0)
    # A palm towards the camera looks along -z; a right hand then turns it to the picture's right.
    wanted = [np.sin(np.deg2rad(turn)), 0, -np.cos(np.deg2rad(turn))]
    np.testing.assert_allclose(out / np.linalg.norm(out), wanted, atol=0.15)


def test_a_bent_wrist_points_up_or_down_and_the_forearm_stays_along_the_screen(arm):
    rng = np.random.default_rng(3)
    for name, sign in (("wrist_up", -1), ("wrist_down", 1)):
        how = starter.shown(name)
        vertices, joints, pose = starter.posed(rng, arm, how)
        axes = starter.turn_to_camera(rng, how, pose)
        lateral, forward = axes[0], axes[1]
        np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-9)
        assert np.linalg.det(axes) == pytest.approx(1)
        assert sign * forward[1] > 0.3 and forward[0] > 0.2  # y points down
        assert lateral[2] > 0.3  # the camera sees the little finger's side too
        elbow = (vertices[:8].mean(0) - joints[0]) @ (axes.T @ hand_axes(joints)).T
        assert elbow[0] < -0.7 * np.linalg.norm(elbow)


def test_a_lifted_finger_is_the_index_alone(arm):
    pose = starter.sample(np.random.default_rng(4), starter.shown("index_lifted"))
    joints = joints_of_pose(arm, pose)
    out = posture.palm_normal(joints)
    assert (joints[8] - joints[5]) @ out < -0.005 < 0 < (joints[12] - joints[9]) @ out


def test_half_of_the_hands_to_train_on_are_between_two_postures(arm):
    """No good finger spread has a bent finger; on the way to another posture some do, and none collides."""
    rng = np.random.default_rng(5)
    poses = [starter.on_the_way(rng, arm, "apart")[2] for _ in range(24)]
    bent = sum(pose.flexion.max() > 15 for pose in poses)
    assert 4 <= bent <= 18
    assert not any(posture.collides(joints_of_pose(arm, pose)) for pose in poses)


def test_an_unknown_posture_is_refused():
    with pytest.raises(TrainError, match="none of the library's: flat"):
        starter.shown("salute")
