"""The fifth step: the exercise as the patient will do it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from handcoach.texts import Texts
from handcoach.ui import drawing
from handcoach.ui.presenter import ViewState
from handcoach.ui.studio.widgets import Kit

if TYPE_CHECKING:
    from handcoach.ui.studio.app import Studio


class AttemptStep:
    def __init__(self, kit: Kit, parent: Any, texts: Texts, studio: Studio) -> None:
        self._kit, self._texts = kit, texts
        self.frame = kit.frame(parent)
        self.frame.grid_columnconfigure(0, weight=1)
        self.frame.grid_rowconfigure(0, weight=1)
        self.picture = kit.picture(self.frame)
        self.picture.grid(row=0, column=0, sticky="nsew")
        row = kit.frame(self.frame)
        row.grid(row=1, column=0, sticky="ew", pady=(6, 0))
        row.grid_columnconfigure(2, weight=1)
        self.start = kit.button(row, texts("start"), lambda: studio.coach("start"), "main", 160)
        self.pause = kit.button(row, texts("pause"), lambda: studio.coach("pause"), width=120)
        self.stop = kit.button(row, texts("stop"), lambda: studio.coach("stop"), "danger", 180)
        self.start.grid(row=0, column=0, padx=(0, 6))
        self.pause.grid(row=0, column=1)
        self.stop.grid(row=0, column=3)
        self.offered = False  # Start or Pause

    def show(self, view: ViewState) -> None:
        kit, texts = self._kit, self._texts
        self.picture.show(lambda size: drawing.compose(view, texts, size, kit.scale))
        kit.dress(self.start, text=view.start_text or texts("start"), on=view.can_start)
        kit.dress(self.pause, on=view.can_pause)
        self.offered = view.can_start or view.can_pause

    def entered(self) -> None:
        self.start.focus_set()
