"""The window: one canvas that shows the composed picture, and a row of large buttons. It decides nothing.

Everything here runs in the main thread. The picture reaches the screen through one PhotoImage that is reused:
a new one for each frame would be slow and would leak.
"""

from __future__ import annotations

import math
import tkinter
import tkinter.font
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image as PilImage
from PIL import ImageTk

from handcoach.texts import Texts
from handcoach.ui import drawing, view3d
from handcoach.ui.chooser import Chooser
from handcoach.ui.colours import FOCUS, GROUND, KINDS, OFF, SOFT
from handcoach.ui.keys import HeldKeys, Once
from handcoach.ui.presenter import ViewState
from handcoach.ui.scaling import choose_scale, place
from handcoach.ui.toolkit import toolkit

WIDTH, HEIGHT = 1280, 700  # units at 100 %
SMALLEST = (760, 460)
POLL_MS = 33  # 30 pictures a second at most: more would only warm the laptop
TURN = math.radians(8)

BUTTONS = {"start": "main", "pause": "plain", "exercises": "plain", "colours": "quiet", "stop": "danger"}


class Window:
    """Shows view states and calls back when a button or key is pressed."""

    def __init__(
        self,
        texts: Texts,
        *,
        on_start: Callable[[], None],
        on_pause: Callable[[], None],
        on_stop: Callable[[], None],
        on_toggle: Callable[[], None],
        on_choose: Callable[[str, bool], None] | None = None,
        exercise: str = "",
        thumb: bool = True,
        scale: float | None = None,
    ) -> None:
        """Args:
        on_choose: with a file and whether its thumb counts; None offers no other exercise.
        exercise, thumb: what the window begins with.
        scale: 1.0 is 100 %; None asks the system.
        """
        ctk = toolkit()
        self.texts = texts
        self.palette, self.camera = "traffic", view3d.Camera()
        go = Once()  # start, pause and what space does undo one another
        on_start, on_pause = go(on_start), go(on_pause)
        self._on_stop, self._on_toggle = on_stop, go(on_toggle)
        self._view: ViewState | None = None
        self._exercise: Path | None = None  # whose hand was shown last
        self._dirty = False
        self._photo: ImageTk.PhotoImage | None = None
        self._shown: tuple[object, ...] = ()
        self._drag: tuple[int, int] | None = None

        self.root = ctk.CTk(fg_color=GROUND, className="HandCoach")
        self.root.title(texts("title"))
        self.scale = choose_scale(ctk, self.root, scale, SMALLEST)
        self.family = tkinter.font.nametofont("TkDefaultFont", self.root).actual("family")
        self.keys = HeldKeys(self.root)
        self._build(ctk, on_start, on_pause)
        self.chooser: Chooser | None = None
        if on_choose is not None:
            self.chooser = Chooser(ctk, self.root, texts, self.family, self.scale, on_choose, exercise, thumb,
                                   self._chooser_closed, self.keys)  # fmt: skip
        self._bind()
        place(self.root, self.scale, (WIDTH, HEIGHT), SMALLEST)

    # --- building ---

    def _build(self, ctk: Any, on_start: Callable[[], None], on_pause: Callable[[], None]) -> None:
        self.root.grid_rowconfigure(0, weight=1)
        self.root.grid_columnconfigure(0, weight=1)
        self.stage = tkinter.Canvas(self.root, bg=GROUND, highlightthickness=0, bd=0, takefocus=1)
        self.stage.grid(row=0, column=0, sticky="nsew")
        self._item = self.stage.create_image(0, 0, anchor="nw")
        row = ctk.CTkFrame(self.root, fg_color=GROUND, corner_radius=0)
        row.grid(row=1, column=0, sticky="ew", padx=10, pady=(0, 4))
        row.grid_columnconfigure(3, weight=1)
        self.buttons: dict[str, Any] = {}
        self._fonts: dict[str, tkinter.font.Font] = {}  # only to measure: the buttons have their own
        self._least: dict[str, int] = {}  # width in units
        texts = self.texts
        # Pause and Exercises share a place: one is for while it runs, the other for while it does not.
        for name, column, width, press, click in (
            ("start", 0, 170, on_start, on_start),
            ("pause", 1, 130, on_pause, on_pause),
            ("exercises", 1, 130, self.choose, Once()(self.choose)),
            ("colours", 2, 110, self.other_palette, Once()(self.other_palette)),
            ("stop", 4, 230, self._on_stop, lambda: None),
        ):
            big = name == "stop"
            ground, over, ink = KINDS[BUTTONS[name]]
            button = ctk.CTkButton(
                row, text=texts(name), width=width, height=60 if big else 52, command=click,
                corner_radius=14, border_width=3, border_color=ground, fg_color=ground, hover_color=over,
                text_color=ink, text_color_disabled=OFF[1], font=(self.family, 20 if big else 16, "bold"),
            )  # fmt: skip
            button.grid(row=0, column=column, padx=4, pady=2)
            if name == "exercises":
                button.grid_remove()
            self._reach_by_key(button, name, press)
            if name == "stop":  # what hurts ends now: customtkinter waits for the hand to let go, and where
                button.bind("<ButtonPress-1>", lambda e: self._on_stop())
            self.buttons[name] = button
            self._least[name] = width
            size = -round((20 if big else 16) * self.scale)
            self._fonts[name] = tkinter.font.Font(self.root, family=self.family, size=size, weight="bold")
        small = ctk.CTkLabel(
            self.root, text=f"{texts('disclaimer')}   ·   {texts('key_turn')}", height=18,
            font=(self.family, 12), text_color=SOFT, fg_color=GROUND,
        )  # fmt: skip
        small.grid(row=2, column=0, sticky="w", padx=16, pady=(0, 4))

    def _reach_by_key(self, button: Any, name: str, press: Callable[[], None]) -> None:
        """Tab reaches the button, a white frame shows it, space and return press it."""
        tkinter.Frame.configure(button, takefocus=1)
        ground = KINDS[BUTTONS[name]][0]

        def blurred(event: tkinter.Event[Any]) -> None:
            button.configure(border_color=ground if button.cget("state") == "normal" else OFF[0])

        def pressed(event: tkinter.Event[Any]) -> str:
            can = button.cget("state") == "normal"
            if not can and event.keysym == "space":
                return ""  # it must not eat what space does in the window
            new = self.keys.press(event.keysym) or name == "stop"  # which acts whatever happens
            if new and can:
                press()
            return "break"

        tkinter.Misc.bind(button, "<FocusIn>", lambda e: button.configure(border_color=FOCUS))
        tkinter.Misc.bind(button, "<FocusOut>", blurred)
        for key in ("<space>", "<Return>", "<KP_Enter>"):
            tkinter.Misc.bind(button, key, pressed)

    def _bind(self) -> None:
        root, stage = self.root, self.stage
        root.bind("<space>", lambda e: self._once(e, self._space_pressed))
        root.bind("<Escape>", lambda e: self._escape())
        for key in ("e", "E"):
            root.bind(key, lambda e: self._once(e, self.choose))
        for key in ("c", "C"):
            root.bind(key, lambda e: self._once(e, self.other_palette))
        for key, yaw, pitch in (("Left", -1, 0), ("Right", 1, 0), ("Up", 0, -1), ("Down", 0, 1)):
            root.bind(f"<{key}>", lambda e, y=yaw, p=pitch: self.turn(y * TURN, p * TURN))
        root.bind("<Home>", lambda e: self._set_camera(view3d.Camera()))
        stage.bind("<Configure>", lambda e: self._resized())
        stage.bind("<FocusIn>", lambda e: self._redraw())
        stage.bind("<FocusOut>", lambda e: self._redraw())
        stage.bind("<ButtonPress-1>", self._grab)
        stage.bind("<B1-Motion>", self._pull)
        stage.bind("<ButtonRelease-1>", lambda e: self._let_go())
        stage.bind("<Double-Button-1>", lambda e: self._set_camera(view3d.Camera()))
        stage.bind("<Motion>", self._hover)

    def _once(self, event: tkinter.Event[Any], act: Callable[[], None]) -> None:
        """Act once for each press of a key: nothing flashes under a hand that cannot let go at once."""
        if self.keys.press(event.keysym):
            act()

    def _escape(self) -> None:
        """Stop, it hurts; while an exercise is being chosen nothing is under way, and it closes the list."""
        if self.chooser is not None and self.chooser.opened:
            self.chooser.close()
        else:
            self._on_stop()

    def choose(self) -> None:
        """Show the exercises, or close them again."""
        if self.chooser is None or self._view is None or not self._view.can_choose:
            return
        if self.chooser.opened:
            self.chooser.close()
        else:
            if self._view.exercise is not None:  # what was chosen last may not have loaded
                self.chooser.exercise = str(self._view.exercise)
            self.chooser.open()

    def _chooser_closed(self) -> None:
        self.stage.focus_set()
        self._redraw()

    def _space_pressed(self) -> None:
        """Start, or pause; where the window offers neither, as while a camera is gone, nothing unseen."""
        view = self._view
        offered = view is None or view.state == "loading" or view.can_start or view.can_pause
        if offered and (self.chooser is None or not self.chooser.opened):
            self._on_toggle()

    def _resized(self) -> None:
        if self._view is not None:
            self._show_buttons(self._view)
        self._redraw()

    # --- turning the hands ---

    def _over_hands(self, event: tkinter.Event[Any]) -> bool:
        aspect = drawing.aspect_of(self._view) if self._view is not None else 4 / 3
        size = self.stage.winfo_width(), self.stage.winfo_height()
        return drawing.layout(*size, self.scale, aspect).hands.holds(event.x, event.y)

    def _hover(self, event: tkinter.Event[Any]) -> None:
        self.stage.configure(cursor="fleur" if self._over_hands(event) else "")

    def _grab(self, event: tkinter.Event[Any]) -> None:
        self._drag = (event.x, event.y) if self._over_hands(event) else None

    def _pull(self, event: tkinter.Event[Any]) -> None:
        if self._drag is not None:
            dx, dy = event.x - self._drag[0], event.y - self._drag[1]
            self._drag = (event.x, event.y)
            self.turn(dx * 0.009 / self.scale, dy * 0.009 / self.scale)

    def _let_go(self) -> None:
        self._drag = None

    def turn(self, yaw: float, pitch: float) -> None:
        """Turn the hands by these angles in radians."""
        self._set_camera(self.camera.turned(yaw, pitch))

    def _set_camera(self, camera: view3d.Camera) -> None:
        self.camera = camera
        self._redraw()

    def other_palette(self) -> None:
        names = list(view3d.PALETTES)
        self.palette = names[(names.index(self.palette) + 1) % len(names)]
        self._redraw()

    # --- showing ---

    def show(self, view: ViewState) -> None:
        """Show a view state, at once."""
        if view.exercise is not None:  # while a camera is gone nothing is said of it
            if self._exercise not in (None, view.exercise):
                self.camera = view3d.Camera()  # another hand, as it is to be seen
            self._exercise = view.exercise
        self._view = view
        if self.chooser is not None and self.chooser.opened and not view.can_choose:
            self.chooser.close()
        self._show_buttons(view)
        self._draw()

    def _show_buttons(self, view: ViewState) -> None:
        labels = self._labels(view)
        swap = self.chooser is not None and view.can_choose
        shown = (*labels.values(), view.can_start, view.can_pause, swap)
        if shown == self._shown:  # redrawing a button costs more than the whole picture
            return
        self._shown = shown
        for name, label in labels.items():
            self.buttons[name].configure(text=label)
        for name, there in (("exercises", swap), ("pause", not swap)):
            if there != bool(self.buttons[name].winfo_manager()):
                self.buttons[name].grid() if there else self.buttons[name].grid_remove()
        for name, on in (("start", view.can_start), ("pause", view.can_pause)):
            button, ground = self.buttons[name], KINDS[BUTTONS[name]][0]
            focused = self.root.focus_get() is button
            button.configure(state="normal" if on else "disabled", fg_color=ground if on else OFF[0],
                             border_color=FOCUS if focused else ground if on else OFF[0])  # fmt: skip

    def _labels(self, view: ViewState) -> dict[str, str]:
        """The buttons' texts, each with its key where there is room for that."""
        texts = self.texts
        plain = {name: texts(name) for name in self.buttons}
        plain["start"] = view.start_text or plain["start"]
        keys = {"start": "key_space", "pause": "key_space", "exercises": "key_exercises",
                "colours": "key_colours", "stop": "key_escape"}  # fmt: skip
        hidden = "pause" if self.chooser is not None and view.can_choose else "exercises"
        keyed = {name: f"{label}  ({texts(keys[name])})" for name, label in plain.items()}
        if not view.can_start:  # the space bar has one meaning at a time
            keyed["start"] = plain["start"]
        if not view.can_pause:
            keyed["pause"] = plain["pause"]
        some = plain | {"stop": keyed["stop"]}
        for labels in (keyed, some):
            need = sum(
                max(self._fonts[name].measure(label) + 44 * self.scale, self._least[name] * self.scale)
                for name, label in labels.items()
                if name != hidden
            )
            if need + 60 * self.scale < self.root.winfo_width():
                return labels
        return plain

    def _redraw(self) -> None:
        """Draw soon; several wishes become one drawing."""
        if not self._dirty:
            self._dirty = True
            self.root.after_idle(self._draw)

    def _draw(self) -> None:
        self._dirty = False
        size = self.stage.winfo_width(), self.stage.winfo_height()
        if self._view is None or min(size) < 40:
            return
        focused = self.root.focus_get() is self.stage
        picture = drawing.compose(
            self._view, self.texts, size, self.scale, self.palette, self.camera, focused
        )
        pil = PilImage.fromarray(picture)
        if self._photo is None or (self._photo.width(), self._photo.height()) != size:
            self._photo = ImageTk.PhotoImage(pil)
            self.stage.itemconfigure(self._item, image=self._photo)
        else:
            self._photo.paste(pil)
