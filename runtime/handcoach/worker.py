"""The worker thread: it owns the camera and the ONNX sessions and publishes to a one-slot mailbox.

The window never waits for it. Start, pause and stop act on the coach at once, whatever the camera is doing,
and publish the new progress through the same mailbox.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import numpy as np

from handcoach.coach import LEAST_REST_S, Coach, Progress
from handcoach.errors import HandCoachError
from handcoach.hand import Frame
from handcoach.pace import Pace, throttles

if TYPE_CHECKING:
    from handcoach.exercise import Exercise, Posture
    from handcoach.pipeline import Pipeline
    from handcoach.tracker import Track

T = TypeVar("T")

# A video's frame that comes later than this is shown without being judged, to keep the video in real time.
LATE_S = 0.10
# How long each still of a folder is shown.
STILL_S = 1.0
STILL_STEP_S = 0.1  # after which the coach is told again what a still shows, for it believes what lasts
# Between two looks at how often the processor slowed itself down.
THROTTLE_EVERY_S = 5.0
UNDER_WAY = ("search", "hold", "move", "rest")


class Mailbox(Generic[T]):
    """One slot: a newer letter replaces an older one that nobody has taken. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._letter: T | None = None

    def put(self, letter: T) -> None:
        with self._lock:
            self._letter = letter

    def take(self) -> T | None:
        """The newest letter, or None if there is none since the last call."""
        with self._lock:
            letter, self._letter = self._letter, None
            return letter


@dataclass(frozen=True, eq=False)
class Result:
    """All that the window needs to know about one moment.

    Attributes:
        t: seconds on the worker's clock.
        stage: "models", "camera", "running", "ended" (the source has no more frames) or "error".
        error: one sentence where the stage is "error".
        error_key: of the window's own sentence for it, see `HandCoachError`.
        note: key of the window's sentence for what did not work, where everything goes on; None for nothing.
        live: the source is a camera, which people expect to see mirrored.
        track, posture: of `frame`; None where the frame was not judged.
        hold_s, rest_s: of the coach, seconds.
        fps: judged frames per second, a running mean; 0 until known.
    """

    t: float
    stage: str = "models"
    error: str | None = None
    error_key: str | None = None
    note: str | None = None
    live: bool = False
    frame: Frame | None = None
    track: Track | None = None
    posture: Posture | None = None
    progress: Progress | None = None
    exercise: Exercise | None = None
    hold_s: float = 0.0
    rest_s: float = 0.0
    fps: float = 0.0


class SourceLike(Protocol):
    """What the worker needs of `handcoach.camera.Source`."""

    live: bool

    def __iter__(self) -> Iterator[Frame]: ...

    def close(self) -> None: ...


class PipelineLike(Protocol):
    """What the worker needs of `handcoach.pipeline.Pipeline`."""

    @property
    def exercise(self) -> Exercise | None: ...

    @property
    def usual_s(self) -> float | None: ...

    def step(self, frame: Frame) -> tuple[Track, Posture | None]: ...

    def reset(self) -> None: ...


# What a demonstration shortens holds and rests to, in seconds.
QUICK_S = 1.0


def make_coach(exercise: Exercise, *, quick: bool = False) -> Coach:
    """The coach of an exercise; quick shortens holds and rests for a demonstration."""
    hold, rest = exercise.hold_s, max(exercise.rest_s, float(LEAST_REST_S))
    if quick:
        hold, rest = min(hold, QUICK_S), min(rest, QUICK_S)
    return Coach(hold, exercise.repetitions, rest, exercise.labels, exercise.session_s, exercise.widest)


Load = Callable[[], tuple[PipelineLike, Coach | None]]


def loader(
    exercise: str,
    hand: str = "auto",
    *,
    quick: bool = False,
    thumb: bool = True,
    models: dict[str, str] | None = None,
    model: str | None = None,
    threads: int | None = None,
    again: Callable[[], Pipeline | None] = lambda: None,
) -> Load:
    """What loads an exercise and all that it needs, for a worker.

    Args:
        thumb: False leaves the thumb out of the verdict.
        models: files in place of the shipped models, by the names of `pipeline.load`: landmarks, finder.
        model, threads: as for `tune.choice`, where `models` names no landmark model.
        again: a pipeline whose networks are used again; None loads them.
    """

    def load() -> tuple[PipelineLike, Coach]:
        # Here and not above: the window is up before onnxruntime is loaded.
        from handcoach import pipeline, tune
        from handcoach.tracker import CHOICES

        if hand not in CHOICES:
            raise HandCoachError(f"There is no hand {hand!r}: choose one of {', '.join(CHOICES)}.")
        before = again()
        if before is not None:
            path = pipeline.with_exercise(before, exercise, hand=hand, thumb=thumb)  # type: ignore[arg-type]
            return path, make_coach(path.judge, quick=quick)
        names = dict(models or {})
        count, ms = threads or 1, None
        if "landmarks" not in names:
            names["landmarks"], count, ms = tune.choice(model, threads)
        path = pipeline.load(
            exercise, hand=hand, threads=count, thumb=thumb, network_ms=ms, **names  # type: ignore[arg-type]
        )  # fmt: skip
        return path, make_coach(path.judge, quick=quick)

    return load


def worker_for(
    source: str,
    exercise: str,
    hand: str = "auto",
    *,
    loop: bool = False,
    autostart: bool = False,
    quick: bool = False,
    thumb: bool = True,
    models: dict[str, str] | None = None,
    model: str | None = None,
    threads: int | None = None,
) -> Worker:
    """A worker for a source and an exercise, as for `loader`; it loads and opens them once it runs."""

    def open_it() -> AbstractContextManager[SourceLike]:
        from handcoach.camera import open_source

        return open_source(source)

    load = loader(exercise, hand, quick=quick, thumb=thumb, models=models, model=model, threads=threads)
    return Worker(load, open_it, loop=loop, autostart=autostart)


class Worker:
    """Runs `pipeline.step` on each frame of a source in a thread of its own.

    Methods say which thread calls them. Only `mailbox` crosses from the worker to the view.

    Attributes:
        started: set from the first start on, and at the end: whatever runs beside gives up then.
    """

    def __init__(
        self,
        load: Load,
        open_source: Callable[[], AbstractContextManager[SourceLike]],
        *,
        loop: bool = False,
        autostart: bool = False,
        clock: Callable[[], float] = time.monotonic,
        throttles: Callable[[], int | None] = throttles,
    ) -> None:
        """Args:
        load, open_source: called in the worker thread, since both may take seconds. Without a coach it
            only looks: every frame goes through the pipeline, and there is no progress.
        loop: begin a file anew when it ends.
        autostart: start the coach as soon as it is there.
        throttles: how often the processor has slowed itself down, as from `pace.throttles`.
        """
        self.mailbox: Mailbox[Result] = Mailbox()
        self.started = threading.Event()
        self._load, self._open, self._throttles = load, open_source, throttles
        self._stale = False  # `_load` is another one than what runs
        self._loop, self._autostart = loop, autostart
        self._clock, self._zero = clock, clock()
        self._ending = threading.Event()
        self._lock = threading.Lock()  # guards the coach, the last result, and what is to be loaded
        self._coach: Coach | None = None
        self._pipeline: PipelineLike | None = None
        self._pace = Pace()
        self._last = Result(0.0)
        self._source: SourceLike | None = None
        self._thread = threading.Thread(target=self._run, name="handcoach-worker", daemon=True)

    # Called from the view's thread.

    def begin(self) -> None:
        self._thread.start()

    def end(self, timeout: float = 5.0) -> bool:
        """Ask the thread to end and wait for it; False if it is still busy after `timeout` seconds."""
        self._ending.set()
        self.started.set()
        source = self._source
        if source is not None:  # a camera may make the thread wait for a picture
            source.close()
        if self._thread.ident is not None:
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def start(self) -> None:
        self._command("start")

    def pause(self) -> None:
        self._command("pause")

    def stop(self) -> None:
        self._command("stop")

    def toggle(self) -> None:
        """Pause while the exercise is under way, otherwise start."""
        with self._lock:
            state = self._last.progress.state if self._last.progress else None
        self._command("pause" if state in UNDER_WAY else "start")

    @property
    def pipeline(self) -> Pipeline | None:
        """Any thread: what runs."""
        return self._pipeline  # type: ignore[return-value]

    def reload(self, load: Load) -> bool:
        """Any thread: have another exercise or other models loaded; False while an exercise is under way."""
        with self._lock:
            progress = self._last.progress
            if progress is not None and progress.state in (*UNDER_WAY, "paused"):
                return False
            self._load, self._stale = load, self._coach is not None
            self._last = replace(self._last, note=None)
            return True

    def _command(self, name: str) -> None:
        if name == "start":
            self.started.set()
        with self._lock:
            # Not loaded yet: nothing to start, nothing that could hurt.
            if self._coach is None or self._stale:
                self._autostart = name == "start" or (self._autostart and name != "stop")
                if name != "stop" or self._coach is None:
                    return
            t = self._now()
            act = {"start": self._coach.start, "pause": self._coach.pause, "stop": self._coach.stop}[name]
            self._last = replace(self._last, t=t, progress=act(t), note=None)
            self.mailbox.put(self._last)

    # Called from the worker's thread.

    def _now(self) -> float:
        return self._clock() - self._zero

    def _publish(self, **changes: object) -> None:
        with self._lock:
            self._last = replace(self._last, t=self._now(), **changes)  # type: ignore[arg-type]
            self.mailbox.put(self._last)

    def _run(self) -> None:
        try:
            self._work()
        except HandCoachError as error:
            self._complain(error)
        # The thread's outer edge: whatever happens in it must reach the person as one sentence.
        except Exception as error:
            if os.environ.get("HANDCOACH_DEBUG"):
                traceback.print_exc()
            self._publish(stage="error", error=f"!{type(error).__name__}: {error}")

    def _complain(self, error: HandCoachError) -> None:
        self._publish(stage="error", error=str(error), error_key=error.key)
        if error.key is not None:  # the window's own sentence names no file: a terminal gets this one
            _tell(error)

    def _work(self) -> None:
        self._publish(stage="models")
        if self._autostart:
            self.started.set()
        with self._lock:
            load = self._load
        pipeline, coach = load()
        with self._lock:
            self._stale = self._load is not load  # another exercise was chosen meanwhile
            self._take(pipeline, coach, stage="camera")
        played, worked = True, False
        while played and not self._ending.is_set():
            try:
                with self._open() as source:
                    self._source = source
                    if self._ending.is_set():  # while it was opened: `end` had no source to close
                        return
                    played = self._play(source) and self._loop
            except HandCoachError as error:
                # A camera that worked may come back; one that never did needs another number.
                worked = worked or error.key == "camera_gone"
                if not worked or not str(error.key).startswith("camera_"):
                    raise
                if self._last.stage != "error":
                    self._complain(error)
            if played and not self._ending.is_set():
                assert self._pipeline is not None
                self._pipeline.reset()
                self._pace.reset()
        if not self._ending.is_set():
            self._publish(stage="ended", track=None, posture=None)

    def _take(self, pipeline: PipelineLike, coach: Coach | None, **changes: object) -> None:
        """Go on with what was loaded. The lock is held."""
        if self._coach is not None and coach is not None:
            before, after = (p.exercise for p in (self._pipeline, pipeline) if p is not None)
            same = before is not None and after is not None and before.name == after.name
            coach.take_over(self._coach, same_exercise=same)  # with the other hand, or without the thumb
        self._pipeline, self._coach, self._pace = pipeline, coach, Pace(pipeline.usual_s)
        t = self._now()
        if coach is not None:
            changes["progress"] = coach.start(t) if self._autostart else coach.update(None, t)
            changes |= {"hold_s": coach.hold_s, "rest_s": coach.rest_s}
        self._autostart = False
        self._last = replace(
            self._last, t=t, exercise=pipeline.exercise, track=None, posture=None,
            **changes,  # type: ignore[arg-type]
        )  # fmt: skip
        self.mailbox.put(self._last)

    def _load_anew(self) -> None:
        """Load what `reload` asked for; where that fails, what runs stays in place."""
        with self._lock:
            load = self._load
        try:
            pipeline, coach = load()
        except HandCoachError as error:
            _tell(error)
            with self._lock:
                self._stale, self._autostart = self._load is not load, False
                if not self._stale:
                    self._last = replace(self._last, t=self._now(), note="exercise_fails")
                    self.mailbox.put(self._last)
            return
        with self._lock:
            self._stale = self._load is not load
            if not self._stale:
                self._take(pipeline, coach)

    def _new(self, source: SourceLike) -> Iterator[Frame]:
        """The frames of a source. A camera that was gone is back with its second picture that is a new one:
        some repeat their last, or give one that is black and then that."""
        last = self._last.frame
        seen = [last.image] if self._last.stage == "error" and last is not None else []
        for frame in source:
            if seen:
                if any(np.array_equal(frame.image, image) for image in seen):
                    continue
                seen.append(frame.image)
                if len(seen) < 3:
                    continue
                seen = []
            yield frame

    def _play(self, source: SourceLike) -> bool:
        """Every frame of a source; True if it had any."""
        begun = self._now()
        count, idle, fps, before, looked = 0, False, 0.0, None, begun
        for frame in self._new(source):
            if self._ending.is_set():
                return True
            if self._stale:
                self._load_anew()
            pipeline, pace = self._pipeline, self._pace
            assert pipeline is not None
            due = begun + (count * STILL_S if frame.file is not None else frame.t)
            count += 1
            if not source.live:
                late = self._now() - due
                if late < 0 and self._ending.wait(-late):
                    return True
            else:
                late = 0.0
            with self._lock:
                state = self._last.progress.state if self._last.progress else "ready"
            if state in ("paused", "stopped", "done"):  # nobody asked to be judged
                if not idle:
                    pipeline.reset()
                    pace.reset()
                idle = True
                self._idle(source, frame)
                continue
            idle = False
            if late > LATE_S and frame.file is None and count % 3:
                continue
            started = self._now()
            if started - looked > THROTTLE_EVERY_S:
                looked = started
                pace.throttled(started, self._throttles())
            if frame.file is not None:  # stills have nothing to do with one another
                pipeline.reset()
            elif not pace.due(started) and self._coach is not None:
                # Nothing moves: what was seen last is still so.
                self._publish(frame=frame)
                continue
            # The tracker's filter needs time that never jumps back, also when a file begins anew.
            track, posture = pipeline.step(replace(frame, t=begun + frame.t))
            now = self._now()
            seen = track.raw or track.hand
            pace.judged(started, seen.points if seen is not None else None, now - started)
            if before is not None and now > before:
                fps = 0.9 * fps + 0.1 / (now - before) if fps else 1 / (now - before)
            before = now
            self._judge(source, frame, track, posture, fps)
            if frame.file is not None:
                for _ in range(round(STILL_S / STILL_STEP_S) - 1):
                    if self._ending.wait(STILL_STEP_S):
                        return True
                    self._judge(source, frame, track, posture, fps)
        return count > 0

    def _idle(self, source: SourceLike, frame: Frame) -> None:
        """Show a picture that is not judged; the coach's clock goes on."""
        with self._lock:
            t = self._now()
            progress = self._coach.update(None, t) if self._coach is not None else None
            self._last = replace(
                self._last, t=t, stage="running", live=source.live, frame=frame, track=None, posture=None,
                progress=progress,
            )  # fmt: skip
            self.mailbox.put(self._last)

    def _judge(
        self, source: SourceLike, frame: Frame, track: Track, posture: Posture | None, fps: float
    ) -> None:
        with self._lock:
            t = self._now()
            label = posture.label if posture else None
            progress = self._coach.update(label, t) if self._coach is not None else None
            exercise = self._pipeline.exercise if self._pipeline is not None else None
            if self._coach is not None and exercise is not None:
                exercise.widen(self._coach.own_range.times)
            if progress is not None and progress.state in ("paused", "stopped"):
                # Pressed while this frame was being judged.
                track_, posture_ = None, None
            else:
                track_, posture_ = track, posture
            self._last = replace(
                self._last, t=t, stage="running", live=source.live, frame=frame, track=track_,
                posture=posture_, progress=progress, fps=fps,
            )  # fmt: skip
            self.mailbox.put(self._last)


def _tell(error: HandCoachError) -> None:
    """On the terminal, if there still is one: an exercise must not end with it."""
    with contextlib.suppress(OSError, ValueError):
        print(error, file=sys.stderr)
