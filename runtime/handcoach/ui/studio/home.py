"""The start page: a new exercise, or one to go on with."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from handcoach.texts import Texts
from handcoach.ui.colours import CARD, SOFT
from handcoach.ui.studio.presenter import HomeRow
from handcoach.ui.studio.widgets import Kit, Scroll, Sure

if TYPE_CHECKING:
    from handcoach.ui.studio.app import Studio


class HomeView:
    def __init__(self, kit: Kit, parent: Any, texts: Texts, studio: Studio) -> None:
        self._kit, self._texts, self._studio = kit, texts, studio
        self._scroll = Scroll(kit, parent)
        self.frame = self._scroll.outer
        self._rows: tuple[HomeRow, ...] | None = None
        self._delete = Sure(kit, texts("delete"), texts("delete_sure"), studio.delete_draft)
        self._list: Any = None
        inner = self._scroll.inner
        inner.grid_columnconfigure(0, weight=1)
        self.new = kit.button(inner, texts("new_exercise"), studio.begin, "main", 260, 20)
        self.new.grid(row=0, column=0, sticky="w", pady=(6, 16))
        self.heading = kit.words(inner, texts("go_on_with"), 18, True)
        self.heading.grid(row=1, column=0, sticky="ew")
        small = kit.words(inner, texts("disclaimer"), 14, ink=SOFT)
        small.grid(row=3, column=0, sticky="ew", pady=(18, 0))
        self.open: list[Any] = []
        self.delete = self._delete.buttons

    def show(self, rows: Sequence[HomeRow]) -> None:
        if self._rows == tuple(rows):
            self._delete.forget()
            return
        self._rows = tuple(rows)
        kit, texts = self._kit, self._texts
        if self._list is not None:
            self._list.destroy()
        self._list = kit.frame(self._scroll.inner)
        self._list.grid(row=2, column=0, sticky="ew")
        self._list.grid_columnconfigure(0, weight=1)
        self.open = []
        self._delete.clear()
        if not rows:
            kit.words(self._list, texts("home_none"), 16, ink=SOFT).grid(row=0, column=0, sticky="ew", pady=6)
        for i, row in enumerate(rows):
            card = kit.frame(self._list, CARD, 12)
            card.grid(row=i, column=0, sticky="ew", pady=4)
            card.grid_columnconfigure(0, weight=1)
            kit.words(card, row.title, 18, True).grid(row=0, column=0, sticky="ew", padx=14, pady=(8, 0))
            kit.words(card, row.status, 15, ink=SOFT).grid(row=1, column=0, sticky="ew", padx=14, pady=(0, 8))
            if row.readable:
                go_on = partial(self._studio.go_on, row.key)
                button = kit.button(card, texts("open_draft"), go_on, width=120)
                button.grid(row=0, column=1, rowspan=2, padx=4)
                self.open.append(button)
            self._delete.button(card, row.key, 100).grid(row=0, column=2, rowspan=2, padx=(4, 10))
