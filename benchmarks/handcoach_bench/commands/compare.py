"""`handcoach-bench compare`: whether the same cases of two files differ, or only scatter."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from handcoach.errors import HandCoachError
from handcoach_bench import machine, origin, results, tables
from handcoach_bench.commands.options import RAW, Commands
from handcoach_bench.comparison import Change, changes, other_work

EPILOG = """\
examples:
  handcoach-bench compare before.json after.json

Both files must be of one benchmark and one machine: figures of two machines are two figures, never a
comparison. So are figures of other work: other pictures, another data set, more processors. A difference is
named only if it is significant (Mann-Whitney, corrected for the number of cases; interval by drawing
processes and runs anew) and larger than what repeated processes of one file differ by.
"""


def add(commands: Commands) -> None:
    p = commands.add_parser(
        "compare",
        help="whether two files of results differ, case by case",
        epilog=EPILOG,
        formatter_class=RAW,
    )
    p.add_argument("a", type=Path, metavar="A", help="file of --json: before")
    p.add_argument("b", type=Path, metavar="B", help="file of --json: after")
    p.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    a, b = (results.load(path) for path in (args.a, args.b))
    if a["benchmark"] != b["benchmark"]:
        raise HandCoachError(
            f"{args.a} is of {a['benchmark']} and {args.b} of {b['benchmark']}: "
            "give two files of one benchmark."
        )
    if apart := machine.differences(a["machine"], b["machine"]):
        raise HandCoachError(
            f"{args.a} and {args.b} are from different machines ({'; '.join(apart)[:300]}): "
            "measure both on one."
        )
    rows = [_rows(content) for content in (a, b)]
    found = changes(*rows)
    if not found and a["benchmark"] == "accuracy":
        raise HandCoachError("accuracy measures no times: compare two other files, or read both reports.")
    if not found:
        why = "".join(f" ({said.removeprefix('note: ')})" for said in _unpaired(rows, found)[:1])
        raise HandCoachError(
            f"{args.a} and {args.b} have no timed case in common{why}: give two runs of one command."
        )
    busy = [which for which, content in (("A", a), ("B", b)) if machine.busy(content["machine"])]
    print("\n".join([*table(found, busy), *notes(a, b), *_versions(rows, a, b), *_unpaired(rows, found)]))
    return 0


def _rows(content: dict[str, Any]) -> list[results.Row]:
    """With what the whole file worked on in every case: its data set, and how many pictures that has."""
    whole = {"data": content.get("data"), "pictures": content.get("subset", {}).get("of")}
    known = {name: value for name, value in whole.items() if value is not None}
    return [
        dataclasses.replace(row, case={**row.case, **known})
        for row in results.rows(content.get("results", []))
    ]


def table(found: list[Change], busy: Sequence[str]) -> list[str]:
    """A row of each case; `busy` are those of A and B that a busy machine measured."""
    but = f", but the machine was busy in {' and '.join(busy)}" if busy else ""
    cells = [("case", "A ms", "B ms", "change", "95 % interval", "p", "noise", "CPU", "CPU noise", "")]
    for change in found:
        cells.append((
            change.key, f"{change.a.median:.2f}", f"{change.b.median:.2f}", _percent(change.ratio),
            f"{_percent(change.low)} to {_percent(change.high)}",
            "<0.001" if change.p < 0.001 else f"{change.p:.3f}",
            "?" if change.noise is None else f"{change.noise:.1%}",
            "?" if change.cpu is None else _percent(change.cpu),
            "?" if change.cpu_noise is None else f"{change.cpu_noise:.1%}",
            change.verdict + (but if change.differs else ""),
        ))  # fmt: skip
    return tables.grid(cells, left=(0, 9))


def _percent(ratio: float) -> str:
    return f"{100 * (ratio - 1):+.1f} %"


def notes(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    """What else is not the same in both, and what makes both doubtful."""
    said = [
        f"note: in {which} {why}" for which, c in (("A", a), ("B", b)) if (why := machine.busy(c["machine"]))
    ]
    said += [f"note: B is of other {what} than A" for what in origin.differences(a, b, unknown=False)]
    said += [f"note: other conditions: {what}" for what in machine.conditions(a["machine"], b["machine"])]
    names = [{m["name"]: sha for sha, m in content["models"].items()} for content in (a, b)]
    said += [
        f"note: {name} is another file ({names[0][name][:12]} / {names[1][name][:12]})"
        for name in names[0] if name in names[1] and names[0][name] != names[1][name]
    ]  # fmt: skip
    for which, mine, other in zip("AB", names, names[::-1], strict=True):
        # The oldest files name no models at all.
        said += [f"note: {name} was measured in {which} only" for name in mine if other and name not in other]
    return said + [f"note: {which} was interrupted" for which, c in (("A", a), ("B", b)) if not c["complete"]]


def _versions(rows: list[list[results.Row]], a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    """In which versions each program's own environments differ, unless the commands' do so too."""
    known = machine.conditions(a["machine"], b["machine"])
    others = {row.key: row for row in rows[1] if row.good}
    said = []
    for row in rows[0]:
        if not row.good or row.key not in others:
            continue
        mine, theirs = (r.good[0].get("versions") or {} for r in (row, others[row.key]))
        unlike = machine.unlike_versions(mine, theirs) if mine and theirs else []
        said += [
            f"note: {row.case['name']} ran with other versions: {what}"
            for what in unlike
            if what not in known
        ]
    return list(dict.fromkeys(said))


def _unpaired(rows: list[list[results.Row]], found: list[Change]) -> list[str]:
    compared = {change.key for change in found}
    said = []
    for which, mine, others in zip("AB", rows, rows[::-1], strict=True):
        by_key = {row.key: row for row in others if row.good}
        for row in mine:
            if row.key in compared:
                continue
            if not row.good:
                said.append(f"note: {row.key} failed in {which}")
            elif row.key not in by_key:
                said.append(f"note: {row.key} has numbers in {which} only")
            elif which == "A":
                work = other_work(row, by_key[row.key])
                why = f"is other work: {', '.join(work)}" if work else _untimed(row, by_key[row.key])
                said.append(f"note: {row.key} {why}")
    return said


def _untimed(one: results.Row, other: results.Row) -> str:
    """What two rows that were not timed have: memory, and size on disk."""
    names = [
        "peak_rss_mb",
        "steady_rss_mb",
        *(n for n in one.good[0].get("figures") or {} if n[-3:] == "_mb"),
    ]
    said = [
        f"{name.removesuffix('_mb').replace('_', ' ')} {mine:.0f} / {theirs:.0f} MB"
        for name in names
        if (mine := _memory(one, name)) is not None and (theirs := _memory(other, name)) is not None
    ]
    return ", ".join(["has no times", *said])


def _memory(row: results.Row, name: str) -> float | None:
    return row.most(name) if name == "peak_rss_mb" else row.mean(name)
