"""A recording is judged before an exercise is made of it; what counts goes all the way into the file."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("skl2onnx")

from tiny.hands import bent_hands

from handcoach import model, recording
from handcoach.exercise import Exercise
from handcoach.hand import FINGERS, Hand
from handcoach_export import convert
from handcoach_export.cli import main
from handcoach_train import posture

BEND = {"open": 0.02, "almost": 0.4, "fist": 1.2}


def record(folder, change=None, view=None):
    data = {label: bent_hands(bend, seed=seed) for seed, (label, bend) in enumerate(BEND.items())}
    data = change(data) if change else data
    for label, x in data.items():
        recording.add(folder, label, x, np.arange(len(x)) / 30, hand="right", landmark_model="tiny",
                      view=None if view is None else np.tile(np.float32(view), (len(x), 1)))  # fmt: skip
    return folder


def flip(data):
    data["fist"][10:20] *= np.float32([-1, 1, 1])
    return data


def no_palm(data):
    data["fist"][3] = 0
    return data


def fists_as_open(data):
    """A third of the open hands are fists; the fists themselves are all told."""
    return data | {"open": np.concatenate([data["open"], bent_hands(1.2, seed=5)[: len(data["open"]) // 2]])}


def same_name(folder):
    index = folder / "recording.json"
    index.write_text(index.read_text().replace('"almost": "almost.npz"', '"open": "open.npz"'))


def not_a_number(folder):
    x = bent_hands(0.4)
    x[7, 3, 1] = np.nan
    np.savez(folder / "almost.npz", landmarks=x, t=np.arange(40) / 30, take=np.zeros(40, np.int32))


@pytest.mark.parametrize(
    ("change", "view", "spoil", "says"),
    [
        (None, None, lambda folder: (folder / "recording.json").unlink(), "is no recording"),
        (None, None, same_name, "two postures named open"),
        (None, None, not_a_number, "1 of 40 frames with landmarks that are no numbers"),
        (None, None, lambda folder: (folder / "fist.npz").write_bytes(b"x"), "missing or damaged"),
        (flip, None, None, "show the other hand"),
        (no_palm, None, None, "palm cannot be made out"),
        (lambda d: d | {"fist": d["fist"][:9]}, None, None, "record at least 11 more"),
        (lambda d: {"open": d["open"]}, None, None, "only the posture open"),
        (lambda d: d | {"almost": bent_hands(0.02, seed=9)}, None, None, "look alike"),
        (fists_as_open, None, None, "look alike"),
        (lambda d: d | {"fist": bent_hands(1.2, noise=0.15)}, None, None, "hold the posture still"),
        (None, (0.6, 0.5), None, "partly out of view"),
    ],
)  # fmt: skip
def test_a_bad_recording_is_refused_for_the_right_reason(tmp_path, capsys, change, view, spoil, says):
    folder = record(tmp_path / "rec", change, view)
    if spoil:
        spoil(folder)
    assert main(["exercise", str(folder), "-o", str(tmp_path / "x.onnx")]) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1
    assert not (tmp_path / "x.onnx").exists()


def test_a_good_recording_gets_a_verdict_and_pictures(tmp_path, capsys):
    folder = record(tmp_path / "rec", view=(1.0, 0.5))
    assert main(["exercise", str(folder), "--check", str(tmp_path / "report")]) == 0
    out = capsys.readouterr().out
    assert "Good enough" in out and "in one light" in out
    report = json.loads((tmp_path / "report/report.json").read_text())
    assert report["good"] and report["measured"]["accuracy_held_out"] == 1.0
    assert all((tmp_path / "report" / name).stat().st_size > 5000 for name in report["figures"].values())
    assert len(report["figures"]) == 6


def test_the_pictures_call_postures_what_people_call_them(tmp_path, monkeypatch):
    from handcoach_export import exercise
    from handcoach_train.posture import figures

    drawn = []
    monkeypatch.setattr(figures, "draw_all", lambda study, *_: drawn.append(study) or {})
    report = exercise.check(record(tmp_path / "rec"), tmp_path / "report", names={"open": "Flat hand"})
    assert drawn[0].labels == ("Flat hand", *list(BEND)[1:]) and "Flat hand" in drawn[0].clusters
    assert set(drawn[0].confusion) == set(drawn[0].confusion["Flat hand"]) == set(drawn[0].labels)
    assert set(report.measured["confusion_held_out"]) == set(BEND)  # the files keep the labels


def test_two_postures_of_one_frozen_picture_are_refused_in_plain_words(tmp_path, capsys, recwarn):
    frozen = np.tile(bent_hands(0.4)[:1], (40, 1, 1))
    folder = record(tmp_path / "rec", lambda data: {"open": frozen, "fist": frozen})
    assert main(["exercise", str(folder), "--check", str(tmp_path / "report")]) == 1
    assert "look alike" in capsys.readouterr().out
    assert not [one for one in recwarn if "distinct clusters" in str(one.message)]


def test_a_refused_recording_still_gets_its_report(tmp_path, capsys):
    folder = record(tmp_path / "rec", flip)
    assert (
        main(["exercise", str(folder), "--check", str(tmp_path / "report"), "-o", str(tmp_path / "x.onnx")])
        == 1
    )
    assert "REFUSED" in capsys.readouterr().out and not (tmp_path / "x.onnx").exists()
    assert not json.loads((tmp_path / "report/report.json").read_text())["good"]


@pytest.mark.parametrize(
    ("axes", "fingers", "weights"),
    [("", FINGERS, "equal"), ("xz", FINGERS, "many"), ("y", ("index", "middle"), "equal"),
     ("", ("thumb", "ring"), "many")],
)  # fmt: skip
def test_source_and_file_agree_on_ten_thousand_random_hands(axes, fingers, weights):
    import onnxruntime

    data = {label: bent_hands(bend, seed=seed) for seed, (label, bend) in enumerate(BEND.items())}
    fit = posture.fit(data, tuple(BEND), kept_axes=axes, fingers=fingers, weights=weights)
    session = onnxruntime.InferenceSession(convert.to_onnx(fit.pipeline).SerializeToString())
    random = np.random.default_rng(0).normal(0, 0.7, (10_000, 21, 3)).astype(np.float32)
    frame, cluster, distances = session.run(["hand_frame", "cluster", "distances"], {"landmarks": random})
    ours = fit.pipeline.transform(random)
    assert frame.shape == (10_000, 63) and np.abs(distances - ours).max() <= 1e-5
    two = np.sort(ours, 1)
    assert (cluster == fit.pipeline.predict(random))[two[:, 1] - two[:, 0] > 1e-5].all()


@pytest.mark.parametrize("weights", ["equal", "few", "many"])
def test_far_from_every_posture_nobody_is_sure(tmp_path, weights):
    folder, file = record(tmp_path / "rec"), tmp_path / "x.onnx"
    assert main(["exercise", str(folder), "-o", str(file), "--weights", weights]) == 0
    exercise = Exercise(model.read(file, "exercise"))
    assert exercise.file.meta["weights"] == weights
    nowhere = np.zeros((21, 2), np.float32)
    for label, bend in BEND.items():
        seen = exercise.assess(Hand(bent_hands(bend, 1, 7)[0], nowhere, "right", 1.0))
        assert seen.label == label and seen.distances.min() <= exercise.max_distance
    strange = bent_hands(0.02, 1, 3)[0]
    strange[[8, 12, 16, 20]] += np.float32([0.5, 2.5, -2.5])
    seen = exercise.assess(Hand(strange, nowhere, "right", 1.0))
    assert seen.label == "unsure" and seen.distances.min() > exercise.max_distance


def test_kept_axes_and_fingers_go_all_the_way(tmp_path):
    turn = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]], np.float32)  # by 90 degrees about the camera's axis

    def turned(data):
        return {"up": data["open"], "side": bent_hands(0.02, seed=5) @ turn}

    folder, file = record(tmp_path / "rec", turned), tmp_path / "turn.onnx"
    argv = ["exercise", str(folder), "-o", str(file), "--kept-axes", "xz", "--fingers", "index", "middle"]
    assert main(argv) == 0
    exercise = Exercise(model.read(file, "exercise"))
    assert exercise.kept_axes == "xz" and exercise.fingers == ("index", "middle")
    hand = bent_hands(0.02, 1, 8)[0]
    hand[4] += 0.5  # a thumb that does not count
    for way, label in ((np.eye(3, dtype=np.float32), "up"), (turn, "side")):
        seen = exercise.assess(Hand(hand @ way, np.zeros((21, 2), np.float32), "right", 1.0))
        assert seen.label == label and seen.joint_distances[4] == 0 and seen.joint_distances[8] > 0
