"""`handcoach-train landmarks`: the landmark network, our way (edge) or the paper's."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from handcoach_train.commands.options import (
    described,
    edge_options,
    hands,
    machine_of,
    provenance,
    recipe_of,
    refuse_in_vain,
    run_options,
    say_skipped,
    skip_option,
)
from handcoach_train.errors import TrainError

if TYPE_CHECKING:
    from handcoach_train.training.run import Machine

# Options that only one of the presets knows.
EDGE = ("steps", "check_every", "start", "photos", "free_photos", "boxes", "frames", "sizes", "resident",
        "fill")  # fmt: skip
PAPER = ("epochs", "split", "joints", "dropout", "huber")


def add(commands: argparse._SubParsersAction) -> None:
    p = commands.add_parser(
        "landmarks",
        help="train the landmark network",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n"
        "  handcoach-train landmarks data/any-1 data/any-2 --photos labels.json photos/ --out runs/m\n"
        "  handcoach-train landmarks data/any-1 --network resnet50 --sizes 128:0.7,160:0.3 --out runs/r\n"
        "  handcoach-train landmarks HanCo --preset paper --split image --out runs/paper\n",
    )
    p.add_argument("data", nargs="*", type=Path, metavar="DATA", help="data sets with 3D joints")
    p.add_argument("--hanco", nargs="+", type=Path, default=[], help="another name for DATA")
    p.add_argument("--variant", help="picture variant of HanCo or FreiHAND")
    skip_option(p)
    p.add_argument("--preset", choices=("edge", "paper"), default="edge",
                   help="our training on cut-outs, or the paper's on whole pictures")  # fmt: skip
    p.add_argument("--network", help="mobilenetv2 or resnet50 (default: edge the first, paper the second)")
    p.add_argument("--size", type=int, help="side of the network's picture (default: edge 160, paper 224)")
    run_options(p)
    edge = p.add_argument_group("--preset edge")
    edge_options(edge)  # type: ignore[arg-type]
    edge.add_argument("--sizes", help="sizes and their share of the steps, as 128:0.6,160:0.4")
    edge.add_argument("--resident", action="store_true",
                      help="keep all pictures in the GPU's memory, to be cut and coloured there")  # fmt: skip
    edge.add_argument("--fill", type=float, metavar="MINUTES",
                      help="as many steps as fit into this long, reading the data included")  # fmt: skip
    paper = p.add_argument_group("--preset paper")
    paper.add_argument("--epochs", type=int, help="at most")
    paper.add_argument("--split", choices=("image", "sequence", "subject"),
                       help="80/10/10 by (default sequence; image is the paper's, which leaks)")  # fmt: skip
    paper.add_argument("--joints", type=int, choices=(20, 21), help="20: without the wrist (6.1)")
    paper.add_argument("--dropout", type=float, help="before the last layer (5.1.3)")
    paper.add_argument(
        "--huber", type=float, metavar="DELTA", help="Huber's loss instead of the squared error (5.1.3)"
    )
    p.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    for name in PAPER if args.preset == "edge" else EDGE:
        if getattr(args, name) not in (None, [], False):
            other = "paper" if args.preset == "edge" else "edge"
            raise TrainError(f"--{name.replace('_', '-')} belongs to --preset {other}: leave it out.")
    if not args.data and not args.hanco:
        raise TrainError("No training data was given: name the folders of data sets.")
    machine = machine_of(args)
    return _paper(args, machine) if args.preset == "paper" else _edge(args, machine)


def _edge(args: argparse.Namespace, machine: Machine) -> int:
    from handcoach.crop import MARGIN
    from handcoach_train import data
    from handcoach_train.training.edge import train
    from handcoach_train.training.recipe import LandmarkRecipe, read_sizes
    from handcoach_train.training.run import say

    started = time.monotonic()
    refuse_in_vain(args)
    if args.fill is not None and (not args.fill > 0 or args.steps or args.check_every):
        raise TrainError("--fill wants minutes, more than none, without --steps or --check-every.")
    recipe = recipe_of(LandmarkRecipe(), args, "steps", "check_every", "sizes")
    last = read_sizes(recipe.sizes, args.size or 160)[-1][0]
    if args.size not in (None, last):
        raise TrainError(f"--size {args.size} is not the last of --sizes {recipe.sizes}: leave it out.")
    network = args.network or "mobilenetv2"
    folders = [*args.data, *args.hanco]
    models = [Path(p) for p in (args.start, recipe.teacher) if p]
    config: dict[str, Any] = {
        "kind": "landmarks", "name": args.name or network, "size": last, "backbone": network,
        "head": recipe.head, "crop": {"margin": MARGIN, "roll": recipe.roll},
        **provenance(
            "hands", [*folders, *args.frames], [folder for _, folder in args.photos], models, args.free_photos
        ),
    }  # fmt: skip
    everything, is_photo, checking = hands(args, recipe, last, folders)
    shown = data.ResidentSet(everything, machine.accelerator) if args.resident else everything
    fill = args.fill and max(args.fill - (time.monotonic() - started) / 60, 0.01)
    figures = train(
        config, recipe, shown, is_photo, checking, args.out, machine,
        weights=args.weights, start=args.start, data=described(folders, args), fill=fill,
    )  # fmt: skip
    say(figures)
    return 0


def _paper(args: argparse.Namespace, machine: Machine) -> int:
    from handcoach_train import data
    from handcoach_train.training.paper import train
    from handcoach_train.training.recipe import PaperRecipe
    from handcoach_train.training.run import say

    recipe = recipe_of(PaperRecipe(), args, "epochs", "split", "joints", "dropout", "huber")
    network = args.network or "resnet50"
    folders = [*args.data, *args.hanco]
    config = {
        "kind": "paper", "name": args.name or f"paper-{network}", "size": args.size or 224,
        "backbone": network, "dropout": recipe.dropout, "joints": recipe.joints,
        **provenance("hands", folders, [], []),
    }  # fmt: skip
    loaded = data.load_all(folders, args.variant, 1, args.skip_broken)
    say_skipped(loaded, say)
    # Each data set by itself, so that `evaluate`, which sees one at a time, finds the same test.
    splits = [data.split_by(samples, recipe.split, seed=recipe.seed) for samples in loaded]  # type: ignore[arg-type]
    training, validation, test = (data.join(list(parts)) for parts in zip(*splits, strict=True))
    say(f"{len(training)} training pictures, {len(validation)} for validation, {len(test)} for the test")
    figures = train(
        config, recipe, training, validation, args.out, machine,
        weights=args.weights, data=described(folders, args),
    )  # fmt: skip
    say(figures)
    return 0
