"""A second hand: the rigged glTF hand of the Godot XR Tools (CC0), made into right arms of many sizes.

Its 26 joints are OpenXR's: a metacarpal, proximal, distal bone and tip of the thumb, and an intermediate one
more of the fingers. They are the anatomy's, but for the tips: OpenXR's lie in the finger, ours are its end.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handcoach_train.errors import TrainError
from handcoach_train.render.anatomy import in_the_middle
from handcoach_train.render.arm import BONES, FIRST, INDEX, PARENT, Floats

FILE = "Hand_Nails_R.gltf"
FINGERS = ("Thumb", "Index", "Middle", "Ring", "Little")
HAND = 0.197  # metres, wrist to the tip of the stretched middle finger, of the hand at size 1
FOREARM = 0.22
TYPES = {5121: np.uint8, 5123: np.uint16, 5125: np.uint32, 5126: np.float32}
SIZES = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}


def textures(folder: Path) -> list[Path]:
    """The skins of the folder (not its gloves)."""
    return sorted(p for p in folder.glob("*_baseColor.[jp]*g") if p.name.startswith(("african", "caucasian")))


def people(folder: Path, count: int, seed: int) -> dict[str, NDArray[Any]]:
    """`count` right arms of the Godot hand as `arm.Bodies` keeps them, from child's size to a large man's.

    Raises:
        TrainError: the folder is not the Godot hands'.
    """
    vertices, uv, joints, weights, corners, heads, tails = _load(folder / FILE)
    places, corner = np.unique(vertices.round(6), axis=0, return_inverse=True)
    corner = corner.ravel()
    first = np.unique(corner, return_index=True)[1]
    w = np.zeros((len(places), len(BONES)))
    for k in range(4):
        np.add.at(w, (np.arange(len(places)), joints[first, k]), weights[first, k])
    triangles = corner[corners]
    places, w, triangles, corner, uv, corners = _forearm(places, w, triangles, corner, uv, corners)
    w /= w.sum(1, keepdims=True)
    heads, tails = in_the_middle(places, heads, tails, w)
    shapes = [_shape(np.random.default_rng([seed, i, 7]), places, heads, tails, w) for i in range(count)]
    return {
        "vertices": np.array([s[0] for s in shapes], np.float32),
        "heads": np.array([s[1] for s in shapes], np.float32),
        "tails": np.array([s[2] for s in shapes], np.float32),
        "weights": w,
        "triangles": triangles.astype(np.int32),
        "corners": corners.astype(np.int32),
        "corner": corner.astype(np.int32),
        "uv": np.stack([uv[:, 0], 1 - uv[:, 1]], 1),  # glTF counts v from the picture's top
    }


def _load(file: Path) -> tuple[NDArray[Any], ...]:
    """Vertices (V, 3), uv (V, 2), bones (V, 4) in `arm.BONES`, weights (V, 4), triangles (T, 3), heads and
    tails (22, 3): metres, the wrist at the origin."""
    import pygltflib

    if not file.is_file():
        raise TrainError(f"{file.parent} does not hold the Godot hands: {FILE} is missing there.")
    gltf = pygltflib.GLTF2().load(str(file))
    if gltf is None or not gltf.meshes or not gltf.skins:
        raise TrainError(f"{file} is not a rigged glTF hand: get the Godot XR Tools' file again.")
    blob = gltf.get_data_from_buffer_uri(gltf.buffers[0].uri)

    def read(i: int) -> NDArray[Any]:
        a = gltf.accessors[i]
        v = gltf.bufferViews[a.bufferView]
        start = (v.byteOffset or 0) + (a.byteOffset or 0)
        return np.frombuffer(blob, TYPES[a.componentType], a.count * SIZES[a.type], start).reshape(
            a.count, -1
        )

    mesh, skin = gltf.meshes[0].primitives[0], gltf.skins[0]
    names = [gltf.nodes[j].name.removesuffix("_R") for j in skin.joints]
    to_rest = np.linalg.inv(read(skin.inverseBindMatrices).reshape(-1, 4, 4).transpose(0, 2, 1))
    at = dict(zip(names, to_rest[:, :3, 3].astype(np.float64), strict=True))
    origin = at["Wrist"]
    vertices = read(mesh.attributes.POSITION).astype(np.float64) - origin
    at = {name: place - origin for name, place in at.items()}

    heads, tails = np.zeros((len(BONES), 3)), np.zeros((len(BONES), 3))
    bone = dict.fromkeys(("Wrist", "Palm"), INDEX["wrist"])
    for f, finger in enumerate(FINGERS):
        chain = ["Metacarpal", "Proximal", "Intermediate", "Distal", "Tip"]
        chain = [f"{finger}_{part}" for part in chain if f or part != "Intermediate"]
        start = FIRST[f] if f == 0 else FIRST[f] - 1
        for k in range(len(chain) - 1):
            heads[start + k], tails[start + k] = at[chain[k]], at[chain[k + 1]]
            bone[chain[k]] = start + k
        last = start + len(chain) - 2
        bone[chain[-1]] = last
        # The tip is the finger's end.
        axis = tails[last] - heads[last]
        axis /= np.linalg.norm(axis)
        away = vertices - heads[last]
        near = np.linalg.norm(away - (away @ axis)[:, None] * axis, axis=1) < 0.012
        skin_end = (away[near] @ axis).max() - 0.001  # the nail stands out
        tails[last] = heads[last] + axis * skin_end
    arm = -at["Middle_Proximal"] / np.linalg.norm(at["Middle_Proximal"])
    half = arm * FOREARM / 2
    heads[INDEX["lowerarm01"]], tails[INDEX["lowerarm01"]] = 2 * half, half
    heads[INDEX["lowerarm02"]], tails[INDEX["lowerarm02"]] = half, 0 * half
    heads[INDEX["wrist"]], tails[INDEX["wrist"]] = 0 * half, -0.02 * arm
    bone_of = np.array([bone[name] for name in names])
    uv, joints = read(mesh.attributes.TEXCOORD_0).astype(np.float64), bone_of[read(mesh.attributes.JOINTS_0)]
    weights, triangles = read(mesh.attributes.WEIGHTS_0).astype(np.float64), read(mesh.indices).reshape(-1, 3)
    return vertices, uv, joints, weights, triangles, heads, tails


def _forearm(
    places: Floats,
    weights: Floats,
    triangles: NDArray[Any],
    corner: NDArray[Any],
    uv: Floats,
    corners: NDArray[Any],
) -> tuple[Any, ...]:
    """The mesh with a forearm in place of the cap that closes it at the wrist."""
    middle = places[np.argmax(places[:, 2])]
    toward = np.array([0.0, 0, 1])  # the file's hand points along -z
    normal = np.cross(places[triangles[:, 1]] - places[triangles[:, 0]],
                      places[triangles[:, 2]] - places[triangles[:, 0]])  # fmt: skip
    facing = normal @ toward / np.maximum(np.linalg.norm(normal, axis=1), 1e-12)
    cap = (facing > 0.85) & (places[triangles, 2].min(1) > middle[2] - 0.006)
    triangles, corners = triangles[~cap], corners[~cap]
    edges = triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    back = {(b, a) for a, b in edges}
    at_wrist = places[:, 2] > middle[2] - 0.01
    follow = {a: b for a, b in edges if (a, b) not in back and at_wrist[a] and at_wrist[b]}
    start = next(iter(follow))
    loop = [start]
    while (n := follow.get(loop[-1], start)) != start and len(loop) <= len(follow):
        loop.append(n)
    ring = places[loop]
    texture = uv[[int(np.argmax(corner == v)) for v in loop]]
    centre = ring.mean(0)
    rings = [np.array(loop)]
    for k, far in enumerate(np.linspace(0, FOREARM, 11)[1:]):
        part = far / FOREARM
        # Rounder, flat to the loop's plane further up, and a third wider where the muscles are.
        shape = (ring - centre) * [1, 1, max(0.0, 1 - 2 * k / 5)] * (1 + 0.4 * part * (1 - 0.25 * part))
        new = centre + shape + toward * far
        upper = float(np.clip((far - FOREARM * 0.4) / (FOREARM * 0.2), 0, 1))
        hand = float(np.clip(1 - far / 0.03, 0, 1)) * 0.5
        w = np.zeros((len(loop), len(BONES)))
        w[:, INDEX["wrist"]] = hand
        w[:, INDEX["lowerarm02"]] = (1 - upper) * (1 - hand)
        w[:, INDEX["lowerarm01"]] = upper * (1 - hand)
        rings.append(np.arange(len(places), len(places) + len(loop)))
        places, weights = np.concatenate([places, new]), np.concatenate([weights, w])
    first_corner = len(uv)
    vertex_of, uv_of, faces, uv_faces = [], [], [], []
    n = len(loop)
    for k, r in enumerate(rings):
        vertex_of.append(r)
        uv_of.append(texture)
        if k:
            for i in range(n):
                j = (i + 1) % n
                a, b, c, d = rings[k - 1][i], rings[k - 1][j], r[j], r[i]
                p, q = first_corner + (k - 1) * n, first_corner + k * n
                faces += [[b, a, d], [b, d, c]]
                uv_faces += [[p + j, p + i, q + i], [p + j, q + i, q + j]]
    return (
        places, weights, np.concatenate([triangles, np.array(faces)]),
        np.concatenate([corner, *vertex_of]), np.concatenate([uv, *uv_of]),
        np.concatenate([corners, np.array(uv_faces)]),
    )  # fmt: skip


def _shape(
    rng: np.random.Generator, vertices: Floats, heads: Floats, tails: Floats, weights: Floats
) -> tuple[Floats, Floats, Floats]:
    """A person's hand: each bone longer or shorter, thicker or thinner, and all of it larger or smaller."""
    fingers = rng.normal(1, 0.05)
    thick = float(np.clip(rng.normal(0.98, 0.09), 0.78, 1.2))
    broad = float(np.clip(rng.normal(1, 0.06), 0.85, 1.15))
    grown = rng.random() < 0.8
    length = rng.normal(0.183, 0.012) if grown else rng.uniform(0.13, 0.165)
    size = length / HAND
    forward = heads[FIRST[2]] / np.linalg.norm(heads[FIRST[2]])
    turn: list[Floats] = []
    new_heads, new_tails, shift = np.zeros_like(heads), np.zeros_like(tails), np.zeros_like(heads)
    for b, parent in enumerate(PARENT):
        axis = (tails[b] - heads[b]) / np.linalg.norm(tails[b] - heads[b])
        if b >= FIRST[0] and not BONES[b].startswith("metacarpal"):
            along, across = np.clip(fingers + rng.normal(0, 0.025), 0.8, 1.2), thick
        else:  # palm and forearm: one matrix for all, so that they stay of one piece
            axis, along, across = forward, 1.0, broad
        linear = across * np.eye(3) + (along - across) * np.outer(axis, axis)
        new_heads[b] = linear @ heads[b] if parent < 0 else turn[parent] @ heads[b] + shift[parent]
        shift[b] = new_heads[b] - linear @ heads[b]
        new_tails[b] = linear @ tails[b] + shift[b]
        turn.append(linear)
    shaped = np.einsum("vb,bij,vj->vi", weights, np.array(turn), vertices, optimize=True) + weights @ shift
    origin = new_heads[INDEX["wrist"]]
    return (shaped - origin) * size, (new_heads - origin) * size, (new_tails - origin) * size
