"""`handcoach-train finder`: the network that finds hands in whole frames."""

from __future__ import annotations

import argparse

from handcoach_train.commands.options import (
    edge_options,
    machine_of,
    photographs,
    provenance,
    recipe_of,
    refuse_in_vain,
    run_options,
)

# Of the people who are rendered, or of the frames where nobody tells whose hands they show.
RENDERED_HELD_OUT = 0.05


def add(commands: argparse._SubParsersAction) -> None:
    p = commands.add_parser("finder", help="train the hand finder")
    p.add_argument("--height", type=int, default=144, help="a multiple of 16 (default 144)")
    p.add_argument("--width", type=int, default=192, help="a multiple of 16 (default 192)")
    run_options(p)
    edge_options(p)
    p.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    import numpy as np

    from handcoach_train import data
    from handcoach_train.networks import check_sides
    from handcoach_train.training.edge import train
    from handcoach_train.training.recipe import FinderRecipe
    from handcoach_train.training.run import say

    machine = machine_of(args)
    check_sides(args.height, args.width)
    refuse_in_vain(args)
    recipe = recipe_of(FinderRecipe(), args, "steps", "check_every")
    # Where labels are missing, a hand that is seen would be called none.
    photos, held = ([f for f in some if f.get("complete", True)] for some in photographs(args))
    frames = [f for folder in args.frames for f in data.load_frames(folder)]
    aside = data.held_out(np.array([f["group"] for f in frames]), RENDERED_HELD_OUT)
    rendered = [f for f, out in zip(frames, aside, strict=True) if not out]
    unseen = [f for f, out in zip(frames, aside, strict=True) if out]
    config = {
        "kind": "finder", "name": args.name or "finder", "height": args.height, "width": args.width,
        "max_hands": 4,
        **provenance("frames", args.frames, [folder for _, folder in args.photos],
                     [args.start] if args.start else [], args.free_photos),
    }  # fmt: skip
    training = data.FinderSet(rendered + photos, args.height, args.width, True, recipe.seed)
    checking = data.FinderSet(unseen + held, args.height, args.width, False)
    say(f"{len(training)} training frames, {len(photos)} of them photographs, {len(checking)} for validation")
    figures = train(
        config, recipe, training, np.arange(len(training)) >= len(rendered), checking, args.out,
        machine, weights=args.weights, start=args.start,
        data={"from": [folder.name for folder in [*args.frames, *(labels for labels, _ in args.photos)]]},
    )  # fmt: skip
    say(figures)
    return 0
