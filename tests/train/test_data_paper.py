"""The paper's data set and splits: items as in its section 4.2, and nothing that leaks."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from tiny.hands import template

from handcoach.hand import normalise
from handcoach_train import data
from handcoach_train.augment import DRAWS
from handcoach_train.data import HandDataset, Samples, split_by
from handcoach_train.errors import TrainError

K = np.array([[120.0, 0, 40.0], [0, 110.0, 30.0], [0, 0, 1]], np.float32)


def samples_of(
    sequences: int, frames: int = 5, cameras: int = 8, people: int = 2, file: Path = Path("x")
) -> Samples:
    """Hands that differ in every frame; the picture is the same."""
    rows = [(s, f, c) for s in range(sequences) for f in range(frames) for c in range(cameras)]
    n = len(rows)
    rng = np.random.default_rng(0)
    joints = template(0.3) * 0.09 + rng.normal(0, 0.01, (n, 21, 3)) + [0, 0, 0.6]
    pixels = joints @ K.T
    return Samples(
        [file] * n,
        (pixels[..., :2] / pixels[..., 2:]).astype(np.float32),
        joints.astype(np.float32),
        np.tile(K, (n, 1, 1)),
        np.arange(n) % 3 > 0,
        np.array([f"d/{s:04d}" for s, _, _ in rows]),
        frame=np.array([f"d/{s:04d}/{f:08d}" for s, f, _ in rows]),
        camera=np.array([f"cam{c}" for *_, c in rows]),
        subject=np.array([f"d/{s % people}" for s, _, _ in rows]),
    )


def test_items_are_the_papers(tmp_path):
    file = tmp_path / "a.png"
    image = np.zeros((60, 80, 3), np.uint8)
    image[:, :40] = [0, 128, 255]  # BGR on disk: red is 255
    cv2.imwrite(str(file), image)
    samples = samples_of(1, 1, 3, file=file)
    item = HandDataset(samples, 40)[1]
    assert set(item) == {"image", "landmarks", "root", "scale", "K", "M", "hand", "frame", "camera"}
    assert item["image"].dtype == torch.float32 and item["image"].shape == (3, 40, 40)
    torch.testing.assert_close(item["image"][:, 20, 5], torch.tensor([1.0, 128 / 255, 0.0]))
    assert item["hand"] == "right" and HandDataset(samples, 40)[0]["hand"] == "left"
    assert (item["frame"], item["camera"]) == ("d/0000/00000000", "cam1")
    # eq. 2-4, and the way back
    landmarks, root, scale = normalise(samples.joints[1])
    np.testing.assert_allclose(item["landmarks"], landmarks.reshape(63), atol=1e-6)
    np.testing.assert_allclose(item["root"], root)
    assert item["scale"] == pytest.approx(scale)
    joints = item["landmarks"].reshape(21, 3) * item["scale"] + item["root"]
    np.testing.assert_allclose(joints, samples.joints[1], atol=1e-6)
    # K is that of the resized picture
    pixels = joints @ item["K"].T
    np.testing.assert_allclose(
        pixels[:, :2] / pixels[:, 2:], samples.points[1] * [40 / 80, 40 / 60], rtol=1e-4
    )
    batch = torch.utils.data.default_collate([HandDataset(samples, 40, train=True)[i] for i in range(3)])
    assert {k: tuple(v.shape) for k, v in batch.items() if isinstance(v, torch.Tensor)} == {
        "image": (3, 3, 40, 40), "landmarks": (3, 63), "root": (3, 3), "scale": (3,), "K": (3, 3, 3),
        "M": (3, 4, 4), "draw": (3, DRAWS),
    }  # fmt: skip
    assert batch["hand"] == ["left", "right", "right"]
    assert {v.dtype for v in batch.values() if isinstance(v, torch.Tensor)} == {torch.float32}
    assert batch["draw"].unique().numel() == 3 * DRAWS


def test_hands_without_depth_are_refused(tmp_path):
    samples = samples_of(1, 1, 3)
    for harm in ("joints", "K", "length"):
        broken = samples.take(np.arange(3))
        if harm == "length":
            broken.joints[1, 9] = broken.joints[1, 0]
        else:
            getattr(broken, harm)[1] = np.nan
        with pytest.raises(TrainError, match=r"1 of 3 pictures"):
            HandDataset(broken)


@pytest.mark.parametrize("sequences", [3, 5, 17, 40])
def test_a_split_by_sequence_never_leaks(sequences):
    samples = samples_of(sequences)
    parts = split_by(samples)
    assert sum(len(p) for p in parts) == len(samples) and all(len(p) for p in parts)
    for a in range(3):
        for b in range(a):
            assert set(parts[a].group).isdisjoint(parts[b].group)
            assert set(parts[a].frame).isdisjoint(parts[b].frame)
    if sequences == 40:
        assert [len(set(p.group)) for p in parts] == [32, 4, 4]
    # The same every time; another seed splits otherwise.
    again = split_by(samples.take(np.arange(len(samples))))
    assert [p.frame.tolist() for p in parts] == [p.frame.tolist() for p in again]
    if sequences > 5:
        assert split_by(samples, seed=1)[0].frame.tolist() != parts[0].frame.tolist()


def test_the_papers_split_by_image_is_by_floor_and_leaks():
    samples = samples_of(7, 3, 8)  # 168 pictures: floor(134.4), floor(16.8), the rest
    parts = split_by(samples, "image")
    assert [len(p) for p in parts] == [134, 16, 18]
    keys = [{*zip(p.frame, p.camera, strict=True)} for p in parts]
    assert not (keys[0] & keys[1] or keys[0] & keys[2] or keys[1] & keys[2])
    assert set(parts[0].frame) & set(parts[2].frame)  # what it is offered to show
    # As torch's own random_split with this generator takes them.
    import torch.utils.data as tud

    lengths = [134, 16, 18]
    theirs = tud.random_split(range(168), lengths, torch.Generator().manual_seed(42))
    for mine, other in zip(parts, theirs, strict=True):
        expected = sorted(other.indices)
        assert mine.frame.tolist() == samples.frame[expected].tolist()
        assert mine.camera.tolist() == samples.camera[expected].tolist()


def test_backgrounds_of_one_picture_stay_together():
    one = samples_of(4, 2, 8)
    parts = split_by(data.join([one, one]), "image")
    keys = [{*zip(p.frame, p.camera, strict=True)} for p in parts]
    assert not (keys[0] & keys[1] or keys[0] & keys[2] or keys[1] & keys[2])


def test_a_split_by_subject_parts_people():
    parts = split_by(samples_of(40, people=10), "subject")
    assert [len(set(p.subject)) for p in parts] == [8, 1, 1]
    for a in range(3):
        for b in range(a):
            assert set(parts[a].subject).isdisjoint(parts[b].subject)
            assert set(parts[a].group).isdisjoint(parts[b].group)


def test_splits_that_cannot_be(tmp_path):
    with pytest.raises(TrainError, match="2 sequences cannot be split in three"):
        split_by(samples_of(2))
    unknown = samples_of(4)
    unknown.subject[3] = ""
    with pytest.raises(TrainError, match="whose hands"):
        split_by(unknown, "subject")
    with pytest.raises(TrainError, match="by 'colour'"):
        split_by(samples_of(4), "colour")
    with pytest.raises(TrainError, match="add up to 1"):
        split_by(samples_of(4), shares=(0.8, 0.3, 0.1))
