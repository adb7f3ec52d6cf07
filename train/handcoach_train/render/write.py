"""Rendering to disk: the HanCo folder layout, full frames for the finder, and clips.

Every picture depends on the seed and its own number alone, so that any number of workers writes the same
bytes and an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import functools
import json
import multiprocessing
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from handcoach_train.errors import TrainError
from handcoach_train.render import people, posture, scene, starter
from handcoach_train.render.arm import Bodies
from handcoach_train.render.godot import FILE as GODOT_FILE
from handcoach_train.render.webcam import Picture

FRAMES_PER_SEQUENCE = 10  # of one person each; eight cameras per frame
PEOPLE = 500
RENDERER = 5  # raised when the same job gives other pictures: they are not mixed in one folder


@dataclass(frozen=True)
class Job:
    """What to render; the same job always gives the same files."""

    out: Path
    count: int
    size: int = 224
    seed: int = 0
    view: str = "any"
    posture: str | None = None
    full_frames: bool = False
    hands: int | None = None
    skins: Path | None = None
    hdri: Path | None = None
    mesh: str = "anny"
    godot: Path | None = None
    arms: Path | None = None  # baked ones

    @property
    def people(self) -> int:
        return min(PEOPLE, max(4, self.count // 10))

    @property
    def frames(self) -> int:
        """Frames to write: eight pictures make one, full frames count singly."""
        return self.count if self.full_frames else -(-self.count // scene.CAMERAS)


def render(job: Job, workers: int) -> int:
    """Render a job; returns the number of pictures in the folder.

    Raises:
        TrainError: nothing to render, the folder holds another job, OpenGL or anny is missing, a folder given
            does not exist.
    """
    _check_assets(job)
    if job.count < 1 or job.size < 16:
        raise TrainError("Nothing to render: give a --count of at least 1 and a --size of at least 16.")
    if job.view not in ("any", "exercise", "library"):
        raise TrainError(f"The view is any, exercise or library, not {job.view!r}.")
    known = tuple(starter.SHOWN) if job.view == "library" else ("almost", *posture.KINDS)
    if job.posture not in (None, *known):
        raise TrainError(f"The posture {job.posture!r} is unknown: give one of {', '.join(known)}.")
    _check_disk(job)
    job.out.mkdir(parents=True, exist_ok=True)
    _claim(job)
    file = job.out / "bodies.npz"
    if job.arms and not file.is_file():
        whole = file.with_suffix(".part")
        shutil.copyfile(job.arms, whole)
        whole.replace(file)
    count = len(people.bodies(file, job.people, job.seed, job.mesh, job.godot))
    todo = [n for n in range(job.frames) if not _done(job, n)]
    context = multiprocessing.get_context("spawn")
    with tqdm(total=job.frames, initial=job.frames - len(todo), unit="frame", desc=job.out.name) as bar:
        if workers <= 1 or len(todo) < 4:
            _start(job)
            for n in todo:
                _frame(n)
                bar.update()
        else:
            with context.Pool(workers, _start, (job,)) as pool:
                for _ in pool.imap_unordered(_frame, todo, chunksize=4):
                    bar.update()
    if not job.full_frames:
        _meta(job, count)
    return job.frames * (1 if job.full_frames else scene.CAMERAS)


def bake(out: Path, count: int, seed: int, mesh: str, godot: Path | None) -> int:
    """Write people's arms for a machine without anny (`people.bake`); returns its bytes.

    Raises:
        TrainError: no people, no Godot hands where they are needed, or anny is missing.
    """
    if count < 1 or out.suffix != ".npz":
        raise TrainError("Nothing to bake: give a file that ends in .npz and a --count of at least 1.")
    _check_mesh(mesh, godot)
    return people.bake(out, count, seed, mesh, godot)


def _check_mesh(mesh: str, godot: Path | None) -> None:
    if mesh not in ("anny", "godot", "mixed"):
        raise TrainError(f"The mesh is anny, godot or mixed, not {mesh!r}.")
    if mesh != "anny" and not godot:
        raise TrainError(f"The mesh {mesh} needs the Godot hands: give their folder with --godot.")
    if godot and not (godot / GODOT_FILE).is_file():
        raise TrainError(f"{godot} does not hold the Godot hands: {GODOT_FILE} is missing there.")


def _check_assets(job: Job) -> None:
    for folder, pattern, what in (
        (job.skins, "*.[jp][pn]g", "skin textures (.jpg, .png)"),
        (job.hdri, "*.hdr", "environment maps (.hdr)"),
    ):
        if folder and not folder.is_dir():
            raise TrainError(f"{folder} is not a folder: give the folder that holds the {what}.")
        if folder and not any(folder.glob(pattern)):
            raise TrainError(f"{folder} holds no {what}: give the folder that does.")
    if not job.arms:
        _check_mesh(job.mesh, job.godot)
    elif job.godot and not job.godot.is_dir():
        raise TrainError(f"{job.godot} is not a folder: give the one that holds the Godot hands' skins.")
    if job.arms and not job.arms.is_file():
        raise TrainError(f"{job.arms} is not a file: make it with handcoach-train bake.")
    if job.arms:
        Bodies(job.arms)  # says so if it holds none


def _check_disk(job: Job) -> None:
    """Refuse what would fill the disk: a pixel takes 0.13 bytes on average, with noise everywhere 0.2; each
    file wastes half a block."""
    # A hand is written on green too.
    pixels = job.size * job.size * 3 // 4 if job.full_frames else 2 * job.size**2
    pictures = job.frames * (1 if job.full_frames else scene.CAMERAS)
    need = pictures * (0.2 * pixels + 8000) + 50e6
    folder = next(p for p in (job.out, *job.out.absolute().parents) if p.exists())
    have = sum(f.stat().st_size for f in job.out.rglob("*") if f.is_file()) if job.out.exists() else 0
    free = shutil.disk_usage(folder).free
    if need - have > free:
        raise TrainError(
            f"The rendering needs about {(need - have) / 1e9:.1f} GB and {folder} has {free / 1e9:.1f} GB "
            "free: make room, or give a smaller --count or --size."
        )


def _claim(job: Job) -> None:
    """Refuse a folder that holds pictures of another job: they would be mixed under one name."""
    note = {
        k: str(v) if isinstance(v, Path) else v for k, v in vars(job).items() if k not in ("out", "count")
    }
    # Whose arms they are, so that baked people may show as many pictures as one likes.
    note |= {"people": 0 if job.arms else job.people, "renderer": RENDERER}
    file = job.out / "render.json"
    if file.is_file():
        try:
            there = json.loads(file.read_text())
        except ValueError:  # damaged: nobody knows what it was
            there = None
        if there != note:
            raise TrainError(
                f"{job.out} holds another rendering: choose an empty folder, or give the same options."
            )
    else:
        file.write_text(json.dumps(note, indent=1))


def _truth_file(job: Job, n: int) -> Path:
    if job.full_frames:
        return job.out / "labels" / f"{n:06d}.json"
    sequence, frame = divmod(n, FRAMES_PER_SEQUENCE)
    return job.out / "xyz" / f"{sequence:04d}" / f"{frame:08d}.json"


def _done(job: Job, n: int) -> bool:
    return _truth_file(job, n).is_file()  # written last


_studio: scene.Studio
_job: Job


def _start(job: Job) -> None:
    global _studio, _job
    # One thread each: the workers fill the cores. Both are read when the libraries start.
    os.environ.setdefault("LP_NUM_THREADS", "1")
    cv2.setNumThreads(1)
    height = job.size * 3 // 4 if job.full_frames else job.size
    people_file = job.arms or job.out / "bodies.npz"
    _studio = _kept_studio(people_file, job.size, height, job.skins, job.hdri, job.godot)
    _job = job


# Many small renderings in one process share it: textures and shaders take seconds to load.
_kept_studio = functools.lru_cache(maxsize=1)(scene.Studio)


def _frame(n: int) -> None:
    rng = np.random.default_rng([_job.seed, n])
    truth = _truth_file(_job, n)
    truth.parent.mkdir(parents=True, exist_ok=True)
    if _job.full_frames:
        image, hands = scene.full_frame(_studio, rng, _job.view, _job.posture, _job.hands)
        _jpeg(_job.out / "frames" / f"{n:06d}.jpg", image, rng)
        record = {
            "size": [image.shape[1], image.shape[0]],
            "hands": [
                {
                    "side": h["side"],
                    "box": [*h["points"].min(0).round(2).tolist(), *h["points"].max(0).round(2).tolist()],
                    "points": h["points"].round(2).tolist(),
                    "joints": h["joints"].round(5).tolist(),
                    **{name: value for name, value in h.items() if name not in ("side", "points", "joints")},
                }
                for h in hands
            ],
        }
        _json(truth, record)
        return
    sequence, frame = divmod(n, FRAMES_PER_SEQUENCE)
    person = sequence % len(_studio.bodies)
    joints, views, facts = scene.hand_views(_studio, rng, person, _job.view, _job.posture)
    for camera, view in enumerate(views):
        name = f"{sequence:04d}/cam{camera}/{frame:08d}.jpg"
        _jpeg(_job.out / "rgb" / name, view.plain, rng)
        _jpeg(_job.out / "rgb_merged" / name, view.image, rng)
    calibration = {"K": [v.K.round(4).tolist() for v in views], "M": [v.M.round(6).tolist() for v in views]}
    file = _job.out / "calib" / f"{sequence:04d}" / f"{frame:08d}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    _json(file, calibration)
    file = _job.out / "meta" / f"{sequence:04d}" / f"{frame:08d}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    _json(file, {"person": person, "view": _job.view, **facts})
    _json(truth, joints.round(6).tolist())


def _jpeg(file: Path, image: Picture, rng: np.random.Generator) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    quality = int(rng.integers(60, 96))
    ok, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not ok:
        raise TrainError(f"{file} could not be encoded.")
    file.write_bytes(data.tobytes())


def _json(file: Path, value: object) -> None:
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps(value))
    partial.replace(file)


def _meta(job: Job, people: int) -> None:
    """HanCo's meta.json: lists over sequences of lists over frames."""
    lengths = [min(FRAMES_PER_SEQUENCE, job.frames - s) for s in range(0, job.frames, FRAMES_PER_SEQUENCE)]

    def everywhere(value: object) -> list[list[Any]]:
        return [[value(s) if callable(value) else value] * n for s, n in enumerate(lengths)]

    _json(
        job.out / "meta.json",
        {
            "is_train": everywhere(True),
            "subject_id": everywhere(lambda s: s % people),
            "is_valid": everywhere(True),
            "object_id": everywhere(None),
            "has_fit": everywhere(True),
        },
    )
