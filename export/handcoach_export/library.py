"""The starter library: rendered, recorded, built and judged by one command, `handcoach-export library`.

    WORK/bodies/SET.npz              arms of made-up people; no person is in two sets
    WORK/frames/SET/POSTURE/         their renderings, as `handcoach-train render` writes them
    WORK/read/SET/POSTURE-*.npz      what finder and landmark network read in them, by the models' content
    WORK/recordings/EXERCISE/        of the own people, as `handcoach record` writes them
    WORK/exercises/EXERCISE.onnx     and its picture

Three sets of people: `own` is recorded, `choose` decides what an almost good posture counts as, `final` is
looked at once, for the figures that are reported. And single teachers, to see how well an exercise that one
person records tells other people's hands. Everything that is there and fits is kept, so that the command goes
on where it stopped.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from handcoach import defaults, exercise_file, model, pipeline, places, quality, recording
from handcoach.angles import STRETCHED, extension_deficit, flexion
from handcoach.coach import UNSURE
from handcoach.errors import HandCoachError
from handcoach.exercise import Exercise
from handcoach.hand import Array, Frame, Hand, mirror
from handcoach.tracker import Choice
from handcoach_export import exercise

SETS = {"own": 9001, "choose": 9002, "final": 9003}  # and the seed of their people
PEOPLE = {"own": 60, "choose": 40, "final": 40}
TEACHERS = {f"teacher-{n}": 9010 + n for n in range(1, 5)}  # sets of one person
SIZE = 640  # pixels across a frame
LARGE = 64  # pixels from the middle MCP to the farthest joint
FOLLOWED = 6  # frames, at 30 a second, that a hand is followed for before it is judged as tracked
NOT_FOUND = "not found"
READER = 7  # to be raised where tracker, finder or landmarker read otherwise: what was read before is stale
GOOD, MOST_WRONG_PRAISE = 0.9, 0.05  # the bar for shipping: stills of other people
ALMOST_COSTS = 0.03  # the share of right verdicts that an almost good posture may cost, see `build`
# How every exercise is fitted: chosen for all of them at once, on the people of `choose`. What does best for
# one of them on forty people does so in part by luck, and less well on others.
HOW: dict[str, Any] = {"weights": "many", "per_label": 2}
STRETCH = ("open", "almost", "fist")  # as `handcoach-train render --view exercise` knows them
GAP = 15  # degrees to either side of STRETCHED: a camera is good to 5 to 10 of a joint, see `angles`
# Which of the rendered hands show these postures: degrees of a finger's joints together, the mean of the
# fingers. They are rendered up to STRETCHED and from there on; but between good and almost good nobody shows
# anything, as in `starter`.
SHOWS_BENT = {"open": (0, STRETCHED - GAP), "almost": (STRETCHED + GAP, np.inf)}


Shows = dict[str, tuple[str, ...]]  # by label, the best label first, the postures that show it
THUMBS = ("index", "middle", "ring", "little")


def _thumb(finger: str) -> Shows:
    others = tuple(f"thumb_{other}" for other in THUMBS if other != finger)
    return {
        "touch": (f"thumb_{finger}",),
        "almost": (f"thumb_{finger}_half",),
        "other": others,
        "open": ("flat",),
    }


# Each exercise's labels, as its words in exercises/*.json have them.
LIBRARY: dict[str, Shows] = {
    "finger-stretch": {label: (label,) for label in STRETCH},
    "fist": {"fist": ("closed",), "almost": ("closed_half",), "hook": ("hooked",), "open": ("straight",)},
    "hook-fist": {"hook": ("hooked",), "almost": ("hooked_half",), "fist": ("closed",),
                  "open": ("straight",)},
    "table-top": {"table": ("tabletop",), "almost": ("tabletop_half",), "curled": ("closed", "hooked"),
                  "flat": ("straight",)},
    "finger-spread": {"apart": ("apart",), "almost": ("apart_half",), "together": ("flat",)},
    **{f"thumb-to-{finger}": _thumb(finger) for finger in THUMBS},
    "finger-lift": {"lifted": ("index_lifted",), "resting": ("index_resting",)},
    "wrist-up": {"up": ("wrist_up",), "almost": ("wrist_up_half",), "level": ("wrist_level",),
                 "down": ("wrist_down",)},
    "wrist-down": {"down": ("wrist_down",), "almost": ("wrist_down_half",), "level": ("wrist_level",),
                   "up": ("wrist_up",)},
    "forearm-turn": {"turned": ("turned",), "almost": ("turned_half",), "palm": ("flat",)},
}  # fmt: skip
# The label of the posture from which an exercise starts, where it is not the last.
STARTS = {"wrist-up": "level", "wrist-down": "level"}


@dataclass(frozen=True)
class Models:
    """Landmark network and finder, by name or file."""

    landmarks: str = defaults.LANDMARKS
    finder: str = defaults.FINDER

    @property
    def name(self) -> str:
        return model.read(model.find(self.landmarks, "landmarks"), "landmarks").name

    @property
    def content(self) -> tuple[str, str]:
        return (
            model.read(model.find(self.landmarks, "landmarks"), "landmarks").sha256,
            model.read(model.find(self.finder, "finder"), "finder").sha256,
        )


@dataclass(frozen=True)
class Assets:
    """Folders with what renderings are made of, see models/remake.sh."""

    root: Path

    @property
    def skins(self) -> Path:
        return self.root / "makehuman_skins"

    @property
    def hdri(self) -> Path:
        return self.root / "hdri"

    @property
    def godot(self) -> Path:
        return self.root / "godot_hands"


def postures() -> tuple[str, ...]:
    """All that is rendered: the finger stretch's three and those of `starter`."""
    from handcoach_train.render import starter

    return (*STRETCH, *starter.SHOWN)


def render(work: Path, assets: Assets, counts: dict[str, int], workers: int = 1) -> None:
    """Render what is missing: so many frames of each posture, by set."""
    from handcoach_train.render import starter, write

    seeds = SETS | TEACHERS
    for name, count in counts.items():
        people = work / "bodies" / f"{name}.npz"
        if not people.is_file():
            write.bake(people, PEOPLE.get(name, 1), seeds[name], "mixed", assets.godot)
        for posture in postures():
            # Of the view on a table only a part is large and wholly in the picture; of a fist a third.
            wanted = count * (3 if posture in STRETCH else 1)
            job = write.Job(
                work / "frames" / name / posture, wanted, SIZE,
                seed=seeds[name] * 1000 + zlib.crc32(posture.encode()) % 1000,
                view="exercise" if posture in STRETCH else "library",
                posture=posture, full_frames=True, hands=1, skins=assets.skins, hdri=assets.hdri,
                godot=assets.godot, arms=people,
            )  # fmt: skip
            how = starter.SHOWN.get(posture)
            touch = [starter.TOUCH] if how and how.touch else []
            as_shown = repr((write.RENDERER, how, starter.DISTANCE, *touch))
            said = job.out / "shown.txt"
            if said.is_file() and said.read_text("utf-8") != as_shown:
                shutil.rmtree(job.out)  # the posture was shown in another way
            job.out.mkdir(parents=True, exist_ok=True)
            said.write_text(as_shown, "utf-8")
            if len(list((job.out / "labels").glob("*.json"))) < wanted:
                write.render(job, workers)


# --- What the program sees in the renderings ---


@dataclass(frozen=True, eq=False)
class Seen:
    """The hands of one posture's frames, in the frames' order.

    Attributes:
        landmarks: (N, 21, 3), canonical; of a frame without a hand NaN.
        score: presence (N,); 0 without a hand.
        right_side: (N,), whether the hand was taken for the one it is.
        view: (N, 2), see `handcoach.quality.view`.
    """

    landmarks: Array
    score: Array
    right_side: NDArray[np.bool_]
    view: Array

    def __len__(self) -> int:
        return len(self.score)

    def of(self, these: NDArray[np.bool_]) -> Seen:
        """Only these hands (N,)."""
        return Seen(self.landmarks[these], self.score[these], self.right_side[these], self.view[these])


def read(
    work: Path, name: str, posture: str, models: Models, *, known_side: bool = False, tracked: bool = False,
    along: bool = False, in_gap: bool = False,
) -> Seen:  # fmt: skip
    """Read a posture's renderings by finder and landmark network, unless they were read before.

    Only frames with a large hand wholly in the picture: the program tells people to move otherwise.

    Args:
        known_side: somebody said which hand it is, as a therapist does; else the program finds out.
        tracked: each frame is followed for FOLLOWED frames as the picture of a hand that shakes a little, and
            the last one counts.
        along: as of `handcoach.tracker.Tracker`.
        in_gap: those that are bent too much or too little to show it (SHOWS_BENT), instead of the others.
    """
    folder = work / "frames" / name / posture
    clear = _clear_frames(folder)
    what = [READER, models.content, known_side, tracked, along, *((f.stem, f.stat().st_size) for f in clear)]
    key = hashlib.sha256(repr(what).encode()).hexdigest()[:16]
    kept = work / "read" / name / f"{posture}-{key}.npz"
    if not kept.is_file():
        choices: tuple[Choice, ...] = ("left", "right") if known_side else ("auto",)
        lines = {choice: pipeline.load(None, models.landmarks, models.finder, hand=choice, still=not tracked)
                 for choice in choices}  # fmt: skip
        for line in lines.values():
            line.tracker.along = along
        rows = []
        for file, hand in tqdm(clear.items(), desc=f"read {name} {posture}", leave=False):
            picture = cv2.imread(str(folder / "frames" / f"{file.stem}.jpg"))
            if picture is None:
                raise HandCoachError(
                    f"{folder} lacks the picture of {file.name}: remove it, and render again."
                )
            image = picture[..., ::-1]
            line = lines[hand["side"] if known_side else "auto"]
            rows.append(_look(line, np.ascontiguousarray(image), hand["side"], int(file.stem), tracked))
        shapes = ((0, 21, 3), (0,), (0,), (0, 2))
        parts = [np.array(part) for part in zip(*rows, strict=True)] or [np.zeros(shape) for shape in shapes]
        kept.parent.mkdir(parents=True, exist_ok=True)
        beside = kept.with_suffix(".part")
        with beside.open("wb") as out:
            np.savez_compressed(out, *parts)
        beside.replace(kept)
    with np.load(kept) as data:
        landmarks, score, right_side, view = (data[f"arr_{i}"] for i in range(4))
    seen = Seen(landmarks.astype(np.float32), score.astype(np.float32), right_side.astype(bool), view)
    return seen.of(_shows(posture, list(clear.values())) != in_gap)


def _shows(posture: str, hands: list[dict[str, Any]]) -> NDArray[np.bool_]:
    """Which of the true hands (N,) are bent as SHOWS_BENT says of the posture."""
    if posture not in SHOWS_BENT:
        return np.ones(len(hands), bool)
    joints = np.array([hand["joints"] for hand in hands]).reshape(-1, 21, 3)
    left = np.array([hand["side"] == "left" for hand in hands], bool)
    joints[left] = mirror(joints[left])
    bent = extension_deficit(flexion(joints)).mean(-1)
    low, high = SHOWS_BENT[posture]
    return np.asarray((low <= bent) & (bent <= high))


def _clear_frames(folder: Path) -> dict[Path, dict[str, Any]]:
    """The hand by the file of its truth, of the frames in which it is large and wholly in the picture."""
    return {file: hand for file in sorted((folder / "labels").glob("*.json")) if (hand := _clear(file))}


def _clear(file: Path) -> dict[str, Any] | None:
    """The hand of a frame's truth, where it is large and wholly in the picture."""
    truth = json.loads(file.read_text())
    hand = truth["hands"][0] if truth["hands"] else None
    if hand is None:
        return None
    points = np.array(hand["points"])
    large = np.linalg.norm(points - points[9], axis=1).max() >= LARGE
    inside = (points > 8).all() and (points < np.array(truth["size"]) - 8).all()
    return hand if large and inside else None


def _look(line: pipeline.Pipeline, image: NDArray[np.uint8], side: str, number: int, tracked: bool) -> Any:
    """Landmarks, score, whether the side is right, and view of one frame."""
    line.reset()
    rng = np.random.default_rng(number)
    for n in range(FOLLOWED if tracked else 1):
        shown = _shaken(rng, image) if tracked else image
        track, _ = line.step(Frame(shown, n / 30, n))
    if track.hand is None:
        return np.full((21, 3), np.nan, np.float32), 0.0, False, (0.0, 0.0)
    hand = track.hand
    return hand.canonical, hand.score, hand.side == side, quality.view(image, hand.points)


def _shaken(rng: np.random.Generator, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture of a hand that shakes a little, with a webcam's noise of its own."""
    height, width = image.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), rng.normal(0, 0.6), 1 + rng.normal(0, 0.004))
    turn = np.column_stack([turn[:, :2], turn[:, 2] + rng.normal(0, 1.2, 2)])
    moved = cv2.warpAffine(image, turn, (width, height), borderMode=cv2.BORDER_REFLECT)
    return np.clip(moved + rng.normal(0, 4, moved.shape), 0, 255).astype(np.uint8)


# --- Recording, building, judging ---


def said_of(
    judge: Exercise, work: Path, people: str, shows: Shows, models: Models, **how: bool
) -> dict[str, list[str]]:
    """What the exercise says of these people's hands, by label, as they are seen where it runs; `how` as of
    `read`."""
    return {
        label: [
            word for posture in shown
            for word in judged(judge, read(work, people, posture, models, along=judge.along, **how))
        ]
        for label, shown in shows.items()
    }  # fmt: skip


def record(work: Path, folder: str, models: Models, shows: Shows, people: str = "own") -> Path:
    """A recording of these people, as `handcoach record` writes it; made anew in WORK/recordings."""
    to = work / "recordings" / folder
    shutil.rmtree(to, ignore_errors=True)
    for label, shown in shows.items():
        for posture in shown:
            seen = read(work, people, posture, models, known_side=True)
            there = seen.score > 0
            # Single pictures, as `record` gives to those of a folder: their times say nothing.
            recording.add(
                to, label, seen.landmarks[there], np.zeros(int(there.sum())), hand="either",
                landmark_model=models.name, view=seen.view[there],
            )  # fmt: skip
    return to


@dataclass(frozen=True)
class Trial:
    """An exercise as it might be.

    Attributes:
        shows: see `Shows`.
        figures: on those people of `choose` whose hand is found; None if that leaves any label without one.
        problem: why the recording was refused, if it was.
    """

    shows: Shows
    figures: dict[str, Any] | None
    problem: HandCoachError | None

    @property
    def tells(self) -> bool:
        """Whether it tells its postures apart, and an almost good one from the others, not by luck alone."""
        if self.problem or not self.figures:
            return False
        sure = _less_luck(self.right, self.figures["frames"])
        # The mean may pass by the other postures alone.
        almost = self.figures["right_by_label"].get("almost", 1.0)
        seen = self.figures["frames_by_label"].get("almost", 1)
        return passes({"stills": self.figures | {"right": sure}}) and _less_luck(almost, seen) >= GOOD

    @property
    def right(self) -> float:
        return self.figures["right"] if self.figures else 0.0


def build(work: Path, name: str, models: Models) -> tuple[Path, dict[str, Any], Shows]:
    """Build an exercise, with its almost good posture as the people of `choose` say.

    An almost good posture that is not told from the others on them, or that costs more than ALMOST_COSTS,
    counts as the one from which the exercise starts: a try that stops half-way is then no good one either.
    Where that costs too much as well, but the others are told apart, the exercise does without it.

    Returns:
        the file, its metadata, and what shows its labels.

    Raises:
        HandCoachError: the recording is refused.
    """
    chosen = _choose(work, name, models)
    recorded = record(work, name, models, chosen.shows)
    if chosen.problem:
        raise chosen.problem
    file = work / "exercises" / f"{name}.onnx"
    meta = exercise.build(recorded, file, _settings(name, chosen.shows) | HOW)
    return file, meta, chosen.shows


def _choose(work: Path, name: str, models: Models) -> Trial:
    """The exercise with its almost good posture, with that as its start, or without; see `build`."""
    labels = LIBRARY[name]
    others = {label: shown for label, shown in labels.items() if label != "almost"}
    full = _try(work, name, models, labels)
    if others == labels or len(others) < 2:
        return full  # there is nothing to choose
    if full.tells and full.right >= 1 - ALMOST_COSTS:
        return full  # it costs no more than all that is wrong
    without = _try(work, name, models, others)
    if not (full.problem or without.figures):
        return full  # nobody to choose by
    least = without.right - ALMOST_COSTS
    if full.tells and full.right >= least:
        return full
    start = STARTS.get(name, list(others)[-1])
    at_start = _try(work, name, models, others | {start: others[start] + labels["almost"]})
    if at_start.tells and at_start.right >= least:
        return at_start
    return without if without.tells or (full.problem and not without.problem) else full


def _try(work: Path, name: str, models: Models, shows: Shows) -> Trial:
    """Record it on trial, and judge other people by it."""
    try:
        said = _on_trial(work, models, shows, _settings(name, shows) | HOW, "own", "choose")
    except HandCoachError as error:
        return Trial(shows, None, error)
    # A hand that is not found says nothing about whether postures can be told apart.
    found = {label: [word for word in words if word != NOT_FOUND] for label, words in said.items()}
    return Trial(shows, _figures(found) if all(found.values()) else None, None)


def _on_trial(
    work: Path, models: Models, shows: Shows, settings: dict[str, Any], recorded: str, shown: str
) -> dict[str, list[str]]:
    """What an exercise that is made of the first people's recording says of the others, see `said_of`.

    Raises:
        HandCoachError: the recording is refused.
    """
    folder, file = record(work, "trial", models, shows, recorded), work / "exercises" / "trial.onnx"
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        exercise.build(folder, file, settings)
        return said_of(Exercise(model.read(file, "exercise")), work, shown, shows, models)
    finally:
        file.unlink(missing_ok=True)
        shutil.rmtree(folder)


def _settings(name: str, shows: Shows) -> dict[str, Any]:
    """An exercise's words, of the labels that it has."""
    words = exercise.read_settings(name)
    return words | {"labels": list(shows), "messages": {label: words["messages"][label] for label in shows}}


def judged(judge: Exercise, seen: Seen) -> list[str]:
    """What the exercise says of each hand; "not found" where there is none."""
    nowhere = np.zeros((21, 2), np.float32)
    return [
        judge.assess(Hand(hand, nowhere, "right", float(score))).label if score > 0 else NOT_FOUND
        for hand, score in zip(seen.landmarks, seen.score, strict=True)
    ]


def _figures(said: dict[str, list[str]]) -> dict[str, Any]:
    """Shares by label and their means: `right`, and `wrong_praise` of what is not the best label."""
    best = next(iter(said))
    right = {label: float(np.mean([word == label for word in words])) for label, words in said.items()}
    praised = [
        float(np.mean([word == best for word in words])) for label, words in said.items() if label != best
    ]
    return {
        "frames": sum(map(len, said.values())),
        "frames_by_label": {label: len(words) for label, words in said.items()},
        "right": float(np.mean(list(right.values()))),
        "right_by_label": right,
        "wrong_praise": float(np.mean(praised)),
        "unsure": float(np.mean([word in (UNSURE, NOT_FOUND) for words in said.values() for word in words])),
    }


def _less_luck(share: float, frames: int) -> float:
    """A share of so many frames less its standard error: of few people a good one may be luck."""
    return float(share - np.sqrt(share * (1 - share) / frames))


def judge(work: Path, name: str, models: Models, shows: Shows) -> dict[str, Any]:
    """Figures on the people of `final`: stills, tracked, how often each posture is praised; and, of the
    stills, what is said of hands in the gap between two postures, and the figures with them."""
    runs = Exercise(model.read(work / "exercises" / f"{name}.onnx", "exercise"))
    result: dict[str, Any] = {"shows": shows}
    for mode in ("tracked", "stills"):
        said = said_of(runs, work, "final", shows, models, tracked=mode == "tracked")
        result[mode] = _figures(said)
    between = said_of(runs, work, "final", shows, models, in_gap=True)
    if any(between.values()):
        result["gap"] = {
            "said": {label: words for label, words in between.items() if words},
            "with": _figures({label: words + between[label] for label, words in said.items()}),
        }
    result["taught"] = [found for one in TEACHERS if (found := _taught(work, name, models, shows, one))]
    result["praised"] = {}
    for posture in postures():
        verdicts = judged(runs, read(work, "final", posture, models, along=runs.along))
        result["praised"][posture] = float(np.mean([word == runs.labels[0] for word in verdicts]))
    return result


def _taught(work: Path, name: str, models: Models, shows: Shows, teacher: str) -> dict[str, Any] | None:
    """Figures on the people of `final`, with the exercise that one person's recording gives; or why that was
    refused. None where this person is not rendered."""
    if not (work / "frames" / teacher).is_dir():
        return None
    try:
        return _figures(_on_trial(work, models, shows, _settings(name, shows), teacher, "final"))
    except HandCoachError as error:
        return {"refused": str(error)}


def make(
    work: Path,
    assets: Assets | None,
    models: Models,
    counts: dict[str, int],
    ship: Path | None,
    workers: int = 1,
) -> dict[str, dict[str, Any]]:
    """Everything, in order; figures by exercise. What passes goes into `ship`, and so does library.md.

    Args:
        assets: None where all is rendered.

    Raises:
        HandCoachError: a posture is shown by nobody; nothing was changed.
    """
    if assets is not None:
        render(work, assets, {name: count for name, count in counts.items() if count}, workers)
    for posture in postures():
        for people in ("own", "final"):
            if not any((work / "frames" / people / posture / "labels").glob("*.json")):
                raise HandCoachError(f"Nobody of {people} shows {posture} yet: give --assets, to render it.")
    found: dict[str, dict[str, Any]] = {}
    for name in LIBRARY:
        try:
            file, meta, shows = build(work, name, models)
        except HandCoachError as error:
            found[name] = {"refused": str(error)}
            print(f"{name}: {error}", flush=True)
            continue
        found[name] = judge(work, name, models, shows) | {"meta": meta}
        stills, tracked = found[name]["stills"], found[name]["tracked"]
        print(f"{name}: right {stills['right']:.1%} (tracked {tracked['right']:.1%}), "
              f"wrong praise {stills['wrong_praise']:.1%}", flush=True)  # fmt: skip
        places.save(file.with_suffix(".png"), exercise_file.picture(model.read(file, "exercise")))
    (work / "library.md").write_text(as_markdown(found, models), "utf-8")
    if ship is not None:
        _ship(work, found, ship)
    return found


def passes(figures: dict[str, Any]) -> bool:
    """The bar for shipping."""
    if "refused" in figures:
        return False
    stills = figures["stills"]
    return bool(stills["right"] >= GOOD and stills["wrong_praise"] <= MOST_WRONG_PRAISE)


def _ship(work: Path, found: dict[str, dict[str, Any]], ship: Path) -> None:
    """Exercises and pictures; one that does not pass any more is taken away, but never the program's own."""
    for name, figures in found.items():
        for suffix in (".onnx", ".png"):
            made, there = work / "exercises" / f"{name}{suffix}", ship / f"{name}{suffix}"
            if passes(figures):
                places.save(there, made.read_bytes())
            elif name != defaults.EXERCISE:
                there.unlink(missing_ok=True)
    places.save(ship / "library.md", (work / "library.md").read_bytes())


def as_markdown(found: dict[str, dict[str, Any]], models: Models) -> str:
    """library.md: what is shipped, its figures, and who praises whose good posture."""
    titles = {name: exercise.read_settings(name)["title"] for name in LIBRARY}
    lines = [
        "# The starter library", "",
        "Written by `models/remake.sh library`; do not edit. Every exercise is made of rendered recordings "
        "of made-up people, read by finder and landmark network, all built by one rule "
        f"({HOW['per_label']} clusters of each posture, weighed as a recording of many people is) and "
        "judged on people that are in no recording. Between the good and the almost good posture lies a gap "
        "in which nobody shows anything; how well real hands "
        "are told apart is known of the finger stretch only (finger-stretch.md).", "",
        f"Landmarks by `{models.name}`. An exercise ships if {GOOD:.0%} or more of the stills are right and "
        f"at most {MOST_WRONG_PRAISE:.0%} of the other postures that it knows are praised; `unsure` is not "
        "right, and no praise. An almost good posture that cannot be told apart from the others, or that "
        f"costs more than {ALMOST_COSTS:.0%} of what is right, counts as the one where the exercise starts, "
        "or where that costs too much as well as none: the last column but one says how often it is praised "
        "for a good one. Shares are means over the labels. Tracked: each picture followed for a fifth of a "
        "second as a hand that shakes. Nothing is made easier, as it gets for a person whose tries fail. "
        "By one teacher: the same exercise from one person's recording, as a therapist makes it, judged on "
        "the same people: stills right, wrong praise and unsure, the mean of up to four teachers.", "",
        "| exercise | på dansk | postures, best first | frames own / judged | stills right | tracked right | "
        "wrong praise | unsure | by one teacher | almost good | |",
        "|---|---|---|---|---:|---:|---:|---:|---|---|---|",
    ]  # fmt: skip
    for name, figures in found.items():
        labels = ", ".join(figures["meta"]["labels"] if "meta" in figures else LIBRARY[name])
        first = f"| {titles[name]['en']} (`{name}`) | {titles[name]['da']} | {labels} "
        if "refused" in figures:
            lines.append(f"{first}| | | | | | | | not shipped: {figures['refused']} |")
            continue
        stills, tracked = figures["stills"], figures["tracked"]
        own = sum(figures["meta"]["quality"]["frames"].values())
        what = f"![]({name}.png)" if passes(figures) else "not shipped"
        lines.append(
            f"{first}| {own} / {stills['frames']} | {stills['right']:.1%} | {tracked['right']:.1%} | "
            f"{stills['wrong_praise']:.1%} | {stills['unsure']:.1%} | {_by_one(figures)} | "
            f"{_almost(name, figures)} | {what} |"
        )
    for name, figures in found.items():
        if gap := figures.get("gap"):
            lines += ["", _in_the_gap(name, gap["said"], gap["with"])]
    judges = [name for name, figures in found.items() if "praised" in figures]
    lines += ["", "## Who praises whose good posture", "",
              "Rows: the good posture that is shown, as stills. Columns: the exercise that judges it. Per "
              "cent of the frames praised; the diagonal is deserved. A stretched hand is open to the finger "
              "stretch, however it is held.", "",
              "| shown | " + " | ".join(judges) + " |", "|---|" + "---:|" * len(judges)]  # fmt: skip
    for name in LIBRARY:
        good = next(iter(LIBRARY[name].values()))[0]
        cells = [f"{100 * found[other]['praised'][good]:.0f}" for other in judges]
        cells = [f"**{cell}**" if other == name else cell for cell, other in zip(cells, judges, strict=True)]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines += ["", "## How each was made", "", "| exercise | kept axes | clusters | stills right by posture |",
              "|---|---|---|---|"]  # fmt: skip
    for name in judges:
        meta, stills = found[name]["meta"], found[name]["stills"]
        each = ", ".join(f"{label} {share:.0%}" for label, share in stills["right_by_label"].items())
        lines.append(f"| {name} | {meta['kept_axes'] or 'none'} | {len(meta['clusters'])} | {each} |")
    return "\n".join(lines) + "\n"


def _in_the_gap(name: str, said: dict[str, list[str]], figures: dict[str, Any]) -> str:
    """What is said of the hands that are rendered in the gap, by the label that they are rendered as."""
    taken = ", ".join(
        f"of {len(words)} rendered as `{label}` {np.mean([word == label for word in words]):.0%}"
        for label, words in said.items()
    )
    return (
        f"`{name}`: the gap is {GAP} degrees to either side of the {STRETCHED} (a finger's three joints "
        f"together) up to which a hand is a stretched one. Of the hands that are in it, and neither recorded "
        f"nor judged above, are taken for what they are: {taken}. With them "
        f"{figures['right']:.1%} of the stills are right, {figures['wrong_praise']:.1%} wrong praise."
    )


def _by_one(figures: dict[str, Any]) -> str:
    """What single teachers' exercises say, in the mean; and how many recordings were refused."""
    told = [found for found in figures.get("taught", []) if "refused" not in found]
    refused = len(figures.get("taught", [])) - len(told)
    means = " / ".join(
        f"{np.mean([t[k] for t in told]):.1%}" for k in ("right", "wrong_praise", "unsure") if told
    )
    return f"{means} ({refused} refused)".strip() if refused else means


def _almost(name: str, figures: dict[str, Any]) -> str:
    """What becomes of the almost good posture: told apart, counted as the start, or praised so often."""
    if "almost" not in LIBRARY[name]:
        return "is none"
    (half,) = LIBRARY[name]["almost"]
    for label, shown in figures["shows"].items():
        if half in shown:
            said = "told apart" if label == "almost" else f"counts as {label}"
            return f"{said}, {figures['praised'][half]:.0%} praised"
    return f"**{figures['praised'][half]:.0%} praised**"
