"""What a measurement was made on. Numbers from two machines are two numbers, never a comparison."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

# Instruction sets that decide how fast a network runs, in fp32 and in int8.
FLAGS = (
    "avx", "avx2", "fma", "f16c", "avx_vnni", "avx512f", "avx512bw", "avx512_vnni", "avx512_bf16", "amx_int8",
    "asimd", "asimddp", "i8mm", "sve",
)  # fmt: skip
PACKAGES = ("handcoach", "numpy", "onnxruntime", "onnxruntime-gpu", "onnxruntime-directml",
            "opencv-python-headless", "opencv-python")  # fmt: skip


@dataclass(frozen=True)
class Machine:
    """A machine as far as this program can see it; None is unknown.

    Attributes:
        cpu: its name.
        flags: those of `FLAGS` that it has; None where the system does not say.
        cores, threads: physical and logical processors; usable: those this process may run on.
        caches: size by level, for example {"L2": "1024K"}, of one instance.
        memory_mb: total memory.
        governor: the frequency governor of cpu0.
        virtual: a hypervisor is underneath.
        load: mean number of busy processes in the last minute, before the measurements.
        unknown: why something above is None.
    """

    cpu: str
    flags: tuple[str, ...] | None
    cores: int | None
    threads: int | None
    usable: int | None
    caches: dict[str, str]
    memory_mb: int | None
    governor: str | None
    virtual: bool | None
    load: float | None
    os: str
    python: str
    versions: dict[str, str]
    unknown: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def lines(self) -> list[str]:
        """For the terminal."""
        caches = ", ".join(f"{level} {size}" for level, size in self.caches.items())
        parts = [f"{self.cores or '?'} cores", f"{self.threads or '?'} threads"]
        if self.usable and self.usable != self.threads:
            parts.append(f"{self.usable} usable")
        if caches:
            parts.append(caches)
        if self.memory_mb:
            parts.append(f"{self.memory_mb / 1024:.1f} GB memory")
        if self.governor:
            parts.append(f"governor {self.governor}")
        if self.virtual:
            parts.append("virtual")
        lines = [f"{self.cpu}: {', '.join(parts)}"]
        if self.flags:
            lines.append(f"flags: {' '.join(self.flags)}")
        lines.append(
            f"{self.os}; Python {self.python}; " + ", ".join(f"{k} {v}" for k, v in self.versions.items())
        )
        if self.load is not None and self.threads and self.load > 0.3 * self.threads:
            lines.append(f"note: the machine was busy (load {self.load:.1f}); the times below suffer from it")
        return lines + [f"note: {why}" for why in self.unknown]


def describe(root: Path = Path("/")) -> Machine:
    """This machine; `root` is where proc and sys lie, for tests."""
    info = _text(root / "proc/cpuinfo")
    fields: dict[str, list[str]] = {}
    for name, value in re.findall(r"^([^\n:]+?)[ \t]*:[ \t]*(.*)$", info, re.M):
        fields.setdefault(name, []).append(value)
    raw = set((fields.get("flags") or fields.get("Features") or [""])[0].split())
    flags: tuple[str, ...] | None = tuple(flag for flag in FLAGS if flag in raw) if raw else None
    cpu = (fields.get("model name") or [""])[0]
    virtual: bool | None = "hypervisor" in raw if raw else None
    memory = re.search(r"^MemTotal:\s+(\d+) kB", _text(root / "proc/meminfo"), re.M)
    memory_mb = int(memory[1]) // 1024 if memory else None
    pairs = set(zip(fields.get("physical id", []), fields.get("core id", []), strict=False))
    cores: int | None = len(pairs) or None

    if sys.platform == "darwin" and not info:
        cpu = _sysctl("machdep.cpu.brand_string")
        words = f"{_sysctl('machdep.cpu.features')} {_sysctl('machdep.cpu.leaf7_features')}".lower().split()
        known = {"avx1.0": "avx", "avx2": "avx2", "fma": "fma", "f16c": "f16c", "avx512f": "avx512f"}
        arm = {"hw.optional.AdvSIMD": "asimd", "hw.optional.arm.FEAT_DotProd": "asimddp",
               "hw.optional.arm.FEAT_I8MM": "i8mm"}  # fmt: skip
        flags = tuple(known[w] for w in words if w in known) + tuple(
            flag for key, flag in arm.items() if _sysctl(key) == "1"
        )
        memory_mb = int(_sysctl("hw.memsize") or 0) // 2**20 or None
        cores = int(_sysctl("hw.physicalcpu") or 0) or None

    unknown = []
    if memory_mb is None or cores is None:
        try:
            import psutil
        except ImportError:
            unknown.append(
                'memory or cores are unknown here without psutil; run: pip install "handcoach[bench]"'
            )
        else:
            memory_mb = memory_mb or psutil.virtual_memory().total // 2**20
            cores = cores or psutil.cpu_count(logical=False)
    if flags is None:
        unknown.append("this system does not list the CPU's instruction sets")
    affinity = getattr(os, "sched_getaffinity", None)  # Linux only
    load = getattr(os, "getloadavg", None)  # not on Windows
    return Machine(
        cpu=cpu or platform.processor() or platform.machine() or "unknown CPU",
        flags=flags,
        cores=cores,
        threads=os.cpu_count(),
        usable=len(affinity(0)) if affinity else None,
        caches=_caches(root / "sys/devices/system/cpu/cpu0/cache"),
        memory_mb=memory_mb,
        governor=_text(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor") or None,
        virtual=virtual,
        load=round(load()[0], 2) if load else None,
        os=platform.platform(),
        python=platform.python_version(),
        versions=_versions(),
        unknown=tuple(unknown),
    )


def _versions() -> dict[str, str]:
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _caches(folder: Path) -> dict[str, str]:
    """{"L1d": "48K", ...} from the folders index0, index1, ... of one processor."""
    caches = {}
    for index in sorted(folder.glob("index*")) if folder.is_dir() else []:
        level, size, kind = (_text(index / name) for name in ("level", "size", "type"))
        if level and size:
            caches[f"L{level}" + {"Data": "d", "Instruction": "i"}.get(kind, "")] = size
    return caches


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


def _sysctl(name: str) -> str:
    try:
        done = subprocess.run(["sysctl", "-n", name], capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()
