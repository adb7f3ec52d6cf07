"""The postures of the starter library, and how a hand is held before the camera to show them.

Each posture says its joint angles in degrees, as `posture.Pose` has them (0 straight, flexion positive), as a
therapist would show it: between the good and the almost good posture lies a gap in which nobody shows
anything.
Ranges keep to the goniometric norms of `posture`; wrist extension 60, flexion 60, a half turn of the forearm.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from handcoach_train.errors import TrainError
from handcoach_train.render import posture
from handcoach_train.render.arm import Arm, Floats
from handcoach_train.render.posture import Pose

Range = tuple[float, float]
STRAIGHT: tuple[Range, Range, Range] = ((-10, 10), (0, 12), (0, 8))
BENT: tuple[Range, Range, Range] = ((10, 20), (10, 24), (4, 12))
THUMB_OUT: tuple[Range, ...] = ((-4, 24), (26, 42), (-6, 6), (-4, 14), (-8, 12))
TOUCH: Range = (0.1, 0.16)  # between two tips that touch, in units of wrist to middle MCP
DISTANCE: Range = (0.3, 0.62)  # metres from the camera to the hand: what the set-up advice says
TRIES = 60  # of a posture without collisions, and of a thumb that comes as near as it shall
TIPS = {"index": 8, "middle": 12, "ring": 16, "little": 20}


@dataclass(frozen=True)
class Shown:
    """A posture of the library.

    Attributes:
        hold: upright (elbow on the table, fingers up, palm to the camera) or level (palm down, the forearm on
            the table).
        flexion: MCP, PIP and DIP of every finger. own: of single fingers, by number (0 index) instead.
        fan: degrees between neighbouring fingers.
        thumb: opposition, abduction, twist, MCP, IP.
        wrist: flexion.
        turn: of an upright hand from palm to the camera (0) to its back (180); of a level one from the little
            finger's side to the camera (0) over pointing at it (90) to the thumb's side (180).
        above: how far the camera looks down on it.
        touch: finger whose tip the thumb comes to; opened: how far thumb and fingers have gone from there
            towards the loosely straight hand, 0..1.
        kind: a posture of `posture.KINDS` that is taken as it is.
    """

    hold: str = "upright"
    flexion: tuple[Range, Range, Range] = STRAIGHT
    own: dict[int, tuple[Range, Range, Range]] = field(default_factory=dict)
    fan: Range = (0, 5)
    thumb: tuple[Range, ...] = THUMB_OUT
    wrist: Range = (-20, 10)
    turn: Range = (-10, 30)
    above: Range = (-6, 14)
    touch: str = ""
    opened: Range = (0, 0)
    kind: str = ""


BESIDE = (38, 78)  # turned so far that knuckles and fingertips are seen from the little finger's side
THUMB_SIDE = (112, 148)  # it sees a level hand from its front and its thumb's side
DOWN = (22, 42)  # the laptop stands on a book: it looks down on a hand that lies on the table
ALONG = (8, 40)  # the forearm lies along the screen, the little finger's side to the camera


def _loose(low: float, high: float) -> Shown:
    """A forearm along the screen, looked down on, fingers as they like, with the wrist bent so far."""
    return Shown("level", ((-8, 20), (0, 30), (0, 16)), fan=(0, 8), wrist=(low, high), turn=ALONG, above=DOWN)


SHOWN = {
    "flat": Shown(),
    "apart": Shown(fan=(15, 19), thumb=((-4, 15), (36, 45), (-6, 6), (-4, 10), (-8, 8))),
    "apart_half": Shown(fan=(8, 10)),
    **{f"thumb_{finger}": Shown(touch=finger) for finger in TIPS},
    **{f"thumb_{finger}_half": Shown(touch=finger, opened=(0.4, 0.6)) for finger in TIPS},
    "straight": Shown(turn=BESIDE),
    "closed": Shown(kind="fist", turn=BESIDE),
    "closed_half": Shown(flexion=((34, 52), (46, 66), (18, 36)), turn=BESIDE),
    "hooked": Shown(flexion=((-8, 14), (86, 106), (42, 68)), turn=BESIDE),
    "hooked_half": Shown(flexion=((-8, 14), (40, 58), (16, 32)), turn=BESIDE),
    "tabletop": Shown(flexion=((70, 90), (0, 14), (0, 8)), turn=BESIDE),
    "tabletop_half": Shown(flexion=((30, 46), (0, 14), (0, 8)), turn=BESIDE),
    "turned": Shown(turn=(155, 195)),
    "turned_half": Shown(turn=(105, 130)),  # edge-on, nobody sees what a hand does
    "index_resting": Shown("level", BENT, fan=(0, 6), turn=THUMB_SIDE, above=DOWN),
    "index_lifted": Shown(
        "level", BENT, {0: ((-24, -12), (0, 8), (0, 5))}, (0, 6), turn=THUMB_SIDE, above=DOWN
    ),
    "wrist_level": _loose(-8, 8),
    "wrist_up_half": _loose(-32, -20),
    "wrist_up": _loose(-65, -46),
    "wrist_down_half": _loose(20, 32),
    "wrist_down": _loose(46, 65),
}


def shown(name: str) -> Shown:
    """Raises TrainError: there is no such posture."""
    if name not in SHOWN:
        raise TrainError(f"The posture {name!r} is none of the library's: {', '.join(SHOWN)}.")
    return SHOWN[name]


def sample(rng: np.random.Generator, how: Shown) -> Pose:
    """A random pose as `how` says, the thumb not yet at a finger."""
    flexion = np.array([_draw(rng, how.own.get(f, how.flexion)) for f in range(4)])
    if not how.own:  # the fingers of a hand bend alike
        flexion = 0.3 * flexion + 0.7 * np.array(_draw(rng, how.flexion))
    fan = rng.uniform(*how.fan)
    spread = np.array([1.0, 0.1, -0.8, -1.6]) * fan + rng.normal(0, 1, 4)
    spread *= 1 - 0.85 * np.clip(flexion[:, 0] / 90, 0, 1)  # a bent MCP cannot spread: taut ligaments
    thumb = np.array(_draw(rng, how.thumb))
    return Pose(
        flexion, spread, thumb, np.array([rng.uniform(*how.wrist), rng.normal(0, 5), rng.normal(0, 10)])
    )


def posed(rng: np.random.Generator, arm: Arm, how: Shown) -> tuple[Floats, Floats, Pose]:
    """Vertices, joints and pose of one person's hand in a posture, without collisions if a try finds that."""
    if how.kind:
        _, _, pose = posture.random_posed(rng, arm, how.kind)
        pose.wrist[0] = rng.uniform(*how.wrist)
    elif how.touch:
        pose = _touching(rng, arm, how)
        if any(how.opened):
            straight = replace(sample(rng, how), wrist=pose.wrist)
            pose = posture.between(pose, straight, rng.uniform(*how.opened))
    else:
        for _ in range(TRIES):
            pose = sample(rng, how)
            if not posture.collides(posture.joints_of_pose(arm, pose)):
                break
    return *posture.bend(arm, pose), pose


def on_the_way(rng: np.random.Generator, arm: Arm, name: str) -> tuple[Floats, Floats, Pose]:
    """As `posed`, but every other hand is on its way to another posture that is held alike: a network is to
    know what lies between the postures, too."""
    how = shown(name)
    vertices, joints, pose = posed(rng, arm, how)
    if rng.random() < 0.5:
        alike = [other for other in SHOWN.values() if other.hold == how.hold]
        goal = posed(rng, arm, alike[rng.integers(len(alike))])[2]
        between = posture.between(pose, goal, rng.uniform(0.1, 0.9))
        if not posture.collides(posture.joints_of_pose(arm, between)):
            return *posture.bend(arm, between), between
    return vertices, joints, pose


def _touching(rng: np.random.Generator, arm: Arm, how: Shown) -> Pose:
    """The thumb's tip at a finger's; the others loosely straight."""
    finger, tip = list(TIPS).index(how.touch), TIPS[how.touch]
    goal = rng.uniform(*TOUCH)
    base = sample(rng, how)
    bent = np.array([base.flexion[f] + [abs(f - finger) < 2 and 12, 0, 0] for f in range(4)])

    def cost(x: Floats) -> tuple[float, Pose]:
        flexion = bent.copy()
        flexion[finger] = x[:3]
        # A neighbour follows: their tendons are one.
        for f in (finger - 1, finger + 1):
            if 0 <= f < 4:
                flexion[f] = 0.65 * flexion[f] + 0.35 * x[:3]
        pose = Pose(flexion, base.spread * 0.5, x[3:], base.wrist)
        joints = posture.joints_of_pose(arm, pose)
        gap = np.linalg.norm(joints[tip] - joints[4]) / np.linalg.norm(joints[9])
        return abs(float(gap) - goal) + 0.3 * posture.collides(joints), pose

    low = np.array([25.0, 25, 5, 25, 14, -12, 0, 0])
    high = np.array([75.0, 70, 45, 80, 45, 20, 45, 60])
    best_x = rng.uniform(low, high)
    best, pose = cost(best_x)
    for step in range(4 * TRIES):
        if best < 0.02:
            break
        wide = step < TRIES
        x = rng.uniform(low, high) if wide else best_x + rng.normal(0, 0.12, 8) * (high - low)
        x = np.clip(x, low, high)
        now, other = cost(x)
        if now < best:
            best, pose, best_x = now, other, x
    return pose


def turn_to_camera(rng: np.random.Generator, how: Shown, pose: Pose) -> Floats:
    """Rows: lateral (to the index's side), forward and out of the palm of a right hand as it is held, in the
    camera's axes (x right, y down, z away), with the sway of people and of where laptops stand."""
    if how.hold == "upright":  # a turning forearm takes the palm to the body's middle, the picture's right
        forward, out, turn, roll = np.array([0, -1.0, 0]), np.array([0, 0, -1.0]), -rng.uniform(*how.turn), 8
    else:  # the forearm comes from the picture's left; it stays level, the wrist bends the hand
        forward, out, turn, roll = np.array([1.0, 0, 0]), np.array([0, 1.0, 0]), rng.uniform(*how.turn), 4
        bend = cv2.Rodrigues(np.cross(forward, out) * np.deg2rad(pose.wrist[0]))[0]
        forward, out = bend @ forward, bend @ out
    axes = np.stack([np.cross(forward, out), forward, out])
    for axis, degrees in (
        (1, turn),
        (0, rng.uniform(*how.above) + rng.normal(0, 4)),
        (2, rng.normal(0, roll)),
    ):
        axes = axes @ cv2.Rodrigues(np.eye(3)[axis] * np.deg2rad(degrees))[0].T
    return np.asarray(axes)


def _draw(rng: np.random.Generator, ranges: tuple[Range, ...]) -> list[float]:
    return [float(rng.uniform(low, high)) for low, high in ranges]
