"""The contract of a model file, and the only door to onnxruntime.

`read` looks at a file's protobuf itself, with limits, and refuses whatever does not fit before any session
is made: a model may come from a stranger by e-mail. `Session` runs a file that was read.

The contract is the table in the architecture's page: names, types and shapes of the tensors by kind, and
one entry `handcoach` in the file's `metadata_props`, a JSON object whose keys are listed in `_COMMON` and
`_OF_KIND` below.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handcoach.errors import HandCoachError
from handcoach.hand import JOINTS

FORMAT = 1
KINDS = ("landmarks", "finder", "exercise")
METADATA_KEY = "handcoach"

MAX_BYTES = 256 * 2**20
MAX_FIELDS = 1_000_000  # protobuf fields that are looked at in one file
MAX_METADATA = 4 * 2**20
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
    """

    path: Path
    kind: str
    meta: dict[str, Any] = field(repr=False)
    sha256: str = ""
    input: Tensor = Tensor("", "", ())
    outputs: tuple[Tensor, ...] = ()

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
        """(field number, value): an int for a varint, a memoryview for everything else."""
        at = 0
        while at < len(view):
            self.left -= 1
            if self.left < 0:
                raise _WireError("it has too many parts")
            tag, at = self.varint(view, at)
            number, wire = tag >> 3, tag & 7
            if not 0 < number < 2**29:
                raise _WireError("a field of it has no valid number")
            if wire == 0:
                value, at = self.varint(view, at)
                yield number, value
                continue
            if wire == 2:
                length, at = self.varint(view, at)
            elif wire in (1, 5):
                length = 8 if wire == 1 else 4
            else:
                raise _WireError("a field of it has an unknown type")
            if length > len(view) - at:
                raise _WireError("it is cut short")
            yield number, view[at : at + length]
            at += length

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


def _text(message: _Message, number: int) -> str:
    value = _one(message, number)
    return "" if value is None else _decode(value)


def _decode(value: memoryview) -> str:
    try:
        return str(value, "utf-8")
    except UnicodeDecodeError as error:
        raise _WireError("a text in it is not UTF-8") from error


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
    """What the contract needs to know of an ONNX file."""

    metadata: dict[str, str]
    inputs: list[Tensor]
    outputs: list[Tensor]


def _check_tensor(wire: _Wire, view: memoryview, budget: int) -> str:
    """Refuse external data and a tensor that claims more than the file can hold; return its name."""
    tensor = wire.message(view)
    if tensor.get(13) or _number(tensor, 14) != 0:
        raise ModelError("keeps its weights in another file; export it as one single file")
    count = 1
    for value in tensor.get(1, []):
        sizes = [value] if isinstance(value, int) else []
        if isinstance(value, memoryview):
            at = 0
            while at < len(value):
                size, at = wire.varint(value, at)
                sizes.append(size)
        for size in sizes:
            count *= size
    if count > 2 * budget:
        raise _WireError("a tensor in it claims to be larger than the file")
    return _text(tensor, 8)


def _check_node(wire: _Wire, view: memoryview, budget: int) -> None:
    node = wire.message(view)
    operator, domain = _text(node, 4), _text(node, 7)
    known = {"": _OPERATORS, "ai.onnx": _OPERATORS, "ai.onnx.ml": _ML_OPERATORS}.get(domain, frozenset())
    if operator not in known:
        full = f"{domain}:{operator}" if domain else operator
        raise ModelError(f"uses the operator {full[:60]!r}, which HandCoach does not run")
    for attribute in _many(node, 5):
        part = wire.message(attribute)
        if part.keys() & {6, 11, 22, 23}:
            raise ModelError(f"holds a graph inside its operator {operator!r}, which HandCoach does not run")
        for tensor in [*_many(part, 5), *_many(part, 10)]:
            _check_tensor(wire, tensor, budget)


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


def _read_onnx(data: bytes) -> _Onnx:
    """Check an ONNX file's structure.

    Raises:
        ModelError: something is in it that is not run here; the message lacks its subject.
        _WireError: it is not an ONNX file.
    """
    wire = _Wire()
    model = wire.message(memoryview(data))
    graph_view = _one(model, 7)
    if graph_view is None or not model.get(1) or not model.get(8):
        raise _WireError("it holds no graph")
    if model.get(20) or model.get(25):
        raise ModelError("holds functions or training data of its own, which HandCoach does not run")
    metadata: dict[str, str] = {}
    for entry in _many(model, 14):
        pair = wire.message(entry)
        key = _text(pair, 1)
        if key in metadata:
            raise _WireError("an entry of its metadata is there twice")
        metadata[key] = _text(pair, 2)
    graph = wire.message(graph_view)
    if graph.get(15):
        raise ModelError("holds sparse tensors, which HandCoach does not run")
    for node in _many(graph, 1):
        _check_node(wire, node, len(data))
    weights = {_check_tensor(wire, tensor, len(data)) for tensor in _many(graph, 5)}
    inputs = [_tensor_info(wire, view) for view in _many(graph, 11)]
    return _Onnx(
        metadata,
        [tensor for tensor in inputs if tensor.name not in weights],  # old files list their weights too
        [_tensor_info(wire, view) for view in _many(graph, 12)],
    )


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


def _texts(value: Any) -> bool:
    """{language: text}, with English, which every other language falls back to."""
    return (
        isinstance(value, dict)
        and isinstance(value.get("en"), str)
        and all(isinstance(text, str) for text in value.values())
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
    elif kind == "finder":
        _require(16 <= meta["height"] <= MAX_SIDE and 16 <= meta["width"] <= MAX_SIDE, "size is out of range")
        _require(1 <= meta["max_hands"] <= 1000, "max_hands is out of range")
        _require(_finite(meta["score_threshold"], 0, 1), "score_threshold is out of range")
    else:
        _check_exercise(meta)


def _check_exercise(meta: dict[str, Any]) -> None:
    labels, clusters = meta["labels"], meta["clusters"]
    _require(
        len(labels) >= 2 and all(isinstance(label, str) and label for label in labels)
        and len(set(labels)) == len(labels) and "unsure" not in labels,
        "labels are not two or more different names",
    )  # fmt: skip
    _require(
        all(isinstance(label, str) for label in clusters) and set(clusters) == set(labels),
        "clusters do not name every label",
    )
    _require(_texts(meta["title"]) and _texts(meta["instructions"]), "title or instructions lack English")
    messages = meta["messages"]
    for label in [*labels, *(key for key in messages if key not in labels)]:
        _require(_texts(messages.get(label)), f"the message of {label[:40]!r} lacks English")
    for label in labels:
        colour = meta["colours"].get(label)
        _require(
            isinstance(colour, str) and re.fullmatch("#[0-9a-fA-F]{6}", colour) is not None,
            f"the colour of {label!r} is not like #00a060",
        )
    reference = meta["reference"]
    _require(
        len(reference) == 21
        and all(isinstance(point, list) and len(point) == 3 for point in reference)
        and all(_finite(value, -100, 100) for point in reference for value in point),
        "reference is not 21 points",
    )
    green, red = meta["tolerance"].get("green"), meta["tolerance"].get("red")
    _require(_finite(green, 0, 100) and _finite(red, 0, 100) and green < red, "tolerance is out of range")
    unsure = meta["unsure"]
    _require(
        _finite(unsure.get("max_distance"), 0, 1e6) and _finite(unsure.get("min_margin"), 0, 1),
        "unsure is out of range",
    )
    _require(_finite(meta["hold_s"], 0, 3600) and _finite(meta["rest_s"], 0, 3600), "times are out of range")
    _require(1 <= meta["repetitions"] <= 1000, "repetitions is out of range")
    _require(meta["hand"] in ("either", "right", "left"), "hand is not either, right or left")


def _check_tensors(found: list[Tensor], wanted: tuple[Tensor, ...], what: str) -> tuple[Tensor, ...]:
    by_name = {tensor.name: tensor for tensor in found}
    names = ", ".join(tensor.name for tensor in wanted)
    if len(found) != len(wanted) or set(by_name) != {tensor.name for tensor in wanted}:
        raise ModelError(f"has other {what}s than {names}")
    for tensor in wanted:
        given = by_name[tensor.name]
        if given.dtype != tensor.dtype:
            raise ModelError(f"has an {what} {tensor.name!r} of {given.dtype} instead of {tensor.dtype}")
        # The batch may be fixed or free; every other size is fixed.
        if len(given.shape) != len(tensor.shape) or given.shape[1:] != tensor.shape[1:]:
            shapes = f"{_shape(given.shape)} instead of {_shape(tensor.shape)}"
            raise ModelError(f"has an {what} {tensor.name!r} of shape {shapes}")
    return tuple(by_name[tensor.name] for tensor in wanted)


def _shape(shape: tuple[int | None, ...]) -> str:
    return "(" + ", ".join("N" if size is None else str(size) for size in shape) + ")"


def _reject_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


def _parse_meta(text: str) -> dict[str, Any]:
    _require(len(text) <= MAX_METADATA, "they are too long")
    try:
        meta = json.loads(text, parse_constant=_reject_constant)
    except (ValueError, RecursionError):
        meta = None
    _require(isinstance(meta, dict), "they are not a JSON object")
    return dict(meta)


def _load(path: Path) -> bytes:
    if path.is_dir():
        raise ModelError(f"{path} is a folder, not a model file; name the .onnx file in it.")
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise ModelError(f"{path} is larger than {MAX_BYTES // 2**20} MB; no HandCoach model is.")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ModelError(f"There is no model file {path}; check the name.") from error
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error.strerror}); check its permissions.") from error


def parse(data: bytes, path: Path, kind: str | None = None) -> ModelFile:
    """Like `read`, for the bytes of a file; `path` only names it in messages."""
    if len(data) > MAX_BYTES:
        raise ModelError(f"{path} is larger than {MAX_BYTES // 2**20} MB; no HandCoach model is.")
    try:
        onnx = _read_onnx(data)
        text = onnx.metadata.get(METADATA_KEY)
        if text is None:
            raise ModelError("is ONNX without HandCoach's description; export it with handcoach-export")
        meta = _parse_meta(text)
        if meta.get("format") != FORMAT or isinstance(meta.get("format"), bool):
            given = str(meta.get("format"))[:20]
            raise ModelError(
                f"has format version {given}, but this HandCoach reads version {FORMAT}; "
                "update HandCoach or export the file again"
            )
        found = meta.get("kind")
        if found not in KINDS:
            raise ModelError(f"is of an unknown kind ({str(found)[:20]})")
        if kind is not None and found != kind:
            raise ModelError(f"is a model of kind {found}, where one of kind {kind} is needed")
        _check_meta(meta, found)
        wanted_input, wanted_outputs = contract(found, meta)
        (tensor,) = _check_tensors(onnx.inputs, (wanted_input,), "input")
        outputs = _check_tensors(onnx.outputs, wanted_outputs, "output")
    except _WireError as error:
        raise ModelError(f"{path} is not a whole ONNX model: {error}.") from error
    except ModelError as error:
        raise ModelError(f"{path} {error}.") from None
    return ModelFile(path, found, meta, hashlib.sha256(data).hexdigest(), tensor, outputs)


def read(path: str | Path, kind: str | None = None) -> ModelFile:
    """Read and check a model file, without onnxruntime.

    Args:
        kind: the kind that is needed; None takes any.

    Raises:
        ModelError: the file is missing, no model, or does not fit the contract; one sentence says why.
    """
    path = Path(path)
    return parse(_load(path), path, kind)


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


def _make_session(data: bytes, threads: int, provider: str) -> Any:
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
        session = ort.InferenceSession(data, options, providers=[provider])
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


# y = Identity(x), x float32 (1,): IR version 8, opset 13. Enough to see whether a provider computes.
_PROBE = bytes.fromhex(
    "08083a370a100a017812017922084964656e746974791201675a0f0a0178120a0a08080112040a02080162"
    "0f0a0179120a0a08080112040a02080142040a00100d"
)


def providers() -> list[str]:
    """Execution providers that really compute on this machine, the CPU among them. Azure's computes
    elsewhere and is left out."""
    return list(_working_providers())


@functools.cache
def _working_providers() -> tuple[str, ...]:
    working = []
    for provider in _onnxruntime().get_available_providers():
        if provider == "AzureExecutionProvider":
            continue
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
                kind = _parse_meta(_text(pair, 2)).get("kind")
                return kind if isinstance(kind, str) else None
    except (_WireError, ModelError):
        pass
    return None


def _folder(kind: str) -> Path:
    return models_dir() / "exercises" if kind == "exercise" else models_dir()


def shipped(kind: str) -> list[Path]:
    """Shipped model files of a kind, sorted by name."""
    return [path for path in sorted(_folder(kind).glob("*.onnx")) if _kind_of(path) == kind]


def find(name_or_path: str, kind: str) -> Path:
    """The file of a shipped model's name ("finger-stretch", "mobilenetv2"), or the path that was given.

    Raises:
        ModelError: no model of that name, or no file at that path.
    """
    path = Path(name_or_path)
    is_name = path.suffix != ".onnx" and path.name == name_or_path
    if is_name:
        file = _folder(kind) / f"{name_or_path}.onnx"
        if file.is_file():
            return file
    if path.is_file():
        return path
    known = ", ".join(file.stem for file in shipped(kind)) or "none"
    what = {"exercise": "exercise", "finder": "hand finder", "landmarks": "landmark model"}[kind]
    if is_name:
        raise ModelError(f"There is no {what} {name_or_path!r}; known are: {known} (or give a .onnx file).")
    raise ModelError(f"There is no file {path}; give a .onnx file or one of the known names: {known}.")
