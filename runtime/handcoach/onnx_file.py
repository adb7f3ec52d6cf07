"""What an ONNX file says of itself: its protobuf, read here, with limits.

A model may come from a stranger by e-mail, so that nothing is run and nothing trusted: whatever is in the
file, reading it costs less than a second and 200 MB (`tests/runtime/test_hostile_files.py`). What HandCoach
asks of a file beyond that is in `contract.py`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from handcoach import graph, signature
from handcoach.errors import ModelError

METADATA_KEY = "handcoach"  # of the entry in `metadata_props` in which HandCoach describes the model
MAX_FIELDS = 100_000  # protobuf fields that are looked at in one file; mobilenetv2 has some 7,000
MAX_METADATA = 2**20  # bytes; as lists in lists they take thirty times as much memory
MAX_NAME = 2000  # bytes of a name in the graph
MAX_RANK = 8  # axes of a tensor

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


@dataclass(frozen=True)
class Tensor:
    """An input or output: name, numpy dtype and shape; the batch and unknown sizes are None."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]


# --- Protobuf, as far as it is needed ------------------------------------------------------------------


class OnnxError(Exception):
    """The bytes are not the protobuf message that they should be."""


class Wire:
    """Reads the fields of protobuf messages; counts them, so that a hostile file ends soon."""

    def __init__(self) -> None:
        self.left = MAX_FIELDS

    def varint(self, view: memoryview, at: int) -> tuple[int, int]:
        value = 0
        for shift in range(0, 70, 7):
            if at >= len(view):
                raise OnnxError("it ends in the middle of a number")
            byte = view[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value & (2**64 - 1), at
        raise OnnxError("a number in it is too long")

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
                raise OnnxError("it has too many parts")
            tag, at = self.varint(view, at)
            number, wire = tag >> 3, tag & 7
            if not 0 < number < 2**29:
                raise OnnxError("a field of it has no valid number")
            if wire == 0:
                value, at = self.varint(view, at)
                yield number, value, begin, at
                continue
            if wire == 2:
                length, at = self.varint(view, at)
            elif wire in (1, 5):
                length = 8 if wire == 1 else 4
            else:
                raise OnnxError("a field of it has an unknown type")
            if length > len(view) - at:
                raise OnnxError("it is cut short")
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
        raise OnnxError("a part that must be single is there twice")
    if not values:
        return None
    if not isinstance(values[0], memoryview):
        raise OnnxError("a part of it has the wrong type")
    return values[0]


def _text(message: _Message, number: int, most: int = MAX_NAME) -> str:
    value = _one(message, number)
    return "" if value is None else _decode(value, most)


def _decode(value: memoryview, most: int = MAX_NAME) -> str:
    if len(value) > most:
        raise OnnxError("a text in it is too long")
    try:
        return str(value, "utf-8")
    except UnicodeDecodeError as error:
        raise OnnxError("a text in it is not UTF-8") from error


def _integers(wire: Wire, message: _Message, number: int, most: int) -> list[int]:
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
        raise OnnxError("it has too many numbers in one place")
    return [value - 2**64 if value >= 2**63 else value for value in found]


def _number(message: _Message, number: int) -> int:
    values = message.get(number, [0])
    if len(values) > 1 or not isinstance(values[-1], int):
        raise OnnxError("a number in it has the wrong type")
    return values[-1]


def _many(message: _Message, number: int) -> list[memoryview]:
    values = message.get(number, [])
    if not all(isinstance(v, memoryview) for v in values):
        raise OnnxError("a part of it has the wrong type")
    return [v for v in values if isinstance(v, memoryview)]


# --- ONNX: the numbers below are field numbers of onnx.proto -------------------------------------------


@dataclass(frozen=True)
class OnnxFile:
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


def _read_tensor(wire: Wire, view: memoryview, budget: int) -> tuple[str, graph.Constant]:
    """Name and shape of a tensor. Refuses external data and one that claims more than the file can hold."""
    tensor = wire.message(view)
    if tensor.get(13) or _number(tensor, 14) != 0:
        raise ModelError("keeps its weights in another file; export it as one single file")
    sizes = _integers(wire, tensor, 1, MAX_RANK)
    # Two values in a byte (int4) are the fewest bytes there are. One by one, so that no zero hides the rest.
    if any(not 0 <= size <= 2 * budget for size in sizes) or math.prod(sizes) > 2 * budget:
        raise OnnxError("a tensor in it claims to be larger than the file")
    values = None
    if _number(tensor, 2) == 7 and math.prod(sizes) <= _FEW:  # int64
        raw = _one(tensor, 9)
        if raw is None:
            values = tuple(_integers(wire, tensor, 7, _FEW))
        else:
            values = tuple(np.frombuffer(raw[: len(raw) // 8 * 8], "<i8").tolist())
        if len(values) != math.prod(sizes):
            raise OnnxError("a tensor in it has other values than its shape says")
    return _text(tensor, 8), graph.Constant(tuple(sizes), values)


def _read_node(wire: Wire, view: memoryview, budget: int) -> tuple[graph.Node, list[graph.Constant]]:
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
                raise OnnxError("a part that must be single is there twice")
            attributes[name] = _integers(wire, part, 3, 1) or _integers(wire, part, 8, _FEW)
    inputs, outputs = (tuple(_decode(name) for name in _many(node, number)) for number in (1, 2))
    return graph.Node(operator, inputs, outputs, attributes), tensors


def _tensor_info(wire: Wire, view: memoryview) -> Tensor:
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


def _read_entries(wire: Wire, data: bytes) -> tuple[dict[str, str], list[memoryview]]:
    """HandCoach's own metadata entries, and the pieces of the file without the signature's entry."""
    entries: dict[str, str] = {}
    keys: set[str] = set()
    kept: list[memoryview] = []
    done, whole = 0, memoryview(data)
    for number, value, begin, end in wire.spans(whole):
        if number != 14 or not isinstance(value, memoryview):
            continue
        pair = wire.message(value)
        key = _text(pair, 1)
        if key in keys:
            raise OnnxError("an entry of its metadata is there twice")
        keys.add(key)
        if key in (METADATA_KEY, signature.METADATA_KEY):
            entries[key] = _text(pair, 2, MAX_METADATA)
        if key == signature.METADATA_KEY:
            kept.append(whole[done:begin])
            done = end
    return entries, [*kept, whole[done:]]


def read_onnx(data: bytes) -> OnnxFile:
    """Check an ONNX file's structure.

    Raises:
        ModelError: something is in it that is not run here; the message lacks its subject.
        OnnxError: it is not an ONNX file.
    """
    if data[:4] == b"PK\x03\x04":
        raise OnnxError("it is a ZIP archive under another name")
    wire = Wire()
    model = wire.message(memoryview(data))
    graph_view = _one(model, 7)
    if graph_view is None or not model.get(1) or not model.get(8):
        raise OnnxError("it holds no graph")
    if model.get(20) or model.get(25):
        raise ModelError("holds functions or training data of its own, which HandCoach does not run")
    entries, kept = _read_entries(wire, data)
    unsigned = hashlib.sha256()
    for piece in kept:
        unsigned.update(piece)
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
    return OnnxFile(
        entries.get(METADATA_KEY), entries.get(signature.METADATA_KEY), unsigned.digest(),
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


def description(data: bytes) -> str | None:
    """HandCoach's entry in a file's metadata, None where there is none. Only the top level is looked at.

    Raises:
        OnnxError: it is not an ONNX file.
    """
    wire = Wire()
    for entry in _many(wire.message(memoryview(data)), 14):
        pair = wire.message(entry)
        if _text(pair, 1) == METADATA_KEY:
            return _text(pair, 2, MAX_METADATA)
    return None


def unsigned(data: bytes) -> tuple[bytes, bytes]:
    """The bytes of a model file without the entry of its signature, and their SHA-256: what is signed."""
    bare = b"".join(_read_entries(Wire(), data)[1])
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
