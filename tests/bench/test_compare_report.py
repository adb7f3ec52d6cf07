"""`compare`, `report` and `roofline`: what counts as a difference, what is refused, and pages that say it
all."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from handcoach import model
from handcoach_bench import comparison, machine, plots, results, runner, tables
from handcoach_bench.cli import main
from handcoach_bench.results import Case

CPU = "CPUExecutionProvider"
MACHINE = {"cpu": "Slow", "flags": ["avx2"], "cores": 2, "threads": 4, "usable": 4, "caches": {"L2": "512K"},
           "memory_mb": 8000, "gpus": [], "power": "mains", "governor": "powersave", "virtual": False,
           "load": 0.1, "os": "Linux", "python": "3.11", "versions": {"onnxruntime": "1.32.0"},
           "unknown": []}  # fmt: skip
MODELS = {
    "aa": {"name": "m", "kind": "landmarks", "bytes": 6_500_000, "of": "m", "precision": "fp16",
           "accuracy": {"pa_mpjpe": {"mean": 10.3, "unit": "mm", "ci95": [9.9, 10.7], "hands": 283,
           "missed": 2}}},
    "bb": {"name": "m-int8", "kind": "landmarks", "bytes": 3_500_000, "of": "m", "precision": "int8",
           "accuracy": {"pa_mpjpe": {"mean": 10.5, "unit": "mm", "hands": 283}}},
}  # fmt: skip


def runs(median: float, seed: int, n: int = 60) -> tuple[float, ...]:
    return tuple(np.random.default_rng(seed).normal(median, 0.05 * median, n).tolist())


def outcome(
    name: str, *wall: float, threads: int = 1, repeat: int = 0, what: str = "network", **more
) -> dict:
    case = Case(what, "/x/m.onnx", name, threads, more.pop("asked", CPU), 0, 60, clip="/photos/hands")
    return {"case": case.as_json(), "repeat": repeat, "status": "ok", "error": None, "provider": CPU,
            "wall_ms": list(wall), "cpu_ms": list(wall), "peak_rss_mb": 110.0, "steady_rss_mb": 100.0,
            "load_ms": 80.0, "sha256": {"landmarks": "bb" if "int8" in name else "aa"}, **more}  # fmt: skip


def write(path, *outcomes: dict, **more):
    whole = results.envelope("inference", "2026-01-01T00:00:00+00:00", ["handcoach-bench", "inference"],
                             MACHINE, MODELS, {"handcoach": "one"}, {"--clip": "two"})  # fmt: skip
    whole |= {"results": list(outcomes), "complete": True} | more
    results.write_json(path, whole)
    return str(path)


def test_only_what_is_more_than_scatter_is_a_difference():
    """m is 20 % faster; n is 3 % slower, but its repeated processes differ by as much; k is the same."""
    a = [outcome("m", *runs(10, s), repeat=s) for s in (0, 1, 2)] + [
        outcome("n", *runs(median, s, 2000), repeat=s) for s, median in ((3, 10.0), (4, 10.4))
    ] + [outcome("k", *runs(5, 5), repeat=0), outcome("k", *runs(5, 6), repeat=1)]  # fmt: skip
    b = [outcome("m", *runs(8, 10 + s), repeat=s) for s in (0, 1, 2)] + [
        outcome("n", *runs(median, 20 + s, 2000), repeat=s) for s, median in ((3, 10.3), (4, 10.7))
    ] + [outcome("k", *runs(5, 7), repeat=0), outcome("k", *runs(5, 8), repeat=1)]  # fmt: skip
    rows = [results.rows(part) for part in (a, b)]
    m, n, k = comparison.changes(*rows)
    assert m.verdict == "B is faster" and m.low < 0.8 * 1.03 and m.high < 1 and m.p < 1e-6
    assert m.ratio == pytest.approx(0.8, rel=0.05) and m.cpu == pytest.approx(0.8, rel=0.05)
    assert n.p < 1e-6 and n.noise > abs(n.ratio - 1) and n.verdict == "no difference shown"
    assert k.verdict == "no difference shown"


def test_the_interval_knows_that_runs_of_one_process_resemble_each_other():
    low, high = comparison.ratio_interval([runs(10, 0), runs(11, 1)], [runs(10, 2), runs(11, 3)])
    assert low < 0.95 and high > 1.05
    low, high = comparison.ratio_interval([runs(10, 0, 500)], [runs(12, 1, 500)])
    assert 1.15 < low < 1.2 < high < 1.25


def test_compare_on_the_command_line(tmp_path, capsys):
    a = write(tmp_path / "a.json", outcome("m", *runs(10, 0)), outcome("m", *runs(10, 1), repeat=1),
              outcome("gone", 1.0))  # fmt: skip
    newer = {**MACHINE, "versions": {"onnxruntime": "1.33.0"}, "governor": "performance", "memory_mb": 7990}
    models = {"cc": {**MODELS["aa"]}}
    b = write(tmp_path / "b.json", outcome("m", *runs(14, 2)), outcome("m", *runs(14, 3), repeat=1),
              machine=newer,
              models=models, complete=False)  # fmt: skip
    assert main(["compare", a, b]) == 0
    out = capsys.readouterr().out
    assert "B is slower" in out and re.search(r"^m, 1 thread, CPU +(9|10)\.\d+", out, re.M)
    for said in ("onnxruntime 1.32.0 / 1.33.0", "governor powersave / performance",
                 "m is another file (aa / cc)",
                 "gone, 1 thread, CPU has numbers in A only", "B was interrupted"):  # fmt: skip
        assert said in out


def test_other_work_is_no_comparison(tmp_path, capsys):
    """A training of fifty times the pictures is not fifty times as slow."""

    def measured(file, images: int, clip: str):
        rows = [outcome("m", *runs(10, 0)), outcome("same", *runs(10, 1))]
        rows[0]["case"]["images"] = images
        for row in rows:
            row["case"]["clip"] = clip
        return write(tmp_path / file, results=rows)

    a, b = measured("a.json", 2000, "/here/hand.mp4"), measured("b.json", 100_000, "C:\\there\\hand.mp4")
    assert main(["compare", a, b]) == 0
    out = capsys.readouterr().out
    assert "m, 1 thread, CPU is other work: images 2000 / 100000" in out
    assert re.search(r"^same, 1 thread, CPU +\d", out, re.M) and not re.search(r"^m, ", out, re.M)
    assert main(["compare", a, measured("c.json", 2000, "/here/fist.mp4")]) == 2
    assert "other work: clip hand.mp4 / fist.mp4" in capsys.readouterr().err


def rows_of(*cases: dict) -> list[dict]:
    """A result of each case, of the same times."""
    return [{**outcome("m", *runs(10, 0)), "case": {"key": "m", "what": "x", "name": "m", **case}}
            for case in cases]  # fmt: skip


@pytest.mark.parametrize(("mine", "theirs", "says"), [
    ({"clip": "A/real_3d/images"}, {"clip": "B/webcam/images"}, "clip real_3d/images / webcam/images"),
    ({"threads": 1}, {"threads": 2}, "threads 1 / 2"),  # of peers: the cores that each may use
    ({"images": 50}, {"images": 283}, "images 50 / 283"),
    ({"variant": "rgb"}, {"variant": None}, "variant rgb / None"),
    ({"clip": "/A/real_3d/images"}, {"clip": "../real_3d/images"}, None),
    ({}, {"images": 283}, None),  # an older file does not say it
])  # fmt: skip
def test_what_cases_work_on(mine, theirs, says):
    one, other = (results.rows(rows_of(case))[0] for case in (mine, theirs))
    assert comparison.other_work(one, other) == ([says] if says else [])


def test_other_data_and_other_models_are_said(tmp_path, capsys):
    """What stands in the file and not in its cases: of peers and training the data, of the app the models."""

    def file(name: str, **more) -> str:
        return write(tmp_path / name, results=rows_of({}), **more)

    few = {"data": "x/HanCo", "subset": {"images": 20, "of": 40}}
    a = file("a.json", **few)
    assert main(["compare", a, file("b.json", **few | {"data": "../HanCo"})]) == 0
    assert main(["compare", a, file("c.json", data="y/other")]) == 2
    assert "m is other work: data x/HanCo / y/other" in capsys.readouterr().err
    assert main(["compare", a, file("d.json", data="x/HanCo", subset={"images": 20, "of": 99})]) == 2
    assert "m is other work: pictures 40 / 99" in capsys.readouterr().err
    assert (
        main(["compare", a, file("e.json", models={"aa": MODELS["aa"], "cc": {**MODELS["bb"], "name": "n"}})])
        == 0
    )
    out = capsys.readouterr().out
    assert "m-int8 was measured in A only" in out and "note: n was measured in B only" in out


def test_a_row_without_times_has_not_failed(tmp_path, capsys):
    """A size on disk and the memory of a window are compared as they are."""

    def file(name: str, size: float, memory: float) -> str:
        timed, install, window, nothing, dead = rows_of(
            {}, *({"key": key} for key in ("install", "window", "nothing", "dead"))
        )
        for row in (install, window, nothing):
            row |= {"wall_ms": [], "cpu_ms": [], "peak_rss_mb": None, "steady_rss_mb": None}
        install["figures"] = {"install_mb": size}
        window |= {"peak_rss_mb": memory, "figures": {"shown_fps": 30.0}}
        dead |= {"status": "died", "error": "no luck", "wall_ms": []}
        return write(tmp_path / name, results=[timed, install, window, nothing, dead])

    assert main(["compare", file("a.json", 346, 210), file("b.json", 350.4, 205)]) == 0
    out = capsys.readouterr().out
    assert "note: install has no times, install 346 / 350 MB\n" in out
    assert "note: window has no times, peak rss 210 / 205 MB\n" in out
    assert "note: nothing has no times\n" in out
    assert "dead failed in A" in out and "dead failed in B" in out and out.count("failed") == 2


def test_what_compare_refuses(tmp_path, capsys):
    a = write(tmp_path / "a.json", outcome("m", 1.0, 2.0))
    other = write(tmp_path / "other.json", outcome("m", 1.0, 2.0), machine={**MACHINE, "cpu": "Fast"})
    kind = write(tmp_path / "kind.json", outcome("m", 1.0), benchmark="training")
    none = write(tmp_path / "none.json", outcome("else", 1.0, 2.0))
    (tmp_path / "later.json").write_text(json.dumps({"schema": 99}))
    for b, says in (
        (other, "are from different machines (cpu Slow / Fast)"),
        (kind, "is of inference and"),
        (none, "no timed case in common"),
        (str(tmp_path / "later.json"), "schema 99"),
        (str(tmp_path / "missing.json"), "cannot be read"),
    ):
        assert main(["compare", a, b]) == 2
        error = capsys.readouterr().err
        assert says in error and error.count("\n") == 1


def test_two_files_without_times_are_no_comparison(tmp_path, capsys):
    a, b = (write(tmp_path / f"{name}.json", benchmark="accuracy", parts={}) for name in "ab")
    assert main(["compare", a, b]) == 2
    assert "accuracy measures no times" in capsys.readouterr().err


def test_what_makes_two_machines():
    assert machine.differences(MACHINE, {**MACHINE, "memory_mb": 7990, "load": 3.0, "governor": "x"}) == []
    assert machine.differences(MACHINE, {**MACHINE, "cores": 8}) == ["cores 2 / 8"]
    assert machine.differences(MACHINE, {**MACHINE, "memory_mb": 16000}) != []
    assert machine.differences(MACHINE, {**MACHINE, "gpus": ["NVIDIA T4"]}) == ["gpus  / NVIDIA T4"]
    # An old file does not say it.
    old = {key: value for key, value in MACHINE.items() if key != "gpus"}
    assert machine.differences(old, {**MACHINE, "gpus": ["NVIDIA T4"], "family": "25", "model": "1"}) == []
    known = {**MACHINE, "family": "25", "model": "17", "stepping": "1"}
    assert machine.differences(known, {**known, "stepping": "2"}) == ["stepping 1 / 2"]
    assert machine.differences(known, {**known, "family": "26", "model": "2"}) == [
        "family 25 / 26", "model 17 / 2",
    ]  # fmt: skip


def test_a_busy_machine_is_named(tmp_path, capsys):
    """By the processors that may be used, wherever its figures are shown."""
    busy = {**MACHINE, "threads": 64, "usable": 2, "load": 1.0}
    assert machine.busy(busy) == "the machine was busy (load 1.0 on 2 usable processors)"
    assert machine.busy({**busy, "usable": None}) is None and machine.busy({**busy, "load": None}) is None
    assert machine.busy({**busy, "load": 0.5}) is None
    one, two = (
        [outcome("m", *runs(ms, s), repeat=s) for s in (0, 1)] + [outcome("k", *runs(5, 9))]
        for ms in (10, 14)
    )
    quiet = {**busy, "load": 0.1}
    a, b = write(tmp_path / "a.json", *one, machine=quiet), write(tmp_path / "b.json", *two, machine=busy)
    assert main(["compare", a, b]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^m, .* B is slower, but the machine was busy in B$", out, re.M)
    assert re.search(r"^k, .* no difference shown$", out, re.M)
    assert "note: in B the machine was busy (load 1.0 on 2 usable processors)" in out
    pytest.importorskip("matplotlib")
    assert main(["report", b, "-o", str(tmp_path / "out")]) == 0
    assert "The machine was busy (load 1.0 on 2 usable" in (tmp_path / "out/report.md").read_text()


def test_other_code_and_pictures_are_named(tmp_path, capsys):
    rows = [outcome("m", *runs(10, 0))]
    a = write(tmp_path / "a.json", *rows)
    b = write(tmp_path / "b.json", *rows, code={"handcoach": "other"}, inputs={"--clip": "else"})
    assert main(["compare", a, b]) == 0
    out = capsys.readouterr().out
    assert "note: B is of other code of handcoach than A" in out and "other contents of --clip" in out
    assert main(["compare", a, write(tmp_path / "c.json", *rows, code={}, inputs={})]) == 0
    assert "B is of other" not in capsys.readouterr().out  # an older file does not say it


def test_a_report_says_it_all(tmp_path, capsys):
    """Machine, command, checksums, every row and what is wrong with it, accuracy with its interval and
    misses."""
    pytest.importorskip("matplotlib")
    many = [
        outcome(name, *runs(10 / threads + (name == "m-int8"), threads), threads=threads, repeat=r)
        for name in ("m", "m-int8") for threads in (1, 2) for r in (0, 1)
    ] + [
        outcome("m", *runs(20, r), what="photographs", repeat=r, found=0.97) for r in (0, 1)
    ] + [
        outcome("m", *runs(21, r), what="photographs", threads=2, repeat=r, found=1.0) for r in (0, 1)
    ] + [
        outcome("m", *runs(30 + 9 * r, r), what="pipeline", repeat=r, found=1.0) for r in (0, 1)
    ] + [
        outcome("m", asked="CUDAExecutionProvider", status="timeout", error="no result after 5 s")
    ]  # fmt: skip
    given = write(tmp_path / "r <1>.json", *many, complete=False)
    assert main(["report", given, given, "-o", str(tmp_path / "out")]) == 0
    assert "report.html" in capsys.readouterr().out
    markdown, page = ((tmp_path / "out" / name).read_text() for name in ("report.md", "report.html"))
    for said in ("code: handcoach one", "pictures: --clip two", "Slow, 2 cores",
                 "handcoach-bench inference", "aa", "timeout: no result after 5 s",
    "UNSTABLE",
                 "10.30 mm [9.90, 10.70] on 283 hands, 2 missed", "(no interval in the file)",
                 "photos/hands", "was interrupted"):  # fmt: skip
        assert said in markdown and said in page, said
    assert "r &lt;1&gt;.json" in page and "<1>" not in page
    pictures = re.findall(r"!\[[^]]*\]\(([^)]+)\)", markdown)
    assert len(pictures) == page.count("data:image/png;base64,") == 2 * 7
    for name in pictures:
        assert (tmp_path / "out" / name).read_bytes()[:4] == b"\x89PNG"
    headline = markdown[markdown.index("fastest stable") :]
    headline = headline.split("###")[0]
    assert "no hand found in 3.0 % of the pictures of photos/hands" in markdown  # quicker, but not whole
    assert "m photographs, 2 threads, CPU" in headline and "m photographs, 1 thread" not in headline
    assert "m video: none, each of its rows is marked" in headline and "m video, " not in headline


def test_only_a_whole_row_is_the_fastest():
    def row(*outcomes: dict) -> results.Row:
        return results.rows(outcomes)[0]

    slow = row(outcome("m", 9.0, threads=2))
    died = row(outcome("m", 1.0), outcome("m", status="died", error="so", wall_ms=(), repeat=1))
    missed = row(outcome("m", 1.0, what="photographs", found=0.5))
    assert tables.fastest([died, slow]) == {"m": slow} and tables.fastest([missed]) == {"m photographs": None}
    assert tables.headlines([missed], MODELS) == [
        "fastest m photographs: none, each of its rows is marked above"
    ]
    part = row(outcome("m", 1.0, provider_share=0.929, steps={CPU: 1}))
    assert tables.cells(part)[1] == "only 92 % of the steps ran on it"


def test_accuracy_names_its_hands_and_is_drawn_of_one_set_of_them():
    pytest.importorskip("matplotlib")
    cuts = {"cut_outs": ["exact", "jittered"]}
    ship = {"accuracy": {"pa_mpjpe": {"mean": 8.26, "unit": "mm", "ci95": [7.6, 8.9], "hands": 400, **cuts}}}
    assert tables.accuracy_of(ship) == (
        "8.26 mm [7.60, 8.90] on 400 test hands of the export's data, exact and jittered cut-outs"
    )
    few = {"accuracy": {"pa_mpjpe": {"mean": 7.0, "unit": "mm", "hands": 200, **cuts}}}
    rows = results.rows([
        outcome(name, 1.0 + i, sha256={"landmarks": name}) for i, name in enumerate(("a", "b", "c"))
    ])  # fmt: skip
    (axis,) = plots.accuracy(rows, {"a": few, "b": ship, "c": ship}).axes
    assert "not drawn, since measured on other hands: a" in axis.get_title()
    assert len(axis.containers) == 2 and "400 test hands" in axis.get_title()
    (axis,) = plots.accuracy(rows, {"a": ship, "b": ship, "c": ship}).axes
    assert "not drawn" not in axis.get_title() and len(axis.containers) == 3


def test_programs_are_drawn_by_their_cpu_time():
    pytest.importorskip("matplotlib")
    clips, stills = rows_of({"key": "a", "what": "clips"}, {"key": "b", "what": "photographs"})
    clips["cpu_ms"] = [4.0]
    stills["figures"] = {"pa_mpjpe_mm": 9.0, "low_mm": 8.5, "high_mm": 9.8}
    (axis,) = plots.peers(results.rows([clips, stills])).axes
    ((x, y),) = axis.containers[0].lines[0].get_xydata()
    assert (x, y) == (4, 9) and "CPU" in axis.get_xlabel()


def test_a_report_of_other_benchmarks(tmp_path):
    """Training and the like write the same rows with figures of their own; accuracy has tables only."""
    pytest.importorskip("matplotlib")
    row = outcome("trained", 61_000.0, 60_000.0, what="network")
    row["case"] = {
        "key": "trained, 2 threads",
        "what": "epoch",
        "name": "trained",
        "threads": 2,
        "provider": "cpu",
    }
    row["figures"] = {"images_per_s": 123.4}
    given = write(tmp_path / "t.json", benchmark="training", results=[row])
    parts = {"webcam": {"m": {"skipped": "there is no folder"}}}
    plain = {k: v for k, v in json.loads((tmp_path / "t.json").read_text()).items() if k != "results"}
    part_way = {"benchmark": "accuracy", "parts": parts, "complete": False}
    results.write_json(tmp_path / "acc.json", plain | part_way)
    assert main(["report", given, str(tmp_path / "acc.json"), "-o", str(tmp_path / "out")]) == 0
    markdown = (tmp_path / "out/report.md").read_text()
    assert "images per s" in markdown and "123.40" in markdown and "1-time-epoch.png" in markdown
    assert "webcam: skipped, there is no folder" in markdown and "interrupted: parts are missing" in markdown


def test_report_refuses(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    given = write(tmp_path / "a.json", outcome("m", 1.0, 2.0))
    assert main(["report", given, "-o", str(tmp_path / "file")]) == 2
    assert "cannot be written" in capsys.readouterr().err
    assert main(["report", str(tmp_path / "file"), "-o", str(tmp_path / "out")]) == 2
    assert "no JSON file" in capsys.readouterr().err and not (tmp_path / "out").exists()


def timed(ms: float) -> dict:
    """What came of a process."""
    return {"status": "ok", "error": None, "provider": CPU, "wall_ms": [ms], "sha256": {"landmarks": "aa"}}


def test_roofline(tiny_landmarks, tmp_path, monkeypatch, capsys):
    """The peak is a real product in a child process; the model's time is given here, so that the sums can be
    checked."""
    monkeypatch.setattr("handcoach_bench.roofline.BUDGET_S", 0.1)
    monkeypatch.setattr(runner, "attempt", lambda *_: timed(2.0))
    out = tmp_path / "roof.json"
    given = ["--model", str(model.shipped("landmarks")[0]), "--model", str(tiny_landmarks)]
    assert main(["roofline", *given, "--json", str(out), "--repeats", "1"]) == 0
    printed = capsys.readouterr().out
    assert "of peak" in printed and "tiny-landmarks has no convolution" in printed
    assert re.search(r"^peak, 1 thread: \d+ GFLOP/s, \d+\.\d GB/s$", printed, re.M)
    content = results.load(out)
    (roof,), (row, nothing) = content["roofs"], results.rows(content["results"])
    figures = row.good[0]["figures"]
    assert not nothing.good[0].get("figures")
    assert roof["gflops"] > 0.01 and roof["gb_s"] > 0.01 and roof["threads"] == 1
    assert figures["gflop_s"] == pytest.approx(figures["mflop"] / 2.0)
    assert figures["of_peak_percent"] == pytest.approx(100 * figures["gflop_s"] / roof["gflops"])
    pytest.importorskip("matplotlib")
    assert main(["report", str(out), "-o", str(tmp_path / "out")]) == 0
    assert "1-roofline.png" in (tmp_path / "out/report.md").read_text()


def test_a_roofline_of_processes_that_do_not_agree_says_so(tmp_path, monkeypatch, capsys):
    """Beside the row, in the terminal and in the report; what died has no figures."""
    monkeypatch.setattr(runner, "call", lambda *_, **more: {"gflops": 100.0, "gb_s": 10.0})

    answers = iter([timed(2.0), timed(3.0), {"status": "died", "error": "no luck"}])
    monkeypatch.setattr(runner, "attempt", lambda *_: next(answers))
    out = tmp_path / "roof.json"
    argv = ["roofline", "--model", str(model.shipped("landmarks")[0]), "--repeats", "3", "--json", str(out)]
    assert main(argv) == 1
    says = "1 of 3 processes died: no luck; UNSTABLE (wall)"
    assert re.search(rf"%  {re.escape(says)}$", capsys.readouterr().out, re.M)
    assert ["figures" in r for r in results.load(out)["results"]] == [True, True, False]
    pytest.importorskip("matplotlib")
    assert main(["report", str(out), "-o", str(tmp_path / "out")]) == 0
    assert f"| {says} |" in (tmp_path / "out/report.md").read_text()


def test_a_peak_that_cannot_be_measured_is_a_row(tmp_path, monkeypatch, capsys):
    """Of one number of threads; the models, and the other number's peak, are measured."""
    monkeypatch.setattr(runner, "attempt", lambda *_: timed(2.0))

    def call(task, timeout, env):
        if env["OMP_NUM_THREADS"] == "1":
            raise runner.ChildError("timeout", "no result after 1 s")
        return {"gflops": 50.0 * task["threads"], "gb_s": 10.0}

    monkeypatch.setattr(runner, "call", call)
    out = tmp_path / "roof.json"
    argv = ["roofline", "--model", str(model.shipped("landmarks")[0]), "--threads", "1", "2", "4"]
    assert main([*argv, "--repeats", "1", "--timeout", "1", "--json", str(out)]) == 1
    printed = capsys.readouterr().out
    assert re.search(r"^peak +1 .*give --timeout more than 1 s", printed, re.M)
    content = results.load(out)
    peak, one, two, four = content["results"]
    assert peak["status"] == "failed" and "figures" not in one and two["figures"]["gflop_s"] > 0
    assert two["figures"]["of_peak_percent"] == pytest.approx(2 * four["figures"]["of_peak_percent"])
    assert [roof["threads"] for roof in content["roofs"]] == [2, 4]
