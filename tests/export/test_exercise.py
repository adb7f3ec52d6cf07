"""From a recording to an exercise file that the runtime reads."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("skl2onnx")

from tiny.hands import bent_hands

from handcoach import model, recording
from handcoach.errors import HandCoachError
from handcoach.exercise import Exercise
from handcoach.hand import Hand
from handcoach.session import Session
from handcoach_export import contract, convert
from handcoach_export import exercise as builder
from handcoach_export.cli import main
from handcoach_train import posture

LABELS = ("open", "almost", "fist")


POSTURES = {"open": 0.02, "almost": 0.4, "fist": 1.2}


def record(folder, postures=POSTURES, count=30):
    for seed, (label, bend) in enumerate(postures.items()):
        recording.add(folder, label, bent_hands(bend, count, seed), np.arange(count) / 30.0, hand="right",
                      landmark_model="tiny")  # fmt: skip
    return folder


def test_a_recording_becomes_an_exercise(tmp_path, capsys):
    output = tmp_path / "finger-stretch.onnx"
    assert main(["exercise", str(record(tmp_path / "rec")), "-o", str(output)]) == 0
    out = capsys.readouterr().out
    assert "within" in out and "to reach and hold: open, coming from almost, fist" in out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["finger-stretch.onnx", "rec"]
    file = model.read(output, "exercise")
    # Words and colours of the built-in exercise whose postures are these.
    assert file.meta["labels"] == ["open", "almost", "fist"]
    assert file.meta["messages"]["open"]["en"] == "Beautiful. Hold it there."
    assert all(set(text) == {"en", "da"} for text in file.meta["messages"].values())
    assert (file.meta["author"], file.meta["licence"]) == ("", "none stated")  # the recording is not ours
    assert file.meta["parity"]["against"] == "scikit-learn" and 0 <= file.meta["parity"]["max_abs"] <= 1e-5
    assert file.meta["opset"] == contract.OPSET and file.meta["weights"] == "few"
    assert file.meta["landmark_model"] == "tiny" and file.meta["quality"]["frames"]["fist"] == 30
    recorded = recording.read(tmp_path / "rec").labels["open"]
    assert np.abs(recorded - np.float32(file.meta["reference"])).max(axis=(1, 2)).min() < 1e-6
    session = Session(file)
    for label, bend in POSTURES.items():
        clusters = session.run(bent_hands(bend, 5, 99))["cluster"]
        assert {file.meta["clusters"][k] for k in clusters} == {label}


def test_an_exercise_as_the_papers_has_one_cluster_for_each_posture(tmp_path, capsys):
    output = tmp_path / "stretch.onnx"
    assert main(["exercise", str(record(tmp_path / "rec")), "-o", str(output), "--paper"]) == 0
    meta = model.read(output, "exercise").meta
    assert meta["quality"]["method"] == "one k-means, as the paper's"
    assert sorted(meta["clusters"]) == ["almost", "fist", "open"] and meta["weights"] == "equal"
    with pytest.raises(HandCoachError, match="all coordinates count alike"):
        builder.build(tmp_path / "rec", output, {"weights": "many"}, paper=True)


@pytest.mark.parametrize("weights", ["equal", "few", "many"])
def test_a_thumb_that_is_switched_off_changes_nothing(tmp_path, weights):
    """Whatever it does, with coordinates that are mixed by how the recorded hands scatter, too; and a thumb
    that is where it is nearest takes nothing away."""
    file = tmp_path / "mine.onnx"
    hands = {label: POSTURES[label] for label in ("fist", "open", "almost")}
    builder.build(record(tmp_path / "rec", hands), file, {"weights": weights, "labels": list(LABELS)})
    counts, off = (Exercise(model.read(file, "exercise"), thumb=thumb) for thumb in (True, False))
    rng, nowhere = np.random.default_rng(1), np.zeros((21, 2), np.float32)
    for bend in (0.02, 0.4, 0.8, 1.2):
        one = bent_hands(bend, 1, 7)[0]
        still = off.assess(Hand(one, nowhere, "right", 0.99))
        least = counts.assess(Hand(one, nowhere, "right", 0.99)).distances.copy()
        for _ in range(20):
            moved = one.copy()
            moved[1:5] += rng.normal(0, 0.2, (4, 3)).astype(np.float32)
            found = off.assess(Hand(moved, nowhere, "right", 0.99))
            np.testing.assert_allclose(found.distances, still.distances, atol=2e-3)
            assert found.label == still.label
            least = np.minimum(least, counts.assess(Hand(moved, nowhere, "right", 0.99)).distances)
        assert (still.distances <= least + 2e-3).all()


def test_the_graph_is_exact_at_a_centroid_and_at_a_boundary():
    data = {label: bent_hands(POSTURES[label], 30, seed) for seed, label in enumerate(LABELS)}
    fit = posture.fit(data, LABELS)
    # A centroid that is a recorded hand: the expanded square is slightly negative there.
    hand = data["open"][:1]
    fit.pipeline[1].cluster_centers_[0] = fit.pipeline[0].transform(hand)[0]
    import onnxruntime

    session = onnxruntime.InferenceSession(convert.to_onnx(fit.pipeline).SerializeToString())
    _, cluster, distances = session.run(None, {"landmarks": hand})
    assert cluster.tolist() == [0] and 0 <= distances[0, 0] < 1e-7
    # On the way from one hand to another: float32 decides where scikit-learn's float64 does.
    mix = np.linspace(0, 1, 501, dtype=np.float32)[:, None, None]
    between = data["open"][:1] * (1 - mix) + data["fist"][:1] * mix
    features, cluster, distances = session.run(None, {"landmarks": between})
    ours = fit.pipeline.transform(between)
    assert np.abs(features - fit.pipeline[0].transform(between)).max() <= 1e-6
    assert np.abs(distances - ours).max() <= 1e-5
    assert ((cluster == ours.argmin(1)) | (np.diff(np.sort(ours, 1)[:, :2], axis=1)[:, 0] < 1e-5)).all()


def test_a_hand_on_the_border_of_two_postures_is_no_reason_to_refuse(tmp_path, monkeypatch):
    """There scikit-learn's `predict` rounds otherwise than its own distances, above all of postures that are
    nearly the same."""
    folder = record(tmp_path / "rec", {"open": 0.02, "almost": 0.06, "fist": 0.1})
    data = recording.read(folder).labels
    frame, kmeans = (step for _, step in posture.fit(data, LABELS, weights="few").pipeline.steps)
    t = np.linspace(0, 1, 100_000, dtype=np.float32)[:, None, None]
    hands = (1 - t) * data["open"][0] + t * data["almost"][0]
    features = frame.transform(hands)
    distances = kmeans.transform(features)
    two = np.sort(distances, axis=1)[:, :2]
    other = (kmeans.predict(features) != distances.argmin(1)) & (two[:, 1] - two[:, 0] > 1e-5)
    assert other.any()
    monkeypatch.setattr(builder, "_trial_hands", lambda recorded: hands[other])
    builder.build(folder, tmp_path / "x.onnx")
    assert (tmp_path / "x.onnx").exists()


def test_a_hand_without_a_palm_lies_far_from_every_posture(tmp_path):
    output = tmp_path / "x.onnx"
    builder.build(record(tmp_path / "rec"), output)
    file = model.read(output)
    distances = Session(file).run(np.zeros((1, 21, 3), np.float32))["distances"]
    assert np.isfinite(distances).all() and distances.min() > file.meta["unsure"]["max_distance"]


def test_other_labels_get_words_and_colours(tmp_path):
    folder = record(tmp_path / "rec", {"flat": 0.0, "hook": 0.9})
    meta = builder.build(folder, tmp_path / "hook-fist.onnx", {"labels": ["hook", "flat"], "hold_s": 2})
    assert meta["labels"] == ["hook", "flat"] and meta["title"]["en"] == "Hook fist" and meta["hold_s"] == 2
    assert meta["colours"] == {"hook": builder.BEST, "flat": builder.WORST}
    assert "bad" not in json.dumps(meta["messages"])
    assert meta["trained_on"].startswith("a recording of 60 frames")


def test_a_posture_may_have_another_name_in_the_file_than_in_the_recording(tmp_path):
    folder = record(tmp_path / "rec", {"flat": 0.0, "hook": 0.9})
    straight = builder.build(folder, tmp_path / "a.onnx", {"labels": ["hook", "flat"]})
    names = {"labels": ["flat", "claw"], "recorded_as": {"flat": "hook", "claw": "flat"}}  # one is exchanged
    meta = builder.build(folder, tmp_path / "b.onnx", names)
    assert meta["labels"] == ["flat", "claw"] and "recorded_as" not in meta
    assert meta["reference"] == straight["reference"]
    assert meta["quality"]["frames"] == {"flat": 30, "claw": 30}
    for wrong in ({"flat": ["hook"]}, {"flat": 1}):
        with pytest.raises(HandCoachError, match="recorded_as"):
            builder.build(folder, tmp_path / "c.onnx", {"recorded_as": wrong})
    with pytest.raises(HandCoachError, match="per_label"):
        builder.build(folder, tmp_path / "c.onnx", {"per_label": 9})
    four = builder.build(folder, tmp_path / "d.onnx", {"labels": ["hook", "flat"], "per_label": 2})
    assert four["clusters"] == ["hook", "hook", "flat", "flat"] and "per_label" not in four
    with pytest.raises(HandCoachError, match="has no point"):
        builder.build(folder, tmp_path / "c.onnx", {"recorded_as": {"flat": "point"}})


def test_only_the_hands_of_the_postures_that_are_used_are_told(tmp_path):
    folder = record(tmp_path / "rec", {"flat": 0.0, "hook": 0.9})
    left = bent_hands(0.5, 30, 5)
    recording.add(folder, "other", left, np.arange(30) / 30.0, hand="left", landmark_model="tiny")
    kinds = {
        labels: [f.kind for f in builder.check(folder, tmp_path / "check", {"labels": [*labels]}).findings]
        for labels in (("flat", "hook"), ("flat", "other"))
    }
    assert "both_hands" not in kinds["flat", "hook"] and "both_hands" in kinds["flat", "other"]


def test_an_exercise_knows_whether_it_is_about_the_thumb(tmp_path):
    straight, touching = bent_hands(0.05, 30, 1), bent_hands(0.05, 30, 2)
    touching[:, 3:5] += np.float32([-0.4, -0.3, -0.4])
    assert builder.about_thumb({"touch": touching, "open": straight})
    assert not builder.about_thumb({"fist": bent_hands(0.9, 30, 3), "open": straight})
    assert not builder.about_thumb({"open": straight, "same": bent_hands(0.05, 30, 4)})
    meta = builder.build(record(tmp_path / "rec"), tmp_path / "a.onnx")
    assert meta["about_thumb"] is False


def test_the_weights_that_are_offered_are_those_that_there_are():
    """The command says which without what builds exercises being installed."""
    from handcoach_train.posture import clusters

    assert set(builder.WEIGHTS) == set(clusters.WEIGHTS)


def test_settings_come_from_a_file(tmp_path):
    folder = record(tmp_path / "rec")
    words = tmp_path / "words.json"
    words.write_text(json.dumps({"messages": {"fist": {"en": "Let go."}}, "repetitions": 2}))
    argv = ["exercise", str(folder), "-o", str(tmp_path / "a.onnx"), "--messages", str(words), "--title", "T"]
    assert main(argv) == 0
    meta = model.read(tmp_path / "a.onnx").meta
    assert meta["messages"]["fist"] == {"en": "Let go."} and meta["title"] == {"en": "T"}
    assert meta["repetitions"] == 2 and meta["labels"][0] == "open"


@pytest.mark.parametrize("given", [True, False])
def test_the_first_posture_is_praised_and_no_word_says_otherwise(tmp_path, given):
    """The same labels in another order are another exercise: its words would praise the wrong hand."""
    labels = ["fist", "almost", "open"]
    made = record(tmp_path / "rec", POSTURES if given else {label: POSTURES[label] for label in labels})
    meta = builder.build(made, tmp_path / "x.onnx", {"labels": labels} if given else {})
    assert meta["labels"] == labels
    assert meta["messages"]["fist"]["en"] == "Beautiful. Hold it there."
    assert "towards “fist”" in meta["messages"]["open"]["en"]
    assert meta["colours"]["fist"] == builder.BEST and meta["colours"]["open"] == builder.WORST
    assert "stretch" not in str(meta["title"]).lower() + str(meta["instructions"]).lower()


def test_whoever_builds_over_a_signed_file_is_told(tmp_path, monkeypatch, capsys):
    from handcoach import exercise_file, signature

    monkeypatch.setenv("HANDCOACH_HOME", str(tmp_path / "home"))
    signature.make_key()
    made, output = record(tmp_path / "rec"), tmp_path / "x.onnx"
    for signed in (False, True):
        assert main(["exercise", str(made), "-o", str(output)]) == 0
        assert ("sign this one" in capsys.readouterr().out) == signed
        exercise_file.sign(output)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"labels": ["open", "flat"]}, "has no posture flat"),
        ({"labels": ["open"]}, "only the posture open"),
        ({"labels": []}, "only the posture"),
        ({"labels": ["open", "open"]}, "different names"),
        ({"hold": 3}, "unknown entry 'hold'"),
        ({"weights": "recorded"}, "weights must be few, many, equal, not 'recorded'"),
        ({"hold_s": "3"}, "wrong type"),
        ({"hold_s": float("nan")}, "no numbers"),
        ({"tolerance": {"green": 0.1, "red": float("inf")}}, "no numbers"),
        ({"title": {"da": "Stræk"}}, "lack English"),
        ({"messages": {"fst": {"en": "x"}}}, "messages for fst"),
        ({"colours": {"open": "green"}}, "colour of 'open'"),
        ({"repetitions": 0}, "repetitions must be 1 to 1000, not 0"),
        ({"hold_s": -3}, "hold_s must be 0 to 3600, not -3"),
        ({"session_s": 5}, "session_s must be 60 to 7200"),
        ({"kept_axes": "q"}, "kept_axes must be some of x, y and z"),
        ({"title": {"en": "x" * 400}}, "title .* too long \\(300"),
    ],
)
def test_bad_settings_are_refused_in_one_sentence(tmp_path, settings, says):
    output = tmp_path / "x.onnx"
    with pytest.raises(HandCoachError, match=says):
        builder.build(record(tmp_path / "rec"), output, settings)
    assert not list(tmp_path.glob("*.onnx")) and not list(tmp_path.glob(".*"))


def test_bad_recordings_exit_with_2_and_one_sentence(tmp_path, capsys):
    few = record(tmp_path / "few", count=12)
    one = record(tmp_path / "one", {"open": 0.0})
    cases = (few, "at least 8 more"), (one, "only the posture open"), (tmp_path, "is no recording")
    for folder, says in cases:
        assert main(["exercise", str(folder), "-o", str(tmp_path / "x.onnx")]) == 2
        error = capsys.readouterr().err
        assert says in error and error.count("\n") == 1
    assert not (tmp_path / "x.onnx").exists()


def test_nothing_is_written_without_parity(tmp_path, monkeypatch):
    output = tmp_path / "x.onnx"
    folder = record(tmp_path / "rec")
    builder.build(folder, output)
    before = output.read_bytes()
    right = convert.to_onnx

    def wrong(pipeline):
        pipeline[1].cluster_centers_ += np.float32(0.001)
        graph = right(pipeline)
        pipeline[1].cluster_centers_ -= np.float32(0.001)
        return graph

    monkeypatch.setattr(convert, "to_onnx", wrong)
    with pytest.raises(HandCoachError, match="does not give what scikit-learn gives"):
        builder.build(folder, output)
    assert output.read_bytes() == before and len(list(tmp_path.iterdir())) == 2


def test_the_output_must_be_a_model_file_in_a_folder(tmp_path):
    folder = record(tmp_path / "rec")
    with pytest.raises(HandCoachError, match=r"end it in \.onnx"):
        builder.build(folder, tmp_path / "x.txt")
    with pytest.raises(HandCoachError, match="does not exist"):
        builder.build(folder, tmp_path / "no" / "x.onnx")


def test_help_teaches(capsys):
    for argv in (["--help"], ["exercise", "--help"], ["landmarks", "--help"]):
        with pytest.raises(SystemExit) as stop:
            main(argv)
        assert stop.value.code == 0
    assert "finger-stretch" in capsys.readouterr().out
