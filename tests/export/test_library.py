"""The starter library's path from what was read to what ships, on crude hands instead of renderings."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

pytest.importorskip("skl2onnx")
pytest.importorskip("moderngl")

from tiny.hands import bent_hands

from handcoach import exercise_file
from handcoach.errors import HandCoachError
from handcoach.exercise import Exercise
from handcoach_export import exercise, library
from handcoach_train.render import starter

BEND = {"index_lifted": 0.02, "index_resting": 0.9, "open": 0.02, "almost": 0.45, "fist": 1.2}


@pytest.fixture
def crude(monkeypatch):
    """Two exercises, whose hands are drawn from numbers; one in ten is not found."""
    two = {name: library.LIBRARY[name] for name in ("finger-lift", "finger-stretch")}
    monkeypatch.setattr(library, "LIBRARY", two)
    monkeypatch.setattr(library, "postures", lambda: tuple(BEND))

    def read(work, name, posture, models, known_side=False, tracked=False, along=False, in_gap=False):
        assert not along  # neither lies along the screen
        assert known_side == (name == "own" or name in library.TEACHERS)
        assert not in_gap or name == "final"
        # Ten of the stretched hands are bent too much to show it, one of which is not found.
        n = (10 if posture == "open" else 0) if in_gap else 40
        score = np.ones(n, np.float32)
        score[::10] = 0
        bend = 0.4 if name == "teacher-2" else BEND[posture]  # who shows one posture alone
        x = bent_hands(bend, n, (library.SETS | library.TEACHERS)[name] + tracked)
        x[::10] = np.nan
        return library.Seen(x, score, score > 0, np.tile(np.float32([1, 0.5]), (n, 1)))

    monkeypatch.setattr(library, "read", read)


def shown(work):
    """Every posture has been rendered, as far as a look at the folders tells."""
    for people in ("own", "final"):
        for posture in BEND:
            folder = work / "frames" / people / posture / "labels"
            folder.mkdir(parents=True)
            (folder / "000000.json").write_text("{}")
    return work


def test_what_passes_ships_with_its_picture_and_its_figures(tmp_path, crude, capsys):
    ship = tmp_path / "ship"
    ship.mkdir()
    found = library.make(shown(tmp_path / "work"), None, library.Models(), {}, ship)
    # A hand that is not found is not right.
    assert found["finger-lift"]["stills"]["right"] == pytest.approx(0.9)
    assert found["finger-lift"]["stills"]["wrong_praise"] == 0
    assert (
        found["finger-lift"]["praised"]["index_resting"] == 0
        and found["finger-lift"]["praised"]["index_lifted"] == 0.9
    )
    file = exercise_file.read(str(ship / "finger-lift.onnx"))
    assert all(check.level != "fail" for check in exercise_file.check(file))
    own = library.read(None, "own", "index_lifted", None, known_side=True).landmarks
    assert (np.abs(own - np.float32(file.meta["reference"])).max((1, 2)) < 1e-5).any()  # a recorded frame
    assert cv2.imread(str(ship / "finger-lift.png")).shape == (720, 720, 3)
    text = (ship / "library.md").read_text()
    assert "| 90.0% | 90.0% | 0.0% |" in text and "![](finger-lift.png)" in text and "not shipped" not in text
    assert "| is none |" in text and "| told apart, 0% praised |" in text
    gap = found["finger-stretch"]["gap"]
    assert gap["said"] == {"open": [library.NOT_FOUND, *["open"] * 9]}
    assert gap["with"]["frames_by_label"] == {"open": 50, "almost": 40, "fist": 40}
    assert "for what they are: of 10 rendered as `open` 90%. With them 90.0% of the stills" in text
    assert "gap" not in found["finger-lift"]
    assert "finger-lift: right 90.0%" in capsys.readouterr().out


def test_single_teachers_say_what_a_therapists_recording_would_give(tmp_path, crude, monkeypatch):
    built, build = [], exercise.build

    def watched(folder, file, settings, *rest):
        built.append(settings)
        return build(folder, file, settings, *rest)

    monkeypatch.setattr(exercise, "build", watched)
    work = shown(tmp_path)
    for teacher in ("teacher-1", "teacher-2"):
        (work / "frames" / teacher).mkdir()
    found = library.make(work, None, library.Models(), {}, None)
    one, other = found["finger-lift"]["taught"]
    assert (
        one["right"] == pytest.approx(0.9) and one["wrong_praise"] == 0 and "look alike" in other["refused"]
    )
    assert "| 90.0% / 0.0% / 10.0% (1 refused) |" in (work / "library.md").read_text()
    assert not (work / "exercises/trial.onnx").exists() and not (work / "recordings/trial").exists()
    # Theirs is built as a therapist's is, and the library's by its own rule.
    assert sum(not set(library.HOW) & set(settings) for settings in built) == 4
    assert found["finger-lift"]["meta"]["weights"] == "many"


def test_what_fails_the_bar_is_named_and_taken_away(tmp_path, crude, monkeypatch):
    monkeypatch.setattr(library, "GOOD", 0.95)
    ship = tmp_path / "ship"
    ship.mkdir()
    for name in ("finger-lift", "finger-stretch"):
        (ship / f"{name}.onnx").write_bytes(b"before")
    library.make(shown(tmp_path / "work"), None, library.Models(), {}, ship)
    assert not (ship / "finger-lift.onnx").exists()
    assert (ship / "finger-stretch.onnx").read_bytes() == b"before"  # the program cannot do without
    assert (ship / "library.md").read_text().count("not shipped") == 2


def test_hands_are_read_as_the_exercises_own_tracker_does(tmp_path, crude, monkeypatch):
    class Along(Exercise):
        def __init__(self, *file):
            super().__init__(*file)
            self.along = True

    asked, read = set(), library.read

    def watched(work, name, *rest, along=False, **how):
        asked.add((name, along))
        return read(work, name, *rest, **how)

    monkeypatch.setattr(library, "read", watched)
    monkeypatch.setattr(library, "Exercise", Along)
    library.make(shown(tmp_path), None, library.Models(), {}, None)
    assert asked == {("own", False), ("choose", True), ("final", True)}


def test_a_recording_that_is_refused_is_said_and_the_others_go_on(tmp_path, crude, monkeypatch):
    build = library.build

    def refusing(work, name, models):
        if name == "finger-lift":
            raise HandCoachError("lifted and resting look alike.")
        return build(work, name, models)

    monkeypatch.setattr(library, "build", refusing)
    found = library.make(shown(tmp_path / "work"), None, library.Models(), {}, None)
    assert "refused" in found["finger-lift"] and "stills" in found["finger-stretch"]
    assert "not shipped: lifted and resting look alike." in (tmp_path / "work/library.md").read_text()


def test_what_nobody_shows_yet_is_refused(tmp_path, crude):
    """Before anything that ships is replaced or taken away."""
    (shown(tmp_path) / "frames/final/index_lifted/labels/000000.json").unlink()
    ship = tmp_path / "ship"
    ship.mkdir()
    (ship / "finger-lift.onnx").write_bytes(b"before")
    with pytest.raises(HandCoachError, match="Nobody of final shows index_lifted yet"):
        library.make(tmp_path, None, library.Models(), {}, ship)
    assert [(p.name, p.read_bytes()) for p in ship.iterdir()] == [("finger-lift.onnx", b"before")]


def test_without_people_to_choose_by_an_almost_good_posture_stays(tmp_path, crude, monkeypatch):
    read = library.read

    def nobody_to_choose(work, name, *rest, **how):
        seen = read(work, name, *rest, **how)
        if name != "choose":
            return seen
        return library.Seen(seen.landmarks[:0], seen.score[:0], seen.right_side[:0], seen.view[:0])

    monkeypatch.setattr(library, "read", nobody_to_choose)
    found = library.make(shown(tmp_path), None, library.Models(), {}, None)
    assert found["finger-stretch"]["shows"] == library.LIBRARY["finger-stretch"]
    assert found["finger-lift"]["stills"]["right"] == pytest.approx(0.9)


def test_an_almost_good_posture_that_is_not_told_apart_is_named_with_its_praise():
    """It is none of the postures of which the bar asks that they are not praised: it must not go unsaid."""
    figures = {
        "shows": {"touch": ("thumb_index",), "open": ("flat",)},
        "praised": {"thumb_index_half": 0.94},
    }
    assert library._almost("thumb-to-index", figures) == "**94% praised**"


def test_words_labels_and_postures_fit_together():
    known = set(library.postures())
    assert known == {"open", "almost", "fist", *starter.SHOWN}
    assert set(library.LIBRARY) == set(exercise.built_in())
    for name, labels in library.LIBRARY.items():
        words = exercise.read_settings(name)
        assert words["labels"] == list(labels) == list(words["messages"]) and words["name"] == name
        texts = [words["title"], words["instructions"], *words["messages"].values()]
        assert all(text["en"] and text["da"] and text["en"] != text["da"] for text in texts)
        assert {posture for shown in labels.values() for posture in shown} <= known
        start = library.STARTS.get(name) or list(labels)[-1]
        assert labels[start][0] in ("fist", "flat", "straight", "index_resting", "wrist_level")
    assert set(library.STARTS) <= set(library.LIBRARY)


def test_what_is_shown_in_another_way_is_rendered_anew(tmp_path, monkeypatch):
    from handcoach_train.render import write

    rendered = []

    def render(job, workers):
        rendered.append(job.out.name)
        (job.out / "labels").mkdir()
        (job.out / "labels/000000.json").write_text("{}")

    monkeypatch.setattr(write, "bake", lambda *_: None)
    monkeypatch.setattr(write, "render", render)
    monkeypatch.setattr(library, "postures", lambda: ("open", "flat", "thumb_ring"))
    monkeypatch.setattr(library, "STRETCH", ())  # of which three times as many are
    assets = library.Assets(tmp_path)
    for change, anew in (
        (lambda: None, ["open", "flat", "thumb_ring"]),
        (lambda: None, []),
        (lambda: monkeypatch.setattr(starter, "TOUCH", (0.1, 0.2)), ["thumb_ring"]),
        (
            lambda: monkeypatch.setitem(starter.SHOWN, "flat", replace(starter.SHOWN["flat"], fan=(1, 4))),
            ["flat"],
        ),
    ):
        change()
        rendered.clear()
        library.render(tmp_path, assets, {"own": 1})
        assert rendered == anew


def test_what_was_read_is_kept_until_a_model_or_a_picture_changes(tmp_path, monkeypatch):
    folder = tmp_path / "frames/final/flat"
    for part in ("frames", "labels"):
        (folder / part).mkdir(parents=True)
    points = np.linspace([100, 100], [260, 260], 21).tolist()
    for n, side in enumerate(("left", "right", "right")):
        hand = {"side": side, "points": points if n < 2 else [[5, 5]] * 21}
        (folder / f"labels/{n:06d}.json").write_text(json.dumps({"size": [640, 480], "hands": [hand]}))
        cv2.imwrite(str(folder / f"frames/{n:06d}.jpg"), np.zeros((480, 640, 3), np.uint8))
    looked = []

    def look(line, image, side, number, tracked):
        looked.append((line.name, side, number, tracked, line.tracker.along))
        return np.zeros((21, 3)), 1.0, True, (1.0, 0.5)

    monkeypatch.setattr(library, "_look", look)

    def load(*models, hand, still):
        return SimpleNamespace(name=f"{hand} {still}", tracker=SimpleNamespace(along=False))

    monkeypatch.setattr(library.pipeline, "load", load)
    models = library.Models()
    first = library.read(tmp_path, "final", "flat", models)
    assert len(first) == 2
    assert looked == [("auto True", "left", 0, False, False), ("auto True", "right", 1, False, False)]
    again = library.read(tmp_path, "final", "flat", models)
    assert len(looked) == 2 and np.array_equal(first.landmarks, again.landmarks)
    library.read(tmp_path, "final", "flat", models, known_side=True, tracked=True)
    assert looked[2:] == [("left False", "left", 0, True, False), ("right False", "right", 1, True, False)]
    library.read(tmp_path, "final", "flat", models, along=True)
    assert looked[4:] == [("auto True", "left", 0, False, True), ("auto True", "right", 1, False, True)]
    monkeypatch.setattr(library.Models, "content", ("other", "weights"))
    library.read(tmp_path, "final", "flat", models)
    assert len(looked) == 8


def test_between_stretched_and_almost_stretched_nobody_shows_anything(tmp_path, monkeypatch):
    """A left hand bends as a right one."""
    bends = (0.02, 0.24, 0.3, 0.45)  # radians a joint: 3, 41, 52 and 77 degrees together
    for posture in ("open", "almost", "closed"):
        labels = tmp_path / "frames/final" / posture / "labels"
        labels.mkdir(parents=True)
        (labels.parent / "frames").mkdir()
        for n, (bend, side) in enumerate((bend, side) for bend in bends for side in ("right", "left")):
            joints = bent_hands(bend, 1, 1)[0] * [1 if side == "right" else -1, 1, 1]
            points = (joints[:, :2] - joints[:, :2].min(0)) * 100 + 50
            hand = {"points": points.tolist(), "joints": joints.tolist(), "side": side}
            (labels / f"{n:06d}.json").write_text(json.dumps({"size": [640, 640], "hands": [hand]}))
            cv2.imwrite(str(labels.parent / f"frames/{n:06d}.jpg"), np.zeros((640, 640, 3), np.uint8))
    monkeypatch.setattr(library.pipeline, "load", lambda *_, **__: SimpleNamespace(tracker=SimpleNamespace()))
    monkeypatch.setattr(  # of which picture it is stands in the place of the score
        library,
        "_look",
        lambda line, image, side, number, tracked: (np.zeros((21, 3)), number + 1, True, (1, 1)),
    )
    for posture, shows in {"open": [1, 2], "almost": [7, 8], "closed": [*range(1, 9)]}.items():
        for in_gap in (False, True):
            numbers = library.read(tmp_path, "final", posture, library.Models(), in_gap=in_gap).score
            assert numbers.tolist() == [n for n in range(1, 9) if (n in shows) != in_gap]


FULL, AT_START, WITHOUT = ("up", "almost", "level", "down"), "almost counts as level", ("up", "level", "down")
REFUSED = HandCoachError("up and almost look alike.")


def trial(right, almost=0.95, wrong_praise=0.0, frames=400, problem=None):
    """What an exercise does on the people of `choose`, or nobody to choose by."""
    if right is None:
        return {"figures": None, "problem": problem}
    return {
        "figures": {
            "right": right,
            "wrong_praise": wrong_praise,
            "frames": frames,
            "right_by_label": {"almost": almost},
            "frames_by_label": {"almost": frames // 4},
        },
        "problem": problem,
    }


@pytest.mark.parametrize(
    ("full", "at_start", "without", "taken"),
    [
        (trial(0.98), None, None, FULL),
        (trial(0.94), None, trial(0.96), FULL),
        (trial(0.94), trial(0.97), trial(0.98), AT_START),  # costs too much
        (trial(0.94), trial(0.94), trial(0.98), WITHOUT),  # either way
        (trial(0.98, almost=0.5), trial(0.97), trial(0.98), AT_START),  # not told apart
        (trial(0.98, wrong_praise=0.1), trial(0.97), trial(0.98), AT_START),
        (trial(0.98, almost=0.5), trial(0.97, wrong_praise=0.1), trial(0.98), WITHOUT),
        (trial(0.92, frames=40), trial(0.92, frames=40), trial(0.98, frames=40), WITHOUT),  # it may be luck
        (trial(0.92, frames=40), trial(0.92, frames=40), trial(0.93, frames=40), FULL),  # and so may that
        (trial(0.94), trial(0.94), trial(0.98, wrong_praise=0.1), FULL),
        (trial(0.8), trial(0.8), trial(0.82), FULL),  # nothing serves: it is named as it is
        (trial(0.0, problem=REFUSED), trial(0.97), trial(0.98), AT_START),
        (trial(0.0, problem=REFUSED), trial(0.0, problem=REFUSED), trial(0.98), WITHOUT),
        (trial(0.0, problem=REFUSED), trial(0.0, problem=REFUSED), trial(0.0, problem=REFUSED), FULL),
        (trial(None), None, trial(None), FULL),  # nobody to choose by
        (trial(None), trial(0.97), trial(0.98), AT_START),  # almost is seen of nobody
        (trial(None, problem=REFUSED), trial(None), trial(None), WITHOUT),  # unseen it shall not be the start
    ],
)
def test_an_almost_good_posture_is_told_apart_or_the_start_or_left_out(
    tmp_path, monkeypatch, full, at_start, without, taken
):
    def attempt(work, name, models, shows):
        how = full if "almost" in shows else without if len(shows["level"]) == 1 else at_start
        assert how is not None  # it takes minutes
        figures = how["figures"]
        if figures and "almost" not in shows:
            figures = figures | {"right_by_label": {}, "frames_by_label": {}}
        return library.Trial(shows, figures, how["problem"])

    monkeypatch.setattr(library, "_try", attempt)
    chosen = library._choose(tmp_path, "wrist-up", None)
    assert chosen.shows["down"] == ("wrist_down",)
    both = chosen.shows["level"] == ("wrist_level", "wrist_up_half")
    assert (AT_START if both else tuple(chosen.shows)) == taken


def test_of_a_refused_recording_the_whole_is_left_to_look_at(tmp_path, crude, monkeypatch):
    def refused(recording, *rest):
        raise HandCoachError(f"{recording.name} is refused.")

    monkeypatch.setattr(library.exercise, "build", refused)
    with pytest.raises(HandCoachError, match="trial is refused"):
        library.build(tmp_path, "finger-stretch", library.Models())
    assert sorted(p.name for p in (tmp_path / "recordings").iterdir()) == ["finger-stretch"]
    kept = {p.stem.split("-")[0] for p in (tmp_path / "recordings/finger-stretch").rglob("*.npz")}
    assert kept == {"open", "almost", "fist"}


@pytest.mark.parametrize(
    ("without", "at_start", "labels", "said"),
    [
        (0.95, 0.0, ["open", "almost", "fist"], "told apart, 0% praised"),
        (0.99, 0.97, ["open", "fist"], "counts as fist, 0% praised"),
        (0.99, 0.95, ["open", "fist"], "praised**"),
    ],
)
def test_an_almost_good_posture_may_cost_little(
    tmp_path, crude, monkeypatch, without, at_start, labels, said
):
    """Told apart it costs too much: it counts to where the exercise starts, or if that does too, to none."""
    attempt = library._try

    def costs(work, name, models, shows):
        right = 0.94 if "almost" in shows else without if shows["fist"] == ("fist",) else at_start
        trial = attempt(work, name, models, shows)
        return replace(trial, figures=trial.figures | {"right": right})

    monkeypatch.setattr(library, "_try", costs)
    monkeypatch.delitem(library.LIBRARY, "finger-lift")  # has no almost
    found = library.make(shown(tmp_path), None, library.Models(), {}, None)
    assert found["finger-stretch"]["meta"]["labels"] == labels
    assert said in (tmp_path / "library.md").read_text()
    stills = found["finger-stretch"]["stills"]["frames_by_label"]
    assert stills["fist"] == (80 if "counts" in said else 40)
