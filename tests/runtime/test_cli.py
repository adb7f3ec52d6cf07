"""The commands' names, fields and exit codes are a promise; bad input is one sentence, never a traceback."""

import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from tiny.hands import BENDS, blank, draw_hand

from handcoach import cli, recording
from handcoach.camera import Source
from handcoach.errors import HandCoachError
from handcoach.hand import Frame
from handcoach.tracker import Track, Tracker

TINY = Path(__file__).parents[1] / "tiny"
MODELS = ["--model", str(TINY / "landmarks.onnx"), "--finder", str(TINY / "finder.onnx")]
EXERCISE = ["--exercise", str(TINY / "exercise.onnx")]
COMMANDS = ("demo", "run", "studio", "landmarks", "assess", "record", "exercise", "tune", "doctor")
FOUND = {"side", "score", "landmarks", "points", "flexion"}
JUDGED = {"cluster", "distances", "margin", "message"}


def save(path: Path, image: np.ndarray) -> None:
    cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """open, almost, fist of either hand, and an empty picture."""
    path = tmp_path_factory.mktemp("stills")
    for i, bend in enumerate(BENDS.values()):
        save(path / f"{i}.png", draw_hand(blank(), 320, 250, 110, bend=bend))
        save(path / f"{i + 3}.png", draw_hand(blank(), 300, 250, 110, bend=bend, roll=0.6, left=True))
    save(path / "6.png", blank())
    return path


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds from fist to open."""
    path = tmp_path_factory.mktemp("clip") / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 20, (640, 480))
    for i in range(40):
        image = draw_hand(blank(), 320, 250, 110, bend=float(np.clip(1.5 - i / 20, 0, 1)))
        writer.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    writer.release()
    return path


def run(capsys: pytest.CaptureFixture[str], *args: object) -> tuple[int, list[str], str]:
    code = cli.main([str(a) for a in args])
    out, err = capsys.readouterr()
    return code, out.splitlines(), err


def as_json(lines: list[str]) -> list[dict[str, Any]]:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return [json.loads(line, parse_constant=refuse) for line in lines]


# --- landmarks ---


def test_landmarks_of_a_folder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, lines, err = run(capsys, "landmarks", folder, *MODELS, "--json")
    frames = as_json(lines)
    assert code == 0 and err == "" and len(frames) == 7
    for i, fields in enumerate(frames):
        assert set(fields) == {"index", "file", "t", "found"} | (FOUND if i < 6 else set())
        assert (fields["index"], fields["t"], fields["found"]) == (i, 0.0, i < 6)
        assert fields["file"] == str(folder / f"{i}.png")
    assert [f["side"] for f in frames[:6]] == ["right"] * 3 + ["left"] * 3
    flexion = np.array(frames[0]["flexion"])
    assert flexion.shape == (4, 3) and np.abs(flexion).max() < 60  # the tiny model sees an open hand
    landmarks, points = np.array(frames[0]["landmarks"]), np.array(frames[0]["points"])
    assert landmarks.shape == (21, 3) and points.shape == (21, 2) and 0.5 < frames[0]["score"] <= 1
    assert abs(np.linalg.norm(landmarks[9]) - 1) < 1e-4 and abs(landmarks[0]).max() == 0


def test_landmarks_of_a_video(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, lines, _ = run(capsys, "landmarks", clip, *MODELS, "--json")
    frames = as_json(lines)
    assert code == 0 and [f["index"] for f in frames] == list(range(40))
    assert set(frames[0]) == {"index", "t", "found"} | FOUND
    np.testing.assert_allclose([f["t"] for f in frames], np.arange(40) / 20, atol=1e-3)


def test_stills_are_independent_and_videos_are_tracked_unless_told_otherwise(
    clip: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def points(*args: object) -> np.ndarray:
        lines = run(capsys, "landmarks", *args, *MODELS, "--json")[1]
        return np.array([f["points"] for f in as_json(lines) if f["found"]])

    assert abs(points(clip) - points(clip, "--still")).max() > 0.05
    np.testing.assert_array_equal(points(clip), points(clip, "--tracked"))
    np.testing.assert_array_equal(points(folder), points(folder, "--still"))
    assert abs(points(folder) - points(folder, "--tracked")).max() > 0.05
    assert len(points(folder, "--tracked")) == 6


def test_landmarks_in_words(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, lines, _ = run(capsys, "landmarks", folder, *MODELS)
    assert code == 0 and "right hand" in lines[0] and "no hand" in lines[6]
    assert "7 frames" in lines[-1] and "hand 6 (86 %)" in lines[-1]


def test_a_chosen_hand_overrules(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = run(capsys, "landmarks", folder, *MODELS, "--json", "--hand", "left")[1]
    assert {f["side"] for f in as_json(lines)[:6]} == {"left"}


# --- assess ---


def test_assess_a_folder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, lines, _ = run(capsys, "assess", folder, *MODELS, *EXERCISE, "--json", "--lang", "en")
    frames = as_json(lines)
    assert code == 0
    for fields in frames[:6]:
        assert set(fields) == {"index", "file", "t", "found", "posture"} | FOUND | JUDGED
        assert len(fields["distances"]) == 3 and 0 <= fields["margin"] <= 1
    assert [f["posture"] for f in frames] == ["open", "almost", "fist"] * 2 + [None]
    assert frames[0]["message"] == "Well done, hold it."
    assert set(frames[6]) == {"index", "file", "t", "found", "posture"}


def test_assess_speaks_the_language_that_was_asked_for(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", "da_DK.UTF-8")
    lines = run(capsys, "assess", folder, *MODELS, *EXERCISE, "--json")[1]
    assert as_json(lines)[0]["message"] == "Flot, hold den."
    lines = run(capsys, "assess", folder, *MODELS, *EXERCISE, "--json", "--lang", "en")[1]
    assert as_json(lines)[0]["message"] == "Well done, hold it."


@pytest.mark.parametrize(("lang", "says"), [("en", "Your thumb counts here"), ("da", "tæller med her")])
def test_assess_says_where_the_thumb_is_needed(
    folder: Path, capsys: pytest.CaptureFixture[str], lang: str, says: str
) -> None:
    def err(exercise: str, *more: str) -> str:
        return run(capsys, "assess", folder, *MODELS, "--exercise", exercise, "--lang", lang, *more)[2]

    assert says in err("thumb-to-index", "--no-thumb")
    assert says not in err("thumb-to-index") + err("fist", "--no-thumb")


def test_assess_in_words_counts_every_posture(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, lines, _ = run(capsys, "assess", folder, *MODELS, *EXERCISE)
    assert code == 0 and lines[0].split()[2] == "open"
    for part in ("open 2", "almost 2", "fist 2", "unsure 0", "no hand 1"):
        assert part in lines[-1]


@pytest.mark.parametrize("what", ["blank", "black", "noise", "picture"])
@pytest.mark.parametrize("how", ["--still", "--tracked"])
def test_no_hand_no_posture_no_praise(
    what: str, how: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    for i in range(5):
        image = {
            "blank": blank(),
            "black": blank(grey=0),
            "noise": rng.integers(0, 256, (480, 640, 3)).astype(np.uint8),
            "picture": cv2.GaussianBlur(rng.integers(0, 256, (480, 640, 3)).astype(np.uint8), (0, 0), 20),
        }[what]
        save(tmp_path / f"{i}.png", image)
    lines = run(capsys, "assess", tmp_path, *MODELS, *EXERCISE, "--json", how)[1]
    frames = as_json(lines)
    assert len(frames) == 5
    assert {(f["found"], f["posture"]) for f in frames} == {(False, None)}
    assert not any("message" in f for f in frames)


def test_undecodable_frames_are_counted_and_said(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "0.png").write_bytes((folder / "0.png").read_bytes())
    (tmp_path / "1.png").write_bytes(b"broken")
    (tmp_path / "2.png").write_bytes((folder / "1.png").read_bytes())
    code, lines, err = run(capsys, "landmarks", tmp_path, *MODELS, "--json")
    assert code == 0 and [f["index"] for f in as_json(lines)] == [0, 2]
    assert "1 frame" in err and "skipped" in err


def test_a_hand_without_a_palm_gives_valid_json() -> None:
    """Distances that are no numbers become null: NaN is no JSON."""
    from handcoach import model
    from handcoach.exercise import Exercise
    from handcoach.hand import Hand
    from handcoach.tracker import Track

    exercise = Exercise(model.read(TINY / "exercise.onnx"))
    hand = Hand(np.zeros((21, 3), np.float32), np.zeros((21, 2), np.float32), "right", 1.0)
    fields = cli.as_fields(Frame(blank(8, 8), 0, 0), Track(hand), exercise.assess(hand), exercise, "en")
    (again,) = as_json([json.dumps(fields)])
    assert again["posture"] == "unsure" and again["distances"] == [None] * 3


# --- record ---


def test_record_adds_canonical_landmarks(
    folder: Path, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "mine"
    code, lines, _ = run(capsys, "record", out, "--label", "mixed", "--source", folder, *MODELS)
    assert code == 0 and "6 of 7" in lines[0] and "either" in lines[0]
    code, lines, _ = run(capsys, "record", out, "--label", "moving", "--source", clip, *MODELS)
    assert code == 0 and "40 of 40" in lines[0]
    got = recording.read(out)
    assert {k: len(v) for k, v in got.labels.items()} == {"mixed": 6, "moving": 40}
    assert got.landmark_model == "tiny-landmarks"
    np.testing.assert_allclose(np.linalg.norm(got.labels["mixed"][:, 9], axis=-1), 1, atol=1e-5)
    palms = np.cross(got.labels["mixed"][:, 5], got.labels["mixed"][:, 17])[:, 2]
    assert len(set(np.sign(palms))) == 1  # left hands were mirrored
    assert not list(out.glob("*.png"))


def test_record_from_a_camera_ends_by_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Endless(Source):
        live = True

        def __iter__(self) -> Iterator[Frame]:
            for i in itertools.count():
                left = i < 20 or show_left  # on its way: what is shown meanwhile is not recorded
                yield Frame(draw_hand(blank(), 320, 250, 110, left=left), 5 + i / 10, i)

    show_left = False
    monkeypatch.setattr(cli, "_open", lambda spec: Endless())
    out = tmp_path / "mine"
    code, _, err = run(
        capsys,
        "record",
        out,
        "--label",
        "open",
        "--source",
        "0",
        "--seconds",
        "2",
        "--hand",
        "right",
        *MODELS,
    )
    assert code == 0 and "2 seconds" in err
    assert len(recording.read(out).labels["open"]) == 21
    (out / "open.npz").write_bytes(b"damaged")
    again = ("record", out, "--label", "open", "--source", "0", "--seconds", "1", *MODELS)
    code, _, err = run(capsys, *again)
    assert code == 2 and "--replace" in err
    code, lines, _ = run(capsys, *again, "--replace")
    assert code == 0 and "has 11 frames" in lines[-1]
    show_left = True
    code, _, err = run(capsys, *again, "--replace", "--hand", "right")
    assert code == 2 and "show the other hand" in err
    assert len(recording.read(out).labels["open"]) == 11


@pytest.mark.parametrize("where", ["camera", "reading"])
@pytest.mark.parametrize(("after", "kept"), [(30, True), (3, False)])
@pytest.mark.parametrize("ends", [KeyboardInterrupt(), HandCoachError("The camera is gone: plug it in.")])
def test_what_was_recorded_until_it_broke_off_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, after: int,
    kept: bool, ends: BaseException, where: str,
) -> None:  # fmt: skip
    class Breaks(Source):
        live = True

        def __iter__(self) -> Iterator[Frame]:
            for i in range(30 + after):  # the countdown's frames come first
                yield Frame(draw_hand(blank(), 320, 250, 110), i / 10, i)
            if where == "camera":
                raise ends
            yield Frame(blank(), 9, 99)

    def step(tracker: Tracker, frame: Frame) -> Track:
        if frame.index == 99:
            raise ends
        return read(tracker, frame)

    read = Tracker.step
    monkeypatch.setattr(Tracker, "step", step)
    monkeypatch.setattr(cli, "_open", lambda spec: Breaks())
    out = tmp_path / "mine"
    code, _, err = run(capsys, "record", out, "--label", "open", "--source", "0", *MODELS)
    assert code == (130 if isinstance(ends, KeyboardInterrupt) else 2)
    assert ("is kept" in err, "nothing was recorded" in err) == (kept, not kept)
    assert (len(recording.read(out).labels["open"]) == after) if kept else not out.exists()


def test_record_without_a_hand_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(tmp_path / "a.png", blank())
    out = tmp_path / "mine"
    code, _, err = run(capsys, "record", out, "--label", "open", "--source", tmp_path / "a.png", *MODELS)
    assert code == 2 and "No hand was found" in err and not out.exists()


# --- bad input ---


def sentence(code: int, lines: list[str], err: str) -> str:
    assert code == 2 and lines == [] and err.count("\n") == 1 and "Traceback" not in err
    assert len(err) > 20 and err.strip().endswith((".", ")"))
    return err


@pytest.fixture
def bad(tmp_path: Path) -> dict[str, Path]:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "text.jpg").write_text("no image")
    (tmp_path / "cut.onnx").write_bytes((TINY / "exercise.onnx").read_bytes()[:2000])
    (tmp_path / "text.onnx").write_text("no model")
    return {p.stem + p.suffix: p for p in tmp_path.iterdir()}


@pytest.mark.parametrize("command", ["landmarks", "assess"])
@pytest.mark.parametrize("source", ["gone.mp4", "gone", "empty", "text.mp4", "text.jpg"])
def test_bad_sources(
    command: str, source: str, bad: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = bad.get(source, Path("nowhere") / source)
    extra = EXERCISE if command == "assess" else []
    assert path.name in sentence(*run(capsys, command, path, *MODELS, *extra, "--json"))


@pytest.mark.parametrize("option", ["--model", "--finder", "--exercise"])
@pytest.mark.parametrize("value", ["gone.onnx", "nonsense", "cut.onnx", "text.onnx", "other kind", "empty"])
def test_bad_models(
    option: str, value: str, bad: dict[str, Path], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = TINY / ("finder.onnx" if option == "--model" else "landmarks.onnx")
    path = other if value == "other kind" else bad.get(value, value)
    args = {"--model": MODELS[1], "--finder": MODELS[3], "--exercise": EXERCISE[1], option: str(path)}
    sentence(*run(capsys, "assess", folder, *[part for pair in args.items() for part in pair]))


def test_bad_recordings(
    bad: dict[str, Path], folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rest = ["--source", folder, *MODELS]
    sentence(*run(capsys, "record", tmp_path, "--label", "open", *rest))  # a foreign folder
    sentence(*run(capsys, "record", tmp_path / "new", "--label", "../open", *rest))
    sentence(*run(capsys, "record", bad["text.jpg"], "--label", "open", *rest))
    assert not (tmp_path / "new").exists()


def test_a_camera_that_does_not_open(capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    from handcoach import camera

    class Closed:
        def isOpened(self) -> bool:
            return False

        def release(self) -> None:
            pass

    source = camera.Camera(9, lambda *way: Closed(), retry_s=0.01)  # type: ignore[arg-type,return-value]
    monkeypatch.setattr(cli, "_open", lambda spec: source)
    assert "Camera 9 does not open" in sentence(*run(capsys, "landmarks", "9", *MODELS, "--json"))


def test_a_name_that_the_system_refuses_is_one_sentence(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "too long" in sentence(*run(capsys, "assess", folder, *MODELS, "--exercise", "x" * 300))


@pytest.mark.parametrize("seconds", ["soon", "0", "nan"])
def test_seconds_are_explained(seconds: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["record", "x", "--label", "open", "--source", "0", "--seconds", seconds])
    assert "no number of seconds" in capsys.readouterr().err


@pytest.mark.parametrize("args", [[], ["nonsense"], ["landmarks"], ["assess", "x", "--hand", "third"]])
def test_a_wrong_command_line_exits_with_2(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        cli.main(args)
    assert exit_.value.code == 2 and "usage:" in capsys.readouterr().err


def test_the_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    """What each says of itself is asked for in test_alone.py."""
    with pytest.raises(SystemExit) as exit_:
        cli.main(["--help"])
    out = capsys.readouterr().out
    assert exit_.value.code == 0 and "not a medical device" in out
    for command in COMMANDS:
        assert re.search(rf"^    {command}\b", out, re.M), command
        assert f"\n  handcoach {command} " in out, f"{command} has no example"


# --- window ---


def test_run_hands_its_arguments_on_after_looking_at_them(
    clip: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from handcoach import model
    from handcoach.ui import app

    opened: list[object] = []
    monkeypatch.setattr(app, "run_window", lambda *args, **more: opened.append((*args, more)) or 0)
    tiny = {"mobilenetv2": TINY / "landmarks.onnx", "finder": TINY / "finder.onnx"}
    find = model.find
    monkeypatch.setattr(model, "find", lambda name, kind: tiny.get(name) or find(name, kind))
    code, _, _ = run(capsys, "run", "--source", clip, *EXERCISE, "--hand", "left", "--lang", "da")
    usual = {"thumb": True, "model": None, "threads": None}
    assert code == 0 and opened == [(str(clip), EXERCISE[1], "left", "da", usual)]
    how = ["--no-thumb", *MODELS[:2], "--threads", "3", "--lang", "en"]
    assert run(capsys, "run", "--source", "1", *EXERCISE, *how)[0] == 0  # a camera opens in the window
    asked = {"thumb": False, "model": MODELS[1], "threads": 3}
    assert opened[1:] == [("1", EXERCISE[1], "auto", "en", asked)]
    for gone in ("gone.mp4", "123", "²"):  # a camera has at most two digits
        sentence(*run(capsys, "run", "--source", gone, *EXERCISE))
    sentence(*run(capsys, "run", "--exercise", "nonsense"))
    assert len(opened) == 2


def test_demo_hands_its_arguments_on(
    clip: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from handcoach import demo

    calls: list[object] = []
    monkeypatch.setattr(demo, "main", lambda *args: calls.append(args) or 0)
    run(capsys, "demo", "--lang", "en")
    run(capsys, "demo", "--lang", "da", "--out", "x.mp4", "--source", clip, *EXERCISE)
    assert calls == [("en", None, None, "finger-stretch"), ("da", "x.mp4", str(clip), EXERCISE[1])]


# --- in a process of its own ---


def child(*args: object, **kwargs: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "handcoach", *[str(a) for a in args]],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **kwargs,
    )


def test_a_reader_that_stops_early_is_no_error(clip: Path) -> None:
    with child("landmarks", clip, *MODELS, "--json") as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(20) == 0
        assert process.stderr.read() == ""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for one child")
def test_ctrl_c_ends_quietly_with_130(folder: Path, tmp_path: Path) -> None:
    for i in range(3000):
        (tmp_path / f"{i}.png").symlink_to(folder / "0.png")
    process = child(
        "landmarks", tmp_path, *MODELS,
        # Who runs the tests in the background has it ignored, and so would the child.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    assert process.stdout is not None and process.stderr is not None
    process.stdout.readline()
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130 and "Traceback" not in err, err
    assert "frames" in out.splitlines()[-1]  # what was seen until then


def test_a_file_name_that_the_output_cannot_spell_is_printed_all_the_same(
    folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "hånd.png").write_bytes((folder / "0.png").read_bytes())
    with child("landmarks", tmp_path, *MODELS, env={**os.environ, "PYTHONIOENCODING": "ascii"}) as process:
        out, err = process.communicate(timeout=20)
    assert process.returncode == 0 and err == "" and "nd.png" in out


def test_landmarks_and_assess_need_no_toolkit_and_no_training_stack(folder: Path) -> None:
    script = (
        "import sys\n"
        "from handcoach.cli import main\n"
        "code = main(sys.argv[1:])\n"
        "heavy = {'tkinter', 'customtkinter', 'PIL', 'torch', 'sklearn', 'onnx', 'skl2onnx', 'matplotlib'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
        "sys.exit(code)\n"
    )
    args = ["assess", str(folder), *MODELS, *EXERCISE]
    done = subprocess.run([sys.executable, "-c", script, *args], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stderr.strip() == "[]"


def test_a_closed_output_is_no_error(monkeypatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    assert cli.main(["exercise", "list"]) == 0


def test_a_pipe_that_nobody_reads_ends_quietly_on_windows_too(monkeypatch) -> None:
    """There it is another error."""
    closed = OSError(22, "Invalid argument")
    assert not cli._nobody_reads(closed) and cli._nobody_reads(BrokenPipeError())
    monkeypatch.setattr(sys, "platform", "win32")
    assert cli._nobody_reads(closed) and not cli._nobody_reads(OSError(22, "Invalid argument", "a:b"))


def test_a_system_whose_language_cannot_be_read_speaks_english(monkeypatch) -> None:
    def unknown() -> tuple[str, str]:
        raise ValueError("unknown locale: UTF-8")

    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(cli.locale, "getlocale", unknown)
    assert cli.language(None) == "en"
