"""How legible a text is."""

from __future__ import annotations

Rgb = tuple[int, ...]


def rgb(text: str) -> Rgb:
    """Tk's "#rrggbb" as numbers."""
    return tuple(int(text[i : i + 2], 16) for i in (1, 3, 5))


def contrast(a: Rgb, b: Rgb) -> float:
    """Contrast ratio of WCAG 2, 1..21."""

    def luminance(c: Rgb) -> float:
        linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in (x / 255 for x in c)]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)
