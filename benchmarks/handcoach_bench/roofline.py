"""The machine's measured peak: a matrix product for arithmetic, a copy for memory. Runs in a child
process."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from handcoach_bench.flops import Cost

SIDE = 1024  # of the matrices: 12 MB, 2.1 GFLOP a product
COPY_MB = 256  # larger than any cache
BUDGET_S = 2.0  # of each of both


@dataclass(frozen=True)
class Roofs:
    """What this machine gives at its best, with this many threads."""

    threads: int
    gflops: float
    gb_s: float

    def attainable(self, intensity: float) -> float:
        """GFLOP/s that a program of this intensity (FLOP per byte) may reach (Williams et al. 2009)."""
        return min(self.gflops, intensity * self.gb_s)


@dataclass(frozen=True)
class Point:
    """A model under the roofs."""

    cost: Cost
    median_ms: float
    roofs: Roofs

    @property
    def gflops(self) -> float:
        return self.cost.flops / self.median_ms / 1e6

    @property
    def intensity(self) -> float:
        return self.cost.flops / self.cost.bytes

    def figures(self) -> dict[str, float]:
        """For the file of results."""
        return {
            "mflop": self.cost.flops / 1e6,
            "weights_m": self.cost.weights / 1e6,
            "flop_per_byte": self.intensity,
            "gflop_s": self.gflops,
            "of_peak_percent": 100 * self.gflops / self.roofs.gflops,
            "of_roof_percent": 100 * self.gflops / self.roofs.attainable(self.intensity),
        }


def environment(threads: int) -> dict[str, str]:
    """Variables with which a numpy that is imported afterwards takes so many threads."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
    return dict.fromkeys(names, str(threads))


def measure_peak(task: dict[str, Any]) -> dict[str, Any]:
    """The best of many float32 products and copies: what disturbs makes them slower, never faster. Both by
    as many threads as the network gets: numpy multiplies by the environment's, and copies by one each."""
    random = np.random.default_rng(0)
    a, b = (random.standard_normal((SIDE, SIDE), dtype=np.float32) for _ in range(2))
    out = np.empty_like(a)
    product = _best(lambda: np.matmul(a, b, out=out))
    source = np.ones(COPY_MB * 2**18, dtype=np.float32)
    target = np.empty_like(source)
    threads = int(task.get("threads", 1))
    parts = list(zip(np.array_split(target, threads), np.array_split(source, threads), strict=True))
    with ThreadPoolExecutor(threads) as pool:
        copy = _best(lambda: list(pool.map(lambda part: np.copyto(*part), parts)))
    return {"gflops": 2 * SIDE**3 / product / 1e9, "gb_s": 2 * source.nbytes / copy / 1e9}


def _best(work: Any) -> float:
    work()
    best, end = float("inf"), time.perf_counter() + BUDGET_S
    while time.perf_counter() < end:
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best
