"""The only door to customtkinter, kept quiet.

Its import copies three fonts into the home folder and asks `gsettings` for the theme, again and again. Both
are prevented here: its font manager and its theme probe are replaced before it is imported. It then draws its
round corners with polygons and we name the fonts of its widgets ourselves.
"""

from __future__ import annotations

import sys
import types
from typing import Any

from handcoach.errors import HandCoachError
from handcoach.ui.probe import tk_problem

_FONTS = "customtkinter.windows.widgets.font.font_manager"


class _NoFonts:
    """Stands in for customtkinter's FontManager: loads nothing, and says that all is well."""

    @classmethod
    def init_font_manager(cls) -> bool:
        return True

    @classmethod
    def load_font(cls, font_path: str) -> bool:
        return True


def _quiet() -> Any:
    """Import customtkinter without its side effects."""
    if "customtkinter" not in sys.modules:
        fonts = types.ModuleType(_FONTS)
        fonts.FontManager = _NoFonts  # type: ignore[attr-defined]
        probe = types.ModuleType("darkdetect")
        probe.theme = lambda: "Dark"  # type: ignore[attr-defined]
        had = sys.modules.get("darkdetect")
        sys.modules[_FONTS], sys.modules["darkdetect"] = fonts, probe
        try:
            import customtkinter
        finally:  # others shall find the real one
            if had is not None:
                sys.modules["darkdetect"] = had
            else:
                sys.modules.pop("darkdetect", None)
        customtkinter.set_appearance_mode("dark")  # chosen, so that nothing is polled
    import customtkinter

    customtkinter.DrawEngine.preferred_drawing_method = "polygon_shapes"
    return customtkinter


def toolkit() -> Any:
    """customtkinter.

    Raises:
        HandCoachError: Tk is not installed.
    """
    problem = tk_problem()
    if problem is not None:
        raise HandCoachError(f"No window can be opened, {problem.what}: {problem.cure}.")
    return _quiet()
