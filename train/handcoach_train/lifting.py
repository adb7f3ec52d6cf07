"""A guess at the 3D of photographs, which have none: what two kinds of models agree on.

Our networks know depth from renderings, MediaPipe's world landmarks from photographs of its own. Their errors
have little in common, so that the mean of the two should be nearer the truth than either where they agree;
where they don't, nothing is said. Many cut-outs of a hand are averaged, which steadies the guess (data
distillation, Radosavovic et al. 2018).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from handcoach.crop import crop_around
from handcoach.hand import normalise
from handcoach.measure import align, pa_mpjpe
from handcoach.model import read
from handcoach.session import Session
from handcoach_train.data import jitter, read_image
from handcoach_train.data.photos import agreed, read_labels
from handcoach_train.data.samples import write_json
from handcoach_train.errors import TrainError

VIEWS = 6  # cut-outs of one hand, whose answers are averaged
LOOSE = 0.5  # how far these lie apart, in the jitter of training


def lift(labels: Path, root: Path, models: list[Path], out: Path, threads: int = 1) -> int:
    """Write pseudo-labels anew, with 3D where MediaPipe and our networks agree on the points.

    Every hand gets `lifted` (21, 3), normalised, in the picture's axes as by a camera far away, and
    `doubt`, the mean distance between the two guesses after Procrustes, in units of wrist to middle MCP.

    Args:
        labels: what `pseudo_label.py` wrote. root: folder of the photographs. models: exported landmark
            networks. threads: of the networks.

    Returns:
        How many hands were lifted.

    Raises:
        ModelError: a network cannot be read.
        TrainError: labels or a picture are missing or of another kind, or the labels are of a time before
            MediaPipe's world landmarks were kept.
    """
    said = read_labels(labels)
    try:
        hands = [(root / name, hand) for name, found in said["photos"].items() for hand in agreed(found)]
    except (KeyError, TypeError) as error:
        raise TrainError(f"{labels} is damaged; make the labels again.") from error
    if any("world" not in hand for _, hand in hands):
        raise TrainError(f"{labels} has no world landmarks: make it again with pseudo-label.")
    sessions = [Session(read(path, "landmarks"), threads) for path in models]
    for i, (file, hand) in enumerate(tqdm(hands, desc=labels.stem, unit="hand", delay=1)):
        ours = _ours(sessions, file, hand, i)
        theirs = normalise(np.asarray(hand["world"]))[0]
        hand["doubt"] = round(float(pa_mpjpe(theirs, ours)), 4)
        hand["lifted"] = normalise(ours + align(theirs, ours))[0].round(4).tolist()
    write_json(out, {**said, "lifted by": [path.name for path in models]})
    return len(hands)


def _ours(sessions: list[Session], file: Path, hand: dict[str, Any], seed: int) -> NDArray[np.float64]:
    """Mean landmarks (21, 3) of all networks and VIEWS cut-outs, in the axes of a camera far away."""
    image = read_image(file)
    points = np.asarray(hand["points"], np.float32)
    rng = np.random.default_rng(seed)
    guesses = []
    for session in sessions:
        size, how = int(session.file.meta["size"]), session.file.meta["crop"]
        whole = crop_around(points, mirrored=hand["side"] == "left", margin=how["margin"], roll=how["roll"])
        crops = [jitter(whole, rng, LOOSE) for _ in range(VIEWS)]
        landmarks = session.run(np.stack([c.cut(image, size) for c in crops]))["landmarks"]
        # With its centre on the optical axis, a cut-out's ray is the axis itself.
        guesses += [c.to_camera(one, 2 * c.x, 2 * c.y) for one, c in zip(landmarks, crops, strict=True)]
    return np.asarray(np.mean(guesses, 0, dtype=np.float64))
