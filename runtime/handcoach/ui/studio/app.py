"""The composition root of the studio: presenter, worker, files and window are put together here."""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from handcoach import builders, draft, exercise_file, model, places, recording, signature
from handcoach.defaults import FINDER, LANDMARKS
from handcoach.errors import HandCoachError
from handcoach.recorder import BURST_S, COUNTDOWN_S, Moment, Recorder, Take
from handcoach.texts import Texts
from handcoach.ui.keys import Twice
from handcoach.ui.presenter import Presenter, ViewState
from handcoach.ui.studio.presenter import STEPS, Recorded, Step, StudioPresenter, recorded_of
from handcoach.ui.toolkit import toolkit
from handcoach.worker import Load, Mailbox, Result, SourceLike, Worker, make_coach

if TYPE_CHECKING:
    from handcoach.ui.studio.window import StudioWindow

POLL_MS = 33
HELD_S = 0.7
CAMERAS = 4  # numbers that Other camera tries in turn

Open = Callable[[str], AbstractContextManager[SourceLike]]


def open_it(source: str) -> AbstractContextManager[SourceLike]:
    from handcoach.camera import open_source

    return open_source(source)


def run_studio(source: str = "0", lang: str = "en") -> int:
    """Make exercises in a window until it is closed; 0.

    Args:
        source: a camera's number, or the path of a video, which is played again and again.

    Raises:
        HandCoachError: there is no display, or Tk is not installed.
    """
    studio = Studio(Texts(lang, "studio"), source)
    studio.window.root.mainloop()
    if studio.interrupted:
        raise KeyboardInterrupt
    return 0


class Studio:
    """What a person can do, and what happens then. Main thread only; it owns the threads that help it."""

    def __init__(
        self,
        texts: Texts,
        source: str = "0",
        *,
        scale: float | None = None,
        open_source: Open = open_it,
        models: dict[str, str] | None = None,
        countdown_s: float = COUNTDOWN_S,
        burst_s: float = BURST_S,
    ) -> None:
        """Args:
        open_source: what opens a source; tests bring their own.
        models: files in place of the shipped models: landmarks, finder.
        countdown_s, burst_s: of a take.
        """
        toolkit()  # says what to do where Tk is missing, before anything else imports it
        import tkinter

        from handcoach.ui.studio.window import StudioWindow

        self.texts, self.source = texts, source
        self._open, self._models = open_source, {"landmarks": LANDMARKS, "finder": FINDER} | (models or {})
        self._countdown_s, self._burst_s = countdown_s, burst_s
        self.presenter = StudioPresenter(texts)
        self.closed = self.interrupted = False
        self.folder: Path | None = None  # of the draft
        self.worker: Worker | None = None
        self._ending: list[Worker] = []  # they may still load, or hold the camera
        self._patient = Presenter(texts)
        self._replace = Twice()
        self._result: Result | None = None
        self._jobs: Mailbox[tuple[Callable[[Any, Exception | None], None], Any, Exception | None]] = Mailbox()
        self._job: threading.Thread | None = None
        try:
            self.window: StudioWindow = StudioWindow(texts, self, scale)
        except tkinter.TclError as error:
            raise HandCoachError(f"No window can be opened here ({error}): run this on a desktop.") from error
        self.window.root.protocol("WM_DELETE_WINDOW", self.close)
        self.window.root.report_callback_exception = self._crashed
        self._entered()
        self.window.root.after(POLL_MS, self._poll)

    @property
    def has_camera(self) -> bool:
        from handcoach.camera import is_camera

        return is_camera(self.source)

    # --- the start page ---

    def begin(self) -> None:
        self.presenter.begin()
        self.folder = draft.new_folder(time.strftime("%Y-%m-%d-%H%M%S"))
        self._entered()

    def go_on(self, key: str) -> None:
        folder = Path(key)
        kept = next((one for one in draft.kept() if one.folder == folder), None)
        if kept is None or kept.draft is None:
            self._show()
            return
        aside, said, recorded = None, "", kept.recorded
        if kept.problem:
            aside, said = draft.put_aside(folder), "recording_aside"
        elif self._of_another_model(folder):  # nothing could be added to it
            aside, said, recorded = draft.put_aside(folder, "of-another-model"), "recording_aside_model", ()
        self.folder = folder
        known = {label: self._read(label, kept.draft.kept_axes) for label in recorded}
        self.presenter.go_on(kept.draft, known, len(draft.pictures(folder)))
        self._entered()
        if aside is not None:
            self.window.problem(self.texts(said, where=aside))

    def _of_another_model(self, folder: Path) -> bool:
        theirs = recording.model_of(draft.recording_of(folder))
        ours = self._models["landmarks"]
        return bool(theirs) and theirs != model.family(model.read(model.find(ours, "landmarks"), "landmarks"))

    def delete_draft(self, key: str) -> None:
        try:
            draft.delete(Path(key))
        finally:
            self._show()

    # --- moving between steps ---

    def go(self, step: Step) -> None:
        if step != self.presenter.step and not self.recording and self.presenter.go(step):
            self._entered()

    def next(self) -> None:
        if self.recording:  # the take would be lost; Cancel is beside it
            return
        if self.presenter.step == STEPS[-1]:
            self.presenter.step = "home"
            self._entered()
        elif self.presenter.next():
            self._entered()

    def back(self) -> None:
        if self.presenter.step != "home" and not self.recording and self.presenter.back():
            self._entered()

    def _entered(self) -> None:
        """A step begins: what belongs to the last one ends."""
        self._unwatch()
        step = self.presenter.step
        self._show()
        page = self.window.page()
        if step == "save":
            page.entered(self.presenter.draft.author)
            self._own_key()
        elif hasattr(page, "entered"):
            page.entered()
        if step == "record":
            self.watch()
        elif step == "check" and self.presenter.needs_check():
            self.check_again()
        elif step == "attempt":
            self._build_to_try()
        self._show()
        if step == "messages":
            page.focus()

    def escape(self) -> None:
        if self.recorder is not None and self.recording:
            self.recorder.cancel()
        elif self.presenter.step == "attempt":
            self.coach("stop")

    def space(self) -> None:
        if self.presenter.step == "record":
            self.record()
        elif self.window.attempt.offered:  # nothing unseen, as while a camera is gone
            self.coach("toggle")

    # --- the draft ---

    def change(self, **fields: Any) -> None:
        before = self.presenter.draft.kept_axes
        self.presenter.set(**fields)
        after = self.presenter.draft.kept_axes
        if after != before:  # another hand may be the one to show
            self.presenter.recorded = {label: self._read(label, after) for label in self.presenter.recorded}
        self._changed()

    def _changed(self) -> None:
        """Keep the draft and show it. A new one is kept once it has a name."""
        if self.folder is not None and (self.presenter.draft.title.strip() or self.folder.exists()):
            draft.save(self.folder, self.presenter.draft)
        self._show()

    def rename(self, index: int, name: str) -> None:
        self.presenter.rename(index, name)
        self._changed()

    def add_posture(self) -> None:
        self.presenter.add_posture()
        self._changed()

    def remove_posture(self, index: int) -> None:
        label = self.presenter.remove_posture(index)
        assert self.folder is not None
        if label and (draft.recording_of(self.folder) / recording.INDEX).exists():
            recording.remove(draft.recording_of(self.folder), label)
            draft.delete_pictures(self.folder, label)
            self.presenter.pictures = len(draft.pictures(self.folder))
        self._changed()

    def move_up(self, index: int) -> None:
        self.presenter.move_up(index)
        self._changed()

    def toggle_finger(self, finger: str) -> None:
        self.presenter.toggle_finger(finger)
        self._changed()

    # --- record ---

    def watch(self) -> None:
        """Open the camera to record."""
        self._unwatch()
        hand, models = self.presenter.draft.hand, self._models

        def load() -> tuple[Any, None]:
            from handcoach import pipeline

            line = pipeline.load(None, models["landmarks"], models["finder"],
                                 hand="auto" if hand == "either" else hand)  # type: ignore[arg-type]  # fmt: skip
            return Recorder(line, countdown_s=self._countdown_s, burst_s=self._burst_s), None

        self._start(load)

    @property
    def recorder(self) -> Recorder | None:
        """What the worker of now records with, once that is loaded."""
        line: Any = self.worker.pipeline if self.worker is not None else None
        return line if isinstance(line, Recorder) else None

    @property
    def recording(self) -> bool:
        """A take is under way."""
        return self.recorder is not None and self.recorder.moment.stage != "idle"

    def other_camera(self) -> None:
        self.source = str((int(self.source) + 1) % CAMERAS)
        self.watch()

    def _start(self, load: Load) -> None:
        self._unwatch()
        before = self._ending[:]

        def opened() -> AbstractContextManager[SourceLike]:
            for worker in before:  # two would fight for the camera
                worker.end()
            before.clear()
            return self._open(self.source)

        self.worker = Worker(load, opened, loop=True)
        self.worker.begin()

    def _unwatch(self) -> None:
        """No wait for a worker that loads: it would hold the window up for seconds."""
        self._collect()
        self._ending = [worker for worker in self._ending if not worker.end(timeout=0)]
        if self.worker is not None and not self.worker.end(timeout=0):
            self._ending.append(self.worker)
        self.worker = self._result = None

    def _collect(self) -> bool:
        """Keep the take that is over, if there is one."""
        take = self.recorder.takes.take() if self.recorder is not None else None
        if take is not None:
            self._took(take)
        return take is not None

    def select(self, index: int) -> None:
        if self.recording:
            return  # what is being recorded is what the window asks for
        self.presenter.select(index)
        self._show()

    def record(self) -> None:
        """A take that replaces the older ones of this posture once it is over; or cancel the one now."""
        self._take(replace=True)

    def record_more(self) -> None:
        self._take(replace=False)

    def _take(self, *, replace: bool) -> None:
        if self._collect():  # a press that was to cancel it came too late, and begins no other
            self._show()
            return
        if self.recorder is None or self._result is None or self._result.frame is None:
            return
        moment = self.recorder.moment
        if moment.stage != "idle":
            # Not at once: a key that is held begins and would cancel, again and again.
            if moment.stage == "burst" or moment.left < self._countdown_s - HELD_S:
                self.recorder.cancel()
            return
        if self._result.stage != "running":  # as while a camera is gone: nothing unseen
            return
        self.presenter.note = None
        self.recorder.begin(
            self.presenter.posture.label, replace=replace, keep_pictures=self.presenter.draft.keep_pictures
        )

    def _took(self, take: Take) -> None:
        if self.presenter.took(take):
            try:
                self._keep(take)
            except HandCoachError as error:
                self.presenter.not_kept(error)

    def _keep(self, take: Take) -> None:
        assert self.folder is not None
        place = draft.recording_of(self.folder)
        draft.save(self.folder, self.presenter.draft)
        recording.add(place, take.label, take.landmarks, take.t, hand=take.hand, view=take.view,
                      landmark_model=take.landmark_model, replace=take.replace)  # fmt: skip
        # What the window says is what lies there, whatever becomes of the pictures.
        self.presenter.keep(take.label, self._read(take.label, self.presenter.draft.kept_axes))
        if take.replace:
            draft.delete_pictures(self.folder, take.label)
        try:
            draft.add_pictures(self.folder, take.label, list(take.pictures))
        finally:
            self.presenter.pictures = len(draft.pictures(self.folder))

    def _read(self, label: str, kept_axes: str) -> Recorded:
        assert self.folder is not None
        try:
            whole = recording.read(draft.recording_of(self.folder), only=label)
        except HandCoachError as error:
            return Recorded(problem=str(error))
        return recorded_of(
            label, whole.labels[label], whole.times[label], whole.takes[label], whole.views[label], kept_axes
        )

    def toggle_pictures(self) -> None:
        self.change(keep_pictures=not self.presenter.draft.keep_pictures)

    def delete_pictures(self) -> None:
        assert self.folder is not None
        try:
            draft.delete_pictures(self.folder)
        finally:
            self.presenter.pictures = len(draft.pictures(self.folder))
            self._show()

    # --- check ---

    def check_again(self) -> None:
        if self._job is not None or self.folder is None:
            return
        folder, lang, names = self.folder, self.texts.lang, self.presenter.draft.names
        settings = self.presenter.settings(self.presenter.file_name)
        # The verdict is on what was recorded, by the labels of that.
        settings["labels"] = [*settings.pop("recorded_as").values()]
        for key in ("tolerance", "messages", "colours"):
            settings.pop(key, None)
        self.presenter.check_began()
        self._in_background(
            lambda: builders.check(draft.recording_of(folder), folder / "check", settings, lang, names),
            self.presenter.check_done,
        )
        self._show()

    def show_figure(self, name: str) -> None:
        self.presenter.figure = name
        self._show()

    # --- messages ---

    def edit_language(self, lang: str) -> None:
        self.presenter.lang = lang
        self._show()

    def set_message(self, label: str, text: str) -> None:
        self.presenter.set_message(label, text)
        self._changed()

    def set_instructions(self, text: str) -> None:
        self.presenter.set_instructions(text)
        self._changed()

    def next_colour(self, label: str) -> None:
        self.presenter.next_colour(label)
        self._changed()

    def step_number(self, name: str, up: int) -> None:
        self.presenter.step_number(name, up)
        self._changed()

    # --- try ---

    def _build_to_try(self) -> None:
        if self.presenter.is_built():
            self._try()
            return
        if self._job is not None or self.folder is None:
            return
        folder, settings = self.folder, self.presenter.settings(self.presenter.file_name)
        self.presenter.build_began()

        def built(_: Any, error: Exception | None) -> None:
            self.presenter.build_done(error)
            # Else a change has overtaken it, and `_go_on_working` builds again.
            if error is None and self.presenter.step == "attempt" and self.presenter.is_built():
                self._try()

        self._in_background(
            lambda: builders.build(draft.recording_of(folder), folder / "exercise.onnx", settings), built
        )

    def _try(self) -> None:
        assert self.folder is not None
        self._patient = Presenter(Texts(self.texts.lang))  # the patient's words, not the studio's
        path, models, hand = self.folder / "exercise.onnx", self._models, self.presenter.draft.hand

        def load() -> Any:
            from handcoach import pipeline

            line = pipeline.load(path, models["landmarks"], models["finder"],
                                 hand="auto" if hand == "either" else hand)  # type: ignore[arg-type]  # fmt: skip
            assert line.exercise is not None
            return line, make_coach(line.exercise)

        self._start(load)

    def coach(self, what: str) -> None:
        """start, pause, stop or toggle."""
        if self.worker is not None and self.presenter.step == "attempt":
            getattr(self.worker, what)()

    # --- save ---

    def _own_key(self) -> None:
        self.presenter.fingerprint = self.presenter.key_problem = ""
        try:
            self.presenter.fingerprint = signature.own_fingerprint()
        except signature.KeyTrouble as error:
            self.presenter.key_problem = self.presenter.sentence_of(error)
        except signature.SignatureError:
            pass  # there is none yet

    def toggle_sign(self) -> None:
        self.presenter.sign = not self.presenter.sign
        self.presenter.saved = self.presenter.save_problem = self.presenter.replacing = ""
        if self.presenter.sign:
            try:
                signature.make_key()
                self.presenter.fingerprint = signature.own_fingerprint()
                self.presenter.key_problem = ""
            except signature.SignatureError as error:
                self.presenter.sign = False
                self.presenter.save_problem = self.presenter.sentence_of(error)
        self._show()

    def save_here(self) -> None:
        """Where exercises are known by name; an older one of that name is replaced when asked twice."""
        name = self.presenter.file_name
        target = places.exercises_folder() / f"{name}.onnx"
        if self.presenter.replacing != name:
            self._replace.forget()
        if target.exists() and not self._replace.press(name):
            self.presenter.replacing = name
            self.presenter.unsigns = not self.presenter.sign and _is_signed(target)
            self._show()
            return
        self._save(target)

    def save_file(self) -> None:
        """Where the person chooses; the system's window asks before it names a file that is there."""
        from tkinter import filedialog

        target = Path(f"{self.presenter.file_name}.onnx")
        where: dict[str, Any] = {}
        while chosen := filedialog.asksaveasfilename(
            parent=self.window.root, title=self.texts("choose_file"), defaultextension=".onnx",
            initialfile=target.name, filetypes=[(self.texts("file_kind"), "*.onnx")], **where,
        ):  # fmt: skip
            ends = chosen.lower().endswith(".onnx")
            target = Path(chosen if ends else chosen + ".onnx")  # with_suffix would cut "Hand v1.2" short
            if ends or not target.exists():
                self._save(target)
                return
            where["initialdir"] = str(target.parent)  # it asked about another name: now about this one

    def _save(self, target: Path) -> None:
        if self._job is not None or self.folder is None:
            return
        folder, settings, sign = self.folder, self.presenter.settings(target.stem), self.presenter.sign

        def job() -> str:
            # Made, signed and read beside the recording: the older exercise stays until this one is whole.
            ready = folder / "ready.onnx"
            builders.build(draft.recording_of(folder), ready, settings)
            if sign:
                exercise_file.sign(ready)
            model.read(ready, "exercise")
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                places.save(target, ready.read_bytes())
            except OSError as error:
                raise HandCoachError(
                    f"{target} cannot be written ({error.strerror or error}): choose another folder.",
                    "cannot_write",
                ) from error
            # By its name, unless a shipped exercise has that name.
            by_name = (
                target.parent == places.exercises_folder() and model.find(target.stem, "exercise") == target
            )
            return target.stem if by_name else str(target)

        self._in_background(
            job, lambda name, error: self.presenter.save_done(str(target), name or "", error), save=True
        )
        self._show()

    # --- threads and showing ---

    def _in_background(
        self, work: Callable[[], Any], done: Callable[[Any, Exception | None], None], save: bool = False
    ) -> None:
        """Work in a thread; `done` is called in this one with its result or its error.

        Args:
            save: it is finished even if the window is closed, and its failure is told wherever one is then.
        """

        folder = self.folder

        def over(result: Any, error: Exception | None) -> None:
            if folder == self.folder:
                done(result, error)
            elif save and error is not None:  # about a draft that was left meanwhile
                self.window.problem(self.presenter.sentence_of(error))

        def run() -> None:
            try:
                self._jobs.put((over, work(), None))
            # The thread's outer edge: whatever happens in it must reach the person as one sentence.
            except Exception as error:
                if not isinstance(error, HandCoachError):
                    traceback.print_exc()
                elif save and self.closed:
                    print(error, file=sys.stderr)
                self._jobs.put((over, None, error))

        self._job = threading.Thread(target=run, name="handcoach-studio-job", daemon=not save)
        self._job.start()

    def _go_on_working(self) -> None:
        """What waited for another job, or was overtaken by a change."""
        presenter = self.presenter
        if presenter.step == "check" and presenter.needs_check() and not presenter.check_problem:
            self.check_again()
        elif presenter.step == "attempt" and not presenter.is_built() and not presenter.build_problem:
            self._build_to_try()

    def _poll(self) -> None:
        try:
            if (job := self._jobs.take()) is not None:
                self._job = None
                over, outcome, error = job
                over(outcome, error)
                self._go_on_working()
                self._show()
            if self.worker is not None and (result := self.worker.mailbox.take()) is not None:
                self._result = result
                self._show_live()
            if self._collect():
                self._show()
        finally:
            self.window.root.after(POLL_MS, self._poll)

    def _show(self) -> None:
        """Everything that is not live."""
        presenter, window = self.presenter, self.window
        window.show(presenter)
        step = presenter.step
        if step == "home":
            window.home.show(presenter.home(draft.kept(), time.time()))
        elif step == "new":
            window.new.show(presenter)
        elif step == "check":
            window.check.show(presenter.check())
        elif step == "messages":
            window.messages.show(presenter)
        elif step == "save":
            window.save.show(presenter, self._job is not None)
        else:
            self._show_live()

    def _show_live(self) -> None:
        presenter, window = self.presenter, self.window
        if presenter.step == "record":
            moment = self.recorder.moment if self.recorder is not None else Moment()
            window.record.show(presenter.record(self._result, moment))
        elif presenter.step == "attempt":
            window.attempt.show(self._attempt())

    def _attempt(self) -> ViewState:
        texts, presenter = self.texts, self.presenter
        if presenter.build_problem:
            sentence = texts("attempt_failed", why=presenter.build_problem)
            return ViewState("error", texts("word_error"), sentence, "error")
        if self._result is None:
            return ViewState("loading", texts("word_loading"), texts("attempt_building"), "calm")
        return self._patient.present(self._result)

    def _crashed(self, kind: Any, error: BaseException, trace: Any) -> None:
        """Tk's outer edge: a sentence for the person, the rest for a terminal."""
        if isinstance(error, KeyboardInterrupt):  # Ctrl-C in the terminal, met in the middle of a callback
            self.interrupted = True
            self.close()
            return
        if not isinstance(error, HandCoachError):
            traceback.print_exception(kind, error, trace)
        self.window.problem(self.presenter.sentence_of(error) if isinstance(error, Exception) else str(error))

    def close(self) -> None:
        self.closed = True
        self.window.root.withdraw()
        self._unwatch()
        for worker in self._ending:
            worker.end()
        self.window.root.destroy()


def _is_signed(file: Path) -> bool:
    try:
        return bool(model.read(file, "exercise").signed_by)
    except HandCoachError:
        return False
