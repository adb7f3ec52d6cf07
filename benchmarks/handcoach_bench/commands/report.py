"""`handcoach-bench report`: files of results as a page with plots."""

from __future__ import annotations

import argparse
from pathlib import Path

from handcoach import places
from handcoach.errors import HandCoachError
from handcoach_bench import plots, reporting, results
from handcoach_bench.commands.options import RAW, Commands

EPILOG = """\
examples:
  handcoach-bench report results.json -o report
  handcoach-bench report inference.json training.json roofline.json -o report

Writes report.md with its pictures beside it, and report.html, one file to pass on. Every file has a part of
its own, with the machine, the command and the model files' checksums; figures of different machines are never
mixed.
"""


def add(commands: Commands) -> None:
    p = commands.add_parser(
        "report", help="files of results as Markdown and HTML with plots", epilog=EPILOG, formatter_class=RAW
    )
    p.add_argument("results", type=Path, nargs="+", metavar="RESULTS", help="files of --json")
    p.add_argument(
        "-o", "--output", type=Path, required=True, metavar="DIR", help="folder; made where missing"
    )
    p.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    contents = [(path, results.load(path)) for path in args.results]
    parts = [
        reporting.part(path.name, content, plots.draw_all(content, results.rows(content.get("results", []))))
        for path, content in contents
    ]
    files = reporting.pictures(parts)
    files["report.md"] = reporting.markdown(parts).encode()
    files["report.html"] = reporting.page(parts).encode()
    try:
        args.output.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            places.save(args.output / name, data)
    except OSError as error:
        raise HandCoachError(
            f"{args.output} cannot be written ({error.strerror or error}): give -o another place."
        ) from error
    print(f"{args.output / 'report.html'} and {args.output / 'report.md'}, {len(files) - 2} pictures")
    return 0
