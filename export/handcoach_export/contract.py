"""Writing a model file: the contract's metadata, the checks, and the one rename at the end.

A file appears under its name only if the ONNX checker accepts it, the runtime's own reader accepts it, and
the runtime's session gives what the source gives. Until then it has another name beside its place.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx

from handcoach import model
from handcoach.errors import HandCoachError, ModelError
from handcoach.session import Session

# Opset 17 and IR 10 are read by every onnxruntime that the runtime allows (1.20 and newer).
OPSET = 17
IR_VERSION = 10
LIMITS = {"pytorch": 1e-4, "scikit-learn": 1e-5}


@dataclass(frozen=True)
class Parity:
    """How far the file is from its source.

    Attributes:
        max_abs: largest absolute difference over all outputs.
        images: how many pictures (or hands, for an exercise) were compared.
        against: pytorch or scikit-learn.
        problem: what differs apart from max_abs, or None.
        limit: the largest max_abs allowed; None: that of `LIMITS`.
        facts: more for the metadata that only running the file tells.
    """

    max_abs: float
    images: int
    against: str
    problem: str | None = None
    limit: float | None = None
    facts: dict[str, Any] = field(default_factory=dict)


class RefusedError(HandCoachError):
    """A file does not keep its promises; `parity` says how it was found out."""

    def __init__(self, sentence: str, parity: Parity) -> None:
        super().__init__(sentence)
        self.parity = parity


def sha256(paths: Iterable[Path]) -> str:
    """One digest over the names and contents of files, in the order given."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.name.encode() + b"\0")
        digest.update(path.read_bytes())
    return digest.hexdigest()


def write(
    graph: onnx.ModelProto,
    output: Path,
    meta: dict[str, Any],
    compare: Callable[[Session], Parity],
) -> dict[str, Any]:
    """Write the model file if it keeps its promises.

    Args:
        graph: the converted model; its metadata is replaced.
        meta: everything of the contract except format, created, parity, opset, inputs and outputs.
        compare: runs the file and its source on the same input.

    Returns:
        the metadata as written.

    Raises:
        HandCoachError: a check failed; then nothing is written and an older file stays as it was.
    """
    if output.suffix != ".onnx":
        raise HandCoachError(f"{output.name} is not the name of a model file: end it in .onnx.")
    if not output.parent.is_dir():
        raise HandCoachError(f"The folder {output.parent} does not exist: make it or choose another.")
    graph.ir_version = IR_VERSION
    opset = max(entry.version for entry in graph.opset_import if entry.domain in ("", "ai.onnx"))
    meta = {
        "format": 1,
        **meta,
        "created": datetime.date.today().isoformat(),
        "opset": opset,
        "inputs": [value.name for value in graph.graph.input],
        "outputs": [value.name for value in graph.graph.output],
        "parity": {"max_abs": 0.0, "images": 0, "against": "none"},
    }
    # Unique to this process, so that two exports at once do not write into one another.
    beside = output.with_name(f".{output.stem}.{os.getpid()}.onnx")
    try:
        _save(graph, meta, beside)
        parity = compare(Session(model.read(beside, meta["kind"])))
        limit = LIMITS[parity.against] if parity.limit is None else parity.limit
        if parity.problem or not parity.max_abs <= limit:  # NaN is not within the limit
            why = parity.problem or f"a difference of {parity.max_abs:.2g}, more than {limit:.0e}"
            raise RefusedError(
                f"{output.name} was not written: it does not give what {parity.against} gives ({why}, on "
                f"{parity.images} inputs); export again, and report this if it stays.",
                parity,
            )
        meta["parity"] = {
            "max_abs": float(parity.max_abs),
            "images": parity.images,
            "against": parity.against,
        }
        meta |= parity.facts
        _save(graph, meta, beside)
        model.read(beside, meta["kind"])
        beside.replace(output)
    except ModelError as error:
        raise HandCoachError(
            f"{output.name} was not written, because the runtime refuses it: "
            + str(error).replace(str(beside), "it")
        ) from error
    except OSError as error:
        raise HandCoachError(
            f"{output} cannot be written ({error.strerror or error}): choose another place."
        ) from error
    finally:
        beside.unlink(missing_ok=True)
    return meta


def _save(graph: onnx.ModelProto, meta: dict[str, Any], path: Path) -> None:
    """One file with this metadata, accepted by the ONNX checker, on disk."""
    del graph.metadata_props[:]
    entry = graph.metadata_props.add()
    # NaN and Infinity are not JSON, and no figure of ours may be one.
    entry.key, entry.value = "handcoach", json.dumps(meta, ensure_ascii=False, allow_nan=False)
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in graph.graph.initializer):
        raise HandCoachError(f"{path.name} keeps its weights outside the file: export it as a single file.")
    try:
        onnx.checker.check_model(graph, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        first = str(error).strip().splitlines()[0]
        raise HandCoachError(
            f"The ONNX checker refuses the model ({first}): this is a bug, report it."
        ) from error
    with path.open("wb") as file:
        file.write(graph.SerializeToString(deterministic=True))
        file.flush()
        os.fsync(file.fileno())


def name_batch(graph: onnx.ModelProto) -> None:
    """Call the first axis of every input and output N, whatever the converter called it."""
    for value in (*graph.graph.input, *graph.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "N"
