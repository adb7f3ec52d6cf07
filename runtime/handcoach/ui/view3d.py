"""The teacher's hand and the live hand in 3D, drawn by ourselves: numpy and OpenCV, no toolkit.

Both hands are given in the hand frame (x wrist to index MCP, y towards the little finger, z out of the palm;
unit: wrist to middle MCP). A hand is a set of cones with round ends. Every cone is drawn into a height map,
so that fingers hide each other rightly, and the map is lit afterwards. The live hand is solid clay, the
teacher's is glass, and its joints are markers whose colour, size and shape all change with the distance.
Where an exercise is about how the hand is turned, both come as `hand.as_held` turns them, and stand as the
camera saw them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from handcoach.hand import BONES, Array, Side, as_held, beside

Image = NDArray[np.uint8]
Rgb = tuple[int, int, int]
# How hands stand: fingers up, leaning as one's right or left hand does, or turned as they were held.
Stand = Literal["right", "left", "turned"]

# Colour stops from "as the teacher" to "far away". The second palette is for eyes that confuse red and green.
PALETTES: dict[str, tuple[Rgb, Rgb, Rgb]] = {
    "traffic": ((64, 200, 96), (250, 208, 60), (235, 72, 62)),
    "blue_orange": ((64, 156, 255), (226, 222, 214), (255, 138, 28)),
}
LINE: dict[str, Rgb] = {"traffic": (72, 222, 112), "blue_orange": (96, 176, 255)}
# Joints that have no colour: the hand frame lays palm on palm, so that they would be green in a fist, too.
# Where hands are turned, the fingers' colours say it.
PALM = [0, 5, 9, 13, 17]
NEUTRAL: Rgb = (150, 190, 230)

BACKGROUND_TOP: Rgb = (30, 41, 58)
BACKGROUND_BOTTOM: Rgb = (14, 20, 31)
CLAY = np.array([226, 200, 178], np.float32)
GLASS = np.array([128, 196, 255], np.float32)

# Radius of the flesh at each joint, in hand units.
RADII = np.array(
    [0.19, 0.165, 0.125, 0.098, 0.078,
     0.118, 0.092, 0.080, 0.066,
     0.120, 0.096, 0.083, 0.068,
     0.115, 0.090, 0.078, 0.064,
     0.105, 0.080, 0.068, 0.056], np.float64)  # fmt: skip
# Flesh that is no bone: the knuckle row, the ball of the thumb and its web, the edge of the palm.
_WEB = ((5, 9), (9, 13), (13, 17), (1, 5), (2, 5), (1, 9), (0, 2))
_LEAN = math.radians(17.0)  # from the wrist-to-index axis to the middle finger
_HEAD = 3.8  # distance of the eye from the middle of the hands, in hand units
OPEN_REACH = 2.0  # from the wrist to the middle fingertip of an open hand, in hand units
_DEFAULT_YAW, _DEFAULT_PITCH = math.radians(-38.0), math.radians(12.0)


@dataclass(frozen=True)
class Camera:
    """From where the hands are looked at: yaw about the axis of the fingers, pitch about the screen's x axis.

    Both in radians; yaw 0 looks straight at the palm with the fingers up.
    """

    yaw: float = _DEFAULT_YAW
    pitch: float = _DEFAULT_PITCH

    def turned(self, yaw: float, pitch: float) -> Camera:
        """Turned by these angles; the pitch stops before the hand would stand on its head."""
        limit = math.radians(85)
        return Camera(
            math.remainder(self.yaw + yaw, 2 * math.pi), float(np.clip(self.pitch + pitch, -limit, limit))
        )

    def rotation(self) -> NDArray[np.float64]:
        """(3, 3): rows are screen right, screen up and towards the eye, in hand-frame axes."""
        # At rest the fingers (x) point up, the palm (z) looks at us, the little finger (y) is left.
        rest = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
        c, s = math.cos(self.yaw), math.sin(self.yaw)
        about_up = np.array([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])
        c, s = math.cos(self.pitch), math.sin(self.pitch)
        about_right = np.array([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]])
        return np.asarray(about_right @ about_up @ rest)


def mirrored(aligned: Array) -> Array:
    """A hand (21, 3) in the hand frame as the other side's: a left hand is shown as a left hand."""
    return np.asarray(aligned * np.array([1, -1, 1], np.float32))


def stand_of(side: Side, kept_axes: str) -> Stand:
    """How the hands of an exercise stand that is shown to this side."""
    return "turned" if kept_axes else side


def facing(hand: Array, side: Side, kept_axes: str, mirror: bool = True) -> Array:
    """A right hand (21, 3) as this side's; turned ones move as those in the camera's picture do, which is
    shown as a mirror does or is not."""
    return mirrored(hand) if (side == "left") != (bool(kept_axes) and mirror) else hand


def as_shown(hand: Array, reference: Array, side: Side, kept_axes: str) -> Array:
    """A hand beside its exercise's reference, both canonical (21, 3), as `draw_hands` wants it."""
    shown = beside(hand, reference, kept_axes) @ as_held(reference, kept_axes).astype(np.float32)
    return facing(shown, side, kept_axes)


def teacher_of(meta: dict[str, Any]) -> tuple[Array, Stand]:
    """The hand that an exercise's metadata show, as `draw_hands` wants it, and how it stands."""
    reference, kept_axes = np.asarray(meta["reference"], np.float32), meta["kept_axes"]
    side: Side = "left" if meta["hand"] == "left" else "right"
    return as_shown(reference, reference, side, kept_axes), stand_of(side, kept_axes)


def closeness(distances: NDArray[np.floating], green: float, red: float) -> NDArray[np.float64]:
    """Distances (21,) in hand units to 0 (as the teacher) .. 1 (far), from the exercise's tolerances."""
    return np.asarray(np.clip((np.asarray(distances, np.float64) - green) / max(red - green, 1e-6), 0, 1))


def colours(far: NDArray[np.floating], palette: str = "traffic") -> NDArray[np.float64]:
    """RGB (N, 3), 0..255, for far (N,) in 0..1: near, middle and far colour of the palette, blended."""
    stops = np.array(PALETTES[palette], np.float64)
    return np.stack([np.interp(far, [0.0, 0.5, 1.0], stops[:, c]) for c in range(3)], axis=-1)


def of_joints(
    far: NDArray[np.floating], palette: str = "traffic"
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How far (21,) each joint's marker shows it, and its colour (21, 3): the palm's show nothing."""
    shown, rgb = np.array(far, np.float64), colours(far, palette)
    shown[PALM], rgb[PALM] = 0.0, NEUTRAL
    return shown, rgb


def reach_of(teacher: NDArray[np.floating] | None) -> float:
    """How far from the wrist the picture must reach, in hand units, for a teacher's hand (21, 3).

    It is the teacher's hand that sets the size, so that the picture does not breathe with the live hand; but
    an open hand has room even where the teacher shows a fist. A live hand's fingers come out up to a sixth
    longer where its palm is seen foreshortened.
    """
    shown = float(np.linalg.norm(teacher, axis=-1).max()) if teacher is not None else 0.0
    return 1.15 * max(shown, OPEN_REACH)


def project(
    points: NDArray[np.floating],
    camera: Camera,
    size: tuple[int, int],
    stand: Stand = "right",
    reach: float = 2.0,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Points (N, 3) in the hand frame to the screen, with a mild perspective.

    Args:
        size: width and height in pixels.
        reach: from the wrist to the farthest fingertip, in hand units: all of it stays in the picture;
            of turned hands from the middle of the picture.

    Returns:
        pixels (N, 2), y down; depth (N,) in pixels, larger is nearer; pixels per hand unit (N,).
    """
    width, height = size
    # The middle finger, not the index, points up at rest; the middle of the picture is above the knuckles.
    lean = {"right": _LEAN, "left": -_LEAN, "turned": 0.0}[stand]
    c, s = math.cos(lean), math.sin(lean)
    upright = np.array([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]])
    middle, scale = [0.47 * reach, 0.0, 0.0], min(height / (reach + 0.70), width / (reach + 0.55))
    if stand == "turned":  # seen at rest from where the camera is, with room for a live hand on all sides
        camera = Camera(0.0, 0.0).turned(camera.yaw - _DEFAULT_YAW, camera.pitch - _DEFAULT_PITCH)
        middle, scale = [0.0, 0.0, 0.0], min(height, width) / (2.1 * reach)
    turned = (np.asarray(points, np.float64) @ upright.T - middle) @ camera.rotation().T
    zoom = scale * _HEAD / (_HEAD - turned[:, 2])
    xy = np.stack([width / 2 + zoom * turned[:, 0], height * 0.5 - zoom * turned[:, 1]], axis=-1)
    return xy, turned[:, 2] * scale, zoom


class _Surface:
    """Height map and normals (x and y) of one hand, float32 (H, W); larger height is nearer to the eye."""

    def __init__(self, width: int, height: int) -> None:
        self.height = np.full((height, width), -1e9, np.float32)
        self.normal = np.zeros((2, height, width), np.float32)
        self.cover = np.zeros((height, width), np.float32)
        self.box = [width, height, 0, 0]
        self.glass: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None  # see _glass_of

    def cone(self, a: NDArray[np.float64], b: NDArray[np.float64]) -> None:
        """Add the cone from a to b, each x, y, height, radius in pixels."""
        rows, columns = self.height.shape
        r = max(a[3], b[3]) + 1.5
        x0, x1 = max(int(min(a[0], b[0]) - r), 0), min(int(max(a[0], b[0]) + r) + 2, columns)
        y0, y1 = max(int(min(a[1], b[1]) - r), 0), min(int(max(a[1], b[1]) + r) + 2, rows)
        if x0 >= x1 or y0 >= y1:
            return
        x = np.arange(x0, x1, dtype=np.float32)[None, :] - np.float32(a[0])
        y = np.arange(y0, y1, dtype=np.float32)[:, None] - np.float32(a[1])
        d = (b - a).astype(np.float32)
        length = float(d[0] ** 2 + d[1] ** 2)
        if length > 1e-3:
            t = (x * (d[0] / length)) + (y * (d[1] / length))
            np.clip(t, 0, 1, out=t)
        else:  # seen end on: the nearer end hides the other
            t = np.full((y1 - y0, x1 - x0), 1.0 if d[2] > 0 else 0.0, np.float32)
        x = x - t * d[0]
        y = y - t * d[1]
        radius = np.float32(a[3]) + t * d[3]
        away = x * x + y * y
        lift = np.sqrt(np.maximum(radius * radius - away, 0))
        new = np.float32(a[2]) + t * d[2] + lift
        distance = np.sqrt(away)
        cover = np.clip(radius - distance + 0.5, 0, 1)
        old = self.height[y0:y1, x0:x1]
        # A half-covered edge pixel hides nothing: inside the hand it would draw a jagged seam.
        win = (new > old) & ((cover >= 1) | ((cover > 0) & (old < -1e8)))
        np.copyto(old, new, where=win)
        inverse = 1 / np.maximum(radius, distance)
        np.copyto(self.normal[0, y0:y1, x0:x1], x * inverse, where=win)
        np.copyto(self.normal[1, y0:y1, x0:x1], y * inverse, where=win)
        np.maximum(self.cover[y0:y1, x0:x1], cover, out=self.cover[y0:y1, x0:x1])
        box = self.box
        self.box = [min(box[0], x0), min(box[1], y0), max(box[2], x1), max(box[3], y1)]


def _flesh(hand: Array, camera: Camera, size: tuple[int, int], stand: Stand, reach: float) -> _Surface:
    """The height map of a hand (21, 3)."""
    return _flesh_cached(np.ascontiguousarray(hand, np.float32).tobytes(), camera, size, stand, reach)


# The teacher's hand holds still while nobody turns it: its map is then reused.
@lru_cache(maxsize=4)
def _flesh_cached(hand: bytes, camera: Camera, size: tuple[int, int], stand: Stand, reach: float) -> _Surface:
    joints = np.frombuffer(hand, np.float32).reshape(21, 3).astype(np.float64)
    # The forearm is not known; a short stump behind the wrist keeps the hand from floating.
    back = joints[0] - 0.55 * (joints[9] + joints[13] - 2 * joints[0]) / 2
    radii = np.append(RADII, 0.22)
    xy, depth, zoom = project(np.vstack([joints, back[None]]), camera, size, stand, reach)
    spheres = np.column_stack([xy, depth, radii * zoom])
    surface = _Surface(*size)
    for j, k in BONES:
        if j == 0 and k > 1:  # metacarpals: slimmer at the wrist, side by side they make the palm
            root = spheres[0].copy()
            root[:2] = xy[0] + 0.22 * (xy[k] - xy[9])
            root[3] = 0.15 * zoom[0]
            surface.cone(root, spheres[k])
        else:
            surface.cone(spheres[j], spheres[k])
    for j, k in ((5, 9), (9, 13), (13, 17)):  # flesh between the metacarpals
        root = spheres[0].copy()
        middle = (spheres[j] + spheres[k]) / 2
        root[:2] = xy[0] + 0.22 * (middle[:2] - xy[9])
        root[3] = 0.15 * zoom[0]
        surface.cone(root, middle * [1, 1, 1, 0.96])
    for j, k in _WEB:
        a, b = spheres[j].copy(), spheres[k].copy()
        shrink = 0.80 if j in (1, 2, 0) else 0.92
        a[3] *= shrink
        b[3] *= shrink * (0.75 if (j, k) == (2, 5) else 1.0)
        surface.cone(a, b)
    if stand != "turned":  # a bent wrist's forearm points elsewhere
        surface.cone(spheres[0] * [1, 1, 1, 0.92], spheres[21] * [1, 1, 1, 0.9])
    return surface


def _soften(surface: _Surface, sigma: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Smooth normals (h, w, 3) and a cheap shadow (h, w) 0..1 of the box that the hand fills."""
    x0, y0, x1, y1 = surface.box
    inside = surface.cover[y0:y1, x0:x1] > 0
    share = inside.astype(np.float32)
    # Third channel: how much of the neighbourhood is hand. Outside the hand the normals are zero already.
    # Blurred at half the size: so smooth an image has nothing to lose.
    both = cv2.merge([*surface.normal[:, y0:y1, x0:x1], share])
    both = cv2.resize(both, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    both = cv2.GaussianBlur(both, (0, 0), sigma / 2)
    blurred = np.asarray(cv2.resize(both, (x1 - x0, y1 - y0), interpolation=cv2.INTER_LINEAR), np.float32)
    normal = blurred / np.maximum(blurred[..., 2:], 1e-3)
    x, y = normal[..., 0], normal[..., 1]
    normal[..., 2] = np.sqrt(np.maximum(1 - x * x - y * y, 0))
    height = np.where(inside, surface.height[y0:y1, x0:x1], 0)
    small = cv2.merge([height, share])
    small = cv2.resize(small, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), max(sigma, 1.0))
    mean = small[..., 0] / np.maximum(small[..., 1], 1e-3)
    around = cv2.resize(mean, (x1 - x0, y1 - y0), interpolation=cv2.INTER_LINEAR)
    shadow = np.clip((around - height) * np.float32(1 / (9 * sigma)), 0, 0.55)
    return np.asarray(normal, np.float32), np.asarray(shadow, np.float32)


_KEY = np.array([-0.42, -0.62, 0.66], np.float32)
_HALF = _KEY + np.array([0, 0, 1], np.float32)  # halfway between the light and the eye
_HALF /= np.linalg.norm(_HALF)
_FILL = np.array([0.75, 0.15, 0.64], np.float32)


def _draw_clay(canvas: NDArray[np.float32], surface: _Surface, sigma: float) -> None:
    x0, y0, x1, y1 = surface.box
    normal, shadow = _soften(surface, sigma)
    key = np.clip(normal @ _KEY, 0, 1)
    fill = np.clip(normal @ _FILL, 0, 1)
    rim = (1 - normal[..., 2]) ** 2
    shine = np.clip(normal @ _HALF, 0, 1) ** 2
    shine = (shine**2) ** 2
    shine = shine * shine**2  # to the 24th, at a tenth of what a power costs
    light = (0.30 + 0.72 * key + 0.16 * fill) * (1 - shadow)
    colour = CLAY * light[..., None]
    # Warm where the light comes through thin flesh, cool at the rim: what makes clay look alive.
    colour[..., 0] += 26 * shadow + 20 * (1 - key) * light
    colour[..., 2] += 34 * rim
    colour += 34 * (shine * (1 - shadow))[..., None]
    colour = _smooth_seams(colour, surface.height[y0:y1, x0:x1])
    alpha = surface.cover[y0:y1, x0:x1] * _fade(canvas.shape[0], y0, y1)
    part = canvas[y0:y1, x0:x1]
    part += (np.minimum(colour, 255) - part) * alpha[..., None]


def _smooth_seams(colour: NDArray[np.float32], height: NDArray[np.float32]) -> NDArray[np.float32]:
    """Antialias where one finger passes before another: blur only where the height jumps inside the hand."""
    inside = np.where(height > -1e8, height, np.float32(0))
    kernel = np.ones((3, 3), np.uint8)
    seam = (cv2.dilate(inside, kernel) - cv2.erode(inside, kernel)) > 5
    seam &= cv2.erode((height > -1e8).astype(np.uint8), kernel) > 0
    wide = cv2.dilate(seam.astype(np.uint8), kernel)
    return np.asarray(cv2.copyTo(cv2.GaussianBlur(colour, (5, 5), 1.2), wide, colour), np.float32)


def _draw_glass(canvas: NDArray[np.float32], surface: _Surface, sigma: float, solid: _Surface | None) -> None:
    x0, y0, x1, y1 = surface.box
    colour, alpha = surface.glass = surface.glass or _glass_of(surface, sigma)
    if solid is not None:  # behind the live hand it is only a hint
        hidden = solid.height[y0:y1, x0:x1] > surface.height[y0:y1, x0:x1]
        alpha = np.where(hidden[..., None], alpha * np.float32(0.28), alpha)
    part = canvas[y0:y1, x0:x1]
    part += (colour - part) * alpha


def _glass_of(surface: _Surface, sigma: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Colour (h, w, 3) and opacity (h, w, 1) of glass: clear in the middle, bright at the rim."""
    x0, y0, x1, y1 = surface.box
    normal, _ = _soften(surface, sigma * 0.8)
    rim = np.maximum(1 - normal[..., 2], 0) ** 1.6
    key = np.clip(normal @ _KEY, 0, 1)
    alpha = (0.13 + 0.62 * rim + 0.10 * key**6) * surface.cover[y0:y1, x0:x1]
    alpha = np.clip(alpha, 0, 0.8) * _fade(surface.cover.shape[0], y0, y1)
    colour = GLASS + 60 * (key**8)[..., None]
    return colour.astype(np.float32), alpha[..., None].astype(np.float32)


def _fade(height: int, y0: int, y1: int) -> NDArray[np.float32]:
    """(rows, 1): 1, falling to 0 at the lower edge, where the stump of the arm leaves the picture."""
    y = np.arange(y0, y1, dtype=np.float32)[:, None]
    return np.asarray(np.clip((height - 2 - y) / (0.10 * height), 0, 1), np.float32)


@lru_cache(maxsize=4)
def background(size: tuple[int, int]) -> NDArray[np.float32]:
    """A calm gradient with a little light behind the hands, float32 (H, W, 3)."""
    width, height = size
    y = np.linspace(0, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    glow = np.exp(-((x / 0.75) ** 2) - ((y - 0.45) / 0.42) ** 2)[..., None]
    top, bottom = np.array(BACKGROUND_TOP, np.float32), np.array(BACKGROUND_BOTTOM, np.float32)
    return np.asarray(top + (bottom - top) * y[..., None] + glow * np.array([14, 20, 26], np.float32))


def marker(image: Image, xy: NDArray[np.float64], far: float, colour: Rgb, unit: float) -> None:
    """One joint at xy in pixels, `unit` being a hand unit in pixels.

    Near: a small ball. Farther: a larger one with a ring. Far: a large diamond.
    """
    shift, one = 4, 16
    x, y = round(float(xy[0]) * one), round(float(xy[1]) * one)
    radius = unit * (0.036 + 0.050 * far)
    dark = (10, 14, 22)
    edge = max(unit * 0.012, 1.0)

    def shape(r: float, c: Rgb) -> None:
        if far > 0.75:
            k = r * 1.25
            corners = np.array([[x, y - k * one], [x + k * one, y], [x, y + k * one], [x - k * one, y]])
            cv2.fillConvexPoly(image, np.round(corners).astype(np.int32), c, cv2.LINE_AA, shift)
        else:
            cv2.circle(image, (x, y), round(r * one), c, -1, cv2.LINE_AA, shift)

    if far > 0.35:
        shape(radius + 2.6 * edge, dark)
        shape(radius + 1.7 * edge, (244, 247, 252))
    shape(radius + 0.8 * edge, dark)
    shape(radius, colour)
    bright = tuple(int(c + (255 - c) * 0.6) for c in colour)
    cv2.circle(image, (round(x - radius * 0.3 * one), round(y - radius * 0.32 * one)),
               max(round(radius * 0.26 * one), 1), bright, -1, cv2.LINE_AA, shift)  # fmt: skip


def draw_hands(
    size: tuple[int, int],
    teacher: Array | None,
    live: Array | None,
    far: NDArray[np.floating] | None = None,
    camera: Camera | None = None,
    palette: str = "traffic",
    stand: Stand = "right",
    supersize: int = 480,
) -> Image:
    """The 3D picture.

    Args:
        size: width and height in pixels.
        teacher, live: (21, 3) in the hand frame, already of the side that is shown, or as it was held (see
            `stand`); None leaves it out.
        far: (21,) 0..1 from `closeness`; needed where live is given.
        supersize: hands are lit at no more than this height and enlarged: it bounds the work on big screens.

    Returns:
        uint8 RGB (H, W, 3).
    """
    camera = camera or Camera()
    width, height = size
    shrink = min(1.0, supersize / height)
    inner = (max(round(width * shrink), 8), max(round(height * shrink), 8))
    canvas = background(inner).copy()
    sigma = 0.014 * inner[1] * 0.5
    if stand == "turned":
        # Both meet at the wrist: near it, a live hand that points the other way has room as well.
        shown = teacher if teacher is not None else live
        middle = shown.mean(axis=0) / 3 if shown is not None else np.zeros(3, np.float32)
        teacher, live = (None if hand is None else hand - middle for hand in (teacher, live))
    reach = reach_of(teacher)
    solid = None
    if live is not None:
        solid = _flesh(live, camera, inner, stand, reach)
        if solid.box[2] > solid.box[0]:
            _draw_clay(canvas, solid, sigma)
    if teacher is not None:
        glass = _flesh(teacher, camera, inner, stand, reach)
        if glass.box[2] > glass.box[0]:
            _draw_glass(canvas, glass, sigma, solid)
    image = np.clip(canvas, 0, 255).astype(np.uint8)
    if inner != size:
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_CUBIC), np.uint8)
    if teacher is not None:
        _draw_links(image, teacher, live, far, camera, palette, stand, reach)
    return image


def _draw_links(
    image: Image,
    teacher: Array,
    live: Array | None,
    far: NDArray[np.floating] | None,
    camera: Camera,
    palette: str,
    stand: Stand,
    reach: float,
) -> None:
    """The lines from each live joint to the teacher's, and the teacher's joints, far ones last (on top)."""
    size = (image.shape[1], image.shape[0])
    at, depth, zoom = project(teacher, camera, size, stand, reach)
    if live is None or far is None:
        for j in np.argsort(depth):
            marker(image, at[j], 0.0, NEUTRAL, float(zoom[j]))
        return
    to, _, _ = project(live, camera, size, stand, reach)
    unit = float(zoom.mean())
    thick = max(round(unit * 0.018), 1)
    for colour, width in (((8, 24, 16), thick + 2), (LINE[palette], thick)):
        for j in range(1, 21):
            if np.linalg.norm(at[j] - to[j]) > 2:
                a, b = (tuple(int(v) for v in np.round(p * 16)) for p in (to[j], at[j]))
                cv2.line(image, a, b, colour, width, cv2.LINE_AA, 4)
    for p in to[1:]:
        spot = (round(p[0] * 16), round(p[1] * 16))
        cv2.circle(image, spot, round(unit * 0.022 * 16), (24, 30, 40), -1, cv2.LINE_AA, 4)
        cv2.circle(image, spot, round(unit * 0.015 * 16), (250, 246, 240), -1, cv2.LINE_AA, 4)
    far, rgb = of_joints(far, palette)
    for j in np.argsort(depth + 1e3 * far):
        marker(image, at[j], float(far[j]), (int(rgb[j, 0]), int(rgb[j, 1]), int(rgb[j, 2])), float(zoom[j]))
