"""`handcoach-bench`: how fast the models run on this machine, and how right they are."""

from __future__ import annotations

import argparse
import datetime
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from handcoach import defaults, model
from handcoach.errors import HandCoachError
from handcoach_bench import accuracy as parts
from handcoach_bench import machine, results, runner, tables
from handcoach_bench.common import Models, demo_clip, describe
from handcoach_bench.photographs import real_3d_peer
from handcoach_bench.results import Case, Outcome

RUNS, WARMUP = 200, 20
QUICK_RUNS, QUICK_WARMUP = 40, 5

EPILOG = """\
examples:
  handcoach-bench inference --quick                  a first look, under a minute
  handcoach-bench inference --json results.json      200 runs of each case
  handcoach-bench inference --model mobilenetv2 --model mine.onnx --threads 1

Each case runs in a process of its own: model, number of threads and execution provider. Times are
milliseconds per picture (batch 1); CPU is processor time per picture over all threads; RSS is the largest
memory of the process. "pipeline" is the whole step that a frame of 640 x 480 takes: hand finder when it is
needed, crop, network, smoothing and posture. The exit code is 1 if a case gave no numbers.
"""

ACCURACY_EPILOG = """\
examples:
  handcoach-bench accuracy ../shared/data --json accuracy.json
  handcoach-bench accuracy data --part real-3d --model mobilenetv2 resnet50 --peer .venv-mediapipe/bin/python
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
--held-out file may have been trained on, so they are reported apart. The exit code is 1 if a part that was
asked for with --part, or the measuring of times, gave no numbers.
"""


def parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    top = argparse.ArgumentParser(
        prog="handcoach-bench", description="How fast the models run here, and how right they are."
    )
    kinds = top.add_subparsers(dest="benchmark", required=True, metavar="BENCHMARK")
    sub = kinds.add_parser(
        "inference", help="every model, number of threads and provider", epilog=EPILOG, formatter_class=raw
    )
    sub.add_argument("--quick", action="store_true", help=f"{QUICK_RUNS} runs instead of {RUNS}")
    sub.add_argument("--json", type=Path, metavar="FILE", help="write every run and the machine to this file")
    sub.add_argument(
        "--model", action="append", metavar="NAME|FILE",
        help="a landmark model or hand finder; may be repeated (all shipped ones)",
    )  # fmt: skip
    sub.add_argument("--threads", type=_positive, nargs="+", default=[1, 2], metavar="N", help="(1 2)")
    sub.add_argument("--provider", action="append", metavar="NAME", help="may be repeated (all that compute)")
    sub.add_argument("--runs", type=_positive, metavar="N")
    sub.add_argument("--warmup", type=_count, metavar="N")
    sub.add_argument("--exercise", default=defaults.EXERCISE, metavar="NAME|FILE", help="(%(default)s)")
    sub.add_argument("--finder", default=defaults.FINDER, metavar="NAME|FILE", help="(%(default)s)")
    sub.add_argument("--clip", metavar="FILE", help="what the pipeline sees (the demo's clip)")
    sub.add_argument("--timeout", type=float, default=120, metavar="S", help="for one case (%(default)s)")
    sub.set_defaults(run=inference)

    sub = kinds.add_parser(
        "accuracy", help="how right the program is on labelled pictures", epilog=ACCURACY_EPILOG,
        formatter_class=raw,
    )  # fmt: skip
    sub.add_argument("data", type=Path, metavar="DATA", help="folder with the folders named below")
    sub.add_argument("--part", action="append", choices=parts.PARTS, help="may be repeated (all)")
    sub.add_argument(
        "--json", type=Path, metavar="FILE", help="write every figure and the machine to this file"
    )
    sub.add_argument(
        "--model", nargs="+", metavar="NAME|FILE",
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
        type=float,
        default=300,
        metavar="S",
        help="for the peer or one latency case (%(default)s)",
    )
    sub.set_defaults(run=accuracy)
    return top


def _count(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError("must not be negative")
    return value


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def cases(args: argparse.Namespace, providers: Sequence[str]) -> list[Case]:
    """Landmark models first, then the finder, then the pipeline of each landmark model.

    Raises:
        HandCoachError: no such model, or none at all.
    """
    if args.model:
        files = [model.read(_find(name)) for name in args.model]
    else:
        files = [model.read(path) for kind in ("landmarks", "finder") for path in model.shipped(kind)]
    networks = [file for kind in ("landmarks", "finder") for file in files if file.kind == kind]
    if not networks:
        raise HandCoachError("There is no landmark model to measure: name a file with --model.")
    runs = args.runs or (QUICK_RUNS if args.quick else RUNS)
    warmup = args.warmup if args.warmup is not None else (QUICK_WARMUP if args.quick else WARMUP)
    grid = [(provider, threads) for provider in providers for threads in dict.fromkeys(args.threads)]
    todo = [
        Case("network", str(file.path), file.name, threads, provider, warmup, runs)
        for file in networks
        for provider, threads in grid
    ]
    # The finder and the exercise run on the CPU, as they do for a patient; so the pipeline is the CPU's.
    if "CPUExecutionProvider" not in providers:
        return todo
    try:
        finder, exercise = model.find(args.finder, "finder"), model.find(args.exercise, "exercise")
        clip = args.clip or demo_clip()
    except HandCoachError as error:
        print(f"No pipeline is measured. {error}", file=sys.stderr)
        return todo
    todo += [
        Case("pipeline", str(file.path), file.name, threads, "CPUExecutionProvider", warmup, runs,
             finder=str(finder), exercise=str(exercise), clip=str(clip))
        for file in networks if file.kind == "landmarks"
        for threads in dict.fromkeys(args.threads)
    ]  # fmt: skip
    return todo


def _find(name: str) -> Path:
    # The name of a finder is no landmark model's, so the first kind that knows it is the right one.
    for kind in ("finder", "landmarks"):
        try:
            return model.find(name, kind)
        except model.ModelError as error:
            if kind == "landmarks":
                raise error
    raise AssertionError("unreachable")


def inference(args: argparse.Namespace) -> int:
    _check_json(args.json)
    created = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    here = machine.describe()
    working = runner.providers(args.timeout)
    wanted = tuple(args.provider or working)
    todo = cases(args, wanted)
    print("\n".join(here.lines()), flush=True)
    outcomes: list[Outcome] = []
    for number, case in enumerate(todo, 1):
        print(f"[{number}/{len(todo)}] {case} ...", end=" ", file=sys.stderr, flush=True)
        outcome = runner.run(case, args.timeout)
        outcomes.append(outcome)
        summary = outcome.summary
        said = f"{summary.median:.2f} ms" if summary else f"{outcome.status}: {outcome.error}"
        print(said, file=sys.stderr, flush=True)
    print("\n".join(["", *results.table(outcomes)]))
    if args.json is not None:
        results.write(args.json, here.as_json(), outcomes, created)
        print(f"\nEvery run is in {args.json}.")
    return 0 if all(outcome.status == "ok" for outcome in outcomes) else 1


def accuracy(args: argparse.Namespace) -> int:
    _check_json(args.json)
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
    judged = any(part in parts.JUDGED for part in todo)
    every = [Models(name, args.finder, args.exercise) for name in args.model or [defaults.LANDMARKS]]
    described = [describe(models.paths(judged)) for models in every]
    names = [d["landmarks"]["name"] for d in described]
    if len(set(names)) < len(names):
        raise HandCoachError(f"Two models are called {_twice(names)}: give each --model once.")
    measured = described[0] | {"landmarks": [d["landmarks"] for d in described]}
    created = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    here = machine.describe()
    print("\n".join(here.lines()))
    files = [*measured["landmarks"], *(m for kind, m in measured.items() if kind != "landmarks")]
    print("; ".join(f"{m['name']} {m['version']} ({m['sha256'][:12]})" for m in files))
    # By part, then by the name of the landmark model.
    figures: dict[str, dict[str, dict[str, Any]]] = {}
    for number, part in enumerate(todo, 1):
        print(f"[{number}/{len(todo)}] {part} ...", file=sys.stderr, flush=True)
        figures[part] = {
            name: parts.run(part, args.data, models, args.held_out, args.timeout)
            for name, models in zip(names, every, strict=True)
        }
        folder = args.data / parts.FOLDERS["real-3d"]
        if part == "real-3d" and args.peer and folder.is_dir():
            peer, figures[part][peer] = real_3d_peer(folder, args.peer, args.timeout)
        print("\n".join(["", *tables.lines(part, figures[part])]), flush=True)
    if args.json is not None:
        content = {
            "schema": parts.SCHEMA,
            "benchmark": "accuracy",
            "created": created,
            "data": str(args.data),
            "machine": here.as_json(),
            "models": measured,
            "parts": figures,
        }
        results.write_json(args.json, content)
        print(f"\nEvery figure is in {args.json}.")
    each = [f for by_model in figures.values() for f in by_model.values()]
    return 1 if any("failed" in f or ("skipped" in f and args.part) for f in each) else 0


def _twice(names: list[str]) -> str:
    return next(name for name in names if names.count(name) > 1)


def _check_json(path: Path | None) -> None:
    """Before minutes of measuring, not after."""
    if path is not None and not path.absolute().parent.is_dir():
        raise HandCoachError(f"The folder {path.parent} does not exist: give --json another place.")


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    try:
        return int(args.run(args))
    except HandCoachError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nStopped; nothing was written.", file=sys.stderr)
        return 130
