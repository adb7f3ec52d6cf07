"""What was measured, as lines for a terminal. Both read the dicts that the JSON file holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from handcoach_bench.common import NOT_FOUND
from handcoach_bench.results import UNSTABLE, Row, short

COLUMNS = ("case", "threads", "provider", "n", "mean", "sd", "median", "p95", "min", "spread", "fps",
           "CPU ms", "CPU spread", "CPU %", "load", "peak MB", "steady MB")  # fmt: skip


def cells(row: Row) -> tuple[tuple[str, ...], str]:
    """A row under `COLUMNS`, times in ms, and what must be said of it: why it has no numbers, or
    why not to trust them."""
    case, s = row.case, row.summary
    head = (row.key.split(", ")[0], str(case.get("threads") or ""), short(case.get("provider") or ""))
    memory = row.most("peak_rss_mb"), row.mean("steady_rss_mb")
    mb = tuple(whole(value) if s or value else "" for value in memory)
    if s is None:  # what is not timed may have memory yet, as the app in a window
        return (*head, *[""] * (len(COLUMNS) - 5), *mb), "; ".join(row.marks)
    return (
        *head, str(s.n), *(number(v) for v in (s.mean, s.sd, s.median, s.p95, s.min)),
        _apart(row, "wall"), whole(row.fps), number(row.cpu_ms), _apart(row, "CPU"),
        whole(row.cpu_percent), whole(row.mean("load_ms")), *mb,
    ), "; ".join(row.marks)  # fmt: skip


def _apart(row: Row, what: str) -> str:
    return f"{row.spreads[what]:.1%}" if what in row.spreads else "?"


def marked(cells: Sequence[Sequence[str]], rows: Sequence[Row], left: Sequence[int] = (0,)) -> list[str]:
    """A `grid` of a heading and the rows' cells, with all that must be said of each row at its end."""
    head, rule, *lines = grid(cells, left)
    ends = ("; ".join(row.marks) for row in rows)
    return [head, rule, *(f"{at}  {end}".rstrip() for at, end in zip(lines, ends, strict=True))]


def inference(rows: Sequence[Row]) -> list[str]:
    """A row of each case, and below what else there is to say of it."""
    lines = marked([COLUMNS, *(cells(row)[0] for row in rows)], rows, left=(0, 2))
    for row in rows:
        parts = [r["parts_ms"] for r in row.good if r.get("parts_ms")]
        if parts and row.summary:
            each = {kind: sum(p.get(kind, 0.0) for p in parts) / len(parts) for kind in parts[0]}
            said = ", ".join(f"{kind} {ms:.2f}" for kind, ms in each.items())
            cpu = "" if row.cpu is None else f"CPU p50 {row.cpu.median:.2f}, p95 {row.cpu.p95:.2f} ms; "
            lines.append(
                f"{row.key}: {cpu}networks {sum(each.values()) / row.summary.mean:.0%} of the step (mean ms: "
                f"{said}); hand found in {percent(row.mean('found'))} of the pictures"
            )
    return lines + stability(rows)


ROOF_COLUMNS = ("case", "threads", "MFLOP", "weights", "FLOP/byte", "median", "GFLOP/s", "of peak", "of roof")


def roof_cells(row: Row) -> tuple[str, ...]:
    """A row under `ROOF_COLUMNS`; see `handcoach_bench.roofline.Point.figures`."""
    head = (row.key.split(", ")[0], str(row.case["threads"]))
    f = row.good[0].get("figures") if row.good else None
    if row.summary is None or not f:
        return (*head, *[""] * (len(ROOF_COLUMNS) - 2))
    return (
        *head, f"{f['mflop']:.0f}", f"{f['weights_m']:.2f} M", f"{f['flop_per_byte']:.1f}",
        f"{row.summary.median:.2f} ms", f"{f['gflop_s']:.1f}", f"{f['of_peak_percent']:.0f} %",
        f"{f['of_roof_percent']:.0f} %",
    )  # fmt: skip


def roofline(rows: Sequence[Row]) -> list[str]:
    """A row of each case beside the machine's peak, and whether repeated processes agree."""
    return marked([ROOF_COLUMNS, *map(roof_cells, rows)], rows) + stability(rows)


def stability(rows: Sequence[Row]) -> list[str]:
    """Whether the medians of repeated processes agree, in wall and in CPU time, in a line."""
    shaky = [row for row in rows if row.unstable]
    repeated = [row for row in rows if row.spreads]
    kinds = [what for what in ("wall", "CPU") if any(what in row.spreads for row in repeated)]
    if shaky:
        each = ", ".join(f"{what} in {sum(what in row.shaky for row in shaky)}" for what in kinds)
        return [
            f"UNSTABLE: in {len(shaky)} of {len(repeated)} cases the medians of repeated processes lie "
            f"more than {UNSTABLE:.0%} apart ({each}): this machine was not quiet, or changes its pace; do "
            "not compare these rows"
        ]
    if repeated:
        worst = [max(row.spreads.get(what, 0.0) for row in repeated) for what in kinds]
        each = ", ".join(f"{spread:.1%} ({what})" for what, spread in zip(kinds, worst, strict=True))
        return [f"stable: medians of repeated processes lie at most {each} apart"]
    return ["each case ran once, so that nothing is known of its stability (--repeats)"] if rows else []


def environments(rows: Sequence[Row], here: Mapping[str, str]) -> dict[str, str]:
    """The versions with which a program or provider ran, by its name, where they are not those of the
    command's own environment."""
    found: dict[str, str] = {}
    for row in rows:
        versions = row.good[0].get("versions") or {} if row.good else {}
        if any(here.get(name) != version for name, version in versions.items()):
            name = f"{row.case['name']} ({short(row.case.get('provider') or '?')})"
            found[name] = ", ".join(f"{package} {version}" for package, version in versions.items())
    return found


def fastest(rows: Sequence[Row]) -> dict[str, Row | None]:
    """Of each landmark model and kind of input, by name, the fastest row that is stable, whole and without
    misses; None where there is none."""
    best: dict[str, Row | None] = {}
    for row in rows:
        if row.summary is None or "landmarks" not in row.good[0].get("sha256", {}):
            continue
        which = row.key.split(", ")[0]
        known = best.setdefault(which, None)
        if row.note or row.unstable or row.missed:
            continue
        if known is None or known.summary is None or row.summary.median < known.summary.median:
            best[which] = row
    return best


def headlines(rows: Sequence[Row], models: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The fastest rows with what makes them comparable: provider, variant, accuracy, pictures and misses."""
    said = []
    for which, row in fastest(rows).items():
        if row is None:
            said.append(f"fastest {which}: none, each of its rows is marked above")
            continue
        file = models.get(row.good[0]["sha256"]["landmarks"], {})
        assert row.summary is not None
        found = row.mean("found")
        seen = "" if found is None else f"; hand found in {percent(found)} of the pictures of {row.clip}"
        said.append(
            f"fastest {row.key}: {row.summary.median:.2f} ms; {file.get('precision', '?')}, "
            f"{file.get('bytes', 0) / 1e6:.1f} MB; PA-MPJPE {accuracy_of(file)}{seen}"
        )
    return said


def accuracy_of(model: Mapping[str, Any]) -> str:
    """What a model file's own metadata say of its accuracy, with interval, hands and misses where they do."""
    a = model.get("accuracy", {}).get("pa_mpjpe")
    if not a:
        return "not in the file"
    interval = a.get("ci95")
    said = f"{a['mean']:.2f} {a.get('unit', '')}".rstrip()
    said += f" [{interval[0]:.2f}, {interval[1]:.2f}]" if interval else " (no interval in the file)"
    said += f" on {test_set(a)}" if "hands" in a else ""
    return said + (f", {a['missed']} missed" if "missed" in a else "")


def test_set(a: Mapping[str, Any]) -> str:
    """On what a file says that its accuracy was measured. handcoach-export, which says the cut-outs, takes
    test hands of its --data, which are rendered in what ships."""
    if "cut_outs" not in a:
        return f"{a.get('hands', '?')} hands"
    return f"{a['hands']} test hands of the export's data, {' and '.join(a['cut_outs'])} cut-outs"


def lines(part: str, results: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A headline and a table, or one line that says why there is none.

    Args:
        results: by the name of the landmark model.
    """
    said: list[str] = []
    for why in ("skipped", "failed"):
        said += dict.fromkeys(f"{part}: {why}, {r[why]}" for r in results.values() if why in r)
    good = {name: r for name, r in results.items() if not {"skipped", "failed"} & set(r)}
    if part == "real-3d":
        tables = [("", _real_3d(good))] if good else []
    else:
        show = {"teacher": _teacher, "webcam": _webcam, "empty": _empty, "latency": _latency}[part]
        tables = [(f" ({name})", show(r)) for name, r in good.items()]
    for name, (head, rows, notes) in tables:
        said += [f"{part}{name}: {head}", *("  " + line for line in grid(rows)), *("  " + n for n in notes)]
    return said


Rows = list[tuple[str, ...]]
Table = tuple[str, Rows, list[str]]


def _real_3d(results: Mapping[str, Mapping[str, Any]]) -> Table:
    rows: Rows = [
        ("model", "hand", "found", "share", "mean [95 %]", "median", "p90", "jittered mean", "side right")
    ]
    notes: list[str] = []
    for name, result in results.items():
        for hand, r in result["hands"].items():
            low_high = f" [{', '.join(map(number, r['ci95']))}]" if r.get("ci95") else ""
            errors = (number(r["mean"]) + low_high, number(r["median"]), number(r["p90"]))
            off = number(r["jittered"]["mean"]) if "jittered" in r else ""
            found = (f"{r['found']}/{r['read']}", percent(r["found_share"]))
            rows.append((name, hand, *found, *errors, off, percent(r["side_share"])))
            notes += _lost(f"{name}, {hand}", r)
    photographs = max(result["photographs"] for result in results.values())
    return f"PA-MPJPE in mm over the hands found in {photographs} photographs (all left hands)", rows, notes


def _teacher(result: Mapping[str, Any]) -> Table:
    labels = [*result["labels"], "unsure", NOT_FOUND]
    rows: Rows = [("frames", "truth", *labels, "found", "right", "wrong praise")]
    notes = []
    for mode, looks in result["modes"].items():
        for copy in ("original", "mirrored"):
            r = looks[copy]
            name = f"{mode}, {copy}"
            for truth, said in r["confusion"].items():
                counts = (str(said[label]) for label in labels)
                right = r["right_by_posture"][truth]
                wrong = "" if truth == result["labels"][0] else str(said[result["labels"][0]])
                found = 1 - said[NOT_FOUND] / max(1, sum(said.values()))
                rows.append((name, truth, *counts, percent(found), percent(right), wrong))
                name = ""
            shares = (percent(r["found_share"]), percent(r["right_share"]))
            praise = f"{r['wrong_praise']} ({percent(r['wrong_praise_share'])})"
            rows.append(("", "all", *[""] * len(labels), *shares, praise))
            notes += _lost(f"{mode}, {copy}", r)
        m = looks["mirror"]
        notes.append(
            f"{mode}: {m['same']} of {m['frames']} mirrored frames ({percent(m['same_share'])}) have the "
            f"original's posture; {m['contradictions']} have another sure one; "
            f"{percent(m['other_side_share'])} the other side"
        )
    if result.get("unreadable"):
        notes.append(f"{result['unreadable']} more frames cannot be read")
    if missing := [label for label in result["labels"] if label not in result["sessions"]]:
        notes.append(f"nothing is known of {', '.join(missing)}: there is no such folder")
    notes += _still_hand(result["still_hand"]) + _own_fit(result["own_fit"])
    return f"{result['frames']} frames; goals: found 99 %, right 90 %, wrong praise 0", rows, notes


def _still_hand(r: Mapping[str, Any]) -> list[str]:
    def said(what: str) -> str:
        each = ", ".join(f"{session} {value:.4f}" for session, value in r[what]["sessions"].items())
        mean = r[what]["mean"]
        return f"{'?' if mean is None else f'{mean:.4f}'} ({each})"

    late = "?" if r["lag_ms"] is None else f"{r['lag_ms']:.0f} ms"
    return [
        f"a still hand's jitter, unfiltered: {said('raw')}; goal 0.025",
        f"a still hand's jitter, filtered: {said('smooth')}; goal 0.010 at a lag of 80 ms or less",
        f"the filter's lag on {r['clip']}: {late}",
    ]


def _own_fit(r: Mapping[str, Any]) -> list[str]:
    notes = []
    for what, name in (("raw", "unfiltered"), ("smooth", "filtered")):
        head = f"clusters fitted on these frames, {name}"
        if "failed" in r[what]:
            notes.append(f"{head}: failed, {r[what]['failed']}")
            continue
        whole, halves = r[what]["all"], r[what]["halves"]
        notes.append(
            f"{head}, recover {percent(whole['cluster_share'])} of the labels; fitted on one half of each "
            f"session, {percent(halves['cluster_share'])} of the other; goal 99 % (told so, not called "
            f"unsure: {percent(whole['said_share'])}, {percent(halves['said_share'])})"
        )
    return notes


def _webcam(result: Mapping[str, Any]) -> Table:
    rows: Rows = [("photographs", "recordings", "number", "found", "in a box", "median points in it")]
    for group, r in result["groups"].items():
        shares = (percent(r[key]) for key in ("found_share", "inside_share", "median_points"))
        rows.append((group, str(r["recordings"]), str(r["photographs"]), *shares))
    notes = [f"in a box: {result['rule']}; not found counts as outside; goal 90 %"]
    for group, r in result["recall"].items():
        notes.append(
            f"{group}: {r['found']} of {r['hands']} labelled hands recalled at IoU 0.5 "
            f"({percent(r['recall'])}; of hands in pairs {percent(r['recall_of_two'])}; "
            f"median IoU {number(r['median_iou'])}), goal 97 %; "
            f"{percent(r['others_per_frame'])} others a photograph"
        )
    notes.append(f"box of a found hand: {result['box']}")
    for what in ("unlabelled", "unreadable", "missing"):
        if result.get(what):
            notes.append(f"{result[what]} more photographs are {what}")
    return "a found hand whose points lie in a labelled box", rows, notes


def _empty(result: Mapping[str, Any]) -> Table:
    rows: Rows = [("clip", "mode", "frames", "hand found", "posture", "praise", "false finds")]
    for mode, clips in result["modes"].items():
        for name, r in clips.items():
            counts = (str(r[key]) for key in ("frames", "found", "posture", "praise"))
            rows.append((name, mode, *counts, str(r.get("false_finds", ""))))
    notes = [
        f"{result['false_finds']} false finds in {result['frames']} frames without a hand "
        f"({percent(result['false_finds_per_frame'])} a frame); goal 1 %"
    ]
    places = result["modes"]["still"].get("places")
    if places and places["frames"]:  # there may be a folder of places, and none that can be read
        rate = percent(places["false_finds"] / places["frames"])
        notes.append(f"of these in real places: {places['false_finds']} in {places['frames']} ({rate})")
    return f"{result['praise']} frames without a hand are praised; goal 0", rows, notes


def _latency(result: Mapping[str, Any]) -> Table:
    rows: Rows = [("ms", "n", "mean", "sd", "p50", "p95", "CPU mean", "CPU p50", "CPU p95")]
    for name, what in (("whole step", "step"), ("landmark network", "network")):
        wall, cpu = result[f"{what}_wall"], result[f"{what}_cpu"]
        walls = (number(wall[key]) for key in ("mean", "sd", "median", "p95"))
        cpus = (number(cpu[key]) for key in ("mean", "median", "p95"))
        rows.append((name, str(wall["n"]), *walls, *cpus))
    return (
        f"a tracked frame of 640 x 480, {result['threads']} thread, whole step from crop to posture; the "
        f"landmark network has {percent(result['network_share'])} of it; hand found in "
        f"{percent(result['found_share'])}",
        rows, [],
    )  # fmt: skip


def _lost(name: str, r: Mapping[str, Any]) -> list[str]:
    """Why hands were not found, where some were not."""
    why = ", ".join(f"{reason} {count}" for reason, count in r["not_found"].items())
    unread = f"{name}: {r['unreadable']} photographs cannot be read" if r.get("unreadable") else ""
    return [note for note in (f"{name}, not found: {why}" if why else "", unread) if note]


def percent(share: float | None) -> str:
    """What is less than all is never rounded up to 100 %; a rate may be more."""
    return "?" if share is None else f"{min(100 * share, 99.9) if share < 1 else 100 * share:.1f} %"


def number(value: float | None) -> str:
    return "?" if value is None else f"{value:.2f}"


def whole(value: float | None) -> str:
    return "?" if value is None else f"{value:.0f}"


def grid(rows: Sequence[Sequence[str]], left: Sequence[int] = (0, 1)) -> list[str]:
    """Rows in columns, the first one as a heading with a rule below it.

    Args:
        left: columns whose cells start at the left; the others end at the right.
    """
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [f"{cell:<{w}}" if i in left else f"{cell:>{w}}"
                 for i, (cell, w) in enumerate(zip(row, widths, strict=True))]  # fmt: skip
        lines.append("  ".join(cells).rstrip())
    return [lines[0], "  ".join("-" * w for w in widths), *lines[1:]]
