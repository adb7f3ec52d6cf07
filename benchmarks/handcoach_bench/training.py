"""How fast this machine trains, in the manner of the paper's section 6.3: what is measured, and its table."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from handcoach.errors import HandCoachError
from handcoach_bench import runner
from handcoach_bench.campaign import Job, line
from handcoach_bench.results import Row, Summary
from handcoach_bench.tables import marked, percent, stability, whole

CHILD = (sys.executable, "-m", "handcoach_bench.children.training")
IMAGES, EPOCHS, BATCH, SIZE = 100_000, 3, 64, 224  # the paper's; HanCo's pictures have 224 pixels
PLACES = ("data/HanCo", "data/hanco")  # where HanCo is looked for, before anything else in data/


def find_data(folder: Path = Path()) -> Path:
    """HanCo in data/, or a rendered set in its layout.

    Raises:
        HandCoachError: there is neither.
    """
    others = sorted((folder / "data").iterdir()) if (folder / "data").is_dir() else []
    for place in (*(folder / name for name in PLACES), *others):
        if (place / "xyz").is_dir() and (place / "calib").is_dir():
            return place
    raise HandCoachError(
        "There is no data set in data/: give the folder of HanCo, or render one in its layout: "
        "handcoach-train render data/any --count 2000 (it needs SKINS and HDRI, see its --help)."
    )


def ask(task: dict[str, Any], timeout_s: float, what: str) -> dict[str, Any]:
    """What the child says.

    Raises:
        HandCoachError: it says what is wrong, or does not answer.
    """
    with line(what) as told:
        try:
            found = runner.call(task, timeout_s, CHILD, told=told)
        except runner.ChildError as error:
            raise HandCoachError(f"Training does not start here ({error}).") from error
    if "error" in found:
        raise HandCoachError(found["error"])
    return found


def default_threads() -> list[int]:
    """1, 2, 4, ... and all processors that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    usable = len(affinity(0)) if affinity else os.cpu_count() or 1
    return [*(2**k for k in range(usable.bit_length()) if 2**k < usable), usable]


def jobs(
    devices: Sequence[dict[str, Any]], asked: Sequence[str], threads: Sequence[int],
    precisions: Sequence[str], repeats: int, settings: dict[str, Any], subset: Path,
) -> list[Job]:  # fmt: skip
    """Every device, number of threads and precision, in rounds.

    Args:
        devices: what the child found. asked: their names; empty: all. threads: of a CPU; a GPU is given
            torch's own. precisions: fp32, mixed; empty: both where both are there, without a row for what
            is not.
        settings: images, epochs, batch, size, variant; workers (None: 1 for a CPU, as many as there are
            processors, up to 8, for a GPU).
    """
    there = {d["device"]: d for d in devices}
    names = [_full(name, there) for name in asked] or list(there)
    todo: list[tuple[dict[str, Any], str | None]] = []
    for name in dict.fromkeys(names):
        about = there.get(name)
        mixed = about["mixed"] if about else None
        impossible = None if about else f"there is no device {name} here: take {', '.join(there)}"
        for precision in precisions or ("fp32", *(["mixed"] if mixed else [])):
            why = impossible
            if about and precision == "mixed" and not mixed:
                why = f"{about['name']} computes in no mixed precision that pays"
            kind = (mixed or "mixed") if precision == "mixed" else "fp32"
            for n in threads if name == "cpu" else [None]:
                workers = settings["workers"]
                if workers is None:
                    workers = 1 if name == "cpu" else min(8, os.cpu_count() or 1)
                case = {"what": "training", "name": f"training in {kind}", "threads": n, "provider": name,
                        "precision": kind, **settings, "workers": workers}  # fmt: skip
                many = f", {n} thread{'s' * (n > 1)}" if n else ""
                todo.append(({"key": f"{case['name']}{many}, {name}", **case}, why))
    return [
        Job(case, r, {**case, "what": "train", "device": case["provider"], "subset": str(subset)}, CHILD,
            read, why)
        for r in range(repeats) for case, why in todo if not (r and why)
    ]  # fmt: skip


def _full(name: str, there: dict[str, Any]) -> str:
    """cuda is the first CUDA device."""
    return f"{name}:0" if f"{name}:0" in there else name


def read(found: dict[str, Any]) -> dict[str, Any]:
    """A run of `wall_ms` is an epoch."""
    seconds = [e["seconds"] for e in found["epochs"]]
    total = sum(seconds)
    return {
        "provider": found["device"],
        "wall_ms": [1e3 * s for s in seconds],
        "peak_rss_mb": found["peak_rss_mb"],
        "versions": {"torch": found["torch"]},
        "figures": {
            "images_per_s": found["images"] * len(seconds) / total,
            "epoch_s": total / len(seconds),
            "loader_share": sum(e["loading_s"] for e in found["epochs"]) / total,
            "cpu_percent": 100 * found["cpu_s"] / total,
            "gpu_mb": found["gpu_mb"],
            "loader_mb": found["loader_mb"],
            "first_loss": found["epochs"][0]["loss"],
            "last_loss": found["epochs"][-1]["loss"],
        },
    }


COLUMNS = ("device", "threads", "precision", "n", "images/s", "sd", "s/epoch", "sd", "speed-up", "loader",
           "CPU %", "peak MB", "GPU MB", "loss")  # fmt: skip


def table(rows: Sequence[Row]) -> list[str]:
    """A row of each case; n is processes, and the speed-up is against the first row that gave numbers."""
    cells: list[tuple[str, ...]] = [COLUMNS]
    first: float | None = None
    for row in rows:
        case, figures = row.case, [r["figures"] for r in row.good]
        head = (case["provider"], str(case.get("threads") or ""), case["precision"])
        if not figures:
            cells.append((*head, *[""] * (len(COLUMNS) - 3)))
            continue
        rate, epoch = (Summary.of([f[what] for f in figures]) for what in ("images_per_s", "epoch_s"))
        first = first or rate.mean
        gpu = [f["gpu_mb"] for f in figures if f["gpu_mb"] is not None]
        losses = (row.mean(name) or 0.0 for name in ("first_loss", "last_loss"))
        cells.append((
            *head, str(rate.n), f"{rate.mean:.2f}", f"{rate.sd:.2f}" if rate.n > 1 else "?",
            f"{epoch.mean:.1f}", f"{epoch.sd:.1f}" if epoch.n > 1 else "?", f"{rate.mean / first:.2f}",
            percent(row.mean("loader_share")), whole(row.mean("cpu_percent")),
            whole(row.most("peak_rss_mb")), f"{max(gpu):.0f}" if gpu else "",
            " to ".join(f"{loss:.3f}" for loss in losses),
        ))  # fmt: skip
    return marked(cells, rows, left=(0, 2)) + stability(rows)
