"""`handcoach-train render`, `bake` and `clip`."""

from __future__ import annotations

import argparse
import os
from pathlib import Path


def add(commands: argparse._SubParsersAction) -> None:
    p = commands.add_parser(
        "render",
        help="render hands with known landmarks, in the HanCo layout",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n"
        "  handcoach-train render data/any --count 40000 --skins skins/ --hdri hdri/\n"
        "  handcoach-train render data/table --count 16000 --view exercise --seed 1\n"
        "  handcoach-train render data/frames --count 6000 --full-frames --size 640 --seed 2\n\n"
        "Sets with the same seed have the same people: give each its own, so that nobody is both trained on\n"
        "and judged by. A set of more than 40,000 pictures shows its 500 people more than once.\n",
    )
    p.add_argument("out", type=Path, help="folder; an interrupted rendering goes on in it")
    p.add_argument(
        "--count", type=int, default=8000, help="pictures (default 8000; eight cameras see each hand)"
    )
    p.add_argument("--size", type=int, help="side in pixels (default 224; with --full-frames the width, 640)")
    p.add_argument("--seed", type=int, default=0, help="people, postures, light and all else")
    p.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, help="processes (default: one per core)"
    )
    p.add_argument("--view", choices=("any", "exercise", "library"), default="any",
                   help="any side of the hand, as a webcam sees a hand on a table, or as the library's "
                   "exercises are shown, and any of theirs unless --posture names one")  # fmt: skip
    p.add_argument(
        "--posture", help="only this posture: open, almost, relaxed, fist, count, point, v, thumb, ok, ..."
    )
    p.add_argument(
        "--full-frames", action="store_true", help="whole webcam frames with 0 to 2 hands, for the finder"
    )
    p.add_argument("--hands", type=int, choices=(0, 1, 2), help="with --full-frames: this many hands")
    p.add_argument("--skins", type=Path, help="folder of skin textures in MakeHuman's layout")
    p.add_argument("--hdri", type=Path, help="folder of environment maps (.hdr) for light and backgrounds")

    _people_options(p)
    p.add_argument("--bodies", type=Path, help="arms that `bake` wrote, for a machine without anny")

    def run(args: argparse.Namespace) -> int:
        from handcoach_train.errors import TrainError
        from handcoach_train.render.write import Job, render

        if args.hands is not None and not args.full_frames:
            raise TrainError("--hands says how many are in a whole frame: give --full-frames too.")
        if args.bodies and args.mesh:
            raise TrainError("--bodies are baked from one mesh or both: leave out --mesh.")
        size = args.size or (640 if args.full_frames else 224)
        job = Job(
            args.out,
            args.count,
            size,
            args.seed,
            args.view,
            args.posture,
            args.full_frames,
            args.hands,
            args.skins,
            args.hdri,
            _mesh(args),
            args.godot,
            args.bodies,
        )
        pictures = render(job, args.workers)
        print(f"{args.out}: {pictures} pictures")
        return 0

    p.set_defaults(run=run)
    _bake(commands)
    _clip(commands)


def _people_options(p: argparse.ArgumentParser) -> None:
    p.add_argument("--godot", type=Path, help="folder of the Godot hands: a second mesh with its own skins")
    p.add_argument("--mesh", choices=("anny", "godot", "mixed"),
                   help="default: mixed with --godot (3 of 10 are the second mesh), else anny")  # fmt: skip


def _mesh(args: argparse.Namespace) -> str:
    return args.mesh or ("mixed" if args.godot else "anny")


def _bake(commands: argparse._SubParsersAction) -> None:
    p = commands.add_parser("bake", help="write people's arms to a small file, to render without anny")
    p.add_argument("out", type=Path, help="file to write (.npz)")
    p.add_argument("--count", type=int, default=400, help="people (default 400)")
    p.add_argument("--seed", type=int, default=0)
    _people_options(p)

    def run(args: argparse.Namespace) -> int:
        from handcoach_train.render.write import bake

        size = bake(args.out, args.count, args.seed, _mesh(args), args.godot)
        print(f"{args.out}: {args.count} people, {size / 1e6:.1f} MB")
        return 0

    p.set_defaults(run=run)


def _clip(commands: argparse._SubParsersAction) -> None:
    p = commands.add_parser("clip", help="render the demo's clip: a finger stretch, open to fist and back")
    p.add_argument("out", type=Path, help="video to write (.mp4)")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--skins", type=Path, help="folder of skin textures in MakeHuman's layout")
    p.add_argument("--hdri", type=Path, help="folder of environment maps (.hdr)")

    def run(args: argparse.Namespace) -> int:
        from handcoach_train.render.clip import render_clip

        print(f"{args.out}: {render_clip(args.out, args.seed, args.skins, args.hdri)} frames")
        return 0

    p.set_defaults(run=run)
