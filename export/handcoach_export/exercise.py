"""A recording becomes an exercise: one ONNX file with the postures, the words and the hand to imitate.

The runtime's "Build" button reaches `build` through the entry-point group `handcoach.exercise_builders`, so
this module imports scikit-learn and skl2onnx only when it is used.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handcoach import places, recording
from handcoach.coach import WIDEST
from handcoach.contract import LIMITS, are_axes
from handcoach.errors import HandCoachError
from handcoach.hand import FINGERS, Array, hand_frame, mirror
from handcoach.quality import Report
from handcoach.session import Session
from handcoach.texts import Texts

# What a therapist may set; everything else in the file follows from the recording.
SETTINGS: dict[str, type | tuple[type, ...]] = {
    "name": str, "version": str, "title": dict, "instructions": dict, "labels": list, "messages": dict,
    "colours": dict, "tolerance": dict, "unsure": dict, "hold_s": (int, float), "repetitions": int,
    "rest_s": (int, float), "session_s": (int, float), "speak_s": (int, float),
    "kept_axes": str, "fingers": list, "weights": str, "hand": str,
    "author": str, "licence": str, "recorded_as": dict, "per_label": int,
}  # fmt: skip
WEIGHTS = ("few", "many", "equal")  # see `handcoach_train.posture.clusters`
GENERAL = {
    "version": "1", "hold_s": 3.0, "repetitions": 5, "rest_s": 3.0, "kept_axes": "", "fingers": list(FINGERS),
    "weights": "few", "hand": "either", "author": "", "licence": "none stated",
}  # fmt: skip
BEST, WORST = "#2e9e5b", "#d1495b"
# An exercise is about the thumb if the mean of its outer half is so far from another posture's, in units of
# the hand's scale, and so many times as far as the fingers' PIP, DIP and tips. Where it touches a finger it
# has 0.36 and 2 or more; other exercises of the library 0.13 at most where it is 1.4 times as far.
THUMB_MOVES, THUMB_AHEAD = 0.2, 1.4


def built_in() -> list[str]:
    """Names of the exercises whose words come with the program."""
    folder = resources.files("handcoach_export") / "exercises"
    return sorted(Path(entry.name).stem for entry in folder.iterdir() if entry.name.endswith(".json"))


def read_settings(name_or_file: str) -> dict[str, Any]:
    """Settings from a JSON file, or the built-in ones of that name.

    Raises:
        HandCoachError: no such file or name, no JSON object, or an unknown or unsuitable entry.
    """
    if name_or_file in built_in():
        text = (resources.files("handcoach_export") / "exercises" / f"{name_or_file}.json").read_text("utf-8")
    else:
        try:
            text = Path(name_or_file).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise HandCoachError(
                f"The messages {name_or_file} cannot be read: give a JSON file, or {' or '.join(built_in())}."
            ) from error
    try:
        settings = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise HandCoachError(f"{name_or_file} is not JSON ({error}): mend it.") from error
    return check_settings(settings, name_or_file)


def check_settings(settings: Any, where: str = "The settings") -> dict[str, Any]:
    if not isinstance(settings, dict):
        raise HandCoachError(f"{where} must be a JSON object with entries such as title and messages.")
    for key, value in settings.items():
        if key not in SETTINGS:
            raise HandCoachError(f"{where}: unknown entry {key!r}; known are {', '.join(SETTINGS)}.")
        if not isinstance(value, SETTINGS[key]) or isinstance(value, bool):
            raise HandCoachError(f"{where}: the entry {key!r} has the wrong type; see finger-stretch.json.")
    try:
        json.dumps(settings, allow_nan=False)
    except ValueError as error:
        raise HandCoachError(f"{where}: NaN and Infinity are no numbers for an exercise.") from error
    for key, (least, most) in LIMITS.items():
        if not least <= settings.get(key, least) <= most:
            raise HandCoachError(f"{where}: {key} must be {least} to {most}, not {settings[key]}.")
    if not all(isinstance(name, str) for name in settings.get("recorded_as", {}).values()):
        raise HandCoachError(f"{where}: recorded_as says by which names the recording has the labels.")
    if not 0 <= settings.get("per_label", 0) <= 5:
        raise HandCoachError(f"{where}: per_label must be 0 to 5 clusters, not {settings['per_label']}.")
    if settings.get("weights", "few") not in WEIGHTS:
        raise HandCoachError(f"{where}: weights must be {', '.join(WEIGHTS)}, not {settings['weights']!r}.")
    if not are_axes(settings.get("kept_axes", "")):
        raise HandCoachError(f"{where}: kept_axes must be some of x, y and z, not {settings['kept_axes']!r}.")
    return settings


def build(
    recording_dir: Path, output: Path, settings: dict[str, Any] | None = None, paper: bool = False
) -> dict[str, Any]:
    """Turn a recording folder into an exercise file.

    Args:
        recording_dir: what `handcoach record` wrote.
        output: the .onnx file; written only if it gives what scikit-learn gives.
        settings: entries of `SETTINGS`; "recorded_as" says under which name the recording has a label, where
            that is another one, and "per_label" how many clusters each label has, where that is known better
            than by the recording. Without "labels" the postures are those recorded, in that order; the
            first is the one to reach. Words that are not given are those of the built-in exercise that has
            the same labels in the same order, or general ones.
        paper: one k-means with scikit-learn's defaults, as the paper's, over coordinates that count alike.

    Returns:
        the metadata of the file.

    Raises:
        HandCoachError: one posture only, too few frames, damaged recording or settings, or no parity.
    """
    try:
        from handcoach_export import contract, convert
        from handcoach_train import posture
        from handcoach_train.posture import gate
    except ModuleNotFoundError as error:
        raise HandCoachError(
            f'Building an exercise needs {error.name}: run pip install "handcoach[studio]".'
        ) from error

    recording_dir, output = Path(recording_dir), Path(output)
    recorded, words, how = _read(recording_dir, settings, output.stem, paper)
    labels = words["labels"]
    data = {label: recorded.labels[label] for label in labels}
    gate.refuse(gate.frames(recorded, labels))
    fit = posture.fit(data, labels, groups=recorded.takes, **how)
    gate.refuse(gate.overlap(fit))
    index, shown = posture.reference(fit, data)
    frames = sum(len(hands) for hands in data.values())
    meta = {
        "kind": "exercise",
        **words,
        "source": f"{recording_dir.name} sha256:"
        + contract.sha256([recording_dir / "recording.json", *sorted(recording_dir.glob("*.npz"))]),
        "trained_on": f"a recording of {frames} frames ({recorded.hand} hand, {', '.join(labels)}) by the "
        f"landmark model {recorded.landmark_model}",
        "accuracy": {"held_out": fit.quality["accuracy_held_out"]},
        "clusters": list(fit.clusters),
        "about_thumb": "thumb" in words["fingers"] and about_thumb(data, words["fingers"]),
        "reference": [[round(float(v), 6) for v in joint] for joint in shown],
        "tolerance": {"widest": WIDEST, **(words.get("tolerance") or posture.tolerance(fit, data, shown))},
        "unsure": fit.unsure | words.get("unsure", {}),
        "landmark_model": recorded.landmark_model,
        "quality": {**fit.quality, "reference_frame": index},
    }
    hands = _trial_hands(np.concatenate(list(data.values())))

    def compare(session: Session) -> contract.Parity:
        ours = session.run(hands)
        features = fit.pipeline[0].transform(hands)
        distances = fit.pipeline[1].transform(features)
        worst = max(
            float(np.abs(ours["hand_frame"] - posture.HandFrame().transform(hands)).max()),
            float(np.abs(ours["distances"] - distances).max()),
        )
        # Not by `predict`: from squares that are expanded in float32, it errs by up to 1e-3 at a border.
        other = ours["cluster"] != distances.argmin(1)
        two = np.sort(distances, axis=1)[:, :2]  # halfway between two centroids either is right
        wrong = int((other & (two[:, 1] - two[:, 0] > contract.LIMITS["scikit-learn"])).sum())
        problem = f"{wrong} hands fall into another cluster" if wrong else None
        return contract.Parity(worst, len(hands), "scikit-learn", problem)

    return contract.write(convert.to_onnx(fit.pipeline), output, meta, compare)


def check(
    recording_dir: Path, folder: Path, settings: dict[str, Any] | None = None, lang: str = "en",
    names: Mapping[str, str] | None = None, paper: bool = False,
) -> Report:  # fmt: skip
    """Judge a recording without making an exercise of it; report.json and the pictures go into a folder.

    Args:
        recording_dir, settings, paper: as of `build`.
        folder: of the report; made where new.
        lang: of the sentences and pictures. names: what the pictures call the labels.

    Raises:
        HandCoachError: not a recording, or settings that do not fit. Frames that are not good enough are
            findings of the report instead.
    """
    try:
        from handcoach_train import posture
        from handcoach_train.posture import figures, gate
        from handcoach_train.posture.study import study
    except ModuleNotFoundError as error:
        raise HandCoachError(
            f'Judging a recording needs {error.name}: run pip install "handcoach[studio]".'
        ) from error
    recording_dir, folder = Path(recording_dir), Path(folder)
    recorded, words, how = _read(recording_dir, settings, recording_dir.name, paper)
    labels = words["labels"]
    counts = {label: len(recorded.labels[label]) for label in labels}
    findings = gate.frames(recorded, labels)
    texts = Texts(lang, "studio")
    pictures: dict[str, Path] = {}
    measured: dict[str, Any] = {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not any(finding.refuses for finding in findings):
            data = {label: recorded.labels[label] for label in labels}
            fit = posture.fit(data, labels, groups=recorded.takes, **how)
            findings = sorted([*findings, *gate.overlap(fit)], key=lambda finding: not finding.refuses)
            seen = study(fit, data, recorded.takes)
            shown = posture.reference(fit, data)[1]
            measured = {
                "method": fit.quality["method"], "purity": fit.quality["purity"],
                "tolerance": posture.tolerance(fit, data, shown), "reference": shown.round(6).tolist(),
                **seen.as_json(),
            }  # fmt: skip
            pictures = figures.draw_all(seen.named(names or {}), folder, texts)
        report = Report(tuple(labels), counts, tuple(findings), pictures, measured)
        text = json.dumps(
            {
                "recording": recording_dir.name, "good": report.good, "labels": labels, "frames": counts,
                "findings": [
                    {"kind": finding.kind, "refuses": finding.refuses, "label": finding.label,
                     "sentence": finding.say(texts)} for finding in findings
                ],
                "figures": {name: path.name for name, path in pictures.items()}, "measured": measured,
            }, indent=1, ensure_ascii=False,
        )  # fmt: skip
        places.save(folder / "report.json", (text + "\n").encode())
    except OSError as error:
        raise HandCoachError(
            f"The report {folder} cannot be written ({error.strerror or error}): choose another folder.",
            "cannot_write",
        ) from error
    return report


def about_thumb(data: Mapping[str, Array], fingers: Sequence[str] = FINGERS) -> bool:
    """Whether the recorded hands (N, 21, 3) of the first label, which is to be reached, differ from those of
    another one more by the thumb than by these fingers: then the thumb cannot be left out."""
    best, *others = (hand_frame(hands).mean(0) for hands in data.values())
    tips = [4 * k + joint for k, finger in enumerate(FINGERS) for joint in (2, 3, 4) if finger in fingers]
    tips = [joint for joint in tips if joint > 4]
    for other in others:
        apart = np.linalg.norm(other - best, axis=-1)
        thumb = apart[3:5].mean()
        if thumb >= THUMB_MOVES and (not tips or thumb >= THUMB_AHEAD * apart[tips].mean()):
            return True
    return False


def _read(
    folder: Path, settings: dict[str, Any] | None, name: str, paper: bool
) -> tuple[recording.Recording, dict[str, Any], dict[str, Any]]:
    """A recording, the words and numbers of an exercise called so, and what they say of how it is fitted."""
    recorded, given = _named(recording.read(folder), settings)
    per_label = given.pop("per_label", 0)
    if paper and given.setdefault("weights", "equal") != "equal":
        raise HandCoachError(
            "In the paper's way all coordinates count alike: leave out the weights or --paper."
        )
    words = _words(given, list(recorded.labels), name)
    how = {key: words[key] for key in ("kept_axes", "fingers", "weights")}
    how |= {"per_label": per_label, "paper": paper}
    return recorded, words, how


def _named(
    recorded: recording.Recording, settings: dict[str, Any] | None
) -> tuple[recording.Recording, dict[str, Any]]:
    """The recording with the labels that `recorded_as` gives it, and the other settings, checked."""
    given = check_settings(dict(settings or {}))
    return recorded.named(given.pop("recorded_as", {})), given


def _trial_hands(recorded: Array) -> Array:
    """Hands on which file and source are compared: the recorded ones, mirrored ones, and noisy ones that
    lie between and beyond the clusters."""
    noise = np.random.default_rng(0).normal(0, 0.1, recorded.shape)
    noise[:, 0] = 0
    hands: list[NDArray[np.floating]] = [recorded, mirror(recorded), recorded + noise]
    return np.concatenate(hands).astype(np.float32)


def _words(settings: dict[str, Any], recorded: list[str], name: str) -> dict[str, Any]:
    """Complete settings for the recorded labels: given, then built-in, then general ones."""
    words: dict[str, Any] = {}
    alike = [theirs for theirs in map(read_settings, built_in())
             if theirs["labels"] == settings.get("labels", recorded)]  # fmt: skip
    # In that order, for the first is praised. Several exercises call their postures touch and open.
    if len(alike) == 1:
        words = alike[0] | {"name": name}
        del words["author"], words["licence"]  # the words are ours, the recording is not
    words = {**GENERAL, "name": name, "labels": recorded, **words, **settings}
    labels = words["labels"]
    if not all(isinstance(label, str) for label in labels) or len(set(labels)) != len(labels):
        raise HandCoachError("The labels must be different names, best posture first.")
    unknown = [label for label in labels if label not in recorded]
    if unknown:
        raise HandCoachError(
            f"The recording has no posture {', '.join(unknown)} (it has {', '.join(recorded) or 'none'}): "
            "record it with `handcoach record`, or name other labels."
        )
    title = words.setdefault("title", {"en": name.replace("-", " ").replace("_", " ").capitalize()})
    best = labels[0].replace("_", " ").replace("-", " ") if labels else ""
    words.setdefault(
        "instructions",
        {"en": f"Move your hand until it looks like the teacher's: {best}.",
         "da": f"Bevæg hånden, til den ligner lærerens: {best}."},
    )  # fmt: skip
    # What to do next, never what was bad.
    general = {label: {"en": f"A little more towards “{best}”.", "da": f"Lidt mere hen mod »{best}«."}
               for label in labels}  # fmt: skip
    if labels:
        general[labels[0]] = {"en": "Beautiful. Hold it there.", "da": "Flot. Hold stillingen."}
    given = words.get("messages", {})
    extra = [label for label in given if label not in labels]
    if extra:
        raise HandCoachError(
            f"There are messages for {', '.join(extra)}, which is none of the labels: remove them."
        )
    words["messages"] = {label: given.get(label, general[label]) for label in labels}
    for what, texts in {"title": title, "instructions": words["instructions"], **words["messages"]}.items():
        if not isinstance(texts, dict) or not isinstance(texts.get("en"), str):
            raise HandCoachError(f'The words of {what} lack English: give {{"en": "..."}}, others beside it.')
    words["colours"] = _colours(labels) | {k: v for k, v in words.get("colours", {}).items() if k in labels}
    return words


def _colours(labels: list[str]) -> dict[str, str]:
    """Green for the best label, red for the last, even steps between."""
    best, worst = (np.array([int(c[i : i + 2], 16) for i in (1, 3, 5)]) for c in (BEST, WORST))
    steps = np.linspace(0, 1, max(len(labels), 2))
    mixed = [(best + step * (worst - best)).round().astype(int) for step in steps]
    return {label: "#{:02x}{:02x}{:02x}".format(*rgb) for label, rgb in zip(labels, mixed, strict=False)}
