"""What every part of `accuracy` needs: the models, a progress bar, shares that are rounded alike."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import handcoach
from handcoach import defaults, model
from handcoach import pipeline as runtime
from handcoach.errors import HandCoachError
from handcoach.tracker import Choice

T = TypeVar("T")

NOT_FOUND = "not found"


@dataclass(frozen=True)
class Models:
    """Names of shipped models, or files."""

    landmarks: str = defaults.LANDMARKS
    finder: str = defaults.FINDER
    exercise: str = defaults.EXERCISE

    def paths(self, judged: bool) -> dict[str, Path]:
        """By kind; the exercise only where postures are judged.

        Raises:
            ModelError: one of them is unknown or does not fit.
        """
        kinds = ("landmarks", "finder", "exercise") if judged else ("landmarks", "finder")
        return {kind: model.find(getattr(self, kind), kind) for kind in kinds}

    def load(self, *, judged: bool, still: bool, hand: Choice = "auto") -> runtime.Pipeline:
        exercise = self.exercise if judged else None
        return runtime.load(exercise, self.landmarks, self.finder, hand=hand, still=still)


def model_table(files: Iterable[model.ModelFile]) -> dict[str, dict[str, Any]]:
    """What a file of results says of the measured models, by SHA-256."""
    return {
        file.sha256: {
            "name": file.name,
            "kind": file.kind,
            "version": str(file.meta["version"]),
            "file": file.path.name,
            "bytes": file.path.stat().st_size,
            **(variant_of(file) if file.kind != "exercise" else {}),
            "accuracy": file.meta["accuracy"] | _accuracy(file),
        }
        for file in files
    }


def variant_of(file: model.ModelFile) -> dict[str, str]:
    """The model that a file is a variant of, and its precision. Files of before there were variants keep
    halves, and are their own source."""
    given = _variant(file)
    return {"of": str(given.get("of", file.name)), "precision": str(given.get("precision", "fp16"))}


def _variant(file: model.ModelFile) -> dict[str, Any]:
    variant = file.meta.get("variant")
    return variant if isinstance(variant, dict) else {}


def _accuracy(file: model.ModelFile) -> dict[str, Any]:
    """PA-MPJPE where the file has it, which variants have: {"mean": , "unit": , "hands": } and what else it
    says."""
    said = _variant(file).get("pa_mpjpe")
    return {"pa_mpjpe": said} if isinstance(said, dict) and isinstance(said.get("mean"), int | float) else {}


def demo_clip() -> Path:
    """The demo's clip, a rendered hand that goes through the finger stretch.

    Raises:
        HandCoachError: it is not there.
    """
    for path in sorted((Path(handcoach.__file__).parent / "assets").glob("demo.*")):
        return path
    raise HandCoachError("The demo's clip is missing: name one with --clip.")


def share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


def rounded(function: Callable[[list[float]], Any], values: list[float]) -> float | None:
    return round(float(function(values)), 4) if values else None


def progress(items: Iterable[T], total: int, what: str) -> Iterator[T]:
    """The items, with a bar on the terminal; `total` 0 is unknown."""
    if not sys.stderr.isatty():
        yield from items
        return
    shown = 0.0
    try:
        for number, item in enumerate(items, 1):
            now = time.monotonic()
            if now - shown > 0.1:
                shown = now
                bar = f"[{'#' * (30 * number // total):<30}] {number}/{total}" if total else str(number)
                print(f"\r{what}  {bar}\x1b[K", end="", file=sys.stderr, flush=True)
            yield item
    finally:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
