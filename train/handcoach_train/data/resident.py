"""Cut-outs made on the device: for a GPU that trains faster than its processors can cut and colour.

All pictures lie in the device's memory, each once. What `LandmarkSet` does to one picture with OpenCV is done
here to a whole batch in torch; `test_resident.py` holds the two against each other.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from handcoach.crop import MARGIN
from handcoach.hand import MIDDLE_MCP, WRIST
from handcoach_train.data.cutouts import ASIDE, AWAY, GROW, INSIDE, SHIFT, SPREAD, TURN, LandmarkSet, window
from handcoach_train.data.samples import Draw, read_image

PIECES = 6144  # of pictures without a hand, of which any part is shown, turned and mirrored in any way


class ResidentSet(torch.utils.data.Dataset):
    """The hands of a training `LandmarkSet`, whole batches at a time, on a device.

    What is drawn depends on the seed and on a batch's first place alone.

    Args:
        hands: what to show, and how. device: where. side: of the windows in memory, in pixels; a hand takes
            3 * side**2 bytes, and so does each of PIECES without one. threads: that decode; None: one
            for each processor.

    Batches: as LandmarkSet's items, each with N rows.
    """

    def __init__(self, hands: LandmarkSet, device: str, side: int = 256, threads: int | None = None) -> None:
        s = hands.samples
        n = len(s)
        self.hands, self.device, self.side, self.seed = hands, torch.device(device), side, hands.seed
        self.pictures = torch.empty((n, side, side, 3), dtype=torch.uint8, device=self.device)
        points = np.zeros((n, 21, 2), np.float32)
        k = np.tile(np.eye(3, dtype=np.float32), (n, 1, 1))
        known = np.asarray(np.isfinite(s.joints).all((1, 2)) & np.isfinite(s.K).all((1, 2)))

        def read(i: int, to: NDArray[np.uint8]) -> None:
            kept, a = window(read_image(s.files[i]), s.points[i], side)
            to[: kept.shape[0], : kept.shape[1]] = kept
            points[i] = s.points[i] @ a[:2, :2].T + a[:2, 2]
            if known[i]:
                k[i] = a @ s.K[i]

        with (
            ThreadPoolExecutor(threads or os.cpu_count()) as pool,  # decoding lets go of Python's lock
            tqdm(total=n, desc="to the device", unit="hand", delay=2) as bar,
        ):
            for start in range(0, n, 1024):
                rows = range(start, min(start + 1024, n))
                part = np.zeros((len(rows), side, side, 3), np.uint8)
                bar.update(sum(1 for _ in pool.map(read, rows, part)))
                self.pictures[start : rows.stop] = torch.from_numpy(part).to(self.device)
            pieces = list(pool.map(self._piece, range(PIECES if hands.empty_share else 0)))
        self.nothing = torch.from_numpy(np.stack(pieces)).to(self.device) if pieces else None
        joints = np.where(known[:, None, None], s.joints, 0).astype(np.float64)
        length = np.linalg.norm(joints[:, MIDDLE_MCP] - joints[:, WRIST], axis=1)
        landmarks = (joints - joints[:, :1]) / np.where(known, length, 1)[:, None, None]  # paper eq. 2-4
        self.points, self.k, self.landmarks, self.right, self.known, self.lifted = (
            torch.from_numpy(np.asarray(a, np.float32)).to(self.device)
            for a in (points, k, landmarks, s.right, known & ~s.lifted, known & s.lifted)
        )

    def __len__(self) -> int:
        return len(self.hands)

    def _piece(self, i: int) -> NDArray[np.uint8]:
        # Without colour: a batch is coloured as a whole, hands or not.
        return self.hands.plain_piece(np.random.default_rng([self.seed, i]), self.side)

    @torch.no_grad()
    def __getitems__(self, draws: list[Draw]) -> dict[str, Tensor]:
        """A whole batch: a DataLoader asks for it at once."""
        key = np.random.SeedSequence([self.seed, draws[0].place]).generate_state(1, np.uint64)[0]
        luck = torch.Generator(self.device).manual_seed(int(key) % 2**63)
        index = torch.tensor([d.item for d in draws], device=self.device)
        size = draws[0].size or self.hands.size
        n = len(draws)

        def normal(*shape: int) -> Tensor:
            return torch.randn(n, *shape, generator=luck, device=self.device)

        def uniform(*shape: int) -> Tensor:
            return torch.rand(n, *shape, generator=luck, device=self.device)

        points = self.points[index]
        centre, extent, roll = _upright(points)
        wrong = uniform() < self.hands.other_side
        mirrored = (self.right[index] > 0.5) == wrong
        # As `jitter` does it, and as LandmarkSet shows half a hand now and then.
        if not self.hands.roll:
            roll = 0.3 * normal()
        span = 2 * MARGIN * extent
        middle = centre + SHIFT * normal(2) * span[:, None]
        span = span * torch.exp(GROW + SPREAD * normal())
        roll = roll + TURN * normal()
        away, angle = uniform() < AWAY, 2 * torch.pi * uniform()
        aside = ASIDE * torch.stack([torch.cos(angle), torch.sin(angle)], 1) * span[:, None]
        middle = torch.where(away[:, None], middle + aside, middle)

        flip = torch.where(mirrored, -1.0, 1.0)
        c, s = torch.cos(roll), torch.sin(roll)
        turn = torch.stack([torch.stack([c, -s], 1), torch.stack([s, c], 1)], 1)  # cut-out to picture
        unit = (points - middle[:, None]) @ turn / span[:, None, None]
        unit = torch.stack([unit[..., 0] * flip[:, None], unit[..., 1]], 2) + 0.5
        inside = ((unit > 0) & (unit < 1)).all(2).float().mean(1)
        k = self.k[index]
        ray = (middle - k[:, :2, 2]) / torch.stack([k[:, 0, 0], k[:, 1, 1]], 1)
        landmarks = self.landmarks[index] @ _view_rotation(ray, c, s)
        landmarks = torch.cat([landmarks[..., :1] * flip[:, None, None], landmarks[..., 1:]], 2)

        cells = (torch.arange(size, device=self.device) + 0.5) / size - 0.5
        y, x = torch.meshgrid(cells, cells, indexing="ij")
        grid = torch.stack([x * flip[:, None, None], y.expand(n, -1, -1)], 3) * span[:, None, None, None]
        grid = grid.view(n, -1, 2) @ turn.transpose(1, 2) + middle[:, None]
        grid = (2 * grid / self.side - 1).view(n, size, size, 2)
        pictures = self.pictures[index].permute(0, 3, 1, 2).float() / 255
        image = F.grid_sample(pictures, grid, mode="bilinear", align_corners=False)

        batch = {
            "landmarks": landmarks, "points": unit, "presence": (inside > INSIDE).float(),
            "right": (~wrong).float(), "known3d": self.known[index],
            "lifted": self.lifted[index],
        }  # fmt: skip
        if self.nothing is not None:
            blank = uniform() < self.hands.empty_share
            rows = torch.randint(len(self.nothing), (n,), generator=luck, device=self.device)
            piece = self.nothing[rows].permute(0, 3, 1, 2).float() / 255
            part = F.affine_grid(_anywhere(uniform(5)), [n, 3, size, size], align_corners=False)
            piece = F.grid_sample(piece, part, padding_mode="reflection", align_corners=False)
            image = torch.where(blank[:, None, None, None], piece, image)
            for name, value in batch.items():
                value[blank] = 0.5 if name == "right" else 0.0
        image = _colour(image, normal, uniform)
        batch["image"] = (image.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1)
        return batch


def _anywhere(luck: Tensor) -> Tensor:
    """Affines (N, 2, 3) of a part of a picture, any way round, for numbers (N, 5) of 0..1."""
    part = 0.4 + 0.6 * luck[:, 0]
    angle = 2 * torch.pi * luck[:, 1]
    c, s = part * torch.cos(angle), part * torch.sin(angle)
    flip = torch.where(luck[:, 2] < 0.5, -1.0, 1.0)
    shift = (2 * luck[:, 3:] - 1) * (1 - part)[:, None]
    return torch.stack([c * flip, -s, shift[:, 0], s * flip, c, shift[:, 1]], 1).view(-1, 2, 3)


def _upright(points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Centre (N, 2), extent (N,) and roll (N,) of `crop_around` for points (N, 21, 2)."""
    centre = points[:, MIDDLE_MCP]
    up = centre - points[:, WRIST]
    return centre, (points - centre[:, None]).norm(dim=2).amax(1), torch.atan2(up[:, 0], -up[:, 1])


def _view_rotation(ray: Tensor, c: Tensor, s: Tensor) -> Tensor:
    """`crop.view_rotation` (N, 3, 3) for rays (N, 2) and the roll's cosine and sine (N,)."""
    length = torch.sqrt((ray * ray).sum(1) + 1)
    a, b, ahead = ray[:, 0] / length, ray[:, 1] / length, 1 / length
    k = 1 / (1 + ahead)
    look = torch.stack([1 - a * a * k, -a * b * k, a, -a * b * k, 1 - b * b * k, b, -a, -b, ahead], 1)
    zero, one = torch.zeros_like(c), torch.ones_like(c)
    roll = torch.stack([c, -s, zero, s, c, zero, zero, zero, one], 1)
    return look.view(-1, 3, 3) @ roll.view(-1, 3, 3)


def _colour(image: Tensor, normal: Any, uniform: Any) -> Tensor:
    """What `cutouts.colour` does, for pictures (N, 3, S, S) of 0..1; softness by two fixed shrinkings."""

    def some(share: float) -> Tensor:
        return (uniform() < share)[:, None, None, None]

    size = image.shape[-1]
    image = image.clamp(1e-4, 1) ** torch.exp(0.25 * normal(1, 1, 1)) * torch.exp(0.22 * normal(1, 1, 1))
    image = (image * (1 + 0.06 * normal(3, 1, 1)) + 0.04 * normal(1, 1, 1)).clamp(0, 1)
    grey = (image * image.new_tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)
    image = torch.where(some(0.3), torch.lerp(grey, image, uniform(1, 1, 1)), image)
    for factor in (2, 3):
        small = F.interpolate(image, (size // factor, size // factor), mode="area")
        soft = F.interpolate(small, (size, size), mode="bilinear")
        image = torch.where(some(0.12), torch.lerp(image, soft, uniform(1, 1, 1)), image)
    dots = F.interpolate(uniform(3, size // 2, size // 2), (size, size)) - 0.5
    image = torch.where(some(0.3), image + dots * (0.02 + 0.1 * uniform(1, 1, 1)), image)
    cells = (torch.arange(size, device=image.device) + 0.5) / size
    extent = 0.08 + 0.27 * uniform(2, 1, 1)
    corner = uniform(2, 1, 1) * (1 - extent)
    over = (cells >= corner[:, :, 0]) & (cells < (corner + extent)[:, :, 0])
    block = (over[:, 0, :, None] & over[:, 1, None, :])[:, None] & some(0.2)
    return torch.where(block, uniform(3, 1, 1), image)
