"""The tracker finds, follows, loses and explains; its landmarks are in the camera's axes; sides are clear."""

import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from tiny.hands import blank, draw_hand, points, template

from handcoach import model
from handcoach.crop import Crop, crop_around, default_focal, extent_of
from handcoach.finder import Detection, Finder
from handcoach.hand import Array, Frame, hand_frame, normalise
from handcoach.landmarker import Landmarker, Reading
from handcoach.tracker import SIDE_READINGS, Choice, OneEuro, Track, Tracker, _steady

FPS = 30


class Counting:
    """Wraps a finder or landmarker and counts its calls."""

    def __init__(self, inner: object) -> None:
        self.inner, self.calls = inner, 0

    def __getattr__(self, name: str) -> object:
        value = getattr(self.inner, name)
        if name not in ("find", "read"):
            return value
        self.calls += 1
        return value


@pytest.fixture(scope="module")
def models(tiny_finder: Path, tiny_landmarks: Path) -> tuple[Finder, Landmarker]:
    return Finder(model.read(tiny_finder)), Landmarker(model.read(tiny_landmarks))


Make = Callable[..., Tracker]


@pytest.fixture
def make(models: tuple[Finder, Landmarker]) -> Make:
    def tracker(hand: Choice = "auto", still: bool = False) -> Tracker:
        return Tracker(Counting(models[0]), Counting(models[1]), hand, still)  # type: ignore[arg-type]

    return tracker


def play(tracker: Tracker, images: list[np.ndarray], start: int = 0) -> list[Track]:
    return [tracker.step(Frame(im, (start + i) / FPS, start + i)) for i, im in enumerate(images)]


def hand_at(x: float, y: float, size: float = 100, **how: object) -> np.ndarray:
    return draw_hand(blank(), x, y, size, **how)  # type: ignore[arg-type]


# --- axes ---


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("roll", [0.0, 1.0, math.pi / 2, -2.4, math.pi])
def test_points_and_landmarks_of_a_turned_hand(make: Make, roll: float, left: bool) -> None:
    track = make(still=True).step(Frame(hand_at(320, 240, roll=roll, left=left), 0, 0))
    assert track.hand is not None and track.hand.side == ("left" if left else "right")
    np.testing.assert_allclose(track.hand.points, points(320, 240, 100, roll=roll, left=left), atol=3)
    c, s = math.cos(roll), math.sin(roll)
    truth = template(0.0) * ([-1, 1, 1] if left else [1, 1, 1]) @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])
    np.testing.assert_allclose(track.hand.landmarks, truth, atol=0.05)


def test_a_frame_turned_by_90_degrees_turns_the_landmarks_by_90_degrees(make: Make) -> None:
    image = hand_at(330, 250, bend=0.5)
    before = make(still=True).step(Frame(image, 0, 0)).hand
    turned = np.ascontiguousarray(cv2.rotate(image, cv2.ROTATE_90_CLOCKWISE))
    after = make(still=True).step(Frame(turned, 0, 0)).hand
    assert before is not None and after is not None
    x, y, z = before.landmarks.T
    np.testing.assert_allclose(after.landmarks, np.stack([-y, x, z], axis=1), atol=0.05)
    px, py = before.points.T
    np.testing.assert_allclose(after.points, np.stack([480 - py, px], axis=1), atol=2)


def test_a_mirrored_frame_gives_the_other_hand_with_the_same_canonical_landmarks(make: Make) -> None:
    image = hand_at(400, 230, bend=1.0, roll=0.4)
    one = make(still=True).step(Frame(image, 0, 0)).hand
    other = make(still=True).step(Frame(np.ascontiguousarray(image[:, ::-1]), 0, 0)).hand
    assert one is not None and other is not None
    assert (one.side, other.side) == ("right", "left")
    np.testing.assert_allclose(one.canonical, other.canonical, atol=0.03)


class Pinhole:
    """Finder and landmarker that know where a hand in space is, and see it as a perfect network would:
    through the crop, in its axes."""

    threshold, margin, roll, size = 0.5, 1.3, True, 64

    def __init__(self, joints: np.ndarray, right: float = 1.0, width: int = 640, height: int = 480) -> None:
        self.width, self.height, self.right = width, height, right
        self.presence, self.score = 1.0, 0.9
        self.others: list[Detection] = []  # what the finder sees besides
        self.show(joints)

    def show(self, joints: np.ndarray) -> None:
        self.joints = joints
        focal = default_focal(self.width, self.height)
        self.points = joints[:, :2] / joints[:, 2:] * focal + [self.width / 2, self.height / 2]
        self.truth, _, _ = normalise(joints)

    def find(
        self, image: np.ndarray, threshold: float = 0.5, fill: float = 1.0, both: bool = False
    ) -> list[Detection]:
        p = self.points.astype(np.float32)
        found = Detection(self.score, self.right, p[0], p[9], extent_of(p))
        return [d for d in (found, *self.others) if d.score >= threshold]

    def read(self, image: np.ndarray, crop: Crop) -> Reading:
        seen = crop.from_camera(self.truth, self.width, self.height)
        inside = crop.to_unit(self.points)
        return Reading(
            crop.to_camera(seen, self.width, self.height), crop.to_frame(inside), self.presence, self.right
        )


@pytest.mark.parametrize("x,y", [(0.0, 0.0), (0.28, 0.0), (-0.27, 0.16), (0.25, -0.08)])
def test_a_hand_at_the_border_is_in_the_cameras_axes(x: float, y: float) -> None:
    world = Pinhole(template(0.4) * 0.09 + [x, y, 0.6])
    track = Tracker(world, world, still=True).step(Frame(blank(), 0, 0))  # type: ignore[arg-type]
    assert track.hand is not None
    np.testing.assert_allclose(track.hand.landmarks, world.truth, atol=1e-4)
    np.testing.assert_allclose(track.hand.points, world.points, atol=0.05)


def test_landmarks_are_normalised_after_smoothing() -> None:
    rng = np.random.default_rng(0)
    world = Pinhole(template(0.4) * 0.09 + [0, 0, 0.6])
    tracker = Tracker(world, world)  # type: ignore[arg-type]
    for i in range(30):
        world.show((template(i / 30) * 0.09 + rng.normal(0, 0.003, (21, 3))) + [0.01 * i, 0, 0.6])
        hand = tracker.step(Frame(blank(), i / FPS, i)).hand
        assert hand is not None
        np.testing.assert_allclose(hand.landmarks[0], 0, atol=1e-6)
        assert np.linalg.norm(hand.landmarks[9]) == pytest.approx(1, abs=1e-5)


# --- find, follow, lose ---


def test_a_hand_is_followed_without_the_finder_but_for_a_look_every_second(make: Make) -> None:
    tracker = make()
    images = [hand_at(250 + 2 * i, 240) for i in range(61)]
    tracks = play(tracker, images)
    assert all(t.hand is not None for t in tracks)
    assert tracker.finder.calls == 3  # type: ignore[attr-defined]
    # The first frame: both ways round, and one refinement; then once a frame.
    assert tracker.landmarker.calls == 2 + 1 + 60  # type: ignore[attr-defined]
    assert tracks[-1].hand is not None
    np.testing.assert_allclose(tracks[-1].hand.points[9], [370, 240], atol=10)


def test_a_hand_that_jumps_is_found_again_in_the_same_frame(make: Make) -> None:
    tracker = make()
    play(tracker, [hand_at(150, 200)] * 5)
    (track,) = play(tracker, [hand_at(500, 280, bend=1.0)], start=5)
    assert track.hand is not None and track.raw is not None
    np.testing.assert_allclose(track.hand.points[9], [500, 280], atol=5)
    np.testing.assert_allclose(track.hand.points, track.raw.points)  # no smoothing across the jump
    np.testing.assert_allclose(track.hand.landmarks, track.raw.landmarks, atol=1e-6)


def test_from_fist_to_open_hand_in_three_frames(make: Make) -> None:
    tracker = make()
    bends = [1.0] * 10 + [0.7, 0.3] + [0.0] * 20
    tracks = play(tracker, [hand_at(320, 260, bend=b) for b in bends])
    assert all(t.hand is not None for t in tracks)
    last = tracks[-1].hand
    assert last is not None
    np.testing.assert_allclose(last.points, points(320, 260, 100), atol=4)


def test_a_hand_that_leaves_is_lost_at_once_and_one_that_comes_is_found_at_once(make: Make) -> None:
    tracker = make()
    hand, empty = hand_at(320, 240), blank()
    tracks = play(tracker, [hand] * 3 + [empty] * 3 + [hand] * 2)
    assert [t.hand is not None for t in tracks] == [True] * 3 + [False] * 3 + [True] * 2
    assert {t.reason for t in tracks[3:6]} == {"no_hand"}


def test_a_long_gap_or_a_clock_that_goes_back_starts_anew(make: Make) -> None:
    tracker = make()
    tracker.step(Frame(hand_at(320, 240, left=True), 100.0, 0))
    for t in (200.0, 3.0):
        track = tracker.step(Frame(hand_at(320, 240, bend=1.0), t, 1))
        assert track.hand is not None and track.hand.side == "right"
        np.testing.assert_allclose(track.hand.points, points(320, 240, 100, bend=1.0), atol=4)


def test_stills_have_no_memory(make: Make) -> None:
    tracker = make(still=True)
    images = [hand_at(150, 200), hand_at(500, 300, left=True), blank(), hand_at(320, 240, bend=1.0)]
    together = [tracker.step(Frame(im, 0, i)) for i, im in enumerate(images)]
    for image, track in zip(images, together, strict=True):
        alone = make(still=True).step(Frame(image, 0, 0))
        assert (alone.hand is None) == (track.hand is None)
        if alone.hand is not None and track.hand is not None:
            np.testing.assert_array_equal(alone.hand.landmarks, track.hand.landmarks)


# --- why there is no hand ---


def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (480, 640, 3)).astype(np.uint8)


@pytest.mark.parametrize(
    "image,reason",
    [
        (blank(), "no_hand"),
        (blank(grey=0), "too_dark"),
        (blank(grey=255), "too_bright"),
        (np.vstack([blank(640, 200, grey=255), blank(640, 280, grey=200)]), "no_hand"),  # a window
        (noise(), "no_hand"),
        (hand_at(600, 240, 140, roll=math.pi / 2), "half_out"),
        (hand_at(320, 30, 140), "half_out"),
    ],
)
@pytest.mark.parametrize("still", [True, False])
def test_why_there_is_no_hand(make: Make, image: np.ndarray, reason: str, still: bool) -> None:
    for track in play(make(still=still), [image] * 3):
        assert track.hand is None and track.reason == reason


def test_a_reason_does_not_change_with_every_frame(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks at the whole picture and at a smaller one alternate, and guess differently."""
    tracker, n = make(), itertools.count()

    def said(*guesses: str, frames: int = 60) -> list[str | None]:
        guess = itertools.cycle(guesses)
        monkeypatch.setattr(tracker, "_reason", lambda image, detections: next(guess))
        return [tracker.step(Frame(blank(), next(n) / 30, 0)).reason for _ in range(frames)]

    assert said("no_hand", "half_out", "too_far") == ["no_hand", *["half_out"] * 59]
    turned = said("no_hand")
    assert turned[0] == "half_out" and turned[-1] == "no_hand" and turned == sorted(turned)
    assert said(*["too_far"] * 24, "half_out")[-30:] == ["too_far"] * 30  # a stray guess keeps nothing up


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (3, 2), (2000, 40), (2001, 1501)])
def test_frames_of_odd_sizes_do_no_harm(make: Make, size: tuple[int, int]) -> None:
    for grey in (10, 200):
        track = make(still=True).step(Frame(blank(*size, grey=grey), 0, 0))
        assert track.hand is None


def test_hands_in_large_and_small_frames(make: Make) -> None:
    for scale in (0.3, 1, 3, 6.1):
        image = draw_hand(
            blank(round(640 * scale), round(480 * scale)), 300 * scale, 250 * scale, 110 * scale
        )
        track = make(still=True).step(Frame(image, 0, 0))
        assert track.hand is not None
        truth = points(300 * scale, 250 * scale, 110 * scale)
        np.testing.assert_allclose(track.hand.points, truth, atol=3 * scale)


@pytest.mark.parametrize("size,reason", [(0.02, "too_far"), (0.9, "too_near"), (0.12, "no_hand")])
def test_a_box_that_the_network_rejects_is_no_hand(size: float, reason: str) -> None:
    world = Pinhole(template(0.0) * size + [0, 0, 0.6])
    world.presence = 0.3
    for _ in range(2):
        track = Tracker(world, world).step(Frame(blank(), 0, 0))  # type: ignore[arg-type]
        assert track.hand is None and track.reason == reason


@pytest.mark.parametrize(
    "score,presence,there",
    [(0.9, 0.51, True), (0.9, 0.49, False), (0.5, 0.98, False), (0.5, 0.995, True), (0.35, 0.99, False),
     (0.35, 0.9999, True), (0.0, 1.0, False), (1.0, 0.0, False)],
)  # fmt: skip
def test_what_one_network_doubts_the_other_must_be_sure_of(
    score: float, presence: float, there: bool
) -> None:
    world = Pinhole(template(0.0) * 0.09 + [0, 0, 0.6])
    world.score = score
    world.presence = presence
    for still in (True, False):
        track = Tracker(world, world, still=still).step(Frame(blank(), 0, 0))  # type: ignore[arg-type]
        assert (track.hand is not None) == there


def test_a_sure_hand_is_tried_before_larger_doubtful_ones() -> None:
    class Crowded(Pinhole):
        def read(self, image: np.ndarray, crop: Crop) -> Reading:
            near = np.hypot(*(self.points[9] - [crop.x, crop.y])) < crop.size / 4
            return replace(super().read(image, crop), presence=1.0 if near else 0.0)

    world = Crowded(template(0.0) * 0.04 + [0, 0, 0.6])
    corners = np.float32([[40, 40], [600, 40], [40, 440]])
    world.others = [Detection(0.45, 1.0, c, c + 20, 9 * extent_of(world.points)) for c in corners]
    for still in (True, False):
        track = Tracker(world, world, still=still).step(Frame(blank(), 0, 0))  # type: ignore[arg-type]
        assert track.hand is not None


@pytest.mark.parametrize("score,stays", [(0.45, True), (0.1, False)])
def test_a_hand_that_the_finder_doubts_is_followed_while_the_network_is_sure(
    score: float, stays: bool
) -> None:
    world = Pinhole(template(0.0) * 0.09 + [0, 0, 0.6])
    tracker = Tracker(world, world)  # type: ignore[arg-type]
    frames = [Frame(blank(), i / FPS, i) for i in range(4 * FPS)]
    assert tracker.step(frames[0]).hand is not None
    world.score = score
    for frame in frames[1:]:
        tracker.step(frame)
    assert (tracker._misses == 0) == stays


def test_a_network_that_gives_no_numbers_is_no_hand(models: tuple[Finder, Landmarker]) -> None:
    class Broken:
        def run(self, array: np.ndarray) -> dict[str, np.ndarray]:
            return {
                "landmarks": np.full((1, 21, 3), np.nan, np.float32),
                "points": np.full((1, 21, 2), np.inf, np.float32),
                "presence": np.ones(1, np.float32),
                "right": np.ones(1, np.float32),
            }

    landmarker = Landmarker(models[1].file)
    landmarker._session = Broken()  # type: ignore[assignment]
    track = Tracker(models[0], landmarker).step(Frame(hand_at(320, 240), 0, 0))
    assert track.hand is None


def test_a_degenerate_reading_is_no_hand() -> None:
    class Flat(Pinhole):
        def read(self, image: np.ndarray, crop: Crop) -> Reading:
            return Reading(np.zeros((21, 3), np.float32), self.points.astype(np.float32), 1.0, 1.0)

    world = Flat(template(0.0) * 0.09 + [0, 0, 0.6])
    assert Tracker(world, world).step(Frame(blank(), 0, 0)).reason == "no_hand"  # type: ignore[arg-type]


# --- sides ---


def test_the_network_overrules_the_finders_side() -> None:
    class Mistaken(Pinhole):
        def find(
            self, image: np.ndarray, threshold: float = 0.5, fill: float = 1.0, both: bool = False
        ) -> list[Detection]:
            (found,) = super().find(image)
            return [Detection(found.score, 0.3, found.wrist, found.middle_mcp, found.extent)]

    world = Mistaken(template(0.0) * 0.09 + [0, 0, 0.6], right=0.95)
    for still in (True, False):
        track = Tracker(world, world, still=still).step(Frame(blank(), 0, 0))  # type: ignore[arg-type]
        assert track.hand is not None and track.hand.side == "right"


def test_the_running_average_corrects_the_side_and_one_slip_does_not() -> None:
    world = Pinhole(template(0.0) * 0.09 + [0, 0, 0.6], right=0.95)
    tracker = Tracker(world, world)  # type: ignore[arg-type]
    sides, smooth = [], []
    for i in range(60):
        world.show(template(i / 60) * 0.09 + [0.001 * i, 0, 0.6])
        world.right = 0.05 if i == 20 or i >= 30 else 0.95
        track = tracker.step(Frame(blank(), i / FPS, i))
        assert track.hand is not None and track.raw is not None
        sides.append(track.hand.side)
        smooth.append([np.abs(track.hand.points - track.raw.points).max(),
                       np.abs(track.hand.landmarks - track.raw.landmarks).max()])  # fmt: skip
    flipped = sides.index("left")  # what the other side's hand did is not in it
    assert min(smooth[flipped - 1]) > 1e-3 > max(smooth[flipped])
    assert set(sides[:33]) == {"right"} and sides[-1] == "left"
    assert sides.count("left") > 60 - 30 - 2 * SIDE_READINGS


@pytest.mark.parametrize("started", ["right", "left"])
def test_a_hand_that_each_view_takes_for_the_other_side_keeps_its_own(started: str) -> None:
    """As of some fists: the network contradicts whichever way round it is shown, and nothing is gained."""

    class Contrary(Pinhole):
        contrary = False

        def read(self, image: np.ndarray, crop: Crop) -> Reading:
            said = super().read(image, crop)
            if not self.contrary:
                return said
            return Reading(said.landmarks, said.points, said.presence, 0.9 if crop.mirrored else 0.1)

    world = Contrary(template(0.0) * 0.09 + [0, 0, 0.6], right=0.95 if started == "right" else 0.05)
    tracker = Tracker(world, world)  # type: ignore[arg-type]
    sides = set()
    for i in range(90):
        world.contrary = i >= 10
        hand = tracker.step(Frame(blank(), i / FPS, i)).hand
        assert hand is not None
        sides.add(hand.side)
    assert sides == {started}


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_hand_in_reversed_depth_is_known_by_fingers_that_bend_back(
    models: tuple[Finder, Landmarker], mirrored: bool
) -> None:
    """Only where the network takes it for a hand of the other side: a hand that can stretch back may."""
    landmarker, crop = Landmarker(models[1].file), Crop(300.0, 200.0, 150.0, 0.3, mirrored)
    fist = template(0.8).astype(np.float32)
    reversed_ = fist * np.array([1, 1, -1], np.float32)
    out = {"points": np.full((1, 21, 2), 0.5, np.float32), "presence": np.ones(1)}
    landmarker._session = SimpleNamespace(run=lambda image: out)  # type: ignore[assignment]
    for landmarks, right, doubtful in ((reversed_, 0.1, True), (reversed_, 0.9, False), (fist, 0.1, False)):
        out |= {"landmarks": landmarks[None], "right": np.array([right])}
        said = landmarker.read(blank(), crop)
        np.testing.assert_allclose(said.landmarks, crop.to_camera(landmarks, 640, 480), atol=1e-6)
        assert (said.turned is not None) == doubtful
        if said.turned is not None:
            np.testing.assert_allclose(said.turned, crop.to_camera(fist, 640, 480), atol=1e-6)


class Fooled(Pinhole):
    """Takes this right hand for the back of a left one where `fooled`: in reversed depth."""

    fooled = True

    def read(self, image: np.ndarray, crop: Crop) -> Reading:
        said = super().read(image, crop)
        if not self.fooled or crop.mirrored:
            return replace(said, right=0.95)
        seen = crop.from_camera(said.landmarks, self.width, self.height) * np.array([1, 1, -1], np.float32)
        other = crop.to_camera(seen, self.width, self.height)
        return replace(said, landmarks=other, right=0.2, turned=said.landmarks)


def test_a_followed_fist_that_is_seen_in_reversed_depth_stays_a_fist() -> None:
    world = Fooled(template(0.9) * 0.09 + [0.05, 0, 0.6])
    tracker = Tracker(world, world)  # type: ignore[arg-type]
    for i in range(40):
        world.fooled = i in (20, 21, 22, 30)
        track = tracker.step(Frame(blank(), i / FPS, i))
        assert track.raw is not None and track.raw.side == "right"
        np.testing.assert_allclose(track.raw.landmarks, world.truth, atol=1e-4)


@pytest.mark.parametrize("finders,choice,side", [
    (0.9, "auto", "right"), (0.6, "auto", "left"), (0.6, "right", "right"),
])  # fmt: skip
def test_a_stills_side_is_doubted_where_no_hand_of_it_bends_so(
    finders: float, choice: str, side: str
) -> None:
    """Unless more speaks for it, or somebody said so: then the depth is turned round."""
    world = Fooled(template(0.9) * 0.09 + [0.05, 0, 0.6], right=finders)
    track = Tracker(world, world, choice, still=True).step(Frame(blank(), 0, 0))  # type: ignore[arg-type]
    assert track.hand is not None and track.hand.side == side
    # Another ray to the eye, so not to the last digit.
    np.testing.assert_allclose(hand_frame(track.hand.canonical), hand_frame(template(0.9)), atol=0.02)


def test_there_is_no_third_hand(make: Make) -> None:
    with pytest.raises(ValueError, match="hand must be one of"):
        make(hand="both")


def test_the_users_choice_overrules_and_a_mismatch_is_said(make: Make) -> None:
    tracks = play(make(hand="left"), [hand_at(320, 240)] * 40)
    assert {t.hand.side for t in tracks if t.hand} == {"left"} and tracks[0].hand is not None
    assert not tracks[0].mismatch and tracks[-1].mismatch
    right = play(make(hand="right"), [hand_at(320, 240)] * 40)
    assert not any(t.mismatch for t in right)


@pytest.mark.parametrize(("roll", "looks", "along", "side"), [
    (90, 0.35, True, "right"), (12, 0.35, True, "right"), (5, 0.35, True, "left"), (90, 0.35, False, "left"),
    (-90, 0.65, True, "left"), (90, 0.05, True, "left"), (-90, 0.95, True, "right"),
])  # fmt: skip
@pytest.mark.parametrize("still", [True, False])
def test_an_arm_along_the_screen_tells_a_doubtful_side(
    roll: float, looks: float, along: bool, side: str, still: bool
) -> None:
    """As long as it does not point up; an arm that lies there from the wrong side fools no sure eye."""
    c, s = math.cos(math.radians(roll)), math.sin(math.radians(roll))
    turned = template(0.0) @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])
    world = Pinhole(turned * 0.09 + [0, 0, 0.6], right=looks)
    tracker = Tracker(world, world, still=still)  # type: ignore[arg-type]
    tracker.along = along
    for i in range(40):
        track = tracker.step(Frame(blank(), i / FPS, i))
        assert track.hand is not None and track.hand.side == side


@pytest.mark.parametrize(("looks", "mismatch"), [(0.05, False), (0.6, True)])
def test_the_users_choice_overrules_an_arm(looks: float, mismatch: bool) -> None:
    """That it comes from the other hand's side alone is no reason to ask which hand it is."""
    flat = template(0.0) @ np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]])  # from the picture's left
    world = Pinhole(flat * 0.09 + [0, 0, 0.6], right=looks)
    tracker = Tracker(world, world, "left")  # type: ignore[arg-type]
    tracker.along = True
    tracks = play(tracker, [blank()] * 40)
    assert {t.hand.side for t in tracks if t.hand} == {"left"} and tracks[-1].mismatch is mismatch


def test_a_side_changes_where_looks_and_arm_both_say_so() -> None:
    """Both ways round, as ever: what the arm says is in the readings that decide."""
    flat = template(0.0) @ np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]])
    world = Pinhole(flat * 0.09 + [0, 0, 0.6], right=0.05)
    tracker = Tracker(world, world)  # type: ignore[arg-type]
    tracker.along = True
    assert {t.hand.side for t in play(tracker, [blank()] * 5) if t.hand} == {"left"}
    world.right = 0.3  # of the looks alone that would be a left one still
    after = play(tracker, [blank()] * 40, start=5)
    assert after[-1].hand is not None and after[-1].hand.side == "left"  # nor is the belief ever below 0.35
    world.right = 0.9
    after = play(tracker, [blank()] * 40, start=45)
    assert after[-1].hand is not None and after[-1].hand.side == "right"


class TwoHands:
    """A right and a left hand side by side; the left one is a little smaller."""

    threshold, margin, roll, size = 0.5, 1.3, True, 64

    def __init__(self) -> None:
        self.hands = [
            Pinhole(template(0.0) * 0.09 + [0.12, 0, 0.6], right=0.95),
            Pinhole(template(0.0) * [-0.08, 0.08, 0.08] + [-0.12, 0, 0.6], right=0.05),
        ]

    def find(
        self, image: np.ndarray, threshold: float = 0.5, fill: float = 1.0, both: bool = False
    ) -> list[Detection]:
        return [d for hand in self.hands for d in hand.find(image)]

    def read(self, image: np.ndarray, crop: Crop) -> Reading:
        def away(hand: Pinhole) -> float:
            return float(np.hypot(crop.x - hand.points[9, 0], crop.y - hand.points[9, 1]))

        return min(self.hands, key=away).read(image, crop)


@pytest.mark.parametrize("choice,side", [("auto", "right"), ("right", "right"), ("left", "left")])
def test_of_two_hands_the_chosen_one_is_followed(choice: Choice, side: str) -> None:
    world = TwoHands()
    tracker = Tracker(world, world, choice)  # type: ignore[arg-type]
    for i in range(70):
        track = tracker.step(Frame(blank(), i / FPS, i))
        assert track.hand is not None and track.hand.side == side and not track.mismatch
        assert (track.hand.points[9, 0] > 320) == (side == "right")


def test_the_chosen_hand_is_taken_when_it_comes_later() -> None:
    world = TwoHands()
    left = world.hands.pop()
    tracker = Tracker(world, world, "left")  # type: ignore[arg-type]
    tracks = []
    for i in range(90):
        if i == 30:
            world.hands.append(left)
        tracks.append(tracker.step(Frame(blank(), i / FPS, i)))
    track = tracks[-1]
    assert track.hand is not None and track.hand.points[9, 0] < 320 and not track.mismatch
    first = next(t for t in tracks if t.raw is not None and t.raw.points[9, 0] < 320)
    assert first.hand is not None and first.raw is not None
    np.testing.assert_allclose(first.hand.points, first.raw.points)  # nothing of the other one is in it


def test_what_the_finder_does_not_see_is_left_for_what_it_sees() -> None:
    """A track that has slid onto something that is no hand, with a presence that will not go away."""
    world = TwoHands()
    world.hands[0].presence = 0.7

    def find(
        image: np.ndarray, threshold: float = 0.5, fill: float = 1.0, both: bool = False
    ) -> list[Detection]:
        return world.hands[1 if find.later else 0].find(image)  # type: ignore[attr-defined]

    find.later = False  # type: ignore[attr-defined]
    world.find = find  # type: ignore[method-assign]
    tracker = Tracker(world, world)  # type: ignore[arg-type]
    tracker.step(Frame(blank(), 0.0, 0))
    find.later = True  # type: ignore[attr-defined]
    for i in range(1, 45):
        track = tracker.step(Frame(blank(), i / FPS, i))
    assert track.hand is not None and track.hand.points[9, 0] < 320 and track.hand.side == "left"


# --- smoothing ---


def filtered(values: Array, times: np.ndarray, unit: float = 1.0) -> Array:
    smooth = OneEuro()
    return np.stack([smooth(v, float(t), unit) for v, t in zip(values, times, strict=True)])


def test_one_euro_stills_a_still_hand() -> None:
    t = np.arange(300) / FPS
    noisy = np.random.default_rng(0).normal(0, 0.01, (300, 21, 3)).astype(np.float32)
    assert filtered(noisy, t)[30:].std() < 0.5 * 0.01


def test_one_euro_lags_little_behind_a_fast_hand() -> None:
    t = np.arange(60) / FPS
    speed = 3.0  # hand lengths per second: a fist opens in about half a second
    moving = (speed * t[:, None, None] * np.ones((1, 21, 3))).astype(np.float32)
    lag_s = (moving - filtered(moving, t))[-1].max() / speed
    assert lag_s < 0.03


def test_one_euro_does_not_care_for_the_unit() -> None:
    t = np.cumsum(np.random.default_rng(1).uniform(0.02, 0.06, 50))
    x = np.cumsum(np.random.default_rng(2).normal(size=(50, 21, 2)), axis=0).astype(np.float32)
    np.testing.assert_allclose(filtered(x * 80, t, unit=80), filtered(x, t) * 80, rtol=1e-4, atol=1e-3)


def test_one_euro_uses_real_times() -> None:
    """Half the frame rate smooths each step less, and the hand lags no more in seconds."""
    slow, fast = np.arange(0, 2, 1 / 10), np.arange(0, 2, 1 / 60)
    lag = [
        (2 * t[-1] - filtered(2 * t[:, None, None] * np.ones((1, 21, 3)), t)[-1].max()) / 2
        for t in (slow, fast)
    ]
    assert abs(lag[0] - lag[1]) < 0.05


def test_one_euro_forgets_after_a_gap_and_bears_equal_times() -> None:
    smooth = OneEuro()
    zero, one = np.zeros((21, 3)), np.ones((21, 3))
    smooth(zero, 0.0)
    assert smooth(one, 0.0).max() == 0
    assert 0 < smooth(one, 0.03).max() < 1
    assert smooth(one, 9.0).max() == 1


@pytest.mark.parametrize("still", [True, False])
def test_a_hand_of_a_few_pixels_is_too_far_however_sure_the_network_is(still: bool) -> None:
    world = Pinhole(template(0.0) * 0.008 + [0, 0, 0.6])
    track = Tracker(world, world, still=still).step(Frame(blank(), 0, 0))  # type: ignore[arg-type]
    assert (track.hand, track.reason) == (None, "too_far")


def test_a_hand_that_fills_the_frame_is_found_one_step_back() -> None:
    class Farsighted(Pinhole):
        def find(
            self, image: np.ndarray, threshold: float = 0.5, fill: float = 1.0, both: bool = False
        ) -> list[Detection]:
            return super().find(image) if fill < 1 else []

    world = Farsighted(template(0.0) * 0.09 + [0, 0, 0.6])
    track = Tracker(world, world, still=True).step(Frame(blank(), 0, 0))  # type: ignore[arg-type]
    assert track.hand is not None


# --- a still hand looks still ---


class Shaky(Pinhole):
    """Sees points with noise, and remembers in which cut-outs."""

    def __init__(self, joints: np.ndarray, noise: float) -> None:
        super().__init__(joints)
        self.rng, self.noise = np.random.default_rng(0), noise
        self.crops: list[Crop] = []
        self.seen: list[Array] = []

    def read(self, image: np.ndarray, crop: Crop) -> Reading:
        self.crops.append(crop)
        reading = super().read(image, crop)
        shaken = reading.points + self.rng.normal(0, self.noise, (21, 2)).astype(np.float32)
        self.seen.append(shaken)
        return Reading(reading.landmarks, shaken, reading.presence, reading.right)


def test_the_cut_out_of_a_still_hand_stands_nearly_still_and_that_of_a_moving_hand_does_not_lag() -> None:
    joints = template(0.2) * 0.09 + [0, 0, 0.6]
    world = Shaky(joints, noise=1.0)
    tracker = Tracker(world, world)  # type: ignore[arg-type]
    for i in range(20):
        tracker.step(Frame(blank(), i / FPS, i))

    def motion(crops: list[Crop]) -> float:
        return float(np.abs(np.diff([[c.x, c.y, c.size] for c in crops], axis=0)).mean())

    free = [crop_around(points) for points in world.seen]
    assert 0 < motion(world.crops[4:]) < 0.3 * motion(free[4:])
    for i in range(20, 30):
        before = world.points[9].copy()  # where the hand was seen last
        world.show(joints + np.array([0.02 * (i - 19), 0, 0]))
        tracker.step(Frame(blank(), i / FPS, i))
        if i > 20:
            assert world.crops[-1].x == pytest.approx(before[0], abs=4)


def test_a_slow_drift_takes_the_cut_out_along() -> None:
    joints = template(0.2) * 0.09 + [-0.1, 0, 0.6]
    world = Shaky(joints, noise=0.0)
    tracker = Tracker(world, world)  # type: ignore[arg-type]
    for i in range(90):
        world.show(joints + np.array([0.002 * i, 0, 0]))  # two pixels a frame
        assert tracker.step(Frame(blank(), i / FPS, i)).hand is not None
        crop = world.crops[-1]
        assert abs(crop.x - world.points[9][0]) < 0.06 * crop.size


def test_a_track_tells_what_was_seen_before_it_was_smoothed() -> None:
    world = Pinhole(template(0.4) * 0.09 + [0, 0, 0.6])
    tracker = Tracker(world, world)  # type: ignore[arg-type]
    for i in range(10):
        world.show(template(0.4 + 0.06 * i) * 0.09 + [0, 0, 0.6])
        track = tracker.step(Frame(blank(), i / FPS, i))
        assert track.hand is not None and track.raw is not None
        np.testing.assert_allclose(track.raw.landmarks, world.truth, atol=1e-4)
    assert np.abs(track.hand.landmarks - world.truth).max() > 0.01
    assert Tracker(world, world, still=True).step(Frame(blank(grey=0), 0, 0)).raw is not None  # type: ignore[arg-type]


def test_all_hands_of_a_picture_and_each_once() -> None:
    class SeenTwice(TwoHands):
        def find(self, *args: object, **how: object) -> list[Detection]:
            return super().find(blank()) * 2

    world = SeenTwice()
    tracker = Tracker(world, world, still=True)  # type: ignore[arg-type]
    found = tracker.all_hands(blank())
    assert [hand.side for hand in found] == ["right", "left"]
    for hand, truth in zip(found, world.hands, strict=True):
        np.testing.assert_allclose(hand.points, truth.points, atol=0.1)
    for truth in world.hands:
        truth.presence = 0.2
    assert tracker.all_hands(blank()) == []


def test_a_picture_without_a_hand_has_none(make: Make) -> None:
    tracker = make()
    assert tracker.all_hands(blank()) == []
    assert [h.side for h in tracker.all_hands(hand_at(300, 240, left=True))] == ["left"]


class OneSided(Pinhole):
    """Sees hardly a hand in the cut-out that is mirrored wrongly."""

    def read(self, image: np.ndarray, crop: Crop) -> Reading:
        reading = super().read(image, crop)
        return replace(reading, presence=0.1) if crop.mirrored == (self.right > 0.5) else reading


@pytest.mark.parametrize("right", [1.0, 0.0])
def test_the_side_that_was_decided_is_the_one_that_is_read_again(right):
    world = OneSided(template(0.4) * 0.09 * ([1, 1, 1] if right else [-1, 1, 1]) + [0, 0, 0.6], right)
    track = Tracker(world, world, still=True).step(Frame(blank(), 0, 0))
    assert track.hand is not None and track.hand.side == ("right" if right else "left")


def test_a_hand_that_shrinks_grows_or_turns_is_cut_anew_at_once():
    kept = Crop(320, 240, 200)
    for size in (100, 150, 270, 400):
        assert _steady(kept, Crop(320, 240, size)).size == size
    for roll in (1.0, -1.0, math.pi):
        assert _steady(kept, Crop(320, 240, 200, roll)).roll == roll
