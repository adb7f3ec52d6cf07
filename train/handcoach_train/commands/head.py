"""`handcoach-train head`: the landmark network's last layers, made wide and trained alone."""

from __future__ import annotations

import argparse

from handcoach_train.commands.options import from_trained, trained_options


def add(commands: argparse._SubParsersAction) -> None:
    p = commands.add_parser(
        "head",
        help="train a landmark network's last layers alone, in minutes",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="What the rest of the network sees of every picture is computed once (--set looks=3:\n"
        "three times, changed in other ways); the last layers, made wide, then learn by that alone.\n"
        "--set late=true: all layers from stride 16 on learn, by maps that take 40 KB of a picture.",
        epilog="example:\n"
        "  handcoach-train head data/any-1 data/any-2 --start runs/m/mobilenetv2.safetensors \\\n"
        "      --photos labels.json photos/ --out runs/h\n",
    )
    trained_options(p)
    p.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from handcoach_train.training.head import train
    from handcoach_train.training.recipe import HeadRecipe
    from handcoach_train.training.run import say

    say(from_trained(args, HeadRecipe, train))
    return 0
