"""Training as the paper timed it (section 6.3), in a process of its own.

MobileNetV2 with one linear layer to 63 numbers, on whole pictures with ImageNet's statistics, Adam and the
squared error. Tasks, by `what`: `devices` says what there is to train on; `subset` reads a data set once and
keeps the same pictures for every case; `train` trains on them.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from handcoach.errors import HandCoachError
from handcoach_bench.children.serve import serve, tell
from handcoach_bench.stopwatch import peak_rss_mb

SEED = 42
NETWORK = "mobilenetv2"
RATE = 1e-5  # the paper's
ROWS = ("points", "joints", "K", "right", "group")  # of the samples, what a subset keeps


def devices(task: dict[str, Any]) -> dict[str, Any]:
    """Every device by torch's name: what it is, and in which mixed precision it computes (None: in none that
    pays)."""
    import torch

    from handcoach_train.training.run import bf16_pays

    found = [{"device": "cpu", "name": "CPU", "mixed": "bf16" if bf16_pays("cpu") else None}]
    if torch.cuda.is_available():
        mixed = "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
        found += [{"device": f"cuda:{i}", "name": torch.cuda.get_device_name(i), "mixed": mixed}
                  for i in range(torch.cuda.device_count())]  # fmt: skip
    if torch.backends.mps.is_available():
        found.append({"device": "mps", "name": "Apple GPU", "mixed": None})
    return {"devices": found, "torch": torch.__version__}


def subset(task: dict[str, Any]) -> dict[str, Any]:
    """Read a data set and keep the same pictures of it every time: `images` of them, or all if there are
    fewer. They go into the file `to`."""
    from handcoach_train import data

    samples = data.load(Path(task["data"]), task["variant"])
    chosen = np.random.default_rng(SEED).permutation(len(samples))[: task["images"]]
    kept = samples.take(np.sort(chosen))
    with Path(task["to"]).open("wb") as file:
        np.savez(file, files=[str(f) for f in kept.files], **{name: getattr(kept, name) for name in ROWS})
    return {"images": len(kept), "of": len(samples)}


def train(task: dict[str, Any]) -> dict[str, Any]:
    """Train `epochs` epochs; of each the seconds, those spent waiting for pictures, and the mean loss.

    On a GPU every step is waited for, since what is still under way there would count as waiting for the
    loader.
    """
    import torch
    from torch.nn import functional as F
    from torch.utils.data import DataLoader

    from handcoach_train.augment import normalise
    from handcoach_train.data import HandDataset, Samples
    from handcoach_train.networks import PaperNet

    kind, batch = task["device"].split(":")[0], task["batch"]
    _check(torch, task["device"])
    with np.load(task["subset"], allow_pickle=False) as kept:
        samples = Samples([Path(str(f)) for f in kept["files"]], **{name: kept[name] for name in ROWS})
    if len(samples) < batch:
        raise HandCoachError(
            f"{len(samples)} pictures are fewer than a batch of {batch}: give more --images."
        )
    if task["threads"]:
        torch.set_num_threads(task["threads"])
    torch.manual_seed(SEED)
    network = PaperNet(task["size"], NETWORK).to(task["device"]).train()
    optimiser = torch.optim.Adam(network.parameters(), lr=RATE)
    low = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[task["precision"]]
    scaler = torch.amp.GradScaler(kind, enabled=low is torch.float16)
    loader = DataLoader(
        HandDataset(samples, task["size"], as_bytes=True), batch, shuffle=True, drop_last=True,
        num_workers=task["workers"], persistent_workers=task["workers"] > 0, pin_memory=kind == "cuda",
        generator=torch.Generator().manual_seed(SEED),
    )  # fmt: skip
    wait = {"cuda": torch.cuda.synchronize, "mps": torch.mps.synchronize}.get(kind, lambda: None)
    if kind == "cuda":
        torch.cuda.reset_peak_memory_stats()
    # The first, of none, so that a missing psutil is said now and not after an epoch.
    loader_mb = _children_mb() if task["workers"] else 0.0
    epochs, steps, busy = [], len(loader), _cpu_s()
    for epoch in range(task["epochs"]):
        began = mark = time.perf_counter()
        loading = total = 0.0
        for number, items in enumerate(loader, 1):
            loading += time.perf_counter() - mark
            image = items["image"].to(task["device"], non_blocking=True)
            truth = items["landmarks"].to(task["device"], non_blocking=True)
            with torch.autocast(kind, low, enabled=low is not None):
                loss = F.mse_loss(network.raw(normalise(image.float() / 255)), truth)
            optimiser.zero_grad(set_to_none=True)
            scaler.scale(loss).backward()
            scaler.step(optimiser)
            scaler.update()
            wait()
            total += float(loss.detach())
            tell(task, epoch * steps + number, task["epochs"] * steps)
            mark = time.perf_counter()
        if task["workers"]:
            loader_mb = max(loader_mb, _children_mb())
        epochs.append({"seconds": mark - began, "loading_s": loading, "loss": total / steps})
    del loader  # its processes end, so that their time is known
    if not np.isfinite([e["loss"] for e in epochs]).all():
        raise HandCoachError(f"The loss is no finite number in {task['precision']}: this is no measurement.")
    own = peak_rss_mb()
    return {
        "peak_rss_mb": None if own is None else own + loader_mb,
        "loader_mb": loader_mb,
        "epochs": epochs,
        "images": steps * batch,  # of an epoch: the last, smaller batch is left out
        "cpu_s": _cpu_s() - busy,
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(task["device"]) if kind == "cuda" else task["device"],
        "gpu_mb": torch.cuda.max_memory_reserved(task["device"]) / 2**20 if kind == "cuda" else None,
        "torch": torch.__version__,
        "parameters": sum(p.numel() for p in network.parameters()),
    }


def _children_mb() -> float:
    """Memory in MB that the processes which load pictures have to themselves: what they share with this one
    is counted there."""
    import psutil

    total = 0
    for child in psutil.Process().children(recursive=True):
        try:
            total += child.memory_full_info().uss
        except psutil.Error:  # it is over, or another user's
            continue
    return total / 2**20


def _cpu_s() -> float:
    """CPU time of this process and, where the system tells it, of those that it started and that are over."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def _check(torch: Any, device: str) -> None:
    """Raises HandCoachError unless there is such a device."""
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        there = ", ".join(d["device"] for d in devices({})["devices"])
        raise HandCoachError(f"There is no device {device} here: take {there}.") from error


def work(task: dict[str, Any]) -> dict[str, Any]:
    try:
        return {"devices": devices, "subset": subset, "train": train}[task["what"]](task)
    except ModuleNotFoundError as error:
        raise HandCoachError(
            f'Training needs {error.name}, which is not installed: pip install "handcoach[train,bench]".'
        ) from error


if __name__ == "__main__":
    sys.exit(serve(sys.argv[1:], work))
