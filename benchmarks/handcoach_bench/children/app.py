"""The app's whole path of a frame, and the app itself. Tasks, by `what`:

`steps` plays a clip as fast as it goes and says what each step takes; `paced` is the app with its own camera
class, worker and window before a camera that delivers so many frames a second, whatever becomes of them;
`window` is `handcoach demo` in a window, whose memory is looked at.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from handcoach import camera, model, pace, pipeline
from handcoach.coach import Coach
from handcoach.errors import HandCoachError
from handcoach.exercise import Exercise
from handcoach.finder import Finder
from handcoach.hand import Frame
from handcoach.landmarker import Landmarker
from handcoach.session import Session
from handcoach.texts import Texts
from handcoach.tracker import OneEuro
from handcoach.ui import drawing
from handcoach.ui.presenter import Presenter
from handcoach.ui.probe import window_problem
from handcoach.worker import Result, Worker, make_coach, worker_for
from handcoach_bench.children.serve import serve, tell
from handcoach_bench.pipeline import FPS, to_and_fro
from handcoach_bench.stopwatch import measure, rss_mb

Image = NDArray[np.uint8]

STAGE = (1280, 604)  # pixels of the window's picture at its usual size
MAX_FRAMES = 150
SETTLE_S = 1.0  # of the paced app, left out: the first frames meet cold caches
ENDLESS = 1_000_000  # repetitions: an exercise that is done would not be judged any more


# --- the clip ---


def prepare(clip: str, width: int, height: int, hands: int) -> list[NDArray[np.uint8]]:
    """The first frames of a clip as JPEGs of this size, as a webcam sends them.

    Args:
        hands: 1: the frame fitted in; more: so many copies side by side, every other one mirrored; 0: a
            picture of the frame's mean colour.
    """
    frames = []
    columns = max(1, int(np.ceil(np.sqrt(hands))))
    rows = max(1, -(-hands // columns))
    with camera.open_source(clip) as source:
        for frame in source:
            picture = np.full((height, width, 3), frame.image.mean((0, 1)), np.uint8)
            for i in range(hands):
                part = frame.image[:, ::-1] if i % 2 else frame.image
                _put(picture, part, i % columns, i // columns, columns, rows)
            bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
            frames.append(cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 90])[1])
            if len(frames) == MAX_FRAMES:
                break
    if not frames:
        raise HandCoachError(f"{clip} holds no frame: give another clip.")
    return frames


def _put(picture: Image, part: Image, x: int, y: int, columns: int, rows: int) -> None:
    """A frame into one cell of the picture, whole and in the middle."""
    height, width = picture.shape[0] // rows, picture.shape[1] // columns
    scale = min(width / part.shape[1], height / part.shape[0])
    size = max(1, round(part.shape[1] * scale)), max(1, round(part.shape[0] * scale))
    small = cv2.resize(np.ascontiguousarray(part), size, interpolation=cv2.INTER_AREA)
    left, top = x * width + (width - size[0]) // 2, y * height + (height - size[1]) // 2
    picture[top : top + size[1], left : left + size[0]] = small


def decode(jpeg: NDArray[np.uint8]) -> Image:
    """uint8 RGB (H, W, 3), as the camera gives it."""
    return np.asarray(cv2.cvtColor(_bgr(jpeg), cv2.COLOR_BGR2RGB), np.uint8)


def _bgr(jpeg: NDArray[np.uint8]) -> Image:
    return np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR), np.uint8)


# --- what each step takes ---


class Sections:
    """Seconds by name. Of a section within another one the time counts for the inner one only, so that all
    sections together are the time that passed."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}
        self._inner = [0.0]  # seconds of the sections within each open one

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        self._inner.append(0.0)
        try:
            yield
        finally:
            took = time.perf_counter() - began
            self.spent[name] = self.spent.get(name, 0.0) + took - self._inner.pop()
            self._inner[-1] += took

    def watch(self, owner: type, method: str, name: Callable[[Any], str]) -> None:
        """Count a method's time from now on; `name` is asked of its object."""
        untimed = getattr(owner, method)

        def timed(self_: Any, *args: Any, **more: Any) -> Any:
            with self(name(self_)):
                return untimed(self_, *args, **more)

        setattr(owner, method, timed)


def steps(task: dict[str, Any]) -> dict[str, Any]:
    """Wall and CPU time of every frame from its JPEG to the window's picture, and the share of each step."""
    clip = prepare(task["clip"], task["width"], task["height"], task["hands"])
    began = time.perf_counter()
    line = _load(task)
    load = time.perf_counter() - began
    coach, texts = make_coach(line.judge, quick=True), Texts("en")
    presenter = Presenter(texts)
    coach.start(0.0)
    sections = Sections()
    sections.watch(Finder, "find", lambda _: "find")
    sections.watch(Landmarker, "read", lambda _: "crop")
    kinds = {"finder": "find", "landmarks": "network", "exercise": "posture"}
    sections.watch(Session, "run", lambda session: kinds[session.file.kind])
    sections.watch(OneEuro, "__call__", lambda _: "smoothing")
    sections.watch(Exercise, "assess", lambda _: "posture")
    order = to_and_fro(len(clip))
    found: list[bool] = []

    def frame(i: int) -> int:
        if i == task["warmup"]:
            sections.spent.clear()
            found.clear()
        tell(task, i, task["warmup"] + task["runs"])
        return i

    def step(i: int) -> None:
        with sections("other"):
            with sections("decode"):
                image = decode(clip[order[i % len(order)]])
            shot = Frame(image, i / FPS, i)
            track, posture = line.step(shot)
            progress = coach.update(posture.label if posture else None, shot.t)
            if progress.state == "done":
                progress = coach.start(shot.t)
            result = Result(shot.t, "running", live=True, frame=shot, track=track, posture=posture,
                            progress=progress, exercise=line.exercise, hold_s=coach.hold_s,
                            rest_s=coach.rest_s)  # fmt: skip
            with sections("drawing"):
                drawing.compose(presenter.present(result), texts, STAGE)
        found.append(track.hand is not None)

    times = measure(step, task["warmup"], task["runs"], frame)
    return {
        **times,
        "load_ms": 1e3 * load,
        "steady_rss_mb": rss_mb(),
        "parts_ms": {name: 1e3 * seconds / task["runs"] for name, seconds in sections.spent.items()},
        "found": sum(found) / len(found),
        "provider": "CPUExecutionProvider",
    }


def _load(task: dict[str, Any]) -> pipeline.Pipeline:
    return pipeline.load(task["exercise"], task["landmarks"], task["finder"], threads=task["threads"])


# --- at a camera's pace ---


class Paced:
    """A camera that delivers a frame at its times, whether or not anybody is ready for it. The first pixel
    of each picture is its number.

    Attributes:
        delivered: when each frame was there, on the monotonic clock, by its number.
    """

    def __init__(self, clip: list[NDArray[np.uint8]], fps: float) -> None:
        self._clip, self._order, self._fps = clip, to_and_fro(len(clip)), fps
        self._zero: float | None = None
        self._next = 0
        self.delivered: dict[int, float] = {}

    def isOpened(self) -> bool:
        return True

    def read(self) -> tuple[bool, Any]:
        now = time.monotonic()
        if self._zero is None:
            self._zero = now
        # What nobody read in time is gone, as in a camera's driver.
        self._next = max(self._next, int((now - self._zero) * self._fps))
        number = self._next
        self._next += 1
        wait = self._zero + number / self._fps - now
        if wait > 0:
            time.sleep(wait)
        taken = time.monotonic()
        image = _bgr(self._clip[self._order[number % len(self._order)]])
        image[0, 0] = number >> 16 & 255, number >> 8 & 255, number & 255
        self.delivered[number] = taken
        return True, image

    def release(self) -> None:
        pass


def number_of(image: Image) -> int:
    """The number that a picture RGB of `Paced` carries."""
    low, middle, high = (int(v) for v in image[0, 0])
    return high << 16 | middle << 8 | low


def paced(task: dict[str, Any]) -> dict[str, Any]:
    """How many of the camera's frames are judged and shown, and how old a picture is when it is shown."""
    clip = prepare(task["clip"], task["width"], task["height"], 1)
    eye = Paced(clip, task["fps"])
    judged: dict[int, float] = {}
    shown: dict[int, float] = {}
    untimed = pipeline.Pipeline.step

    def step(line: pipeline.Pipeline, frame: Frame) -> Any:
        done = untimed(line, frame)
        judged[number_of(frame.image)] = time.monotonic()
        return done

    pipeline.Pipeline.step = step  # type: ignore[method-assign,assignment]
    rested: list[float] = []  # when a picture was left out on purpose: nothing moves, or the laptop is hot
    asked = pace.Pace.due

    def due(rule: pace.Pace, t: float) -> bool:
        wanted = asked(rule, t)
        if not wanted:
            rested.append(time.monotonic())
        return wanted

    pace.Pace.due = due  # type: ignore[method-assign,assignment]

    def load() -> tuple[pipeline.Pipeline, Coach]:
        line = _load(task)
        judge = line.judge
        return line, Coach(judge.hold_s, ENDLESS, judge.rest_s, judge.labels)

    worker = Worker(load, lambda: camera.Camera(0, lambda *way: eye), autostart=True)
    problem = window_problem()
    watch = _Watch(task, shown)
    if problem is None:
        _in_a_window(worker, watch)
    else:
        _without_a_window(worker, watch)
    return watch.figures(eye.delivered, judged, rested, in_window=problem is None)


class _Watch:
    """Writes down when each frame is shown first, and when it is time to end."""

    def __init__(self, task: dict[str, Any], shown: dict[int, float]) -> None:
        self._task, self._shown = task, shown
        self._seconds = float(task["seconds"])
        self._mark: tuple[float, float] | None = None  # clock and CPU seconds when measuring began
        self._end: tuple[float, float] | None = None
        self._first: float | None = None

    def saw(self, image: Image | None) -> bool:
        """A picture is on the screen; whether it was the last one."""
        now = time.monotonic()
        if image is not None:
            self._shown.setdefault(number_of(image), now)
            if self._first is None:
                self._first = now
            if self._mark is None and now - self._first >= SETTLE_S:
                self._mark = now, time.process_time()
        if self._mark is None:
            return False
        tell(self._task, round(min(now - self._mark[0], self._seconds)), round(self._seconds))
        if self._end is None and now - self._mark[0] >= self._seconds:
            self._end = now, time.process_time()
        return self._end is not None

    def figures(
        self,
        delivered: dict[int, float],
        judged: dict[int, float],
        rested: Sequence[float],
        *,
        in_window: bool,
    ) -> dict[str, Any]:
        if self._mark is None or self._end is None:
            raise HandCoachError("The app showed no picture of the camera: run `handcoach doctor`.")
        (began, busy), (end, busy_end) = self._mark, self._end
        taken = [n for n, t in delivered.items() if began <= t < end]
        if not taken:
            raise HandCoachError("The camera delivered no frame while it was measured: measure for longer.")
        asked = max(taken) - min(taken) + 1  # numbers that nobody read count as dropped
        read = sum(n in judged for n in taken)
        left_out = min(sum(began <= t < end for t in rested), asked - read)
        late = {n: 1e3 * (self._shown[n] - delivered[n]) for n in taken if n in self._shown}
        # A picture that is shown without being read is quick, and tells nothing of how old a verdict is.
        latency = [ms for n, ms in late.items() if n in judged]
        return {
            "wall_ms": latency,
            "steady_rss_mb": rss_mb(),
            "provider": "CPUExecutionProvider",
            "figures": {
                "camera_frames": asked,
                "drop_share": 1 - (read + left_out) / asked,
                "rest_share": left_out / asked,
                "judged_fps": read / (end - began),
                "shown_fps": len(late) / (end - began),
                "unread_fps": (len(late) - len(latency)) / (end - began),
                "cpu_percent": 100 * (busy_end - busy) / (end - began),
                "in_window": int(in_window),
            },
        }


def _in_a_window(worker: Worker, watch: _Watch) -> None:
    from handcoach.ui import app

    _when_shown(watch.saw)
    app.run(worker, Texts("en"), scale=1.0)


def _when_shown(saw: Callable[[Image | None], bool]) -> None:
    """Have the app's window call this with each picture that it has painted; it closes when that says so."""
    from handcoach.ui import window

    class Watched(window.Window):
        def show(self, view: Any) -> None:
            super().show(view)
            self.root.update_idletasks()
            if saw(view.image):
                self.root.tk.eval(self.root.protocol("WM_DELETE_WINDOW"))

    window.Window = Watched  # type: ignore[misc]


def _without_a_window(worker: Worker, watch: _Watch) -> None:
    """The window's own loop (`ui.app.run`) without Tk: the same pace of looking, the same picture."""
    poll_s, texts = 0.033, Texts("en")
    presenter = Presenter(texts)
    worker.begin()
    done = False
    try:
        while not done:
            time.sleep(poll_s)
            result = worker.mailbox.take()
            if result is None:
                continue
            view = presenter.present(result)
            if view.state == "error":
                raise HandCoachError(view.message)
            drawing.compose(view, texts, STAGE)
            done = watch.saw(view.image)
    finally:
        worker.end()


# --- the memory of the whole app ---


def window(task: dict[str, Any]) -> dict[str, Any]:
    """Resident memory of the app in a window with the demo's clip, at every picture that it shows."""
    from handcoach import demo
    from handcoach.ui import app

    problem = window_problem()
    if problem is not None:
        raise HandCoachError(f"No window opens here, {problem.what}: {problem.cure}.")
    seen: list[tuple[float, float]] = []  # clock, MB
    busy = 0.0

    def saw(image: Image | None) -> bool:
        nonlocal busy
        if image is None and not seen:
            return False
        if not seen:
            busy = time.process_time()
        seen.append((time.monotonic(), rss_mb() or 0.0))
        passed = seen[-1][0] - seen[0][0]
        tell(task, round(min(passed, task["seconds"])), round(task["seconds"]))
        return passed >= task["seconds"]

    _when_shown(saw)
    with demo.clip(None) as path:
        worker = worker_for(path, task["exercise"], loop=True, autostart=True, quick=True,
                            models={kind: task[kind] for kind in ("landmarks", "finder")},
                            threads=task["threads"])  # fmt: skip
        app.run(worker, Texts("en"))
    if not seen or not seen[-1][1]:
        raise HandCoachError(
            "The app showed no picture, or this system tells no memory: run `handcoach doctor`."
        )
    memory = np.array(seen)[:, 1]
    passed = seen[-1][0] - seen[0][0]
    return {
        "steady_rss_mb": float(np.median(memory[len(memory) // 2 :])),
        "provider": "CPUExecutionProvider",
        "figures": {
            "seconds": passed,
            "growth_mb": float(memory[-1] - memory[len(memory) // 2]),
            "shown_fps": len(seen) / passed,
            "cpu_percent": 100 * (time.process_time() - busy) / passed,
        },
    }


def work(task: dict[str, Any]) -> dict[str, Any]:
    sha256 = {kind: model.read(Path(task[kind]), kind).sha256 for kind in ("landmarks", "finder", "exercise")}
    return {"sha256": sha256, **{"steps": steps, "paced": paced, "window": window}[task["what"]](task)}


if __name__ == "__main__":
    sys.exit(serve(sys.argv[1:], work))
