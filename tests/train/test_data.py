"""Reading data and cutting it out: the truth lies where the picture shows it, whatever is done to both."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from tiny.hanco import write_frame
from tiny.hands import template

from handcoach.crop import Crop
from handcoach.hand import normalise
from handcoach_train import data
from handcoach_train.data import PHOTOS_HELD_OUT, Draw, FinderSet, LandmarkSet, Samples, held_out
from handcoach_train.errors import TrainError
from handcoach_train.networks import FinderNet

JOINTS = template(0.4) * 0.09 + [0.02, -0.01, 0.6]  # metres, camera axes


def rotation(seed: int) -> np.ndarray:
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return q * np.sign(np.linalg.det(q))


def write_hanco(root: Path, sequences: int = 2, frames: int = 2, cameras: int = 3) -> Path:
    """A HanCo folder of one hand, each camera turned and moved in its own way."""
    k = [[[200.0 + 10 * c, 0, 110.0 + c], [0, 210.0, 112.0], [0, 0, 1]] for c in range(cameras)]
    m = np.tile(np.eye(4), (cameras, 1, 1))
    for c in range(cameras):
        m[c, :3, :3] = rotation(c)
        m[c, :3, 3] = [0.01 * c, 0.02, 0.5]
    grey = np.full((224, 224, 3), 90, np.uint8)
    for s in range(sequences):
        for f in range(frames):
            write_frame(
                root, s, f, JOINTS - [0, 0, 0.6], k, m, picture=lambda file: cv2.imwrite(str(file), grey)
            )
    return root


def test_hanco_is_read_by_the_papers_equations(tmp_path):
    samples = data.load_hanco(write_hanco(tmp_path))
    assert len(samples) == 2 * 2 * 3
    assert samples.right.all()
    assert set(samples.group) == {f"{tmp_path.name}/0000", f"{tmp_path.name}/0001"}
    for i, file in enumerate(samples.files):
        c = int(file.parent.name.removeprefix("cam"))
        assert file.is_file()
        calibration = json.loads((tmp_path / "calib/0000/00000000.json").read_text())
        for j in range(21):  # eq. 1: homogeneous, joint by joint
            world = np.append(JOINTS[j] - [0, 0, 0.6], 1.0)
            camera = np.array(calibration["M"][c]) @ world
            np.testing.assert_allclose(samples.joints[i, j], camera[:3], atol=1e-6)
            pixel = np.array(calibration["K"][c]) @ camera[:3]
            np.testing.assert_allclose(samples.points[i, j], pixel[:2] / pixel[2], atol=1e-3)
        # eq. 2-4: wrist at the origin, wrist to middle MCP of length 1, nothing else changed
        landmarks, root, scale = normalise(samples.joints[i])
        np.testing.assert_allclose(landmarks * scale + root, samples.joints[i], atol=1e-6)
        np.testing.assert_allclose(landmarks[0], 0)
        assert np.linalg.norm(landmarks[9]) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    "harm, word",
    [
        (lambda r: (r / "xyz/0001/00000001.json").write_text("{"), "00000001.json is not JSON"),
        (lambda r: (r / "calib/0001/00000000.json").write_text("[1, 2"), "00000000.json is not JSON"),
        (lambda r: (r / "calib/0001/00000000.json").unlink(), "00000000.json is missing"),
        (lambda r: (r / "xyz/0000/00000000.json").write_text("[[1, 2, 3]]"), "21 joints"),
        (lambda r: (r / "xyz/0000/00000000.json").write_text("[[1, 2], [3]]"), "21 joints"),
        (lambda r: (r / "calib/0000/00000000.json").write_text('{"K": []}'), "21 joints"),
        (lambda r: (r / "calib/0000/00000000.json").write_text("[]"), "21 joints"),
    ],
)
def test_damaged_labels_are_named(tmp_path, harm, word):
    harm(write_hanco(tmp_path))
    with pytest.raises(TrainError, match=word):
        data.load_hanco(tmp_path)


def test_as_many_intrinsics_as_extrinsics(tmp_path):
    file = write_hanco(tmp_path) / "calib/0000/00000001.json"
    calibration = json.loads(file.read_text())
    calibration["M"].pop()
    file.write_text(json.dumps(calibration))
    with pytest.raises(TrainError, match="00000001"):
        data.load_hanco(tmp_path)


def test_folders_that_are_not_hanco(tmp_path):
    with pytest.raises(TrainError, match="HanCo layout"):
        data.load_hanco(tmp_path)
    write_hanco(tmp_path / "a")
    with pytest.raises(TrainError, match="rgb_homo"):
        data.load_hanco(tmp_path / "a", "rgb_homo")
    (tmp_path / "b/xyz").mkdir(parents=True)
    (tmp_path / "b/calib").mkdir()
    (tmp_path / "b/rgb_merged").mkdir()
    with pytest.raises(TrainError, match="no labelled frames"):
        data.load_hanco(tmp_path / "b")


def test_a_missing_or_broken_picture_is_named_when_read(tmp_path):
    samples = data.load_hanco(write_hanco(tmp_path))
    samples.files[3].unlink()
    samples.files[4].write_bytes(b"no picture")
    items = LandmarkSet(samples, 32, False)
    assert items[0]["image"].shape == (32, 32, 3)
    for i in (3, 4):
        with pytest.raises(TrainError, match=str(samples.files[i])):
            items[i]


def test_held_out_are_whole_groups():
    n = 200
    rng = np.random.default_rng(0)
    samples = Samples(
        [Path(f"{i}.png") for i in range(n)],
        np.zeros((n, 21, 2), np.float32),
        np.zeros((n, 21, 3), np.float32),
        np.zeros((n, 3, 3), np.float32),
        np.ones(n, bool),
        np.array([f"s{g}" for g in rng.integers(0, 20, n)]),
    )
    out = held_out(samples.group, 0.2)
    training, validation = samples.take(~out), samples.take(out)
    assert not set(training.group) & set(validation.group)
    assert len(set(validation.group)) == 4
    assert sorted(training.files + validation.files) == sorted(samples.files)
    np.testing.assert_array_equal(held_out(samples.group, 0.2), out)
    assert (held_out(samples.group, 0.2, seed=1) != out).any()
    assert len(data.join([training, validation])) == n
    with pytest.raises(TrainError, match="No training data"):
        data.join([])


def test_photographs_are_held_out_by_recording():
    groups = np.repeat([f"r{i}" for i in range(12)], 5)
    out = held_out(groups, PHOTOS_HELD_OUT)
    assert out.sum() == 15
    assert all(len(set(out[groups == g])) == 1 for g in set(groups))
    np.testing.assert_array_equal(out, held_out(groups, PHOTOS_HELD_OUT))


K = np.array([[500.0, 0, 320], [0, 500, 240], [0, 0, 1]], np.float32)


def test_target_is_what_the_runtime_undoes():
    rng = np.random.default_rng(1)
    for n in range(30):
        joints = (JOINTS - JOINTS[0]) @ rotation(n).T + [0.1, -0.05, 0.6]
        crop = Crop(
            *rng.uniform([0, 0], [640, 480]),
            rng.uniform(50, 400),
            rng.uniform(-3, 3),
            bool(rng.random() < 0.5),
        )
        landmarks = data.target(crop, joints.astype(np.float32), K)
        back = crop.to_camera(landmarks, 640, 480, 500.0)
        np.testing.assert_allclose(back, normalise(joints)[0], atol=2e-6)
        np.testing.assert_allclose(
            landmarks, crop.from_camera(normalise(joints)[0], 640, 480, 500.0), atol=2e-6
        )


@pytest.fixture
def plain(monkeypatch):
    """No change of colour, so that dots can be found again."""
    for module in ("cutouts", "frames"):
        monkeypatch.setattr(f"handcoach_train.data.{module}.colour", lambda image, rng: image)


def dot(image: np.ndarray) -> np.ndarray | None:
    """Centre (2,) of the light in a picture, in pixels with whole numbers at the pixels' borders."""
    weight = np.asarray(image, float).sum(2)
    if weight.sum() < 500:
        return None
    y, x = np.mgrid[: weight.shape[0], : weight.shape[1]] + 0.5
    return np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()


def painted(folder: Path, joint: int, side: str, far: bool = False) -> Samples:
    """A picture of one hand, black but for a dot at one joint. `far`: seen as by a telescope."""
    joints = (JOINTS - JOINTS[9]) @ cv2.Rodrigues(np.array([0.5, -0.3, 0.9]))[0].T
    if side == "left":
        joints = joints * [-1, 1, 1]
    depth = 200.0 if far else 0.6
    k = K.copy()
    k[[0, 1], [0, 1]] *= depth / 0.6
    joints = joints + np.array([0, 0, depth])
    points = (joints @ k.T)[:, :2] / joints[:, 2:]
    image = np.zeros((480, 640, 3), np.uint8)
    # OpenCV's whole numbers are pixel centres; 4 bits of fraction.
    cv2.circle(
        image, tuple(((points[joint] - 0.5) * 16).astype(int).tolist()), 3 * 16, (255, 255, 255), -1, 16, 4
    )
    file = folder / f"{joint}-{side}-{far}.png"
    cv2.imwrite(str(file), image)
    return Samples(
        [file], points[None].astype(np.float32), joints[None].astype(np.float32), k[None],
        np.array([side == "right"]), np.array(["g"]),
    )  # fmt: skip


@pytest.mark.parametrize("roll", [True, False])
@pytest.mark.parametrize("side", ["right", "left"])
def test_augmented_points_lie_on_the_painted_joint(tmp_path, plain, side, roll):
    sides, seen = set(), 0
    for joint in (0, 4, 9, 20):
        samples = painted(tmp_path, joint, side)
        for training in (True, False):
            items = LandmarkSet(samples, 96, training, roll)
            for place in range(12 if training else 1):
                item = items[Draw(0, place)]
                where = dot(item["image"])
                expected = item["points"][joint] * 96
                if where is None or (expected < 3).any() or (expected > 93).any():
                    continue
                np.testing.assert_allclose(where, expected, atol=0.35)
                sides.add(float(item["right"]))
                seen += 1
    assert seen > 30 and sides == {0.0, 1.0}


def test_augmented_landmarks_turn_with_the_picture(tmp_path, plain):
    """Seen from afar, x and y of the landmarks are the points, scaled and shifted: neither turned nor flipped
    against them, in cut-outs as given as well as mirrored ones."""
    for side in ("right", "left"):
        items = LandmarkSet(painted(tmp_path, 9, side, far=True), 64, True)
        for place in range(20):
            item = items[Draw(0, place)]
            a = item["landmarks"][:, :2] - item["landmarks"][:, :2].mean(0)
            b = item["points"] - item["points"].mean(0)
            scale = (a * b).sum() / (a * a).sum()
            assert scale > 0
            np.testing.assert_allclose(a * scale, b, atol=0.01)
            # And `right` says which hand the cut-out shows: the palm's normal of a left hand is flipped.
            p = item["landmarks"]
            bent = (p[[8, 12, 16]] - p[[5, 9, 13]]).mean(0)
            towards_palm = bent @ np.cross(p[5], p[17]) > 0
            assert towards_palm == bool(item["right"])


def ways(items: LandmarkSet, count: int) -> np.ndarray:
    """How far hands are turned from upright in so many of their cut-outs, radians."""
    up = np.array([p[9] - p[0] for p in (items[Draw(0, place)]["points"] for place in range(count))])
    return np.arctan2(np.abs(up[:, 0]), -up[:, 1])


def test_cut_outs_are_turned_a_little_and_upright_ones_more_so_in_training(tmp_path, plain):
    """A network whose cut-outs are not turned with the hand meets hands that lean."""
    far = painted(tmp_path, 9, "right", far=True)
    assert ways(LandmarkSet(far, 32, False, roll=True), 1) < 0.3
    assert 0.08 < ways(LandmarkSet(far, 32, True, roll=True), 60).mean() < 0.25
    at_rest, leaning = (ways(LandmarkSet(far, 32, train, roll=False), 60).std() for train in (False, True))
    assert at_rest < 0.01 and leaning > 0.3


def test_in_training_some_hands_are_shown_as_the_other_sides_and_some_half(tmp_path, plain):
    for side in ("right", "left"):
        samples = painted(tmp_path, 9, side)
        items = [LandmarkSet(samples, 32, True)[Draw(0, place)] for place in range(120)]
        assert 0.13 < np.mean([item["right"] == 0 for item in items]) < 0.27
        half = [item for item in items if not item["presence"]]
        assert 1 <= len(half) <= 10
        outside = [((item["points"] < 0) | (item["points"] > 1)).any(1).mean() for item in half]
        assert min(outside) > 0.4
    alike = LandmarkSet(samples, 32, True, other_side=0.5)
    assert 0.35 < np.mean([alike[Draw(0, place)]["right"] for place in range(60)]) < 0.65
    assert all(LandmarkSet(samples, 32, False, seed=seed)[0]["presence"] for seed in range(5))


def test_validation_is_the_same_every_time(tmp_path):
    items = LandmarkSet(painted(tmp_path, 9, "right"), 64, False, seed=1)
    again = LandmarkSet(items.samples, 64, False, seed=2)
    for name, value in items[0].items():
        np.testing.assert_array_equal(value, again[Draw(0, 3)][name])


def test_a_training_item_depends_on_seed_place_and_number_alone(tmp_path):
    samples = data.join([painted(tmp_path, 9, "right")] * 4)

    def batch(seed: int, place: int, workers: int = 0) -> dict[str, torch.Tensor]:
        """Four items, at four places."""
        draws = [Draw(i, place + i) for i in range(4)]
        items = LandmarkSet(samples, 48, True, seed=seed)
        (loaded,) = torch.utils.data.DataLoader(items, 4, sampler=draws, num_workers=workers)
        return loaded

    alone = batch(5, 8)
    again = batch(5, 8, workers=2)
    assert all(torch.equal(alone[k], again[k]) for k in ("points", "image"))
    drawn = torch.cat([alone["points"], batch(5, 12)["points"], batch(6, 8)["points"]]).flatten(1)
    assert len(drawn.unique(dim=0)) == 12  # no two items, places or seeds draw alike


def test_a_draw_may_ask_for_another_size(tmp_path):
    items = LandmarkSet(painted(tmp_path, 9, "right"), 64, True)
    small, usual = items[Draw(0, 3, 32)], items[Draw(0, 3)]
    assert small["image"].shape == (32, 32, 3) and usual["image"].shape == (64, 64, 3)
    np.testing.assert_array_equal(small["points"], usual["points"])  # the same cut-out


def test_items_have_their_types(tmp_path):
    item = LandmarkSet(painted(tmp_path, 9, "right"), 64, True)[0]
    batch = torch.utils.data.default_collate([item, item])
    assert batch["image"].dtype == torch.uint8 and batch["image"].shape == (2, 64, 64, 3)
    assert {k: v.dtype for k, v in batch.items() if k != "image"} == {
        k: torch.float32 for k in ("landmarks", "points", "presence", "right", "known3d", "lifted")
    }


def test_a_hand_without_depth_has_none(tmp_path):
    frames = [{"file": painted(tmp_path, 9, "left").files[0], "group": "g",
               "hands": [{"points": (JOINTS[:, :2] * 500 + 250).tolist(), "side": "left"},
                         {"box": [0, 0, 9, 9], "points": None, "side": None}]}]  # fmt: skip
    samples = data.photo_samples(frames)
    assert len(samples) == 1 and not samples.right[0]
    item = LandmarkSet(samples, 64, True)[0]
    assert item["known3d"] == 0 and not item["landmarks"].any()
    assert len(data.photo_samples([])) == 0


def test_emptiness_keeps_away_from_hands(tmp_path, plain):
    image = np.zeros((240, 320, 3), np.uint8)
    image[100:140, 100:160] = 255  # the hand
    cv2.imwrite(str(tmp_path / "e.png"), image)
    empty = [{"file": tmp_path / "e.png", "boxes": [[100, 100, 160, 140]]}]
    items = LandmarkSet(painted(tmp_path, 9, "right"), 48, True, True, empty, empty_share=1.0)
    for place in range(20):
        item = items[Draw(0, place)]
        assert item["presence"] == 0 and item["known3d"] == 0 and item["right"] == 0.5
        assert item["image"].mean() < 255 * 0.3
    rng = np.random.default_rng(0)
    for _ in range(300):  # also where the square is turned, and its corners reach farther
        shown, crop = items._anywhere(rng)
        assert crop.cut(shown, 64).mean() / 255 * crop.size**2 < 0.15 * 60 * 40


def test_colours_differ_as_cameras_do_and_what_is_seen_stays():
    image = np.random.default_rng(0).integers(60, 190, (50, 40, 3), dtype=np.uint8)
    kept = image.copy()
    changed = [data.colour(image, np.random.default_rng(seed)) for seed in range(100)]
    assert {(c.shape, c.dtype) for c in changed} == {(image.shape, image.dtype)}
    np.testing.assert_array_equal(image, kept)
    means = np.array([c.mean((0, 1)) for c in changed])
    light = means.mean(1)
    assert np.ptp(light) > 80 and abs(np.median(light) - image.mean()) < 25  # too dark, too bright
    assert np.median(means.std(1)) > 2  # white balance
    alike = [np.corrcoef(c.ravel(), image.ravel())[0, 1] for c in changed]
    assert 0.5 < np.median(alike) < 0.99


def test_only_what_is_trained_on_changes_its_colours(tmp_path, monkeypatch):
    for module in ("cutouts", "frames"):
        monkeypatch.setattr(f"handcoach_train.data.{module}.colour", lambda image, rng: image * 0 + 77)
    samples = painted(tmp_path, 9, "right")
    frame = {"file": samples.files[0], "group": "g", "hands": []}
    empty = [{"file": samples.files[0], "boxes": []}]
    nothing = LandmarkSet(samples, 32, True, empty=empty, empty_share=1.0)[0]
    assert not nothing["presence"] and (nothing["image"] == 77).all()
    for train in (True, False):
        for items in (LandmarkSet(samples, 32, train), FinderSet([frame], 32, 32, train)):
            assert (items[0]["image"] == 77).all() == train


def write_labels(file: Path, photos: dict) -> Path:
    file.write_text(json.dumps({"format": 1, "by": "test", "photos": photos}))
    return file


def hand(x: float = 100, agreement: float | None = 0.05, side: str = "right") -> dict:
    points = (template(0.2)[:, :2] * 40 + [x, 200]).tolist()
    return {"points": points, "side": side, "score": 0.9, "agreement": agreement}


def test_photographs_whose_models_disagree_are_dropped(tmp_path):
    labels = write_labels(
        tmp_path / "l.json",
        {
            "walk_1.jpg": [hand(), hand(300, 0.9)],
            "walk_2.jpg": [hand(100, None)],
            "desk_1.jpg": [hand(), hand(300, side="left")],
            "desk_2.jpg": [],
        },
    )
    frames = data.load_photos(labels, tmp_path / "photos")
    assert [len(f["hands"]) for f in frames] == [1, 0, 2, 0]
    assert [f["complete"] for f in frames] == [False, False, True, False]
    assert [f["group"] for f in frames] == ["photos/walk", "photos/walk", "photos/desk", "photos/desk"]
    assert frames[0]["file"] == tmp_path / "photos/walk_1.jpg"
    assert len(data.load_photos(labels, tmp_path, agree=1.0)[0]["hands"]) == 2


def test_photographs_of_one_folder_are_grouped_by_number(tmp_path):
    labels = write_labels(tmp_path / "l.json", {f"IMG_{n}.jpg": [hand()] for n in (7, 99, 100, 250)})
    frames = data.load_photos(labels, tmp_path)
    groups = [f["group"].rsplit("/", 1)[1] for f in frames]
    assert groups == ["0", "0", "1", "2"]


def test_gathered_photographs_are_grouped_by_folder(tmp_path):
    names = ("asl/ann/IMG_1.jpg", "asl/ann/IMG_2.jpg", "asl/ben/IMG_1.jpg", "rps/ann/x.jpg")
    frames = data.load_photos(write_labels(tmp_path / "l.json", {n: [hand()] for n in names}), tmp_path / "p")
    assert [f["group"] for f in frames] == ["p/asl/ann", "p/asl/ann", "p/asl/ben", "p/rps/ann"]


@pytest.mark.parametrize(
    "text", ["[]", "{}", '{"photos": [1]}', "nothing", '{"photos": {"a": [1]}}', '{"photos": {"a": [{}]}}']
)
def test_labels_of_another_kind_are_refused(tmp_path, text):
    (tmp_path / "l.json").write_text(text)
    with pytest.raises(TrainError, match=r"l\.json"):
        data.load_photos(tmp_path / "l.json", tmp_path)
    with pytest.raises(TrainError, match=r"none\.json"):
        data.load_photos(tmp_path / "none.json", tmp_path)


def test_boxes_complete_a_photograph(tmp_path):
    csv = tmp_path / "boxes.csv"
    csv.write_text("file,fingers,xmin,ymin,xmax,ymax\na.jpg,5,50,100,150,260\na.jpg,2,400,10,500,90\n")
    boxes = data.read_boxes(csv)
    assert boxes == {"a.jpg": [[50, 100, 150, 260], [400, 10, 500, 90]]}
    frames = [{"file": Path("x/a.jpg"), "group": "g", "complete": False, "hands": [hand(100), hand(800)]}]
    (frame,) = data.with_boxes(frames, boxes)
    assert frame["complete"]
    # The hand in a box stays, the one in no box was none, and the box without points stays a box.
    assert frame["hands"][0] == hand(100)
    assert frame["hands"][1] == {"box": [400, 10, 500, 90], "points": None, "side": None}
    assert len(frame["hands"]) == 2
    assert len(boxes["a.jpg"]) == 2  # what was passed in is not used up
    # A photograph of which the file tells nothing keeps its hands, and is no place without any.
    untold = {**frames[0], "file": Path("x/b.jpg")}
    assert data.with_boxes([untold], boxes) == [untold] and data.empty_areas([untold]) == []
    csv.write_text(
        '\ufefffile,xmin,ymin,xmax,ymax\n"a, b.jpg",1,2,3,4\n', encoding="utf-8"
    )  # as spreadsheets do
    assert data.read_boxes(csv) == {"a, b.jpg": [[1, 2, 3, 4]]}
    (area,) = data.empty_areas([frame])
    assert len(area["boxes"]) == 2 and area["boxes"][1] == [400, 10, 500, 90]
    assert data.empty_areas([{**frame, "complete": False}]) == []
    for text in ("", "file,xmin\na.jpg,1", "file,xmin,ymin,xmax,ymax\na.jpg,1,2,3,x"):
        csv.write_text(text)
        with pytest.raises(TrainError, match=r"boxes\.csv"):
            data.read_boxes(csv)


class _Drawn(FinderNet):
    """A finder that draws a given map, to decode it."""

    def __init__(self, item: dict, height: int, width: int) -> None:
        super().__init__(height, width, 3)
        self.maps = torch.from_numpy(item["map"]).clone()
        p = torch.from_numpy(item["heat"]).clamp(1e-4, 1 - 1e-4)
        self.maps[0] = torch.log(p / (1 - p))
        self.maps[1] = self.maps[1] * 20 - 10

    def raw(self, x: torch.Tensor) -> torch.Tensor:
        return self.maps[None]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("side", ["right", "left"])
def test_the_finders_map_decodes_to_the_hand(tmp_path, plain, side, training):
    height, width = 96, 128
    found = 0
    sides = set()
    for joint in (0, 9):
        points = template(0.2)[:, :2] * 60 + [160, 170]
        image = np.zeros((240, 320, 3), np.uint8)
        at = tuple(((points[joint] - 0.5) * 16).astype(int).tolist())
        cv2.circle(image, at, 5 * 16, (255, 255, 255), -1, 16, 4)
        file = tmp_path / f"{side}{joint}.png"
        cv2.imwrite(str(file), image)
        frame = {"file": file, "group": "g", "hands": [{"points": points.tolist(), "side": side}]}
        items = FinderSet([frame], height, width, training)
        for place in range(25 if training else 1):
            item = items[Draw(0, place)]
            if not item["known"].any():
                continue  # moved out of the frame
            with torch.inference_mode():
                blank = torch.zeros(1, height, width, 3, dtype=torch.uint8)
                hands = _Drawn(item, height, width)(blank)[0].numpy()
            assert hands.shape == (3, 7)
            score, right, *place, extent = hands[0]
            assert score > 0.99 and hands[1, 0] < 0.9
            place = np.array(place).reshape(2, 2) * [width, height]
            expected = place[0 if joint == 0 else 1]
            where = dot(item["image"])
            if where is not None and (expected > 4).all() and (expected < [width - 4, height - 4]).all():
                np.testing.assert_allclose(where, expected, atol=0.4)
                found += 1
            # The same similarity for all: extent and wrist-to-knuckle keep their ratio.
            hand_length = np.linalg.norm(points - points[9], axis=1).max() / np.linalg.norm(
                points[9] - points[0]
            )
            assert extent * width / np.linalg.norm(place[1] - place[0]) == pytest.approx(
                hand_length, rel=1e-3
            )
            sides.add(right > 0.5)
            if not training:
                assert (right > 0.5) == (side == "right")
                np.testing.assert_allclose(place[1], points[9] * 0.4, atol=0.01)
    assert found > (12 if training else 1)
    assert len(sides) == (2 if training else 1)  # frames are flipped as often as not


def test_the_finders_map_with_two_hands_and_a_box(tmp_path):
    cv2.imwrite(str(tmp_path / "f.png"), np.zeros((240, 320, 3), np.uint8))
    small = template(0)[:, :2] * 30
    hands = [
        {"points": (small + np.array([60, 150])).tolist(), "side": "right"},
        {"points": (small + np.array([240, 150])).tolist(), "side": "left"},
        {"box": [140, 20, 180, 60], "points": None, "side": None},
    ]
    item = FinderSet([{"file": tmp_path / "f.png", "group": "g", "hands": hands}], 96, 128, False)[0]
    peaks = [tuple(p) for p in np.argwhere(item["heat"] >= 0.999)]
    assert len(peaks) == 3
    known = {p: bool(item["known"][p]) for p in peaks}
    assert sorted(known.values()) == [False, True, True]
    (box,) = [p for p, k in known.items() if not k]
    assert box == (int(40 * 0.4 / 8), int(160 * 0.4 / 8))
    assert {float(item["map"][1][p]) for p, k in known.items() if k} == {0.0, 1.0}
    left, right = sorted((p for p, k in known.items() if k), key=lambda p: p[1])
    assert item["map"][1][left] == 1.0 and item["map"][1][right] == 0.0
    item = FinderSet([{"file": tmp_path / "f.png", "group": "g", "hands": []}], 96, 128, True)[0]
    assert not item["heat"].any() and not item["known"].any()


def test_full_frames_are_read(tmp_path):
    with pytest.raises(TrainError, match="full frames"):
        data.load_frames(tmp_path)
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/000003.json").write_text(json.dumps({"size": [64, 48], "hands": []}))
    (frame,) = data.load_frames(tmp_path)
    assert frame["file"] == tmp_path / "frames/000003.jpg" and frame["hands"] == []
