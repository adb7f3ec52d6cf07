"""The model files: read, checked against the contract, and found by name.

`read` looks into a file (`onnx_file.py`) and refuses whatever does not fit the contract (`contract.py`) or
was changed after it was signed (`signature.py`), before `session.py` runs it.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from handcoach import contract, graph, onnx_file, places, signature
from handcoach.errors import ModelError
from handcoach.hand import FINGERS
from handcoach.onnx_file import OnnxError, OnnxFile, Tensor, read_onnx

# A ResNet50 has 100 MB. The bytes of a file are in memory while it is read.
MAX_BYTES = 128 * 2**20
MAX_EXERCISE_BYTES = 4 * 2**20  # the shipped ones have 50 kB at most


@dataclass(frozen=True)
class ModelFile:
    """A model file that was read and fits the contract.

    Attributes:
        path: where it lies.
        kind: landmarks, finder or exercise.
        meta: the JSON object of its metadata; every key of the contract is there.
        sha256: of the bytes that were read. A session refuses a file that has changed since.
        input, outputs: its tensors, in the contract's order.
        signed_by: fingerprint of the key that it is signed with; "" where it is not signed.
    """

    path: Path
    kind: str
    meta: dict[str, Any] = field(repr=False)
    sha256: str
    input: Tensor
    outputs: tuple[Tensor, ...]
    signed_by: str

    @property
    def name(self) -> str:
        return str(self.meta["name"])

    def unchanged(self) -> bytes:
        """The bytes that were checked.

        Raises:
            ModelError: the file has changed since it was read.
        """
        data = _load(self.path)
        if hashlib.sha256(data).hexdigest() != self.sha256:
            raise ModelError(f"{self.path} has changed since it was checked; start again.")
        return data


def family(file: ModelFile) -> str:
    """The landmark model that this is, whatever its precision: exercises are made for a family."""
    return str(file.meta.get("variant", {}).get("of") or file.name)


def _load(path: Path, most: int = MAX_BYTES) -> bytes:
    """The bytes of a regular file. A device or a pipe might never end, or never begin."""
    if path.is_dir():
        raise ModelError(_folder_instead(path))
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ModelError(f"{path} is a device or a pipe, not a model file; name an .onnx file.")
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            data = file.read(min(size, most) + 1)
    except FileNotFoundError as error:
        raise ModelError(f"There is no model file {path}; check the name.") from error
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error.strerror}); check its permissions.") from error
    _check_size(path, len(data), most)
    return data


def _folder_instead(path: Path) -> str:
    return f"{path} is a folder, not a model file; name the .onnx file in it."


def _check_size(path: Path, size: int, most: int) -> None:
    if size > most:
        raise ModelError(f"{path} is larger than {most // 2**20} MB; no HandCoach model of its kind is.")


def _limit(kind: str | None) -> int:
    return MAX_EXERCISE_BYTES if kind == "exercise" else MAX_BYTES


def parse(data: bytes, path: Path, kind: str | None = None) -> ModelFile:
    """Like `read`, for the bytes of a file; `path` only names it in messages."""
    _check_size(path, len(data), _limit(kind))
    try:
        onnx = read_onnx(data)
        if onnx.metadata is None:
            raise ModelError("is ONNX without HandCoach's description; export it with handcoach-export")
        signed_by = signature.verify(onnx.signature, onnx.unsigned) if onnx.signature is not None else ""
        meta = contract.parse_meta(onnx.metadata)
        contract.check_format(meta.get("format"))
        found = meta.get("kind")
        if found not in contract.KINDS:
            raise ModelError(f"is of an unknown kind ({str(found)[:20]})")
        if kind is not None and found != kind:
            raise ModelError(f"is a model of kind {found}, where one of kind {kind} is needed")
        contract.check_meta(meta, found)
        wanted_input, wanted_outputs = contract.tensors(found, meta)
        (tensor,) = contract.check_tensors(onnx.inputs, (wanted_input,), "input")
        outputs = contract.check_tensors(onnx.outputs, wanted_outputs, "output")
        loose = [output.name for output in outputs if output.name not in onnx.known]
        if loose:
            raise ModelError(f"has an output {loose[0]!r} that nothing in it gives")
        if found == "exercise":
            _check_steps(onnx, tensor, outputs)
    except OnnxError as error:
        raise ModelError(f"{path} is not a whole ONNX model: {error}.") from error
    except graph.GraphError as error:
        raise ModelError(f"{path} {error}.") from error
    except ModelError as error:
        raise ModelError(f"{path} {error}.") from None
    except signature.SignatureError as error:  # no key: installing again, as the window would say, mends none
        raise ModelError(f"{path} {error}.", None) from error
    _check_size(path, len(data), _limit(found))
    return ModelFile(path, found, meta, hashlib.sha256(data).hexdigest(), tensor, outputs, signed_by)


def _check_steps(onnx: OnnxFile, given: Tensor, outputs: tuple[Tensor, ...]) -> None:
    """What an exercise computes is small, and has the shapes that it says."""

    def for_hands(shape: tuple[int | None, ...], n: int) -> graph.Shape:
        return (n, *(size or 1 for size in shape[1:]))

    one, two = (
        graph.shapes({given.name: for_hands(given.shape, n)}, onnx.constants, onnx.nodes) for n in (1, 2)
    )
    for tensor in outputs:
        if one[tensor.name] != for_hands(tensor.shape, 1):
            raise ModelError(f"gives {tensor.name!r} in another shape than it says")
    # Each hand for itself: what grows faster than their number would fill the memory with a few hundred.
    if any(math.prod(two[name]) > 2 * math.prod(shape) for name, shape in one.items()):
        raise ModelError("computes something of all hands together, which no exercise needs")


def read(path: str | Path, kind: str | None = None) -> ModelFile:
    """Read and check a model file, without onnxruntime.

    Args:
        kind: the kind that is needed; None takes any.

    Raises:
        ModelError: the file is missing, no model, or does not fit the contract; one sentence says why.
    """
    path = Path(path)
    return parse(_load(path, _limit(kind)), path, kind)


def steps(file: ModelFile) -> tuple[list[graph.Node], dict[str, graph.Constant]]:
    """What a model computes, in its order, and the shapes of its weights.

    Raises:
        ModelError: the file has changed since it was read.
    """
    onnx = read_onnx(file.unchanged())
    return onnx.nodes, onnx.constants


# --- Shipped models -------------------------------------------------------------------------------------


def models_dir() -> Path:
    """The folder of the shipped models, in an installed wheel and in an editable checkout.

    Raises:
        ModelError: there is none.
    """
    package = Path(__file__).resolve().parent
    for folder in (package / "models", package.parents[1] / "models"):
        if folder.is_dir():
            return folder
    raise ModelError("The models that belong to HandCoach are missing; install it again.")


def _kind_of(path: Path) -> str | None:
    """What a file says it is, or None."""
    try:
        description = onnx_file.description(_load(path))
        kind = contract.parse_meta(description).get("kind") if description is not None else None
    except (OnnxError, ModelError):
        return None
    return kind if isinstance(kind, str) else None


def _folder(kind: str) -> Path:
    return models_dir() / "exercises" if kind == "exercise" else models_dir()


def shipped(kind: str) -> list[Path]:
    """Shipped model files of a kind, sorted by name, and fingers as they stand on the hand."""
    files = sorted(_folder(kind).glob("*.onnx"), key=lambda path: _LAST_FINGER.sub(_number, path.stem))
    return [path for path in files if _kind_of(path) == kind]


_LAST_FINGER = re.compile(rf"({'|'.join(FINGERS)})$")


def _number(finger: re.Match[str]) -> str:
    return str(FINGERS.index(finger[0]))


def is_shipped(exercise: Path) -> bool:
    return exercise.resolve().parent == models_dir().resolve() / "exercises"


def own_exercises() -> list[Path]:
    """The exercise files in the user's own folder, sorted by name; whether they fit is not looked at."""
    # macOS leaves ._NAME.onnx beside what is written to a stick.
    return sorted(p for p in places.exercises_folder().glob("*.onnx") if not p.name.startswith("."))


def find(name_or_path: str, kind: str) -> Path:
    """The file of a shipped model's name ("finger-stretch", "mobilenetv2"), or of an exercise's name in the
    user's own folder, or the path that was given.

    Raises:
        ModelError: no model of that name, or no file at that path.
    """
    path = Path(name_or_path)
    is_name = path.suffix != ".onnx" and path.name == name_or_path
    if is_name:
        folders = [_folder(kind), *([places.exercises_folder()] if kind == "exercise" else [])]
        for file in (folder / f"{name_or_path}.onnx" for folder in folders):
            if file.is_file():
                return file
    if path.is_file():
        return path
    if path.is_dir() and not is_name:
        raise ModelError(_folder_instead(path))
    what = {"exercise": "exercise", "finder": "hand finder", "landmarks": "landmark model"}[kind]
    beside = Path(f"{name_or_path}.onnx")
    if beside.is_file():  # its name without the ending
        raise ModelError(f"There is no {what} {name_or_path!r}; did you mean the file {beside}?")
    files = [*shipped(kind), *(own_exercises() if kind == "exercise" else [])]
    known = ", ".join(file.stem for file in files) or "none"
    if is_name:
        raise ModelError(f"There is no {what} {name_or_path!r}; known are: {known} (or give a .onnx file).")
    raise ModelError(f"There is no file {path}; give a .onnx file or one of the known names: {known}.")
