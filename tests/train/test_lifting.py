"""3D guessed for photographs: by our networks and MediaPipe together, and only where the two agree."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")

from tiny.hands import blank, draw_hand, points, template

from handcoach.angles import flexion
from handcoach.hand import mirror
from handcoach.measure import pa_mpjpe
from handcoach_train import data
from handcoach_train.cli import main
from handcoach_train.errors import TrainError
from handcoach_train.lifting import lift


def photograph(folder, name: str, bend: float, world: np.ndarray, *, roll=0.0, left=False, agreement=0.01):
    """A photograph of the hand that the tiny network knows, and its label with these world landmarks."""
    how = {"bend": bend, "roll": roll, "left": left}
    folder.mkdir(exist_ok=True)
    cv2.imwrite(str(folder / name), draw_hand(blank(), 300, 250, 90, **how)[..., ::-1])
    where = points(300, 250, 90, **how)
    return {"points": where.tolist(), "world": (0.09 * world).tolist(),
            "side": "left" if left else "right", "score": 0.9, "agreement": agreement}  # fmt: skip


def labels(file, **photos):
    file.write_text(
        json.dumps({"format": 1, "by": "test", "photos": {f"{k}.png": [v] for k, v in photos.items()}})
    )
    return file


def turned(landmarks: np.ndarray, roll: float) -> np.ndarray:
    c, s = np.cos(roll), np.sin(roll)
    return landmarks @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])


def said(file) -> list[dict]:
    return [hand for hands in json.loads(file.read_text())["photos"].values() for hand in hands]


@pytest.mark.parametrize(("roll", "left"), [(0.0, False), (0.7, False), (-0.5, True)])
def test_where_both_agree_the_guess_is_what_they_say(tmp_path, tiny_landmarks, roll, left):
    truth = template(0.5)
    seen = turned(mirror(truth) if left else truth, roll)
    # MediaPipe's word may be turned in space: only the posture of it counts.
    tilt = np.array([[1, 0, 0], [0, 0.8, -0.6], [0, 0.6, 0.8]])
    label = photograph(tmp_path / "p", "a.png", 0.5, seen @ tilt, roll=roll, left=left)
    out = tmp_path / "out.json"
    assert lift(labels(tmp_path / "l.json", a=label), tmp_path / "p", [tiny_landmarks], out) == 1
    (hand,) = said(out)
    assert hand["doubt"] < 0.05 and hand["points"] == label["points"]
    np.testing.assert_allclose(hand["lifted"], seen, atol=0.12)


def test_the_guess_lies_between_the_two(tmp_path, tiny_landmarks):
    ours, theirs = template(0.5), template(0.8)
    label = photograph(tmp_path / "p", "a.png", 0.5, theirs)
    lift(labels(tmp_path / "l.json", a=label), tmp_path / "p", [tiny_landmarks] * 2, tmp_path / "out.json")
    (hand,) = said(tmp_path / "out.json")
    apart = pa_mpjpe(theirs, ours)
    assert hand["doubt"] == pytest.approx(apart, abs=0.04)
    lifted = np.array(hand["lifted"])
    assert pa_mpjpe(lifted, ours) < 0.75 * apart and pa_mpjpe(lifted, theirs) < 0.75 * apart
    assert np.linalg.norm(lifted[9]) == pytest.approx(1, abs=1e-3) and not lifted[0].any()


def test_hands_whose_points_are_in_doubt_are_left_alone(tmp_path, tiny_landmarks):
    label = photograph(tmp_path / "p", "a.png", 0.0, template(0), agreement=0.9)
    file = labels(tmp_path / "l.json", a=label)
    assert lift(file, tmp_path / "p", [tiny_landmarks], file) == 0
    assert said(file) == [label]


def test_a_lifted_hand_is_learnt_from_as_a_guess_unless_in_doubt_or_bent(tmp_path, tiny_landmarks):
    """In training the guess lies in the cut-out's axes, and never counts as known. Of fists both may be wrong
    alike."""
    photos = tmp_path / "p"
    file = labels(
        tmp_path / "l.json",
        a=photograph(photos, "a.png", 0.5, turned(mirror(template(0.5)), 0.4), roll=0.4, left=True),
        b=photograph(photos, "b.png", 0.0, template(1.0)),
        c=photograph(photos, "c.png", 0.9, template(0.9)),
    )
    lift(file, photos, [tiny_landmarks], file)
    assert said(file)[2]["doubt"] < data.photos.DOUBT
    assert flexion(template(0.5)).sum(-1).mean() < data.photos.BENT < flexion(template(0.9)).sum(-1).mean()
    samples = data.photo_samples(data.load_photos(file, photos))
    assert samples.lifted.tolist() == [True, False, False]
    samples = samples.take(np.array([0, 1]))
    assert data.join([samples, samples]).take(np.array([2, 3])).lifted.tolist() == [True, False]
    items = data.LandmarkSet(samples, 64, False, other_side=0.0)
    agreed, apart = items[0], items[1]
    assert (agreed["known3d"], agreed["lifted"]) == (0, 1) and (apart["known3d"], apart["lifted"]) == (0, 0)
    # The upright right hand that the network is to say, but for the jitter of the cut-out.
    assert pa_mpjpe(agreed["landmarks"], template(0.5)) < 0.05
    assert np.abs(agreed["landmarks"] - template(0.5)).mean() < 0.15
    assert not apart["landmarks"].any()


def test_shrinking_keeps_what_was_lifted(tmp_path, tiny_landmarks):
    photos = tmp_path / "p"
    file = labels(
        tmp_path / "l.json",
        a=photograph(photos, "a.png", 0.5, template(0.5)),
        b=photograph(photos, "b.png", 0.0, template(1.0)),
    )
    lift(file, photos, [tiny_landmarks], file)
    assert data.shrink(file, photos, tmp_path / "small/p") == 2
    kept = data.photo_samples(data.load_photos(tmp_path / "small/p.json", tmp_path / "small/p"))
    before = data.photo_samples(data.load_photos(file, photos))
    assert kept.lifted.tolist() == before.lifted.tolist() == [True, False]
    np.testing.assert_array_equal(kept.joints, before.joints)


def test_what_cannot_be_lifted_is_said(tmp_path, tiny_landmarks, capsys):
    label = photograph(tmp_path / "p", "a.png", 0.0, template(0))
    del label["world"]
    old = labels(tmp_path / "old.json", a=label)
    with pytest.raises(TrainError, match="has no world landmarks"):
        lift(old, tmp_path / "p", [tiny_landmarks], tmp_path / "out.json")
    for text in ("[]", '{"photos": {"a": [1]}}', '{"photos": {"a": [{}]}}'):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(TrainError, match=r"bad\.json"):
            lift(tmp_path / "bad.json", tmp_path / "p", [tiny_landmarks], tmp_path / "out.json")
    fine = labels(tmp_path / "fine.json", a=photograph(tmp_path / "p", "a.png", 0.0, template(0)))
    command = ["lift", str(fine), str(tmp_path / "p"), str(tmp_path / "out.json"), "--model"]
    assert main([*command, str(tmp_path / "none.onnx")]) == 2
    assert "none.onnx" in capsys.readouterr().err and not (tmp_path / "out.json").exists()
    assert main([*command, str(tiny_landmarks)]) == 0
    assert "1 hands" in capsys.readouterr().out
