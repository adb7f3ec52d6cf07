"""Cases, what came of them, and the versioned file that keeps it.

Every benchmark writes one kind of file, which `schema.json` describes: `envelope` begins it, `write_json`
writes it, `load` reads it, older versions too. A result is what one fresh process measured of one case;
`rows` puts the processes of a case together, for tables, `compare` and `report`.
"""

from __future__ import annotations

import itertools
import json
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from handcoach import places
from handcoach.errors import HandCoachError
from handcoach_bench import machine, origin, schema

SCHEMA = 4  # of every benchmark's file; 1 was inference's and 2 accuracy's, 3 did not say the code
# Repeated medians of a case that lie further apart than this are called unstable.
UNSTABLE = 0.05


@dataclass(frozen=True)
class Case:
    """One thing to measure, in a fresh process.

    Attributes:
        what: "network" runs a model on one random picture of its input size; "photographs" is the whole path
            of a still photograph, and "pipeline" one whole step of the tracker and the exercise on a frame of
            640 x 480 of a clip; "eager" is "network" in PyTorch, from a checkpoint.
        model: path of the landmark model or finder.
        name: its name, for people.
        threads: threads of each session.
        provider: the execution provider that must really run the landmark model (or the finder alone).
        warmup, runs: how often it runs before, and while, it is measured.
        finder, exercise, clip: paths that only the path of a frame needs; a clip may be a folder.
        precision: of the variant: fp32, fp16, int8.
    """

    what: Literal["network", "photographs", "pipeline", "eager"]
    model: str
    name: str
    threads: int
    provider: str
    warmup: int
    runs: int
    finder: str | None = None
    exercise: str | None = None
    clip: str | None = None
    precision: str | None = None

    def __post_init__(self) -> None:
        if self.threads < 1 or self.runs < 1 or self.warmup < 0:
            raise ValueError(f"threads and runs must be at least 1 and warmup at least 0: {self}")

    def __str__(self) -> str:
        return f"{self.label}, {self.threads} thread{'s' * (self.threads > 1)}, {short(self.provider)}"

    @property
    def label(self) -> str:
        kind = {"network": "", "photographs": " photographs", "pipeline": " video", "eager": " eager"}
        return self.name + kind[self.what]

    def as_json(self) -> dict[str, Any]:
        return {"key": str(self), **asdict(self)}


def short(provider: str) -> str:
    """A provider's name for people: CPU, CUDA, OpenVINO."""
    return provider.removesuffix("ExecutionProvider")


@dataclass(frozen=True)
class Summary:
    """Milliseconds over n runs."""

    n: int
    mean: float
    sd: float
    median: float
    p95: float
    min: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Summary:
        ordered = sorted(values)
        # The smallest value that at least 95 % of the runs do not exceed: always one that was measured.
        p95 = ordered[math.ceil(0.95 * len(ordered)) - 1]
        sd = statistics.stdev(values) if len(values) > 1 else 0.0
        return cls(len(values), statistics.fmean(values), sd, statistics.median(values), p95, ordered[0])


@dataclass(frozen=True)
class Row:
    """The processes of one case, as a file holds them. Figures are over all runs of those that went well."""

    key: str
    case: Mapping[str, Any]
    results: tuple[Mapping[str, Any], ...]

    @cached_property
    def good(self) -> tuple[Mapping[str, Any], ...]:
        return tuple(r for r in self.results if r["status"] == "ok")

    def runs(self, what: str = "wall_ms") -> list[list[float]]:
        """Of each process that went well."""
        return [r[what] for r in self.good if r.get(what)]

    def mean(self, what: str) -> float | None:
        """Of a figure that each process has one of, in `figures` or beside them."""
        values = [(r.get("figures") or {}).get(what, r.get(what)) for r in self.good]
        known = [value for value in values if value is not None]
        return statistics.fmean(known) if known else None

    def most(self, what: str) -> float | None:
        """The largest over the processes of a figure that each has one of, such as a peak."""
        return max((r[what] for r in self.good if r.get(what) is not None), default=None)

    @cached_property
    def summary(self) -> Summary | None:
        return _pooled(self.runs())

    @cached_property
    def cpu(self) -> Summary | None:
        return _pooled(self.runs("cpu_ms"))

    @property
    def cpu_percent(self) -> float | None:
        """Processor time per time; two threads at work have 200 %."""
        return (
            100 * self.cpu.mean / self.summary.mean
            if self.cpu and self.summary and self.summary.mean
            else None
        )

    @property
    def fps(self) -> float | None:
        return 1000 / self.summary.mean if self.summary and self.summary.mean else None

    @cached_property
    def medians(self) -> list[float]:
        return [statistics.median(runs) for runs in self.runs()]

    @cached_property
    def cpu_ms(self) -> float | None:
        """The CPU time of a run that tables show: the median, or the mean where the clock is too coarse."""
        values = [value for runs in self.runs("cpu_ms") for value in runs]
        return _typical(values, self._coarse) if values else None

    def cpu_by_repeat(self) -> dict[int, float]:
        """`cpu_ms` of each process that went well, by its number."""
        return {r["repeat"]: _typical(r["cpu_ms"], self._coarse) for r in self.good if r.get("cpu_ms")}

    @cached_property
    def _coarse(self) -> bool:
        return any(map(coarse, self.runs("cpu_ms")))

    @cached_property
    def spreads(self) -> dict[str, float]:
        """How far the processes lie apart, relative to the smallest: "wall" of their medians, and "CPU" of
        their CPU time, or of the CPU percent where there is no other. Empty for a single process."""
        percents = [(r.get("figures") or {}).get("cpu_percent") for r in self.good]
        cpu = list(self.cpu_by_repeat().values()) or [value for value in percents if value is not None]
        return {
            what: max(values) / min(values) - 1
            for what, values in (("wall", self.medians), ("CPU", cpu))
            if len(values) > 1 and min(values) > 0
        }

    @property
    def shaky(self) -> list[str]:
        """Which of wall and CPU time is unstable."""
        return [what for what, spread in self.spreads.items() if spread > UNSTABLE]

    @property
    def unstable(self) -> str | None:
        """What marks a row whose processes do not agree, with the figure in which they do not."""
        return f"UNSTABLE ({', '.join(self.shaky)})" if self.shaky else None

    @property
    def partly(self) -> str | None:
        """That the provider left some steps to others."""
        share = min(
            (r["provider_share"] for r in self.good if r.get("provider_share") is not None), default=1
        )
        return f"only {math.floor(100 * share)} % of the steps ran on it" if share < 1 else None

    @property
    def missed(self) -> str | None:
        """That in some pictures no hand was found."""
        found = self.mean("found")
        if found is None or found == 1 or self.case["what"] not in ("photographs", "pipeline"):
            return None
        where = f" of {self.clip}" if self.case.get("clip") else ""
        return f"no hand found in {max(0.1, 100 * (1 - found)):.1f} % of the pictures{where}"

    @property
    def clip(self) -> str:
        """The photographs or the clip that it saw."""
        return "/".join(Path(str(self.case.get("clip") or "?")).parts[-2:])

    @property
    def marks(self) -> list[str]:
        """All that must be said beside its figures."""
        return [said for said in (self.note, self.unstable, self.partly, self.missed) if said]

    @property
    def note(self) -> str | None:
        """What went wrong, or None."""
        bad = [r for r in self.results if r["status"] != "ok"]
        if not bad:
            return None
        said = f"{bad[0]['status']}: {bad[0]['error'] or 'no reason given'}"
        return f"{len(bad)} of {len(self.results)} processes {said}" if self.good else said


def coarse(values: Sequence[float]) -> bool:
    """Whether these times are of a clock whose steps a median shows instead of the time, as Windows counts
    processor time in steps of 16 ms."""
    known = sorted({round(value, 3) for value in values})
    step = min((b - a for a, b in itertools.pairwise(known)), default=0.0)
    # Of twenty and more times of a fine clock some lie nearer together than a hundredth.
    return 0 in known or (len(values) >= 20 and step > 0.01 * statistics.fmean(values))


def _typical(values: Sequence[float], mean: bool) -> float:
    return statistics.fmean(values) if mean else statistics.median(values)


def _pooled(runs: list[list[float]]) -> Summary | None:
    values = [value for process in runs for value in process]
    return Summary.of(values) if values else None


def rows(results: Sequence[Mapping[str, Any]]) -> list[Row]:
    """The results of a file by case, in the order in which the cases first appear."""
    by_key: dict[str, list[Mapping[str, Any]]] = {}
    for result in results:
        by_key.setdefault(result["case"]["key"], []).append(result)
    return [Row(key, found[0]["case"], tuple(found)) for key, found in by_key.items()]


# --- The file -------------------------------------------------------------------------------------------


def envelope(
    benchmark: str,
    created: str,
    command: Sequence[str],
    machine: Mapping[str, Any],
    models: Mapping[str, Mapping[str, Any]],
    code: Mapping[str, str],
    inputs: Mapping[str, str],
) -> dict[str, Any]:
    """The beginning of a benchmark's file; add `results`, and set `complete` when all are there.

    Args:
        created: ISO 8601, UTC.
        command: the words that repeat it.
        machine: `Machine.as_json`.
        models: the measured files by SHA-256, see `common.model_table`.
        code, inputs: see `origin`.
    """
    return {
        "schema": SCHEMA,
        "benchmark": benchmark,
        "complete": False,
        "created": created,
        "command": list(command),
        "unit": "ms",
        "machine": dict(machine),
        "models": dict(models),
        "code": dict(code),
        "inputs": dict(inputs),
    }


def load(path: Path) -> dict[str, Any]:
    """Read a file of any benchmark, brought to the present version.

    Raises:
        HandCoachError: it is missing, no such file, damaged, or of a newer version.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise HandCoachError(
            f"{path} cannot be read ({error.strerror or error}): give a file that --json wrote."
        ) from error
    except ValueError as error:
        raise HandCoachError(
            f"{path} is no JSON file: give one that --json of handcoach-bench wrote."
        ) from error
    version = content.get("schema") if isinstance(content, dict) else None
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise HandCoachError(f"{path} is no file of handcoach-bench: give one that its --json wrote.")
    if version > SCHEMA:
        raise HandCoachError(
            f"{path} has schema {version}, and this handcoach-bench reads up to {SCHEMA}: update it."
        )
    try:
        content = _upgraded(content) if version < SCHEMA else content
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise HandCoachError(f"{path} is damaged ({error} does not fit): measure again.") from error
    if said := schema.wrong(content):
        raise HandCoachError(f"{path} is damaged ({said}): measure again.")
    return dict(content)


def unfinished(path: Path, new: dict[str, Any]) -> list[dict[str, Any]]:
    """What went well in an interrupted file of the same command, models, versions, code, pictures and
    machine: these processes need not run again. Nothing where the file is not there or is complete.

    Args:
        new: what would be written instead; its load becomes the larger of both.

    Raises:
        HandCoachError: the file is an interrupted one of something else, or none of ours, and would be lost.
    """
    path = _beside(path) if _beside(path).is_file() else path
    if not path.is_file():
        return []
    old = load(path)
    if old["complete"]:
        return []
    same = all(old[key] == new[key] for key in ("benchmark", "command", "models"))
    same = same and old["machine"]["versions"] == new["machine"]["versions"]
    if not same or machine.differences(old["machine"], new["machine"]):
        raise HandCoachError(
            f"{path} is the unfinished file of another command, model, version or machine: give --json "
            "another place, or delete it."
        )
    if apart := origin.differences(old, new, unknown=True):
        raise HandCoachError(
            f"{path} is unfinished and of other {' and '.join(apart)}, so that its results are not "
            "taken: give --json another place, or delete it."
        )
    loads = [m["load"] for m in (old["machine"], new["machine"]) if m.get("load") is not None]
    new["machine"]["load"] = max(loads, default=None)
    return [result for result in old["results"] if result["status"] == "ok"]


def _upgraded(old: dict[str, Any]) -> dict[str, Any]:
    """Schema 1 (inference) and 2 (accuracy) had no command, no table of models, and each case once; up to 3
    nothing said of which code and pictures they are. What a machine's description lacks stays away from it,
    which is how `machine.differences` knows that it is unknown."""
    if old["schema"] == 3:
        return old | {"schema": SCHEMA, "code": {}, "inputs": {}}
    new = envelope(old["benchmark"], old["created"], [], old["machine"], {}, {}, {}) | {"complete": True}
    if "parts" in old:
        new["parts"] = old["parts"]
    if "results" in old:
        new["results"] = [
            {key: value for key, value in result.items() if key not in ("summary", "cpu_summary")}
            | {"repeat": 0, "case": Case(**result["case"]).as_json()}
            for result in old["results"]
        ]
    return new


def _beside(path: Path) -> Path:
    """Where an unfinished run lies while the finished file of an earlier one is there."""
    return path.with_name(f"{path.stem}.unfinished{path.suffix}")


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a file of results, all or nothing; a finished one is there until the new one is finished, too.

    Raises:
        HandCoachError: the file cannot be written, or a figure is no number, which JSON cannot say.
    """
    try:
        text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    except ValueError as error:
        raise HandCoachError(
            f"{path} is not written, since these figures are no finite numbers: {not_finite(content)}; "
            "report this."
        ) from error
    done = content.get("complete", True)
    replaces = done or not path.is_file() or not load(path)["complete"]
    try:
        places.save(path if replaces else _beside(path), text.encode())
        if done:
            _beside(path).unlink(missing_ok=True)
    except OSError as error:
        raise HandCoachError(
            f"{path} cannot be written ({error.strerror or error}): give --json another place."
        ) from error


def not_finite(value: Any) -> str:
    """Where in a JSON value there is NaN or an infinity, "" for nowhere; the first few places."""
    places = list(itertools.islice(_not_finite(value), 6))
    return ", ".join(places[:5]) + ", ..." * (len(places) > 5)


def _not_finite(value: Any, where: str = "") -> Iterator[str]:
    if isinstance(value, float) and not math.isfinite(value):
        yield where
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _not_finite(inner, f"{where}.{key}" if where else str(key))
    elif isinstance(value, list | tuple):
        for i, inner in enumerate(value):
            yield from _not_finite(inner, f"{where}[{i}]")
