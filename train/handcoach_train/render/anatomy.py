"""Joints where people's are: MakeHuman's rig, made for animation, is corrected to the anatomy.

MakeHuman puts a finger's first joint at the web between the fingers and the thumb's far up its metacarpal;
the finger joints lie under the back's skin. In a hand they are the heads of the metacarpals,
1.5 cm nearer to the wrist, which is where people, and so every set of annotated hands, see the knuckles.
Lengths after Buryanov & Kotiuk 2010, "Proportions of hand segments" (phalanges 40/22/16, 45/26/17, 41/26/17,
33/18/16 mm and 4 mm of soft tissue, metacarpals 68, 65, 58 and 54 mm).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

WRIST = 2  # place in `arm.BONES`
FIRST = (3, 7, 11, 15, 19)  # proximal bones of thumb ... little; the bone before a finger's is its metacarpal
KNUCKLE = 0.13  # how far the MCP joints move to the wrist, of the distance wrist to middle MCP
# The thumb's CMC joint from the wrist: to the index's side, forward, out of the palm; of wrist to middle MCP.
CARPOMETACARPAL = np.array([0.16, 0.24, 0.12])


def anatomical(vertices: Floats, heads: Floats, tails: Floats, weights: Floats) -> tuple[Floats, ...]:
    """Heads and tails (22, 3) of the bones and weights (V, 22) of an arm at rest with its joints corrected.

    Args:
        vertices: (V, 3) metres, the wrist at the origin; heads, tails, weights: as MakeHuman has them.
    """
    heads, tails = in_the_middle(vertices, heads, tails, weights)
    weights = weights.copy()
    size = float(np.linalg.norm(heads[FIRST[2]]))
    out = _unit(np.cross(heads[FIRST[1]], heads[FIRST[4]]))
    for first in FIRST[1:]:
        old = heads[first]
        # Backwards along the finger and along the metacarpal, half each.
        back = _unit(_unit(old - heads[first + 1]) - _unit(old))
        new = old + back * KNUCKLE * size
        # Depth: the knuckle's centre lies a tenth of the palm's length under the skin of the back.
        away = vertices - new
        near = np.linalg.norm(away - (away @ out)[:, None] * out, axis=1) < 0.09 * size
        if near.any():
            new = new + out * ((away[near] @ out).min() + 0.1 * size)
        heads[first] = tails[first - 1] = new
        axis = _unit(heads[first + 1] - new)
        part = _step((vertices - new) @ axis, -0.09 * size, 0.09 * size)
        moved = weights[:, first - 1] * part
        weights[:, first - 1] -= moved
        weights[:, first] += moved
    thumb = FIRST[0]
    size = float(np.linalg.norm(heads[FIRST[2]]))
    heads[thumb] = CARPOMETACARPAL * size @ axes_of(*heads[[FIRST[1], FIRST[2], FIRST[4]]])
    length = float(np.linalg.norm(heads[thumb + 1] - heads[thumb]))
    axis = _unit(heads[thumb + 1] - heads[thumb])
    away = vertices - heads[thumb]
    along = away @ axis
    beside = np.linalg.norm(away - along[:, None] * axis, axis=1)
    part = _step(along, -0.1 * length, 0.6 * length) * (1 - _step(beside, 0.16 * size, 0.3 * size))
    for bone in (WRIST, FIRST[1] - 1):
        moved = weights[:, bone] * part
        weights[:, bone] -= moved
        weights[:, thumb] += moved
    return heads, tails, weights


def axes_of(index: Floats, middle: Floats, little: Floats) -> Floats:
    """What `arm.hand_axes` gives, from where these fingers' MCP joints (3,) lie from the wrist."""
    out = _unit(np.cross(index, little))
    forward = _unit(middle - out * (middle @ out))
    return np.stack([np.cross(forward, out), forward, out])


def in_the_middle(vertices: Floats, heads: Floats, tails: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Heads and tails (22, 3) with the joints within a finger in the middle of it."""
    heads, tails = heads.copy(), tails.copy()
    out = _unit(np.cross(heads[FIRST[1]], heads[FIRST[4]]))
    for first in FIRST:
        for bone in (first + 1, first + 2):
            heads[bone] = _middle(vertices, weights, heads, tails, bone, out if first > FIRST[0] else None)
            tails[bone - 1] = heads[bone]
    return heads, tails


def _middle(
    vertices: Floats, weights: Floats, heads: Floats, tails: Floats, bone: int, out: Floats | None
) -> Floats:
    """The middle (3,) of the finger where `bone` begins, across the bone; where it was if no skin is near."""
    axis = _unit(_unit(tails[bone] - heads[bone]) + _unit(heads[bone] - heads[bone - 1]))
    away = vertices - heads[bone]
    mine = weights[:, bone - 1 : bone + 1].sum(1) > 0.6
    ring = away[mine & (np.abs(away @ axis) < 0.2 * np.linalg.norm(tails[bone] - heads[bone]))]
    if len(ring) < 4:
        return heads[bone]
    up = _unit(np.cross(axis, [1.0, 0, 0] if abs(axis[0]) < 0.9 else [0, 1.0, 0]))
    if out is not None:
        up = _unit(out - axis * (out @ axis))
    side = np.cross(axis, up)
    shift = heads[bone].copy()
    for direction in (up, side):
        reach = ring @ direction
        shift += direction * (reach.min() + reach.max()) / 2
    return shift


def _unit(x: Floats) -> Floats:
    return np.asarray(x / np.linalg.norm(x))


def _step(x: Floats, low: float, high: float) -> Floats:
    """Smooth step (N,) from 0 at low to 1 at high."""
    k = np.clip((x - low) / (high - low), 0, 1)
    return np.asarray(k * k * (3 - 2 * k))
