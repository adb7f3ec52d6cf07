"""Bending a made-up arm: angles measured back, bones that keep their length, fingers that hit the palm."""

from __future__ import annotations

import dataclasses
import importlib.util
import multiprocessing
from pathlib import Path

import numpy as np
import pytest
from tiny import arms

from handcoach.hand import BONES
from handcoach_train.render import posture
from handcoach_train.render.arm import palm_normal, vertex_normals
from handcoach_train.render.people import bodies
from handcoach_train.render.posture import Pose


def flat() -> Pose:
    return Pose(np.zeros((4, 3)), np.zeros(4), np.zeros(5), np.zeros(3))


def turned(pose: Pose, finger: int, joint: int, degrees: float) -> Pose:
    flexion = pose.flexion.copy()
    flexion[finger, joint] = degrees
    return dataclasses.replace(pose, flexion=flexion)


def angles(joints: np.ndarray, finger: int) -> np.ndarray:
    """Signed MCP, PIP and DIP flexion in degrees of a finger (0 index), seen from the side: in the plane of
    the wrist-to-MCP direction and the palm's normal, positive towards the palm's front."""
    out = palm_normal(joints)
    base = 5 + 4 * finger
    metacarpal = joints[base] - joints[0]
    forward = metacarpal - out * (metacarpal @ out)
    forward /= np.linalg.norm(forward)
    bones = np.diff(joints[base : base + 4], axis=0)
    lean = np.rad2deg(np.arctan2(bones @ out, bones @ forward))
    return (np.diff(lean, prepend=0.0) + 180) % 360 - 180


@pytest.fixture(params=[0.0, 12.0], ids=["straight at rest", "bent at rest"])
def arm(request, tmp_path):
    return arms.arm(tmp_path, request.param)


def test_a_made_up_arm_is_a_right_hand(arm):
    np.testing.assert_allclose(palm_normal(arm.joints), [0, 0, 1], atol=1e-6)
    normals = vertex_normals(arm.vertices, arm.triangles)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1)
    # Outwards: the corners of each bone's box look away from the bone.
    centre = (arm.heads + arm.tails) / 2
    assert (np.einsum("vc,vc->v", normals, arm.vertices - np.repeat(centre, 8, 0)) > 0).all()
    assert arm.traits.shape == (len(arm.vertices), 5)
    assert (arm.traits[:, 0] >= 0).all() and (arm.traits[:, 0] <= 1).all()


def test_zero_is_straight(arm):
    _, joints = posture.bend(arm, flat())
    for finger in range(4):
        np.testing.assert_allclose(angles(joints, finger), 0, atol=1e-4)
        chain = np.diff(joints[5 + 4 * finger : 9 + 4 * finger], axis=0)
        chain /= np.linalg.norm(chain, axis=1, keepdims=True)
        np.testing.assert_allclose(chain, chain[:1].repeat(3, 0), atol=1e-5)


@pytest.mark.parametrize("joint", range(3))
@pytest.mark.parametrize("degrees", [-10.0, 30.0, 90.0])
def test_a_set_angle_is_measured_back(arm, joint, degrees):
    # The middle finger's hinge is exactly across the hand, so that one is exact; the others lean a little.
    for finger, tolerance in ((1, 1e-3), (0, 4.0), (2, 4.0), (3, 8.0)):
        _, joints = posture.bend(arm, turned(flat(), finger, joint, degrees))
        expected = np.zeros(3)
        expected[joint] = degrees
        np.testing.assert_allclose(angles(joints, finger), expected, atol=tolerance)


def test_flexion_goes_towards_the_palm(arm):
    out = palm_normal(arm.joints)
    for finger in range(4):
        tip = 8 + 4 * finger
        _, joints = posture.bend(arm, turned(flat(), finger, 1, 90))
        assert (joints[tip] - joints[tip - 2]) @ out == pytest.approx(
            np.linalg.norm(joints[tip] - joints[tip - 2]), rel=0.01
        )
        _, joints = posture.bend(arm, turned(flat(), finger, 0, -20))
        assert (joints[tip] - joints[tip - 3]) @ out < 0


def test_spread_turns_in_the_palm_plane_towards_the_index_side(arm):
    spread = np.array([15.0, 0.0, -15.0, -25.0])
    _, joints = posture.bend(arm, dataclasses.replace(flat(), spread=spread))
    for finger in range(4):
        direction = joints[8 + 4 * finger] - joints[5 + 4 * finger]
        assert np.rad2deg(np.arctan2(direction[0], direction[1])) == pytest.approx(spread[finger], abs=0.01)
        assert abs(direction[2]) < 1e-6


def test_bones_keep_their_length(arm):
    a, b = np.array(BONES).T
    rest = np.linalg.norm(arm.joints[b] - arm.joints[a], axis=1)
    rng = np.random.default_rng(0)
    for kind in (*posture.KINDS, "almost"):
        vertices, joints = posture.bend(arm, posture.sample_pose(rng, kind))
        np.testing.assert_allclose(np.linalg.norm(joints[b] - joints[a], axis=1), rest, rtol=1e-6)
        np.testing.assert_allclose(joints[0], 0, atol=1e-9)
        # Each box belongs to one bone: it must not be sheared or stretched.
        boxes, still = vertices.reshape(-1, 8, 3), arm.vertices.reshape(-1, 8, 3)
        size = np.linalg.norm(boxes - boxes[:, :1], axis=2)
        np.testing.assert_allclose(size, np.linalg.norm(still - still[:, :1], axis=2), atol=1e-9)


def test_the_wrist_moves_the_forearm_and_not_the_hand(arm):
    pose = dataclasses.replace(flat(), wrist=np.array([40.0, 10.0, 30.0]))
    straight, joints = posture.bend(arm, flat())
    bent, same = posture.bend(arm, pose)
    np.testing.assert_allclose(joints, same, atol=1e-9)
    elbow = slice(0, 8)
    assert np.linalg.norm(bent[elbow] - straight[elbow], axis=1).min() > 0.05
    # Flexion: the palm comes nearer to the forearm's front, which is z here.
    assert bent[elbow].mean(0)[2] > straight[elbow].mean(0)[2] + 0.05


def test_sampled_postures_stay_within_the_ranges():
    rng = np.random.default_rng(1)
    for kind in (None, "almost", *posture.KINDS):
        for _ in range(60):
            pose = posture.sample_pose(rng, kind)
            assert pose.flexion.shape == (4, 3) and pose.thumb.shape == (5,) and pose.wrist.shape == (3,)
            assert (pose.flexion >= posture.LOW).all() and (pose.flexion <= posture.HIGH).all()
            assert (pose.spread >= -28).all() and (pose.spread <= 22).all()
            assert (pose.thumb[3:] >= [-12, -15]).all() and (pose.thumb[3:] <= [60, 85]).all()
            assert (np.abs(pose.wrist) <= 60).all()


def test_open_almost_and_fist_differ_in_summed_flexion():
    rng = np.random.default_rng(2)
    sums = {
        kind: [posture.sample_pose(rng, kind).flexion.sum(1).mean() for _ in range(50)]
        for kind in ("open", "almost", "fist")
    }
    assert max(sums["open"]) < min(sums["almost"]) < max(sums["almost"]) < min(sums["fist"])


def test_between_moves_from_one_posture_to_the_other():
    rng = np.random.default_rng(3)
    a, b = posture.sample_pose(rng, "open"), posture.sample_pose(rng, "fist")
    np.testing.assert_allclose(posture.between(a, b, 0).flexion, a.flexion)
    np.testing.assert_allclose(posture.between(a, b, 1).thumb, b.thumb)
    np.testing.assert_allclose(posture.between(a, b, 0.5).flexion, (a.flexion + b.flexion) / 2)


def test_collisions_are_caught(arm):
    pose = dataclasses.replace(flat(), spread=np.array([8.0, 0, -8.0, -16.0]))
    pose = dataclasses.replace(pose, thumb=np.array([10.0, 40, 0, 0, 0]))
    joints = posture.joints_of_pose(arm, pose)
    assert not posture.collides(joints)
    through = joints.copy()
    through[7], through[8] = [0.02, 0.06, 0.02], [0.02, 0.05, -0.01]  # the index's tip behind the palm
    assert posture.collides(through)
    crossed = joints.copy()
    crossed[[6, 7, 8]], crossed[[10, 11, 12]] = joints[[10, 11, 12]], joints[[6, 7, 8]]
    assert posture.collides(crossed)
    thumb = joints.copy()
    thumb[3], thumb[4] = [0.01, 0.05, 0.004], [-0.01, 0.06, -0.004]
    assert posture.collides(thumb)
    # As seen from anywhere: the judgement depends on the hand alone.
    q, _ = np.linalg.qr(np.random.default_rng(4).normal(size=(3, 3)))
    q *= np.sign(np.linalg.det(q))
    assert not posture.collides(joints @ q.T + 0.3)
    assert posture.collides(through @ q.T + 0.3)


def test_random_posed_avoids_collisions(arm):
    rng = np.random.default_rng(5)
    hits = [posture.collides(posture.random_posed(rng, arm, kind)[1]) for kind in ("open", "almost") * 5]
    assert not any(hits)


def test_a_fist_is_held_by_its_thumb(arm):
    # In most fists the thumb lies over the fingers; it does not stick out to the index's side.
    rng = np.random.default_rng(6)
    across = []
    for _ in range(40):
        _, joints, pose = posture.random_posed(rng, arm, "fist")
        side = joints[5] - joints[17]
        across.append((joints[4] - joints[5]) @ side / (side @ side) < 0.15)
        assert not posture.collides(joints)
        assert (pose.thumb <= [80, 45, 20, 60, 85]).all() and (pose.thumb >= [-10, 8, -20, -12, -15]).all()
    assert np.mean(across) > 0.5


def test_thumb_and_index_meet_in_ok(arm):
    rng = np.random.default_rng(7)
    size = np.linalg.norm(arm.joints[9])
    gaps = []
    for _ in range(20):
        _, joints, _ = posture.random_posed(rng, arm, "ok")
        gaps.append(np.linalg.norm(joints[8] - joints[4]) / size)
    assert np.median(gaps) < 0.35


def test_postures_come_as_often_as_said():
    assert sum(posture.KINDS.values()) == pytest.approx(1)
    rng = np.random.default_rng(8)
    drawn = [posture.random_kind(rng) for _ in range(2000)]
    for kind, share in posture.KINDS.items():
        assert drawn.count(kind) / 2000 == pytest.approx(share, abs=0.03)


def test_neighbouring_fingers_follow():
    # Middle, ring and little share tendons: none is stretched alone between two closed ones.
    rng = np.random.default_rng(9)
    for _ in range(200):
        flexion = posture.sample_pose(rng, "free").flexion
        assert abs(flexion[2, 1] - flexion[1, 1]) < 140
        assert flexion[2, 0] >= min(flexion[1, 0], flexion[3, 0]) - 46
        assert (flexion[:, 2] <= 0.8 * flexion[:, 1] + 15).all()


def _anny() -> str | None:
    if importlib.util.find_spec("anny") is None:
        return "anny is not installed"
    if not (Path.home() / ".cache" / "anny").is_dir():
        return "anny was never loaded here, and its first load takes a minute"
    return None


@pytest.mark.skipif(_anny() is not None, reason=str(_anny()))
def test_people_from_anny(tmp_path):
    if multiprocessing.current_process().name != "MainProcess":
        pytest.skip("needs to start a process")
    people = bodies(tmp_path / "people.npz", 2, 3)
    assert len(people) == 2
    for i in range(2):
        arm = people.arm(i)
        np.testing.assert_allclose(arm.weights.sum(1), 1, rtol=1e-6)
        assert 0.05 < np.linalg.norm(arm.joints[9]) < 0.13  # metres from wrist to middle MCP
        assert arm.corners.max() < len(arm.corner) and arm.triangles.max() < len(arm.vertices)
        for degrees in (30.0, 90.0):
            _, joints = posture.bend(arm, turned(flat(), 1, 1, degrees))
            assert angles(joints, 1)[1] == pytest.approx(degrees, abs=6)
    assert np.abs(people.arm(0).vertices - people.arm(1).vertices).max() > 1e-3
    again = bodies(tmp_path / "people.npz", 2, 99)  # a file that is there is kept
    np.testing.assert_array_equal(again.arm(0).vertices, people.arm(0).vertices)
