"""A canvas that shows one picture. Main thread only."""

from __future__ import annotations

import tkinter
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PilImage
from PIL import ImageTk

Draw = Callable[[tuple[int, int]], NDArray[np.uint8]]


class Picture(tkinter.Canvas):
    """Asks for an RGB picture of its size whenever that changes, and shows it through one PhotoImage that is
    reused: a new one for each frame would be slow and would leak."""

    def __init__(self, parent: Any, ground: str) -> None:
        super().__init__(parent, bg=ground, highlightthickness=0, bd=0, width=40, height=40)
        self._item = self.create_image(0, 0, anchor="nw")
        self._photo: ImageTk.PhotoImage | None = None
        self._draw: Draw | None = None
        self.bind("<Configure>", lambda event: self.redraw())

    def show(self, draw: Draw) -> None:
        """Show what `draw` makes of the size in pixels, now and after the size has changed."""
        self._draw = draw
        self.redraw()

    def redraw(self) -> None:
        size = self.winfo_width(), self.winfo_height()
        if self._draw is None or min(size) < 24:
            return
        pil = PilImage.fromarray(self._draw(size))
        if self._photo is None or (self._photo.width(), self._photo.height()) != size:
            self._photo = ImageTk.PhotoImage(pil)
            self.itemconfigure(self._item, image=self._photo)
        else:
            self._photo.paste(pil)
