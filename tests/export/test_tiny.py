"""The committed tiny models are what their script writes, and our reader sees in them what onnx sees."""

from __future__ import annotations

from pathlib import Path

import pytest

from handcoach import model
from handcoach.onnx_file import Tensor

onnx = pytest.importorskip("onnx")
from tiny import make_tiny  # noqa: E402


def test_the_script_writes_the_committed_files(tmp_path: Path) -> None:
    make_tiny.main(tmp_path)
    for path in tmp_path.iterdir():
        made, committed = onnx.load(path), onnx.load(make_tiny.HERE / path.name)
        assert made == committed, f"run tests/tiny/make_tiny.py: {path.name} is not what it writes"


@pytest.mark.parametrize("name", ["finder", "landmarks", "exercise"])
def test_reader_and_onnx_agree(name: str) -> None:
    path = make_tiny.HERE / f"{name}.onnx"
    graph = onnx.load(path).graph
    file = model.read(path, name)

    def described(value: onnx.ValueInfoProto) -> Tensor:
        tensor = value.type.tensor_type
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
        return Tensor(value.name, dtype, tuple(d.dim_value or None for d in tensor.shape.dim))

    assert [described(value) for value in graph.input] == [file.input]
    assert tuple(described(value) for value in graph.output) == file.outputs
