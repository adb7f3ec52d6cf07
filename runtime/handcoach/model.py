"""The contract of a model file, and the only door to onnxruntime.

`read` looks at a file's protobuf itself, with limits, and refuses whatever does not fit before any session
is made: a model may come from a stranger by e-mail. `Session` runs a file that was read.

The contract is the table in the architecture's page: names, types and shapes of the tensors by kind, and
one entry `handcoach` in the file's `metadata_props`, a JSON object whose keys are listed in `_COMMON` and
`_OF_KIND` below. An entry `handcoach-signature` beside it says who vouches for the file (`signature.py`); a
file that is signed and was changed since is refused.

Reading a file runs nothing of it, and costs less than a second and 200 MB whatever is in it
(`tests/runtime/test_hostile_files.py`).
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import os
import re
import stat
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handcoach import graph, places, signature
from handcoach.coach import UNSURE
from handcoach.errors import HandCoachError
from handcoach.hand import FINGERS, JOINTS, DegenerateHandError, hand_frame

FORMAT = 1
KINDS = ("landmarks", "finder", "exercise")
METADATA_KEY = "handcoach"

# A ResNet50 has 100 MB. The bytes of a file are in memory while it is read.
MAX_BYTES = 128 * 2**20
MAX_EXERCISE_BYTES = 4 * 2**20  # the shipped one has 14 kB
MAX_FIELDS = 100_000  # protobuf fields that are looked at in one file; mobilenetv2 has 4,500
MAX_METADATA = 2**20  # bytes; as lists in lists they take thirty times as much memory
MAX_NAME = 2000  # bytes of a name in the graph
MAX_RANK = 8  # axes of a tensor
MAX_SIDE = 2048  # of an input image, in pixels

# Operators that a network or an exercise needs. Nothing here loops, branches, draws random numbers or
# holds a graph of its own.
_OPERATORS = frozenset(
    """
    Abs Acos Add And ArgMax ArgMin Asin Atan AveragePool BatchNormalization Cast CastLike Ceil Clip Concat
    Constant ConstantOfShape Conv ConvTranspose Cos CumSum DepthToSpace DequantizeLinear Div Dropout
    DynamicQuantizeLinear Einsum Equal Erf Exp Expand EyeLike Flatten Floor Gather GatherElements GatherND
    Gelu Gemm GlobalAveragePool GlobalMaxPool Greater GreaterOrEqual HardSigmoid HardSwish Identity
    InstanceNormalization LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax MatMul MatMulInteger
    Max MaxPool Mean Min Mish Mod Mul Neg Not OneHot Or PRelu Pad Pow QLinearConv QLinearMatMul
    QuantizeLinear Range Reciprocal ReduceL1 ReduceL2 ReduceLogSumExp ReduceMax ReduceMean ReduceMin
    ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize Round ScatterElements ScatterND Selu Shape
    Sigmoid Sign Sin Size Slice Softmax Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Tan Tanh
    Tile TopK Transpose Trilu Unsqueeze Where Xor
    """.split()  # noqa: SIM905
)
_ML_OPERATORS = frozenset(["ArrayFeatureExtractor", "Normalizer", "Scaler"])

_TYPES = {1: "float32", 2: "uint8", 7: "int64"}  # TensorProto.DataType of the contract's tensors


class ModelError(HandCoachError):
    """A file is no model, or not one that this program runs; or onnxruntime does not start."""

    def __init__(self, sentence: str, key: str | None = "model_broken") -> None:
        super().__init__(sentence)
        self.key = key


@dataclass(frozen=True)
class Tensor:
    """An input or output: name, numpy dtype and shape; the batch and unknown sizes are None."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True)
class ModelFile:
    """A model file that was read and fits the contract.

    Attributes:
        path: where it lies.
        kind: landmarks, finder or exercise.
        meta: the JSON object of its metadata; every key of the contract is there.
        sha256: of the bytes that were read. A session refuses a file that has changed since.
        input, outputs: its tensors, in the contract's order.
        signed_by: fingerprint of the key that it is signed with; "" where it is not signed.
    """

    path: Path
    kind: str
    meta: dict[str, Any] = field(repr=False)
    sha256: str = ""
    input: Tensor = Tensor("", "", ())
    outputs: tuple[Tensor, ...] = ()
    signed_by: str = ""

    @property
    def name(self) -> str:
        return str(self.meta["name"])


# --- Protobuf, as far as it is needed ------------------------------------------------------------------


class _WireError(Exception):
    """The bytes are not the protobuf message that they should be."""


class _Wire:
    """Reads the fields of protobuf messages; counts them, so that a hostile file ends soon."""

    def __init__(self) -> None:
        self.left = MAX_FIELDS

    def varint(self, view: memoryview, at: int) -> tuple[int, int]:
        value = 0
        for shift in range(0, 70, 7):
            if at >= len(view):
                raise _WireError("it ends in the middle of a number")
            byte = view[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value & (2**64 - 1), at
        raise _WireError("a number in it is too long")

    def fields(self, view: memoryview) -> Iterator[tuple[int, int | memoryview]]:
        """(field number, value): a memoryview for what has a length, an int for everything else."""
        for number, value, _, _ in self.spans(view):
            yield number, value

    def spans(self, view: memoryview) -> Iterator[tuple[int, int | memoryview, int, int]]:
        """Like `fields`, and where each field begins and ends in the view."""
        at = 0
        while at < len(view):
            begin = at
            self.left -= 1
            if self.left < 0:
                raise _WireError("it has too many parts")
            tag, at = self.varint(view, at)
            number, wire = tag >> 3, tag & 7
            if not 0 < number < 2**29:
                raise _WireError("a field of it has no valid number")
            if wire == 0:
                value, at = self.varint(view, at)
                yield number, value, begin, at
                continue
            if wire == 2:
                length, at = self.varint(view, at)
            elif wire in (1, 5):
                length = 8 if wire == 1 else 4
            else:
                raise _WireError("a field of it has an unknown type")
            if length > len(view) - at:
                raise _WireError("it is cut short")
            part = view[at : at + length]
            at += length
            yield number, part if wire == 2 else int.from_bytes(part, "little"), begin, at

    def message(self, view: memoryview) -> dict[int, list[int | memoryview]]:
        """All fields of a small message by number."""
        found: dict[int, list[int | memoryview]] = {}
        for number, value in self.fields(view):
            found.setdefault(number, []).append(value)
        return found


_Message = dict[int, list[int | memoryview]]


def _one(message: _Message, number: int) -> memoryview | None:
    """The only embedded message, string or bytes of this number. Protobuf merges repeated ones, so that a
    second one could hide something; it is refused."""
    values = message.get(number, [])
    if len(values) > 1:
        raise _WireError("a part that must be single is there twice")
    if not values:
        return None
    if not isinstance(values[0], memoryview):
        raise _WireError("a part of it has the wrong type")
    return values[0]


def _text(message: _Message, number: int, most: int = MAX_NAME) -> str:
    value = _one(message, number)
    return "" if value is None else _decode(value, most)


def _decode(value: memoryview, most: int = MAX_NAME) -> str:
    if len(value) > most:
        raise _WireError("a text in it is too long")
    try:
        return str(value, "utf-8")
    except UnicodeDecodeError as error:
        raise _WireError("a text in it is not UTF-8") from error


def _integers(wire: _Wire, message: _Message, number: int, most: int) -> list[int]:
    """The signed integers of a repeated field, packed or not."""
    found: list[int] = []
    for value in message.get(number, []):
        if isinstance(value, int):
            found.append(value)
            continue
        at = 0
        while at < len(value) and len(found) <= most:
            integer, at = wire.varint(value, at)
            found.append(integer)
    if len(found) > most:
        raise _WireError("it has too many numbers in one place")
    return [value - 2**64 if value >= 2**63 else value for value in found]


def _number(message: _Message, number: int) -> int:
    values = message.get(number, [0])
    if len(values) > 1 or not isinstance(values[-1], int):
        raise _WireError("a number in it has the wrong type")
    return values[-1]


def _many(message: _Message, number: int) -> list[memoryview]:
    values = message.get(number, [])
    if not all(isinstance(v, memoryview) for v in values):
        raise _WireError("a part of it has the wrong type")
    return [v for v in values if isinstance(v, memoryview)]


# --- ONNX: the numbers below are field numbers of onnx.proto -------------------------------------------


@dataclass(frozen=True)
class _Onnx:
    """What the contract needs to know of an ONNX file.

    Attributes:
        metadata, signature: value of HandCoach's entries, None where there is none.
        unsigned: SHA-256 of all bytes but the signature's entry.
        constants: the weights, and what Constant nodes give.
        nodes: the others, in their order.
        known: names of everything that the graph has at its end.
    """

    metadata: str | None
    signature: str | None
    unsigned: bytes
    inputs: list[Tensor]
    outputs: list[Tensor]
    constants: dict[str, graph.Constant]
    nodes: list[graph.Node]
    known: set[str]


_FEW = 64  # integers of a weight or an attribute that may be a shape, axes or indices


def _read_tensor(wire: _Wire, view: memoryview, budget: int) -> tuple[str, graph.Constant]:
    """Name and shape of a tensor. Refuses external data and one that claims more than the file can hold."""
    tensor = wire.message(view)
    if tensor.get(13) or _number(tensor, 14) != 0:
        raise ModelError("keeps its weights in another file; export it as one single file")
    sizes = _integers(wire, tensor, 1, MAX_RANK)
    # Two values in a byte (int4) are the fewest bytes there are. One by one, so that no zero hides the rest.
    if any(not 0 <= size <= 2 * budget for size in sizes) or math.prod(sizes) > 2 * budget:
        raise _WireError("a tensor in it claims to be larger than the file")
    values = None
    if _number(tensor, 2) == 7 and math.prod(sizes) <= _FEW:  # int64
        raw = _one(tensor, 9)
        if raw is None:
            values = tuple(_integers(wire, tensor, 7, _FEW))
        else:
            values = tuple(np.frombuffer(raw[: len(raw) // 8 * 8], "<i8").tolist())
        if len(values) != math.prod(sizes):
            raise _WireError("a tensor in it has other values than its shape says")
    return _text(tensor, 8), graph.Constant(tuple(sizes), values)


def _read_node(wire: _Wire, view: memoryview, budget: int) -> tuple[graph.Node, list[graph.Constant]]:
    """A node with its integer attributes, and the tensors that it holds."""
    node = wire.message(view)
    operator, domain = _text(node, 4), _text(node, 7)
    known = {"": _OPERATORS, "ai.onnx": _OPERATORS, "ai.onnx.ml": _ML_OPERATORS}.get(domain, frozenset())
    if operator not in known:
        full = f"{domain}:{operator}" if domain else operator
        raise ModelError(f"uses the operator {full[:60]!r}, which HandCoach does not run")
    attributes: dict[str, list[int]] = {}
    tensors = []
    for attribute in _many(node, 5):
        part = wire.message(attribute)
        if part.keys() & {6, 11, 22, 23}:
            raise ModelError(f"holds a graph inside its operator {operator!r}, which HandCoach does not run")
        for tensor in [*_many(part, 5), *_many(part, 10)]:
            tensors.append(_read_tensor(wire, tensor, budget)[1])
        if part.get(3) or part.get(8):
            name = _text(part, 1)
            if name in attributes:
                raise _WireError("a part that must be single is there twice")
            attributes[name] = _integers(wire, part, 3, 1) or _integers(wire, part, 8, _FEW)
    inputs, outputs = (tuple(_decode(name) for name in _many(node, number)) for number in (1, 2))
    return graph.Node(operator, inputs, outputs, attributes), tensors


def _tensor_info(wire: _Wire, view: memoryview) -> Tensor:
    info = wire.message(view)
    name, kind = _text(info, 1), _one(info, 2)
    tensor = _one(wire.message(kind), 1) if kind is not None else None
    if tensor is None:
        raise ModelError(f"has an input or output {name[:40]!r} that is no tensor")
    part = wire.message(tensor)
    shape: list[int | None] = []
    given = _one(part, 2)
    for dim in _many(wire.message(given), 1) if given is not None else []:
        size = _number(wire.message(dim), 1)
        shape.append(size if 0 < size < 2**31 else None)
    number = _number(part, 1)
    return Tensor(name, _TYPES.get(number, f"type {number}"), tuple(shape))


def _read_entries(wire: _Wire, data: bytes) -> tuple[dict[str, str], bytes]:
    """HandCoach's own metadata entries, and SHA-256 of the file without the signature's entry."""
    entries: dict[str, str] = {}
    keys: set[str] = set()
    digest, done, whole = hashlib.sha256(), 0, memoryview(data)
    for number, value, begin, end in wire.spans(whole):
        if number != 14 or not isinstance(value, memoryview):
            continue
        pair = wire.message(value)
        key = _text(pair, 1)
        if key in keys:
            raise _WireError("an entry of its metadata is there twice")
        keys.add(key)
        if key in (METADATA_KEY, signature.METADATA_KEY):
            entries[key] = _text(pair, 2, MAX_METADATA)
        if key == signature.METADATA_KEY:
            digest.update(whole[done:begin])
            done = end
    digest.update(whole[done:])
    return entries, digest.digest()


def _read_onnx(data: bytes) -> _Onnx:
    """Check an ONNX file's structure.

    Raises:
        ModelError: something is in it that is not run here; the message lacks its subject.
        _WireError: it is not an ONNX file.
    """
    if data[:4] == b"PK\x03\x04":
        raise _WireError("it is a ZIP archive under another name")
    wire = _Wire()
    model = wire.message(memoryview(data))
    graph_view = _one(model, 7)
    if graph_view is None or not model.get(1) or not model.get(8):
        raise _WireError("it holds no graph")
    if model.get(20) or model.get(25):
        raise ModelError("holds functions or training data of its own, which HandCoach does not run")
    entries, unsigned = _read_entries(wire, data)
    parts = wire.message(graph_view)
    if parts.get(15):
        raise ModelError("holds sparse tensors, which HandCoach does not run")
    weights = [_read_tensor(wire, tensor, len(data)) for tensor in _many(parts, 5)]
    constants = dict(weights)
    nodes, names = [], [name for name, _ in weights]
    for view in _many(parts, 1):
        node, tensors = _read_node(wire, view, len(data))
        constant = tensors[0] if tensors else _from_numbers(node)
        if node.operator == "Constant" and len(node.outputs) == 1 and constant is not None:
            constants[node.outputs[0]] = constant
            names.append(node.outputs[0])
        else:
            nodes.append(node)
    inputs = [_tensor_info(wire, view) for view in _many(parts, 11)]
    inputs = [tensor for tensor in inputs if tensor.name not in constants]  # old files list their weights too
    outputs = [_tensor_info(wire, view) for view in _many(parts, 12)]
    try:
        known = graph.check_order([*names, *(tensor.name for tensor in inputs)], nodes)
    except graph.GraphError as error:
        raise ModelError(str(error)) from error
    return _Onnx(
        entries.get(METADATA_KEY), entries.get(signature.METADATA_KEY), unsigned,
        inputs, outputs, constants, nodes, known,
    )  # fmt: skip


def _from_numbers(node: graph.Node) -> graph.Constant | None:
    """What a Constant node gives that has integers in place of a tensor; None for floats."""
    if "value_ints" in node.attributes:
        values = tuple(node.attributes["value_ints"])
        return graph.Constant((len(values),), values)
    if "value_int" in node.attributes:
        return graph.Constant((), tuple(node.attributes["value_int"]))
    return None


# --- The contract ---------------------------------------------------------------------------------------

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


def contract(kind: str, meta: dict[str, Any]) -> tuple[Tensor, tuple[Tensor, ...]]:
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
MAX_TEXT = 2000  # characters of instructions; a title or a message has less


def _text_is(value: Any, most: int) -> bool:
    """One line of up to so many characters."""
    return isinstance(value, str) and len(value) <= most and "\n" not in value


def _texts(value: Any, most: int = 300) -> bool:
    """{language: text}, with English, which every other language falls back to."""
    return (
        isinstance(value, dict)
        and isinstance(value.get("en"), str)
        and all(
            _LANGUAGE.fullmatch(lang) and isinstance(text, str) and len(text) <= most
            for lang, text in value.items()
        )
    )


def _check_meta(meta: dict[str, Any], kind: str) -> None:
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


def family(file: ModelFile) -> str:
    """The landmark model that this is, whatever its precision: exercises are made for a family."""
    return str(file.meta.get("variant", {}).get("of") or file.name)


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
    _require(
        _texts(meta["title"]) and _texts(meta["instructions"], MAX_TEXT),
        "title or instructions lack English, are too long or have an unknown language",
    )
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
    _require(_finite(meta["hold_s"], 0, 3600) and _finite(meta["rest_s"], 0, 3600), "times are out of range")
    # Absent in files of before a session had an end of its own.
    _require(_finite(meta.get("session_s", 60), 60, 7200), "session_s is not 60 to 7200 seconds")
    _require(_finite(meta.get("speak_s", 0), 0, 60), "speak_s is not 0 to 60 seconds")  # absent: at once
    _require(1 <= meta["repetitions"] <= 1000, "repetitions is out of range")
    _require(meta["hand"] in ("either", "right", "left"), "hand is not either, right or left")
    axes = meta["kept_axes"]
    _require(set(axes) <= set("xyz") and len(set(axes)) == len(axes), "kept_axes is not some of x, y and z")
    fingers = meta.get("fingers", list(FINGERS))  # absent in files of before fingers could be left out
    _require(
        isinstance(fingers, list)
        and 1 <= len(fingers) <= len(FINGERS)
        and all(isinstance(finger, str) and finger in FINGERS for finger in fingers)
        and len(set(fingers)) == len(fingers),
        f"fingers are not some of {', '.join(FINGERS)}",
    )
    for key, most in (("name", 100), ("version", 100), ("author", 200), ("licence", 200),
                      ("landmark_model", 100), ("created", 40)):  # fmt: skip
        _require(_text_is(meta[key], most), f"{key} is too long or has several lines")
    _require(re.match(r"\d{4}-\d\d-\d\d", meta["created"]) is not None, "created is no date like 2026-01-31")
    for what in ("accuracy", "quality"):  # where they are stated, they are shares
        for key in ("held_out", "accuracy_held_out"):
            share = meta[what].get(key)
            _require(share is None or _finite(share, 0, 1), f"{what}.{key} is not between 0 and 1")
    _require(_finite(meta["parity"].get("max_abs"), 0, 1e6), "parity.max_abs is missing or out of range")


def _check_tensors(found: list[Tensor], wanted: tuple[Tensor, ...], what: str) -> tuple[Tensor, ...]:
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
            shapes = f"{_shape(given.shape)} instead of {_shape(tensor.shape)}"
            raise ModelError(f"has an {what} {tensor.name!r} of shape {shapes}")
    return tuple(by_name[tensor.name] for tensor in wanted)


def _shape(shape: tuple[int | None, ...]) -> str:
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


def _parse_meta(text: str) -> dict[str, Any]:
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


def _load(path: Path, most: int = MAX_BYTES) -> bytes:
    """The bytes of a regular file. A device or a pipe might never end, or never begin."""
    if path.is_dir():
        raise ModelError(f"{path} is a folder, not a model file; name the .onnx file in it.")
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ModelError(f"{path} is a device or a pipe, not a model file; name an .onnx file.")
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            data = file.read(min(size, most) + 1)
    except FileNotFoundError as error:
        raise ModelError(f"There is no model file {path}; check the name.") from error
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error.strerror}); check its permissions.") from error
    _check_size(path, len(data), most)
    return data


def _check_size(path: Path, size: int, most: int) -> None:
    if size > most:
        raise ModelError(f"{path} is larger than {most // 2**20} MB; no HandCoach model of its kind is.")


def _limit(kind: str | None) -> int:
    return MAX_EXERCISE_BYTES if kind == "exercise" else MAX_BYTES


def parse(data: bytes, path: Path, kind: str | None = None) -> ModelFile:
    """Like `read`, for the bytes of a file; `path` only names it in messages."""
    _check_size(path, len(data), _limit(kind))
    try:
        onnx = _read_onnx(data)
        if onnx.metadata is None:
            raise ModelError("is ONNX without HandCoach's description; export it with handcoach-export")
        signed_by = signature.verify(onnx.signature, onnx.unsigned) if onnx.signature is not None else ""
        meta = _parse_meta(onnx.metadata)
        _check_format(meta.get("format"))
        found = meta.get("kind")
        if found not in KINDS:
            raise ModelError(f"is of an unknown kind ({str(found)[:20]})")
        if kind is not None and found != kind:
            raise ModelError(f"is a model of kind {found}, where one of kind {kind} is needed")
        _check_meta(meta, found)
        wanted_input, wanted_outputs = contract(found, meta)
        (tensor,) = _check_tensors(onnx.inputs, (wanted_input,), "input")
        outputs = _check_tensors(onnx.outputs, wanted_outputs, "output")
        loose = [output.name for output in outputs if output.name not in onnx.known]
        if loose:
            raise ModelError(f"has an output {loose[0]!r} that nothing in it gives")
        if found == "exercise":
            _check_steps(onnx, tensor, outputs)
    except _WireError as error:
        raise ModelError(f"{path} is not a whole ONNX model: {error}.") from error
    except graph.GraphError as error:
        raise ModelError(f"{path} {error}.") from error
    except ModelError as error:
        raise ModelError(f"{path} {error}.") from None
    except signature.SignatureError as error:  # no key: installing again, as the window would say, mends none
        raise ModelError(f"{path} {error}.", None) from error
    _check_size(path, len(data), _limit(found))
    return ModelFile(path, found, meta, hashlib.sha256(data).hexdigest(), tensor, outputs, signed_by)


def _check_format(given: Any) -> None:
    if given == FORMAT and not isinstance(given, bool):
        return
    newer = isinstance(given, int) and given > FORMAT
    raise ModelError(
        f"has format version {str(given)[:20]}, but this HandCoach reads version {FORMAT}; "
        + ("update HandCoach" if newer else "export the file again")
    )


def _check_steps(onnx: _Onnx, given: Tensor, outputs: tuple[Tensor, ...]) -> None:
    """What an exercise computes is small, and has the shapes that it says."""

    def for_one_hand(shape: tuple[int | None, ...]) -> graph.Shape:
        return (1, *(size or 1 for size in shape[1:]))

    known = graph.shapes({given.name: for_one_hand(given.shape)}, onnx.constants, onnx.nodes)
    for tensor in outputs:
        if known[tensor.name] != for_one_hand(tensor.shape):
            raise ModelError(f"gives {tensor.name!r} in another shape than it says")


def read(path: str | Path, kind: str | None = None) -> ModelFile:
    """Read and check a model file, without onnxruntime.

    Args:
        kind: the kind that is needed; None takes any.

    Raises:
        ModelError: the file is missing, no model, or does not fit the contract; one sentence says why.
    """
    path = Path(path)
    return parse(_load(path, _limit(kind)), path, kind)


def steps(file: ModelFile) -> tuple[list[graph.Node], dict[str, graph.Constant]]:
    """What a model computes, in its order, and the shapes of its weights.

    Raises:
        ModelError: the file has changed since it was read.
    """
    data = _load(file.path)
    if hashlib.sha256(data).hexdigest() != file.sha256:
        raise ModelError(f"{file.path} has changed since it was checked; start again.")
    onnx = _read_onnx(data)
    return onnx.nodes, onnx.constants


def unsigned(data: bytes) -> tuple[bytes, bytes]:
    """The bytes of a model file without the entry of its signature, and their SHA-256: what is signed."""
    whole, kept, wire = memoryview(data), [], _Wire()
    for number, value, begin, end in wire.spans(whole):
        is_pair = number == 14 and isinstance(value, memoryview)
        if not (is_pair and _text(wire.message(value), 1) == signature.METADATA_KEY):  # type: ignore[arg-type]
            kept.append(whole[begin:end])
    bare = b"".join(kept)
    return bare, hashlib.sha256(bare).digest()


def with_signature(bare: bytes, entry: str) -> bytes:
    """A model file from `unsigned` with the entry of a signature."""

    def field_of(number: int, value: bytes) -> bytes:
        length, out = len(value), bytearray([number << 3 | 2])
        while length > 0x7F:
            out.append(length & 0x7F | 0x80)
            length >>= 7
        return bytes(out) + bytes([length]) + value

    pair = field_of(1, signature.METADATA_KEY.encode()) + field_of(2, entry.encode())
    return bare + field_of(14, pair)


# --- Running --------------------------------------------------------------------------------------------


@functools.cache
def _onnxruntime() -> Any:
    """Import onnxruntime on first use, with its telemetry off: for Linux and macOS `handcoach/__init__.py`
    says so before the import, for Windows it is said here."""
    try:
        import onnxruntime
    except ImportError as error:
        if "DLL load failed" in str(error):
            raise ModelError(
                "onnxruntime does not start because the Visual C++ runtime is missing; install the "
                "'Microsoft Visual C++ Redistributable' (x64) from Microsoft and start again.",
                "visual_cpp_missing",
            ) from error
        raise ModelError(
            f"onnxruntime cannot be imported ({error}); run: pip install onnxruntime", "runtime_missing"
        ) from error
    onnxruntime.disable_telemetry_events()
    return onnxruntime


def runtime_version() -> str:
    """Of the onnxruntime that is imported."""
    return str(_onnxruntime().__version__)


def _provider_options(provider: str, threads: int) -> dict[str, str]:
    """OpenVINO has threads of its own, and would take all of them."""
    if provider != "OpenVINOExecutionProvider":
        return {}
    return {
        "device_type": "CPU",
        "load_config": json.dumps({"CPU": {"INFERENCE_NUM_THREADS": str(threads)}}),
    }


def _make_session(data: bytes, threads: int, provider: str, profile: Path | None = None) -> Any:
    """An InferenceSession that really runs on `provider`.

    Spinning is off: threads that wait burn a laptop's battery, and a coach's frames are far apart.

    The memory arena is on. It is bounded here: pictures have one size and come one by one, so that it is as
    large after 2500 runs as after 15. Measured with mobilenetv2.onnx (onnxruntime 1.32, one thread, AMD EPYC,
    five fresh processes each): 109 to 112 MB and 1.87 to 1.92 ms with it, 108 to 129 MB and 1.92 to 2.12 ms
    without.
    """
    ort = _onnxruntime()
    if provider not in ort.get_available_providers():
        raise ModelError(f"the provider {provider} is not installed; use CPUExecutionProvider")
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.enable_cpu_mem_arena = True
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    try:
        if profile is not None:
            options.enable_profiling, options.profile_file_prefix = True, str(profile)
        session = ort.InferenceSession(
            data, options, providers=[(provider, _provider_options(provider, threads))]
        )
    except Exception as error:  # onnxruntime's own exceptions have no common base below Exception
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"cannot be loaded by onnxruntime on {provider} ({reason})") from error
    # Where a provider's libraries are missing, onnxruntime takes the CPU and says so only in its log.
    if session.get_providers()[0] != provider:
        raise ModelError(f"does not run on {provider}, which is installed but does not start here")
    return session


class Session:
    """A model file that runs. Use it from one thread at a time."""

    def __init__(self, file: ModelFile, threads: int = 1, provider: str = "CPUExecutionProvider") -> None:
        """
        Raises:
            ModelError: the file has changed since it was read, onnxruntime refuses it, or it would not run
                on `provider`.
        """
        if threads < 1:
            raise ValueError(f"threads must be at least 1, not {threads}")
        data = _load(file.path)
        if hashlib.sha256(data).hexdigest() != file.sha256:
            raise ModelError(f"{file.path} has changed since it was checked; start again.")
        try:
            self._session = _make_session(data, threads, provider)
        except ModelError as error:
            raise ModelError(f"{file.path}: {error}.", error.key) from error.__cause__
        self.file = file
        self.threads = threads
        self._names = [tensor.name for tensor in file.outputs]

    @property
    def provider(self) -> str:
        """The execution provider that really runs."""
        return str(self._session.get_providers()[0])

    def run(self, array: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Run on one input of the contract's dtype and shape; outputs by name."""
        wanted = self.file.input
        if array.dtype != np.dtype(wanted.dtype) or array.shape[1:] != wanted.shape[1:]:
            right = f"{wanted.dtype} {_shape(wanted.shape)}"
            raise ValueError(f"{wanted.name} must be {right}, not {array.dtype} {array.shape}")
        try:
            results = self._session.run(self._names, {wanted.name: np.ascontiguousarray(array)})
        except Exception as error:  # as above
            reason = " ".join(str(error).split())[:200]
            raise ModelError(f"{self.file.path} fails while it runs ({reason}); export it again.") from error
        outputs: dict[str, NDArray[Any]] = {}
        for tensor, value in zip(self.file.outputs, results, strict=True):
            if value.shape != (len(array), *tensor.shape[1:]):
                raise ModelError(f"{self.file.path} gives {tensor.name!r} in another shape than it says.")
            outputs[tensor.name] = value
        return outputs


def steps_by_provider(file: ModelFile, array: NDArray[Any], threads: int, provider: str) -> dict[str, int]:
    """How many steps of the model each provider runs, from onnxruntime's own record of one run. A session
    that lists a provider may still leave every step to another one.

    Raises:
        ModelError: as `Session`, or there is no record.
    """
    with tempfile.TemporaryDirectory(prefix="handcoach-") as folder:
        try:
            session = _make_session(_load(file.path), threads, provider, Path(folder) / "run")
            session.run(None, {file.input.name: np.ascontiguousarray(array)})
            events = json.loads(Path(session.end_profiling()).read_text("utf-8"))
        except ModelError as error:
            raise ModelError(f"{file.path}: {error}.", error.key) from error.__cause__
        except Exception as error:  # onnxruntime's own exceptions have no common base below Exception
            reason = " ".join(str(error).split())[:200]
            raise ModelError(f"{file.path}: no record of a run on {provider} ({reason}).") from error
        finally:
            session = None
    ran = (event.get("args", {}).get("provider") for event in events if event.get("cat") == "Node")
    return dict(Counter(name for name in ran if name))


# y = Identity(x), x float32 (1,): IR version 8, opset 13. Enough to see whether a provider computes.
_PROBE = bytes.fromhex(
    "08083a370a100a017812017922084964656e746974791201675a0f0a0178120a0a08080112040a02080162"
    "0f0a0179120a0a08080112040a02080142040a00100d"
)


def providers() -> list[str]:
    """Execution providers that really compute on this machine, the CPU among them. Azure's computes
    elsewhere and is left out."""
    return list(_working_providers())


def listed_providers() -> list[str]:
    """Execution providers that onnxruntime was built with, whether they compute here or not."""
    return [name for name in _onnxruntime().get_available_providers() if name != "AzureExecutionProvider"]


@functools.cache
def _working_providers() -> tuple[str, ...]:
    working = []
    for provider in listed_providers():
        try:
            session = _make_session(_PROBE, 1, provider)
            result = session.run(None, {"x": np.array([math.pi], dtype=np.float32)})[0]
        except Exception:  # whatever a driver raises: this provider does not compute here
            continue
        if np.isclose(result[0], math.pi):
            working.append(provider)
    return tuple(working)


# --- Shipped models -------------------------------------------------------------------------------------


def models_dir() -> Path:
    """The folder of the shipped models, in an installed wheel and in an editable checkout.

    Raises:
        ModelError: there is none.
    """
    package = Path(__file__).resolve().parent
    for folder in (package / "models", package.parents[1] / "models"):
        if folder.is_dir():
            return folder
    raise ModelError("The models that belong to HandCoach are missing; install it again.")


def _kind_of(path: Path) -> str | None:
    """What a file says it is, or None. Only its top level is looked at."""
    try:
        wire = _Wire()
        for entry in _many(wire.message(memoryview(_load(path))), 14):
            pair = wire.message(entry)
            if _text(pair, 1) == METADATA_KEY:
                kind = _parse_meta(_text(pair, 2, MAX_METADATA)).get("kind")
                return kind if isinstance(kind, str) else None
    except (_WireError, ModelError):
        pass
    return None


def _folder(kind: str) -> Path:
    return models_dir() / "exercises" if kind == "exercise" else models_dir()


def shipped(kind: str) -> list[Path]:
    """Shipped model files of a kind, sorted by name."""
    return [path for path in sorted(_folder(kind).glob("*.onnx")) if _kind_of(path) == kind]


def own_exercises() -> list[Path]:
    """The exercise files in the user's own folder, sorted by name; whether they fit is not looked at."""
    return sorted(places.exercises_folder().glob("*.onnx"))


def find(name_or_path: str, kind: str) -> Path:
    """The file of a shipped model's name ("finger-stretch", "mobilenetv2"), or of an exercise's name in the
    user's own folder, or the path that was given.

    Raises:
        ModelError: no model of that name, or no file at that path.
    """
    path = Path(name_or_path)
    is_name = path.suffix != ".onnx" and path.name == name_or_path
    if is_name:
        folders = [_folder(kind), *([places.exercises_folder()] if kind == "exercise" else [])]
        for file in (folder / f"{name_or_path}.onnx" for folder in folders):
            if file.is_file():
                return file
    if path.is_file():
        return path
    files = [*shipped(kind), *(own_exercises() if kind == "exercise" else [])]
    known = ", ".join(file.stem for file in files) or "none"
    what = {"exercise": "exercise", "finder": "hand finder", "landmarks": "landmark model"}[kind]
    if is_name:
        raise ModelError(f"There is no {what} {name_or_path!r}; known are: {known} (or give a .onnx file).")
    raise ModelError(f"There is no file {path}; give a .onnx file or one of the known names: {known}.")
