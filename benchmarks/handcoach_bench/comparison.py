"""Whether the same cases of two files differ, or only their runs scatter.

Runs of one process resemble each other more than those of two processes do, so that thousands of runs make
every difference "significant". A difference counts only if the Mann-Whitney test says so (corrected for the
number of cases), the interval of the ratio of medians leaves out 1 when processes and runs are drawn anew,
and it is larger than what repeated processes of one file differ by.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PureWindowsPath

import numpy as np

from handcoach.errors import HandCoachError
from handcoach_bench.results import Row, Summary

ALPHA = 0.05
DRAWS = 1000
# What a case works on, where its key does not say it; what an older file does not say is not compared.
WORK = ("images", "epochs", "batch", "size", "workers", "threads", "clip", "data", "pictures", "variant")


@dataclass(frozen=True)
class Change:
    """From A to B, of wall time in ms.

    Attributes:
        ratio: median of B by median of A; low, high: its 95 % interval.
        p: of the Mann-Whitney test, times the number of cases.
        noise: what the medians of repeated processes differ by, the worse of both; None where nothing was
            repeated. cpu: CPU time of a run (`Row.cpu_ms`) of B by that of A; None where it is unknown.
        cpu_noise: like `noise`, of CPU time.
    """

    key: str
    a: Summary
    b: Summary
    ratio: float
    low: float
    high: float
    p: float
    noise: float | None
    cpu: float | None
    cpu_noise: float | None

    @property
    def differs(self) -> bool:
        # As `Row.spreads` is counted, so that it does not matter which of both files is A.
        small = self.noise is not None and max(self.ratio, 1 / self.ratio) - 1 <= self.noise
        return self.p < ALPHA and not self.low <= 1 <= self.high and not small

    @property
    def verdict(self) -> str:
        if not self.differs:
            return "no difference shown"
        word = "faster" if self.ratio < 1 else "slower"
        return f"B is {word}" if self.noise is not None else f"B is {word}, if one process is enough"


def other_work(one: Row, other: Row) -> list[str]:
    """In what two rows of one key did different work, like "images 2000 / 100000"."""
    known = [name for name in WORK if name in one.case and name in other.case]
    pairs = [(name, _names(one.case[name]), _names(other.case[name])) for name in known]
    return [
        f"{name} {'/'.join(mine)} / {'/'.join(theirs)}"
        for name, mine, theirs in pairs
        if any(a != b for a, b in zip(mine[::-1], theirs[::-1], strict=False))
    ]


def _names(value: object) -> list[str]:
    """What tells a file or folder from others, wherever it lies: a file's name; of a folder the last two,
    since many are called images, or fewer where it was named by fewer, as in ../HanCo."""
    if not isinstance(value, str):
        return [str(value)]
    path = PureWindowsPath(value)
    names = [part for part in path.parts if part not in (path.anchor, "..")]
    return names[-1:] if path.suffix else names[-2:]


def changes(a: Sequence[Row], b: Sequence[Row]) -> list[Change]:
    """Of every case that both have numbers of, for the same work.

    Raises:
        HandCoachError: scipy is missing.
    """
    try:
        from scipy.stats import mannwhitneyu
    except ImportError as error:
        raise HandCoachError('Comparing needs scipy: pip install "handcoach[bench]".') from error
    others = {row.key: row for row in b}
    pairs = [(row, others[row.key]) for row in a if row.key in others]
    pairs = [p for p in pairs if p[0].summary and p[1].summary and not other_work(*p)]
    found = []
    for one, other in pairs:
        assert one.summary and other.summary
        p = float(mannwhitneyu(_all(one), _all(other), alternative="two-sided").pvalue)
        low, high = ratio_interval(one.runs(), other.runs())
        wall, busy = (
            max((row.spreads[what] for row in (one, other) if what in row.spreads), default=None)
            for what in ("wall", "CPU")
        )
        cpu = other.cpu_ms / one.cpu_ms if one.cpu_ms and other.cpu_ms else None
        found.append(
            Change(
                one.key, one.summary, other.summary, other.summary.median / one.summary.median, low, high,
                min(1.0, p * len(pairs)), wall, cpu, busy,
            )
        )  # fmt: skip
    return found


def _all(row: Row) -> list[float]:
    return [value for runs in row.runs() for value in runs]


def ratio_interval(
    a: Sequence[Sequence[float]], b: Sequence[Sequence[float]], draws: int = DRAWS, seed: int = 0
) -> tuple[float, float]:
    """95 % interval of the ratio of medians, b by a: processes are drawn anew, and runs within each
    (bootstrap of two stages, Davison and Hinkley 1997, section 3.8).

    Args:
        a, b: the runs of each process.
    """
    random = np.random.default_rng(seed)

    def median(processes: Sequence[Sequence[float]]) -> float:
        chosen = random.integers(len(processes), size=len(processes))
        drawn = [random.choice(np.asarray(processes[i]), len(processes[i])) for i in chosen]
        return float(np.median(np.concatenate(drawn)))

    ratios = [median(b) / median(a) for _ in range(draws)]
    low, *_, high = statistics.quantiles(ratios, n=40)
    return low, high
