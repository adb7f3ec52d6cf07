"""The third step: the verdict on the recording, the postures in 3D, and the figures behind it."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

from handcoach.hand import Array
from handcoach.texts import Texts
from handcoach.ui import drawing, view3d
from handcoach.ui.colours import CARD, FOCUS, GROUND, SOFT, hex_of
from handcoach.ui.drawing import Image
from handcoach.ui.studio import drawings
from handcoach.ui.studio.presenter import FIGURES, CheckView
from handcoach.ui.studio.widgets import INKS, SIGNS, Choice, Kit, Scroll

if TYPE_CHECKING:
    from handcoach.ui.studio.app import Studio

TURN = math.radians(8)


class CheckStep:
    def __init__(self, kit: Kit, parent: Any, texts: Texts, studio: Studio) -> None:
        self._kit, self._texts, self._studio = kit, texts, studio
        self.frame = kit.frame(parent)
        self.frame.grid_columnconfigure(0, weight=1)
        self.frame.grid_rowconfigure(0, weight=1)
        self._verdict = kit.frame(self.frame)
        self._figures = kit.frame(self.frame)
        for part in (self._verdict, self._figures):
            part.grid(row=0, column=0, sticky="nsew")
            part.grid_columnconfigure(0, weight=1)
        self._build_verdict()
        self._build_figures()
        self.camera = view3d.Camera()
        self._shown: CheckView | None = None
        self._drag: tuple[int, int] | None = None
        row = kit.frame(self.frame)
        row.grid(row=1, column=0, sticky="ew", pady=(6, 0))
        self.switch = kit.button(row, texts("show_figures"), self._switch)
        self.switch.grid(row=0, column=0, padx=(0, 8))
        self.again = kit.button(row, texts("check_again"), studio.check_again, "quiet")
        self.again.grid(row=0, column=1)

    def _build_verdict(self) -> None:
        kit, part = self._kit, self._verdict
        part.grid_rowconfigure(0, weight=2, uniform="check")
        part.grid_rowconfigure(2, weight=3, uniform="check")
        self._scroll = Scroll(kit, part, CARD)
        self._scroll.outer.grid(row=0, column=0, sticky="nsew")
        inner = self._scroll.inner
        inner.grid_columnconfigure(0, weight=1)
        self._word = kit.words(inner, "", 19, True)
        self._word.grid(row=0, column=0, sticky="ew", padx=14, pady=(10, 4))
        self._list: Any = None
        self._busy = kit.ctk.CTkProgressBar(inner, mode="indeterminate", height=12, progress_color="#84c4ff")
        kit.words(part, self._texts("your_hands"), 15, ink=SOFT).grid(
            row=1, column=0, sticky="ew", pady=(6, 0)
        )
        self._hands = kit.frame(part)
        self._hands.grid(row=2, column=0, sticky="nsew")
        self._hands.grid_rowconfigure(0, weight=1)
        self.pictures: list[Any] = []

    def _build_figures(self) -> None:
        kit, part = self._kit, self._figures
        part.grid_rowconfigure(2, weight=1)
        self.tabs = Choice(
            kit, part, {f: self._texts(f"figure_{f}") for f in FIGURES}, self._studio.show_figure, 6
        )
        self.tabs.frame.grid(row=0, column=0, sticky="ew")
        self._about = kit.words(part, "", 16)
        self._about.grid(row=1, column=0, sticky="ew", pady=(2, 4))
        self._figure = kit.picture(part, "#ffffff")
        self._figure.grid(row=2, column=0, sticky="nsew")

    def _switch(self) -> None:
        shown = self._shown
        if shown is not None:
            self._studio.show_figure("" if shown.figure else FIGURES[0])

    def show(self, view: CheckView) -> None:
        before, self._shown = self._shown, view
        kit, texts = self._kit, self._texts
        if before is not None and (before.stage, before.verdict, before.figure) == (
            view.stage,
            view.verdict,
            view.figure,
        ):
            return
        (self._figures if view.figure else self._verdict).tkraise()
        kit.dress(
            self.switch, text=texts("show_verdict" if view.figure else "show_figures"), on=bool(view.figures)
        )
        kit.dress(self.again, on=view.stage != "working")
        if view.figure:
            self.tabs.show(view.figure)
            self._about.configure(text=texts(f"about_{view.figure}"))
            path = view.figures[view.figure]
            self._figure.show(lambda size: drawings.figure(path, size))
            return
        sign = {
            "praise": SIGNS["good"],
            "almost": SIGNS["fair"],
            "look": SIGNS["poor"],
            "error": SIGNS["poor"],
        }
        self._word.configure(
            text=f"{sign.get(view.tone, '')} {view.verdict}".strip(),
            text_color=hex_of(drawing.TONES[view.tone]),
        )
        if view.stage == "working":
            self._busy.grid(row=1, column=0, sticky="ew", padx=14, pady=8)
            self._busy.start()
        else:
            self._busy.stop()
            self._busy.grid_forget()
        self._show_findings(view)
        self._show_hands(view)

    def _show_findings(self, view: CheckView) -> None:
        if self._list is not None:
            self._list.destroy()
        kit = self._kit
        self._list = kit.frame(self._scroll.inner, CARD)
        self._list.grid(row=2, column=0, sticky="ew", padx=14, pady=(0, 10))
        self._list.grid_columnconfigure(0, weight=1)
        if view.stage == "done" and not view.findings:
            kit.words(self._list, self._texts("check_nothing"), 16, ink=SOFT).grid(
                row=0, column=0, sticky="ew"
            )
        for i, (level, sentence) in enumerate(view.findings):
            kit.words(self._list, f"{SIGNS[level]} {sentence}", 16, ink=INKS[level]).grid(
                row=i, column=0, sticky="ew", pady=3
            )

    def _show_hands(self, view: CheckView) -> None:
        kit = self._kit
        for widget in self._hands.winfo_children():
            widget.destroy()
        self.pictures = []
        for i, (name, joints) in enumerate(view.hands):
            self._hands.grid_columnconfigure(i, weight=1, uniform="hand")
            picture = kit.picture(self._hands, GROUND)
            picture.configure(takefocus=1, highlightthickness=kit.px(3), highlightbackground=GROUND,
                              highlightcolor=FOCUS)  # fmt: skip
            picture.grid(row=0, column=i, sticky="nsew", padx=3)
            caption = kit.words(self._hands, name, 16, True)
            caption.configure(anchor="center", justify="center")
            caption.grid(row=1, column=i, sticky="ew", padx=3)
            picture.bind("<ButtonPress-1>", self._grab)
            picture.bind("<B1-Motion>", self._pull)
            for key, yaw, pitch in (("Left", -1, 0), ("Right", 1, 0), ("Up", 0, -1), ("Down", 0, 1)):
                picture.bind(f"<{key}>", partial(self._turn_by, yaw * TURN, pitch * TURN))
            picture.show(partial(self._draw, joints, view.stand))
            self.pictures.append(picture)

    def _draw(self, joints: Array, stand: view3d.Stand, size: tuple[int, int]) -> Image:
        return drawings.hand(joints, stand, self.camera, size)

    def _turn_by(self, yaw: float, pitch: float, event: Any) -> None:
        self.turn(yaw, pitch)

    def _grab(self, event: Any) -> None:
        event.widget.focus_set()
        self._drag = (event.x, event.y)

    def _pull(self, event: Any) -> None:
        if self._drag is not None:
            dx, dy = event.x - self._drag[0], event.y - self._drag[1]
            self._drag = (event.x, event.y)
            self.turn(dx * 0.009 / self._kit.scale, dy * 0.009 / self._kit.scale)

    def turn(self, yaw: float, pitch: float) -> None:
        """Turn all hands by these angles in radians."""
        self.camera = self.camera.turned(yaw, pitch)
        for picture in self.pictures:
            picture.redraw()

    def entered(self) -> None:
        self._shown = None
        self.switch.focus_set()
