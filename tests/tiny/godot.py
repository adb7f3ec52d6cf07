"""A made-up glTF hand in the shape of the Godot hands: for tests of the second mesh without the assets."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pygltflib

from handcoach_train.render.arm import BONES, INDEX
from handcoach_train.render.godot import FILE, FINGERS
from tiny import arms

# The file's hand points along -z; the made-up arm's along y with the palm to z.
TURN = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])


def write(folder: Path) -> Path:
    """The glTF file and one skin; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    heads, tails = arms.bones()
    names, places, of_bone = ["Wrist_R"], [np.zeros(3)], {INDEX["wrist"]: 0}
    for f, finger in enumerate(FINGERS):
        first = INDEX[f"finger{f + 1}-1"]
        chain = range(first if f == 0 else first - 1, first + 3)
        parts = ["Metacarpal", "Proximal", "Intermediate", "Distal"]
        parts = [p for p in parts if f or p != "Intermediate"]
        for part, bone in zip(parts, chain, strict=True):
            of_bone[bone] = len(names)
            names.append(f"{finger}_{part}_R")
            places.append(heads[bone])
        names.append(f"{finger}_Tip_R")
        places.append(heads[first + 2] + 0.7 * (tails[first + 2] - heads[first + 2]))
    keep = [b for b in range(len(BONES)) if b in of_bone]
    boxes = []
    for b in keep:
        radius = 0.025 if BONES[b] == "wrist" else 0.008
        boxes.append(arms._box(heads[b], tails[b], radius))
    quads = np.concatenate([np.array(arms.FACES) + 8 * i for i in range(len(keep))])
    arrays = {
        "POSITION": (np.concatenate(boxes) @ TURN.T).astype("<f4"),
        "TEXCOORD_0": np.tile([[0.6, 0.4]], (8 * len(keep), 1)).astype("<f4"),
        "JOINTS_0": np.array([[of_bone[b], 0, 0, 0] for b in keep for _ in range(8)], np.uint8),
        "WEIGHTS_0": np.tile([[1.0, 0, 0, 0]], (8 * len(keep), 1)).astype("<f4"),
        "indices": np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]).astype("<u2").reshape(-1, 1),
        "matrices": np.array([_inverse(p @ TURN.T) for p in places], "<f4").reshape(-1, 16),
    }
    gltf, blob = pygltflib.GLTF2(), b""
    types = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4", 16: "MAT4"}
    kinds = {"<f4": pygltflib.FLOAT, "|u1": pygltflib.UNSIGNED_BYTE, "<u2": pygltflib.UNSIGNED_SHORT}
    for i, array in enumerate(arrays.values()):
        data = array.tobytes()
        gltf.bufferViews.append(pygltflib.BufferView(buffer=0, byteOffset=len(blob), byteLength=len(data)))
        gltf.accessors.append(
            pygltflib.Accessor(
                bufferView=i,
                componentType=kinds[array.dtype.str],
                count=len(array),
                type=types[array.shape[1]],
            )
        )
        blob += data + b"\0" * (-len(data) % 4)
    gltf.buffers.append(pygltflib.Buffer(byteLength=len(blob)))
    gltf.set_binary_blob(blob)
    gltf.convert_buffers(pygltflib.BufferFormat.DATAURI)
    attributes = pygltflib.Attributes(POSITION=0, TEXCOORD_0=1, JOINTS_0=2, WEIGHTS_0=3)
    gltf.meshes.append(pygltflib.Mesh(primitives=[pygltflib.Primitive(attributes=attributes, indices=4)]))
    gltf.nodes += [pygltflib.Node(name=n) for n in names]
    gltf.skins.append(pygltflib.Skin(joints=list(range(len(names))), inverseBindMatrices=5))
    gltf.save(str(folder / FILE))
    skin = np.full((64, 64, 3), (90, 140, 200), np.uint8)
    cv2.imwrite(str(folder / "caucasian_baseColor.png"), skin)
    cv2.imwrite(str(folder / "african_baseColor.png"), skin // 3)
    return folder


def _inverse(place: np.ndarray) -> np.ndarray:
    """The inverse bind matrix of a joint that is not turned, column by column as glTF keeps it."""
    matrix = np.eye(4)
    matrix[:3, 3] = -place
    return matrix.T
