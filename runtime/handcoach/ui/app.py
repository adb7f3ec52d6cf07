"""The composition root of the window: worker, presenter and window are put together here and nowhere else."""

from __future__ import annotations

import math
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from handcoach.errors import HandCoachError
from handcoach.texts import Texts
from handcoach.ui.presenter import Presenter
from handcoach.ui.toolkit import toolkit
from handcoach.worker import Mailbox, Result, Worker, loader, worker_for

SILENT_S = 1.0  # without a result while a camera is judged: what the last one says is no longer so


class Inbox:
    """The newest result of a worker. Where a camera falls silent, one that takes the verdict back."""

    def __init__(self, mailbox: Mailbox[Result], clock: Callable[[], float] = time.monotonic) -> None:
        self._mailbox, self._clock = mailbox, clock
        self._last: Result | None = None
        self._due = math.inf  # when the verdict is to be taken back

    def take(self) -> Result | None:
        """What is to be shown now; None where that does not change."""
        result, now = self._mailbox.take(), self._clock()
        if result is not None:
            self._last = result
            self._due = now + SILENT_S if result.live and result.stage == "running" else math.inf
        elif now > self._due and self._last is not None:
            self._due = math.inf
            return replace(self._last, stage="camera", track=None, posture=None)
        return result


def run_window(
    source: str, exercise: str, hand: str = "auto", lang: str = "en", loop: bool = False, *,
    autostart: bool = False, quick: bool = False, thumb: bool = True, model: str | None = None,
    threads: int | None = None,
) -> int:  # fmt: skip
    """Coach in a window until it is closed; 0.

    Args:
        source: a camera's number, or the path of a video, an image or a folder.
        exercise: a name or the path of an exercise file.
        hand: auto, left or right.
        loop: begin a file anew when it ends.
        autostart: begin without waiting for Start.
        quick: short holds and rests, for a demonstration.
        thumb: False leaves the thumb out of the verdict.
        model, threads: of the landmark network; None takes what is fastest on this laptop. Where that is not
            known yet it is measured in the background, for the next time, until somebody presses Start.

    Raises:
        HandCoachError: there is no display, or Tk is not installed.
    """
    texts = Texts(lang)

    worker = worker_for(source, exercise, hand, loop=loop, autostart=autostart, quick=quick, thumb=thumb,
                        model=model, threads=threads)  # fmt: skip

    def choose(name: str, with_thumb: bool) -> None:
        worker.reload(loader(name, hand, quick=quick, thumb=with_thumb, again=lambda: worker.pipeline))

    def tune_once() -> None:
        from handcoach import tune

        tune.in_background(worker.started)

    wants_tuning = model is None and threads is None and not autostart
    return run(worker, texts, exercise=exercise, thumb=thumb, hand=hand, on_choose=choose,
               on_ready=tune_once if wants_tuning else None)  # fmt: skip


def run(
    worker: Worker, texts: Texts, scale: float | None = None, *, exercise: str = "", thumb: bool = True,
    hand: str = "auto", on_choose: Callable[[str, bool], None] | None = None,
    on_ready: Callable[[], None] | None = None,
) -> int:  # fmt: skip
    """Show what a worker publishes until the window is closed, then end the worker.

    Args:
        exercise, thumb, hand: what the worker begins with.
        on_choose: another exercise, and whether its thumb counts, was chosen in the window; None offers none.
        on_ready: called once, when everything is loaded.
    """
    toolkit()  # says what to do where Tk is missing, before anything else imports it
    import tkinter

    from handcoach.ui.window import POLL_MS, Window

    try:
        window = Window(texts, on_start=worker.start, on_pause=worker.pause, on_stop=worker.stop,
                        on_toggle=worker.toggle, on_choose=on_choose, exercise=exercise, thumb=thumb,
                        scale=scale)  # fmt: skip
    except tkinter.TclError as error:
        raise HandCoachError(
            f"No window can be opened here ({error}): run this on a desktop, or use handcoach demo."
        ) from error
    presenter = Presenter(texts, hand)
    inbox, waiting = Inbox(worker.mailbox), on_ready

    def poll() -> None:
        nonlocal waiting
        try:
            result = inbox.take()
            if result is not None:
                show(result)
                if waiting is not None and result.frame is not None:
                    waiting()
                    waiting = None
        finally:
            window.root.after(POLL_MS, poll)

    def show(result: Result) -> None:
        try:
            window.show(presenter.present(result))
        # The drawing's outer edge: a bug in it must reach the person as one sentence, and a terminal whole.
        except Exception as error:
            traceback.print_exc()
            broken = Result(result.t, "error", error=f"!{type(error).__name__}: {error}")
            window.show(presenter.present(broken))

    def close() -> None:
        window.root.withdraw()  # at once: a worker that loads models or opens a camera takes a while to end
        worker.end()
        window.root.destroy()

    interrupted = False

    def failed(kind: Any, error: BaseException, trace: Any) -> None:
        """Tk's outer edge. Ctrl-C in the terminal may come in the middle of a callback."""
        nonlocal interrupted
        if isinstance(error, KeyboardInterrupt):
            interrupted = True
            close()
        else:
            traceback.print_exception(kind, error, trace)

    window.root.report_callback_exception = failed
    window.root.protocol("WM_DELETE_WINDOW", close)
    worker.begin()
    window.root.after(POLL_MS, poll)
    try:
        window.root.mainloop()
    finally:
        worker.end()
    if interrupted:
        raise KeyboardInterrupt
    return 0
