"""How large a window and what is in it are drawn. Main thread only."""

from __future__ import annotations

import sys
import tkinter
from typing import Any

BARS = 80  # units of the height that the desktop's bar and the window's title take: 48 and 31 on Windows
WIDE = 2.4  # times its height: beyond it a screen is two monitors, as wide as 21:9 is one


def xft_dpi() -> float | None:
    """The dots per inch that an X11 desktop tells its programs, 192 at 200 %; None where it tells nothing. Tk
    itself knows only the server's, which are 96 on most whatever was chosen."""
    # The resource is Xft.dpi, and Tk finds those of its own class only.
    asked = tkinter.Tk(className="Xft")
    asked.withdraw()
    try:
        dpi = float(asked.tk.call("option", "get", ".", "dpi", "Dpi"))
    except ValueError:
        return None
    finally:
        asked.destroy()
    return dpi if 48 <= dpi <= 960 else None


def room(root: Any) -> tuple[int, int]:
    """Width and height in pixels of one monitor."""
    width, height = root.winfo_screenwidth(), root.winfo_screenheight()
    return width // 2 if width > WIDE * height else width, height


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
            wanted = round((xft_dpi() or root.winfo_fpixels("1i")) / 96 * 4) / 4
    across, down = room(root)
    scale = float(max(0.75, min(wanted, across / smallest[0], down / (smallest[1] + BARS))))
    ctk.set_widget_scaling(scale / automatic)
    ctk.set_window_scaling(1 / automatic)  # sizes of the window are given in pixels below
    return scale


def place(root: Any, scale: float, size: tuple[int, int], smallest: tuple[int, int]) -> None:
    """Put the window in the middle of the first monitor, as large as `size` or that; both sizes in units."""
    room_w, room_h = room(root)
    room_h -= round(BARS * scale)
    w, h = min(round(size[0] * scale), room_w), min(round(size[1] * scale), room_h)
    # While it scales its widgets, customtkinter nails the window to its present size for a second.
    root.maxsize(1_000_000, 1_000_000)
    root.minsize(min(round(smallest[0] * scale), w), min(round(smallest[1] * scale), h))
    root.geometry(f"{w}x{h}+{max((room_w - w) // 2, 0)}+{max((room_h - h) // 3, 0)}")
