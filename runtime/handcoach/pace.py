"""How often the networks run: on every picture while something moves, else less, as on a hot laptop.

Pure: times come in as arguments. `throttles` alone looks at the machine.

A movement is never seen much later than `LATEST_S`, because no two readings are further apart; from the first
reading that sees it on, every picture is read again.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handcoach.crop import extent_of

# Seconds between two readings: never more, at 30 pictures a second every third; and on a hot laptop while the
# hand moves, every second. Both a little above the multiple of the frame's time, which is never exact.
LATEST_S = 0.105
HOT_S = 0.070
# A hand is still after this time without a joint that went farther than MOVED from where it was, in units of
# the hand's extent (about a centimetre); so is an empty picture. A held hand's raw points stay within 0.05.
STILL_S = 2.0
MOVED = 0.12
# A laptop is hot (or busy) when a step takes so many times as long as usual and much of a frame's time, until
# it takes less than COOL times as long; or for a while after the processor has slowed itself down.
HOT, COOL, HOT_SHARE = 2.5, 1.8, 0.4
MEAN_S = 5.0  # over which steps are averaged
THROTTLED_S = 30.0


class Pace:
    """Decides which pictures of one source are read. Call `due` for each picture, `judged` after a reading.

    Attributes:
        hot: fewer readings even while the hand moves.
        still: nothing has moved for a while.
    """

    def __init__(self, usual_s: float | None = None) -> None:
        """Args:
        usual_s: how long a step takes when this laptop is cool; None takes the best of what is seen.
        """
        self._usual = usual_s
        self._learns = usual_s is None
        self.hot = False
        self._throttles: int | None = None
        self._throttled = -math.inf
        self._mean: float | None = None
        self._steps_from: float | None = None
        self.reset()

    def reset(self) -> None:
        """Forget the hand: after a pause, or for a new source. How warm the laptop is stays known."""
        self._frame: float | None = None  # time of the last picture
        self._period = 0.0  # between two pictures, a running mean
        self._read = -math.inf  # time of the last reading
        self._anchor: NDArray[np.float64] | None = None  # where the joints were when they last moved
        self._moved = math.inf  # time of that; inf: nothing has been read
        self.still = False

    def due(self, t: float) -> bool:
        """Whether the picture of time t is to be read."""
        if self._frame is not None:
            step = min(max(t - self._frame, 0.0), 1.0)
            self._period = step if self._period == 0 else 0.8 * self._period + 0.2 * step
        self._frame = t
        wait = LATEST_S if self.still else HOT_S if self.hot else 0.0
        # The next picture would come too late.
        return t - self._read + self._period > wait

    def judged(self, t: float, points: NDArray[np.floating] | None, took_s: float) -> None:
        """A picture was read.

        Args:
            points: (21, 2) pixels of the hand, before smoothing; None without a hand.
            took_s: seconds that the step took.
        """
        self._read = t
        if self._has_moved(points):
            self._anchor = None if points is None else np.asarray(points, np.float64)
            self._moved = t
        self.still = t - self._moved >= STILL_S
        if points is not None:  # looking for a hand takes longer than following one
            self._warm(t, took_s)

    def throttled(self, t: float, count: int | None) -> None:
        """The machine's own count of how often it slowed itself down, None where it has none."""
        if count is not None and self._throttles is not None and count > self._throttles:
            self._throttled = t
        self._throttles = count

    def _has_moved(self, points: NDArray[np.floating] | None) -> bool:
        if math.isinf(self._moved):
            return True
        if points is None or self._anchor is None:
            return (points is None) != (self._anchor is None)
        away = np.linalg.norm(points - self._anchor, axis=-1).max()
        return bool(away > MOVED * max(extent_of(self._anchor), 1.0))

    def _warm(self, t: float, took_s: float) -> None:
        before = self._steps_from
        if before is None or self._mean is None:
            self._mean, self._steps_from = took_s, t
            return
        share = 1 - math.exp(-min(max(t - before, 0.0), 1.0) / MEAN_S)
        self._steps_from = t
        self._mean += share * (took_s - self._mean)
        if self._learns:
            self._usual = self._mean if self._usual is None else min(self._usual, self._mean)
        usual = self._usual or self._mean
        slow = self._mean > (COOL if self.hot else HOT) * usual and self._mean > HOT_SHARE * self._period
        self.hot = slow or t - self._throttled < THROTTLED_S


def throttles(root: Path = Path("/sys/devices/system/cpu")) -> int | None:
    """How often the processor has slowed itself down because it was hot; None where the system does not say
    (Linux on Intel does)."""
    counts = []
    for file in root.glob("cpu[0-9]*/thermal_throttle/core_throttle_count"):
        try:
            counts.append(int(file.read_text()))
        except (OSError, ValueError):
            continue
    return sum(counts) if counts else None
