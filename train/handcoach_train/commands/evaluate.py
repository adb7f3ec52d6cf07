"""`handcoach-train evaluate`: a checkpoint or an ONNX file on data sets, one JSON and the figures."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from handcoach import places
from handcoach_train.commands.options import say_skipped, skip_option

if TYPE_CHECKING:
    from handcoach_train.data import Samples

SPLITS = ("train", "val", "test")


def add(commands: argparse._SubParsersAction) -> None:
    p = commands.add_parser(
        "evaluate",
        help="how right a landmark network is: one JSON and the figures",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n"
        "  handcoach-train evaluate models/mobilenetv2.onnx --data data/any-3 --out figures\n"
        "  handcoach-train evaluate runs/a/resnet50.safetensors --data data/any-3 --run runs/a --out f\n\n"
        "Splits are those of the network's training: by sequence (seed 42), or as a run of the paper's\n"
        "preset was told. --how image is the paper's own, which leaks.\n",
    )
    p.add_argument("model", type=Path, metavar="CHECKPOINT|ONNX")
    p.add_argument(
        "--data", nargs="+", type=Path, required=True, metavar="DIR", help="data sets with 3D joints"
    )
    p.add_argument(
        "--variant",
        help="HanCo's or FreiHAND's picture variant (default: as a checkpoint was trained; "
        "of an ONNX file the data set's own)",
    )
    skip_option(p)
    p.add_argument(
        "--split", default="train,val,test",
        help="which, with commas between; `all` judges everything as one (default %(default)s)",
    )  # fmt: skip
    p.add_argument(
        "--how",
        choices=("sequence", "image", "subject"),
        help="default: as a checkpoint was trained, else sequence",
    )
    p.add_argument(
        "--most", type=int, default=2000, metavar="N",
        help="hands of each split of each data set, drawn at random (default %(default)s; 0: all)",
    )  # fmt: skip
    p.add_argument(
        "--clip", nargs="+", type=Path, default=[], metavar="VIDEO",
        help="measure jitter and lag on these clips as well (an ONNX file, with the shipped finder)",
    )  # fmt: skip
    p.add_argument(
        "--run",
        type=Path,
        dest="training",
        metavar="DIR",
        help="folder of the training run, for the figure of its losses",
    )
    p.add_argument("--out", type=Path, metavar="DIR", help="where evaluation.json and the figures go")
    p.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    import json

    from handcoach_train import figures
    from handcoach_train.errors import TrainError
    from handcoach_train.evaluate import clip_figures, evaluate, lines, predictor

    wanted = [name.strip() for name in args.split.split(",")]
    if not set(wanted) <= {*SPLITS, "all"}:
        raise TrainError(f"--split knows {', '.join(SPLITS)} and all, not {args.split!r}.")
    losses = figures.read_losses(args.training) if args.training else None
    if len({clip.name for clip in args.clip}) < len(args.clip):
        raise TrainError("Two of the clips have the same name: give them different ones.")
    network = predictor(args.model)
    clips = {clip.name: clip_figures(network, clip) for clip in args.clip}
    how, seed = network.split
    content, parts = evaluate(network, _parts(args, wanted, args.how or how, seed, network.variant))
    if clips:
        content["clips"] = clips
    print("\n".join(lines(content)))
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        file = args.out / "evaluation.json"
        places.save(file, json.dumps(content, indent=1).encode())
        drawn = figures.draw_all(args.out, content, parts, losses)
        print(f"{file} and {', '.join(name.name for name in drawn)}")
    return 0


def _parts(
    args: argparse.Namespace, wanted: list[str], how: str, seed: int, trained: str | None
) -> Iterator[tuple[str, str, Path, Samples]]:
    import numpy as np

    from handcoach_train import data
    from handcoach_train.evaluate import has_truth

    for root in args.data:
        variant = data.variant_of(root, args.variant, trained)
        samples = data.load(root, variant, skip_broken=args.skip_broken)
        say_skipped([samples])
        splits = {"all": samples}
        if wanted != ["all"]:
            splits |= zip(SPLITS, data.split_by(samples, how, seed=seed), strict=True)  # type: ignore[arg-type]
        for name in wanted:
            some = splits[name]
            some = some.take(np.flatnonzero(has_truth(some)))
            if args.most and len(some) > args.most:
                some = some.take(np.sort(np.random.default_rng(1).permutation(len(some))[: args.most]))
            yield root.name, name, root, some
