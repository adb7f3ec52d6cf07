"""`handcoach-train narrow`: a faster landmark network, cut from a trained one and taught by it."""

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
        "narrow",
        help="cut a trained landmark network to a faster one, and teach that by it",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Hidden channels of a MobileNetV2 that others can stand in for are taken out (--set\n"
        "time=0.6: until its blocks take 60 % of the time); the whole network then teaches the narrow\n"
        "one what it says.",
        epilog="example:\n"
        "  handcoach-train narrow data/any-1 data/any-2 --start runs/m/mobilenetv2.safetensors \\\n"
        "      --photos labels.json photos/ --out runs/n\n",
    )
    p.add_argument("data", nargs="+", type=Path, metavar="DATA", help="data sets with 3D joints")
    p.add_argument("--variant", help="picture variant of HanCo or FreiHAND")
    skip_option(p)
    run_options(p)
    edge_options(p)
    p.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from handcoach_train.networks import load_checkpoint
    from handcoach_train.training.narrow import train
    from handcoach_train.training.recipe import NarrowRecipe
    from handcoach_train.training.run import say

    if args.start is None or args.weights is not None:
        raise TrainError("Give the trained network by --start, and no --weights.")
    machine = machine_of(args)
    its = load_checkpoint(args.start)[1]
    if its["kind"] != "landmarks":
        raise TrainError(f"{args.start} is a checkpoint of a {its['kind']} network, not of landmarks.")
    crop = its["crop"]
    recipe = recipe_of(NarrowRecipe(roll=crop["roll"]), args, "steps", "check_every")
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
