"""What the networks learn: weighted parts of a loss, by name."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from handcoach_train.training.recipe import FinderRecipe, LandmarkRecipe

Batch = dict[str, Tensor]
Outputs = tuple[Tensor, Tensor, Tensor]  # of LandmarkNet.raw

# Where each joint but the wrist hangs: the one before it, the first of a finger at the wrist.
_FROM = torch.tensor([0 if j % 4 == 1 else j - 1 for j in range(1, 21)])

# How far a finger's MCP, PIP and DIP bend back and forth: goniometry's norms with room for lax joints.
LIMITS = torch.tensor([[-45.0, -20.0, -20.0], [105.0, 125.0, 95.0]]).deg2rad()

MOVED = 1.5  # pixels by which a held hand's next frame lies aside at most
# Of a batch, which begins with its photographs: some of these and some of the renderings.
SHOWN_AGAIN = slice(None, None, 4)
PEAK = 0.999  # of a heat map: a hand's own cell
NOISE = 0.14  # of its camera at most, in ImageNet's standard deviations: eight grey levels


def landmark_loss(
    outputs: Outputs, batch: Batch, recipe: LandmarkRecipe, taught: Outputs | None = None
) -> dict[str, Tensor]:
    """Weighted parts of the landmark network's loss.

    Args:
        outputs: landmarks (N, 21, 3), points (N, 21, 2) and logits of presence and right (N, 2).
        taught: what a teacher says of the same pictures; the photographs follow it too.
    """
    landmarks, points, flags = outputs
    here = batch["presence"]
    known = here * batch["known3d"]
    real = here * (1 - batch["known3d"])
    distance = _robust(landmarks, batch["landmarks"], 0.05)
    # Bones carry the posture: their errors count beside those of the joints, which add up along a finger.
    bones = _robust(_bones(landmarks), _bones(batch["landmarks"]), 0.05)
    # Shown seldom, left hands are weighed, so that the network says what it sees, not what is usual.
    other = 4.0 if recipe.mirror else 1.0
    side = F.binary_cross_entropy_with_logits(flags[:, 1], batch["right"], reduction="none")
    losses = {
        "landmarks": recipe.landmarks * _mean(distance, known),
        "bones": recipe.bones * _mean(bones, known),
        "points": recipe.points * _mean(_robust(points, batch["points"], 0.02), here),
        # Photographs have no depth, but their landmarks must project on their points: weak perspective.
        "project": recipe.project * _mean(projection_error(landmarks, batch["points"]), real),
        # Lifted landmarks are a guess.
        "lifted": recipe.lifted * _mean(distance + bones, here * batch["lifted"]),
        "presence": recipe.presence * F.binary_cross_entropy_with_logits(flags[:, 0], here),
        "right": recipe.right * _mean(side, here * (other + (1 - other) * batch["right"])),
    }
    if recipe.limits:
        losses["limits"] = recipe.limits * _mean(beyond_limits(landmarks, batch["right"]), here)
    if taught is not None:
        gap = _robust(landmarks, taught[0], 0.05) + _robust(points, taught[1], 0.02)
        losses["distil"] = recipe.distil * _mean(gap, real)
    return losses


def next_frame(x: Tensor, luck: torch.Generator) -> tuple[Tensor, Tensor]:
    """Normalised cut-outs (N, 3, S, S) as the next frame of a held hand shows them: a camera's noise is new,
    and the cut-out has moved by up to MOVED pixels. Also how far the points went (N, 2), in its units."""
    n, size = len(x), x.shape[-1]
    moved = (2 * torch.rand(n, 2, generator=luck, device=x.device) - 1) * MOVED / size
    theta = torch.eye(2, 3, device=x.device).repeat(n, 1, 1)
    theta[:, :, 2] = -2 * moved
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    shifted = F.grid_sample(x, grid, padding_mode="border", align_corners=False)
    noise = torch.randn(x.shape, generator=luck, device=x.device)
    return shifted + NOISE * torch.rand(n, 1, 1, 1, generator=luck, device=x.device) * noise, moved


def unsteadiness(outputs: Outputs, moved: Tensor) -> Tensor:
    """How far apart the landmarks and points (the latter four-fold) of the last len(moved) pictures are from
    those of the `SHOWN_AGAIN` before them, of which they are the next frames. Plain distances: small ones
    matter."""
    n = len(moved)
    landmarks, points = (said[-n:] - said[:-n][SHOWN_AGAIN] for said in outputs[:2])
    return landmarks.abs().mean() + 4 * (points - moved[:, None]).abs().mean()


def beyond_limits(landmarks: Tensor, right: Tensor) -> Tensor:
    """By how much (N,) the four fingers' joints bend farther than `LIMITS`, radians, the mean over joints.

    A fist read inside out projects on the same points, and only its fingers, which bend back, give it away
    (biomechanical constraints: Spurr et al. 2020, "Weakly supervised 3D hand pose estimation").

    Args:
        landmarks: (N, 21, 3). right: (N,), 1 for right hands, 0 for left ones.
    """
    angle, seen = flexion(landmarks, right)
    low, high = LIMITS.to(landmarks)
    return ((low - angle).relu() + (angle - high).relu()).mul(seen).mean((1, 2))


def flexion(landmarks: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """MCP, PIP and DIP of the four fingers, radians (N, 4, 3), and how far they can be told (N, 4, 3), 0..1:
    a finger that is seen along its axis of flexion has no angle, and an angle's gradient no bounds.

    Args:
        landmarks, right: as of `beyond_limits`.
    """
    fingers = landmarks[:, 1:].unflatten(1, (5, 4))[:, 1:]  # (N, index to little, MCP to tip, 3)
    knuckles = fingers[:, :, 0] - landmarks[:, :1]
    # The palm is well seen: it says where to bend to, and only the fingers are moved.
    palm = F.normalize(torch.linalg.cross(knuckles[:, 0], knuckles[:, 3]), dim=-1).detach()[:, None]
    straight = (knuckles - palm * (knuckles * palm).sum(-1, keepdim=True)).detach()
    across = F.normalize(torch.linalg.cross(straight, palm.expand_as(straight)), dim=-1)[:, :, None]
    chain = F.normalize(torch.cat([straight[:, :, None], fingers.diff(dim=2)], 2), dim=-1)
    flat = chain - across * (chain * across).sum(-1, keepdim=True)
    a, b = flat[:, :, :-1], flat[:, :, 1:]
    sine = (torch.linalg.cross(a, b) * across).sum(-1) * (2 * right - 1)[:, None, None]
    length = flat.square().sum(-1).detach()
    return torch.atan2(sine, (a * b).sum(-1) + 1e-6), length[:, :, :-1] * length[:, :, 1:]


def _mean(value: Tensor, weight: Tensor) -> Tensor:
    return (value * weight).sum() / weight.sum().clamp(min=1)


def _robust(a: Tensor, b: Tensor, beta: float) -> Tensor:
    """Smooth L1 (N,) of arrays (N, J, D)."""
    return F.smooth_l1_loss(a, b, reduction="none", beta=beta).mean((1, 2))


def _bones(landmarks: Tensor) -> Tensor:
    return landmarks[:, 1:] - landmarks[:, _FROM.to(landmarks.device)]


def projection_error(landmarks: Tensor, points: Tensor) -> Tensor:
    """Mean residual (N,) of points (N, 21, 2) against landmarks' x, y under the best scale and shift, in
    units of the points' own spread."""
    a = landmarks[..., :2] - landmarks[..., :2].mean(1, keepdim=True)
    b = points - points.mean(1, keepdim=True)
    scale = (a * b).sum((1, 2), keepdim=True) / (a * a).sum((1, 2), keepdim=True).clamp(min=1e-4)
    spread = b.square().sum((1, 2)).sqrt().clamp(min=1e-3) / 21**0.5
    return _robust(a * scale, b, 0.02) / spread


def finder_loss(maps: Tensor, batch: Batch, recipe: FinderRecipe) -> dict[str, Tensor]:
    """Weighted parts of the finder's loss, for its map (N, 7, H / 8, W / 8)."""
    heat, known = batch["heat"], batch["known"]
    p = torch.sigmoid(maps[:, 0]).clamp(1e-4, 1 - 1e-4)
    peak = (heat >= PEAK).float()
    # Penalty-reduced focal loss of CenterNet (Zhou et al. 2019, eq. 1).
    focal = -(peak * (1 - p) ** 2 * p.log() + (1 - peak) * (1 - heat) ** 4 * p**2 * (1 - p).log()).sum((1, 2))
    count = known.sum().clamp(min=1)
    place = F.smooth_l1_loss(maps[:, 2:6], batch["map"][:, 2:6], reduction="none", beta=0.01).sum(1)
    extent = F.smooth_l1_loss(maps[:, 6], batch["map"][:, 6], reduction="none", beta=0.1)
    side = F.binary_cross_entropy_with_logits(maps[:, 1], batch["map"][:, 1], reduction="none")
    return {
        "heat": recipe.heat * focal.mean() / peak.sum((1, 2)).mean().clamp(min=1),
        "place": recipe.place * (place * known).sum() / count,
        "extent": recipe.extent * (extent * known).sum() / count,
        "side": recipe.side * (side * known).sum() / count,
    }
