"""Which items each step sees: a function of the seed and the step alone.

A training that stops and goes on, or that runs on two devices instead of one, meets the same pictures.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from handcoach_train.data import Draw
from handcoach_train.errors import TrainError


@dataclass
class Draws(Sampler[Draw]):
    """An epoch's items in order, for a DataLoader that cuts them into batches of `batch / (ranks * parts)`.

    Every source is met in its own endless sequence of permutations and fills its share of every batch.

    Attributes:
        sources: numbers of the items of each. shares: of a batch, one for each source, adding up to 1.
        batch: items of one step over all devices. steps: of one epoch. total: of the whole training.
        sizes: [(size, share of the steps)]; empty: the data set's own.
        rank, ranks: this process and how many there are. parts: accumulated before a step.

    Raises:
        TrainError: the batch cannot be split evenly, or there is nothing to draw.
    """

    sources: list[NDArray[Any]]
    shares: list[float]
    batch: int
    steps: int
    total: int
    seed: int = 0
    sizes: tuple[tuple[int, float], ...] = ()
    rank: int = 0
    ranks: int = 1
    parts: int = 1
    epoch: int = 0

    def __post_init__(self) -> None:
        if self.batch % (self.ranks * self.parts):
            raise TrainError(
                f"A batch of {self.batch} cannot be split over {self.ranks} devices "
                f"and {self.parts} accumulated parts: choose a multiple of {self.ranks * self.parts}."
            )
        filled = [(s, w) for s, w in zip(self.sources, self.shares, strict=True) if len(s) and w > 0]
        if not filled:
            raise TrainError("There is nothing to train on: every source is empty or has no share.")
        whole = sum(w for _, w in filled)
        self.sources = [s for s, _ in filled]
        counts = [round(self.batch * w / whole) for _, w in filled]
        counts[int(np.argmax(counts))] += self.batch - sum(counts)
        self.counts = counts
        self._order = lru_cache(maxsize=2 * len(filled))(self._permutation)

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls it before every epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.steps * self.batch // self.ranks

    def __iter__(self) -> Iterator[Draw]:
        for step in range(self.epoch * self.steps, (self.epoch + 1) * self.steps):
            draws = self.step(step)
            for part in range(self.parts):
                # Every part and device gets its share of every source.
                yield from draws[part * self.ranks + self.rank :: self.parts * self.ranks]

    def step(self, step: int) -> list[Draw]:
        """The whole batch of a step, all devices and parts."""
        size = self._size(step)
        items: list[int] = []
        for source, count in enumerate(self.counts):
            n = len(self.sources[source])
            items += [
                int(self._order(source, p // n)[p % n]) for p in range(step * count, (step + 1) * count)
            ]
        return [Draw(item, step * self.batch + row, size) for row, item in enumerate(items)]

    def _permutation(self, source: int, turn: int) -> NDArray[Any]:
        return np.random.default_rng([self.seed, source, turn]).permutation(self.sources[source])

    def _size(self, step: int) -> int | None:
        end = 0.0
        for size, share in self.sizes:
            end += share * self.total
            if step < round(end):
                return size
        return self.sizes[-1][0] if self.sizes else None
