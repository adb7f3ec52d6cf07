"""How often the networks run: rarely while nothing moves, at once again when something does, never late."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny.hands import points

from handcoach.pace import LATEST_S, STILL_S, Pace, throttles

HERE = points(320, 240, 100).astype(np.float32)


class Film:
    """Pictures at a steady rate through a pace; the times of those that were read."""

    def __init__(self, pace: Pace | None = None, fps: float = 30.0, took_s: float = 0.004) -> None:
        self.pace, self.step, self.took_s = pace or Pace(0.004), 1 / fps, took_s
        self.t, self.read = 0.0, []

    def play(self, seconds, where=lambda t: HERE):
        """The readings of these seconds."""
        self.read = []
        end = self.t + seconds
        while self.t < end:
            if self.pace.due(self.t):
                self.pace.judged(self.t, where(self.t), self.took_s)
                self.read.append(self.t)
            self.t += self.step
        return self.read


def moving(t):
    return HERE + np.float32([60 * t, 0])


def test_a_moving_hand_is_read_in_every_picture():
    assert len(Film().play(4, moving)) == pytest.approx(120, abs=2)


@pytest.mark.parametrize("where", [lambda t: HERE, lambda t: None], ids=["still hand", "no hand"])
def test_where_nothing_moves_fewer_pictures_are_read(where):
    film = Film()
    film.play(STILL_S + 0.5, where)
    assert film.pace.still
    assert len(film.play(3, where)) <= 31


def test_a_held_hand_that_trembles_is_still():
    rng = np.random.default_rng(0)
    film = Film()
    film.play(4, lambda t: HERE + rng.normal(0, 1.5, (21, 2)))
    assert film.pace.still


@pytest.mark.parametrize("fps", [10, 15, 24, 30, 60])
@pytest.mark.parametrize("hot", [False, True])
def test_no_two_readings_are_further_apart_than_the_limit(fps, hot):
    """What guarantees that no movement is seen late. A slow camera's own pace is all there is."""
    film = Film(fps=fps)
    film.pace.throttled(0.0, 1)
    film.pace.throttled(0.0, 1 + hot)
    gaps = np.diff(film.play(8, lambda t: HERE if t < 5 else moving(t)))
    assert gaps.max() <= max(LATEST_S, 1 / fps) + 1e-6


def test_motion_brings_the_full_pace_back_with_the_first_reading_that_sees_it():
    film = Film()
    film.play(4)
    start = film.t
    read = film.play(1, lambda t: HERE + np.float32([0, 400 * (t - start)]))
    assert read[0] - start <= LATEST_S
    assert len(read) >= 25


def test_a_hand_that_comes_and_one_that_goes_are_motion():
    film = Film()
    film.play(4, lambda t: None)
    assert len(film.play(1)) >= 25
    film.play(4)
    assert len(film.play(1, lambda t: None)) >= 25


def test_a_step_that_takes_much_longer_than_tuned_means_hot_until_it_is_quick_again():
    film = Film(Pace(0.004), took_s=0.004)
    film.play(5, moving)
    assert not film.pace.hot
    film.took_s = 0.02
    film.play(20, moving)
    assert film.pace.hot
    assert len(film.play(2, moving)) == pytest.approx(30, abs=2)
    film.took_s = 0.004
    film.play(30, moving)
    assert not film.pace.hot


def test_a_slow_step_that_leaves_most_of_the_frame_free_is_not_hot():
    """A processor that clocks down because there is little to do is no reason to do less."""
    film = Film(Pace(0.001), took_s=0.005)
    film.play(20, moving)
    assert not film.pace.hot


def test_what_is_usual_on_a_slow_laptop_is_not_hot_and_what_has_grown_hot_must_cool_first():
    film = Film(Pace(0.01), took_s=0.004)
    film.play(20, moving)  # quicker than when it was tuned: that is not what it is held against
    for took_s, hot in ((0.014, False), (0.02, False), (0.03, True), (0.02, True), (0.016, False)):
        film.took_s = took_s
        film.play(30, moving)
        assert film.pace.hot is hot, took_s


def test_looking_for_a_hand_which_takes_longer_is_not_hot():
    film = Film(Pace(0.004), took_s=0.03)
    film.play(30, lambda t: None)
    assert not film.pace.hot


def test_without_a_tuned_figure_the_best_that_was_seen_serves():
    film = Film(Pace(), took_s=0.005)
    film.play(10, moving)
    film.took_s = 0.025
    film.play(20, moving)
    assert film.pace.hot


def test_a_processor_that_throttles_is_hot_for_a_while():
    film = Film()
    film.pace.throttled(0.0, 7)
    film.play(1, moving)
    assert not film.pace.hot  # what it counted before is past
    film.pace.throttled(film.t, 8)
    film.play(1, moving)
    assert film.pace.hot
    film.pace.throttled(film.t, 8)
    film.play(40, moving)
    assert not film.pace.hot


def test_after_a_reset_everything_is_read_again():
    film = Film()
    film.play(4)
    film.pace.reset()
    assert len(film.play(1)) >= 29


def test_throttles_are_summed_where_the_system_counts_them(tmp_path: Path):
    assert throttles(tmp_path) is None
    for i, text in enumerate(("3\n", "4\n", "no number")):
        folder = tmp_path / f"cpu{i}" / "thermal_throttle"
        folder.mkdir(parents=True)
        (folder / "core_throttle_count").write_text(text)
    assert throttles(tmp_path) == 7


def test_fingers_that_move_on_a_hand_that_rests_are_motion():
    film = Film()
    film.play(4)
    start = film.t

    def bent(t):
        moved = HERE.copy()
        moved[5:] += np.float32([0, 60 * (t - start)])  # wrist and thumb stay
        return moved

    assert len(film.play(1, bent)) >= 25


def test_a_count_that_stays_is_no_throttling():
    film = Film()
    for count in (7, 7, None, None, 7):  # nor one that cannot be read any more
        film.pace.throttled(film.t, count)
        film.play(1, moving)
    assert not film.pace.hot
