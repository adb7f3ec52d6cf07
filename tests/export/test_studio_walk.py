"""The studio's real window, from the start page to a saved, signed exercise that `handcoach assess` runs."""

from __future__ import annotations

import json

import cv2
import pytest

pytest.importorskip("skl2onnx")
pytest.importorskip("matplotlib")

from tiny.hands import BENDS, blank, draw_hand
from tiny.live import Hands, pump

from handcoach import cli, model, places
from handcoach.texts import Texts
from handcoach.ui import keys
from handcoach.ui.studio.presenter import FIGURES

pytestmark = pytest.mark.ui


@pytest.fixture
def studio(tmp_path, monkeypatch, tiny_landmarks, tiny_finder):
    from handcoach.ui.studio.app import Studio

    monkeypatch.setenv("HANDCOACH_HOME", str(tmp_path / "home"))
    hands = Hands()
    made = Studio(Texts("da", "studio"), scale=1.0, open_source=hands.opened, countdown_s=0.2, burst_s=1.5,
                  models={"landmarks": str(tiny_landmarks), "finder": str(tiny_finder)})  # fmt: skip
    made.hands = hands
    yield made
    made.close()


def test_a_therapist_walks_from_a_new_exercise_to_a_file_that_runs(
    studio, tmp_path, tiny_landmarks, tiny_finder, monkeypatch, capsys
):
    window, presenter = studio.window, studio.presenter
    window.home.new.invoke()
    window.new.title.insert(0, "Stræk fingrene")
    for entry, name in zip(window.new.names, BENDS, strict=True):
        entry.delete(0, "end")
        entry.insert(0, name)
    window.new.fingers.buttons["thumb"].invoke()
    window.next.invoke()

    for bend in BENDS.values():
        studio.hands.bend = bend
        pump(studio, lambda: window.record.record.cget("state") == "normal")
        window.record.record.invoke()
        pump(studio, lambda: studio.recorder.moment.stage == "idle" and presenter.note is not None)
    assert presenter.note == (studio.texts("all_recorded"), "praise")

    window.next.invoke()
    pump(studio, lambda: not presenter.checking)
    view = presenter.check()
    assert presenter.report.good and len(window.check.pictures) == 3
    # All in one light, which is a warning, in the studio's language.
    assert ("fair", studio.texts("finding_one_lighting")) in view.findings
    assert set(view.figures) == set(FIGURES)
    for name in FIGURES:
        studio.show_figure(name)
        pump(studio)

    window.next.invoke()
    entry = window.messages.messages[1]
    entry.delete(0, "end")
    entry.insert(0, "Lidt mere.")
    window.messages.colours[1][1].invoke()
    window.messages.steppers["session_min"].more.invoke()
    window.messages.strictness.buttons["gentle"].invoke()
    pump(studio)

    window.next.invoke()
    pump(studio, lambda: presenter.is_built())
    studio.hands.bend = 0.0
    pump(studio, lambda: window.attempt.start.cget("state") == "normal")
    window.attempt.start.invoke()
    pump(studio, lambda: studio._attempt().state == "hold")

    window.next.invoke()
    window.save.author.insert(0, "Ada")
    window.save.sign.invoke()
    window.save.here.invoke()
    pump(studio, lambda: studio._job is None)
    assert not presenter.save_problem
    path = places.exercises_folder() / "stræk-fingrene.onnx"
    file = model.read(path, "exercise")
    assert file.signed_by == presenter.fingerprint != ""
    assert file.meta["title"]["da"] == "Stræk fingrene" and file.meta["author"] == "Ada"
    assert file.meta["messages"]["almost"]["da"] == "Lidt mere." and file.meta["session_s"] == 1200
    assert "thumb" not in file.meta["fingers"] and file.meta["labels"] == list(BENDS)
    here, there = presenter.run_lines()
    assert here == "handcoach run --exercise stræk-fingrene" and there == f"{here}.onnx"

    # A second time it is asked first; and what fails leaves the older one in place.
    before = path.read_bytes()
    window.save.here.invoke()
    assert presenter.replacing == "stræk-fingrene" and path.read_bytes() == before
    monkeypatch.setattr(keys, "MEANT_S", 0.0)
    (studio.folder / "recording" / "open.npz").write_bytes(b"damaged")
    window.save.here.invoke()
    pump(studio, lambda: studio._job is None)
    assert "record this posture again" in presenter.save_problem and path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]

    for name, bend in BENDS.items():
        picture = tmp_path / f"{name}.png"
        cv2.imwrite(str(picture), draw_hand(blank(), 320, 240, 100, bend=bend)[..., ::-1])
        capsys.readouterr()
        arguments = ["assess", str(picture), "--exercise", "stræk-fingrene", "--json", "--lang", "da"]
        arguments += ["--model", str(tiny_landmarks), "--finder", str(tiny_finder)]
        assert cli.main(arguments) == 0
        assert json.loads(capsys.readouterr().out)["posture"] == name
