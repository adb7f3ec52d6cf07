"""`handcoach-train head`: the landmark network's last layers, made wide and trained alone."""

from __future__ import annotations

import argparse
from pathlib import Path

from handcoach_train.commands.options import (
    LIKE_START,
    described,
    edge_options,
    hands,
    machine_of,
    provenance,
    recipe_of,
    run_options,
    skip_option,
)
from handcoach_train.errors import TrainError


def add(commands: argparse._SubParsersAction) -> None:
    p = commands.add_parser(
        "head",
        help="train a landmark network's last layers alone, in minutes",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="What the rest of the network sees of every picture is computed once (--set looks=3:\n"
        "three times, changed in other ways); the last layers, made wide, then learn by that alone.",
        epilog="example:\n"
        "  handcoach-train head data/any-1 data/any-2 --start runs/m/mobilenetv2.safetensors \\\n"
        "      --photos labels.json photos/ --out runs/h\n",
    )
    p.add_argument("data", nargs="+", type=Path, metavar="DATA", help="data sets with 3D joints")
    p.add_argument("--variant", help="picture variant of HanCo or FreiHAND")
    skip_option(p)
    run_options(p)
    edge_options(p)
    p.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from handcoach_train.networks import load_checkpoint
    from handcoach_train.training.head import train
    from handcoach_train.training.recipe import HeadRecipe
    from handcoach_train.training.run import say

    if args.start is None or args.weights is not None:
        raise TrainError("Give the trained network by --start, and no --weights.")
    machine = machine_of(args)
    its = load_checkpoint(args.start)[1]
    if its["kind"] != "landmarks":
        raise TrainError(f"{args.start} is a checkpoint of a {its['kind']} network, not of landmarks.")
    crop = its["crop"]
    recipe = recipe_of(HeadRecipe(roll=crop["roll"]), args, "steps", "check_every")
    if recipe.roll != crop["roll"]:
        raise TrainError("The cut-outs are turned as the network's were: leave out --set roll.")
    config = {
        **{key: its[key] for key in LIKE_START if key in its},
        "name": args.name or its["name"],
        **provenance("hands", [*args.data, *args.frames], [folder for _, folder in args.photos], [args.start],
                     args.free_photos),
    }  # fmt: skip
    everything, is_photo, checking = hands(args, recipe, its["size"], args.data)
    say(train(config, recipe, args.start, everything, is_photo, checking, args.out, machine,
              data=described(args.data, args)))  # fmt: skip
    return 0
