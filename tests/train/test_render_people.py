"""People's arms: MakeHuman's joints moved to the anatomy, the second mesh, arms baked to a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny import arms

from handcoach_train.cli import main
from handcoach_train.render import people, posture
from handcoach_train.render.anatomy import KNUCKLE, anatomical
from handcoach_train.render.arm import FIRST, INDEX, Bodies, hand_axes, joints_of, palm_normal

pytest.importorskip("pygltflib")
from tiny import godot as tiny_godot

ASSETS = Path(__file__).parents[3] / "shared" / "data" / "assets" / "godot_hands"


def test_knuckles_move_to_the_heads_of_the_metacarpals(tmp_path):
    arm = arms.arm(tmp_path, 12.0)
    # More skin than boxes have, to tell the depth of a knuckle by: a sheet over the back of the hand.
    x, y = np.meshgrid(np.linspace(-0.05, 0.04, 30), np.linspace(0, 0.1, 30))
    back = np.stack([x.ravel(), y.ravel(), np.full(x.size, -0.012)], 1)
    vertices = np.concatenate([arm.vertices, back])
    weights = np.zeros((len(vertices), arm.weights.shape[1]))
    weights[: len(arm.weights)] = arm.weights
    weights[len(arm.weights) :, INDEX["metacarpal2"]] = 1
    heads, tails, moved = anatomical(vertices, arm.heads, arm.tails, weights)
    np.testing.assert_allclose(moved.sum(1), 1)
    assert (moved >= -1e-12).all()
    size = np.linalg.norm(arm.heads[FIRST[2]])
    for first in FIRST[1:]:
        shift = heads[first] - arm.heads[first]
        assert shift[1] == pytest.approx(-KNUCKLE * size, rel=0.2)  # towards the wrist
        np.testing.assert_array_equal(tails[first - 1], heads[first])
        assert (heads[first] - back[0])[2] == pytest.approx(0.1 * size, abs=1e-6)  # under the back's skin
    # The skin above the new knuckle follows the finger, that of the palm's middle does not.
    beyond = (weights[:, INDEX["metacarpal2"]] == 1) & (
        vertices[:, 1] > heads[FIRST[2]][1] + 0.09 * size + 1e-9
    )
    assert beyond.any() and (moved[beyond, FIRST[2]] == 1).all()
    before = (weights[:, INDEX["metacarpal2"]] == 1) & (
        vertices[:, 1] < heads[FIRST[2]][1] - 0.09 * size - 1e-9
    )
    assert before.any() and (moved[before, FIRST[2]] == 0).all()


def test_the_hands_axes_are_right_handed(tmp_path):
    arm = arms.arm(tmp_path, 0.0)
    axes = hand_axes(arm.joints)
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(axes) == pytest.approx(1)
    np.testing.assert_allclose(axes[2], palm_normal(arm.joints), atol=1e-12)
    assert axes[0] @ (arm.joints[5] - arm.joints[17]) > 0


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Bodies:
    """Six people of the made-up glTF hand, through the command and the file."""
    folder = tmp_path_factory.mktemp("godot")
    tiny_godot.write(folder)
    assert (
        main(["bake", str(folder / "a.npz"), "--mesh", "godot", "--godot", str(folder), "--count", "6"]) == 0
    )
    return Bodies(folder / "a.npz")


def test_a_gltf_hand_becomes_right_arms(made):
    assert len(made) == 6 and {made.mesh(i) for i in range(6)} == {"godot"}
    lengths = []
    for i in range(6):
        arm = made.arm(i)
        np.testing.assert_allclose(arm.weights.sum(1), 1, atol=1e-6)
        np.testing.assert_allclose(arm.joints[0], 0, atol=1e-7)
        assert arm.corners.max() < len(arm.corner) and arm.triangles.max() < len(arm.vertices)
        assert arm.traits[:, 3].max() > 0.1  # a forearm has grown from the wrist
        assert (arm.joints[[8, 12, 16, 20]] - arm.joints[[5, 9, 13, 17]]) @ palm_normal(arm.joints) @ np.ones(
            4
        ) > 0
        assert arm.joints[4] @ hand_axes(arm.joints)[0] > 0  # the thumb is on the index's side
        lengths.append(np.linalg.norm(np.diff(arm.joints[9:13], axis=0), axis=1).sum())
    assert np.ptp(lengths) > 0.003  # people differ


def test_a_fingers_end_is_its_tip(made):
    # OpenXR's tip lies in the finger: at 0.7 of the made-up last bone, with skin 3 mm beyond it.
    arm = made.arm(0)
    last = FIRST[2] + 2
    axis = (arm.tails[last] - arm.heads[last]) / np.linalg.norm(arm.tails[last] - arm.heads[last])
    end = ((arm.vertices[arm.weights[:, last] > 0.5] - arm.heads[last]) @ axis).max()
    assert np.linalg.norm(arm.tails[last] - arm.heads[last]) == pytest.approx(end, abs=0.002)


@pytest.mark.skipif(not ASSETS.is_dir(), reason="the Godot hands are not here")
def test_the_real_hand_has_an_adults_proportions(tmp_path):
    out = tmp_path / "b.npz"
    assert main(["bake", str(out), "--mesh", "godot", "--godot", str(ASSETS), "--count", "3"]) == 0
    people = Bodies(out)
    for i in range(3):
        arm = people.arm(i)
        bones = np.linalg.norm(np.diff(arm.joints[9:13], axis=0), axis=1) / np.linalg.norm(arm.joints[9])
        # Buryanov & Kotiuk 2010: 45, 26 and 21 mm of 92.
        np.testing.assert_allclose(bones, [0.48, 0.29, 0.24], atol=0.09)
        assert set(np.unique(arm.traits[:, 1])) == {0, 1}  # nails are told from skin
        pose = posture.Pose(
            np.tile([80.0, 95, 50], (4, 1)), np.zeros(4), np.array([5.0, 38, 0, 0, 0]), np.zeros(3)
        )
        vertices, joints = posture.bend(arm, pose)
        assert np.isfinite(vertices).all()
        tips = joints[[8, 12, 16, 20]] - joints[[5, 9, 13, 17]]
        assert (tips @ palm_normal(joints) > 0).all()


def test_an_interrupted_making_of_people_leaves_no_file_that_looks_whole(tmp_path, monkeypatch):
    """Half of the people under the final name would be taken for all of them."""

    class Child:
        exitcode = 0

        def __init__(self, target, args):
            self.path = args[0]

        def start(self):
            np.savez(self.path, count=np.zeros(1))

        def join(self):
            pass

    class Context:
        Process = Child

    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(people.multiprocessing, "get_context", lambda how: Context)
    monkeypatch.setattr(people.godot_hands, "people", interrupted)
    with pytest.raises(KeyboardInterrupt):
        people.bodies(tmp_path / "bodies.npz", 10, 0, "mixed", tmp_path)
    assert not list(tmp_path.iterdir())


def test_baked_arms_are_the_arms(tmp_path, monkeypatch):
    # Half floats: the vertices are good to a tenth of a millimetre, the joints to a thousandth.
    arms.write_bodies(tmp_path / "plain.npz", 3)
    plain = Bodies(tmp_path / "plain.npz")
    monkeypatch.setattr(people, "bodies", lambda *_: Bodies(tmp_path / "plain.npz"))
    size = people.bake(tmp_path / "new" / "baked.npz", 3, 0)
    assert size == (tmp_path / "new" / "baked.npz").stat().st_size
    baked = Bodies(tmp_path / "new" / "baked.npz")
    assert baked.data["vertices"].dtype == np.float16
    for i in range(3):
        np.testing.assert_allclose(baked.arm(i).vertices, plain.arm(i).vertices, atol=1.2e-4)
        np.testing.assert_allclose(baked.arm(i).joints, plain.arm(i).joints, atol=1e-6)
        np.testing.assert_array_equal(baked.arm(i).triangles, plain.arm(i).triangles)


def test_old_files_of_arms_are_taken_as_they_are(tmp_path):
    arms.write_bodies(tmp_path / "plain.npz", 2)
    people = Bodies(tmp_path / "plain.npz")
    assert [people.mesh(i) for i in range(2)] == ["anny", "anny"]
    heads, tails = people.data["heads"][1], people.data["tails"][1]
    np.testing.assert_allclose(people.arm(1).joints, joints_of(heads, tails), atol=1e-6)


@pytest.mark.parametrize(
    "options, word",
    [
        (["x.txt"], ".npz"),
        (["x.npz", "--count", "0"], "--count"),
        (["x.npz", "--mesh", "mixed"], "--godot"),
        (["x.npz", "--godot", "nowhere"], "does not hold the Godot hands"),
    ],
)
def test_what_cannot_be_baked_is_refused(tmp_path, monkeypatch, capsys, options, word):
    monkeypatch.chdir(tmp_path)
    assert main(["bake", *options]) == 2
    error = capsys.readouterr().err
    assert word in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())
