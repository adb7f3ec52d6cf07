"""Data sets as they are on disk: read by their own rules, broken ones named or counted."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")

from tiny.hands import template

from handcoach_train import data
from handcoach_train.errors import TrainError

pytestmark = pytest.mark.usefixtures("one_thread")

JOINTS = template(0.4) * 0.09 + [0.02, -0.01, 0.6]  # metres, camera axes
K = [[60.0, 0, 30], [0, 62.0, 31], [0, 0, 1]]
CAMERAS = 8


def picture(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    cv2.imwrite(str(file), noise)


def write(file: Path, value: object) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(value))


@pytest.fixture(scope="module")
def hanco_once(tmp_path_factory) -> Path:
    """Real HanCo in small: three sequences of two people, eight cameras, two backgrounds; sequence 1 without
    a green screen, one frame not valid, one without a fit and so without a label."""
    root = tmp_path_factory.mktemp("data") / "hanco"
    meta = {
        "is_train": [[True, True], [False, False], [True, True]],
        "is_valid": [[True, False], [True, True], [True, False]],
        "has_fit": [[True, True], [True, True], [True, False]],
        "subject_id": [[5, 5], [5, 5], [7, 7]],
        "object_id": [[None, None], [None, None], [3, 3]],
    }
    write(root / "meta.json", meta)
    m = np.eye(4)
    for s in range(3):
        for f in range(2):
            name = f"{s:04d}/{f:08d}.json"
            if meta["has_fit"][s][f]:
                write(root / "xyz" / name, JOINTS.tolist())
                write(root / "calib" / name, {"K": [K] * CAMERAS, "M": [m.tolist()] * CAMERAS})
            for c in range(CAMERAS):
                for variant in ("rgb", "rgb_color_auto") if meta["is_train"][s][f] else ("rgb",):
                    picture(root / f"{variant}/{s:04d}/cam{c}/{f:08d}.jpg")
    return root


@pytest.fixture
def hanco(hanco_once, tmp_path) -> Path:
    return Path(shutil.copytree(hanco_once, tmp_path / "hanco"))


def test_hanco_leaves_out_what_its_meta_says(hanco_once):
    samples = data.load(hanco_once)
    assert data.layout(hanco_once) == "hanco"
    # Frames 0/0, 1/0, 1/1 and 2/0 are valid; one of 0/1 is not; 2/1 has no label at all.
    assert len(samples) == 4 * CAMERAS and samples.right.all()
    assert samples.skipped == Counter({"frame without a valid fit (meta.json)": 1})
    assert set(samples.group) == {"hanco/0000", "hanco/0001", "hanco/0002"}
    assert set(samples.subject) == {"hanco/5", "hanco/7"}
    assert Counter(samples.frame)["hanco/0001/00000001"] == CAMERAS
    assert set(samples.camera) == {f"cam{c}" for c in range(CAMERAS)}
    assert all(f.is_file() and f.parts[-4] == "rgb" for f in samples.files)
    assert len(data.load(hanco_once, only_valid=False)) == 5 * CAMERAS
    bare = data.load(hanco_once, objects=False)
    assert set(bare.group) == {"hanco/0000", "hanco/0001"}
    assert bare.skipped["frame with an object (meta.json)"] == 1


def test_other_backgrounds_exist_for_the_green_screen_only(hanco_once):
    samples = data.load(hanco_once, "rgb_color_auto")
    assert set(samples.group) == {"hanco/0000", "hanco/0002"}
    assert samples.skipped["frame without a green screen, so without rgb_color_auto"] == 2
    with pytest.raises(TrainError, match=r"no pictures rgb_homo/, only rgb, rgb_color_auto\."):
        data.load(hanco_once, "rgb_homo")


HARM = {
    "picture missing": (
        lambda r: (r / "rgb/0000/cam3/00000000.jpg").unlink(), r"cam3/00000000\.jpg is missing", 1,
    ),
    "camera missing": (lambda r: shutil.rmtree(r / "rgb/0000/cam3"), r"cam3 is missing.*lacks a camera", 1),
    "picture without a label": (
        lambda r: (picture(r / "rgb/0000/cam2/00000007.jpg"), picture(r / "rgb/0000/cam2/00000008.jpg")),
        r"cam2 holds 4 pictures for 2 labels \(00000007\.jpg has none\)", 2,
    ),
    "picture of a camera that is not calibrated": (
        lambda r: [picture(r / f"rgb/0001/cam{CAMERAS}/0000000{n}.jpg") for n in (0, 1)],
        rf"cam{CAMERAS} holds 2 pictures, but calib/ has only {CAMERAS} cameras", 2,
    ),
    "picture of a sequence without labels": (
        lambda r: picture(r / "rgb/0009/cam0/00000000.jpg"), r"0009 holds 1 pictures, but xyz/ has no", 1,
    ),
    "label missing or not JSON": (
        lambda r: (r / "xyz/0001/00000000.json").write_text("[[1, 2"), r"00000000\.json is not JSON", 1,
    ),
    "label damaged": (
        lambda r: write(r / "xyz/0001/00000000.json", [[1, 2, 3]] * 20), r"00000000\.json .*21 joints", 1,
    ),
    "frame that meta.json does not know": (
        lambda r: (write(r / "xyz/0001/00000002.json", JOINTS.tolist()),
                   [picture(r / f"rgb/0001/cam{c}/00000002.jpg") for c in range(CAMERAS)]),
        r"meta\.json says nothing of .*0001/00000002\.json", 1,
    ),
}  # fmt: skip


@pytest.mark.parametrize("reason", HARM)
def test_what_is_broken_is_named_or_counted(hanco, reason):
    harm, sentence, count = HARM[reason]
    harm(hanco)
    with pytest.raises(TrainError, match=sentence) as caught:
        data.load(hanco)
    assert "\n" not in str(caught.value)
    samples = data.load(hanco, skip_broken=True)
    assert samples.skipped[reason] == count
    lost = {"picture missing": 1, "camera missing": 1, "label damaged": 8, "label missing or not JSON": 8}
    assert len(samples) == 4 * CAMERAS - lost.get(reason, 0)


@pytest.mark.parametrize("how", ["cut", "empty", "text"])
def test_pictures_that_do_not_decode_are_named_or_counted(hanco, how):
    file = hanco / "rgb/0000/cam1/00000000.jpg"
    whole = file.read_bytes()
    file.write_bytes({"cut": whole[: len(whole) // 2], "empty": b"", "text": b"<html>not found</html>"}[how])
    samples = data.load(hanco, skip_broken=True)
    assert samples.skipped["picture broken"] == 1 and file not in samples.files
    assert samples.skipped["frame without a valid fit (meta.json)"] == 1
    with pytest.raises(TrainError, match=r"cam1/00000000\.jpg is (cut short|missing or not a picture)"):
        data.read_image(file)


@pytest.mark.parametrize("text", ["{", "[]", '{"is_train": 1}'])
def test_a_damaged_meta_is_named(hanco, text):
    (hanco / "meta.json").write_text(text)
    with pytest.raises(TrainError, match=r"meta\.json"):
        data.load(hanco)


def test_all_pictures_broken_is_no_data_set(hanco):
    for file in hanco.glob("rgb/*/*/*.jpg"):
        file.write_bytes(b"")
    with pytest.raises(TrainError, match="None of 32 pictures can be read"):
        data.load(hanco, skip_broken=True)


def away(i: int) -> np.ndarray:
    return np.asarray(JOINTS + np.array([0, 0, 0.1 * i]))


def freihand(root: Path, frames: int = 3, backgrounds: int = 4) -> Path:
    write(root / "training_xyz.json", [away(i).tolist() for i in range(frames)])
    write(root / "training_K.json", [K] * frames)
    for n in range(frames * backgrounds):
        picture(root / f"training/rgb/{n:08d}.jpg")
    write(root / "evaluation_xyz.json", [JOINTS.tolist()] * 2)
    write(root / "evaluation_K.json", [K] * 2)
    for n in range(2):
        picture(root / f"evaluation/rgb/{n:08d}.jpg")
    return root


def test_freihand_keeps_the_backgrounds_of_a_frame_together(tmp_path):
    root = freihand(tmp_path / "FreiHAND", 10)
    samples = data.load(root)
    assert data.layout(root) == "freihand" and len(samples) == 40
    for file, joints, group in zip(samples.files, samples.joints, samples.group, strict=True):
        i = int(file.stem) % 10
        np.testing.assert_allclose(joints, away(i), atol=1e-6)
        assert group.endswith(f"{i:08d}")
    for how in ("sequence", "image"):
        parts = data.split_by(samples, how)
        assert [len(p) for p in parts] == [32, 4, 4]
        assert all(set(a.group).isdisjoint(b.group) for a in parts for b in parts if a is not b)
    assert [int(f.stem) for f in data.load(root, "sample").files] == list(range(20, 30))
    assert len(data.load(root, "evaluation")) == 2
    with pytest.raises(TrainError, match="rgb_merged"):
        data.load(root, "rgb_merged")


def test_freihand_whose_counts_differ(tmp_path):
    root = freihand(tmp_path / "FreiHAND")
    (root / "training/rgb/00000004.jpg").unlink()
    with pytest.raises(TrainError, match=r"00000004\.jpg is missing: .* holds 11 pictures for 3 labels"):
        data.load(root)
    samples = data.load(root, skip_broken=True)
    assert len(samples) == 11 and samples.skipped == {"picture missing": 1}
    picture(root / "training/rgb/00000004.jpg")
    picture(root / "training/rgb/00000012.jpg")
    with pytest.raises(TrainError, match=r"holds 13 pictures for 3 labels .*00000012\.jpg has none"):
        data.load(root)
    samples = data.load(root, skip_broken=True)
    assert len(samples) == 12 and samples.skipped == {"picture without a label": 1}
    write(root / "training_K.json", [K] * 2)
    with pytest.raises(TrainError, match="not as many landmarks as cameras"):
        data.load(root, skip_broken=True)
    assert len(data.load(freihand(tmp_path / "first", backgrounds=1))) == 3


def test_any_folder_with_landmarks(tmp_path):
    for name in ("ann/a.png", "ann/b.png", "ben/a.png"):
        picture(tmp_path / name)
    flat = np.arange(42.0).reshape(21, 2)
    write(
        tmp_path / "landmarks.json",
        {
            "images": {
                "ann/a.png": {"landmarks": JOINTS.tolist(), "K": K, "hand": "left", "subject": "ann"},
                "ann/b.png": {"points": flat.tolist()},
                "ben/a.png": {"landmarks": JOINTS.tolist(), "K": K, "points": flat.tolist(), "group": "x"},
            }
        },
    )
    samples = data.load(tmp_path)
    assert data.layout(tmp_path) == "folder" and len(samples) == 3
    assert samples.right.tolist() == [False, True, True]
    assert [g.split("/", 1)[1] for g in samples.group] == ["ann", "ann", "x"]
    assert [bool(s) for s in samples.subject] == [True, False, False]
    pixels = JOINTS @ np.array(K).T
    np.testing.assert_allclose(samples.points[0], pixels[:, :2] / pixels[:, 2:], rtol=1e-5)
    np.testing.assert_array_equal(samples.points[1:], [flat, flat])
    assert np.isfinite(samples.joints).all((1, 2)).tolist() == [True, False, True]


def test_a_group_a_frame_and_a_camera_may_be_called_0(tmp_path):
    """Else every picture of group 0 were a group of its own, and the split would part them."""
    entry = {"landmarks": JOINTS.tolist(), "K": K, "group": 0, "frame": 0, "camera": 0}
    for name in ("a.png", "b.png"):
        picture(tmp_path / name)
    write(tmp_path / "landmarks.json", {"images": {"a.png": entry, "b.png": entry}})
    samples = data.load(tmp_path)
    for names in (samples.group, samples.frame, samples.camera):
        assert {name.split("/")[-1] for name in names} == {"0"}


@pytest.mark.parametrize(
    "entry",
    [
        {},
        [],
        {"landmarks": JOINTS.tolist()},
        {"landmarks": JOINTS[:20].tolist(), "K": K},
        {"points": [[0, "x"]] * 21},
        {"points": np.zeros((21, 2)).tolist(), "hand": "both"},
        {"points": [[0, float("nan")]] * 21},
    ],
)
def test_a_folders_damaged_label_is_named(tmp_path, entry):
    for name in ("a.png", "b.png"):
        picture(tmp_path / name)
    write(
        tmp_path / "landmarks.json",
        {"images": {"a.png": entry, "b.png": {"landmarks": JOINTS.tolist(), "K": K}}},
    )
    with pytest.raises(TrainError, match=r"landmarks\.json: a\.png needs landmarks"):
        data.load(tmp_path)
    samples = data.load(tmp_path, skip_broken=True)
    assert len(samples) == 1 and samples.skipped == {"label damaged": 1}


def test_landmarks_as_a_table(tmp_path):
    picture(tmp_path / "a.png")
    head = [f"{a}{j}" for j in range(21) for a in "xyz"]
    row = [str(v) for v in JOINTS.reshape(-1)]
    table = tmp_path / "elsewhere.csv"
    table.write_text(
        ",".join(["file", "hand", *head, "fx", "fy", "cx", "cy"]) + "\n" + ",".join(["a.png", "left", *row])
        + ",60,62,30,31\n"
    )  # fmt: skip
    samples = data.load(tmp_path, labels=table)
    np.testing.assert_allclose(samples.joints[0], JOINTS, atol=1e-6)
    np.testing.assert_array_equal(samples.K[0], np.float32(K))
    assert not samples.right[0]
    for text in ("", "file,x0\na.png,1\n", "a,b\n1,2\n", table.read_text().replace(",60,", ",sixty,")):
        table.write_text(text)
        with pytest.raises(TrainError, match=r"elsewhere\.csv"):
            data.load(tmp_path, labels=table)


def test_photographs_and_full_frames_are_data_sets_too(tmp_path):
    picture(tmp_path / "a_1.png")
    labels = tmp_path / "labels.json"
    hand = {"points": (JOINTS[:, :2] * 300 + 30).tolist(), "side": "left", "agreement": 0.1}
    write(labels, {"photos": {"a_1.png": [hand]}})
    assert data.layout(tmp_path, labels) == "photos"
    samples = data.load(tmp_path, labels=labels, skip_broken=True)
    assert len(samples) == 1 and not samples.right[0] and np.isnan(samples.joints).all()
    write(tmp_path / "frames-any/labels/000000.json", {"size": [64, 64], "hands": [hand]})
    picture(tmp_path / "frames-any/frames/000000.jpg")
    assert data.layout(tmp_path / "frames-any") == "frames"
    assert len(data.load(tmp_path / "frames-any", skip_broken=True)) == 1


def test_a_folder_that_is_no_data_set_says_so_in_one_sentence(tmp_path):
    for folder in (tmp_path / "none", tmp_path):
        with pytest.raises(TrainError, match=str(folder)) as caught:
            data.load(folder)
        assert "\n" not in str(caught.value)
    with pytest.raises(TrainError, match=r"neither landmarks\.json nor landmarks\.csv"):
        data.load_folder(tmp_path)
    picture(tmp_path / "a.png")
    write(tmp_path / "landmarks.json", {"images": {"a.png": {"points": np.ones((21, 2)).tolist()}}})
    with pytest.raises(TrainError, match="no variants"):
        data.load(tmp_path, "rgb")
