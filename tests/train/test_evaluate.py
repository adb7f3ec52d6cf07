"""Evaluation on drawn hands: the axes it judges in, its groups, its file and figures, its refusals."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("torchvision")
pytest.importorskip("matplotlib")

import torch
from tiny import hands
from tiny.hanco import write_frame
from tiny.networks import FINDER, LANDMARKS, SMALL

from handcoach_train import evaluate as rooms
from handcoach_train import figures, metrics
from handcoach_train.cli import main
from handcoach_train.data import Samples
from handcoach_train.evaluate import Predictor, evaluate, faces, groups, predict, predictor
from handcoach_train.networks import build, save_checkpoint

pytestmark = pytest.mark.usefixtures("one_thread")

K = np.array([[300.0, 0, 160], [0, 300, 120], [0, 0, 1]], np.float32)


def turned(x: float, y: float, z: float) -> np.ndarray:
    return cv2.Rodrigues(np.array([x, y, z]))[0]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> Samples:
    """Twelve hands, turned and off the picture's centre; every third one is a left hand."""
    folder = tmp_path_factory.mktemp("drawn")
    rng = np.random.default_rng(0)
    joints, files, right = [], [], []
    for i in range(12):
        hand = hands.template(i / 12) * (0.09 if i % 3 else 0.08) * [1 if i % 3 else -1, 1, 1]
        joints.append(hand @ turned(*rng.uniform(-0.6, 0.6, 3)).T + [*rng.uniform(-0.1, 0.1, 2), 0.6])
        right.append(i % 3 > 0)
        files.append(folder / f"{i}.png")
        cv2.imwrite(str(files[-1]), rng.integers(0, 255, (240, 320, 3), dtype=np.uint8))
    joints_ = np.array(joints, np.float32)
    points = joints_ @ K.T
    return Samples(
        files, points[..., :2] / points[..., 2:], joints_, np.tile(K, (12, 1, 1)), np.array(right),
        np.array([f"set/{i // 2:04d}" for i in range(12)]),
        frame=np.array([f"set/{i // 2:04d}/{i % 2:08d}" for i in range(12)]), camera=np.array(["cam1"] * 12),
    )  # fmt: skip


def knowing(samples: Samples, crop: dict | None, jittered: bool) -> Predictor:
    """A predictor that gives the truth in the axes of the picture that it is shown."""
    from handcoach_train.data import target

    turn = iter(range(len(samples)))
    made: list = []

    def read(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        landmarks, points = [], []
        for _ in images:
            i = next(turn)
            rng = np.random.default_rng([7, i]) if jittered else None
            # A whole picture is stretched to a square, as the paper's network sees it in training.
            height, stretch = (320, [1, 320 / 240]) if crop is None else (240, [1, 1])
            square = rooms._crop(model, samples, i, np.zeros((height, 320, 3), np.uint8), rng)
            k = samples.K[i].copy()
            if crop is None:  # a whole picture has the camera's axes, but for a turn about z
                k[:2, 2] = square.x, square.y
            landmarks.append(target(square, samples.joints[i], k))
            points.append(square.to_unit(samples.points[i] * stretch))
        return np.array(landmarks), np.array(points)

    model = Predictor("knowing", Path("knowing"), 32, crop, read)
    made.append(model)
    return model


@pytest.mark.parametrize("jittered", [False, True])
@pytest.mark.parametrize("crop", [{"roll": True, "margin": 1.3}, {"roll": False, "margin": 1.5}, None])
def test_whoever_says_the_truth_has_no_error_in_any_cut_out(drawn, crop, jittered):
    p = predict(knowing(drawn, crop, jittered), drawn, jittered)
    np.testing.assert_allclose(p.said, p.truth, atol=1e-5)
    np.testing.assert_allclose(p.off_points, 0, atol=1e-5)
    # Judged as right hands, in metres.
    assert p.scale == pytest.approx([0.08, 0.09, 0.09] * 4, rel=1e-4)
    thumb_left = (drawn.joints[:, 4] - drawn.joints[:, 0])[:, 0] * np.where(drawn.right, 1, -1)
    np.testing.assert_allclose(np.sign(p.truth[:, 4, 0]), np.sign(thumb_left))
    figures_ = rooms.measure(p)
    assert figures_["r2"] == pytest.approx(1, abs=1e-6) and figures_["pa_mpjpe_mm"]["mean"] < 0.01
    assert figures_["auc_mm"] > 0.99 and figures_["points"]["p90"] < 1e-4


def test_jittered_cut_outs_are_others_and_always_the_same(drawn):
    model = Predictor("none", Path("none"), 32, {"roll": True}, lambda x: (np.zeros((len(x), 21, 3)), None))
    exact, once, again = (predict(model, drawn, jittered) for jittered in (False, True, True))
    assert once.crops == again.crops
    for a, b in zip(exact.crops, once.crops, strict=True):
        assert np.hypot(a.x - b.x, a.y - b.y) == pytest.approx(0.1 * a.size)
    assert np.isnan(exact.off_points).all() and "points" not in rooms.measure(exact)


def test_faces_and_facts_sort_the_hands(drawn, tmp_path):
    flat = hands.template(0.0) * 0.09
    joints = np.array([flat @ turned(0.0, a, 0.0).T for a in (0.0, np.pi, np.pi / 2)])
    joints[..., 2] += 0.6
    both = np.concatenate([joints, joints * [-1, 1, 1]])
    samples = Samples(
        [Path("x")] * 6, both[..., :2], both, np.tile(K, (6, 1, 1)), np.arange(6) < 3, np.array(["g"] * 6)
    )
    assert faces(samples).tolist() == ["palm", "back", "edge"] * 2

    for i in range(12):
        file = tmp_path / "meta" / f"{i // 2:04d}" / f"{i % 2:08d}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        fact = {"skin": "dark" if i % 2 else "light", "tone": i / 11, "hidden": [False, i > 5], "person": i,
                "same": "x", "colour": [0.1, 0.2]}  # fmt: skip
        file.write_text(json.dumps(fact))
    known = groups(drawn, tmp_path)
    assert set(known) == {"hand", "face", "skin", "tone", "hidden"}
    assert known["skin"].tolist() == ["light", "dark"] * 6
    assert known["hidden"].tolist() == ["False"] * 6 + ["True"] * 6  # of camera 1
    assert len(np.unique(known["tone"])) == 4 and known["hand"].tolist() == ["left", "right", "right"] * 4
    assert set(groups(drawn, tmp_path / "nothing")) == {"hand", "face"}


def hanco(root: Path, drawn: Samples) -> None:
    """The drawn hands as right hands in the HanCo layout: six sequences of two frames, one camera."""
    for i in range(12):
        image = cv2.imread(str(drawn.files[i]))
        write_frame(root, i // 2, i % 2, drawn.joints[i], [K], variants=["rgb"],
                    picture=lambda file, image=image: cv2.imwrite(str(file), image))  # fmt: skip


def test_the_command_writes_one_file_and_the_figures(drawn, tmp_path, tiny_landmarks, monkeypatch, capsys):
    monkeypatch.setattr(rooms, "FEW", 1)
    data, out, run = tmp_path / "data", tmp_path / "out", tmp_path / "run"
    hanco(data, drawn)
    checkpoint = tmp_path / "small.safetensors"
    save_checkpoint(build(LANDMARKS), LANDMARKS, checkpoint)
    run.mkdir()
    entries = [{"step": s, "epoch": 1, "minutes": s / 9, "rate": 1e-3, "loss": 1 / s, "val_loss": 2 / s,
                "val_right": 1.0} for s in (1, 2, 3)]  # fmt: skip
    (run / "log.jsonl").write_text("".join(json.dumps(e) + "\n" for e in entries))
    losses = figures.read_losses(run)
    assert losses == {
        "x": "minutes", "training": {"loss": [(s / 9, 1 / s) for s in (1, 2, 3)]},
        "validation": {"loss": [(s / 9, 2 / s) for s in (1, 2, 3)]},
    }  # fmt: skip

    for model in (checkpoint, tiny_landmarks):
        # The same code draws both: once is enough.
        monkeypatch.setattr(figures, "draw_all", figures.draw_all if model == checkpoint else lambda *_: [])
        assert main(["evaluate", str(model), "--data", str(data), "--run", str(run), "--out", str(out)]) == 0
        content = json.loads((out / "evaluation.json").read_text())
        assert set(content["table_2"]) == {"train", "val", "test"}
        assert set(content["table_2"]["test"]["jittered"]) == {"mse", "r2", "r2_without_wrist"}
        whole = content["splits"]["test"]["exact"]
        assert len(whole["r2_per_landmark"]) == 21
        assert len(whole["pck_mm"]) == len(content["thresholds"]["pck_mm"])
        hands_ = [content["datasets"]["data"][split]["exact"]["hands"] for split in ("train", "val", "test")]
        assert sum(hands_) == 12 and min(hands_) > 0
        assert "face" in content["datasets"]["data"]["test"]["exact"]["groups"]
        drawn_ = {file.name for file in out.glob("*.png")}
        assert {"figure-11-losses.png", "figure-12-r2-per-landmark.png", "figure-13-actual-predicted.png",
                "pck.png", "worst.png"} <= drawn_  # fmt: skip
        assert cv2.imread(str(out / "worst.png")).std() > 5
        assert not [file for file in out.iterdir() if file.suffix not in (".png", ".json")]
    printed = capsys.readouterr().out
    assert printed.count("jittered") >= 6 and "evaluation.json" in printed
    assert main(["evaluate", str(checkpoint), "--data", str(data), "--split", "all", "--most", "5"]) == 0
    assert " 5 " in capsys.readouterr().out


def test_the_test_of_a_paper_run_is_what_it_was_not_trained_on(drawn, tmp_path, monkeypatch, tiny_backbone):
    """Two data sets, a split and a seed of its own: `evaluate` splits as the training did."""
    from handcoach_train.training import paper

    folders = [str(tmp_path / name) for name in ("one", "two")]
    for folder in folders:
        hanco(Path(folder), drawn)
    trained, judged = [], {}

    def train(config, recipe, training, validation, run, machine, **rest):
        trained.extend(map(str, training.files))
        small = {**config, "backbone": "tiny"}
        settings = {"config": small, "recipe": asdict(recipe), "data": rest["data"]}
        network = build(small)
        save_checkpoint(network, {**small, **settings}, tmp_path / "paper.safetensors")
        state = {f"average.{k}": v for k, v in network.state_dict().items()}
        torch.save({"state_dict": state, "handcoach": settings}, tmp_path / "last.ckpt")
        return {}

    def evaluate(model, parts):
        judged.update({(name, split): list(map(str, some.files)) for name, split, _, some in parts})
        return {"splits": {}}, []

    monkeypatch.setattr(paper, "train", train)
    monkeypatch.setattr(rooms, "evaluate", evaluate)
    monkeypatch.setattr(rooms, "lines", lambda content: [])
    out = ["--size", "32", "--out", str(tmp_path / "run")]
    assert main(["landmarks", *folders, "--preset", "paper", "--split", "image", "--seed", "5", *out]) == 0
    for name in ("paper.safetensors", "last.ckpt"):
        judged.clear()
        assert main(["evaluate", str(tmp_path / name), "--data", *folders]) == 0
        assert sorted(trained) == sorted(judged["one", "train"] + judged["two", "train"])
        assert not {*judged["one", "test"], *judged["two", "test"]} & set(trained)
    images = [len({Path(f).parent.parent.name for f in judged["one", s]}) for s in ("train", "val", "test")]
    assert sum(images) > 6  # a sequence stands on two sides: the split is by image


def test_pictures_are_of_the_variant_that_was_trained_on(drawn, tmp_path, monkeypatch, tiny_backbone):
    """Where the data set has it, and nobody asks for another."""
    both, one = tmp_path / "both", tmp_path / "one"
    for root in (both, one):
        hanco(root, drawn)
    (both / "rgb").rename(both / "rgb_homo")
    shutil.copytree(one / "rgb", both / "rgb_merged")
    checkpoint = tmp_path / "small.safetensors"
    save_checkpoint(build(SMALL), {**SMALL, "data": {"variant": "rgb_homo"}}, checkpoint)
    used = []

    def evaluate(model, parts):
        used.append([some.files[0].parts[-4] for _, _, _, some in parts])
        return {"splits": {}}, []

    monkeypatch.setattr(rooms, "evaluate", evaluate)
    monkeypatch.setattr(rooms, "lines", lambda content: [])
    command = ["evaluate", str(checkpoint), "--split", "all", "--data", str(both)]
    assert main([*command, str(one)]) == 0 and main([*command, "--variant", "rgb_merged"]) == 0
    assert used == [["rgb_homo", "rgb"], ["rgb_merged"]]


def test_what_cannot_be_judged_is_refused(drawn, tmp_path, tiny_finder, capsys):
    data = tmp_path / "data"
    hanco(data, drawn)
    finder = tmp_path / "finder.safetensors"
    save_checkpoint(build(FINDER), FINDER, finder)
    for model, more, says in (
        (tmp_path / "no.safetensors", [], "does not exist"),
        (tmp_path / "no.onnx", [], "no model file"),
        (finder, [], "is a finder"),
        (tiny_finder, [], "kind finder"),
        (finder, ["--split", "half"], "--split knows train, val, test and all"),
        (finder, ["--run", str(tmp_path)], "log.jsonl cannot be read"),
    ):
        assert main(["evaluate", str(model), "--data", str(data), *more]) == 2
        said = capsys.readouterr().err.strip().splitlines()
        assert len(said) == 1 and says in said[0], said
    with pytest.raises(rooms.TrainError, match="nothing to judge"):
        evaluate(predictor_of_nothing(), [])
    part = ("any", "test", data, drawn.take(np.arange(3)))
    with pytest.raises(rooms.TrainError, match="are called any"):
        evaluate(knowing(drawn, None, False), [part, part])
    unknown = drawn.take(np.arange(3))
    unknown.joints[0] = np.nan
    with pytest.raises(rooms.TrainError, match="1 of 3 hands have no joints"):
        predict(predictor_of_nothing(), unknown, False)


def test_a_clip_is_played_through_the_program(drawn, tmp_path, tiny_landmarks, tiny_finder, monkeypatch):
    folder = tmp_path / "clip"
    folder.mkdir()
    for i in range(40):
        picture = hands.draw_hand(hands.blank(), 300, 230, 80, bend=0.5 - 0.5 * np.cos(i / 6))
        cv2.imwrite(str(folder / f"{i:03d}.png"), picture[..., ::-1])
    load = rooms.pipeline.load
    monkeypatch.setattr(rooms.pipeline, "load", lambda exercise, path: load(exercise, path, tiny_finder))
    r = rooms.clip_figures(predictor(tiny_landmarks), folder)
    assert r["frames"] == 40 and 0 < r["jitter_filtered"] <= r["jitter"] + 1e-5
    with pytest.raises(rooms.TrainError, match="export none to ONNX"):
        rooms.clip_figures(predictor_of_nothing(), folder)


def predictor_of_nothing() -> Predictor:
    return Predictor("none", Path("none"), 32, None, lambda x: (np.zeros((len(x), 21, 3)), None))


def test_a_checkpoint_and_an_onnx_file_become_predictors(tmp_path, tiny_landmarks):
    checkpoint = tmp_path / "small.safetensors"
    save_checkpoint(build(LANDMARKS), {**LANDMARKS, "crop": {"margin": 1.2, "roll": False}}, checkpoint)
    for path in (checkpoint, tiny_landmarks):
        model = predictor(path)
        images = np.random.default_rng(0).integers(0, 255, (3, model.size, model.size, 3), dtype=np.uint8)
        landmarks, points = model.read(images)
        assert landmarks.shape == (3, 21, 3) and points is not None and points.shape == (3, 21, 2)
        np.testing.assert_allclose(model(images), landmarks)
    assert predictor(checkpoint).crop == {"margin": 1.2, "roll": False}


def test_the_figures_of_a_file_are_those_of_the_metrics():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(30, 21, 3)).astype(np.float32)
    truth[:, 0] = 0
    said = truth + rng.normal(0, 0.2, truth.shape).astype(np.float32)
    said[:, 0] = 0.01 * rng.normal(size=(30, 3))
    scale = rng.uniform(0.08, 0.1, 30).astype(np.float32)
    got = rooms.measure(rooms.Predicted(said, truth, scale, np.full(30, np.nan, np.float32), []))
    assert got["r2"] == pytest.approx(metrics.r2(said, truth), abs=1e-5)
    assert got["r2_without_wrist"] == pytest.approx(metrics.r2(said, truth, wrist=False), abs=1e-5)
    mm = 1000 * np.linalg.norm(said - said[:, :1] - truth, axis=2) * scale[:, None]
    assert got["mpjpe_mm"]["mean"] == pytest.approx(mm.mean(), rel=1e-4)
    assert got["pck_mm"][50] == pytest.approx((mm[:, 1:] <= 25).mean(), abs=0.01)
