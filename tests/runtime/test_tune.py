"""The choice for the patient: what is tried and chosen, and that only a fitting store is believed."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path

import pytest
from tiny.onnx_parts import with_meta

from handcoach import doctor, exercise_file, model, tune
from handcoach.cli import main
from handcoach.errors import HandCoachError, ModelError
from handcoach.tune import Timing, Tuned


def with_metadata(data: bytes, **changes: object) -> bytes:
    return with_meta(data, lambda meta: meta.update(changes))


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_landmarks: Path, tiny_shipped: Path) -> Path:
    """Shipped models: an int8 default, its float source, and one that lost too much."""
    folder = tiny_shipped
    for name, precision, lost in (("", "int8", 0.02), ("-float", "fp16", 0.0), ("-128", "int8", 0.031)):
        variant = {"of": "mobilenetv2", "precision": precision, "lost": lost}
        data = with_metadata(tiny_landmarks.read_bytes(), name="mobilenetv2" + name, variant=variant)
        (folder / f"mobilenetv2{name}.onnx").write_bytes(data)
    monkeypatch.setattr(model, "models_dir", lambda: folder)
    monkeypatch.setenv("HANDCOACH_HOME", str(tmp_path / "home"))
    return folder


class Clock:
    """Time that only `Runs` moves."""

    t = 0.0

    def __call__(self) -> float:
        return self.t


def runs(clock: Clock, ms: dict[tuple[str, int], float], made: list[tuple[str, int]]):
    """Makes sessions that take so many ms by (file, threads); every fourth run is disturbed."""

    def make(file, threads):
        made.append((file.path.stem, threads))
        calls = [0]

        class Session:
            def run(self, array):
                assert array.shape == (1, 64, 64, 3)
                calls[0] += 1
                clock.t += ms[file.path.stem, threads] / 1e3 * (5 if calls[0] % 4 == 0 else 1)

        return Session()

    return make


def timing(name="mobilenetv2", threads=1, ms=2.0, precision="int8"):
    return Timing(name, precision, threads, ms)


def test_only_variants_within_the_accuracy_gate_are_tried(models):
    assert [file.path.stem for file in tune.variants()] == ["mobilenetv2", "mobilenetv2-float"]


def test_another_network_is_no_variant_and_a_broken_file_is_passed_over(models, tiny_landmarks):
    other = {"of": "resnet50", "precision": "int8"}
    (models / "mobilenetv2-other.onnx").write_bytes(with_metadata(tiny_landmarks.read_bytes(), variant=other))
    (models / "mobilenetv2-broken.onnx").write_bytes(b"nothing")
    assert [file.path.stem for file in tune.variants()] == ["mobilenetv2", "mobilenetv2-float"]


def test_a_model_of_before_there_were_variants_is_its_own(models, tiny_landmarks):
    (models / "mobilenetv2.onnx").write_bytes(tiny_landmarks.read_bytes())
    first = tune.variants()[0]
    assert (model.family(first), tune.precision(first)) == ("tiny-landmarks", "fp16")


def test_every_variant_and_thread_count_is_timed_past_what_disturbs_it(models):
    clock, made = Clock(), []
    ms = {
        ("mobilenetv2", 1): 3.0,
        ("mobilenetv2-float", 1): 2.0,
        ("mobilenetv2", 2): 1.8,
        ("mobilenetv2-float", 2): 1.2,
    }
    found = list(tune.measure(tune.variants(), (1, 2), clock=clock, make=runs(clock, ms, made)))
    assert made == list(ms)
    assert {(t.model, t.threads): t.ms for t in found} == ms


def test_a_slow_laptop_gets_its_answer_within_the_budget(models):
    clock = Clock()
    ms = {("mobilenetv2", 1): 400.0, ("mobilenetv2-float", 1): 500.0}
    found = list(tune.measure(tune.variants(), (1,), clock=clock, make=runs(clock, ms, [])))
    assert [t.model for t in found] == ["mobilenetv2"]
    assert clock.t < tune.BUDGET_S + 2.5


def test_giving_up_ends_it_at_once_and_stores_nothing(models, monkeypatch):
    start = threading.Event()
    clock, count = Clock(), [0]

    def make(file, threads):
        class Session:
            def run(self, array):
                count[0] += 1
                if count[0] == 5:
                    start.set()

        return Session()

    assert list(tune.measure(tune.variants(), (1,), give_up=start.is_set, clock=clock, make=make)) == []
    assert count == [5]
    assert tune.tune(give_up=start.is_set) is None
    assert not tune.store_file().exists()


def test_the_choice_is_the_fastest_with_the_fewest_threads_that_leave_headroom():
    slow, quick, two = timing(ms=5.0), timing("mobilenetv2-float", ms=3.0), timing(threads=2, ms=2.0)
    assert tune.choose([slow, quick, two]) == quick
    assert tune.choose([slow, quick, two], fps=150) == two  # one thread is too slow for this camera
    assert tune.choose([slow, quick], fps=1000) == quick


def test_what_was_tuned_is_stored_shown_and_used(models, capsys):
    assert tune.stored() is None
    assert tune.choice() == ("mobilenetv2", 1, None)
    assert main(["tune", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    tuned = tune.stored()
    assert json.loads(json.dumps(asdict(tuned))) == shown
    best = tuned.choice
    assert tune.choice() == (best.model, best.threads, best.ms)
    (check,) = doctor._tuning()
    assert check.ok and best.model in check.detail and f"{best.ms:.1f} ms" in check.detail
    assert [path.name for path in tune.store_file().parent.iterdir()] == [tune.store_file().name]
    assert main(["tune"]) == 0
    assert "<- chosen" in capsys.readouterr().out


def test_flags_overrule_the_choice(models):
    files = tune.variants()
    timings = (timing(ms=3.0), timing("mobilenetv2-float", ms=2.0), timing(threads=2, ms=1.9))
    tune.store(Tuned(timings[1], timings, 30.0, "2026-01-31"), files)
    assert tune.choice() == ("mobilenetv2-float", 1, 2.0)
    assert tune.choice("mobilenetv2") == ("mobilenetv2", 1, 3.0)
    assert tune.choice("mobilenetv2", 2) == ("mobilenetv2", 2, 1.9)
    assert tune.choice(None, 2) == ("mobilenetv2-float", 2, None)
    assert tune.choice("some/file.onnx") == ("some/file.onnx", 1, None)


def test_the_choice_ends_with_the_version_the_models_or_the_machine(models, monkeypatch, tiny_landmarks):
    def store():
        tune.store(Tuned(timing(), (timing(),), 30.0, "2026-01-31"), tune.variants())
        assert tune.stored() is not None

    store()
    monkeypatch.setattr(tune, "_version", lambda name: "another")
    assert tune.stored() is None
    store()
    variant = {"of": "mobilenetv2", "precision": "int8"}
    (models / "mobilenetv2.onnx").write_bytes(
        with_metadata(tiny_landmarks.read_bytes(), version="2", variant=variant)
    )
    assert tune.stored() is None
    store()
    monkeypatch.setattr(tune, "_machine", lambda: "another laptop with the same folder")
    assert tune.stored() is None


DAMAGE = {
    "empty": lambda text: "",
    "half": lambda text: text[: len(text) // 2],
    "no object": lambda text: "[1, 2]",
    "nested": lambda text: "[" * 50_000,
    "another format": lambda text: text.replace('"format": 1', '"format": 2'),
    "unknown model": lambda text: text.replace('"model": "mobilenetv2"', '"model": "../../x"'),
    "threads": lambda text: text.replace('"threads": 1', '"threads": 4000'),
    "text for threads": lambda text: text.replace('"threads": 1', '"threads": "1"'),
    "NaN": lambda text: text.replace('"ms": 2.0', '"ms": NaN'),
    "no timings": lambda text: text.replace('"timings"', '"tries"'),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_store_is_ignored_and_made_anew(models, damage):
    tune.store(Tuned(timing(), (timing(),), 30.0, "2026-01-31"), tune.variants())
    path = tune.store_file()
    before = path.read_text()
    path.write_text(damage(before))
    assert path.read_text() != before
    assert tune.stored() is None
    assert tune.choice() == ("mobilenetv2", 1, None)
    assert tune.tune() is not None
    assert tune.stored() is not None


def test_a_folder_that_cannot_be_written_is_one_sentence(models, monkeypatch, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HANDCOACH_HOME", str(tmp_path / "file" / "below"))
    assert main(["tune"]) == 2
    assert "cannot be stored" in capsys.readouterr().err


def child(models, code="tune.tune()"):
    """What tunes with these models in a process of its own."""
    found = f"import pathlib; model.models_dir = lambda: pathlib.Path({str(models)!r})"
    return [sys.executable, "-c", f"from handcoach import model, tune; {found}; {code}"]


def test_in_the_background_it_is_done_once(models):
    tune.in_background(threading.Event(), child(models)).join(60)
    before = tune.store_file().read_bytes()
    assert tune.stored() is not None
    tune.in_background(threading.Event(), child(models, "tune.store_file().unlink()")).join(60)
    assert tune.store_file().read_bytes() == before


def test_a_choice_without_headroom_is_made_again_on_another_day(models):
    """A laptop that was busy at its first start must not stay with what was the least evil then."""
    before, today = "2026-01-31", time.strftime("%Y-%m-%d")
    for ms, day, again in ((80.0, before, True), (80.0, today, False), (4.0, before, False)):
        tune.store(Tuned(timing(ms=ms), (timing(ms=ms),), 30.0, day), tune.variants())
        tune.in_background(threading.Event(), child(models, "tune.store_file().unlink()")).join(60)
        assert tune.store_file().exists() is not again


def test_in_the_background_the_cameras_rate_is_kept(models, tmp_path):
    tune.store(Tuned(timing(ms=80.0), (timing(ms=80.0),), 60.0, "2026-01-31"), tune.variants())
    code = f"import sys; open({str(tmp_path / 'said')!r}, 'w').write(' '.join(sys.argv[1:]))"
    tune.in_background(threading.Event(), [sys.executable, "-c", code]).join(60)
    assert (tmp_path / "said").read_text() == "--fps 60"


def test_in_the_background_a_start_ends_it_at_once(models, tmp_path):
    started, began = threading.Event(), tmp_path / "began"
    code = f"import time; open({str(began)!r}, 'w').close(); time.sleep(600); tune.tune()"
    thread = tune.in_background(started, child(models, code))
    end = time.monotonic() + 30
    while not began.exists():
        assert time.monotonic() < end
        time.sleep(0.02)
    started.set()
    thread.join(10)
    assert not thread.is_alive() and not tune.store_file().exists()
    began.unlink()
    tune.in_background(started, child(models, code)).join(10)  # once started, it is not even tried
    assert not began.exists()


def test_in_the_background_nothing_works_and_nobody_is_troubled(models):
    for command in (["/no/such/program"], child(models, "1 / 0")):
        tune.in_background(threading.Event(), command).join(60)
    for path in models.glob("mobilenetv2*"):
        path.unlink()
    tune.in_background(threading.Event(), child(models)).join(60)
    assert not tune.store_file().exists()
    with pytest.raises(HandCoachError, match="no landmark model"):
        tune.choice()


def test_the_command_that_runs_in_the_background_is_ours():
    asked = [*tune.COMMAND, "--help"]
    assert (
        "find the model" in subprocess.run(asked, capture_output=True, text=True, timeout=60).stdout.lower()
    )


def test_an_exercise_fits_every_precision_of_its_model(models, tiny_exercise):
    data = with_metadata(tiny_exercise.read_bytes(), landmark_model="mobilenetv2")
    file = model.parse(data, tiny_exercise, "exercise")
    assert exercise_file.other_model(file, "mobilenetv2-float") == ""
    (models / "mobilenetv2-float.onnx").unlink()
    assert exercise_file.other_model(file, "mobilenetv2") == ""


@pytest.mark.parametrize("variant", [[], {"precision": "int4"}, {"lost": "much"}, {"of": 3}])
def test_a_variant_that_is_none_is_refused(variant, tiny_landmarks):
    data = with_metadata(tiny_landmarks.read_bytes(), variant=variant)
    with pytest.raises(ModelError, match="variant"):
        model.parse(data, tiny_landmarks, "landmarks")
