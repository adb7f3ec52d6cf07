"""What an exercise's graph would compute, told from the file alone: the shape of every step.

A file of a few kilobytes can ask for terabytes: thirty Concats that each double their input, or a product of
a column and a row. An exercise may come from a stranger, so that its graph is limited to operators whose
result has a shape that can be told beforehand, and its results to a number of values. Nothing here runs the
graph, and nothing knows of files; `onnx_file.py` reads them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

Shape = tuple[int, ...]

MAX_NODES = 1000  # the shipped exercises have some 50
MAX_VALUES = 500_000  # of all results together, for one hand: 4 MB as float64; of the shipped ones 3,304
MAX_RANK = 8


class GraphError(Exception):
    """The graph is not one that an exercise may have. The message goes on from "it"."""


@dataclass(frozen=True)
class Constant:
    """A weight: its shape, and its values where it is of a few integers (axes, indices, a shape)."""

    shape: Shape
    values: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Node:
    """One step: operator, names of what goes in and comes out, and its attributes that are integers."""

    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Sequence[int]] = field(default_factory=dict)


def check_order(given: Sequence[str], nodes: Sequence[Node]) -> set[str]:
    """Every step uses only what is there before it, so that there is no loop; the names there at the end.

    Raises:
        GraphError: a step uses something that only a later one gives, or a name is given twice.
    """
    known = set(given)
    if len(known) != len(given):
        raise GraphError("holds two tensors of the same name")
    for node in nodes:
        for name in node.inputs:
            if name and name not in known:
                raise GraphError(
                    f"has a loop or a loose end: {node.operator} needs {name[:40]!r} before it is there"
                )
        for name in node.outputs:
            if name and name in known:
                raise GraphError(f"gives {name[:40]!r} twice")
            known.add(name)
    return known


def shapes(
    inputs: Mapping[str, Shape], constants: Mapping[str, Constant], nodes: Sequence[Node]
) -> dict[str, Shape]:
    """The shape of every result. `check_order` comes first.

    Args:
        inputs: for a hand (1, 21, 3), or several.

    Raises:
        GraphError: an operator is none of an exercise's, two shapes do not fit, or there are too many values
            for each hand.
    """
    if len(nodes) > MAX_NODES:
        raise GraphError(f"has more than {MAX_NODES} steps")
    known: dict[str, Shape] = {**inputs, **{name: constant.shape for name, constant in constants.items()}}
    total, most = 0, MAX_VALUES * max((shape[0] for shape in inputs.values() if shape), default=1)
    for node in nodes:
        rule = RULES.get(node.operator)
        if rule is None:
            raise GraphError(f"uses the operator {node.operator[:60]!r}, which no exercise needs")
        try:
            shape = rule(Step(node, [known[name] for name in node.inputs if name], constants))
        except (ValueError, IndexError) as error:
            raise GraphError(f"has a step {node.operator} whose shapes do not fit") from error
        if len(node.outputs) != 1 or len(shape) > MAX_RANK or any(size < 1 for size in shape):
            raise GraphError(f"has a step {node.operator} that no exercise needs")
        total += math.prod(shape)
        if total > most:
            raise GraphError("computes more than an exercise needs")
        known[node.outputs[0]] = shape
    return known


@dataclass(frozen=True)
class Step:
    """A node with the shapes of its inputs. The rules below raise ValueError or IndexError where they do not
    fit."""

    node: Node
    shapes: list[Shape]
    constants: Mapping[str, Constant]

    def one(self, name: str, default: int) -> int:
        (value,) = self.node.attributes.get(name, (default,))
        return value

    def axis(self, default: int, rank: int | None = None) -> int:
        return axis_of(self.one("axis", default), len(self.shapes[0]) if rank is None else rank)

    def values(self, at: int, attribute: str = "") -> tuple[int, ...]:
        """The integers of a constant input, or of the attribute that older opsets have instead."""
        if at < len(self.node.inputs) and self.node.inputs[at]:
            constant = self.constants.get(self.node.inputs[at])
            if constant is None or constant.values is None:
                raise ValueError
            return constant.values
        return tuple(self.node.attributes[attribute]) if attribute in self.node.attributes else ()


def axis_of(axis: int, rank: int) -> int:
    if not -rank <= axis < rank:
        raise ValueError
    return axis % rank


def _same(step: Step) -> Shape:
    return step.shapes[0]


def _broadcast(*shapes: Shape) -> Shape:
    rank = max(len(shape) for shape in shapes)
    padded = [(1,) * (rank - len(shape)) + shape for shape in shapes]
    out = []
    for sizes in zip(*padded, strict=True):
        large = {size for size in sizes if size != 1}
        if len(large) > 1:
            raise ValueError
        out.append(large.pop() if large else 1)
    return tuple(out)


def _elementwise(step: Step) -> Shape:
    return _broadcast(*step.shapes)


def _matmul(step: Step) -> Shape:
    a, b = step.shapes
    if len(a) < 2 or len(b) < 2 or a[-1] != b[-2]:
        raise ValueError
    return (*_broadcast(a[:-2], b[:-2]), a[-2], b[-1])


def _reduce(step: Step) -> Shape:
    (shape, *_), rank = step.shapes, len(step.shapes[0])
    axes = {axis_of(axis, rank) for axis in step.values(1, "axes")}
    if not axes:
        raise ValueError
    return _without(shape, axes, bool(step.one("keepdims", 1)))


def _arg(step: Step) -> Shape:
    return _without(step.shapes[0], {step.axis(0)}, bool(step.one("keepdims", 1)))


def _without(shape: Shape, axes: set[int], keep: bool) -> Shape:
    if keep:
        return tuple(1 if i in axes else size for i, size in enumerate(shape))
    return tuple(size for i, size in enumerate(shape) if i not in axes)


def _gather(step: Step) -> Shape:
    data, indices = step.shapes
    axis = step.axis(0)
    return data[:axis] + indices + data[axis + 1 :]


def _concat(step: Step) -> Shape:
    first, axis = step.shapes[0], step.axis(0)
    rest = {(*shape[:axis], 0, *shape[axis + 1 :]) for shape in step.shapes}
    if len(rest) > 1:
        raise ValueError
    return (*first[:axis], sum(shape[axis] for shape in step.shapes), *first[axis + 1 :])


def _squeeze(step: Step) -> Shape:
    shape = step.shapes[0]
    axes = {axis_of(axis, len(shape)) for axis in step.values(1, "axes")}
    if not axes or any(shape[axis] != 1 for axis in axes):
        raise ValueError
    return _without(shape, axes, False)


def _unsqueeze(step: Step) -> Shape:
    axes = step.values(1, "axes")
    rank = len(step.shapes[0]) + len(axes)
    if not axes or rank > MAX_RANK:
        raise ValueError
    places = {axis_of(axis, rank) for axis in axes}
    rest = iter(step.shapes[0])
    return tuple(1 if i in places else next(rest) for i in range(rank)) if len(places) == len(axes) else ()


def _reshape(step: Step) -> Shape:
    shape, wanted = step.shapes[0], list(step.values(1))
    if step.one("allowzero", 0) or len(wanted) > MAX_RANK or any(size < -1 for size in wanted):
        raise ValueError
    sizes = [shape[i] if size == 0 else size for i, size in enumerate(wanted)]
    given, known = math.prod(shape), math.prod(size for size in sizes if size != -1)
    if sizes.count(-1) > 1 or known < 1 or given % known:
        raise ValueError
    out = tuple(given // known if size == -1 else size for size in sizes)
    if math.prod(out) != given:
        raise ValueError
    return out


def _slice(step: Step) -> Shape:
    shape = list(step.shapes[0])
    starts, ends = step.values(1, "starts"), step.values(2, "ends")
    axes = step.values(3, "axes") or tuple(range(len(starts)))
    steps = step.values(4) or (1,) * len(starts)
    for start, end, axis, stride in zip(starts, ends, axes, steps, strict=True):
        place = axis_of(axis, len(shape))
        shape[place] = len(range(*slice(start, end, stride).indices(shape[place])))
    return tuple(shape)


def _transpose(step: Step) -> Shape:
    shape = step.shapes[0]
    order = tuple(step.node.attributes.get("perm", range(len(shape))[::-1]))
    if sorted(order) != list(range(len(shape))):
        raise ValueError
    return tuple(shape[i] for i in order)


def rules(**rules: Callable[[Step], Shape]) -> dict[str, Callable[[Step], Shape]]:
    return {operator: rule for names, rule in rules.items() for operator in names.split("_")}


RULES = rules(
    Abs_Acos_Asin_Atan_Cast_Ceil_Cos_Exp_Floor_Identity_Log_Neg_Reciprocal_Relu_Round_Sign_Sin_Sqrt_Tan=_same,
    Add_And_Div_Equal_Greater_GreaterOrEqual_Less_LessOrEqual_Max_Min_Mul_Or_Pow_Sub_Sum_Where=_elementwise,
    Clip_Not=_same,
    MatMul=_matmul,
    ReduceL1_ReduceL2_ReduceMax_ReduceMean_ReduceMin_ReduceSum_ReduceSumSquare=_reduce,
    ArgMax_ArgMin=_arg,
    Gather=_gather,
    Concat=_concat,
    Squeeze=_squeeze,
    Unsqueeze=_unsqueeze,
    Reshape=_reshape,
    Slice=_slice,
    Transpose=_transpose,
)
