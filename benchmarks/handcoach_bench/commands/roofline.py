"""`handcoach-bench roofline`: each model beside the machine's measured peak."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from handcoach.errors import HandCoachError
from handcoach_bench import flops, machine, origin, results, runner, tables
from handcoach_bench.commands import inference
from handcoach_bench.commands.options import RAW, Commands, check_json, now, positive, seconds
from handcoach_bench.common import Bar, model_table
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
    bar = Bar(len(threads) * (1 + len(files) * args.repeats))
    found, roofs = [], {}
    for n in threads:
        bar.say(f"peak, {n} thread{'s' * (n > 1)}")
        try:
            roofs[n] = peak(n, args.timeout)
        except HandCoachError as error:  # the models' times are worth having without a roof
            name = {"what": "peak", "name": "peak", "threads": n, "provider": None}
            case = {"key": f"peak, {n} thread{'s' * (n > 1)}", **name}
            found.append({"case": case, "repeat": 0, "status": "failed", "error": str(error)})
            bar.done(str(error))
        else:
            bar.done(f"{roofs[n].gflops:.0f} GFLOP/s, {roofs[n].gb_s:.1f} GB/s")
        for file in files:
            alone = inference.network_case(file, CPU, n, 10, args.runs)
            for repeat in range(args.repeats):
                bar.say(str(alone))
                outcome = runner.run(alone, args.timeout, repeat=repeat)
                found.append(outcome.as_json())
                bar.done(f"{outcome.summary.median:.2f} ms" if outcome.summary else str(outcome.error))
    rows = results.rows(found)
    costs = {file.name: flops.count(file) for file in files}
    for row in rows:
        if row.summary and costs[row.case["name"]].flops and row.case["threads"] in roofs:
            point = Point(costs[row.case["name"]], row.summary.median, roofs[row.case["threads"]])
            for result in row.results:
                result["figures"] = point.figures()  # type: ignore[index]
    print("\n".join(["", *tables.roofline(rows), *tables.stability(rows), *_uncounted(costs)]))
    if args.json is not None:
        content = results.envelope(
            "roofline", now(), args.command, here.as_json(), model_table(files), origin.code(), {}
        )
        results.write_json(
            args.json,
            content | {"complete": True, "roofs": [asdict(r) for r in roofs.values()], "results": found},
        )
        print(f"\nEvery figure is in {args.json}; `handcoach-bench report {args.json} -o DIR` draws it.")
    return 1 if any(row.note for row in rows) else 0


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
