"""How large a window and what is in it are drawn. Main thread only."""

from __future__ import annotations

import sys
from typing import Any


def choose_scale(ctk: Any, root: Any, wanted: float | None, smallest: tuple[int, int]) -> float:
    """Pixels per unit, of customtkinter's widgets too: the wish, or the largest that the screen has room for.

    Args:
        wanted: 1.0 is 100 %; None asks the system.
        smallest: width and height in units that the window needs.
    """
    automatic = float(ctk.ScalingTracker.get_window_scaling(root))  # Windows tells, others give 1
    if wanted is None:
        wanted = automatic
        if sys.platform.startswith("linux"):
            wanted = round(root.winfo_fpixels("1i") / 96 * 4) / 4
    across = root.winfo_screenwidth() / smallest[0]
    down = (root.winfo_screenheight() - 70) / smallest[1]
    scale = float(max(0.75, min(wanted, across, down)))
    ctk.set_widget_scaling(scale / automatic)
    ctk.set_window_scaling(1 / automatic)  # sizes of the window are given in pixels below
    return scale


def place(root: Any, scale: float, size: tuple[int, int], smallest: tuple[int, int]) -> None:
    """Put the window in the middle, as large as `size` or the screen; both sizes in units."""
    room_w, room_h = root.winfo_screenwidth(), root.winfo_screenheight() - 70
    w, h = min(round(size[0] * scale), room_w), min(round(size[1] * scale), room_h)
    # While it scales its widgets, customtkinter nails the window to its present size for a second.
    root.maxsize(1_000_000, 1_000_000)
    root.minsize(min(round(smallest[0] * scale), w), min(round(smallest[1] * scale), h))
    root.geometry(f"{w}x{h}+{max((room_w - w) // 2, 0)}+{max((room_h - h) // 3, 0)}")
