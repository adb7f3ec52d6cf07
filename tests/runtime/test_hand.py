"""The conventions that everything else leans on: sides, scale and the hand frame."""

import numpy as np
import pytest
from tiny.hands import template

from handcoach.hand import (
    BONES,
    JOINTS,
    DegenerateHandError,
    Frame,
    Hand,
    hand_frame,
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
    assert [JOINTS[a] for a, b in BONES if JOINTS[b].endswith(("mcp", "cmc")) and b != 2] == ["wrist"] * 5


def test_normalise_takes_any_place_and_unit() -> None:
    metres = template(0.3) * 0.09 + [0.2, -0.1, 0.6]
    landmarks, root, scale = normalise(metres)
    np.testing.assert_allclose(landmarks, template(0.3), atol=1e-5)
    np.testing.assert_allclose(root, [0.2, -0.1, 0.6], atol=1e-6)
    assert scale == pytest.approx(0.09)


@pytest.mark.parametrize("seed", range(5))
def test_the_hand_frame_forgets_how_the_hand_is_turned(seed: int) -> None:
    hand = template(0.5)
    np.testing.assert_allclose(hand_frame(hand @ turned(seed).T), hand_frame(hand), atol=1e-5)


def test_the_hand_frame_takes_many_hands() -> None:
    hands = np.stack([template(0.0), template(1.0)])
    np.testing.assert_allclose(hand_frame(hands)[1], hand_frame(template(1.0)))


def test_axes_of_the_hand_frame_are_those_of_the_paper() -> None:
    aligned = hand_frame(template(0.7))
    np.testing.assert_allclose(aligned[0], 0, atol=1e-6)
    np.testing.assert_allclose(aligned[5, 1:], 0, atol=1e-6)  # index MCP on x
    assert aligned[5, 0] > 0 and abs(aligned[17, 2]) < 1e-6  # little MCP in the palm's plane


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
    np.testing.assert_array_equal(left.canonical, right.canonical)


@pytest.mark.parametrize("case", ["point", "line", "nan"])
def test_degenerate_hands_are_told_apart(case: str) -> None:
    hand = template(0.0)
    hand = {"point": hand * 0, "line": hand * [0, 1, 0], "nan": hand * np.nan}[case]
    with pytest.raises(DegenerateHandError):
        hand_frame(hand)
    if case != "line":
        with pytest.raises(DegenerateHandError):
            normalise(hand)


def test_shapes_are_checked_where_things_are_made() -> None:
    with pytest.raises(ValueError, match="21, 3"):
        Hand(np.zeros((20, 3), np.float32), np.zeros((21, 2), np.float32), "left", 1.0)
    with pytest.raises(ValueError, match="finite"):
        Hand(np.full((21, 3), np.nan, np.float32), np.zeros((21, 2), np.float32), "left", 1.0)
    with pytest.raises(ValueError, match="uint8"):
        Frame(np.zeros((4, 4, 3), np.float32), 0.0, 0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="uint8"):
        Frame(np.zeros((4, 4), np.uint8), 0.0, 0)
