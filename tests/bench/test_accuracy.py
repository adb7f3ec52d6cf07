"""`handcoach-bench accuracy` on drawn hands and the tiny models."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny import hands

from handcoach import model
from handcoach.exercise import Exercise
from handcoach.measure import Watched
from handcoach_bench import accuracy, common, finding, photographs, results, runner, sessions, tables
from handcoach_bench.cli import main
from handcoach_bench.common import NOT_FOUND, Models
from handcoach_bench.sessions import Seen


def save(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))


@pytest.fixture
def models(tiny_landmarks, tiny_finder, tiny_exercise) -> Models:
    return Models(str(tiny_landmarks), str(tiny_finder), str(tiny_exercise))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder like the real one, small. One of the two photographs with joints shows no hand."""
    root = tmp_path / "data"
    truth = hands.template(0.0) * [-1, 1, 1]  # left hands
    save(root / "real_3d/images/0.png", hands.draw_hand(hands.blank(256, 256), 128, 110, 60, left=True))
    save(root / "real_3d/images/1.png", hands.blank(256, 256))
    np.savez(
        root / "real_3d/joints.npz",
        joints_cm=np.stack([8 * truth + [1, 2, 40]] * 2).astype(np.float32),
        image_path=np.array(["images/0.png", "images/1.png"]),
    )
    for label, bend in hands.BENDS.items():
        for i in range(3):
            image = hands.draw_hand(hands.blank(), 300 + 4 * i, 230, 70, bend=bend)
            save(root / f"teacher_sessions/{label}/{i}.png", image)
    rows = ["file,fingers,xmin,ymin,xmax,ymax"]
    for name, shift in (("a_0.png", 0), ("a_1.png", 300), ("b_c_0.png", 0), ("none_0.png", 0)):
        image = hands.blank() if name.startswith("none") else hands.draw_hand(hands.blank(), 200, 240, 70)
        save(root / "webcam_hands/images" / name, image)
        p = hands.points(200 + shift, 240, 70)
        rows.append(",".join([name, "5", *(f"{v:.1f}" for v in (*p.min(0), *p.max(0)))]))
    save(root / "webcam_hands/images/unlabelled_1.png", hands.blank())
    (root / "webcam_hands/boxes.csv").write_text("\n".join(rows) + "\n")
    return root


@pytest.fixture(autouse=True)
def no_own_fit(request, monkeypatch):
    """Postures are fitted in child processes that import a great deal: only where a test is about it."""
    if "fit" not in request.node.name:
        monkeypatch.setattr(sessions, "own_fit", lambda hands, frames: {"failed": f"{len(hands)} postures"})


def argv(data: Path, models: Models, *more: str) -> list[str]:
    return ["accuracy", str(data), "--model", models.landmarks, "--finder", models.finder,
            "--exercise", models.exercise, *more]  # fmt: skip


def test_points_in_a_box():
    points = np.stack([np.linspace(0, 100, 21), np.full(21, 50.0)], axis=1)
    boxes = np.array([[0.0, 40, 54, 60], [200, 200, 300, 300]])
    assert finding.share_inside(points, boxes) == pytest.approx(12 / 21)  # up to 56.7
    assert finding.share_inside(points, boxes[1:]) == 0
    assert finding.share_inside(points, np.array([[6.0, 0, 94, 90]])) == pytest.approx(19 / 21)  # from 1.6
    assert finding.recording("3_1528499009.07_pic00003.jpg") == "3_1528499009.07"
    assert finding.recording("pic00107.jpg") == "."


def test_confusion_counts_what_is_not_found_as_wrong_and_praise_apart():
    def looks(**postures: str) -> dict[str, dict[str, Seen]]:
        return {
            truth: {f"{i}.jpg": Seen(posture, None, None) for i, posture in enumerate(said.split(","))}
            for truth, said in postures.items()
        }

    original = looks(open=f"open,unsure,{NOT_FOUND},open", fist="fist,open,fist,almost")
    c = sessions.confusion(original, ["open", "almost", "fist"])
    assert c["confusion"]["open"] == {"open": 2, "almost": 0, "fist": 0, "unsure": 1, NOT_FOUND: 1}
    assert (c["found_share"], c["right_share"], c["wrong_praise"]) == (0.875, 0.5, 1)
    assert c["wrong_praise_share"] == 0.25 and c["postures"]["fist/3.jpg"] == "almost"
    mirrored = looks(open=f"open,unsure,{NOT_FOUND},{NOT_FOUND}", fist="open,open,unsure,almost")
    m = sessions.same_mirrored(original, mirrored)
    assert (m["same"], m["same_share"], m["both_found"], m["contradictions"]) == (4, 0.5, 6, 1)


def test_every_part_and_its_file(data, models, tmp_path, capsys):
    held, out = tmp_path / "held.txt", tmp_path / "accuracy.json"
    held.write_text("# a comment\nb_c\n\n")
    # So few frames teach no exercise: a figure that fails is told by the exit code.
    assert main(argv(data, models, "--held-out", str(held), "--json", str(out))) == 1
    content = json.loads(out.read_text())
    assert content == results.load(out) and content["benchmark"] == "accuracy" and content["complete"]
    assert content["machine"]["versions"]["onnxruntime"] and content["command"][1] == "accuracy"
    folders = {f"DATA/{name}" for name in ("real_3d", "teacher_sessions", "webcam_hands")}
    assert set(content["inputs"]) == folders | {"--held-out"}
    assert tuple(content["parts"]) == accuracy.PARTS
    (name,) = (m["name"] for m in content["models"].values() if m["kind"] == "landmarks")
    figures = {part: by_model[name] for part, by_model in content["parts"].items()}

    auto, left = figures["real-3d"]["hands"]["auto"], figures["real-3d"]["hands"]["left"]
    for r in (auto, left):
        assert (r["found"], r["read"], r["found_share"], r["side_share"]) == (1, 2, 0.5, 0.5)
        assert r["ci95"] == [r["mean"], r["mean"]]  # of one hand nothing is known
        assert r["mean"] < 1 and r["not_found"] == {"no_hand": 1} and r["errors"]["1.png"] is None

    teacher = figures["teacher"]
    assert teacher["frames"] == 9 and teacher["sessions"] == ["open", "almost", "fist"]
    for looks in teacher["modes"].values():
        for copy in ("original", "mirrored"):
            assert looks[copy]["right_share"] == looks[copy]["found_share"] == 1
            assert looks[copy]["wrong_praise"] == 0
        assert looks["original"]["sides"] == {"right": 9} and looks["mirrored"]["sides"] == {"left": 9}
        assert looks["mirror"]["same"] == 9 and looks["mirror"]["other_side_share"] == 1

    for r in (auto, left):
        assert r["jittered"]["found"] == 1 and r["jittered"]["mean"] < 2
    still = teacher["still_hand"]
    assert still["pairs"] == {"open": 2, "almost": 2, "fist": 2} and still["raw"]["mean"] < 0.01
    assert still["smooth"]["mean"] <= still["raw"]["mean"] + 1e-5
    assert teacher["own_fit"] == {key: {"failed": "3 postures"} for key in ("raw", "smooth")}

    recall = figures["webcam"]["recall"]
    assert [recall["all"][key] for key in ("hands", "found", "recall")] == [4, 2, 0.5]
    assert recall["all"]["others_per_frame"] == 0.25  # the found hand that is labelled elsewhere
    assert recall["held out"]["recall"] == 1 and recall["all"]["recall_of_two"] is None

    groups = figures["webcam"]["groups"]
    assert [groups["all"][key] for key in ("photographs", "recordings", "found", "inside")] == [4, 3, 3, 2]
    assert groups["held out"]["inside_share"] == 1 and groups["others"]["photographs"] == 3
    assert figures["webcam"]["unlabelled"] == 1 and figures["webcam"]["shares"]["none_0.png"] is None

    latency = figures["latency"]
    assert latency["frames"] == 9 and latency["found_share"] == 1 and len(latency["sessions"]) == 3
    assert 0 < latency["network_wall"]["median"] < latency["step_wall"]["median"]
    assert 0 < latency["network_share"] < 1

    printed = capsys.readouterr()
    for text in ("real-3d: PA-MPJPE", "wrong praise", "held out", "landmark network"):
        assert text in printed.out
    assert "[5/5] latency" in printed.err and "places" not in printed.out
    assert list(tmp_path.glob(".*")) == []


def test_boxes_are_matched_best_first_and_each_once():
    a, b = np.array([0.0, 0, 100, 100]), np.array([50.0, 0, 150, 100])
    assert finding.iou(a, a) == 1 and finding.iou(a, b) == pytest.approx(1 / 3)
    assert finding.iou(a, a + 200) == 0 == finding.iou(a, np.zeros(4))
    near = np.array([10.0, 0, 110, 100])
    best, alone = finding.match([near, a], np.stack([a, b]))
    assert best == [1, pytest.approx(finding.iou(near, b))] and alone == 0
    # Two finds on one label: the second one finds nothing, but is not alone.
    assert finding.match([a, near], a[None]) == ([1], 0)
    assert finding.match([b + 300], np.stack([a, b])) == ([0, 0], 1)
    assert finding.match([], a[None]) == ([0], 0)
    box = finding.box_of(np.array([[10.0, 20], [110, 70]]), 115, 400)
    assert box.tolist() == [0, 15, 115, 75]  # 1.2 times 100 x 50, cut at the picture's border


def test_several_models_stand_side_by_side_with_the_peer(data, models, tmp_path, monkeypatch, capsys):
    # A peer that always says the truth of the first photograph, and sees nothing in the second.
    truth = np.load(data / "real_3d/joints.npz")["joints_cm"][0].tolist()
    script, python = tmp_path / "peer.py", tmp_path / "out.json"
    script.write_text(
        "import json, sys\nfiles = json.load(open(sys.argv[1]))['files']\nassert len(files) == 2\n"
        f"said = {{'landmarks': [{truth}, None], 'sides': ['left', None]}}\n"
        "said['versions'] = {'mediapipe': '0'}\n"
        "json.dump(said, open(sys.argv[2], 'w'))"
    )
    monkeypatch.setattr(photographs, "PEER", script)
    other = tmp_path / "other.onnx"
    shutil.copy(models.landmarks, other)
    given = argv(data, models, "--part", "real-3d", "--peer", sys.executable, "--json", str(python))
    assert main(given) == 0
    both = json.loads(python.read_text())["parts"]["real-3d"]
    assert len(both) == 2
    peer = both["mediapipe 0"]["hands"]["auto"]
    assert (peer["found"], peer["read"], peer["side_share"]) == (1, 2, 0.5) and peer["mean"] < 1e-3
    assert peer["not_found"] == {"no_hand": 1} and peer["unreadable"] == 0
    table = capsys.readouterr().out
    assert "mediapipe 0 " in table and "jittered mean" in table

    twice = [models.landmarks, str(other)]  # two files that give themselves one name
    given = ["accuracy", str(data), "--part", "real-3d", "--model", *twice, "--finder", models.finder]
    assert main(given) == 2 and "Two models are called" in capsys.readouterr().err
    assert main(argv(data, models, "--part", "real-3d", "--peer", str(tmp_path / "none"))) == 2
    error = capsys.readouterr().err
    assert "give --peer the python" in error and error.count("\n") == 1  # at once, not after our own part
    assert main(argv(data, models, "--part", "webcam", "--peer", sys.executable)) == 2
    assert "--peer is measured on real-3d" in capsys.readouterr().err


def test_jittered_hands_are_read_in_a_cut_out_that_is_off(data, models, monkeypatch):
    def mean(share: float) -> float:
        """Of cut-outs that are moved by so much of their side."""
        monkeypatch.setattr(photographs, "off", lambda crop, rng: replace(crop, x=crop.x + share * crop.size))
        return photographs.real_3d(data / "real_3d", models)["hands"]["auto"]["jittered"]["mean"]

    assert mean(1.5) > 2 * mean(0.0)  # there is nothing of the hand in it


def test_a_damaged_photograph_is_no_miss_of_the_peers(data, models, tmp_path, monkeypatch, capsys):
    """As it is none of ours: both have one photograph, and say that another cannot be read."""
    (data / "real_3d/images/1.png").write_bytes(b"none")
    script = tmp_path / "peer.py"
    script.write_text(
        "import json, sys\nfiles = json.load(open(sys.argv[1]))['files']\n"
        "said = {'landmarks': [None] * len(files), 'sides': [None] * len(files)}\n"
        "json.dump(said | {'versions': {'mediapipe': '0'}}, open(sys.argv[2], 'w'))"
    )
    monkeypatch.setattr(photographs, "PEER", script)
    out = tmp_path / "out.json"
    assert main(argv(data, models, "--part", "real-3d", "--peer", sys.executable, "--json", str(out))) == 0
    for figures in json.loads(out.read_text())["parts"]["real-3d"].values():
        for r in figures["hands"].values():
            assert (r["read"], r["unreadable"]) == (1, 1)
    assert capsys.readouterr().out.count("1 photographs cannot be read") == 3


def test_what_is_missing_and_what_cannot_be_read_are_told_apart(data, models):
    """A damaged photograph without a label is no missing one."""
    images = data / "webcam_hands/images"
    for name in ("unlabelled_1.png", "a_1.png"):
        (images / name).write_bytes(b"none")
    (images / "b_c_0.png").unlink()
    r = finding.webcam(data / "webcam_hands", models, set())
    assert (r["unreadable"], r["missing"], r["unlabelled"]) == (2, 1, 0)
    assert r["groups"]["all"]["photographs"] == 2


def test_the_peers_script_stands_alone():
    """Environments of others have nothing but what they need: what is imported at once is Python's own."""
    tree = ast.parse(photographs.PEER.read_text())
    names = [alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names]
    names += [str(node.module) for node in tree.body if isinstance(node, ast.ImportFrom)]
    assert "json" in names and {name.split(".")[0] for name in names} <= sys.stdlib_module_names


def session(bend: float, n: int = 60) -> np.ndarray:
    """Canonical landmarks (N, 21, 3) of one posture."""
    noise = np.random.default_rng(0).normal(0, 0.02, (n, 21, 3)) * (np.arange(21) > 0)[:, None]
    return (hands.template(bend) + noise).astype(np.float32)


def test_the_exercise_stage_fits_postures_in_a_process_of_its_own():
    pytest.importorskip("skl2onnx")
    far = {label: session(bend) for label, bend in hands.BENDS.items()}
    judged = sessions._judged(sessions._fit(far), far)
    assert len(judged) == 180 and all(label == near for label, near, _ in judged)
    assert sum(label == said for label, _, said in judged) > 170


def test_own_fit_judges_all_and_each_half_by_the_other(tiny_exercise, monkeypatch):
    fitted = []

    def fit(given):
        fitted.append({label: len(rows) for label, rows in given.items()})
        return Exercise(model.read(tiny_exercise, "exercise"))

    monkeypatch.setattr(sessions, "_fit", fit)
    given = {"open": session(0.0), "fist": np.concatenate([session(1.0), session(0.0)[:5]])}
    r = sessions.own_fit(given, {"open": 60, "fist": 65})
    assert fitted == [{"open": 60, "fist": 65}, {"open": 30, "fist": 33}, {"open": 30, "fist": 32}]
    for part in ("all", "halves"):
        assert r[part]["frames"] == 125 and r[part]["cluster_share"] == 0.96
        assert r[part]["confusion"] == {"open": {"open": 60}, "fist": {"fist": 60, "open": 5}}
        assert r[part]["said_share"] <= 0.96
    # Frames in which no hand was found are failures, as in every other share.
    r = sessions.own_fit(given, {"open": 85, "fist": 65})
    for part in ("all", "halves"):
        assert r[part]["frames"] == 150 and r[part]["cluster_share"] == 0.8
        assert r[part]["confusion"]["open"] == {"open": 60, NOT_FOUND: 25}

    def refuse(given):
        raise runner.ChildError("died", "too few frames")

    monkeypatch.setattr(sessions, "_fit", refuse)
    assert sessions.own_fit(given, {"open": 60, "fist": 65}) == {"failed": "too few frames"}


def test_a_fit_that_hangs_is_a_sentence(monkeypatch):
    def hang(command, **more):
        raise subprocess.TimeoutExpired(command, more["timeout"])

    monkeypatch.setattr(subprocess, "run", hang)
    assert sessions.own_fit({"open": session(0.0)}, {"open": 60}) == {"failed": "no exercise after 600 s"}


def test_jitter_counts_pairs_of_neighbours_and_weighs_sessions_by_them():
    hand = np.tile(hands.template(0.0), (5, 1, 1)).astype(np.float32)
    moving = hand.copy()
    moving[1::2, 8, 2] += 0.21
    number = np.array([0, 1, 2, 7, 8])  # three pairs: frames 3 to 6 showed no hand
    seen = {
        "still": Watched(np.arange(5), hand, hand, 30.0),
        "moving": Watched(number, moving, hand, 30.0),
        "alone": Watched(np.array([4]), hand[:1], hand[:1], 30.0),
    }
    r = sessions.still_hand(seen)
    assert r["pairs"] == {"still": 4, "moving": 3, "alone": 0}
    assert r["raw"]["sessions"] == {"still": 0, "moving": pytest.approx(0.01, abs=1e-5)}
    assert r["raw"]["mean"] == pytest.approx(0.03 / 7, abs=1e-4) and r["smooth"]["mean"] == 0


def test_no_praise_without_a_hand(models, tmp_path):
    rooms = tmp_path / "hdri"
    rooms.mkdir()
    sky = np.random.default_rng(0).random((64, 128, 3)).astype(np.float32)
    cv2.imwrite(str(rooms / "room.hdr"), sky)
    (rooms / "broken.hdr").write_bytes(b"none")
    clips = finding.empty_clips(rooms, frames=6)
    for name, clip in clips.items():
        images = list(clip())
        assert len(images) == (1 if name == "places" else 6)
        assert all(i.shape == (480, 640, 3) and i.dtype == np.uint8 and i.flags.c_contiguous for i in images)
        assert name == "places" or not np.array_equal(images[0], images[-1])
    (tmp_path / "none").mkdir()
    (tmp_path / "none/broken.hdr").write_bytes(b"none")
    nowhere = finding.empty(models, tmp_path / "none", frames=1)
    assert nowhere["modes"]["still"]["places"]["frames"] == 0 and tables.lines("empty", {"tiny": nowhere})
    result = finding.empty(models, rooms, frames=6)
    assert set(result["modes"]["still"]) == set(clips)
    # The tiny finder takes colours for hands, so only what it cannot see is asserted.
    assert result["modes"]["tracked"]["blank"] == {"frames": 6, "found": 0, "posture": 0, "praise": 0}
    assert result["modes"]["still"]["blank"]["false_finds"] == 0
    assert result["frames"] == 31 and result["false_finds_per_frame"] == round(result["false_finds"] / 31, 4)
    assert result["praise"] == sum(r["praise"] for rows in result["modes"].values() for r in rows.values())


def test_the_places_that_join_in_are_named(data, models, tmp_path, monkeypatch):
    monkeypatch.setattr(accuracy, "empty", lambda models, rooms: {"failed": f"{rooms.name}"})
    (data / "assets/hdri").mkdir(parents=True)
    out = tmp_path / "out.json"
    assert main(argv(data, models, "--part", "empty", "--json", str(out))) == 1
    content = results.load(out)
    assert set(content["inputs"]) == {"DATA/assets/hdri"}
    assert [r["failed"] for r in content["parts"]["empty"].values()] == ["hdri"]


def test_praise_for_emptiness_would_be_counted(models, monkeypatch):
    hand = hands.draw_hand(hands.blank(), 300, 230, 70)
    monkeypatch.setattr(finding, "empty_clips", lambda rooms, frames: {"hand": lambda: iter([hand] * 2)})
    result = finding.empty(models)
    assert result["praise"] == 4
    assert "4 frames without a hand are praised" in tables.lines("empty", {"tiny": result})[0]


def test_a_part_without_data_is_skipped_by_name(data, models, capsys):
    shutil.rmtree(data / "webcam_hands")
    shutil.rmtree(data / "teacher_sessions")
    assert main(argv(data, models)) == 0
    out = capsys.readouterr().out
    for part in ("webcam", "teacher", "latency"):
        assert f"{part}: skipped, {data / accuracy.FOLDERS[part]} is missing" in out
    assert main(argv(data, models, "--part", "real-3d", "--part", "teacher")) == 1
    (data / "teacher_sessions/other").mkdir(parents=True)
    assert main(argv(data, models, "--part", "teacher")) == 1
    assert "none of the folders open, almost, fist" in capsys.readouterr().out


def test_a_session_that_cannot_be_timed_is_no_number(data, models, monkeypatch, capsys):
    monkeypatch.setattr(runner, "CHILD", (sys.executable, "-c", "pass"))
    run = runner.run
    monkeypatch.setattr(runner, "run", lambda case, timeout: run(case, timeout, runner.CHILD))
    assert main(argv(data, models, "--part", "latency")) == 1
    assert "latency: failed, almost: it left no result" in capsys.readouterr().out


def test_no_exercise_is_needed_where_none_judges(data, models, capsys):
    models = Models(models.landmarks, models.finder, "no-such-exercise")
    assert main(argv(data, models, "--part", "webcam", "--part", "real-3d")) == 0
    assert main(argv(data, models, "--part", "empty")) == 2
    assert "no-such-exercise" in capsys.readouterr().err


def test_bad_input_is_one_sentence(data, models, tmp_path, capsys):
    empty = tmp_path / "empty"
    empty.mkdir()
    for given, says in (
        (argv(tmp_path / "nothing", models), "nothing does not exist"),
        (argv(empty, models), "has no folder real_3d or teacher_sessions or webcam_hands"),
        (argv(data, models, "--part", "webcam", "--held-out", str(empty)), "--held-out"),
        (argv(data, models, "--json", str(tmp_path / "no/x.json")), "does not exist"),
        (argv(data, Models("no-such-model", models.finder, models.exercise)), "no-such-model"),
    ):
        assert main(given) == 2, given
        error = capsys.readouterr().err.splitlines()
        assert says in error[-1] and len([line for line in error if not line.startswith("[")]) == 1
    with pytest.raises(SystemExit):
        main(argv(data, models, "--part", "other"))


def test_what_fails_is_named_and_the_others_go_on(data, models, tmp_path, monkeypatch, capsys):
    """A part whose data are damaged, and a peer that does not run."""
    out = tmp_path / "accuracy.json"
    (data / "webcam_hands/boxes.csv").write_text("file,fingers\na_0.png,3\n")
    monkeypatch.setattr(photographs, "PEER", tmp_path / "none.py")
    given = ["--part", "webcam", "--part", "real-3d", "--peer", sys.executable, "--json", str(out)]
    assert main(argv(data, models, *given)) == 1
    printed = capsys.readouterr().out
    assert "webcam: failed, " in printed and "boxes.csv cannot be read" in printed
    assert "real-3d: failed, MediaPipe does not run with" in printed and "real-3d: PA-MPJPE" in printed
    content = results.load(out)
    assert content["complete"] and "failed" in content["parts"]["real-3d"]["mediapipe"]
    assert all("boxes.csv" in r["failed"] for r in content["parts"]["webcam"].values())
    (data / "real_3d/images/0.png").write_bytes(b"none")
    (data / "real_3d/images/1.png").write_bytes(b"none")
    assert main(argv(data, models, "--part", "real-3d")) == 1
    assert "real-3d: failed, None of the 2 photographs" in capsys.readouterr().out
    (data / "real_3d/joints.npz").write_bytes(b"PK none")
    assert main(argv(data, models, "--part", "real-3d")) == 1
    assert "joints.npz cannot be read" in capsys.readouterr().out


def test_an_interruption_keeps_the_parts_that_are_done(data, models, tmp_path, monkeypatch, capsys):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(accuracy, "webcam", stop)
    out = tmp_path / "accuracy.json"
    parts = ["--part", "real-3d", "--part", "webcam"]
    assert main(argv(data, models, *parts, "--json", str(out))) == 130
    assert f"the parts that were done are in {out}" in capsys.readouterr().err
    content = results.load(out)
    assert not content["complete"] and list(content["parts"]) == ["real-3d"]


def test_the_shipped_list_of_held_out_recordings():
    names = finding.read_held_out(accuracy.HELD_OUT)
    assert names and not any(name.startswith("#") or "/" in name for name in names)


def test_the_bar_appears_on_a_terminal_only(monkeypatch, capsys):
    assert list(common.progress(range(3), 3, "webcam")) == [0, 1, 2]
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert list(common.progress(range(3), 3, "webcam")) == [0, 1, 2]
    assert list(common.progress(range(3), 0, "empty")) == [0, 1, 2]
    error = capsys.readouterr().err
    assert "webcam  [##########" in error and "1/3" in error and error.endswith("\r\x1b[K")
