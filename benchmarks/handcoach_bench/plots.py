"""The drawings of a report, in the manner of the paper's figure 15: time over devices and threads.

Drawn from the rows of a file, without a display; a figure is None where the file has nothing for it.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from handcoach.errors import HandCoachError
from handcoach_bench import tables
from handcoach_bench.results import Row, short

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe & Ito: told apart by everybody.
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#999999", "#000000")
MARKERS = "os^DvPX*"
TITLES = {
    "network": "Network alone, one picture",
    "photographs": "A still photograph, the whole path",
    "pipeline": "A frame of the video, the whole path",
    "eager": "Network in PyTorch",
    "training": "Training, one epoch",
    "steps": "The app, from a camera's picture to the window's",
    "paced": "The app, from a frame's arrival to its being shown",
    "clips": "A frame of a clip, followed",
}


def draw_all(content: Mapping[str, Any], rows: Sequence[Row]) -> dict[str, bytes]:
    """PNG files by name, in the order of the report.

    Raises:
        HandCoachError: matplotlib is missing.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise HandCoachError('Plots need matplotlib: pip install "handcoach[bench]".') from error
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    good = [row for row in rows if row.summary]
    # PyTorch beside the networks that it is compared with.
    groups = dict.fromkeys("network" if row.case["what"] == "eager" else row.case["what"] for row in good)
    figures: dict[str, Figure | None] = {}
    for what in groups:
        part = [
            row for row in good if row.case["what"] in ((what, "eager") if what == "network" else (what,))
        ]
        title = TITLES.get(what, str(what))
        figures[f"time-{what}"] = bars(part, title)
        figures[f"threads-{what}"] = over_threads(part, title)
    figures["steps"] = steps([row for row in good if row.case["what"] == "steps"])
    figures["peers"] = peers(rows)
    figures["memory"] = memory(rows)
    figures["accuracy"] = accuracy(good, content["models"])
    if content.get("roofs"):
        figures = {"roofline": roofline(good, content["roofs"])}
    drawn = {}
    for name, figure in figures.items():
        if figure is not None:
            buffer = io.BytesIO()
            figure.savefig(buffer, dpi=110, format="png", bbox_inches="tight")
            plt.close(figure)
            drawn[f"{name}.png"] = buffer.getvalue()
    return drawn


def _series(row: Row) -> str:
    return str(row.case["name"]) + (" in PyTorch" if row.case["what"] == "eager" else "")


def _place(row: Row) -> tuple[str, int]:
    provider = short(row.case.get("provider") or "").removeprefix("PyTorch ")
    return provider, row.case.get("threads") or 0


def _label(place: tuple[str, int]) -> str:
    provider, threads = place
    return f"{provider}\n{threads} thread{'s' * (threads > 1)}" if threads else provider


def _unit(rows: Sequence[Row]) -> tuple[float, str]:
    """Milliseconds, or seconds where they are many."""
    most = max(row.summary.median for row in rows if row.summary)
    return (1e-3, "s") if most > 10_000 else (1.0, "ms")


def bars(rows: Sequence[Row], title: str) -> Figure:
    """Medians over devices and threads; lines reach to the 95th percentile, dots are the medians of
    processes."""
    from matplotlib import pyplot as plt

    places = sorted(dict.fromkeys(map(_place, rows)))
    names = list(dict.fromkeys(map(_series, rows)))
    factor, unit = _unit(rows)
    width = 0.84 / len(names)
    figure, axis = plt.subplots(figsize=(max(6.0, 1.5 + 0.55 * len(places) * len(names)), 4))
    for i, name in enumerate(names):
        for row in (row for row in rows if _series(row) == name):
            s = row.summary
            assert s is not None
            x = places.index(_place(row)) + width * (i - (len(names) - 1) / 2)
            up = factor * max(0.0, s.p95 - s.median)
            hatch = "//" if "wall" in row.shaky else None
            axis.bar(x, factor * s.median, 0.92 * width, color=COLOURS[i % 8], hatch=hatch, edgecolor="white",
                     yerr=[[0], [up]], ecolor="#444444", capsize=3, label=name)  # fmt: skip
            dots = factor * np.array(row.medians)
            axis.plot(
                x + np.linspace(-0.2, 0.2, len(dots)) * width, dots, "o", color="white", mec="black", ms=4
            )
            box = {"fc": "white", "ec": "none", "alpha": 0.7, "pad": 0.5}
            axis.annotate(_figure(factor * s.median), (x, factor * s.median), (0, 3), ha="center", fontsize=8,
                          textcoords="offset points", bbox=box)  # fmt: skip
    axis.set_xticks(range(len(places)), [_label(place) for place in places])
    axis.set_xlim(-0.6, max(len(places) - 0.4, 3 / len(names)))  # a single bar is no wall
    axis.set(title=title, ylabel=f"time per run ({unit}), median")
    _scale(axis, [row.summary.median for row in rows if row.summary])
    if any("wall" in row.shaky for row in rows):
        axis.bar(0, np.nan, color="white", edgecolor="#666666", hatch="//", label="UNSTABLE")
    axis.plot([], [], "o", color="white", mec="black", ms=4, label="median of each process")
    _finish(axis)
    legend = axis.get_legend()
    for patch, text in zip(legend.get_patches(), legend.get_texts()[1:], strict=True) if legend else []:
        if text.get_text() != "UNSTABLE":  # a model's colour stays plain where its first bar is hatched
            patch.set_hatch("")
    return figure


def _figure(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _scale(axis: Any, values: Sequence[float]) -> None:
    """Logarithmic where the largest would flatten the rest."""
    if max(values) > 20 * min(values) > 0:
        axis.set_yscale("log")
    else:
        axis.set_ylim(0, None)


def over_threads(rows: Sequence[Row], title: str) -> Figure | None:
    """Wall and CPU time against the number of threads, a line for each model and device."""
    from matplotlib import pyplot as plt

    lines: dict[str, list[Row]] = {}
    for row in rows:
        lines.setdefault(f"{_series(row)}, {_place(row)[0]}", []).append(row)
    lines = {name: sorted(found, key=lambda row: row.case["threads"]) for name, found in lines.items()
             if len({row.case.get("threads") or 0 for row in found} - {0}) > 1}  # fmt: skip
    if not lines:
        return None
    factor, unit = _unit(rows)
    figure, axes = plt.subplots(1, 2, figsize=(11, 4))
    for i, (name, found) in enumerate(lines.items()):
        threads = [row.case["threads"] for row in found]
        look = {"color": COLOURS[i % 8], "marker": MARKERS[i % 8], "label": name}
        axes[0].plot(threads, [factor * row.summary.median for row in found if row.summary], **look)
        axes[1].plot(threads, [factor * (row.cpu_ms or np.nan) for row in found], **look)
    every = [row for found in lines.values() for row in found]
    shown = {
        "time per run, median": [row.summary.median for row in every if row.summary],
        "CPU time per run": [row.cpu_ms for row in every if row.cpu_ms] or [0.0],
    }
    for axis, (what, values) in zip(axes, shown.items(), strict=True):
        axis.set(
            xlabel="threads", ylabel=f"{what} ({unit})", xticks=sorted({r.case["threads"] for r in every})
        )
        _scale(axis, values)
        _finish(axis)
    if legend := axes[0].get_legend():  # both have the same
        legend.remove()
    figure.suptitle(title)
    return figure


def memory(rows: Sequence[Row]) -> Figure | None:
    """Resident memory of each case: steady, and on top of it the peak."""
    from matplotlib import pyplot as plt

    rows = [row for row in rows if row.most("peak_rss_mb") is not None]
    if not rows:
        return None
    figure, axis = plt.subplots(figsize=(8, 1.2 + 0.34 * len(rows)))
    for i, row in enumerate(reversed(rows)):
        peak, steady = row.most("peak_rss_mb") or 0.0, row.mean("steady_rss_mb")
        axis.barh(i, peak, color="#cccccc", label="peak")
        if steady is not None:
            axis.barh(i, steady, 0.5, color=COLOURS[0], label="steady")
        axis.text(peak, i, f" {peak:.0f}", va="center", fontsize=8)
    axis.set_yticks(range(len(rows)), [row.key for row in reversed(rows)], fontsize=8)
    axis.set(title="Resident memory of the process", xlabel="MB")
    _finish(axis)
    return figure


def accuracy(rows: Sequence[Row], models: Mapping[str, Mapping[str, Any]]) -> Figure | None:
    """Accuracy as the files say it, over time on one thread; low and left is right and fast."""
    from matplotlib import pyplot as plt

    # By unit and what they were measured on, which must be the same in one picture.
    points: dict[tuple[str, str], list[Any]] = {}
    for row in rows:
        file = models.get(next(iter(row.good[0].get("sha256", {}).values()), ""), {})
        said = file.get("accuracy", {}).get("pa_mpjpe")
        if row.case["what"] == "network" and row.case.get("threads") == 1 and said and row.summary:
            unit, tested = said.get("unit", "?"), tables.test_set(said)
            points.setdefault((unit, tested), []).append((row, said["mean"], said.get("ci95")))
    if sum(map(len, points.values())) < 2:
        return None
    what = max(points, key=lambda tested: len(points[tested]))
    others = [row.case["name"] for tested, found in points.items() if tested != what for row, *_ in found]
    title = f"Accuracy and time, one thread\n{what[1]}"
    if others:
        title += f"\nnot drawn, since measured on other hands: {', '.join(dict.fromkeys(others))}"
    figure, axis = plt.subplots(figsize=(7, 4.5))
    for i, (row, mm, interval) in enumerate(points[what]):
        assert row.summary is not None
        marked = " (marked in the table)" if row.marks else ""
        error = None if interval is None else [[max(0.0, mm - interval[0])], [max(0.0, interval[1] - mm)]]
        axis.errorbar(row.summary.median, mm, yerr=error, fmt=MARKERS[i % 8], color=COLOURS[i % 8], capsize=3,
                      label=f"{row.case['name']}, {short(row.case['provider'])}{marked}")  # fmt: skip
    axis.set(title=title, xlabel="time per picture (ms), median",
             ylabel=f"PA-MPJPE ({what[0]}), lower is better")  # fmt: skip
    _finish(axis)
    return figure


def steps(rows: Sequence[Row]) -> Figure | None:
    """What each step of the app takes of a frame, one bar for each case."""
    from matplotlib import pyplot as plt

    if not rows:
        return None
    figure, axis = plt.subplots(figsize=(8, 1.4 + 0.34 * len(rows)))
    names = list(dict.fromkeys(name for row in rows for r in row.good for name in r["parts_ms"]))
    for y, row in enumerate(reversed(rows)):
        left = 0.0
        for name, colour in zip(names, COLOURS, strict=False):
            mean = float(np.mean([r["parts_ms"].get(name, 0.0) for r in row.good]))
            axis.barh(y, mean, left=left, color=colour, label=name)
            left += mean
    axis.set_yticks(range(len(rows)), [row.key for row in reversed(rows)], fontsize=8)
    axis.set(title="What each step of the app takes", xlabel="mean milliseconds of a frame")
    _finish(axis)
    return figure


def peers(rows: Sequence[Row]) -> Figure | None:
    """Error over processor time of a followed frame, of each program; down and left is better."""
    from matplotlib import pyplot as plt

    by = {(row.case["name"], row.case["what"]): row for row in rows}
    figure, axis = plt.subplots(figsize=(7, 4.5))
    for i, name in enumerate(dict.fromkeys(row.case["name"] for row in rows)):
        clips, stills = by.get((name, "clips")), by.get((name, "photographs"))
        figures = stills.good[0].get("figures", {}) if stills and stills.good else {}
        mean = figures.get("pa_mpjpe_mm")
        if clips is None or clips.cpu_ms is None or mean is None:
            continue
        apart = [[mean - figures["low_mm"]], [figures["high_mm"] - mean]]
        shaky = ", CPU time UNSTABLE" if "CPU" in clips.shaky else ""
        axis.errorbar(clips.cpu_ms, mean, apart, marker=MARKERS[i % len(MARKERS)], ms=9, capsize=4,
                      color=COLOURS[i % len(COLOURS)], linestyle="", label=name + shaky)  # fmt: skip
    if not axis.containers:
        plt.close(figure)
        return None
    axis.set(title="Accuracy and cost, side by side", xlabel="CPU ms of a followed frame",
             ylabel="PA-MPJPE on photographs (mm), 95 % interval", xlim=(0, None))  # fmt: skip
    _finish(axis)
    return figure


def roofline(rows: Sequence[Row], roofs: Sequence[Mapping[str, float]]) -> Figure | None:
    """Williams et al. 2009: what is reached, under what the machine allows."""
    from matplotlib import pyplot as plt

    rows = [row for row in rows if row.good[0].get("figures")]
    if not rows:
        return None
    figure, axis = plt.subplots(figsize=(8, 5))
    intensities = [row.good[0]["figures"]["flop_per_byte"] for row in rows]
    x = np.geomspace(min(*intensities, 1) / 2, max(*intensities, 50) * 4, 200)
    for i, roof in enumerate(roofs):
        limit = np.minimum(roof["gflops"], x * roof["gb_s"])
        name = (
            f"peak, {roof['threads']:.0f} thread{'s' * (roof['threads'] > 1)}: {roof['gflops']:.0f} GFLOP/s, "
        )
        axis.plot(
            x,
            limit,
            color="#444444",
            ls=("-", "--", ":", "-.")[i % 4],
            label=f"{name}{roof['gb_s']:.0f} GB/s",
        )
    for i, row in enumerate(rows):
        f = row.good[0]["figures"]
        axis.plot(f["flop_per_byte"], f["gflop_s"], MARKERS[i % 8], color=COLOURS[i % 8], ms=8,
                  label=f"{row.key}: {f['of_peak_percent']:.0f} % of the peak")  # fmt: skip
    axis.set(
        xscale="log", yscale="log", xlabel="FLOP per byte", ylabel="GFLOP/s", title="Under the machine's roof"
    )
    _finish(axis)
    return figure


def _finish(axis: Any) -> None:
    """A light grid, no box, and a legend of different names."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(alpha=0.3, which="major")
    axis.set_axisbelow(True)
    handles, labels = axis.get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    if len(unique) > 1:
        axis.legend(unique.values(), unique.keys(), fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
