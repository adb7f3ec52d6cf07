"""Putting arms before cameras: what is where, its light, what is behind it, what the webcam does to it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from handcoach_train.errors import TrainError
from handcoach_train.render import backdrop, draw, posture, starter
from handcoach_train.render.arm import Arm, Bodies, Floats, hand_axes, palm_normal
from handcoach_train.render.things import Thing, random_things, upper_arm
from handcoach_train.render.webcam import Picture, photograph

CAMERAS = 8


@dataclass
class View:
    """One picture with its truth.

    Attributes:
        image: uint8 RGB (H, W, 3) on a background; plain: the same hand on green.
        K (3, 3), M (4, 4): intrinsics and world to camera.
    """

    image: Picture
    plain: Picture
    K: Floats
    M: Floats


class Studio:
    """Everything that a process needs to take pictures: painter, people, environment maps."""

    def __init__(
        self, bodies: Path, width: int, height: int, skins: Path | None, hdri: Path | None,
        godot: Path | None = None,
    ) -> None:  # fmt: skip
        self.width, self.height = width, height
        self.bodies = Bodies(bodies)
        self.painter = draw.Painter(width, height, skins, godot)
        self.maps: list[NDArray[np.float32]] = []
        self.ambient: list[Floats] = []
        for file in sorted(hdri.glob("*.hdr")) if hdri else []:
            image = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
            if image is None or image.ndim != 3:
                raise TrainError(f"{file} is not an environment map: remove it from the folder.")
            sky = np.ascontiguousarray(image[..., ::-1], dtype=np.float32)
            self.maps.append(sky)
            self.ambient.append(draw.hdri_ambient(sky))
        noise = np.random.default_rng(0)
        self.noise = noise.normal(0, 1, (height + 64, width + 64, 3)).astype(np.float32)

    def light(self, rng: np.random.Generator, overhead: bool) -> tuple[draw.Light, int]:
        """A light, and the number of the environment map that it belongs to (-1: none)."""
        if self.maps and rng.random() < 0.7:
            i = int(rng.integers(len(self.maps)))
            return draw.random_light(rng, self.ambient[i], overhead), i
        return draw.random_light(rng, None, overhead), -1

    def background(
        self, rng: np.random.Generator, env: int, rotation: Floats, focal: float, true: bool
    ) -> NDArray[np.float32]:
        """float32 RGB 0..255 (H, W, 3) behind the hand; `true`: always turned as the camera is."""
        size = (self.width, self.height)
        if not true and rng.random() < 0.75:  # level, whatever way the hand is turned
            rotation = in_a_room(rng)[:3, :3]
        if env >= 0 and rng.random() < 0.75:
            fov = 2 * np.arctan(self.width / 2 / focal)
            fov = min(max(fov, 0.5), 1.6)
            view = draw.hdri_view(self.maps[env], rotation, fov, size)
            view = view * (rng.uniform(0.25, 0.7) / max(float(np.median(view)), 1e-3)) * 0.5
            return np.asarray(255 * np.clip(view, 0, 1) ** (1 / 2.2), dtype=np.float32)
        return backdrop.clutter(rng, self.width, self.height)

    def finish(self, rng: np.random.Generator, drawn: NDArray[np.floating]) -> Picture:
        """What a webcam does to the picture."""
        return photograph(rng, drawn, self.noise)


def look_at(eye: Floats, target: Floats, up: Floats) -> Floats:
    """World to camera (4, 4), x right, y down, z towards the target."""
    z = target - eye
    z = z / np.linalg.norm(z)
    x = np.cross(z, up)
    x /= np.linalg.norm(x)
    m = np.eye(4)
    m[:3, :3] = np.stack([x, np.cross(z, x), z])
    m[:3, 3] = -m[:3, :3] @ eye
    return m


def in_a_room(rng: np.random.Generator) -> Floats:
    """World to camera (4, 4) of a webcam at the origin: it looks ahead, and up is nearly up."""
    way, tilt = rng.uniform(0, 2 * np.pi), rng.normal(0, 0.25)
    aim = np.array([np.cos(way) * np.cos(tilt), np.sin(way) * np.cos(tilt), np.sin(tilt)])
    return look_at(np.zeros(3), aim, np.array([0, rng.normal(0, 0.08), 1]))


def project(k: Floats, m: Floats, points: Floats) -> Floats:
    """Pixels (N, 2) of world points (N, 3)."""
    c = points @ m[:3, :3].T + m[:3, 3]
    return np.asarray((c / c[:, 2:]) @ k[:2].T)


def _random_rotation(rng: np.random.Generator) -> Floats:
    q, r = np.linalg.qr(rng.normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    return np.asarray(q if np.linalg.det(q) > 0 else -q)


def on_table(
    rng: np.random.Generator,
    vertices: Floats,
    joints: Floats,
    azimuth: float | None = None,
    tilt: Floats | None = None,
) -> tuple[Floats, Floats]:
    """Lay an arm on the table z = 0, palm down, pointing to the camera at -y (turned by azimuth, degrees)."""
    if azimuth is None:
        azimuth = rng.normal(0, 28)
    a = np.deg2rad(azimuth)
    forward = np.array([np.sin(a), -np.cos(a), 0.0])
    down = np.array([0, 0, -1.0])
    target = np.stack([np.cross(forward, down), forward, down])
    flat = target.T @ hand_axes(joints)
    near = np.linalg.norm(vertices - joints[9], axis=1) < np.linalg.norm(joints[9]) * 1.9

    def turned(pitch: float, roll: float) -> Floats:
        lifted = cv2.Rodrigues(target[0] * np.deg2rad(pitch))[0]  # the wrist higher than the knuckles
        return np.asarray(lifted @ cv2.Rodrigues(forward * np.deg2rad(roll))[0] @ flat)

    if tilt is None and rng.random() < 0.6:  # it lies as low as it can: heel and fingertips touch
        hand, arm = vertices[near][::3], vertices[::5]
        roll = rng.normal(0, 4)
        heights = []
        for pitch in range(-20, 46, 5):
            z = turned(pitch, roll)[2]
            lowest = (hand @ z).min()
            through = max(0.0, lowest - float((arm @ z).min()))  # the forearm stays above the table
            heights.append((float((hand @ z).mean() - lowest) + 3 * through, pitch))
        tilt = np.array([min(heights)[1] + rng.normal(0, 2.5), roll])
    elif tilt is None:
        tilt = np.array([rng.normal(4, 8), rng.normal(0, 9)])
    turn = turned(tilt[0], tilt[1])
    vertices, joints = vertices @ turn.T, joints @ turn.T
    lift = np.array([0, 0, 0.001 - vertices[near, 2].min()])
    return vertices + lift, joints + lift


def _exercise_pose(rng: np.random.Generator, arm: Arm, kind: str | None) -> tuple[Floats, Floats, str]:
    if kind is None and rng.random() < 0.75:
        kind = str(rng.choice(["open", "almost", "between", "fist"], p=[0.3, 0.25, 0.25, 0.2]))
    kind = kind or posture.random_kind(rng)
    for _ in range(12):
        _, _, pose = posture.random_posed(rng, arm, kind)
        # On a table the forearm comes down from behind: the wrist is a little extended.
        pose.wrist[0] = rng.uniform(-38, 4)
        if kind not in ("open", "almost", "between"):
            break
        pose.thumb[0] = rng.uniform(-8, 22)
        if not posture.collides(posture.joints_of_pose(arm, pose)):
            break
    return *posture.bend(arm, pose), kind


def _webcam(rng: np.random.Generator, target: Floats) -> tuple[Floats, float]:
    """World to camera and focal length (per width) of a laptop's webcam before a table."""
    eye = target + np.array([rng.normal(0, 0.12), -rng.uniform(0.18, 0.6), rng.uniform(0.06, 0.45)])
    aim = target + np.array([rng.normal(0, 0.06), rng.normal(0.03, 0.06), rng.normal(0, 0.04)])
    up = np.array([rng.normal(0, 0.07), 0, 1.0])
    return look_at(eye, aim, up), float(rng.uniform(0.7, 1.1))


def hand_views(
    studio: Studio, rng: np.random.Generator, person: int, view: str, kind: str | None = None
) -> tuple[Floats, list[View], dict[str, Any]]:
    """One posed right hand by eight cameras, the hand filling about two thirds of each square picture.

    Returns:
        joints (21, 3) in world metres, the views, and what is in the pictures (see `facts`).
    """
    arm = studio.bodies.arm(person)
    size = studio.width
    table = None
    light, env = studio.light(rng, overhead=view == "exercise")
    if view == "exercise":
        vertices, joints, name = _exercise_pose(rng, arm, kind)
        vertices, joints = on_table(rng, vertices, joints)
        table = draw.random_table(rng)
    elif view == "library":
        name = kind or str(rng.choice(list(starter.SHOWN)))
        vertices, joints, pose = starter.on_the_way(rng, arm, name)
        # In a room where a camera that sees it so stands level: its light comes from above.
        turn = (
            in_a_room(rng)[:3, :3].T
            @ starter.turn_to_camera(rng, starter.shown(name), pose).T
            @ hand_axes(joints)
        )
        vertices, joints = vertices @ turn.T, joints @ turn.T
    else:
        name = kind or posture.random_kind(rng)
        vertices, joints, _ = posture.random_posed(rng, arm, name)
        turn = _random_rotation(rng)
        vertices, joints = vertices @ turn.T, joints @ turn.T
    look = draw.random_look(rng, studio.painter.of_mesh[arm.mesh])
    cameras: list[tuple[Floats, Floats]] = []
    while len(cameras) < CAMERAS:
        if view == "exercise":
            m, _ = _webcam(rng, joints[9])
        elif view == "library":  # as the exercise says, and as people do who do not listen
            turn = starter.turn_to_camera(rng, starter.shown(name), pose).T @ hand_axes(joints)
            m = np.eye(4)
            m[:3, :3] = cv2.Rodrigues(rng.normal(0, 0.15, 3))[0] @ turn
            m[:3, 3] = [*rng.normal(0, 0.02, 2), rng.uniform(0.28, 0.9)] - m[:3, :3] @ joints[9]
        else:
            d = rng.normal(size=3)
            if rng.random() < 0.5:  # people show a camera their palm, or the back of the hand
                d = 0.5 * d + palm_normal(joints) * rng.choice([-1.0, 1.0])
            d /= np.linalg.norm(d)
            back = vertices[np.argmax(arm.traits[:, 3])] - joints[0]
            if d @ back / np.linalg.norm(back) > 0.72:  # from behind the elbow there is no hand to see
                continue
            m = look_at(
                joints[9] + d * rng.uniform(0.28, 0.9), joints[9] + rng.normal(0, 0.01, 3), rng.normal(size=3)
            )
        unit = project(np.eye(3), m, joints)
        extent = np.linalg.norm(unit - unit[9], axis=1).max()
        f = size * rng.uniform(0.29, 0.37) / extent
        # The hand is near the middle of its picture, as in HanCo; K says where the optical axis is.
        c = size / 2 + rng.uniform(-0.04, 0.04, 2) * size - f * unit[9]
        k = np.array([[f, 0, c[0]], [0, f, c[1]], [0, 0, 1.0]])
        cameras.append((k, m))
    up = None if view == "exercise" else np.zeros(3)  # in free space no side is darker for lying below
    things = random_things(rng, joints, view == "exercise")
    limb = _limb(rng, arm, vertices, look)
    pictures = studio.painter.paint(
        [(arm, vertices, look, False)], light, cameras, table, up, [limb, *things]
    )
    green = np.array([90, 170, 90], np.float32) * rng.uniform(0.7, 1.2)
    somebody = view == "any" and rng.random() < 0.15
    views, hidden = [], []
    for (k, m), picture in zip(cameras, pictures, strict=True):
        alpha = picture[..., 3:].astype(np.float32) / 255
        drawn = picture[..., :3].astype(np.float32)  # premultiplied by the resolve
        plain = np.clip(drawn + (1 - alpha) * green, 0, 255).astype(np.uint8)
        behind = studio.background(rng, env, m[:3, :3], k[0, 0], view == "exercise")
        if somebody:
            behind = backdrop.person(rng, behind, look)
        if rng.random() < 0.06:  # a bright window behind the hand
            drawn, behind = (
                drawn * rng.uniform(0.2, 0.6),
                behind * rng.uniform(1.1, 1.8) + rng.uniform(20, 120),
            )
        image: NDArray[Any] = drawn + (1 - alpha) * behind
        hidden.append(rng.random() < 0.09)
        if hidden[-1]:
            image = backdrop.in_front(rng, image, project(k, m, joints), behind[::-1])
        views.append(View(studio.finish(rng, image), plain, k, m))
    about = {
        **facts(arm, look),
        "posture": name,
        "thing": bool(things),
        "person_behind": bool(somebody),
        "partly_hidden": [bool(h) for h in hidden],  # of each camera's picture
    }
    return joints, views, about


def _raised(rng: np.random.Generator, joints: Floats, left: bool) -> Floats:
    """A rotation (3, 3) that holds a hand of joints (21, 3) up to a camera, three of four times its palm."""
    _, forward, out = hand_axes(joints)
    out = -out if left else out  # a left hand's joints say the back's normal
    face = -1.0 if rng.random() < 0.75 else 1.0
    up, towards = np.array([0, -1.0, 0]), np.array([0, 0, face])
    wobble = cv2.Rodrigues(rng.normal(0, [0.35, 0.5, 0.4]))[0]
    held = np.stack([np.cross(up, towards), up, towards])
    return np.asarray(wobble @ held.T @ np.stack([np.cross(forward, out), forward, out]))


def _in_the_picture(rng: np.random.Generator, joints: Floats, k: Floats, width: int, height: int) -> Floats:
    """Where (3,) to move a hand of joints (21, 3), metres, so that all of it is seen."""
    margin = 24  # pixels
    for _ in range(200):
        depth = rng.uniform(*starter.DISTANCE)
        place = np.array([rng.uniform(0.2, 0.8) * width, rng.uniform(0.2, 0.8) * height])
        shift = np.array([*((place - k[:2, 2]) / k[0, 0] * depth), depth]) - joints[9]
        seen = project(k, np.eye(4), joints + shift)
        if (seen > margin).all() and (seen < np.array([width, height]) - margin).all():
            break
    return shift


def _limb(rng: np.random.Generator, arm: Arm, vertices: Floats, look: draw.Look) -> Thing:
    return upper_arm(rng, vertices, arm.traits[:, 3], look.cloth if look.sleeve < 1 else look.back)


def facts(arm: Arm, look: draw.Look) -> dict[str, Any]:
    """What a table of figures may sort pictures by."""
    return {
        "mesh": arm.mesh,
        "skin": look.skin,
        "tone": round(look.tone, 3),
        "textured": look.texture >= 0,
        "sleeve": look.sleeve < 1,
        "band": look.band < 1,
        "ring": look.ring >= 0,
        "polish": look.polish,
    }


def full_frame(
    studio: Studio, rng: np.random.Generator, view: str, kind: str | None = None, hands: int | None = None
) -> tuple[Picture, list[dict[str, Any]]]:
    """A webcam's whole frame with 0 to 2 hands, left or right; in the view `library` with one that shows the
    posture `kind` of `starter` as its exercise says, or without `kind` any, as people do who do not listen.

    Returns:
        image uint8 RGB, and per hand `side`, `points` (21, 2) pixels, `joints` (21, 3) in camera metres,
        `facts`, and `person`, whose it is.
    """
    shown = (kind or str(rng.choice(list(starter.SHOWN)))) if view == "library" else None
    if shown:
        hands = 1
    elif hands is None:
        hands = (
            int(rng.choice([0, 1, 2], p=[0.12, 0.6, 0.28]))
            if view == "any"
            else int(rng.choice([1, 2], p=[0.85, 0.15]))
        )
    light, env = studio.light(rng, overhead=view == "exercise")
    width, height = studio.width, studio.height
    person = int(rng.integers(len(studio.bodies)))
    arm = studio.bodies.arm(person)
    look = draw.random_look(rng, studio.painter.of_mesh[arm.mesh])
    table = draw.random_table(rng) if view == "exercise" else None
    placed, things = [], []
    if view == "exercise":
        m, focal = _webcam(rng, np.array([0, 0, 0.03]))
    else:
        m, focal = in_a_room(rng), float(rng.uniform(0.7, 1.1))
    f = focal * width
    k = np.array([[f, 0, width / 2], [0, f, height / 2], [0, 0, 1.0]])
    truths = []
    first_side = rng.random() < 0.5
    for n in range(hands):
        left = bool(first_side) ^ (n == 1 and rng.random() < 0.8)
        if view == "exercise":
            vertices, joints, name = _exercise_pose(rng, arm, kind)
            vertices, joints = on_table(rng, vertices, joints)
            if left:
                vertices, joints = vertices * [-1, 1, 1], joints * [-1, 1, 1]
            shift = np.array([rng.normal(0, 0.05), rng.normal(0, 0.05), 0]) - joints[9] * [1, 1, 0]
            if hands == 2:
                shift[0] += 0.12 if n else -0.12
        elif shown:
            name, how = shown, starter.shown(shown)
            vertices, joints, pose = (
                starter.posed(rng, arm, how) if kind else starter.on_the_way(rng, arm, name)
            )
            turn = starter.turn_to_camera(rng, how, pose).T @ hand_axes(joints)
            if not kind:
                turn = cv2.Rodrigues(rng.normal(0, 0.25, 3))[0] @ turn
            vertices, joints = vertices @ turn.T, joints @ turn.T
            if left:
                vertices, joints = vertices * [-1, 1, 1], joints * [-1, 1, 1]
            shift = _in_the_picture(rng, joints, k, width, height)
        else:
            name = kind or posture.random_kind(rng)
            vertices, joints, _ = posture.random_posed(rng, arm, name)
            if left:
                vertices, joints = vertices * [-1, 1, 1], joints * [-1, 1, 1]
            # Mostly upright, as people raise a hand to a webcam; any turn otherwise.
            turn = _raised(rng, joints, left) if rng.random() < 0.6 else _random_rotation(rng)
            vertices, joints = vertices @ turn.T, joints @ turn.T
            depth = float(np.exp(rng.uniform(np.log(0.25), np.log(1.1))))
            lo, hi = (0.0, 1.0) if hands == 1 else ((0.0, 0.45) if n == 0 else (0.55, 1.0))
            place = np.array([rng.uniform(lo, hi) * width, rng.uniform(0.05, 0.95) * height])
            shift = np.array([*((place - [width / 2, height / 2]) / f * depth), depth]) - joints[9]
        vertices, joints = vertices + shift, joints + shift
        if view != "exercise":  # until here as the camera sees them
            vertices, joints = vertices @ m[:3, :3], joints @ m[:3, :3]
        if (joints @ m[:3, :3].T + m[:3, 3])[:, 2].min() < 0.08:
            continue
        placed.append((arm, vertices, look, left))
        things.append(_limb(rng, arm, vertices, look))
        camera = joints @ m[:3, :3].T + m[:3, 3]
        truths.append(
            {
                "side": "left" if left else "right",
                "points": project(k, m, joints),
                "joints": camera,
                **facts(arm, look),
                "posture": name,
                "person": person,
            }
        )
        if not left and not (shown and kind):
            things += random_things(rng, joints, view == "exercise")
    behind: NDArray[np.floating] = studio.background(rng, env, m[:3, :3], f, true=True)
    for _ in range(int(rng.choice([0, 1, 2], p=[0.55, 0.35, 0.1])) if view == "any" else 0):
        behind = backdrop.person(rng, behind, look)
    if placed:
        picture = studio.painter.paint(placed, light, [(k, m)], table, None, things)[0]
        alpha = picture[..., 3:].astype(np.float32) / 255
        behind = picture[..., :3].astype(np.float32) + (1 - alpha) * behind
    return studio.finish(rng, behind), truths
