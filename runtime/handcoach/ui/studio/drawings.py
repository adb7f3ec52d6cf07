"""What the studio draws besides the patient's picture: the live view with its countdown, a hand, a figure.
numpy only, no toolkit."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from handcoach.camera import read_still
from handcoach.hand import Array
from handcoach.texts import Texts
from handcoach.ui import drawing, view3d
from handcoach.ui.drawing import Box, Image
from handcoach.ui.presenter import ViewState
from handcoach.ui.studio.presenter import RecordView

PAPER = (255, 255, 255)


def live(view: RecordView, texts: Texts, size: tuple[int, int], scale: float) -> Image:
    """The camera's picture, over it the number of the countdown, below it the sentence and the ring."""
    width, height = size
    image = np.full((height, width, 3), drawing.WINDOW, np.uint8)
    bar = round(min(96 * scale, height * 0.25))
    gap = round(8 * scale)
    camera = Box(0, 0, width, height - bar - gap)
    drawing.draw_camera(image, camera, view.live, scale, "traffic")
    if view.big:
        px = round(camera.h * 0.5)
        w, h = drawing.text_size(view.big, px, True)
        x, y = (camera.w - w) // 2, (camera.h - h) // 2
        side = max(w, h)
        ground = Box((camera.w - side) // 2, (camera.h - side) // 2, side, side)
        drawing.fill_box(image, ground, drawing.WINDOW, side // 2, 0.6)
        drawing.draw_text(image, view.big, x, y, px, drawing.INK, True)
    drawing.draw_bar(image, Box(0, height - bar, width, bar), view.live, texts, scale)
    return image


def hand(joints: Array, stand: view3d.Stand, camera: view3d.Camera, size: tuple[int, int]) -> Image:
    """A posture (21, 3) as `view3d.draw_hands` wants it."""
    return view3d.draw_hands(size, None, joints, None, camera, stand=stand, supersize=420)


def patient(view: ViewState, texts: Texts, size: tuple[int, int], scale: float) -> Image:
    """What the patient sees beside the camera's picture: both hands, and the sentence."""
    width, height = size
    image = np.full((height, width, 3), drawing.WINDOW, np.uint8)
    bar, gap = round(min(124 * scale, height * 0.3)), round(8 * scale)
    top = Box(0, 0, width, height - bar - gap)
    drawing.draw_hands(image, top, view, texts, scale, "traffic", view3d.Camera())
    drawing.draw_bar(image, Box(0, height - bar, width, bar), view, texts, scale)
    return image


def figure(path: Path, size: tuple[int, int]) -> Image:
    """A picture from a file, as large as fits, on white."""
    width, height = size
    image = np.full((height, width, 3), PAPER, np.uint8)
    picture = read_still(path)
    if picture is None:
        return image
    k = min(width / picture.shape[1], height / picture.shape[0], 1.5)
    w, h = max(round(picture.shape[1] * k), 1), max(round(picture.shape[0] * k), 1)
    small = cv2.resize(picture, (w, h), interpolation=cv2.INTER_AREA if k < 1 else cv2.INTER_CUBIC)
    y, x = (height - h) // 2, (width - w) // 2
    image[y : y + h, x : x + w] = small
    return image
