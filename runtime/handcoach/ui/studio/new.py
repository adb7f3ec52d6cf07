"""The first step: what the exercise is called, its postures, and what counts in it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from handcoach.draft import MOST_POSTURES, TURNS
from handcoach.hand import FINGERS
from handcoach.recording import HANDS
from handcoach.texts import Texts
from handcoach.ui.studio.presenter import StudioPresenter
from handcoach.ui.studio.widgets import INKS, Choice, Kit, Scroll, Sure

if TYPE_CHECKING:
    from handcoach.ui.studio.app import Studio

WIDE = 900  # units from which what counts has a column of its own


class NewView:
    def __init__(self, kit: Kit, parent: Any, texts: Texts, studio: Studio) -> None:
        self._kit, self._texts, self._studio = kit, texts, studio
        self._scroll = Scroll(kit, parent)
        self.frame = self._scroll.outer
        inner = self._scroll.inner
        self._left, self._right = kit.frame(inner), kit.frame(inner)
        self._left.grid_columnconfigure(0, weight=1)
        self._right.grid_columnconfigure(0, weight=1)
        self._wide: bool | None = None
        self.frame.bind("<Configure>", lambda e: self._arrange(e.width / kit.scale >= WIDE))
        self._arrange(True)
        kit.words(self._left, texts("label_title"), 17, True).grid(row=0, column=0, sticky="ew")
        self.title = kit.entry(self._left, "", lambda text: studio.change(title=text))
        self.title.grid(row=1, column=0, sticky="ew", pady=(2, 12))
        kit.words(self._left, texts("label_postures"), 17, True).grid(row=2, column=0, sticky="ew")
        self._list: Any = None
        self.names: list[Any] = []
        # By the number of the posture; what was recorded of it goes too.
        self._remove = Sure(
            kit, texts("remove"), texts("delete_sure"), lambda i: studio.remove_posture(int(i))
        )
        self.remove = self._remove.buttons
        self.add = kit.button(self._left, "+ " + texts("add_posture"), studio.add_posture, "quiet")
        self.add.grid(row=4, column=0, sticky="w", pady=6)
        self.hand = Choice(kit, self._right, {h: texts(f"hand_{h}") for h in reversed(HANDS)},
                           lambda h: studio.change(hand=h))  # fmt: skip
        self.fingers = Choice(
            kit, self._right, {f: texts(f"short_{f}") for f in FINGERS}, studio.toggle_finger, 5
        )
        self.turn = Choice(kit, self._right, {t: texts(f"turn_{t}") for t in TURNS},
                           lambda t: studio.change(kept_axes=t), 1)  # fmt: skip
        for i, (key, choice) in enumerate(
            (("label_hand", self.hand), ("label_fingers", self.fingers), ("label_turn", self.turn))
        ):
            kit.words(self._right, texts(key), 17, True).grid(row=2 * i, column=0, sticky="ew")
            choice.frame.grid(row=2 * i + 1, column=0, sticky="ew", pady=(2, 8))

    def _arrange(self, wide: bool) -> None:
        if wide == self._wide:
            return
        self._wide = wide
        inner = self._scroll.inner
        inner.grid_columnconfigure(0, weight=1, uniform="half" if wide else "")
        inner.grid_columnconfigure(1, weight=1 if wide else 0, uniform="half" if wide else "")
        self._left.grid(row=0, column=0, sticky="new", padx=(0, 12))
        self._right.grid(row=0 if wide else 1, column=1 if wide else 0, sticky="new", padx=(0, 6))

    def show(self, presenter: StudioPresenter) -> None:
        draft = presenter.draft
        self._kit.fill(self.title, draft.title)
        self.hand.show(draft.hand)
        self.fingers.show(*draft.fingers)
        self.turn.show(draft.kept_axes)
        self._kit.dress(self.add, on=len(draft.postures) < MOST_POSTURES)
        if len(self.names) == len(draft.postures):
            for entry, posture in zip(self.names, draft.postures, strict=True):
                self._kit.fill(entry, posture.name)
            self._remove.forget()
            return
        kit, texts, studio = self._kit, self._texts, self._studio
        if self._list is not None:
            self._list.destroy()
        self._list = kit.frame(self._left)
        self._list.grid(row=3, column=0, sticky="ew")
        self._list.grid_columnconfigure(1, weight=1)
        self.names = []
        self._remove.clear()
        for i, posture in enumerate(draft.postures):
            kit.words(self._list, f"{i + 1}.", 16, True).grid(row=2 * i, column=0, padx=(0, 6))
            entry = kit.entry(self._list, posture.name, partial(studio.rename, i))
            entry.grid(row=2 * i, column=1, sticky="ew", pady=3)
            self.names.append(entry)
            if i:
                kit.button(self._list, "↑ " + texts("up"), partial(studio.move_up, i), "quiet").grid(
                    row=2 * i, column=2, padx=3
                )
            else:
                kit.words(self._list, "★ " + texts("best_posture"), 15, ink=INKS["good"]).grid(
                    row=2 * i, column=2, columnspan=2, sticky="ew", padx=8
                )
            if i and len(draft.postures) > 2:
                self._remove.button(self._list, str(i)).grid(row=2 * i, column=3)
        if not draft.postures[-1].name:
            self.names[-1].focus_set()

    def entered(self) -> None:
        self.title.focus_set()
