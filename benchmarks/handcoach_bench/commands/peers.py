"""`handcoach-bench peers`: MediaPipe, the paper's way and ours, side by side in one run."""

from __future__ import annotations

import argparse
from pathlib import Path

from handcoach import defaults, model
from handcoach.errors import HandCoachError
from handcoach_bench import campaign, machine, origin, peers, results
from handcoach_bench.commands.options import RAW, Commands, check_json, now, positive, seconds
from handcoach_bench.common import Models, model_table

EPILOG = """\
examples:
  handcoach-bench peers ../shared/data --json peers.json
  handcoach-bench peers ../shared/data --images 50 --repeats 1 --only ours mediapipe       a first look
  handcoach-bench peers DATA --python-mediapipe .venv-mediapipe/bin/python --keep raw
  handcoach-bench peers DATA --paper-checkpoint runs/paper/resnet50.safetensors

DATA holds real_3d/ (photographs with joints in 3D), teacher_sessions/<posture>/ (frames of clips), or both.
Compared are our program, MediaPipe 0.10.21 with its full and its lite model, and the paper's way (the whole
picture through an eager ResNet50, then scikit-learn's k-means), each in an environment of its own that is
made on first use in the user's cache (MediaPipe 1 GB, PyTorch several) unless a --python-... names one.

Clips are followed, as a patient's frames are; everybody is measured by the same lines, in fresh processes
that take turns, on --cores processors. A frame is given decoded: CPU ms is processor time of all threads from
there to the landmarks (ours and the paper's: to the posture). Photographs stand alone. PA-MPJPE counts every
one: a missed hand has the error of an open hand that is guessed without looking. A picture that cannot be
decoded is nobody's miss: it is left out, and the table says how many are. Intervals are bootstraps
over blocks of successive photographs. "of full" is CPU time by that of MediaPipe's full model in the same
round: the median of the rounds, and their range. Processes whose medians of wall or CPU time lie more than
5 % apart are called UNSTABLE.

The same command with the same --json goes on after an interruption. The exit code is 1 if a case gave no
numbers, such as where an environment cannot be made without a network.
"""
WHICH = ("ours", "mediapipe", "paper")


def add(commands: Commands) -> None:
    p = commands.add_parser(
        "peers", help="MediaPipe, the paper's way and ours, side by side", epilog=EPILOG, formatter_class=RAW
    )
    p.add_argument("data", type=Path, metavar="DATA", help="folder with the folders named below")
    p.add_argument("--only", nargs="+", choices=WHICH, default=WHICH, help="some of them (all)")
    for which in WHICH:
        p.add_argument(
            f"--python-{which}", metavar="PYTHON", help="of an environment that is there (its own)"
        )
    p.add_argument("--paper-checkpoint", type=Path, metavar="FILE",
                   help="weights for the paper's way: .safetensors of `handcoach-train landmarks --preset "
                   "paper` (random ones: as fast, and no landmarks)")  # fmt: skip
    p.add_argument("--model", default=defaults.LANDMARKS, metavar="NAME|FILE", help="ours (%(default)s)")
    p.add_argument("--finder", default=defaults.FINDER, metavar="NAME|FILE", help="(%(default)s)")
    p.add_argument("--exercise", default=defaults.EXERCISE, metavar="NAME|FILE", help="(%(default)s)")
    p.add_argument("--cores", type=positive, default=1, metavar="N",
                   help="processors and threads that each may use (%(default)s)")  # fmt: skip
    p.add_argument(
        "--images", type=positive, metavar="N", help="at most so many photographs and frames (all)"
    )
    p.add_argument("--repeats", type=positive, default=3, metavar="N",
                   help="processes of each on the clips (%(default)s)")  # fmt: skip
    p.add_argument(
        "--json", type=Path, metavar="FILE", help="write every picture's time and error to this file"
    )
    p.add_argument("--keep", type=Path, metavar="DIR", help="keep what each said of every picture")
    p.add_argument("--timeout", type=seconds, default=900, metavar="S", help="for one process (%(default)s)")
    p.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    check_json(args.json, "peers")
    if not args.data.is_dir():
        raise HandCoachError(f"The folder {args.data} does not exist: give the one with the pictures.")
    if args.paper_checkpoint is not None and not args.paper_checkpoint.is_file():
        raise HandCoachError(
            f"{args.paper_checkpoint} does not exist: give --paper-checkpoint a .safetensors."
        )
    models = Models(args.model, args.finder, args.exercise).paths(judged=True)
    pictures = peers.read_pictures(args.data, models["exercise"], args.images)
    everybody = peers.contestants(models, args.paper_checkpoint, args.data / peers.POSTURES)
    chosen = [peer for peer in everybody if peer.which in args.only]
    if args.keep is not None:
        try:
            args.keep.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise HandCoachError(
                f"{args.keep} cannot be made ({error.strerror}): give --keep a folder."
            ) from error
    here = machine.describe()
    print("\n".join(here.lines()), flush=True)
    places = peers.pythons(chosen, {which: getattr(args, f"python_{which}") for which in WHICH})
    todo = peers.jobs(
        chosen, pictures, places, cores=args.cores, warmup=30, repeats=args.repeats, keep=args.keep
    )
    content = results.envelope(
        "peers", now(), args.command, here.as_json(),
        model_table(model.read(p, k) for k, p in models.items()), origin.code(),
        origin.inputs({**{f"DATA/{name}": args.data / name for name in peers.READ},
                       "--paper-checkpoint": args.paper_checkpoint}, args.json),
    ) | {"data": str(args.data)}  # fmt: skip
    found = campaign.run(content, todo, args)
    print("\n".join(["", *peers.table(results.rows(found), chosen, pictures, args.data, args.cores)]))
    return campaign.finished(found, args.json)
