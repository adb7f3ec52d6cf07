"""A list of processes: what dies, hangs or cannot be is a marked row, and an interrupted list goes on."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import re
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from handcoach.errors import HandCoachError
from handcoach_bench import campaign, machine, origin, results, runner
from handcoach_bench.campaign import Job

SAY = "import json, sys; task = json.load(open(sys.argv[1])); "


def job(name: str, code: str, repeat: int = 0, **more) -> Job:
    case = {"key": name, "what": "test", "name": name, "threads": 1, "provider": None}
    return Job(case, repeat, {"given": 7}, (sys.executable, "-c", SAY + code), **more)


def good(name: str, repeat: int = 0) -> Job:
    says = "json.dump({'wall_ms': [task['given']]}, open(sys.argv[2], 'w'))"
    return job(name, says, repeat)


def args(path: Path, timeout: float = 60) -> argparse.Namespace:
    return argparse.Namespace(json=path, timeout=timeout)


def envelope(command: str = "one", code: str = "a", data: str = "b", load: float = 0.1) -> dict:
    here = {**machine.describe().as_json(), "load": load}
    return results.envelope("test", "now", [command], here, {}, {"handcoach": code}, {"DATA": data})


def test_each_kind_of_end_is_a_row_and_the_others_go_on(tmp_path, capsys):
    jobs = [
        job("dies", "sys.exit('no luck')"),
        job("hangs", "import time; time.sleep(60)"),
        job("refuses", "json.dump({'error': 'not today'}, open(sys.argv[2], 'w'))"),
        job("cannot", "", impossible="not measured: no screen"),
        Job({"key": "none", "what": "test", "name": "none"}, 0, {}, (str(tmp_path / "python"),)),
        good("works"),
    ]
    path = tmp_path / "results.json"
    found = campaign.run(envelope(), jobs, args(path, 3))
    assert [r["status"] for r in found] == ["died", "timeout", "failed", "failed", "failed", "ok"]
    said = [r["error"] for r in found]
    assert "no luck" in said[0] and "no result after 3 s" in said[1] and said[2] == "not today"
    assert said[3] == "not measured: no screen" and "does not run" in said[4] and said[5] is None
    assert found[5]["wall_ms"] == [7]
    content = results.load(path)
    assert content["complete"] and content["results"] == found
    assert campaign.finished(found, path) == 1
    # What no program can bring is no failure.
    assert campaign.finished([found[3], found[5]], None) == 0
    printed = capsys.readouterr().err
    assert "[1/6] dies: exit code 1 (no luck)\n" in printed and "[6/6] works: " in printed


def test_an_answer_that_cannot_be_kept_is_a_row_and_the_others_go_on(tmp_path):
    """Landmarks that are no numbers, a full disk for what --keep keeps: not the end of the list."""

    def full(found):
        raise OSError(28, "No space left on device")

    says = "json.dump({'wall_ms': [float('nan')]}, open(sys.argv[2], 'w'))"
    jobs = [
        dataclasses.replace(good("full"), read=full),
        dataclasses.replace(good("other"), read=lambda found: {"wall_ms": found["cpu_ms"]}),
        job("nan", says),
        good("works"),
    ]
    path = tmp_path / "results.json"
    found = campaign.run(envelope(), jobs, args(path))
    assert [r["status"] for r in found] == ["failed"] * 3 + ["ok"]
    assert "its answer cannot be kept (OSError: [Errno 28] No space left" in found[0]["error"]
    assert "KeyError: 'cpu_ms'" in found[1]["error"] and "no finite numbers: wall_ms[0]" in found[2]["error"]
    assert results.load(path)["complete"] and campaign.finished(found, path) == 1


def test_an_interrupted_list_goes_on_and_tries_again_what_failed(tmp_path, monkeypatch):
    path = tmp_path / "results.json"
    jobs = [good("a"), job("b", "sys.exit(1)"), good("c"), good("a", 1)]
    run = runner.call
    stopped = []

    def call(task, timeout_s, command, **more):
        stopped.append(command)
        if len(stopped) == 3:
            raise KeyboardInterrupt
        return run(task, timeout_s, command, **more)

    monkeypatch.setattr(runner, "call", call)
    given = args(path)
    with pytest.raises(KeyboardInterrupt):
        campaign.run(envelope(), jobs, given)
    assert given.kept  # so that the command may say that it goes on
    half = results.load(path)
    assert not half["complete"] and [r["case"]["key"] for r in half["results"]] == ["a", "b"]
    with pytest.raises(HandCoachError, match="unfinished file of another command"):
        campaign.run(envelope("two"), jobs, args(path))
    assert results.load(path) == half

    again = [good("a"), good("b"), good("c"), good("a", 1)]
    found = campaign.run(envelope(), again, args(path))
    assert len(stopped) == 6 and [r["status"] for r in found] == ["ok"] * 4
    assert [(r["case"]["key"], r["repeat"]) for r in found] == [("a", 0), ("b", 0), ("c", 0), ("a", 1)]
    assert found[0] == half["results"][0] and results.load(path)["complete"]


def test_other_code_or_pictures_are_not_mixed(tmp_path):
    """What was measured with other code is not gone on with, nor lost; the largest load stands."""
    path = tmp_path / "results.json"
    half = envelope(load=7.5) | {"results": [{"case": dict(good("a").case), "repeat": 0, "status": "ok",
                                              "error": None, "wall_ms": [1.0]}]}  # fmt: skip
    results.write_json(path, half)
    kept = path.read_bytes()
    for other, says in (
        (envelope(code="x"), "and of other code of handcoach, so that its results are not taken"),
        (envelope(code="x", data="y"), "of other code of handcoach and contents of DATA, so"),
    ):
        with pytest.raises(HandCoachError, match=says):
            campaign.run(other, [good("a")], args(path))
        assert path.read_bytes() == kept
    older = {k: v for k, v in half.items() if k not in ("code", "inputs")} | {"schema": 3}
    path.write_text(json.dumps(older))
    with pytest.raises(HandCoachError, match="are not taken"):
        campaign.run(envelope(), [good("a")], args(path))
    path.write_bytes(kept)
    found = campaign.run(envelope(), [good("a"), good("b")], args(path))
    assert found[0]["wall_ms"] == [1.0] and results.load(path)["machine"]["load"] == 7.5


@pytest.mark.parametrize("change", [
    {"models": {"ab": {"name": "m", "kind": "landmarks", "bytes": 1}}},
    {"machine": {"versions": {"onnxruntime": "0"}}},
    {"machine": {"cpu": "Another"}},
    {"benchmark": "other"},
])  # fmt: skip
def test_what_another_model_version_or_machine_began_is_not_gone_on_with(change, tmp_path):
    path, new = tmp_path / "results.json", envelope()
    for key, value in change.items():
        new[key] = new[key] | value if isinstance(value, dict) else value
    results.write_json(path, envelope() | {"results": []})
    kept = path.read_bytes()
    with pytest.raises(HandCoachError, match="unfinished file of another command, model, version or machine"):
        campaign.run(new, [good("a")], args(path))
    assert path.read_bytes() == kept


def test_digests_of_code_and_pictures(tmp_path, monkeypatch):
    package = tmp_path / "handcoach_fake"
    package.mkdir()
    (package / "__init__.py").write_text("a = 1")
    monkeypatch.syspath_prepend(tmp_path)
    once = origin.code("handcoach_fake", "no_such_package")
    assert set(once) == {"handcoach", "handcoach_bench", "handcoach_fake"}
    (package / "more.py").write_text("")
    again = origin.code("handcoach_fake")
    assert again["handcoach"] == once["handcoach"] and again["handcoach_fake"] != once["handcoach_fake"]

    clip, out = tmp_path / "clip", tmp_path / "clip/results.json"
    (clip / "sub").mkdir(parents=True)
    (clip / "sub/1.png").write_bytes(b"1")
    given = {"--clip": clip, "--file": clip / "sub/1.png", "--photos": None, "--none": tmp_path / "none"}
    before = origin.inputs(given, out)
    assert set(before) == {"--clip", "--file"}
    out.write_text("{}")
    assert origin.inputs(given, out) == before  # the results may lie in the folder
    (clip / "sub/1.png").write_bytes(b"2")
    after = origin.inputs(given, out)
    assert after["--clip"] == before["--clip"] and after["--file"] != before["--file"]
    (clip / "sub/2.png").write_bytes(b"2")
    assert origin.inputs(given, out)["--clip"] != before["--clip"]


def test_a_second_interruption_loses_nothing(tmp_path, monkeypatch):
    """What failed comes first again, and is written before the results that are kept were reached."""
    path = tmp_path / "results.json"
    jobs = [job("a", "sys.exit(1)"), good("b"), good("c"), good("d")]
    run, done = runner.call, []

    def until(stop: int):
        def call(task, timeout_s, command, **more):
            if len(done) == stop:
                raise KeyboardInterrupt
            done.append(command)
            return run(task, timeout_s, command, **more)

        monkeypatch.setattr(runner, "call", call)

    for stop in (3, 4):  # after a, b, c; after a again, before d
        until(stop)
        with pytest.raises(KeyboardInterrupt):
            campaign.run(envelope(), jobs, args(path))
        assert [r["case"]["key"] for r in results.load(path)["results"]] == ["a", "b", "c"]
    until(9)
    campaign.run(envelope(), jobs, args(path))
    assert len(done) == 6  # a a third time, and d
    content = results.load(path)
    assert content["complete"] and [r["case"]["key"] for r in content["results"]] == ["a", "b", "c", "d"]


@pytest.mark.parametrize("terminal", [True, False])
def test_the_time_left_is_told_on_a_terminal_only(terminal, tmp_path, monkeypatch, capsys):
    """By what this run has measured: each takes ten seconds, and one of the five is there already. What
    cannot be measured here takes no time."""
    path, jobs, clock = tmp_path / "results.json", [good(name) for name in "abcde"], [0.0]
    done = {"case": dict(jobs[1].case), "repeat": 0, "status": "ok", "error": None, "wall_ms": [1.0]}
    results.write_json(path, envelope() | {"results": [done]})

    def attempt(*_):
        clock[0] += 10
        return {"status": "ok", "error": None, "wall_ms": [1.0, 3.0]}

    monkeypatch.setattr(runner, "attempt", attempt)
    monkeypatch.setattr(campaign.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    jobs += [replace(good("f"), impossible="not here")]
    campaign.run(envelope(), [replace(good("g"), impossible="not here"), *jobs], args(path))
    said = capsys.readouterr().err
    assert re.findall(r"about (\d+) s left", said) == (["30", "20", "10"] if terminal else [])
    assert "[4/7] c: 10 s, median 2.00 ms\n" in said and "b:" not in said


def test_a_child_says_how_far_it_is():
    code = (
        SAY + "import pathlib, time; pathlib.Path(task['progress']).write_text('3 9'); time.sleep(1.2); "
        "json.dump({'fine': True}, open(sys.argv[2], 'w'))"
    )
    told: list[tuple[int, int]] = []
    command = (sys.executable, "-c", code)
    found = runner.call({}, 60, command, told=lambda done, total: told.append((done, total)))
    assert found == {"fine": True} and (3, 9) in told


@pytest.mark.skipif(sys.platform == "win32", reason="asks for processes as POSIX does")
def test_a_child_that_hangs_takes_its_own_children_with_it(tmp_path: Path):
    pid = tmp_path / "pid"
    code = (
        "import pathlib, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"pathlib.Path({str(pid)!r}).write_text(str(child.pid))\ntime.sleep(60)"
    )
    with pytest.raises(runner.ChildError, match="no result"):
        runner.call({}, 4, (sys.executable, "-c", code))

    def alive() -> bool:
        try:
            os.kill(int(pid.read_text()), 0)
        except ProcessLookupError:
            return False
        # Where nobody collects orphans, a dead one stays a zombie.
        status = Path(f"/proc/{pid.read_text()}/status")
        return "State:\tZ" not in status.read_text() if status.exists() else True

    end = time.monotonic() + 10
    while alive() and time.monotonic() < end:
        time.sleep(0.05)
    assert not alive()


def test_nothing_is_left_beside_a_finished_file(tmp_path):
    path = tmp_path / "results.json"
    campaign.run(envelope(), [good("a")], args(path))
    assert json.loads(path.read_text())["schema"] == results.SCHEMA
    assert list(tmp_path.iterdir()) == [path]
