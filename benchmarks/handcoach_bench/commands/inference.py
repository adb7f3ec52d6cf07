"""`handcoach-bench inference`: every model, provider, number of threads and kind of input."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from handcoach import defaults, model
from handcoach.errors import HandCoachError, ModelError
from handcoach_bench import campaign, environments, machine, origin, results, runner, tables
from handcoach_bench.commands.options import RAW, Commands, check_json, count, now, positive, seconds
from handcoach_bench.common import demo_clip, model_table, variant_of
from handcoach_bench.results import Case

RUNS, WARMUP, REPEATS = 200, 20, 3
QUICK_RUNS, QUICK_WARMUP, QUICK_REPEATS = 40, 5, 2
SEEN = {"pipeline": "--clip", "photographs": "--photos"}
INPUTS: dict[str, Any] = {"synthetic": "network", "photographs": "photographs", "video": "pipeline"}

EPILOG = """\
examples:
  handcoach-bench inference --quick                  a first look, under two minutes
  handcoach-bench inference --json results.json      200 runs of each case, in three processes each
  handcoach-bench inference --model mobilenetv2 --model mine.onnx --threads 1 --variant int8
  handcoach-bench inference --photos DATA/real_3d/images --json results.json
  handcoach-bench inference --provider cpu --provider openvino     makes an environment for OpenVINO
  handcoach-bench inference --eager models/checkpoints/mobilenetv2.safetensors

A case is a model, a provider, a number of threads and an input: "synthetic" is one random picture through the
network alone; "photographs" the whole path of a still photograph; "video" a frame of 640 x 480 of a clip
that is followed: hand finder when it is needed, crop, network, smoothing and posture.

Every case runs in fresh processes, --repeats of them, one round after the other. Times are milliseconds per
picture (batch 1) over the runs of all of them; "spread" is how far the medians of the processes lie apart,
and above 5 % the row is UNSTABLE, in wall or in CPU time. CPU is the median of processor time per picture
over all threads (the mean where its clock is coarse), CPU % its mean by the time that passed; peak and steady
are the process's memory, of the worst process and on average. A provider that falls back to another one
fails.

The same command with the same --json goes on after an interruption. Look at a file with `handcoach-bench
report`, at two of them with `compare`. The exit code is 1 if a case gave no numbers.
"""


def add(commands: Commands) -> None:
    p = commands.add_parser(
        "inference", help="how fast every model runs: by provider, threads and input", epilog=EPILOG,
        formatter_class=RAW,
    )  # fmt: skip
    p.add_argument(
        "--quick", action="store_true",
        help=f"{QUICK_RUNS} runs in {QUICK_REPEATS} processes instead of {RUNS} in {REPEATS}",
    )  # fmt: skip
    p.add_argument("--json", type=Path, metavar="FILE", help="write every run and the machine to this file")
    p.add_argument(
        "--model", action="append", metavar="NAME|FILE",
        help="a landmark model or hand finder; may be repeated (all shipped ones)",
    )  # fmt: skip
    p.add_argument(
        "--variant", action="append", metavar="PRECISION", help="fp32, fp16 or int8; may be repeated (all)"
    )
    p.add_argument("--threads", type=positive, nargs="+", default=[1, 2], metavar="N", help="(1 2)")
    p.add_argument(
        "--provider", action="append", metavar="NAME",
        help="cpu, cuda, tensorrt, directml, openvino, coreml, xnnpack, or all that this machine may have; "
        "may be repeated (those of the installed onnxruntime)",
    )  # fmt: skip
    p.add_argument("--input", action="append", choices=INPUTS, help="may be repeated (all there is)")
    p.add_argument("--eager", action="append", default=[], type=Path, metavar="CHECKPOINT",
                   help="a checkpoint of handcoach-train in PyTorch itself; may be repeated")  # fmt: skip
    p.add_argument("--runs", type=positive, metavar="N", help="of each process")
    p.add_argument("--warmup", type=count, metavar="N", help="runs before them, kept apart")
    p.add_argument("--repeats", type=positive, metavar="N", help="processes of each case")
    p.add_argument("--exercise", default=defaults.EXERCISE, metavar="NAME|FILE", help="(%(default)s)")
    p.add_argument("--finder", default=defaults.FINDER, metavar="NAME|FILE", help="(%(default)s)")
    p.add_argument("--clip", metavar="FILE", help="the video (the demo's clip)")
    p.add_argument("--photos", metavar="DIR", help="folder of the photographs (none)")
    p.add_argument("--timeout", type=seconds, default=120, metavar="S", help="for one process (%(default)s)")
    p.set_defaults(run=run)


@dataclass(frozen=True)
class Plan:
    """What will be measured: cases, the model files that they need, and why a case cannot run."""

    cases: list[Case]
    files: list[model.ModelFile]
    refused: dict[Case, str]


def plan(args: argparse.Namespace, providers: Sequence[str]) -> Plan:
    """Networks first, landmark models before the finder, then the path of a frame, then PyTorch.

    Raises:
        HandCoachError: no such model or variant, or none at all; two have the same name.
    """
    measured = files(args.model or [], args.variant or [])
    runs = args.runs or (QUICK_RUNS if args.quick else RUNS)
    warmup = args.warmup if args.warmup is not None else (QUICK_WARMUP if args.quick else WARMUP)
    threads = list(dict.fromkeys(args.threads))
    grid = [(provider, n) for provider in providers for n in threads]
    inputs = list(dict.fromkeys(args.input or ())) or [
        name for name in INPUTS if name != "photographs" or args.photos
    ]
    refused: dict[Case, str] = {}

    todo: list[Case] = []
    if "synthetic" in inputs:
        todo += [network_case(file, provider, n, warmup, runs) for file in measured for provider, n in grid]
    for name in inputs:
        if name == "synthetic":
            continue
        path, why = _frame_path(args, name)
        # A first look takes the fewest threads for whole frames: there the network is one step of many.
        few = grid if not args.quick else [pair for pair in grid if pair[1] == min(threads)]
        for file in (f for f in measured if f.kind == "landmarks"):
            made = [
                replace(network_case(file, provider, n, warmup, runs), what=INPUTS[name], **path)
                for provider, n in few
            ]
            todo += made
            refused |= dict.fromkeys(made, why) if why else {}
    devices = ["PyTorch CPU"] + ["PyTorch CUDA"] * ("CUDAExecutionProvider" in providers)
    stems = [checkpoint.stem for checkpoint in args.eager]
    if twice := {stem for stem in stems if stems.count(stem) > 1}:
        raise HandCoachError(f"Two checkpoints are called {', '.join(twice)}: give each --eager once.")
    for checkpoint in args.eager:
        made = [
            Case("eager", str(checkpoint), checkpoint.stem, n, device, warmup, runs, precision="fp32")
            for device in devices for n in threads
        ]  # fmt: skip
        todo += made
        if not checkpoint.is_file():
            refused |= dict.fromkeys(made, f"{checkpoint} does not exist")
    return Plan(todo, measured, refused)


def files(names: Sequence[str], variants: Sequence[str]) -> list[model.ModelFile]:
    """The named landmark models and finders, or all shipped ones, of these variants; landmark models first.

    Raises:
        HandCoachError: no such model or variant, or none at all; two have the same name.
    """
    if names:
        found = [model.read(_find(name)) for name in names]
    else:
        found = [model.read(path) for kind in ("landmarks", "finder") for path in model.shipped(kind)]
    found = [file for kind in ("landmarks", "finder") for file in found if file.kind == kind]
    if not found:
        raise HandCoachError("There is no landmark model to measure: name a file with --model.")
    called = [file.name for file in found]
    if len(set(called)) < len(called):
        twice = next(name for name in called if called.count(name) > 1)
        raise HandCoachError(f"Two models are called {twice}: give each --model once.")
    known = {variant_of(file)["precision"] for file in found}
    for precision in variants:
        if precision not in known:
            raise HandCoachError(
                f"No model has the variant {precision!r}: take {' or '.join(sorted(known))}, or name another "
                "--model."
            )
    return [file for file in found if not variants or variant_of(file)["precision"] in variants]


def network_case(file: model.ModelFile, provider: str, threads: int, warmup: int, runs: int) -> Case:
    """A model alone, on one random picture."""
    return Case("network", str(file.path), file.name, threads, provider, warmup, runs,
                precision=variant_of(file)["precision"])  # fmt: skip


def _find(name: str) -> Path:
    # The name of a finder is no landmark model's, so the first kind that knows it is the right one.
    try:
        return model.find(name, "finder")
    except ModelError:
        return model.find(name, "landmarks")


def _frame_path(args: argparse.Namespace, name: str) -> tuple[dict[str, Any], str | None]:
    """The files that a frame's path needs besides the landmark model, and why there are none."""
    if name == "photographs" and not args.photos:
        return {}, "name the folder of photographs with --photos"
    try:
        path = {
            "finder": str(model.find(args.finder, "finder")),
            "exercise": str(model.find(args.exercise, "exercise")),
            "clip": str(args.photos if name == "photographs" else args.clip or demo_clip()),
        }
    except HandCoachError as error:
        return {}, str(error)
    missing = not Path(path["clip"]).exists()
    return path, f"{path['clip']} does not exist" if missing else None


def run(args: argparse.Namespace) -> int:
    check_json(args.json, "inference")
    here = machine.describe()
    working, listed = runner.providers(args.timeout)
    wanted = _providers(args.provider or [], listed, here.gpus)
    todo = plan(args, wanted)
    repeats = args.repeats or (QUICK_REPEATS if args.quick else REPEATS)
    commands = _commands(wanted, working, here.gpus if args.provider else None)
    content = results.envelope(
        "inference", now(), args.command, here.as_json(), _models(todo),
        origin.code(*[origin.TRAINING] * bool(args.eager)),
        origin.inputs({SEEN[case.what]: case.clip for case in todo.cases if case.what in SEEN}, args.json),
    )  # fmt: skip
    print("\n".join(here.lines()), flush=True)
    rows = results.rows(campaign.run(content, jobs(todo, commands, repeats), args))
    print("\n".join(["", *tables.inference(rows), *tables.headlines(rows, content["models"])]))
    return campaign.finished(content["results"], args.json)


def jobs(todo: Plan, commands: Mapping[str, tuple[str, ...] | str], repeats: int) -> list[campaign.Job]:
    """Round by round, so that a change of the machine's pace shows as a spread of every case's medians.

    Args:
        commands: see `_commands`.
    """
    made = []
    for repeat in range(repeats):
        for case in todo.cases:
            command = runner.EAGER if case.what == "eager" else commands.get(case.provider, runner.CHILD)
            why = todo.refused.get(case, command if isinstance(command, str) else None)
            if not (repeat and why):
                made.append(campaign.of_case(case, repeat, tuple(command), why))
    return made


def _providers(names: Sequence[str], listed: Sequence[str], gpus: Sequence[str]) -> list[str]:
    """Full names; those that are asked for, or those of the installed onnxruntime."""
    if not names:
        return list(listed)
    found = []
    for name in names:
        if name.lower() == "all":
            found += [*listed, *(p for p in environments.PROVIDERS if not environments.why_not(p, gpus))]
        else:
            found.append(environments.provider_named(name))
    return list(dict.fromkeys(found))


def _commands(
    wanted: Sequence[str], working: Sequence[str], gpus: Sequence[str] | None
) -> dict[str, tuple[str, ...] | str]:
    """What runs the cases of each provider that does not compute in this environment; a text says why nothing
    does.

    Args:
        gpus: None where nobody asked for a provider, so that no environment is made.
    """
    commands: dict[str, tuple[str, ...] | str] = {}
    for provider in wanted:
        if gpus is None:
            if provider not in working:
                commands[provider] = "the installed onnxruntime lists it, but it computes nothing here"
            continue
        try:
            command = environments.child_command(provider, working, gpus)
        except HandCoachError as error:
            commands[provider] = str(error)
        else:
            if command is not None:
                commands[provider] = command
    return commands


def _models(todo: Plan) -> dict[str, dict[str, Any]]:
    """Every file that is measured: landmark models and finders, what frames need besides, checkpoints."""
    files = {file.sha256: file for file in todo.files}
    for case in todo.cases:
        for path in (case.finder, case.exercise):
            if path is not None:
                file = model.read(path)
                files.setdefault(file.sha256, file)
    table = model_table(files.values())
    for checkpoint in {Path(case.model) for case in todo.cases if case.what == "eager"}:
        if checkpoint.is_file():
            data = checkpoint.read_bytes()
            table[hashlib.sha256(data).hexdigest()] = {
                "name": checkpoint.stem, "kind": "checkpoint", "file": checkpoint.name, "bytes": len(data),
            }  # fmt: skip
    return table
