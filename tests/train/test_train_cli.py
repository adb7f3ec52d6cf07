"""`handcoach-train` from the outside: bad input gives one sentence and exit code 2."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny import arms
from tiny.hanco import write_frame

from handcoach_train.cli import main
from handcoach_train.commands.options import provenance


def refused(capsys, *words: str) -> str:
    out, error = capsys.readouterr()
    assert error.startswith("handcoach-train: ") and error.count("\n") == 1 and "Traceback" not in error
    assert out == ""
    for word in words:
        assert word in error
    return error


@pytest.fixture
def labels(tmp_path) -> Path:
    file = tmp_path / "labels.json"
    file.write_text(json.dumps({"photos": {}}))
    return file


def hanco(root: Path) -> Path:
    """Ten sequences of a frame; the pictures are not opened before training."""
    joints = arms.bones()[0][:21] + np.array([0, 0, 0.6])
    for n in range(10):
        write_frame(root, n, 0, joints, [np.eye(3)])
    return root


def test_render_refuses(tmp_path, capsys):
    assert main(["render", str(tmp_path / "r"), "--skins", str(tmp_path / "none")]) == 2
    refused(capsys, "none", "not a folder")
    for count in ("0", "-1"):
        assert main(["render", str(tmp_path / "r"), "--count", count]) == 2
        refused(capsys, "--count")
    assert main(["render", str(tmp_path / "r"), "--posture", "salute"]) == 2
    refused(capsys, "salute", "fist")
    assert main(["render", str(tmp_path / "r"), "--hands", "0"]) == 2
    refused(capsys, "--hands", "--full-frames")
    assert main(["render", str(tmp_path / "r"), "--bodies", str(tmp_path / "b.npz"), "--mesh", "anny"]) == 2
    refused(capsys, "--bodies", "--mesh")
    assert not (tmp_path / "r").exists()


def test_usage_errors_exit_with_2(capsys):
    for arguments in ([], ["paint"], ["render", "x", "--view", "below"], ["landmarks"], ["finder", "--out"]):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 2
    capsys.readouterr()


def test_landmarks_refuses(tmp_path, capsys, labels):
    pytest.importorskip("torch")
    out = ["--out", str(tmp_path / "run")]
    root = str(hanco(tmp_path / "hanco"))
    for arguments, words in (
        ([], ["No training data"]),
        ([str(tmp_path / "none")], ["none", "not a folder"]),
        ([root, "--variant", "rgb_homo"], ["rgb_homo"]),
        ([root, "--photos", str(tmp_path / "l.json"), root], ["l.json is missing"]),
        ([root, "--frames", root], ["full frames"]),
        ([root, "--boxes", str(labels)], ["--photos"]),
        ([root, "--start", str(labels), "--weights", "none"], ["--start", "--weights", "not with both"]),
        ([root, "--photos", str(labels), root, "--boxes", str(labels)], ["labels.json", "CSV"]),
        ([root, "--steps", "2", "--check-every", "4"], ["multiple"]),
        ([root, "--sizes", "big"], ["--sizes big"]),
        ([root, "--fill", "0"], ["--fill", "minutes"]),
        ([root, "--fill", "1", "--steps", "5"], ["--fill", "--steps"]),
        ([root, "--fill", "1", "--check-every", "5"], ["--fill", "--check-every"]),
        ([root, "--preset", "paper", "--free-photos"], ["--free-photos", "--preset edge"]),
        ([root, "--preset", "paper", "--resident"], ["--resident", "--preset edge"]),
        ([root, "--sizes", "64:1", "--size", "96"], ["--size 96"]),
        ([root, "--set", "bonse=0"], ["bonse", "bones"]),
        ([root, "--devices", "0"], ["--devices"]),
        ([root, "--epochs", "3"], ["--epochs", "--preset paper"]),
        ([root, "--preset", "paper", "--steps", "3"], ["--steps", "--preset edge"]),
        ([root, "--preset", "paper", "--split", "subject"], ["whose hands"]),
    ):
        assert main(["landmarks", *arguments, *out]) == 2, arguments
        refused(capsys, *words)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("preset", ["edge", "paper"])
def test_networks_and_weights_that_do_not_exist(tmp_path, capsys, preset):
    pytest.importorskip("torch")
    command = [
        "landmarks",
        str(hanco(tmp_path / "hanco")),
        "--preset",
        preset,
        "--out",
        str(tmp_path / "run"),
    ]
    for arguments, words in (
        (["--batch", "1", "--network", "resnet51"], ["'resnet51' does not exist", "resnet50"]),
        (["--batch", "1", "--weights", str(tmp_path / "none.pth")], ["not a file of weights"]),
        (["--batch", "99"], ["Too little data"]),
    ):
        assert main([*command, *arguments]) == 2, arguments
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and "Traceback" not in error
        assert all(word in error for word in words), error
    if preset == "edge":
        assert main([*command, "--batch", "1", "--start", str(tmp_path / "none.safetensors")]) == 2
        refused(capsys, "does not exist")
    assert not (tmp_path / "run").exists()


def test_no_weights_without_a_network(tmp_path, capsys, monkeypatch):
    torchvision = pytest.importorskip("torchvision")

    def offline(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(torchvision.models.ResNet50_Weights, "get_state_dict", offline)
    command = ["landmarks", str(hanco(tmp_path / "hanco")), "--preset", "paper", "--batch", "1"]
    assert main([*command, "--out", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert "could not be downloaded" in error and "--weights" in error and error.count("\n") == 1


def test_only_weights_from_rendered_hands_say_apache(tmp_path):
    mine, theirs = tmp_path / "mine", hanco(tmp_path / "HanCo")
    mine.mkdir()
    (mine / "render.json").write_text("{}")
    ours = provenance("hands", [mine], [], [])
    assert ours["licence"] == "Apache-2.0" and ours["trained_on"].startswith("hands rendered from anny")
    both = provenance("hands", [mine, theirs], [], [])
    assert "Apache" not in both["licence"] and both["trained_on"].startswith("HanCo (neither rendered")
    photos, gathered = tmp_path / "real_3d", tmp_path / "photos"
    gathered.mkdir()
    (gathered / "index.json").write_text("{}")
    assert provenance("hands", [mine], [gathered], [])["licence"] == "Apache-2.0"
    unknown = provenance("hands", [mine], [gathered, photos], [])
    assert "Apache" not in unknown["licence"] and unknown["trained_on"].startswith("real_3d (neither")
    assert provenance("hands", [mine], [gathered, photos], [], free=True)["licence"] == "Apache-2.0"


def test_the_finder_learns_from_photographs_whose_hands_are_all_labelled(tmp_path, monkeypatch):
    """Where two models disagree on a hand there is one to be seen, and no label: not even for validation."""
    pytest.importorskip("torch")
    from handcoach_train.training import edge

    seen = []
    monkeypatch.setattr(edge, "train", lambda *given, **_: seen.append((given[2], given[4])) or {})
    hand = {"points": np.full((21, 2), 50.0).tolist(), "side": "left", "world": [[0.0] * 3] * 21}
    agreed, not_agreed = hand | {"agreement": 0.1}, hand | {"agreement": None}
    labels = {"photos": {}}
    for group in range(12):
        for name, hands in (("all", [agreed]), ("some", [agreed, not_agreed]), ("none", [])):
            labels["photos"][f"{group}/{name}.jpg"] = hands
    (tmp_path / "photos.json").write_text(json.dumps(labels))
    command = ["finder", "--photos", str(tmp_path / "photos.json"), str(tmp_path / "photos")]
    assert main([*command, "--out", str(tmp_path / "run")]) == 0
    ((training, checking),) = seen
    used = [frame["file"].name for data in (training, checking) for frame in data.frames]
    assert used == ["all.jpg"] * 12 and len(training) and len(checking)


def test_the_finder_is_validated_on_people_whom_it_was_not_shown(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    from handcoach_train.training import edge

    seen = []
    monkeypatch.setattr(edge, "train", lambda *given, **_: seen.append((given[2], given[4])) or {})
    labels = tmp_path / "frames/labels"
    labels.mkdir(parents=True)
    for n in range(60):
        hand = {"side": "left", "points": np.full((21, 2), 50.0).tolist(), "person": n % 20}
        (labels / f"{n:06d}.json").write_text(json.dumps({"size": [64, 48], "hands": [hand]}))
    assert main(["finder", "--frames", str(tmp_path / "frames"), "--out", str(tmp_path / "run")]) == 0
    ((training, checking),) = seen
    shown, unseen = ({f["hands"][0]["person"] for f in data.frames} for data in (training, checking))
    assert shown and unseen and not shown & unseen and len(training) + len(checking) == 60


def test_broken_pictures_are_counted_and_left_out_by_a_flag(tmp_path, capsys, monkeypatch):
    """One of HanCo's millions must not stop a training."""
    pytest.importorskip("torch")
    from handcoach_train.training import edge

    seen = []
    monkeypatch.setattr(edge, "train", lambda *given, **_: seen.append(len(given[2]) + len(given[4])) or {})
    root = hanco(tmp_path / "hanco")
    for file in root.rglob("*.jpg"):
        cv2.imwrite(str(file), np.zeros((16, 16, 3), np.uint8))
    command = ["landmarks", str(root), "--out", str(tmp_path / "run"), "--skip-broken"]
    assert main(command) == 0
    sorted(root.rglob("*.jpg"))[0].write_bytes(b"half a pict")
    assert main(command) == 0
    assert "left out: 1 picture broken" in capsys.readouterr().out
    assert seen[1] < seen[0]


def test_finder_refuses(tmp_path, capsys):
    pytest.importorskip("torch")
    out = ["--out", str(tmp_path / "run")]
    assert main(["finder", "--frames", str(tmp_path), *out]) == 2
    refused(capsys, "full frames")
    for side in ("--height", "--width"):
        assert main(["finder", side, "152", *out]) == 2
        refused(capsys, "152 pixels", "multiple of 16")
    assert main(["finder", *out]) == 2
    assert "Too little data" in capsys.readouterr().err


def test_what_the_system_refuses_is_one_sentence(tmp_path, capsys, monkeypatch):
    """A folder that is none, a full disk: no traceback."""
    (tmp_path / "file").write_text("")
    assert main(["render", str(tmp_path / "file" / "below"), "--count", "8"]) == 2
    refused(capsys, "file")


def test_a_missing_library_is_named_with_its_cure(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "handcoach_train.render.write", None)
    monkeypatch.setitem(sys.modules, "tqdm", None)
    assert main(["render", str(tmp_path)]) == 2
    refused(capsys, 'pip install "handcoach[train]"')
