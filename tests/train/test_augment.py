"""The paper's augmentation: the landmarks are still found where the picture shows them, whatever is done."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from tiny.hands import template

from handcoach_train.augment import DRAWS, NOTHING, PAPER, Augmentation, augment, colour, crop, normalise
from handcoach_train.data import HandDataset, Samples

pytestmark = pytest.mark.usefixtures("one_thread")

TURNED = (template(0.4) - template(0.4)[9]) * 0.09 @ cv2.Rodrigues(np.array([0.4, -0.3, 0.5]))[0].T
JOINTS = TURNED + np.array([0.012, -0.02, 0.6])  # metres, camera axes
# The principal point is not the centre, and pixels are not square: an augmentation that takes them so shows.
K = np.array([[300.0, 0, 50.0], [0, 330.0, 78.0], [0, 0, 1]], np.float32)
COLOURS = {0: 0, 4: 1, 20: 2}  # a dot for each of these joints, in this channel


def painted(folder: Path, side: str = "right") -> Samples:
    """A black picture of 128 x 128 with a red, a green and a blue dot at three joints."""
    joints = JOINTS if side == "right" else JOINTS * [-1, 1, 1] + [0.03, 0, 0]
    points = (joints @ K.T)[:, :2] / joints[:, 2:]
    image = np.zeros((128, 128, 3), np.uint8)
    for joint, channel in COLOURS.items():
        layer = np.zeros((128, 128), np.uint8)
        at = ((points[joint] - 0.5) * 16).astype(int)
        cv2.circle(layer, at.tolist(), 4 * 16, 255, -1, cv2.LINE_AA, 4)
        image[..., channel] = layer
    file = folder / f"{side}.png"
    cv2.imwrite(str(file), image[..., ::-1])
    return Samples(
        [file], points[None].astype(np.float32), joints[None].astype(np.float32), K[None],
        np.array([side == "right"]), np.array(["g"]),
    )  # fmt: skip


def batch_of(folder: Path, n: int, side: str = "right", size: int = 128) -> dict:
    items = HandDataset(painted(folder, side), size)
    batch = torch.utils.data.default_collate([items[0]] * n)
    return {**batch, "draw": torch.rand(n, DRAWS, generator=torch.Generator().manual_seed(3))}


def projected(batch: dict) -> np.ndarray:
    """Pixels (N, 21, 2) of the batch's own landmarks by its own K."""
    joints = batch["landmarks"].view(-1, 21, 3) * batch["scale"][:, None, None] + batch["root"][:, None]
    pixels = joints @ batch["K"].mT
    return (pixels[..., :2] / pixels[..., 2:]).numpy()


def dots(batch: dict) -> np.ndarray:
    """Centres (N, 3, 2) of the three dots."""
    weight = batch["image"].double().numpy()
    y, x = np.mgrid[: weight.shape[2], : weight.shape[3]] + 0.5
    total = weight.sum((2, 3))
    return np.stack([(weight * x).sum((2, 3)) / total, (weight * y).sum((2, 3)) / total], -1)


CHANGES = {
    "nothing": NOTHING,
    "rotation": Augmentation(30, 0, 0, 0, (1, 1), (1, 1)),
    "flip": Augmentation(0, 1, 0, 0, (1, 1), (1, 1)),
    "crop": Augmentation(0, 0, 0, 0, (0.8, 1), (0.75, 1.33)),
    "all": Augmentation(30, 0.5, 0, 0, (0.8, 1), (0.75, 1.33)),
}


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("side, size", [("right", 128), ("left", 96)])
def test_the_joints_are_found_on_the_changed_picture(tmp_path, name, side, size):
    before = batch_of(tmp_path, 24, side, size)
    after = augment(before, CHANGES[name])
    expected = projected(after)[:, list(COLOURS)]
    inside = ((expected > 6) & (expected < size - 6)).all((1, 2))  # no dot is cut off
    assert inside.sum() >= 10
    np.testing.assert_allclose(dots(after)[inside], expected[inside], atol=0.1)
    moved = np.abs(projected(after) - projected(before)).max((1, 2))
    assert (moved < 1e-3).all() if name == "nothing" else np.median(moved) > 3
    # K is still a camera's: no turn or flip is hidden in it, which would undo a wrong one of the landmarks.
    k = after["K"].clone()
    assert (k[:, 0, 0] > 0).all() and (k[:, 1, 1] > 0).all()
    k[:, [0, 1, 0, 1], [0, 1, 2, 2]] = 0
    torch.testing.assert_close(
        k, torch.tensor([[0.0, 0, 0], [0, 0, 0], [0, 0, 1]]).expand_as(k), atol=1e-3, rtol=0
    )
    # Distances in 3D are those of the same hand.
    torch.testing.assert_close(after["landmarks"].view(-1, 21, 3).norm(dim=2),
                               before["landmarks"].view(-1, 21, 3).norm(dim=2))  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_the_world_is_still_where_it_was(tmp_path, name):
    """Its joints by the changed M and K are those of the changed picture."""
    batch, a = batch_of(tmp_path, 4), 0.4
    batch["M"] = torch.eye(4).repeat(4, 1, 1)
    batch["M"][:, 0, [0, 2, 3]] = torch.tensor([math.cos(a), math.sin(a), 0.1])
    batch["M"][:, 2, [0, 2, 3]] = torch.tensor([-math.sin(a), math.cos(a), 0.2])
    joints = batch["landmarks"].view(-1, 21, 3) * batch["scale"][:, None, None] + batch["root"][:, None]
    joints = torch.cat([joints, torch.ones(4, 21, 1)], 2)
    world = joints @ torch.linalg.inv(batch["M"]).mT
    changed = augment(batch, CHANGES[name])
    seen = (world @ changed["M"].mT)[..., :3] @ changed["K"].mT
    np.testing.assert_allclose((seen[..., :2] / seen[..., 2:]).numpy(), projected(changed), atol=0.02)


def test_the_principal_point_stays_where_it_is_when_the_picture_turns(tmp_path):
    after = augment(batch_of(tmp_path, 8), CHANGES["rotation"])
    torch.testing.assert_close(after["K"], torch.from_numpy(K).expand(8, 3, 3), atol=1e-3, rtol=0)


def test_a_flip_makes_the_other_hand_and_moves_the_principal_point(tmp_path):
    before = batch_of(tmp_path, 2, "left")
    after = augment(before, CHANGES["flip"])
    assert before["hand"] == ["left", "left"] and after["hand"] == ["right", "right"]
    mirrored = before["landmarks"].view(-1, 21, 3) * torch.tensor([-1.0, 1, 1])
    torch.testing.assert_close(after["landmarks"].view(-1, 21, 3), mirrored)
    assert after["K"][0, 0, 2] == pytest.approx(128 - K[0, 2], abs=1e-3)
    assert (after["K"][:, 0, 0] > 0).all()
    torch.testing.assert_close(after["image"], before["image"].flip(3), atol=1e-4, rtol=0)


def test_all_of_the_papers_ranges_are_reached_and_none_is_left(tmp_path):
    n = 2000
    before = batch_of(tmp_path, 1)
    many = {k: v.expand(n, *v.shape[1:]) for k, v in before.items() if isinstance(v, torch.Tensor)}
    many["image"] = many["image"][:, :, :2, :2]  # the geometry is that of the picture's size
    many["draw"] = torch.rand(n, DRAWS, generator=torch.Generator().manual_seed(0))
    turned = augment(many, CHANGES["rotation"])["landmarks"].view(n, 21, 3)[:, 9, :2]
    start = many["landmarks"].view(n, 21, 3)[0, 9, :2]
    angle = torch.atan2(turned[:, 1], turned[:, 0]) - torch.atan2(start[1], start[0])
    angle = torch.rad2deg((angle + np.pi) % (2 * np.pi) - np.pi)
    assert -30.01 < angle.min() < -29 and 29 < angle.max() < 30.01
    k = augment(many, CHANGES["crop"])["K"]
    w, h = K[0, 0] / k[:, 0, 0], K[1, 1] / k[:, 1, 1]  # shares of the picture's sides
    assert 0.799 < (w * h).min() < 0.81 and 0.97 < (w * h).max() < 1.0001
    assert 0.749 < (w / h).min() < 0.83 and 1.2 < (w / h).max() < 1.331
    assert max(w.max(), h.max()) < 1.0001
    shares = torch.tensor([augment({**many, "hand": ["right"] * n}, PAPER)["hand"].count("left") / n])
    assert 0.45 < shares < 0.55


def test_colours_change_by_at_most_a_fifth():
    image = torch.rand(1, 3, 8, 8) * 0.5 + 0.2
    grey = image.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    half = torch.full((1, 4), 0.5)  # of each range: no change
    torch.testing.assert_close(colour(image, half, PAPER), image)
    for channel, what in enumerate(("brightness", "contrast", "saturation", "hue")):
        for end, factor in ((0.0, 0.8), (1.0, 1.2)):
            draw = half.clone()
            draw[0, channel] = end
            changed = colour(image, draw, PAPER)
            assert not torch.allclose(changed, image)
            if what == "brightness":
                torch.testing.assert_close(changed, image * factor)
            if what == "contrast":
                torch.testing.assert_close(
                    changed.std() / image.std(), torch.tensor(factor), atol=1e-3, rtol=0
                )
            if what in ("saturation", "hue"):  # greys have neither
                torch.testing.assert_close(colour(grey, draw, PAPER), grey, atol=1e-6, rtol=0)
            if what == "saturation":
                spread = (changed.amax(1) - changed.amin(1)) / (image.amax(1) - image.amin(1))
                torch.testing.assert_close(spread, torch.full_like(spread, factor), atol=1e-4, rtol=0)
    assert colour(torch.ones(1, 3, 4, 4), torch.ones(1, 4), PAPER).max() <= 1


def test_normalised_as_imagenet():
    from torchvision.transforms.functional import normalize

    image = torch.rand(2, 3, 4, 4)
    torch.testing.assert_close(
        normalise(image), normalize(image, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    )


def test_a_change_depends_on_its_draw_alone(tmp_path):
    batch = batch_of(tmp_path, 6)
    whole = augment(batch)
    part = augment({k: v[3:5] for k, v in batch.items()})
    for key in ("image", "landmarks", "root", "K"):
        torch.testing.assert_close(part[key], whole[key][3:5])
    as_bytes = torch.utils.data.default_collate([HandDataset(painted(tmp_path), 128, as_bytes=True)[0]] * 6)
    assert as_bytes["image"].dtype == torch.uint8
    torch.testing.assert_close(augment({**as_bytes, "draw": batch["draw"]})["image"], whole["image"])


def test_a_crop_lies_within_the_picture():
    draw = torch.rand(500, DRAWS - 6, generator=torch.Generator().manual_seed(0))
    corners = torch.tensor([[0.0, 0, 1], [128, 96, 1]]) @ torch.linalg.inv(crop(draw, PAPER, 128, 96)).mT
    assert corners[..., :2].min() > -1e-3
    assert corners[..., 0].max() < 128.001 and corners[..., 1].max() < 96.001


def test_the_papers_augmentation_is_section_4_2s():
    assert Augmentation(30, 0.5, 0.2, 0.02, (0.8, 1), (0.75, 1.33)) == PAPER
