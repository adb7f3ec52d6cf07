"""The whole step of a frame, from a picture to landmarks and posture; runs in a child process.

Frames of a video are followed and smoothed; photographs are independent, and the hand is looked for in each.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from handcoach import camera, model
from handcoach import pipeline as runtime
from handcoach.errors import HandCoachError
from handcoach.hand import Frame
from handcoach.session import Session
from handcoach_bench.stopwatch import measure

WIDTH, HEIGHT, FPS = 640, 480, 30.0
MAX_FRAMES = 300


def read_clip(clip: str, still: bool = False) -> list[NDArray[np.uint8]]:
    """The first frames of a clip or folder, fitted into 640 x 480 and compressed again as JPEG.

    Photographs (`still`) are made smaller where they are larger, and else left as they are.

    Compressed, so that the process's memory is the pipeline's and not the clip's.

    Raises:
        HandCoachError: it cannot be read, or holds no frame.
    """
    frames = []
    with camera.open_source(clip) as source:
        for frame in source:
            scale = min(WIDTH / frame.image.shape[1], HEIGHT / frame.image.shape[0])
            scale = min(scale, 1.0) if still else scale
            small = cv2.resize(frame.image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            right, below = (0, 0) if still else (WIDTH - small.shape[1], HEIGHT - small.shape[0])
            image = cv2.copyMakeBorder(small, 0, below, 0, right, cv2.BORDER_CONSTANT)
            frames.append(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 95])[1])
            if len(frames) == MAX_FRAMES:
                break
    if not frames:
        raise HandCoachError(f"{clip} holds no frame: give another clip.")
    return frames


def to_and_fro(count: int) -> list[int]:
    """Numbers of frames forwards and back, so that a clip that begins anew does not jump."""
    return [*range(count), *range(count - 2, 0, -1)]


def pipeline(case: dict[str, Any]) -> dict[str, Any]:
    """Play a clip to and fro at 30 frames per second of its own time, or look at one photograph after the
    other, and measure each step."""
    still = case["what"] == "photographs"
    # What each network takes of a step, by kind; and whether a hand was found in it.
    spent: dict[str, float] = {}
    # Wall and CPU seconds of the landmark network in the step under way, and in each step.
    now = [0.0, 0.0]
    network: list[tuple[float, float]] = []
    provider: str | None = None  # until the landmark network ran while it was measured
    untimed = Session.run

    def run(session: Session, array: NDArray[Any]) -> dict[str, NDArray[Any]]:
        nonlocal provider
        if session.file.kind == "landmarks":
            provider = session.provider
        busy, start = time.process_time(), time.perf_counter()
        outputs = untimed(session, array)
        took = time.perf_counter() - start
        spent[session.file.kind] = spent.get(session.file.kind, 0.0) + took
        if session.file.kind == "landmarks":
            now[0] += took
            now[1] += time.process_time() - busy
        return outputs

    Session.run = run  # type: ignore[method-assign,assignment]
    clip = read_clip(case["clip"], still)
    start = time.perf_counter()
    whole = runtime.load(
        case["exercise"], case["model"], case["finder"], still=still, threads=case["threads"],
        provider=case["provider"],
    )  # fmt: skip
    load = time.perf_counter() - start
    found: list[bool] = []
    order = list(range(len(clip))) if still else to_and_fro(len(clip))

    def picture(i: int) -> Frame:
        nonlocal provider
        if i == case["warmup"]:
            provider = None
            spent.clear()
            found.clear()
            network.clear()
        image = cv2.imdecode(clip[order[i % len(order)]], cv2.IMREAD_COLOR)
        return Frame(np.asarray(image, dtype=np.uint8), i / FPS, i)

    def step(frame: Frame) -> None:
        now[:] = 0.0, 0.0
        track, _ = whole.step(frame)
        network.append((now[0], now[1]))
        found.append(track.hand is not None)

    times = measure(step, case["warmup"], case["runs"], picture)
    paths = {kind: Path(case[key]) for kind, key in
             (("landmarks", "model"), ("finder", "finder"), ("exercise", "exercise"))}  # fmt: skip
    return {
        **times,
        "provider": provider,
        "load_ms": 1e3 * load,
        "sha256": {kind: model.read(path).sha256 for kind, path in paths.items()},
        "parts_ms": {kind: 1e3 * seconds / case["runs"] for kind, seconds in spent.items()},
        "network_wall_ms": [1e3 * wall for wall, _ in network],
        "network_cpu_ms": [1e3 * cpu for _, cpu in network],
        "found": sum(found) / case["runs"],
    }
