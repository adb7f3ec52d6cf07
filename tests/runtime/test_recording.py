"""A therapist's recording survives crashes, damage and being added to, and never reads outside its folder."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from handcoach import recording
from handcoach.draft import label_of
from handcoach.hand import Array


def frames(n: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=(n, 21, 3)).astype(np.float32)


def add(
    folder: Path, label: str, n: int = 2, hand: str = "right", model: str = "tiny", replace: bool = False
) -> int:
    return recording.add(
        folder, label, frames(n), np.arange(n) / 30, hand=hand, landmark_model=model, replace=replace
    )


def test_what_is_added_is_read_back(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "stretch"
    assert add(folder, "open", 4) == 4
    assert add(folder, "fist", 3) == 3
    got = recording.read(folder)
    assert list(got.labels) == ["open", "fist"]
    assert (got.hand, got.landmark_model) == ("right", "tiny")
    np.testing.assert_array_equal(got.labels["open"], frames(4))
    assert got.labels["open"].dtype == np.float32


def test_a_label_is_extended_and_its_takes_are_kept_apart(tmp_path: Path) -> None:
    add(tmp_path, "open", 2)
    assert add(tmp_path, "open", 3) == 5
    assert recording.read(tmp_path).takes["open"].tolist() == [0, 0, 1, 1, 1]


def test_both_hands_make_it_either(tmp_path: Path) -> None:
    add(tmp_path, "open", 2, hand="right")
    add(tmp_path, "fist", 2, hand="left")
    assert recording.read(tmp_path).hand == "either"


def test_a_hand_that_is_recorded_again_or_forgotten_no_longer_counts(tmp_path: Path) -> None:
    folder = tmp_path / "mixed"
    add(folder, "open", hand="right")
    add(folder, "fist", hand="left")
    assert recording.read(folder).hand == "either"
    add(folder, "fist", hand="right", replace=True)
    assert recording.read(folder).hand == "right"
    add(folder, "fist", hand="left")  # more frames, of the other one
    assert recording.read(folder).hand == "either"
    recording.remove(folder, "fist")
    assert recording.read(folder).hand == "right"


def test_what_an_older_program_recorded_is_read(tmp_path: Path) -> None:
    add(tmp_path / "old", "open", hand="left")
    index = json.loads((tmp_path / "old/recording.json").read_text())
    del index["hands"]
    (tmp_path / "old/recording.json").write_text(json.dumps(index))
    add(tmp_path / "old", "fist", hand="left")
    assert recording.read(tmp_path / "old").hand == "left"


def test_landmarks_of_two_models_are_not_mixed(tmp_path: Path) -> None:
    add(tmp_path, "open", 2)
    with pytest.raises(recording.RecordingError, match="same model"):
        add(tmp_path, "fist", 2, model="other")


def test_labels_may_be_given_other_names(tmp_path: Path) -> None:
    add(tmp_path, "open", 2)
    add(tmp_path, "fist", 3)
    swapped = recording.read(tmp_path).named({"open": "fist", "fist": "open"})
    assert {label: len(hands) for label, hands in swapped.labels.items()} == {"fist": 2, "open": 3}
    assert len(swapped.takes["open"]) == len(swapped.views["open"]) == 3
    one = recording.read(tmp_path).named({"open": "fist"})  # which makes the recorded "open" another's
    assert {label: len(hands) for label, hands in one.labels.items()} == {"open": 3}
    for wrong in ({"open": "point"}, {"a": "open", "b": "open"}):
        with pytest.raises(recording.RecordingError):
            recording.read(tmp_path).named(wrong)


@pytest.mark.parametrize("label", ["", "../out", "a/b", "a b", "-x", "x" * 41, "C:", "unsure"])
def test_a_label_never_leaves_the_folder(tmp_path: Path, label: str) -> None:
    with pytest.raises(recording.RecordingError, match="label"):
        add(tmp_path, label, 1)


def test_a_folder_that_cannot_be_written_is_refused_before_recording(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(recording.RecordingError, match="cannot be written"):
        recording.check(tmp_path / "file" / "mine", "open", "tiny")
    if os.name != "nt" and os.getuid() != 0:  # root may write everywhere
        (tmp_path / "locked").mkdir(mode=0o500)
        with pytest.raises(recording.RecordingError, match="cannot be written"):
            recording.check(tmp_path / "locked" / "deep" / "mine", "open", "tiny")
    recording.check(tmp_path / "new" / "mine", "open", "tiny")
    assert [path.name for path in tmp_path.iterdir() if path.name != "locked"] == ["file"]


def test_labels_that_share_a_file_on_windows_are_refused(tmp_path: Path) -> None:
    add(tmp_path, "open", 1)
    with pytest.raises(recording.RecordingError, match="same way"):
        add(tmp_path, "Open", 1)


def test_a_foreign_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(recording.RecordingError, match="no recording"):
        add(tmp_path, "open", 1)
    with pytest.raises(recording.RecordingError, match="no recording"):
        recording.read(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"format": 2}',
        '{"format": 1, "hand": "right", "landmark_model": "m", "labels": {"open": "../open.npz"}}',
        '{"format": 1, "hand": "left", "landmark_model": "m", "labels": {}, "hands": {"open": "left"}}',
        '{"format": 1, "hand": "paw", "landmark_model": "m", "labels": {}}',
    ],
)
def test_a_damaged_index_is_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "recording.json").write_text(text)
    with pytest.raises(recording.RecordingError, match="record again"):
        recording.read(tmp_path)


@pytest.mark.parametrize("damage", ["missing", "cut", "other", "npy", "pickle", "shape", "nan"])
def test_damaged_landmarks_are_one_sentence(tmp_path: Path, damage: str) -> None:
    add(tmp_path, "open", 5)
    path = tmp_path / "open.npz"
    good = {"landmarks": frames(5), "t": np.zeros(5), "take": np.zeros(5, np.int32)}
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-40])
    elif damage == "other":
        path.write_bytes(b"hello")
    elif damage == "npy":
        with path.open("wb") as file:
            np.save(file, frames(5))
    elif damage == "pickle":
        np.savez(path, **{**good, "landmarks": np.array([{}], dtype=object)})
    elif damage == "shape":
        np.savez(path, **{**good, "landmarks": frames(5)[:, :20]})
    else:
        np.savez(path, **{**good, "landmarks": frames(5) * np.nan})
    with pytest.raises(recording.RecordingError, match="record this posture again"):
        recording.read(tmp_path)


def test_a_crash_while_writing_leaves_the_old_recording(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(tmp_path, "open", 2)

    def full_disk(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(recording.places.os, "fsync", full_disk)
    with pytest.raises(recording.RecordingError, match="No space left"):
        add(tmp_path, "open", 2)
    assert len(recording.read(tmp_path).labels["open"]) == 2
    assert not list(tmp_path.glob("*.part")) and not list(tmp_path.glob(".*"))
    assert json.loads((tmp_path / "recording.json").read_text())["labels"] == {"open": "open.npz"}


def test_a_first_take_that_was_cut_off_leaves_a_folder_to_record_into(tmp_path: Path) -> None:
    """The power went between the landmarks and the index."""
    add(tmp_path, "open", 3)
    (tmp_path / recording.INDEX).unlink()
    (tmp_path / ".open.npz.77.part").write_bytes(b"")
    add(tmp_path, "open", 2)
    assert len(recording.read(tmp_path).labels["open"]) == 2


@pytest.mark.parametrize("name", ["open.npz", "fist.npz"])
def test_somebody_elses_arrays_are_left_alone(tmp_path: Path, name: str) -> None:
    np.savez(tmp_path / name, precious=np.arange(3))
    before = (tmp_path / name).read_bytes()
    with pytest.raises(recording.RecordingError, match="is no recording"):
        add(tmp_path, "open", 2)
    assert (tmp_path / name).read_bytes() == before


def test_a_drive_that_is_not_there_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On Windows not even the root of a path need exist."""
    monkeypatch.setattr(Path, "exists", lambda path: False)
    with pytest.raises(recording.RecordingError, match="cannot be written"):
        add(tmp_path / "Z" / "rec", "open", 2)


@pytest.mark.parametrize("label", ["nul", "Con", "lpt1"])
def test_a_label_that_is_a_device_on_windows_is_refused(tmp_path: Path, label: str) -> None:
    with pytest.raises(recording.RecordingError, match="Windows"):
        add(tmp_path, label, 2)
    assert label_of(label) == f"{label.lower()}_"  # the studio finds another one
    add(tmp_path, label_of(label), 2)


def test_a_recording_of_another_format_is_refused(tmp_path: Path) -> None:
    add(tmp_path, "open", 2)
    index = tmp_path / recording.INDEX
    index.write_text(json.dumps(json.loads(index.read_text()) | {"format": 2}))
    with pytest.raises(recording.RecordingError, match="format 1"):
        recording.read(tmp_path)


def test_times_of_another_number_of_frames_are_damage(tmp_path: Path) -> None:
    add(tmp_path, "open", 4)
    whole = dict(np.load(tmp_path / "open.npz"))
    np.savez(tmp_path / "open.npz", **{**whole, "t": np.zeros(3)})
    with pytest.raises(recording.RecordingError, match="record this posture again"):
        recording.read(tmp_path)
