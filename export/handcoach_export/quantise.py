"""Eight-bit integers from a float graph: static quantisation in the QDQ form, which every onnxruntime reads.

The graph is walked once, layer by layer, with a batch of calibration pictures: the float values on one side,
on the other what the integers so far have made of them. Where a layer is turned to integers

- its weights get a scale for each output channel, the one with the least error for the inputs that come;
- its bias takes up the mean error of each channel (Nagel et al. 2019, section 4.2, on pictures instead of
  batch norms), so that errors do not add up from layer to layer;
- its result gets one range, by minimum and maximum or by percentiles.

Processors with AVX2 or AVX-512 but without VNNI multiply bytes by `vpmaddubsw`, which adds two products
u8 * s8 into 16 bits and saturates: the same file then gives other numbers there (onnxruntime#20052). Weights
are therefore rounded so that no two neighbours along the input channels, which is how onnxruntime packs them,
can leave 16 bits: their sum is at most 128 (255 * 128 = 32640). `reduce_range` does the same with 7 bits for
all; few pairs need it.

Convolutions and sums between them become integers, and of a wide dense layer what it reads from the pooled
picture, for its weights take longer to fetch than to multiply; softmax, expectation and the rest stay float.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper, numpy_helper

Floats = NDArray[np.float32]

METHODS = {"minmax": 100.0, "percentile": 99.99}  # share of the values within the range, in percent
PAIR = 128  # the largest sum of two neighbouring weights of one sign
_ACTIVATIONS = ("Clip", "Relu")
_SAME_RANGE = ("MaxPool", "Resize", "Slice")  # of a quantised input: what comes out is some of what went in
WIDE = 100_000  # weights of a dense layer worth turning to integers
_FOLLOW = {"Conv", "Add", "ReduceMean", "GlobalAveragePool", *_ACTIVATIONS, *_SAME_RANGE}


@dataclass(frozen=True)
class Range:
    """Of a tensor: value = (byte - zero) * scale."""

    scale: np.float32
    zero: int

    def through(self, x: Floats) -> Floats:
        """What is left of values that go through a byte."""
        bytes_ = np.rint(x / self.scale)
        np.clip(bytes_, -self.zero, 255 - self.zero, out=bytes_)
        bytes_ *= self.scale
        return np.asarray(bytes_, np.float32)


def range_of(x: Floats, share: float = 100.0) -> Range:
    """The range that holds this share (percent) of the values, and 0, which padding needs."""
    if share < 100:
        some = x.ravel()[:: max(1, x.size // 2_000_000)]
        low, high = np.percentile(some, [(100 - share) / 2, (100 + share) / 2])
    else:
        low, high = x.min(), x.max()
    low, high = min(float(low), 0.0), max(float(high), 0.0)
    scale = np.float32(max(high - low, 1e-6) / 255)
    return Range(scale, int(np.clip(np.rint(-low / scale), 0, 255)))


def round_weights(weight: Floats, power: Floats) -> tuple[NDArray[np.int8], Floats]:
    """Bytes (O, I, kh, kw) and scales (O,) for the weights of a convolution.

    Args:
        power: mean square (I,) of each input channel, by which errors are weighed. Depthwise: (O,), I is 1.
    """
    outputs, inputs = weight.shape[:2]
    peak = np.maximum(np.abs(weight).reshape(outputs, -1).max(1), 1e-8)
    weigh = (power[None, :, None, None] if inputs > 1 else power[:, None, None, None]) + 1e-12
    best: NDArray[np.int8] = np.zeros(weight.shape, np.int8)
    scales, least = np.zeros(outputs, np.float32), np.full(outputs, np.inf)
    # From the largest weight as 127 down to half of it, where no pair can exceed the bound.
    for top in [127] if inputs == 1 else range(127, 63, -3):
        scale = (peak / top).astype(np.float32)
        rounded = np.rint(weight / scale[:, None, None, None])
        bounded = _bound(rounded) if inputs > 1 else rounded
        error = (weigh * (weight - bounded * scale[:, None, None, None]) ** 2).sum((1, 2, 3))
        better = error < least
        best[better], scales[better], least[better] = bounded[better], scale[better], error[better]
    return best, scales


def _bound(rounded: Floats) -> Floats:
    """Weights (O, I, kh, kw) whose neighbours along I add up to at most PAIR. An odd number of channels is
    packed across the kernel's places: then every weight is at most half of it."""
    if rounded.shape[1] % 2:
        return np.clip(rounded, -PAIR // 2, PAIR // 2)
    rounded = rounded.copy()
    a, b = rounded[:, 0::2], rounded[:, 1::2]
    over = np.maximum(np.abs(a + b) - PAIR, 0) * np.sign(a + b)
    half = np.trunc(over / 2)
    a -= half
    b -= over - half
    return rounded


def optimise(graph: onnx.ModelProto) -> onnx.ModelProto:
    """The same function in fewer steps: constants folded, batch norms within the convolutions before them.

    By onnxruntime's basic level, which leaves standard operators only.
    """
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory(prefix="handcoach-export-") as folder:
        file = Path(folder) / "optimised.onnx"
        options = _options(onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC)
        options.optimized_model_filepath = str(file)
        onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
        result = onnx.load(str(file))
    own = [entry for entry in result.opset_import if entry.domain in ("", "ai.onnx")]
    del result.opset_import[:]
    result.opset_import.extend(own)
    return result


def _options(level: Any) -> Any:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    options.intra_op_num_threads = os.cpu_count() or 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # other work goes on beside
    return options


def run_as_defined(graph: onnx.ModelProto, pictures: NDArray[np.uint8]) -> list[Floats]:
    """Outputs of a graph by the operators' definitions: without any fusion, quantised layers compute in float
    between bytes."""
    session = onnxruntime.InferenceSession(
        graph.SerializeToString(),
        _options(onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL),
        providers=["CPUExecutionProvider"],
    )
    return list(session.run(None, {graph.graph.input[0].name: pictures}))


@dataclass
class _Layer:
    """A convolution, sum or the like, with the activation that its result goes through at once."""

    node: onnx.NodeProto
    activation: onnx.NodeProto | None

    @property
    def output(self) -> str:
        return str((self.activation or self.node).output[0])


@dataclass
class Quantised:
    """What became of a graph.

    Attributes:
        graph: with QuantizeLinear and DequantizeLinear about every integer layer.
        layers: the integer layers, by the names of their results, with the share of noise in each
            (power of the noise over that of the signal), by which sensitive ones are known.
    """

    graph: onnx.ModelProto
    layers: dict[str, float] = field(default_factory=dict)


def quantise(
    graph: onnx.ModelProto,
    pictures: NDArray[np.uint8],
    share: float = 100.0,
    in_float: Sequence[str] = (),
) -> Quantised:
    """The graph with its convolutions and its wide dense layer in integers.

    Args:
        graph: float, as `optimise` gives it.
        pictures: uint8 (N, S, S, 3) to calibrate on.
        share: of the values that a range must hold, in percent (`METHODS`).
        in_float: layers, by the names of their results, that stay float.
    """
    return _Walk(graph, share, frozenset(in_float)).run(pictures)


class _Walk:
    def __init__(self, graph: onnx.ModelProto, share: float, in_float: frozenset[str]) -> None:
        self.graph, self.share, self.in_float = graph, share, in_float
        self.weights = {w.name: w for w in graph.graph.initializer}
        self.readers: dict[str, list[onnx.NodeProto]] = {}
        for node in graph.graph.node:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)
        self.float: dict[str, Any] = {}  # values as they should be
        self.int: dict[str, Any] = {}  # and as integers make them
        self.ranges: dict[str, Range] = {}
        self.nodes: list[onnx.NodeProto] = []
        self.made: dict[str, onnx.TensorProto] = {}
        self.folded: dict[str, tuple[Floats, Floats]] = {}  # weights and bias of a layer that reads bytes
        self.noise: dict[str, float] = {}

    def run(self, pictures: NDArray[np.uint8]) -> Quantised:
        g = self.graph.graph
        self.float[g.input[0].name] = self.int[g.input[0].name] = pictures
        left = {name: len(nodes) for name, nodes in self.readers.items()}
        merged: set[str] = set()
        for node in g.node:
            if node.output[0] in merged:
                continue
            if node.op_type == "Cast" and self._pixels(node):
                merged |= {reader.output[0] for reader in self._chain(node)[:2]}
                continue
            if node.op_type == "Concat" and (dense := self._dense_after(node)) is not None:
                self._dense(node, dense)
                merged.add(dense.output[0])
                continue
            layer = _Layer(node, self._activation(node))
            if layer.activation is not None:
                merged.add(layer.output)
            if self._wanted(layer):
                (self._conv if node.op_type == "Conv" else self._sum)(layer)
            else:
                merged.discard(layer.output)
                self._as_it_is(node)
            for name in node.input:  # let go of what nobody needs any more
                left[name] = left.get(name, 1) - 1
                if not left[name]:
                    self.float.pop(name, None)
                    self.int.pop(name, None)
        return self._graph()

    def _activation(self, node: onnx.NodeProto) -> onnx.NodeProto | None:
        readers = self.readers.get(node.output[0], [])
        if node.op_type in ("Conv", "Add") and len(readers) == 1 and readers[0].op_type in _ACTIVATIONS:
            return readers[0]
        return None

    def _wanted(self, layer: _Layer) -> bool:
        """A convolution, or a sum of integer results, that another layer of pictures goes on with."""
        if layer.output in self.in_float:
            return False
        readers = self.readers.get(layer.output, [])
        if not readers or any(reader.op_type not in _FOLLOW for reader in readers):
            return False
        if layer.node.op_type == "Add":
            return all(name in self.ranges for name in layer.node.input)
        return layer.node.op_type == "Conv" and len(layer.node.input) == 3  # with a bias that takes up errors

    # --- pixels ---

    def _chain(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        """What reads a node's result one after the other, as long as it is one node."""
        found = []
        while len(readers := self.readers.get(node.output[0], [])) == 1:
            found.append(node := readers[0])
        return found[:3]

    def _pixels(self, cast: onnx.NodeProto) -> bool:
        """Let the first layer read the picture's bytes, where Cast, Sub, Div and Conv follow one another.

        The bytes are a quantised tensor already, whose zero is a grey near the mean colour. Scale and the
        rest of the mean go into the layer's weights and bias; the padding misses that rest, 0.2 of ImageNet's
        standard deviation at most.
        """
        chain = self._chain(cast)
        if [node.op_type for node in chain] != ["Sub", "Div", "Conv"] or len(chain[2].input) != 3:
            return False
        sub, div, conv = chain
        if not self._wanted(_Layer(conv, self._activation(conv))):
            return False
        mean, std = (self._constant(node.input[1]).reshape(-1) for node in (sub, div))
        grey = int(np.rint(mean.mean()))
        pixels = self.float[cast.input[0]].astype(np.float32)
        given = conv.input[0]
        self.float[given] = (pixels - mean[:, None, None]) / std[:, None, None]
        self.int[given] = pixels - grey
        weight, bias = (self._constant(name) for name in conv.input[1:])
        folded = weight / std[:, None, None]
        self.folded[conv.output[0]] = folded, bias + (folded * (grey - mean)[:, None, None]).sum((1, 2, 3))
        self.ranges[given] = Range(np.float32(1), grey)
        scale, zero = f"{given}_scale", f"{given}_zero"
        self._make(scale, np.asarray(1, np.float32))
        self._make(zero, np.asarray(grey, np.uint8))
        self.nodes.append(helper.make_node("DequantizeLinear", [cast.input[0], scale, zero], [f"{given}_dq"]))
        return True

    # --- layers ---

    def _conv(self, layer: _Layer) -> None:
        node = layer.node
        given = node.input[0]
        if given not in self.ranges:
            self._round(given)
        right = self._compute(node, [self.float[given], *(self._constant(name) for name in node.input[1:])])
        weight, bias = self.folded.get(node.output[0]) or [self._constant(name) for name in node.input[1:]]
        x = self.int[given]
        rounded, scales = round_weights(
            weight, (x.astype(np.float64) ** 2).mean((0, 2, 3)).astype(np.float32)
        )
        step = self.ranges[given].scale * scales  # of the bias: of one product
        coarse = (rounded * scales[:, None, None, None]).astype(np.float32)
        wrong = self._compute(node, [x, coarse, bias])
        bias = bias + (right - wrong).mean((0, 2, 3))
        whole = np.clip(np.rint(bias / step), -(2**30), 2**30).astype(np.int32)
        wrong = self._compute(node, [x, coarse, (whole * step).astype(np.float32)])
        self._publish(layer, right, wrong)
        name = node.output[0]
        # What a bias takes away from the noise is no noise.
        signal, gap = self.float[layer.output], self.int[layer.output] - self.float[layer.output]
        self.noise[layer.output] = float((gap**2).mean() / max((signal**2).mean(), 1e-12))
        self._emit(node, [
            self._read(given),
            self._dequantised(f"{name}_w", rounded, scales, np.zeros(len(scales), np.int8)),
            self._dequantised(f"{name}_b", whole, step.astype(np.float32), np.zeros(len(scales), np.int32)),
        ])  # fmt: skip
        self._finish(layer)

    def _dense_after(self, concat: onnx.NodeProto) -> onnx.NodeProto | None:
        """The wide dense layer that alone reads what is joined here, as PyTorch exports it."""
        readers = self.readers.get(concat.output[0], [])
        if len(readers) != 1 or readers[0].op_type != "Gemm" or len(readers[0].input) != 3:
            return None
        dense = readers[0]
        usual = {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 1}
        as_usual = all(helper.get_attribute_value(a) == usual.get(a.name) for a in dense.attribute)
        wide = dense.input[1] in self.weights and self._constant(dense.input[1]).size >= WIDE
        return dense if as_usual and wide and dense.output[0] not in self.in_float else None

    def _dense(self, concat: onnx.NodeProto, dense: onnx.NodeProto) -> None:
        """Two products and their sum: the widest of the joined parts by integers, the others in float."""
        weight, bias = (self._constant(name) for name in dense.input[1:])
        parts = list(concat.input)
        ends = np.cumsum([self.float[part].shape[1] for part in parts])[:-1]
        of_part = dict(zip(parts, np.split(weight, ends, axis=1), strict=True))
        right = sum(self.float[part] @ of_part[part].T for part in parts) + bias
        widest = max(parts, key=lambda part: of_part[part].shape[1])
        others = [part for part in parts if part != widest]
        self._round(widest)
        x = self.int[widest]
        rounded, scales = round_weights(of_part[widest][..., None, None], (x**2).mean(0))
        rounded = np.ascontiguousarray(rounded[..., 0, 0].T)
        wrong = x @ (rounded * scales) + sum(self.int[part] @ of_part[part].T for part in others) + bias
        name, shift = dense.output[0], (right - wrong).mean(0)
        self.float[name], self.int[name] = right, wrong + shift
        self.noise[name] = float(((wrong + shift - right) ** 2).mean() / max((right**2).mean(), 1e-12))
        self._make(f"{name}_w", rounded)
        self._make(f"{name}_step", self.ranges[widest].scale * scales)
        self._make(f"{name}_b", (bias + shift).astype(np.float32))
        # Said outright: onnxruntime makes floats of a MatMul between QuantizeLinear and an Add.
        made = helper.make_node
        self.nodes += [
            made("MatMulInteger", [f"{widest}_q", f"{name}_w", f"{widest}_zero"], [f"{name}_products"]),
            made("Cast", [f"{name}_products"], [f"{name}_cast"], to=onnx.TensorProto.FLOAT),
            made("Mul", [f"{name}_cast", f"{name}_step"], [f"{name}_0"]),
            made("Add", [f"{name}_0", f"{name}_b"], [f"{name}_1" if others else name]),
        ]
        for n, part in enumerate(others, 1):
            self._make(f"{name}_w{n}", np.ascontiguousarray(of_part[part].T))
            total = f"{name}_{n + 1}" if n < len(others) else name
            self.nodes += [
                made("MatMul", [self._read(part), f"{name}_w{n}"], [f"{name}_part{n}"]),
                made("Add", [f"{name}_part{n}", f"{name}_{n}"], [total]),
            ]

    def _sum(self, layer: _Layer) -> None:
        node = layer.node
        right, wrong = (self._compute(node, [v[n] for n in node.input]) for v in (self.float, self.int))
        self._publish(layer, right, wrong)
        self._emit(node, [self._read(name) for name in node.input])
        self._finish(layer)

    def _publish(self, layer: _Layer, right: Floats, wrong: Floats) -> None:
        """The layer's result, through its activation."""
        values = []
        for value in (right, wrong):
            if layer.activation is not None:
                rest = [self._constant(name) for name in layer.activation.input[1:]]
                value = self._compute(layer.activation, [value, *rest])
            values.append(value)
        self.float[layer.output], self.int[layer.output] = values

    def _finish(self, layer: _Layer) -> None:
        if layer.activation is not None:
            self.nodes.append(layer.activation)
        self._round(layer.output)

    def _as_it_is(self, node: onnx.NodeProto) -> None:
        """A node that stays float. What gives some of a quantised input keeps its range."""
        names = [name for name in node.input if name]
        values = []
        for known in (self.float, self.int):
            values.append(self._compute(node, [self._value(name, known) for name in names]))
            if all(self.int.get(name) is self.float.get(name) for name in names):
                values.append(values[0])
                break
        name = node.output[0]
        self.float[name], self.int[name] = values[:2]
        self._emit(node, [self._read(given) for given in node.input])
        if node.op_type in _SAME_RANGE and node.input[0] in self.ranges:
            self._round(name, self.ranges[node.input[0]])

    def _round(self, name: str, known: Range | None = None) -> None:
        """From here on this tensor goes through a byte."""
        found = self.ranges[name] = known or range_of(self.float[name], self.share)
        self.int[name] = found.through(self.int[name])
        scale, zero = f"{name}_scale", f"{name}_zero"
        self._make(scale, np.asarray(found.scale, np.float32))
        self._make(zero, np.asarray(found.zero, np.uint8))
        self.nodes += [
            helper.make_node("QuantizeLinear", [name, scale, zero], [f"{name}_q"]),
            helper.make_node("DequantizeLinear", [f"{name}_q", scale, zero], [f"{name}_dq"]),
        ]

    # --- values and nodes ---

    def _constant(self, name: str) -> Floats:
        return numpy_helper.to_array(self.weights[name])

    def _value(self, name: str, known: dict[str, Any]) -> Any:
        return self._constant(name) if name in self.weights else known[name]

    def _compute(self, node: onnx.NodeProto, given: list[Any]) -> Any:
        """One node on its own, in float."""
        names = [name for name in node.input if name]
        inputs = {name: value for name, value in zip(names, given, strict=True) if name not in self.weights}
        fixed = {name: value for name, value in zip(names, given, strict=True) if name in self.weights}
        single = helper.make_model(
            helper.make_graph(
                [node], "one",
                [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
                 for n, v in inputs.items()],
                [helper.make_empty_tensor_value_info(node.output[0])],
                [numpy_helper.from_array(np.ascontiguousarray(v), n) for n, v in fixed.items()],
            ),
            opset_imports=self.graph.opset_import,
            ir_version=self.graph.ir_version,
        )  # fmt: skip
        session = onnxruntime.InferenceSession(
            single.SerializeToString(),
            _options(onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL),
            providers=["CPUExecutionProvider"],
        )
        return session.run(None, inputs)[0]

    def _read(self, name: str) -> str:
        return f"{name}_dq" if name in self.ranges else name

    def _emit(self, node: onnx.NodeProto, inputs: list[str]) -> None:
        new = onnx.NodeProto()
        new.CopyFrom(node)
        del new.input[:]
        new.input.extend(inputs)
        self.nodes.append(new)

    def _make(self, name: str, value: NDArray[Any]) -> None:
        self.made[name] = numpy_helper.from_array(value, name)

    def _dequantised(self, name: str, value: NDArray[Any], scale: Floats, zero: NDArray[Any]) -> str:
        for end, array in (("", value), ("_scale", scale), ("_zero", zero)):
            self._make(name + end, array)
        inputs = [name, f"{name}_scale", f"{name}_zero"]
        self.nodes.append(helper.make_node("DequantizeLinear", inputs, [f"{name}_dq"], axis=0))
        return f"{name}_dq"

    def _graph(self) -> Quantised:
        result = onnx.ModelProto()
        result.CopyFrom(self.graph)
        used = {name for node in self.nodes for name in node.input}
        kept = [w for name, w in self.weights.items() if name in used]
        for part, new in (
            (result.graph.node, self.nodes),
            (result.graph.initializer, [*kept, *self.made.values()]),
        ):
            del part[:]
            part.extend(new)
        del result.graph.value_info[:]
        return Quantised(result, self.noise)
