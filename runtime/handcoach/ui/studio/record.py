"""The second step: each posture before the camera, in takes of ten seconds."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from handcoach.texts import Texts
from handcoach.ui.colours import CARD, SOFT, TRACK
from handcoach.ui.keys import Twice
from handcoach.ui.studio import drawings
from handcoach.ui.studio.presenter import RecordView, Row
from handcoach.ui.studio.widgets import INKS, SIGNS, Kit, Scroll

if TYPE_CHECKING:
    from handcoach.ui.studio.app import Studio

METER = {"none": 0, "poor": 1, "fair": 2, "good": 3}


class RecordStep:
    def __init__(self, kit: Kit, parent: Any, texts: Texts, studio: Studio) -> None:
        self._kit, self._texts, self._studio = kit, texts, studio
        self.frame = kit.frame(parent)
        self.frame.grid_rowconfigure(0, weight=1)
        self.frame.grid_columnconfigure(0, weight=5, uniform="record")
        self.frame.grid_columnconfigure(1, weight=3, uniform="record")
        self.picture = kit.picture(self.frame)
        self.picture.grid(row=0, column=0, sticky="nsew", padx=(0, 12))
        side = kit.frame(self.frame)
        side.grid(row=0, column=1, sticky="nsew")
        side.grid_columnconfigure(0, weight=1)
        side.grid_rowconfigure(0, weight=1)
        self._scroll = Scroll(kit, side)
        self._scroll.outer.grid(row=0, column=0, sticky="nsew")
        inner = self._scroll.inner
        inner.grid_columnconfigure(0, weight=1)
        self._list = kit.frame(inner)
        self._list.grid(row=0, column=0, sticky="ew")
        self._list.grid_columnconfigure(0, weight=1)
        self._rows: tuple[Row, ...] = ()
        self.rows: list[Any] = []
        meter = kit.frame(inner, CARD, 12)
        meter.grid(row=1, column=0, sticky="ew", pady=(8, 0))
        meter.grid_columnconfigure(1, weight=1)
        self._level = kit.words(meter, "", 16, True)
        self._level.grid(row=0, column=0, columnspan=2, sticky="ew", padx=12, pady=(8, 2))
        bars = kit.frame(meter, CARD)
        bars.grid(row=1, column=0, columnspan=2, sticky="ew", padx=12, pady=2)
        self._bars = [kit.frame(bars, TRACK, 4) for _ in range(3)]
        for i, bar in enumerate(self._bars):
            bars.grid_columnconfigure(i, weight=1)
            bar.configure(width=20, height=10)
            bar.grid(row=0, column=i, sticky="ew", padx=(0, 4))
        self._advice = kit.words(meter, "", 15, ink=SOFT)
        self._advice.grid(row=2, column=0, columnspan=2, sticky="ew", padx=12, pady=(2, 8))
        self.keep = kit.button(inner, texts("keep_pictures"), studio.toggle_pictures, "quiet", size=15)
        self.keep.grid(row=2, column=0, sticky="ew", pady=(8, 0))
        kit.words(inner, texts("keep_pictures_help"), 14, ink=SOFT).grid(
            row=4, column=0, sticky="ew", pady=(2, 0)
        )
        self.delete = kit.button(inner, "", self._delete, "danger", size=15)
        self._sure, self._pictures = Twice(), ""
        buttons = kit.frame(side)
        buttons.grid(row=1, column=0, sticky="sew", pady=(6, 0))
        buttons.grid_columnconfigure(0, weight=1)
        self.record = kit.button(buttons, texts("record"), studio.record, "main", size=20)
        self.record.configure(height=56)
        self.add = kit.button(buttons, texts("record_more"), studio.record_more)
        self.retry = kit.button(buttons, texts("try_again"), studio.watch)
        self.other = kit.button(buttons, texts("other_camera"), studio.other_camera, "quiet")
        self.record.grid(row=0, column=0, sticky="ew", pady=3)

    def _delete(self) -> None:
        """Pressed twice it is meant."""
        if self._sure.press("pictures"):
            self._studio.delete_pictures()
        else:
            self._kit.dress(self.delete, text=self._texts("delete_sure"))

    def show(self, view: RecordView) -> None:
        kit, texts = self._kit, self._texts
        self.picture.show(lambda size: drawings.live(view, texts, size, kit.scale))
        if view.rows != self._rows:
            self._show_rows(view.rows)
        ink = INKS[view.level]
        said = f"{texts('meter')}: {SIGNS[view.level]} {texts(f'level_{view.level}')}"
        if self._level.cget("text") != said:
            self._level.configure(text=said, text_color=ink)
            for i, bar in enumerate(self._bars):
                bar.configure(fg_color=ink if i < METER[view.level] else TRACK)
        if self._advice.cget("text") != view.advice:
            self._advice.configure(text=view.advice)
        kit.dress(self.keep, text=("✓ " if view.keep_pictures else "☐ ") + texts("keep_pictures"),
                  kind="chosen" if view.keep_pictures else "plain", on=not view.busy)  # fmt: skip
        if view.pictures_text != self._pictures:
            self._pictures = view.pictures_text
            self._sure.forget()
        kit.dress(self.delete, text=texts("delete_sure") if self._sure.asked else view.pictures_text)
        _placed(self.delete, bool(view.pictures_text), row=3, column=0, sticky="ew", pady=(6, 0))
        key = texts("key_escape") if view.busy else texts("key_space")
        kit.dress(self.record, text=f"{view.record_text or texts('record')}  ({key})",
                  kind="plain" if view.busy else "main", on=view.can_record or view.busy)  # fmt: skip
        kit.dress(self.add, text=view.add_text or texts("record_more"))
        _placed(self.add, bool(view.add_text), row=1, column=0, sticky="ew", pady=3)
        _placed(self.retry, view.failed, row=2, column=0, sticky="ew", pady=3)
        _placed(self.other, view.failed and self._studio.has_camera, row=3, column=0, sticky="ew", pady=3)

    def _show_rows(self, rows: tuple[Row, ...]) -> None:
        kit = self._kit
        if len(rows) != len(self.rows):
            for old in self.rows:
                old.destroy()
            self.rows = []
            for i in range(len(rows)):
                button = kit.button(self._list, "", partial(self._studio.select, i), "quiet", size=15)
                button.configure(anchor="w")
                button.grid(row=i, column=0, sticky="ew", pady=3)
                self.rows.append(button)
        self._rows = rows
        for row, button in zip(rows, self.rows, strict=True):
            arrow = "▶ " if row.current else ""
            text = f"{arrow}{SIGNS[row.level]} {row.name}: {row.status}"
            kit.dress(button, text=text, kind="chosen" if row.current else "quiet")

    def entered(self) -> None:
        self._rows = ()
        self._sure.forget()  # it was asked about another draft, or a while ago
        self.record.focus_set()


def _placed(widget: Any, on: bool, **where: Any) -> None:
    if on and not widget.winfo_manager():
        widget.grid(**where)
    elif not on and widget.winfo_manager():
        widget.grid_forget()
