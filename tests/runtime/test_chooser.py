"""The list of exercises: what it offers, and choosing from it by mouse and by keyboard, only while idle."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("tkinter")

import tkinter

from tiny.colours import contrast, rgb
from tiny.hands import blank
from tiny.onnx_parts import with_meta

from handcoach import exercise_file, model
from handcoach.texts import LANGUAGES, Texts
from handcoach.ui import chooser, colours
from handcoach.ui.presenter import ViewState


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_exercise: Path) -> Path:
    """Shipped exercises a and b, an own one for the left hand, and one that is broken."""
    shipped, own = tmp_path / "models" / "exercises", tmp_path / "home" / "exercises"
    for place in (shipped, own):
        place.mkdir(parents=True)
    data = tiny_exercise.read_bytes()
    for name, title in (("a", "First"), ("b", "Second")):
        words = {"en": f"Rest your arm. {title} thing to do, hold.", "da": f"Hvil armen. {title} ting, hold."}
        changes = {"name": name, "title": {"en": title}, "instructions": words}
        (shipped / f"{name}.onnx").write_bytes(with_meta(data, lambda meta, c=changes: meta.update(c)))
    (own / "mine.onnx").write_bytes(with_meta(data, lambda meta: meta.update(hand="left")))
    (own / "broken.onnx").write_bytes(data[:500])
    monkeypatch.setattr(model, "models_dir", lambda: tmp_path / "models")
    monkeypatch.setenv("HANDCOACH_HOME", str(tmp_path / "home"))
    return shipped


@pytest.mark.parametrize("lang", LANGUAGES)
def test_shipped_and_own_exercises_are_offered_with_one_sentence(folder, lang):
    offered = chooser.choices(exercise_file.known(), Texts(lang))
    assert [choice.title for choice in offered][:2] == ["First", "Second"]
    assert offered[0].sentence.startswith("First thing" if lang == "en" else "First ting")
    by_name = {choice.path.stem: choice for choice in offered}
    assert by_name["broken"].reference is None
    assert by_name["broken"].sentence == Texts(lang)("exercise_broken")
    assert (by_name["mine"].stand, by_name["a"].stand) == ("left", "right")
    assert by_name["mine"].reference[17, 1] == -by_name["a"].reference[17, 1]


def test_the_exercise_that_runs_is_offered_wherever_it_lies(folder, tmp_path, tiny_exercise):
    elsewhere = tmp_path / "from-the-therapist.onnx"
    elsewhere.write_bytes(tiny_exercise.read_bytes())
    assert chooser.entries(str(elsewhere))[0].path == elsewhere
    assert len(chooser.entries("a")) == len(chooser.entries("no-such-exercise")) == 4


def test_the_list_is_legible():
    for ground in (colours.GROUND, colours.CARD, chooser.OVER):
        for ink in (colours.INK, colours.SOFT):
            assert contrast(rgb(ground), rgb(ink)) >= 4.5


# --- in a real window ---

IDLE = ViewState("ready", "Ready", "Press Start.", "ready", can_start=True, can_choose=True,
                 start_text="Start", image=blank(), repetitions=5)  # fmt: skip
RUNNING = replace(IDLE, state="move", can_start=False, can_choose=False, can_pause=True)


@pytest.fixture
def make_window(folder):
    from handcoach.ui.window import Window

    windows, told = [], []

    def make(lang="en", scale=1.0, size="1000x640+0+0"):
        calls = {f"on_{n}": lambda n=n: told.append(n) for n in ("start", "pause", "stop", "toggle")}
        window = Window(Texts(lang), scale=scale, exercise="b", **calls,
                        on_choose=lambda path, thumb: told.append((Path(path).stem, thumb)))  # fmt: skip
        windows.append(window)
        window.root.geometry(size)
        window.show(IDLE)
        window.stage.focus_force()
        settle(window)
        return window, told

    yield make
    for window in windows:
        window.root.destroy()


def settle(window, wanted=lambda: True):
    """Handle what is waiting, and go on until it is so."""
    window.root.update()
    end = time.monotonic() + 20
    while not wanted():
        assert time.monotonic() < end
        window.root.update()
    window.root.update()


def press(window, key, where=None):
    (where or window.root).event_generate(key)
    settle(window)


def pictures(row):
    """The label with a card's picture."""
    import customtkinter

    return [child for child in row.winfo_children() if isinstance(child, customtkinter.CTkLabel)][:1]


def focused(window):
    return str(window.root.tk.call("focus"))


@pytest.mark.ui
def test_the_exercise_that_runs_is_marked_however_it_was_named(make_window, folder, monkeypatch):
    def words(widget):
        mine = [str(widget.cget("text"))] if hasattr(widget, "_label") else []
        return mine + [text for child in widget.winfo_children() for text in words(child)]

    own = chooser.entries("a")[0].path
    monkeypatch.chdir(own.parent)
    window, _ = make_window()
    window.chooser.exercise = f"./{own.name}"
    press(window, "<e>")
    marked = [any(Texts("en")("chosen") in text for text in words(row)) for row in window.chooser.rows]
    assert marked.count(True) == 1
    assert window.chooser._choices[marked.index(True)].path == own


@pytest.mark.ui
def test_by_keyboard(make_window):
    window, told = make_window()
    press(window, "<e>")
    assert window.chooser.opened
    rows = window.chooser.rows
    assert len(rows) == 3  # the broken one cannot be chosen
    settle(window, lambda: focused(window) == str(rows[1]))  # the one that runs
    yaw = window.camera.yaw
    tkinter.Misc.event_generate(rows[1], "<Up>")
    settle(window, lambda: focused(window) == str(rows[0]))
    assert rows[0].cget("border_color") == chooser.FOCUS
    assert window.camera.yaw == yaw  # the arrows turn nothing behind the list
    tkinter.Misc.event_generate(rows[0], "<space>")
    settle(window)
    assert told == [("a", True)]  # and no start, which the space bar means elsewhere
    assert not window.chooser.opened


@pytest.mark.ui
@pytest.mark.parametrize("key", ["<e>", "<space>", "<Return>"])
def test_a_key_that_is_held_opens_the_list_once_and_chooses_nothing(make_window, key):
    window, told = make_window()
    button = window.buttons["exercises"]
    window.root.tk.call("focus", "-force", str(button))
    settle(window, lambda: focused(window) == str(button))
    tkinter.Misc.event_generate(button, key)
    settle(window, lambda: window.chooser.opened and focused(window) == str(window.chooser.rows[1]))
    for _ in range(3):
        tkinter.Misc.event_generate(window.chooser.rows[1], key)
        settle(window)
        assert window.chooser.opened and told == []
    tkinter.Misc.event_generate(window.chooser.rows[1], "<KP_Enter>")  # another key is no repetition
    settle(window)
    assert told == [("b", True)]


@pytest.mark.ui
def test_the_list_marks_what_runs_where_what_was_chosen_did_not_load(make_window, folder):
    window, _ = make_window()
    window.choose()
    window.chooser._choose(window.chooser._choices[0])
    window.show(replace(IDLE, exercise=folder / "b.onnx"))
    window.choose()
    settle(window)
    edges = [row.cget("border_color") for row in window.chooser.rows]
    assert edges[0] == chooser.CARD and edges[1] in (chooser.HERE, chooser.FOCUS)
    button = window.chooser._thumb_button
    window.chooser._toggle_thumb()
    assert button.cget("text") == Texts("en")("thumb_off")
    assert Path(window.chooser.exercise) == folder / "b.onnx"  # and switches its thumb, not the other's


@pytest.mark.ui
def test_by_mouse_and_the_pictures_come(make_window):
    window, told = make_window()
    window.buttons["exercises"].invoke()
    settle(window)
    row = window.chooser.rows[2]
    picture, sentence = pictures(row), row.winfo_children()[-1]
    settle(window, lambda: all(label.cget("image") for label in picture))
    sentence.winfo_children()[-1].event_generate("<Button-1>")  # what the mouse really meets
    settle(window)
    assert told == [("mine", True)]


@pytest.mark.ui
def test_a_double_click_opens_the_list_and_switches_the_thumb_once(make_window):
    window, told = make_window()
    for _ in range(2):
        window.buttons["exercises"].invoke()
        assert window.chooser.opened
    for _ in range(2):
        window.chooser._thumb_button.invoke()
    assert told == [("b", False)]


@pytest.mark.ui
def test_escape_closes_the_list_and_stops_elsewhere(make_window):
    window, told = make_window()
    window.choose()
    press(window, "<Escape>")
    assert not window.chooser.opened and told == []
    press(window, "<Escape>")
    assert told == ["stop"]


@pytest.mark.ui
def test_it_is_there_only_while_nothing_is_under_way(make_window):
    window, _ = make_window()
    assert window.buttons["exercises"].winfo_ismapped() and not window.buttons["pause"].winfo_ismapped()
    window.choose()
    window.show(RUNNING)
    settle(window)
    assert not window.chooser.opened
    assert window.buttons["pause"].winfo_ismapped() and not window.buttons["exercises"].winfo_ismapped()
    press(window, "<e>")
    assert not window.chooser.opened


@pytest.mark.ui
def test_the_thumb_is_switched_off_and_stays_off(make_window):
    window, told = make_window()
    window.choose()
    settle(window)
    button = window.chooser._thumb_button
    window.root.tk.call("focus", "-force", str(button))
    settle(window, lambda: focused(window) == str(button))
    tkinter.Misc.event_generate(button, "<Return>")
    settle(window)
    assert told == [("b", False)]
    assert button.cget("text") == Texts("en")("thumb_off")
    window.chooser._choose(window.chooser._choices[0])
    assert told[-1] == ("a", False)


@pytest.mark.ui
@pytest.mark.parametrize(
    ("scale", "size"), [(1.0, "800x600+0+0"), (1.5, "1366x690+0+0"), (2.0, "1366x690+0+0")]
)
@pytest.mark.parametrize("lang", LANGUAGES)
def test_nothing_of_it_is_cut_off(make_window, lang, scale, size):
    window, _ = make_window(lang, scale, size)
    window.choose()
    settle(window)
    settle(window)
    right = window.root.winfo_rootx() + window.root.winfo_width()
    for button in [b for b in window.chooser._frame.winfo_children() if hasattr(b, "invoke")]:
        assert button.winfo_rootx() + button.winfo_width() <= right
        assert button.winfo_height() >= 44
    for row in window.chooser.rows:
        assert row.winfo_rootx() + row.winfo_width() <= right
        for label in row.winfo_children()[1:]:
            assert label.winfo_reqwidth() <= label.winfo_width() + 1
            assert label.winfo_rooty() + label.winfo_reqheight() <= row.winfo_rooty() + row.winfo_height() + 1
