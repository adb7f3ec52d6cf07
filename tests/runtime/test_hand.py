"""The conventions that everything else leans on: sides, scale and the hand frame."""

import cv2
import numpy as np
import pytest
from tiny.hands import template

from handcoach.hand import (
    BONES,
    JOINTS,
    DegenerateHandError,
    Frame,
    Hand,
    as_held,
    beside,
    hand_axes,
    hand_frame,
    has_palm,
    mirror,
    normalise,
)


def turned(seed: int) -> np.ndarray:
    """A random rotation matrix."""
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return q * np.linalg.det(q)


def test_there_are_21_joints_and_20_bones_that_reach_them_all() -> None:
    assert len(JOINTS) == len(set(JOINTS)) == 21
    assert sorted(end for _, end in BONES) == list(range(1, 21))
    assert [JOINTS[b] for a, b in BONES if JOINTS[a] == "wrist"] == [
        "thumb_cmc", "index_mcp", "middle_mcp", "ring_mcp", "little_mcp"
    ]  # fmt: skip
    for a, b in BONES[1:]:
        assert a == 0 or (b == a + 1 and JOINTS[a].split("_")[0] == JOINTS[b].split("_")[0])


def test_normalise_takes_any_place_and_unit() -> None:
    metres = template(0.3) * 0.09 + [0.2, -0.1, 0.6]
    landmarks, root, scale = normalise(metres)
    np.testing.assert_allclose(landmarks, template(0.3), atol=1e-5)
    np.testing.assert_allclose(root, [0.2, -0.1, 0.6], atol=1e-6)
    assert scale == pytest.approx(0.09)


@pytest.mark.parametrize("seed", range(5))
def test_the_hand_frame_forgets_how_the_hand_is_turned_and_where_it_is(seed: int) -> None:
    hand = template(0.5)
    away = hand @ turned(seed).T + [0.3, -0.2, 5.0]
    np.testing.assert_allclose(hand_frame(away), hand_frame(hand), atol=1e-5)
    assert has_palm(away) and not has_palm(hand * 0 + [0.3, -0.2, 5.0])


def test_the_hand_frame_takes_many_hands() -> None:
    hands = np.stack([template(0.0), template(1.0)])
    np.testing.assert_allclose(hand_frame(hands)[1], hand_frame(template(1.0)))


def test_axes_of_the_hand_frame_are_those_of_the_paper() -> None:
    aligned = hand_frame(template(0.7))
    np.testing.assert_allclose(aligned[0], 0, atol=1e-6)
    np.testing.assert_allclose(aligned[5, 1:], 0, atol=1e-6)  # index MCP on x
    assert aligned[5, 0] > 0 and abs(aligned[17, 2]) < 1e-6  # little MCP in the palm's plane


def about(axis: np.ndarray, degrees: float) -> np.ndarray:
    """A rotation matrix about a vector."""
    return cv2.Rodrigues(axis / np.linalg.norm(axis) * np.deg2rad(degrees))[0]


def test_a_hand_beside_the_reference_is_turned_from_it_by_what_counts() -> None:
    reference = template(0.2) @ turned(1).T
    hand = template(0.6) @ turned(1).T
    many = np.stack([hand @ turned(2).T, hand @ turned(3).T])
    np.testing.assert_allclose(beside(many, reference, ""), hand_frame(many))
    np.testing.assert_allclose(beside(reference, reference, "y"), hand_frame(reference), atol=1e-5)
    # All of it counts: what the camera saw, in the reference's own axes.
    np.testing.assert_allclose(beside(many, reference, "xz"), many @ hand_axes(reference).T, atol=1e-5)
    for kept in "xyz":
        axis = hand_axes(hand)["xyz".index(kept)]
        free = beside(hand @ about(axis, 70).T, reference, kept)
        np.testing.assert_allclose(free, beside(hand, reference, kept), atol=1e-5)
        across = hand_axes(hand)["xyz".index(kept) - 1]
        counts = beside(hand @ about(across, 70).T, reference, kept)
        kept_axis = hand_axes(counts)["xyz".index(kept)]
        assert kept_axis["xyz".index(kept)] == pytest.approx(np.cos(np.deg2rad(70)), abs=1e-4)


def test_a_hand_that_is_turned_round_is_shown_as_it_is_seen() -> None:
    """Of an axis that points the other way no turn is the nearest: forearm turns begin so."""
    reference = template(0.0)
    hand = template(0.0) @ about(hand_axes(reference)[0], 180).T
    np.testing.assert_allclose(beside(hand, reference, "z"), hand @ hand_axes(reference).T, atol=1e-4)


def test_a_hand_is_shown_as_it_was_held_only_where_that_counts() -> None:
    """Upright with its palm to the camera a right hand's axes are up, the picture's left, and to the eye."""
    assert (as_held(template(0.3) @ turned(4).T, "") == np.eye(3)).all()
    hand = template(0.3) @ turned(4).T
    shown = hand_frame(hand) @ as_held(hand, "xz")
    np.testing.assert_allclose(shown, np.stack([-hand[:, 1], -hand[:, 0], -hand[:, 2]], 1), atol=1e-5)


def test_a_mirrored_hand_bends_the_other_way() -> None:
    """Why handedness comes first: unmirrored, a left fist's fingers leave the palm on the back's side."""
    tips = [8, 12, 16, 20]
    right, left = hand_frame(template(1.0)), hand_frame(mirror(template(1.0)))
    assert np.sign(right[tips, 2].mean()) == -np.sign(left[tips, 2].mean())
    np.testing.assert_allclose(hand_frame(mirror(mirror(template(1.0)))), right)


def test_canonical_mirrors_left_hands_only() -> None:
    landmarks, points = template(0.4).astype(np.float32), np.zeros((21, 2), np.float32)
    right = Hand(landmarks, points, "right", 1.0)
    left = Hand(mirror(landmarks), points, "left", 1.0)
    for hand in (left, right):
        np.testing.assert_array_equal(hand.canonical, landmarks)


@pytest.mark.parametrize("case", ["point", "line", "nan"])
def test_degenerate_hands_are_told_apart(case: str) -> None:
    hand = template(0.0)
    hand = {"point": hand * 0, "line": hand * [0, 1, 0], "nan": hand * np.nan}[case]
    assert not has_palm(hand)
    with pytest.raises(DegenerateHandError):
        hand_frame(hand)
    if case != "line":
        with pytest.raises(DegenerateHandError):
            normalise(hand)


def test_shapes_are_checked_where_things_are_made() -> None:
    with pytest.raises(ValueError, match="21, 3"):
        Hand(np.zeros((20, 3), np.float32), np.zeros((21, 2), np.float32), "left", 1.0)
    with pytest.raises(ValueError, match="points must have shape"):
        Hand(np.zeros((21, 3), np.float32), np.zeros((21, 3), np.float32), "left", 1.0)
    with pytest.raises(ValueError, match="side must be"):
        Hand(np.zeros((21, 3), np.float32), np.zeros((21, 2), np.float32), "both", 1.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="finite"):
        Hand(np.full((21, 3), np.nan, np.float32), np.zeros((21, 2), np.float32), "left", 1.0)
    with pytest.raises(ValueError, match="uint8"):
        Frame(np.zeros((4, 4, 3), np.float32), 0.0, 0)  # type: ignore[arg-type]
    for shape in ((4, 4), (4, 4, 4)):
        with pytest.raises(ValueError, match="uint8"):
            Frame(np.zeros(shape, np.uint8), 0.0, 0)
    assert Frame(np.zeros((4, 4, 3), np.uint8), 0.0, 0).file is None


def test_among_many_hands_one_without_a_palm_is_refused():
    with pytest.raises(DegenerateHandError):
        hand_frame(np.stack([template(0.0), template(0.0) * [0, 1, 0]]))


def test_what_is_said_to_have_a_palm_has_a_hand_frame():
    """Down to the least palm: who sorts by the one must not be refused by the other."""
    for width in 10.0 ** np.arange(-8.0, 0.0, 0.25):
        for length in (1e-7, 1e-5, 1e-3, 1.0):
            hand = template(0.0) * 0
            hand[5], hand[17] = [0, -length, 0], [width, -length, 0]
            if has_palm(hand):
                assert np.isfinite(hand_frame(hand)).all()
            else:
                with pytest.raises(DegenerateHandError):
                    hand_frame(hand)
