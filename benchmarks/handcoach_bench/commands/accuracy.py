"""`handcoach-bench accuracy`: how right the program is on labelled pictures."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import Any

from handcoach import defaults, model
from handcoach.errors import HandCoachError
from handcoach_bench import accuracy as parts
from handcoach_bench import machine, origin, results, tables
from handcoach_bench.commands.options import RAW, Commands, check_json, now, seconds
from handcoach_bench.common import Models, model_table
from handcoach_bench.finding import read_held_out
from handcoach_bench.photographs import real_3d_peer

EPILOG = """\
examples:
  handcoach-bench accuracy ../shared/data --json accuracy.json
  handcoach-bench accuracy data --part real-3d --model mobilenetv2 mobilenetv2-float --peer PYTHON
  handcoach-bench accuracy data --part teacher --model mine.onnx --exercise mine-too.onnx

DATA holds any of these folders; a part whose folder is missing is skipped and named:
  real-3d    real_3d/joints.npz, images/: mean distance of 21 joints after alignment (PA-MPJPE)
  teacher    teacher_sessions/<label>/: frames of each posture, as stills and as a movement; mirrored too.
             How much a held hand jitters, how far the filter lags behind (on the demo's clip), and whether
             clusters that are fitted on these frames recover their labels (needs "handcoach[studio]")
  webcam     webcam_hands/boxes.csv, images/: whether hands are found where boxes are (IoU 0.5)
  empty      nothing: pictures without a hand are made here (assets/hdri/*.hdr join in where they are)
  latency    teacher_sessions/: milliseconds of a tracked frame on one thread, in fresh processes

A hand that is not found counts as a failure in every share. Photographs of a recording that is not in the
--held-out file may have been trained on, so they are reported apart. A part or a peer that fails is named,
and the others go on; --json is written after each. The exit code is 1 if one failed, or if one that was asked
for with --part was skipped; 2 if none of the folders is there.
"""


def add(commands: Commands) -> None:
    sub = commands.add_parser(
        "accuracy", help="how right the program is on labelled pictures", epilog=EPILOG,
        formatter_class=RAW,
    )  # fmt: skip
    sub.add_argument("data", type=Path, metavar="DATA", help="folder with the folders named below")
    sub.add_argument("--part", action="append", choices=parts.PARTS, help="may be repeated (all)")
    sub.add_argument(
        "--json", type=Path, metavar="FILE", help="write every figure and the machine to this file"
    )
    sub.add_argument(
        "--model", nargs="+", action="extend", metavar="NAME|FILE",
        help=f"landmark models, each in all parts ({defaults.LANDMARKS})",
    )  # fmt: skip
    sub.add_argument("--finder", default=defaults.FINDER, metavar="NAME|FILE", help="(%(default)s)")
    sub.add_argument("--exercise", default=defaults.EXERCISE, metavar="NAME|FILE", help="(%(default)s)")
    sub.add_argument(
        "--peer", metavar="PYTHON",
        help="the python of an environment with mediapipe==0.10.21: measured on real-3d in the same run",
    )  # fmt: skip
    sub.add_argument(
        "--held-out", type=Path, default=parts.HELD_OUT, metavar="FILE",
        help="webcam recordings that no network was trained on, one a line (those of `handcoach-train`)",
    )  # fmt: skip
    sub.add_argument(
        "--timeout",
        type=seconds,
        default=300,
        metavar="S",
        help="for the peer or one latency case (%(default)s)",
    )
    sub.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    check_json(args.json, "accuracy")
    todo = [part for part in parts.PARTS if not args.part or part in args.part]
    if not args.data.is_dir():
        raise HandCoachError(
            f"The folder {args.data} does not exist: give the one with the labelled pictures."
        )
    folders = {parts.FOLDERS[part] for part in todo if part in parts.FOLDERS}
    if folders and not any((args.data / folder).is_dir() for folder in folders):
        raise HandCoachError(
            f"{args.data} has no folder {' or '.join(sorted(folders))}: give the one that holds it."
        )
    if args.peer and "real-3d" not in todo:
        raise HandCoachError("--peer is measured on real-3d: give --part real-3d too, or leave --peer out.")
    if args.peer and shutil.which(args.peer) is None:  # before the minutes that our own parts take
        raise HandCoachError(
            f"There is no program {args.peer}: give --peer the python of an environment with "
            "mediapipe==0.10.21."
        )
    read_held_out(args.held_out)
    judged = any(part in parts.JUDGED for part in todo)
    every = [Models(name, args.finder, args.exercise) for name in args.model or [defaults.LANDMARKS]]
    paths = [models.paths(judged) for models in every]
    names = [model.read(each["landmarks"]).name for each in paths]
    if twice := [name for name in names if names.count(name) > 1]:
        raise HandCoachError(f"Two models are called {twice[0]}: give each --model once.")
    table = model_table(model.read(path) for each in paths for path in each.values())
    created = now()
    here = machine.describe()
    print("\n".join(here.lines()))
    print("; ".join(f"{m['name']} {m['version']} ({sha[:12]})" for sha, m in table.items()))
    # By part, then by the name of the landmark model.
    figures: dict[str, dict[str, dict[str, Any]]] = {}
    if "empty" in todo:
        folders.add(parts.ROOMS)
    given = {f"DATA/{folder}": args.data / folder for folder in sorted(folders)}
    seen = origin.inputs(given | {"--held-out": args.held_out if "webcam" in todo else None}, args.json)
    content = results.envelope(
        "accuracy", created, args.command, here.as_json(), table, origin.code(), seen
    ) | {
        "data": str(args.data), "parts": figures,
    }  # fmt: skip
    for number, part in enumerate(todo, 1):
        print(f"[{number}/{len(todo)}] {part} ...", file=sys.stderr, flush=True)
        figures[part] = {
            name: parts.run(part, args.data, models, args.held_out, args.timeout)
            for name, models in zip(names, every, strict=True)
        }
        folder = args.data / parts.FOLDERS["real-3d"]
        if part == "real-3d" and args.peer and folder.is_dir():
            try:
                peer, theirs = real_3d_peer(folder, args.peer, args.timeout)
            except HandCoachError as error:
                peer, theirs = "mediapipe", {"failed": str(error)}
            figures[part][peer] = theirs
        print("\n".join(["", *tables.lines(part, figures[part])]), flush=True)
        if args.json is not None:
            results.write_json(args.json, content | {"complete": number == len(todo)})
            args.stopped = f"the parts that were done are in {args.json}"
    if args.json is not None:
        print(f"\nEvery figure is in {args.json}.")
    each = [f for by_model in figures.values() for f in by_model.values()]
    fits = [fit for f in each for fit in f.get("own_fit", {}).values()]
    failed = any("failed" in f for f in (*each, *fits))
    return 1 if failed or any("skipped" in f and args.part for f in each) else 0
