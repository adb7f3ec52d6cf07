"""How much a model computes, counted from its graph: the arithmetic of its convolutions and matrix products.

A multiplication and an addition are two operations. Everything else (activations, scaling, heat maps) is
left out, as is usual: it is some per cent, and batch norms are folded into the convolutions when a model is
loaded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from handcoach import graph, model
from handcoach.graph import Constant, Node, Shape, Step


@dataclass(frozen=True)
class Cost:
    """Of one picture.

    Attributes:
        flops: floating-point (or integer) operations of convolutions and matrix products.
        weights: how many numbers these layers hold.
        bytes: what they read and write if each reads its input and weights once and writes its output once,
            with 4 bytes for a number, or 1 in a quantised layer.
        uncounted: layers whose shapes the file does not tell, and other ones that multiply.
    """

    flops: int
    weights: int
    bytes: int
    uncounted: tuple[str, ...]


def count(file: model.ModelFile) -> Cost:
    """What a model file computes for one picture."""
    nodes, constants = model.steps(file)
    given = tuple(size or 1 for size in file.input.shape)
    return count_graph(nodes, constants, {file.input.name: given})


def count_graph(nodes: list[Node], constants: Mapping[str, Constant], inputs: Mapping[str, Shape]) -> Cost:
    # Values of a few integers are kept, so that a Reshape by a computed shape is understood.
    known = dict(constants)
    shapes: dict[str, Shape] = {**inputs, **{name: c.shape for name, c in constants.items()}}
    quantised: set[str] = set()
    weights = set(constants)
    flops = held = moved = 0
    uncounted: list[str] = []
    for node in nodes:
        names = [name for name in node.inputs if name]
        if names and all(name in weights for name in names):
            weights.update(node.outputs)  # a weight that is cast or dequantised is a weight still
        if node.operator in _OTHERS:
            uncounted.append(f"{node.operator} {node.outputs[0]}")
        if node.operator in ("DequantizeLinear", "QuantizeLinear"):
            quantised.update(node.outputs)
        if node.operator in _LAYERS:
            try:
                used = [shapes[name] for name in _LAYERS[node.operator](node)]
                out, operations = _layer(node, used)
            except (KeyError, ValueError, IndexError):
                uncounted.append(f"{node.operator} {node.outputs[0]}")
                continue
            shapes[node.outputs[0]] = out
            flops += operations
            size = 1 if names[0] in quantised or node.operator not in ("Conv", "Gemm", "MatMul") else 4
            moved += size * sum(math.prod(shape) for shape in (*used, out))
            held += sum(math.prod(shapes[name]) for name in _LAYERS[node.operator](node) if name in weights)
            continue
        _follow(node, shapes, known)
    return Cost(flops, held, moved, tuple(uncounted))


# They multiply too, and no model of ours has them.
_OTHERS = ("ConvTranspose", "ConvInteger", "DeformConv", "Einsum", "LSTM", "GRU", "RNN")
# What a layer multiplies: names of its data and its weights.
_LAYERS: dict[str, Callable[[Node], tuple[str, str]]] = {
    "Conv": lambda n: (n.inputs[0], n.inputs[1]),
    "Gemm": lambda n: (n.inputs[0], n.inputs[1]),
    "MatMul": lambda n: (n.inputs[0], n.inputs[1]),
    "MatMulInteger": lambda n: (n.inputs[0], n.inputs[1]),
    "QLinearConv": lambda n: (n.inputs[0], n.inputs[3]),
    "QLinearMatMul": lambda n: (n.inputs[0], n.inputs[3]),
}


def _layer(node: Node, used: list[Shape]) -> tuple[Shape, int]:
    """The shape of a layer's result, and its operations."""
    data, weight = used
    if node.operator.endswith("Conv"):
        out = (data[0], weight[0], *_window(node, data[2:], weight[2:]))
        return out, 2 * math.prod(out) * math.prod(weight[1:])
    if node.operator == "Gemm":
        a = data[::-1] if node.attributes.get("transA", (0,))[0] else data
        b = weight[::-1] if node.attributes.get("transB", (0,))[0] else weight
        return (a[0], b[1]), 2 * a[0] * a[1] * b[1]
    out = graph.RULES["MatMul"](Step(node, used, {}))
    return out, 2 * math.prod(out) * data[-1]


def _window(node: Node, sizes: Shape, kernel: Shape) -> Shape:
    """Where a window of this size fits along each axis."""
    axes = len(sizes)
    strides = node.attributes.get("strides", (1,) * axes)
    dilations = node.attributes.get("dilations", (1,) * axes)
    pads = node.attributes.get("pads", (0,) * 2 * axes)
    up = node.attributes.get("ceil_mode", (0,))[0]
    out = []
    for i in range(axes):
        room = sizes[i] + pads[i] + pads[i + axes] - dilations[i] * (kernel[i] - 1) - 1
        out.append((math.ceil(room / strides[i]) if up else room // strides[i]) + 1)
    return tuple(out)


def _pool(step: Step) -> Shape:
    data = step.shapes[0]
    return (*data[:2], *_window(step.node, data[2:], tuple(step.node.attributes["kernel_shape"])))


def _flatten(step: Step) -> Shape:
    shape, at = step.shapes[0], step.one("axis", 1)
    return math.prod(shape[:at]), math.prod(shape[at:])


def _by_values(at: int) -> Callable[[Step], Shape]:
    return lambda step: step.values(at)


RULES = graph.RULES | {
    **dict.fromkeys(
        ("BatchNormalization", "Sigmoid", "Softmax", "QuantizeLinear", "DequantizeLinear", "HardSwish",
        "Dropout",
         "HardSigmoid", "LeakyRelu", "Tanh", "Erf", "Gelu", "Softplus", "CumSum", "ScatterND",
         "ScatterElements"),
        lambda step: step.shapes[0],
    ),
    "AveragePool": _pool,
    "MaxPool": _pool,
    "GlobalAveragePool": lambda step: (*step.shapes[0][:2], *(1 for _ in step.shapes[0][2:])),
    "Flatten": _flatten,
    "Resize": _by_values(3),
    "ConstantOfShape": _by_values(0),
    "Shape": lambda step: (len(step.shapes[0]),),
    "Expand": lambda step: graph.RULES["Add"](
        Step(step.node, [step.shapes[0], step.values(1)], step.constants)
    ),
}  # fmt: skip


def _follow(node: Node, shapes: dict[str, Shape], known: dict[str, Constant]) -> None:
    """Note the shape of a step's result, and its values where these are sizes; nothing where it cannot be
    told."""
    rule = RULES.get(node.operator)
    try:
        step = Step(node, [shapes[name] for name in node.inputs if name], known)
        shape = rule(step) if rule else None
    except (KeyError, ValueError, IndexError):
        shape = None
    if shape is None or not node.outputs:
        return
    shapes[node.outputs[0]] = shape
    values = _values(node, shapes, known)
    if values is not None:
        known[node.outputs[0]] = Constant(shape, values)


def _values(node: Node, shapes: Mapping[str, Shape], known: Mapping[str, Constant]) -> tuple[int, ...] | None:
    """What a step on sizes gives."""
    given = [known[name].values if name in known else None for name in node.inputs if name]
    if node.operator == "Shape":
        return shapes[node.inputs[0]]
    if not given or any(values is None for values in given[:1]):
        return None
    first = given[0] or ()
    if node.operator in ("Cast", "Identity", "Unsqueeze", "Squeeze", "Reshape"):
        return first
    if any(values is None for values in given):
        return None
    if node.operator == "Concat":
        return tuple(value for values in given for value in values or ())
    if node.operator == "Gather":
        return tuple(first[i] for i in given[1] or ())
    if node.operator == "Slice":
        whole = [*given[1:], *[(0,), (1,)][len(given) - 3 :]]
        start, end, axis, stride = (values[0] if values else 0 for values in whole)
        return first[start:end:stride] if axis == 0 else None
    return None
