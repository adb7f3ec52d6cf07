"""Every source gives frames in order, counts what it cannot decode, and a camera that fails is noticed."""

import itertools
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from handcoach import camera as module
from handcoach.camera import Camera, SourceError, Stills, Video, natural, open_source


def picture(value: int = 128, height: int = 48, width: int = 64) -> Any:
    noise = np.random.default_rng(value).integers(-9, 9, (height, width, 3))
    return np.clip(value + noise, 0, 255).astype(np.uint8)


def write_video(path: Path, count: int = 12, fps: float = 25) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), fps, (64, 48))
    for i in range(count):
        writer.write(picture(10 * i))
    writer.release()
    return path


# --- stills ---


def test_a_folder_is_read_in_natural_order_and_says_which_file(tmp_path: Path) -> None:
    for i in (10, 2, 1):
        cv2.imwrite(str(tmp_path / f"frame{i}.png"), picture(i))
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "._frame1.png").write_bytes(b"what macOS leaves beside it")
    with open_source(tmp_path) as source:
        assert source.still and not source.live and source.total == 3
        frames = list(source)
    assert [Path(f.file or "").name for f in frames] == ["frame1.png", "frame2.png", "frame10.png"]
    assert [f.index for f in frames] == [0, 1, 2]
    assert {f.t for f in frames} == {0.0}


def test_natural_order_copes_with_any_name() -> None:
    names = ["b", "a10", "a2", "10", "9", "a", "²3", ""]
    assert sorted(names, key=natural)[:5] == ["", "9", "10", "a", "a2"]


def test_colours_come_as_rgb(tmp_path: Path) -> None:
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 2] = 255  # OpenCV writes BGR
    cv2.imwrite(str(tmp_path / "red.png"), red)
    (frame,) = open_source(tmp_path / "red.png")
    assert frame.image[0, 0].tolist() == [255, 0, 0]


def test_grey_and_transparent_images_are_read_too(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((8, 8), 7, np.uint8))
    cv2.imwrite(str(tmp_path / "alpha.png"), np.full((8, 8, 4), 7, np.uint8))
    assert {f.image.shape for f in open_source(tmp_path)} == {(8, 8, 3)}


def test_a_photograph_stands_upright_as_its_exif_says(tmp_path: Path) -> None:
    photo = Image.new("RGB", (40, 20))
    exif = photo.getexif()
    exif[274] = 6  # the camera was turned by 90 degrees
    photo.save(tmp_path / "photo.jpg", exif=exif)
    (frame,) = open_source(tmp_path / "photo.jpg")
    assert frame.image.shape == (40, 20, 3)


def test_text_and_playlists_are_no_videos(tmp_path: Path) -> None:
    """FFmpeg draws a text as a terminal, and follows a playlist to other files and hosts."""
    write_video(tmp_path / "real.avi")
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{tmp_path / 'real.avi'}\n"
    for name, text in (("a.txt", "hello\n" * 99), ("a.m3u8", playlist), ("b.mp4", playlist)):
        (tmp_path / name).write_text(text)
        with pytest.raises(SourceError, match="can be read"):
            open_source(tmp_path / name)


def test_an_image_that_cannot_be_decoded_is_counted_and_keeps_its_index(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "1.png"), picture())
    (tmp_path / "2.png").write_bytes(b"not a png")
    (tmp_path / "3.png").touch()
    cv2.imwrite(str(tmp_path / "4.png"), picture())
    source = open_source(tmp_path)
    assert [f.index for f in source] == [0, 3]
    assert source.skipped == 2


def test_a_still_that_would_fill_the_memory_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("1.png", "2.png"):
        cv2.imwrite(str(tmp_path / name), picture(int(name[0])))
    with (tmp_path / "1.png").open("ab") as file:
        file.write(bytes(100_000))
    assert len(list(open_source(tmp_path))) == 2
    monkeypatch.setattr(module, "MAX_STILL_BYTES", 100_000)
    assert [Path(frame.file or "").name for frame in open_source(tmp_path)] == ["2.png"]


def test_no_source_is_not_the_current_folder() -> None:
    with pytest.raises(SourceError, match="source is empty"):
        open_source("")


@pytest.mark.parametrize("name", ["gone.png", "gone.mp4", "gone", "123", ""])
def test_what_is_not_there_is_one_sentence(tmp_path: Path, name: str) -> None:
    with pytest.raises(SourceError, match="does not exist"):
        open_source(tmp_path / name if name else tmp_path / "a" / "b")


def test_a_folder_without_images_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    with pytest.raises(SourceError, match="holds no images"):
        open_source(tmp_path)


@pytest.mark.parametrize("name", ["broken.png", "broken.mp4", "broken.txt", "broken"])
@pytest.mark.parametrize("content", [b"", b"hello world" * 100])
def test_a_file_that_is_nothing_is_one_sentence(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match="can be read"):
        list(open_source(tmp_path / name))


def test_a_folder_of_broken_images_is_one_sentence(tmp_path: Path) -> None:
    for i in range(2):
        (tmp_path / f"{i}.jpg").write_bytes(b"x")
    with pytest.raises(SourceError, match="None of the 2 images"):
        list(open_source(tmp_path))


def test_a_number_is_a_file_if_there_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "0").mkdir()
    cv2.imwrite(str(tmp_path / "0" / "a.png"), picture())
    assert isinstance(open_source("0"), Stills)


# --- video ---


def test_a_video_has_the_times_of_its_container(tmp_path: Path) -> None:
    with open_source(write_video(tmp_path / "clip.avi", 12, fps=20)) as source:
        assert isinstance(source, Video) and not source.still
        frames = list(source)
    assert [f.index for f in frames] == list(range(12))
    np.testing.assert_allclose([f.t for f in frames], np.arange(12) / 20, atol=1e-3)
    assert frames[0].file is None and source.skipped == 0


def test_times_never_stand_still(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = open_source(write_video(tmp_path / "clip.avi", 6, fps=20))
    assert isinstance(source, Video)
    real = source._capture

    class NoTimes:
        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

        def get(self, prop: int) -> float:
            return 0.0 if prop == cv2.CAP_PROP_POS_MSEC else real.get(prop)

    monkeypatch.setattr(source, "_capture", NoTimes())
    np.testing.assert_allclose([f.t for f in source], np.arange(6) / 20, atol=1e-6)


def test_a_cut_video_gives_what_it_has_and_counts_the_rest(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.avi", 30)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    source = open_source(path)
    count = len(list(source))
    assert 10 < count < 30
    assert source.skipped >= 30 - count - 1


def test_closing_ends_a_video(tmp_path: Path) -> None:
    source = open_source(write_video(tmp_path / "clip.avi"))
    frames = iter(source)
    next(frames)
    source.close()
    source.close()
    assert list(frames) == []


# --- camera ---


class Fake:
    """A capture that plays a script: a value is a picture's brightness, None a failed read, "hang" a hang."""

    def __init__(self, script: list[Any], opens: bool = True) -> None:
        self.script, self.opens, self.released = list(script), opens, threading.Event()

    def isOpened(self) -> bool:
        return self.opens

    def read(self) -> tuple[bool, Any]:
        time.sleep(0.002)
        if not self.script:
            return False, None
        what = self.script.pop(0)
        if what == "hang":
            self.released.wait(5)  # release() is never called by anyone else while a read hangs
            return False, None
        return what is not None, None if what is None else picture(what)

    def release(self) -> None:
        self.released.set()


def camera(*captures: Fake, **times: float) -> tuple[Camera, list[int]]:
    """A camera whose 1st, 2nd, ... opening gives these captures; then it does not open."""
    left, asked = list(captures), []

    def open_capture(index: int, turn: int) -> Fake:
        asked.append(index)
        return left.pop(0) if left else Fake([], opens=False)

    defaults = {"stale_s": 0.05, "open_s": 0.6, "gone_s": 0.3, "retry_s": 0.01}
    return Camera(3, open_capture, **{**defaults, **times}), asked


def test_a_camera_gives_the_newest_picture() -> None:
    source, asked = camera(Fake(list(range(100))))
    with source:
        frames = iter(source)
        first = next(frames)
        time.sleep(0.15)  # a slow consumer
        second = next(frames)
        assert first.t == 0.0 and second.t > 0.05 and (first.index, second.index) == (0, 1)
        assert second.image.mean() > first.image.mean() + 10
    assert asked[0] == 3 and source.live


def test_a_camera_that_does_not_open_is_one_sentence() -> None:
    source, _ = camera(open_s=5.0)
    began = time.monotonic()
    with source, pytest.raises(SourceError, match="Camera 3 does not open") as caught:
        next(iter(source))
    assert caught.value.key == "camera_absent"
    assert time.monotonic() - began < 2


def test_a_camera_without_pictures_is_one_sentence() -> None:
    source, _ = camera(*[Fake([None] * 200) for _ in range(20)], open_s=0.2)
    with source, pytest.raises(SourceError, match="opens but gives no picture") as caught:
        next(iter(source))
    assert caught.value.key == "camera_silent"


@pytest.mark.parametrize("dark", [cv2.CAP_MSMF, cv2.CAP_DSHOW, None])
def test_on_windows_a_way_that_opens_and_stays_dark_gives_way_to_the_other(
    monkeypatch: pytest.MonkeyPatch, dark: int | None
) -> None:
    asked: list[int] = []

    class Way(Fake):
        """A way to the camera that opens; only one that is not dark gives pictures, for a while."""

        def __init__(self, index: int, backend: int) -> None:
            super().__init__([] if backend == dark else [100, 101] * 5)
            asked.append(backend)

        def set(self, prop: int, value: float) -> bool:
            return True

    monkeypatch.setattr(module.cv2, "VideoCapture", Way)
    monkeypatch.setattr(module.sys, "platform", "win32")
    source = Camera(0, stale_s=0.05, retry_s=0.01)
    with source:
        for _ in source:
            if len(asked) >= 4:
                break
    first = [cv2.CAP_MSMF, cv2.CAP_DSHOW] if dark == cv2.CAP_MSMF else [cv2.CAP_MSMF]
    # What gave pictures is opened again.
    assert asked[:4] == (first + [first[-1]] * 3)[:4]


def test_a_camera_that_was_unplugged_is_opened_again() -> None:
    first, second = Fake([1, 2, 3]), Fake([200, 201, 202] * 30)
    source, asked = camera(first, second)
    with source:
        for frame in source:
            if frame.image.mean() > 150:
                break
    assert len(asked) >= 2 and first.released.is_set() and source.skipped > 0


def test_a_frozen_picture_is_noticed() -> None:
    """OpenCV goes on "reading" the last picture of some cameras after they are unplugged."""
    source, asked = camera(Fake([1, 2] + [7] * 200), Fake([200, 201] * 60))
    with source:
        means = []
        for frame in source:
            means.append(round(frame.image.mean()))
            if frame.image.mean() > 150:
                break
    assert len(asked) == 2 and len(means) <= 5


def test_a_covered_camera_is_said_to_be_covered() -> None:
    """Its one picture is new no more when the camera is opened again."""
    source, asked = camera(*[Fake([7] * 1000) for _ in range(50)], gone_s=0.4)
    with source, pytest.raises(SourceError, match="uncover it") as caught:
        assert [frame.image.mean() for frame in itertools.islice(source, 2)] == [7]
    assert caught.value.key == "camera_gone" and len(asked) > 1


def test_a_read_that_hangs_is_left_behind() -> None:
    hanging = Fake([1, 2, "hang"])
    source, _ = camera(hanging, Fake([200, 201] * 60), gone_s=3)
    with source:
        assert any(frame.image.mean() > 150 for frame in source)
    hanging.released.set()


def test_a_camera_that_stays_away_ends_in_one_sentence() -> None:
    source, _ = camera(Fake([1, 2, 3]))
    with source, pytest.raises(SourceError, match="gives no picture any more") as caught:
        list(source)
    assert caught.value.key == "camera_gone"


def test_a_laptop_that_slept_is_given_time_to_wake_its_camera(monkeypatch: pytest.MonkeyPatch) -> None:
    slept = [0.0]
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + slept[0], sleep=time.sleep)
    monkeypatch.setattr(module, "time", clock)
    woken = Fake([None] * 40 + [200, 201] * 60)
    source, _ = camera(Fake([1] + [None] * 1000), woken, gone_s=5, stale_s=2)
    with source:
        frames = iter(source)
        next(frames)
        lid = threading.Timer(0.1, lambda: slept.append(slept.pop() + 3600))
        lid.start()
        assert next(frames).image.mean() > 150
        lid.join()


def test_closing_from_another_thread_ends_the_iteration() -> None:
    source, _ = camera(Fake([1] + [None] * 1000), gone_s=30, stale_s=30)
    frames = iter(source)
    next(frames)
    threading.Timer(0.05, source.close).start()
    assert list(frames) == []
