"""Environments of their own, for what cannot lie beside the rest: other builds of onnxruntime share its
module.

They are made on first use in the user's cache, with the numpy and OpenCV of this environment, and get a
copy of HandCoach each time, so that what is measured there is the code that is here.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Collection, Sequence
from importlib import metadata
from pathlib import Path

import handcoach
import handcoach_bench
from handcoach.errors import HandCoachError

CPU = "CPUExecutionProvider"
# Execution providers by the names that people use, and the package whose onnxruntime has them; None where
# only the usual package or a build of one's own has it.
PROVIDERS: dict[str, str | None] = {
    "CPUExecutionProvider": "onnxruntime",
    "CUDAExecutionProvider": "onnxruntime-gpu[cuda,cudnn]",
    "TensorrtExecutionProvider": "onnxruntime-gpu[cuda,cudnn]",
    "DmlExecutionProvider": "onnxruntime-directml",
    "OpenVINOExecutionProvider": "onnxruntime-openvino",
    "CoreMLExecutionProvider": None,
    "XnnpackExecutionProvider": None,
}
MORE = {"TensorrtExecutionProvider": ("tensorrt",)}  # packages that a provider needs besides
ALIASES = {"directml": "DmlExecutionProvider"}
# What HandCoach itself imports where a model is timed.
NEEDED = ("numpy", "opencv-python-headless", "cryptography", "psutil")


def provider_named(name: str) -> str:
    """The full name of a provider, from "openvino", "OpenVINO" or "OpenVINOExecutionProvider".

    Raises:
        HandCoachError: there is no such provider.
    """
    plain = name.lower().removesuffix("executionprovider")
    for provider in PROVIDERS:
        if provider.lower().removesuffix("executionprovider") == plain:
            return provider
    if plain in ALIASES:
        return ALIASES[plain]
    known = ", ".join(p.removesuffix("ExecutionProvider") for p in PROVIDERS)
    raise HandCoachError(f"There is no execution provider {name!r}: take {known}, or all.")


def why_not(provider: str, gpus: Collection[str], platform: str = sys.platform) -> str | None:
    """Why a provider that is not installed cannot be had on this machine, or None where it may be."""
    if provider in ("CUDAExecutionProvider", "TensorrtExecutionProvider") and not any(
        "nvidia" in gpu.lower() for gpu in gpus
    ):
        return "it needs an NVIDIA GPU, and nvidia-smi shows none here"
    if provider == "DmlExecutionProvider" and platform != "win32":
        return "DirectML is part of Windows"
    if provider == "CoreMLExecutionProvider":
        if platform == "darwin":
            return "it computes nothing with the installed onnxruntime"
        return "CoreML is part of macOS"
    if provider == "XnnpackExecutionProvider":
        return "no package of onnxruntime has it: install a build of your own with XNNPACK"
    return None


def child_command(provider: str, working: Collection[str], gpus: Collection[str]) -> tuple[str, ...] | None:
    """What runs a case on this provider: None for this environment, where it computes.

    Raises:
        HandCoachError: it cannot be had here.
    """
    if provider in working:
        return None
    if why := why_not(provider, gpus):
        raise HandCoachError(why)
    package = PROVIDERS[provider]
    assert package is not None  # why_not has said so
    try:
        own = [f"{name}=={metadata.version(name)}" for name in NEEDED]
    except metadata.PackageNotFoundError as error:
        raise HandCoachError(f'{error.name} is missing: pip install "handcoach[bench]".') from error
    python = make(
        provider.removesuffix("ExecutionProvider").lower(), [package, *MORE.get(provider, ()), *own]
    )
    refresh(python)
    return (str(python), "-m", "handcoach_bench.child")


def cache() -> Path:
    """Where environments lie; HANDCOACH_BENCH_CACHE moves it."""
    if chosen := os.environ.get("HANDCOACH_BENCH_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "handcoach" / "bench"


def make(name: str, requirements: Sequence[str]) -> Path:
    """The python of an environment with these requirements, made where it is not there yet.

    Raises:
        HandCoachError: it cannot be made.
    """
    folder = cache() / f"{name}-py{sys.version_info[0]}{sys.version_info[1]}"
    inside = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    ready = folder / "ready.json"  # written last: a half-made environment is made again
    wanted = json.dumps(list(requirements))
    if inside.exists() and ready.is_file() and ready.read_text("utf-8") == wanted:
        return inside
    print(
        f"Making an environment with {', '.join(requirements)} in {folder} ...", file=sys.stderr, flush=True
    )
    # With this environment's pip: a pip of its own would take longer than all the rest.
    pip = [sys.executable, "-m", "pip", "--python", str(inside), "install", "--quiet", "--no-compile"]
    for command in (
        [sys.executable, "-m", "venv", "--clear", "--without-pip", str(folder)],
        [*pip, "--disable-pip-version-check", *requirements],
    ):
        try:
            done = subprocess.run(command, capture_output=True, text=True, errors="replace")
            failed, last = done.returncode != 0, done.stderr.strip().splitlines()[-1:]
        except OSError as error:
            failed, last = True, [str(error)]
        if failed:
            raise HandCoachError(
                f"the environment for {requirements[0]} could not be made in {folder} ("
                + "".join(line[:200] for line in last)
                + ")"
            )
    ready.write_text(wanted, "utf-8")
    return inside


def refresh(python: Path) -> None:
    """Copy HandCoach and this package, without models, to where that python finds them.

    Raises:
        HandCoachError: that python does not run.
    """
    asked = "import sysconfig; print(sysconfig.get_path('purelib'))"
    try:
        said = subprocess.run([str(python), "-c", asked], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise HandCoachError(f"{python} does not run: delete its folder, and it is made again") from error
    for package in (handcoach, handcoach_bench):
        source = Path(str(package.__file__)).parent
        target = Path(said.strip()) / source.name
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "models", "*.mp4"))
