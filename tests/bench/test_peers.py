"""`handcoach-bench peers`: misses count, pairs are paired, environments that fail are rows; our own child."""

from __future__ import annotations

import json
import os
import sys
import time
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from tiny import hands

from handcoach.errors import HandCoachError
from handcoach_bench import environments, peers, results, runner
from handcoach_bench.children import peer as child
from handcoach_bench.cli import main
from handcoach_bench.photographs import PEER

# Says what it is told by truth.json: ours a little wrong, MediaPipe right, but not of the second photograph.
# The paper's environment lacks PyTorch. Each process is slower than the one before.
FAKE = """
import json, pathlib, sys
task = json.load(open(sys.argv[1]))
here = pathlib.Path(__file__).parent
truth = json.load(open(here / "truth.json"))
runs = here / "runs"
if "size" in task:
    found = {"size_mb": {name: 10.0 for name in task["size"]}, "versions": {}}
elif task["peer"] == "paper":
    found = {"error": "python lacks torch: give another environment"}
else:
    said = [truth for _ in task["files"]]
    if task["peer"] == "ours":
        said = [[[x, y, z + (0.2 if i == 8 else 0)] for i, (x, y, z) in enumerate(s)] for s in said]
    elif not task.get("tracked"):
        said[1] = None
    number = int(runs.read_text()) if runs.exists() else 10
    runs.write_text(str(number + 1))
    ms = [float(number)] * (len(said) - task.get("warmup", 0))
    found = {"landmarks": said, "sides": ["left"] * len(said), "wall_ms": ms, "cpu_ms": ms, "warmup_ms": [],
             "load_ms": 5.0, "startup_ms": 2000.0, "peak_rss_mb": 90.0, "steady_rss_mb": 80.0,
             "versions": {"numpy": "1.26.4" if task["peer"] == "mediapipe" else "2.9.9"}, "pinned": True}
json.dump(found, open(sys.argv[2], "w"))
"""


def save(path: Path, image: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three photographs of one left hand, and a clip of each posture."""
    root = tmp_path / "data"
    truth = hands.template(0.3) * [-1, 1, 1]
    for i in range(3):
        image = hands.draw_hand(hands.blank(256, 256), 128, 110, 60, left=True, bend=0.3)
        save(root / f"real_3d/images/{i}.png", image)
    np.savez(
        root / "real_3d/joints.npz",
        joints_cm=np.stack([8 * truth + [1, 2, 40]] * 3).astype(np.float32),
        image_path=np.array([f"images/{i}.png" for i in range(3)]),
    )
    for label, bend in hands.BENDS.items():
        for i in range(4):
            image = hands.draw_hand(hands.blank(), 300 + 4 * i, 230, 70, bend=bend)
            save(root / f"teacher_sessions/{label}/{i}.png", image)
    return root


@pytest.fixture
def fake(tmp_path, monkeypatch) -> Path:
    script = tmp_path / "fake.py"
    script.write_text(FAKE)
    (tmp_path / "truth.json").write_text(json.dumps((hands.template(0.3) * [-1, 1, 1]).tolist()))
    monkeypatch.setattr(peers, "PEER", script)
    return script


@pytest.fixture
def argv(data, tiny_landmarks, tiny_finder, tiny_exercise) -> list[str]:
    pythons = [f"--python-{which}={sys.executable}" for which in ("ours", "mediapipe", "paper")]
    return ["peers", str(data), "--model", str(tiny_landmarks), "--finder", str(tiny_finder),
            "--exercise", str(tiny_exercise), *pythons]  # fmt: skip


def test_everybody_side_by_side(fake, argv, tmp_path, capsys):
    out, keep = tmp_path / "peers.json", tmp_path / "raw"
    more = ["--repeats", "2", "--json", str(out), "--keep", str(keep)]
    assert main([*argv, *more]) == 1  # the paper's environment lacks PyTorch
    content = results.load(out)
    rows = {row.key: row for row in results.rows(content["results"])}
    ours, full = (
        rows[f"{name} photographs"].good[0] for name in ("HandCoach tiny-landmarks", "MediaPipe full")
    )
    pictures = [rows[f"MediaPipe full {what}"].case.get("images") for what in ("clips", "photographs")]
    assert pictures == [12, 3] and "images" not in rows["MediaPipe full install"].case
    assert ours["missed"] == [] and full["missed"] == ["1.png"] and full["found"] == pytest.approx(2 / 3)
    # A missed hand has the error of an open hand that is guessed: a bent one is not like it.
    assert full["errors_mm"]["0.png"] < 1e-3 < 3 < full["errors_mm"]["1.png"]
    assert full["figures"]["pa_mpjpe_mm"] == pytest.approx(full["errors_mm"]["1.png"] / 3, abs=1e-3)
    assert 0.5 < ours["errors_mm"]["0.png"] < full["errors_mm"]["1.png"]
    clips = rows["MediaPipe full clips"]
    assert clips.summary.n == 2 * (12 - 3)  # a quarter, and 30 frames at most, are warm-up
    assert len(clips.medians) == 2 and clips.unstable and clips.good[0]["figures"]["jitter_hand_units"] == 0
    assert rows["the paper's way clips"].note == "failed: python lacks torch: give another environment"
    printed = capsys.readouterr().out
    assert "12 frames of" in printed and "3 photographs of" in printed and "on 1 core (" in printed
    apart = [ours["errors_mm"][name] - full["errors_mm"][name] for name in ours["errors_mm"]]
    low, high = peers.interval(apart)
    assert (
        f"HandCoach tiny-landmarks less MediaPipe full, the same photographs: {np.mean(apart):+.2f} mm "
        f"[{low:+.2f}, {high:+.2f}], no clear difference\n" in printed
    )
    lines = {line.split("  ")[0]: line for line in printed.splitlines()}
    assert "UNSTABLE" in lines["MediaPipe full"] and "python lacks torch" in lines["the paper's way"]
    assert "random weights" in printed and " 2.00 " in lines["MediaPipe lite"]
    # Ours ran in process 10 and 13, full in 11 and 14.
    assert (
        "UNSTABLE (wall, CPU)" in lines["MediaPipe full"]
        and "0.92 [0.91, 0.93]" in lines["HandCoach tiny-landmarks"]
    )
    raw = json.loads((keep / "MediaPipe-full-photographs-0.json").read_text())
    assert raw["landmarks"][1] is None and len(raw["files"]) == 3
    assert len(list(keep.iterdir())) == 3 * 2 + 3  # of three that said something: clips twice, photographs
    assert main(["report", str(out), "-o", str(tmp_path / "report")]) == 0
    assert len(list((tmp_path / "report").glob("*peers.png"))) == 1


def test_the_report_says_each_ones_versions_and_the_rounds(fake, argv, tmp_path, capsys):
    out, report = tmp_path / "peers.json", tmp_path / "report"
    assert main([*argv, "--repeats", "2", "--only", "ours", "mediapipe", "--json", str(out)]) == 0
    assert main(["report", str(out), "-o", str(report)]) == 0
    markdown = (report / "report.md").read_text()
    assert "versions of MediaPipe full (TFLite CPU): numpy 1.26.4" in markdown
    assert "versions of HandCoach tiny-landmarks (CPU): numpy 2.9.9" in markdown
    assert "CPU time of HandCoach tiny-landmarks by that of MediaPipe full in the same round" in markdown
    assert "measured on 1 core" in markdown and "[0.91, 0.93]" in markdown
    content = results.load(out)
    for result in content["results"]:
        if result["case"]["name"] == "MediaPipe full" and result["versions"]:
            result["versions"]["numpy"] = "1.26.0"
        if result["case"]["what"] == "clips":
            result["pinned"] = False
    results.write_json(other := tmp_path / "other.json", content)
    assert main(["compare", str(out), str(other)]) == 0
    said = capsys.readouterr().out
    assert said.count("note: MediaPipe full ran with other versions: numpy 1.26.4 / 1.26.0") == 1
    assert "HandCoach tiny-landmarks ran with other versions" not in said
    rows = results.rows(content["results"])
    assert "not pinned" in peers.facts(rows)[0]
    full = peers.Peer("MediaPipe full", "mediapipe", "TFLite CPU", {}, [], [])
    head = peers.table(rows, [full], peers.Pictures([], np.zeros(0), np.zeros(0)), Path("d"), 1)[0]
    assert "not pinned" in head and "on 1 core (CPU" not in head


def test_without_a_way_to_pin_that_is_said(monkeypatch):
    monkeypatch.delattr(child.os, "sched_setaffinity", raising=False)
    assert child.pin(1) is False


def test_an_environment_that_cannot_be_made_is_a_row(fake, argv, monkeypatch, capsys):
    def make(name, requirements):
        raise HandCoachError(f"the environment for {requirements[0]} could not be made (no network)")

    monkeypatch.setattr(environments, "make", make)
    without = [word for word in argv if "--python-mediapipe" not in word]
    assert main([*without, "--repeats", "1", "--only", "ours", "mediapipe"]) == 1
    printed = capsys.readouterr()
    assert printed.err.count("the environment for mediapipe==0.10.21 could not be made (no network)") == 6
    assert "each case ran once" in printed.out and "HandCoach tiny-landmarks" in printed.out
    gone = [*without, "--python-mediapipe", "no/such/python", "--only", "mediapipe", "--repeats", "1"]
    assert main(gone) == 1
    assert "no/such/python does not exist" in capsys.readouterr().err


def test_bad_input_is_one_sentence(argv, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    for more, says in (
        ([str(tmp_path / "none")], "does not exist"),
        ([str(tmp_path / "empty")], "has no folder real_3d or teacher_sessions"),
        ([argv[1], "--paper-checkpoint", "none.safetensors"], "none.safetensors does not exist"),
        ([argv[1], "--keep", str(tmp_path / "data/real_3d/joints.npz")], "give --keep a folder"),
    ):
        assert main(["peers", *more, *argv[2:]]) == 2
        error = capsys.readouterr().err
        assert says in error and error.count("\n") == 1


def test_our_own_child_finds_what_is_there(data, tiny_landmarks, tiny_finder, tiny_exercise):
    files = sorted(map(str, (data / "teacher_sessions/open").iterdir()))
    blank = save(data / "blank.png", hands.blank())
    task = {"peer": "ours", "landmarks": str(tiny_landmarks), "finder": str(tiny_finder), "cores": 1,
            "exercise": str(tiny_exercise), "files": [*files, str(blank)], "tracked": True,
            "warmup": 1, "began": 0.0}  # fmt: skip
    found = runner.call(task, 120, (sys.executable, str(PEER)))
    assert found["sides"] == ["right"] * 4 + [None]
    assert np.shape(found["landmarks"][0]) == (21, 3) and found["landmarks"][4:] == [None]
    assert len(found["wall_ms"]) == len(found["cpu_ms"]) == 4 and len(found["warmup_ms"]) == 1
    assert found["pinned"] is hasattr(os, "sched_setaffinity")
    assert found["startup_ms"] > 1e9 and found["versions"]["onnxruntime"] and found["load_ms"] > 0


def test_what_cannot_be_read_is_nobodys_miss(
    data, fake, argv, tiny_landmarks, tiny_finder, tiny_exercise, capsys
):
    """A damaged photograph would be a miss of every program, and all would have its guess in their mean."""
    for name in ("real_3d/images/1.png", "teacher_sessions/almost/1.png"):
        (data / name).write_bytes(b"none")
    pictures = peers.read_pictures(data, tiny_exercise, None)
    assert [f.name for f in pictures.photographs] == ["0.png", "2.png"] and len(pictures.joints) == 2
    # Neither its neighbours nor the ends of two clips follow each other.
    assert pictures.numbers.tolist() == [0, 2, 3, *range(5, 9), *range(10, 14)]
    assert len(pictures.frames) == 11
    assert main([*argv, "--repeats", "1", "--only", "ours"]) == 0
    head = next(line for line in capsys.readouterr().out.splitlines() if "frames of" in line)
    assert head.startswith("11 frames") and head.endswith("each on its own; 2 more cannot be read")
    for file in data.rglob("*.png"):
        file.write_bytes(b"none")
    assert main([*argv, "--repeats", "1", "--only", "ours"]) == 2
    assert "None of the 15 pictures" in capsys.readouterr().err
    task = {"peer": "ours", "landmarks": str(tiny_landmarks), "finder": str(tiny_finder),
            "exercise": str(tiny_exercise), "files": [str(data / "none.png")]}  # fmt: skip
    assert "none.png cannot be read" in runner.call(task, 120, (sys.executable, str(PEER)))["error"]


def test_jitter_is_the_mean_of_all_pairs_of_neighbours():
    """The first clip has four pairs that stand still; the second, which lost the hand twice, one that moves;
    from one clip to the next everything changes, and is no pair."""
    still, other = (hands.template(bend) for bend in (0.0, 1.0))
    moved = other.copy()
    moved[8, 2] += 0.21
    said = [still] * 5 + [other, None, moved, None, other, moved]
    found = {"landmarks": [None if hand is None else hand.tolist() for hand in said], "startup_ms": 1.0,
             **dict.fromkeys(("warmup_ms", "wall_ms", "cpu_ms", "load_ms", "peak_rss_mb", "steady_rss_mb",
                              "versions", "pinned"))}  # fmt: skip
    pictures = peers.Pictures([], np.zeros(0), np.zeros(0), [], np.array([*range(5), *range(6, 12)]))
    peer = peers.Peer("any", "mediapipe", "any", {}, [], [])
    read = peers.read_clips(peer, found, pictures)
    assert read["found"] == pytest.approx(9 / 11)
    assert read["figures"]["jitter_hand_units"] == pytest.approx(0.01 / 5, rel=0.02)


def test_mediapipe_is_asked_for_the_persons_own_hand(monkeypatch):
    """Its word is of a selfie, which the picture is not. Frames of a clip are followed."""
    hand = SimpleNamespace(landmark=[SimpleNamespace(x=i, y=0.0, z=1.0) for i in range(21)])
    word = SimpleNamespace(classification=[SimpleNamespace(label="Right")])
    answers = iter([
        SimpleNamespace(multi_hand_world_landmarks=[hand], multi_handedness=[word]),
        SimpleNamespace(multi_hand_world_landmarks=None),
    ])  # fmt: skip
    asked: dict = {}

    def hands_of(**given):
        asked.update(given)
        return SimpleNamespace(process=lambda image: next(answers))

    solutions = SimpleNamespace(hands=SimpleNamespace(Hands=hands_of))
    monkeypatch.setitem(sys.modules, "mediapipe", SimpleNamespace(solutions=solutions))
    look = child.mediapipe({"tracked": True, "complexity": 0})
    joints, side = look(None, 0)
    assert side == "left" and joints[3] == [3, 0, 1] and len(joints) == 21 and look(None, 1) == (None, None)
    assert (asked["static_image_mode"], asked["model_complexity"], asked["max_num_hands"]) == (False, 0, 1)


def test_wall_and_cpu_time_of_a_program(data, monkeypatch):
    """One that waits, and in its first picture longer."""
    waits = iter([0.06, 0.02, 0.02])
    monkeypatch.setattr(child, "mediapipe", lambda task: lambda image, i: (time.sleep(next(waits)), None))
    found = child.play({"files": [str(f) for f in (data / "real_3d/images").iterdir()], "warmup": 1})
    assert len(found["warmup_ms"]) == 1 and found["warmup_ms"][0] >= 59
    assert len(found["wall_ms"]) == len(found["cpu_ms"]) == 2
    assert min(found["wall_ms"]) >= 19 and min(found["cpu_ms"]) < 10 and found["pinned"] is False


def test_what_an_environment_lacks_is_said(tmp_path):
    task, result = tmp_path / "task.json", tmp_path / "result.json"
    task.write_text(json.dumps({"size": ["no-such-package"]}))
    assert child.main([str(task), str(result)]) == 0
    assert "lacks no-such-package" in json.loads(result.read_text())["error"]
    sizes = child.size(["pytest"])["size_mb"]
    assert {"pytest", "pluggy"} <= set(sizes) and "numpy" not in sizes and sizes["pytest"] > 0.1


@pytest.mark.slow
def test_the_papers_network_takes_the_checkpoints_of_our_training(tmp_path):
    torch = pytest.importorskip("torch")
    pytest.importorskip("sklearn")
    from handcoach_train.augment import normalise
    from handcoach_train.data import squared
    from handcoach_train.networks import PaperNet, save_checkpoint

    torch.manual_seed(1)
    network = PaperNet(64, dropout=0.2).eval()
    file = tmp_path / "paper.safetensors"
    config = {"kind": "paper", "size": 64, "backbone": "resnet50", "dropout": 0.2, "joints": 21}
    save_checkpoint(network, config, file)
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        ours, theirs = network.half().float().raw(x), child.resnet(str(file))(x)
    assert torch.allclose(ours, theirs, atol=1e-4) and ours.abs().max() > 1e-3
    assert child.size_of(file) == 64
    image = np.random.default_rng(0).integers(0, 255, (480, 640, 3), dtype=np.uint8)
    said = np.array(child.paper({"checkpoint": str(file)})(image, 0)[0])
    cut = torch.from_numpy(squared(image, 64).transpose(2, 0, 1)[None].copy()).float() / 255
    with torch.no_grad():  # of pictures as they were in its training
        assert np.abs(said - network.raw(normalise(cut)).numpy().reshape(21, 3)).max() < 1e-3
    small = tmp_path / "small.safetensors"
    save_checkpoint(PaperNet(64, "mobilenetv2"), config, small)
    with pytest.raises(child.Refused, match=r"small\.safetensors is no ResNet50"):
        child.resnet(str(small))


def test_the_papers_hand_frame_is_the_contracts():
    from handcoach.hand import hand_frame

    hand = hands.template(0.4)
    turned = hand @ np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    for one in (hand, turned):
        assert np.allclose(child.hand_frame(one.reshape(63)), hand_frame(one).reshape(63), atol=1e-5)


def test_intervals_hold_the_mean_and_are_wider_where_neighbours_are_alike():
    assert peers.interval([3.0] * 40) == (3.0, 3.0)
    alone = np.random.default_rng(0).normal(10, 2, 300)
    alike = np.repeat(alone[::10], 10)
    low, high = peers.interval(alone.tolist())
    assert low < alone.mean() < high and high - low == pytest.approx(4 * 2 / 300**0.5, rel=0.25)
    wide = peers.interval(alike.tolist())
    assert wide[1] - wide[0] > 2 * (high - low)


def test_what_each_needs_is_what_the_distribution_says(tiny_landmarks, tiny_finder, tiny_exercise, tmp_path):
    models = {"landmarks": tiny_landmarks, "finder": tiny_finder, "exercise": tiny_exercise}
    ours, full, lite, paper = peers.contestants(models, None, tmp_path / "none.json")
    assert {"numpy", "onnxruntime", "customtkinter"} <= set(ours.packages) and "torch" not in ours.packages
    # Ours is measured with the versions that are here.
    for name in ("numpy", "onnxruntime", "opencv-python-headless"):
        assert f"{name}=={metadata.version(name)}" in ours.requirements
    assert ours.bytes > sum(path.stat().st_size for path in models.values())
    assert (full.task["complexity"], lite.task["complexity"]) == (1, 0)
    assert any(need.startswith("torch==") for need in paper.requirements) and not paper.trained
    known = tmp_path / "paper.json"
    known.write_text("[1]")
    with pytest.raises(HandCoachError, match="not the file of the paper's landmarks"):
        peers.contestants(models, None, known)
