"""The list of exercises over the stage: picture, title and one sentence, by mouse and by keyboard."""

from __future__ import annotations

import re
import tkinter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image as PilImage

from handcoach import exercise_file, model
from handcoach.errors import HandCoachError
from handcoach.exercise import text_of
from handcoach.exercise_file import Entry
from handcoach.hand import Array
from handcoach.texts import Texts
from handcoach.ui import view3d
from handcoach.ui.colours import CARD, FOCUS, GROUND, INK, KINDS, SOFT
from handcoach.ui.keys import HeldKeys, Once

PICTURE = (112, 116)  # units at 100 %
OVER, HERE = "#26344c", KINDS["main"][0]


@dataclass(frozen=True, eq=False)
class Choice:
    """One exercise as it is offered.

    Attributes:
        path: of its file. sentence: the last of its instructions, which says what the hand does; those before
            it say how to sit.
        reference: (21, 3), of the side that it is for, see `view3d.teacher_of`; None where the file does
            not work. stand: how it stands.
    """

    path: Path
    title: str
    sentence: str
    reference: Array | None
    stand: view3d.Stand = "right"


def choices(entries: Iterable[Entry], texts: Texts) -> list[Choice]:
    """What is offered of the files that were found. One that does not work is named and cannot be chosen."""
    found = []
    for entry in entries:
        if entry.file is None:
            found.append(Choice(entry.path, entry.path.stem, texts("exercise_broken"), None))
            continue
        meta = entry.file.meta
        found.append(
            Choice(
                entry.path,
                text_of(meta["title"], texts.lang),
                last_sentence(text_of(meta["instructions"], texts.lang)),
                *view3d.teacher_of(meta),
            )
        )
    return found


def last_sentence(text: str) -> str:
    return re.split(r"(?<=[.!?])\s", text.strip())[-1]


def entries(exercise: str) -> list[Entry]:
    """The known exercises, and the one that runs where it lies elsewhere."""
    known = exercise_file.known()
    try:
        path = model.find(exercise, "exercise")
        if all(entry.path.resolve() != path.resolve() for entry in known):
            known.insert(0, Entry(path, False, model.read(path, "exercise")))
    except HandCoachError:
        pass  # the window says what is wrong with it
    return known


class Chooser:
    """The list. Everything here runs in the main thread; it calls back when something was chosen."""

    def __init__(
        self,
        ctk: Any,
        root: Any,
        texts: Texts,
        family: str,
        scale: float,
        on_choose: Callable[[str, bool], None],
        exercise: str,
        thumb: bool,
        on_close: Callable[[], None],
        keys: HeldKeys,
    ) -> None:
        self._ctk, self._root, self._texts = ctk, root, texts
        self._family, self._scale = family, scale
        self._on_choose, self._on_close = on_choose, on_close
        self.exercise, self.thumb, self._keys = exercise, thumb, keys
        self.rows: list[Any] = []  # the cards' frames, of those that can be chosen
        self._choices: list[Choice] = []
        self._frame: Any = None
        self._list: Any = None

    @property
    def opened(self) -> bool:
        return self._frame is not None

    def open(self) -> None:
        """Show the list; the exercise that runs has the focus."""
        ctk, texts = self._ctk, self._texts
        self._frame = ctk.CTkFrame(self._root, fg_color=GROUND, corner_radius=0)
        self._frame.grid(row=0, column=0, sticky="nsew")
        self._frame.grid_rowconfigure(1, weight=1)
        self._frame.grid_columnconfigure(0, weight=1)
        head = ctk.CTkLabel(self._frame, text=texts("choose"), text_color=INK, anchor="w",
                            font=(self._family, 24, "bold"))  # fmt: skip
        head.grid(row=0, column=0, sticky="ew", padx=20, pady=14)
        self._thumb_button = self._button(self._thumb_text(), self._toggle_thumb)
        self._thumb_button.grid(row=0, column=1, padx=4)
        close = self._button(f"{texts('close')}  ({texts('key_exercises')})", self.close)
        close.grid(row=0, column=2, padx=(4, 20))
        self._list = ctk.CTkScrollableFrame(self._frame, fg_color=GROUND, corner_radius=0)
        self._list.grid(row=1, column=0, columnspan=3, sticky="nsew", padx=10)
        self._list.grid_columnconfigure(0, weight=1)
        self._words: list[Any] = []
        self._wrapped = 0
        # The frame around the list: its width does not depend on how the words in it are wrapped.
        self._frame.bind("<Configure>", lambda e: self._wrap(e.width))
        self._choices = choices(entries(self.exercise), texts)
        here = self._here()
        self.rows = []
        pictures, current = [], None
        for i, choice in enumerate(self._choices):
            row, picture = self._row(choice, choice.path.resolve() == here)
            row.grid(row=i, column=0, sticky="ew", padx=8, pady=5)
            if choice.reference is not None:
                self.rows.append(row)
                current = row if choice.path.resolve() == here else current
                pictures.append((picture, choice))
        self._wrap(self._root.winfo_width())
        self._root.after_idle(self._draw_next, pictures)
        self._focus(current or (self.rows[0] if self.rows else close))

    def close(self) -> None:
        if self._frame is not None:
            # The key that closes it may be let go of a moment later: a release that finds no widget is lost,
            # and `HeldKeys` would wait for it.
            self._frame.grid_remove()
            self._frame.after(300, self._frame.destroy)
            self._frame, self.rows = None, []
            self._on_close()

    # --- parts ---

    def _here(self) -> Path | None:
        try:
            return model.find(self.exercise, "exercise").resolve()
        except HandCoachError:
            return None

    def _button(self, text: str, press: Callable[[], None]) -> Any:
        button = self._ctk.CTkButton(
            self._frame, text=text, command=Once()(press), height=48, corner_radius=12, border_width=3,
            border_color=CARD, fg_color=CARD, hover_color=OVER, text_color=INK,
            font=(self._family, 16, "bold"),
        )  # fmt: skip
        tkinter.Frame.configure(button, takefocus=1)
        tkinter.Misc.bind(button, "<FocusIn>", lambda e: button.configure(border_color=FOCUS))
        tkinter.Misc.bind(button, "<FocusOut>", lambda e: button.configure(border_color=CARD))
        self._press_by_key(button, press)
        return button

    def _press_by_key(self, widget: Any, press: Callable[[], None]) -> None:
        def pressed(event: tkinter.Event[Any]) -> str:
            if self._keys.press(event.keysym):
                press()
            return "break"

        for key in ("<space>", "<Return>", "<KP_Enter>"):
            tkinter.Misc.bind(widget, key, pressed)
        tkinter.Misc.bind(widget, "<Down>", lambda e: self._move(widget, 1))
        tkinter.Misc.bind(widget, "<Up>", lambda e: self._move(widget, -1))

    def _row(self, choice: Choice, here: bool) -> tuple[Any, Any]:
        """A card: its frame, and the label that its picture will be in."""
        ctk, works = self._ctk, choice.reference is not None
        edge = HERE if here else CARD
        row = ctk.CTkFrame(self._list, fg_color=CARD, corner_radius=14, border_width=3, border_color=edge)
        row.grid_columnconfigure(1, weight=1)
        picture = ctk.CTkLabel(row, text="", width=PICTURE[0], height=PICTURE[1] if works else 10)
        picture.grid(row=0, column=0, rowspan=2, padx=10, pady=8)
        title = choice.title + (f"   ·   {self._texts('chosen')}" if here else "")
        for line, (text, size, weight, ink) in enumerate(
            ((title, 20, "bold", INK), (choice.sentence, 16, "normal", INK if works else SOFT))
        ):
            label = ctk.CTkLabel(row, text=text, text_color=ink, anchor="w", justify="left",
                                 font=(self._family, size, weight))  # fmt: skip
            label.grid(row=line, column=1, sticky="new" if line else "sew", padx=(4, 14), pady=2)
            self._words.append(label)
        if works:
            tkinter.Frame.configure(row, takefocus=1)
            for widget in (row, *row.winfo_children()):
                widget.bind("<Button-1>", lambda e: self._choose(choice))
                widget.bind("<Enter>", lambda e: row.configure(fg_color=OVER))
                widget.bind("<Leave>", lambda e: row.configure(fg_color=CARD))
            self._press_by_key(row, lambda: self._choose(choice))
            tkinter.Misc.bind(row, "<FocusIn>", lambda e: self._focused(row))
            tkinter.Misc.bind(row, "<FocusOut>", lambda e: row.configure(border_color=edge))
        return row, picture

    def _draw_next(self, left: list[tuple[Any, Choice]]) -> None:
        """Draw one picture and come back for the next: the window stays awake meanwhile."""
        if not left or not self.opened:
            return
        label, choice = left[0]
        if not label.winfo_exists():  # closed, and opened again
            return
        size = round(PICTURE[0] * self._scale), round(PICTURE[1] * self._scale)
        drawn = PilImage.fromarray(view3d.draw_hands(size, None, choice.reference, stand=choice.stand))
        label.configure(image=self._ctk.CTkImage(drawn, size=PICTURE))
        self._root.after(1, self._draw_next, left[1:])

    def _wrap(self, width: int) -> None:
        """Wrap the words for a list of this width in pixels; labels do not do it by themselves."""
        length = max(round(width / self._scale) - PICTURE[0] - 130, 60)
        if length != self._wrapped:
            self._wrapped = length
            for label in self._words:
                label.configure(wraplength=length)

    # --- what is pressed ---

    def _choose(self, choice: Choice) -> None:
        self.exercise = str(choice.path)
        self._on_choose(self.exercise, self.thumb)
        self.close()

    def _thumb_text(self) -> str:
        return self._texts("thumb_on" if self.thumb else "thumb_off")

    def _toggle_thumb(self) -> None:
        self.thumb = not self.thumb
        self._thumb_button.configure(text=self._thumb_text())
        self._on_choose(self.exercise, self.thumb)

    def _move(self, widget: Any, step: int) -> str:
        if self.rows:
            at = self.rows.index(widget) + step if widget in self.rows else 0
            self._focus(self.rows[max(0, min(at, len(self.rows) - 1))])
        return "break"

    def _focus(self, widget: Any) -> None:
        self._root.tk.call("focus", str(widget))  # a CTk widget's own focus_set picks the canvas inside

    def _focused(self, row: Any) -> None:
        """Frame it, and scroll until it is seen."""
        row.configure(border_color=FOCUS)
        self._root.update_idletasks()
        canvas = self._list._parent_canvas
        height, seen = max(self._list.winfo_height(), 1), canvas.winfo_height()
        top, bottom = row.winfo_y(), row.winfo_y() + row.winfo_height()
        first = canvas.canvasy(0)
        if top < first:
            canvas.yview_moveto(top / height)
        elif bottom > first + seen:
            canvas.yview_moveto((bottom - seen) / height)
