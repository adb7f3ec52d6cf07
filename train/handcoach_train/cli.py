"""`handcoach-train`: render hands, train the finder and the landmark network.

Every file of `commands/` registers its commands; here their errors become one sentence and an exit code.
"""

from __future__ import annotations

import argparse
import sys

from handcoach.errors import HandCoachError
from handcoach_train.commands import (
    ablate,
    check_data,
    evaluate,
    finder,
    hard_negatives,
    head,
    landmarks,
    narrow,
    paper_figures,
    photos,
    render,
    throughput,
)

COMMANDS = (
    render, check_data, landmarks, head, narrow, finder, ablate, throughput, evaluate, photos, hard_negatives,
    paper_figures,
)  # fmt: skip


# What takes up what it finds when it is called again.
GO_ON = ("render", "landmarks", "head", "narrow", "finder", "ablate", "pseudo-label")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="handcoach-train",
        description="Make training hands and train the networks. "
        'Needs: pip install "handcoach[train]" (about 5.5 GB).',
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add(commands)
    args = parser.parse_args(argv)
    try:
        return args.run(args)
    except HandCoachError as error:
        print(f"handcoach-train: {error}", file=sys.stderr)
        return 2
    except ImportError as error:
        print(f'handcoach-train: {error.name} is missing: pip install "handcoach[train]".', file=sys.stderr)
        return 2
    except OSError as error:  # a full disk, a folder that is none or not ours
        where = f"{error.filename}: " if error.filename else ""
        print(f"handcoach-train: {where}{error.strerror or error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        goes_on = " The same command goes on from here." if args.command in GO_ON else ""
        print(f"\nStopped.{goes_on}", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
