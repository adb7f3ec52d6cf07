"""Training by the clock on a handful of pictures, its losses and its figures."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("torchvision")

import torch
from tiny.hands import template
from tiny.networks import FINDER, LANDMARKS
from torch.utils.data import default_collate

from handcoach_train import train as training
from handcoach_train.data import FinderSet, LandmarkSet, Samples
from handcoach_train.errors import TrainError
from handcoach_train.networks import load_checkpoint
from handcoach_train.train import Settings, finder_loss, landmark_loss, procrustes, train

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def samples(tmp_path_factory) -> Samples:
    """Eight hands as dots, the last three without depth."""
    folder = tmp_path_factory.mktemp("photos")
    n = 8
    joints = np.stack([(template(i / n) + np.array([0.05 * i, 0, 6])) * 0.1 for i in range(n)]).astype(
        np.float32
    )
    k = np.array([[200.0, 0, 80], [0, 200, 100], [0, 0, 1]], np.float32)
    points = (joints @ k.T)[..., :2] / joints[..., 2:]
    files = []
    for i in range(n):
        image = np.full((160, 160, 3), 60, np.uint8)
        for x, y in points[i]:
            cv2.circle(image, (int(x), int(y)), 3, (200, 180, 160), -1)
        files.append(folder / f"{i}.png")
        cv2.imwrite(str(files[-1]), image)
    joints[5:] = np.nan
    return Samples(
        files, points, joints, np.tile(k, (n, 1, 1)), np.arange(n) % 2 == 0, np.arange(n).astype(str)
    )


def frames(samples: Samples) -> list[dict]:
    return [
        {
            "file": f,
            "group": "g",
            "hands": [{"points": p.tolist(), "side": "right" if r else "left"}],
        }
        for f, p, r in zip(samples.files, samples.points, samples.right, strict=True)
    ]


def settings(out: Path, seconds: float = 2.0, **other) -> Settings:
    return Settings(
        out, seconds / 60, batch=4, workers=0, threads=1, backbone=Path("none"), check_minutes=0.02, **other
    )


@pytest.mark.parametrize("kind", ["landmarks", "finder"])
def test_a_run_is_written_and_goes_on(tmp_path, samples, kind):
    if kind == "landmarks":
        config, sets = LANDMARKS, (LandmarkSet(samples, 64, True), LandmarkSet(samples, 64, False))
    else:
        config, sets = (
            FINDER,
            (FinderSet(frames(samples), 64, 96, True), FinderSet(frames(samples), 64, 96, False)),
        )
    run = tmp_path / "run"
    figures = train(config, *sets, settings(run))
    best = run / f"{config['name']}.safetensors"
    assert {f.name for f in run.iterdir()} == {best.name, "last.pt", "log.jsonl"}
    its = load_checkpoint(best)[1]
    assert {k: its[k] for k in config} == config
    assert its["accuracy"] == figures and np.isfinite(list(figures.values())).all()
    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert log[-1]["step"] >= 1 and any(k.startswith("val_") for k in log[-1])
    assert min(e["val_score"] for e in log) == pytest.approx(figures["score"], abs=1e-5)

    # The same command with a longer schedule goes on.
    more = train(config, *sets, settings(run, 3.5))
    again = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert again[: len(log)] == log and again[-1]["step"] > log[-1]["step"]
    assert more["score"] <= figures["score"]
    # A schedule that is over trains no more, and still knows its figures.
    assert train(config, *sets, settings(run, 3.5)) == more
    assert (run / "log.jsonl").read_text().count("\n") == len(again)

    if kind == "finder":
        with pytest.raises(TrainError, match="another network"):
            train(LANDMARKS, LandmarkSet(samples, 64, True), LandmarkSet(samples, 64, False), settings(run))
        with pytest.raises(TrainError, match="checkpoint of a finder network"):
            train(
                LANDMARKS, LandmarkSet(samples, 64, True), LandmarkSet(samples, 64, False),
                settings(tmp_path / "new", start=best),
            )  # fmt: skip
        (run / "last.pt").write_bytes(b"half")
        with pytest.raises(TrainError, match="damaged"):
            train(config, *sets, settings(run))


def test_too_little_data_is_refused(tmp_path, samples):
    few = samples.take(np.arange(3))
    with pytest.raises(TrainError, match="3 training samples"):
        train(LANDMARKS, LandmarkSet(few, 64, True), LandmarkSet(few, 64, False), settings(tmp_path / "r"))
    nothing = samples.take(np.zeros(8, bool))
    with pytest.raises(TrainError, match="0 for validation"):
        train(
            LANDMARKS,
            LandmarkSet(samples, 64, True),
            LandmarkSet(nothing, 64, False),
            settings(tmp_path / "r"),
        )
    assert not (tmp_path / "r").exists()


def fixed(*outputs: torch.Tensor) -> SimpleNamespace:
    """A network that says the same whatever it sees."""
    return SimpleNamespace(raw=lambda x: outputs if len(outputs) > 1 else outputs[0])


def test_landmarks_of_hands_without_depth_do_not_count(samples):
    items = LandmarkSet(samples, 64, False)
    batch = default_collate([items[i] for i in range(8)])
    assert batch["known3d"].tolist() == [1] * 5 + [0] * 3
    batch["presence"][:] = 1
    guess = torch.randn(8, 21, 3, generator=torch.manual_seed(0))
    points, flags = torch.rand(8, 21, 2), torch.zeros(8, 2)
    x = torch.zeros(8)
    before = landmark_loss(fixed(guess, points, flags), batch, x)
    assert set(before) == {"landmarks", "bones", "points", "project", "presence", "right"}
    changed = guess.clone()
    changed[5:] += torch.randn(3, 21, 3)
    after = landmark_loss(fixed(changed, points, flags), batch, x)
    assert after["landmarks"] == before["landmarks"] and after["bones"] == before["bones"]
    assert after["project"] != before["project"]  # but they must still project on their points
    changed = guess.clone()
    changed[:5] += torch.randn(5, 21, 3)
    after = landmark_loss(fixed(changed, points, flags), batch, x)
    assert after["landmarks"] != before["landmarks"] and after["project"] == before["project"]


def test_perfect_answers_cost_nothing(samples):
    items = LandmarkSet(samples, 64, False)
    batch = default_collate([items[i] for i in range(8)])
    flags = torch.stack([batch["presence"], batch["right"]], 1) * 60 - 30
    losses = landmark_loss(fixed(batch["landmarks"], batch["points"], flags), batch, torch.zeros(8))
    for name in ("landmarks", "bones", "points", "presence", "right"):
        assert losses[name] == pytest.approx(0, abs=1e-5), name


def test_what_is_not_there_does_not_count(samples):
    items = LandmarkSet(samples, 64, False)
    batch = default_collate([items[i] for i in range(8)])
    batch["presence"][:] = 0
    losses = landmark_loss(
        fixed(torch.randn(8, 21, 3), torch.rand(8, 21, 2), torch.zeros(8, 2)), batch, torch.zeros(8)
    )
    assert {k for k, v in losses.items() if v != 0} == {"presence"}


def test_the_finder_learns_only_where_the_truth_is_known(samples):
    items = FinderSet(frames(samples), 64, 96, False)
    batch = default_collate([items[i] for i in range(4)])
    maps = batch["map"].clone()
    p = batch["heat"].clamp(1e-4, 1 - 1e-4)
    maps[:, 0] = torch.log(p / (1 - p))
    maps[:, 1] = maps[:, 1] * 60 - 30
    best = finder_loss(fixed(maps), batch, torch.zeros(4))
    for name in ("place", "extent", "side"):
        assert best[name] == pytest.approx(0, abs=1e-5), name
    noise = maps.clone()
    noise[:, 1:] += torch.randn(noise[:, 1:].shape) * (1 - batch["known"])[:, None]
    elsewhere = finder_loss(fixed(noise), batch, torch.zeros(4))
    for name in best:
        torch.testing.assert_close(elsewhere[name], best[name])
    blind = maps.clone()
    blind[:, 0] = -8
    assert finder_loss(fixed(blind), batch, torch.zeros(4))["heat"] > best["heat"] + 1


def test_the_finders_figures(samples):
    items = FinderSet(frames(samples), 64, 96, False)
    loader = torch.utils.data.DataLoader(items, 4)
    hands = torch.zeros(8, 3, 7)
    for i in range(8):
        p = torch.from_numpy(samples.points[i]) * 0.4 / torch.tensor([96.0, 64.0])
        p[:, 0] += 16 / 96  # letterboxed
        extent = ((p - p[9]) * torch.tensor([1.0, 64 / 96])).norm(dim=1).max()
        hands[i, 0] = torch.tensor([0.9, float(samples.right[i]), *p[0], *p[9], extent])

    def network(said: torch.Tensor):
        batches = iter(said.split(4))
        found = lambda image: next(batches)  # noqa: E731
        return type("Fake", (), {"height": 64, "width": 96, "__call__": lambda self, image: found(image)})()

    figures = training.check_finder(network(hands), loader, "cpu")
    assert figures["found"] == figures["side"] == 1 and figures["false"] == 0
    assert figures["extent"] == pytest.approx(0, abs=0.01) and figures["score"] == pytest.approx(0, abs=0.01)
    wrong = hands.clone()
    wrong[:, 0, 1] = 1 - wrong[:, 0, 1]
    wrong[:2, 0, 0] = 0.1  # missed
    wrong[:, 1] = torch.tensor([0.8, 1, 0, 0, 0.02, 0.02, 0.05])  # nothing is there
    figures = training.check_finder(network(wrong), loader, "cpu")
    assert figures["found"] == 0.75 and figures["side"] == 0 and figures["false"] == 1


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


def test_low_precision_only_where_the_processor_has_it(monkeypatch):
    assert training._bf16_pays("cuda")
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    monkeypatch.setattr(torch.ops, "mkldnn", SimpleNamespace(_is_mkldnn_bf16_supported=lambda: True))
    assert training._bf16_pays("cpu")
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    assert not training._bf16_pays("cpu")
    monkeypatch.setattr(torch.ops, "mkldnn", SimpleNamespace())  # a torch without the private operator
    assert not training._bf16_pays("cpu")


def test_the_average_follows():
    a, b = torch.nn.BatchNorm1d(2), torch.nn.BatchNorm1d(2)
    with torch.no_grad():
        a.weight.fill_(1), b.weight.fill_(3)
        b.num_batches_tracked += 5
    training._follow(a, b, 0.75)
    assert a.weight.tolist() == [1.5, 1.5] and a.num_batches_tracked == 5
