"""An exercise in the making: what a therapist has chosen so far, and the folder that keeps it.

    USER FOLDER/studio/NAME/draft.json     the choices, `Draft`
                            recording/     landmarks, see `handcoach.recording`; `recording-damaged`,
                                           `-2` and so on where one was put aside
                            pictures/      only where the therapist ticked it
                            check/         the verdict's pictures
                            exercise.onnx  the one to try; ready.onnx: as it was saved

Everything is written as it is chosen, so that nothing is lost when the window closes or the computer stops.
"""

from __future__ import annotations

import itertools
import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from handcoach import places, recording
from handcoach.coach import LEAST_REST_S, WIDEST
from handcoach.errors import HandCoachError
from handcoach.hand import FINGERS

FORMAT = 1
FILE = "draft.json"
# Times the tolerance that the recording gives, for joints and for the best posture.
STRICTNESS = {"gentle": 1.5, "medium": 1.0, "strict": 0.7}
TURNS = ("", "x", "z", "xyz")  # kept axes that a therapist is offered
MOST_POSTURES = 6
# Of each number a therapist sets: step, least and most.
NUMBERS = {"hold_s": (1, 1, 30), "repetitions": (1, 1, 30), "rest_s": (1, LEAST_REST_S, 60),
           "session_min": (5, 5, 60), "speak_s": (2, 0, 20), "easier": (5, 0, 50)}  # fmt: skip


class DraftError(HandCoachError):
    """A draft cannot be read or written."""

    key = "cannot_write"


class DeleteError(DraftError):
    """Something of a draft is still there."""

    key = "cannot_delete"


@dataclass(frozen=True)
class Posture:
    """One posture of a draft: what the files call it, and what people do."""

    label: str
    name: str


@dataclass(frozen=True)
class Draft:
    """What a therapist has chosen so far.

    Attributes:
        postures: best first.
        kept_axes: one of TURNS. fingers: those that count.
        instructions, messages: texts by language; messages by label first, and by the posture's place for
            which they were written, as "best en". What is not there has a default.
        colours: by label, like #2e9e5b.
        lang: the therapist's language, in which the postures are named; "" in drafts of before it was kept.
        hold_s, rest_s: seconds. session_min: longest session, minutes.
        speak_s: seconds between two corrections at least; 0: at once.
        easier: per cent by which the tolerance may grow for a person whose tries fail.
        keep_pictures: a few pictures of each take are kept beside its landmarks.
    """

    title: str = ""
    hand: str = "either"
    postures: tuple[Posture, ...] = ()
    kept_axes: str = ""
    fingers: tuple[str, ...] = FINGERS
    instructions: Mapping[str, str] = field(default_factory=dict)
    messages: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    colours: Mapping[str, str] = field(default_factory=dict)
    strictness: str = "medium"
    hold_s: int = 3
    repetitions: int = 5
    rest_s: int = 3
    session_min: int = 15
    speak_s: int = 0
    easier: int = round(100 * (WIDEST - 1))
    author: str = ""
    keep_pictures: bool = False
    lang: str = ""

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(posture.label for posture in self.postures)

    @property
    def names(self) -> dict[str, str]:
        """What people call each label."""
        return {posture.label: posture.name for posture in self.postures}

    def as_json(self) -> str:
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1, ensure_ascii=False) + "\n"


def parse(text: str) -> Draft:
    """A draft from its JSON. Raises ValueError, TypeError or KeyError where it is none."""
    given = json.loads(text)
    if not isinstance(given, dict) or given.pop("format", None) != FORMAT:
        raise ValueError("another format")
    known = {f.name: f for f in fields(Draft)}
    default = Draft()
    values: dict[str, Any] = {}
    for key, value in given.items():
        if key not in known:
            raise ValueError(key)
        if key == "postures":
            values[key] = tuple(Posture(str(p["label"]), str(p["name"])) for p in value)
        elif key == "fingers":
            values[key] = tuple(value)
        elif type(value) is type(getattr(default, key)):
            # A draft of before there was a least rest may have a shorter one.
            values[key] = max(value, LEAST_REST_S) if key == "rest_s" else value
        else:
            raise ValueError(key)
    made = Draft(**values)
    if not made.postures:
        raise ValueError("no posture")
    if not set(made.fingers) <= set(FINGERS) or made.strictness not in STRICTNESS:
        raise ValueError("fingers or strictness")
    if made.hand not in recording.HANDS or made.kept_axes not in TURNS:
        raise ValueError("hand or kept_axes")
    if not all(least <= getattr(made, name) <= most for name, (_, least, most) in NUMBERS.items()):
        raise ValueError("a number out of its bounds")
    if not all(_are_texts(texts) for texts in (made.instructions, *made.messages.values())):
        raise ValueError("instructions or messages")
    return made


def _are_texts(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())


def label_of(name: str) -> str:
    """The label of a posture's name: letters, digits, - and _; "" where nothing is left."""
    label = re.sub(r"[^\w]+", "-", name.strip()).strip("-_").lower()[:40].strip("-")
    return f"{label}_" if label in recording.RESERVED else label


# --- Folders ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kept:
    """A draft that lies in its folder; `draft` is None where it cannot be read. `recorded` are its labels
    with landmarks, `changed` is when, in seconds since 1970; `problem` is what its recording has, or ""."""

    folder: Path
    draft: Draft | None
    recorded: tuple[str, ...]
    changed: float
    problem: str = ""


def studio_folder() -> Path:
    return places.user_folder() / "studio"


def recording_of(folder: Path) -> Path:
    return folder / "recording"


def pictures_of(folder: Path) -> Path:
    return folder / "pictures"


def kept() -> list[Kept]:
    """The drafts of this user, newest first."""
    found = []
    for path in studio_folder().glob(f"*/{FILE}"):
        try:
            draft: Draft | None = parse(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            draft = None
        try:
            recorded, problem = tuple(recording.labels_in(recording_of(path.parent))), ""
        except HandCoachError as error:
            recorded, problem = (), str(error)
        found.append(Kept(path.parent, draft, recorded, path.stat().st_mtime, problem))
    return sorted(found, key=lambda one: -one.changed)


def put_aside(folder: Path, why: str = "damaged") -> Path:
    """Make room for a new recording, where the draft's cannot be gone on with; the older one's new place.

    Raises:
        DraftError: it cannot be moved.
    """
    place = _unused(folder / f"recording-{why}")
    try:
        recording_of(folder).rename(place)
    except OSError as error:
        raise DraftError(f"{folder} cannot be written ({error.strerror or error}).") from error
    return place


def new_folder(stamp: str) -> Path:
    """A folder for a new draft; it is made when the draft is saved.

    Args:
        stamp: date and time, such as 2026-01-31-1405.
    """
    return _unused(studio_folder() / stamp)


def _unused(folder: Path) -> Path:
    """This folder, or with a number where it is there."""
    numbered = (folder.with_name(f"{folder.name}-{n}") for n in itertools.count(2))
    return next(place for place in itertools.chain([folder], numbered) if not place.exists())


def save(folder: Path, draft: Draft) -> None:
    """Raises DraftError: it cannot be written; the older one is whole."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        places.save(folder / FILE, draft.as_json().encode())
    except OSError as error:
        raise DraftError(
            f"{folder} cannot be written ({error.strerror or error}): make room, or make it writable."
        ) from error


def delete(folder: Path) -> None:
    """A draft with its recording and pictures.

    Raises:
        DeleteError: some of it cannot be deleted; it is a draft still, so that it can be asked for again.
    """
    try:
        for place in sorted(folder.iterdir(), key=lambda place: place.name == FILE):  # which goes last
            if place.is_dir() and not place.is_symlink():
                shutil.rmtree(place)
            else:
                place.unlink()
    except OSError as error:
        raise _undeleted(folder, error) from error
    shutil.rmtree(folder, ignore_errors=True)  # a check that still runs may write its verdict meanwhile


def pictures(folder: Path) -> list[Path]:
    return sorted(pictures_of(folder).glob("*.jpg"))


def add_pictures(folder: Path, label: str, jpegs: list[bytes]) -> None:
    """Keep JPEG pictures of a posture. Raises DraftError: they cannot be written."""
    if not jpegs:
        return
    place = pictures_of(folder)
    try:
        place.mkdir(parents=True, exist_ok=True)
        numbers = (path.stem.rpartition("-")[2] for path in _own(folder, label))
        first = 1 + max((int(number) for number in numbers if number.isdecimal()), default=0)
        for n, data in enumerate(jpegs, first):
            places.save(place / f"{label}-{n:03d}.jpg", data)
    except OSError as error:
        raise DraftError(f"The pictures cannot be written ({error.strerror or error}): make room.") from error


def delete_pictures(folder: Path, label: str | None = None) -> None:
    """All pictures, or those of one posture. Raises DeleteError: some cannot be deleted."""
    try:
        for path in pictures(folder) if label is None else _own(folder, label):
            path.unlink(missing_ok=True)
    except OSError as error:
        raise _undeleted(pictures_of(folder), error) from error


def _undeleted(folder: Path, error: OSError) -> DeleteError:
    return DeleteError(
        f"{folder} cannot be deleted ({error.strerror or error}): close what has its files open, then delete "
        "it again."
    )


def _own(folder: Path, label: str) -> list[Path]:
    """The pictures of one posture. Not by a pattern: open-* is also what another posture, open-wide, has."""
    return [path for path in pictures(folder) if path.stem.rpartition("-")[0] == label]
