"""A trained network becomes a model file. Scaling and normalisation of the picture are part of the network,
so the file takes uint8 pixels.

Exported through TorchScript: it needs no further package, and traces these networks without a branch.
(`dynamo=True` once gave a wrong bias, pytorch#166797.) Batch norms are left as they are, so that weights stay
those of the checkpoint, which are halves: they are stored as such, at half the size and without a loss.
onnxruntime turns them to floats and folds the batch norms when it loads the file.
"""

from __future__ import annotations

import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import nn

from handcoach.contract import tensors
from handcoach.errors import HandCoachError
from handcoach.finder import letterbox
from handcoach.hand import JOINTS
from handcoach.onnx_file import Tensor
from handcoach.session import Session
from handcoach_export import contract
from handcoach_train import networks as trained

SUFFIXES = (".jpg", ".jpeg", ".png")
SMALL = 256  # weights; below, a Cast costs more than it saves


class _AsTuple(nn.Module):
    """The network with its outputs as a tuple, even if there is one."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        outputs = self.network(image)
        return outputs if isinstance(outputs, tuple) else (outputs,)


@dataclass(frozen=True, eq=False)
class Source:
    """A trained network, ready to become a model file.

    Attributes:
        whole: its outputs are a tuple in the contract's order.
        meta: of the model file, as far as the network tells it.
        given, outputs: tensors of the contract.
        variant: of the pictures that it was trained on, where it was told one.
    """

    whole: nn.Module
    meta: dict[str, Any]
    given: Tensor
    outputs: tuple[Tensor, ...]
    variant: str | None = None

    def pictures(self, images: Path) -> NDArray[np.uint8]:
        """The pictures of a folder in this network's size."""
        _, height, width, _ = self.given.shape
        return pictures(images, self.meta["kind"], int(height or 0), int(width or 0))

    def to_onnx(self, batch: NDArray[np.uint8]) -> onnx.ModelProto:
        return to_onnx(self.whole, batch[:2], self.given, self.outputs)

    def compare(self, session: Session, batch: NDArray[np.uint8]) -> contract.Parity:
        """How far a file is from the network on these pictures."""
        worst = 0.0
        # One by one, as the runtime does, and all together: the batch axis must really be free.
        for part in (*(batch[i : i + 1] for i in range(len(batch))), batch):
            with torch.inference_mode():
                theirs = [value.numpy() for value in self.whole(torch.from_numpy(part))]
            ours = session.run(part)
            for tensor, value in zip(self.outputs, theirs, strict=True):
                if value.shape != ours[tensor.name].shape:
                    return contract.Parity(np.inf, len(batch), "pytorch", f"{tensor.name} has another shape")
                apart = hands_apart if self.meta["kind"] == "finder" else _apart
                worst = max(worst, apart(ours[tensor.name], value))
        return contract.Parity(worst, len(batch), "pytorch")


def load(
    kind: str,
    checkpoint: Path,
    *,
    name: str | None = None,
    version: str | None = None,
    size: int | None = None,
) -> Source:
    """The network of a checkpoint of this kind.

    Args:
        size: of the pictures, for a landmark network with the same weights at another size than its own.

    Raises:
        HandCoachError: the checkpoint is missing, of another kind, or does not say all that a file needs; no
            such size.
    """
    if not checkpoint.is_file():
        raise HandCoachError(f"There is no checkpoint {checkpoint}: give a file that handcoach-train wrote.")
    network, config = trained.load_checkpoint(checkpoint)
    if config.get("kind") != kind:
        raise HandCoachError(
            f"{checkpoint} is a checkpoint of kind {config.get('kind')}, not {kind}: "
            + (
                "the paper's network is not exported."
                if config.get("kind") == "paper"
                else f"use handcoach-export {config.get('kind')}."
            )
        )
    sizes = ["size", "crop"] if kind == "landmarks" else ["height", "width", "max_hands"]
    missing = [key for key in ("name", "licence", "trained_on", "accuracy", *sizes) if key not in config]
    if missing:
        raise HandCoachError(
            f"{checkpoint} does not say its {', '.join(missing)}: train it again to export it."
        )
    meta = {
        "kind": kind,
        "name": name or config["name"],
        "version": version or str(config.get("version", "1")),
        "licence": config["licence"],
        "source": f"{checkpoint.name} sha256:{contract.sha256([checkpoint])}",
        "trained_on": config["trained_on"],
        "accuracy": config["accuracy"],
    }
    if kind == "landmarks":
        if size is not None and size != config["size"]:
            if size % 16 or not 64 <= size <= 512:
                raise HandCoachError(
                    f"No network looks at {size} pixels: take a multiple of 16 from 64 to 512."
                )
            assert isinstance(network, trained.LandmarkNet)
            network.resize(size)
        meta |= {"size": size or config["size"], "joints": list(JOINTS), "crop": config["crop"],
                 "presence_threshold": config.get("presence_threshold", 0.5)}  # fmt: skip
    else:
        meta |= {key: config[key] for key in ("height", "width", "max_hands")}
        meta["score_threshold"] = config.get("score_threshold", 0.5)
    given, outputs = tensors(kind, meta)
    whole = _AsTuple(network.float()).eval()
    return Source(whole, meta, given, outputs, config.get("data", {}).get("variant"))


def export(
    kind: str,
    checkpoint: Path,
    output: Path,
    images: Path,
    *,
    name: str | None = None,
    version: str | None = None,
) -> dict[str, Any]:
    """Turn a checkpoint into a model file of this kind; returns the metadata.

    Args:
        images: folder of real pictures on which file and network must agree to 1e-4.

    Raises:
        HandCoachError: the checkpoint is missing or of another kind, there are no pictures, or no parity.
    """
    source = load(kind, checkpoint, name=name, version=version)
    batch = source.pictures(images)
    graph = source.to_onnx(batch)
    store_halves(graph)
    return contract.write(graph, output, source.meta, lambda session: source.compare(session, batch))


def to_onnx(
    whole: nn.Module, example: NDArray[np.uint8], wanted: Tensor, outputs: tuple[Tensor, ...]
) -> onnx.ModelProto:
    """Trace the network; the batch is free and called N, every other size is fixed."""
    names = [tensor.name for tensor in outputs]
    with tempfile.TemporaryDirectory(prefix="handcoach-export-") as folder, warnings.catch_warnings():
        file = Path(folder) / "traced.onnx"
        # Shape checks inside a network warn when traced, and the exporter that it is the old one.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            whole,
            (torch.from_numpy(example),),
            file,
            input_names=[wanted.name],
            output_names=names,
            dynamic_axes={key: {0: "N"} for key in (wanted.name, *names)},
            opset_version=contract.OPSET,
            do_constant_folding=True,
            training=torch.onnx.TrainingMode.PRESERVE,  # evaluation, without folding batch norms
            dynamo=False,
        )
        graph = onnx.load(str(file))
    del graph.graph.output[:]  # the tracer leaves some sizes open, of which the contract is sure
    for tensor in outputs:
        shape = ["N", *tensor.shape[1:]]
        graph.graph.output.append(
            onnx.helper.make_tensor_value_info(tensor.name, onnx.TensorProto.FLOAT, shape)
        )
    contract.name_batch(graph)
    return graph


def store_halves(graph: onnx.ModelProto) -> None:
    """Store every large float weight that is exactly a half as one, with a Cast behind it."""
    casts = []
    for weight in graph.graph.initializer:
        if weight.data_type != onnx.TensorProto.FLOAT:
            continue
        value = onnx.numpy_helper.to_array(weight)
        with np.errstate(over="ignore"):
            halves = value.astype(np.float16)
        if value.size < SMALL or not np.array_equal(halves.astype(np.float32), value):
            continue
        name = weight.name
        weight.CopyFrom(onnx.numpy_helper.from_array(halves, f"{name}_half"))
        casts.append(onnx.helper.make_node("Cast", [weight.name], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *graph.graph.node]
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)


def pictures(folder: Path, kind: str, height: int, width: int) -> NDArray[np.uint8]:
    """Every picture of a folder as RGB (N, height, width, 3), fitted as the runtime fits it for a finder.

    Raises:
        HandCoachError: there is none, or one cannot be read.
    """
    files = sorted(path for path in folder.glob("*") if path.suffix.lower() in SUFFIXES)
    if not files:
        raise HandCoachError(
            f"There are no pictures in {folder} to compare PyTorch and ONNX on: give --images another folder."
        )
    batch = []
    for path in files:
        image = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR_RGB)
        if image is None:
            raise HandCoachError(f"{path} is not a picture: remove it or give --images another folder.")
        rgb = np.asarray(image, dtype=np.uint8)
        if kind == "finder":
            batch.append(letterbox(rgb, height, width)[0])
        else:
            batch.append(np.asarray(cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA), np.uint8))
    return np.stack(batch)


def _apart(ours: NDArray[np.floating], theirs: NDArray[np.floating]) -> float:
    return float(np.abs(ours - theirs).max())


def hands_apart(ours: NDArray[np.floating], theirs: NDArray[np.floating]) -> float:
    """Largest difference between two lists of hands (N, M, 7), sorted by score.

    Two hands whose scores differ by less than the limit may change places, and of hands that score like
    the last of the list others may have been left out: only their scores count.
    """
    limit = contract.LIMITS["pytorch"]
    worst = _apart(ours[..., 0], theirs[..., 0])
    for a, b in zip(ours, theirs, strict=True):
        away = np.abs(a[:, None] - b[None]).max(-1)  # (M, M)
        for nearest, hands in ((away.min(1), a), (away.min(0), b)):
            clear = hands[:, 0] > hands[-1, 0] + limit
            if len(hands) == 1:
                clear[:] = True
            worst = max(worst, float(nearest[clear].max(initial=0.0)))
    return worst if np.isfinite(ours).all() else float("inf")
