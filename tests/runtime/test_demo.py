"""The demo without a display: the same view as a video, and a summary."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from tiny.hands import blank, draw_hand
from tiny.onnx_parts import with_meta

from handcoach import demo
from handcoach.errors import HandCoachError
from handcoach.exercise import Exercise
from handcoach.ui.probe import Problem


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """3.5 s: open long enough to be held, then a fist, then nobody."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10, (640, 480))
    for i in range(35):
        picture = blank()
        if i < 28:
            picture = draw_hand(picture, 320, 250, 110, bend=0.0 if i < 18 else 1.0)
        video.write(np.ascontiguousarray(picture[..., ::-1]))
    video.release()
    return path


@pytest.fixture
def models(tiny_landmarks, tiny_finder):
    return {"landmarks": str(tiny_landmarks), "finder": str(tiny_finder)}


def frames_of(path):
    capture = cv2.VideoCapture(str(path))
    frames = []
    while True:
        ok, frame = capture.read()
        if not ok:
            return frames
        frames.append(frame)


def test_the_view_is_written_and_summed_up(clip, models, tiny_exercise, tmp_path):
    summary, labels = demo.write_video(str(clip), str(tiny_exercise), tmp_path / "view.mp4", models=models)
    assert summary.frames == 35
    assert 5 <= summary.no_hand <= 8
    assert summary.postures["open"] >= 15
    assert summary.postures["fist"] >= 8
    assert summary.repetitions == 1
    text = "\n".join(summary.lines(labels))
    assert "open 1" in text
    assert f"without hand {summary.no_hand}" in text
    frames = frames_of(summary.path)
    assert len(frames) == 35
    assert frames[0].shape[:2] == (demo.SIZE[1], demo.SIZE[0])
    assert frames[10].std() > 20


def test_stills_of_a_folder_are_judged_one_by_one(models, tiny_exercise, tmp_path):
    """They carry no time: followed and smoothed, the first hand would stand still through all of them."""
    (tmp_path / "stills").mkdir()
    for i, bend in enumerate((0.0, 0.0, 1.0, 1.0)):
        picture = draw_hand(blank(), 320, 250, 110, bend=bend)
        cv2.imwrite(str(tmp_path / "stills" / f"{i}.png"), picture[..., ::-1])
    out = tmp_path / "view.mp4"
    summary, _ = demo.write_video(str(tmp_path / "stills"), str(tiny_exercise), out, models=models)
    assert dict(summary.postures) == {"open": 2, "fist": 2}
    assert summary.repetitions == 1  # what is shown for a while is believed and held


def test_who_fails_in_the_video_gets_it_easier_as_in_the_window(
    clip, models, tiny_exercise, tmp_path, monkeypatch
):
    monkeypatch.setattr("handcoach.coach.TRY_S", 0.1)
    easier = tmp_path / "easier.onnx"
    easier.write_bytes(
        with_meta(tiny_exercise.read_bytes(), lambda meta: meta["tolerance"].update(widest=1.25))
    )
    widened, widen = [], Exercise.widen
    monkeypatch.setattr(Exercise, "widen", lambda self, times: widened.append(times) or widen(self, times))
    demo.write_video(str(clip), str(easier), tmp_path / "view.mp4", models=models)
    assert widened[0] == 1 and max(widened) > 1


def test_an_avi_serves_where_mpeg_4_does_not(clip, models, tiny_exercise, tmp_path, monkeypatch):
    real = cv2.VideoWriter

    def no_mpeg_4(path, code, *rest):
        return real() if code == real.fourcc(*"mp4v") else real(path, code, *rest)

    no_mpeg_4.fourcc = real.fourcc  # no subclass: OpenCV's types corrupt the heap when subclassed
    monkeypatch.setattr(demo.cv2, "VideoWriter", no_mpeg_4)
    summary, _ = demo.write_video(str(clip), str(tiny_exercise), tmp_path / "view.mp4", models=models)
    assert summary.path == tmp_path / "view.avi"
    assert len(frames_of(summary.path)) == 35


def test_a_video_that_does_not_play_is_no_success(clip, models, tiny_exercise, tmp_path, monkeypatch):
    """OpenCV does not tell of a full disk."""
    real = cv2.VideoWriter

    def full(path, code, *rest):
        video, half = real(path, code, *rest), Path(path)

        def release():
            video.release()
            half.write_bytes(half.read_bytes()[:2000])

        return SimpleNamespace(isOpened=video.isOpened, write=video.write, release=release)

    full.fourcc = real.fourcc
    monkeypatch.setattr(demo.cv2, "VideoWriter", full)
    with pytest.raises(HandCoachError, match="make room"):
        demo.write_video(str(clip), str(tiny_exercise), tmp_path / "view.mp4", models=models)
    assert not list(tmp_path.glob("view.*"))


def test_a_source_that_fails_leaves_an_older_video_as_it_was(clip, tiny_exercise, models, tmp_path):
    folder, out = tmp_path / "broken", tmp_path / "old.mp4"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(b"no picture")
    out.write_bytes(b"an older video")
    with pytest.raises(HandCoachError):
        demo.write_video(str(folder), str(tiny_exercise), out, models=models)
    assert out.read_bytes() == b"an older video"
    assert sorted(p.name for p in tmp_path.iterdir() if p.suffix == ".mp4" and p != clip) == ["old.mp4"]


def test_without_a_display_it_says_so_and_writes(clip, tiny_exercise, models, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "window_problem", lambda: Problem("there is no display", "open one"))
    real = demo.write_video
    monkeypatch.setattr(demo, "write_video", lambda *a, **k: real(*a, **k, models=models))
    assert demo.main("da", source=str(clip), exercise=str(tiny_exercise)) == 0
    text = capsys.readouterr().out
    assert "no display" in text
    assert demo.OUTPUT in text
    assert (tmp_path / demo.OUTPUT).stat().st_size > 10_000
    with pytest.raises(HandCoachError, match="salute"):
        demo.main("en", source=str(clip), exercise="salute")
    assert not capsys.readouterr().out  # no video is announced that will not come


def test_with_a_display_it_opens_the_window(monkeypatch, tmp_path):
    from handcoach.ui import app

    called = []
    monkeypatch.setattr(demo, "window_problem", lambda: None)
    monkeypatch.setattr(app, "run_window", lambda *a, **k: called.append((a, k)) or 0)
    assert demo.main("en", source="x.mp4") == 0
    assert called[0][0][0] == "x.mp4"
    assert called[0][1]["loop"]


def test_bad_input_is_one_sentence(clip, tiny_exercise, models, tmp_path):
    with pytest.raises(HandCoachError, match=r"none\.mp4"):
        demo.write_video(str(tmp_path / "none.mp4"), str(tiny_exercise), tmp_path / "a.mp4", models=models)
    with pytest.raises(HandCoachError, match="does not exist"):
        demo.write_video(str(clip), str(tiny_exercise), tmp_path / "no" / "a.mp4", models=models)
    with pytest.raises(HandCoachError, match="never ends"):
        demo.write_video("7", str(tiny_exercise), tmp_path / "a.mp4", models=models)
    with pytest.raises(HandCoachError, match=r"ends in \.mp4 or \.avi"):
        demo.write_video(str(clip), str(tiny_exercise), tmp_path / "a.txt", models=models)
    for source in ("mine.mp4", "mine.avi"):  # the latter by what is written where MPEG-4 does not serve
        shutil.copy(clip, tmp_path / source)
        with pytest.raises(HandCoachError, match="written over"):
            demo.write_video(str(tmp_path / source), str(tiny_exercise), tmp_path / "mine.mp4", models=models)
        assert (tmp_path / source).read_bytes() == clip.read_bytes()
        (tmp_path / source).unlink()


def test_a_missing_clip_names_the_cure(monkeypatch):
    monkeypatch.setattr(demo, "CLIP", "no-such-clip.mp4")
    with pytest.raises(HandCoachError, match="--source"):
        demo.main(out="never.mp4")
