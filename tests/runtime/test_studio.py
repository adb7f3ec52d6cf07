"""The studio's real window: it fits and is reached by keys at every scale, records from a camera, keeps what
was recorded when it is closed, and says what is missing where the builder's libraries are. `tests/export`
walks it to the end."""

from __future__ import annotations

import gc
import json
import shutil
import threading
import time
import weakref

import pytest

pytest.importorskip("tkinter")

import tkinter

from tiny.hands import BENDS
from tiny.live import Hands, pump

from handcoach import builders, draft, recording
from handcoach.errors import HandCoachError
from handcoach.texts import Texts
from handcoach.ui import keys
from handcoach.ui.presenter import Presenter

pytestmark = pytest.mark.ui


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HANDCOACH_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def hands():
    return Hands()


@pytest.fixture
def open_studio(home, hands, tiny_landmarks, tiny_finder):
    from handcoach.ui.studio.app import Studio

    opened = []

    def make(lang: str = "en", scale: float = 1.0, size: str = "1024x700"):
        models = {"landmarks": str(tiny_landmarks), "finder": str(tiny_finder)}
        studio = Studio(Texts(lang, "studio"), scale=scale, open_source=hands.opened, models=models,
                        countdown_s=0.2, burst_s=1.5)  # fmt: skip
        studio.window.root.geometry(f"{size}+0+0")
        opened.append(studio)
        pump(studio)
        return studio

    yield make
    for studio in opened:
        if not studio.closed:
            studio.close()


def describe(studio, title: str = "Stretch") -> None:
    studio.begin()
    studio.window.new.title.insert(0, title)
    pump(studio)
    assert studio.presenter.draft.title == title


def record(studio, hands, bend: float) -> None:
    hands.bend = bend
    pump(studio, lambda: studio.window.record.record.cget("state") == "normal")
    studio.record()
    assert studio.recorder.moment.stage == "countdown"
    pump(studio, lambda: studio.recorder.moment.stage == "idle" and studio.presenter.note is not None)


def record_all(studio, hands) -> None:
    for bend in BENDS.values():
        record(studio, hands, bend)


# --- recording ---


def test_postures_are_recorded_and_still_there_after_a_restart(open_studio, hands, home):
    studio = open_studio()
    describe(studio)
    studio.next()
    record(studio, hands, 0.0)
    label = studio.presenter.draft.labels[0]
    assert studio.presenter.recorded[label].frames > 40 and studio.presenter.current == 1
    studio.record()  # and the window is closed in the middle of the next take
    studio.close()
    (folder,) = (home / "studio").iterdir()
    assert {path.name for path in folder.iterdir()} == {"draft.json", "recording"}, "landmarks only"
    kept = json.loads((folder / "draft.json").read_text(encoding="utf-8"))
    assert kept["author"] == "" and kept["keep_pictures"] is False  # unasked

    again = open_studio()
    assert len(again.window.home.open) == 1
    again.window.home.open[0].invoke()
    pump(again)
    assert again.presenter.step == "record" and again.presenter.current == 1
    assert again.presenter.recorded[label].frames > 40
    again.back()
    assert again.window.new.title.get() == "Stretch"


def test_recording_again_replaces_and_ten_seconds_more_are_added(open_studio, hands):
    studio = open_studio()
    describe(studio)
    studio.next()
    record(studio, hands, 0.0)
    place, label = draft.recording_of(studio.folder), studio.presenter.draft.labels[0]
    first = len(recording.read(place).labels[label])
    studio.select(0)
    studio.record_more()
    pump(studio, lambda: studio.presenter.recorded[label].takes == 2)
    assert len(recording.read(place).labels[label]) > 1.5 * first
    hands.bend = None  # the hand is gone: the older takes stay
    studio.select(0)
    studio.record()
    pump(studio, lambda: studio.presenter.note is not None)
    assert studio.presenter.note[1] == "look" and studio.presenter.recorded[label].takes == 2
    hands.bend = 0.0
    studio.select(0)
    studio.record()
    pump(studio, lambda: studio.presenter.recorded[label].takes == 1)
    known = studio.presenter.recorded[label]
    studio.change(kept_axes="xz")  # which of the hands is shown depends on it
    assert studio.presenter.recorded[label] is not known and studio.presenter.recorded[label].takes == 1


def test_the_other_hand_in_the_middle_is_told_and_left_out(open_studio, hands):
    studio = open_studio()
    describe(studio)
    studio.change(hand="right")
    studio.next()
    hands.left = True
    pump(studio, lambda: studio.window.record._advice.cget("text") == studio.texts("show_right"))
    hands.left = False
    pump(studio, lambda: studio.window.record._advice.cget("text") == "")
    studio.record()
    pump(studio, lambda: studio.recorder.moment.hands > 25)
    hands.left = True
    pump(studio, lambda: studio.presenter.note is not None)
    assert "other hand" in studio.presenter.note[0]
    whole = recording.read(draft.recording_of(studio.folder))
    assert whole.hand == "right"


def test_pictures_are_kept_only_where_they_are_ticked_and_deleted_when_asked_twice(
    open_studio, hands, monkeypatch
):
    studio = open_studio()
    describe(studio)
    studio.next()
    assert not studio.window.record.delete.winfo_manager()
    studio.window.record.keep.invoke()
    record(studio, hands, 0.0)
    pump(studio)
    assert draft.pictures(studio.folder) and studio.window.record.delete.winfo_ismapped()
    for _ in range(2):  # a double click
        studio.window.record.delete.invoke()
    pump(studio)
    assert draft.pictures(studio.folder)
    assert studio.window.record.delete.cget("text") == studio.texts("delete_sure")
    monkeypatch.setattr(keys, "MEANT_S", 0.0)
    studio.back()
    studio.next()  # what was asked before is asked again, here and in another draft
    pump(studio)
    studio.window.record.delete.invoke()
    pump(studio)
    assert draft.pictures(studio.folder)
    studio.window.record.delete.invoke()
    pump(studio)
    assert not draft.pictures(studio.folder) and not studio.window.record.delete.winfo_manager()


def test_a_posture_that_is_removed_takes_its_pictures_along(open_studio, hands):
    studio = open_studio()
    describe(studio)
    studio.next()
    studio.window.record.keep.invoke()
    record(studio, hands, 0.0)
    assert studio.presenter.pictures > 0
    studio.back()
    studio.remove_posture(0)
    studio.next()
    pump(studio)
    assert not draft.pictures(studio.folder) and not studio.window.record.delete.winfo_manager()


def left_with(open_studio, hands, changed):
    """A studio at its start page, and the draft of a recorded posture whose index was changed meanwhile."""
    studio = open_studio()
    describe(studio)
    studio.next()
    record(studio, hands, 0.0)
    folder = studio.folder
    index = draft.recording_of(folder) / recording.INDEX
    index.write_text(changed(index.read_text()))
    studio.presenter.step = "home"
    studio._entered()
    return studio, folder


def test_a_recording_that_cannot_be_read_is_put_aside_and_said(open_studio, hands):
    studio, folder = left_with(open_studio, hands, lambda index: "{")
    (row,) = studio.presenter.home(draft.kept(), 0.0)
    assert row.status == studio.texts("home_unreadable")
    studio.go_on(str(folder))
    assert "recording-damaged" in studio.window._why.cget("text")
    assert (folder / "recording-damaged" / recording.INDEX).read_text() == "{"
    record(studio, hands, 0.0)  # a posture can be recorded again
    assert draft.kept()[0].recorded == (studio.presenter.draft.labels[0],)


def test_a_recording_of_another_landmark_model_is_put_aside_and_said(open_studio, hands):
    """Nothing could be added to it: every take would be refused."""
    studio, folder = left_with(open_studio, hands, lambda index: index.replace("tiny-landmarks", "oldnet"))
    studio.go_on(str(folder))
    assert "recording-of-another-model" in studio.window._why.cget("text")
    assert recording.model_of(folder / "recording-of-another-model") == "oldnet"
    record(studio, hands, 0.0)
    assert recording.model_of(draft.recording_of(folder)) != "oldnet"


def test_a_take_is_not_left_by_back_next_or_a_steps_name(open_studio, hands):
    studio = open_studio()
    describe(studio)
    studio.next()
    record(studio, hands, 0.0)
    studio.select(0)
    studio.record_more()
    end = time.monotonic() + 20
    while not studio.recording and time.monotonic() < end:
        time.sleep(0.01)
    for leave in (studio.back, studio.next, lambda: studio.go("new")):
        leave()
        assert studio.presenter.step == "record"


def test_a_posture_is_removed_when_it_is_asked_for_twice(open_studio, monkeypatch):
    """A double click must not take what was recorded, nor the next posture with it."""
    from handcoach.ui import keys as module

    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    studio = open_studio()
    describe(studio)
    studio.add_posture()
    before = studio.presenter.draft.postures
    studio.window.new.remove["1"].invoke()
    studio.window.new.remove["1"].invoke()
    assert studio.presenter.draft.postures == before
    assert studio.window.new.remove["1"].cget("text") == studio.texts("delete_sure")
    now[0] = module.MEANT_S
    studio.window.new.remove["1"].invoke()
    assert studio.presenter.draft.postures == (before[0], *before[2:])


def test_a_press_that_comes_too_late_to_cancel_begins_nothing_and_loses_nothing(open_studio, hands):
    """The take is over, and the window has not seen it yet: its button still says Cancel."""
    studio = open_studio()
    describe(studio)
    studio.next()
    record(studio, hands, 0.0)
    studio.select(0)
    frames = studio.presenter.recorded[studio.presenter.posture.label].frames
    studio.record_more()
    end = time.monotonic() + 20
    while studio.recorder.moment.stage != "idle" and time.monotonic() < end:
        time.sleep(0.02)  # nobody polls
    studio.record()
    assert studio.recorder.moment.stage == "idle"
    assert studio.presenter.recorded[studio.presenter.draft.labels[0]].frames > frames


def test_a_step_is_left_at_once_while_models_load_and_the_next_recorder_is_the_one_that_records(
    open_studio, hands, monkeypatch
):
    from handcoach import pipeline

    load, slow = pipeline.load, threading.Event()

    def slowly(*args, **more):
        slow.wait(20)
        return load(*args, **more)

    studio = open_studio()
    describe(studio)
    monkeypatch.setattr(pipeline, "load", slowly)
    studio.next()
    began = time.monotonic()
    studio.back()
    monkeypatch.setattr(pipeline, "load", load)
    studio.next()
    assert time.monotonic() - began < 3
    slow.set()
    record(studio, hands, 0.0)
    assert studio.presenter.recorded


def test_a_space_bar_that_bounces_records_once(open_studio, hands, monkeypatch):
    """The second press would cancel what the first one began."""
    studio = open_studio()
    describe(studio)
    studio.next()
    pump(studio, lambda: studio.window.record.record.cget("state") == "normal")
    pressed, now = [], [0.0]
    monkeypatch.setattr(studio, "record", lambda: pressed.append("space"))
    monkeypatch.setattr(keys.time, "monotonic", lambda: now[0])
    root = studio.window.root
    root.focus_force()
    root.update()
    for after, times in ((0.0, 1), (0.2, 1), (keys.MEANT_S + 0.1, 2)):
        now[0] += after
        studio.window.keys._held.clear()  # the key came up in between
        root.event_generate("<space>")
        assert len(pressed) == times


def test_earlier_workers_are_let_go(open_studio):
    """Each holds its models: to and fro between two steps must not fill the memory."""
    studio = open_studio()
    describe(studio)
    workers = []
    for _ in range(4):
        studio.next()
        pump(studio, lambda: studio.recorder is not None)
        workers.append(weakref.ref(studio.worker))
        studio.back()
    studio.next()
    pump(studio, lambda: studio.recorder is not None)
    gc.collect()
    assert sum(worker() is not None for worker in workers) <= 1


def test_page_down_turns_no_page_while_a_take_is_under_way(open_studio, hands):
    studio = open_studio()
    describe(studio)
    studio.next()
    pump(studio, lambda: studio.window.record.record.cget("state") == "normal")
    studio.window.root.focus_force()
    studio.window.root.update()
    studio.record()
    studio.window.root.event_generate("<Prior>")
    assert studio.recording and studio.presenter.step == "record"
    studio.escape()
    studio.window.root.event_generate("<Prior>")
    assert studio.presenter.step == "new"


def test_escape_cancels_and_space_records(open_studio, hands):
    studio = open_studio()
    describe(studio)
    root = studio.window.root
    root.event_generate("<Next>")  # Page Down
    assert studio.presenter.step == "record"
    pump(studio, lambda: studio.window.record.record.cget("state") == "normal")
    root.focus_force()
    root.update()
    root.event_generate("<space>")
    assert studio.recorder.moment.stage == "countdown"
    root.event_generate("<space>")  # of a key that is held
    assert studio.recorder.moment.stage != "idle"
    root.event_generate("<Escape>")
    assert studio.recorder.moment.stage == "idle" and not studio.presenter.recorded


def test_without_the_builders_libraries_recording_works_and_one_line_mends_it(
    open_studio, hands, monkeypatch
):
    monkeypatch.setattr(builders, "missing", lambda: ["sklearn"])
    studio = open_studio("da")
    describe(studio)
    studio.next()
    record_all(studio, hands)
    studio.next()
    pump(studio, lambda: not studio.presenter.checking)
    assert builders.PIP_LINE in studio.window.check._word.cget("text")
    assert studio.window.next.cget("state") == "disabled"
    assert len(recording.read(draft.recording_of(studio.folder)).labels) == 3


def test_a_camera_that_fails_is_told_and_tried_again(open_studio, hands, monkeypatch):
    from handcoach.camera import CameraError

    studio = open_studio()
    describe(studio)

    def fails(source):
        raise CameraError("Camera 0 does not open: ...", "camera_absent")

    studio._open = fails
    studio.next()
    pump(studio, lambda: studio.window.record.retry.winfo_ismapped())
    studio._open = hands.opened
    studio.window.record.other.invoke()
    assert studio.source == "1"
    pump(studio, lambda: studio.window.record.record.cget("state") == "normal")


def test_while_the_camera_is_gone_space_begins_nothing_unseen(open_studio, hands):
    from handcoach.camera import CameraError

    class Gone(type(hands)):
        gone = False

        def __iter__(self):
            for frame in super().__iter__():
                if self.gone:
                    raise CameraError("No new picture comes.", "camera_gone")
                yield frame

    studio = open_studio()
    describe(studio)
    camera = Gone()
    studio._open = camera.opened
    studio.next()
    pump(studio, lambda: studio.window.record.record.cget("state") == "normal")
    camera.gone = True
    pump(studio, lambda: studio._result.stage == "error")
    assert studio._result.frame is not None
    studio.space()
    assert studio.recorder.moment.stage == "idle"
    studio.presenter.step = "attempt"
    studio._patient = Presenter(Texts("en"))
    studio._show_live()
    toggled = []
    studio.worker.toggle = lambda: toggled.append(1)
    studio.space()
    assert not toggled
    camera.gone = False
    studio.presenter.step = "record"


@pytest.fixture
def workers(monkeypatch):
    """All that the studio has begun, in order."""
    from handcoach.ui.studio import app

    begun = []

    class Noted(app.Worker):
        def begin(self) -> None:
            begun.append(self)
            super().begin()

    monkeypatch.setattr(app, "Worker", Noted)
    return begun


def test_a_posture_that_is_renamed_is_checked_by_the_name_it_was_recorded_under(
    open_studio, hands, monkeypatch
):
    asked = []

    def check(recording, folder, settings, lang, names):
        asked.append(settings)
        raise HandCoachError("That is all.")

    monkeypatch.setattr(builders, "check", check)
    studio = open_studio()
    describe(studio)
    studio.next()
    record_all(studio, hands)
    studio.go("new")
    recorded = studio.presenter.draft.labels
    studio.rename(0, "Star")
    studio.go("check")
    pump(studio, lambda: studio.presenter.check_problem != "")
    assert tuple(asked[0]["labels"]) == recorded and "recorded_as" not in asked[0]


def test_what_is_changed_while_it_is_built_is_built_again_before_it_is_tried(
    open_studio, monkeypatch, tiny_exercise, workers
):
    held, go_on = [], threading.Event()

    def build(recording, output, settings):
        held.append(settings["hold_s"])
        assert go_on.wait(60)
        shutil.copy(tiny_exercise, output)

    def enter(step):  # without the recording that leads there
        studio.presenter.step = step
        studio._entered()

    monkeypatch.setattr(builders, "build", build)
    studio = open_studio()
    describe(studio)
    enter("attempt")
    enter("messages")
    studio.step_number("hold_s", 1)
    enter("attempt")
    go_on.set()
    pump(studio, lambda: studio._job is None and studio._result is not None)
    assert held == [3, 4] and workers == [studio.worker] and studio.presenter.is_built()


def test_a_worker_that_begins_ends_the_one_before(open_studio, tiny_exercise, workers):
    studio = open_studio()
    describe(studio)
    shutil.copy(tiny_exercise, studio.folder / "exercise.onnx")
    studio._try()
    studio._try()
    first, second = workers
    assert studio.worker is second and first._ending.is_set() and not second._ending.is_set()


def test_a_draft_is_deleted_when_it_is_asked_twice(open_studio, hands, home, monkeypatch):
    studio = open_studio()
    describe(studio)
    studio.back()
    pump(studio)
    (key,) = studio.window.home.delete
    studio.window.home.delete[key].invoke()
    assert (home / "studio").is_dir() and studio.window.home.delete[key].cget("text") == studio.texts(
        "delete_sure"
    )
    studio.window.home.delete[key].invoke()  # of a double click
    assert list((home / "studio").iterdir())
    monkeypatch.setattr(keys, "MEANT_S", 0.0)
    studio.window.home.delete[key].invoke()
    assert not list((home / "studio").iterdir())


def test_a_key_that_is_held_deletes_nothing(open_studio, hands, home, monkeypatch):
    monkeypatch.setattr(keys, "MEANT_S", 0.0)
    studio = open_studio()
    describe(studio)
    studio.back()
    pump(studio)
    (button,) = studio.window.home.delete.values()
    studio.window.root.focus_force()
    button.focus_set()
    tkinter.Misc.focus_force(button)
    studio.window.root.update()
    for _ in range(5):
        tkinter.Misc.event_generate(button, "<KeyPress-Return>")
    assert button.cget("text") == studio.texts("delete_sure") and list((home / "studio").iterdir())
    tkinter.Misc.event_generate(button, "<KeyRelease-Return>")
    pump(studio, lambda: "return" not in studio.window.kit._keys)
    studio.next()  # elsewhere and back, it is not armed any more
    studio.presenter.step = "home"
    studio._show()
    assert button.cget("text") == studio.texts("delete")


def test_what_is_recorded_is_what_the_window_asks_for(open_studio, hands):
    studio = open_studio()
    describe(studio)
    studio.next()
    pump(studio, lambda: studio.window.record.record.cget("state") == "normal")
    studio.record()
    studio.select(2)
    assert studio.presenter.posture.label == studio.recorder.moment.label


def test_a_save_ends_though_the_window_is_closed(open_studio, hands, tmp_path, monkeypatch, capsys):
    studio = open_studio()
    describe(studio)
    going = threading.Event()

    def build(recording, out, settings):
        going.wait(20)
        raise HandCoachError("The disk is full.")

    monkeypatch.setattr(builders, "build", build)
    studio._save(tmp_path / "stretch.onnx")
    job = studio._job
    assert not job.daemon  # Python waits for it at its end
    studio.close()
    going.set()
    job.join(20)
    assert "The disk is full." in capsys.readouterr().err


def test_ctrl_c_in_the_middle_of_a_callback_closes_the_window(open_studio):
    def interrupt():
        raise KeyboardInterrupt

    studio = open_studio()
    studio.window.root.after(1, interrupt)
    pump(studio, lambda: studio.closed)
    assert studio.interrupted


def test_a_file_keeps_the_name_that_was_chosen_and_none_is_replaced_unasked(
    open_studio, monkeypatch, tmp_path
):
    from tkinter import filedialog

    studio = open_studio()
    describe(studio, "Stræk")
    answers, offered, saved = [], [], []

    def dialogue(**options):
        offered.append((options.get("initialdir"), options["initialfile"]))
        return answers.pop(0)

    def save_file(*chosen):
        answers[:] = [str(tmp_path / name) if name else "" for name in chosen]
        offered.clear(), saved.clear()
        studio.save_file()
        assert not answers, "it did not ask"
        return [path.name for path in saved]

    monkeypatch.setattr(filedialog, "asksaveasfilename", dialogue)
    monkeypatch.setattr(studio, "_save", saved.append)
    assert save_file("") == [] and offered == [(None, "stræk.onnx")]
    assert save_file("Hand v1.2") == ["Hand v1.2.onnx"]
    assert save_file("Hand.ONNX") == ["Hand.ONNX"]
    (tmp_path / "Hand v1.2.onnx").write_bytes(b"older")
    assert save_file("Hand v1.2", "") == []
    assert offered[1] == (str(tmp_path), "Hand v1.2.onnx")
    assert save_file("Hand v1.2", "Hand v1.2.onnx") == ["Hand v1.2.onnx"]  # the system's window has asked
    assert save_file("Hand v1.2", "Hand v1.3") == ["Hand v1.3.onnx"]


def test_instructions_that_are_pasted_with_the_mouse_are_kept_and_defaults_are_not_taken_for_written(
    open_studio,
):
    studio = open_studio()
    describe(studio)
    studio.presenter.step = "messages"  # without the recording that leads there
    studio._entered()
    pump(studio)
    box = studio.window.messages.instructions
    studio.edit_language("da")
    pump(studio)
    studio.edit_language("en")
    pump(studio)
    assert studio.presenter.draft.instructions == {}
    box.delete("1.0", "end")
    studio.window.root.clipboard_clear()
    studio.window.root.clipboard_append("Rest your arm.")
    box._textbox.event_generate("<<Paste>>")
    pump(studio)
    assert studio.presenter.draft.instructions == {"en": "Rest your arm."}
    box.insert("end", "Then begin.")  # once is not enough
    pump(studio)
    assert studio.presenter.draft.instructions["en"].endswith("Then begin.")
    (kept,) = draft.kept()
    assert kept.draft is not None and kept.draft.instructions == studio.presenter.draft.instructions


# --- fit for everyone ---


def targets(widget):
    """Every button and field that is on the page now."""
    for child in widget.winfo_children():
        if type(child).__name__ in ("CTkButton", "CTkEntry"):
            if child.winfo_viewable():
                yield child
        else:
            yield from targets(child)


@pytest.mark.parametrize(
    ("lang", "scale", "size"),
    [("en", 1.0, "1024x700"), ("da", 1.0, "800x600"), ("en", 1.5, "1536x930"), ("da", 2.0, "1600x930")],
)
def test_every_page_fits_and_its_targets_are_large(open_studio, lang, scale, size):
    studio = open_studio(lang, scale, size)
    window, root = studio.window, studio.window.root

    def check(where: str) -> None:
        pump(studio)
        right, bottom = root.winfo_rootx() + root.winfo_width(), root.winfo_rooty() + root.winfo_height()
        for one in targets(root):
            assert one.winfo_height() >= 44 * window.scale - 2, (where, one)
            assert one.winfo_rootx() + one.winfo_width() <= right, (where, one, one.cget("text"))
        for one in (window.back, window.next):
            assert not one.winfo_ismapped() or one.winfo_rooty() + one.winfo_height() <= bottom, where

    check("home")
    describe(studio)
    check("new")
    studio.next()
    check("record")
    for step in ("check", "messages", "attempt", "save"):  # as they are laid out, without what leads there
        studio._unwatch()
        studio.presenter.step = step
        window.show(studio.presenter)
        if step == "messages":
            window.messages.show(studio.presenter)
        check(step)


def test_tab_reaches_everything_on_a_page_and_shows_where_it_is(open_studio):
    from handcoach.ui.colours import FOCUS

    studio = open_studio()
    describe(studio)
    root = studio.window.root
    root.focus_force()
    reached = []
    for _ in range(40):
        name = str(root.tk.call("tk_focusNext", root.tk.call("focus") or "."))
        root.tk.call("focus", "-force", name)
        root.update()
        if name in reached:
            break
        reached.append(name)
    wanted = [one for one in targets(root) if one.cget("state") == "normal"]
    for one in wanted:
        assert any(f"{name}.".startswith(f"{one}.") for name in reached), one  # an entry's own part has it
    button = studio.window.next
    root.tk.call("focus", "-force", str(button))
    root.update()
    assert button.cget("border_color") == FOCUS
