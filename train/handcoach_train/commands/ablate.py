"""`handcoach-train ablate`: the same training with one thing changed at a time, as a table."""

from __future__ import annotations

import argparse
from pathlib import Path

EXAMPLE = """\
The file names what is common and what each variant changes:

  steps = 3000
  arguments = ["data/any-1", "--photos", "labels.json", "photos", "--size", "96"]

  [variants.base]
  [variants."no bones"]
  set = ["bones=0"]
  [variants.resnet50]
  arguments = ["--network", "resnet50"]

Every variant is a run of `handcoach-train landmarks`; the same command goes on where it stopped.
"""


def add(commands: argparse._SubParsersAction) -> None:
    p = commands.add_parser(
        "ablate",
        help="train variants of the landmark network with equal steps, and write a table",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=EXAMPLE,
    )
    p.add_argument("spec", type=Path, metavar="SPEC.toml", help="the variants, as above")
    p.add_argument("--out", type=Path, required=True, metavar="DIR", help="runs, and table.md")
    p.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from handcoach_train.training.ablate import read_spec, table
    from handcoach_train.training.run import say, written

    spec = read_spec(args.spec)
    # All are read before one is trained.
    commands = [(v, _parsed(spec.command(v, args.out))) for v in spec.variants]
    for number, (variant, command) in enumerate(commands):
        say(f"\n{variant.name} ({number + 1} of {len(commands)})")
        command.run(command)
        with written(args.out / "table.md") as partial:
            partial.write_text(table(spec, args.out))
    say((args.out / "table.md").read_text())
    return 0


def _parsed(arguments: list[str]) -> argparse.Namespace:
    from handcoach_train.commands import landmarks

    parser = argparse.ArgumentParser(prog="handcoach-train ablate")
    landmarks.add(parser.add_subparsers())
    return parser.parse_args(arguments)
