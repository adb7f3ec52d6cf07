"""The paper's exercise again, from its own landmarks: figures 9, 10 and 14, and across its two people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handcoach import places
from handcoach.coach import DWELL_S, UNSURE, Coach
from handcoach.exercise import margins
from handcoach.hand import Array, Hand, mirror
from handcoach.tracker import OneEuro
from handcoach_train.errors import TrainError
from handcoach_train.posture import Fit, figures, fit
from handcoach_train.posture.study import Study, study

LABELS = ("open", "almost", "fist")
PEOPLE = {"A": (1, 2, 3), "B": (4, 5, 6)}
FPS = 30.0
NOWHERE = np.zeros((21, 2), np.float32)  # in its picture: no posture asks where a hand is
STARTS = 20  # seeds for which the paper's single start of k-means is looked at


def read(file: Path) -> tuple[dict[str, Array], dict[str, NDArray[np.int64]]]:
    """Landmarks (N, 21, 3) of each posture, and the session (N,) of each frame.

    Raises:
        TrainError: it is not the file of the paper's predictions.
    """
    try:
        frames = json.loads(file.read_text())
        hands = {label: np.array([f["landmarks"] for f in frames if f["posture"] == label], np.float32)
                 for label in LABELS}  # fmt: skip
        sessions = {label: np.array([f["session"] for f in frames if f["posture"] == label], np.int64)
                    for label in LABELS}  # fmt: skip
        fits = all(x.ndim == 3 and x.shape[1:] == (21, 3) and np.isfinite(x).all() for x in hands.values())
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainError(
            f"{file} cannot be read as the paper's landmarks ({error}): give paper_landmarks.json."
        ) from error
    if not fits:
        raise TrainError(f"{file} lacks landmarks of {', '.join(LABELS)}: give paper_landmarks.json.")
    return hands, sessions


def reproduce(file: Path, out: Path) -> dict[str, Any]:
    """Draw the figures into a folder and return what they show, which lies there as paper.json too."""
    hands, sessions = read(file)
    person = {label: (s > 3).astype(np.int64) for label, s in sessions.items()}
    found = fit(hands, LABELS, groups=person)
    measured: Study = study(found, hands, groups=person)
    merged = sum(_merged(hands, seed) for seed in range(STARTS))
    total = sum(map(len, hands.values()))
    result = {
        # The paper counts 370, 420 and 402 frames, which are 1192, of its 1174. These have 402 of "almost".
        "frames": {label: len(x) for label, x in hands.items()} | {"all": total},
        "right": round(found.quality["accuracy_recorded"], 4),
        "right_frames": int(sum((found.predict(x) == label).sum() for label, x in hands.items())),
        "one_start_merges": f"{merged} of {STARTS} seeds",
        **measured.as_json(),
        "across_people": {
            f"{a} judges {b}": across(hands, sessions, PEOPLE[a], PEOPLE[b])
            for a, b in (("A", "B"), ("B", "A"))
        },
    }
    out.mkdir(parents=True, exist_ok=True)
    drawn = {
        "figure-9-elbow": figures.elbow(measured),
        "figure-10-wrist-distances": figures.distances(measured),
        "figure-14-variance-explained": figures.explained(measured),
        "confusion-across-people": figures.confusion(measured),
        "margins": figures.margin_histogram(measured),
        "angle-rule": figures.angles(measured),
    }
    for name, figure in drawn.items():
        figures.save(figure, out / f"{name}.png")
    places.save(out / "paper.json", (json.dumps(result, indent=1) + "\n").encode())
    return result


def _merged(hands: Mapping[str, Array], seed: int) -> bool:
    """Does one start of k-means, as the paper's, fail to give every posture a cluster of its own?"""
    from handcoach.errors import HandCoachError

    try:
        fit(hands, LABELS, seed=seed, paper=True)
    except HandCoachError:
        return True
    return False


def across(
    hands: Mapping[str, Array],
    sessions: Mapping[str, NDArray[np.int64]],
    learn: tuple[int, ...],
    judge: tuple[int, ...],
) -> dict[str, Any]:
    """Fit on some sessions and judge others, and what smoothing and dwell of the program make of it.

    Every session is played as a clip at FPS. `frames`: as they are. `smoothed`: after the tracker's filter.
    `believed`: what the coach believes of the smoothed ones after its dwell time, without the first DWELL_S
    of each session, in which it believes nothing. `flips`: changes between two labels within a session.
    """
    fitted = fit({k: x[np.isin(sessions[k], learn)] for k, x in hands.items()}, LABELS)
    truth: list[str] = []
    raw: list[str] = []
    smooth: list[str] = []
    right = counted = flips_raw = flips_believed = 0
    unsure = mirrored = 0
    for label, x in hands.items():
        for session in judge:
            clip = x[sessions[label] == session]
            if not len(clip):
                continue
            steady = OneEuro()
            filtered = np.stack([steady(hand, n / FPS) for n, hand in enumerate(clip)])
            plain, said = fitted.predict(clip), fitted.predict(filtered)
            # A left hand as the camera sees it is judged as its mirror image.
            left = np.stack([Hand(mirror(hand), NOWHERE, "left", 1.0).canonical for hand in clip])
            mirrored += int((fitted.predict(left) == plain).sum())
            sure = _sure(fitted, filtered)
            unsure += int((~sure).sum())
            coach, believed = Coach(1e6, 1, 0.0, LABELS), []
            coach.start(0.0)
            for n, (name, clear) in enumerate(zip(said, sure, strict=True)):
                believed.append(coach.update(str(name) if clear else UNSURE, n / FPS).label)
            settled = believed[round(DWELL_S * FPS) + 1 :]
            truth += [label] * len(clip)
            raw += plain.tolist()
            smooth += said.tolist()
            right += sum(name == label for name in settled)
            counted += len(settled)
            flips_raw += int((plain[1:] != plain[:-1]).sum())
            flips_believed += sum(a != b for a, b in zip(settled[1:], settled[:-1], strict=True))
    return {
        "frames": len(truth),
        "right": round(float(np.mean(np.array(raw) == truth)), 4),
        "right_smoothed": round(float(np.mean(np.array(smooth) == truth)), 4),
        "right_believed": round(right / counted, 4),
        "flips": flips_raw,
        "flips_believed": flips_believed,
        "unsure": round(unsure / len(truth), 4),
        "mirrored_the_same": round(mirrored / len(truth), 4),
        "method": fitted.quality["method"],
    }


def _sure(fitted: Fit, clip: Array) -> NDArray[np.bool_]:
    distances = fitted.pipeline.transform(clip)
    near = distances.min(1) <= fitted.unsure["max_distance"]
    return near & (margins(distances, fitted.clusters) >= fitted.unsure["min_margin"])
