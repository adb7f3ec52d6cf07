"""`handcoach-bench roofline`: each model beside the machine's measured peak."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path

from handcoach.errors import HandCoachError
from handcoach_bench import campaign, flops, machine, origin, results, runner, tables
from handcoach_bench.commands import inference
from handcoach_bench.commands.options import RAW, Commands, check_json, now, positive, seconds
from handcoach_bench.common import model_table
from handcoach_bench.environments import CPU
from handcoach_bench.roofline import Point, Roofs, environment

EPILOG = """\
examples:
  handcoach-bench roofline --json roofline.json
  handcoach-bench report roofline.json -o report        draws it

The peak is the best of many products of two 1024 x 1024 float32 matrices, memory the best of many copies of
256 MB, both in numpy with the same number of threads. MFLOP are counted from the graph: a multiplication
and an addition of a convolution or a matrix product are two. "of peak" is what a model reaches of the matrix
product; int8 may pass 100 %. "of roof" is what it reaches of the most that its FLOP per byte allow.

The same command with the same --json goes on after an interruption. The exit code is 1 if a case gave no
numbers.
"""


def add(commands: Commands) -> None:
    p = commands.add_parser(
        "roofline", help="each model beside the machine's measured peak", epilog=EPILOG, formatter_class=RAW
    )
    p.add_argument(
        "--json", type=Path, metavar="FILE", help="write every figure and the machine to this file"
    )
    p.add_argument("--model", action="append", metavar="NAME|FILE", help="may be repeated (all shipped ones)")
    p.add_argument("--variant", action="append", metavar="PRECISION", help="may be repeated (all)")
    p.add_argument("--threads", type=positive, nargs="+", default=[1], metavar="N", help="(1)")
    p.add_argument("--runs", type=positive, default=100, metavar="N", help="of each process (%(default)s)")
    p.add_argument("--repeats", type=positive, default=2, metavar="N", help="processes (%(default)s)")
    p.add_argument("--timeout", type=seconds, default=120, metavar="S", help="for one process (%(default)s)")
    p.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    check_json(args.json, "roofline")
    here = machine.describe()
    files = inference.files(args.model or [], args.variant or [])
    threads = list(dict.fromkeys(args.threads))
    print("\n".join(here.lines()), flush=True)
    roofs: dict[int, Roofs] = {}
    failed: list[campaign.Result] = []
    for n in threads:
        what = f"peak, {n} thread{'s' * (n > 1)}"
        try:
            with campaign.line(what):
                roofs[n] = peak(n, args.timeout)
        except HandCoachError as error:  # the models' times are worth having without a roof
            case = {"key": what, "what": "peak", "name": "peak", "threads": n, "provider": None}
            failed.append({"case": case, "repeat": 0, "status": "failed", "error": str(error)})
            print(f"{what}: {error}", file=sys.stderr, flush=True)
        else:
            print(f"{what}: {roofs[n].gflops:.0f} GFLOP/s, {roofs[n].gb_s:.1f} GB/s", flush=True)
    content = results.envelope(
        "roofline", now(), args.command, here.as_json(), model_table(files), origin.code(), {}
    ) | {"roofs": [asdict(roof) for roof in roofs.values()]}
    todo = [
        campaign.of_case(inference.network_case(file, CPU, n, 10, args.runs), repeat)
        for repeat in range(args.repeats) for n in threads for file in files
    ]  # fmt: skip
    found = failed + campaign.run(content, todo, args)
    rows = results.rows(found)
    costs = {file.name: flops.count(file) for file in files}
    for row in rows:
        if row.summary and costs[row.case["name"]].flops and row.case["threads"] in roofs:
            point = Point(costs[row.case["name"]], row.summary.median, roofs[row.case["threads"]])
            for result in row.good:
                result["figures"] = point.figures()  # type: ignore[index]
    print("\n".join(["", *tables.roofline(rows), *_uncounted(costs)]))
    if args.json is not None:
        results.write_json(args.json, content | {"results": found})
    return campaign.finished(found, args.json)


def peak(threads: int, timeout_s: float) -> Roofs:
    """
    Raises:
        HandCoachError: it could not be measured, without which there is no roof.
    """
    try:
        found = runner.call({"what": "peak", "threads": threads}, timeout_s, env=environment(threads))
    except runner.ChildError as error:
        raise HandCoachError(
            f"The machine's peak could not be measured ({error}): give --timeout more than {timeout_s:.0f} s."
        ) from error
    if "error" in found:
        raise HandCoachError(f"The machine's peak could not be measured ({found['error']}).")
    return Roofs(threads, found["gflops"], found["gb_s"])


def _uncounted(costs: dict[str, flops.Cost]) -> list[str]:
    return [
        f"note: {name} computes more than is counted: {', '.join(cost.uncounted)[:200]}"
        for name, cost in costs.items() if cost.uncounted
    ] + [
        f"note: {name} has no convolution and no matrix product, so that there is nothing to count"
        for name, cost in costs.items() if not cost.flops
    ]  # fmt: skip
