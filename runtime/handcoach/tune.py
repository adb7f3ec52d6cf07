"""Which landmark variant and how many threads are best on this laptop: measured here, once, and remembered.

int8 is faster than float on some processors and slower on others, so that nobody can know without a try
(onnxruntime#20052). `measure` tries in less than `BUDGET_S`, `choose` decides, `stored` and `store` remember
it for this machine, this program and these very models. What cannot be read is measured anew.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from handcoach import model, places
from handcoach.defaults import LANDMARKS
from handcoach.errors import HandCoachError
from handcoach.model import ModelFile
from handcoach.session import Session

FORMAT = 1
BUDGET_S = 3.5  # for all tries; what has not been tried by then is left out
WARM_UP, RUNS = 3, 24
THREADS = (1, 2, 4)
# A variant that lost more of its source's PA-MPJPE than this share is never chosen.
MOST_LOST = 0.03
FPS = 30.0  # of a usual webcam
# Of a frame's time the network may take so much: finding, smoothing and drawing need the rest, and a laptop
# that is warm is slower than one that was just opened.
HEADROOM = 0.4
# Fewer pictures a second than this are too few for a coach.
LEAST_FPS = 10.0
MAX_STORE = 100_000  # bytes
COMMAND = (sys.executable, "-P", "-m", "handcoach", "tune")


@dataclass(frozen=True)
class Timing:
    """One try.

    Attributes:
        model: stem of the shipped file, as `--model` takes it.
        precision: int8, fp16 or fp32.
        threads: of onnxruntime.
        ms: for one hand, the median of the fastest quarter of the runs: other programs only ever add time.
    """

    model: str
    precision: str
    threads: int
    ms: float


@dataclass(frozen=True)
class Tuned:
    """What was chosen for this machine.

    Attributes:
        choice: one of the timings. timings: all of them.
        fps: pictures a second for which it was chosen.
        day: when, like 2026-01-31.
    """

    choice: Timing
    timings: tuple[Timing, ...]
    fps: float
    day: str

    @property
    def ample(self) -> bool:
        """There is time left at the camera's rate."""
        return _has_headroom(self.choice, self.fps)


class SessionLike(Protocol):
    """What is timed: `handcoach.session.Session`, or a made-up one."""

    def run(self, array: NDArray[Any]) -> Any: ...


def variants(of: str = LANDMARKS) -> list[ModelFile]:
    """The shipped variants of a landmark model that are accurate enough; itself first.

    Files of variants have names that begin with its name, so that no other model is read.

    Raises:
        ModelError: there are no shipped models, or none of this name that works.
    """
    files = [model.read(model.find(of, "landmarks"), "landmarks")]
    for path in sorted(model.models_dir().glob(f"{of}-*.onnx")):
        try:
            file = model.read(path, "landmarks")
        except HandCoachError:  # `handcoach doctor` names it
            continue
        if model.family(file) == of:
            files.append(file)
    return [file for file in files if accurate(file)] or files[:1]


def accurate(file: ModelFile) -> bool:
    """Its metadata do not say that it lost too much of its source's accuracy."""
    lost = file.meta.get("variant", {}).get("lost", 0.0)
    return float(lost) <= MOST_LOST


def thread_counts() -> tuple[int, ...]:
    """Those worth a try here."""
    return tuple(n for n in THREADS if n <= cores())


def cores() -> int:
    """Processors that this program may run on."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # Windows, macOS
        return os.cpu_count() or 1


def measure(
    files: Sequence[ModelFile],
    threads: Sequence[int] | None = None,
    *,
    give_up: Callable[[], bool] = lambda: False,
    clock: Callable[[], float] = time.perf_counter,
    make: Callable[[ModelFile, int], SessionLike] = Session,
) -> Iterator[Timing]:
    """Try every file with every number of threads; ends after `BUDGET_S`, or as soon as somebody gives up.

    One session is alive at a time. The first file with the fewest threads is tried first, and always.
    """
    begun = clock()
    rng = np.random.default_rng(0)
    for count in threads or thread_counts():
        for file in files:
            if give_up() or clock() - begun > BUDGET_S:
                return
            session = make(file, count)
            size = int(file.meta["size"])
            image = rng.integers(0, 256, (1, size, size, 3), dtype=np.uint8)
            times: list[float] = []
            for _ in range(WARM_UP + RUNS):
                start = clock()
                session.run(image)
                times.append(1e3 * (clock() - start))
                if give_up():
                    return
                if clock() - begun > BUDGET_S and len(times) > WARM_UP:
                    break
            kept = sorted(times[WARM_UP:])
            best = kept[: max(len(kept) // 4, 1)]
            yield Timing(file.path.stem, precision(file), count, round(statistics.median(best), 3))


def precision(file: ModelFile) -> str:
    return str(file.meta.get("variant", {}).get("precision", "fp16"))


def _has_headroom(timing: Timing, fps: float) -> bool:
    return timing.ms <= HEADROOM * 1e3 / fps


def choose(timings: Sequence[Timing], fps: float = FPS) -> Timing:
    """The fastest with the fewest threads that leave headroom; without any headroom the fastest of all.

    A second thread that nobody needs only warms the laptop.
    """
    ample = [timing for timing in timings if _has_headroom(timing, fps)]
    if not ample:
        return min(timings, key=lambda timing: timing.ms)
    return min(ample, key=lambda timing: (timing.threads, timing.ms))


def tune(fps: float = FPS, give_up: Callable[[], bool] = lambda: False) -> Tuned | None:
    """Measure, choose and store; None if somebody gave up: nothing is stored then.

    Raises:
        HandCoachError: a model is missing or does not run, or the choice cannot be stored.
    """
    files = variants()
    timings = tuple(measure(files, give_up=give_up))
    if give_up() or not timings:
        return None
    tuned = Tuned(choose(timings, fps), timings, fps, time.strftime("%Y-%m-%d"))
    store(tuned, files)
    return tuned


# --- Remembering ----------------------------------------------------------------------------------------


def _machine() -> str:
    """What tells this machine from another one that shares the user's folder."""
    cpu = os.environ.get(
        "PROCESSOR_IDENTIFIER", ""
    )  # Windows; platform.processor() starts a process elsewhere
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", errors="replace").splitlines()
        cpu = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), cpu)
    except OSError:
        pass
    return f"{platform.node()} {platform.machine()} {cpu} {cores()}"


def store_file() -> Path:
    """Where this machine's choice lies; its name does not tell which machine that is."""
    return places.user_folder() / f"tuning-{hashlib.sha256(_machine().encode()).hexdigest()[:12]}.json"


def _key(files: Sequence[ModelFile]) -> dict[str, Any]:
    """The choice holds as long as none of this changes."""
    return {
        "format": FORMAT,
        "versions": {name: _version(name) for name in ("handcoach", "onnxruntime")},
        "models": {file.path.stem: file.sha256 for file in files},
    }


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "unknown"


def store(tuned: Tuned, files: Sequence[ModelFile]) -> None:
    """Remember a choice among these files.

    Raises:
        HandCoachError: it cannot be written.
    """
    path = store_file()
    data = json.dumps(_key(files) | asdict(tuned), indent=1).encode()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        places.save(path, data)
    except OSError as error:
        raise HandCoachError(
            f"The choice cannot be stored in {path.parent} ({error.strerror or error}): set HANDCOACH_HOME "
            "to a folder of yours."
        ) from error


def stored(files: Sequence[ModelFile] | None = None) -> Tuned | None:
    """What was chosen for this machine, program and models; None where nothing was, or it cannot be read.

    Args:
        files: as from `variants`.

    Raises:
        ModelError: as of `variants`.
    """
    files = variants() if files is None else files
    try:
        with store_file().open("rb") as file:
            found = json.loads(file.read(MAX_STORE))
        if any(found[key] != value for key, value in _key(files).items()):
            return None
        timings = tuple(_timing(entry, files) for entry in found["timings"])
        choice, fps, day = _timing(found["choice"], files), float(found["fps"]), str(found["day"])
        if choice not in timings or not 0 < fps < 1e4:
            return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):  # damaged: it is made anew
        return None
    return Tuned(choice, timings, fps, day[:10])


def _timing(entry: Any, files: Sequence[ModelFile]) -> Timing:
    """One timing of the store. Raises KeyError, TypeError or ValueError where it is none."""
    name, threads, ms = entry["model"], entry["threads"], float(entry["ms"])
    file = {file.path.stem: file for file in files}[name]
    if type(threads) is not int or not 1 <= threads <= max(THREADS) or not (math.isfinite(ms) and ms > 0):
        raise ValueError(entry)
    return Timing(name, precision(file), threads, ms)


def choice(name: str | None = None, threads: int | None = None) -> tuple[str, int, float | None]:
    """What to run: model, threads, and how long one hand takes in ms where that was measured here.

    Args:
        name, threads: what somebody chose; None takes what was stored, else the default.
    """
    tuned = None
    if name is None or name == LANDMARKS:
        tuned = stored()
    best = tuned.choice if tuned is not None else None
    if name is None:
        name = best.model if best is not None else LANDMARKS
    if threads is None:
        threads = best.threads if best is not None and best.model == name else 1
    ms = (
        next((t.ms for t in tuned.timings if (t.model, t.threads) == (name, threads)), None)
        if tuned
        else None
    )
    return name, threads, ms


# --- In the background ----------------------------------------------------------------------------------


def _settled(tuned: Tuned | None) -> bool:
    """What is stored serves. Where it leaves no headroom, the laptop may only have been busy when it was
    measured: on another day it is measured again."""
    return tuned is not None and (tuned.ample or tuned.day == time.strftime("%Y-%m-%d"))


def in_background(give_up: threading.Event, command: Sequence[str] = COMMAND) -> threading.Thread:
    """Tune beside a running program, unless that is settled; the choice serves from the next start on.

    A process of its own does the work: what the tries take of memory goes with it, and it ends at once when
    somebody gives up.

    Args:
        command: what tunes and stores.
    """

    def run() -> None:
        try:
            # A packed program has no Python to start.
            if getattr(sys, "frozen", False) or give_up.is_set() or _settled(tuned := stored()):
                return
            # The camera's rate, where somebody said it.
            rate = ["--fps", f"{tuned.fps:g}"] if tuned is not None else []
            child = subprocess.Popen(
                [*command, *rate],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )  # fmt: skip
        except (HandCoachError, OSError):  # the defaults serve; `handcoach tune` says why
            return
        while child.poll() is None:
            if give_up.wait(0.05):
                child.kill()
        child.wait()

    thread = threading.Thread(target=run, name="handcoach-tune", daemon=True)
    thread.start()
    return thread


def lines(tuned: Tuned) -> list[str]:
    """For the terminal: every try, the choice marked."""
    width = max(len(timing.model) for timing in tuned.timings)
    rows = []
    for timing in sorted(tuned.timings, key=lambda t: t.ms):
        threads = "1 thread " if timing.threads == 1 else f"{timing.threads} threads"
        mark = "  <- chosen" if timing == tuned.choice else ""
        rows.append(f"{timing.model:<{width}}  {timing.precision}  {threads}  {timing.ms:7.2f} ms{mark}")
    return rows


def summary(tuned: Tuned) -> str:
    """One line for `doctor`."""
    best = tuned.choice
    threads = "1 thread" if best.threads == 1 else f"{best.threads} threads"
    room = "" if tuned.ample else ", which leaves little room"
    return (
        f"{best.model} ({best.precision}) on {threads}: {best.ms:.1f} ms of the {1e3 / tuned.fps:.0f} ms "
        f"between two pictures{room}; measured {tuned.day}"
    )
