"""The paper's augmentation (Skøt & Wolf 2025, section 4.2), in batches and on the device.

A batch is what `HandDataset` yields: `image` (N, 3, S, S), `landmarks` (N, 63), `root` (N, 3), `K` (N, 3, 3),
`hand`, and `draw` (N, DRAWS), uniform random numbers from which alone everything here follows.

Every change of the geometry is an affine map A of the picture's pixels with a linear map L of the camera's
axes: landmarks x become L x, and K becomes A K L^-1, so that they are still projected where the picture shows
them. The maps are multiplied, and the picture is sampled once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from handcoach_train.networks import MEAN, STD

_TRIES = 10  # of a crop that fits in the picture
DRAWS = 1 + 1 + 4 + 2 + 2 * _TRIES  # rotation, flip, colour, place of the crop, its shape

Batch = dict[str, Any]


@dataclass(frozen=True)
class Augmentation:
    """How much is changed; the defaults are the paper's.

    Attributes:
        degrees: largest rotation about the principal point, either way.
        flip: share of the pictures that are flipped left to right.
        colour: brightness, contrast and saturation by 1 - colour to 1 + colour.
        hue: largest turn of the hue, in whole turns; the paper gives none.
        area: share of the picture that a crop keeps. ratio: of the crop, width to height.
    """

    degrees: float = 30.0
    flip: float = 0.5
    colour: float = 0.2
    hue: float = 0.02
    area: tuple[float, float] = (0.8, 1.0)
    ratio: tuple[float, float] = (0.75, 1.33)


PAPER = Augmentation()
NOTHING = Augmentation(0, 0, 0, 0, (1, 1), (1, 1))


def augment(batch: Batch, how: Augmentation = PAPER) -> Batch:
    """The batch, changed as its `draw` says; pictures as float 0..1, not yet normalised."""
    draw = batch["draw"]
    image = batch["image"]
    image = image.float() / 255 if image.dtype == torch.uint8 else image
    height, width = image.shape[2:]
    k = batch["K"]

    turn, axes = rotation(k, (draw[:, 0] * 2 - 1) * math.radians(how.degrees))
    mirror, sides = flip(draw[:, 1] < how.flip, width)
    cut = crop(draw[:, 6:], how, width, height)
    pixels = cut @ mirror @ turn
    linear = sides @ axes

    result = {
        **batch,
        "image": warp(colour(image, draw[:, 2:6], how), pixels),  # in this order the border stays black
        "landmarks": (batch["landmarks"].view(-1, 21, 3) @ linear.mT).reshape(-1, 63),
        "root": (linear @ batch["root"][:, :, None])[:, :, 0],
        "K": pixels @ k @ linear.mT,  # linear is orthogonal: its inverse is its transpose
    }
    if "M" in batch:  # world to the camera as it is now
        result["M"] = torch.cat([linear @ batch["M"][:, :3], batch["M"][:, 3:]], 1)
    if "hand" in batch:  # a training that needs no names leaves them out: they make the device wait
        other = {"left": "right", "right": "left"}
        pairs = zip(batch["hand"], (draw[:, 1] < how.flip).tolist(), strict=True)
        result["hand"] = [other[hand] if flipped else hand for hand, flipped in pairs]
    return result


def _rows(*rows: tuple[Tensor | float, ...]) -> Tensor:
    """A matrix (N, 3, 3) from rows of numbers and of vectors (N,)."""
    like = next(x for row in rows for x in row if isinstance(x, Tensor))
    full = [[x if isinstance(x, Tensor) else torch.full_like(like, x) for x in row] for row in rows]
    return torch.stack([torch.stack(row, -1) for row in full], -2)


def _inverse(matrix: Tensor) -> Tensor:
    return torch.linalg.inv_ex(matrix).inverse  # `inv` makes the device wait to see whether there is one


def rotation(k: Tensor, angle: Tensor) -> tuple[Tensor, Tensor]:
    """Turn about the optical axis: the pixels' map (N, 3, 3) about the principal point, and the axes'.

    A positive angle (N,) in radians turns clockwise as seen, since y points down in picture and axes alike:
    the sign is the same for both. K R K^-1 leaves K as it is, whatever its focal lengths.
    """
    c, s = angle.cos(), angle.sin()
    axes = _rows((c, -s, 0.0), (s, c, 0.0), (0.0, 0.0, 1.0))
    return k @ axes @ _inverse(k), axes


def flip(which: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """Flip left to right where `which` (N,): pixels' map (N, 3, 3), and the axes' across the YZ plane."""
    sign = 1.0 - 2.0 * which.float()
    pixels = _rows((sign, 0.0, width * which.float()), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    return pixels, _rows((sign, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


def crop(draw: Tensor, how: Augmentation, width: int, height: int) -> Tensor:
    """Pixels' map (N, 3, 3) of a crop that is resized to the whole picture.

    Area uniform, ratio uniform in its logarithm, drawn again while it does not fit, as torchvision's
    RandomResizedCrop does; where none of ten fits, the whole picture.

    Args:
        draw: (N, 2 + 2 * _TRIES), uniform.
    """
    tries = draw[:, 2:].view(-1, _TRIES, 2)
    area = how.area[0] + (how.area[1] - how.area[0]) * tries[..., 0]
    low, high = math.log(how.ratio[0]), math.log(how.ratio[1])
    ratio = (low + (high - low) * tries[..., 1]).exp()
    # Shares of the picture's width and height.
    w = (area * ratio * height / width).sqrt()
    h = (area / ratio * width / height).sqrt()
    fits = (w <= 1) & (h <= 1)
    first = fits.float().argmax(1, keepdim=True)
    none = ~fits.any(1)
    w = w.gather(1, first)[:, 0].masked_fill(none, 1.0)
    h = h.gather(1, first)[:, 0].masked_fill(none, 1.0)
    x, y = draw[:, 0] * (1 - w) * width, draw[:, 1] * (1 - h) * height
    return _rows((1 / w, 0.0, -x / w), (0.0, 1 / h, -y / h), (0.0, 0.0, 1.0))


def warp(image: Tensor, pixels: Tensor) -> Tensor:
    """Pictures (N, 3, H, W) moved by maps (N, 3, 3) of pixels, whole numbers at the pixels' borders; black
    where nothing was seen."""
    h, w = image.shape[2:]
    # From -1..1 to pixels, back through the map, and to -1..1 again, as grid_sample counts.
    to = torch.tensor(
        [[w / 2, 0, w / 2], [0, h / 2, h / 2], [0, 0, 1]], dtype=pixels.dtype, device=pixels.device
    )
    back = _inverse(to) @ _inverse(pixels) @ to
    grid = F.affine_grid(back[:, :2].to(image.dtype), list(image.shape), align_corners=False)
    return F.grid_sample(image, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def colour(image: Tensor, draw: Tensor, how: Augmentation) -> Tensor:
    """Brightness, contrast, saturation and hue of pictures (N, 3, H, W), 0..1, by `draw` (N, 4).

    All four are linear in the colours, so that together they are one 3 x 3 matrix and a grey: the picture is
    clipped once, at the end.
    """
    b, c, s = (1 + how.colour * (2 * draw[:, i] - 1) for i in range(3))
    grey = torch.tensor([0.299, 0.587, 0.114], dtype=image.dtype, device=image.device)  # ITU-R BT.601
    eye = torch.eye(3, dtype=image.dtype, device=image.device)
    to_grey = grey.expand(3, 3)  # every channel becomes the grey
    saturate = s[:, None, None] * eye + (1 - s)[:, None, None] * to_grey
    # Hue: a rotation about the axis of greys (Rodrigues' formula).
    angle = (2 * draw[:, 3] - 1) * how.hue * 2 * math.pi
    cross = (
        torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]], dtype=image.dtype, device=image.device) / 3**0.5
    )
    third = torch.full_like(eye, 1 / 3)
    cos, sin = angle.cos()[:, None, None], angle.sin()[:, None, None]
    matrix = (cos * eye + sin * cross + (1 - cos) * third) @ saturate * (b * c)[:, None, None]
    mean = torch.einsum("nchw,c->n", image, grey) / image[0, 0].numel()
    offset = (1 - c) * b * mean  # contrast pulls towards the mean grey, which the others leave alone
    return (torch.einsum("nij,njhw->nihw", matrix, image) + offset[:, None, None, None]).clamp(0, 1)


def normalise(image: Tensor) -> Tensor:
    """Pictures (N, 3, H, W), 0..1, by ImageNet's mean and deviation."""
    mean = torch.tensor(MEAN, dtype=image.dtype, device=image.device).view(3, 1, 1)
    std = torch.tensor(STD, dtype=image.dtype, device=image.device).view(3, 1, 1)
    return (image - mean) / std
