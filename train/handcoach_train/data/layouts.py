"""Folders with labels on disk, each read into `Samples`: HanCo (real or rendered), FreiHAND, any folder of
pictures with a file of landmarks, photographs with pseudo-labels, rendered full frames.

`load` says which of them a folder is. What is broken is named in one sentence, or left out and counted in
`Samples.skipped` with `skip_broken`.
"""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from handcoach_train.data.photos import load_photos, photo_samples
from handcoach_train.data.samples import Samples, read_image, read_json
from handcoach_train.errors import TrainError

HANCO_VARIANTS = ("rgb", "rgb_merged", "rgb_color_auto", "rgb_color_sample", "rgb_homo")
FREIHAND_VARIANTS = ("gs", "hom", "sample", "auto")  # in the order of their numbers on disk
LABELS = ("landmarks.json", "landmarks.csv")


def layout(root: Path, labels: Path | None = None) -> str:
    """Which kind of data a folder holds: hanco, freihand, frames, photos or folder.

    Raises:
        TrainError: no such folder, or none of these.
    """
    root = Path(root)
    if not root.is_dir():
        raise TrainError(f"{root} is not a folder: give the folder that holds the data set.")
    if labels is not None:
        content = read_json(labels) if Path(labels).suffix != ".csv" else None
        return "photos" if isinstance(content, dict) and "photos" in content else "folder"
    if (root / "xyz").is_dir() and (root / "calib").is_dir():
        return "hanco"
    if any((root / f"{part}_xyz.json").is_file() for part in ("training", "evaluation")):
        return "freihand"
    if any((root / name).is_file() for name in LABELS):
        return "folder"
    if (root / "labels").is_dir() and (root / "frames").is_dir():
        return "frames"
    raise TrainError(
        f"{root} is no data set that HandCoach knows: it needs HanCo's xyz/ and calib/, FreiHAND's "
        "training_xyz.json, a landmarks.json or landmarks.csv beside the pictures, or a file of --labels."
    )


def load(
    root: Path,
    variant: str | None = None,
    *,
    labels: Path | None = None,
    only_valid: bool = True,
    objects: bool = True,
    skip_broken: bool = False,
) -> Samples:
    """Labelled hands of whatever kind of folder this is.

    Args:
        variant: of the pictures: HanCo's folder, or a background of FreiHAND (or its `evaluation`).
        labels: the file of landmarks, where it does not lie in the folder.
        only_valid: leave out what HanCo's meta.json calls not valid. objects: keep its hands that hold one.
        skip_broken: decode every picture now, leave out what is broken and count it by reason.

    Raises:
        TrainError: none of the kinds, no such variant, or something broken, named.
    """
    root, kind = Path(root), layout(root, labels)
    if variant is not None and kind not in ("hanco", "freihand"):
        raise TrainError(f"{root} has no variants: leave out {variant!r}.")
    if kind == "hanco":
        return load_hanco(root, variant, only_valid=only_valid, objects=objects, skip_broken=skip_broken)
    if kind == "freihand":
        return load_freihand(root, variant, skip_broken=skip_broken)
    if kind == "folder":
        return load_folder(root, labels, skip_broken=skip_broken)
    frames = load_frames(root) if labels is None else load_photos(labels, root)
    samples = photo_samples(frames)
    if not len(samples):
        raise TrainError(f"{root} holds no labelled hands.")
    return without_broken(samples) if skip_broken else samples


def variant_of(root: Path, asked: str | None, trained: str | None) -> str | None:
    """The variant to load of a data set: what is asked for, else what a network was trained on, where this
    data set has it."""
    if asked is not None or trained is None:
        return asked
    root, kind = Path(root), layout(root)
    there = (kind == "hanco" and (root / trained).is_dir()) or (
        kind == "freihand" and trained in ("evaluation", *FREIHAND_VARIANTS)
    )
    return trained if there else None


def load_all(
    roots: list[Path], variant: str | None = None, processes: int = 1, skip_broken: bool = False
) -> list[Samples]:
    """`load` of several folders, in as many processes: reading labels keeps one busy for seconds."""
    one = partial(load, variant=variant, skip_broken=skip_broken)
    if processes < 2 or len(roots) < 2:
        return list(map(one, roots))
    with ProcessPoolExecutor(min(processes, len(roots))) as pool:
        return list(pool.map(one, roots))


class _Faults:
    """What is broken: an error at once, or a count for each reason."""

    def __init__(self, skip: bool) -> None:
        self.skip = skip
        self.counts: Counter[str] = Counter()

    def found(self, reason: str, message: str, cause: Exception | None = None, count: int = 1) -> None:
        if not self.skip:
            raise TrainError(message) from cause
        self.counts[reason] += count


def _array(value: Any, *shape: int) -> NDArray[np.float64] | None:
    """Finite numbers of this shape, or None."""
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        return None
    return array if array.shape == shape and np.isfinite(array).all() else None


def project(joints: NDArray[np.floating], k: NDArray[np.floating]) -> NDArray[np.float32]:
    """Pixels (..., 21, 2) of joints (..., 21, 3) in camera axes by intrinsics (..., 3, 3)."""
    pixels = np.einsum("...ij,...pj->...pi", k, joints)
    return np.asarray(pixels[..., :2] / pixels[..., 2:], dtype=np.float32)


# HanCo -----------------------------------------------------------------------------------------------------


def load_hanco(
    root: Path,
    variant: str | None = None,
    *,
    only_valid: bool = True,
    objects: bool = True,
    skip_broken: bool = False,
) -> Samples:
    """Real HanCo or a rendering of ours; right hands only, as HanCo says.

    World to camera by M (paper eq. 1): x_cam = M x_world; pixels by K. Real HanCo's meta.json is a list over
    sequences of lists over frames. Frames without a valid fit are left out and counted. The variants with
    other backgrounds exist for the green-screen frames (`is_train`) only: the others are counted too.

    Args:
        variant: folder of pictures; None: rgb_merged where there is one, else rgb.
        objects: keep hands that hold an object.

    Raises:
        TrainError: no such folder or variant; a label, camera or picture that is missing or damaged, more
            pictures than labels.
    """
    root, faults = Path(root), _Faults(skip_broken)
    if variant is None:
        variant = "rgb_merged" if (root / "rgb_merged").is_dir() else "rgb"
    if not (root / "xyz").is_dir() or not (root / "calib").is_dir():
        raise TrainError(f"{root} is not in the HanCo layout: it needs xyz/, calib/ and {variant}/.")
    if not (root / variant).is_dir():
        others = [name for name in HANCO_VARIANTS if (root / name).is_dir()]
        raise TrainError(
            f"{root} is not in the HanCo layout: it has no pictures {variant}/, "
            f"{'only ' + ', '.join(others) if others else 'nor any others'}."
        )
    meta = _Meta(root)
    left_out: Counter[str] = Counter()
    files, joints, ks, ms, groups, frames, cameras, subjects = ([] for _ in range(8))  # type: ignore[var-annotated]
    folders = sorted(p for p in (root / "xyz").iterdir() if p.is_dir())
    for extra in sorted({p.name for p in (root / variant).iterdir()} - {folder.name for folder in folders}):
        pictures = sum(1 for _ in (root / variant / extra).glob("cam*/*.jpg"))
        if pictures:
            faults.found(
                "picture of a sequence without labels",
                f"{root / variant / extra} holds {pictures} pictures, but xyz/ has no such sequence: "
                "the data set is incomplete.",
                count=pictures,
            )
    for folder in tqdm(folders, desc=root.name, unit="sequence", delay=2, leave=False, disable=None):
        sequence = folder.name
        labels = sorted(folder.glob("*.json"))
        there = {
            camera.name: {p.name for p in os.scandir(camera)}
            for camera in sorted((root / variant / sequence).glob("cam*"))
        }
        expected = set()  # of every camera
        calibrated = set(there)  # until a calibration says which there are
        for label in labels:
            frame = label.stem
            expected.add(f"{frame}.jpg")
            about = meta.of(sequence, frame, label, faults)
            if about is None:
                continue
            if only_valid and not (about["has_fit"] and about["is_valid"]):
                left_out["frame without a valid fit (meta.json)"] += 1
                continue
            if not objects and about["object_id"] is not None:
                left_out["frame with an object (meta.json)"] += 1
                continue
            if variant != "rgb" and not about["is_train"]:
                left_out[f"frame without a green screen, so without {variant}"] += 1
                continue
            read = _hanco_labels(label, root / "calib" / sequence / label.name, faults)
            if read is None:
                continue
            world, k, m = read
            calibrated = {f"cam{camera}" for camera in range(len(k))}
            for camera in range(len(k)):
                file = root / variant / sequence / f"cam{camera}" / f"{frame}.jpg"
                if f"cam{camera}" not in there:
                    faults.found("camera missing", f"{file.parent} is missing: the data set lacks a camera.")
                    continue
                if file.name not in there[f"cam{camera}"]:
                    faults.found("picture missing", f"{file} is missing: the data set is incomplete.")
                    continue
                files.append(file)
                joints.append(world @ m[camera, :3, :3].T + m[camera, :3, 3])
                ks.append(k[camera])
                ms.append(m[camera])
                groups.append(f"{root.name}/{sequence}")
                frames.append(f"{root.name}/{sequence}/{frame}")
                cameras.append(f"cam{camera}")
                who = about["subject_id"]
                subjects.append("" if who is None else f"{root.name}/{who}")
        for name, names in there.items():
            if name not in calibrated:
                faults.found(
                    "picture of a camera that is not calibrated",
                    f"{root / variant / sequence / name} holds {len(names)} pictures, but calib/ has only "
                    f"{len(calibrated)} cameras: the data set is incomplete.",
                    count=len(names),
                )
            more = {n for n in names - expected if n.endswith(".jpg") and meta.fitted(sequence, Path(n).stem)}
            if more:
                faults.found(
                    "picture without a label",
                    f"{root / variant / sequence / name} holds {len(names)} pictures for {len(labels)} labels"
                    f" ({min(more)} has none): the data set is incomplete.",
                    count=len(more),
                )
    if not files:
        raise TrainError(f"{root} holds no labelled frames{_because(left_out + faults.counts)}.")
    joints_, k_ = np.asarray(joints), np.asarray(ks)
    samples = Samples(
        files,
        project(joints_, k_),
        joints_.astype(np.float32),
        k_.astype(np.float32),
        np.ones(len(files), bool),
        np.array(groups),
        np.asarray(ms, np.float32),
        np.array(frames),
        np.array(cameras),
        np.array(subjects),
        left_out + faults.counts,
    )
    return without_broken(samples) if skip_broken else samples


def _because(counts: Counter[str]) -> str:
    return f" ({', '.join(f'{n} × {reason}' for reason, n in counts.items())})" if counts else ""


class _Meta:
    """HanCo's meta.json; without one every frame is valid, of an unknown person."""

    default = MappingProxyType(
        {"is_train": True, "is_valid": True, "has_fit": True, "subject_id": None, "object_id": None}
    )

    def __init__(self, root: Path) -> None:
        self.file = root / "meta.json"
        self.lists: dict[str, Any] = {}
        if self.file.is_file():
            content = read_json(self.file)
            if not isinstance(content, dict) or not all(
                isinstance(content.get(key), list) for key in self.default
            ):
                raise TrainError(f"{self.file} lacks the lists {', '.join(self.default)}: it is damaged.")
            self.lists = content

    def of(self, sequence: str, frame: str, label: Path, faults: _Faults) -> Mapping[str, Any] | None:
        """What is known of a frame; None where meta.json knows nothing of it."""
        if not self.lists:
            return self.default
        try:
            return {key: self.lists[key][int(sequence)][int(frame)] for key in self.default}
        except (IndexError, TypeError, ValueError) as error:
            faults.found(
                "frame that meta.json does not know",
                f"{self.file} says nothing of {label}: copy it again.",
                error,
            )
            return None

    def fitted(self, sequence: str, frame: str) -> bool:
        """Whether a label is to be expected."""
        try:
            return bool(self.lists["has_fit"][int(sequence)][int(frame)])
        except (KeyError, IndexError, TypeError, ValueError):
            return True


def _hanco_labels(
    label: Path, calibration: Path, faults: _Faults
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]] | None:
    """Joints (21, 3) in the world, K (C, 3, 3) and M (C, 4, 4) of C cameras."""
    try:
        truth, cameras = read_json(label), read_json(calibration)
    except TrainError as error:
        faults.found("label missing or not JSON", str(error), error)
        return None
    cameras = cameras if isinstance(cameras, dict) else {}
    ks, ms = cameras.get("K"), cameras.get("M")
    n = len(ks) if isinstance(ks, list) else 0
    world, k, m = _array(truth, 21, 3), _array(ks, n, 3, 3), _array(ms, n, 4, 4)
    if world is None or k is None or m is None or n == 0:
        faults.found(
            "label damaged",
            f"{label} does not hold 21 joints with their cameras, or {calibration} not as many K as M: "
            "the data set is damaged.",
        )
        return None
    return world, k, m


# FreiHAND --------------------------------------------------------------------------------------------------


def load_freihand(root: Path, variant: str | None = None, *, skip_broken: bool = False) -> Samples:
    """FreiHAND as it is on disk; right hands only.

    `training/rgb/{number:08d}.jpg` holds all frames with a green screen, then the same ones with three other
    backgrounds: frame = number modulo the length of training_xyz.json. All pictures of a frame are one group.

    Args:
        variant: one background (gs, hom, sample, auto), `evaluation` for that part; None: all four.

    Raises:
        TrainError: not FreiHAND, no such variant, a picture that is missing, counts that differ.
    """
    root, faults = Path(root), _Faults(skip_broken)
    part = "evaluation" if variant == "evaluation" else "training"
    if variant not in (None, "evaluation", *FREIHAND_VARIANTS):
        raise TrainError(
            f"FreiHAND has no variant {variant!r}: give one of {', '.join(FREIHAND_VARIANTS)} or evaluation."
        )
    truth, cameras = read_json(root / f"{part}_xyz.json"), read_json(root / f"{part}_K.json")
    if not isinstance(truth, list) or not isinstance(cameras, list) or len(truth) != len(cameras):
        raise TrainError(f"{root} has not as many landmarks as cameras: {part}_xyz.json is of another copy.")
    pictures = root / part / "rgb"
    if not pictures.is_dir():
        raise TrainError(f"{pictures} is missing: the data set is incomplete.")
    n = len(truth)
    there = {p.name for p in os.scandir(pictures) if p.name.endswith(".jpg")}
    backgrounds = 1 if part == "evaluation" else len(FREIHAND_VARIANTS)
    if part == "training" and len(there) <= n:
        backgrounds = 1  # the first release: green screens only
    counts = f"{pictures} holds {len(there)} pictures for {n} labels with {backgrounds} backgrounds"
    more = there - {f"{i:08d}.jpg" for i in range(backgrounds * n)}
    if more:
        faults.found(
            "picture without a label",
            f"{counts} ({min(more)} has none): the data set is incomplete.",
            count=len(more),
        )
    wanted = range(backgrounds)
    if variant in FREIHAND_VARIANTS:
        index = FREIHAND_VARIANTS.index(variant)
        if index >= backgrounds:
            raise TrainError(f"{pictures} holds no background {variant!r}: it is the first release.")
        wanted = range(index, index + 1)
    good = []
    for i, (joints, k) in enumerate(zip(truth, cameras, strict=True)):
        if (joints := _array(joints, 21, 3)) is None or (k := _array(k, 3, 3)) is None:
            faults.found("label damaged", f"{root / part}_xyz.json: frame {i} does not hold 21 joints and K.")
            continue
        for b in wanted:
            file = pictures / f"{i + b * n:08d}.jpg"
            if file.name in there:
                good.append((i, b, file, joints, k))
            else:
                faults.found("picture missing", f"{file} is missing: {counts}.")
    if not good:
        raise TrainError(f"{root} holds no labelled frames{_because(faults.counts)}.")
    joints_, k_ = np.array([g[3] for g in good]), np.array([g[4] for g in good])
    ids = np.array([f"{root.name}/{part}/{i:08d}" for i, *_ in good])
    samples = Samples(
        [g[2] for g in good],
        project(joints_, k_),
        joints_.astype(np.float32),
        k_.astype(np.float32),
        np.ones(len(good), bool),
        ids,
        frame=ids,
        skipped=faults.counts,
    )
    return without_broken(samples) if skip_broken else samples


# Any folder ------------------------------------------------------------------------------------------------


def load_folder(root: Path, labels: Path | None = None, *, skip_broken: bool = False) -> Samples:
    """Pictures with a file of landmarks, landmarks.json or landmarks.csv beside them or given.

    JSON: `{"images": {"a/b.jpg": {"landmarks": 21 x [x, y, z], "K": 3 x 3, "hand": "right"}}}`: metres in
    camera axes, joints in the order of `handcoach.hand.JOINTS`; `points`, 21 x [x, y] in pixels, may stand in
    the place of `landmarks` and `K`, or beside them. Also understood: `group` (what must not be split;
    default: the picture's folder, or the picture itself where there are no folders), `subject`, `camera`,
    `frame`, and `M`, 4 x 4, world to camera.

    CSV: the columns file, x0, y0, z0 ... x20, y20, z20 and fx, fy, cx, cy, or u0, v0 ... u20, v20 in pixels;
    hand, group, subject, camera, frame as above.

    Raises:
        TrainError: no such file, not of this form, a picture that is missing.
    """
    root, faults = Path(root), _Faults(skip_broken)
    if labels is None:
        there = [root / name for name in LABELS if (root / name).is_file()]
        if not there:
            raise TrainError(f"{root} has neither {' nor '.join(LABELS)}: give the file of labels.")
        labels = there[0]
    images = _csv(labels) if labels.suffix == ".csv" else read_json(labels)
    images = images.get("images") if isinstance(images, dict) else None
    if not isinstance(images, dict) or not images:
        raise TrainError(f"{labels} is no file of landmarks: it needs images with 21 landmarks each.")
    rows = []
    nested = any("/" in name for name in images)
    for name, entry in images.items():
        entry = entry if isinstance(entry, dict) else {}
        file = root / name
        joints, k = _array(entry.get("landmarks"), 21, 3), _array(entry.get("K"), 3, 3)
        points: NDArray[np.floating] | None = _array(entry.get("points"), 21, 2)
        m = _array(entry.get("M", np.eye(4)), 4, 4)
        if points is None and joints is not None and k is not None:
            points = project(joints, k)
        given = [key for key in ("landmarks", "K", "points") if entry.get(key) is not None]
        ok = {"landmarks": joints is not None, "K": k is not None, "points": points is not None}
        hand = entry.get("hand", "right")
        if points is None or m is None or not all(ok[key] for key in given) or hand not in ("left", "right"):
            faults.found(
                "label damaged",
                f"{labels}: {name} needs landmarks (21 x 3) with K (3 x 3), or points (21 x 2), "
                "and a hand that is left or right.",
            )
            continue
        if not file.is_file():
            faults.found("picture missing", f"{file} is missing, but {labels} names it.")
            continue
        group, shown, seen_by = (entry.get(key) for key in ("group", "frame", "camera"))  # 0 is a name, too
        group = (str(Path(name).parent) if nested else name) if group is None else group
        rows.append(
            (
                file,
                points,
                np.full((21, 3), np.nan) if joints is None else joints,
                np.full((3, 3), np.nan) if k is None else k,
                hand == "right",
                f"{root.name}/{group}",
                m,
                f"{root.name}/{name if shown is None else shown}",
                "" if seen_by is None else str(seen_by),
                f"{root.name}/{entry['subject']}" if entry.get("subject") is not None else "",
            )
        )
    if not rows:
        raise TrainError(f"{labels} holds no labelled pictures{_because(faults.counts)}.")
    files, points_, joints_, ks, right, groups, ms, frames, cameras, subjects = zip(*rows, strict=True)
    samples = Samples(
        list(files),
        np.array(points_, np.float32),
        np.array(joints_, np.float32),
        np.array(ks, np.float32),
        np.array(right, bool),
        np.array(groups),
        np.array(ms, np.float32),
        np.array(frames),
        np.array(cameras),
        np.array(subjects),
        faults.counts,
    )
    return without_broken(samples) if skip_broken else samples


def _csv(file: Path) -> dict[str, Any]:
    """A CSV of landmarks as the JSON would have it."""

    def refuse(cause: Exception) -> NoReturn:
        raise TrainError(
            f"{file} is no CSV of landmarks: it needs the columns file, x0, y0, z0 ... z20, fx, fy, cx, cy, "
            "or file, u0, v0 ... v20, with a number in each."
        ) from cause

    images: dict[str, Any] = {}
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:
            for row in csv.DictReader(lines):
                entry: dict[str, Any] = {
                    key: row[key] for key in ("hand", "group", "subject", "camera", "frame") if row.get(key)
                }
                if "u0" in row:
                    entry["points"] = [[float(row[f"{a}{j}"]) for a in "uv"] for j in range(21)]
                if "x0" in row:
                    entry["landmarks"] = [[float(row[f"{a}{j}"]) for a in "xyz"] for j in range(21)]
                    fx, fy, cx, cy = (float(row[key]) for key in ("fx", "fy", "cx", "cy"))
                    entry["K"] = [[fx, 0, cx], [0, fy, cy], [0, 0, 1]]
                images[row["file"]] = entry
    except (OSError, KeyError, TypeError, ValueError, csv.Error) as error:
        refuse(error)
    return {"images": images}


# Rendered full frames --------------------------------------------------------------------------------------


HARD_NEGATIVES = "hard_negatives.json"  # in a folder of full frames


def load_frames(root: Path) -> list[dict[str, Any]]:
    """Rendered full frames: a list of {file, size, hands: [{side, points, ...}], group, hard}.

    The group is that of the person whose hands are seen, where the labels tell it. `hard` are squares (x, y,
    size, roll, mirrored) without a hand that look like one, where `negatives.mine` has looked for some.
    """
    root = Path(root)
    labels = sorted((root / "labels").glob("*.json"))
    if not labels:
        raise TrainError(f"{root} holds no full frames: render some with --full-frames.")
    file = root / HARD_NEGATIVES
    hard = read_json(file) if file.is_file() else {"squares": {}}
    try:
        squares = {stem: [list(map(float, s)) for s in some] for stem, some in hard["squares"].items()}
        if any(len(s) != 5 for some in squares.values() for s in some):
            raise ValueError("not five numbers")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise TrainError(f"{file} is damaged: run handcoach-train hard-negatives again.") from error
    frames = []
    for label in labels:
        frame = read_json(label)
        frame["hard"] = squares.get(label.stem, [])
        frame["file"] = root / "frames" / f"{label.stem}.jpg"
        # All hands of a frame are one person's.
        whose = frame["hands"][0].get("person") if frame["hands"] else None
        frame["group"] = f"{root.name}/{label.stem if whose is None else f'person {whose}'}"
        frames.append(frame)
    return frames


# Pictures --------------------------------------------------------------------------------------------------


def broken_pictures(files: list[Path]) -> dict[Path, str]:
    """Every picture that does not decode, with the sentence that says why. Decodes them all: minutes."""

    def look(file: Path) -> str | None:
        try:
            read_image(file)
        except TrainError as error:
            return str(error)
        return None

    unique = list(dict.fromkeys(files))
    broken = {}
    with (
        ThreadPoolExecutor(os.cpu_count()) as pool,  # decoding lets go of Python's lock
        tqdm(total=len(unique), desc="decoding", unit="picture", delay=1, leave=False, disable=None) as bar,
    ):
        for start in range(0, len(unique), 4096):  # not a million at once
            part = unique[start : start + 4096]
            for file, why in zip(part, pool.map(look, part), strict=True):
                bar.update()
                if why:
                    broken[file] = why
    return broken


def without_broken(samples: Samples) -> Samples:
    """The samples whose picture decodes; the others are counted in `skipped`."""
    broken = broken_pictures(samples.files)
    if len(broken) and all(f in broken for f in samples.files):
        raise TrainError(f"None of {len(samples)} pictures can be read, {samples.files[0]} first.")
    kept = samples.take(np.array([f not in broken for f in samples.files], bool))
    kept.skipped = samples.skipped + Counter({"picture broken": len(samples) - len(kept)})
    return kept
