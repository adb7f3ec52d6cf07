"""Hard negatives: what the networks propose where no hand is labelled, shown as half of what is no hand."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")

from tiny import hands, make_tiny

from handcoach.crop import Crop
from handcoach_train import data
from handcoach_train.cli import main
from handcoach_train.errors import TrainError


@pytest.fixture
def folder(tmp_path):
    """Two frames with the drawn hand that the tiny networks know: it is labelled in the second alone."""
    root = tmp_path / "frames-none"
    (root / "frames").mkdir(parents=True)
    (root / "labels").mkdir()
    picture = hands.draw_hand(hands.blank(), 300, 250, 90)
    where = hands.points(300, 250, 90)
    for name, seen in (("a", []), ("b", [{"side": "right", "points": where.tolist()}])):
        cv2.imwrite(str(root / f"frames/{name}.jpg"), picture[..., ::-1])
        label = {"size": [picture.shape[1], picture.shape[0]], "hands": seen}
        (root / f"labels/{name}.json").write_text(json.dumps(label))
    return root


def command(folder) -> list[str]:
    models = [str(make_tiny.HERE / f"{name}.onnx") for name in ("landmarks", "finder")]
    return ["hard-negatives", str(folder), "--model", models[0], "--finder", models[1]]


def test_what_is_no_labelled_hand_is_noted_and_shown(folder, samples, capsys, monkeypatch):
    assert main(command(folder)) == 0
    said = json.loads((folder / "hard_negatives.json").read_text())
    assert said["by"] == ["landmarks.onnx", "finder.onnx"]
    assert said["squares"]["b"] == []  # the same thing, but labelled
    squares = np.array(said["squares"]["a"])
    assert len(squares) and f"{len(squares)} squares" in capsys.readouterr().out
    middle = hands.points(300, 250, 90)[9]
    assert (np.linalg.norm(squares[:, :2] - middle, axis=1) < 40).any()
    assert {*squares[:, 4]} == {0.0, 1.0}  # both ways round
    empty = data.empty_areas(data.load_frames(folder))
    assert [len(area["hard"]) for area in empty] == [len(squares), 0]

    cuts: list[Crop] = []
    cut = Crop.cut
    monkeypatch.setattr(Crop, "cut", lambda crop, *more: cuts.append(crop) or cut(crop, *more))

    def share(area: dict) -> float:
        """Of sixty pieces without a hand, those that are about one of the squares."""
        some = data.LandmarkSet(samples, 64, True, empty=[area])
        cuts.clear()
        assert not any(some.nothing(np.random.default_rng(i), 64)["presence"] for i in range(60))
        return float(np.mean([
            any(np.hypot(c.x - x, c.y - y) < 0.2 * size and abs(np.log(c.size / size)) < 0.3
                for x, y, size, *_ in squares)
            for c in cuts
        ]))  # fmt: skip

    assert 0.4 < share(empty[0]) < 0.75
    assert share({**empty[0], "hard": []}) < 0.2


def test_a_damaged_note_is_named(folder):
    for text in ('{"squares": {"a": [[1, 2]]}}', '{"squares": 3}', "{}"):
        (folder / "hard_negatives.json").write_text(text)
        with pytest.raises(TrainError, match=r"hard_negatives\.json is damaged"):
            data.load_frames(folder)


def test_an_upright_square_covers_a_share_of_a_box():
    boxes = np.array([[0.0, 0, 10, 10], [100, 100, 120, 120]])
    assert data.overlap(10, 5, 10, boxes) == pytest.approx(0.5)
    assert data.overlap(50, 50, 10, boxes) == 0
    assert data.overlap(50, 50, 10, np.zeros((0, 4))) == 0
