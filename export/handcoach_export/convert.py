"""HandFrame and KMeans as ONNX graphs, by skl2onnx with our own converters.

skl2onnx expands the squared distance of k-means, which in float32 gave NaN at a centroid and errors of
8e-4 elsewhere; ours takes difference, square, sum and root. Like their sources both work in float64 inside.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto
from skl2onnx import convert_sklearn, update_registered_converter
from skl2onnx.algebra import onnx_ops as ops
from skl2onnx.common.data_types import FloatTensorType
from skl2onnx.shape_calculators.k_means import calculate_sklearn_kmeans_output_shapes
from sklearn.cluster import KMeans
from sklearn.pipeline import Pipeline

from handcoach.hand import INDEX_MCP, LITTLE_MCP
from handcoach_export.contract import OPSET, name_batch
from handcoach_train.posture.clusters import ROTATION_WEIGHT, HandFrame

FEATURES = "hand_frame"


def _hand_frame_shape(operator: Any) -> None:
    n = operator.inputs[0].get_first_dimension()
    operator.outputs[0].type = FloatTensorType([n, 63 + 3 * len(operator.raw_operator.kept_rows)])


def _op(opset: int, kind: str, *inputs: Any, **attributes: Any) -> Any:
    return getattr(ops, f"Onnx{kind}")(*inputs, op_version=opset, **attributes)


def _hand_frame(scope: Any, operator: Any, container: Any) -> None:
    """`HandFrame.transform`, operator by operator; FEATURES names what comes before weights and rotation."""
    op = partial(_op, container.target_opset)

    def index(*values: int) -> NDArray[np.int64]:
        return np.array(values, dtype=np.int64)

    # Where hand_frame raises, the graph divides by 1e-6: the palm collapses, far from every centroid.
    tiny = np.array([1e-6], dtype=np.float64)

    def unit(v: Any) -> Any:
        return op(
            "Div", v, op("Max", op("Sqrt", op("ReduceSum", op("Mul", v, v), index(1), keepdims=1)), tiny)
        )

    def cross(a: Any, b: Any) -> Any:
        def turn(v: Any, *order: int) -> Any:
            return op("Gather", v, index(*order), axis=1)

        return op(
            "Sub",
            op("Mul", turn(a, 1, 2, 0), turn(b, 2, 0, 1)),
            op("Mul", turn(a, 2, 0, 1), turn(b, 1, 2, 0)),
        )

    # Given as (N, 21, 3) or (N, 63).
    given = op("Cast", operator.inputs[0], to=TensorProto.DOUBLE)
    p = op("Reshape", given, index(-1, 21, 3))
    p = op("Sub", p, op("Gather", p, index(0), axis=1))
    to_index = op("Squeeze", op("Gather", p, index(INDEX_MCP), axis=1), index(1))
    to_little = op("Squeeze", op("Gather", p, index(LITTLE_MCP), axis=1), index(1))
    x, z = unit(to_index), unit(cross(to_index, to_little))
    y = cross(z, x)
    columns = op("Concat", *(op("Unsqueeze", v, index(2)) for v in (x, y, z)), axis=2)  # (N, 3, 3)
    turned = op("Reshape", op("MatMul", p, columns), index(-1, 63))
    frame = op("Cast", turned, to=TensorProto.FLOAT, output_names=[FEATURES])
    transformer = operator.raw_operator
    rows = [(x, y, z)[i] for i in transformer.kept_rows]
    last = op("Mul", frame, transformer.weights[None])
    if rows:
        kept = op("Mul", op("Concat", *rows, axis=1), np.array([ROTATION_WEIGHT]))
        last = op("Concat", last, op("Cast", kept, to=TensorProto.FLOAT), axis=1)
    if transformer.mix is not None:
        mixed = op("MatMul", op("Cast", last, to=TensorProto.DOUBLE), transformer.mix)
        last = op("Cast", mixed, to=TensorProto.FLOAT)
    op("Identity", last, output_names=operator.outputs).add_to(scope, container)


def _kmeans(scope: Any, operator: Any, container: Any) -> None:
    op = partial(_op, container.target_opset)
    cluster, distances = operator.outputs
    centres = operator.raw_operator.cluster_centers_.astype(np.float64)[None]  # (1, K, 63 + 3 A)
    x = op("Cast", operator.inputs[0], to=TensorProto.DOUBLE)
    away = op("Sub", op("Unsqueeze", x, np.array([1], dtype=np.int64)), centres)
    squares = op("ReduceSum", op("Mul", away, away), np.array([2], dtype=np.int64), keepdims=0)
    root = op("Cast", op("Sqrt", squares), to=TensorProto.FLOAT, output_names=[distances])
    nearest = op("ArgMin", squares, axis=1, keepdims=0, output_names=[cluster])
    root.add_to(scope, container)
    nearest.add_to(scope, container)


update_registered_converter(HandFrame, "HandCoachHandFrame", _hand_frame_shape, _hand_frame)
update_registered_converter(
    KMeans, "SklearnKMeans", calculate_sklearn_kmeans_output_shapes, _kmeans, overwrite=True
)


def to_onnx(pipeline: Pipeline) -> onnx.ModelProto:
    """The pipeline as the contract's exercise: landmarks (N, 21, 3) to hand_frame, cluster, distances."""
    graph = convert_sklearn(
        pipeline,
        name="exercise",
        initial_types=[("landmarks", FloatTensorType([None, 21, 3]))],
        target_opset=OPSET,
    )
    cluster, distances = (value.name for value in graph.graph.output)
    _rename(graph, {cluster: "cluster", distances: "distances"})
    k = pipeline[-1].n_clusters
    del graph.graph.output[:]
    graph.graph.output.extend(
        [
            onnx.helper.make_tensor_value_info(FEATURES, TensorProto.FLOAT, ["N", 63]),
            onnx.helper.make_tensor_value_info("cluster", TensorProto.INT64, ["N"]),
            onnx.helper.make_tensor_value_info("distances", TensorProto.FLOAT, ["N", k]),
        ]
    )
    name_batch(graph)
    return graph


def _rename(graph: onnx.ModelProto, names: dict[str, str]) -> None:
    for node in graph.graph.node:
        for field in (node.input, node.output):
            for i, name in enumerate(field):
                field[i] = names.get(name, name)
