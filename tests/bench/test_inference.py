"""The benchmark on the tiny models: real child processes, few runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
from tiny import hands

from handcoach import model
from handcoach.errors import HandCoachError
from handcoach_bench import machine, results, runner, stopwatch
from handcoach_bench.cli import cases, main, parser
from handcoach_bench.results import Case, Outcome, Summary

CPU = "CPUExecutionProvider"


def case(path: Path, **changes) -> Case:
    return Case(**{"what": "network", "model": str(path), "name": "tiny", "threads": 1, "provider": CPU,
                   "warmup": 2, "runs": 5, **changes})  # fmt: skip


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    folder = tmp_path / "clip"
    folder.mkdir()
    for i in range(4):
        image = hands.draw_hand(hands.blank(320, 240), 150 + 3 * i, 130, 45)
        cv2.imwrite(str(folder / f"{i}.png"), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    return folder


def test_summary():
    s = Summary.of([3.0, 1.0, 2.0, 4.0])
    assert (s.n, s.mean, s.median, s.p95, s.min) == (4, 2.5, 2.5, 4.0, 1.0)
    assert s.sd == pytest.approx(1.291, abs=1e-3)
    assert Summary.of([7.0]).sd == 0.0
    assert Summary.of(range(1, 101)).p95 == 95


def test_a_network_in_a_fresh_process(tiny_landmarks):
    outcome = runner.run(case(tiny_landmarks), 60)
    assert outcome.status == "ok" and outcome.provider == CPU
    assert len(outcome.warmup_ms) == 2 and len(outcome.wall_ms) == 5
    assert len(outcome.cpu_ms) == 5 and outcome.load_ms > 0 and outcome.peak_rss_mb > 10
    assert outcome.sha256 == {"landmarks": model.read(tiny_landmarks).sha256}


def test_the_whole_table_and_its_file(tiny_landmarks, tiny_finder, tiny_exercise, clip, tmp_path, capsys):
    out = tmp_path / "results.json"
    argv = [
        "inference",
        "--quick",
        "--model",
        str(tiny_landmarks),
        "--model",
        str(tiny_finder),
        "--threads",
        "1",
    ]
    argv += ["--finder", str(tiny_finder), "--exercise", str(tiny_exercise), "--clip", str(clip)]
    assert main([*argv, "--runs", "6", "--warmup", "1", "--provider", CPU, "--json", str(out)]) == 0
    printed = capsys.readouterr()
    assert "tiny-landmarks pipeline" in printed.out and "median" in printed.out and "[3/3]" in printed.err
    content = json.loads(out.read_text())
    assert content["schema"] == 1 and content["machine"]["versions"]["onnxruntime"]
    assert [r["case"]["what"] for r in content["results"]] == ["network", "network", "pipeline"]
    pipeline = content["results"][2]
    assert pipeline["summary"]["n"] == 6 and pipeline["found"] == 1.0
    assert set(pipeline["parts_ms"]) >= {"landmarks", "exercise"} and len(pipeline["sha256"]) == 3
    assert sum(pipeline["parts_ms"].values()) < pipeline["summary"]["mean"]
    assert list(tmp_path.glob(".*")) == []


def test_a_child_that_dies_or_hangs_marks_its_row_and_the_others_go_on(tiny_landmarks, monkeypatch, capsys):
    died = runner.run(case(tiny_landmarks), 60, (sys.executable, "-c", "import os; os.abort()"))
    assert died.status == "died" and "exit code" in died.error
    silent = runner.run(case(tiny_landmarks), 60, (sys.executable, "-c", "pass"))
    assert silent.status == "died" and silent.error == "it left no result"
    hung = runner.run(case(tiny_landmarks), 0.5, (sys.executable, "-c", "import time; time.sleep(60)"))
    assert hung.status == "timeout" and "0 s" in hung.error
    good = Outcome(case(tiny_landmarks), "ok", provider=CPU, wall_ms=(1.0, 2.0))
    table = results.table([died, hung, good])
    assert "died: exit code" in table[2] and "timeout: no result" in table[3] and "1.50" in table[4]

    run = runner.run
    monkeypatch.setattr(runner, "run", lambda c, t: hung if c.threads == 1 else run(c, t))
    argv = ["inference", "--model", str(tiny_landmarks), "--runs", "3", "--warmup", "0", "--provider", CPU]
    assert main([*argv, "--finder", "no-such-finder"]) == 1
    printed = capsys.readouterr()
    assert "[2/2]" in printed.err and "No pipeline is measured" in printed.err and "timeout" in printed.out


def test_a_provider_that_does_not_run_is_no_measurement(tiny_landmarks, monkeypatch):
    outcome = runner.run(case(tiny_landmarks, provider="NoSuchExecutionProvider"), 60)
    assert outcome.status == "failed" and "NoSuchExecutionProvider is not installed" in outcome.error
    fallback = {"provider": CPU, "wall_ms": [1.0]}
    monkeypatch.setattr(runner, "call", lambda *_: fallback)
    outcome = runner.run(case(tiny_landmarks, provider="CUDAExecutionProvider"), 60)
    assert outcome.status == "failed" and not outcome.wall_ms
    assert outcome.error == f"it ran on {CPU} instead of CUDAExecutionProvider"


def test_what_is_measured(tiny_landmarks, tiny_finder, tiny_exercise, clip):
    argv = ["inference", "--model", str(tiny_finder), "--model", str(tiny_landmarks), "--clip", str(clip)]
    args = parser().parse_args([*argv, "--finder", str(tiny_finder), "--exercise", str(tiny_exercise)])
    todo = cases(args, [CPU, "OtherExecutionProvider"])
    assert len(todo) == 2 * 4 + 2
    assert {c.provider for c in todo if c.what == "pipeline"} == {CPU}
    assert {c.runs for c in todo} == {200} and str(todo[1]) == "tiny-landmarks, 2 threads, CPU"


def test_bad_input_is_one_sentence(tmp_path, capsys):
    junk = tmp_path / "junk.onnx"
    junk.write_bytes(b"no model")
    for argv, says in (
        (["--model", "nothing"], "no landmark model 'nothing'"),
        (["--model", str(junk)], "not a whole ONNX model"),
        (["--json", str(tmp_path / "no" / "x.json")], "does not exist"),
    ):
        assert main(["inference", *argv]) == 2
        error = capsys.readouterr().err
        assert says in error and error.count("\n") == 1
    with pytest.raises(SystemExit):
        main(["inference", "--threads", "0"])


def test_results_are_written_whole_or_not_at_all(tmp_path, tiny_landmarks):
    """JSON has no NaN; the sentence says which figure it is."""
    path = tmp_path / "results.json"
    path.write_text("old")
    bad = Outcome(case(tiny_landmarks), "ok", provider=CPU, wall_ms=(float("nan"),))
    with pytest.raises(HandCoachError, match=r"results\[0\]\.wall_ms\[0\]"):
        results.write(path, {}, [bad], "now")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_measure_keeps_the_warm_up_apart():
    seen = []
    times = stopwatch.measure(seen.append, 2, 3, lambda i: i)
    assert seen == [0, 1, 2, 3, 4] and len(times["warmup_ms"]) == 2 and len(times["wall_ms"]) == 3


def test_the_machine_is_described_from_what_the_system_says(tmp_path):
    def put(path: str, text: str) -> None:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)

    core = "processor\t: {0}\nmodel name\t: Slow CPU @ 1.0GHz\nphysical id\t: 0\ncore id\t\t: {1}\n"
    core += "flags\t\t: fpu avx2 fma hypervisor avx512_vnni\n\n"
    put("proc/cpuinfo", "".join(core.format(i, i // 2) for i in range(4)))
    put("proc/meminfo", "MemTotal:        8388608 kB\nMemFree: 1 kB\n")
    cpu0 = "sys/devices/system/cpu/cpu0"
    put(f"{cpu0}/cpufreq/scaling_governor", "powersave\n")
    for i, (level, kind, size) in enumerate([(1, "Data", "32K"), (2, "Unified", "512K")]):
        for name, text in (("level", level), ("type", kind), ("size", size)):
            put(f"{cpu0}/cache/index{i}/{name}", f"{text}\n")
    here = machine.describe(tmp_path)
    assert here.cpu == "Slow CPU @ 1.0GHz" and here.flags == ("avx2", "fma", "avx512_vnni")
    assert here.cores == 2 and here.memory_mb == 8192 and here.virtual is True
    assert here.caches == {"L1d": "32K", "L2": "512K"} and here.governor == "powersave"
    assert "governor powersave" in here.lines()[0] and here.unknown == ()
    json.dumps(here.as_json(), allow_nan=False)


def test_without_anything_to_read_the_reasons_are_given(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "psutil", None)
    monkeypatch.setattr(sys, "platform", "linux")
    here = machine.describe(tmp_path)
    assert here.memory_mb is None and here.flags is None
    assert any("handcoach[bench]" in why for why in here.unknown)
    assert "? cores" in here.lines()[0]


def test_the_command_imports_no_training():
    code = (
        "import sys, handcoach_bench.cli, handcoach_bench.child, handcoach_bench.pipeline\n"
        "bad = {'torch', 'sklearn', 'skl2onnx', 'onnx', 'handcoach_train', 'handcoach_export'}\n"
        "assert not bad & set(sys.modules), sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
