"""`handcoach-train landmarks`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from handcoach_train.commands.options import photographs, provenance, settings, training_options

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def add(commands: argparse._SubParsersAction) -> None:
    p = commands.add_parser("landmarks", help="train the landmark network")
    p.add_argument(
        "--hanco", nargs="+", type=Path, required=True, help="HanCo-layout folders, rendered or real"
    )
    p.add_argument("--variant", default="rgb_merged", help="HanCo's picture variant (default rgb_merged)")
    p.add_argument("--size", type=int, default=160, help="side of the network's picture (default 160)")
    p.add_argument("--no-roll", action="store_true", help="do not turn cut-outs so that the hand points up")
    p.add_argument("--name", default="mobilenetv2")
    p.add_argument(
        "--repeat-photos", type=int, default=1, help="times that each photograph is seen per epoch"
    )
    training_options(p, 60)

    def run(args: argparse.Namespace) -> int:
        from handcoach.crop import MARGIN
        from handcoach_train import data
        from handcoach_train.train import train

        rendered = [data.split(data.load_hanco(folder, args.variant), 0.05) for folder in args.hanco]
        photos, held = photographs(args)
        training = [r[0] for r in rendered] + [data.photo_samples(photos)] * args.repeat_photos
        validation = [r[1] for r in rendered]
        validation = [v.take(_some(len(v), 400)) for v in validation] + [data.photo_samples(held)]
        empty = data.empty_areas([*photos, *(f for folder in args.frames for f in data.load_frames(folder))])
        config = {
            "kind": "landmarks", "name": args.name, "size": args.size,
            "crop": {"margin": MARGIN, "roll": not args.no_roll},
            **provenance("hands", args.hanco),
        }  # fmt: skip
        everything = data.LandmarkSet(data.join(training), args.size, True, not args.no_roll, empty)
        checking = data.LandmarkSet(data.join(validation), args.size, False, not args.no_roll)
        print(
            f"{len(everything)} training hands, {len(checking)} for validation, "
            f"{len(empty)} pictures for emptiness"
        )
        print(train(config, everything, checking, settings(args)))
        return 0

    p.set_defaults(run=run)


def _some(n: int, most: int) -> NDArray[np.int64]:
    import numpy as np

    return np.random.default_rng(1).permutation(n)[:most]
