"""Pictures of a data set for people: a contact sheet with the landmarks drawn where they project, and the
paper's figures of its items and augmentation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from handcoach import places
from handcoach.crop import Crop, crop_around
from handcoach.hand import BONES
from handcoach_train.augment import DRAWS, NOTHING, PAPER, Augmentation, augment
from handcoach_train.data.paper import HandDataset
from handcoach_train.data.samples import Samples, read_image
from handcoach_train.errors import TrainError

# Of thumb, index, middle, ring and little finger: Okabe and Ito's colours, which the colour-blind tell apart.
FINGERS = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (204, 121, 167))
Picture = NDArray[np.uint8]


def draw_hand(image: Picture, points: NDArray[np.floating], width: int = 1) -> Picture:
    """A copy of a picture (H, W, 3) with the bones of a hand, points (21, 2) in pixels."""
    image = np.ascontiguousarray(image).copy()
    # OpenCV's whole numbers are the pixels' centres; 4 bits of fraction. A wild label must not overflow.
    at = ((np.clip(points, -1e4, 1e4) - 0.5) * 16).astype(int)
    for line, shade in ((width + 2, 0.25), (width, 1.0)):  # a dark rim, so that they show on skin
        for a, b in BONES:
            colour = [c * shade for c in FINGERS[(b - 1) // 4]]
            cv2.line(image, at[a].tolist(), at[b].tolist(), colour, line, cv2.LINE_AA, 4)
    cv2.circle(image, at[0].tolist(), (width + 1) * 16, (255, 255, 255), -1, cv2.LINE_AA, 4)
    return image


def contact_sheet(samples: Samples, columns: int = 8, rows: int = 6, tile: int = 180) -> Picture:
    """Pictures from all over a data set in a grid, each with its hand drawn and its side and id written.

    A hand that is small in its picture is shown cut out. What does not decode is left out.
    """
    tiles: list[Picture] = []
    wanted = columns * rows
    # Spread over the groups first, so that a long sequence does not fill the sheet.
    rng = np.random.default_rng(0)
    order = rng.permutation(len(samples))
    turn: dict[str, int] = {}
    rounds = np.empty(len(samples), np.int64)
    for i in order:
        name = str(samples.group[i])
        rounds[i] = turn[name] = turn.get(name, -1) + 1
    order = order[np.argsort(rounds[order], kind="stable")]
    for i in order:
        try:
            image = read_image(samples.files[i])
        except TrainError:
            continue
        h, w = image.shape[:2]
        points = samples.points[i]
        crop = crop_around(points, roll=False, margin=2.2)
        if crop.size > 0.7 * max(h, w):
            crop = Crop(w / 2, h / 2, max(h, w))
        small = draw_hand(crop.cut(image, tile), crop.to_unit(points) * tile)
        name = f"{'R' if samples.right[i] else 'L'} {samples.group[i].split('/', 1)[-1]} {samples.camera[i]}"
        for colour, thick in (((0, 0, 0), 3), ((255, 255, 255), 1)):
            cv2.putText(
                small, name[:28], (4, tile - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.36, colour, thick, cv2.LINE_AA
            )
        tiles.append(small)
        if len(tiles) == wanted:
            break
    if not tiles:
        raise TrainError("None of the pictures can be read: there is nothing to show.")
    columns = min(columns, len(tiles))
    blank = np.full((tile, tile, 3), 40, np.uint8)
    tiles += [blank] * (-len(tiles) % columns)
    lines = [np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)]
    return np.asarray(np.vstack(lines))


def write_picture(file: Path, image: Picture) -> None:
    """PNG or JPEG by the file's ending, written beside and renamed.

    Raises:
        TrainError: another ending, or the file cannot be written.
    """
    if file.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise TrainError(f"{file} is no name of a picture: give one that ends in .png or .jpg.")
    content = cv2.imencode(file.suffix, image[..., ::-1])[1].tobytes()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        places.save(file, content)
    except OSError as error:
        raise TrainError(f"{file} cannot be written ({error.strerror}): choose another place.") from error


# The paper's figures 4 to 7 --------------------------------------------------------------------------------

_ONE = {
    "rotation": Augmentation(PAPER.degrees, 0, 0, 0, (1, 1), (1, 1)),
    "flip": Augmentation(0, 1, 0, 0, (1, 1), (1, 1)),
    "colour": Augmentation(0, 0, PAPER.colour, PAPER.hue, (1, 1), (1, 1)),
    "crop": Augmentation(0, 0, 0, 0, PAPER.area, PAPER.ratio),
}


def figures(samples: Samples, folder: Path, size: int = 224) -> list[Path]:
    """Items of the data set (figure 4), rotation (5), flip, colour jitter and resized crop (6), and all of
    them together (7): each picture with its landmarks by its own K, above them normalised in 3D.

    Raises:
        TrainError: no hands with landmarks in 3D.
    """
    known = np.isfinite(samples.joints).all((1, 2)) & np.isfinite(samples.K).all((1, 2)) & ~samples.lifted
    if not known.any():
        raise TrainError("The augmentation is shown on hands in 3D: this data set has image points only.")
    rng = np.random.default_rng(0)
    # A few hands of other groups.
    _, first = np.unique(samples.group[known], return_index=True)
    chosen = np.flatnonzero(known)[rng.permutation(first)[:5]]
    items = HandDataset(samples.take(chosen), size)
    each = [items[i] for i in range(len(items))]

    def batch(how_many: int, which: int = 0) -> dict[str, Any]:
        draw = torch.from_numpy(rng.random((how_many, DRAWS), dtype=np.float32))
        return {**torch.utils.data.default_collate([each[which % len(each)]] * how_many), "draw": draw}

    written = []

    def write(number: int, name: str, shown: list[tuple[str, dict[str, Any], int]]) -> None:
        file = folder / f"figure{number}_{name}.png"
        write_picture(file, _grid(shown))
        written.append(file)

    collated = torch.utils.data.default_collate(each)
    write(4, "items", [
        (f"{e['hand']}, {e['frame'].split('/', 1)[-1]} {e['camera']}".strip(), collated, i)
        for i, e in enumerate(each)
    ])  # fmt: skip

    turned = batch(5)
    turned["draw"][:, 0] = torch.linspace(0, 1, 5)
    angles = torch.linspace(-PAPER.degrees, PAPER.degrees, 5)
    after = augment(turned, _ONE["rotation"])
    write(5, "rotation", [(f"{angle:.0f}°", after, i) for i, angle in enumerate(angles)])

    one = batch(2)
    one["draw"][:, 2:6] = torch.tensor([[0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]])
    colours = augment(one, _ONE["colour"])
    write(6, "flip_colour_crop", [
        ("as it is", augment(one, NOTHING), 0),
        ("flip", augment(one, _ONE["flip"]), 0),
        ("colour 80 %", colours, 0),
        ("colour 120 %", colours, 1),
        ("resized crop", augment(one, _ONE["crop"]), 0),
    ])  # fmt: skip

    few = batch(5, 1)
    few["draw"][:, 1] = torch.tensor([0.9, 0.1, 0.9, 0.1, 0.9])  # every other one is flipped
    all_of_them = augment(few)
    write(7, "together", [
        ("as it is", augment(few, NOTHING), 0), *((f"all, {i}", all_of_them, i) for i in range(1, 5))
    ])  # fmt: skip
    return written


def _grid(shown: list[tuple[str, dict[str, Any], int]]) -> Picture:
    """One column for each (title, batch, row of it): the picture with its landmarks, and these in 3D."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2.6 * len(shown), 5.2), dpi=110, layout="constrained")
    for column, (title, batch, i) in enumerate(shown):
        landmarks = batch["landmarks"][i].view(21, 3)
        pixels = (landmarks * batch["scale"][i] + batch["root"][i]) @ batch["K"][i].T
        points = (pixels[:, :2] / pixels[:, 2:]).numpy()
        picture = (batch["image"][i].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
        axes = figure.add_subplot(2, len(shown), column + 1)
        axes.imshow(draw_hand(picture, points))
        axes.set_title(
            f"{title} ({batch['hand'][i]})" if batch["hand"][i] not in title else title, fontsize=9
        )
        axes.axis("off")
        space: Any = figure.add_subplot(2, len(shown), len(shown) + column + 1, projection="3d")
        x, y, z = landmarks.numpy().T
        for a, b in BONES:
            colour = [c / 255 for c in FINGERS[(b - 1) // 4]]
            space.plot(x[[a, b]], z[[a, b]], -y[[a, b]], color=colour, linewidth=2)
        space.set(xlim=(-1.8, 1.8), ylim=(-1.8, 1.8), zlim=(-1.8, 1.8))
        for axis, name in ((space.set_xlabel, "x"), (space.set_ylabel, "z"), (space.set_zlabel, "−y")):
            axis(name, labelpad=-10, fontsize=8)
        space.set(xticks=(-1, 0, 1), yticks=(-1, 0, 1), zticks=(-1, 0, 1))
        space.view_init(elev=8, azim=-80)  # nearly as the camera sees it
        space.set_box_aspect((1, 1, 1), zoom=0.95)
        space.tick_params(labelsize=6, pad=-3)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
