"""`handcoach-train throughput`: how many pictures a second our loop trains on, beside the paper's."""

from __future__ import annotations

import argparse
from pathlib import Path

from handcoach_train.commands.options import say_skipped, skip_option


def add(commands: argparse._SubParsersAction) -> None:
    p = commands.add_parser(
        "throughput", help="pictures per second of our training loop, against the plain one of the paper"
    )
    p.add_argument("data", type=Path, metavar="DATA", help="a data set with 3D joints")
    p.add_argument("--variant", help="picture variant of HanCo or FreiHAND")
    skip_option(p)
    p.add_argument("--network", default="resnet50", help="resnet50 or mobilenetv2 (default resnet50)")
    p.add_argument("--size", type=int, default=224, help="side of the pictures (default 224)")
    p.add_argument("--images", type=int, default=64, help="in each round (default 64)")
    p.add_argument("--rounds", type=int, default=5, help="of each loop, in turns (default 5)")
    p.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    p.add_argument("--workers", type=int, default=1, help="processes that load pictures (default 1)")
    p.add_argument("--threads", type=int, help="threads for the network on a CPU")
    p.add_argument("--out", type=Path, help="JSON file to write")
    p.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    import json

    from handcoach_train import data
    from handcoach_train.training.run import Machine, written
    from handcoach_train.training.throughput import compare

    machine = Machine(args.device, workers=args.workers, threads=args.threads)
    samples = data.load(args.data, args.variant, skip_broken=args.skip_broken)
    say_skipped([samples])
    result = compare(samples, args.network, args.size, args.images, max(1, args.rounds), machine)
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        with written(args.out) as partial:
            partial.write_text(json.dumps(result, indent=1) + "\n")
    ours, plain = result["median"]["ours"], result["median"]["plain"]
    print(
        f"{args.network}, {args.size} px: ours {ours:g}, plain {plain:g} images/s, ratio {result['ratio']:g}"
    )
    return 0
