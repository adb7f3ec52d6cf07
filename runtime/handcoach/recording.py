"""What `handcoach record` writes and `handcoach-export exercise` reads: landmarks of each posture.

    OUT/recording.json   {"format": 1, "hand", "landmark_model", "labels": {label: file},
                         "hands": {label: hand}}; an older program wrote no "hands"
    OUT/<label>.npz      landmarks float32 (N, 21, 3) canonical and normalised; t float64 (N,), seconds in
                         its source; take int32 (N,), which call of `record` a frame came with;
                         view float32 (N, 2), of each frame what `handcoach.quality.view` said; NaN in what
                         an older program recorded

No picture is stored, and no pickle. Every file is written beside its place and renamed, so that a crash
leaves the previous recording whole.
"""

from __future__ import annotations

import io
import json
import re
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from handcoach import places
from handcoach.coach import UNSURE
from handcoach.errors import HandCoachError
from handcoach.hand import Array

FORMAT = 1
INDEX = "recording.json"
HANDS = ("left", "right", "either")
MAX_FRAMES = 1_000_000  # of one label, 252 MB: more is no recording of an exercise
_AGAIN = "record this posture again (by command with --replace)"
# What Windows takes for a device, whatever the ending; a recording may travel.
RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))}
_LABEL = re.compile(r"\w[\w-]{0,39}")
V = TypeVar("V")


class RecordingError(HandCoachError):
    """A recording cannot be read or added to."""


@dataclass(frozen=True, eq=False)
class Recording:
    """Landmarks of every posture that was shown.

    Attributes:
        labels: label to float32 (N, 21, 3), canonical normalised landmarks, in the order they were recorded.
        hand: the hand that was shown: left, right, or either where both were.
        landmark_model: name of the model that the landmarks came from.
        takes: label to int32 (N,): frames of one call of `record` share a number, and so should stay on one
            side of a split.
        times: label to float64 (N,), seconds in each frame's source.
        views: label to float32 (N, 2), share of the hand in the picture and its brightness; NaN if unknown.
        hands: label to the hand that showed it.
    """

    labels: dict[str, Array]
    hand: str
    landmark_model: str
    takes: dict[str, NDArray[np.int32]] = field(default_factory=dict)
    times: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    views: dict[str, Array] = field(default_factory=dict)
    hands: dict[str, str] = field(default_factory=dict)

    def named(self, names: Mapping[str, str]) -> Recording:
        """The same with other labels; `names` says what the recording calls each of them.

        Raises:
            RecordingError: it has no such posture, or one twice.
        """
        if set(names.values()) - set(self.labels) or len(set(names.values())) < len(names):
            raise RecordingError(f"The recording has no {', '.join(names.values())}: name each posture once.")
        new = {old: label for label, old in names.items()}
        # One that is not mentioned makes room for another that has its name now.
        kept = [label for label in self.labels if label in new or label not in names]

        def again(column: Mapping[str, V]) -> dict[str, V]:
            return {new.get(label, label): column[label] for label in kept if label in column}

        return replace(
            self, labels=again(self.labels), takes=again(self.takes), times=again(self.times),
            views=again(self.views), hands=again(self.hands),
        )  # fmt: skip


def read(folder: str | Path, only: str | None = None) -> Recording:
    """The recording in a folder.

    Args:
        only: this label alone, whatever the others' files are like.

    Raises:
        RecordingError: there is none, or it is damaged, or it is of another format.
    """
    folder = Path(folder)
    index = _read_index(folder)
    if only is not None:
        index["labels"] = {label: name for label, name in index["labels"].items() if label == only}
    labels: dict[str, Array] = {}
    takes: dict[str, NDArray[np.int32]] = {}
    times: dict[str, NDArray[np.float64]] = {}
    views: dict[str, Array] = {}
    for label, name in index["labels"].items():
        labels[label], times[label], takes[label], views[label] = _read_label(folder / name)
    hands = {label: index["hands"][label] for label in labels}
    return Recording(labels, index["hand"], index["landmark_model"], takes, times, views, hands)


def add(
    folder: str | Path,
    label: str,
    landmarks: Array,
    t: NDArray[np.float64],
    *,
    hand: str,
    landmark_model: str,
    view: NDArray[np.floating] | None = None,
    replace: bool = False,
) -> int:
    """Add frames to a label of the recording in a folder; folder, recording and label are made where new.

    Args:
        landmarks: float32 (N, 21, 3), canonical and normalised.
        t: seconds (N,).
        hand: left, right or either.
        view: (N, 2), see `handcoach.quality.view`; None where it is not known.
        replace: these frames take the place of the label's older ones, which may be damaged.

    Returns:
        how many frames the label has now.

    Raises:
        RecordingError: see `read`; or the label cannot be a file's name; or the recording was made with
            another landmark model.
    """
    folder = Path(folder)
    landmarks = np.asarray(landmarks, dtype=np.float32)
    t = np.asarray(t, dtype=np.float64)
    seen = np.full((len(t), 2), np.nan, np.float32) if view is None else np.asarray(view, np.float32)
    if landmarks.shape != (len(t), 21, 3) or hand not in HANDS or seen.shape != (len(t), 2):
        raise ValueError(f"landmarks {landmarks.shape}, t {t.shape} and hand {hand!r} do not fit together")
    index = check(folder, label, landmark_model)
    take = np.zeros(len(t), dtype=np.int32)
    if label in index["labels"] and not replace:
        old, old_t, old_take, old_seen = _read_label(folder / index["labels"][label])
        seen = np.concatenate([old_seen, seen])
        landmarks, t = np.concatenate([old, landmarks]), np.concatenate([old_t, t])
        take = np.concatenate([old_take, take + (old_take.max(initial=-1) + 1)]).astype(np.int32)
        if index["hands"][label] != hand:
            hand = "either"
    name = index["labels"].setdefault(label, f"{label}.npz")
    index["hands"][label] = hand
    _agree_on_hand(index)
    packed = io.BytesIO()
    np.savez_compressed(packed, landmarks=landmarks, t=t, take=take, view=seen)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        places.save(folder / name, packed.getvalue())
        _save_index(folder, index)
    except OSError as error:
        raise _unwritable(folder, error) from error
    return len(landmarks)


def labels_in(folder: str | Path) -> list[str]:
    """The postures of a recording, in order, without reading their frames; none where there is no recording.

    Raises:
        RecordingError: it is damaged, or of another format.
    """
    folder = Path(folder)
    return list(_read_index(folder)["labels"]) if (folder / INDEX).exists() else []


def model_of(folder: str | Path) -> str:
    """Name of the landmark model that a recording was made with; "" where there is no recording.

    Raises:
        RecordingError: it is damaged, or of another format.
    """
    folder = Path(folder)
    return str(_read_index(folder)["landmark_model"]) if (folder / INDEX).exists() else ""


def remove(folder: str | Path, label: str) -> None:
    """Forget a posture of a recording, where it has it.

    Raises:
        RecordingError: the recording is damaged, or cannot be written.
    """
    folder = Path(folder)
    index = _read_index(folder)
    name = index["labels"].pop(label, None)
    if name is None:
        return
    del index["hands"][label]
    _agree_on_hand(index)
    try:
        _save_index(folder, index)
        (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from error


def check(folder: Path, label: str, landmark_model: str) -> dict[str, Any]:
    """Refuse what `add` would refuse, before a camera is opened for it; the index as it is, or a new one."""
    if not _LABEL.fullmatch(label):
        raise RecordingError(
            f"{label!r} cannot be a posture's label: use up to 40 letters, digits, - and _, for example open."
        )
    if label.casefold() in RESERVED:
        raise RecordingError(f"Windows has no files named {label}: give the posture another label.")
    if label == UNSURE:
        raise RecordingError(
            f"{label} is what HandCoach says of a hand that it cannot judge: give the posture another label."
        )
    if (folder / INDEX).exists():
        index = _read_index(folder)
    elif folder.exists() and not _was_cut_off(folder):
        raise RecordingError(
            f"{folder} exists and is no recording: give the name of a new folder or of a recording."
        )
    else:
        index = {
            "format": FORMAT, "hand": "either", "landmark_model": landmark_model, "labels": {}, "hands": {},
        }  # fmt: skip
    if index["landmark_model"] != landmark_model:
        raise RecordingError(
            f"The recording {folder} was made with the landmark model {index['landmark_model']}, not "
            f"{landmark_model}: use the same model or start a new recording."
        )
    for other in index["labels"]:
        if other != label and other.casefold() == label.casefold():
            raise RecordingError(f"The recording {folder} calls this posture {other}: write it the same way.")
    places_above = (folder.absolute(), *folder.absolute().parents)
    try:  # Windows tells only by trying; nothing is left behind
        there = next((place for place in places_above if place.exists()), folder)  # no drive may be there
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise _unwritable(folder, error) from error
    return index


def _agree_on_hand(index: dict[str, Any]) -> None:
    hands = set(index["hands"].values())
    index["hand"] = hands.pop() if len(hands) == 1 else "either"


def _unwritable(folder: Path, error: OSError) -> RecordingError:
    return RecordingError(
        f"The recording {folder} cannot be written ({error.strerror or error}): give a folder that you "
        "may write to.",
        "cannot_write",
    )


def _read_index(folder: Path) -> dict[str, Any]:
    """The checked content of recording.json."""
    path = folder / INDEX
    if not path.is_file():
        raise RecordingError(f"{folder} is no recording (no {INDEX}): make one with `handcoach record`.")
    try:
        index = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_once)
    except (OSError, ValueError, RecursionError) as error:
        raise RecordingError(f"{path} cannot be read: record again into a new folder.") from error
    if not isinstance(index, dict) or index.get("format") != FORMAT:
        raise RecordingError(f"{path} is not a recording of format {FORMAT}: record again into a new folder.")
    labels = index.get("labels")
    fits = (
        index.get("hand") in HANDS
        and isinstance(index.get("landmark_model"), str)
        and isinstance(labels, dict)
        # Only the name that this label must have: nothing outside the folder is ever read.
        and all(_LABEL.fullmatch(k) and v == f"{k}.npz" for k, v in labels.items())
    )
    if not fits:
        raise RecordingError(f"{path} is damaged: record again into a new folder.")
    assert isinstance(labels, dict)  # as `fits` has found
    hands = index.setdefault("hands", dict.fromkeys(labels, index["hand"]))
    if not isinstance(hands, dict) or set(hands) != set(labels) or not set(hands.values()) <= set(HANDS):
        raise RecordingError(f"{path} is damaged: record again into a new folder.")
    lower = [label.casefold() for label in labels]
    for label in labels:
        if lower.count(label.casefold()) > 1:
            raise RecordingError(f"{path} has two postures named {label}: record again into a new folder.")
    return index


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object whose keys are all different: of two labels with one name, one would be lost unsaid."""
    names = [name for name, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            raise RecordingError(
                f"The recording has two postures named {name[:40]}: record again into a new folder."
            )
    return dict(pairs)


def _read_label(path: Path) -> tuple[Array, NDArray[np.float64], NDArray[np.int32], Array]:
    """Checked landmarks (N, 21, 3), t (N,), take (N,) and view (N, 2) of one label's file."""
    try:
        if not zipfile.is_zipfile(path):
            raise ValueError("no npz")
        with np.load(path, allow_pickle=False) as data:
            landmarks, t, take = data["landmarks"], data["t"], data["take"]
            view = data["view"] if "view" in data else np.full((len(t), 2), np.nan, np.float32)
    except (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise RecordingError(f"{path} is missing or damaged: {_AGAIN}.") from error
    n = len(landmarks) if landmarks.ndim else 0
    kinds = (landmarks.dtype.kind, t.dtype.kind, take.dtype.kind)
    if (
        kinds != ("f", "f", "i")
        or landmarks.shape != (n, 21, 3)
        or t.shape != (n,)
        or take.shape != (n,)
        or view.shape != (n, 2)
        or view.dtype.kind != "f"
        or n > MAX_FRAMES
    ):
        raise RecordingError(f"{path} holds no hand landmarks: {_AGAIN}.")
    bad = int((~np.isfinite(landmarks).all(axis=(1, 2))).sum())
    if bad:
        raise RecordingError(f"{path} has {bad} of {n} frames with landmarks that are no numbers: {_AGAIN}.")
    return landmarks.astype(np.float32), t.astype(np.float64), take.astype(np.int32), view.astype(np.float32)


def _save_index(folder: Path, index: dict[str, Any]) -> None:
    places.save(folder / INDEX, (json.dumps(index, indent=2, ensure_ascii=False) + "\n").encode())


def _was_cut_off(folder: Path) -> bool:
    """Whether it is empty, or a recording whose first take ended before its index was written."""
    if not folder.is_dir():
        return False
    there = [path for path in folder.iterdir() if path.suffix != ".part"]
    if not there:
        return True
    if len(there) > 1 or there[0].suffix != ".npz":
        return False
    try:
        with np.load(there[0], allow_pickle=False) as data:
            return set(data.files) == {"landmarks", "t", "take", "view"}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return False
