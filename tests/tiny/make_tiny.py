"""Write the tiny test models. They fulfil the contract exactly and see only the discs of `hands.py`.

Run: python tests/tiny/make_tiny.py (needs onnx and numpy; the files it writes are committed).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from handcoach.hand import JOINTS, hand_frame  # noqa: E402
from tiny.hands import BENDS, template  # noqa: E402

OPSET = 17
FLOAT, UINT8, INT64 = TensorProto.FLOAT, TensorProto.UINT8, TensorProto.INT64
COMMON = {
    "format": 1, "version": "1", "licence": "Apache-2.0", "created": "2025-11-24", "source": "make_tiny.py",
    "trained_on": "nothing", "accuracy": {}, "parity": {"max_abs": 0.0, "images": 0, "against": "pytorch"},
    "opset": OPSET,
}  # fmt: skip


class Graph:
    """Nodes and weights, written as expressions: every call returns the name of its output."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def value(self, value: object, dtype: type = np.float32) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(value, dtype=dtype), name))
        return name

    def __call__(self, operator: str, *inputs: str | float, out: str | None = None, **attributes) -> str:
        name = out or f"n{len(self.nodes)}"
        names = [i if isinstance(i, str) else self.value(i) for i in inputs]
        self.nodes.append(helper.make_node(operator, names, [name], **attributes))
        return name

    def mean(self, x: str) -> str:
        """(N, H, W) to (N,)."""
        return self("ReduceMean", x, axes=[1, 2], keepdims=0)

    def stack(self, *columns: str, axis: int = 1, out: str | None = None) -> str:
        """Stack (N, ...) tensors along a new axis."""
        at = self.value([axis], np.int64)
        return self("Concat", *[self("Unsqueeze", c, at) for c in columns], axis=axis, out=out)

    def column(self, x: str, index: int, axis: int = 1) -> str:
        return self("Gather", x, self.value(index, np.int64), axis=axis)


def write(
    folder: Path, name: str, graph: Graph, given: onnx.ValueInfoProto, outputs: list, meta: dict
) -> None:
    meta = COMMON | meta
    meta |= {"name": f"tiny-{name}", "inputs": [given.name], "outputs": [o.name for o in outputs]}
    model = helper.make_model(
        helper.make_graph(graph.nodes, name, [given], outputs, graph.weights),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=8,
        producer_name="handcoach tests",
    )
    helper.set_model_props(model, {"handcoach": json.dumps(meta)})
    onnx.checker.check_model(model, full_check=True)
    data = model.SerializeToString()
    (folder / f"{name}.onnx").write_bytes(data)
    print(f"{name}.onnx: {len(data)} bytes")


def see_discs(g: Graph, height: int, width: int, kernel: int) -> dict[str, str]:
    """From `image` (N, H, W, 3): area (N,) as a fraction, and centre x, y (N,) in pixels, of each colour's
    disc, and the bend. Pixels are averaged over the kernel first, so that noise is no hand."""
    x = g("Cast", "image", to=FLOAT)
    x = g("Transpose", x, perm=[0, 3, 1, 2])
    raw = [g.column(x, i) for i in range(3)]
    pad = kernel // 2
    x = g("AveragePool", x, kernel_shape=[kernel, kernel], pads=[pad] * 4, count_include_pad=1)
    red, green, blue = (g.column(x, i) for i in range(3))
    masks = {
        "mcp": g("Sub", red, blue),
        "wrist": g("Sub", blue, g("Max", red, green)),
        "thumb": g("Sub", green, g("Max", red, blue)),
    }
    xs = g.value(np.arange(width)[None, None, :] + 0.5)
    ys = g.value(np.arange(height)[None, :, None] + 0.5)
    found = {}
    for name, difference in masks.items():
        mask = g("Cast", g("Greater", difference, 150.0), to=FLOAT)
        area = found[name] = g.mean(mask)
        safe = g("Max", area, 1e-9)
        found[name + "_x"] = g("Div", g.mean(g("Mul", mask, xs)), safe)
        found[name + "_y"] = g("Div", g.mean(g("Mul", mask, ys)), safe)
        if name == "mcp":
            sharp = g("Mul", mask, g("Cast", g("Greater", g("Sub", raw[0], raw[2]), 150.0), to=FLOAT))
            level = g("Div", g.mean(g("Mul", sharp, raw[1])), g("Max", g.mean(sharp), 1e-9))
            found["bend"] = g("Div", level, 255.0)
    # Without a wrist the hand points up; the disc's radius is a quarter of the hand's size.
    size = g("Mul", g("Sqrt", g("Mul", found["mcp"], height * width / np.pi)), 4.0)
    seen = g("Greater", found["wrist"], 1e-5)
    found["wrist_x"] = g("Where", seen, found["wrist_x"], found["mcp_x"])
    found["wrist_y"] = g("Where", seen, found["wrist_y"], g("Add", found["mcp_y"], size))
    found["ux"] = g("Sub", found["mcp_x"], found["wrist_x"])
    found["uy"] = g("Sub", found["mcp_y"], found["wrist_y"])
    found["length"] = g("Max", g("Sqrt", g("Add", g("Mul", found["ux"], found["ux"]),
                                           g("Mul", found["uy"], found["uy"]))), 1e-6)  # fmt: skip
    # Which side of wrist to middle MCP is the thumb on? Clockwise, as seen with y down: a right hand's palm.
    turn = g("Sub", g("Mul", found["ux"], g("Sub", found["thumb_y"], found["wrist_y"])),
             g("Mul", found["uy"], g("Sub", found["thumb_x"], found["wrist_x"])))  # fmt: skip
    turn = g("Where", g("Greater", found["thumb"], 1e-5), turn, g.value(1.0))
    found["right"] = g("Where", g("Greater", turn, 0.0), g.value(0.95), g.value(0.05))
    return found


def make_finder(folder: Path, height: int = 120, width: int = 160, hands: int = 2) -> None:
    g = Graph()
    see = see_discs(g, height, width, 3)
    score = g("Clip", g("Div", g("Sub", see["mcp"], 5e-4), 1e-3), 0.0, 1.0)
    # The farthest joint of an open hand is the middle tip, of a fist the wrist.
    extent = g("Mul", see["length"], g("Sub", g.value(1.05), g("Mul", see["bend"], 0.05)))
    row = g.stack(
        score,
        see["right"],
        *(g("Div", see[p], float(s)) for p, s in
          [("wrist_x", width), ("wrist_y", height), ("mcp_x", width), ("mcp_y", height)]),
        g("Div", extent, float(width)),
    )  # fmt: skip
    rows = g.stack(row, *[g("Mul", row, 0.0) for _ in range(hands - 1)])
    g("Identity", rows, out="hands")
    write(
        folder, "finder", g,
        helper.make_tensor_value_info("image", UINT8, ["N", height, width, 3]),
        [helper.make_tensor_value_info("hands", FLOAT, ["N", hands, 7])],
        {"kind": "finder", "height": height, "width": width, "max_hands": hands, "score_threshold": 0.5},
    )  # fmt: skip


def make_landmarks(folder: Path, size: int = 64) -> None:
    g = Graph()
    see = see_discs(g, size, size, 3)
    g("Clip", g("Div", see["mcp"], 0.01), 0.0, 1.0, out="presence")
    g("Identity", see["right"], out="right")
    # Landmarks between the three postures, linear on each half; (N, 21, 3) in the template's axes.
    postures = [g.value(template(b)) for b in (0.0, 0.5, 1.0)]
    bend = g("Unsqueeze", see["bend"], g.value([1, 2], np.int64))
    shape = postures[0]
    for i, (a, b) in enumerate(((0, 1), (1, 2))):
        share = g("Clip", g("Sub", g("Mul", bend, 2.0), float(i)), 0.0, 1.0)
        shape = g("Add", shape, g("Mul", share, g("Sub", postures[b], postures[a])))
    flip = g("Where", g("Greater", see["right"], 0.5), g.value(1.0), g.value(-1.0))
    column = g.value([1], np.int64)
    tx = g("Mul", g.column(shape, 0, 2), g("Unsqueeze", flip, column))
    ty, tz = g.column(shape, 1, 2), g.column(shape, 2, 2)
    # Turn and scale so that wrist and middle MCP, at (0, -1), fall on their discs.
    ux, uy = (g("Unsqueeze", g("Div", see[k], see["length"]), column) for k in ("ux", "uy"))
    x = g("Sub", g("Mul", tx, g("Neg", uy)), g("Mul", ty, ux))
    y = g("Sub", g("Mul", tx, ux), g("Mul", ty, uy))
    g.stack(x, y, tz, axis=2, out="landmarks")
    length = g("Unsqueeze", see["length"], column)
    px, py = (
        g("Div", g("Add", g("Mul", v, length), g("Unsqueeze", see[k], column)), float(size))
        for v, k in ((x, "wrist_x"), (y, "wrist_y"))
    )
    g.stack(px, py, axis=2, out="points")
    write(
        folder, "landmarks", g,
        helper.make_tensor_value_info("image", UINT8, ["N", size, size, 3]),
        [
            helper.make_tensor_value_info("landmarks", FLOAT, ["N", 21, 3]),
            helper.make_tensor_value_info("points", FLOAT, ["N", 21, 2]),
            helper.make_tensor_value_info("presence", FLOAT, ["N"]),
            helper.make_tensor_value_info("right", FLOAT, ["N"]),
        ],
        {"kind": "landmarks", "size": size, "joints": list(JOINTS), "crop": {"margin": 1.3, "roll": True},
         "presence_threshold": 0.5},
    )  # fmt: skip


def make_exercise(folder: Path) -> None:
    labels = ["open", "almost", "fist"]
    clusters = ["almost", "fist", "open"]  # ids are arbitrary; a program that trusts them fails here
    centroids = np.stack([hand_frame(template(BENDS[label])).reshape(63) for label in clusters])
    g = Graph()

    def normalise(v: str) -> str:
        length = g("Sqrt", g("ReduceSum", g("Mul", v, v), g.value([1], np.int64), keepdims=1))
        return g("Div", v, g("Max", length, 1e-9))

    def cross(a: str, b: str) -> str:
        a1, a2, b1, b2 = (
            g("Gather", v, g.value(order, np.int64), axis=1)
            for v, order in ((a, [1, 2, 0]), (a, [2, 0, 1]), (b, [1, 2, 0]), (b, [2, 0, 1]))
        )
        return g("Sub", g("Mul", a1, b2), g("Mul", a2, b1))

    wrist = g("Gather", "landmarks", g.value([0], np.int64), axis=1)
    p = g("Sub", "landmarks", wrist)
    x = normalise(g.column(p, 5))
    z = normalise(cross(x, g.column(p, 17)))
    axes = g.stack(x, cross(z, x), z, axis=2)  # columns are the new axes
    flat = g("Reshape", g("MatMul", p, axes), g.value([-1, 63], np.int64), out="hand_frame")
    difference = g("Sub", g("Unsqueeze", flat, g.value([1], np.int64)), g.value(centroids[None]))
    square = g("ReduceSum", g("Mul", difference, difference), g.value([2], np.int64), keepdims=0)
    g("Sqrt", square, out="distances")
    g("ArgMin", "distances", axis=1, keepdims=0, out="cluster")
    text = {
        "open": ("Well done, hold it.", "Flot, hold den."),
        "almost": ("Stretch a little more.", "Stræk lidt mere."),
        "fist": ("Stretch your fingers.", "Stræk dine fingre."),
    }
    write(
        folder, "exercise", g,
        helper.make_tensor_value_info("landmarks", FLOAT, ["N", 21, 3]),
        [
            helper.make_tensor_value_info("hand_frame", FLOAT, ["N", 63]),
            helper.make_tensor_value_info("cluster", INT64, ["N"]),
            helper.make_tensor_value_info("distances", FLOAT, ["N", len(clusters)]),
        ],
        {
            "kind": "exercise",
            "title": {"en": "Tiny stretch", "da": "Lille stræk"},
            "instructions": {"en": "Stretch your fingers and hold.", "da": "Stræk fingrene og hold."},
            "labels": labels, "clusters": clusters,
            "messages": {k: {"en": en, "da": da} for k, (en, da) in text.items()},
            "colours": {"open": "#2e9e5b", "almost": "#e0b000", "fist": "#d04a3a"},
            "reference": template(0.0).round(6).tolist(),
            "tolerance": {"green": 0.15, "red": 0.6},
            "unsure": {"max_distance": 1.5, "min_margin": 0.1},
            "hold_s": 1.0, "repetitions": 2, "rest_s": 0.5, "kept_axes": "", "hand": "either",
            "landmark_model": "tiny-landmarks", "quality": {}, "author": "HandCoach tests",
            "parity": {"max_abs": 0.0, "images": 0, "against": "scikit-learn"},
        },
    )  # fmt: skip


def main(folder: Path = HERE) -> None:
    make_finder(folder)
    make_landmarks(folder)
    make_exercise(folder)


if __name__ == "__main__":
    main()
