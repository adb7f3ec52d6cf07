"""The composition root of the window: worker, presenter and window are put together here and nowhere else."""

from __future__ import annotations

import traceback

from handcoach.errors import HandCoachError
from handcoach.ui.presenter import Presenter
from handcoach.ui.texts import Texts
from handcoach.ui.toolkit import toolkit
from handcoach.worker import Result, Worker, worker_for


def run_window(
    source: str, exercise: str, hand: str = "auto", lang: str = "en", loop: bool = False, *,
    autostart: bool = False, quick: bool = False, scale: float | None = None,
) -> int:  # fmt: skip
    """Coach in a window until it is closed; 0.

    Args:
        source: a camera's number, or the path of a video, an image or a folder.
        exercise: a name or the path of an exercise file.
        hand: auto, left or right.
        loop: begin a file anew when it ends.
        autostart: begin without waiting for Start.
        quick: short holds and rests, for a demonstration.
        scale: 1.0 is 100 %; None asks the system.

    Raises:
        HandCoachError: there is no display, or Tk is not installed.
    """
    texts = Texts(lang)
    worker = worker_for(source, exercise, hand, loop=loop, autostart=autostart, quick=quick)
    return run(worker, texts, scale)


def run(worker: Worker, texts: Texts, scale: float | None = None) -> int:
    """Show what a worker publishes until the window is closed, then end the worker."""
    toolkit()  # says what to do where Tk is missing, before anything else imports it
    import tkinter

    from handcoach.ui.window import POLL_MS, Window

    try:
        window = Window(texts, on_start=worker.start, on_pause=worker.pause, on_stop=worker.stop,
                        on_toggle=worker.toggle, scale=scale)  # fmt: skip
    except tkinter.TclError as error:
        raise HandCoachError(
            f"No window can be opened here ({error}): run this on a desktop, or use handcoach demo."
        ) from error
    presenter = Presenter(texts)

    def poll() -> None:
        try:
            result = worker.mailbox.take()
            if result is not None:
                show(result)
        finally:
            window.root.after(POLL_MS, poll)

    def show(result: Result) -> None:
        try:
            window.show(presenter.present(result))
        # The drawing's outer edge: a bug in it must reach the person as one sentence, and a terminal whole.
        except Exception as error:
            traceback.print_exc()
            failed = Result(result.t, "error", error=f"!{type(error).__name__}: {error}")
            window.show(presenter.present(failed))

    def close() -> None:
        window.root.withdraw()  # at once: a worker that loads models or opens a camera takes a while to end
        worker.end()
        window.root.destroy()

    window.root.protocol("WM_DELETE_WINDOW", close)
    worker.begin()
    window.root.after(POLL_MS, poll)
    try:
        window.root.mainloop()
    finally:
        worker.end()
    return 0
