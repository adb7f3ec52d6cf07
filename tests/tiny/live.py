"""For tests of the windows: their event loop, and a made-up camera that shows the hand that the test wishes,
as fast as it is asked."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from handcoach.camera import Source
from handcoach.hand import Frame
from tiny.hands import blank, draw_hand


def pump(studio: Any, until: Callable[[], bool] = lambda: True, seconds: float = 120.0) -> None:
    """Let a studio's window go on until something is so."""
    end = time.monotonic() + seconds
    for _ in range(3):
        studio.window.root.update()
    while not until():
        assert time.monotonic() < end, "it never came"
        studio.window.root.update()
        time.sleep(0.005)


class Hands(Source):
    """Set `bend` (None: no hand), `left` and `x` at any time. Pictures are 20 ms apart by their own times."""

    live = True

    def __init__(self) -> None:
        super().__init__()
        self.bend: float | None = 0.0
        self.left, self.x = False, 320.0
        self._closed = threading.Event()

    def opened(self, source: str) -> Hands:
        self._closed.clear()
        return self

    def close(self) -> None:
        self._closed.set()

    def __iter__(self) -> Iterator[Frame]:
        index = 0
        while not self._closed.is_set():
            image = blank()
            if self.bend is not None:
                image = draw_hand(image, self.x + index % 7, 250, 110, bend=self.bend,
                                  roll=0.02 * (index % 9 - 4), left=self.left)  # fmt: skip
            yield Frame(image, index / 50, index)
            index += 1
            time.sleep(0.002)
