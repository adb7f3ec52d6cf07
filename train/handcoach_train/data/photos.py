"""Photographs with pseudo-labelled points (`pseudo_label.py`) and boxes."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from handcoach.angles import flexion
from handcoach.hand import DegenerateHandError
from handcoach_train.data.cutouts import window
from handcoach_train.data.samples import Samples, read_image, read_json, write_json
from handcoach_train.errors import TrainError

PHOTOS_HELD_OUT = 0.25  # share of the photographs' recordings
AGREE = 0.25  # of a hand's length: the farthest that the two models' points may lie apart
DOUBT = 0.2  # wrist to middle MCP: the farthest that two guesses at the landmarks may lie apart in the mean
BENT = 120  # degrees of a finger's three joints: of hands that are bent farther no guess is taken
FAR = 1e6  # focal length in pixels of a camera so far away that it sees no perspective


def load_photos(labels: Path, root: Path, agree: float = AGREE) -> list[dict[str, Any]]:
    """Photographs with pseudo-labels (`pseudo_label.py`), those hands kept on which its two models agree.

    Returns:
        [{file, group, complete, hands}]; `complete` is False where a hand was dropped, here or by `shrink`;
        the group is that of `recordings`.

    Raises:
        TrainError: the labels are missing or of another kind.
    """
    photos = read_labels(labels)["photos"]
    frames = []
    for (name, hands), group in zip(photos.items(), recordings(list(photos), root), strict=True):
        try:
            good = [
                {
                    "points": h["points"],
                    "side": h["side"],
                    "lifted": h.get("lifted") if h.get("doubt", 1) < DOUBT and not _bent(h) else None,
                }
                for h in agreed(hands, agree)
            ]
            all_there = all(h.get("complete", True) for h in hands)
        except (KeyError, TypeError, ValueError) as error:
            raise TrainError(f"{labels}: the hands of {name} are damaged; make the labels again.") from error
        frames.append({"file": Path(root) / name, "group": group, "hands": good,
                       "complete": all_there and len(good) == len(hands) > 0})  # fmt: skip
    return frames


def _bent(hand: dict[str, Any]) -> bool:
    """Whether its guess is of a bent hand: of fists both guesses may be wrong alike, and networks that learnt
    from them read fists inside out (models/history.md, sessions 8 and 9)."""
    try:
        bends = flexion(np.asarray(hand["lifted"], np.float64))
    except DegenerateHandError:
        return True
    return bool(abs(bends.sum(-1).mean()) > BENT)  # of either side, whose signs differ


def read_labels(file: Path) -> dict[str, Any]:
    """What `pseudo_label.py` wrote; `photos` has the hands of each photograph.

    Raises:
        TrainError: it is missing or of another kind.
    """
    labels = read_json(file)
    if not isinstance(labels, dict) or not isinstance(labels.get("photos"), dict):
        raise TrainError(f"{file} holds no pseudo-labels: make them with pseudo_label.py.")
    return labels


def agreed(hands: list[dict[str, Any]], agree: float = AGREE) -> list[dict[str, Any]]:
    """Those hands of a photograph on whose points MediaPipe's two models agree."""
    return [h for h in hands if h["agreement"] is not None and h["agreement"] < agree]


def recordings(names: list[str], root: Path) -> list[str]:
    """The recording that each photograph of a folder belongs to, which is never split.

    The folder where `gather` wrote SOURCE/GROUP/NAME.jpg; else the file name up to its last underscore, or
    its folder; where all have the same, a hundred consecutive numbers (`sign_digits`: about ten people).
    """
    groups = []
    for name in names:
        stem, folder = Path(name).stem, Path(name).parent
        gathered = len(folder.parts) > 1
        group = stem.rsplit("_", 1)[0] if "_" in stem and not gathered else folder.as_posix()
        groups.append(f"{Path(root).name}/{group}")
    if len(set(groups)) == 1:
        digits = ("".join(c for c in Path(name).stem if c.isdigit()) for name in names)
        groups = [f"{group}/{int(number or 0) // 100}" for group, number in zip(groups, digits, strict=True)]
    return groups


def photo_samples(frames: list[dict[str, Any]]) -> Samples:
    """The hands of photographs, with points and side; 3D only as a guess, where they were lifted."""
    rows = [(f, h) for f in frames for h in f["hands"] if h.get("points") is not None]
    n = len(rows)
    lifted = np.array([h.get("lifted") is not None for _, h in rows], bool)
    nothing = np.full((21, 3), np.nan)
    joints = [h["lifted"] if known else nothing for (_, h), known in zip(rows, lifted, strict=True)]
    return Samples(
        [f["file"] for f, _ in rows],
        np.array([h["points"] for _, h in rows], np.float32).reshape(n, 21, 2),
        np.array(joints, np.float32).reshape(n, 21, 3),
        np.where(lifted[:, None, None], np.diag([FAR, FAR, 1]), np.nan).astype(np.float32),
        np.array([h["side"] == "right" for _, h in rows], bool),
        np.array([f["group"] for f, _ in rows]),
        lifted=lifted,
    )


def with_boxes(frames: list[dict[str, Any]], boxes: dict[str, list[list[float]]]) -> list[dict[str, Any]]:
    """Photographs with every hand's box: a hand without points keeps its box alone. Those of which no box is
    told stay as they are.

    Args:
        boxes: file name to [xmin, ymin, xmax, ymax] of each hand (`webcam_hands/boxes.csv`).
    """
    result = []
    for frame in frames:
        if frame["file"].name not in boxes:
            result.append(frame)
            continue
        mine = [list(b) for b in boxes[frame["file"].name]]
        hands = []
        for hand in frame["hands"]:
            centre = np.asarray(hand["points"]).mean(0)
            inside = [b for b in mine if b[0] <= centre[0] <= b[2] and b[1] <= centre[1] <= b[3]]
            if inside:
                mine.remove(inside[0])
                hands.append(hand)
        hands += [{"box": b, "points": None, "side": None} for b in mine]
        result.append({**frame, "hands": hands, "complete": True})
    return result


def read_boxes(file: Path) -> dict[str, list[list[float]]]:
    """Boxes per file of a CSV with the columns file, xmin, ymin, xmax, ymax; others are ignored.

    Raises:
        TrainError: no such file, or not such a CSV.
    """
    boxes: dict[str, list[list[float]]] = {}
    sides = ("xmin", "ymin", "xmax", "ymax")
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:
            rows = csv.DictReader(lines)
            if not {"file", *sides} <= set(rows.fieldnames or ()):
                raise ValueError("a column is missing")
            for row in rows:
                boxes.setdefault(row["file"], []).append([float(row[c]) for c in sides])
    except (OSError, KeyError, TypeError, ValueError, csv.Error) as error:
        raise TrainError(
            f"{file} is not a CSV of boxes: it needs the columns file, xmin, ymin, xmax, ymax."
        ) from error
    return boxes


def empty_areas(frames: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """For `LandmarkSet.empty`: pictures, boxes of hands, hard negatives, where every hand is labelled."""
    result = []
    for frame in frames:
        if not frame.get("complete", True):
            continue
        boxes = []
        for hand in frame["hands"]:
            p = (
                np.asarray(hand["points"])
                if hand.get("points") is not None
                else np.reshape(hand["box"], (2, 2))
            )
            boxes.append([*p.min(0), *p.max(0)])
        result.append({"file": frame["file"], "boxes": boxes, "hard": frame.get("hard", [])})
    return result


def shrink(labels: Path, root: Path, out: Path, side: int = 256, quality: int = 75) -> int:
    """Cut pseudo-labelled photographs to their hands, so that they can travel: a few kilobytes each.

    Writes `out`/NAME.webp for every hand on which the labels agree, and `out`.json with their labels.
    Recordings, and so what is held out for validation, stay what they are.

    Args:
        side: of the pictures that are written at most, in pixels. quality: of WebP, 0..100.

    Returns:
        How many hands were written.

    Raises:
        TrainError: the labels are of another kind, a picture is missing, or the folder cannot be written.
    """
    if Path(root).name != out.name:  # it is part of a recording's name
        raise TrainError(f"{out} must be called {Path(root).name}, as the folder of the photographs is.")
    photos: dict[str, Any] = {}
    for frame in tqdm(load_photos(labels, root), desc=out.name, unit="photograph", delay=1):
        name = frame["file"].relative_to(root)
        # So that a recording without hands still counts.
        photos.setdefault(name.with_suffix(".webp").as_posix(), [])
        for n, hand in enumerate(frame["hands"]):
            points = np.asarray(hand["points"], np.float32)
            kept, a = window(read_image(frame["file"]), points, side)
            file = name.with_name(f"{name.stem}{f'-hand{n + 1}' if n else ''}.webp")
            if photos.get(file.as_posix()):  # another hand's picture, under the same name
                raise TrainError(f"{name} would take another's place in {out}: give it another name.")
            to = out / file
            data = cv2.imencode(".webp", kept[..., ::-1], [cv2.IMWRITE_WEBP_QUALITY, quality])[1]
            try:
                to.parent.mkdir(parents=True, exist_ok=True)
                to.write_bytes(data.tobytes())
            except OSError as error:
                raise TrainError(f"{to} could not be written: {error}") from error
            moved = (points @ a[:2, :2].T + a[:2, 2]).round(2).tolist()
            label = {"points": moved, "side": hand["side"], "agreement": 0.0}
            if len(frame["hands"]) > 1 or not frame["complete"]:
                label["complete"] = False  # another hand may be seen here, which this label does not say
            if hand["lifted"] is not None:
                label |= {"lifted": hand["lifted"], "doubt": 0.0}
            photos[file.as_posix()] = [label]
    said = {"format": 1, "by": f"shrunk from {labels.name}", "photos": photos}
    write_json(out.with_name(out.name + ".json"), said)
    return sum(map(len, photos.values()))
