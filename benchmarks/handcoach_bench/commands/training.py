"""`handcoach-bench training`: the paper's section 6.3 on this machine."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from handcoach.errors import HandCoachError
from handcoach_bench import campaign, machine, origin, results, training
from handcoach_bench.commands.options import RAW, Commands, check_json, count, now, positive, seconds

EPILOG = f"""\
examples:
  handcoach-bench training ../HanCo --json training.json       every device, thread number and precision
  handcoach-bench training --images 2000                       what lies in data/; an evening's work on a CPU
  handcoach-bench training data/any --images 256 --epochs 1 --repeats 1 --threads 1        does it work at all
  handcoach-bench training ../HanCo --device cuda --precision fp32 mixed

As the paper did it (section 6.3): MobileNetV2 with one linear layer to 63 numbers, {training.EPOCHS} epochs
in batches of {training.BATCH}, {training.SIZE} pixels, ImageNet's statistics, Adam; always the same pictures
in the same order, from the same random weights. What varies is the device, the number of threads
(torch.set_num_threads) and the precision: fp32, and bf16 or fp16 where the device computes in it.

DATA is HanCo, a rendered set in its layout, or whatever else `handcoach-train check-data` reads; without it
data/HanCo is taken, or the first set in data/. It needs "handcoach[train,bench]". Each case runs in fresh
processes, --repeats of them; "loader" is the share of the time in which the network waits for pictures. "peak
MB" has the memory of the processes that load pictures in it, as it is at the ends of the epochs. The same
command with the same --json goes on after an interruption. The exit code is 1 if a case gave no numbers.
"""


def add(commands: Commands) -> None:
    p = commands.add_parser(
        "training", help="how fast this machine trains: by device, threads and precision", epilog=EPILOG,
        formatter_class=RAW,
    )  # fmt: skip
    p.add_argument("data", type=Path, nargs="?", metavar="DATA", help="a data set with 3D joints (in data/)")
    p.add_argument("--variant", help="picture variant of HanCo or FreiHAND")
    p.add_argument("--images", type=positive, default=training.IMAGES, metavar="N",
                   help="a fixed choice of so many pictures (%(default)s)")  # fmt: skip
    p.add_argument("--device", action="append", default=[], metavar="NAME",
                   help="cpu, cuda, cuda:1, mps; may be repeated (all there are)")  # fmt: skip
    p.add_argument("--threads", type=positive, nargs="+", metavar="N", help="of a CPU (1, 2, 4, ... all)")
    p.add_argument("--precision", choices=("fp32", "mixed"), nargs="+", default=[],
                   help="(both, where the device has both)")  # fmt: skip
    p.add_argument("--epochs", type=positive, default=training.EPOCHS, metavar="N", help="(%(default)s)")
    p.add_argument("--batch", type=positive, default=training.BATCH, metavar="N", help="(%(default)s)")
    p.add_argument("--size", type=positive, default=training.SIZE, metavar="PX", help="(%(default)s)")
    p.add_argument(
        "--workers", type=count, metavar="N", help="processes that load pictures (CPU 1, GPU up to 8)"
    )
    p.add_argument(
        "--repeats", type=positive, default=3, metavar="N", help="processes of each case (%(default)s)"
    )
    p.add_argument("--json", type=Path, metavar="FILE", help="write every epoch and the machine to this file")
    p.add_argument(
        "--timeout", type=seconds, default=6 * 3600, metavar="S", help="for one process (%(default)s)"
    )
    p.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    check_json(args.json, "training")
    data = args.data or training.find_data()
    if not data.is_dir():
        raise HandCoachError(
            f"The folder {data} does not exist: give the one of HanCo, or of a rendered set."
        )
    here = machine.describe()
    print("\n".join(here.lines()), flush=True)
    with tempfile.TemporaryDirectory(prefix="handcoach-bench-") as folder:
        subset = Path(folder) / "subset.npz"
        devices = training.ask({"what": "devices"}, 300, "devices")["devices"]
        chosen = training.ask(
            {"what": "subset", "data": str(data), "variant": args.variant, "images": args.images,
             "to": str(subset)}, args.timeout, f"reading {data}",
        )  # fmt: skip
        if chosen["images"] < args.batch:
            raise HandCoachError(
                f"{chosen['images']} pictures are fewer than a batch of {args.batch}: give more --images."
            )
        print(f"{chosen['images']} of {chosen['of']} pictures of {data}, the same ones in every case")
        settings = {"images": chosen["images"], "epochs": args.epochs, "batch": args.batch, "size": args.size,
                    "workers": args.workers, "variant": args.variant}  # fmt: skip
        threads = list(dict.fromkeys(args.threads or training.default_threads()))
        todo = training.jobs(
            devices, args.device, threads, list(dict.fromkeys(args.precision)), args.repeats, settings, subset
        )
        content = results.envelope(
            "training", now(), args.command, here.as_json(), {}, origin.code(origin.TRAINING),
            origin.inputs({"DATA": data}, args.json),
        ) | {
            "data": str(data), "subset": {"images": chosen["images"], "of": chosen["of"]},
        }  # fmt: skip
        found = campaign.run(content, todo, args)
    print("\n".join(["", *training.table(results.rows(found))]))
    return campaign.finished(found, args.json)
