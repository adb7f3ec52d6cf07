"""Images per second: our loop against the plain loop that the paper describes, same network and machine.

The plain loop opens every picture by PIL and changes it by torchvision's transforms one by one, in the
loader, and computes in float32. Ours decodes by OpenCV, changes whole batches on the device, and computes
channels last, in bfloat16 where that pays. Both decode the same files, in batches of the same size, with as
many workers.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms
from tqdm import tqdm

from handcoach_train.augment import augment, normalise
from handcoach_train.data import HandDataset, Samples
from handcoach_train.errors import TrainError
from handcoach_train.networks import MEAN, STD, PaperNet
from handcoach_train.training.run import Machine, bf16_pays

BATCH = 16
AHEAD = 2  # batches that each worker loads before they are asked for


class PlainSet(Dataset):
    """The paper's data set as one writes it first: PIL, and transforms of one picture.

    Only the picture is turned, cropped and coloured: the labels' part costs next to nothing.
    """

    def __init__(self, samples: Samples, size: int) -> None:
        self.files = samples.files
        self.landmarks = HandDataset(samples, size).landmarks
        self.change = transforms.Compose([
            transforms.ToTensor(),
            transforms.RandomRotation(30),
            transforms.RandomHorizontalFlip(),
            transforms.ColorJitter(0.2, 0.2, 0.2, 0.02),
            transforms.RandomResizedCrop(size, (0.8, 1.0), (0.75, 1.33), antialias=True),
            transforms.Normalize(MEAN, STD),
        ])  # fmt: skip

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, i: int) -> tuple[Tensor, np.ndarray]:
        with Image.open(self.files[i]) as picture:
            return self.change(picture.convert("RGB")), self.landmarks[i]


@dataclass
class _Loop:
    """A network with its optimiser and data; `step` trains on one batch and says how many pictures it had."""

    name: str
    step: Callable[[Any], int]
    loader: DataLoader

    def batches(self) -> Generator[Any, None, None]:
        while True:
            yield from self.loader


def compare(
    samples: Samples, network: str, size: int, images: int, rounds: int, machine: Machine
) -> dict[str, Any]:
    """Rates of both loops, measured in turns.

    Args:
        images: pictures that each loop trains on in a round, after a warm-up that takes all that its workers
            had loaded before: what is measured is what goes on for hours.

    Returns:
        images per second of every round and their medians, with the ratio, and what was measured where.

    Raises:
        TrainError: fewer pictures than a batch, or no such network.
    """
    if len(samples) < BATCH:
        raise TrainError(f"{len(samples)} pictures are too few to measure: a batch has {BATCH}.")
    if machine.threads:
        torch.set_num_threads(machine.threads)
    device = machine.accelerator
    steps = max(1, images // BATCH)
    first = PaperNet(size, network)
    loops = [
        _ours(copy.deepcopy(first), samples, device, machine),
        _plain(first, samples, device, machine),
    ]
    rates: dict[str, list[float]] = {loop.name: [] for loop in loops}
    with tqdm(total=rounds * len(loops), desc="throughput", unit="round") as bar:
        for turn in range(rounds):
            # Who begins changes, so that a machine that grows warm favours neither.
            for loop in loops if turn % 2 == 0 else loops[::-1]:
                stream = loop.batches()
                _run(loop, stream, AHEAD * machine.workers + 2, device)
                rates[loop.name].append(_run(loop, stream, steps, device))
                stream.close()  # its workers must not load while the other loop is measured
                bar.update()
    medians = {name: float(np.median(r)) for name, r in rates.items()}
    return {
        "network": network,
        "size": size,
        "batch": BATCH,
        "images_per_round": steps * BATCH,
        "images_per_second": {name: [round(x, 2) for x in r] for name, r in rates.items()},
        "median": {name: round(x, 2) for name, x in medians.items()},
        "ratio": round(medians["ours"] / medians["plain"], 3),
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "workers": machine.workers,
        "bf16": bf16_pays(device),
        "torch": torch.__version__,
    }


def _run(loop: _Loop, stream: Iterator[Any], steps: int, device: str) -> float:
    """Images per second of so many steps, loading included."""
    start, count = time.perf_counter(), 0
    for _ in range(steps):
        count += loop.step(next(stream))
    if device == "cuda":
        torch.cuda.synchronize()
    return count / (time.perf_counter() - start)


def _loader(items: Dataset, machine: Machine, device: str) -> DataLoader:
    return DataLoader(items, BATCH, shuffle=True, drop_last=True, num_workers=machine.workers,
                      prefetch_factor=AHEAD if machine.workers else None,
                      pin_memory=device == "cuda")  # fmt: skip


def _ours(network: PaperNet, samples: Samples, device: str, machine: Machine) -> _Loop:
    network = network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-5)
    low = bf16_pays(device)

    def step(items: dict[str, Any]) -> int:
        moved = {k: v.to(device, non_blocking=True) for k, v in items.items() if isinstance(v, Tensor)}
        changed = augment(moved)
        x = normalise(changed["image"]).contiguous(memory_format=torch.channels_last)
        with torch.autocast(device, torch.bfloat16, enabled=low):
            loss = F.mse_loss(network.raw(x), changed["landmarks"])
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        return len(x)

    items = HandDataset(samples, network.size, train=True, as_bytes=True)
    return _Loop("ours", step, _loader(items, machine, device))


def _plain(network: PaperNet, samples: Samples, device: str, machine: Machine) -> _Loop:
    network = network.to(device)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-5)

    def step(items: tuple[Tensor, Tensor]) -> int:
        x, landmarks = (t.to(device) for t in items)
        loss = F.mse_loss(network.raw(x), landmarks)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        return len(x)

    return _Loop("plain", step, _loader(PlainSet(samples, network.size), machine, device))
