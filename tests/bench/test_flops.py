"""FLOPs counted from a graph: by hand for each layer, and that nothing of the tiny models is left out."""

from __future__ import annotations

import pytest

from handcoach import model
from handcoach.graph import Constant, Node
from handcoach_bench import flops, roofline
from handcoach_bench.roofline import Point, Roofs


def count(*nodes: Node, inputs=None, **shapes):
    constants = {
        name: given if isinstance(given, Constant) else Constant(tuple(given))
        for name, given in shapes.items()
    }
    return flops.count_graph(list(nodes), constants, inputs or {"x": (1, 8, 10, 10)})


def test_a_convolution_by_hand():
    conv = Node("Conv", ("x", "w", "b"), ("y",), {"strides": (2, 2), "pads": (1, 1, 1, 1), "group": (1,)})
    cost = count(conv, w=(16, 8, 3, 3), b=(16,))
    assert cost.flops == 2 * (16 * 5 * 5) * (8 * 3 * 3) and cost.weights == 16 * 8 * 3 * 3
    assert cost.bytes == 4 * (8 * 100 + 16 * 8 * 9 + 16 * 25) and cost.uncounted == ()
    depthwise = Node("Conv", ("x", "w"), ("y",), {"group": (8,), "dilations": (2, 2)})
    assert count(depthwise, w=(8, 1, 3, 3)).flops == 2 * (8 * 6 * 6) * 9


def test_products_by_hand():
    gemm = Node("Gemm", ("x", "w"), ("y",), {"transB": (1,)})
    assert count(gemm, inputs={"x": (1, 64)}, w=(10, 64)).flops == 2 * 640
    product = Node("MatMul", ("x", "w"), ("y",))
    assert count(product, inputs={"x": (2, 3, 4)}, w=(4, 5)).flops == 2 * 2 * 3 * 5 * 4


def test_weights_are_followed_through_casts_and_sizes_through_shapes():
    """As in the shipped models: halves behind Casts, and a Resize to a size that is computed."""
    nodes = (
        Node("Cast", ("half",), ("w",)),
        Node("Conv", ("x", "w"), ("a",), {"pads": (1, 1, 1, 1)}),
        Node("MaxPool", ("a",), ("p",), {"kernel_shape": (2, 2), "strides": (2, 2)}),
        Node("Shape", ("p",), ("s",)),
        Node("Slice", ("s", "zero", "two", "zero"), ("front",)),
        Node("Concat", ("front", "size"), ("whole",), {"axis": (0,)}),
        Node("Resize", ("p", "", "", "whole"), ("r",)),
        Node("Conv", ("r", "v"), ("z",)),
    )
    cost = count(
        *nodes, half=(4, 8, 3, 3), v=(2, 4, 1, 1), zero=Constant((1,), (0,)), two=Constant((1,), (2,)),
        size=Constant((2,), (7, 7)),
    )  # fmt: skip
    assert cost.uncounted == () and cost.weights == 4 * 8 * 9 + 8
    assert cost.flops == 2 * 4 * 100 * 72 + 2 * (2 * 49) * 4


def test_quantised_layers_move_a_byte_a_number():
    nodes = (
        Node("QuantizeLinear", ("x", "s", "o"), ("q",)),
        Node("DequantizeLinear", ("q", "s", "o"), ("d",)),
        Node("DequantizeLinear", ("i", "s", "o"), ("w",)),
        Node("Conv", ("d", "w"), ("y",)),
    )
    cost = count(*nodes, i=(4, 8, 1, 1), s=(), o=())
    assert cost.flops == 2 * 400 * 8 and cost.bytes == 800 + 32 + 400 and cost.weights == 32


def test_what_cannot_be_told_is_named():
    cost = count(Node("Odd", ("x",), ("y",)), Node("Conv", ("y", "w"), ("z",)), w=(1, 8, 1, 1))
    assert cost.flops == 0 and cost.uncounted == ("Conv z",)
    assert count(Node("ConvTranspose", ("x", "w"), ("y",)), w=(8, 4, 2, 2)).uncounted == ("ConvTranspose y",)


def test_model_files(tiny_landmarks):
    """The shipped landmark model has 3.9 million weights by its card, of which batch norms are not
    counted."""
    assert flops.count(model.read(tiny_landmarks)).uncounted == ()
    for path in [*model.shipped("landmarks"), *model.shipped("finder")]:
        cost = flops.count(model.read(path))
        assert cost.uncounted == () and cost.flops > 1e7, path
        if path.stem == "mobilenetv2":
            assert cost.weights == pytest.approx(3.9e6, rel=0.05)


def test_the_peak_counts_as_the_models_do(monkeypatch):
    """A multiplication and an addition are two, and what is copied is read and written."""
    monkeypatch.setattr(roofline, "SIDE", 8)
    monkeypatch.setattr(roofline, "COPY_MB", 3)
    monkeypatch.setattr(roofline, "_best", lambda work: (work(), 0.5)[1])
    found = roofline.measure_peak({"threads": 2})
    assert found == {"gflops": 2 * 8**3 / 0.5 / 1e9, "gb_s": 2 * 3 * 2**20 / 0.5 / 1e9}


def test_a_point_under_the_roof():
    point = Point(flops.Cost(2_000_000, 10, 1_000_000, ()), 2.0, Roofs(1, 100.0, 20.0))
    said = point.figures()
    assert said["gflop_s"] == pytest.approx(1.0) and said["flop_per_byte"] == 2.0
    assert said["of_peak_percent"] == pytest.approx(1.0) and said["of_roof_percent"] == pytest.approx(2.5)
    assert Roofs(1, 100.0, 20.0).attainable(50) == 100.0
