"""Where pictures come from: a camera, a video, a still or a folder of stills, all through one iterator.

    with open_source("clip.mp4") as source:
        for frame in source: ...

A camera is read by a thread of its own that keeps only the newest picture, so that a slow consumer sees the
present and not a queue of the past. Cameras that hang, freeze or are unplugged are opened again.
"""

from __future__ import annotations

import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from handcoach.errors import HandCoachError
from handcoach.hand import Frame

Image = NDArray[np.uint8]

STILL_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
CAMERA_SIZE = (640, 480)  # pixels, asked for; the camera may give another
STALE_S = 2.0  # seconds without a new picture, or with the same one over and over, until it is reopened
OPEN_S = 20.0  # seconds that the first picture of a camera may take: MSMF is slow
GONE_S = 15.0  # seconds without a picture until a camera is given up
SLEPT_S = 3.0  # seconds that a look at the clock came too late by: the computer slept, nobody waited
RETRY_S = 1.0  # seconds between two attempts to open
# Attempts until a camera counts as absent; on a Mac somebody may just be reading the request for permission.
ATTEMPTS = 20 if sys.platform == "darwin" else 3
MAX_STILL_BYTES = 200_000_000


class SourceError(HandCoachError):
    """A source is missing, unreadable or empty, or a camera does not open."""

    key = "source_unreadable"


class CameraError(SourceError):
    """A camera does not open or has stopped."""

    def __init__(self, sentence: str, key: str) -> None:
        super().__init__(sentence)
        self.key = key


class Source:
    """Frames, in order. Use it in a `with` block and iterate over it once.

    Attributes:
        live: a camera; it never ends, and pictures that come too fast are left out.
        still: its frames are independent pictures, not moments of one movement.
        skipped: pictures that could not be decoded so far.
        total: how many frames to expect, None where nobody knows.
    """

    live = False
    still = False

    def __init__(self) -> None:
        self.skipped = 0
        self.total: int | None = None

    def __iter__(self) -> Iterator[Frame]:
        raise NotImplementedError

    def close(self) -> None:
        """Give the camera or file back. Any thread may call it; calling it twice is fine."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def is_camera(spec: str | Path) -> bool:
    """Whether what the user typed is a camera's number; a file or folder of that name comes first."""
    return re.fullmatch(r"[0-9]{1,2}", str(spec)) is not None and not Path(spec).exists()


def open_source(spec: str | Path) -> Source:
    """A source by what the user typed: a camera's number, or the path of a video, an image or a folder.

    Raises:
        SourceError: there is nothing there, or it cannot be read.
    """
    text = str(spec)
    if not text:
        raise SourceError("The source is empty: give a camera's number (0), a video, an image or a folder.")
    path = Path(text)
    if is_camera(text):
        return Camera(int(text))
    try:
        if path.is_dir():
            return Stills(_stills_in(path), path)
        if not path.is_file():
            raise SourceError(
                f"{text} does not exist: give a camera's number (0), a video, an image or a folder of images."
            )
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        raise SourceError(
            f"{text} cannot be read ({error.strerror or error}): check its permissions."
        ) from error
    if path.suffix.lower() in STILL_SUFFIXES:
        return Stills([path], path)
    return Video(path)


def _stills_in(folder: Path) -> list[Path]:
    """The images of a folder, not of those in it; 2.jpg comes before 10.jpg."""
    files = [p for p in folder.iterdir() if p.suffix.lower() in STILL_SUFFIXES and not p.name.startswith(".")]
    if not files:
        raise SourceError(f"{folder} holds no images: give a folder with .jpg or .png files directly in it.")
    return sorted(files, key=lambda p: natural(p.name))


def natural(name: str) -> list[tuple[int, int, str]]:
    """A sorting key by which numbers in a name count as numbers."""
    parts = re.findall(r"(\d+)|(\D+)", name.casefold())
    return [(0, int(number), "") if number else (1, 0, word) for number, word in parts]


class Stills(Source):
    """Images, independent of one another; `file` of a frame is the image's path, `t` is 0."""

    still = True

    def __init__(self, files: list[Path], spec: Path) -> None:
        super().__init__()
        self._files, self._spec = files, spec
        self.total = len(files)

    def __iter__(self) -> Iterator[Frame]:
        for index, path in enumerate(self._files):
            image = read_still(path)
            if image is None:
                self.skipped += 1
                if self.total == 1:
                    raise SourceError(f"{path} is no image that can be read: give another file.")
            else:
                yield Frame(image, 0.0, index, str(path))
        if self.skipped == self.total:
            raise SourceError(
                f"None of the {self.total} images in {self._spec} can be read: give another folder."
            )


def read_still(path: Path) -> Image | None:
    """uint8 RGB (H, W, 3), upright as its EXIF says; None if it cannot be decoded."""
    try:
        if path.stat().st_size > MAX_STILL_BYTES:
            return None
        # Not cv2.imread: it cannot open a path with letters outside the code page on Windows. Not
        # np.fromfile: it makes a SystemError of a Ctrl-C that comes while it asks for the path.
        data = np.frombuffer(path.read_bytes(), np.uint8)
        bgr = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
    except (OSError, cv2.error):
        return None
    if bgr is None:
        return None
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8)


class Video(Source):
    """A video file. `t` is the container's time of a frame, `index` over the frame rate where it has none."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        self._lock = threading.Lock()
        if not self._capture.isOpened():
            raise SourceError(f"{path} is no video or image that can be read: give another file.")
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        self.fps = fps if 1 <= fps <= 1000 else 30.0
        count = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.total = int(count) if 0 < count < 1e8 else None

    def __iter__(self) -> Iterator[Frame]:
        index, last, failures = 0, -1.0, 0
        while True:
            with self._lock:
                if not self._capture.isOpened():
                    return
                grabbed = self._capture.grab()
                ok, bgr = self._capture.retrieve() if grabbed else (False, None)
                milliseconds = self._capture.get(cv2.CAP_PROP_POS_MSEC)
            if not grabbed:
                # The end; or damage, which FFmpeg cannot always tell from it: try as far as the container
                # promises frames, and not for ever.
                failures += 1
                if self.total is None or index >= self.total or failures > 50:
                    break
            if not ok or bgr is None or bgr.ndim != 3:
                self.skipped += 1
                index += 1
                continue
            failures = 0
            t = milliseconds / 1000
            if not t > last:  # some containers carry no times, and some repeat one
                t = max(index / self.fps, last + 0.5 / self.fps) if index else 0.0
            last = t
            yield Frame(np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8), t, index)
            index += 1
        if last < 0:
            raise SourceError(f"{self._path} holds no picture that can be read: give another file.")

    def close(self) -> None:
        with self._lock:
            self._capture.release()


class Capture(Protocol):
    """The part of cv2.VideoCapture that a camera needs; tests bring their own."""

    def isOpened(self) -> bool: ...

    def read(self) -> tuple[bool, Any]: ...

    def release(self) -> None: ...


def open_capture(index: int, turn: int = 0) -> Capture:
    """The first way to this camera that opens on this system; it may be one that is not open.

    Args:
        turn: how many ways gave no picture before: MSMF may open and stay dark, and the next is tried.
    """
    backends = [cv2.CAP_ANY]
    if sys.platform == "win32":
        backends = [cv2.CAP_MSMF, cv2.CAP_DSHOW]
    elif sys.platform == "linux":
        backends = [cv2.CAP_V4L2, cv2.CAP_ANY]
    first = turn % len(backends)
    for backend in backends[first:] + backends[:first]:
        capture = cv2.VideoCapture(index, backend)
        if capture.isOpened():
            break
    capture.set(cv2.CAP_PROP_FRAME_WIDTH, CAMERA_SIZE[0])
    capture.set(cv2.CAP_PROP_FRAME_HEIGHT, CAMERA_SIZE[1])
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    return capture


class Camera(Source):
    """A camera. A thread reads it and keeps the newest picture; the consumer, waiting, watches that thread.

    `t` is the time of grabbing on the monotonic clock, from the first picture on.
    """

    live = True

    def __init__(
        self,
        index: int,
        open_capture: Callable[[int, int], Capture] = open_capture,
        *,
        stale_s: float = STALE_S,
        open_s: float = OPEN_S,
        gone_s: float = GONE_S,
        retry_s: float = RETRY_S,
    ) -> None:
        """Returns at once; the camera opens in its thread, and iterating waits for the first picture.

        Args:
            open_capture: makes the capture of a camera's number, as the function of that name.
        """
        super().__init__()
        self._camera, self._open = index, open_capture
        self._stale_s, self._open_s, self._gone_s, self._retry_s = stale_s, open_s, gone_s, retry_s
        self._condition = threading.Condition()
        self._newest: tuple[Image, float] | None = None
        self._closed = False
        self._opened = False  # some capture said that it is open
        self._attempts = 0  # to open it
        self._turn = 0  # captures that were open and gave no picture
        self._first = True  # no picture yet
        self._frozen: Image | None = None  # what did not change any more when a capture was given up
        self._reading_since: float | None = None  # when the read that is under way began
        self._generation = 0  # a thread with an older number has been given up
        self._grabber = self._spawn()

    def _spawn(self) -> threading.Thread:
        thread = threading.Thread(
            target=self._grab, args=(self._generation,), name=f"camera-{self._camera}", daemon=True
        )
        thread.start()
        return thread

    def _grab(self, generation: int) -> None:
        """Runs in a thread of its own, until closed or given up: open, read, reopen on failure."""
        while not self._over(generation):
            capture = self._open(self._camera, self._turn)
            try:
                if capture.isOpened():
                    self._opened = True
                    if not self._read(capture, generation):
                        self._turn += 1
            finally:
                self._reading_since = None
                self._attempts += 1
                capture.release()
            with self._condition:
                if not self._over(generation):
                    self._condition.wait(self._retry_s)

    def _over(self, generation: int) -> bool:
        return self._closed or generation != self._generation

    def _read(self, capture: Capture, generation: int) -> bool:
        """Keep the newest picture until reading fails or the picture freezes; False if there was none."""
        last, got = self._frozen, False
        fresh = time.monotonic()
        while not self._over(generation):
            self._reading_since = time.monotonic()
            try:
                ok, bgr = capture.read()
            except cv2.error:
                ok, bgr = False, None
            now = time.monotonic()
            if not ok or bgr is None or bgr.ndim != 3:
                self.skipped += 1
                if now - fresh > self._stale_s:
                    break
                time.sleep(0.01)
                continue
            # An unplugged camera may go on "reading" its last picture: a sensor's noise never repeats,
            # and every 7th row is enough to tell.
            got = True
            if last is None or last.shape != bgr.shape or not np.array_equal(last[::7], bgr[::7]):
                fresh, last = now, bgr
            elif now - fresh > self._stale_s:
                self._frozen = last  # opened anew, a covered camera's one picture is no new one
                break
            else:
                continue
            with self._condition:
                if not self._over(generation):
                    self._newest = (bgr, now)
                    self._condition.notify_all()
        return got

    def __iter__(self) -> Iterator[Frame]:
        """Blocks until the next picture. Ends when closed.

        Raises:
            SourceError: no picture came for too long.
        """
        index, zero = 0, 0.0
        seen = looked = time.monotonic()  # the last picture, and the last look at the clock
        limit = self._open_s
        while True:
            with self._condition:
                while self._newest is None and not self._closed:
                    now = time.monotonic()
                    if now - looked > SLEPT_S:
                        # Some systems' clocks go on while a laptop's lid is closed; its camera does not.
                        seen = now
                        if self._reading_since is not None:
                            self._reading_since = now
                    looked = now
                    waited = now - seen
                    absent = not self._opened and self._attempts >= ATTEMPTS
                    if waited > limit or absent:
                        raise self._complaint(first=index == 0)
                    if self._hangs():
                        self._generation += 1  # the read hangs inside the driver: leave that thread to it
                        self._reading_since = None
                        self._grabber = self._spawn()
                    self._condition.wait(min(0.2, self._stale_s))
                if self._closed or self._newest is None:
                    return
                bgr, taken = self._newest
                self._newest = None
            if index == 0:
                zero, self._first = taken, False
            seen = looked = time.monotonic()
            limit = self._gone_s
            yield Frame(np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8), taken - zero, index)
            index += 1

    def _hangs(self) -> bool:
        """One read has been under way for too long. A camera's first picture may take its time."""
        since = self._reading_since
        limit = self._open_s if self._first else 2 * self._stale_s
        return since is not None and time.monotonic() - since > limit

    def _complaint(self, *, first: bool) -> CameraError:
        if not first:
            return CameraError(
                f"Camera {self._camera} gives no picture any more: plug it in, uncover it and start again.",
                "camera_gone",
            )
        if self._opened:
            return CameraError(
                f"Camera {self._camera} opens but gives no picture: close other programs that use it "
                "and uncover it.",
                "camera_silent",
            )
        return CameraError(
            f"Camera {self._camera} does not open: plug it in, close other programs that use it, allow this "
            "program to use it, or give another camera's number.",
            "camera_absent",
        )

    def close(self) -> None:
        with self._condition:
            self._closed = True
            self._condition.notify_all()
        # A read that hangs in a driver must not hang the window: the thread is a daemon.
        if threading.current_thread() is not self._grabber:
            self._grabber.join(timeout=2.0)
