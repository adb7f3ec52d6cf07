"""What is put into a picture: things, people behind, what hides the hand, and the webcam itself."""

from __future__ import annotations

import numpy as np
import pytest
from tiny import arms

from handcoach_train.render import backdrop, draw, scene, things, webcam

SIZE = 96


def looks(count: int) -> list[draw.Look]:
    return [draw.random_look(np.random.default_rng(i), [(0, 0.0, 0.5), (1, 0.5, 1.0)]) for i in range(count)]


def test_people_are_of_all_tones_and_wear_things():
    people = looks(300)
    assert all(60 < sum(p.skin == s for p in people) < 140 for s in ("light", "medium", "dark"))
    for worn in (lambda p: p.sleeve < 1, lambda p: p.band < 1, lambda p: p.ring >= 0, lambda p: p.polish):
        assert 0.05 < np.mean([worn(p) for p in people]) < 0.7
    # The darker the skin, the darker its back; a texture is one that suits the tone.
    tones, backs = np.array([p.tone for p in people]), np.array([p.back.mean() for p in people])
    assert np.corrcoef(tones, backs)[0, 1] < -0.9
    assert all(p.texture in (-1, 0) for p in people if p.tone < 0.5)
    assert all(p.texture in (-1, 1) for p in people if p.tone > 0.5)


def test_things_are_closed_and_face_outwards(tmp_path):
    joints = arms.arm(tmp_path).joints
    rng = np.random.default_rng(0)
    found = [t for _ in range(400) for t in things.random_things(rng, joints, False)]
    assert 30 < len(found) < 100  # most hands are empty
    for thing in found:
        places, normals = thing.mesh[:, :3], thing.mesh[:, 3:6]
        np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-9)
        centre = (places.min(0) + places.max(0)) / 2
        assert ((places - centre) * normals).sum(1).mean() > 0
        assert np.linalg.norm(centre - joints[9]) < 0.2 and np.ptp(places, axis=0).max() < 0.3
        assert (thing.colour >= 0).all() and (thing.colour < 1).all()


@pytest.mark.parametrize("seed", range(40))
def test_a_webcam_leaves_things_where_they_are(seed):
    # A landmark is where it was drawn: whatever the camera does, a bright square keeps its place.
    image = np.full((SIZE, SIZE, 3), 40, np.float32)
    image[40:60, 24:40] = 220
    grain = np.random.default_rng(0).normal(0, 1, (SIZE + 64, SIZE + 64, 3)).astype(np.float32)
    photo = webcam.photograph(np.random.default_rng(seed), image, grain)
    assert photo.shape == (SIZE, SIZE, 3) and photo.dtype == np.uint8
    again = webcam.photograph(np.random.default_rng(seed), image, grain)
    np.testing.assert_array_equal(photo, again)
    bright = np.median(photo[44:56, 28:36]) / 2 + np.median(photo[:20]) / 2
    y, x = np.nonzero(photo.mean(-1) > bright)
    inside = (abs(y - 49.5) < 20) & (abs(x - 31.5) < 20)
    assert abs(np.median(y[inside]) - 49.5) < 2 and abs(np.median(x[inside]) - 31.5) < 2


def test_webcams_differ():
    image = np.full((SIZE, SIZE, 3), 128, np.float32)
    grain = np.random.default_rng(0).normal(0, 1, (SIZE + 64, SIZE + 64, 3)).astype(np.float32)
    photos = np.array([webcam.photograph(np.random.default_rng(i), image, grain) for i in range(200)])
    means = photos.mean((1, 2))
    assert np.percentile(means, 5) < 105 and np.percentile(means, 95) > 150  # too dark, too bright
    assert means.std(1).max() > 10 and np.median(means.std(1)) < 12  # white balance, mostly nearly right


def test_what_comes_between_hides_some_of_the_hand_and_not_all():
    points = np.random.default_rng(0).uniform(30, 66, (21, 2))
    image = np.full((SIZE, SIZE, 3), 100, np.float32)
    hidden = []
    for seed in range(120):
        drawn = backdrop.in_front(np.random.default_rng(seed), image, points, image)
        changed = abs(drawn - image).max(-1) > 3
        x, y = points.astype(int).T
        hidden.append(changed[y, x].mean())
    assert np.mean(np.array(hidden) > 0) > 0.6
    assert np.mean(hidden) < 0.4 and np.mean(np.array(hidden) > 0.7) < 0.05


def test_a_person_behind_has_the_skin_of_the_hand():
    look = looks(1)[0]
    image = np.full((SIZE, SIZE, 3), (0, 255, 0), np.float32)
    shares = []
    for seed in range(30):
        drawn = backdrop.person(np.random.default_rng(seed), image, look)
        assert drawn.shape == image.shape and (drawn >= 0).all() and (drawn <= 256).all()
        shares.append((abs(drawn - image).max(-1) > 20).mean())
    assert 0.05 < np.mean(shares) < 0.8


def test_a_hand_on_the_table_touches_it_and_does_not_go_through(tmp_path):
    arm = arms.arm(tmp_path)
    heights = []
    for seed in range(40):
        vertices, joints = scene.on_table(np.random.default_rng(seed), arm.vertices, arm.joints)
        near = np.linalg.norm(vertices - joints[9], axis=1) < np.linalg.norm(arm.joints[9]) * 1.9
        assert vertices[near, 2].min() == pytest.approx(0.001)
        np.testing.assert_allclose(  # moved as one piece
            np.linalg.norm(joints[5] - joints[[0, 17]], axis=1),
            np.linalg.norm(arm.joints[5] - arm.joints[[0, 17]], axis=1),
        )
        heights.append(joints[:, 2].mean())
    # Most lie flat, as they do under their own weight.
    assert np.median(heights) < 0.035 and min(heights) > 0


def test_no_arm_ends_in_the_air(tmp_path):
    # The upper arm goes on from the elbow, away from the hand, as thick as the arm is there.
    arm = arms.arm(tmp_path)
    up_arm = arm.traits[:, 3]
    limb = things.upper_arm(np.random.default_rng(0), arm.vertices, up_arm, np.full(3, 0.3))
    places = limb.mesh[:, :3]
    elbow = arm.vertices[np.argmax(up_arm)]
    assert np.linalg.norm(places - elbow, axis=1).min() < 0.05
    assert np.linalg.norm(places, axis=1).max() > up_arm.max() + 0.2
    assert np.linalg.norm(places, axis=1).min() > 0.1  # nothing of it near the wrist, which is the origin
