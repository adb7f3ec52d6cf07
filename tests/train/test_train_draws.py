"""Which items a step sees, and how a recipe is changed."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

pytest.importorskip("torch")

from handcoach_train.errors import TrainError
from handcoach_train.training.draws import Draws
from handcoach_train.training.losses import SHOWN_AGAIN
from handcoach_train.training.recipe import LandmarkRecipe, PaperRecipe, changed, read_sizes

PHOTOS, RENDERS = np.arange(10, 15), np.arange(10)


def draws(**other) -> Draws:
    settings = {"batch": 8, "steps": 4, "total": 12, "seed": 3, **other}
    return Draws([PHOTOS, RENDERS], [0.25, 0.75], **settings)


def epoch(d: Draws, number: int) -> list:
    d.set_epoch(number)
    return list(d)


def test_photographs_have_their_share_of_every_batch():
    items = [draw.item for number in range(3) for draw in epoch(draws(), number)]
    assert len(items) == 96
    for step in range(12):
        batch = items[8 * step : 8 * step + 8]
        assert sum(i >= 10 for i in batch) == 2
    counts = Counter(items)
    # Every item of a source is met as often as the others: 24 photographs of 5, 72 renders of 10.
    assert {counts[i] for i in PHOTOS} == {4, 5} and {counts[i] for i in RENDERS} == {7, 8}


def test_photographs_and_renderings_are_shown_again():
    """A batch begins with its photographs: its first quarter would be nothing else."""
    again = [draw.item for draw in draws().step(0)][SHOWN_AGAIN]
    assert any(i >= 10 for i in again) and any(i < 10 for i in again)


def test_a_draw_depends_on_seed_and_step_alone():
    first = epoch(draws(), 2)
    assert epoch(draws(), 2) == first
    other = draws()
    epoch(other, 0)  # whatever was asked before
    assert epoch(other, 2) == first
    assert epoch(draws(seed=4), 2) != first and epoch(draws(), 1) != first
    places = [d.place for number in range(3) for d in epoch(draws(), number)]
    assert sorted(places) == list(range(96))  # so that no two draws are changed alike


def test_devices_and_parts_share_a_batch():
    whole = [sorted(draws().step(step)) for step in range(4)]
    for ranks, parts in ((2, 1), (1, 4), (2, 2)):
        mine = [epoch(draws(rank=r, ranks=ranks, parts=parts), 0) for r in range(ranks)]
        size = 8 // ranks
        for step in range(4):
            rows = [d for m in mine for d in m[size * step : size * (step + 1)]]
            assert sorted(rows) == whole[step]
            if ranks == 2:  # each gets a photograph
                assert all(sum(d.item >= 10 for d in m[size * step : size * (step + 1)]) == 1 for m in mine)
        assert all(len(m) == len(draws(ranks=ranks, parts=parts)) for m in mine)
    with pytest.raises(TrainError, match="multiple of 3"):
        draws(ranks=3)


def test_what_is_missing_leaves_its_share_to_the_rest():
    nothing = np.arange(0)
    only = Draws([nothing, RENDERS], [0.25, 0.75], 8, 4, 12)
    assert len(only.step(0)) == 8
    assert {d.item for s in range(4) for d in Draws([PHOTOS, RENDERS], [0.0, 1.0], 8, 4, 12).step(s)} <= set(
        RENDERS.tolist()
    )
    with pytest.raises(TrainError, match="nothing to train on"):
        Draws([PHOTOS, nothing], [0.0, 1.0], 8, 4, 12)


def test_sizes_follow_the_steps():
    d = draws(sizes=((64, 0.5), (96, 0.5)))
    assert [{x.size for x in d.step(s)} for s in range(12)] == [{64}] * 6 + [{96}] * 6
    assert d.step(0)[0].item == draws().step(0)[0].item and draws().step(0)[0].size is None


def test_sizes_are_read():
    assert read_sizes("", 160) == [(160, 1.0)]
    assert read_sizes("128:3,160:1", 224) == [(128, 0.75), (160, 0.25)]
    for text in ("128", "a:1", "128:0", "128:1:2"):
        with pytest.raises(TrainError, match="--sizes"):
            read_sizes(text, 160)
    # Else the first half of the steps would pass before the network meets one that it cannot see.
    for text, size in (("128:0.5,150:0.3,160:0.2", 160), ("48:1,160:1", 160), ("", 150)):
        with pytest.raises(TrainError, match="pixels do not fit the network: take a multiple of 16 from 64"):
            read_sizes(text, size)


def test_a_recipe_is_changed_by_name():
    r = changed(LandmarkRecipe(), ["bones=0", "mirror=false", "head=pooled"], steps=500, rate=0.1)
    assert (r.bones, r.mirror, r.head, r.steps, r.rate) == (0.0, False, "pooled", 500, 0.1)
    assert r.points == LandmarkRecipe().points
    for setting, word in (
        ("bone=0", "bones"),
        ("bones", "NAME=VALUE"),
        ("bones=much", "a number"),
        ("steps=1.5", "whole number"),
        ("mirror=perhaps", "true or false"),
        ("steps=750", "multiple of check_every"),
        ("batch=0", "at least 1"),
        ("ema=1", "ema"),
    ):
        with pytest.raises(TrainError, match=word):
            changed(LandmarkRecipe(), [setting])
    with pytest.raises(TrainError, match="dropout"):
        changed(PaperRecipe(), ["dropout=1"])


def test_the_papers_recipe_is_the_papers():
    r = PaperRecipe()
    assert (r.batch, r.rate, r.seed, r.patience, r.factor, r.stop) == (16, 1e-5, 42, 5, 0.1, 10)
    assert (r.joints, r.dropout, r.huber, r.augment) == (21, 0, 0, True)
