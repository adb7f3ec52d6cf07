"""The colours of widgets, as Tk writes them; what is drawn has the same as RGB, see `drawing`."""

from __future__ import annotations

from handcoach.ui import drawing


def hex_of(colour: drawing.Rgb) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


GROUND, CARD, TRACK = hex_of(drawing.WINDOW), hex_of(drawing.CARD), hex_of(drawing.TRACK)
INK, SOFT, FOCUS = hex_of(drawing.INK), hex_of(drawing.SOFT), "#ffffff"
KINDS = {  # of buttons: ground, ground under the mouse, text; each pair has 4.5:1
    "main": ("#1b7a43", "#20864b", "#ffffff"),
    "plain": ("#33435e", "#3d5070", "#ffffff"),
    "quiet": (CARD, "#33435e", "#dfe7f2"),
    "danger": ("#c62f3e", "#d23a49", "#ffffff"),
    "chosen": ("#1d5fa8", "#2468b3", "#ffffff"),
}
OFF = (CARD, SOFT)  # ground and text of a button that cannot be pressed now: 4.5:1 as well
