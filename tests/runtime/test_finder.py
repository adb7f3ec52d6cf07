"""The finder's letterbox is undone exactly, whatever the frame's shape."""

from pathlib import Path

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


def test_a_mirrored_frame_gives_the_mirrored_hands_when_seen_both_ways(finder: Finder) -> None:
    picture = draw_hand(blank(), 330, 200, 90)
    (one,) = finder.find(picture, both=True)
    (other,) = finder.find(np.ascontiguousarray(picture[:, ::-1]), both=True)
    assert other.right == pytest.approx(1 - one.right, abs=1e-4)
    assert other.extent == pytest.approx(one.extent, rel=1e-4)
    width = picture.shape[1]
    np.testing.assert_allclose(other.wrist, [width - one.wrist[0], one.wrist[1]], atol=0.05)
    np.testing.assert_allclose(other.middle_mcp, [width - one.middle_mcp[0], one.middle_mcp[1]], atol=0.05)
