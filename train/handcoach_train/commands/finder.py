"""`handcoach-train finder`."""

from __future__ import annotations

import argparse

from handcoach_train.commands.options import photographs, provenance, settings, training_options


def add(commands: argparse._SubParsersAction) -> None:
    p = commands.add_parser("finder", help="train the hand finder")
    p.add_argument("--height", type=int, default=144)
    p.add_argument("--width", type=int, default=192)
    p.add_argument("--name", default="finder")
    p.add_argument(
        "--repeat-photos", type=int, default=1, help="times that each photograph is seen per epoch"
    )
    training_options(p, 20)

    def run(args: argparse.Namespace) -> int:
        from handcoach_train import data
        from handcoach_train.train import train

        photos, held = photographs(args)
        frames = [f for folder in args.frames for f in data.load_frames(folder)]
        training = [f for i, f in enumerate(frames) if i % 20] + photos * args.repeat_photos
        validation = [f for i, f in enumerate(frames) if not i % 20] + held
        config = {
            "kind": "finder", "name": args.name, "height": args.height, "width": args.width, "max_hands": 4,
            **provenance("frames", args.frames),
        }  # fmt: skip
        everything = data.FinderSet(training, args.height, args.width, True)
        checking = data.FinderSet(validation, args.height, args.width, False)
        print(f"{len(everything)} training frames, {len(checking)} for validation")
        print(train(config, everything, checking, settings(args)))
        return 0

    p.set_defaults(run=run)
