"""How right a checkpoint or an ONNX file is on data sets: figures for people and one JSON for programs.

Everything is judged twice: with the cut-out that the truth gives, and with one that is `off` as a poor
finder would place it. Landmarks are judged in the camera's axes, as the canonical right hand (that is what a
patient's program has), so that a cut-out which was turned for the network has no easier truth.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from handcoach import camera, model, pipeline
from handcoach.crop import MARGIN, Crop, crop_around, view_rotation
from handcoach.hand import INDEX_MCP, LITTLE_MCP, WRIST, mirror, normalise
from handcoach.measure import off, watch
from handcoach.session import Session
from handcoach_train import metrics
from handcoach_train.data import Samples, read_image, squared
from handcoach_train.data.samples import read_json
from handcoach_train.errors import TrainError

Floats = NDArray[np.float32]

FORMAT = 1
CROPS = ("exact", "jittered")
TABLE_2 = ("mse", "r2", "r2_without_wrist")
BATCH = 32
# The palm's normal within 60 degrees of the way to the camera: palm; within 60 degrees of the way from it:
# back; else the hand is seen from an edge. Of hands that are turned at random half are seen so.
FACING = 0.5
# Numbers that describe a picture are grouped in so many parts.
PARTS = 4
UNTOLD = {"person"}  # facts that are no groups
FOLDER_FPS = 30.0  # of a clip that is a folder of pictures
FEW = 20  # hands below which a group has no figures


@dataclass(frozen=True)
class Predictor:
    """A network that reads landmarks from pictures.

    Attributes:
        name, path: what it is. size: side of its pictures.
        crop: `margin` and `roll` of its cut-outs (`handcoach.crop`); None: it looks at whole pictures, and
            its landmarks are in the camera's axes.
        read: pictures uint8 (N, S, S, 3) to landmarks (N, 21, 3) and points (N, 21, 2) in units of the
            picture, or None where the network gives none.
        split: how, and by which seed, its training split every data set (`data.split_by`).
        variant: of the pictures that it was trained on, where it was told one: others are split otherwise.
    """

    name: str
    path: Path
    size: int
    crop: Mapping[str, Any] | None
    read: Callable[[NDArray[np.uint8]], tuple[Floats, Floats | None]]
    split: tuple[str, int] = ("sequence", 42)
    variant: str | None = None

    def __call__(self, images: NDArray[np.uint8]) -> Floats:
        """Landmarks (N, 21, 3) of pictures uint8 (N, S, S, 3)."""
        return self.read(images)[0]


def predictor(path: Path) -> Predictor:
    """A checkpoint (.safetensors) or an exported model (.onnx), ready to read pictures.

    Raises:
        HandCoachError: there is none, or it is damaged, or not a landmark network.
    """
    if path.suffix == ".onnx":
        return of_session(Session(model.read(path, "landmarks")))
    return _checkpoint(path)


def of_session(session: Session) -> Predictor:
    """A landmark model that runs, to be judged."""
    file = session.file
    alone = file.input.shape[0] == 1

    def read(images: NDArray[np.uint8]) -> tuple[Floats, Floats | None]:
        batches = [images[i : i + 1] for i in range(len(images))] if alone else [images]
        results = [session.run(batch) for batch in batches]
        return tuple(np.concatenate([r[n] for r in results]) for n in ("landmarks", "points"))  # type: ignore[return-value]

    return Predictor(file.name, file.path, int(file.meta["size"]), file.meta["crop"], read)


def _checkpoint(path: Path) -> Predictor:
    import torch

    from handcoach_train.networks import load_checkpoint

    network, config = load_checkpoint(path)
    if config["kind"] == "finder":
        raise TrainError(f"{path} is a finder: give a landmark network.")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network.to(device)

    @torch.inference_mode()
    def read(images: NDArray[np.uint8]) -> tuple[Floats, Floats | None]:
        out = network(torch.from_numpy(images).to(device))
        out = out if isinstance(out, tuple) else (out,)
        landmarks = out[0].float().cpu().numpy().reshape(len(images), 21, 3)
        return landmarks, out[1].float().cpu().numpy() if len(out) > 1 else None

    made = Predictor(
        str(config.get("name", path.stem)), path, int(config["size"]), config.get("crop"), read,
        variant=config.get("data", {}).get("variant"),
    )  # fmt: skip
    if config["kind"] == "paper" and "recipe" in config:
        made = replace(made, split=(config["recipe"]["split"], int(config["recipe"]["seed"])))
    return made


@dataclass(frozen=True, eq=False)
class Predicted:
    """What a predictor said of N hands, beside the truth.

    Attributes:
        said, truth: landmarks (N, 21, 3), canonical, normalised, in the camera's axes.
        scale: (N,) wrist to middle MCP in metres; NaN where the data have no unit.
        off_points: (N,) mean distance of the image points to truth in sides of the cut-out; NaN without any.
        crops: the cut-out of each.
    """

    said: Floats
    truth: Floats
    scale: Floats
    off_points: Floats
    crops: list[Crop]


def has_truth(samples: Samples) -> NDArray[np.bool_]:
    """Which hands (N,) have joints in 3D, and intrinsics to turn them by."""
    return np.asarray(np.isfinite(samples.joints).all((1, 2)) & np.isfinite(samples.K).all((1, 2)))


def predict(model: Predictor, samples: Samples, jittered: bool, what: str = "") -> Predicted:
    """Let a predictor read every hand of the samples, which must have 3D truth.

    Raises:
        TrainError: a picture is broken or missing.
    """
    known = has_truth(samples)
    if not known.all():
        raise TrainError(
            f"{int((~known).sum())} of {len(samples)} hands have no joints in 3D or no intrinsics: "
            "leave them out."
        )
    said, truth, scales, gaps, crops = [], [], [], [], []
    for start in tqdm(range(0, len(samples), BATCH), desc=what, unit="batch", delay=2, leave=False):
        rows = range(start, min(start + BATCH, len(samples)))
        images, places = [], []
        for i in rows:
            image, there = read_image(samples.files[i]), samples.points[i]
            if model.crop is None:  # stretched to a square, as in its training: see data/paper.py
                height, width = image.shape[:2]
                image = squared(image, model.size)
                there = there * [model.size / width, model.size / height]
            places.append(there)
            crop = _crop(model, samples, i, image, np.random.default_rng([7, i]) if jittered else None)
            crops.append(crop)
            images.append(crop.cut(image, model.size))
        landmarks, points = model.read(np.stack(images))
        for j, i in enumerate(rows):
            crop, joints = crops[i], samples.joints[i]
            true, _, scale = normalise(joints)
            # Back as it was seen, then turned to the camera's axes.
            seen = _mirrored(landmarks[j], crop.mirrored) @ _axes(model, crop, samples.K[i]).T
            said.append(_mirrored(seen.astype(np.float32), crop.mirrored))
            truth.append(_mirrored(true, crop.mirrored))
            scales.append(scale)
            gap = np.nan if points is None else np.linalg.norm(
                points[j] - crop.to_unit(places[j]), axis=-1
            ).mean()  # fmt: skip
            gaps.append(gap)
    scale_ = np.array(scales, np.float32)
    # A hand of some decimetres or millimetres is in no unit that we know.
    if not 0.02 < float(np.median(scale_)) < 0.2:
        scale_[:] = np.nan
    return Predicted(np.array(said), np.array(truth), scale_, np.array(gaps, np.float32), crops)


def _crop(
    model: Predictor, samples: Samples, i: int, image: NDArray[np.uint8], rng: np.random.Generator | None
) -> Crop:
    if model.crop is None:
        height, width = image.shape[:2]
        crop = Crop(width / 2, height / 2, max(width, height), mirrored=not samples.right[i])
    else:
        crop = crop_around(
            samples.points[i],
            mirrored=not samples.right[i],
            roll=bool(model.crop.get("roll", True)),
            margin=float(model.crop.get("margin", MARGIN)),
        )
    return crop if rng is None else off(crop, rng)


def _mirrored(landmarks: Floats, left: bool) -> Floats:
    """A left hand's cut-out is always mirrored, so that the network sees a right hand."""
    return mirror(landmarks) if left else landmarks


def _axes(model: Predictor, crop: Crop, k: Floats) -> NDArray[np.float64]:
    """Rotation (3, 3) from the axes of a cut-out to the camera's."""
    if model.crop is None:
        return view_rotation(0.0, 0.0, crop.roll)
    x, y = (crop.x - k[0, 2]) / k[0, 0], (crop.y - k[1, 2]) / k[1, 1]
    return view_rotation(float(x), float(y), crop.roll)


# --- figures in numbers ---


def measure(p: Predicted) -> dict[str, Any]:
    """All metrics of these hands. Lengths are in units of wrist to middle MCP; those that end in `_mm` in
    millimetres, where the data have a unit."""
    pa, rooted = metrics.pa_mpjpe(p.said, p.truth), metrics.mpjpe(p.said, p.truth)
    gaps = metrics.distances(p.said, p.truth)[:, 1:]  # the wrist is right by construction
    curve = metrics.pck_curve(gaps, metrics.THRESHOLDS)
    result: dict[str, Any] = {
        "hands": len(p.said),
        "mse": metrics.mse(p.said, p.truth),
        "r2": metrics.r2(p.said, p.truth),
        "r2_without_wrist": metrics.r2(p.said, p.truth, wrist=False),
        "r2_per_landmark": metrics.r2_per_landmark(p.said, p.truth).tolist(),
        "pa_mpjpe": _spread(pa),
        "mpjpe": _spread(rooted),
        "auc": metrics.auc(curve, metrics.THRESHOLDS),
        "pck": curve.tolist(),
    }
    if np.isfinite(p.scale).all():
        mm = 1000 * p.scale
        curve = metrics.pck_curve(gaps * mm[:, None], metrics.THRESHOLDS_MM)
        result |= {
            "pa_mpjpe_mm": _spread(pa * mm),
            "mpjpe_mm": _spread(rooted * mm),
            "auc_mm": metrics.auc(curve, metrics.THRESHOLDS_MM),
            "pck_mm": curve.tolist(),
        }
    if np.isfinite(p.off_points).all():
        result["points"] = _spread(p.off_points)
    return _plain(result)


def _spread(values: NDArray[np.floating]) -> dict[str, float]:
    return {
        "mean": float(values.mean()),
        "median": float(np.median(values)),
        "p90": float(np.percentile(values, 90)),
    }


def _plain(value: Any) -> Any:
    """Numbers rounded to five places, so that the file can be read."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_plain(v) for v in value]
    return round(value, 5) if isinstance(value, float) else value


def join(parts: list[Predicted]) -> Predicted:
    """All hands of several data sets; without a unit if one of them has none."""
    arrays = {n: np.concatenate([getattr(p, n) for p in parts]) for n in _ROWS}
    return Predicted(**arrays, crops=[crop for p in parts for crop in p.crops])


def take(p: Predicted, rows: NDArray[np.bool_]) -> Predicted:
    """The hands where a mask (N,) is true."""
    arrays = {n: getattr(p, n)[rows] for n in _ROWS}
    return Predicted(**arrays, crops=[p.crops[i] for i in np.flatnonzero(rows)])


_ROWS = ("said", "truth", "scale", "off_points")


# --- groups ---


def groups(samples: Samples, root: Path) -> dict[str, NDArray[np.str_]]:
    """What is known of every hand (N,), by which figures are told apart: which hand it is, which face of it
    the camera sees, and what `meta/{sequence}/{frame}.json` of a rendering says (skin, mesh, posture, what
    hides it, ...): words as they are, numbers in quarters, a list's entry for each camera.
    """
    found = {"hand": np.where(samples.right, "right", "left"), "face": faces(samples)}
    places = ["/".join(frame.split("/")[-2:]) for frame in samples.frame.tolist()]
    files = {place: root / "meta" / f"{place}.json" for place in set(places)}
    facts = {place: read_json(file) for place, file in files.items() if file.is_file()}
    facts = {place: fact for place, fact in facts.items() if isinstance(fact, dict)}
    cameras = [int(name[3:]) if name[3:].isdigit() else 0 for name in samples.camera.tolist()]
    for key in sorted({key for fact in facts.values() for key in fact} - UNTOLD):
        values = [facts.get(place, {}).get(key) for place in places]
        values = [
            (v[c] if c < len(v) else None) if isinstance(v, list) else v
            for v, c in zip(values, cameras, strict=True)
        ]
        words = _words(values)
        if words is not None and len(np.unique(words)) > 1:
            found[key] = words
    return found


def _words(values: list[Any]) -> NDArray[np.str_] | None:
    """Values of one fact as names of groups, or None where they are no words or numbers."""
    known = [v for v in values if v is not None]
    if known and all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in known):
        numbers = np.array([np.nan if v is None else v for v in values], np.float64)
        if len(np.unique(known)) > 2 * PARTS:
            edges = np.quantile(np.unique(known), np.linspace(0, 1, PARTS + 1))
            part = np.searchsorted(edges[1:-1], numbers, side="right")
            names = [f"{a:.3g} to {b:.3g}" for a, b in pairwise(edges)]
            return np.array(["?" if np.isnan(v) else names[i] for v, i in zip(numbers, part, strict=True)])
    if not all(isinstance(v, (str, bool, int, float)) for v in known) or len(set(map(str, known))) > 12:
        return None
    return np.array(["?" if v is None else str(v) for v in values])


def faces(samples: Samples) -> NDArray[np.str_]:
    """Which face of the hand the camera sees (N,): palm, back or edge.

    By the palm triangle's normal, index cross little, which comes out of the palm of a right hand, and the
    way to the camera from the triangle's middle.
    """
    joints = samples.joints.astype(np.float64)
    wrist = joints[:, WRIST]
    normal = np.cross(joints[:, INDEX_MCP] - wrist, joints[:, LITTLE_MCP] - wrist)
    normal[~samples.right] *= -1
    to_camera = -joints[:, [WRIST, INDEX_MCP, LITTLE_MCP]].mean(1)
    facing = (normal * to_camera).sum(1) / (
        np.linalg.norm(normal, axis=1) * np.linalg.norm(to_camera, axis=1) + 1e-12
    )
    return np.where(facing > FACING, "palm", np.where(facing < -FACING, "back", "edge"))


def by_group(p: Predicted, known: Mapping[str, NDArray[np.str_]]) -> dict[str, dict[str, Any]]:
    """The few figures that tell groups apart; of groups of FEW hands or more."""
    result: dict[str, dict[str, Any]] = {}
    for key, names in known.items():
        for name in np.unique(names):
            rows = names == name
            if rows.sum() >= FEW:
                whole = measure(take(p, rows))
                kept = ("hands", "r2_without_wrist", "pa_mpjpe", "pa_mpjpe_mm", "mpjpe", "auc")
                result.setdefault(key, {})[str(name)] = {k: whole[k] for k in kept if k in whole}
    return result


# --- the whole ---


@dataclass(frozen=True, eq=False)
class Part:
    """One split of one data set: its samples and what was said of them, by kind of cut-out."""

    dataset: str
    split: str
    samples: Samples
    predicted: dict[str, Predicted]


def evaluate(
    model: Predictor, parts: Iterable[tuple[str, str, Path, Samples]]
) -> tuple[dict[str, Any], list[Part]]:
    """Figures of a predictor on splits of data sets.

    Args:
        parts: name of the data set, name of the split, folder of the data set, samples with joints in 3D.

    Returns:
        what the JSON file holds, and what the drawings are made of.

    Raises:
        TrainError: nothing to judge, two data sets of one name, or a picture is broken.
    """
    done: list[Part] = []
    datasets: dict[str, Any] = {}
    for dataset, split, root, samples in parts:
        if not len(samples):
            continue
        known = groups(samples, root)
        if split in datasets.get(dataset, {}):
            raise TrainError(f"Two of the data sets are called {dataset}: rename one of their folders.")
        part = Part(dataset, split, samples, {
            crop: predict(model, samples, crop == "jittered", f"{dataset}, {split}, {crop}") for crop in CROPS
        })  # fmt: skip
        done.append(part)
        datasets.setdefault(dataset, {})[split] = {
            crop: measure(p) | {"groups": by_group(p, known)} for crop, p in part.predicted.items()
        }
    if not done:
        raise TrainError("There is nothing to judge: the data hold no hand with joints in 3D.")
    splits = list(dict.fromkeys(part.split for part in done))
    whole = {
        split: {
            crop: measure(join([part.predicted[crop] for part in done if part.split == split]))
            for crop in CROPS
        }
        for split in splits
    }
    content = {
        "format": FORMAT,
        "model": {"name": model.name, "file": str(model.path), "size": model.size},
        "crops": {
            "exact": "around the true points",
            "jittered": "moved by 10 % of its side, 10 % larger or smaller, turned by 15 degrees",
        },
        "unit": "wrist to middle MCP; millimetres where a key ends in _mm; points in sides of the cut-out",
        "thresholds": {"pck": metrics.THRESHOLDS.tolist(), "pck_mm": metrics.THRESHOLDS_MM.tolist()},
        "table_2": {
            split: {crop: {k: whole[split][crop][k] for k in TABLE_2} for crop in CROPS} for split in splits
        },
        "splits": whole,
        "datasets": datasets,
    }
    return _plain(content), done


def clip_figures(model: Predictor, clip: Path) -> dict[str, Any]:
    """How a clip looks through the shipped finder and tracker: jitter (`handcoach.measure.jitter`; of a hand
    that is held still it is the network's and the filter's), unfiltered and filtered, and the filter's lag.
    The pictures of a folder are played at 30 a second.

    Raises:
        HandCoachError: the model is no ONNX file, or the clip cannot be read.
    """
    if model.path.suffix != ".onnx":
        raise TrainError(f"A clip is played through the program: export {model.path} to ONNX first.")
    line = pipeline.load(None, model.path)
    with camera.open_source(clip) as source:
        seen = watch(line, source, FOLDER_FPS if clip.is_dir() else None)
    late = seen.lag_ms()
    return {
        "frames": len(seen.number),
        "fps": round(seen.fps, 2),
        "jitter": _number(metrics.jitter(seen.raw, seen.number)),
        "jitter_filtered": _number(metrics.jitter(seen.smooth, seen.number)),
        "lag_ms": None if late is None else round(late, 1),
    }


def _number(value: float) -> float | None:
    return round(value, 5) if np.isfinite(value) else None


def lines(content: Mapping[str, Any]) -> list[str]:
    """Table 2 and what else fits on a terminal."""
    names = f"{'hands':>7}{'MSE':>10}{'R2':>8}{'no wrist':>10}{'PA':>8}{'PA mm':>8}{'AUC':>7}"
    head = f"{'split':<8}{'cut-out':<10}{names}"
    rows = [head, "-" * len(head)]
    for split, crops in content["splits"].items():
        for crop, r in crops.items():
            mm = f"{r['pa_mpjpe_mm']['mean']:.2f}" if "pa_mpjpe_mm" in r else ""
            rows.append(
                f"{split:<8}{crop:<10}{r['hands']:>7}{r['mse']:>10.5f}{r['r2']:>8.4f}"
                f"{r['r2_without_wrist']:>10.4f}{r['pa_mpjpe']['mean']:>8.4f}{mm:>8}"
                f"{r.get('auc_mm', r['auc']):>7.3f}"
            )
    for clip, r in content.get("clips", {}).items():
        rows.append(
            f"{clip}: {r['frames']} frames, jitter {r['jitter']}, filtered {r['jitter_filtered']}, "
            f"lag {r['lag_ms']} ms"
        )
    return rows
