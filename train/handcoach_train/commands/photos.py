"""`handcoach-train gather`, `pseudo-label`, `lift` and `shrink`: real photographs with points, also in 3D."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def add(commands: argparse._SubParsersAction) -> None:
    _gather(commands)
    _pseudo_label(commands)
    _lift(commands)
    _shrink(commands)


def _gather(commands: argparse._SubParsersAction) -> None:
    p = commands.add_parser(
        "gather",
        help="turn local clones of public repositories into a folder of hand photographs",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n"
        "  handcoach-train gather train/data_sources.toml --from clones --to data/photos \\\n"
        "      --refuse ../shared/data/real_3d ../shared/data/teacher_sessions\n",
    )
    p.add_argument("sources", type=Path, help="train/data_sources.toml or one like it")
    p.add_argument("--from", dest="clones", type=Path, required=True, metavar="DIR",
                   help="folder of clones, bare or not, named owner+name")  # fmt: skip
    p.add_argument("--to", dest="out", type=Path, required=True, metavar="OUT",
                   help="folder to write; what is there already stays")  # fmt: skip
    p.add_argument("--refuse", nargs="+", type=Path, default=[], metavar="FOLDER",
                   help="evaluation pictures: what looks like one of them is not taken")  # fmt: skip
    p.add_argument("--only", nargs="+", metavar="SOURCE", help="only these sources; for trying one out")

    def run(args: argparse.Namespace) -> int:
        from handcoach_train import gather
        from handcoach_train.errors import TrainError

        sources = gather.read_sources(args.sources)
        listed = {s.name for s in sources}
        if args.only:
            unknown = set(args.only) - listed
            if unknown:
                raise TrainError(f"{args.sources} has no source {min(unknown)}.")
            sources = [s for s in sources if s.name in args.only]
        if not args.refuse:
            print("Nothing is refused: name the evaluation pictures by --refuse.", file=sys.stderr)
        counts = gather.gather(sources, args.clones, args.out, args.refuse, listed=listed)
        for name, count in counts.items():
            rest = ", ".join(
                f"{n} {why}" for why, n in sorted(count.items()) if why not in ("found", "kept") and n
            )
            print(f"{name}: {count['kept']} of {count['found']}" + (f" ({rest})" if rest else ""))
        print(f"{args.out}: {sum(c['kept'] for c in counts.values())} photographs from {len(counts)} sources")
        return 0

    p.set_defaults(run=run)


def _pseudo_label(commands: argparse._SubParsersAction) -> None:
    p = commands.add_parser(
        "pseudo-label",
        help="give photographs image points, by MediaPipe in an environment of its own",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n  handcoach-train pseudo-label data/photos data/photos.json --processes 4\n",
    )
    p.add_argument("photos", type=Path, help="folder of photographs")
    p.add_argument("out", type=Path, help="JSON to write; an interrupted run goes on in it")
    p.add_argument("--python", type=Path, help="python of an environment with mediapipe==0.10.21 "
                   "(default: one is made in the user's cache)")  # fmt: skip
    p.add_argument("--processes", type=int, default=1, help="that label at once (default 1)")

    def run(args: argparse.Namespace) -> int:
        from handcoach_train.labelling import pseudo_label

        pseudo_label(args.photos, args.out, args.python, args.processes)
        return 0

    p.set_defaults(run=run)


def _lift(commands: argparse._SubParsersAction) -> None:
    p = commands.add_parser(
        "lift",
        help="guess the 3D of labelled photographs, by our networks and MediaPipe together",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n  handcoach-train lift photos.json data/photos lifted.json "
        "--model models/mobilenetv2-float.onnx\n",
    )
    p.add_argument("labels", type=Path, help="what pseudo-label wrote")
    p.add_argument("photos", type=Path, help="folder of the photographs")
    p.add_argument("out", type=Path, help="JSON to write; may be the labels' own")
    p.add_argument("--model", type=Path, action="append", required=True, metavar="FILE",
                   help="an exported landmark network; several: their mean")  # fmt: skip
    p.add_argument("--threads", type=int, default=1, help="of the networks (default 1)")

    def run(args: argparse.Namespace) -> int:
        from handcoach_train.lifting import lift

        print(f"{args.out}: {lift(args.labels, args.photos, args.model, args.out, args.threads)} hands")
        return 0

    p.set_defaults(run=run)


def _shrink(commands: argparse._SubParsersAction) -> None:
    p = commands.add_parser(
        "shrink",
        help="cut labelled photographs to their hands, to carry them to another machine",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n  handcoach-train shrink photos.json data/photos small/photos\n"
        "writes small/photos/ and small/photos.json, for --photos small/photos.json small/photos\n",
    )
    p.add_argument("labels", type=Path, help="what pseudo-label wrote")
    p.add_argument("photos", type=Path, help="folder of the photographs")
    p.add_argument(
        "out", type=Path, help="folder to write, of the same name; the labels go to OUT.json beside it"
    )
    p.add_argument("--side", type=int, default=256, help="pixels at most (default 256)")
    p.add_argument("--quality", type=int, default=75, help="of WebP (default 75)")

    def run(args: argparse.Namespace) -> int:
        from handcoach_train import data

        count = data.shrink(args.labels, args.photos, args.out, args.side, args.quality)
        size = sum(f.stat().st_size for f in args.out.rglob("*.webp"))
        print(f"{args.out}: {count} hands, {size / 1e6:.1f} MB")
        return 0

    p.set_defaults(run=run)
