"""The way to the exercise builder, which the runtime never imports: the entry points of
`handcoach.exercise_builders`. Where its libraries are missing, one sentence names the line that brings them.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

from handcoach.errors import HandCoachError
from handcoach.quality import Report

GROUP = "handcoach.exercise_builders"
NEEDED = ("sklearn", "skl2onnx", "onnx", "matplotlib")
PIP_LINE = f'"{sys.executable}" -m pip install "handcoach[studio]"'


class MissingBuilder(HandCoachError):
    """The libraries of the exercise builder are not installed."""

    key = "extra_missing"


def missing() -> list[str]:
    """Libraries that the builder needs and that are not installed; imports none of them."""
    return [name for name in NEEDED if find_spec(name) is None]


def _load(name: str) -> Any:
    lacking = missing()
    points = metadata.entry_points(group=GROUP, name=name)
    if lacking or not points:
        raise MissingBuilder(
            f"Checking and saving an exercise needs {', '.join(lacking) or 'its builder'}: run {PIP_LINE}."
        )
    return next(iter(points)).load()


def check(
    recording: Path, folder: Path, settings: dict[str, Any], lang: str, names: Mapping[str, str]
) -> Report:
    """The verdict on a recording, with its pictures in a folder, which call the labels by these names.

    Raises:
        HandCoachError: MissingBuilder, or the recording cannot be read.
    """
    return cast(Report, _load("check")(recording, folder, settings, lang, names))


def build(recording: Path, output: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Make an exercise of a recording; its metadata. The output is written whole or not at all.

    Raises:
        HandCoachError: MissingBuilder, or what is wrong with the recording or the settings.
    """
    return cast(dict[str, Any], _load("default")(recording, output, settings))
