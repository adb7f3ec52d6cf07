"""The benchmark on the tiny models: real child processes, few runs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import pytest
from tiny import hands

from handcoach import model, session
from handcoach.errors import HandCoachError
from handcoach_bench import child, common, environments, machine, pipeline, results, runner, stopwatch, tables
from handcoach_bench.cli import main, parser
from handcoach_bench.commands import inference
from handcoach_bench.results import Case, Summary

CPU = "CPUExecutionProvider"


def case(path: Path, **changes) -> Case:
    return Case(**{"what": "network", "model": str(path), "name": "tiny", "threads": 1, "provider": CPU,
                   "warmup": 2, "runs": 5, **changes})  # fmt: skip


def timed(*ms: float) -> dict:
    """What came of a process."""
    return {"status": "ok", "error": None, "provider": CPU, "wall_ms": list(ms), "sha256": {}}


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
    found = runner.run(case(tiny_landmarks), 60)
    assert found["status"] == "ok" and found["provider"] == CPU and found["case"]["name"] == "tiny"
    assert len(found["warmup_ms"]) == 2 and len(found["wall_ms"]) == 5
    assert len(found["cpu_ms"]) == 5 and found["load_ms"] > 0 and found["peak_rss_mb"] > 10
    assert found["sha256"] == {"landmarks": model.read(tiny_landmarks).sha256}
    assert set(found["steps"]) == {CPU} and found["steps"][CPU] > 3 and found["provider_share"] == 1


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
    assert "tiny-landmarks video" in printed.out and "median" in printed.out and "[6/6]" in printed.err
    content = results.load(out)
    assert content["complete"] and content["machine"]["versions"]["onnxruntime"]
    assert content["command"][:3] == ["handcoach-bench", "inference", "--quick"]
    rows = results.rows(content["results"])
    assert [(row.case["what"], len(row.good)) for row in rows] == [
        ("network", 2),
        ("network", 2),
        ("pipeline", 2),
    ]
    row, (pipeline, _) = rows[2], rows[2].good
    assert row.summary.n == 12 and pipeline["found"] == 1.0 and row.spreads
    assert set(pipeline["parts_ms"]) >= {"landmarks", "exercise"}
    assert set(pipeline["sha256"].values()) == set(content["models"])
    assert sum(pipeline["parts_ms"].values()) < sum(pipeline["wall_ms"]) / 6
    assert pipeline["peak_rss_mb"] >= pipeline["steady_rss_mb"] > 10
    assert pipeline["versions"]["onnxruntime"] == content["machine"]["versions"]["onnxruntime"]
    assert list(tmp_path.glob(".*")) == []


def test_a_child_that_dies_or_hangs_marks_its_row_and_the_others_go_on(tiny_landmarks, monkeypatch, capsys):
    died = runner.run(case(tiny_landmarks), 60, (sys.executable, "-c", "import os; os.abort()"))
    assert died["status"] == "died" and "exit code" in died["error"]
    silent = runner.run(case(tiny_landmarks), 60, (sys.executable, "-c", "pass"))
    assert silent["status"] == "died" and silent["error"] == "it left no result"
    hung = runner.run(case(tiny_landmarks), 0.5, (sys.executable, "-c", "import time; time.sleep(60)"))
    assert hung["status"] == "timeout" and "0 s" in hung["error"]
    gone = runner.run(case(tiny_landmarks), 60, ("no/such/python",))  # of an environment that was deleted
    assert gone["status"] == "failed" and gone["error"].startswith("no/such/python does not run: ")
    three = (died, hung, {"case": case(tiny_landmarks).as_json(), **timed(1.0, 2.0)})
    rows = [o | {"case": o["case"] | {"key": f"tiny, {n} threads"}} for n, o in enumerate(three)]
    table = tables.inference(results.rows(rows))
    assert "died: exit code" in table[2] and "timeout: no result" in table[3] and "1.50" in table[4]

    attempt, timeout = runner.attempt, {"status": "timeout", "error": "no result after 5 s"}
    monkeypatch.setattr(
        runner, "attempt", lambda task, *more: timeout if task["threads"] == 1 else attempt(task, *more)
    )
    argv = ["inference", "--model", str(tiny_landmarks), "--runs", "3", "--warmup", "0", "--provider", CPU]
    assert main([*argv, "--finder", "no-such-finder", "--repeats", "1"]) == 1
    printed = capsys.readouterr()
    assert "[4/4]" in printed.err and "no hand finder 'no-such-finder'" in printed.out
    assert "timeout" in printed.out and re.search(r"^tiny-landmarks +2 +CPU +3 ", printed.out, re.M)


def test_a_provider_that_does_not_run_is_no_measurement(tiny_landmarks, monkeypatch):
    outcome = runner.run(case(tiny_landmarks, provider="NoSuchExecutionProvider"), 60)
    assert outcome["status"] == "failed" and "NoSuchExecutionProvider is not installed" in outcome["error"]
    fallback = {"provider": CPU, "wall_ms": [1.0]}
    monkeypatch.setattr(runner, "call", lambda *_, **more: fallback)
    outcome = runner.run(case(tiny_landmarks, provider="CUDAExecutionProvider"), 60)
    assert outcome["status"] == "failed" and "wall_ms" not in outcome
    assert outcome["error"] == f"it ran on {CPU} instead of CUDAExecutionProvider"


def test_what_is_measured(tiny_landmarks, tiny_finder, tiny_exercise, clip):
    argv = ["inference", "--model", str(tiny_finder), "--model", str(tiny_landmarks), "--clip", str(clip)]
    args = parser().parse_args([*argv, "--finder", str(tiny_finder), "--exercise", str(tiny_exercise)])
    todo = inference.plan(args, [CPU, "OtherExecutionProvider"]).cases
    assert len(todo) == 2 * 4 + 4
    assert {c.what for c in todo} == {"network", "pipeline"}
    assert {c.runs for c in todo} == {200} and str(todo[1]) == "tiny-landmarks, 2 threads, CPU"
    # A first look takes whole frames with the fewest threads only.
    args.quick = True
    quick = inference.plan(args, [CPU]).cases
    assert {c.runs for c in quick} == {40}
    assert [(c.what, c.threads) for c in quick] == [("network", 1), ("network", 2)] * 2 + [("pipeline", 1)]


def test_a_variant_is_a_choice_among_the_models():
    every, some = inference.files([], []), inference.files([], ["int8"])
    assert [f.name for f in some] == [f.name for f in every if common.variant_of(f)["precision"] == "int8"]
    assert 0 < len(some) < len(every)


def test_photographs_and_a_missing_folder(tiny_landmarks, tiny_finder, tiny_exercise, clip, tmp_path, capsys):
    """Misses are counted, the folder is named; a folder that is not there costs its rows only."""
    cv2.imwrite(str(clip / "9.png"), hands.blank(320, 240))
    argv = ["inference", "--model", str(tiny_landmarks), "--finder", str(tiny_finder), "--threads", "1"]
    argv += ["--exercise", str(tiny_exercise), "--repeats", "1", "--runs", "5", "--warmup", "0"]
    assert main([*argv, "--input", "photographs", "--photos", str(clip)]) == 0
    assert "no hand found in 20.0 % of the pictures of " in capsys.readouterr().out
    both = ["--input", "photographs", "--input", "synthetic"]
    assert main([*argv, *both, "--photos", str(tmp_path / "none")]) == 1
    out = capsys.readouterr().out
    assert f"failed: {tmp_path / 'none'} does not exist" in out
    assert re.search(r"^tiny-landmarks +1 +CPU +5 ", out, re.M)


def test_it_goes_on_after_an_interruption(tiny_landmarks, tmp_path, monkeypatch, capsys):
    """What was measured is not measured again, what failed is; another command does not write over it."""
    out = tmp_path / "r.json"
    argv = [
        "inference",
        "--model",
        str(tiny_landmarks),
        "--input",
        "synthetic",
        "--repeats",
        "2",
        "--runs",
        "2",
    ]
    argv += ["--json", str(out)]
    asked: list[int] = []

    def attempt(task, *_):
        asked.append(task["threads"])
        if len(asked) == 3:
            raise KeyboardInterrupt
        if len(asked) == 2:
            return {"status": "died", "error": "exit code 1"}
        return timed(1.0, 2.0)

    monkeypatch.setattr(runner, "attempt", attempt)
    monkeypatch.setattr(runner, "providers", lambda timeout: ((CPU,), (CPU,)))
    assert main(argv) == 130
    assert "the same command goes on from here" in capsys.readouterr().err
    assert not results.load(out)["complete"] and asked == [1, 2, 1]
    kept = out.read_bytes()
    assert main([*argv, "--threads", "1"]) == 2
    assert "unfinished file of another command" in capsys.readouterr().err and out.read_bytes() == kept
    assert main(argv) == 0
    assert asked[3:] == [2, 1, 2] and "Going on: 1 of 4 processes are done" in capsys.readouterr().out
    content = results.load(out)
    each = [(r["case"]["threads"], r["repeat"]) for r in content["results"]]
    assert content["complete"] and each == [(1, 0), (2, 0), (1, 1), (2, 1)]
    assert {r["status"] for r in content["results"]} == {"ok"}


def test_providers_by_the_names_that_people_use(tiny_landmarks, monkeypatch, capsys):
    """An unknown one is a sentence; one that this machine cannot have is a marked row, and the others go
    on."""
    assert environments.provider_named("openvino") == "OpenVINOExecutionProvider"
    assert environments.provider_named("TensorRT") == "TensorrtExecutionProvider"
    assert environments.provider_named("DirectML") == "DmlExecutionProvider"
    argv = ["inference", "--model", str(tiny_landmarks), "--runs", "2", "--repeats", "2", "--threads", "1"]
    argv += ["--input", "synthetic"]
    assert main([*argv, "--provider", "abacus"]) == 2
    assert "There is no execution provider 'abacus': take CPU, CUDA" in capsys.readouterr().err
    monkeypatch.setattr(runner, "attempt", lambda *_: timed(1.0))
    monkeypatch.setattr(runner, "providers", lambda timeout: ((CPU,), (CPU,)))
    assert main([*argv, "--provider", "xnnpack", "--provider", "cpu"]) == 1
    printed = capsys.readouterr()
    assert "failed: no package of onnxruntime has it" in printed.out and "[3/3]" in printed.err


def test_another_build_of_onnxruntime_gets_an_environment(tmp_path, monkeypatch):
    """With a fake pip: the environment is made once, again when what it needs changes, and has a copy of the
    code. The real thing was tried by hand with onnxruntime-openvino, and cannot be with CUDA, TensorRT or
    DirectML here."""
    monkeypatch.setenv("HANDCOACH_BENCH_CACHE", str(tmp_path))
    real, asked = subprocess.run, []

    def run(command, **more):
        asked.append(command)
        if "pip" in command:
            return subprocess.CompletedProcess(command, 0, "", "")
        return real(command, **more)

    monkeypatch.setattr(environments.subprocess, "run", run)
    openvino = "OpenVINOExecutionProvider"
    command = environments.child_command(openvino, [CPU], [])
    assert command[0].startswith(str(tmp_path)) and command[1:] == ("-m", "handcoach_bench.child")
    assert "onnxruntime-openvino" in asked[1] and any(word.startswith("numpy==") for word in asked[1])
    (copied,) = tmp_path.rglob("handcoach_bench/child.py")
    assert copied.read_text() == Path(environments.__file__).with_name("child.py").read_text()
    made = len(asked)
    environments.child_command(openvino, [CPU], [])
    assert len(asked) == made + 1  # only asks where its packages lie, to copy the code again
    environments.make("openvino", ["other"])
    assert "other" in asked[-1]
    assert environments.child_command(CPU, [CPU], []) is None
    monkeypatch.setattr(
        environments.subprocess,
        "run",
        lambda command, **_: subprocess.CompletedProcess(command, 1, "", "no such package"),
    )
    with pytest.raises(HandCoachError, match="no such package"):
        environments.make("broken", ["nothing"])
    assert not list(tmp_path.glob("broken*/ready.json"))


def test_a_provider_that_is_listed_but_does_not_compute(tiny_landmarks, monkeypatch, capsys):
    """As CUDA without its libraries: a marked row, no environment that nobody asked for; the others go on."""
    monkeypatch.setattr(runner, "attempt", lambda *_: timed(1.0))
    monkeypatch.setattr(runner, "providers", lambda timeout: ((CPU,), ("CUDAExecutionProvider", CPU)))
    argv = ["inference", "--model", str(tiny_landmarks), "--threads", "1", "--input", "synthetic"]
    assert main(argv) == 1
    out = capsys.readouterr().out
    assert "failed: the installed onnxruntime lists it, but it computes nothing here" in out
    assert re.search(r"^tiny-landmarks +1 +CPU +3 ", out, re.M)


def test_what_a_machine_cannot_have():
    why = environments.why_not
    assert "NVIDIA" in why("CUDAExecutionProvider", ["i915"])
    assert why("CUDAExecutionProvider", ["NVIDIA T4, 550, 15360 MiB"]) is None
    assert (
        "Windows" in why("DmlExecutionProvider", [], "linux")
        and why("DmlExecutionProvider", [], "win32") is None
    )
    assert "macOS" in why("CoreMLExecutionProvider", [], "linux")
    assert why("OpenVINOExecutionProvider", []) is None


def test_a_provider_that_runs_no_step_fails(tiny_landmarks, monkeypatch):
    """A session may list a provider and leave everything to the CPU."""
    cuda = "CUDAExecutionProvider"
    fake = {"model": str(tiny_landmarks), "threads": 1, "provider": cuda}

    def steps(ran: dict[str, int], alone: int) -> dict:
        """Of a model that has so many steps on the CPU alone."""
        monkeypatch.setattr(
            session, "steps_by_provider", lambda f, a, t, p: ran if p == cuda else {CPU: alone}
        )
        return child.steps(fake)

    with pytest.raises(HandCoachError, match="every step ran on CPUExecutionProvider instead of CUDA"):
        steps({CPU: 12}, 12)
    with pytest.raises(HandCoachError, match="12 of 13 steps ran on CPUExecutionProvider instead of CUDA"):
        steps({CPU: 12, cuda: 1}, 13)
    assert steps({CPU: 3, cuda: 9}, 12) == {"steps": {CPU: 3, cuda: 9}, "provider_share": 0.75}
    # As TensorRT and OpenVINO do it: all that they run is one step.
    assert steps({CPU: 3, cuda: 1}, 30)["provider_share"] == 0.9
    assert steps({cuda: 1}, 30) == {"steps": {cuda: 1}, "provider_share": 1.0}


def test_a_network_that_never_ran_is_no_measurement(tiny_landmarks, tiny_finder, tiny_exercise, tmp_path):
    """No hand is in any picture, so that only the finder was at work."""
    cv2.imwrite(str(tmp_path / "0.png"), hands.blank(320, 240))
    path = {"finder": str(tiny_finder), "exercise": str(tiny_exercise), "clip": str(tmp_path)}
    outcome = runner.run(case(tiny_landmarks, what="pipeline", **path), 60)
    assert outcome["status"] == "failed" and "never ran, since no hand was found" in outcome["error"]


def test_an_answer_that_cannot_be_read_is_a_row(tiny_landmarks, monkeypatch):
    good = {
        "provider": CPU,
        "warmup_ms": [],
        "cpu_ms": [1.0],
        "load_ms": 1.0,
        "peak_rss_mb": 1.0,
        "sha256": {},
    }
    for answer, says in (
        (good, "cannot be kept (KeyError: 'wall_ms')"),
        (good | {"wall_ms": [float("nan")]}, "no finite numbers: wall_ms[0]"),
    ):
        monkeypatch.setattr(runner, "call", lambda *_, answer=answer, **more: answer)
        outcome = runner.run(case(tiny_landmarks), 60)
        assert outcome["status"] == "failed" and says in outcome["error"]


@pytest.mark.slow
def test_pytorch_eager(tiny_landmarks, tmp_path):
    """A checkpoint that is none is a sentence; a real one runs where PyTorch is there."""
    nothing = tmp_path / "none.safetensors"
    nothing.write_bytes(b"x")
    args = parser().parse_args(["inference", "--model", str(tiny_landmarks), "--eager", str(nothing),
                                "--input", "synthetic", "--runs", "2", "--warmup", "1",
                                "--threads", "1"])  # fmt: skip
    eager = inference.plan(args, [CPU]).cases[-1]
    assert str(eager) == "none eager, 1 thread, PyTorch CPU"
    assert runner.run(eager, 120, runner.EAGER)["status"] == "failed"
    pytest.importorskip("torch")
    shipped = model.models_dir() / "checkpoints/mobilenetv2.safetensors"
    if not shipped.is_file():
        pytest.skip("checkpoints are not beside the models")
    outcome = runner.run(replace(eager, model=str(shipped)), 120, runner.EAGER)
    assert outcome["status"] == "ok" and outcome["provider"] == "PyTorch CPU" and len(outcome["wall_ms"]) == 2


def test_bad_input_is_one_sentence(tmp_path, capsys):
    junk = tmp_path / "junk.onnx"
    junk.write_bytes(b"no model")
    notes = tmp_path / "notes.json"
    notes.write_text("{}")
    for argv, says in (
        (["--json", str(notes)], "no file of handcoach-bench"),
        (["--model", "nothing"], "no landmark model 'nothing'"),
        (["--model", str(junk)], "not a whole ONNX model"),
        (["--json", str(tmp_path / "no" / "x.json")], "does not exist"),
        (["--variant", "int3"], "No model has the variant 'int3': take "),
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
    bad = timed(float("nan"))
    with pytest.raises(HandCoachError, match=r"results\[0\]\.wall_ms\[0\]"):
        results.write_json(path, {"results": [bad]})
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_measure_keeps_the_warm_up_apart_and_wall_from_cpu():
    """Waiting takes time and no processor; neither the first runs nor a thread that is still busy count."""
    seen = []

    def step(i: int) -> None:
        seen.append(i)
        time.sleep(0.06 if i < 2 else 0.02)

    end = time.perf_counter() + 0.3

    def spin() -> None:
        while time.perf_counter() < end:
            pass

    thread = threading.Thread(target=spin)
    thread.start()
    times = stopwatch.measure(step, 2, 3, lambda i: i)
    thread.join()
    assert seen == [0, 1, 2, 3, 4] and len(times["warmup_ms"]) == 2 and min(times["warmup_ms"]) >= 59
    assert len(times["wall_ms"]) == len(times["cpu_ms"]) == 3 and min(times["wall_ms"]) >= 19
    assert min(times["cpu_ms"]) < 10  # on a busy machine a thread may begin late


def test_the_networks_part_of_a_frame(tiny_landmarks, tiny_finder, tiny_exercise, clip, monkeypatch):
    """Here each network waits for 8 ms: that is wall time of it, and no CPU time."""
    plain = session.Session.run

    def wait(self, array):
        time.sleep(0.008)
        return plain(self, array)

    monkeypatch.setattr(session.Session, "run", wait)
    path = {"finder": str(tiny_finder), "exercise": str(tiny_exercise), "clip": str(clip)}
    found = pipeline.pipeline(asdict(case(tiny_landmarks, what="pipeline", **path)))
    wall, cpu = found["network_wall_ms"], found["network_cpu_ms"]
    assert len(wall) == len(cpu) == 5 and min(wall) >= 8 and min(cpu) < 6
    assert sum(wall) / 5 == pytest.approx(found["parts_ms"]["landmarks"])
    assert found["parts_ms"]["exercise"] >= 8 and sum(wall) < sum(found["wall_ms"])


def test_the_machine_is_described_from_what_the_system_says(tmp_path, monkeypatch):
    def put(path: str, text: str) -> None:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)

    core = "processor\t: {0}\nmodel name\t: Slow CPU @ 1.0GHz\nphysical id\t: 0\ncore id\t\t: {1}\n"
    core += "cpu family\t: 25\nmodel\t\t: 17\nstepping\t: 1\n"
    core += "flags\t\t: fpu avx2 fma hypervisor avx512_vnni\n\n"
    put("proc/cpuinfo", "".join(core.format(i, i // 2) for i in range(4)))
    put("proc/meminfo", "MemTotal:        8388608 kB\nMemFree: 1 kB\n")
    cpu0 = "sys/devices/system/cpu/cpu0"
    put(f"{cpu0}/cpufreq/scaling_governor", "powersave\n")
    for i, (level, kind, size) in enumerate([(1, "Data", "32K"), (2, "Unified", "512K")]):
        for name, text in (("level", level), ("type", kind), ("size", size)):
            put(f"{cpu0}/cache/index{i}/{name}", f"{text}\n")
    put("sys/class/power_supply/AC/type", "Mains\n")
    put("sys/class/power_supply/AC/online", "0\n")
    put("sys/class/power_supply/BAT0/type", "Battery\n")
    put("sys/class/power_supply/BAT0/capacity", "63\n")
    put("sys/class/drm/card0/device/uevent", "DRIVER=i915\nPCI_ID=8086:9A49\n")
    monkeypatch.setattr(machine, "_said", lambda *command: "")
    here = machine.describe(tmp_path)
    assert here.power == "battery 63 %" and here.gpus == ("i915",)
    assert any("plug it in" in line for line in here.lines())
    put("sys/class/power_supply/AC/online", "1\n")
    monkeypatch.setattr(machine, "_said", lambda *command: "NVIDIA T4, 550.1, 15360 MiB\n" * 2)
    here = machine.describe(tmp_path)
    assert here.power == "mains" and here.gpus == ("NVIDIA T4, 550.1, 15360 MiB",) * 2 + ("i915",)
    assert here.cpu == "Slow CPU @ 1.0GHz" and here.flags == ("avx2", "fma", "avx512_vnni")
    assert (here.family, here.model, here.stepping) == ("25", "17", "1")
    assert "family 25 model 17 stepping 1" in here.lines()[0]
    assert here.cores == 2 and here.memory_mb == 8192 and here.virtual is True
    assert here.caches == {"L1d": "32K", "L2": "512K"} and here.governor == "powersave"
    assert "governor powersave" in here.lines()[0] and here.unknown == ()
    json.dumps(here.as_json(), allow_nan=False)


def test_without_anything_to_read_the_reasons_are_given(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "psutil", None)
    monkeypatch.setattr(sys, "platform", "linux")
    here = machine.describe(tmp_path)
    assert here.memory_mb is None and here.flags is None and here.family is None
    assert any("handcoach[bench]" in why for why in here.unknown)
    assert "? cores" in here.lines()[0]


def test_the_command_imports_no_training():
    code = (
        "import sys, handcoach_bench.cli, handcoach_bench.child, handcoach_bench.pipeline\n"
        "bad = {'torch', 'torchvision', 'sklearn', 'skl2onnx', 'onnx', 'scipy', 'matplotlib',\n"
        "       'handcoach_train', 'handcoach_export'}\n"
        "sys.exit(', '.join(bad & set(sys.modules)) or 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
