"""Takes the pictures of `docs/studio.md` anew: walks the studio on the bundled clip, in a real window.

    xvfb-run -a -s "-screen 0 1280x800x24" python docs/pictures.py docs

Needs `pip install ".[studio]"`. What it makes on the way lies in a folder of its own, that is removed.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

from PIL import ImageGrab

from handcoach import demo, pipeline
from handcoach.camera import Source, open_source
from handcoach.hand import Frame

POSTURES = ("open", "almost", "fist")
SIZE = (1024, 700)


class Held(Source):
    """A camera before which somebody holds one posture of the clip until another one is asked for."""

    live = True

    def __init__(self) -> None:
        super().__init__()
        self.posture, self._closed = POSTURES[0], threading.Event()
        runs: dict[str, list[list[Frame]]] = {p: [] for p in POSTURES}
        line, last = pipeline.load("finger-stretch"), None
        with demo.clip(None) as file, open_source(file) as clip:
            for frame in clip:
                _, said = line.step(frame)
                now = said.label if said else None
                if now in runs:
                    if now != last:
                        runs[now].append([])
                    runs[now][-1].append(frame)
                last = now
        # To and fro through the longest time in which it is held.
        self.frames = {p: (held := max(r, key=len)) + held[::-1] for p, r in runs.items()}

    def opened(self, source: str) -> Held:
        self._closed.clear()
        return self

    def close(self) -> None:
        self._closed.set()

    def __iter__(self) -> Iterator[Frame]:
        start = time.monotonic()
        for n in count():
            if self._closed.wait(1 / 30):
                return
            frames = self.frames[self.posture]
            yield Frame(frames[n % len(frames)].image, time.monotonic() - start, n)


def main(out: Path) -> None:
    from handcoach.texts import Texts
    from handcoach.ui.studio.app import Studio

    hands = Held()
    studio = Studio(Texts("en", "studio"), scale=1.0, open_source=hands.opened, countdown_s=1, burst_s=10)
    window, presenter = studio.window, studio.presenter
    window.root.geometry(f"{SIZE[0]}x{SIZE[1]}+0+0")

    def pump(until: Callable[[], bool], more: float = 0.8) -> None:
        end = time.monotonic() + 120
        while not until():
            if time.monotonic() > end:
                sys.exit("the studio did not come so far: run it on a machine that has time")
            window.root.update()
            time.sleep(0.005)
        end = time.monotonic() + more
        while time.monotonic() < end:
            window.root.update()

    def take(name: str) -> None:
        window.root.update()
        x, y = window.root.winfo_rootx(), window.root.winfo_rooty()
        shot = ImageGrab.grab((x, y, x + SIZE[0], y + SIZE[1])).convert("RGB")
        shot.quantize(256, kmeans=4).save(out / f"studio-{name}.png", optimize=True)
        print(out / f"studio-{name}.png")

    window.home.new.invoke()
    window.new.title.insert(0, "Morning stretch")
    for entry, posture in zip(window.new.names, POSTURES, strict=True):
        entry.delete(0, "end")
        entry.insert(0, posture.capitalize())
    pump(lambda: True)
    take("1-exercise")
    window.next.invoke()
    for posture in POSTURES:
        hands.posture = posture
        pump(lambda: window.record.record.cget("state") == "normal", more=1.5)
        window.record.record.invoke()
        if posture == "almost":
            pump(lambda: studio.recorder.moment.stage == "burst", more=3)
            take("2-record")
        pump(lambda: studio.recorder.moment.stage == "idle" and presenter.note is not None)
    window.next.invoke()
    pump(lambda: not presenter.checking, more=2)
    take("3-check")
    window.next.invoke()
    pump(lambda: True)
    take("4-messages")
    window.next.invoke()
    hands.posture = "open"
    pump(lambda: presenter.is_built() and window.attempt.start.cget("state") == "normal")
    window.attempt.start.invoke()
    pump(lambda: studio._attempt().state == "hold")
    take("5-try")
    window.next.invoke()
    window.save.author.insert(0, "Ada")
    window.save.sign.invoke()
    window.save.here.invoke()
    pump(lambda: studio._job is None)
    take("6-save")
    studio.close()


if __name__ == "__main__":
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_dir():
        sys.exit("usage: python docs/pictures.py FOLDER")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HANDCOACH_HOME"] = folder
        main(Path(sys.argv[1]))
