"""Photographs from clones: by right, thinned, no copy of an evaluation picture, again without change."""

import json
import subprocess
import sys

import cv2
import numpy as np
import pytest

from handcoach_train import cli, gather, labelling
from handcoach_train.errors import TrainError


def picture(seed, size=(160, 120), shift=0):
    """A scene of blobs; seeds differ as photographs of different things do."""
    random = np.random.default_rng(seed)
    image = np.full((size[1], size[0], 3), 90, np.uint8)
    for _ in range(12):
        x, y = random.integers(0, size[0]), random.integers(0, size[1])
        colour = random.integers(0, 255, 3).tolist()
        cv2.circle(image, (int(x) + shift, int(y)), int(random.integers(8, 40)), colour, -1)
    return image


def git(folder, *words):
    who = ["-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(
        ["git", "-C", str(folder), *who, *words], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture(scope="module")
def clones(tmp_path_factory):
    """A folder of clones with two repositories: a work tree and, of the same, a bare one."""
    folder = tmp_path_factory.mktemp("clones")
    work = folder / "ann+hands"
    for name, image in {
        "ann/1.jpg": picture(1),
        "ann/2.jpg": picture(1, shift=1),  # the next frame of a burst
        "ann/3.jpg": picture(8),
        "ann/10.jpg": picture(2),
        "bob/1.png": picture(3),
        "bob/2.png": picture(4, (60, 60)),  # tiny
        "bob/3.png": np.where(picture(5)[..., :1] > 90, 255, 0).astype(np.uint8),  # a silhouette
        "bob/4.png": picture(6, (2000, 1500)),
        "notes/1.jpg": picture(7),
    }.items():
        (work / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(work / "data" / name), image)
    (work / "data" / "bob" / "5.jpg").write_bytes(b"no picture")
    (work / "LICENSE").write_text("MIT License\n\nCopyright (c) 2024\n  Ann\n", encoding="utf-8")
    git(folder, "init", "-q", "-b", "main", str(work))
    git(work, "add", ".")
    git(work, "commit", "-q", "-m", "hands")
    git(folder, "clone", "-q", "--bare", str(work), str(folder / "bare"))
    (folder / "ann+bare").mkdir()
    (folder / "bare").rename(folder / "ann+bare" / "repo")
    return folder


def source(clones, **changes):
    entry = {
        "name": "ann",
        "repository": "ann/hands",
        "commit": git(clones / "ann+hands", "rev-parse", "HEAD"),
        "licence": "MIT",
        "licence_file": "LICENSE",
        "licence_says": "Copyright (c) 2024 Ann",
        "files": ["data/*/*.jpg", "data/**/*.png"],
        "skip": ["data/notes/*"],
        "group": "data/([^/]+)/",
    }
    return gather.Source(**{**entry, **changes})


def everything(folder):
    return {p.relative_to(folder): (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.rglob("*.*")}


@pytest.mark.parametrize("repository", ["ann/hands", "ann/bare"])
def test_what_is_taken_and_what_is_not(clones, tmp_path, repository):
    counts = gather.gather([source(clones, repository=repository)], clones, tmp_path, [], False)["ann"]
    assert counts == {
        "found": 9,
        "kept": 5,
        "too like the one before": 1,
        "too small": 1,
        "a silhouette or empty": 1,
        "broken": 1,
    }
    index = json.loads((tmp_path / "index.json").read_text(encoding="utf-8"))
    photos = {p["path"]: (name, p) for name, p in index["photos"].items()}
    assert {p.removeprefix("data/") for p in photos} == {
        "ann/1.jpg", "ann/3.jpg", "ann/10.jpg", "bob/1.png", "bob/4.png",
    }  # fmt: skip
    for path, (name, photo) in photos.items():
        assert name.startswith(f"ann/{'ann' if '/ann/' in path else 'bob'}/") and name.endswith(".jpg")
        assert photo["licence"] == "MIT"
        assert max(cv2.imread(str(tmp_path / name)).shape) <= gather.LARGEST


def test_an_evaluation_picture_is_refused_as_it_is_and_mirrored(clones, tmp_path):
    evaluation = tmp_path / "evaluation"
    evaluation.mkdir()
    cv2.imwrite(str(evaluation / "a.png"), cv2.resize(picture(2)[:, ::-1], (200, 150)))
    cv2.imwrite(str(evaluation / "b.jpg"), picture(3), [cv2.IMWRITE_JPEG_QUALITY, 30])
    counts = gather.gather([source(clones)], clones, tmp_path / "out", [evaluation], False)["ann"]
    assert counts["refused: like an evaluation picture"] == 2 and counts["kept"] == 3


def test_a_second_run_changes_nothing_and_another_recipe_does(clones, tmp_path):
    gather.gather([source(clones)], clones, tmp_path, [], False)
    before = everything(tmp_path)
    counts = gather.gather([source(clones, notes="other words", people=3)], clones, tmp_path, [], False)
    assert everything(tmp_path) == before and counts["ann"]["kept"] == 5
    next(tmp_path.glob("ann/bob/*.jpg")).unlink()
    gather.gather([source(clones)], clones, tmp_path, [], False)
    assert {p: c for p, (c, _) in everything(tmp_path).items()} == {p: c for p, (c, _) in before.items()}
    gather.gather([source(clones, most=2)], clones, tmp_path, [], False)
    assert len(list(tmp_path.rglob("*.jpg"))) == 2


def test_a_copy_in_another_source_is_not_taken_twice(clones, tmp_path):
    both = [source(clones), source(clones, name="copy", repository="ann/bare")]
    counts = gather.gather(both, clones, tmp_path, [], False)
    assert counts["copy"]["kept"] == 0 and counts["copy"]["in another source"] == 6
    # The index lists 10 before 3: that is no reason to gather again.
    before = everything(tmp_path)
    gather.gather(both, clones, tmp_path, [], False)
    assert everything(tmp_path) == before
    # Gathering one source alone takes nothing from the others of the list.
    gather.gather(both[1:], clones, tmp_path, [], False, listed={"ann", "copy"})
    assert len(list(tmp_path.glob("ann/*/*.jpg"))) == 5
    # A source that is struck from the list goes from the folder.
    gather.gather(both[1:], clones, tmp_path, [], False)
    assert not list(tmp_path.glob("ann/*/*.jpg")) and len(list(tmp_path.glob("copy/*/*.jpg"))) == 5


def test_more_of_the_same_people_join_their_group(clones, tmp_path):
    """A split by people must not cut them, and what one source took the other does not take again."""
    first = source(clones, files=["data/ann/1.jpg"], skip=[])
    more = source(clones, name="ann-more", of="ann", files=["data/ann/*.jpg"], skip=[])
    counts = gather.gather([first, more], clones, tmp_path, [], progress=False)
    assert {p.parent.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.jpg")} == {"ann/ann"}
    assert counts["ann-more"]["in another source"] >= 1
    assert counts["ann-more"]["kept"] == 2
    # Gathered alone, the second takes what the first had; both together are again what they were.
    index = (tmp_path / "index.json").read_text("utf-8")
    names = {"ann", "ann-more"}
    gather.gather([more], clones, tmp_path, [], progress=False, listed=names)
    gather.gather([first, more], clones, tmp_path, [], progress=False, listed=names)
    assert (tmp_path / "index.json").read_text("utf-8") == index


def test_a_source_of_another_one_says_only_what_differs(clones, tmp_path):
    parent = source(clones)
    lines = [f"{key} = {json.dumps(getattr(parent, key))}" for key in
             ("name", *gather.OF_THE_OTHER[:5], "files", "group")]  # fmt: skip
    file = tmp_path / "sources.toml"
    more = 'name = "ann-more"\nof = "ann"\nfiles = ["data/ann/*.jpg"]\n'
    file.write_text("[[source]]\n" + "\n".join(lines) + f"\n[[source]]\n{more}", "utf-8")
    first, second = gather.read_sources(file)
    assert (second.repository, second.commit, second.group) == (first.repository, first.commit, first.group)
    assert second.files == ["data/ann/*.jpg"] and second.of == "ann"


def test_groups_blocks_and_augmented_copies(clones, tmp_path):
    one = source(clones, group="", block=2, once=r"/(\d+)\.", thin=0)
    counts = gather.gather([one], clones, tmp_path, [], False)["ann"]
    assert counts["found"] == 6  # of 1, 2, 3, 4, 5 and 10 the first each
    # 1 and 2; 3 and 10; 4 and the broken one
    assert sorted(p.parent.name for p in tmp_path.rglob("*.jpg")) == ["0", "0", "1", "1", "2"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"repository": "nobody/nothing"}, "no clone of nobody/nothing"),
        ({"commit": "0" * 40}, "lacks commit"),
        ({"licence_file": "COPYING"}, "has no COPYING"),
        ({"licence_says": "Apache License"}, "does not say"),
        ({"files": ["*.gif"]}, "no picture that matches"),
    ],
)
def test_a_source_that_is_not_as_said(clones, tmp_path, changes, words):
    with pytest.raises(TrainError, match=words):
        gather.gather([source(clones, **changes)], clones, tmp_path, [], False)
    assert not list(tmp_path.rglob("*.jpg"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[source]]\nname = 'a'\n", "missing"),
        ("[[source", "not TOML"),
        ("", "names no source"),
        ("GOOD\n[[left_out]]\nrepository = 'Ann/Hands'\nwhy = 'x'\n", "left out"),
        ("GOOD\n[[left_out]]\nwhy = 'x'\n", "lacks its repository"),
        ("GOOD\nskip = '*.jpg'\n", "lists of patterns"),
        ("GOOD\nshape = 'x'\n", "shape"),
        ("GOOD\nof = 'b'\n", "no source before it"),
        ("GOOD\nGOOD", "twice"),
        ("NC", "CC-BY-NC-4.0"),
    ],
)
def test_a_bad_list_of_sources(tmp_path, text, words):
    good = "[[source]]\n" + "".join(
        f"{key} = '{value}'\n"
        for key, value in {
            "name": "a", "repository": "ann/hands", "commit": "0" * 40, "licence": "MIT",
            "licence_file": "LICENSE", "licence_says": "MIT",
        }.items()
    ) + "files = ['*.jpg']\n"  # fmt: skip
    text = text.replace("GOOD", good).replace("NC", good.replace("MIT", "CC-BY-NC-4.0"), 1)
    file = tmp_path / "sources.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(TrainError, match=words):
        gather.read_sources(file)


def test_the_committed_list_is_sound():
    """Every source of the project names a whole commit and a permissive licence."""
    from pathlib import Path

    file = Path(gather.__file__).parents[1] / "data_sources.toml"
    sources = gather.read_sources(file)
    assert all(len(s.commit) == 40 and s.licence in gather.LICENCES for s in sources)


def test_pseudo_label_runs_the_script_with_another_python(tmp_path, monkeypatch, capfd):
    """With an own environment the script is run in it, and its failure is one sentence."""
    photos = tmp_path / "photos"
    photos.mkdir()
    (tmp_path / "mediapipe.py").write_text("__version__ = '0'\n", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    arguments = ["pseudo-label", str(photos), str(tmp_path / "out.json"), "--python", sys.executable]
    assert cli.main(arguments) == 2
    script, ours = capfd.readouterr().err.splitlines()
    assert script == f"{photos} holds no photographs." and "Labelling failed" in ours
    assert not (tmp_path / "out.json").exists()
    with pytest.raises(TrainError, match="not a folder"):
        labelling.pseudo_label(tmp_path / "nowhere", tmp_path / "out.json")
    with pytest.raises(TrainError, match="does not exist"):
        labelling.pseudo_label(photos, tmp_path / "out.json", tmp_path / "python")


def test_pseudo_label_goes_on_where_it_was_stopped(tmp_path, monkeypatch):
    """Labels that a stopped run wrote are kept, half a line is not, and another MediaPipe's are made anew."""
    photos = tmp_path / "photos" / "s" / "g"
    photos.mkdir(parents=True)
    for i in range(4):
        cv2.imwrite(str(photos / f"{i}.jpg"), picture(i))
    # A MediaPipe that finds one hand of the same 21 points in every picture.
    (tmp_path / "mediapipe.py").write_text(
        "from types import SimpleNamespace as N\n"
        "__version__ = 'tiny'\n"
        "points = N(landmark=[N(x=i / 21, y=0.5 + i % 3 / 9, z=0.0) for i in range(21)])\n"
        "class Hands:\n"
        "    def __init__(self, **settings): pass\n"
        "    def process(self, image):\n"
        "        kind = N(classification=[N(label='Left', score=0.9)])\n"
        "        return N(multi_hand_landmarks=[points], multi_hand_world_landmarks=[points],\n"
        "                 multi_handedness=[kind])\n"
        "solutions = N(hands=N(Hands=Hands))\n",
        encoding="utf-8",
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    out = tmp_path / "out.json"
    (tmp_path / "out.json.lines").write_text(
        json.dumps(["mediapipe tiny", "s/g/0.jpg", []]) + "\n"
        + json.dumps(["mediapipe other", "s/g/1.jpg", []]) + "\n" + '["mediapipe tiny", "s/g/2.j',
        encoding="utf-8",
    )  # fmt: skip
    labelling.pseudo_label(tmp_path / "photos", out, sys.executable)
    labels = json.loads(out.read_text(encoding="utf-8"))
    assert labels["by"] == "mediapipe tiny" and sorted(labels["photos"]) == [f"s/g/{i}.jpg" for i in range(4)]
    assert labels["photos"]["s/g/0.jpg"] == []  # as the stopped run found
    hand = labels["photos"]["s/g/1.jpg"][0]
    # MediaPipe means a mirrored selfie: its left is a right hand in the picture.
    assert hand["side"] == "right" and hand["agreement"] == 0
    assert np.shape(hand["points"]) == (21, 2) and np.shape(hand["world"]) == (21, 3)
    assert np.min(hand["points"], 0)[1] >= 0 and np.max(hand["points"], 0)[1] < 120  # pixels of the picture
    assert not (tmp_path / "out.json.lines").exists()
