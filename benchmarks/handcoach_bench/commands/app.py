"""`handcoach-bench app`: the whole app, from the camera's picture to the window's."""

from __future__ import annotations

import argparse
from pathlib import Path

from handcoach import defaults, model
from handcoach.errors import HandCoachError
from handcoach_bench import app, campaign, machine, origin, results
from handcoach_bench.commands.options import RAW, Commands, check_json, count, now, positive, seconds
from handcoach_bench.common import Models, demo_clip, model_table

EPILOG = """\
examples:
  handcoach-bench app --quick                               a first look, about a minute and a half
  handcoach-bench app --json app.json
  handcoach-bench app --model mine.onnx --resolution 640x480 --hands 1 --camera 30
  handcoach-bench app --clip DATA/teacher_sessions/open --threads 1 2 4

Three things are measured, each in processes of its own:
  steps    a clip as fast as it goes: the share that decoding, hand finder, cut-out, network, smoothing,
           posture and drawing have of a frame; of resolution, hands in the picture and threads one varies
  paced    the app before a camera that delivers 15, 30 or 60 frames a second: how many are dropped, and the
           time from the moment a frame was there to the moment the window shows it with its verdict; frames
           that are shown without being read, while the hand rests, are counted apart
  window   resident memory of `handcoach demo` in a window, at every picture that it shows (goal 250 MB)

The window opens on your display; on Linux without one, on Xvfb. Where there is neither, its memory is marked
as not measured. The same command with the same --json goes on after an interruption. The exit code is 1 if a
case that can be measured here gave no numbers.
"""


def resolution(text: str) -> tuple[int, int]:
    try:
        width, height = (int(part) for part in text.lower().split("x"))
    except ValueError as error:
        raise argparse.ArgumentTypeError("must be like 640x480") from error
    if not (32 <= width <= 8192 and 32 <= height <= 8192):
        raise argparse.ArgumentTypeError("must be from 32x32 to 8192x8192")
    return width, height


def add(commands: Commands) -> None:
    p = commands.add_parser(
        "app", help="the whole app: shares of its steps, drops and latency, memory", epilog=EPILOG,
        formatter_class=RAW,
    )  # fmt: skip
    p.add_argument("--quick", action="store_true", help="few frames, and only the middle of each range")
    p.add_argument("--json", type=Path, metavar="FILE", help="write every frame and the machine to this file")
    p.add_argument("--clip", metavar="FILE", help="video or folder (the demo's clip)")
    p.add_argument("--model", default=defaults.LANDMARKS, metavar="NAME|FILE", help="(%(default)s)")
    p.add_argument("--finder", default=defaults.FINDER, metavar="NAME|FILE", help="(%(default)s)")
    p.add_argument("--exercise", default=defaults.EXERCISE, metavar="NAME|FILE", help="(%(default)s)")
    p.add_argument("--threads", type=positive, nargs="+", default=[1, 2], metavar="N", help="(1 2)")
    p.add_argument("--resolution", type=resolution, nargs="+", metavar="WxH",
                   help="(320x240 640x480 1280x720 1920x1080)")  # fmt: skip
    p.add_argument("--hands", type=count, nargs="+", metavar="N", help="in the picture (0 1 2 4)")
    p.add_argument("--camera", type=positive, nargs="+", metavar="FPS", help="(15 30 60)")
    p.add_argument("--runs", type=positive, metavar="N", help="frames of each process (300; quick 60)")
    p.add_argument(
        "--seconds", type=seconds, metavar="S", help="before the camera, and in the window (20; quick 5)"
    )
    p.add_argument("--repeats", type=positive, metavar="N", help="processes of each case (3; quick 1)")
    p.add_argument("--timeout", type=seconds, default=300, metavar="S", help="for one process (%(default)s)")
    p.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    check_json(args.json, "app")
    clip = str(args.clip or demo_clip())
    if not Path(clip).exists():
        raise HandCoachError(f"{clip} does not exist: give --clip a video or a folder of pictures.")
    files = Models(args.model, args.finder, args.exercise).paths(judged=True)
    here = machine.describe()
    print("\n".join(here.lines()), flush=True)
    quick = args.quick
    cameras = args.camera or (app.CAMERAS[1:2] if quick else app.CAMERAS)
    content = results.envelope(
        "app", now(), args.command, here.as_json(), model_table(model.read(f, k) for k, f in files.items()),
        origin.code(), origin.inputs({"--clip": clip}, args.json),
    )  # fmt: skip
    with app.screen() as shown:
        todo = app.jobs(
            {kind: str(path) for kind, path in files.items()}, clip,
            resolutions=args.resolution or (app.RESOLUTIONS[1:3] if quick else app.RESOLUTIONS),
            hands=args.hands if args.hands is not None else (app.HANDS[:2] if quick else app.HANDS),
            threads=args.threads, cameras=tuple(dict.fromkeys(cameras)),
            runs=args.runs or (60 if quick else 300), warmup=10, seconds=args.seconds or (5 if quick else 20),
            repeats=args.repeats or (1 if quick else 3), shown=shown,
        )  # fmt: skip
        found = campaign.run(content, todo, args)
    print("\n".join(["", *app.table(results.rows(found))]))
    return campaign.finished(found, args.json)
