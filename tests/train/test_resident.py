"""Cut-outs made on the device are those of `LandmarkSet`, and a training takes them as it takes others."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("pytorch_lightning")

import torch
from tiny.networks import SMALL

from handcoach.crop import Crop
from handcoach_train import data
from handcoach_train.data import Draw, LandmarkSet, ResidentSet, cutouts, resident
from handcoach_train.errors import TrainError
from handcoach_train.networks import load_checkpoint
from handcoach_train.training.edge import train
from handcoach_train.training.recipe import LandmarkRecipe
from handcoach_train.training.run import NONE, Machine

pytestmark = pytest.mark.usefixtures("one_thread", "tiny_backbone")
DRAWS = [Draw(i % 8, 32 * (i // 8), 96) for i in range(8)]


@pytest.fixture
def plain(monkeypatch):
    """Colours as they are in the picture."""
    monkeypatch.setattr(resident, "_colour", lambda image, *_: image)


def hands(samples, **options) -> LandmarkSet:
    return LandmarkSet(samples, 96, True, **options)


def crop_of(points: np.ndarray, unit: np.ndarray) -> Crop:
    """The crop that takes points (21, 2) in pixels to units."""
    centred, there = points - points.mean(0), unit - unit.mean(0)
    linear = np.linalg.lstsq(centred, there, rcond=None)[0]
    mirrored = np.linalg.det(linear) < 0
    if mirrored:
        linear = linear * [-1, 1]
    size = 1 / np.sqrt(np.linalg.det(linear))
    roll = np.arctan2(linear[1, 0], linear[0, 0])
    x, y = points.mean(0) + (0.5 - unit.mean(0)) * [-1 if mirrored else 1, 1] @ np.linalg.inv(linear)
    return Crop(x, y, size, roll, bool(mirrored))


def test_a_batch_is_what_the_runtimes_crop_would_cut(samples, plain):
    batch = ResidentSet(hands(samples), "cpu", side=160).__getitems__(DRAWS)
    mirrored = set()
    for i, right in enumerate(batch["right"]):
        crop = crop_of(samples.points[i], batch["points"][i].numpy())
        mirrored.add(crop.mirrored)
        assert crop.mirrored == (samples.right[i] != (right > 0.5))
        np.testing.assert_allclose(crop.to_unit(samples.points[i]), batch["points"][i], atol=1e-4)
        cut = crop.cut(data.read_image(samples.files[i]), 96).astype(float)
        # OpenCV rounds positions to a 32nd of a pixel.
        assert np.abs(cut - batch["image"][i].numpy()).mean() < 1
        assert bool(batch["known3d"][i]) == (i < 5)
        if i < 5:
            truth = data.target(crop, samples.joints[i], samples.K[i])
            np.testing.assert_allclose(batch["landmarks"][i], truth, atol=1e-3)
    assert mirrored == {True, False}


def test_a_guess_is_no_truth_here_either(samples, plain):
    some = samples.take(np.arange(8))
    some.lifted[:2] = True
    batch = ResidentSet(hands(some), "cpu", side=160).__getitems__(DRAWS)
    assert batch["lifted"].tolist() == [1, 1, 0, 0, 0, 0, 0, 0]
    assert batch["known3d"].tolist() == [0, 0, 1, 1, 1, 0, 0, 0]
    before = ResidentSet(hands(samples), "cpu", side=160).__getitems__(DRAWS)
    assert batch["landmarks"][:2].any() and torch.equal(batch["landmarks"], before["landmarks"])


def test_a_large_picture_keeps_the_hands_surroundings(samples, plain, tmp_path):
    """The same hand in a picture five times as large, of which a window is kept."""
    files = []
    for file in samples.files[:5]:
        files.append(tmp_path / file.name)
        cv2.imwrite(str(files[-1]), cv2.resize(cv2.imread(str(file)), None, fx=5, fy=5))
    large = samples.take(np.arange(5))
    large.files, large.points = files, large.points * 5
    large.K = large.K * np.array([5, 5, 1], np.float32)[:, None]
    small, big = (
        ResidentSet(hands(s), "cpu", side=160).__getitems__(DRAWS[:5])
        for s in (samples.take(np.arange(5)), large)
    )
    for name in ("landmarks", "points", "presence", "right"):
        torch.testing.assert_close(small[name], big[name], atol=2e-3, rtol=0)
    assert (small["image"].float() - big["image"].float()).abs().mean() < 12


def test_what_is_drawn_depends_on_seed_and_place_alone(samples):
    shown = ResidentSet(hands(samples, seed=3), "cpu", side=160)
    one, again = shown.__getitems__(DRAWS), shown.__getitems__(DRAWS)
    other = shown.__getitems__([Draw(d.item, d.place + 1, d.size) for d in DRAWS])
    assert all(torch.equal(one[k], again[k]) for k in one)
    assert not torch.equal(one["image"], other["image"])
    assert not torch.equal(
        ResidentSet(hands(samples), "cpu", side=160).__getitems__(DRAWS)["image"], one["image"]
    )


def test_emptiness_has_no_hand(samples, plain, monkeypatch):
    monkeypatch.setattr(resident, "PIECES", 8)
    empty = [{"file": samples.files[0], "boxes": []}]
    # Coloured in their batch, as hands are, and not before: else it is the colours that tell.
    monkeypatch.setattr(cutouts, "colour", None)
    shown = ResidentSet(hands(samples, empty=empty, empty_share=1.0), "cpu", side=160)
    batch = shown.__getitems__(DRAWS)
    assert not batch["presence"].any() and not batch["points"].any() and not batch["known3d"].any()
    assert (batch["right"] == 0.5).all()


def test_few_pictures_without_a_hand_are_shown_in_many_ways():
    affine = resident._anywhere(torch.rand(64, 5, generator=torch.Generator().manual_seed(0)))
    corners = torch.tensor([[-1.0, -1, 1], [-1, 1, 1], [1, -1, 1], [1, 1, 1]]) @ affine.transpose(1, 2)
    turns = torch.linalg.det(affine[:, :, :2])
    assert (turns > 0).any() and (turns < 0).any()  # mirrored or not
    middle = corners.mean(1)
    assert (middle.abs() <= 0.6).all() and middle.std() > 0.1
    assert affine[:, 0, 0].std() > 0.3


def test_colours_stay_in_range_and_vary(samples):
    image = ResidentSet(hands(samples), "cpu", side=160).__getitems__(DRAWS)["image"]
    assert image.dtype == torch.uint8 and image.shape == (8, 96, 96, 3)
    assert len({round(float(i.float().mean())) for i in image}) > 4


def test_a_training_fills_the_time_it_is_given(samples, tmp_path):
    recipe = LandmarkRecipe(steps=4, check_every=2, batch=4, warmup=1)
    shown = ResidentSet(LandmarkSet(samples, 64, True), "cpu", side=160)
    checking = LandmarkSet(samples, 64, False)
    machine = Machine(device="cpu", workers=0, threads=1)
    photos = np.arange(8) >= 5
    figures = train(SMALL, recipe, shown, photos, checking, tmp_path, machine, weights=NONE, fill=0.02)
    steps = load_checkpoint(tmp_path / f"{SMALL['name']}.safetensors")[1]["recipe"]["steps"]
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert np.isfinite(figures["score"]) and steps != recipe.steps
    assert [line["step"] for line in log] == [steps // 2, steps]
    # The same command again measures nothing anew: it may have been stopped on a busier machine.
    again = train(SMALL, recipe, shown, photos, checking, tmp_path, machine, weights=NONE, fill=0.01)
    assert again == figures
    two = Machine(device="cpu", devices=2, workers=0, threads=1)
    with pytest.raises(TrainError, match="--resident"):
        train(SMALL, recipe, shown, photos, checking, tmp_path / "two", two, weights=NONE)


def test_shrunk_photographs_are_the_same_hands(samples, tmp_path):
    root = tmp_path / "photos"
    labels = {}
    for i, file in enumerate(samples.files):
        name = f"source/group{i // 4}/{i}.png"
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(root / name), cv2.resize(cv2.imread(str(file)), None, fx=4, fy=4))
        one = {"points": (samples.points[i] * 4).tolist(), "side": "right", "agreement": 0.1}
        labels[name] = [one, {**one, "side": "left"}] if i == 2 else [one]
    labels["source/group9/none.png"] = []
    (tmp_path / "l.json").write_text(json.dumps({"photos": labels}))
    out = tmp_path / "small" / "photos"
    assert data.shrink(tmp_path / "l.json", root, out, side=128) == 9
    whole = data.load_photos(tmp_path / "l.json", root)
    small = data.load_photos(out.with_name("photos.json"), out)
    assert {f["group"] for f in small} == {f["group"] for f in whole}
    # A picture whose label knows one hand of two is no place to look for emptiness.
    complete = [f["file"].stem for f in small if f["complete"]]
    assert complete == ["0", "1", "3", "4", "5", "6", "7"] and sum(f["complete"] for f in whole) == 8
    assert len(data.empty_areas(small)) == 7
    before, after = data.photo_samples(whole), data.photo_samples(small)
    order = [*range(3), 3, *range(4, 9)]
    for i in order:
        image = data.read_image(after.files[i])
        assert max(image.shape) == 128
        x, y = np.ptp(after.points[i], 0) / np.ptp(before.points[i], 0)
        assert x == pytest.approx(y, rel=0.01)  # one scale for all
        x, y = after.points[i][9]
        assert image[int(y), int(x)].max() > 120  # the dot of the middle MCP
    assert before.right.tolist() == after.right.tolist()
    (tmp_path / "twice.json").write_text(
        json.dumps({"photos": {k: [one] for k in ("source/0.png", "source/0.jpg")}})
    )
    for name in ("source/0.png", "source/0.jpg"):
        cv2.imwrite(str(root / name), cv2.imread(str(samples.files[0])))
    with pytest.raises(TrainError, match="another's place"):
        data.shrink(tmp_path / "twice.json", root, tmp_path / "twice" / "photos")
    with pytest.raises(TrainError, match="called photos"):
        data.shrink(tmp_path / "l.json", root, tmp_path / "other")
