"""Which presses are meant: one counts once, however long a hand that cannot let go stays on the key, and what
is asked twice is not done by a double click."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

RELEASE_MS = 60  # X11 repeats a key that is held as release and press at once: a true release lasts longer
MEANT_S = 0.7  # after which a second press is no double click


class HeldKeys:
    """The keys that are down, by their names in Tk. Main thread only."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._held: dict[str, str | None] = {}  # each with the wish to forget it, once it was released
        root.bind("<KeyRelease>", lambda e: self._release(e.keysym.lower()))
        root.bind("<FocusOut>", lambda e: self._lost_focus(), add="+")

    def __contains__(self, key: str) -> bool:
        return key in self._held

    def press(self, keysym: str) -> bool:
        """Whether this press is a new one: held, a key repeats 30 times a second."""
        key = keysym.lower()  # shift may be let go of first
        new = key not in self._held
        if (wish := self._held.get(key)) is not None:
            self._root.after_cancel(wish)
        self._held[key] = None
        return new

    def _release(self, key: str) -> None:
        if key in self._held and self._held[key] is None:
            self._held[key] = self._root.after(RELEASE_MS, self._held.pop, key)

    def _lost_focus(self) -> None:
        """Where another program has the keyboard now, it is told of the releases, and what was held must not
        eat the next press; where the focus only goes to another widget, it is held still."""
        if str(self._root.tk.call("focus")):
            return
        for wish in self._held.values():
            if wish is not None:
                self._root.after_cancel(wish)
        self._held.clear()


class Once:
    """What one press does and the next one undoes: a double click, or a key that bounces, does it once. All
    that is wrapped by one of these counts as one."""

    def __init__(self) -> None:
        self._last = -math.inf

    def __call__(self, act: Callable[[], None]) -> Callable[[], None]:
        def pressed() -> None:
            if time.monotonic() - self._last >= MEANT_S:
                act()
            self._last = time.monotonic()  # the second press may have waited for what the first one did

        return pressed


class Twice:
    """What is only done when it is asked for twice: not by a double click, nor by a shaking hand's."""

    def __init__(self) -> None:
        self.asked = ""  # about what it was asked once
        self._at = -math.inf

    def press(self, what: str) -> bool:
        """Whether this is the second time, and meant."""
        now = time.monotonic()
        if what != self.asked:
            self.asked, self._at = what, now
            return False
        return now - self._at >= MEANT_S

    def forget(self) -> None:
        self.asked = ""
