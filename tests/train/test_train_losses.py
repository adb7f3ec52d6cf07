"""What the networks learn, and the figures that choose a checkpoint."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from tiny.hands import template
from torch.utils.data import default_collate

from handcoach.angles import flexion
from handcoach_train.data import FinderSet, LandmarkSet
from handcoach_train.training.checks import (
    finder_figures,
    finder_rows,
    landmark_figures,
    landmark_rows,
    procrustes,
)
from handcoach_train.training.losses import (
    LIMITS,
    SHOWN_AGAIN,
    beyond_limits,
    finder_loss,
    landmark_loss,
    next_frame,
    unsteadiness,
)
from handcoach_train.training.recipe import FinderRecipe, LandmarkRecipe

RECIPE = LandmarkRecipe()


def test_landmarks_of_hands_without_depth_do_not_count(samples):
    items = LandmarkSet(samples, 64, False)
    batch = default_collate([items[i] for i in range(8)])
    assert batch["known3d"].tolist() == [1] * 5 + [0] * 3
    batch["presence"][:] = 1
    guess = torch.randn(8, 21, 3, generator=torch.manual_seed(0))
    points, flags = torch.rand(8, 21, 2), torch.zeros(8, 2)
    before = landmark_loss((guess, points, flags), batch, RECIPE)
    assert set(before) == {"landmarks", "bones", "points", "project", "lifted", "presence", "right"}
    changed = guess.clone()
    changed[5:] += torch.randn(3, 21, 3)
    after = landmark_loss((changed, points, flags), batch, RECIPE)
    assert after["landmarks"] == before["landmarks"] and after["bones"] == before["bones"]
    assert after["project"] != before["project"]  # but they must still project on their points
    changed = guess.clone()
    changed[:5] += torch.randn(5, 21, 3)
    after = landmark_loss((changed, points, flags), batch, RECIPE)
    assert after["landmarks"] != before["landmarks"] and after["project"] == before["project"]


def test_a_guess_pulls_at_the_photographs_alone(samples):
    items = LandmarkSet(samples, 64, False)
    batch = default_collate([items[i] for i in range(8)])
    batch["presence"][:] = 1
    batch["lifted"][6] = 1
    batch["landmarks"][6] = torch.from_numpy(template(0.3)).float()
    guess = torch.randn(8, 21, 3, generator=torch.manual_seed(0))
    rest = torch.rand(8, 21, 2), torch.zeros(8, 2)
    before = landmark_loss((guess, *rest), batch, RECIPE)
    assert before["lifted"] > 0
    right = guess.clone()
    right[6] = batch["landmarks"][6]
    after = landmark_loss((right, *rest), batch, RECIPE)
    assert after["lifted"] == 0
    assert after["landmarks"] == before["landmarks"] and after["bones"] == before["bones"]
    elsewhere = guess.clone()
    elsewhere[[0, 5, 7]] += 1
    assert landmark_loss((elsewhere, *rest), batch, RECIPE)["lifted"] == before["lifted"]


def test_joints_that_bend_too_far_cost_where_that_is_asked(samples):
    items = LandmarkSet(samples, 64, False)
    batch = default_collate([items[i] for i in range(8)])
    batch["presence"][:] = 1
    back = torch.from_numpy(template(-1.0)).float().repeat(8, 1, 1)  # every finger the wrong way
    rest = torch.rand(8, 21, 2), torch.zeros(8, 2)
    asked = landmark_loss((back, *rest), batch, replace(RECIPE, limits=2.0))["limits"]
    assert asked == pytest.approx(2 * float(beyond_limits(back, batch["right"]).mean())) and asked > 0


@pytest.mark.parametrize(("mirror", "times"), [(True, 4.0), (False, 1.0)])
def test_hands_of_the_side_that_is_shown_seldom_weigh_more_where_it_is(samples, mirror, times):
    items = LandmarkSet(samples, 64, False)
    batch = default_collate([items[i] for i in range(8)])
    batch["presence"][:] = 1
    cost = {}
    for right in (0.0, 1.0):
        batch["right"] = torch.tensor([right] + [1.0, 0.0] * 3 + [1.0])
        flags = torch.stack([torch.zeros(8), 40 * batch["right"] - 20], 1)
        flags[0, 1] *= -1  # the first one is taken for the other
        outputs = batch["landmarks"], batch["points"], flags
        weights = torch.where(batch["right"] > 0, 1.0, times)
        cost[right] = landmark_loss(outputs, batch, replace(RECIPE, mirror=mirror))["right"] * weights.sum()
    assert cost[0.0] / cost[1.0] == pytest.approx(times, rel=1e-4)


def test_perfect_answers_cost_nothing(samples):
    items = LandmarkSet(samples, 64, False)
    batch = default_collate([items[i] for i in range(8)])
    flags = torch.stack([batch["presence"], batch["right"]], 1) * 60 - 30
    losses = landmark_loss((batch["landmarks"], batch["points"], flags), batch, RECIPE)
    for name in ("landmarks", "bones", "points", "presence", "right"):
        assert losses[name] == pytest.approx(0, abs=1e-5), name


def test_what_is_not_there_does_not_count(samples):
    items = LandmarkSet(samples, 64, False)
    batch = default_collate([items[i] for i in range(8)])
    batch["presence"][:] = 0
    losses = landmark_loss((torch.randn(8, 21, 3), torch.rand(8, 21, 2), torch.zeros(8, 2)), batch, RECIPE)
    assert {k for k, v in losses.items() if v != 0} == {"presence"}


def test_the_finder_learns_only_where_the_truth_is_known(frames):
    items = FinderSet(frames, 64, 96, False)
    batch = default_collate([items[i] for i in range(4)])
    maps = batch["map"].clone()
    p = batch["heat"].clamp(1e-4, 1 - 1e-4)
    maps[:, 0] = torch.log(p / (1 - p))
    maps[:, 1] = maps[:, 1] * 60 - 30
    best = finder_loss(maps, batch, FinderRecipe())
    for name in ("place", "extent", "side"):
        assert best[name] == pytest.approx(0, abs=1e-5), name
    noise = maps.clone()
    noise[:, 1:] += torch.randn(noise[:, 1:].shape) * (1 - batch["known"])[:, None]
    elsewhere = finder_loss(noise, batch, FinderRecipe())
    for name in best:
        torch.testing.assert_close(elsewhere[name], best[name])
    blind = maps.clone()
    blind[:, 0] = -8
    assert finder_loss(blind, batch, FinderRecipe())["heat"] > best["heat"] + 1


def test_the_finders_figures(samples, frames):
    items = FinderSet(frames, 64, 96, False)
    batch = default_collate([items[i] for i in range(8)])
    hands = torch.zeros(8, 3, 7)
    for i in range(8):
        p = torch.from_numpy(samples.points[i]) * 0.4 / torch.tensor([96.0, 64.0])
        p[:, 0] += 16 / 96  # letterboxed
        extent = ((p - p[9]) * torch.tensor([1.0, 64 / 96])).norm(dim=1).max()
        hands[i, 0] = torch.tensor([0.9, float(samples.right[i]), *p[0], *p[9], extent])

    def figures_of(said: torch.Tensor) -> dict[str, float]:
        network = SimpleNamespace(height=64, width=96, decode=lambda maps: maps)
        return finder_figures(finder_rows(network, said, batch))

    figures = figures_of(hands)
    assert figures["found"] == figures["side"] == 1 and figures["false"] == 0
    assert figures["extent"] == pytest.approx(0, abs=0.01) and figures["score"] == pytest.approx(0, abs=0.01)
    wrong = hands.clone()
    wrong[:, 0, 1] = 1 - wrong[:, 0, 1]
    wrong[:2, 0, 0] = 0.1  # missed
    wrong[:, 1] = torch.tensor([0.8, 1, 0, 0, 0.02, 0.02, 0.05])  # nothing is there
    figures = figures_of(wrong)
    assert figures["found"] == 0.75 and figures["side"] == 0 and figures["false"] == 1
    # Another hand of a picture may have its box alone: what is found there is no false alarm.
    batch["heat"][0, -1, -1] = 1.0
    hands[0, 1] = torch.tensor([0.8, 1, 0, 0, 0.98, 0.98, 0.05])
    assert figures_of(hands)["false"] == 0


def test_procrustes_forgives_turn_scale_and_shift_but_no_mirror():
    generator = torch.manual_seed(0)
    a = torch.from_numpy(np.stack([template(b) for b in (0.0, 0.5, 1.0)]))
    a = a + 0.02 * torch.randn(a.shape, generator=generator, dtype=torch.float64)
    q, _ = torch.linalg.qr(torch.randn(3, 3, 3, generator=generator, dtype=torch.float64))
    q = q * torch.det(q).sign()[:, None, None]
    b = 2.5 * a @ q + 0.7
    torch.testing.assert_close(procrustes(a, b), torch.zeros(3, dtype=torch.float64), atol=1e-9, rtol=0)
    mirrored = a * torch.tensor([-1.0, 1, 1])
    assert (procrustes(mirrored, a) > 0.02).all()
    # In b's unit: twice as large, twice as far.
    rough = a + 0.1 * torch.randn(a.shape, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(procrustes(rough, 2 * a), 2 * procrustes(rough, a))


def test_a_teacher_is_followed_on_photographs_alone(samples):
    items = LandmarkSet(samples, 64, False)
    batch = default_collate([items[i] for i in range(8)])
    batch["presence"][:] = 1
    said = (torch.randn(8, 21, 3), torch.rand(8, 21, 2), torch.zeros(8, 2))
    assert "distil" not in landmark_loss(said, batch, RECIPE)
    assert landmark_loss(said, batch, RECIPE, said)["distil"] == 0
    taught = tuple(t.clone() for t in said)
    taught[0][:5] += 1  # renders know better
    assert landmark_loss(said, batch, RECIPE, taught)["distil"] == 0
    taught[0][5:] += 1
    once = landmark_loss(said, batch, RECIPE, taught)["distil"]
    assert once > 0.5
    assert landmark_loss(said, batch, replace(RECIPE, teacher="t", distil=2.0), taught)["distil"] == 2 * once


def test_every_loss_can_be_switched_off(samples):
    items = LandmarkSet(samples, 64, False)
    batch = default_collate([items[i] for i in range(8)])
    batch["lifted"] = 1 - batch["known3d"]
    said = (torch.randn(8, 21, 3), torch.rand(8, 21, 2), torch.zeros(8, 2))
    full = landmark_loss(said, batch, RECIPE)
    for name in full:
        without = landmark_loss(said, batch, replace(RECIPE, **{name: 0.0}))
        assert full[name] > 0 and without[name] == 0
        assert all(without[k] == full[k] for k in full if k != name)


def test_the_landmark_networks_figures(samples):
    items = LandmarkSet(samples, 64, False)
    batch = default_collate([items[i] for i in range(8)])
    flags = torch.stack([batch["presence"], batch["right"]], 1) * 60 - 30
    perfect = landmark_figures(landmark_rows((batch["landmarks"], batch["points"], flags), batch))
    assert perfect["presence"] == perfect["right"] == 1
    assert perfect["score"] == pytest.approx(0, abs=1e-5)
    points = batch["points"].clone()
    points[5:, :, 0] += 0.1  # the photographs
    off = landmark_figures(landmark_rows((2 * batch["landmarks"], points, -flags), batch))
    assert off["pa"] == pytest.approx(0, abs=1e-5) and off["points"] == pytest.approx(0, abs=1e-6)
    assert off["real_points"] == pytest.approx(0.1, abs=1e-5) == off["score"]
    assert off["presence"] == off["right"] == 0
    renders = {k: v[:5] for k, v in batch.items()}
    rows = landmark_rows((renders["landmarks"], renders["points"], flags[:5]), renders)
    assert "real_points" not in landmark_figures(rows)


def test_the_next_frame_of_a_held_hand_shows_the_same_a_little_further_on():
    """A bright spot is found where `moved` says that it went, and the noise is another one."""
    x = torch.zeros(4, 3, 64, 64)
    x[:, :, 28:36, 20:28] = 10
    again, moved = next_frame(x, torch.Generator().manual_seed(3))
    assert again.shape == x.shape and moved.shape == (4, 2)
    assert (moved.abs() <= 1.5 / 64).all() and moved.abs().max() > 0.5 / 64
    cells = (torch.arange(64) + 0.5) / 64
    bright = again[:, 0] * (again[:, 0] > 1)
    mass = bright.sum((1, 2))
    found = torch.stack([(bright.sum(1) * cells).sum(1) / mass, (bright.sum(2) * cells).sum(1) / mass], 1)
    torch.testing.assert_close(found, torch.tensor([24 / 64, 32 / 64]) + moved, atol=2e-3, rtol=0)
    noise = again[:, :, :20, 40:]
    assert 0 < noise.std() < 0.14
    other, _ = next_frame(x, torch.Generator().manual_seed(4))
    assert not torch.equal(other, again)
    same, _ = next_frame(x, torch.Generator().manual_seed(3))
    assert torch.equal(same, again)


def test_a_network_that_follows_a_held_hand_is_steady():
    points, moved = torch.rand(5, 21, 2), torch.tensor([[0.01, -0.02], [0.0, 0.01]])
    landmarks = torch.randn(5, 21, 3)
    both = (
        torch.cat([landmarks, landmarks[SHOWN_AGAIN]]),
        torch.cat([points, points[SHOWN_AGAIN] + moved[:, None]]),
        torch.zeros(7, 2),
    )
    assert unsteadiness(both, moved) == pytest.approx(0, abs=1e-6)
    trembling = both[0].clone()
    trembling[5:] += 0.01
    assert unsteadiness((trembling, *both[1:]), moved) == pytest.approx(0.01, rel=1e-3)
    assert unsteadiness(both, moved + 0.01) == pytest.approx(0.04, rel=1e-3)


def test_fingers_that_bend_back_are_told_from_fingers_that_bend():
    """A fist read inside out projects on the same points; left hands are judged as left ones."""
    bend = [template(bend=b) for b in (0.0, 0.5, 1.2)]
    hands = torch.tensor(np.stack([*bend, *(h * [-1, 1, 1] for h in bend)]), dtype=torch.float32)
    right = torch.tensor([1.0, 1, 1, 0, 0, 0])
    assert (beyond_limits(hands, right) == 0).all()
    inside_out = hands * torch.tensor([1.0, 1, -1])
    excess = beyond_limits(inside_out, right)
    assert excess[[0, 3]].max() < 0.05 and excess[[1, 2, 4, 5]].min() > 0.2
    assert torch.equal(beyond_limits(inside_out, 1 - right), torch.zeros(6))  # it is the other side's hand
    degrees = flexion(inside_out[1:3].double().numpy())
    low, high = np.rad2deg(LIMITS.numpy())
    expected = np.deg2rad(np.maximum(low - degrees, 0) + np.maximum(degrees - high, 0)).mean((1, 2))
    assert excess[1:3].numpy() == pytest.approx(expected, rel=1e-3)


def test_the_share_of_photographs_that_are_read_inside_out_is_told():
    hands = torch.tensor(np.stack([template(bend=1.2)] * 4), dtype=torch.float32)
    known = torch.tensor([1.0, 0, 0, 0])
    batch = {"landmarks": hands, "points": torch.zeros(4, 21, 2), "presence": torch.ones(4),
             "right": torch.ones(4), "known3d": known, "lifted": torch.zeros(4)}  # fmt: skip
    said = hands.clone()
    said[:2, :, 2] *= -1  # of the one whose depth is known, the Procrustes error tells
    rows = landmark_rows((said, batch["points"], torch.ones(4, 2)), batch)
    assert rows["inside_out"].isnan().tolist() == [True, False, False, False]
    assert landmark_figures(rows)["inside_out"] == pytest.approx(1 / 3)
    batch["right"][1] = 0  # a left hand looks like that
    figures = landmark_figures(landmark_rows((said, batch["points"], torch.ones(4, 2)), batch))
    assert figures["inside_out"] == 0


def test_following_the_limits_brings_a_fist_back():
    hand = torch.tensor(template(bend=0.9) * [1, 1, -1], dtype=torch.float32)[None].requires_grad_()
    before = beyond_limits(hand, torch.ones(1)).sum()
    for _ in range(200):
        (gradient,) = torch.autograd.grad(beyond_limits(hand, torch.ones(1)).sum(), hand)
        assert torch.isfinite(gradient).all() and (gradient[:, 0] == 0).all()
        hand = (hand - 0.05 * gradient).detach().requires_grad_()
    assert beyond_limits(hand, torch.ones(1)).sum() < 0.1 * before


def test_the_finders_heat_is_centernets_focal_loss():
    maps = torch.zeros(1, 7, 1, 3)
    maps[0, 0, 0] = torch.tensor([0.3, 0.6, -0.4])
    p = torch.sigmoid(maps[0, 0, 0])
    hand, near, none = (
        (1 - p[0]) ** 2 * p[0].log(),
        0.5**4 * p[1] ** 2 * (1 - p[1]).log(),
        p[2] ** 2 * (1 - p[2]).log(),
    )
    batch = {
        "heat": torch.tensor([[[1.0, 0.5, 0]]]),
        "known": torch.zeros(1, 1, 3),
        "map": torch.zeros(1, 7, 1, 3),
    }
    for n in (1, 4):
        many = {k: v.repeat(n, *[1] * (v.dim() - 1)) for k, v in batch.items()}
        got = finder_loss(maps.repeat(n, 1, 1, 1), many, replace(FinderRecipe(), heat=1.0))["heat"]
        assert got == pytest.approx(-float(hand + near + none))
