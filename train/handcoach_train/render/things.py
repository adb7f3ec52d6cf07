"""Things that people hold and that lie about: sticks, cups, balls, boxes. They hide parts of the hand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from handcoach_train.render.arm import Floats, palm_normal


@dataclass
class Thing:
    """Triangles of a thing: rows of world position, normal and texture place (3 * T, 8); and how it looks."""

    mesh: Floats
    colour: Floats
    other: Floats
    stripes: float
    gloss: float


def random_things(rng: np.random.Generator, joints: Floats, on_table: bool) -> list[Thing]:
    """Mostly nothing, else one thing that the hand of joints (21, 3), world metres, holds or that is near."""
    if rng.random() > 0.16:
        return []
    out, palm = (
        palm_normal(joints),
        joints[[0, 5, 9, 13, 17]].mean(0) * 0.5 + joints[[5, 9, 13, 17]].mean(0) * 0.5,
    )
    across = joints[5] - joints[17]
    room = float(((joints[[8, 12, 16, 20]] - palm) @ out).mean())  # before the palm, under the fingertips
    kind = rng.choice(["pen", "held", "near"], p=[0.35, 0.4, 0.25])
    if kind == "pen":
        place = joints[[4, 8]].mean(0) if rng.random() < 0.7 else palm + out * max(0.014, 0.6 * room)
        shape = _rod(rng, float(rng.uniform(0.002, 0.008)), float(rng.uniform(0.1, 0.26)))
        turn = _turn(rng.normal(size=3), rng)
    elif kind == "held":
        radius = float(np.clip(0.5 * room, 0.006, 0.038)) * float(rng.uniform(0.7, 1))
        place = palm + out * (radius + 0.011)
        shape = _any(rng, radius)
        turn = _turn(across + rng.normal(0, 0.012, 3), rng)
    else:
        radius = float(rng.uniform(0.008, 0.04))
        shape = _any(rng, radius)
        way = rng.normal(size=3)
        if on_table:
            way[2] = 0
            away = way / np.linalg.norm(way) * rng.uniform(0.05, 0.13)
            place = joints[9] * [1, 1, 0] + away + [0, 0, radius]
        else:
            place = joints[rng.integers(21)] + way / np.linalg.norm(way) * (radius + rng.uniform(0.02, 0.06))
        turn = _turn(rng.normal(size=3) * ([1, 1, 0] if on_table else [1, 1, 1]), rng)
    mesh = shape.copy()
    mesh[:, :3] = shape[:, :3] @ turn.T + place
    mesh[:, 3:6] = shape[:, 3:6] @ turn.T
    grey = rng.uniform(0, 1) ** 1.5
    colour = grey + (rng.uniform(0, 1, 3) ** 2 - grey) * rng.uniform(0, 1)
    other = np.clip(colour * rng.uniform(0.2, 1.8), 0, 0.95) if rng.random() < 0.5 else rng.uniform(0, 0.9, 3)
    stripes = float(rng.choice([0, rng.uniform(1, 8)]))
    return [Thing(mesh, np.clip(colour, 0.01, 0.9), other, stripes, float(rng.choice([0.02, 0.3, 1.0])))]


def upper_arm(rng: np.random.Generator, vertices: Floats, up_arm: Floats, colour: Floats) -> Thing:
    """What goes on where an arm's mesh ends, so that no arm ends in the air.

    Args:
        vertices: of the posed arm (V, 3). up_arm: their metres from its wrist (V,). colour: linear (3,).
    """
    far = float(up_arm.max())
    elbow = vertices[up_arm > far - 0.012].mean(0)
    ring = vertices[(up_arm > 0.45 * far) & (up_arm < 0.85 * far)]
    way = (elbow - ring.mean(0)) / np.linalg.norm(elbow - ring.mean(0))
    away = ring - ring.mean(0)
    radius = float(np.percentile(np.linalg.norm(away - (away @ way)[:, None] * way, axis=1), 60))
    length = 0.34
    shape = _rod(rng, radius, length, 1.25)  # thicker towards the shoulder
    turn = _turn(way + rng.normal(0, 0.1, 3), rng)
    mesh = shape.copy()
    mesh[:, :3] = shape[:, :3] @ turn.T + elbow + turn[:, 2] * (length / 2 - 0.045)
    mesh[:, 3:6] = shape[:, 3:6] @ turn.T
    return Thing(mesh, colour, colour, 0.0, 0.03)


def _any(rng: np.random.Generator, radius: float) -> Floats:
    kind = rng.integers(3)
    if kind == 0:
        return _rod(rng, radius, float(rng.uniform(0.07, 0.2)))
    if kind == 1:
        return _ball(radius)
    return _box(
        np.array([rng.uniform(0.5, 2) * radius, rng.uniform(0.2, 1) * radius, rng.uniform(1, 3) * radius])
    )


def _turn(axis: Floats, rng: np.random.Generator) -> Floats:
    """A rotation (3, 3) that takes z to the axis."""
    z = axis / np.linalg.norm(axis)
    x = np.cross(rng.normal(size=3), z)
    x /= np.linalg.norm(x)
    return np.stack([x, np.cross(z, x), z], axis=1)


def _grid(places: Floats, normals: Floats) -> Floats:
    """Triangles of a surface sampled on a grid (R, C, 3)."""
    rows, columns = places.shape[:2]
    u, v = np.meshgrid(np.linspace(0, 1, columns), np.linspace(0, 1, rows))
    points = np.concatenate([places, normals, u[..., None], v[..., None]], axis=-1)
    a, b, c, d = points[:-1, :-1], points[:-1, 1:], points[1:, 1:], points[1:, :-1]
    return np.stack([a, b, c, a, c, d], axis=2).reshape(-1, 8)


def _rod(rng: np.random.Generator, radius: float, length: float, narrow: float | None = None) -> Floats:
    """Pen, stick, bottle, cup: a cylinder along z that may narrow to one end, with ends."""
    narrow = float(rng.uniform(0.6, 1)) if narrow is None else narrow
    angle = np.linspace(0, 2 * np.pi, 17)
    z = np.array([-0.5, -0.5, -0.5, 0, 0.5, 0.5, 0.5])
    wide = np.array([0, 1, 1, 1, 1, 1, 0]) * np.linspace(1, narrow, 7)
    up = np.array([-1, -1, 0, 0, 0, 1, 1.0])
    circle = np.stack([np.cos(angle), np.sin(angle), 0 * angle], -1)
    places = (
        circle[None] * (wide * radius)[:, None, None] + np.array([0, 0, 1.0]) * (z * length)[:, None, None]
    )
    normals = circle[None] * (1 - np.abs(up))[:, None, None] + np.array([0, 0, 1.0]) * up[:, None, None]
    return _grid(places, normals)


def _ball(radius: float) -> Floats:
    angle, height = np.linspace(0, 2 * np.pi, 17), np.linspace(-np.pi / 2, np.pi / 2, 10)
    normals = np.stack(
        [np.cos(height)[:, None] * np.cos(angle), np.cos(height)[:, None] * np.sin(angle),
         np.sin(height)[:, None] + 0 * angle], -1,
    )  # fmt: skip
    return _grid(normals * radius, normals)


def _box(half: Floats) -> Floats:
    sides = []
    for axis in range(3):
        for sign in (-1.0, 1.0):
            normal = np.zeros(3)
            normal[axis] = sign
            a, b = np.delete(np.eye(3), axis, axis=0)
            square = np.array([[-a - b, a - b], [b - a, a + b]]) + normal
            sides.append(_grid(square * half, np.broadcast_to(normal, (2, 2, 3))))
    return np.concatenate(sides)
