"""The contract of a model file: its tensors by kind, and the keys of its description.

It is the table in the architecture's page. The description is one entry `handcoach` in the file's
`metadata_props`, a JSON object whose keys are listed in `_COMMON` and `_OF_KIND`. An entry
`handcoach-signature` beside it says who vouches for the file (`signature.py`).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from handcoach.coach import UNSURE
from handcoach.errors import ModelError
from handcoach.hand import FINGERS, JOINTS, DegenerateHandError, hand_frame
from handcoach.onnx_file import Tensor

FORMAT = 1
KINDS = ("landmarks", "finder", "exercise")
MAX_SIDE = 2048  # of an input image, in pixels
MAX_TITLE, MAX_TEXT = 300, 2000  # characters of a title or a message, and of instructions
# Of an exercise: least and most; seconds, and how many. Absent is what it was before files said so.
LIMITS = {"hold_s": (0, 3600), "rest_s": (0, 3600), "session_s": (60, 7200), "speak_s": (0, 60),
          "repetitions": (1, 1000)}  # fmt: skip

_COMMON: dict[str, type | tuple[type, ...]] = {
    "format": int, "kind": str, "name": str, "version": str, "licence": str, "created": str, "source": str,
    "trained_on": str, "accuracy": dict, "parity": dict, "opset": int, "inputs": list, "outputs": list,
}  # fmt: skip
_OF_KIND: dict[str, dict[str, type | tuple[type, ...]]] = {
    "landmarks": {"size": int, "joints": list, "crop": dict, "presence_threshold": (int, float)},
    "finder": {"height": int, "width": int, "max_hands": int, "score_threshold": (int, float)},
    "exercise": {
        "title": dict, "instructions": dict, "labels": list, "clusters": list, "messages": dict,
        "colours": dict, "reference": list, "tolerance": dict, "unsure": dict, "hold_s": (int, float),
        "repetitions": int, "rest_s": (int, float), "kept_axes": str, "hand": str, "landmark_model": str,
        "quality": dict, "author": str,
    },
}  # fmt: skip


def tensors(kind: str, meta: dict[str, Any]) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Input and outputs that a file of this kind must have, given its (complete) metadata."""
    if kind == "landmarks":
        size = int(meta["size"])
        return Tensor("image", "uint8", (None, size, size, 3)), (
            Tensor("landmarks", "float32", (None, 21, 3)),
            Tensor("points", "float32", (None, 21, 2)),
            Tensor("presence", "float32", (None,)),
            Tensor("right", "float32", (None,)),
        )
    if kind == "finder":
        height, width = int(meta["height"]), int(meta["width"])
        return Tensor("image", "uint8", (None, height, width, 3)), (
            Tensor("hands", "float32", (None, int(meta["max_hands"]), 7)),
        )
    return Tensor("landmarks", "float32", (None, 21, 3)), (
        Tensor("hand_frame", "float32", (None, 63)),
        Tensor("cluster", "int64", (None,)),
        Tensor("distances", "float32", (None, len(meta["clusters"]))),
    )


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise ModelError(f"has metadata that do not fit HandCoach: {what}")


def _finite(value: Any, low: float, high: float) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high


_LANGUAGE = re.compile("[a-z]{2,3}([-_][A-Za-z0-9]{2,8})*")


def _text_is(value: Any, most: int) -> bool:
    """One line of up to so many characters."""
    return isinstance(value, str) and len(value) <= most and "\n" not in value


def _texts(value: Any, most: int = MAX_TITLE) -> bool:
    """{language: text}, with English, which every other language falls back to."""
    return (
        isinstance(value, dict)
        and isinstance(value.get("en"), str)
        and all(
            _LANGUAGE.fullmatch(lang) and isinstance(text, str) and len(text) <= most
            for lang, text in value.items()
        )
    )


def check_meta(meta: dict[str, Any], kind: str) -> None:
    keys = _COMMON | _OF_KIND[kind]
    missing = [key for key in keys if key not in meta]
    _require(not missing, f"{', '.join(missing)} missing")
    for key, types in keys.items():
        value = meta[key]
        _require(isinstance(value, types) and not isinstance(value, bool), f"{key} is of the wrong type")
    if kind == "landmarks":
        _require(16 <= meta["size"] <= MAX_SIDE, "size is out of range")
        _require(tuple(meta["joints"]) == JOINTS, "joints are not the 21 joints in their order")
        _require(_finite(meta["crop"].get("margin"), 1.0, 4.0), "crop.margin is out of range")
        _require(isinstance(meta["crop"].get("roll"), bool), "crop.roll is neither true nor false")
        _require(_finite(meta["presence_threshold"], 0, 1), "presence_threshold is out of range")
        _check_variant(meta.get("variant", {}))  # absent in files of before there were variants
    elif kind == "finder":
        _require(16 <= meta["height"] <= MAX_SIDE and 16 <= meta["width"] <= MAX_SIDE, "size is out of range")
        _require(1 <= meta["max_hands"] <= 1000, "max_hands is out of range")
        _require(_finite(meta["score_threshold"], 0, 1), "score_threshold is out of range")
    else:
        _check_exercise(meta)


def _check_variant(variant: Any) -> None:
    """{"of": name, "precision": int8, fp16 or fp32, "lost": share of PA-MPJPE}; each may be absent."""
    _require(
        isinstance(variant, dict)
        and _text_is(variant.get("of", ""), 100)
        and variant.get("precision", "fp16") in ("int8", "fp16", "fp32")
        and _finite(variant.get("lost", 0), -1, 100),
        "variant is no description of one",
    )


def are_axes(kept: str) -> bool:
    """Whether these are axes that an exercise may keep: some of x, y and z, each once, or none."""
    return set(kept) <= set("xyz") and len(set(kept)) == len(kept)


def _check_exercise(meta: dict[str, Any]) -> None:
    labels, clusters = meta["labels"], meta["clusters"]
    _require(
        2 <= len(labels) <= 50 and all(_text_is(label, 40) and label for label in labels)
        and len(set(labels)) == len(labels) and UNSURE not in labels,
        "labels are not two or more different names",
    )  # fmt: skip
    _require(
        len(clusters) <= 1000
        and all(isinstance(label, str) for label in clusters)
        and set(clusters) == set(labels),
        "clusters do not name every label",
    )
    for key, characters in (("title", MAX_TITLE), ("instructions", MAX_TEXT)):
        _require(
            _texts(meta[key], characters),
            f"{key} lacks English, is too long ({characters} characters at most) or has an unknown language",
        )
    _require(meta["title"]["en"].strip() != "", "title is empty")
    messages, colours = meta["messages"], meta["colours"]
    for label in [*labels, *(key for key in messages if key not in labels)]:
        _require(label in labels or label == UNSURE, f"there is no label {label[:40]!r} for its message")
        _require(
            _texts(messages.get(label)),
            f"the message of {label[:40]!r} lacks English, is too long or has an unknown language",
        )
    for label in labels:
        colour = colours.get(label)
        _require(
            isinstance(colour, str) and re.fullmatch("#[0-9a-fA-F]{6}", colour) is not None,
            f"the colour of {label!r} is not like #00a060",
        )
    _require(set(colours) == set(labels), "colours name something that is no label")
    reference = meta["reference"]
    _require(
        len(reference) == 21
        and all(isinstance(point, list) and len(point) == 3 for point in reference)
        and all(_finite(value, -100, 100) for point in reference for value in point),
        "reference is not 21 points",
    )
    try:
        hand_frame(np.asarray(reference, dtype=np.float32))
    except DegenerateHandError:
        _require(False, "reference is a hand without a palm")
    green, red = meta["tolerance"].get("green"), meta["tolerance"].get("red")
    _require(_finite(green, 0, 100) and _finite(red, 0, 100) and green < red, "tolerance is out of range")
    # Absent in files of before the verdict could be more or less strict.
    _require(_finite(meta["tolerance"].get("praise", 1), 0.5, 2), "tolerance.praise is not between 0.5 and 2")
    # Absent in files of before it could fit itself to a person's own range.
    _require(_finite(meta["tolerance"].get("widest", 1), 1, 2), "tolerance.widest is not between 1 and 2")
    unsure = meta["unsure"]
    _require(
        _finite(unsure.get("max_distance"), 0, 1e6) and _finite(unsure.get("min_margin"), 0, 1),
        "unsure is out of range",
    )
    for key, (least, most) in LIMITS.items():
        _require(_finite(meta.get(key, least), least, most), f"{key} is not {least} to {most}")
    _require(meta["hand"] in ("either", "right", "left"), "hand is not either, right or left")
    _require(are_axes(meta["kept_axes"]), "kept_axes is not some of x, y and z")
    _require(isinstance(meta.get("about_thumb", False), bool), "about_thumb is not true or false")
    fingers = meta.get("fingers", list(FINGERS))  # absent in files of before fingers could be left out
    _require(
        isinstance(fingers, list)
        and 1 <= len(fingers) <= len(FINGERS)
        and all(isinstance(finger, str) and finger in FINGERS for finger in fingers)
        and len(set(fingers)) == len(fingers),
        f"fingers are not some of {', '.join(FINGERS)}",
    )
    for key, characters in (("name", 100), ("version", 100), ("author", 200), ("licence", 200),
                      ("landmark_model", 100), ("created", 40)):  # fmt: skip
        _require(_text_is(meta[key], characters), f"{key} is too long or has several lines")
    _require(re.match(r"\d{4}-\d\d-\d\d", meta["created"]) is not None, "created is no date like 2026-01-31")
    for what in ("accuracy", "quality"):  # where they are stated, they are shares
        for key in ("held_out", "accuracy_held_out"):
            share = meta[what].get(key)
            _require(share is None or _finite(share, 0, 1), f"{what}.{key} is not between 0 and 1")
    _require(_finite(meta["parity"].get("max_abs"), 0, 1e6), "parity.max_abs is missing or out of range")


def check_tensors(found: list[Tensor], wanted: tuple[Tensor, ...], what: str) -> tuple[Tensor, ...]:
    by_name = {tensor.name: tensor for tensor in found}
    names = ", ".join(tensor.name for tensor in wanted)
    if len(found) != len(wanted) or set(by_name) != {tensor.name for tensor in wanted}:
        raise ModelError(f"has other {what}s than {names}")
    for tensor in wanted:
        given = by_name[tensor.name]
        if given.dtype != tensor.dtype:
            raise ModelError(f"has an {what} {tensor.name!r} of {given.dtype} instead of {tensor.dtype}")
        # The batch is free, or fixed to one; every other size is fixed.
        fits = len(given.shape) == len(tensor.shape) and given.shape[0] in (None, 1)
        if not fits or given.shape[1:] != tensor.shape[1:]:
            shapes = f"{shape_text(given.shape)} instead of {shape_text(tensor.shape)}"
            raise ModelError(f"has an {what} {tensor.name!r} of shape {shapes}")
    return tuple(by_name[tensor.name] for tensor in wanted)


def shape_text(shape: tuple[int | None, ...]) -> str:
    return "(" + ", ".join("N" if size is None else str(size) for size in shape) + ")"


def _reject_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


def _finite_float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):  # 1e999
        raise ValueError("a number is too large")
    return value


def _short_integer(text: str) -> int:
    if len(text) > 20:
        raise ValueError("a number has too many digits")
    return int(text)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose keys are all different: of two, another reader might take the other one."""
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a key is there twice")
    return fields


# Control characters, such as a terminal's escape sequences; those that turn the reading direction, behind
# which a text can hide another; halves of characters, which cannot be printed.
_NO_TEXT = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def one_line(text: str) -> str:
    """A text as a line of a file's words: what cannot be shown or begins another line is a space."""
    return re.sub(r"[\n\t\u2028\u2029]", " ", _NO_TEXT.sub(" ", text))


def _all_texts(value: Any) -> Iterator[str]:
    """Every text and key in JSON."""
    waiting = [value]  # a list of its own: generators within generators take a second for what is nested deep
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            waiting += value.keys()
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value


def parse_meta(text: str) -> dict[str, Any]:
    meta: Any = None
    why = "they are no object"
    try:
        meta = json.loads(
            text,
            parse_constant=_reject_constant,
            parse_float=_finite_float,
            parse_int=_short_integer,
            object_pairs_hook=_once,
        )
    except RecursionError:
        why = "it is nested too deep"
    except ValueError as error:
        why = str(error)[:60]
    _require(isinstance(meta, dict), f"they are not a JSON object ({why})")
    _require(
        not any(_NO_TEXT.search(s) for s in _all_texts(meta)), "a text has characters that cannot be shown"
    )
    return dict(meta)


def check_format(given: Any) -> None:
    if given == FORMAT and not isinstance(given, bool):
        return
    newer = isinstance(given, int) and given > FORMAT
    raise ModelError(
        f"has format version {str(given)[:20]}, but this HandCoach reads version {FORMAT}; "
        + ("update HandCoach" if newer else "export the file again")
    )
