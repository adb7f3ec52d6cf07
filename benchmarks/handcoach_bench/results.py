"""Cases, what came of them, and the versioned file that keeps it."""

from __future__ import annotations

import json
import math
import os
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from handcoach.errors import HandCoachError

SCHEMA = 1
Status = Literal["ok", "failed", "died", "timeout"]


@dataclass(frozen=True)
class Case:
    """One thing to measure, in one fresh process.

    Attributes:
        what: "network" runs a model on one picture of its input size; "pipeline" is one whole step of the
            tracker and the exercise on a frame of 640 x 480.
        model: path of the landmark model or finder.
        name: its name, for people.
        threads: threads of each session.
        provider: the execution provider that must really run.
        warmup, runs: how often it runs before, and while, it is measured.
        finder, exercise, clip: paths that only a pipeline needs.
    """

    what: Literal["network", "pipeline"]
    model: str
    name: str
    threads: int
    provider: str
    warmup: int
    runs: int
    finder: str | None = None
    exercise: str | None = None
    clip: str | None = None

    def __post_init__(self) -> None:
        if self.threads < 1 or self.runs < 1 or self.warmup < 0:
            raise ValueError(f"threads and runs must be at least 1 and warmup at least 0: {self}")

    def __str__(self) -> str:
        provider = self.provider.removesuffix("ExecutionProvider")
        return f"{self.label}, {self.threads} thread{'s' * (self.threads > 1)}, {provider}"

    @property
    def label(self) -> str:
        return self.name if self.what == "network" else f"{self.name} pipeline"


@dataclass(frozen=True)
class Summary:
    """Milliseconds over n runs."""

    n: int
    mean: float
    sd: float
    median: float
    p95: float
    min: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Summary:
        ordered = sorted(values)
        # The smallest value that at least 95 % of the runs do not exceed: always one that was measured.
        p95 = ordered[math.ceil(0.95 * len(ordered)) - 1]
        sd = statistics.stdev(values) if len(values) > 1 else 0.0
        return cls(len(values), statistics.fmean(values), sd, statistics.median(values), p95, ordered[0])


@dataclass(frozen=True)
class Outcome:
    """What came of a case. Everything below `error` is None or empty unless the status is ok.

    Attributes:
        status: ok; failed, with a sentence; died, without a word; or timeout.
        provider: the execution provider that really ran.
        warmup_ms, wall_ms: every run, in order.
        cpu_ms: processor time of every run, all threads together. Windows counts it in steps of 16 ms, so
            that only its mean says something there.
        load_ms: reading, checking and opening the model.
        peak_rss_mb: the process's largest resident memory.
        sha256: of each model file by its kind.
        parts_ms: for a pipeline the mean milliseconds per frame in each network, by kind.
        network_wall_ms, network_cpu_ms: for a pipeline the landmark network's part of every run.
        found: for a pipeline the share of the measured frames in which a hand was found.
    """

    case: Case
    status: Status
    error: str | None = None
    provider: str | None = None
    warmup_ms: tuple[float, ...] = ()
    wall_ms: tuple[float, ...] = ()
    cpu_ms: tuple[float, ...] = ()
    load_ms: float | None = None
    peak_rss_mb: float | None = None
    sha256: dict[str, str] = field(default_factory=dict)
    parts_ms: dict[str, float] = field(default_factory=dict)
    network_wall_ms: tuple[float, ...] = ()
    network_cpu_ms: tuple[float, ...] = ()
    found: float | None = None

    @property
    def summary(self) -> Summary | None:
        return Summary.of(self.wall_ms) if self.wall_ms else None

    @property
    def share(self) -> float | None:
        """The networks' share of a pipeline's time, 0..1."""
        if not self.parts_ms or not self.wall_ms:
            return None
        return sum(self.parts_ms.values()) / statistics.fmean(self.wall_ms)

    def as_json(self) -> dict[str, Any]:
        summary = self.summary
        cpu = Summary.of(self.cpu_ms) if self.cpu_ms else None
        return {
            **asdict(self),
            "summary": asdict(summary) if summary else None,
            "cpu_summary": asdict(cpu) if cpu else None,
        }


def write(path: Path, machine: dict[str, Any], outcomes: Sequence[Outcome], created: str) -> None:
    """Write the results of `inference`; see `write_json`."""
    content = {
        "schema": SCHEMA,
        "benchmark": "inference",
        "created": created,
        "unit": "ms",
        "machine": machine,
        "results": [outcome.as_json() for outcome in outcomes],
    }
    write_json(path, content)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a file of results, all or nothing.

    Raises:
        HandCoachError: the file cannot be written, or a figure is no number, which JSON cannot say.
    """
    try:
        text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    except ValueError as error:
        wrong = ", ".join(_not_finite(content))
        raise HandCoachError(
            f"{path} is not written, since these figures are no finite numbers: {wrong}; report this."
        ) from error
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        try:
            beside.write_text(text, "utf-8")
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise HandCoachError(
            f"{path} cannot be written ({error.strerror or error}): give --json another place."
        ) from error


def _not_finite(value: Any, where: str = "") -> Iterator[str]:
    """Where in a JSON value there is NaN or an infinity."""
    if isinstance(value, float) and not math.isfinite(value):
        yield where
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _not_finite(inner, f"{where}.{key}" if where else str(key))
    elif isinstance(value, list | tuple):
        for i, inner in enumerate(value):
            yield from _not_finite(inner, f"{where}[{i}]")


COLUMNS = ("model", "threads", "provider", "n", "mean", "sd", "median", "p95", "min", "CPU", "RSS MB")


def table(outcomes: Sequence[Outcome]) -> list[str]:
    """Lines for a terminal, times in ms; a case that gave no numbers says why in its row."""
    rows: list[tuple[str, ...]] = []
    notes: dict[int, str] = {}
    for outcome in outcomes:
        case, s = outcome.case, outcome.summary
        head = (case.label, str(case.threads), case.provider.removesuffix("ExecutionProvider"))
        if s is None:
            notes[len(rows)] = f"{outcome.status}: {outcome.error or 'no reason given'}"
            rows.append((*head, *[""] * (len(COLUMNS) - 3)))
            continue
        times = (f"{value:.2f}" for value in (s.mean, s.sd, s.median, s.p95, s.min))
        cpu = f"{statistics.fmean(outcome.cpu_ms):.2f}" if outcome.cpu_ms else "?"
        memory = "?" if outcome.peak_rss_mb is None else f"{outcome.peak_rss_mb:.0f}"
        rows.append((*head, str(s.n), *times, cpu, memory))
    lines = grid([COLUMNS, *rows], left=(0, 2))
    for i, note in notes.items():
        lines[i + 2] += f"  {note}"
    for outcome in outcomes:
        if outcome.share is not None:
            parts = ", ".join(f"{kind} {ms:.2f}" for kind, ms in outcome.parts_ms.items())
            cpu_ms = Summary.of(outcome.cpu_ms or (math.nan,))
            lines.append(
                f"{outcome.case}: CPU p50 {cpu_ms.median:.2f}, p95 {cpu_ms.p95:.2f} ms; networks "
                f"{outcome.share:.0%} of the step (mean ms per frame: {parts}); "
                f"hand found in {outcome.found or 0:.0%} of the frames"
            )
    return lines


def grid(rows: Sequence[Sequence[str]], left: Sequence[int] = (0, 1)) -> list[str]:
    """Rows in columns, the first one as a heading with a rule below it.

    Args:
        left: columns whose cells start at the left; the others end at the right.
    """
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [f"{cell:<{w}}" if i in left else f"{cell:>{w}}"
                 for i, (cell, w) in enumerate(zip(row, widths, strict=True))]  # fmt: skip
        lines.append("  ".join(cells).rstrip())
    return [lines[0], "  ".join("-" * w for w in widths), *lines[1:]]
