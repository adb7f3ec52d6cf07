"""`handcoach-train narrow`: a faster landmark network, cut from a trained one and taught by it."""

from __future__ import annotations

import argparse

from handcoach_train.commands.options import from_trained, trained_options


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
    trained_options(p)
    p.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from handcoach_train.training.narrow import train
    from handcoach_train.training.recipe import NarrowRecipe
    from handcoach_train.training.run import say

    say(from_trained(args, NarrowRecipe, train))
    return 0
