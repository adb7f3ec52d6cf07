"""The studio's window: the steps above, the step's page in the middle, Back and Next below."""

from __future__ import annotations

import tkinter.font
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from handcoach.texts import Texts
from handcoach.ui.colours import GROUND, SOFT
from handcoach.ui.keys import HeldKeys, Once
from handcoach.ui.scaling import choose_scale, place
from handcoach.ui.studio.attempt import AttemptStep
from handcoach.ui.studio.check import CheckStep
from handcoach.ui.studio.home import HomeView
from handcoach.ui.studio.messages import MessagesView
from handcoach.ui.studio.new import NewView
from handcoach.ui.studio.presenter import STEPS, StudioPresenter
from handcoach.ui.studio.record import RecordStep
from handcoach.ui.studio.save import SaveView
from handcoach.ui.studio.widgets import INKS, Kit
from handcoach.ui.toolkit import toolkit

if TYPE_CHECKING:
    from handcoach.ui.studio.app import Studio

WIDTH, HEIGHT = 1200, 760  # units at 100 %
SMALLEST = (780, 500)
PILLS = 940  # units from which the steps have their names in the row above


class StudioWindow:
    """Made once; `show` brings it up to date."""

    def __init__(self, texts: Texts, studio: Studio, scale: float | None = None) -> None:
        ctk = toolkit()
        self.texts, self.studio = texts, studio
        self.root = ctk.CTk(fg_color=GROUND, className="HandCoach")
        self.root.title(texts("studio"))
        self.scale = choose_scale(ctk, self.root, scale, SMALLEST)
        family = tkinter.font.nametofont("TkDefaultFont", self.root).actual("family")
        self.keys = HeldKeys(self.root)
        self._go = Once()(studio.space)
        self.kit = Kit(ctk, family, self.scale, self.keys)
        self._step = self._problem = ""
        self._short: bool | None = None  # once shown: the steps above have no room for their names
        self._build()
        self._bind()
        place(self.root, self.scale, (WIDTH, HEIGHT), SMALLEST)

    def _build(self) -> None:
        kit, texts, studio, root = self.kit, self.texts, self.studio, self.root
        root.grid_columnconfigure(0, weight=1)
        root.grid_rowconfigure(3, weight=1)
        self._pills = kit.frame(root)
        self._pills.grid(row=0, column=0, sticky="ew", padx=16, pady=(8, 0))
        self.pills = {}
        for i, step in enumerate(STEPS):
            button = kit.button(self._pills, "", partial(studio.go, step), "quiet", size=15)
            button.grid(row=0, column=i, sticky="ew", padx=(0, 6))
            self._pills.grid_columnconfigure(i, weight=1, uniform="pill")
            self.pills[step] = button
        self._head = kit.words(root, "", 23, True)
        self._head.grid(row=1, column=0, sticky="ew", padx=16, pady=(8, 0))
        self._help = kit.words(root, "", 16, ink=SOFT)
        self._help.grid(row=2, column=0, sticky="ew", padx=16, pady=(2, 8))
        body = kit.frame(root)
        body.grid(row=3, column=0, sticky="nsew", padx=16)
        body.grid_columnconfigure(0, weight=1)
        body.grid_rowconfigure(0, weight=1)
        self.home = HomeView(kit, body, texts, studio)
        self.new = NewView(kit, body, texts, studio)
        self.record = RecordStep(kit, body, texts, studio)
        self.check = CheckStep(kit, body, texts, studio)
        self.messages = MessagesView(kit, body, texts, studio)
        self.attempt = AttemptStep(kit, body, texts, studio)
        self.save = SaveView(kit, body, texts, studio)
        foot = kit.frame(root)
        foot.grid(row=4, column=0, sticky="ew", padx=16, pady=8)
        foot.grid_columnconfigure(1, weight=1)
        self.back = kit.button(foot, "", studio.back, width=140, size=18)
        self.back.grid(row=0, column=0)
        self._why = kit.words(foot, "", 16, ink=INKS["fair"])
        self._why.grid(row=0, column=1, sticky="ew", padx=14)
        self._why.configure(anchor="e", justify="right")
        self.next = kit.button(foot, "", studio.next, "main", 170, 18)
        self.next.grid(row=0, column=2)

    def _bind(self) -> None:
        root, studio = self.root, self.studio
        root.bind("<Configure>", self._resized, add="+")
        root.bind("<Escape>", lambda e: studio.escape())
        root.bind("<space>", self._space)
        root.bind("<Next>", lambda e: self._turn(e, studio.next))
        root.bind("<Prior>", lambda e: self._turn(e, studio.back))

    def _turn(self, event: Any, to: Callable[[], None]) -> None:
        """Not while a text of several lines is read, nor while a take is under way: it would be lost."""
        if not isinstance(event.widget, tkinter.Text) and not self.studio.recording:
            to()

    def _space(self, event: Any) -> None:
        if not self._writes(event.widget) and self.keys.press(event.keysym):
            self._go()

    def _is_short(self) -> bool:
        return bool(self.root.winfo_width() < PILLS * self.scale)

    def _resized(self, event: Any) -> None:
        if event.widget is self.root and self._short is not None and self._short != self._is_short():
            self.show(self.studio.presenter)

    @staticmethod
    def _writes(widget: Any) -> bool:
        return isinstance(widget, tkinter.Entry | tkinter.Text)

    def problem(self, sentence: str) -> None:
        """Something went wrong; it is said until another step begins."""
        self._problem = sentence
        self._why.configure(text=sentence, text_color=INKS["poor"])

    def page(self) -> Any:
        return getattr(self, self._step)

    def show(self, presenter: StudioPresenter) -> None:
        """The frame around the page; the page itself is shown by the app, which knows its view."""
        kit, texts, step = self.kit, self.texts, presenter.step
        entered = step != self._step
        if entered:
            if self._step:
                self.page().frame.grid_forget()
            self._step, self._problem = step, ""
            self._head.configure(text=texts(f"head_{step}"))
            self._help.configure(text=texts(f"help_{step}"))
            self.page().frame.grid(row=0, column=0, sticky="nsew")
        if step == "home":
            self._pills.grid_remove()
        else:
            self._pills.grid()
        at = STEPS.index(step) if step != "home" else -1
        short = self._short = self._is_short()
        for i, (name, button) in enumerate(self.pills.items()):
            done = i < at
            sign = "✓" if done else f"{i + 1}"
            text = sign if short and i != at else f"{sign} {texts(f'step_{name}')}"
            allowed = i == at or not presenter.why_not(name)
            kit.dress(button, text=text, kind="chosen" if i == at else "quiet", on=allowed)
        last = step == STEPS[-1]
        kit.dress(self.back, text=texts("home" if at == 0 else "back"))
        kit.dress(self.next, text=texts("another" if last else "next"), on=last or presenter.can_next())
        for button in (self.back, self.next):
            if step == "home":
                button.grid_remove()
            else:
                button.grid()
        why = self._problem
        if not why and step in STEPS[:-1] and not presenter.can_next():
            why = presenter.why_not(STEPS[at + 1])
        if self._why.cget("text") != why:
            self._why.configure(text=why, text_color=INKS["poor" if self._problem else "fair"])
