"""What the steps are put together from: large, reached by Tab, with a white frame where the keyboard is, and
never told apart by colour alone. Main thread only."""

from __future__ import annotations

import tkinter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from handcoach.ui.colours import CARD, FOCUS, GROUND, INK, KINDS, OFF, SOFT
from handcoach.ui.keys import HeldKeys, Twice
from handcoach.ui.picture import Picture

TALL = 46  # units: every target is as large as a finger
# The sign and the colour of each level; the words beside them say the same.
SIGNS = {"none": "○", "poor": "✗", "fair": "!", "good": "✓"}
INKS = {"none": SOFT, "poor": "#ff9eaa", "fair": "#ffcd54", "good": "#5ce08a"}


def bind(widget: Any, event: str, call: Callable[[Any], Any]) -> None:
    """On the widget itself: customtkinter's own `bind` and focus are those of the parts inside."""
    tkinter.Misc.bind(widget, event, call, add="+")


def _all(entry: Any) -> str:
    """Select what is written; Tk's own meaning on Linux is the line's beginning."""
    entry.select_range(0, "end")
    entry.icursor("end")
    return "break"


class Kit:
    """Makes widgets that look alike."""

    def __init__(self, ctk: Any, family: str, scale: float, keys: HeldKeys) -> None:
        self.ctk, self.family, self.scale, self._keys = ctk, family, scale, keys

    def px(self, units: float) -> int:
        return round(units * self.scale)

    def frame(self, parent: Any, ground: str = GROUND, radius: int = 0) -> Any:
        return self.ctk.CTkFrame(parent, fg_color=ground, corner_radius=radius)

    def words(self, parent: Any, text: str = "", size: int = 16, bold: bool = False, ink: str = INK) -> Any:
        """A text that wraps at its own width."""
        font = (self.family, size, "bold") if bold else (self.family, size)
        label = self.ctk.CTkLabel(parent, text=text, font=font, text_color=ink, fg_color="transparent",
                                  justify="left", anchor="w", height=10)  # fmt: skip

        def fit(event: Any) -> None:
            width = max(round(event.width / self.scale) - 4, 60)
            if abs(width - label.cget("wraplength")) > 2:
                label.configure(wraplength=width)

        bind(label, "<Configure>", fit)
        return label

    def button(
        self, parent: Any, text: str, press: Callable[[], Any], kind: str = "plain", width: int = 60,
        size: int = 16,
    ) -> Any:  # fmt: skip
        """A button that Tab reaches and that space and return press."""
        ground, over, ink = KINDS[kind]
        button = self.ctk.CTkButton(
            parent, text=text, command=press, width=width, height=TALL, corner_radius=12, border_width=3,
            border_color=ground, fg_color=ground, hover_color=over, text_color=ink,
            text_color_disabled=OFF[1], font=(self.family, size, "bold"),
        )  # fmt: skip
        button.kind = kind
        tkinter.Frame.configure(button, takefocus=1)

        def pressed(event: Any) -> str:
            can = button.cget("state") == "normal"
            if not can and event.keysym == "space":
                return ""  # it must not eat what space does in the window
            if self._keys.press(event.keysym) and can:
                press()
            return "break"

        def focused(on: bool) -> None:
            button.configure(border_color=FOCUS if on else button.cget("fg_color"))

        bind(button, "<FocusIn>", lambda e: focused(True))
        bind(button, "<FocusOut>", lambda e: focused(False))
        for key in ("<space>", "<Return>", "<KP_Enter>"):
            bind(button, key, pressed)
        return button

    def dress(
        self, button: Any, *, text: str | None = None, kind: str | None = None, on: bool = True
    ) -> None:
        """Change a button, only where something changes: redrawing one costs more than a picture."""
        kind = kind or button.kind
        wanted = (text if text is not None else button.cget("text"), kind, on)
        if getattr(button, "dressed", None) == wanted:
            return
        button.dressed, button.kind = wanted, kind
        ground, over, ink = KINDS[kind]
        ground = ground if on else OFF[0]
        focused = str(button.tk.call("focus")) == str(button)
        button.configure(
            text=wanted[0], state="normal" if on else "disabled", fg_color=ground, hover_color=over,
            text_color=ink, border_color=FOCUS if focused else ground,
        )  # fmt: skip

    def entry(self, parent: Any, text: str, changed: Callable[[str], Any], most: int = 0) -> Any:
        """One line to write in; `changed` is told of whatever is typed or pasted, of `most` characters, if
        that is not 0, and no more are there to see."""
        value = tkinter.StringVar(parent, text)
        entry = self.ctk.CTkEntry(parent, textvariable=value, height=TALL, corner_radius=10, border_width=2,
                                  border_color=SOFT, fg_color=CARD, text_color=INK,
                                  font=(self.family, 16))  # fmt: skip
        entry.bind("<FocusIn>", lambda e: entry.configure(border_color=FOCUS, border_width=3), add="+")
        entry.bind("<FocusOut>", lambda e: entry.configure(border_color=SOFT, border_width=2), add="+")
        entry.bind("<Control-a>", lambda e: _all(entry))
        entry.value, entry.filling = value, False

        def written(*_: object) -> None:
            if entry.filling:
                return
            if most:
                self.fill(entry, value.get()[:most])
            changed(value.get())

        value.trace_add("write", written)
        return entry

    def fill(self, entry: Any, text: str) -> None:
        """Put a text into an entry; nobody typed it."""
        if entry.value.get() != text:
            entry.filling = True
            entry.value.set(text)
            entry.filling = False

    def picture(self, parent: Any, ground: str = GROUND) -> Picture:
        return Picture(parent, ground)


class Sure:
    """Buttons that do what they say when they are pressed twice; one that was pressed once asks first.

    Attributes:
        buttons: by what they are about.
    """

    def __init__(self, kit: Kit, text: str, asking: str, act: Callable[[str], Any]) -> None:
        self._kit, self._text, self._asking, self._act = kit, text, asking, act
        self._twice = Twice()
        self.buttons: dict[str, Any] = {}

    def button(self, parent: Any, what: str, width: int = 60) -> Any:
        made = self._kit.button(parent, self._text, partial(self._press, what), "quiet", width)
        self.buttons[what] = made
        return made

    def clear(self) -> None:
        """The buttons are gone."""
        self.buttons.clear()
        self._twice.forget()

    def forget(self) -> None:
        """What was asked is not meant."""
        if self._twice.asked:
            self._twice.forget()
            self._dress()

    def _press(self, what: str) -> None:
        if self._twice.press(what):
            self._act(what)
        else:
            self._dress()

    def _dress(self) -> None:
        for what, button in self.buttons.items():
            sure = what == self._twice.asked
            self._kit.dress(button, text=self._asking if sure else self._text,
                            kind="danger" if sure else "quiet")  # fmt: skip


class Choice:
    """Buttons of which one, or any number, is chosen; a tick says which."""

    def __init__(
        self, kit: Kit, parent: Any, options: Mapping[str, str], press: Callable[[str], Any],
        columns: int = 0,
    ) -> None:  # fmt: skip
        self._kit, self._texts = kit, dict(options)
        self.frame = kit.frame(parent, "transparent")
        columns = columns or len(options)
        self.buttons = {}
        for i, (key, text) in enumerate(options.items()):
            button = kit.button(self.frame, text, partial(press, key), "quiet", size=15)
            button.grid(row=i // columns, column=i % columns, sticky="ew", padx=(0, 6), pady=(0, 6))
            self.frame.grid_columnconfigure(i % columns, weight=1)
            self.buttons[key] = button

    def show(self, *chosen: str) -> None:
        for key, button in self.buttons.items():
            on = key in chosen
            self._kit.dress(
                button, text=("✓ " if on else "") + self._texts[key], kind="chosen" if on else "plain"
            )


class Stepper:
    """A number with − and +."""

    def __init__(self, kit: Kit, parent: Any, name: str, press: Callable[[int], Any]) -> None:
        self._kit = kit
        self.frame = kit.frame(parent, "transparent")
        self.frame.grid_columnconfigure(0, weight=1)
        kit.words(self.frame, name, 15).grid(row=0, column=0, sticky="ew")
        self.less = kit.button(self.frame, "−", lambda: press(-1), width=TALL, size=20)
        self.value = kit.words(self.frame, "", 16, True)
        self.more = kit.button(self.frame, "+", lambda: press(1), width=TALL, size=20)
        self.less.grid(row=0, column=1, padx=4, pady=2)
        self.value.grid(row=0, column=2, padx=4)
        self.value.configure(width=92, anchor="center", wraplength=0)
        self.more.grid(row=0, column=3, padx=(4, 0), pady=2)

    def show(self, text: str) -> None:
        if self.value.cget("text") != text:
            self.value.configure(text=text)


class Scroll:
    """A frame that scrolls where it is too tall; the widget with the keyboard is always in view."""

    def __init__(self, kit: Kit, parent: Any, ground: str = GROUND) -> None:
        self._kit = kit
        self.outer = kit.frame(parent, ground)
        self.outer.grid_rowconfigure(0, weight=1)
        self.outer.grid_columnconfigure(0, weight=1)
        self._canvas = tkinter.Canvas(self.outer, bg=ground, highlightthickness=0, bd=0, takefocus=0)
        self._canvas.grid(row=0, column=0, sticky="nsew")
        self._bar = kit.ctk.CTkScrollbar(self.outer, command=self._canvas.yview, width=18, fg_color=ground,
                                         button_color="#6b7c99", button_hover_color=SOFT)  # fmt: skip
        tkinter.Frame.configure(self._bar, takefocus=0)
        self._canvas.configure(yscrollcommand=self._scrolled)
        self.inner = kit.frame(self._canvas, ground)
        self._item = self._canvas.create_window(0, 0, anchor="nw", window=self.inner)
        bind(self.inner, "<Configure>", lambda e: self._resized())
        self._canvas.bind("<Configure>", lambda e: self._resized())
        top = self._canvas.winfo_toplevel()
        for event in ("<MouseWheel>", "<Button-4>", "<Button-5>"):
            top.bind(event, self._wheel, add="+")
        top.bind("<FocusIn>", self._follow, add="+")

    def _resized(self) -> None:
        width = self._canvas.winfo_width()
        self._canvas.itemconfigure(self._item, width=width)
        tall = max(self.inner.winfo_reqheight(), 1)
        self._canvas.configure(scrollregion=(0, 0, width, max(tall, self._canvas.winfo_height())))

    def _scrolled(self, first: float, last: float) -> None:
        self._bar.set(first, last)
        if float(first) <= 0 and float(last) >= 1:
            self._bar.grid_forget()
        else:
            self._bar.grid(row=0, column=1, sticky="ns")

    def _inside(self, widget: Any) -> bool:
        return str(widget).startswith(str(self.inner)) and bool(self._canvas.winfo_ismapped())

    def _wheel(self, event: Any) -> None:
        if self._inside(event.widget) or event.widget is self._canvas:
            up = event.num == 4 or event.delta > 0
            self._canvas.yview_scroll(-1 if up else 1, "units")

    def _follow(self, event: Any) -> None:
        if not self._inside(event.widget):
            return
        top = event.widget.winfo_rooty() - self.inner.winfo_rooty()
        bottom = top + event.widget.winfo_height()
        seen, room = self._canvas.canvasy(0), self._canvas.winfo_height()
        tall = max(self.inner.winfo_reqheight(), 1)
        if top < seen or bottom > seen + room:
            self._canvas.yview_moveto(max(top - room // 3, 0) / tall)
