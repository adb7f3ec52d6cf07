"""`handcoach demo`: the coach at work on a bundled clip, in a window or, without a display, as a video file.

Both ways the clip's frames pass the same finder, network, exercise and coach as a camera's.
"""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from handcoach import model
from handcoach.defaults import EXERCISE
from handcoach.errors import HandCoachError
from handcoach.ui.probe import window_problem
from handcoach.worker import STILL_S, STILL_STEP_S, Result, make_coach

CLIP = "demo.mp4"
OUTPUT = "handcoach-demo.mp4"
STAGE = (1280, 604)  # of what the window shows, pixels
SIZE = (1280, 632)  # of the video, with what it is below; even, as its codec wants


@dataclass
class Summary:
    """What was seen in a clip.

    Attributes:
        frames, no_hand: counts of frames.
        postures: frames of each posture, "unsure" among them.
        repetitions, wanted: finished, and asked for.
        path: of the video that was written.
    """

    frames: int = 0
    no_hand: int = 0
    postures: Counter[str] = field(default_factory=Counter)
    repetitions: int = 0
    wanted: int = 0
    path: Path | None = None

    def lines(self, labels: tuple[str, ...]) -> list[str]:
        """For the terminal."""
        shown = [f"{label} {self.postures[label]}" for label in (*labels, "unsure") if self.postures[label]]
        return [
            f"frames              {self.frames}",
            f"postures seen       {', '.join(shown) or 'none'}",
            f"repetitions         {self.repetitions} of {self.wanted} (holds and rests of 1 s in the demo)",
            f"frames without hand {self.no_hand}",
        ]


@contextmanager
def clip(source: str | None) -> Iterator[str]:
    """The path of the clip; the bundled one may have to be unpacked for as long as it is used."""
    if source is not None:
        yield source
        return
    bundled = resources.files("handcoach").joinpath("assets", CLIP)
    if not bundled.is_file():
        raise HandCoachError(
            "The demo clip is missing from this installation: install HandCoach again, or give --source FILE."
        )
    with resources.as_file(bundled) as path:
        yield str(path)


def main(
    lang: str = "en", out: str | None = None, source: str | None = None, exercise: str = EXERCISE
) -> int:
    """Run the demo.

    Args:
        lang: of what the coach says.
        out: write a video of this name and open no window; None opens a window where that is possible, and
            else writes handcoach-demo.mp4 into the current folder.
        source: a video in place of the bundled clip.
        exercise: name or file in place of the finger stretch.

    Raises:
        HandCoachError: clip or models are missing, or the video cannot be written.
    """
    with clip(source) as path:
        if out is None:
            problem = window_problem()
            model.read(model.find(exercise, "exercise"), "exercise")  # announce nothing in vain
            if problem is None:
                from handcoach.ui.app import run_window

                return run_window(path, exercise, lang=lang, loop=True, autostart=True, quick=True)
            print(
                f"No window can be opened here, {problem.what}; the demo is written as a video instead. "
                f"For a window: {problem.cure}."
            )
        summary, labels = write_video(path, exercise, Path(out or OUTPUT), lang=lang)
    print("\n".join(summary.lines(labels)))
    print(f"video               {summary.path}")
    return 0


def write_video(
    source: str, exercise: str, out: Path, *, lang: str = "en", models: dict[str, str] | None = None
) -> tuple[Summary, tuple[str, ...]]:
    """Coach through a video and write what the window would show, at the clip's own speed.

    Args:
        models: as for `worker.worker_for`.

    Returns:
        what was seen, and the exercise's labels.
    """
    from handcoach import pipeline
    from handcoach.camera import open_source
    from handcoach.texts import Texts
    from handcoach.ui import drawing
    from handcoach.ui.presenter import Presenter

    texts = Texts(lang)
    presenter = Presenter(texts)
    path = pipeline.load(exercise, **(models or {}))  # type: ignore[arg-type]
    judge = path.exercise
    assert judge is not None
    coach = make_coach(judge, quick=True)
    summary = Summary(wanted=coach.repetitions)
    what_it_is = np.full((SIZE[1] - STAGE[1], SIZE[0], 3), drawing.WINDOW, np.uint8)
    drawing.draw_text(what_it_is, texts("disclaimer"), 16, 4, 15, drawing.SOFT)
    with open_source(source) as frames:
        if frames.live:
            raise HandCoachError("A camera never ends: give a video file with --source.")
        if Path(source).resolve() in (out.resolve(), out.with_suffix(".avi").resolve()):
            raise HandCoachError(f"{source} would be written over: give --output another name.")
        fps = float(getattr(frames, "fps", 1.0))
        total = frames.total
        with _writer(out, fps) as (write, summary.path):
            coach.start(0.0)
            for frame in frames:
                t, times = frame.t, 1
                # Stills have nothing to do with one another, and each lasts a while.
                if frame.file is not None:
                    path.reset()
                    t, times = frame.index * STILL_S, round(STILL_S / STILL_STEP_S)
                track, posture = path.step(frame)
                for n in range(times):
                    progress = coach.update(posture.label if posture else None, t + n * STILL_STEP_S)
                    judge.widen(coach.own_range.times)
                result = Result(t, "running", frame=frame, track=track, posture=posture, progress=progress,
                                exercise=judge, hold_s=coach.hold_s, rest_s=coach.rest_s)  # fmt: skip
                write(np.vstack([drawing.compose(presenter.present(result), texts, STAGE), what_it_is]))
                summary.frames += 1
                summary.no_hand += track.hand is None
                if posture is not None:
                    summary.postures[posture.label] += 1
                summary.repetitions = progress.repetition
                _tell(summary.frames, total)
    return summary, judge.labels


def _tell(done: int, total: int | None) -> None:
    """A progress line, only where somebody watches."""
    if sys.stderr.isatty():
        end = "\n" if done == total else ""
        print(f"\r  frame {done}{f' of {total}' if total else ''}", end=end, file=sys.stderr, flush=True)


class _Write:
    """Writes RGB pictures uint8 (H, W, 3) of SIZE."""

    def __init__(self, video: cv2.VideoWriter) -> None:
        self._video = video

    def __call__(self, picture: NDArray[np.uint8]) -> None:
        self._video.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))


def _plays(path: Path) -> bool:
    video = cv2.VideoCapture(str(path))
    try:
        return bool(video.read()[0])
    finally:
        video.release()


@contextmanager
def _writer(out: Path, fps: float) -> Iterator[tuple[_Write, Path]]:
    """A video file: MPEG-4 where OpenCV can, else motion JPEG in an .avi beside it."""
    if out.suffix.lower() not in (".mp4", ".avi") or out.is_dir():
        raise HandCoachError(f"{out} is no name for a video: give one that ends in .mp4 or .avi.")
    if not out.parent.is_dir():
        raise HandCoachError(f"The folder {out.parent} does not exist: create it, or choose another file.")
    fps = fps if math.isfinite(fps) and fps > 0 else 25.0
    for path, code in (
        (out, "mp4v" if out.suffix.lower() == ".mp4" else "MJPG"),
        (out.with_suffix(".avi"), "MJPG"),
    ):
        # Beside it, and renamed when it is whole: a source that fails leaves an older video as it was.
        beside = path.with_name(f"{path.stem}.unfinished{path.suffix}")
        try:
            video = cv2.VideoWriter(str(beside), cv2.VideoWriter.fourcc(*code), fps, SIZE)
            if not video.isOpened():
                continue
            try:
                yield _Write(video), path
            finally:
                video.release()
            if not _plays(beside):  # OpenCV does not tell of a full disk
                raise HandCoachError(
                    f"The video {path} cannot be written: make room, or choose another file."
                )
            beside.replace(path)
            return
        finally:
            beside.unlink(missing_ok=True)
    raise HandCoachError(f"The video {out} cannot be written: choose another file with --output.")
