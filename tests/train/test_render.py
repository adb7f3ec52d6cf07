"""Real renderings of made-up arms: layout, truth, and the same bytes however the work is shared.

OpenGL stays in child processes: Mesa's LLVM and torch's do not live in one.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny import arms
from tiny.hands import template

from handcoach_train.cli import main
from handcoach_train.render import posture, scene, starter
from handcoach_train.render.arm import palm_normal
from handcoach_train.render.write import FRAMES_PER_SEQUENCE, Job

pytest.importorskip("moderngl")

SIZE = 64


def _child(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module", autouse=True)
def egl() -> None:
    code = "import moderngl; moderngl.create_context(standalone=True, backend='egl')"
    tried = _child("-c", code)
    if tried.returncode:
        pytest.skip(f"no OpenGL without a screen: {tried.stderr.strip().splitlines()[-1:]}")


def render(out: Path, count: int, *options: str) -> Path:
    """A rendering by the command, of made-up people instead of anny's."""
    out.mkdir(parents=True, exist_ok=True)
    if not (out / "bodies.npz").exists():
        arms.write_bodies(out / "bodies.npz", Job(out, count).people)
    done = _child(
        "-m", "handcoach_train.cli", "render", str(out), "--count", str(count), "--size", str(SIZE), *options
    )
    assert done.returncode == 0, done.stderr
    return out


def contents(folder: Path) -> dict[str, bytes]:
    return {
        f.relative_to(folder).as_posix(): f.read_bytes()
        for f in sorted(folder.rglob("*"))
        if f.is_file() and f.name != "bodies.npz"
    }


@pytest.fixture(scope="module")
def hanco(tmp_path_factory) -> Path:
    """32 pictures: four frames by eight cameras, drawn by one process."""
    return render(tmp_path_factory.mktemp("render") / "one", 32, "--workers", "1")


def test_the_layout_is_hanco(hanco):
    meta = json.loads((hanco / "meta.json").read_text())
    assert set(meta) == {"is_train", "subject_id", "is_valid", "object_id", "has_fit"}
    assert meta["is_train"] == [[True] * 4] and meta["object_id"] == [[None] * 4]
    for frame in range(4):
        name = f"0000/{frame:08d}.json"
        joints = np.array(json.loads((hanco / "xyz" / name).read_text()))
        calibration = json.loads((hanco / "calib" / name).read_text())
        assert joints.shape == (21, 3)
        assert 0.05 < np.linalg.norm(joints[9] - joints[0]) < 0.13  # metres
        assert np.array(calibration["K"]).shape == (8, 3, 3)
        m = np.array(calibration["M"])
        assert m.shape == (8, 4, 4)
        np.testing.assert_allclose(m[:, :3, :3] @ m[:, :3, :3].transpose(0, 2, 1), [np.eye(3)] * 8, atol=1e-5)
        np.testing.assert_allclose(np.linalg.det(m[:, :3, :3]), 1, atol=1e-5)
        for variant in ("rgb", "rgb_merged"):
            for camera in range(8):
                image = cv2.imread(str(hanco / variant / f"0000/cam{camera}/{frame:08d}.jpg"))
                assert image.shape == (SIZE, SIZE, 3)
    assert not list(hanco.rglob("*.partial"))


def test_sequences_are_ten_frames_of_one_person(tmp_path):
    job = Job(tmp_path, 8 * 23)
    assert FRAMES_PER_SEQUENCE == 10
    assert job.frames == 23


def test_projected_joints_lie_on_the_hand(hanco):
    hits, upside_down = [], []
    for label in sorted((hanco / "xyz").rglob("*.json")):
        joints = np.array(json.loads(label.read_text()))
        calibration = json.loads((hanco / "calib" / label.parent.name / label.name).read_text())
        for camera, (k, m) in enumerate(zip(calibration["K"], calibration["M"], strict=True)):
            seen = joints @ np.array(m)[:3, :3].T + np.array(m)[:3, 3]
            assert (seen[:, 2] > 0.1).all()
            points = (seen @ np.array(k).T)[:, :2] / seen[:, 2:]
            assert (points > 0).all() and (points < SIZE).all()
            image = cv2.imread(str(hanco / "rgb" / label.parent.name / f"cam{camera}" / f"{label.stem}.jpg"))
            blue, green, red = (image[..., i].astype(int) for i in range(3))
            background = (green > red + 20) & (green > blue + 20)
            assert 0.2 < background.mean() < 0.95
            x, y = np.clip(points.astype(int).T, 0, SIZE - 1)
            hits.append(1 - background[y, x].mean())
            upside_down.append(1 - background[SIZE - 1 - y, SIZE - 1 - x].mean())
    assert np.mean(hits) > 0.9 > np.mean(upside_down) + 0.2


def test_the_worlds_hand_is_a_right_hand(tmp_path, hanco):
    # In every camera's axes too, since M is a rotation: bent fingertips are on the palm's side.
    out = render(tmp_path / "fist", 8, "--workers", "1", "--posture", "fist")
    joints = np.array(json.loads((out / "xyz/0000/00000000.json").read_text()))
    tips = joints[[8, 12, 16, 20]] - joints[[5, 9, 13, 17]]
    assert (tips @ palm_normal(joints) > 0).all()


def test_two_workers_write_the_same_bytes(hanco, tmp_path):
    two = render(tmp_path / "two", 32, "--workers", "2")
    one, other = contents(hanco), contents(two)
    assert one.keys() == other.keys() and len(one) == 2 * 32 + 3 * 4 + 2
    assert [n for n in one if one[n] != other[n]] == []


def test_an_interrupted_rendering_goes_on(hanco, tmp_path):
    out = tmp_path / "again"
    shutil.copytree(hanco, out)
    before = contents(out)
    # As a stop leaves it: the truth of a frame is written last.
    (out / "xyz/0000/00000002.json").unlink()
    (out / "calib/0000/00000002.json").unlink()
    (out / "rgb_merged/0000/cam7/00000002.jpg").write_bytes(b"half a pict")
    (out / "xyz/0000/00000001.json").unlink()
    (out / "meta.json").unlink()
    kept = out / "rgb/0000/cam0/00000000.jpg"
    time = kept.stat().st_mtime_ns
    render(out, 32, "--workers", "1")
    assert contents(out) == before
    assert kept.stat().st_mtime_ns == time  # what was there is not drawn again


@pytest.mark.parametrize(
    "options, word",
    [
        (["--seed", "1"], "another rendering"),
        (["--view", "exercise"], "another rendering"),
        (["--skins", "/nowhere"], "not a folder"),
        (["--hdri", "/nowhere"], "not a folder"),
        (["--posture", "salute"], "unknown"),
        (["--skins", str(Path(__file__).parent)], "no skin textures"),
        (["--hdri", str(Path(__file__).parent)], "no environment maps"),
        (["--godot", str(Path(__file__).parent)], "does not hold the Godot hands"),
        (["--mesh", "mixed"], "--godot"),
        (["--bodies", "/nowhere.npz"], "not a file"),
    ],
)
def test_what_does_not_fit_is_refused(hanco, capsys, options, word):
    before = sorted(contents(hanco))
    assert main(["render", str(hanco), "--count", "32", "--size", str(SIZE), *options]) == 2
    error = capsys.readouterr().err
    assert word in error and error.count("\n") == 1
    assert sorted(contents(hanco)) == before


def test_a_disk_that_is_too_small_is_refused(tmp_path, capsys, monkeypatch):
    # 8000 pictures of 224 x 224, twice each, are more than 100 MB, and not as much as 5 GB.
    free = shutil.disk_usage(tmp_path)._replace(free=100_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: free)
    assert main(["render", str(tmp_path / "new" / "set")]) == 2
    error = capsys.readouterr().err
    assert "GB free" in error and "--count" in error and error.count("\n") == 1
    assert not (tmp_path / "new").exists()
    needed = float(error.split("about ")[1].split(" GB")[0])
    assert 0.1 < needed < 5


def test_bodies_that_are_none_are_refused(tmp_path, capsys):
    for name, write in (("a.npz", lambda f: f.write_bytes(b"no")), ("b.npz", lambda f: np.savez(f, x=1))):
        write(tmp_path / name)
        out = tmp_path / "out"
        assert main(["render", str(out), "--count", "8", "--bodies", str(tmp_path / name)]) == 2
        assert "does not hold baked arms" in capsys.readouterr().err
        assert not out.exists()


def test_another_renderers_pictures_are_not_added_to(hanco, tmp_path, capsys):
    out = tmp_path / "old"
    shutil.copytree(hanco, out)
    note = json.loads((out / "render.json").read_text())
    (out / "render.json").write_text(json.dumps({**note, "renderer": note["renderer"] - 1}))
    assert main(["render", str(out), "--count", "32", "--size", str(SIZE)]) == 2
    assert "another rendering" in capsys.readouterr().err


def test_each_frame_has_a_note_for_tables_of_figures(hanco):
    notes = [json.loads(f.read_text()) for f in sorted((hanco / "meta/0000").glob("*.json"))]
    assert len(notes) == 4
    for note in notes:
        assert note["person"] == 0 and note["view"] == "any" and note["mesh"] == "anny"
        assert note["skin"] == ("light", "medium", "dark")[min(2, int(note["tone"] * 3))]
        assert note["posture"] in posture.KINDS and len(note["partly_hidden"]) == 8
        assert {type(note[k]) for k in ("sleeve", "band", "ring", "polish", "thing", "textured")} == {bool}


def test_both_meshes_are_drawn_from_baked_arms(tmp_path):
    pytest.importorskip("pygltflib")
    from tiny import godot

    folder = godot.write(tmp_path / "godot")
    bake = ["bake", str(tmp_path / "arms.npz"), "--mesh", "godot", "--godot", str(folder), "--count", "3"]
    assert main(bake) == 0
    done = _child(
        "-m", "handcoach_train.cli", "render", str(tmp_path / "out"), "--count", "160", "--size", str(SIZE),
        "--bodies", str(tmp_path / "arms.npz"), "--godot", str(folder), "--workers", "2",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    notes = [json.loads(f.read_text()) for f in sorted((tmp_path / "out/meta").rglob("*.json"))]
    assert len(notes) == 20 and {n["mesh"] for n in notes} == {"godot"}
    assert any(n["textured"] for n in notes)
    assert json.loads((tmp_path / "out/meta.json").read_text())["subject_id"] == [[0] * 10, [1] * 10]


def test_full_frames_and_their_labels(tmp_path):
    out = render(tmp_path / "full", 40, "--workers", "2", "--full-frames", "--posture", "fist")
    sides, counts = [], []
    for n in range(40):
        label = json.loads((out / "labels" / f"{n:06d}.json").read_text())
        image = cv2.imread(str(out / "frames" / f"{n:06d}.jpg"))
        assert label["size"] == [64, 48] == list(image.shape[1::-1])
        counts.append(len(label["hands"]))
        for hand in label["hands"]:
            points, joints = np.array(hand["points"]), np.array(hand["joints"])
            assert points.shape == (21, 2) and joints.shape == (21, 3)
            np.testing.assert_allclose(hand["box"], [*points.min(0), *points.max(0)], atol=0.011)
            # One pinhole camera with its axis through the middle: points = f * xy / z + centre.
            rays = joints[:, :2] / joints[:, 2:]
            offset = points - [32, 24]
            f = (rays * offset).sum() / (rays * rays).sum()
            assert 0.65 * 64 < f < 1.15 * 64
            np.testing.assert_allclose(offset, f * rays, atol=0.05)
            # A fist's fingertips are on the palm's side, which the joints of a left hand mirror.
            depth = (joints[[8, 12, 16, 20]] - joints[[5, 9, 13, 17]]) @ palm_normal(joints)
            assert hand["side"] == ("right" if depth.mean() > 0 else "left")
            assert (depth > 0).all() or (depth < 0).all()
            sides.append(hand["side"])
    assert set(counts) == {0, 1, 2}
    assert min(sides.count("left"), sides.count("right")) > 8


@pytest.mark.parametrize("left", [False, True])
def test_a_hand_that_is_held_up_mostly_shows_its_palm_whichever_hand_it_is(left):
    joints = template(0.0) * [-1 if left else 1, 1, 1]
    assert (palm_normal(template(0.0))[2] < 0) and (palm_normal(joints)[2] > 0) == left
    rng, palms, ups = np.random.default_rng(0), [], []
    for _ in range(600):
        held = joints @ scene._raised(rng, joints, left).T
        palms.append((palm_normal(held)[2] < 0) != left)
        ups.append(held[9, 1] < 0)  # y points down
    assert 0.68 < np.mean(palms) < 0.82 and np.mean(ups) > 0.95


ROOM = """
import sys
from pathlib import Path
import numpy as np
from handcoach_train.render import draw, scene
studio = scene.Studio(Path(sys.argv[1]), 64, 48, None, None)
paint, seen = studio.painter.paint, []
def look(arms, light, cameras, *more):
    seen.append(cameras[0][1])
    return paint(arms, light, cameras, *more)
studio.painter.paint = look
rng = np.random.default_rng(0)
for view in ("any", "library", "exercise") * 6:
    scene.full_frame(studio, rng, view)
up = np.array([m[:3, :3] @ [0, 0, 1] for m in seen])  # where a room's light comes from
assert len(up) > 12 and (up[:, 1] < -0.4).all(), up
assert len({tuple(m[:3, :3].round(3).ravel()) for m in seen}) == len(seen)
"""


def test_up_is_up_in_whole_frames(tmp_path):
    """The light of a room comes from above, not from behind the hand."""
    arms.write_bodies(tmp_path / "bodies.npz", 3)
    done = _child("-c", ROOM, str(tmp_path / "bodies.npz"))
    assert done.returncode == 0, done.stderr[-2000:]


SLEEVE = """
import dataclasses, sys
from pathlib import Path
import numpy as np
from handcoach_train.render import draw, scene
studio = scene.Studio(Path(sys.argv[1]), 96, 96, None, None)
rng = np.random.default_rng(0)
arm = studio.bodies.arm(0)
light, look = draw.random_light(rng), draw.random_look(rng, studio.painter.of_mesh[arm.mesh])
k, m = np.array([[150.0, 0, 48], [0, 150, 48], [0, 0, 1]]), np.eye(4)
rest = arm.vertices - arm.vertices.mean(0) + [0, 0, 0.6]
def area(loose, mirrored):
    worn = dataclasses.replace(look, sleeve=0.02, loose=loose)
    shown = [(arm, rest * [-1 if mirrored else 1, 1, 1], worn, mirrored)]
    return int((studio.painter.paint(shown, light, [(k, m)])[0][..., 3] > 127).sum())
bare, loose = area(0.0, False), area(0.02, False)
assert loose > 1.05 * bare, (bare, loose)
assert abs(area(0.02, True) - loose) < 0.02 * loose, (bare, loose, area(0.02, True))
"""


def test_a_loose_sleeve_is_wider_than_the_arm_of_either_hand(tmp_path):
    arms.write_bodies(tmp_path / "bodies.npz", 1)
    done = _child("-c", SLEEVE, str(tmp_path / "bodies.npz"))
    assert done.returncode == 0, done.stderr[-2000:]


def test_the_exercise_view_looks_down_on_a_table(tmp_path):
    out = render(tmp_path / "table", 8, "--workers", "1", "--view", "exercise", "--posture", "open")
    joints = np.array(json.loads((out / "xyz/0000/00000000.json").read_text()))
    assert joints[:, 2].min() > -0.01  # the table is z = 0
    assert palm_normal(joints)[2] < -0.8  # the palm lies on it
    m = np.array(json.loads((out / "calib/0000/00000000.json").read_text())["M"])
    eyes = -np.einsum("nji,nj->ni", m[:, :3, :3], m[:, :3, 3])
    assert (eyes[:, 2] > 0.05).all() and (eyes[:, 1] < joints[9, 1]).all()
    assert (m[:, 1, 2] < 0).all()  # up in the world is up in the picture


def test_the_library_view_shows_a_posture_as_its_exercise_does(tmp_path):
    """To eight cameras that differ a little: a network is trained on what the exercises ask for."""
    out = render(tmp_path / "library", 8, "--workers", "1", "--view", "library", "--posture", "wrist_up")
    assert json.loads((out / "meta/0000/00000000.json").read_text())["posture"] == "wrist_up"
    joints = np.array(json.loads((out / "xyz/0000/00000000.json").read_text()))
    calib = json.loads((out / "calib/0000/00000000.json").read_text())
    seen = [joints @ np.array(m)[:3, :3].T + np.array(m)[:3, 3] for m in calib["M"]]
    assert all((np.array(m)[:3, :3] @ [0, 0, 1])[1] < -0.4 for m in calib["M"])  # up in the room is up
    forward = np.array([hand[9] - hand[0] for hand in seen])
    assert (forward[:, 1] < 0).all()  # lifted: y points down
    assert (forward[:, 0] > 0).all()  # and away from a forearm that comes from the left
    assert np.ptp([hand[9, 2] for hand in seen]) > 0.1
    assert len({tuple(way.round(3)) for way in forward}) == 8
    for hand, k in zip(seen, calib["K"], strict=True):
        points = (hand / hand[:, 2:]) @ np.array(k)[:2].T
        assert (points > 0).all() and (points < SIZE).all()


def test_full_frames_of_the_library_show_its_postures(tmp_path):
    """The finder once missed one in twelve of them: it had never seen a hand edge-on, or one that hangs."""
    out = render(tmp_path / "full", 6, "--view", "library", "--full-frames")
    truths = [json.loads(file.read_text())["hands"] for file in sorted((out / "labels").glob("*.json"))]
    assert len(truths) == 6 and all(len(hands) == 1 for hands in truths)
    assert len({hands[0]["posture"] for hands in truths}) > 1
    assert {hands[0]["posture"] for hands in truths} <= set(starter.SHOWN)


def test_a_damaged_note_is_another_rendering(tmp_path, capsys):
    (tmp_path / "render.json").write_text("{half")
    assert main(["render", str(tmp_path), "--count", "8", "--size", str(SIZE)]) == 2
    assert "another rendering" in capsys.readouterr().err


def test_rendering_starts_without_torch():
    """It takes seconds to load, once for every process that renders."""
    code = "import sys, handcoach_train.render.write; sys.exit('torch' in sys.modules)"
    assert _child("-c", code).returncode == 0
