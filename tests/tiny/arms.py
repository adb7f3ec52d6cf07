"""A made-up right arm of boxes: for tests of posture and rendering without anny.

At rest the hand points along y, the index is on the x side and the palm faces z; the fingers are bent by
`rest` degrees at PIP and DIP, as anny's are a little. Metres, the wrist at the origin.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from handcoach_train.render.arm import BONES, INDEX, Bodies

# x and y of the MCP, and the lengths of the three bones, index to little.
FINGERS = (
    (0.025, 0.088, 0.042, 0.025, 0.020),
    (0.000, 0.090, 0.046, 0.028, 0.021),
    (-0.022, 0.085, 0.043, 0.027, 0.021),
    (-0.043, 0.078, 0.034, 0.020, 0.019),
)


def bones(rest: float = 12.0) -> tuple[np.ndarray, np.ndarray]:
    """Heads and tails (22, 3)."""
    heads, tails = np.zeros((len(BONES), 3)), np.zeros((len(BONES), 3))

    def put(name: str, head: np.ndarray, tail: np.ndarray) -> None:
        heads[INDEX[name]], tails[INDEX[name]] = head, tail

    put("lowerarm01", np.array([0, -0.22, 0]), np.array([0, -0.11, 0]))
    put("lowerarm02", np.array([0, -0.11, 0]), np.zeros(3))
    put("wrist", np.zeros(3), np.array([0, 0.02, 0]))
    point = np.array([0.03, 0.025, 0.004])
    for k, (direction, length) in enumerate(
        (((0.7, 0.7, 0.15), 0.045), ((0.5, 0.85, 0.15), 0.032), ((0.35, 0.93, 0.15), 0.027))
    ):
        d = np.array(direction) / np.linalg.norm(direction)
        put(f"finger1-{k + 1}", point, point + d * length)
        point = point + d * length
    for f, (x, y, *lengths) in enumerate(FINGERS):
        point = np.array([x, y, 0.0])
        put(f"metacarpal{f + 1}", np.array([x / 2, 0.02, 0]), point)
        for k, length in enumerate(lengths):
            angle = np.deg2rad(rest * k)
            end = point + length * np.array([0, np.cos(angle), np.sin(angle)])
            put(f"finger{f + 2}-{k + 1}", point, end)
            point = end
    return heads, tails


def _box(head: np.ndarray, tail: np.ndarray, radius: float) -> np.ndarray:
    """Eight corners (8, 3) around a bone, a little longer than it."""
    d = (tail - head) / np.linalg.norm(tail - head)
    side = np.cross(d, [0, 0, 1.0])
    side /= np.linalg.norm(side)
    up = np.cross(side, d)
    ring = [a * side + b * up for a, b in ((1, 1), (-1, 1), (-1, -1), (1, -1))]
    return np.array([end + radius * r for end in (head - 0.003 * d, tail + 0.003 * d) for r in ring])


FACES = ((4, 5, 1, 0), (5, 6, 2, 1), (6, 7, 3, 2), (7, 4, 0, 3), (0, 1, 2, 3), (7, 6, 5, 4))


def write_bodies(path: Path, count: int, rest: float = 12.0) -> None:
    """A file as `handcoach_train.render.arm.write_bodies` makes it, of `count` sizes of the arm."""
    heads, tails = bones(rest)
    radius = [0.025 if "arm" in b else 0.012 if b.startswith(("meta", "wrist")) else 0.008 for b in BONES]
    skin = np.concatenate([_box(h, t, r) for h, t, r in zip(heads, tails, radius, strict=True)])
    quads = np.concatenate([np.array(FACES) + 8 * b for b in range(len(BONES))])
    triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]).astype(np.int32)
    size = np.linspace(0.85, 1.15, count)[:, None, None] if count > 1 else np.ones((1, 1, 1))
    np.savez(
        path,
        vertices=(skin * size).astype(np.float32),
        heads=(heads * size).astype(np.float32),
        tails=(tails * size).astype(np.float32),
        weights=np.repeat(np.eye(len(BONES)), 8, axis=0),
        triangles=triangles,
        corners=triangles,
        corner=np.arange(len(skin), dtype=np.int32),
        uv=np.random.default_rng(0).uniform(0, 1, (len(skin), 2)),
    )


def arm(folder: Path, rest: float = 12.0):
    """One `Arm`, read back from a file in `folder`."""
    file = folder / "bodies.npz"
    write_bodies(file, 1, rest)
    return Bodies(file).arm(0)
