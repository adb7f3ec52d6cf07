"""Running a model file that was read: the only door to onnxruntime."""

from __future__ import annotations

import functools
import json
import math
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handcoach.contract import shape_text
from handcoach.errors import ModelError
from handcoach.model import ModelFile


@functools.cache
def _onnxruntime() -> Any:
    """Import onnxruntime on first use, with its telemetry off: for Linux and macOS `handcoach/__init__.py`
    says so before the import, for Windows it is said here."""
    try:
        import onnxruntime
    except ImportError as error:
        if "DLL load failed" in str(error):
            raise ModelError(
                "onnxruntime does not start because the Visual C++ runtime is missing; install the "
                "'Microsoft Visual C++ Redistributable' (x64) from Microsoft and start again.",
                "visual_cpp_missing",
            ) from error
        raise ModelError(
            f"onnxruntime cannot be imported ({error}); run: pip install onnxruntime", "runtime_missing"
        ) from error
    onnxruntime.disable_telemetry_events()
    return onnxruntime


def runtime_version() -> str:
    """Of the onnxruntime that is imported."""
    return str(_onnxruntime().__version__)


def _provider_options(provider: str, threads: int) -> dict[str, str]:
    """OpenVINO has threads of its own, and would take all of them."""
    if provider != "OpenVINOExecutionProvider":
        return {}
    return {
        "device_type": "CPU",
        "load_config": json.dumps({"CPU": {"INFERENCE_NUM_THREADS": str(threads)}}),
    }


def _make_session(data: bytes, threads: int, provider: str, profile: Path | None = None) -> Any:
    """An InferenceSession that really runs on `provider`.

    Spinning is off: threads that wait burn a laptop's battery, and a coach's frames are far apart.

    The memory arena is on. It is bounded here: pictures have one size and come one by one, so that it is as
    large after 2500 runs as after 15. Measured with mobilenetv2.onnx (onnxruntime 1.32, one thread, AMD EPYC,
    five fresh processes each): 109 to 112 MB and 1.87 to 1.92 ms with it, 108 to 129 MB and 1.92 to 2.12 ms
    without.
    """
    ort = _onnxruntime()
    if provider not in ort.get_available_providers():
        raise ModelError(f"the provider {provider} is not installed; use CPUExecutionProvider")
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.enable_cpu_mem_arena = True
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    try:
        if profile is not None:
            options.enable_profiling, options.profile_file_prefix = True, str(profile)
        session = ort.InferenceSession(
            data, options, providers=[(provider, _provider_options(provider, threads))]
        )
    except Exception as error:  # onnxruntime's own exceptions have no common base below Exception
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"cannot be loaded by onnxruntime on {provider} ({reason})") from error
    # Where a provider's libraries are missing, onnxruntime takes the CPU and says so only in its log.
    if session.get_providers()[0] != provider:
        raise ModelError(f"does not run on {provider}, which is installed but does not start here")
    return session


class Session:
    """A model file that runs. Use it from one thread at a time."""

    def __init__(self, file: ModelFile, threads: int = 1, provider: str = "CPUExecutionProvider") -> None:
        """
        Raises:
            ModelError: the file has changed since it was read, onnxruntime refuses it, or it would not run
                on `provider`.
        """
        if threads < 1:
            raise ValueError(f"threads must be at least 1, not {threads}")
        data = file.unchanged()
        try:
            self._session = _make_session(data, threads, provider)
        except ModelError as error:
            raise ModelError(f"{file.path}: {error}.", error.key) from error.__cause__
        self.file = file
        self._names = [tensor.name for tensor in file.outputs]

    @property
    def provider(self) -> str:
        """The execution provider that really runs."""
        return str(self._session.get_providers()[0])

    def run(self, array: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Run on one input of the contract's dtype and shape; outputs by name."""
        wanted = self.file.input
        if array.dtype != np.dtype(wanted.dtype) or array.shape[1:] != wanted.shape[1:]:
            right = f"{wanted.dtype} {shape_text(wanted.shape)}"
            raise ValueError(f"{wanted.name} must be {right}, not {array.dtype} {array.shape}")
        try:
            results = self._session.run(self._names, {wanted.name: np.ascontiguousarray(array)})
        except Exception as error:  # as above
            reason = " ".join(str(error).split())[:200]
            raise ModelError(f"{self.file.path} fails while it runs ({reason}); export it again.") from error
        outputs: dict[str, NDArray[Any]] = {}
        for tensor, value in zip(self.file.outputs, results, strict=True):
            if value.shape != (len(array), *tensor.shape[1:]):
                raise ModelError(f"{self.file.path} gives {tensor.name!r} in another shape than it says.")
            outputs[tensor.name] = value
        return outputs


def steps_by_provider(file: ModelFile, array: NDArray[Any], threads: int, provider: str) -> dict[str, int]:
    """How many steps of the model each provider runs, from onnxruntime's own record of one run. A session
    that lists a provider may still leave every step to another one.

    Raises:
        ModelError: as `Session`, or there is no record.
    """
    with tempfile.TemporaryDirectory(prefix="handcoach-") as folder:
        try:
            session = _make_session(file.unchanged(), threads, provider, Path(folder) / "run")
            session.run(None, {file.input.name: np.ascontiguousarray(array)})
            events = json.loads(Path(session.end_profiling()).read_text("utf-8"))
        except ModelError as error:
            raise ModelError(f"{file.path}: {error}.", error.key) from error.__cause__
        except Exception as error:  # onnxruntime's own exceptions have no common base below Exception
            reason = " ".join(str(error).split())[:200]
            raise ModelError(f"{file.path}: no record of a run on {provider} ({reason}).") from error
        finally:
            session = None
    ran = (event.get("args", {}).get("provider") for event in events if event.get("cat") == "Node")
    return dict(Counter(name for name in ran if name))


# y = Identity(x), x float32 (1,): IR version 8, opset 13. Enough to see whether a provider computes.
_PROBE = bytes.fromhex(
    "08083a370a100a017812017922084964656e746974791201675a0f0a0178120a0a08080112040a02080162"
    "0f0a0179120a0a08080112040a02080142040a00100d"
)


def providers() -> list[str]:
    """Execution providers that really compute on this machine, the CPU among them. Azure's computes
    elsewhere and is left out."""
    return list(_working_providers())


def listed_providers() -> list[str]:
    """Execution providers that onnxruntime was built with, whether they compute here or not."""
    return [name for name in _onnxruntime().get_available_providers() if name != "AzureExecutionProvider"]


@functools.cache
def _working_providers() -> tuple[str, ...]:
    working = []
    for provider in listed_providers():
        try:
            session = _make_session(_PROBE, 1, provider)
            result = session.run(None, {"x": np.array([math.pi], dtype=np.float32)})[0]
        except Exception:  # whatever a driver raises: this provider does not compute here
            continue
        if np.isclose(result[0], math.pi):
            working.append(provider)
    return tuple(working)
