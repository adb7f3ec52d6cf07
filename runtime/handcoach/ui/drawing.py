"""The whole picture of the window as one RGB array: camera, hands in 3D, sentence, ring and dots. No toolkit.

The window shows this array; the demo without a display writes it into a video.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PilImage
from PIL import ImageDraw, ImageFont

from handcoach.hand import BONES, Side
from handcoach.texts import Texts
from handcoach.ui import view3d
from handcoach.ui.presenter import Tone, ViewState

if TYPE_CHECKING:
    from handcoach.exercise import Arm

Image = NDArray[np.uint8]
Rgb = tuple[int, int, int]

INK: Rgb = (244, 247, 251)
SOFT: Rgb = (170, 184, 204)
WINDOW: Rgb = (15, 21, 32)
CARD: Rgb = (27, 37, 54)
TRACK: Rgb = (58, 72, 96)
# Every tone has 4.5:1 on CARD and on WINDOW, and a sign of its own: colour is never alone.
TONES: dict[Tone, Rgb] = {
    "praise": (92, 224, 138),
    "almost": (255, 205, 84),
    "stretch": (255, 164, 92),
    "look": (132, 196, 255),
    "calm": (132, 196, 255),
    "ready": (92, 224, 138),
    "rest": (178, 170, 255),
    "stop": (255, 158, 170),
    "done": (92, 224, 138),
    "error": (255, 158, 170),
}


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels."""

    x: int
    y: int
    w: int
    h: int

    def holds(self, x: float, y: float) -> bool:
        return self.x <= x < self.x + self.w and self.y <= y < self.y + self.h


@dataclass(frozen=True)
class Layout:
    """Where things are on the stage."""

    camera: Box
    hands: Box
    bar: Box


def layout(width: int, height: int, scale: float, aspect: float = 4 / 3) -> Layout:
    """Two cards side by side and a bar below.

    Gaps and the bar grow with the scale, up to a share of the height.

    Args:
        aspect: width over height of the camera's picture; its card takes that shape, the hands take the rest.
    """
    gap = max(4, round(min(14 * scale, height * 0.025)))
    bar = round(min(124 * scale, height * 0.25))
    top = max(height - bar - 3 * gap, 16)
    room = width - 3 * gap
    left = max(min(round(top * aspect), round(room * 0.54)), round(room * 0.36))
    return Layout(
        Box(gap, gap, left, top),
        Box(2 * gap + left, gap, width - 3 * gap - left, top),
        Box(gap, 2 * gap + top, width - 2 * gap, bar),
    )


def aspect_of(view: ViewState) -> float:
    """Width over height of the picture that is shown, 4:3 without one."""
    return view.image.shape[1] / view.image.shape[0] if view.image is not None else 4 / 3


# ---------------------------------------------------------------- text


@lru_cache(maxsize=64)
def font(px: int, bold: bool = False) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Roboto, which comes with customtkinter; where it is missing, Pillow's own, which lacks æøå."""
    spec = find_spec("customtkinter")  # finds the folder, imports nothing
    for folder in spec.submodule_search_locations or () if spec else ():
        path = Path(folder) / "assets" / "fonts" / "Roboto" / f"Roboto-{'Medium' if bold else 'Regular'}.ttf"
        if path.is_file():
            return ImageFont.truetype(str(path), px)
    return ImageFont.load_default(px)


@lru_cache(maxsize=256)
def _letters(text: str, px: int, bold: bool) -> NDArray[np.float32]:
    """Coverage (h, w, 1), 0..1, of one line of text."""
    face = font(px, bold)
    ascent, descent = face.getmetrics() if isinstance(face, ImageFont.FreeTypeFont) else (px, px // 4)
    width = math.ceil(face.getlength(text)) + 2
    mask = PilImage.new("L", (max(width, 1), ascent + descent))
    ImageDraw.Draw(mask).text((1, 0), text, font=face, fill=255)
    return np.asarray(np.asarray(mask, np.float32)[..., None] / 255, np.float32)


def text_size(text: str, px: int, bold: bool = False) -> tuple[int, int]:
    """Width and height in pixels of one line."""
    h, w = _letters(text, px, bold).shape[:2]
    return w, h


def draw_text(image: Image, text: str, x: int, y: int, px: int, colour: Rgb, bold: bool = False) -> None:
    """One line with its upper left corner at x, y; what lies outside is cut off."""
    cover = _letters(text, px, bold)
    _blend(image, cover, x, y, colour)


def _blend(image: Image, cover: NDArray[np.float32], x: int, y: int, colour: Rgb) -> None:
    h, w = cover.shape[:2]
    x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + w, image.shape[1]), min(y + h, image.shape[0])
    if x0 >= x1 or y0 >= y1:
        return
    part = image[y0:y1, x0:x1]
    a = cover[y0 - y : y1 - y, x0 - x : x1 - x]
    part[:] = (part + (np.array(colour, np.float32) - part) * a + 0.5).astype(np.uint8)


@lru_cache(maxsize=128)
def fit_text(
    text: str, width: int, height: int, px: int, bold: bool = False, most: int = 3
) -> tuple[int, tuple[str, ...]]:
    """The largest size up to px at which the text fits on up to `most` lines: (px, lines)."""
    for size in range(px, 9, -1):
        lines = _wrap(text, width, size, bold)
        line = text_size("Åg", size, bold)[1]
        if lines and len(lines) * line <= height and len(lines) <= most:
            return size, lines
    return 9, _wrap(text, width, 9, bold) or (text,)


def _wrap(text: str, width: int, px: int, bold: bool) -> tuple[str, ...]:
    """Lines that fit into the width; empty if a single word does not."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and text_size(longer, px, bold)[0] <= width:
            lines[-1] = longer
        elif text_size(word, px, bold)[0] <= width:
            lines.append(word)
        else:
            return ()
    return tuple(lines)


# ---------------------------------------------------------------- shapes


@lru_cache(maxsize=32)
def _round_cover(w: int, h: int, radius: int) -> NDArray[np.float32]:
    mask = np.zeros((h, w), np.uint8)
    radius = max(min(radius, w // 2, h // 2), 1)
    big = 4
    corner = np.zeros((radius * big * 2, radius * big * 2), np.uint8)
    cv2.circle(corner, (radius * big, radius * big), radius * big - 1, 255, -1)
    corner = np.asarray(cv2.resize(corner, (2 * radius, 2 * radius), interpolation=cv2.INTER_AREA), np.uint8)
    mask[:] = 255
    mask[:radius, :radius] = corner[:radius, :radius]
    mask[:radius, w - radius :] = corner[:radius, radius:]
    mask[h - radius :, :radius] = corner[radius:, :radius]
    mask[h - radius :, w - radius :] = corner[radius:, radius:]
    return np.asarray(mask[..., None] / 255, np.float32)


def fill_box(image: Image, box: Box, colour: Rgb, radius: int, alpha: float = 1.0) -> None:
    """A rectangle with round corners."""
    if box.w <= 1 or box.h <= 1:
        return
    if alpha == 1.0:
        cv2.rectangle(image, (box.x, box.y), (box.x + box.w - 1, box.y + box.h - 1), colour, -1)
        _round_off(image, box, radius)
    else:
        _blend(image, _round_cover(box.w, box.h, radius) * np.float32(alpha), box.x, box.y, colour)


def _round_off(image: Image, box: Box, radius: int) -> None:
    """Give what is drawn in a box round corners on the window's ground."""
    radius = max(min(radius, box.w // 2, box.h // 2), 1)
    cover = _round_cover(2 * radius, 2 * radius, radius)  # corners only: a card's mask is large
    ground = np.array(WINDOW, np.float32)
    for y, above in ((box.y, cover[:radius]), (box.y + box.h - radius, cover[radius:])):
        for x, corner in ((box.x, above[:, :radius]), (box.x + box.w - radius, above[:, radius:])):
            part = image[y : y + radius, x : x + radius]
            part[:] = (ground + (part - ground) * corner + 0.5).astype(np.uint8)


def _line(image: Image, points: list[tuple[float, float]], colour: Rgb, thick: int) -> None:
    poly = np.round(np.array(points) * 16).astype(np.int32).reshape(-1, 1, 2)
    cv2.polylines(image, [poly], False, colour, thick, cv2.LINE_AA, 4)


def _tick(image: Image, x: float, y: float, r: float, colour: Rgb, thick: int) -> None:
    ends = [(x - 0.62 * r, y + 0.02 * r), (x - 0.16 * r, y + 0.48 * r), (x + 0.66 * r, y - 0.46 * r)]
    _line(image, ends, colour, thick)


def draw_sign(image: Image, tone: Tone, x: float, y: float, r: float, colour: Rgb) -> None:
    """A sign for each tone about (x, y), r half its size: tick, arrow up, frame, bars, heart, !, dots."""
    thick = max(round(r * 0.24), 2)
    if tone in ("praise", "done"):
        _tick(image, x, y, r, colour, thick)
    elif tone in ("almost", "stretch"):
        ups = (0.0,) if tone == "almost" else (-0.44, 0.44)
        for dx in ups:
            _line(image, [(x + dx * r, y + 0.62 * r), (x + dx * r, y - 0.58 * r)], colour, thick)
            head = 0.30 if tone == "almost" else 0.24
            _line(image, [(x + (dx - head) * r, y - 0.26 * r), (x + dx * r, y - 0.60 * r),
                          (x + (dx + head) * r, y - 0.26 * r)], colour, thick)  # fmt: skip
    elif tone == "look":
        e, k = 0.62 * r, 0.26 * r
        for sx in (-1, 1):
            for sy in (-1, 1):
                _line(image, [(x + sx * e, y + sy * k), (x + sx * e, y + sy * e), (x + sx * k, y + sy * e)],
                      colour, thick)  # fmt: skip
        cv2.circle(image, (round(x * 16), round(y * 16)), round(0.2 * r * 16), colour, -1, cv2.LINE_AA, 4)
    elif tone == "rest":
        for sx in (-1, 1):
            bar = [(x + sx * 0.26 * r, y - 0.46 * r), (x + sx * 0.26 * r, y + 0.46 * r)]
            _line(image, bar, colour, thick + 1)
    elif tone == "stop":
        t = np.linspace(0, 2 * np.pi, 60)
        hx = 16 * np.sin(t) ** 3
        hy = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
        heart = np.stack([x + hx / 16 * 0.66 * r, y - (hy + 2.5) / 16 * 0.66 * r], axis=-1)
        cv2.fillPoly(image, [np.round(heart * 16).astype(np.int32)], colour, cv2.LINE_AA, 4)
    elif tone == "error":
        _line(image, [(x, y - 0.56 * r), (x, y + 0.12 * r)], colour, thick)
        cv2.circle(image, (round(x * 16), round((y + 0.52 * r) * 16)), round(0.14 * r * 16), colour, -1,
                   cv2.LINE_AA, 4)  # fmt: skip
    elif tone == "ready":  # the usual sign for "play"
        corners = np.array([[x - 0.34 * r, y - 0.52 * r], [x + 0.56 * r, y], [x - 0.34 * r, y + 0.52 * r]])
        cv2.fillConvexPoly(image, np.round(corners * 16).astype(np.int32), colour, cv2.LINE_AA, 4)
    else:  # calm: three dots
        for dx in (-0.5, 0.0, 0.5):
            cv2.circle(image, (round((x + dx * r) * 16), round(y * 16)), round(0.15 * r * 16), colour, -1,
                       cv2.LINE_AA, 4)  # fmt: skip


def _ring(image: Image, x: float, y: float, r: float, share: float, colour: Rgb) -> None:
    """A progress ring that fills clockwise from the top."""
    thick = max(round(r * 0.20), 3)
    centre, axes = (round(x * 16), round(y * 16)), (round((r - thick / 2) * 16),) * 2
    cv2.ellipse(image, centre, axes, 0, 0, 360, TRACK, thick, cv2.LINE_AA, 4)
    if share > 0.003:
        # Small steps: OpenCV's own arc is coarse.
        angles = np.radians(np.linspace(-90, -90 + 360 * min(share, 1.0), max(int(90 * share), 2)))
        points = np.stack([x + (r - thick / 2) * np.cos(angles), y + (r - thick / 2) * np.sin(angles)], -1)
        _line(image, [(float(px), float(py)) for px, py in points], colour, thick)
        for px, py in (points[0], points[-1]):
            end = (round(px * 16), round(py * 16))
            cv2.circle(image, end, round(thick / 2 * 16), colour, -1, cv2.LINE_AA, 4)


# ---------------------------------------------------------------- the three parts


def draw_camera(image: Image, box: Box, view: ViewState, scale: float, palette: str) -> None:
    """The camera's picture with the hand's landmarks, the state's word and the finger's hint."""
    card = image[box.y : box.y + box.h, box.x : box.x + box.w]
    cv2.rectangle(image, (box.x, box.y), (box.x + box.w - 1, box.y + box.h - 1), (9, 13, 20), -1)
    if view.image is not None:
        rows, columns = view.image.shape[:2]
        k = min(box.w / columns, box.h / rows)
        w, h = max(round(columns * k), 1), max(round(rows * k), 1)
        method = cv2.INTER_AREA if k < 0.6 else cv2.INTER_LINEAR  # area is four times as slow
        picture = cv2.resize(view.image, (w, h), interpolation=method)
        if view.mirrored:
            picture = cv2.flip(picture, 1)
        if view.dim:
            picture = cv2.convertScaleAbs(picture, alpha=0.42)
        x, y = (box.w - w) // 2, (box.h - h) // 2
        part = card[y : y + h, x : x + w]
        part[:] = picture
        if view.points is not None:
            points = view.points.astype(np.float64) * k
            if view.mirrored:
                points[:, 0] = w - points[:, 0]
            _skeleton(part, points, view.far, palette)
    else:
        r = min(box.w, box.h) * 0.10
        draw_sign(card, view.tone, box.w / 2, box.h / 2, r, TONES[view.tone])
    pad = round(10 * scale)
    _pill(image, box.x + pad, box.y + pad, view.word, TONES[view.tone], scale, view.tone, box.w - 2 * pad)
    if view.hint:
        _low_pill(image, box, view.hint, "almost", scale)
    _round_off(image, box, round(16 * scale))


def _low_pill(image: Image, box: Box, word: str, tone: Tone, scale: float) -> None:
    """A word along the lower edge of a card."""
    pad, tall = round(10 * scale), round(20 * scale) + round(16 * scale)
    _pill(image, box.x + pad, box.y + box.h - pad - tall, word, TONES[tone], scale, tone, box.w - 2 * pad)


def draw_ready(
    image: Image, box: Box, view: ViewState, texts: Texts, scale: float, palette: str, camera: view3d.Camera
) -> None:
    """Before the start, in place of the hands: what the exercise is, how to sit, and below either a picture
    of how to sit or the hand to imitate. Nothing of it hides the hand in the camera's picture."""
    fill_box(image, box, CARD, round(16 * scale))
    pad = round(min(18 * scale, box.w * 0.06))
    width, y, end = box.w - 2 * pad, box.y + pad, box.y + box.h - pad
    if width < 40:
        return
    checks = bool(view.checks)
    y = _block(image, view.title, box.x + pad, y, width, round(box.h * 0.14), 24 * scale, True, 1)
    room = round(box.h * (0.34 if checks else 0.4))
    y = _block(image, view.instructions, box.x + pad, y, width, room, 18 * scale, False, 7)
    if view.maker:
        room = round(box.h * 0.12)
        y = _block(image, view.maker, box.x + pad, y, width, room, 14 * scale, False, 2, SOFT)
    y += round(min(10 * scale, box.h * 0.02))
    if not checks:
        rest = Box(box.x, y, box.w, box.y + box.h - y)
        if rest.h > 60 * scale:
            hand = view3d.draw_hands((rest.w, rest.h), view.teacher, None, None, camera, palette, view.stand)
            image[rest.y : rest.y + rest.h, rest.x : rest.x + rest.w] = hand
            _round_off(image, box, round(16 * scale))
        return
    y = _block(image, texts("setup"), box.x + pad, y, width, round(box.h * 0.12), 18 * scale, True, 1, SOFT)
    beside = width > 480 * scale and end - y > 130 * scale
    wide = round(width * 0.56) if beside else width
    below = not beside and end - y > 260 * scale
    y_end = y + round((end - y) * 0.52) if below else end
    _checks(image, view, Box(box.x + pad, y, wide, y_end - y), scale)
    if beside:
        _how_to_sit(image, Box(box.x + pad + wide, y, width - wide, end - y), view.arm, view.side)
    elif below:
        _how_to_sit(image, Box(box.x + pad, y_end, width, end - y_end), view.arm, view.side)


def _block(
    image: Image, text: str, x: int, y: int, width: int, room: int, px: float, bold: bool, most: int,
    colour: Rgb = INK,
) -> int:  # fmt: skip
    """A text from y on, as large as fits; the y below it."""
    size, lines = fit_text(text, width, room, round(px), bold, most)
    line = text_size("Åg", size, bold)[1]
    for words in lines:
        draw_text(image, words, x, y, size, colour, bold)
        y += line
    return y


def _checks(image: Image, view: ViewState, box: Box, scale: float) -> None:
    """A line for each check: a tick where it is well, a frame where to look, a ring where only the person
    can see."""
    each = min(box.h // len(view.checks), round(52 * scale))
    if each < 8:
        return
    sign = min(round(13 * scale), each // 2)
    for i, check in enumerate(view.checks):
        y = box.y + i * each
        x, middle = box.x + sign, y + each / 2
        tone: Tone = "praise" if check.good else "look"
        if check.good is None:
            cv2.circle(image, (round(x * 16), round(middle * 16)), round(0.62 * sign * 16), INK,
                       max(round(sign * 0.2), 2), cv2.LINE_AA, 4)  # fmt: skip
        else:
            draw_sign(image, tone, x, middle, sign, TONES[tone])
        left = 2 * sign + round(10 * scale)
        px, lines = fit_text(check.text, box.w - left, each, round(18 * scale), False, 2)
        line = text_size("Åg", px)[1]
        top = round(middle - line * len(lines) / 2)
        for j, words in enumerate(lines):
            draw_text(image, words, box.x + left, top + j * line, px, INK)


def _how_to_sit(image: Image, box: Box, arm: Arm, side: Side) -> None:
    """The laptop on a book, the arm on the table before it, the lamp behind: from the side, or as the person
    sees it where the arm lies along the screen."""
    k = min(box.w / 260, box.h / 170)
    x0, y0 = box.x + (box.w - 260 * k) / 2, box.y + (box.h - 170 * k) / 2
    flip = arm == "along" and side == "left"

    def place(x: float, y: float) -> tuple[float, float]:
        return x0 + (260 - x if flip else x) * k, y0 + y * k

    def line(points: list[tuple[float, float]], colour: Rgb, thick: float) -> None:
        _line(image, [place(*p) for p in points], colour, max(round(thick * k), 1))

    def dot(x: float, y: float, r: float, colour: Rgb) -> None:
        x, y = place(x, y)
        cv2.circle(
            image, (round(x * 16), round(y * 16)), max(round(r * k * 16), 16), colour, -1, cv2.LINE_AA, 4
        )

    look, skin, lamp = TONES["look"], (226, 200, 178), TONES["almost"]
    books, light = TONES["rest"], (118, 118)  # light: where the lamp's falls
    line([(4, 160), (256, 160)], SOFT, 4)  # the table
    if arm == "along":
        light = (124, 132)
        for y in (116, 106):
            line([(92, y), (200, y)], books, 9)
        line([(94, 97), (198, 97)], INK, 6)  # the laptop's keys and screen
        line([(98, 92), (98, 28), (194, 28), (194, 92)], INK, 5)
        dot(146, 28, 4.5, look)
        line([(188, 153), (252, 153)], books, 9)  # what it lies on
        line([(176, 139), (252, 139)], skin, 18)  # the forearm, the hand, its thumb
        line([(140, 141), (176, 139)], skin, 12)
        line([(160, 143), (148, 147)], (196, 166, 144), 5)  # palm down, so that it lies before the hand
    else:
        for y in (150, 140):
            line([(22, y), (98, y)], books, 9)
        line([(22, 131), (96, 131)], INK, 6)
        line([(26, 129), (14, 62)], INK, 6)
        dot(15, 62, 4.5, look)
        top, bottom = (24, 110) if arm == "up" else (84, 156)
        for y in (top, bottom):  # what its camera sees
            line([(20, 64), (150, y)], TRACK, 2)
        if arm == "up":  # the arm from the elbow on, the hand, its thumb
            line([(236, 120), (182, 150), (160, 86)], skin, 16)
            line([(160, 86), (154, 44)], skin, 11)
            line([(156, 76), (144, 66)], skin, 6)
        else:
            line([(150, 150), (244, 150)], skin, 18)
            line([(122, 152), (150, 150)], skin, 11)
            line([(132, 150), (124, 142)], skin, 6)
    dot(60, 22, 13, lamp)
    for angle in np.linspace(0, 2 * np.pi, 8, endpoint=False):
        c, s = math.cos(angle), math.sin(angle)
        line([(60 + 18 * c, 22 + 18 * s), (60 + 24 * c, 22 + 24 * s)], lamp, 3)
    x, y = light
    line([(84, 42), (x, y)], lamp, 2.5)
    line([(x - 8, y - 7), (x, y), (x + 1, y - 11)], lamp, 2.5)


def _pill(image: Image, x: int, y: int, word: str, colour: Rgb, scale: float, tone: Tone, room: int) -> None:
    """A word with its sign on a dark ground that is legible over any picture."""
    tall = round(20 * scale) + round(16 * scale)
    px, lines = fit_text(word, max(room - 2 * tall, 20), tall, round(20 * scale), True, most=1)
    w, h = text_size(lines[0], px, True)
    wide = w + tall + round(16 * scale)
    fill_box(image, Box(x, y, wide, tall), WINDOW, tall // 2, 0.88)
    draw_sign(image, tone, x + tall * 0.55, y + tall / 2, tall * 0.30, colour)
    draw_text(image, lines[0], x + tall, y + (tall - h) // 2, px, INK, True)


def _skeleton(
    part: Image, points: NDArray[np.float64], far: NDArray[np.float64] | None, palette: str
) -> None:
    """Bones and joints on the hand; joints look as the teacher's do in 3D."""
    unit = max(float(np.linalg.norm(points[9] - points[0])), 24.0)
    thick = max(round(unit * 0.026), 2)
    at = [(round(float(p[0]) * 16), round(float(p[1]) * 16)) for p in np.clip(points, -4000, 4000)]
    for colour, width in (((12, 18, 28), thick + 3), ((236, 243, 252), thick)):
        for j, k in BONES:
            cv2.line(part, at[j], at[k], colour, width, cv2.LINE_AA, 4)
    far, rgb = view3d.of_joints(far, palette) if far is not None else (np.zeros(21), np.full((21, 3), 200.0))
    for j in range(21):
        colour = (int(rgb[j, 0]), int(rgb[j, 1]), int(rgb[j, 2]))
        view3d.marker(part, points[j], float(far[j]), colour, unit)


def draw_hands(
    image: Image, box: Box, view: ViewState, texts: Texts, scale: float, palette: str, camera: view3d.Camera,
    focused: bool = False,
) -> None:  # fmt: skip
    """Both hands in 3D with a legend."""
    picture = view3d.draw_hands(
        (box.w, box.h), view.teacher, view.live, view.far, camera, palette, view.stand
    )
    image[box.y : box.y + box.h, box.x : box.x + box.w] = picture
    px = round(17 * scale)
    x, y = box.x + round(16 * scale), box.y + round(12 * scale)
    r = round(6 * scale)
    for key, colour, shown in (
        ("teacher", (128, 196, 255), view.teacher is not None),
        ("live", (226, 200, 178), view.live is not None),
    ):
        if shown:
            h = text_size(texts(key), px)[1]
            cv2.circle(image, (x + r, y + h // 2), r, colour, -1 if key == "live" else 2, cv2.LINE_AA)
            draw_text(image, texts(key), x + 3 * r, y, px, INK)
            y += h + round(4 * scale)
    if view.thumb:
        _low_pill(image, box, view.thumb, "praise" if view.thumb_good else "almost", scale)
    if focused:
        inset = round(4 * scale)
        cv2.rectangle(image, (box.x + inset, box.y + inset), (box.x + box.w - inset, box.y + box.h - inset),
                      INK, max(round(2 * scale), 2), cv2.LINE_AA)  # fmt: skip
    _round_off(image, box, round(16 * scale))


def draw_bar(image: Image, box: Box, view: ViewState, texts: Texts, scale: float) -> None:
    """Ring, sentence and dots."""
    colour = TONES[view.tone]
    fill_box(image, box, CARD, round(16 * scale))
    pad = max(round(min(14 * scale, box.h * 0.12)), 2)
    if view.accent:  # beside the sentence, which says the same
        rgb = int(view.accent[1:3], 16), int(view.accent[3:5], 16), int(view.accent[5:], 16)
        wide = max(round(8 * scale), 4)
        cv2.rectangle(image, (box.x, box.y), (box.x + wide, box.y + box.h - 1), rgb, -1)
        _round_off(image, box, round(16 * scale))
    r = (box.h - 2 * pad) / 2
    x, y = box.x + 1.5 * pad + r, box.y + box.h / 2
    share = view.rest if view.state == "rest" else view.hold
    _ring(image, x, y, r, share, colour)
    if view.seconds is not None:
        px = max(round(r * 0.95), 9)
        w, h = text_size(str(view.seconds), px, True)
        draw_text(image, str(view.seconds), round(x - w / 2), round(y - h / 2), px, INK, True)
    else:
        draw_sign(image, view.tone, x, y, r * 0.56, colour)
    left = round(x + r + 2 * pad)
    right = _dots(image, box, view, texts, scale, pad)
    px, lines = fit_text(view.message, max(right - left - pad, 40), box.h - pad, round(40 * scale), True)
    line = text_size("Åg", px, True)[1]
    top = box.y + (box.h - line * len(lines)) // 2
    for i, words in enumerate(lines):
        draw_text(image, words, left, top + i * line, px, INK, True)


def _dots(image: Image, box: Box, view: ViewState, texts: Texts, scale: float, pad: int) -> int:
    """Repetitions, done ones filled with a tick; returns the left edge."""
    edge = box.x + box.w - 2 * pad
    if not view.repetitions:
        return edge
    label = texts("of", n=view.repetition, all=view.repetitions)
    px = max(round(min(20 * scale, box.h * 0.2)), 9)
    w, h = text_size(label, px)
    many = view.repetitions > 12
    r = min(11 * scale, box.h * 0.13)
    step = 2.6 * r
    per_row = min(view.repetitions, 6)
    rows = 0 if many else math.ceil(view.repetitions / per_row)
    wide = max(0 if many else round(per_row * step - 0.6 * r), w)
    tall = rows * step + h
    x0, y0 = edge - wide, box.y + (box.h - tall) / 2
    for i in range(0 if many else view.repetitions):
        x, y = x0 + r + (i % per_row) * step, y0 + r + (i // per_row) * step
        centre = (round(x * 16), round(y * 16))
        if i < view.repetition:
            cv2.circle(image, centre, round(r * 16), TONES["praise"], -1, cv2.LINE_AA, 4)
            _tick(image, x, y, 0.75 * r, (10, 30, 18), max(round(r * 0.24), 2))
        else:
            cv2.circle(image, centre, round((r - 1) * 16), SOFT, max(round(r * 0.2), 2), cv2.LINE_AA, 4)
    draw_text(image, label, x0, round(y0 + rows * step), px, SOFT)
    return round(x0)


@lru_cache(maxsize=2)
def _ground(width: int, height: int) -> Image:
    """An empty stage. A cached one, since filling by a colour takes numpy ten times as long as copying."""
    return np.full((height, width, 3), WINDOW, np.uint8)


def compose(
    view: ViewState, texts: Texts, size: tuple[int, int], scale: float = 1.0, palette: str = "traffic",
    camera: view3d.Camera | None = None, focused: bool = False,
) -> Image:  # fmt: skip
    """The whole stage.

    Args:
        size: width and height in pixels.
        scale: pixels per unit of text and gap; 1 at 100 %.
        focused: the keyboard's focus is on the hands.

    Returns:
        uint8 RGB (H, W, 3).
    """
    width, height = size
    image = _ground(width, height).copy()
    where = layout(width, height, scale, aspect_of(view))
    draw_camera(image, where.camera, view, scale, palette)
    if view.title:
        draw_ready(image, where.hands, view, texts, scale, palette, camera or view3d.Camera())
    else:
        draw_hands(image, where.hands, view, texts, scale, palette, camera or view3d.Camera(), focused)
    draw_bar(image, where.bar, view, texts, scale)
    return image
