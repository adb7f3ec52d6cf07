"""The last step: one file, on this computer or to hand over, signed or not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from handcoach.texts import Texts
from handcoach.ui.colours import CARD, SOFT
from handcoach.ui.studio.presenter import MOST_TEXT, StudioPresenter
from handcoach.ui.studio.widgets import INKS, Kit, Scroll

if TYPE_CHECKING:
    from handcoach.ui.studio.app import Studio


class SaveView:
    def __init__(self, kit: Kit, parent: Any, texts: Texts, studio: Studio) -> None:
        self._kit, self._texts = kit, texts
        self._scroll = Scroll(kit, parent)
        self.frame = self._scroll.outer
        inner = self._scroll.inner
        inner.grid_columnconfigure(0, weight=1)
        self._summary = kit.words(inner, "", 18, True)
        self._summary.grid(row=0, column=0, sticky="ew", pady=(0, 8))
        kit.words(inner, texts("label_author"), 16, True).grid(row=1, column=0, sticky="ew")
        self.author = kit.entry(inner, "", lambda text: studio.change(author=text), MOST_TEXT["author"])
        self.author.grid(row=2, column=0, sticky="ew", pady=(2, 10))
        self.sign = kit.button(inner, "", studio.toggle_sign, "quiet", size=15)
        self.sign.configure(anchor="w")
        self.sign.grid(row=3, column=0, sticky="ew")
        self._key = kit.words(inner, "", 15, ink=SOFT)
        self._key.grid(row=4, column=0, sticky="ew", pady=(2, 10))
        row = kit.frame(inner)
        row.grid(row=5, column=0, sticky="ew")
        self.here = kit.button(row, texts("save_here"), studio.save_here, "main", 220, 18)
        self.file = kit.button(row, texts("save_file") + " …", studio.save_file, width=180, size=18)
        self.here.grid(row=0, column=0, padx=(0, 8), pady=4)
        self.file.grid(row=0, column=1, pady=4)
        self._card = kit.frame(inner, CARD, 12)
        self._card.grid_columnconfigure(0, weight=1)
        self._said = kit.words(self._card, "", 17, True)
        self._said.grid(row=0, column=0, sticky="ew", padx=14, pady=(10, 4))
        self._run = kit.words(self._card, "", 16)
        self._run.grid(row=1, column=0, sticky="ew", padx=14)
        self._next = kit.words(self._card, "", 15, ink=SOFT)
        self._next.grid(row=2, column=0, sticky="ew", padx=14, pady=(4, 10))

    def show(self, presenter: StudioPresenter, busy: bool) -> None:
        kit, texts, draft = self._kit, self._texts, presenter.draft
        _say(self._summary, texts("summary", title=draft.title, n=len(draft.postures),
                                  repetitions=draft.repetitions, hold_s=draft.hold_s))  # fmt: skip
        kit.dress(self.sign, text=("✓ " if presenter.sign else "☐ ") + texts("label_sign"),
                  kind="chosen" if presenter.sign else "plain")  # fmt: skip
        key = "sign_key" if presenter.fingerprint else "sign_makes_key"
        _say(self._key, presenter.key_problem or texts(key, fingerprint=presenter.fingerprint))
        kit.dress(self.here, text=texts("replace_it" if presenter.replacing else "save_here"),
                  kind="danger" if presenter.replacing else "main", on=not busy)  # fmt: skip
        kit.dress(self.file, on=not busy)
        said, ink, run, after = "", INKS["good"], "", ""
        if busy:
            said, ink = texts("saving"), SOFT
        elif presenter.save_problem:
            said, ink = "✗ " + presenter.save_problem, INKS["poor"]
        elif presenter.replacing:
            sure = "replace_unsigned" if presenter.unsigns else "replace_sure"
            said, ink = "! " + texts(sure, name=presenter.replacing), INKS["fair"]
        elif presenter.saved:
            said = "✓ " + texts("saved", where=presenter.saved)
            here, there = presenter.run_lines()
            run = f"{texts('saved_run')}  {here}\n{texts('saved_there')}  {there}"
            after = texts("saved_next")
        if said:
            self._card.grid(row=6, column=0, sticky="ew", pady=(12, 0))
            self._said.configure(text=said, text_color=ink)
            _say(self._run, run)
            _say(self._next, after)
        else:
            self._card.grid_forget()

    def entered(self, author: str) -> None:
        self._kit.fill(self.author, author)
        self.here.focus_set()


def _say(label: Any, text: str) -> None:
    if label.cget("text") != text:
        label.configure(text=text)
