"""The finder's letterbox is undone exactly, whatever the frame's shape."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from tiny.hands import blank, draw_hand, points

from handcoach import model
from handcoach.finder import Finder, letterbox


@pytest.fixture(scope="module")
def finder(tiny_finder: Path) -> Finder:
    return Finder(model.read(tiny_finder, "finder"))


@pytest.mark.parametrize("size", [(640, 480), (1280, 720), (480, 640), (160, 120), (420, 560), (80, 60)])
@pytest.mark.parametrize("left", [False, True])
def test_a_hand_is_found_where_it_is(finder: Finder, size: tuple[int, int], left: bool) -> None:
    w, h = size
    where = (0.55 * w, 0.45 * h, 0.24 * min(w, h))
    (found,) = finder.find(draw_hand(blank(w, h), *where, left=left))
    truth = points(*where, left=left)
    off = 0.015 * max(w, h)
    np.testing.assert_allclose(found.wrist, truth[0], atol=off)
    np.testing.assert_allclose(found.middle_mcp, truth[9], atol=off)
    assert found.side == ("left" if left else "right")
    assert found.extent == pytest.approx(1.05 * where[2], rel=0.15)


def test_nothing_is_found_where_nothing_is(finder: Finder) -> None:
    assert finder.find(blank()) == []


def test_letterbox_pads_evenly_and_keeps_proportions() -> None:
    picture, box = letterbox(np.full((100, 100, 3), 255, np.uint8), 120, 160)
    assert picture.shape == (120, 160, 3) and (box.x, box.y) == (20, 0)
    assert picture[:, 20:140].min() == 255 and picture[:, :20].max() == 0 and picture[:, 140:].max() == 0


def test_a_sliver_of_a_frame_does_no_harm(finder: Finder) -> None:
    assert finder.find(np.zeros((1, 2000, 3), np.uint8)) == []


def test_letterbox_steps_back_from_a_near_hand() -> None:
    picture, box = letterbox(np.full((100, 100, 3), 255, np.uint8), 120, 160, fill=0.5)
    assert (box.x, box.y, box.scale_x, box.scale_y) == (50, 30, 0.6, 0.6)
    assert picture[30:90, 50:110].min() == 255 and picture.sum() == 60 * 60 * 3 * 255


def rows(*hands: tuple[float, ...]) -> np.ndarray:
    """What a network gives: score, right, wrist, middle MCP (shares of the picture) and extent of each."""
    return np.array([[*hands, *[(0.0,) * 7] * (3 - len(hands))]], np.float32)


def test_both_ways_round_are_one_hand_where_they_see_the_same_and_two_elsewhere(tiny_finder: Path) -> None:
    """As a network sees them whose eyes are not the same to both sides."""
    finder = Finder(model.read(tiny_finder, "finder"))
    w, h = finder.width, finder.height
    plain = rows((0.9, 0.8, 0.2, 0.5, 0.2, 0.4, 0.1), (0.6, 0.1, 0.8, 0.5, 0.8, 0.4, 0.1))
    mirrored = rows((0.7, 0.4, 0.78, 0.52, 0.78, 0.42, 0.14), (0.55, 0.5, 0.5, 0.9, 0.5, 0.8, 0.1))
    image = np.zeros((h, w, 3), np.uint8)
    image[:, : w // 2] = 255
    finder._session = SimpleNamespace(  # type: ignore[assignment]
        run=lambda picture: {"hands": plain if picture[0, 0, 0, 0] else mirrored}
    )
    found = finder.find(image, both=True)
    assert [d.score for d in found] == pytest.approx([0.8, 0.6, 0.55])
    one, other, third = found
    assert (one.right, one.extent) == (pytest.approx(0.7), pytest.approx(0.12 * w))
    np.testing.assert_allclose(
        [*one.wrist, *one.middle_mcp], [0.21 * w, 0.51 * h, 0.21 * w, 0.41 * h], rtol=1e-5
    )
    np.testing.assert_allclose([*other.wrist, other.right], [0.8 * w, 0.5 * h, 0.1], rtol=1e-5)
    np.testing.assert_allclose([*third.wrist, third.right], [0.5 * w, 0.9 * h, 0.5], rtol=1e-5)
    assert [d.score for d in finder.find(image)] == pytest.approx([0.9, 0.6])
    assert [d.score for d in finder.find(image, 0.7)] == pytest.approx([0.9])


@pytest.mark.parametrize("wrong", [{2: np.nan}, {6: 0.0}, {6: -0.1}, {0: np.nan}])
def test_what_is_no_place_is_no_hand(tiny_finder: Path, wrong: dict[int, float]) -> None:
    finder = Finder(model.read(tiny_finder, "finder"))
    said = rows((0.9, 0.8, 0.2, 0.5, 0.2, 0.4, 0.1))
    finder._session = SimpleNamespace(run=lambda picture: {"hands": said})  # type: ignore[assignment]
    assert len(finder.find(blank())) == 1
    for number, value in wrong.items():
        said[0, 0, number] = value
    assert finder.find(blank()) == []


def test_a_mirrored_frame_gives_the_mirrored_hands_when_seen_both_ways(finder: Finder) -> None:
    picture = draw_hand(blank(), 330, 200, 90)
    (one,) = finder.find(picture, both=True)
    (other,) = finder.find(np.ascontiguousarray(picture[:, ::-1]), both=True)
    assert other.right == pytest.approx(1 - one.right, abs=1e-4)
    assert other.extent == pytest.approx(one.extent, rel=1e-4)
    width = picture.shape[1]
    np.testing.assert_allclose(other.wrist, [width - one.wrist[0], one.wrist[1]], atol=0.05)
    np.testing.assert_allclose(other.middle_mcp, [width - one.middle_mcp[0], one.middle_mcp[1]], atol=0.05)
