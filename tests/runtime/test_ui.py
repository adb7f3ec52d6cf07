"""The real window: what its import leaves alone, its layout, and Start, Pause and Stop by mouse and keys."""

from __future__ import annotations

import json
import os
import queue
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from tiny.colours import contrast, rgb
from tiny.hands import blank, draw_hand

from handcoach import model
from handcoach.hand import Frame
from handcoach.texts import LANGUAGES, Texts
from handcoach.ui.presenter import ViewState

HERE = Path(__file__).parent

QUIET = """
import os, pathlib, sys
seen = []
def hook(event, args):
    if event in ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "socket.connect", "os.mkdir",
                 "shutil.copyfile"):
        seen.append((event, args))
    if event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+"):
        seen.append((event, args))
sys.dont_write_bytecode = True
sys.addaudithook(hook)
from handcoach.ui.toolkit import toolkit
ctk = toolkit()
import customtkinter
assert ctk is customtkinter
from customtkinter.windows.widgets.appearance_mode import AppearanceModeTracker as tracker
assert tracker.appearance_mode_set_by == "user", "the theme would be asked for again and again"
assert "darkdetect" not in sys.modules
print(seen)
print(sorted(p.name for p in pathlib.Path(os.environ["HOME"]).rglob("*")))
"""


def has_tk() -> bool:
    try:
        import tkinter  # noqa: F401
    except ImportError:
        return False
    return True


needs_tk = pytest.mark.skipif(not has_tk(), reason="Python's Tk is not installed")


@needs_tk
def test_the_toolkit_writes_nothing_and_starts_nothing(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    environment = {**os.environ, "HOME": str(home), "USERPROFILE": str(home), "XDG_CONFIG_HOME": str(home)}
    done = subprocess.run(
        [sys.executable, "-c", QUIET], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["[]", "[]"]
    assert done.stderr == ""


# --- the layout, in this process ---


@pytest.fixture
def make_window():
    from handcoach.ui.window import Window

    windows = []

    def make(lang: str = "en", scale: float = 1.0, size: str | None = None, **calls):
        calls = {f"on_{n}": calls.get(n, lambda: None) for n in ("start", "pause", "stop", "toggle")}
        window = Window(Texts(lang), scale=scale, **calls)
        windows.append(window)
        if size:
            window.root.geometry(size)
        window.show(view())
        window.root.update()
        window.root.update()
        return window

    yield make
    for window in windows:
        window.root.destroy()


def view(**more) -> ViewState:
    return ViewState("move", "Move", "Stretch your fingers a little more.", "almost", can_pause=True,
                     start_text="Start again", image=blank(), repetitions=5, **more)  # fmt: skip


@pytest.mark.ui
@pytest.mark.parametrize("scale", [1.0, 1.5, 2.0])
@pytest.mark.parametrize("lang", LANGUAGES)
def test_everything_fits_a_laptop_at_every_scale(make_window, lang, scale):
    window = make_window(lang, scale, "1366x690+0+0")
    root = window.root
    right = root.winfo_rootx() + root.winfo_width()
    bottom = root.winfo_rooty() + root.winfo_height()
    edge = root.winfo_rootx()
    for name, button in window.buttons.items():
        if not button.winfo_ismapped():
            continue
        assert button.winfo_rootx() >= edge, f"{name} covers the button before it"
        edge = button.winfo_rootx() + button.winfo_width()
        assert edge <= right, f"{name} leaves the window"
        assert button.winfo_rooty() + button.winfo_height() <= bottom
        assert button.winfo_height() >= 44, name
        assert button.winfo_width() >= 44, name
    assert window.buttons["stop"].winfo_width() > window.buttons["pause"].winfo_width()
    assert window.stage.winfo_height() > 300


@pytest.mark.ui
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="X11 alone tells it as a resource")
def test_a_desktop_at_200_percent_gets_a_window_at_200_percent(tmp_path, monkeypatch):
    from handcoach.ui.scaling import xft_dpi

    monkeypatch.setenv("HOME", str(tmp_path))  # Tk reads this file where the display itself tells nothing
    if xft_dpi() is not None:
        pytest.skip("this display tells its own")
    for told, dpi in (("192", 192), ("144.5", 144.5), ("large", None), ("0", None), ("inf", None)):
        (tmp_path / ".Xdefaults").write_text(f"Xft.dpi: {told}\nXft.antialias: 1\n")
        assert xft_dpi() == dpi


@pytest.mark.ui
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="X11 alone tells it as a resource")
def test_the_scale_is_the_desktops(monkeypatch, make_window):
    from handcoach.ui import scaling

    monkeypatch.setattr(scaling, "xft_dpi", lambda: 115.0)
    assert make_window(scale=None).scale == 1.25


@pytest.mark.parametrize(
    ("screen", "within"),
    [((1920, 1080), 1920), ((3440, 1440), 3440), ((3840, 1080), 1920), ((2560, 1024), 1280)],
)
def test_a_window_does_not_open_across_two_monitors(screen, within):
    from handcoach.ui.scaling import place

    placed = []
    root = SimpleNamespace(winfo_screenwidth=lambda: screen[0], winfo_screenheight=lambda: screen[1],
                           maxsize=lambda *size: None, minsize=lambda *size: None,
                           geometry=placed.append)  # fmt: skip
    place(root, 2.0, (1280, 700), (760, 460))
    width, x = int(placed[0].split("x")[0]), int(placed[0].split("+")[1])
    assert x >= 0 and x + width <= within


@pytest.mark.ui
def test_one_picture_is_reused_for_every_frame(make_window):
    window = make_window()
    photo = window._photo
    for _ in range(20):
        window.show(view())
        window.root.update()
    assert window._photo is photo
    # Tk knows this one picture, however many frames were shown.
    assert len([n for n in window.root.tk.call("image", "names") if n.startswith("pyimage")]) <= 2


@needs_tk
def test_every_pair_of_colours_is_legible_in_the_patients_window_and_in_the_studio():
    """Buttons also while the mouse is over them, and when they cannot be pressed."""
    from handcoach.ui.colours import CARD, GROUND, INK, KINDS, OFF, SOFT
    from handcoach.ui.studio.widgets import INKS

    pairs = [OFF, *((ground, ink) for *grounds, ink in KINDS.values() for ground in grounds)]
    pairs += [(ground, ink) for ground in (GROUND, CARD) for ink in (INK, SOFT, *INKS.values())]
    for ground, ink in pairs:
        assert contrast(rgb(ground), rgb(ink)) >= 4.4999, (ground, ink)


@pytest.mark.ui
def test_tab_reaches_every_button_and_shows_where_it_is(make_window, monkeypatch):
    import tkinter

    from handcoach.ui import keys as module
    from handcoach.ui.colours import FOCUS

    monkeypatch.setattr(module, "MEANT_S", 0.0)  # nobody is pressing twice here
    pressed = []
    names = ("start", "pause", "stop", "toggle")
    window = make_window(**{name: lambda name=name: pressed.append(name) for name in names})
    root = window.root
    window.stage.focus_force()
    root.update()
    reached = []
    for _ in range(6):
        # As Tab does it: a CTkButton's own focus methods would pick the label inside.
        name = str(root.tk.call("tk_focusNext", root.tk.call("focus")))
        root.tk.call("focus", "-force", name)
        root.update()
        reached.append(next((n for n, b in window.buttons.items() if str(b) == name), "hands"))
        if reached[-1] != "hands":
            button = window.buttons[reached[-1]]
            assert button.cget("border_color") == FOCUS
            tkinter.Misc.event_generate(button, "<space>")
            let_go(window, "space")
    assert reached[:5] == ["start", "pause", "colours", "stop", "hands"]
    # The focused button's own press, not the space bar's usual meaning; but Start could not be pressed, and
    # whoever started with it must be able to pause without a Tab.
    assert pressed[:3] == ["toggle", "pause", "stop"]


def let_go(window, key: str) -> None:
    """Release a key, until that is believed."""
    window.root.event_generate(f"<KeyRelease-{key}>")
    end = time.monotonic() + 5
    while key in window.keys and time.monotonic() < end:
        window.root.update()


@pytest.mark.ui
@pytest.mark.parametrize("release", [True, False])
def test_a_space_bar_that_is_held_counts_once(make_window, monkeypatch, release):
    """A held key repeats: as presses alone on Windows and macOS, as release and press at once on X11."""
    from handcoach.ui import keys as module

    monkeypatch.setattr(module, "RELEASE_MS", 500)  # longer than this machine may stall between two events
    monkeypatch.setattr(module, "MEANT_S", 0.0)
    toggled = []
    window = make_window(toggle=lambda: toggled.append(1))
    root = window.root
    window.stage.focus_force()
    root.update()
    for press in range(2):
        for _ in range(5):
            root.event_generate("<KeyPress-space>")
            if release:
                root.event_generate("<KeyRelease-space>")
            root.update()
        let_go(window, "space")
        assert len(toggled) == press + 1


@pytest.mark.ui
def test_a_release_that_another_program_was_told_of_does_not_eat_the_next_press(make_window, monkeypatch):
    """Alt and Tab while the space bar is down: its release never comes."""
    from handcoach.ui import keys as module

    monkeypatch.setattr(module, "MEANT_S", 0.0)
    toggled = []
    window = make_window(toggle=lambda: toggled.append(1))
    window.stage.focus_force()
    window.root.update()
    window.root.event_generate("<KeyPress-space>")
    window.root.tk.call("focus", "-force", str(window.buttons["stop"]))
    window.root.update()
    assert "space" in window.keys  # it is still down
    other = "import tkinter; root = tkinter.Tk(); root.update(); root.focus_force(); root.mainloop()"
    with subprocess.Popen([sys.executable, "-c", other]) as process:
        end = time.monotonic() + 20
        while "space" in window.keys and time.monotonic() < end:
            window.root.update()
        process.kill()
    window.stage.focus_force()
    window.root.update()
    window.root.event_generate("<KeyPress-space>")
    assert len(toggled) == 2


@pytest.mark.ui
def test_a_double_click_does_once_what_the_next_click_undoes(make_window, monkeypatch):
    from handcoach.ui import keys as module

    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    window = make_window()
    before = window.palette
    for after, other in ((0.0, True), (0.2, True), (0.2, True), (module.MEANT_S, False)):
        now[0] += after
        window.buttons["colours"].invoke()
        assert (window.palette != before) == other


@pytest.mark.ui
def test_start_pause_and_space_undo_one_another_only_when_that_is_meant(make_window, monkeypatch):
    """A hand that shakes, or a key that bounces, must not start and pause at once."""
    from handcoach.ui import keys as module

    now, pressed = [0.0], []
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    names = ("start", "pause", "toggle", "stop")
    window = make_window(**{name: lambda name=name: pressed.append(name) for name in names})
    window.stage.focus_force()
    window.root.update()
    window.buttons["pause"].invoke()
    for after, counts in ((0.2, False), (0.2, False), (module.MEANT_S, True)):
        now[0] += after
        window.keys._held.clear()
        window.root.event_generate("<space>")
        assert pressed == ["pause", *(["toggle"] if counts else [])]
    window._on_stop()  # at once, whatever was pressed before
    assert pressed[-1] == "stop"


@pytest.mark.ui
def test_other_keys_that_are_held_count_once_and_stop_always_acts(make_window):
    import tkinter

    pressed = []
    window = make_window(pause=lambda: pressed.append("pause"), stop=lambda: pressed.append("stop"))
    window.stage.focus_force()
    window.root.update()
    before = window.palette
    for _ in range(3):
        window.root.event_generate("<KeyPress-c>")
    window.root.event_generate("<KeyPress-C>")  # shift came to it
    window.root.update()
    assert window.palette != before
    let_go(window, "c")
    window.root.event_generate("<KeyPress-c>")
    window.root.update()
    assert window.palette == before  # of two
    for name in ("pause", "stop"):
        window.root.tk.call("focus", "-force", str(window.buttons[name]))
        window.root.update()
        for _ in range(3):
            tkinter.Misc.event_generate(window.buttons[name], "<Return>")
            window.root.update()
    assert pressed == ["pause", "stop", "stop", "stop"]


@needs_tk
def test_a_drawing_that_fails_is_one_sentence_and_ends_nothing(monkeypatch, capsys):
    from handcoach.ui import app, window
    from handcoach.worker import Mailbox, Result

    done, shown, called = [], [], []
    worker = SimpleNamespace(mailbox=Mailbox(), begin=lambda: None, end=lambda: called.append("end"),
                             start=None, pause=None, stop=None, toggle=None)  # fmt: skip

    class Root:
        def protocol(self, name, call):
            self.close = call

        def after(self, ms, call):
            self.next = call

        def withdraw(self):
            called.append("withdraw")

        def destroy(self):
            called.append("destroy")

        def mainloop(self):
            for t in range(3):
                worker.mailbox.put(Result(float(t), frame=Frame(blank(8, 8), 0.0, 0) if t else None))
                self.next()
            self.close()

    class Fails:
        def __init__(self, *args, **more):
            self.root = Root()

        def show(self, view):
            done.append(view)
            if len(done) == 2:
                raise KeyError("a bug")
            shown.append(view.state)

    monkeypatch.setattr(window, "Window", Fails)
    ready = []
    assert app.run(worker, Texts("en"), on_ready=lambda: ready.append(len(done))) == 0
    assert len(ready) == 1 and ready[0] > 1  # once, with the first picture
    assert shown == ["loading", "error", "loading"]
    assert "KeyError" in done[2].message
    assert "a bug" in capsys.readouterr().err
    assert called[:3] == ["withdraw", "end", "destroy"]

    class Interrupted(Root):
        """Ctrl-C in the terminal: Tk tells it as a callback's failure."""

        def mainloop(self):
            self.report_callback_exception(KeyboardInterrupt, KeyboardInterrupt(), None)

    class Shown(Fails):
        def __init__(self, *args, **more):
            self.root = Interrupted()

    called.clear()
    monkeypatch.setattr(window, "Window", Shown)
    with pytest.raises(KeyboardInterrupt):
        app.run(worker, Texts("en"))
    assert called[:3] == ["withdraw", "end", "destroy"]


@needs_tk
def test_what_was_chosen_reaches_presenter_worker_and_window(monkeypatch):
    from handcoach.ui import app, presenter, window

    chosen, asked = [], {}
    monkeypatch.setattr(presenter.Presenter, "__init__", lambda self, texts, hand: chosen.append(hand))
    monkeypatch.setattr(
        window, "Window", lambda *args, **more: asked.update(window=more) or SimpleNamespace(root=Ended())
    )

    class Ended(SimpleNamespace):
        def __getattr__(self, name):
            return lambda *args: None

    monkeypatch.setattr(
        app, "worker_for", lambda *args, **more: asked.update(worker=(args, more)) or Ended(mailbox=None)
    )
    how = {"loop": True, "autostart": True, "quick": True, "thumb": False, "model": "m", "threads": 3}
    app.run_window("0", "finger-stretch", "left", **how)
    assert chosen == ["left"] and asked["worker"] == (("0", "finger-stretch", "left"), how)
    assert (asked["window"]["exercise"], asked["window"]["thumb"]) == ("finger-stretch", False)
    monkeypatch.setattr(app, "run", lambda *args, **more: asked.update(run=more))
    for chosen, tunes in (({}, True), ({"model": "m"}, False), ({"threads": 3}, False),
                          ({"autostart": True}, False)):  # fmt: skip
        app.run_window("0", "finger-stretch", **chosen)
        assert (asked["run"]["on_ready"] is not None) == tunes


def test_where_a_camera_falls_silent_its_last_verdict_is_taken_back_once():
    """Unplugged during a hold, it would say "hold it there" until the camera is given up."""
    from handcoach.ui.app import SILENT_S, Inbox
    from handcoach.worker import Mailbox, Result

    box, now = Mailbox(), [0.0]
    inbox = Inbox(box, lambda: now[0])

    def after(seconds):
        now[0] += seconds
        return inbox.take()

    assert after(9) is None  # nothing yet
    judged = Result(1.0, "running", live=True, track="a hand", posture="open", progress="hold")
    for _ in range(2):
        box.put(judged)
        assert after(0.1) is judged
        assert after(SILENT_S * 0.9) is None
        silent = after(SILENT_S * 0.2)
        assert (silent.stage, silent.track, silent.posture) == ("camera", None, None)
        assert silent.progress == "hold"
        assert after(9) is None
    for change in ({"live": False}, {"stage": "error"}, {"stage": "camera"}):
        calm = replace(judged, **change)
        box.put(judged)
        assert after(0.1) is judged
        box.put(calm)  # a video that is paced, or what is said already
        assert after(0.1) is calm
        assert after(9) is None


# --- driven from outside ---


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Two seconds of a hand that is open, then a fist."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 20, (640, 480))
    for i in range(40):
        picture = draw_hand(blank(), 320, 250, 110, bend=0.0 if i < 24 else 1.0)
        video.write(np.ascontiguousarray(picture[..., ::-1]))
    video.release()
    return path


class Driven:
    """A window in a process of its own; reads what it tells and drives it with xdotool."""

    def __init__(self, clip: Path) -> None:
        command = [sys.executable, str(HERE / "window_child.py"), str(clip), str(HERE.parent / "tiny")]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.lines: queue.Queue[dict] = queue.Queue()
        self.last: dict = {}
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        for line in self.process.stdout:
            self.lines.put(json.loads(line))

    def until(self, wanted, timeout: float = 20.0) -> dict:
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            try:
                self.last = self.lines.get(timeout=0.1)
            except queue.Empty:
                assert self.process.poll() is None, "the window's process ended"
                continue
            if wanted(self.last):
                return self.last
        raise AssertionError(f"it never came; the last was {self.last}")

    def state(self, *states: str) -> dict:
        return self.until(lambda line: line.get("state") in states)

    def xdotool(self, *args: object) -> None:
        subprocess.run(["xdotool", *map(str, args)], check=True, timeout=20)

    def click(self, name: str) -> None:
        self.xdotool("mousemove", *self.last["buttons"][name], "click", 1)

    def key(self, name: str) -> None:
        x, y, w, _ = self.last["stage"]
        self.xdotool("mousemove", x + w // 2, y + 5, "key", name)


@pytest.fixture
def driven(clip):
    if shutil.which("xdotool") is None:
        pytest.skip("xdotool is not installed")
    window = Driven(clip)
    try:
        window.state("ready")
        window.xdotool("windowfocus", "--sync", window.last["window"])
        yield window
    finally:
        if window.process.poll() is None:
            window.process.kill()
        window.process.wait(10)
        window.process.stdout.close()


UNDER_WAY = ("search", "hold", "move", "rest")


@pytest.mark.ui
def test_start_pause_and_stop_by_click(driven):
    driven.click("start")
    driven.state(*UNDER_WAY)
    driven.click("pause")
    driven.state("paused")
    driven.click("start")
    driven.state(*UNDER_WAY)
    driven.click("stop")
    assert "rest your hand" in driven.state("stopped")["message"]


@pytest.mark.ui
def test_stop_acts_on_the_press_wherever_the_hand_lets_go_and_once(driven):
    driven.click("start")
    driven.state(*UNDER_WAY)
    driven.xdotool("mousemove", *driven.last["buttons"]["stop"], "mousedown", 1)
    driven.state("stopped")
    driven.click("start")  # the mouse moves away and lets go; the first click is that release
    driven.click("start")
    driven.state(*UNDER_WAY)
    driven.xdotool("mousemove", *driven.last["buttons"]["stop"], "click", 1)
    driven.state("stopped")


@pytest.mark.ui
def test_start_pause_and_stop_by_key_and_turning(driven):
    driven.key("space")
    driven.state(*UNDER_WAY)
    yaw = driven.last["yaw"]
    driven.key("Right")
    driven.until(lambda line: line.get("yaw", yaw) > yaw)
    driven.key("c")
    driven.until(lambda line: line.get("palette") == "blue_orange")
    driven.key("space")
    driven.state("paused")
    driven.key("Escape")
    driven.state("stopped")
    x, y, w, h = driven.last["stage"]
    yaw = driven.last["yaw"]
    driven.key("space")  # the view goes on telling its states
    driven.xdotool("mousemove", x + w * 3 // 4, y + h // 3, "mousedown", 1)
    driven.xdotool("mousemove_relative", "--", -60, 0)
    driven.xdotool("mouseup", 1)
    driven.until(lambda line: line.get("yaw", yaw) < yaw)


@pytest.mark.ui
def test_the_set_up_is_checked_another_exercise_is_chosen_and_started(driven):
    if driven.last["checks"][2:] != [True, True]:
        driven.until(lambda line: line.get("checks", [])[2:] == [True, True])
    driven.key("e")
    driven.until(lambda line: line.get("choosing"))
    driven.xdotool("key", "Down", "key", "Return")
    chosen = driven.until(lambda line: "chosen" in line)
    assert chosen["chosen"] != "exercise"
    title = model.read(model.find(chosen["chosen"], "exercise")).meta["title"]["en"]
    driven.until(lambda line: line.get("title") == title)
    driven.key("space")
    driven.state(*UNDER_WAY)
    driven.key("Escape")
    assert driven.state("stopped")["checks"] == []


@pytest.mark.ui
def test_closing_the_window_ends_the_worker(driven):
    driven.key("space")
    driven.state(*UNDER_WAY)
    driven.key("F12")  # in place of the window manager, which there may not be
    told = driven.until(lambda line: line.get("closed"), timeout=10)
    assert told["threads"] == []
    assert driven.process.wait(10) == 0
