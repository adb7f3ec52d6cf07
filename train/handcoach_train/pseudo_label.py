"""Image points for real photographs, by MediaPipe, in an environment of its own.

MediaPipe 0.10.21 wants numpy < 2, so this file imports nothing of HandCoach and is run as a script:

    python3.11 -m venv .venv-mediapipe && .venv-mediapipe/bin/pip install mediapipe==0.10.21
    .venv-mediapipe/bin/python train/handcoach_train/pseudo_label.py PHOTOS OUT.json

OUT.json lists, for every photograph, its hands: `points` (21, 2) in pixels, `side` (of the person, in an
unmirrored picture: MediaPipe assumes a selfie, so its word is swapped), `score` 0..1 and `agreement`, the
largest distance in hand lengths between the points of the full and the lite model. Where the two disagree,
neither is to be believed.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args(argv)
    try:
        import cv2
        import mediapipe as mp
        import numpy as np
    except ImportError as error:
        print(
            f"{error.name} is missing: run this with an environment that has mediapipe==0.10.21.",
            file=sys.stderr,
        )
        return 2
    files = sorted(p for p in args.photos.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png"))
    if not files:
        print(f"{args.photos} holds no photographs.", file=sys.stderr)
        return 2

    models = [
        mp.solutions.hands.Hands(
            static_image_mode=True, max_num_hands=2, model_complexity=c, min_detection_confidence=0.3
        )
        for c in (1, 0)
    ]
    labels = {}
    for n, file in enumerate(files):
        image = cv2.imread(str(file))
        if image is None:
            continue
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
            np.array([[p.x, p.y] for p in h.landmark]) * size / k - pad
            for h in lite.multi_hand_landmarks or []
        ]
        hands = []
        for hand, kind in zip(full.multi_hand_landmarks or [], full.multi_handedness or [], strict=True):
            points = np.array([[p.x, p.y] for p in hand.landmark]) * size / k - pad
            length = np.linalg.norm(points - points[9], axis=1).max()
            gaps = [np.linalg.norm(points - other, axis=1).max() / length for other in others]
            hands.append(
                {
                    "points": points.round(2).tolist(),
                    "side": "right" if kind.classification[0].label == "Left" else "left",
                    "score": round(kind.classification[0].score, 4),
                    "agreement": round(float(min(gaps)), 4) if gaps else None,
                }
            )
        labels[file.relative_to(args.photos).as_posix()] = hands
        if n % 50 == 0 or n == len(files) - 1:
            print(f"\r{n + 1}/{len(files)}", end="", file=sys.stderr)
    partial = args.out.with_suffix(".partial")
    partial.write_text(json.dumps({"format": 1, "by": f"mediapipe {mp.__version__}", "photos": labels}))
    partial.replace(args.out)
    print(f"\n{sum(map(len, labels.values()))} hands in {len(labels)} photographs", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
