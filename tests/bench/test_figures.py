"""Each figure is what it is called: no half judged by itself, no centimetres, no clip played as stills."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from handcoach.errors import HandCoachError
from handcoach.measure import pa_mpjpe
from handcoach_bench import (
    accuracy,
    comparison,
    finding,
    machine,
    photographs,
    results,
    runner,
    sessions,
    tables,
)
from handcoach_bench.commands.options import check_json, seconds
from handcoach_bench.comparison import Change
from handcoach_bench.results import Summary

ONE = Summary.of([1.0])


def test_the_halves_of_a_session_judge_one_another(monkeypatch):
    seen = []
    monkeypatch.setattr(sessions, "_fit", lambda hands: hands["open"].tobytes())
    monkeypatch.setattr(
        sessions, "_judged", lambda fit, hands: seen.append((fit, hands["open"].tobytes())) or []
    )
    sessions.own_fit({"open": np.arange(6.0)}, {"open": 6})
    assert [taught == judged for taught, judged in seen] == [True, False, False]


def test_errors_are_millimetres_and_quantiles_what_they_say():
    truth = np.random.default_rng(0).normal(size=(21, 3))
    said = truth.copy()
    said[8] += 1
    assert photographs._mm(said, truth) == round(10 * float(pa_mpjpe(said, truth)), 3)
    found = photographs.figures({"a": 1.0, "b": 2.0, "c": 10.0, "d": None})
    assert (found["mean"], found["median"], found["p90"], found["found_share"]) == (4.3333, 2.0, 8.4, 0.75)


def test_a_hand_is_recalled_by_half_of_its_box():
    r = finding._recall(["a", "b", "c"], {"a": [0.6, 0.4], "b": [0.3], "c": [0.9]}, {"a": 1, "b": 0, "c": 2})
    assert (r["hands"], r["found"], r["recall"], r["recall_of_two"]) == (4, 2, 0.5, 0.5)
    assert (r["median_iou"], r["others_per_frame"]) == (0.5, 1.0)
    assert finding._inside({"x_1.jpg": 0.89, "x_2.jpg": 0.9, "y_1.jpg": None})["inside"] == 1


@pytest.mark.parametrize(
    ("change", "differs"),
    [({}, True), ({"p": 0.06}, False), ({"low": 0.7, "high": 1.01}, False), ({"noise": 0.26}, False),
     ({"noise": None}, True),
     # 20 % less is what 25 % more is from the other side.
     ({"noise": 0.22}, True), ({"ratio": 1.25, "low": 1.1, "high": 1.4, "noise": 0.22}, True)],
)  # fmt: skip
def test_each_condition_of_a_difference_counts(change, differs):
    base = Change("k", ONE, ONE, 0.8, 0.7, 0.9, 0.01, 0.05, None, None)
    assert replace(base, **change).differs is differs


def rows(*processes: tuple[list[float], list[float]]) -> list[results.Row]:
    case = {"key": "k", "what": "x", "name": "k"}
    return results.rows([
        {"case": case, "repeat": i, "status": "ok", "error": None, "wall_ms": wall, "cpu_ms": cpu}
        for i, (wall, cpu) in enumerate(processes)
    ])  # fmt: skip


def test_noise_is_the_worse_of_both_files():
    a = rows(([10.0] * 3, [5.0] * 3), ([10.2] * 3, [5.5] * 3))
    b = rows(([10.0] * 3, [5.0] * 3), ([11.0] * 3, [6.0] * 3))
    for change in (*comparison.changes(a, b), *comparison.changes(b, a)):
        assert change.noise == pytest.approx(0.1) and change.cpu_noise == pytest.approx(0.2)


def test_of_many_cases_one_must_differ_more():
    pair = rows(([1.0, 2, 3, 4], [1.0])), rows(([3.0, 4, 5, 6], [1.0]))
    (alone,) = comparison.changes(*pair)
    many = [[replace(row, key=f"k{i}") for i in range(3) for row in part] for part in pair]
    assert comparison.changes(*many)[0].p == pytest.approx(min(1, 3 * alone.p))


def test_latency_is_of_one_thread_after_a_warm_up(tmp_path, monkeypatch):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    cases = []

    def run(case, timeout):
        cases.append(case)
        n = len(cases)
        times = {"wall_ms": 10.0, "cpu_ms": 4.0, "network_wall_ms": 5.0, "network_cpu_ms": 2.0}
        return {"status": "ok", "found": n - 1.0, **{name: [ms] * n for name, ms in times.items()}}

    monkeypatch.setattr(runner, "run", run)
    monkeypatch.setattr(accuracy.camera, "open_source", lambda source: SimpleNamespace(total=7))
    monkeypatch.setattr(accuracy.model, "read", lambda path: SimpleNamespace(name="m"))
    models = SimpleNamespace(paths=lambda judged: dict.fromkeys(("landmarks", "finder", "exercise"), "f"))
    r = accuracy.latency(tmp_path, models, 1)
    assert {(case.threads, case.warmup, case.runs) for case in cases} == {(1, 20, 7)}
    means = [r[key]["mean"] for key in ("step_wall", "step_cpu", "network_wall", "network_cpu")]
    assert means == [10, 4, 5, 2] and (r["network_share"], r["found_share"]) == (0.5, round(2 / 3, 4))


def test_tables_show_the_right_figures_and_what_is_missing():
    confusion = {
        "almost": {"open": 3, "almost": 0, "fist": 0, "unsure": 2, "not found": 5},
    }
    look = {"confusion": confusion, "right_by_posture": {"almost": 0.0}, "found_share": 0.5,
            "right_share": 0.0, "wrong_praise": 3, "wrong_praise_share": 0.3, "not_found": {}}  # fmt: skip
    mirror = {
        "same": 1, "frames": 1, "same_share": 1.0, "contradictions": 0, "other_side_share": 1.0,
    }  # fmt: skip
    still = {what: {"mean": mean, "sessions": {}} for what, mean in (("raw", 0.2), ("smooth", 0.1))}
    result = {
        "labels": ["open", "almost", "fist"], "sessions": ["almost", "fist"], "frames": 10, "unreadable": 2,
        "modes": {"still": {"original": look, "mirrored": look, "mirror": mirror}},
        "still_hand": still | {"lag_ms": 1, "clip": "c"},
        "own_fit": {what: {"failed": "x"} for what in ("raw", "smooth")},
    }  # fmt: skip
    lines = tables.lines("teacher", {"m": result})
    assert lines[3].split()[-7:] == ["2", "5", "50.0", "%", "0.0", "%", "3"]
    assert any("filtered: 0.1000" in line for line in lines)
    assert any("2 more frames cannot be read" in line for line in lines)
    assert any("nothing is known of open" in line for line in lines)
    assert tables.percent(0.9999) == "99.9 %" and tables.percent(1) == "100.0 %"
    assert tables.percent(1.5) == "150.0 %"  # others a photograph


def finished(path: Path, complete: bool = True, benchmark: str = "inference") -> Path:
    here = machine.describe().as_json()
    content = results.envelope(benchmark, "2026-01-01T00:00:00+00:00", [], here, {}, {}, {})
    results.write_json(path, content | {"complete": complete, "results": []})
    return path


def test_a_finished_file_is_there_until_the_next_run_is_finished_too(tmp_path):
    path = finished(tmp_path / "a.json")
    before = path.read_bytes()
    finished(path, complete=False)
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 2
    finished(path)
    assert list(tmp_path.iterdir()) == [path]


def test_where_results_cannot_go_is_told_before_they_are_measured(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    for place, word in (
        (tmp_path, "cannot be written"),
        (tmp_path / "none" / "a.json", "does not exist"),
        (tmp_path / "notes.txt", "no JSON"),
        (finished(tmp_path / "b.json", complete=False, benchmark="peers"), "unfinished file of peers"),
    ):
        with pytest.raises(HandCoachError, match=word):
            check_json(place, "inference")
    check_json(finished(tmp_path / "c.json"), "inference")
    for wrong in ("-5", "nan", "inf", "0"):
        with pytest.raises(Exception, match="seconds"):
            seconds(wrong)


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="POSIX only")
def test_whoever_ends_a_benchmark_ends_its_child(tmp_path):
    """A terminal that is closed, or `timeout`: what goes on would disturb the next measurement."""
    command = [sys.executable, "-m", "handcoach_bench.cli", "inference", "--runs", "1000000",
               "--model", str(Path(__file__).parents[1] / "tiny" / "landmarks.onnx")]  # fmt: skip
    run = "import sys; from handcoach_bench.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", run, *command[3:]]
    parent = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    children: list[int] = []
    end = time.monotonic() + 60
    while not children and time.monotonic() < end and parent.poll() is None:
        listed = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
        children = [int(n) for n in listed.read_text().split()] if listed.exists() else []
        time.sleep(0.05)
    if not children:
        parent.kill()
        pytest.skip("this system does not list children")
    parent.send_signal(signal.SIGHUP)
    assert parent.wait(30) == 130
    assert not any(Path(f"/proc/{child}/cmdline").exists() for child in children)
