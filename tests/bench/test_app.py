"""`handcoach-bench app` on drawn hands: shares that add up, a camera that waits for nobody, a window."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny import hands

from handcoach_bench import app, results, runner
from handcoach_bench.children import app as child
from handcoach_bench.cli import main


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    folder = tmp_path / "clip"
    folder.mkdir()
    for i in range(3):
        image = hands.draw_hand(hands.blank(320, 240), 150 + 3 * i, 130, 45)
        cv2.imwrite(str(folder / f"{i}.png"), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    return folder


@pytest.fixture
def models(tiny_landmarks, tiny_finder, tiny_exercise) -> dict[str, str]:
    return {"landmarks": str(tiny_landmarks), "finder": str(tiny_finder), "exercise": str(tiny_exercise)}


def test_sections_add_up_to_the_time_that_passed():
    sections = child.Sections()

    class Inner:
        def work(self) -> None:
            time.sleep(0.02)

    sections.watch(Inner, "work", lambda _: "inner")
    began = time.perf_counter()
    with sections("outer"):
        time.sleep(0.01)
        with sections("middle"):
            Inner().work()
            with sections("outer"):  # a name may come again
                time.sleep(0.005)
    passed = time.perf_counter() - began
    assert set(sections.spent) == {"outer", "middle", "inner"}
    assert sum(sections.spent.values()) == pytest.approx(passed, abs=2e-3)
    assert sections.spent["inner"] >= 0.02 and sections.spent["outer"] >= 0.015
    assert sections.spent["middle"] < 0.02


def test_a_clip_is_made_to_measure(clip):
    for count in (0, 1, 2, 4):
        frames = child.prepare(str(clip), 640, 360, count)
        assert len(frames) == 3
        image = child.decode(frames[0])
        assert image.shape == (360, 640, 3)
        red = (image[..., 0].astype(int) - image[..., 2] > 120).astype(np.uint8)
        # The red disc is the middle knuckle of a drawn hand.
        assert cv2.connectedComponents(red)[0] - 1 == count
    assert child.to_and_fro(4) == [0, 1, 2, 3, 2, 1] and child.to_and_fro(1) == [0]


def test_a_paced_camera_waits_for_nobody(clip):
    frames = child.prepare(str(clip), 320, 240, 1)
    eye = child.Paced(frames, 200)
    first = [eye.read()[1] for _ in range(3)]
    time.sleep(0.1)  # nobody looks
    late = eye.read()[1]
    rgb = [cv2.cvtColor(image, cv2.COLOR_BGR2RGB) for image in (*first, late)]
    numbers = [child.number_of(np.asarray(image, np.uint8)) for image in rgb]
    assert numbers[0] == 0 and numbers == sorted(set(numbers)) and numbers[3] >= 20
    assert list(eye.delivered) == numbers
    big = np.zeros((2, 2, 3), np.uint8)
    big[0, 0] = 0x56, 0x34, 0x12  # RGB, so that BGR holds the highest part first
    assert child.number_of(big) == 0x123456


def test_latency_is_of_frames_that_were_judged():
    """At rest a frame is shown at once, as frame 2; frame 3 nobody took, frame 4 nobody showed, and frame 7
    came when all was over."""
    delivered = {n: float(n) for n in (0, 1, 2, 4, 7)}
    watch = child._Watch({"seconds": 5}, {0: 0.1, 1: 1.2, 2: 2.01, 7: 7.5})
    watch._mark, watch._end = (0.0, 5.0), (5.0, 6.0)
    found = watch.figures(delivered, {0: 0.05, 1: 1.1, 4: 4.1, 7: 7.1}, [2.0, 8.0], in_window=False)
    assert found["wall_ms"] == pytest.approx([100, 200])
    assert found["figures"] == pytest.approx({
        "camera_frames": 5, "drop_share": 0.2, "rest_share": 0.2, "judged_fps": 0.6, "shown_fps": 0.6,
        "unread_fps": 0.2, "cpu_percent": 20, "in_window": 0,
    })  # fmt: skip


def test_a_paced_row_says_that_it_is_unstable():
    case = {"key": "app at 30 fps, 1 thread", "what": "paced", "name": "app", "screen": "Xvfb", "threads": 1}
    figures = {"judged_fps": 30.0, "shown_fps": 30.0, "drop_share": 0.0, "cpu_percent": 50.0, "in_window": 1}
    made = [{"case": case, "repeat": i, "status": "ok", "error": None, "wall_ms": [ms], "figures": figures}
            for i, ms in enumerate((20.0, 30.0))]  # fmt: skip
    lines = app.table(results.rows(made))
    assert lines[2].endswith("UNSTABLE (wall)") and lines[-1].startswith("UNSTABLE: in 1 of 1 cases")


def test_one_thing_varies_at_a_time(models):
    todo = app.jobs(
        models, "clip", resolutions=[(320, 240), (640, 480)], hands=[0, 1], threads=[1, 2], cameras=[30],
        runs=9, warmup=1, seconds=2, repeats=2, shown=None,
    )  # fmt: skip
    first = [job for job in todo if job.repeat == 0]
    assert [job.case["key"] for job in first] == [
        "app 640x480 1 hand, 1 thread", "app 320x240 1 hand, 1 thread", "app 640x480 0 hands, 1 thread",
        "app 640x480 1 hand, 2 threads", "app at 30 fps, 1 thread", "app in a window, 1 thread",
    ]  # fmt: skip
    assert "no display" in str(first[-1].impossible) and len(todo) == 11  # the window is marked once


def test_the_command_its_file_and_its_tables(clip, models, tmp_path, monkeypatch, capsys):
    """Real children without a window, as on a server without Xvfb."""
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(app.shutil, "which", lambda _: None)
    monkeypatch.setattr(app.sys, "platform", "linux")
    out = tmp_path / "app.json"
    argv = ["app", "--clip", str(clip), "--model", models["landmarks"], "--finder", models["finder"],
            "--exercise", models["exercise"], "--threads", "1", "--resolution", "640x480", "--hands", "1",
            "--camera", "30", "--runs", "8", "--seconds", "1", "--repeats", "1",
            "--json", str(out)]  # fmt: skip
    assert main(argv) == 0  # what is marked as not measured is no failure
    content = results.load(out)
    steps, paced, window = content["results"]
    assert steps["found"] == 1 and set(steps["parts_ms"]) <= set(app.STEPS)
    assert {"decode", "crop", "network", "smoothing", "posture", "drawing"} <= set(steps["parts_ms"])
    assert sum(steps["parts_ms"].values()) == pytest.approx(np.mean(steps["wall_ms"]), rel=0.05)
    assert len(steps["wall_ms"]) == 8 and len(steps["sha256"]) == 3
    f = paced["figures"]
    assert f["in_window"] == 0 and f["camera_frames"] >= 25 and 0 <= f["drop_share"] < 1
    assert 0 <= f["rest_share"] <= 1 - f["drop_share"] and f["judged_fps"] >= 0
    assert f["judged_fps"] > 0 and min(paced["wall_ms"]) > 0 and f["unread_fps"] >= 0
    assert window["status"] == "failed" and window["error"].startswith("not measured: there is no display")
    assert main(["report", str(out), "-o", str(tmp_path / "report")]) == 0
    assert len(list((tmp_path / "report").glob("*steps.png"))) >= 1
    printed = capsys.readouterr().out
    for text in (
        "640x480 1 hand, 1 thread",
        "30 fps, 1 thread",
        "no window",
        "memory of the whole app: failed",
    ):
        assert text in printed


def test_bad_input_is_one_sentence(tmp_path, capsys):
    for argv, says in (
        (["--clip", str(tmp_path / "none.mp4")], "does not exist"),
        (["--model", "nothing"], "nothing"),
    ):
        assert main(["app", *argv]) == 2
        error = capsys.readouterr().err
        assert says in error and error.count("\n") == 1
    for wrong in ("640", "0x480", "axb"):
        with pytest.raises(SystemExit):
            main(["app", "--resolution", wrong])


def test_a_clip_without_pictures_is_a_marked_row(models, tmp_path):
    (tmp_path / "empty").mkdir()
    task = {"what": "steps", "clip": str(tmp_path / "empty"), "width": 64, "height": 64, "hands": 1,
            "threads": 1, "warmup": 0, "runs": 1, **models}  # fmt: skip
    assert "holds no images" in runner.call(task, 60, app.CHILD)["error"]


def test_the_screen_is_this_display_where_there_is_one(monkeypatch):
    monkeypatch.setenv("DISPLAY", ":77")
    with app.screen() as shown:
        assert shown == "this display" and os.environ["DISPLAY"] == ":77"


@pytest.mark.skipif(app.shutil.which("Xvfb") is None, reason="Xvfb is not installed")
def test_without_one_a_virtual_screen_is_made_and_taken_away(monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    with app.screen() as shown:
        assert shown == "Xvfb" and os.environ["DISPLAY"].startswith(":")
        opens = "import tkinter; tkinter.Tk().destroy()"
        subprocess.run([sys.executable, "-c", opens], check=True, timeout=60)
    assert "DISPLAY" not in os.environ


@pytest.mark.ui
def test_the_app_in_a_window_is_watched(clip, models):
    size = {"width": 640, "height": 480, "threads": 1, "clip": str(clip), **models}
    found = runner.call({"what": "paced", "fps": 15, "seconds": 1, **size}, 120, app.CHILD)
    assert found["figures"]["in_window"] == 1 and found["figures"]["shown_fps"] > 0
    found = runner.call({"what": "window", "seconds": 1, **size}, 120, app.CHILD)
    assert found["figures"]["shown_fps"] > 0 and 50 < found["steady_rss_mb"] <= found["peak_rss_mb"] + 1
