"""The versioned file: what is written is readable, old versions too, and anything else is one sentence."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import pytest

from handcoach.errors import HandCoachError
from handcoach_bench import app, plots, results, schema, tables
from handcoach_bench.results import Case

CPU = "CPUExecutionProvider"
MACHINE = {"cpu": "Slow", "flags": ["avx2"], "cores": 2, "threads": 4, "usable": 4, "caches": {"L2": "512K"},
           "memory_mb": 8000, "gpus": [], "power": "mains", "governor": None, "virtual": False, "load": 0.1,
           "os": "Linux", "python": "3.11", "versions": {"onnxruntime": "1.32.0"}, "unknown": []}  # fmt: skip


def outcome(*wall: float, repeat: int = 0, status: str = "ok", error: str | None = None, **more) -> dict:
    case = Case("network", "m.onnx", "m", 1, CPU, 0, max(1, len(wall)))
    return {"case": case.as_json(), "repeat": repeat, "status": status, "error": error, "wall_ms": list(wall),
            "cpu_ms": [v / 2 for v in wall], **more}  # fmt: skip


def content(*outcomes: dict, **more) -> dict:
    made = results.envelope(
        "inference", "2026-01-01T00:00:00+00:00", ["handcoach-bench", "inference"], MACHINE, {}, {}, {}
    )
    return made | {"results": list(outcomes), "complete": True} | more


def write(path: Path, value: object) -> Path:
    path.write_text(json.dumps(value))
    return path


def test_what_is_written_is_read_again(tmp_path):
    whole = content(
        outcome(1.0, 2.0, sha256={"landmarks": "ab"}), outcome(status="died", repeat=1, error="so")
    )
    results.write_json(tmp_path / "r.json", whole)
    assert results.load(tmp_path / "r.json") == json.loads(json.dumps(whole))


def test_figures_of_several_processes():
    (row,) = results.rows((outcome(1.0, 2.0, 3.0), outcome(2.0, 2.2, 9.0, repeat=1)))
    assert row.medians == [2.0, 2.2] and row.spreads["wall"] == pytest.approx(0.1) and row.unstable
    assert row.summary.n == 6 and row.summary.median == statistics.median([1, 2, 3, 2, 2.2, 9])
    assert row.cpu_percent == pytest.approx(50) and row.fps == pytest.approx(1000 / row.summary.mean)
    (uneven,) = results.rows([outcome(1.0, 2.0, 9.0) | {"cpu_ms": [1.0, 1.0, 1.0]}])
    assert uneven.cpu_percent == pytest.approx(25)  # of all the time, and not of a median
    (steady,) = results.rows((outcome(2.0), outcome(2.08, repeat=1)))
    assert not steady.unstable
    (once,) = results.rows([outcome(2.0)])
    assert once.spreads == {} and not once.unstable


def test_what_is_unstable_is_named():
    """CPU time is a headline too: a row whose CPU time scatters is unstable where its wall time is not."""

    def row(*cpu: float, **more) -> results.Row:
        made = [outcome(5.0, 5.1, repeat=i) | {"cpu_ms": [ms, ms + 0.1]} | more for i, ms in enumerate(cpu)]
        return results.rows(made)[0]

    busy = row(4.0, 4.4)
    assert busy.unstable == "UNSTABLE (CPU)" and busy.spreads["CPU"] == pytest.approx(0.4 / 4.05)
    assert row(4.0, 4.1).unstable is None
    assert (
        tables.cells(busy)[1] == "UNSTABLE (CPU)" and "(wall in 0, CPU in 1)" in tables.stability([busy])[0]
    )
    both = [outcome(5.0), outcome(6.0, repeat=1)]
    assert results.rows(both)[0].unstable == "UNSTABLE (wall, CPU)"
    # A paced app and a training know their CPU percent alone.
    percents = [{"cpu_ms": [], "figures": {"cpu_percent": p}} for p in (50.0, 60.0)]
    paced = [outcome(5.0, repeat=i) | more for i, more in enumerate(percents)]
    assert results.rows(paced)[0].unstable == "UNSTABLE (CPU)"


def test_a_coarse_clock_has_a_mean_and_no_median():
    """Windows counts processor time in steps of 15.625 ms."""
    steps = [0.0, 15.625] * 20 + [0.0] * 10
    slow = [93.75, 109.375] * 20 + [93.75] * 5
    fine = [10 + 0.01 * i for i in range(40)]
    assert results.coarse(steps) and results.coarse(slow) and not results.coarse(fine)
    assert not results.coarse([7.0] * 30) and not results.coarse([1.0, 9.0])
    (row,) = results.rows([outcome(*range(1, 51)) | {"cpu_ms": steps}])
    assert row.cpu_ms == pytest.approx(statistics.fmean(steps)) and row.cpu.median == 0.0
    (row,) = results.rows([outcome(1.0) | {"cpu_ms": [1.0, 2.0, 9.0]}])
    assert row.cpu_ms == 2.0


def test_a_peak_is_the_largest_and_no_mean():
    parts = [outcome(1.0, repeat=i, peak_rss_mb=mb) for i, mb in enumerate((200.0, 270.0))]
    (row,) = results.rows(parts)
    assert row.most("peak_rss_mb") == 270 and row.mean("peak_rss_mb") == 235
    assert tables.cells(row)[0][tables.COLUMNS.index("peak MB")] == "270"
    window = [part | {"case": part["case"] | {"what": "window", "screen": "Xvfb"}} for part in parts]
    assert "at most 270 MB; goal 250 MB missed" in app.table(results.rows(window))[0]


def test_the_memory_of_a_window_is_what_was_measured():
    """It has no times, and is in a report all the same. Nothing is kept that nobody measured, and a process
    that died is named."""
    case = {"key": "app in a window, 1 thread", "what": "window", "name": "app", "screen": "Xvfb"}
    one = {"case": case, "repeat": 0, "status": "ok", "error": None, "peak_rss_mb": 211.0,
           "steady_rss_mb": 190.0}  # fmt: skip
    died = one | {"repeat": 1, "status": "died", "error": "no luck"}
    unknown = one | {"peak_rss_mb": None, "steady_rss_mb": None}
    (row,) = results.rows([one])
    assert dict(zip(tables.COLUMNS, tables.cells(row)[0], strict=True)) == {
        **dict.fromkeys(tables.COLUMNS, ""), "case": "app in a window", "peak MB": "211", "steady MB": "190",
    }  # fmt: skip
    said = [app.table(results.rows(rows))[0] for rows in ([one], [one, died], [unknown])]
    assert said[0].endswith("190 MB, at most 211 MB; goal 250 MB kept")
    assert said[1].endswith("goal 250 MB kept; 1 of 2 processes died: no luck")
    assert said[2].endswith("? MB, at most ? MB; goal 250 MB unknown")
    pytest.importorskip("matplotlib")
    assert set(plots.draw_all({"models": {}}, [row])) == {"memory.png"}


def test_a_case_with_a_bad_process_says_so():
    good, bad = outcome(1.0), outcome(status="timeout", error="no result after 5 s", repeat=1)
    (row,) = results.rows([good, bad])
    assert row.note == "1 of 2 processes timeout: no result after 5 s" and row.summary.n == 1
    (row,) = results.rows([bad])
    assert row.summary is None and row.note == "timeout: no result after 5 s" and row.cpu_percent is None


def test_schema_1_is_read(tmp_path):
    """A file as the first version wrote it."""
    case = {"what": "pipeline", "model": "/x/m.onnx", "name": "m", "threads": 2, "provider": CPU, "warmup": 1,
            "runs": 2, "finder": "f", "exercise": "e", "clip": "c"}  # fmt: skip
    old = {
        "schema": 1, "benchmark": "inference", "created": "2025-12-01T00:00:00+00:00", "unit": "ms",
        "machine": {key: value for key, value in MACHINE.items() if key not in ("gpus", "power")},
        "results": [{
            "case": case, "status": "ok", "error": None, "provider": CPU, "warmup_ms": [3.0], "wall_ms":
            [1.0, 2.0], "cpu_ms": [1.0, 2.0], "load_ms": 5.0, "peak_rss_mb": 90.0, "sha256": {"landmarks":
            "ab"}, "parts_ms": {"landmarks": 1.0}, "network_wall_ms": [1.0, 1.0], "network_cpu_ms": [1.0,
            1.0], "found": 1.0, "summary": {"n": 2}, "cpu_summary": None,
        }],
    }  # fmt: skip
    new = results.load(write(tmp_path / "old.json", old))
    (row,) = results.rows(new["results"])
    assert row.key == "m video, 2 threads, CPU" and row.summary.median == 1.5
    assert new["complete"] and new["command"] == [] and new["schema"] == results.SCHEMA
    assert "gpus" not in new["machine"]  # unknown, and not none
    parts = {k: v for k, v in old.items() if k != "results"} | {
        "schema": 2,
        "benchmark": "accuracy",
        "parts": {},
    }
    assert results.load(write(tmp_path / "acc.json", parts))["benchmark"] == "accuracy"


def test_schema_3_is_read(tmp_path):
    """It did not say of which code and pictures it is."""
    old = {k: v for k, v in content(outcome(1.0)).items() if k not in ("code", "inputs")} | {"schema": 3}
    new = results.load(write(tmp_path / "old.json", old))
    assert new["schema"] == results.SCHEMA and new["code"] == {} == new["inputs"]
    assert results.rows(new["results"])[0].summary.n == 1


def test_anything_else_is_one_sentence(tmp_path):
    good = content(outcome(1.0))
    broken = json.loads(json.dumps(good))
    broken["results"][0]["wall_ms"] = [1.0, "fast"]
    for value, says in (
        ([], "no file of handcoach-bench"),
        ({"schema": True}, "no file of handcoach-bench"),
        ({"schema": 99}, "schema 99"),
        ({"schema": 1, "benchmark": "inference"}, "damaged"),
        ({k: v for k, v in good.items() if k != "machine"}, "it has no machine"),
        (broken, r"results\[0\]\.wall_ms\[1\] is not of type number"),
        (good | {"complete": "yes"}, "complete is not of type boolean"),
    ):
        with pytest.raises(HandCoachError, match=says):
            results.load(write(tmp_path / "x.json", value))
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(HandCoachError, match="no JSON file"):
        results.load(tmp_path / "x.json")
    with pytest.raises(HandCoachError, match="cannot be read"):
        results.load(tmp_path / "none.json")


def test_the_schema_uses_only_words_that_are_checked():
    def each(rule):
        assert set(rule) <= schema._WORDS, rule
        for key in ("properties", "$defs"):
            for inner in rule.get(key, {}).values():
                each(inner)
        for key in ("items", "additionalProperties"):
            if key in rule:
                each(rule[key])

    each(schema.schema())
    assert schema.schema()["properties"]["schema"]["const"] == results.SCHEMA
    with pytest.raises(ValueError, match="minimum"):
        schema.wrong(1, {"minimum": 0})
