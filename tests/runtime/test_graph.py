"""The shape of every step is told as onnxruntime would give it, and what is too much is refused."""

from __future__ import annotations

import pytest

from handcoach import graph, model
from handcoach.graph import Constant, GraphError, Node

HAND = {"x": (1, 21, 3)}


def shape_of(operator: str, *shapes: tuple[int, ...], values: dict[int, tuple[int, ...]] | None = None,
             **attributes: list[int]) -> tuple[int, ...]:  # fmt: skip
    """The shape that a single step gives; inputs whose values count are constants."""
    values = values or {}
    inputs = {f"i{k}": shape for k, shape in enumerate(shapes) if k not in values}
    constants = {f"i{k}": Constant(shapes[k], given) for k, given in values.items()}
    names = tuple(f"i{k}" for k in range(len(shapes)))
    return graph.shapes(inputs, constants, [Node(operator, names, ("out",), attributes)])["out"]


def test_shapes() -> None:
    assert shape_of("Cast", (1, 21, 3), to=[11]) == (1, 21, 3)
    assert shape_of("Sub", (1, 1, 63), (1, 15, 63)) == (1, 15, 63)
    assert shape_of("Max", (1, 1), ()) == (1, 1)
    assert shape_of("MatMul", (1, 21, 3), (1, 3, 3)) == (1, 21, 3)
    assert shape_of("Gather", (1, 21, 3), (), axis=[1]) == (1, 3)
    assert shape_of("Gather", (1, 21, 3), (4,), axis=[-2]) == (1, 4, 3)
    assert shape_of("Concat", (1, 3, 1), (1, 3, 2), axis=[2]) == (1, 3, 3)
    assert shape_of("Reshape", (1, 21, 3), (2,), values={1: (-1, 63)}) == (1, 63)
    assert shape_of("Reshape", (1, 21, 3), (3,), values={1: (0, 3, -1)}) == (1, 3, 21)
    assert shape_of("ReduceSum", (1, 15, 63), (1,), values={1: (2,)}, keepdims=[0]) == (1, 15)
    assert shape_of("ReduceMean", (1, 15, 63), axes=[1, 2]) == (1, 1, 1)
    assert shape_of("ArgMin", (1, 15), axis=[1], keepdims=[0]) == (1,)
    assert shape_of("Squeeze", (1, 1, 3), (1,), values={1: (1,)}) == (1, 3)
    assert shape_of("Unsqueeze", (1, 3), (1,), values={1: (-1,)}) == (1, 3, 1)
    assert shape_of("Slice", (1, 21, 3), (1,), (1,), (1,), values={1: (1,), 2: (2**62,), 3: (1,)}) == (
        1,
        20,
        3,
    )
    assert shape_of("Slice", (1, 21), (1,), (1,), (1,), (1,),
                    values={1: (-1,), 2: (-100,), 3: (1,), 4: (-2,)}) == (1, 11)  # fmt: skip
    assert shape_of("Transpose", (1, 21, 3), perm=[0, 2, 1]) == (1, 3, 21)


@pytest.mark.parametrize(
    ("operator", "shapes", "more"),
    [
        ("Add", [(1, 21), (1, 3)], {}),
        ("MatMul", [(1, 21, 3), (1, 21, 3)], {}),
        ("Concat", [(1, 3), (2, 3, 1)], {"axis": [0]}),
        ("Gather", [(1, 3), (1,)], {"axis": [2]}),
        ("Reshape", [(1, 63), (2,)], {}),  # to a shape that is not in the file
        ("Reshape", [(1, 63), (2,)], {"values": {1: (-1, 64)}}),
        ("Reshape", [(1, 63), (2,)], {"values": {1: (-1, -1)}}),
        ("Squeeze", [(1, 3), (1,)], {"values": {1: (1,)}}),
        ("ReduceSum", [(1, 3)], {}),
        ("Transpose", [(1, 3)], {"perm": [0, 0]}),
        ("Slice", [(1, 3), (1,), (1,)], {"values": {1: (0,), 2: (0,)}}),  # nothing is left
        ("Abs", [(1,) * 9], {}),
        ("Tile", [(1, 3), (2,)], {"values": {1: (1000, 1000)}}),
        ("Conv", [(1, 3, 9, 9), (1, 3, 3, 3)], {}),
    ],
)  # fmt: skip
def test_what_does_not_fit(operator: str, shapes: list, more: dict) -> None:
    with pytest.raises(GraphError):
        shape_of(operator, *shapes, **more)


def test_order() -> None:
    a, b = Node("Abs", ("x",), ("a",)), Node("Add", ("a", "w"), ("b",))
    assert graph.check_order(["w", "x"], [a, b]) == {"w", "x", "a", "b"}
    for given, nodes in (
        (["w", "x"], [b, a]),  # not in their order
        (["w", "x"], [Node("Abs", ("a",), ("a",))]),  # a loop of one
        (["w", "x", "x"], [a]),
        (["w", "x"], [a, a]),
    ):
        with pytest.raises(GraphError):
            graph.check_order(given, nodes)


def test_too_much() -> None:
    doubling = [Node("Concat", (f"x{i}",) * 2, (f"x{i + 1}",), {"axis": [0]}) for i in range(60)]
    with pytest.raises(GraphError, match="more than"):
        graph.shapes({"x0": (1, 21, 3)}, {}, doubling)
    with pytest.raises(GraphError, match="steps"):
        graph.shapes(HAND, {}, [Node("Abs", ("x",), (f"y{i}",)) for i in range(graph.MAX_NODES + 1)])


def test_the_shapes_are_those_that_onnxruntime_gives(tiny_exercise, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every step of the tiny and of the shipped exercise; onnx is needed to look inside."""
    onnx = pytest.importorskip("onnx")
    import numpy as np
    import onnxruntime

    for path in (tiny_exercise, *model.shipped("exercise")):
        found = []
        real = graph.shapes
        monkeypatch.setattr(graph, "shapes", lambda *a, real=real: found.append(real(*a)) or found[-1])  # noqa: B023
        model.read(path, "exercise")
        monkeypatch.setattr(graph, "shapes", real)
        proto = onnx.load(str(path))
        names = [name for node in proto.graph.node for name in node.output]
        del proto.graph.output[:]
        proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
        session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
        hand = np.random.default_rng(0).normal(size=(1, 21, 3)).astype(np.float32)
        for name, value in zip(names, session.run(None, {"landmarks": hand}), strict=True):
            assert found[0][name] == value.shape, name
