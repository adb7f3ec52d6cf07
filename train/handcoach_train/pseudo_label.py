"""Image points for real photographs, by MediaPipe, in an environment of its own.

MediaPipe 0.10.21 wants numpy < 2, so this file imports nothing of HandCoach and is run as a script; the
command `handcoach-train pseudo-label` makes the environment and does that. By hand:

    python3.11 -m venv .venv-mediapipe && .venv-mediapipe/bin/pip install mediapipe==0.10.21
    .venv-mediapipe/bin/python train/handcoach_train/pseudo_label.py PHOTOS OUT.json

OUT.json lists, for every photograph, its hands: `points` (21, 2) in pixels, `world` (21, 3) in metres about
the hand's centre (MediaPipe's guess: its depth is its weak side), `side` (of the person, in an unmirrored
picture: MediaPipe assumes a selfie, so its word is swapped), `score` 0..1 and `agreement`, the largest
distance in hand lengths between the points of the full and the lite model. Where the two disagree, neither is
to be believed.

What is done already is not done again: labels go one by one into OUT.json.lines, and photographs that an
older OUT.json has are taken from it.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
from pathlib import Path

SUFFIXES = (".jpg", ".jpeg", ".png")
models: list = []


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--processes", type=int, default=1)
    args = parser.parse_args(argv)
    try:
        import mediapipe as mp
    except ImportError as error:
        print(
            f"{error.name} is missing: run this with an environment that has mediapipe==0.10.21.",
            file=sys.stderr,
        )
        return 2
    names = sorted(
        p.relative_to(args.photos).as_posix() for p in args.photos.rglob("*") if p.suffix.lower() in SUFFIXES
    )
    if not names:
        print(f"{args.photos} holds no photographs.", file=sys.stderr)
        return 2

    by = f"mediapipe {mp.__version__}"
    lines = args.out.with_name(args.out.name + ".lines")
    labels = done_already(args.out, lines, by)
    todo = [n for n in names if n not in labels]
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with (
        lines.open("a", encoding="utf-8") as file,
        multiprocessing.get_context("spawn").Pool(max(1, args.processes), start) as pool,
    ):
        work = pool.imap_unordered(label, [(str(args.photos), name) for name in todo], chunksize=4)
        for n, (name, hands) in enumerate(work):
            labels[name] = hands
            file.write(json.dumps([by, name, hands]) + "\n")
            if n % 50 == 0 or n == len(todo) - 1:
                file.flush()
                print(f"\r{n + 1}/{len(todo)}", end="", file=sys.stderr, flush=True)
    labels = {name: labels[name] for name in names if labels[name] is not None}
    partial = args.out.with_name(args.out.name + ".partial")
    partial.write_text(json.dumps({"format": 1, "by": by, "photos": labels}), encoding="utf-8")
    partial.replace(args.out)
    lines.unlink()
    print(f"\n{sum(map(len, labels.values()))} hands in {len(labels)} photographs", file=sys.stderr)
    return 0


def done_already(out: Path, lines: Path, by: str) -> dict:
    """Labels of an earlier run of the same MediaPipe: of a finished one and of one that was stopped."""
    labels = {}
    try:
        old = json.loads(out.read_text(encoding="utf-8"))
        if old.get("by") == by:
            # Labels from before `world` was kept are made anew.
            labels = {n: h for n, h in old["photos"].items() if all("world" in hand for hand in h)}
    except (OSError, ValueError, AttributeError, KeyError):
        pass
    try:
        written = lines.read_text(encoding="utf-8").splitlines()
    except OSError:
        return labels
    for line in written:
        try:
            whose, name, hands = json.loads(line)
        except ValueError:  # the line at which it was stopped
            continue
        if whose == by:
            labels[name] = hands
    return labels


def start() -> None:
    """Once per process: the full and the lite model."""
    import cv2
    import mediapipe as mp

    cv2.setNumThreads(1)
    models[:] = [
        mp.solutions.hands.Hands(
            static_image_mode=True, max_num_hands=2, model_complexity=c, min_detection_confidence=0.3
        )
        for c in (1, 0)
    ]


def label(work: tuple[str, str]) -> tuple[str, list | None]:
    """The hands of one photograph; None for a broken file."""
    import cv2
    import numpy as np

    folder, name = work
    image = cv2.imread(str(Path(folder) / name))
    if image is None:
        return name, None
    height, width = image.shape[:2]
    # Room around the picture and enough pixels: the palm detector misses hands that fill a thumbnail.
    pad = max(height, width) // 4
    k = max(1.0, 400 / max(height, width))
    padded = cv2.copyMakeBorder(image, pad, pad, pad, pad, cv2.BORDER_REPLICATE)
    padded = cv2.cvtColor(
        cv2.resize(padded, None, fx=k, fy=k, interpolation=cv2.INTER_CUBIC), cv2.COLOR_BGR2RGB
    )
    size = np.array([padded.shape[1], padded.shape[0]])
    full, lite = (model.process(padded) for model in models)
    others = [
        np.array([[p.x, p.y] for p in h.landmark]) * size / k - pad for h in lite.multi_hand_landmarks or []
    ]
    hands = []
    for hand, world, kind in zip(
        full.multi_hand_landmarks or [],
        full.multi_hand_world_landmarks or [],
        full.multi_handedness or [],
        strict=True,
    ):
        points = np.array([[p.x, p.y] for p in hand.landmark]) * size / k - pad
        length = np.linalg.norm(points - points[9], axis=1).max()
        gaps = [np.linalg.norm(points - other, axis=1).max() / length for other in others]
        hands.append(
            {
                "points": points.round(2).tolist(),
                "world": [[round(p.x, 5), round(p.y, 5), round(p.z, 5)] for p in world.landmark],
                "side": "right" if kind.classification[0].label == "Left" else "left",
                "score": round(kind.classification[0].score, 4),
                "agreement": round(float(min(gaps)), 4) if gaps else None,
            }
        )
    return name, hands


if __name__ == "__main__":
    sys.exit(main())
