"""Hard negatives: where our own networks take something for a hand in frames that show none there.

Squares at random are nearly all too easy for the landmark network to learn what is no hand; what the finder
proposes is what it will have to judge (bootstrapping: Sung and Poggio 1998).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tqdm import tqdm

from handcoach.crop import Crop, crop_around, crop_for
from handcoach.finder import Detection, Finder
from handcoach.landmarker import Landmarker
from handcoach.model import read
from handcoach.tracker import LOOKS
from handcoach_train.data import HARD_NEGATIVES, empty_areas, load_frames, overlap, read_image
from handcoach_train.data.samples import write_json

SCORE = 0.1  # of the finder at least
PRESENCE = 0.05  # of the landmark network, for another square around the points that it sees


def mine(folder: Path, model: Path, finder: Path, threads: int = 1) -> int:
    """Write the squares of a folder of full frames that the networks look at and that hold no hand.

    Returns:
        How many there are.

    Raises:
        ModelError: a network cannot be read.
        TrainError: the folder holds no full frames, or a picture is missing.
    """
    reader = Landmarker(read(model, "landmarks"), threads)
    looker = Finder(read(finder, "finder"), threads)
    found: dict[str, list[list[float]]] = {}
    for frame in tqdm(empty_areas(load_frames(folder)), desc=folder.name, unit="frame", delay=1):
        image = read_image(frame["file"])
        squares: list[Crop] = []
        for fill in LOOKS:
            for seen in looker.find(image, SCORE, fill, both=True):
                for mirrored in (False, True):
                    squares += _squares(image, seen, mirrored, reader)
        found[frame["file"].stem] = [
            [round(float(v), 4) for v in (c.x, c.y, c.size, c.roll)] + [int(c.mirrored)]
            for c in squares
            if overlap(c.x, c.y, c.size, np.reshape(frame["boxes"], (-1, 4))) < 0.1
        ]
    write_json(folder / HARD_NEGATIVES, {"by": [model.name, finder.name], "squares": found})
    return sum(map(len, found.values()))


def _squares(image: np.ndarray, seen: Detection, mirrored: bool, reader: Landmarker) -> list[Crop]:
    """The square that a detection stands for and, where the landmark network does not deny it, the next."""
    how = {"mirrored": mirrored, "roll": reader.roll, "margin": reader.margin}
    first = crop_for(seen.wrist, seen.middle_mcp, seen.extent, **how)  # type: ignore[arg-type]
    reading = reader.read(image, first)
    if reading.presence < PRESENCE:
        return [first]
    return [first, crop_around(reading.points, **how)]  # type: ignore[arg-type]
