"""The 3D drawing: where joints land, what colours and sizes say, and what hides what."""

import cv2
import numpy as np
import pytest
from tiny.hands import template

from handcoach.hand import hand_frame
from handcoach.ui import view3d

SIZE = (400, 360)
OPEN = hand_frame(template(0.0).astype(np.float32))
FIST = hand_frame(template(1.0).astype(np.float32))
FRONT = view3d.Camera(0.0, 0.0)


@pytest.mark.parametrize("camera", [FRONT, view3d.Camera(), view3d.Camera(2.0, -1.0)])
def test_the_camera_only_turns(camera):
    rotation = camera.rotation()
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1.0)


def test_fingers_point_up_and_the_thumb_of_a_right_palm_is_on_the_right():
    xy, _, _ = view3d.project(OPEN, FRONT, SIZE)
    assert xy[12, 1] < xy[9, 1] < xy[0, 1]
    assert xy[17, 0] < xy[9, 0] < xy[5, 0] < xy[4, 0]
    assert abs(xy[12, 0] - xy[0, 0]) < 0.1 * SIZE[0]  # the middle finger is upright


def test_a_left_hand_is_the_mirror_image():
    right, depth, _ = view3d.project(OPEN, FRONT, SIZE)
    left, depth_left, _ = view3d.project(view3d.mirrored(OPEN), FRONT, SIZE, stand="left")
    np.testing.assert_allclose(left[:, 0], SIZE[0] - right[:, 0], atol=1e-3)
    np.testing.assert_allclose(left[:, 1], right[:, 1], atol=1e-3)
    np.testing.assert_allclose(depth_left, depth, atol=1e-3)


@pytest.mark.parametrize("size", [(400, 360), (300, 500), (900, 200)])
@pytest.mark.parametrize("yaw", [-1.5, 0.0, 0.8, 3.0])
def test_the_whole_hand_stays_in_the_picture(size, yaw):
    xy, _, _ = view3d.project(
        OPEN, view3d.Camera(yaw, 0.2), size, reach=float(np.linalg.norm(OPEN, axis=1).max())
    )
    assert (xy > 0).all()
    assert (xy < size).all()


@pytest.mark.parametrize("size", [(400, 360), (300, 500)])
@pytest.mark.parametrize("degrees", [0, 70, -110, 180])
def test_a_turned_hand_has_room_on_all_sides_and_stands_as_it_is_given(size, degrees):
    turn = cv2.Rodrigues(np.array([0, 0, np.deg2rad(degrees)]))[0]
    teacher = OPEN - OPEN.mean(0) / 3
    xy, _, _ = view3d.project(
        OPEN @ turn.T - OPEN.mean(0) / 3, view3d.Camera(), size, "turned", view3d.reach_of(teacher)
    )
    assert (xy > 0).all() and (xy < size).all()
    up = np.deg2rad(degrees)  # of a hand that is turned from upright to the picture's left
    way = xy[5] - xy[0]
    np.testing.assert_allclose(way / np.linalg.norm(way), [-np.sin(up), -np.cos(up)], atol=0.03)


def test_a_turned_hands_forearm_is_not_guessed():
    whole, turned = (view3d.draw_hands(SIZE, None, OPEN, camera=FRONT, stand=s) for s in ("right", "turned"))
    plain = view3d.draw_hands(SIZE, None, None)
    assert (whole != plain).any(2)[-8:].any() and not (turned != plain).any(2)[-8:].any()


@pytest.mark.parametrize("size", [(400, 360), (300, 500)])
def test_an_open_hand_has_room_where_the_teacher_shows_a_fist(size):
    longer = OPEN * 1.1
    for side, shown in (("right", longer), ("left", view3d.mirrored(longer))):
        camera = view3d.Camera()
        xy, _, _ = view3d.project(shown, camera, size, side, view3d.reach_of(FIST))
        assert (xy > 0).all() and (xy < size).all()
    assert view3d.reach_of(FIST) == view3d.reach_of(None)


def test_bent_fingers_come_towards_whoever_looks_at_the_palm():
    _, depth, _ = view3d.project(FIST, FRONT, SIZE)
    assert depth[12] > depth[9] + 5


def test_turning_up_and_down_stops_before_the_hand_stands_on_its_head():
    camera = view3d.Camera().turned(0, 10)
    assert camera.pitch < np.pi / 2
    assert view3d.Camera().turned(7, 0).yaw == pytest.approx(
        np.remainder(view3d.Camera().yaw + 7 + np.pi, 2 * np.pi) - np.pi
    )


def test_closeness_runs_from_the_green_to_the_red_tolerance():
    far = view3d.closeness(np.array([0.0, 0.1, 0.3, 0.5, 2.0]), 0.1, 0.5)
    np.testing.assert_allclose(far, [0, 0, 0.5, 1, 1])
    assert np.isfinite(view3d.closeness(np.array([0.2]), 0.1, 0.1)).all()


def test_colours_go_from_green_over_yellow_to_red_or_from_blue_to_orange():
    green, yellow, red = view3d.colours(np.array([0.0, 0.5, 1.0]))
    assert green[1] > green[0]
    assert yellow[0] > 200
    assert yellow[1] > 180
    assert red[0] > 2 * red[1]
    blue, _, orange = view3d.colours(np.array([0.0, 0.5, 1.0]), "blue_orange")
    assert blue[2] > blue[0]
    assert orange[0] > 2 * orange[2]


def test_colour_is_never_alone_far_joints_are_larger_and_have_another_shape():
    def drawn(far):
        image = np.zeros((100, 100, 3), np.uint8)
        view3d.marker(image, np.array([50.0, 50.0]), far, (200, 200, 200), 200.0)
        return image.max(axis=2) > 0

    near, middle, far = drawn(0.0), drawn(0.5), drawn(1.0)
    assert near.sum() < middle.sum() < far.sum()
    # A ball fills the corners of its square more than a diamond does.
    ball, diamond = (m[np.ix_(m.any(1), m.any(0))] for m in (middle, far))
    assert ball.mean() > 0.7 > diamond.mean()


def test_every_joint_of_the_teacher_has_the_colour_of_its_distance():
    far = np.linspace(0, 1, 21)
    image = view3d.draw_hands(SIZE, OPEN, FIST, far, FRONT)
    xy, _, _ = view3d.project(OPEN, FRONT, SIZE, reach=view3d.reach_of(OPEN))
    tip = np.round(xy[20]).astype(int)
    colour = image[tip[1] + 2, tip[0] + 2].astype(int)
    assert np.abs(colour - view3d.colours(far)[20]).max() < 40


def test_the_palm_has_no_colour_that_flatters():
    """It lies on the teacher's by construction, and is green in a fist as in a stretched hand."""
    near, away = (view3d.draw_hands(SIZE, OPEN, OPEN, np.full(21, far), FRONT) for far in (0.0, 1.0))
    xy, _, _ = view3d.project(OPEN, FRONT, SIZE, reach=view3d.reach_of(OPEN))
    for joint in (0, 5, 9, 13, 17):
        x, y = np.round(xy[joint]).astype(int)
        for image in (near, away):
            assert np.abs(image[y + 2, x + 2].astype(int) - view3d.NEUTRAL).max() < 40
    x, y = np.round(xy[12]).astype(int)
    assert np.abs(near[y + 2, x + 2].astype(int) - away[y + 2, x + 2]).max() > 80


def test_lines_join_the_hands_only_where_they_differ():
    def green(image):
        return (np.abs(image.astype(int) - view3d.LINE["traffic"]).max(axis=2) < 12).sum()

    near = np.zeros(21)
    apart = view3d.draw_hands(SIZE, OPEN, FIST, near)
    same = view3d.draw_hands(SIZE, OPEN, OPEN, near)
    assert green(apart) > green(same) + 100


def test_nearer_flesh_hides_farther_flesh():
    surface = view3d._Surface(60, 60)
    surface.cone(np.array([10.0, 30, 0, 8]), np.array([50.0, 30, 0, 8]))
    before = surface.height[30, 30]
    surface.cone(np.array([30.0, 10, -40, 8]), np.array([30.0, 50, -40, 8]))
    assert surface.height[30, 30] == before
    surface.cone(np.array([30.0, 10, 40, 8]), np.array([30.0, 50, 40, 8]))
    assert surface.height[30, 30] > before + 30


def test_it_draws_with_one_hand_without_any_and_in_a_tiny_window():
    assert view3d.draw_hands(SIZE, OPEN, None).shape == (360, 400, 3)
    assert view3d.draw_hands(SIZE, None, None).std() < 30
    assert view3d.draw_hands((24, 20), OPEN, FIST, np.ones(21)).shape == (20, 24, 3)
    big = view3d.draw_hands((900, 1400), OPEN, FIST, np.ones(21))  # enlarged from the bounded size
    assert big.shape == (1400, 900, 3)


def test_a_hand_that_is_turned_edge_on_or_far_outside_is_drawn_without_complaint():
    with np.errstate(divide="raise", invalid="raise", over="raise"):
        view3d.draw_hands(SIZE, OPEN, FIST, np.ones(21), view3d.Camera(np.pi / 2, 0))
    view3d.draw_hands(SIZE, OPEN, FIST * 40, np.ones(21))
