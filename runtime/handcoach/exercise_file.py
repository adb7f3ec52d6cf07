"""What a therapist does with exercise files: look for them, describe, check, sign and draw them.

Everything here is about the file; `exercise.py` judges hands by one. `exercise_commands.py` prints.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from handcoach import model, onnx_file, places, signature
from handcoach.coach import LEAST_REST_S, MOST_PRAISE, SESSION_S
from handcoach.defaults import LANDMARKS
from handcoach.errors import HandCoachError, ModelError
from handcoach.exercise import Exercise, text_of
from handcoach.hand import FINGERS, Hand, hand_frame
from handcoach.model import ModelFile

# An exercise's file gives what scikit-learn gives to this; numpy is as near to both.
PARITY = 1e-5
GOOD_ENOUGH = 0.9  # of the recording's frames that were kept aside
PICTURE = (720, 720)


def read(name_or_path: str) -> ModelFile:
    """An exercise by name or path. Raises ModelError: none of that name, or it is refused."""
    return model.read(model.find(name_or_path, "exercise"), "exercise")


@dataclass(frozen=True)
class Entry:
    """One exercise of the list: a file that was read, or the sentence that refuses it."""

    path: Path
    shipped: bool
    file: ModelFile | None
    problem: str = ""


def known() -> list[Entry]:
    """The shipped exercises, then those in the user's own folder."""
    entries = []
    for path in [*model.shipped("exercise"), *model.own_exercises()]:
        try:
            entries.append(Entry(path, model.is_shipped(path), model.read(path, "exercise")))
        except ModelError as error:
            entries.append(Entry(path, model.is_shipped(path), None, str(error)))
    return entries


# --- Describing -----------------------------------------------------------------------------------------


def as_fields(file: ModelFile) -> dict[str, Any]:
    """The JSON object of `exercise show --json`: the file's metadata, and file, sha256 and signed_by (null
    where it is not signed)."""
    return {
        "file": str(file.path),
        "sha256": file.sha256,
        "signed_by": file.signed_by or None,
        **{key: value for key, value in file.meta.items() if key not in ("inputs", "outputs", "opset")},
    }


def _languages(meta: dict[str, Any]) -> list[str]:
    return sorted(set().union(meta["title"], meta["instructions"], *meta["messages"].values()))


def describe(file: ModelFile, lang: str) -> str:
    """All that a therapist wants to know, as text of several lines."""
    meta = file.meta
    lines = [f"{text_of(meta['title'], lang)}  ({file.name}, version {meta['version']})", ""]

    def row(name: str, value: object) -> None:
        lines.append(f"{name:<14}{value}")

    row("file", file.path)
    row("instructions", text_of(meta["instructions"], lang))
    hands = {"either": "either hand", "left": "the left hand", "right": "the right hand"}
    row("for", hands[meta["hand"]])
    rest_s = max(meta["rest_s"], LEAST_REST_S)
    row("repetitions", f"{meta['repetitions']}, each held {meta['hold_s']:g} s, then {rest_s:g} s of rest")
    row("session", f"ends after {meta.get('session_s', SESSION_S) / 60:g} minutes")
    speak_s = meta.get("speak_s", 0)
    row("corrects", f"every {speak_s:g} s at most" if speak_s else "at once")
    row(
        "orientation",
        f"counts about {', '.join(meta['kept_axes'])}" if meta["kept_axes"] else "does not count",
    )
    row("fingers", ", ".join(meta.get("fingers", FINGERS)))
    tolerance, unsure = meta["tolerance"], meta["unsure"]
    row("tolerance", f"a joint is right up to {tolerance['green']:g}, wrong from {tolerance['red']:g}")
    praise = tolerance.get("praise", 1)
    if praise != 1:
        row("", f"the best posture counts up to {praise:g} times as far away as the next one")
    widest = min(tolerance.get("widest", 1), MOST_PRAISE / praise)
    if widest > 1:
        row("", f"and up to {widest:g} times that for a person whose tries fail")
    row("", bounds(unsure))
    row("", "(distances in units of wrist to middle knuckle)")
    row("languages", ", ".join(_languages(meta)))
    lines += ["", "Postures, best first:"]
    for label in meta["labels"]:
        clusters = meta["clusters"].count(label)
        lines.append(f"  {label}  {meta['colours'][label]}, {_count(clusters, 'cluster')}")
        lines += [f"    {code}  {text}" for code, text in sorted(meta["messages"][label].items())]
    lines.append("")
    row("author", meta["author"] or "not stated")
    row("made", meta["created"])
    row("licence", meta["licence"])
    row("made from", meta["trained_on"])
    row("made for", f"the landmark model {meta['landmark_model']}")
    share = _held_out(meta)
    row(
        "quality",
        "not stated" if share is None else f"{share:.1%} of the frames that were kept aside are right",
    )
    row("signature", signature_line(file))
    # A line each: no text of the file can look like another line.
    return "\n".join(line.replace("\n", " ") for line in lines)


def _count(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def bounds(unsure: dict[str, float]) -> str:
    """Where a posture is `unsure`, in words; a margin of 0 says nothing."""
    below = f" or below a margin of {unsure['min_margin']:g}" if unsure["min_margin"] else ""
    return f"unsure beyond {unsure['max_distance']:g}{below}"


def _held_out(meta: dict[str, Any]) -> float | None:
    share = meta["quality"].get("accuracy_held_out", meta["accuracy"].get("held_out"))
    return None if share is None else float(share)


def signature_line(file: ModelFile) -> str:
    if file.signed_by:
        return f"unchanged since it was signed with the key {file.signed_by}"
    return "part of HandCoach" if model.is_shipped(file.path) else "not signed"


def picture(file: ModelFile) -> bytes:
    """A PNG of the reference hand, drawn as the window draws the teacher's."""
    from handcoach.ui import view3d

    hand, stand = view3d.teacher_of(file.meta)
    image = view3d.draw_hands(PICTURE, hand, None, stand=stand)
    return bytes(cv2.imencode(".png", image[..., ::-1])[1])


# --- Checking -------------------------------------------------------------------------------------------


def other_model(file: ModelFile, landmarks: str = LANDMARKS) -> str:
    """A sentence where an exercise was made with another landmark model than the one that will run; else "".

    Args:
        landmarks: name or path of the landmark model.
    """
    running = model.family(model.read(model.find(landmarks, "landmarks"), "landmarks"))
    made_with = file.meta["landmark_model"]
    if made_with == running:
        return ""
    return (
        f"{file.name} was made with the landmark model {made_with}, not {running}: its advice may be off, so "
        "record the exercise again."
    )


@dataclass(frozen=True)
class Check:
    """One line of the check.

    Attributes:
        level: ok, warn or fail.
        text: what was found.
    """

    level: str
    text: str


def check(file: ModelFile, landmarks: str = LANDMARKS) -> Iterator[Check]:
    """Run a file that was read and hold it against what it says of itself.

    Raises:
        HandCoachError: onnxruntime refuses it, or there is no landmark model.
    """
    meta = file.meta
    counts = f"{_count(len(meta['labels']), 'posture')}, {_count(len(meta['clusters']), 'cluster')}"
    yield Check("ok", f"{file.path} fits the contract: {counts}, {', '.join(_languages(meta))}")
    exercise = Exercise(file)
    yield _graph_check(exercise)
    yield _reference_check(exercise)
    stated = float(meta["parity"]["max_abs"])
    level = "ok" if stated <= PARITY else "fail"
    source = meta["parity"].get("against", "its source")
    yield Check(level, f"states a difference of {stated:.1e} from {source} (at most {PARITY:.0e})")
    share = _held_out(meta)
    if share is None:
        yield Check("warn", "says nothing of how many frames that were kept aside are right")
    else:
        level = "ok" if share >= GOOD_ENOUGH else "warn"
        yield Check(level, f"states that {share:.1%} of the frames that were kept aside are right")
    warning = other_model(file, landmarks)
    yield (
        Check("warn", warning)
        if warning
        else Check("ok", f"made for the landmark model {meta['landmark_model']}")
    )
    yield Check("ok", signature_line(file))


def _graph_check(exercise: Exercise) -> Check:
    """The graph on the reference hand and 200 others (seeded) around it, against numpy."""
    noise = np.random.default_rng(0).normal(0, 0.1, (200, 21, 3))
    hands = np.concatenate([exercise.reference[None], exercise.reference + noise]).astype(np.float32)
    hands -= hands[:, :1]
    out = exercise.run(hands)
    frames, distances, cluster = out["hand_frame"], out["distances"], out["cluster"]
    if not (np.isfinite(frames).all() and np.isfinite(distances).all() and (distances >= 0).all()):
        return Check("fail", "gives no numbers for some hands: export it again")
    off = float(np.abs(frames.reshape(-1, 21, 3) - np.stack([hand_frame(hand) for hand in hands])).max())
    nearest = distances[np.arange(len(hands)), np.clip(cluster, 0, distances.shape[1] - 1)]
    if off > PARITY or (nearest > distances.min(axis=1) + PARITY).any():
        return Check("fail", f"computes something else than HandCoach (off by {off:.1e}): export it again")
    return Check("ok", f"computes the hand frame as HandCoach does, to {off:.1e}, on {len(hands)} hands")


def _reference_check(exercise: Exercise) -> Check:
    """The teacher's own hand must be praised."""
    best = exercise.labels[0]
    points = np.zeros((21, 2), dtype=np.float32)
    posture = exercise.assess(Hand(exercise.reference, points, "right", 1.0))
    if posture.label != best:
        return Check("fail", f"judges its own reference hand {posture.label}, not {best}: record it again")
    return Check("ok", f"judges its reference hand {best}, with a margin of {posture.margin:.2f}")


# --- Signing --------------------------------------------------------------------------------------------


def sign(path: Path) -> str:
    """Sign an exercise file in place with this user's key; an older signature is replaced.

    Returns:
        the fingerprint.

    Raises:
        HandCoachError: it is no exercise, there is no key, or it cannot be written; then it stays as it was.
    """
    path = path.resolve()  # the file that a link names is signed; the link stays one
    before = model.read(path, "exercise")
    bare, digest = onnx_file.unsigned(path.read_bytes())
    data = onnx_file.with_signature(bare, signature.sign(digest))
    after = model.parse(data, path, "exercise")
    if after.meta != before.meta:
        raise ModelError(f"{path} has changed since it was checked; start again.")
    try:
        places.save(path, data)
    except OSError as error:
        raise HandCoachError(
            f"{path} cannot be written ({error.strerror or error}): copy it to a folder of yours and sign it "
            "there."
        ) from error
    return after.signed_by


def verify(file: ModelFile, by: str | None = None) -> str:
    """The fingerprint of the key that signed a file; reading it has already found a wrong signature.

    Args:
        by: the fingerprint that it should be.

    Raises:
        HandCoachError: it is not signed, or with another key.
    """
    if not file.signed_by:
        if model.is_shipped(file.path):
            raise HandCoachError(f"{file.path} comes with HandCoach and carries no signature of its own.")
        raise HandCoachError(f"{file.path} is not signed: ask whoever made it to sign it.")
    wanted, signed = _digits(by or ""), _digits(file.signed_by)
    if by is not None and len(wanted) != len(signed):
        raise HandCoachError(
            f"{by} has {len(wanted)} of a fingerprint's {len(signed)} digits: copy all of it."
        )
    if by is not None and wanted != signed:
        raise HandCoachError(
            f"{file.path} is signed with another key, {file.signed_by}: ask your therapist before you use it."
        )
    return file.signed_by


def _digits(fingerprint: str) -> str:
    """A fingerprint as it may be typed, without what only makes it legible."""
    return fingerprint.strip().lower().replace("-", "").replace(" ", "")
