"""Advice is right on either hand, and anything doubtful is unsure, never praise."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny.hands import BENDS, template
from tiny.onnx_parts import with_meta

from handcoach import model
from handcoach.clusters import FINGERTIPS, THUMB, Free
from handcoach.coach import SESSION_S
from handcoach.errors import ModelError
from handcoach.exercise import MIN_PRESENCE, Exercise, margin_of, margins
from handcoach.hand import Hand, Side, hand_frame, mirror, normalise
from handcoach.pipeline import Pipeline
from handcoach.tracker import Tracker

POINTS = np.zeros((21, 2), np.float32)


@pytest.fixture(scope="module")
def exercise(tiny_exercise: Path) -> Exercise:
    return Exercise(model.read(tiny_exercise, "exercise"))


def hand(bend: float, side: Side = "right", score: float = 0.99, seed: int = 0) -> Hand:
    """A hand turned at random in space."""
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    landmarks, _, _ = normalise(template(bend) @ (q * np.linalg.det(q)).T)
    return Hand(mirror(landmarks) if side == "left" else landmarks, POINTS, side, score)


@pytest.mark.parametrize("label", BENDS)
@pytest.mark.parametrize("seed", range(3))
def test_a_mirrored_hand_gets_the_same_posture(exercise: Exercise, label: str, seed: int) -> None:
    right = exercise.assess(hand(BENDS[label], "right", seed=seed))
    left = exercise.assess(hand(BENDS[label], "left", seed=seed))
    assert right.label == left.label == label
    assert exercise.clusters[right.cluster] == label
    np.testing.assert_allclose(left.distances, right.distances, atol=1e-4)
    np.testing.assert_allclose(left.aligned, right.aligned, atol=1e-4)


def test_a_hand_taken_for_the_other_side_is_not_praised(exercise: Exercise) -> None:
    fist = hand(1.0, "left")
    wrong = Hand(fist.landmarks, POINTS, "right", 0.99)
    assert exercise.assess(wrong).label != "open"


def test_low_presence_is_unsure(exercise: Exercise) -> None:
    assert exercise.assess(hand(0.0, score=MIN_PRESENCE - 0.01)).label == "unsure"
    assert exercise.assess(hand(0.0, score=MIN_PRESENCE + 0.01)).label == "open"


def test_a_hand_between_two_postures_is_unsure(exercise: Exercise) -> None:
    labels = [exercise.assess(hand(b)).label for b in np.linspace(0, 1, 81)]
    assert "unsure" in labels[:41] and "unsure" in labels[40:]
    assert labels[0] == "open" and labels[40] == "almost" and labels[80] == "fist"


def test_a_hand_like_none_that_was_shown_is_unsure(exercise: Exercise) -> None:
    landmarks = template(0.0)
    landmarks[[4, 8, 12, 16, 20]] *= 3
    posture = exercise.assess(Hand(landmarks.astype(np.float32), POINTS, "right", 1.0))
    assert posture.distances.min() > exercise.max_distance and posture.label == "unsure"


def test_a_gentle_exercise_praises_sooner_and_a_strict_one_later(tiny_exercise: Path, tmp_path: Path) -> None:
    def praised(praise: float) -> float:
        """The largest bend that is praised."""

        def change(meta: dict) -> None:
            meta["tolerance"]["praise"] = praise

        file = tmp_path / f"{praise}.onnx"
        file.write_bytes(with_meta(tiny_exercise.read_bytes(), change))
        eased = Exercise(model.read(file, "exercise"))
        said = [(eased.assess(hand(bend)), bend) for bend in np.linspace(0, 0.5, 51)]
        assert {s.label for s, _ in said} == {"open", "unsure", "almost"}  # there is a margin still
        assert all(s.margin >= eased.min_margin for s, _ in said if s.label != "unsure")
        return max(bend for s, bend in said if s.label == "open")

    strict, medium, gentle = (praised(p) for p in (0.7, 1.0, 1.5))
    assert strict < medium - 0.01 < medium + 0.01 < gentle
    with pytest.raises(ModelError, match="praise is not between"):
        praised(3.0)


def test_it_widens_for_a_person_only_as_far_as_the_therapist_allows(tiny_exercise: Path) -> None:
    """Without a word of the therapist's not at all; never beyond twice as far as another posture."""

    def praised(exercise: Exercise, times: float) -> float:
        exercise.widen(times)
        return max(b for b in np.linspace(0, 0.5, 51) if exercise.assess(hand(b)).label == "open")

    def with_tolerance(**more: float) -> Exercise:
        data = with_meta(tiny_exercise.read_bytes(), lambda meta: meta["tolerance"].update(more))
        file = model.read(tiny_exercise, "exercise")
        return Exercise(replace(model.parse(data, tiny_exercise, "exercise"), sha256=file.sha256))

    silent = with_tolerance()
    assert praised(silent, 1) == praised(silent, 1.5)
    allowed = with_tolerance(widest=1.25)
    plain, wide = praised(allowed, 1), praised(allowed, 1.25)
    assert plain == praised(silent, 1) < wide == praised(allowed, 9)
    assert praised(allowed, 1) == plain  # and back
    assert with_tolerance(praise=1.8, widest=2).widest == pytest.approx(2 / 1.8)
    with pytest.raises(ModelError, match="widest is not between"):
        with_tolerance(widest=2.5)


@pytest.mark.parametrize("kept_axes", ["", "z"])
@pytest.mark.parametrize("keep", [[0, 0, 0], [0, 1, 0]])
def test_a_degenerate_hand_is_unsure_and_still_drawable(
    exercise: Exercise, keep: list[int], kept_axes: str, monkeypatch
) -> None:
    monkeypatch.setattr(exercise, "kept_axes", kept_axes)
    posture = exercise.assess(Hand((template(0.0) * keep).astype(np.float32), POINTS, "left", 1.0))
    assert (posture.label, posture.cluster, posture.margin) == ("unsure", -1, 0.0)
    assert np.isfinite(posture.shown).all() and np.isfinite(posture.joint_distances).all()


def test_joint_distances_are_zero_on_the_reference_and_grow_at_the_tips(exercise: Exercise) -> None:
    assert exercise.assess(hand(0.0)).joint_distances.max() < 1e-4
    fist = exercise.assess(hand(1.0)).joint_distances
    assert fist[[8, 12, 16, 20]].min() > 0.5 and fist[[0, 5]].max() < 0.05


def test_where_the_turn_counts_a_turned_hand_is_far_from_the_teachers(
    exercise: Exercise, monkeypatch
) -> None:
    quarter = cv2.Rodrigues(np.array([0, 0, np.pi / 2]))[0]
    taught, lying = (
        Hand(landmarks.astype(np.float32), POINTS, "right", 0.99)
        for landmarks in (exercise.reference, exercise.reference @ quarter.T)
    )
    assert exercise.assess(lying).joint_distances.max() < 1e-4
    monkeypatch.setattr(exercise, "kept_axes", "xz")
    posture = exercise.assess(lying)
    assert posture.joint_distances[12] > 2 and posture.joint_distances[0] < 1e-4
    np.testing.assert_allclose(posture.aligned, exercise.reference_aligned, atol=1e-4)
    assert exercise.assess(taught).joint_distances.max() < 1e-4


def with_thumb(bend: float, thumb: float) -> Hand:
    """A hand whose thumb is bent otherwise than its fingers."""
    landmarks = template(bend)
    landmarks[1:5] = template(thumb)[1:5]
    return Hand(landmarks.astype(np.float32), POINTS, "right", 0.99)


def without_thumb(bend: float, clusters: tuple[str, ...]) -> list[float]:
    """Distances to the tiny exercise's centroids over all joints but the thumb's, by numpy."""
    keep = [0, *range(5, 21)]
    this = hand_frame(template(bend))[keep]
    return [float(np.linalg.norm(this - hand_frame(template(BENDS[c]))[keep])) for c in clusters]


@pytest.mark.parametrize("thumb", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("bend", [0.0, 0.3, 1.0])
def test_a_thumb_that_is_switched_off_changes_nothing(tiny_exercise: Path, bend: float, thumb: float) -> None:
    free = Exercise(model.read(tiny_exercise, "exercise"), thumb=False)
    posture = free.assess(with_thumb(bend, thumb))
    np.testing.assert_allclose(posture.distances, without_thumb(bend, free.clusters), atol=2e-3)
    assert posture.label == free.assess(with_thumb(bend, bend)).label
    assert (posture.joint_distances[1:5] == 0).all()
    assert "thumb" not in free.fingers and free.thumb == "off"


def shipped(name: str) -> model.ModelFile:
    return model.read(model.find(name, "exercise"), "exercise")


@pytest.mark.parametrize("finger", ["index", "middle", "ring", "little"])
def test_where_the_thumb_touches_a_finger_it_counts_whatever_was_wished(finger: str) -> None:
    """Without it, who only bends the finger would be praised for a thumb that is nowhere near."""
    file = shipped(f"thumb-to-{finger}")
    usual, wished = Exercise(file), Exercise(file, thumb=False)
    assert (wished.thumb, wished.thumb_needed, usual.thumb_needed) == ("counts", True, False)
    assert wished.fingers == usual.fingers
    away = np.array(file.meta["reference"])
    away[1:5] = template(0.0)[1:5]
    seen = Hand(away.astype(np.float32), POINTS, "right", 0.99)
    np.testing.assert_array_equal(wished.assess(seen).distances, usual.assess(seen).distances)
    assert np.isfinite(wished.assess(seen).thumb)


def test_a_thumb_that_is_nowhere_near_is_not_praised() -> None:
    """The teacher's fingers, and the thumb where an open hand has it."""
    wished = Exercise(shipped("thumb-to-little"), thumb=False)
    free = Free(wished.run, wished.reference, THUMB)
    way, _ = free.nearest(wished.run(free.moved(wished.reference))["distances"])
    hand = wished.reference_aligned.copy()
    assert wished.assess(Hand(hand, POINTS, "right", 0.99)).label == "touch"
    hand[free.joints] += way[wished.clusters.index("open")]
    assert wished.assess(Hand(hand, POINTS, "right", 0.99)).label != "touch"


@pytest.mark.parametrize("name", ["finger-stretch", "fist", "hook-fist", "finger-spread", "table-top"])
def test_elsewhere_the_thumb_may_be_left_out(name: str) -> None:
    free = Exercise(shipped(name), thumb=False)
    assert (free.thumb, free.thumb_needed) == ("off", False)


@pytest.mark.parametrize(
    ("name", "bends"),
    [("finger-stretch", True), ("fist", True), ("thumb-to-index", True), ("table-top", True),
     ("finger-spread", False)],
)  # fmt: skip
def test_it_is_known_whether_fingers_are_to_bend(name: str, bends: bool) -> None:
    assert Exercise(shipped(name)).trains_flexion is bends


@pytest.mark.parametrize(
    ("name", "arm"),
    [("finger-stretch", "towards"), ("wrist-up", "along"), ("wrist-down", "along"),
     ("finger-lift", "towards"), ("fist", "up"), ("forearm-turn", "up")],
)  # fmt: skip
def test_it_is_known_how_the_arm_is_held(name: str, arm: str) -> None:
    exercise, tracker = Exercise(shipped(name)), Tracker(None, None)  # type: ignore[arg-type]
    assert exercise.arm == arm
    assert Pipeline(tracker, exercise).tracker.along == exercise.along == (arm == "along")
    assert not Pipeline(tracker).tracker.along
    without = replace(exercise.file, meta=exercise.file.meta | {"kept_axes": ""})
    assert not Exercise(without).along  # the hand may be held at will


def test_the_clusters_hands_are_told_from_the_graph_alone(exercise: Exercise) -> None:
    for joints in (THUMB, FINGERTIPS):
        free = Free(exercise.run, exercise.reference, joints)
        way, _ = free.nearest(exercise.run(free.moved(hand(0.3).landmarks))["distances"])
        for cluster, label in enumerate(exercise.clusters):
            found = hand_frame(hand(0.3).landmarks)[free.joints] + way[cluster]
            np.testing.assert_allclose(found, hand_frame(template(BENDS[label]))[free.joints], atol=5e-3)


def test_a_graph_that_gives_no_numbers_is_told_nothing_by(exercise: Exercise) -> None:
    def run(hands: np.ndarray) -> dict:
        return {"distances": np.full((len(hands), 3), np.nan, np.float32)}

    free = Free(run, exercise.reference, THUMB)
    way, left = free.nearest(run(free.moved(exercise.reference))["distances"])
    assert np.isnan(way).all() and np.isnan(left).all()


def test_the_thumb_is_scored_apart_whether_it_counts_or_not(exercise: Exercise, tiny_exercise: Path) -> None:
    assert exercise.thumb == "counts"
    for one in (exercise, Exercise(model.read(tiny_exercise, "exercise"), thumb=False)):
        assert one.assess(with_thumb(0.0, 0.0)).thumb < 1e-4
        assert one.assess(with_thumb(0.0, 1.0)).thumb > 0.3
    assert np.isnan(exercise.assess(Hand(template(0.0).astype(np.float32) * 0, POINTS, "left", 1.0)).thumb)


def test_an_exercise_that_leaves_the_thumb_out_scores_it_apart(tiny_exercise: Path) -> None:
    data = with_meta(tiny_exercise.read_bytes(), lambda meta: meta.update(fingers=["index", "middle"]))
    meta = model.parse(data, tiny_exercise, "exercise").meta
    file = replace(model.read(tiny_exercise, "exercise"), meta=meta)
    assert Exercise(file).thumb == "apart"
    assert Exercise(file, thumb=False).thumb == "off"


def test_a_session_may_have_an_end_of_its_own(exercise: Exercise, tiny_exercise: Path) -> None:
    assert exercise.session_s == SESSION_S
    data = tiny_exercise.read_bytes()
    own = model.parse(with_meta(data, lambda meta: meta.update(session_s=300)), tiny_exercise, "exercise")
    assert Exercise(replace(own, sha256=exercise.file.sha256)).session_s == 300
    assert exercise.speak_s == 0
    own = model.parse(with_meta(data, lambda meta: meta.update(speak_s=4)), tiny_exercise, "exercise")
    assert Exercise(replace(own, sha256=exercise.file.sha256)).speak_s == 4
    with pytest.raises(ModelError, match="speak_s"):
        model.parse(with_meta(data, lambda meta: meta.update(speak_s=-1)), tiny_exercise, "exercise")
    with pytest.raises(ModelError, match="session_s"):
        model.parse(with_meta(data, lambda meta: meta.update(session_s=1)), tiny_exercise, "exercise")


def test_margin() -> None:
    clusters = ("almost", "fist", "open", "open")
    assert margin_of(np.array([1.0, 2, 3, 4]), clusters) == 0.5
    assert margin_of(np.array([4.0, 5, 1, 1.1]), clusters) == 0.75  # two clusters of one label do not compete
    assert margin_of(np.array([2.0, 2, 3, 4]), clusters) == 0
    assert margin_of(np.array([0.0, 0, 3, 4]), clusters) == 0
    assert margin_of(np.array([0.0, 9]), ("open", "open")) == 1
    many = np.random.default_rng(0).random((50, 4)).astype(np.float32)
    assert margins(many, clusters).tolist() == [margin_of(row, clusters) for row in many]


def test_messages_fall_back_to_english(exercise: Exercise) -> None:
    assert exercise.message("open", "da") == "Flot, hold den."
    assert exercise.message("open", "en-GB") == exercise.message("open", "fi") == "Well done, hold it."
    assert "hand" in exercise.message("unsure", "en")
    with pytest.raises(ValueError, match="no posture"):
        exercise.message("nonsense")
