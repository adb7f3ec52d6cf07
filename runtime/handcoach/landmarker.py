"""Reads one hand in a cut-out of a frame, and brings it back to the frame and to the camera's axes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handcoach.angles import flexion
from handcoach.crop import Crop
from handcoach.hand import Array, DegenerateHandError
from handcoach.model import ModelFile
from handcoach.session import Session

DEPTH_REVERSED = np.array([1, 1, -1], np.float32)


@dataclass(frozen=True, eq=False)
class Reading:
    """What the network says about one cut-out.

    Attributes:
        landmarks: float32 (21, 3), in the camera's axes, as seen (mirror, roll and viewing ray undone).
        points: float32 (21, 2), pixels of the frame.
        presence: probability that there is a hand, 0..1.
        right: probability that the hand in the frame is a right hand, 0..1.
        turned: where the network takes the cut-out's hand for one of the other side, and the fingers of one
            of this side would bend back: the landmarks in reversed depth, which look the same and are a hand
            of this side. Else None.
    """

    landmarks: Array
    points: Array
    presence: float
    right: float
    turned: Array | None = None


class Landmarker:
    """A landmark model that runs. Use it from one thread at a time.

    Attributes:
        threshold: presence below which there is no hand.
        margin, roll: how the model wants its cut-outs, see `handcoach.crop.crop_for`.
    """

    def __init__(self, file: ModelFile, threads: int = 1, provider: str = "CPUExecutionProvider") -> None:
        self.file = file
        self.size = int(file.meta["size"])
        self.threshold = float(file.meta["presence_threshold"])
        self.margin, self.roll = float(file.meta["crop"]["margin"]), bool(file.meta["crop"]["roll"])
        self._session = Session(file, threads, provider)

    def read(self, image: NDArray[np.uint8], crop: Crop) -> Reading:
        """Read the hand in a square of an RGB image uint8 (H, W, 3).

        A reading with numbers that are not finite has a presence of 0.
        """
        height, width = image.shape[:2]
        out = self._session.run(crop.cut(image, self.size)[None])
        presence, right = float(out["presence"][0]), float(out["right"][0])
        if not (
            math.isfinite(presence + right)
            and np.isfinite(out["landmarks"]).all()
            and np.isfinite(out["points"]).all()
        ):
            return Reading(np.zeros((21, 3), np.float32), np.zeros((21, 2), np.float32), 0.0, 0.5)
        landmarks = out["landmarks"][0]
        turned = landmarks * DEPTH_REVERSED if right < 0.5 and _bends_back(landmarks) else None
        return Reading(
            crop.to_camera(landmarks, width, height),
            crop.to_frame(out["points"][0]),
            presence,
            1.0 - right if crop.mirrored else right,
            None if turned is None else crop.to_camera(turned, width, height),
        )


def _bends_back(landmarks: Array) -> bool:
    """Whether the fingers of this right hand (21, 3) bend back, all in all."""
    try:
        return bool(flexion(landmarks).mean() < 0)
    except DegenerateHandError:
        return False
