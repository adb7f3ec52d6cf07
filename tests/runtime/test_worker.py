"""The mailbox and the worker thread, with made-up sources and pipelines."""

import sys
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
from tiny.hands import blank, template

from handcoach import worker as module
from handcoach.camera import CameraError
from handcoach.coach import LEAST_REST_S, Coach
from handcoach.errors import HandCoachError
from handcoach.hand import Frame, Hand
from handcoach.tracker import Track
from handcoach.worker import Mailbox, Worker, worker_for

HAND = Hand(template(0.0).astype(np.float32), np.zeros((21, 2), np.float32), "right", 0.9)


class FakeSource:
    """Frames at 50 a second; a camera waits for its last one until it is closed."""

    def __init__(self, count=5, live=False, hang=False, file=None, grey=50):
        self.live, self.count, self.hang, self.file, self.grey = live, count, hang, file, grey
        self.closed = threading.Event()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def __iter__(self):
        for i in range(self.count):
            if self.closed.is_set():
                return
            yield Frame(blank(64, 48, grey=self.grey + i % 100), i / 50, i, self.file)
        if self.hang:
            self.closed.wait(20)

    def close(self):
        self.closed.set()


class FakePipeline:
    exercise = SimpleNamespace(labels=("open", "fist"), name="one", widen=lambda times: None)
    usual_s = None

    def __init__(self, label="open", slow=0.0):
        self.label, self.slow, self.times, self.resets = label, slow, [], 0

    def step(self, frame):
        self.times.append(frame.t)
        time.sleep(self.slow)
        return Track(HAND), SimpleNamespace(label=self.label)

    def reset(self):
        self.resets += 1


def make(source=None, pipeline=None, **more):
    pipeline = pipeline or FakePipeline()
    coach = Coach(0.05, 3, 0.05, ("open", "fist"))
    worker = Worker(
        lambda: (pipeline, coach), source if callable(source) else lambda: source or FakeSource(), **more
    )
    return worker, pipeline


def wait_for(worker, wanted, timeout=15.0):
    """The first result that is wanted."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        result = worker.mailbox.take()
        if result is not None and wanted(result):
            return result
        time.sleep(0.002)
    raise AssertionError("it never came")


def test_a_still_is_shown_long_enough_to_be_believed(monkeypatch):
    monkeypatch.setattr(module, "STILL_S", 0.5)
    worker, pipeline = make(FakeSource(count=2, file="one.png"), autostart=True)
    worker.begin()
    try:
        assert wait_for(worker, lambda r: r.progress is not None and r.progress.label == "open")
    finally:
        worker.end()
    assert 1 <= len(pipeline.times) <= 2  # and is read once
    assert pipeline.resets == len(pipeline.times)  # each for itself


def test_a_person_whose_tries_fail_is_judged_by_a_wider_tolerance(monkeypatch):
    monkeypatch.setattr("handcoach.coach.TRY_S", 0.1)
    monkeypatch.setattr("handcoach.coach.DWELL_S", 0.02)
    widened = []
    pipeline = FakePipeline("fist")
    pipeline.exercise = SimpleNamespace(labels=("open", "fist"), name="one", widen=widened.append)
    coach = Coach(0.05, 3, 0.05, ("open", "fist"), widest=1.25)
    worker = Worker(lambda: (pipeline, coach), lambda: FakeSource(count=400))
    worker.begin()
    try:
        wait_for(worker, lambda r: r.frame is not None)
        assert set(widened) <= {1.0}  # before the start nothing is a try
        worker.start()
        wait_for(worker, lambda r: widened and widened[-1] == pytest.approx(1.25))
    finally:
        worker.end()
    assert len(set(widened)) == 3


def test_what_a_person_reaches_is_kept_where_only_the_hand_is_chosen_anew():
    worker, pipeline = make()
    worker._pipeline, worker._coach = pipeline, Coach(1, 3, 1, ("open", "fist"), widest=1.25)
    worker._coach.own_range.tried(100)
    again = Coach(1, 3, 1, ("open", "fist"), widest=1.25)
    worker._take(FakePipeline(), again)
    assert again.own_range.times > 1
    other = FakePipeline()
    other.exercise = SimpleNamespace(labels=("open", "fist"), name="two", widen=lambda times: None)
    new = Coach(1, 3, 1, ("open", "fist"), widest=1.25)
    worker._take(other, new)
    assert new.own_range.times == 1


def test_a_newer_letter_replaces_an_older_one():
    box = Mailbox()
    assert box.take() is None
    box.put(1)
    box.put(2)
    assert box.take() == 2
    assert box.take() is None


def test_a_letter_is_taken_once_whoever_asks():
    box, taken = Mailbox(), []

    def taker():
        while True:
            over = done.is_set()  # before taking, so that the last letter is not missed
            letter = box.take()
            if letter is not None:
                taken.append(letter)
            elif over:
                return

    done = threading.Event()
    takers = [threading.Thread(target=taker) for _ in range(3)]
    for t in takers:
        t.start()
    for i in range(1000):
        box.put(i)
    done.set()
    for t in takers:
        t.join()
    assert len(taken) == len(set(taken))
    assert 999 in taken  # nothing replaced the last one


def test_frames_reach_the_mailbox_and_the_thread_ends_with_its_source():
    worker, pipeline = make()
    worker.begin()
    result = wait_for(worker, lambda r: r.stage == "ended")
    assert result.progress.state == "ready"
    assert len(pipeline.times) >= 4
    assert worker.end()


def test_a_video_is_paced_by_its_times():
    worker, _ = make(FakeSource(16))
    begun = time.monotonic()
    worker.begin()
    wait_for(worker, lambda r: r.stage == "ended")
    assert time.monotonic() - begun > 0.28
    assert worker.end()


def test_a_slow_pipeline_leaves_frames_out():
    worker, pipeline = make(FakeSource(40), FakePipeline(slow=0.06))
    worker.begin()
    wait_for(worker, lambda r: r.stage == "ended")
    assert len(pipeline.times) < 35  # of 40: real time would have passed by them


def test_a_clip_that_loops_gives_the_tracker_time_that_never_jumps_back():
    worker, pipeline = make(lambda: FakeSource(3), loop=True)
    worker.begin()
    wait_for(worker, lambda r: len(pipeline.times) >= 7)
    assert worker.end()
    assert pipeline.times == sorted(pipeline.times)
    assert pipeline.resets >= 2


def test_closing_ends_a_worker_that_waits_for_a_camera():
    worker, _ = make(FakeSource(1, live=True, hang=True))
    worker.begin()
    wait_for(worker, lambda r: r.frame is not None)
    assert worker.end()  # within its five seconds; the camera would have waited for twenty


def test_closing_while_a_camera_is_opened_ends_the_worker():
    opening, ended = threading.Event(), threading.Event()

    def slow():
        opening.set()
        ended.wait(5)
        return FakeSource(0, live=True, hang=True)

    worker, _ = make(slow)
    worker.begin()
    assert opening.wait(5)
    assert not worker.end(timeout=0.05)  # it found no source that it could close
    ended.set()
    assert worker.end(timeout=2)


def test_stop_and_start_act_at_once_even_while_the_camera_hangs():
    worker, _ = make(FakeSource(2, live=True, hang=True), autostart=True)
    worker.begin()
    wait_for(worker, lambda r: r.frame is not None and r.progress.state != "ready")
    worker.stop()
    assert worker.mailbox.take().progress.state == "stopped"
    worker.start()
    assert worker.mailbox.take().progress.state == "search"
    worker.toggle()
    assert worker.mailbox.take().progress.state == "paused"
    worker.toggle()
    assert worker.mailbox.take().progress.state == "search"
    assert worker.end()


def test_start_before_anything_is_loaded_is_remembered_and_stop_takes_it_back():
    gate = threading.Event()
    coach = Coach(0.05, 3, 0.05, ("open", "fist"))

    def load():
        gate.wait(5)
        return FakePipeline(), coach

    for press, state in ((("start",), "search"), (("start", "stop"), "ready")):
        gate.clear()
        coach = Coach(0.05, 3, 0.05, ("open", "fist"))
        worker = Worker(load, lambda: FakeSource(2, live=True, hang=True))
        worker.begin()
        for name in press:
            getattr(worker, name)()
        gate.set()
        assert wait_for(worker, lambda r: r.progress is not None).progress.state == state
        assert worker.end()


def test_what_was_being_judged_when_stop_was_pressed_is_not_shown():
    class Pressed(FakePipeline):
        def step(self, frame):
            if frame.index == 3:
                worker.stop()
            return super().step(frame)

    worker, _ = make(FakeSource(20), Pressed())
    shown = watched(worker)
    worker.begin()
    wait_for(worker, lambda r: r.stage == "ended")
    assert worker.end()
    pressed = next(r for r in shown if r.frame is not None and r.frame.index == 3)
    assert (pressed.progress.state, pressed.track, pressed.posture) == ("stopped", None, None)


def test_nothing_is_judged_after_a_stop():
    worker, pipeline = make(FakeSource(100))
    worker.begin()
    wait_for(worker, lambda r: r.track is not None)
    worker.stop()
    time.sleep(0.1)
    judged = len(pipeline.times)
    result = wait_for(worker, lambda r: r.stage == "running")
    time.sleep(0.1)
    assert len(pipeline.times) <= judged + 1
    assert result.track is None
    assert result.frame is not None
    assert worker.end()


def test_repetitions_are_counted():
    worker, _ = make(FakeSource(60), autostart=True)
    worker.begin()
    assert wait_for(worker, lambda r: r.progress and r.progress.repetition == 1).progress.state == "rest"
    assert worker.end()


def test_where_nothing_moves_fewer_frames_are_judged_and_all_are_shown():
    class Camera(FakeSource):
        """A camera on a clock of its own: 30 pictures a second, however busy this machine is."""

        def __iter__(self):
            for frame in super().__iter__():
                now[0] += 1 / 30
                yield frame

    now, shown = [0.0], []
    worker, pipeline = make(Camera(300, live=True), clock=lambda: now[0], throttles=lambda: None)
    worker.mailbox.put = shown.append
    worker.begin()
    worker._thread.join(20)
    shown = [result for result in shown if result.stage == "running"]
    assert {result.frame.index for result in shown} == set(range(300))
    assert all(result.track.hand is HAND for result in shown)  # what was seen last is still so
    assert 60 + 75 <= len(pipeline.times) <= 60 + 85  # two seconds of every picture, then every third


def test_a_processor_that_slows_itself_down_is_noticed():
    now, counts = [0.0], iter([7, 8])

    class Camera(FakeSource):
        def __iter__(self):
            for frame in super().__iter__():
                now[0] += 1 / 30
                yield frame

    worker, _ = make(Camera(400, live=True), clock=lambda: now[0], throttles=lambda: next(counts))
    worker.begin()
    worker._thread.join(20)
    assert worker._pace.hot and list(counts) == []


def test_an_exercise_that_is_chosen_while_the_first_one_loads_takes_its_place():
    gate, begun = threading.Event(), threading.Event()
    other, coach = FakePipeline(), Coach(9, 7, 9, ("open", "fist"))
    other.exercise = SimpleNamespace(labels=("open", "fist"), name="other", widen=lambda times: None)

    def load():
        begun.set()
        gate.wait(5)
        return FakePipeline(), Coach(0.05, 3, 0.05, ("open", "fist"))

    worker = Worker(load, lambda: FakeSource(400))
    worker.begin()
    assert begun.wait(5) and worker.reload(lambda: (other, coach))
    gate.set()
    assert wait_for(worker, lambda r: r.track is not None).exercise is other.exercise
    assert worker.end()


def test_another_exercise_is_loaded_while_nothing_is_under_way_and_the_session_goes_on():
    worker, _ = make(FakeSource(400))
    other, coach = FakePipeline(), Coach(9, 7, 9, ("open", "fist"))
    other.exercise = SimpleNamespace(labels=("open", "fist"), name="other", widen=lambda times: None)
    worker.begin()
    wait_for(worker, lambda r: r.frame is not None)
    worker.start()
    wait_for(worker, lambda r: r.progress.state in ("hold", "rest"))
    assert not worker.reload(lambda: (other, coach))  # not in the middle of an exercise
    worker.stop()
    assert worker.reload(lambda: (other, coach))
    result = wait_for(worker, lambda r: r.exercise is other.exercise)
    assert (result.progress.state, result.progress.repetitions) == ("ready", 7)
    assert coach.spent_s > 0
    wait_for(worker, lambda r: r.track is not None and other.times)
    assert worker.end()


def test_a_start_while_another_exercise_is_loaded_starts_that_one():
    gate = threading.Event()
    worker, _ = make(FakeSource(400))
    other = FakePipeline()
    other.exercise = SimpleNamespace(labels=("open", "fist"), name="other", widen=lambda times: None)

    def load():
        gate.wait(5)
        return other, Coach(9, 7, 9, ("open", "fist"))

    worker.begin()
    wait_for(worker, lambda r: r.frame is not None)
    shown = watched(worker)
    assert worker.reload(load)
    worker.start()
    gate.set()
    result = wait_for(worker, lambda r: r.progress.state in ("search", "hold"))
    assert result.exercise is other.exercise
    first = next(r for r in shown if r.exercise is other.exercise)
    assert first.track is None and first.posture is None  # what was seen last, the one before has judged
    assert worker.started.is_set()
    assert worker.end()


def test_an_exercise_that_does_not_load_leaves_the_one_before_in_place(capsys):
    worker, _ = make(FakeSource(400))
    worker.begin()
    before = wait_for(worker, lambda r: r.frame is not None).exercise

    def load():
        raise HandCoachError("It is broken: take another.")

    assert worker.reload(load)
    end = time.monotonic() + 5
    while "broken" not in capsys.readouterr().err:
        assert time.monotonic() < end
        time.sleep(0.01)
    told = wait_for(worker, lambda r: r.note is not None)
    assert (told.note, told.exercise, told.stage) == ("exercise_fails", before, "running")
    worker.start()
    started = wait_for(worker, lambda r: r.progress.state in ("search", "hold"))
    assert (started.note, started.exercise) == (None, before)
    assert worker.end()


def test_an_error_becomes_one_sentence():
    def fail():
        raise CameraError("There is no camera: plug one in.", "camera_absent")

    worker, _ = make(fail)
    worker.begin()
    result = wait_for(worker, lambda r: r.stage == "error")
    assert (result.error, result.error_key) == ("There is no camera: plug one in.", "camera_absent")
    assert worker.end()


class Unplugged(FakeSource):
    """A camera that goes after its pictures, or that was never there."""

    def __iter__(self):
        yield from super().__iter__()
        raise CameraError("It is gone.", "camera_gone" if self.count else "camera_absent")


def watched(worker: Worker) -> list:
    """Everything that the worker is going to publish."""
    shown, put = [], worker.mailbox.put
    worker.mailbox.put = lambda result: (shown.append(result), put(result))
    return shown


def test_a_camera_that_is_gone_is_opened_again_until_it_comes_back(capsys):
    back = FakeSource(2, live=True, hang=True, grey=150)
    sources = [Unplugged(2, live=True), Unplugged(0), Unplugged(0), back]
    worker, pipeline = make(lambda: sources.pop(0), autostart=True)
    shown = watched(worker)
    worker.begin()
    wait_for(worker, lambda r: not sources and r.stage == "running")
    assert worker.end()
    assert [r.error_key for r in shown if r.stage == "error"] == ["camera_gone"]  # said once
    assert capsys.readouterr().err == "It is gone.\n"
    assert shown[-1].progress.state != "ready"  # the exercise goes on
    assert pipeline.resets >= 3


class Gone:
    """A terminal that was closed."""

    def write(self, text: str) -> int:
        raise BrokenPipeError(32, "Broken pipe")

    def flush(self) -> None:
        raise BrokenPipeError(32, "Broken pipe")


def test_an_exercise_outlives_the_terminal_that_it_was_started_from(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Gone())
    back = FakeSource(2, live=True, hang=True, grey=150)
    sources = [Unplugged(2, live=True), back]
    worker, _ = make(lambda: sources.pop(0), autostart=True)
    shown = watched(worker)
    worker.begin()
    wait_for(worker, lambda r: not sources and r.stage == "running")
    assert worker.end()
    assert [r.error_key for r in shown if r.stage == "error"] == ["camera_gone"]


@pytest.mark.parametrize("others", [0, 1])
def test_a_camera_that_shows_its_frozen_picture_again_is_not_back(capsys, others):
    """Behind a shutter each opening gives the one picture of before, some a black one first."""

    class Frozen(FakeSource):
        def __iter__(self):
            for grey in [0] * others + [51] * 2:
                yield Frame(blank(64, 48, grey), 0.0, 0)
            raise CameraError("It is gone.", "camera_gone")

    sources = [Unplugged(2), *[Frozen() for _ in range(5)], FakeSource(3, live=True, hang=True, grey=150)]
    worker, _ = make(lambda: sources.pop(0), autostart=True)
    shown = watched(worker)
    worker.begin()
    wait_for(worker, lambda r: not sources and r.stage == "running")
    assert worker.end()
    stages = [r.stage for r in shown]
    assert stages.count("error") == 1
    after = shown[stages.index("error") + 1 :]
    # From the second picture on of the one that is back.
    assert after and min(r.frame.image.min() for r in after) == 151


def test_a_bug_becomes_a_sentence_too():
    broken = FakePipeline()
    broken.step = lambda frame: 1 / 0
    worker, _ = make(pipeline=broken)
    worker.begin()
    assert wait_for(worker, lambda r: r.stage == "error").error.startswith("!ZeroDivisionError")
    assert worker.end()


def test_real_models_on_a_missing_source(tiny_exercise, tiny_landmarks, tiny_finder, tmp_path, capsys):
    models = {"landmarks": str(tiny_landmarks), "finder": str(tiny_finder)}
    worker = worker_for(str(tmp_path / "none.mp4"), str(tiny_exercise), models=models)
    worker.begin()
    result = wait_for(worker, lambda r: r.stage == "error")
    assert "none.mp4" in result.error and result.error_key == "source_unreadable"
    assert worker.end()
    assert "none.mp4" in capsys.readouterr().err  # the window's own sentence names no file


def test_what_was_asked_for_is_loaded_and_again_with_another_exercise(
    tiny_exercise, tiny_landmarks, tiny_finder
):
    models = {"landmarks": str(tiny_landmarks), "finder": str(tiny_finder)}
    how = {"thumb": False, "quick": True}
    line, coach = worker_for("0", str(tiny_exercise), "left", models=models, threads=2, **how)._load()
    assert (line.judge.thumb, line.tracker.choice, line.judge.threads) == ("off", "left", 2)
    assert (coach.hold_s, coach.rest_s) == (1.0, module.QUICK_S) and module.QUICK_S < LEAST_REST_S
    again, _ = module.loader(str(tiny_exercise), "right", again=lambda: line)()
    assert (again.judge.thumb, again.tracker.choice) == ("counts", "right")
    assert again.tracker.landmarker is line.tracker.landmarker
    again, coach = module.loader(str(tiny_exercise), again=lambda: line, **how)()
    assert (again.judge.thumb, coach.rest_s) == ("off", module.QUICK_S)


@pytest.mark.parametrize(("exercise", "hand"), [("no-such-exercise", "auto"), (None, "both")])
def test_an_unknown_exercise_or_hand(exercise, hand, tiny_exercise):
    worker = worker_for("0", exercise or str(tiny_exercise), hand)
    worker.begin()
    result = wait_for(worker, lambda r: r.stage == "error")
    assert result.error[0] != "!"
    assert result.error_key == (None if exercise is None else "model_broken")
    assert worker.end()


def test_a_rest_is_long_enough_to_read_what_is_said_in_it():
    for said, rests in ((0.0, LEAST_REST_S), (5.0, 5.0)):
        exercise = SimpleNamespace(hold_s=1.0, rest_s=said, repetitions=2, labels=("open", "fist"),
                                   session_s=60.0, widest=1.0)  # fmt: skip
        assert module.make_coach(exercise).rest_s == rests
