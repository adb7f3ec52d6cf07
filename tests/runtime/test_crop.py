"""The way into the network's square and back: a mistake here turns every landmark."""

import math

import cv2
import numpy as np
import pytest
from tiny.hands import template

from handcoach.crop import Crop, crop_around, crop_for, default_focal
from handcoach.hand import MIDDLE_MCP, normalise

CROPS = [
    Crop(320, 240, 200),
    Crop(100.3, 50.7, 333.3, roll=0.7),
    Crop(600, 20, 90, roll=-2.5, mirrored=True),
    Crop(320, 240, 200, roll=math.pi, mirrored=True),
]


@pytest.mark.parametrize("crop", CROPS)
def test_points_come_back_to_where_they_were(crop: Crop) -> None:
    points = np.random.default_rng(0).uniform(-100, 700, (21, 2))
    np.testing.assert_allclose(crop.to_frame(crop.to_unit(points)), points, atol=1e-3)


@pytest.mark.parametrize("crop", CROPS)
def test_landmarks_come_back_to_where_they_were(crop: Crop) -> None:
    landmarks = template(0.4).astype(np.float32)
    back = crop.to_camera(crop.from_camera(landmarks, 640, 480), 640, 480)
    np.testing.assert_allclose(back, landmarks, atol=1e-5)


@pytest.mark.parametrize("crop", CROPS)
@pytest.mark.parametrize("out", [64, 224])
def test_the_picture_is_cut_where_the_points_say(crop: Crop, out: int) -> None:
    """A dot in the frame lies in the cut-out at the place that `to_unit` gives it."""
    point = crop.to_frame(np.array([0.7, 0.4]))
    yy, xx = np.mgrid[:480, :640] + 0.5
    blob = 255 * np.exp(-((xx - point[0]) ** 2 + (yy - point[1]) ** 2) / (2 * (crop.size / 25) ** 2))
    image = np.repeat(blob[..., None], 3, axis=2).astype(np.uint8)
    cut = crop.cut(image, out).astype(float)[..., 0]
    yy, xx = np.mgrid[:out, :out] + 0.5
    seen = np.array([(cut * xx).sum(), (cut * yy).sum()]) / cut.sum() / out
    np.testing.assert_allclose(seen, [0.7, 0.4], atol=0.004)


def test_roll_makes_the_hand_point_up() -> None:
    for angle in np.linspace(-3, 3, 7):
        way = np.array([math.sin(angle), -math.cos(angle)])
        crop = crop_for(np.array([300, 200.0]), np.array([300, 200]) + 80 * way, 90)
        wrist = crop.to_unit(np.array([300, 200.0]))
        np.testing.assert_allclose(wrist[0], 0.5, atol=1e-5)
        assert wrist[1] > 0.5
        assert crop.roll == pytest.approx(angle)
        assert crop_for(np.array([300, 200.0]), np.array([300, 200]) + 80 * way, 90, roll=False).roll == 0


def test_what_is_finer_than_the_cut_outs_pixels_is_averaged() -> None:
    """Plain sampling would make stripes of it, which no network was trained on."""
    checks = np.uint8(np.indices((480, 640)).sum(0) % 2 * 255)
    cut = Crop(320, 240, 300, 0.3).cut(np.repeat(checks[..., None], 3, 2), 64)
    assert np.abs(cut.astype(int) - 127).max() < 10


def project(joints: np.ndarray, width: int = 640, height: int = 480) -> np.ndarray:
    """Pixels of joints (21, 3) in metres before the camera that the runtime assumes."""
    return joints[:, :2] / joints[:, 2:] * default_focal(width, height) + [width / 2, height / 2]


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("where", [(0.0, 0.0), (0.30, 0.0), (-0.28, 0.2), (0.25, -0.2)])
def test_a_hand_at_the_border_is_turned_back_from_its_viewing_ray(
    where: tuple[float, float], mirrored: bool
) -> None:
    """A pinhole camera that looks straight at the hand would see landmarks R^T p; the crop must undo it."""
    hand = template(0.3) * 0.09
    depth = 0.6
    place = np.array([*where, depth]) - hand[MIDDLE_MCP]
    joints = hand + place
    crop = crop_around(project(joints), mirrored=mirrored, roll=False)
    truth, _, _ = normalise(joints)
    # Turn the camera until it looks at the crop's centre (the middle MCP) with a level horizon of least turn.
    ray = joints[MIDDLE_MCP] / np.linalg.norm(joints[MIDDLE_MCP])
    axis = np.cross([0, 0, 1.0], ray)
    angle = math.asin(min(1.0, float(np.linalg.norm(axis))))
    turn = cv2.Rodrigues(axis / (np.linalg.norm(axis) or 1) * angle)[0]
    centred = joints @ turn  # in the turned camera's axes
    np.testing.assert_allclose(centred[MIDDLE_MCP][:2], 0, atol=1e-6)
    seen, _, _ = normalise(centred)
    if mirrored:
        seen = seen * np.array([-1, 1, 1], np.float32)
    np.testing.assert_allclose(crop.from_camera(truth, 640, 480), seen, atol=1e-3)
    np.testing.assert_allclose(crop.to_camera(seen, 640, 480), truth, atol=1e-3)


def test_landmarks_turn_the_way_the_picture_turns() -> None:
    """y points down: the rotation's sign is checked by projecting, not by belief."""
    joints = template(0.0) * 0.09 + [0, 0, 0.6]
    points = project(joints)
    crop = Crop(320, 240, 200, roll=0.5)
    inside = crop.to_unit(points)
    flat = crop.from_camera(normalise(joints)[0], 640, 480)[:, :2]
    bones_seen = inside[9] - inside[0]
    bones_said = flat[9] - flat[0]
    cosine = bones_seen @ bones_said / np.linalg.norm(bones_seen) / np.linalg.norm(bones_said)
    assert cosine > 0.999


def test_a_fist_keeps_room_for_the_fingers_that_open() -> None:
    fist, hand = template(1.0)[:, :2] * 80 + [320, 300], template(0.0)[:, :2] * 80 + [320, 300]
    unit = crop_around(fist).to_unit(hand)
    assert unit.min() > 0 and unit.max() < 1


def test_a_hand_without_size_makes_no_endless_crop() -> None:
    crop = crop_around(np.full((21, 2), 50.0))
    assert crop.size >= 4 and crop.roll == 0 and np.isfinite(crop.matrix(64)).all()


def test_the_assumed_camera_is_62_degrees_wide_across_its_longer_side():
    for size in ((640, 480), (480, 640)):
        assert math.degrees(2 * math.atan(320 / default_focal(*size))) == pytest.approx(62, abs=0.2)


def test_a_square_beside_the_picture_is_black():
    image = np.full((480, 640, 3), 255, np.uint8)
    for x, y in ((3000, 240), (320, 3000), (-3000, 240), (320, -3000)):
        assert not Crop(x, y, 700).cut(image, 64).any()
