"""`handcoach-train head`: the landmark network's last layers, made wide and trained alone."""

from __future__ import annotations

import argparse
from pathlib import Path

from handcoach_train.commands.options import edge_options, from_trained, run_options, skip_option


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
    from handcoach_train.training.head import train
    from handcoach_train.training.recipe import HeadRecipe
    from handcoach_train.training.run import say

    say(from_trained(args, HeadRecipe, train))
    return 0
