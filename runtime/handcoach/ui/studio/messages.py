"""The fourth step: what the patient reads and sees, how exact it must be and how long it takes."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from handcoach.draft import NUMBERS, STRICTNESS
from handcoach.texts import LANGUAGES, Texts
from handcoach.ui.colours import CARD, FOCUS, INK, SOFT
from handcoach.ui.studio import drawings
from handcoach.ui.studio.presenter import COLOURS, MOST_TEXT, StudioPresenter
from handcoach.ui.studio.widgets import Choice, Kit, Scroll, Stepper

if TYPE_CHECKING:
    from handcoach.ui.studio.app import Studio


class MessagesView:
    def __init__(self, kit: Kit, parent: Any, texts: Texts, studio: Studio) -> None:
        self._kit, self._texts, self._studio = kit, texts, studio
        self.frame = kit.frame(parent)
        self.frame.grid_rowconfigure(0, weight=1)
        self.frame.grid_columnconfigure(0, weight=4, uniform="messages")
        self.frame.grid_columnconfigure(1, weight=3, uniform="messages")
        self._scroll = Scroll(kit, self.frame)
        self._scroll.outer.grid(row=0, column=0, sticky="nsew", padx=(0, 12))
        side = kit.frame(self.frame)
        side.grid(row=0, column=1, sticky="nsew")
        side.grid_columnconfigure(0, weight=1)
        side.grid_rowconfigure(1, weight=1)
        kit.words(side, texts("preview"), 16, True).grid(row=0, column=0, sticky="ew")
        self.preview = kit.picture(side)
        self.preview.grid(row=1, column=0, sticky="nsew", pady=(4, 0))
        inner = self._scroll.inner
        inner.grid_columnconfigure(0, weight=1)
        self.lang = Choice(
            kit, inner, {lang: texts(f"lang_{lang}") for lang in LANGUAGES}, studio.edit_language
        )
        kit.words(inner, texts("label_messages"), 17, True).grid(row=1, column=0, sticky="ew")
        self._list: Any = None
        self.messages: list[Any] = []
        self.colours: list[tuple[Any, Any]] = []
        self._key: tuple[object, ...] = ()
        kit.words(inner, texts("label_instructions"), 17, True).grid(
            row=3, column=0, sticky="ew", pady=(8, 0)
        )
        self.instructions = kit.ctk.CTkTextbox(
            inner, height=78, corner_radius=10, border_width=2, border_color=SOFT, fg_color=CARD,
            text_color=INK, font=(kit.family, 16), wrap="word",
        )  # fmt: skip
        self.instructions.grid(row=4, column=0, sticky="ew", pady=(2, 8))
        box = self.instructions
        box.bind("<<Modified>>", lambda e: self._wrote(), add="+")  # a mouse that pastes presses no key
        box.bind("<Control-a>", lambda e: self._all())
        box.bind("<Tab>", lambda e: self._leave(1))
        box.bind("<Shift-Tab>", lambda e: self._leave(-1))
        if box.tk.call("tk", "windowingsystem") == "x11":  # where shift and Tab are a key of their own
            box.bind("<ISO_Left_Tab>", lambda e: self._leave(-1))
        box.bind("<FocusIn>", lambda e: box.configure(border_color=FOCUS, border_width=3), add="+")
        box.bind("<FocusOut>", lambda e: box.configure(border_color=SOFT, border_width=2), add="+")
        kit.words(inner, texts("label_strictness"), 17, True).grid(row=5, column=0, sticky="ew")
        self.strictness = Choice(kit, inner, {s: texts(f"strict_{s}") for s in STRICTNESS},
                                 lambda s: studio.change(strictness=s))  # fmt: skip
        self.strictness.frame.grid(row=6, column=0, sticky="ew", pady=(2, 8))
        self.steppers = {}
        for i, name in enumerate(NUMBERS):
            stepper = Stepper(kit, inner, texts(f"label_{name}"), partial(studio.step_number, name))
            stepper.frame.grid(row=7 + i, column=0, sticky="ew", pady=2)
            self.steppers[name] = stepper
        kit.words(inner, texts("label_lang"), 17, True).grid(row=13, column=0, sticky="ew", pady=(8, 0))
        self.lang.frame.grid(row=14, column=0, sticky="ew", pady=(2, 6))

    def _wrote(self) -> None:
        box = self.instructions
        if box.edit_modified():  # else `_rebuild` filled it, or this is the event of the line below
            if len(box.get("1.0", "end-1c")) > MOST_TEXT["instructions"]:  # nobody reads what is not kept
                box.delete(f"1.0+{MOST_TEXT['instructions']}c", "end")
            box.edit_modified(False)
            self._studio.set_instructions(box.get("1.0", "end"))

    def _all(self) -> str:
        """As in `Kit.entry`."""
        self.instructions.tag_add("sel", "1.0", "end-1c")
        return "break"

    def _leave(self, way: int) -> str:
        inside = self.instructions._textbox
        (inside.tk_focusNext() if way > 0 else inside.tk_focusPrev()).focus_set()
        return "break"

    def show(self, presenter: StudioPresenter) -> None:
        kit, draft = self._kit, presenter.draft
        self.lang.show(presenter.lang)
        self.strictness.show(draft.strictness)
        for name, stepper in self.steppers.items():
            stepper.show(presenter.number_text(name))
        key = (presenter.lang, draft.labels)
        if key != self._key:
            self._key = key
            self._rebuild(presenter)
        for posture, (swatch, button) in zip(draft.postures, self.colours, strict=True):
            name = presenter.colour(posture.label)
            swatch.configure(fg_color=COLOURS[name])
            kit.dress(button, text=self._texts(f"colour_{name}"))
        view = presenter.preview()
        words = Texts(presenter.lang)
        self.preview.show(lambda size: drawings.patient(view, words, size, kit.scale * 0.8))

    def _rebuild(self, presenter: StudioPresenter) -> None:
        kit, studio = self._kit, self._studio
        if self._list is not None:
            self._list.destroy()
        self._list = kit.frame(self._scroll.inner)
        self._list.grid(row=2, column=0, sticky="ew")
        self._list.grid_columnconfigure(0, weight=1)
        self.messages, self.colours = [], []
        for i, posture in enumerate(presenter.draft.postures):
            kit.words(self._list, posture.name, 16, ink=SOFT).grid(row=2 * i, column=0, sticky="ew")
            entry = kit.entry(self._list, presenter.message(posture.label, presenter.lang),
                              partial(studio.set_message, posture.label), MOST_TEXT["message"])  # fmt: skip
            entry.grid(row=2 * i + 1, column=0, sticky="ew", pady=(0, 4))
            entry.bind("<FocusIn>", lambda e, i=i: studio.select(i), add="+")
            swatch = kit.frame(self._list, "#000000", 8)
            swatch.configure(width=30, height=30)
            swatch.grid(row=2 * i + 1, column=1, padx=(8, 2))
            button = kit.button(self._list, "", partial(studio.next_colour, posture.label), "quiet", 90, 15)
            button.grid(row=2 * i + 1, column=2)
            self.messages.append(entry)
            self.colours.append((swatch, button))
        self.instructions.delete("1.0", "end")
        self.instructions.insert("1.0", presenter.instructions(presenter.lang))
        self.instructions.edit_modified(False)  # nobody typed it

    def entered(self) -> None:
        self._key = ()

    def focus(self) -> None:
        self.messages[0].focus_set()
