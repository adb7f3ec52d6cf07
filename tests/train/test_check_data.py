"""`handcoach-train check-data`: it tells what is there, draws it where it is, and names what is broken."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")

from tiny.hanco import write_frame
from tiny.hands import template

from handcoach_train import data
from handcoach_train.cli import main
from handcoach_train.commands.check_data import describe
from handcoach_train.data import sheet
from handcoach_train.data.sheet import FINGERS, contact_sheet, draw_hand
from handcoach_train.errors import TrainError

pytestmark = pytest.mark.usefixtures("one_thread")

K = [[100.0, 0, 32], [0, 100.0, 32], [0, 0, 1]]


@pytest.fixture(scope="module")
def once(tmp_path_factory) -> Path:
    """Four sequences of two people by two cameras, in grey."""
    root = tmp_path_factory.mktemp("data") / "set"
    m = np.eye(4)
    m[:3, 3] = [0.0, 0.01, 0.5]
    grey = np.full((64, 64, 3), 120, np.uint8)
    for s in range(4):
        joints = (template(0.1 * s) - template(0)[9]) * 0.07
        write_frame(root, s, 0, joints, [K] * 2, [m] * 2, ["rgb"], lambda file: cv2.imwrite(str(file), grey))
    meta = {k: [[True]] * 4 for k in ("is_train", "is_valid", "has_fit")}
    meta |= {"subject_id": [[s % 2] for s in range(4)], "object_id": [[None]] * 4}
    (root / "meta.json").write_text(json.dumps(meta))
    return root


@pytest.fixture
def root(once, tmp_path) -> Path:
    return Path(shutil.copytree(once, tmp_path / "set"))


def test_it_tells_what_is_there(root, tmp_path, capsys):
    sheet, figures = tmp_path / "out/sheet.png", tmp_path / "figures"
    assert main(["check-data", str(root), "--sheet", str(sheet), "--augmented", str(figures)]) == 0
    out, error = capsys.readouterr()
    assert "HanCo's layout" in out and "8 (8 right, 0 left) in 8 pictures of 4 frames, 4 sequences" in out
    assert "cam0 4, cam1 4" in out and "64x64" in out and "people       2" in out
    assert "wrist to middle MCP 70.0 mm" in out and "0.50 m" in out and " 0.0 % of the joints" in out
    assert "by sequence  4 / 2 / 2" in out and "by image     6 / 1 / 1" in out
    assert "by subject   not possible: 2 subjects" in out
    assert "Traceback" not in error and "TrainError" not in error
    assert cv2.imread(str(sheet)).shape == (180, 8 * 180, 3)
    names = sorted(f.name for f in figures.iterdir())
    assert names == [
        "figure4_items.png", "figure5_rotation.png", "figure6_flip_colour_crop.png", "figure7_together.png",
    ]  # fmt: skip
    assert all(cv2.imread(str(figures / n)).std() > 10 for n in names)


def test_a_guess_at_depth_is_not_told_as_measured(root, tmp_path):
    samples = data.load(root)
    whole = "\n".join(describe(samples))
    assert "in 3D        8 hands" in whole and "scale" in whole
    samples.lifted[:] = True
    guessed = "\n".join(describe(samples))
    assert "in 3D        0 hands, guessed of 8 more" in guessed and "scale" not in guessed
    with pytest.raises(TrainError, match="in 3D"):
        sheet.figures(samples, tmp_path)


def test_broken_pictures_are_named_or_counted(root, tmp_path, capsys):
    (root / "rgb/0001/cam1/00000000.jpg").write_bytes(b"\xff\xd8 cut")
    assert main(["check-data", str(root), "--sheet", str(tmp_path / "s.png")]) == 2
    out, error = capsys.readouterr()
    assert error.count("\n") == 1 and "1 pictures cannot be read" in error and "0001/cam1" in error
    assert "of 4 frames" in out and (tmp_path / "s.png").is_file()  # what can be told is told all the same
    assert main(["check-data", str(root), "--skip-broken"]) == 0
    out = capsys.readouterr().out
    assert "7 pictures of 4 frames" in out and "left out     1 × picture broken" in out


def test_bad_input_is_one_sentence_and_2(root, tmp_path, capsys):
    (tmp_path / "file").write_text("x")
    for arguments, word in (
        ([str(tmp_path / "none")], "not a folder"),
        ([str(tmp_path)], "no data set"),
        ([str(root), "--variant", "rgb_homo"], "only rgb"),
        ([str(root), "--labels", str(tmp_path / "none.json")], "none.json is missing"),
        ([str(root), "--sheet", str(tmp_path / "s.tiff")], r".png or .jpg"),
        ([str(root), "--sheet", str(tmp_path / "file/s.png")], "cannot be written"),
    ):
        assert main(["check-data", *arguments]) == 2, arguments
        error = capsys.readouterr().err
        assert word in error and error.count("\n") == 1, error


def test_hands_are_drawn_where_they_are():
    image = np.full((200, 200, 3), 128, np.uint8)
    points = template(0)[:, :2] * 50 + [100, 130]
    drawn = draw_hand(image, points, 3)
    for finger, colour in enumerate(FINGERS):
        tip, before = points[4 * finger + 4], points[4 * finger + 3]
        x, y = ((tip + before) / 2).astype(int)
        assert np.abs(drawn[y, x].astype(int) - colour).max() < 40
    assert (image == 128).all()
    draw_hand(image, points * 1e9)  # a wild label is drawn away, not a crash


def test_a_sheet_shows_every_sequence_first(root, monkeypatch):
    samples = data.load(root)
    many = data.join([samples.take(np.arange(2))] * 20 + [samples.take(np.arange(2, 8))])
    assert contact_sheet(many, columns=2, rows=2, tile=64).shape == (128, 128, 3)
    seen: list[str] = []

    def read(file: Path) -> np.ndarray:
        seen.append(file.parts[-3])
        return data.read_image(file)

    monkeypatch.setattr("handcoach_train.data.sheet.read_image", read)
    contact_sheet(many, columns=2, rows=2, tile=64)
    assert sorted(seen) == ["0000", "0001", "0002", "0003"]
    for file in set(samples.files):
        file.unlink()
    with pytest.raises(TrainError, match="None of the pictures"):
        contact_sheet(samples)


def test_image_points_alone_have_no_augmentation_in_3d(root, tmp_path, capsys):
    picture = root / "rgb/0000/cam0/00000000.jpg"
    shutil.copy(picture, tmp_path / "a.jpg")
    labels = tmp_path / "labels.json"
    points = (template(0)[:, :2] * 10 + 32).tolist()
    labels.write_text(json.dumps({"images": {"a.jpg": {"points": points}}}))
    assert (
        main(["check-data", str(tmp_path), "--labels", str(labels), "--augmented", str(tmp_path / "f")]) == 2
    )
    out, error = capsys.readouterr()
    assert "image points only" in error and "in 3D        0 hands" in out
    assert not (tmp_path / "f").exists()
