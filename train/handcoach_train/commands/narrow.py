"""`handcoach-train narrow`: a faster landmark network, cut from a trained one and taught by it."""

from __future__ import annotations

import argparse
from pathlib import Path

from handcoach_train.commands.options import edge_options, from_trained, run_options, skip_option


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
    from handcoach_train.training.narrow import train
    from handcoach_train.training.recipe import NarrowRecipe
    from handcoach_train.training.run import say

    say(from_trained(args, NarrowRecipe, train))
    return 0
