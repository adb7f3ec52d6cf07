"""A window lies on the screen with its title and beside the desktop's bar, however large it is drawn."""

from types import SimpleNamespace

import pytest

from handcoach.ui import scaling


class Root:
    """A screen, and what the window is told."""

    def __init__(self, width: int, height: int) -> None:
        self.winfo_screenwidth, self.winfo_screenheight = (lambda: width), (lambda: height)
        self.maxsize = self.minsize = lambda w, h: None
        self.winfo_fpixels = lambda unit: 96.0

    def geometry(self, text: str) -> None:
        size, *self.at = text.split("+")
        self.size = tuple(map(int, size.split("x")))


def ctk(automatic: float) -> SimpleNamespace:
    tracker = SimpleNamespace(get_window_scaling=lambda root: automatic)
    return SimpleNamespace(ScalingTracker=tracker, set_widget_scaling=float, set_window_scaling=float)


@pytest.mark.parametrize(
    ("screen", "scale"), [((1920, 1080), 2.0), ((1920, 1080), 1.5), ((1366, 768), 1.25), ((1024, 600), 1.0)]
)
def test_all_of_the_window_is_seen(screen, scale):
    smallest, root = (780, 500), Root(*screen)
    chosen = scaling.choose_scale(ctk(scale), root, scale, smallest)
    assert 0.75 <= chosen <= scale
    scaling.place(root, chosen, (1180, 720), smallest)
    width, height = root.size
    bars = (31 + 48) * chosen  # of Windows, which grow as the window does
    assert width <= screen[0] and height + bars <= screen[1] + 1
    assert width >= round(smallest[0] * chosen) - 1 and height >= round(smallest[1] * chosen) - 1
