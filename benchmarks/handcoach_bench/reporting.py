"""A report of files of results, in Markdown and in HTML. Machines stay apart: each file has a part of its
own."""

from __future__ import annotations

import base64
import html
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from handcoach_bench import machine, peers, tables
from handcoach_bench.results import Row, rows, short

HONEST = "Times are of this machine on this day; figures of two machines are two figures, never a comparison."
NOTE, SHA = "note", "SHA-256"  # columns that are set otherwise
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem;
  color: #1a1a1a; background: #fff }
h1, h2, h3 { line-height: 1.2 }
h2 { margin-top: 3rem; border-bottom: 2px solid #0072b2 }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums }
th, td { padding: .25rem .6rem; border-bottom: 1px solid #ddd; text-align: right; white-space: nowrap }
th:first-child, td:first-child, th.note, td.note { text-align: left }
td.note { white-space: normal; min-width: 12rem; color: #8a3c00; font-weight: 600 }
td.long { font: 12px monospace; white-space: normal; word-break: break-all; min-width: 18rem }
img { max-width: 100%; height: auto; display: block; margin: 1rem 0 }
pre { background: #f3f3f3; padding: .6rem; white-space: pre-wrap; overflow-wrap: anywhere }
p.loud { background: #fff0e0; padding: .6rem; border-left: 4px solid #d55e00 }
"""
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>HandCoach benchmark</title><style>STYLE</style></head><body>BODY</body></html>
"""


@dataclass(frozen=True)
class Part:
    """Of one file: its name, a title, lines about it, tables with their titles, and pictures by name."""

    title: str
    command: str
    facts: list[str]
    warnings: list[str]
    tables: list[tuple[str, list[tuple[str, ...]]]]
    texts: list[str]
    pictures: dict[str, bytes]


def part(name: str, content: Mapping[str, Any], pictures: Mapping[str, bytes]) -> Part:
    """What a report says of one file."""
    found = rows(content.get("results", []))
    m = content["machine"]
    facts = [
        f"{m['cpu']}, {m.get('cores') or '?'} cores, {m.get('threads') or '?'} threads, "
        f"{(m.get('memory_mb') or 0) / 1024:.1f} GB memory"
        + "".join(f", {level} {size}" for level, size in m.get("caches", {}).items()),
        f"{machine.kind(m) or 'family, model and stepping unknown'}; "
        f"flags: {' '.join(m.get('flags') or []) or 'unknown'}",
        "GPU: " + (", ".join(m["gpus"]) or "none found" if "gpus" in m else "unknown"),
        f"power: {m.get('power') or 'unknown'}; governor: {m.get('governor') or 'unknown'}; "
        f"load before: {m.get('load')}" + ("; virtual machine" if m.get("virtual") else ""),
        f"{m['os']}; Python {m['python']}; " + ", ".join(f"{k} {v}" for k, v in m["versions"].items()),
        f"measured {content['created']}",
        *(
            f"{what}: " + ", ".join(f"{name} {digest[:12]}" for name, digest in content[key].items())
            for what, key in (("code", "code"), ("pictures", "inputs"))
            if content[key]
        ),
        *(f"versions of {name}: {said}" for name, said in tables.environments(found, m["versions"]).items()),
        *(peers.facts(found) if content["benchmark"] == "peers" else []),
    ]
    lines = tables.stability(found)
    warnings = [line for line in lines if line.startswith("UNSTABLE")]
    if busy := machine.busy(m):
        warnings.append(f"{busy.capitalize()}: these times suffer from it.")
    if not content["complete"]:
        rest = "parts are missing" if "parts" in content else "the same command goes on"
        warnings.append(f"The benchmark was interrupted: {rest}.")
    facts += [line for line in lines if line not in warnings]
    shown: list[tuple[str, list[tuple[str, ...]]]] = []
    if content.get("roofs"):
        shown.append(("Beside the machine's peak", _of_roof(found)))
    elif found:
        shown.append(("All cases, milliseconds", _of_rows(found)))
        fastest = "Of each model the fastest stable case without failures and misses"
        shown.append((fastest, _headline(found, content["models"])))
    if content["models"]:
        shown.append(("Model files", _of_models(content["models"])))
    texts = ["\n".join(tables.lines(which, figures)) for which, figures in content.get("parts", {}).items()]
    title = f"{content['benchmark']}: {name}"
    command = shlex.join(content["command"]) or "unknown: the file is of before commands were kept"
    return Part(title, command, facts, warnings, [t for t in shown if len(t[1]) > 1], texts, dict(pictures))


def _of_rows(found: Sequence[Row]) -> list[tuple[str, ...]]:
    figures = list(dict.fromkeys(name for row in found for r in row.good for name in r.get("figures") or {}))
    head, rest = tables.COLUMNS[:3], tables.COLUMNS[3:]
    table: list[tuple[str, ...]] = [(*head, NOTE, *rest, *(name.replace("_", " ") for name in figures))]
    for row in found:
        cells, note = tables.cells(row)
        more = (tables.number(row.mean(name)) for name in figures)
        table.append((*cells[:3], note, *cells[3:], *more))  # the note where nobody needs to scroll
    return table


def _of_roof(found: Sequence[Row]) -> list[tuple[str, ...]]:
    rows = ((*tables.roof_cells(row), "; ".join(row.marks)) for row in found)
    return [(*tables.ROOF_COLUMNS, NOTE), *rows]


def _headline(found: Sequence[Row], models: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, ...]]:
    lines: list[tuple[str, ...]] = [
        ("case", "provider that ran", "median ms", "photographs or clip", "hand found (misses are failures)",
         "PA-MPJPE by the file")
    ]  # fmt: skip
    for which, row in tables.fastest(found).items():
        if row is None or row.summary is None:
            lines.append((f"{which}: none, each of its rows is marked", *[""] * (len(lines[0]) - 1)))
            continue
        file = models.get(row.good[0]["sha256"].get("landmarks", ""), {})
        share = row.mean("found")
        lines.append((
            row.key, short(row.good[0]["provider"] or "?"), f"{row.summary.median:.2f}",
            "" if share is None else row.clip, "" if share is None else tables.percent(share),
            tables.accuracy_of(file),
        ))  # fmt: skip
    return lines


def _of_models(models: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, ...]]:
    return [
        ("name", "kind", "of", "precision", "MB", "accuracy", SHA),
        *(
            (m["name"], m["kind"], m.get("of", ""), m.get("precision", ""), f"{m['bytes'] / 1e6:.1f}",
             tables.accuracy_of(m) if m["kind"] == "landmarks" else "", sha)
            for sha, m in models.items()
        ),
    ]  # fmt: skip


# --- Markdown and HTML ----------------------------------------------------------------------------------


def markdown(parts: Sequence[Part]) -> str:
    """Pictures lie beside it, by the names that `pictures` gives."""
    out = ["# HandCoach benchmark report", "", HONEST, ""]
    for number, p in enumerate(parts, 1):
        out += [f"## {p.title}", "", "```", p.command, "```", ""]
        out += [f"> **{warning}**\n" for warning in p.warnings]
        out += [*(f"- {fact}" for fact in p.facts), ""]
        out += [line for name in p.pictures for line in (f"![{_alt(name)}]({number}-{name})", "")]
        for title, table in p.tables:
            out += [f"### {title}", "", _row(table[0]), _row(("---",) * len(table[0]))]
            out += [*map(_row, table[1:]), ""]
        out += [line for text in p.texts for line in ("```", text, "```", "")]
    return "\n".join(out)


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _alt(name: str) -> str:
    return name.removesuffix(".png").replace("-", ", ")


def pictures(parts: Sequence[Part]) -> dict[str, bytes]:
    """Files for the Markdown, by name."""
    return {f"{n}-{name}": data for n, p in enumerate(parts, 1) for name, data in p.pictures.items()}


def page(parts: Sequence[Part]) -> str:
    """One HTML file with its pictures inside, to pass on."""
    e = html.escape
    out = [f"<h1>HandCoach benchmark report</h1><p>{e(HONEST)}</p>"]
    for p in parts:
        out.append(f"<h2>{e(p.title)}</h2><pre>{e(p.command)}</pre>")
        out += [f'<p class="loud">{e(warning)}</p>' for warning in p.warnings]
        out.append("<ul>" + "".join(f"<li>{e(fact)}</li>" for fact in p.facts) + "</ul>")
        for name, data in p.pictures.items():
            encoded = base64.b64encode(data).decode()
            out.append(f'<img alt="{e(_alt(name))}" src="data:image/png;base64,{encoded}">')
        for title, table in p.tables:
            classes = ["note" if name == NOTE else "long" if name == SHA else "" for name in table[0]]
            head = "".join(
                f'<th class="{c}">{e(cell)}</th>' for c, cell in zip(classes, table[0], strict=True)
            )
            body = "".join(
                "<tr>" + "".join(
                    f'<td class="{c}">{e(cell)}</td>' for c, cell in zip(classes, cells, strict=True)
                ) + "</tr>"
                for cells in table[1:]
            )  # fmt: skip
            out.append(f'<h3>{e(title)}</h3><div class="wide"><table><tr>{head}</tr>{body}</table></div>')
        out += [f"<pre>{e(text)}</pre>" for text in p.texts]
    return PAGE.replace("STYLE", STYLE).replace("BODY", "".join(out))
