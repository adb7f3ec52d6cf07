"""One run in one folder, whatever is trained: devices, checkpoints, log, and going on after a stop.

A run's folder holds NAME.safetensors (the best weights, with their whole configuration), last.ckpt
(Lightning's, from which the same command goes on), log.jsonl (a line for each look at the validation data),
statistics.json and the TensorBoard logs. All are written beside and renamed: what is there is whole.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import signal
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from lightning_fabric.utilities.rank_zero import rank_zero_only
from pytorch_lightning.callbacks import TQDMProgressBar
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.plugins import TorchCheckpointIO
from safetensors import SafetensorError
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn
from torch.utils.data import DataLoader

from handcoach_train.data import FinderSet, LandmarkSet, ResidentSet, Samples
from handcoach_train.errors import TrainError
from handcoach_train.networks import load_checkpoint, load_training, save_checkpoint
from handcoach_train.training.draws import Draws

NONE = Path("none")  # as a file of weights: random ones
PRECISIONS = {"auto": "", "32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}


Pictures = LandmarkSet | FinderSet | ResidentSet | Samples


def began_with(weights: Path | None, start: Path | None = None) -> str:
    """For the record: which weights a training began with."""
    if start:
        return start.name
    return "random" if weights == NONE else "ImageNet" if weights is None else weights.name


def about(
    data: dict[str, Any] | None, training: Pictures, validation: Pictures, **more: Any
) -> dict[str, Any]:
    """For the record, and for whoever goes on: what a training is shown."""
    return {
        **(data or {}), "training": len(training), "validation": len(validation),
        "pictures": [checksum(training), checksum(validation)], **more,
    }  # fmt: skip


def checksum(shown: Pictures) -> str:
    """Of the pictures' names and what is known of them; not of where they lie, so that a run may move."""
    if isinstance(shown, FinderSet):
        frames = [(Path(frame["file"]).name, len(frame["hands"])) for frame in shown.frames]
        return hashlib.sha256(repr(frames).encode()).hexdigest()[:16]
    shown = shown.hands if isinstance(shown, ResidentSet) else shown
    s = shown.samples if isinstance(shown, LandmarkSet) else shown
    digest = hashlib.sha256("\n".join(Path(file).name for file in s.files).encode())
    for known in (s.points, s.joints, s.right):
        digest.update(np.ascontiguousarray(known).tobytes())
    return digest.hexdigest()[:16]


@dataclass(frozen=True)
class Machine:
    """What a run may be given without changing what is trained.

    Attributes:
        device: auto, cpu or cuda. devices, nodes, strategy: Lightning's (`ddp` for several devices).
        precision: of `PRECISIONS`; auto: bfloat16 where it pays. accumulate: parts of a batch that are
            computed one after the other. workers: processes that load pictures, for each device.
        threads: of the network on a CPU. minutes: stop at the first check after this long; the same command
            goes on.

    Raises:
        TrainError: not even one device or part, or less than no worker or thread.
    """

    device: str = "auto"
    devices: int = 1
    nodes: int = 1
    strategy: str = "auto"
    precision: str = "auto"
    accumulate: int = 1
    workers: int = 1
    threads: int | None = None
    minutes: float | None = None

    def __post_init__(self) -> None:
        if min(self.devices, self.nodes, self.accumulate) < 1 or self.workers < 0:
            raise TrainError(
                "--devices, --num-nodes and --accumulate must be at least 1, --workers at least 0."
            )
        if self.threads is not None and self.threads < 0:
            raise TrainError("--threads must be at least 0.")

    @property
    def accelerator(self) -> str:
        """cpu or cuda."""
        if self.device == "cuda" and not torch.cuda.is_available():
            raise TrainError("There is no CUDA device here: leave out --device, or take --device cpu.")
        return ("cuda" if torch.cuda.is_available() else "cpu") if self.device == "auto" else self.device

    @property
    def mixed(self) -> Any:
        """Lightning's name of the precision."""
        return PRECISIONS[self.precision] or ("bf16-mixed" if bf16_pays(self.accelerator) else "32-true")


class Training(pl.LightningModule):
    """What is common to everything that is trained.

    Attributes:
        network: what is trained. average: what is measured and kept; may be the network itself.
        settings: {"config", "recipe", "data"}: a run goes on with the same ones only.
        monitor: the figure that chooses the checkpoint, lower is better. patience: looks at the validation
            data without a better one, after which the training ends; None: never.
    """

    network: nn.Module
    average: nn.Module
    monitor = "val_score"
    patience: int | None = None

    def __init__(self, settings: dict[str, Any], seed: int) -> None:
        super().__init__()
        self.settings, self.seed = settings, seed

    def on_train_epoch_start(self) -> None:
        # What is drawn on the device (dropout, the paper's augmentation) depends on the epoch alone.
        torch.manual_seed(hash((self.seed, self.current_epoch, self.global_rank)) % 2**63)
        self.network.train()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["handcoach"] = self.settings

    def after_check(self, value: float) -> None:
        """Called with the validation figure after every look at it."""


class Keep(pl.Callback):
    """After every look at the validation data: the best checkpoint, the state to go on from, a log line."""

    def __init__(self, folder: Path, draws: Draws, minutes: float | None) -> None:
        self.draws = draws
        self.folder, self.limit = folder, math.inf if minutes is None else minutes * 60
        self.best, self.waited, self.spent = math.inf, 0, 0.0
        self.start = self.mark = time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "waited": self.waited, "spent": self.spent}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best, self.waited, self.spent = (state_dict[k] for k in ("best", "waited", "spent"))

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self.draws.rank = trainer.global_rank  # known once all processes are there

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.start = self.mark = time.monotonic()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, Training)
        figures = {k: float(v) for k, v in trainer.callback_metrics.items()}
        value = figures[pl_module.monitor]
        if not math.isfinite(value):
            raise TrainError(
                f"{pl_module.monitor} is {value} after {trainer.global_step} steps: "
                "start again in another folder with a lower rate."
            )
        better = value < self.best
        self.best, self.waited = min(value, self.best), 0 if better else self.waited + 1
        now = time.monotonic()
        self.spent += now - self.mark
        self.mark = now
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        pl_module.after_check(value)
        entry = {
            "step": trainer.global_step, "epoch": trainer.current_epoch + 1,
            "minutes": round(self.spent / 60, 2), "rate": rate, **figures,
        }  # fmt: skip
        if trainer.is_global_zero:
            if better:
                self._save_best(pl_module, figures, trainer.global_step)
            statistics = {
                pl_module.monitor: self.best, "epoch": trainer.current_epoch + 1, "plateau": self.waited,
            }  # fmt: skip
            with written(self.folder / "statistics.json") as partial:
                partial.write_text(json.dumps(statistics, indent=1) + "\n")
        with written(self.folder / "last.ckpt", trainer.is_global_zero) as partial:
            trainer.save_checkpoint(partial)
        if trainer.is_global_zero:
            short = {k: v if isinstance(v, int) else float(f"{v:.6g}") for k, v in entry.items()}
            line = json.dumps(short)
            with writing(self.folder / "log.jsonl") as file, file.open("a") as log:
                log.write(line + "\n")
            if trainer.progress_bar_callback:
                trainer.progress_bar_callback.print(line)
        ended = pl_module.patience is not None and self.waited >= pl_module.patience
        if ended or now - self.start > self.limit:
            trainer.should_stop = True

    def _save_best(self, module: Training, figures: dict[str, float], step: int) -> None:
        config = module.settings["config"]
        note = {
            **config,
            "accuracy": {k.removeprefix("val_"): round(v, 5) for k, v in figures.items() if k[:4] == "val_"},
            "steps": step, "recipe": module.settings["recipe"], "data": module.settings["data"],
        }  # fmt: skip
        path = self.folder / f"{config['name']}.safetensors"
        with writing(path):
            save_checkpoint(module.average, note, path)


class _Beside(TorchCheckpointIO):
    """Writes where it is told to, where Lightning's own goes through /tmp, which may be small."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        try:
            with Path(path).open("wb") as file:
                torch.save(checkpoint, file)
        except RuntimeError as error:
            if isinstance(error.__context__, OSError):  # torch hides why a write failed
                raise error.__context__ from error
            raise


class _Bar(TQDMProgressBar):
    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        return {"lr": trainer.optimizers[0].param_groups[0]["lr"]}  # not the version of a log


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """A write that fails is one sentence."""
    try:
        yield path
    except (OSError, SafetensorError) as error:
        path.with_name(path.name + ".partial").unlink(missing_ok=True)
        raise TrainError(
            f"{path} could not be written ({error}): make room and run the same command again; "
            "what was saved before is whole."
        ) from error


@contextmanager
def written(path: Path, rename: bool = True) -> Iterator[Path]:
    """A path to write beside, renamed to the given one when all of it is there."""
    partial = path.with_name(path.name + ".partial")
    with writing(path):
        yield partial
        if rename:
            partial.replace(path)


@rank_zero_only
def say(what: object) -> None:
    """Print, once for all processes."""
    print(what)


def loaders(training: Any, validation: Any, draws: Draws, machine: Machine) -> tuple[DataLoader, DataLoader]:
    """Of the training's batches, and of the validation data in order; workers persist, memory is pinned."""
    # Before the workers are forked: a fork has OpenCV's locks, but not the threads that would open them.
    cv2.setNumThreads(1)
    shared: dict[str, Any] = {
        "num_workers": machine.workers,
        "pin_memory": machine.accelerator == "cuda",  # elsewhere there is nothing to pin it for
        # Else an iterator's seed is taken from what dropout and augmentation draw from.
        "generator": torch.Generator(),
    }
    size = draws.batch // (draws.ranks * draws.parts)
    own: dict[str, Any] = {"persistent_workers": machine.workers > 0, **shared}
    if isinstance(training, ResidentSet):  # it makes whole batches, where they are needed
        own = {"collate_fn": dict}
    return DataLoader(training, size, sampler=draws, **own), DataLoader(validation, size, **shared)


def fit(
    module: Training, batches: DataLoader, checking: DataLoader, run: Path, machine: Machine, epochs: int,
    clip: float | None = None,
) -> dict[str, float]:  # fmt: skip
    """Train, or go on with what the folder holds.

    Args:
        epochs: at most. clip: of the gradient's norm.

    Returns:
        The figures of the best checkpoint.

    Raises:
        TrainError: a folder of another run, options that this machine cannot follow, a write that failed.
        KeyboardInterrupt: also after a SIGTERM.
    """
    if machine.threads:
        torch.set_num_threads(machine.threads)
    for name in ("pytorch_lightning", "lightning_fabric"):  # they advertise, and say what we say below
        logging.getLogger(name).setLevel(logging.WARNING)
    draws = batches.sampler
    assert isinstance(draws, Draws)
    keep = Keep(run, draws, machine.minutes)
    last = run / "last.ckpt"
    step = 0
    over = False
    if last.is_file():
        state = load_training(last)
        compare(run, state["handcoach"], module.settings)
        step = state["global_step"]
        epoch = state["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"]
        draws.set_epoch(epoch)  # Lightning starts the workers before it tells the sampler
        waited = state["callbacks"][keep.state_key]["waited"]
        over = epoch >= epochs or (module.patience is not None and waited >= module.patience)
        del state
    if over:
        say(f"{run}: this training is over.")
    else:
        trainer = _trainer(run, machine, epochs, clip, keep)
        _prepare(run, step)
        with _plainly(trainer), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trainer.fit(module, batches, checking, ckpt_path=last if step else None, weights_only=True)
    best = run / f"{module.settings['config']['name']}.safetensors"
    return load_checkpoint(best)[1]["accuracy"] if best.is_file() else {}


def compare(run: Path, there: dict[str, Any], here: dict[str, Any]) -> None:
    """Raises TrainError: the folder holds a run with other settings."""
    differing = [*differences(there, json.loads(json.dumps(here)))]
    if differing:
        raise TrainError(
            f"{run} holds a run with other settings ({', '.join(differing[:6])}): "
            "repeat its command, or choose another folder."
        )


def differences(there: dict[str, Any], here: dict[str, Any]) -> Iterator[str]:
    """Names of the settings in which a run differs from these, with both values; settings that its program
    did not have yet are no difference."""
    for name, x in sorted(there.items()):
        y = here.get(name)
        if isinstance(x, dict) and isinstance(y, dict):
            yield from differences(x, y)
        elif x != y:
            yield f"{name} {x} there, {y} here"


def _prepare(run: Path, step: int) -> None:
    """The folder, and a log that says no more than the checkpoint of this step knows."""
    with writing(run):
        run.mkdir(parents=True, exist_ok=True)
    log = run / "log.jsonl"
    if not log.is_file():
        return
    lines = []
    for line in log.read_text().splitlines():
        with suppress(ValueError):  # a line that a full disk cut short
            if json.loads(line)["step"] <= step:
                lines.append(line + "\n")
    with written(log) as partial:
        partial.write_text("".join(lines))


def _trainer(run: Path, machine: Machine, epochs: int, clip: float | None, keep: Keep) -> pl.Trainer:
    kind = machine.accelerator
    try:
        return pl.Trainer(
            accelerator="gpu" if kind == "cuda" else kind, devices=machine.devices, num_nodes=machine.nodes,
            strategy=machine.strategy, precision=machine.mixed, accumulate_grad_batches=machine.accumulate,
            max_epochs=epochs, gradient_clip_val=clip,
            callbacks=[keep, _Bar(refresh_rate=10)],
            logger=TensorBoardLogger(run, "", "tensorboard"), enable_checkpointing=False,
            enable_model_summary=False, num_sanity_val_steps=0, use_distributed_sampler=False,
            plugins=[_Beside()], benchmark=kind == "cuda",
        )  # fmt: skip
    except (MisconfigurationException, ValueError) as error:
        sentence = str(error).split(". ")[0].strip().rstrip(".")
        raise TrainError(f"This machine cannot train so: {sentence}.") from error


@contextmanager
def _plainly(trainer: pl.Trainer) -> Iterator[None]:
    """Ctrl-C and SIGTERM are KeyboardInterrupt, where Lightning would leave the process with Ctrl-C ignored;
    what a loading process met is one sentence again, and so is too little memory on a GPU."""
    main = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as error:
        if trainer.interrupted:
            raise KeyboardInterrupt from error
        raise
    except TrainError as error:
        lines = str(error).strip().splitlines()
        if len(lines) > 1:  # torch put the worker's traceback before it
            raise TrainError(lines[-1].split("TrainError: ", 1)[-1]) from error
        raise
    except torch.cuda.OutOfMemoryError as error:
        raise TrainError(
            "The GPU has too little memory: take a smaller --batch or --accumulate 2."
        ) from error
    finally:
        with suppress(ValueError):  # not the main thread
            signal.signal(signal.SIGINT, main)


def bf16_pays(device: str) -> bool:
    """On GPUs, and on processors that compute in it; elsewhere it is emulated and slow."""
    if device == "cuda":
        return True
    try:
        able = torch.ops.mkldnn._is_mkldnn_bf16_supported()  # private: another torch may lack it
    except (AttributeError, RuntimeError):
        return False
    return bool(able) and torch.backends.cpu.get_cpu_capability() == "AVX512"


@torch.no_grad()
def follow(average: nn.Module, network: nn.Module, keep: float) -> None:
    """Exponential moving average of weights and batch statistics."""
    mine, new = average.state_dict(), network.state_dict()
    weights = [name for name, value in mine.items() if value.is_floating_point()]
    # All at once: a GPU waits for hundreds of small kernels.
    get_ema_multi_avg_fn(keep)([mine[n] for n in weights], [new[n] for n in weights], None)
    for name in mine.keys() - set(weights):
        mine[name].copy_(new[name])
