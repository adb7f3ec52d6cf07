"""`handcoach-train hard-negatives`: what our networks take for a hand in frames without one."""

from __future__ import annotations

import argparse
from pathlib import Path


def add(commands: argparse._SubParsersAction) -> None:
    p = commands.add_parser(
        "hard-negatives",
        help="note where our networks look for hands in full frames and none is, to learn from",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Writes DATA/hard_negatives.json. Trainings that are given the folder by --frames then\n"
        "show such squares as half of what holds no hand.",
        epilog="example:\n"
        "  handcoach-train render data/none --full-frames --hands 0 --count 3600 --size 320 --hdri HDRI\n"
        "  handcoach-train hard-negatives data/none --model mobilenetv2.onnx --finder finder.onnx\n",
    )
    p.add_argument("data", nargs="+", type=Path, metavar="DATA", help="folders of full frames")
    p.add_argument("--model", type=Path, required=True, help="an exported landmark network")
    p.add_argument("--finder", type=Path, required=True, help="an exported finder")
    p.add_argument("--threads", type=int, default=1, help="of the networks (default 1)")
    p.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from handcoach_train.negatives import mine

    for folder in args.data:
        print(f"{folder}: {mine(folder, args.model, args.finder, args.threads)} squares")
    return 0
