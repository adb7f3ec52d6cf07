"""`handcoach-train paper-figures`: the paper's figures 9, 10 and 14 from its landmarks."""

from __future__ import annotations

import argparse
from pathlib import Path


def add(commands: argparse._SubParsersAction) -> None:
    p = commands.add_parser(
        "paper-figures", help="the paper's postures again: figures 9, 10 and 14, and across its two people"
    )
    p.add_argument("landmarks", type=Path, metavar="JSON", help="paper_landmarks.json")
    p.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder for pictures and paper.json"
    )
    p.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from handcoach_train.posture import paper

    result = paper.reproduce(args.landmarks, args.out)
    frames = result["frames"]
    print(f"{result['right_frames']} of {frames['all']} frames right ({result['right']:.1%})")
    print("the frames used: " + ", ".join(f"{frames[label]} {label}" for label in paper.LABELS)
          + "; the paper's 370, 420 and 402 add up to 1192, not to its 1174")  # fmt: skip
    clusters = result["clusters"]
    print(f"clusters by the elbow: {clusters['elbow']}, by silhouette: {clusters['silhouette']}; "
          f"one start of k-means merges postures for {result['one_start_merges']}")  # fmt: skip
    for who, what in result["across_people"].items():
        print(f"{who}: {what['right']:.1%} of {what['frames']} frames, smoothed "
              f"{what['right_smoothed']:.1%}, believed {what['right_believed']:.1%}; "
              f"{what['flips']} flips, believed {what['flips_believed']}")  # fmt: skip
    print(f"joint-angle rule across people: {result['angle_rule_held_out']:.1%}, "
          f"clusters {result['accuracy_held_out']:.1%}; pictures in {args.out}")  # fmt: skip
    return 0
