"""What a measurement was made on. Numbers from two machines are two numbers, never a comparison."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

# Instruction sets that decide how fast a network runs, in fp32 and in int8.
FLAGS = (
    "avx", "avx2", "fma", "f16c", "avx_vnni", "avx512f", "avx512bw", "avx512_vnni", "avx512_bf16", "amx_int8",
    "asimd", "asimddp", "i8mm", "sve",
)  # fmt: skip
PACKAGES = ("handcoach", "numpy", "onnxruntime", "onnxruntime-gpu", "onnxruntime-directml", "torch",
            "opencv-python-headless", "opencv-python")  # fmt: skip


@dataclass(frozen=True)
class Machine:
    """A machine as far as this program can see it; None is unknown.

    Attributes:
        cpu: its name; family, model, stepping: what tells processors of one name apart, where Linux says it.
        flags: those of `FLAGS` that it has; None where the system does not say.
        cores, threads: physical and logical processors; usable: those this process may run on.
        caches: size by level, for example {"L2": "1024K"}, of one instance.
        memory_mb: total memory.
        gpus: names, with the driver where it is NVIDIA's.
        power: what feeds it: "mains", "battery 63 %"; None where the system does not say.
        governor: the frequency governor of cpu0.
        virtual: a hypervisor is underneath.
        load: mean number of busy processes in the last minute, before the measurements.
        unknown: why something above is None.
    """

    cpu: str
    family: str | None
    model: str | None
    stepping: str | None
    flags: tuple[str, ...] | None
    cores: int | None
    threads: int | None
    usable: int | None
    caches: dict[str, str]
    memory_mb: int | None
    gpus: tuple[str, ...]
    power: str | None
    governor: str | None
    virtual: bool | None
    load: float | None
    os: str
    python: str
    versions: dict[str, str]
    unknown: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        return {
            key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()
        }

    def lines(self) -> list[str]:
        """For the terminal."""
        caches = ", ".join(f"{level} {size}" for level, size in self.caches.items())
        parts = [said] if (said := kind(asdict(self))) else []
        parts += [f"{self.cores or '?'} cores", f"{self.threads or '?'} threads"]
        if self.usable and self.usable != self.threads:
            parts.append(f"{self.usable} usable")
        if caches:
            parts.append(caches)
        if self.memory_mb:
            parts.append(f"{self.memory_mb / 1024:.1f} GB memory")
        if self.power:
            parts.append(f"on {self.power}")
        if self.governor:
            parts.append(f"governor {self.governor}")
        if self.virtual:
            parts.append("virtual")
        lines = [f"{self.cpu}: {', '.join(parts)}"]
        lines += [f"GPU: {gpu}" for gpu in self.gpus]
        if self.flags:
            lines.append(f"flags: {' '.join(self.flags)}")
        lines.append(
            f"{self.os}; Python {self.python}; " + ", ".join(f"{k} {v}" for k, v in self.versions.items())
        )
        if why := busy(asdict(self)):
            lines.append(f"note: {why}; the times below suffer from it")
        if self.power and self.power.startswith("battery"):
            lines.append("note: on battery a laptop slows down when it likes; plug it in to compare")
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

    def first(*names: str) -> str | None:
        return next((fields[name][0] for name in names if name in fields), None)

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
        family=first("cpu family", "CPU implementer"),
        model=first("model", "CPU part"),
        stepping=first("stepping", "CPU revision"),
        flags=flags,
        cores=cores,
        threads=os.cpu_count(),
        usable=len(affinity(0)) if affinity else None,
        caches=_caches(root / "sys/devices/system/cpu/cpu0/cache"),
        memory_mb=memory_mb,
        gpus=_gpus(root),
        power=_power(root / "sys/class/power_supply"),
        governor=_text(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor") or None,
        virtual=virtual,
        load=round(load()[0], 2) if load else None,
        os=platform.platform(),
        python=platform.python_version(),
        versions=_versions(),
        unknown=tuple(unknown),
    )


BUSY = 0.3  # more load than this share of the processors that may be used disturbs


def busy(machine: Mapping[str, Any]) -> str | None:
    """What to say of a machine on which others were at work before the measurements, or None.

    Args:
        machine: as a file has it.
    """
    load, processors = machine.get("load"), machine.get("usable") or machine.get("threads")
    if load is None or not processors or load <= BUSY * processors:
        return None
    return f"the machine was busy (load {load:.1f} on {processors} usable processor{'s' * (processors > 1)})"


def kind(machine: Mapping[str, Any]) -> str:
    """Which of the processors of one name it is, or nothing."""
    names = ("family", "model", "stepping")
    return " ".join(f"{name} {machine[name]}" for name in names if machine.get(name) is not None)


# What makes two machines the same one; a governor or a version is a condition, and only named.
SAME = (
    "cpu",
    "family",
    "model",
    "stepping",
    "flags",
    "cores",
    "threads",
    "usable",
    "caches",
    "memory_mb",
    "gpus",
)
CONDITIONS = ("power", "governor", "os", "python")


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """In what two machines of files differ, so that their figures are of two machines; [] for the same
    one."""
    return _unlike(one, other, SAME)


def conditions(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """In what the conditions on one machine differ: versions, governor, power."""
    mine, theirs = one["versions"], other["versions"]
    return _unlike(one, other, CONDITIONS) + unlike_versions(mine, theirs)


def unlike_versions(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """Also what only one of both has."""
    return [
        f"{name} {one.get(name)} / {other.get(name)}"
        for name in {**one, **other} if one.get(name) != other.get(name)
    ]  # fmt: skip


def _unlike(one: Mapping[str, Any], other: Mapping[str, Any], keys: Sequence[str]) -> list[str]:
    def said(machine: Mapping[str, Any], key: str) -> str:
        value = machine.get(key)
        return " ".join(map(str, value)) if isinstance(value, list) else str(value)

    # Files of before a figure was kept say nothing about it, so that it tells no two machines apart.
    pairs = [(key, said(one, key), said(other, key)) for key in keys if key in one and key in other]
    return [
        f"{key} {a} / {b}" for key, a, b in pairs
        if a != b and not (key == "memory_mb" and _near(one.get(key), other.get(key)))
    ]  # fmt: skip


def _near(a: int | None, b: int | None) -> bool:
    """A kernel update changes the memory that is left by a little."""
    return a is not None and b is not None and abs(a - b) < 0.02 * max(a, b)


def _gpus(root: Path) -> tuple[str, ...]:
    """NVIDIA's by nvidia-smi, others by the name of their kernel driver."""
    found = _said("nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader")
    gpus = [f"NVIDIA {line.strip().removeprefix('NVIDIA ')}" for line in found.splitlines() if line.strip()]
    for card in sorted((root / "sys/class/drm").glob("card?")):
        driver = re.search(r"^DRIVER=(\S+)$", _text(card / "device/uevent"), re.M)
        if driver and not driver[1].startswith(("nvidia", "virtio", "simple", "bochs", "vga")):
            gpus.append(driver[1])
    return tuple(gpus)


def _power(folder: Path) -> str | None:
    """Linux says it in /sys; where it does not, psutil is asked."""
    kinds = {path.name: _text(path / "type") for path in sorted(folder.glob("*"))} if folder.is_dir() else {}
    batteries = [folder / name for name, kind in kinds.items() if kind == "Battery"]
    mains = [_text(folder / name / "online") for name, kind in kinds.items() if kind == "Mains"]
    if "1" in mains:
        return "mains"
    if batteries and ("0" in mains or _text(batteries[0] / "status") == "Discharging"):
        return f"battery {_text(batteries[0] / 'capacity') or '?'} %"
    if batteries:
        return "mains"  # a battery that is charged or full
    try:
        import psutil

        battery = psutil.sensors_battery()
    except (ImportError, AttributeError, OSError):
        return None
    if battery is None or battery.power_plugged is None:
        return None
    return "mains" if battery.power_plugged else f"battery {battery.percent:.0f} %"


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
    return _said("sysctl", "-n", name)


def _said(*command: str) -> str:
    """What a program says, or nothing."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
