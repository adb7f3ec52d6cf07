"""`handcoach-train check-data`: what a data set holds, what of it is broken, and how it looks."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from handcoach_train.errors import TrainError

if TYPE_CHECKING:
    from handcoach_train.data import Samples

EPILOG = """\
examples:
  handcoach-train check-data HanCo --variant rgb_merged --sheet sheet.png
  handcoach-train check-data photos --labels photos.json --skip-broken
  handcoach-train check-data data/any --augmented figures/

known data sets: HanCo and renderings in its layout, FreiHAND, photographs with pseudo-labels, and any folder
with a landmarks.json:
  {"images": {"a.jpg": {"landmarks": 21 x [x, y, z], "K": 3 x 3, "hand": "right"}}}
in metres and camera axes (x right, y down, z away). "points", 21 x [x, y] in pixels, may stand in the place
of landmarks and K; "group" (what must not be split), "subject", "camera", "frame", "M" are understood too.
Or landmarks.csv: file, hand, x0, y0, z0 ... z20, fx, fy, cx, cy; or file, hand, u0, v0 ... v20.
"""


def add(commands: argparse._SubParsersAction) -> None:
    p = commands.add_parser(
        "check-data",
        help="tell what a data set holds and what of it is broken; draw a contact sheet",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=EPILOG,
    )
    p.add_argument("data", type=Path, help="folder of the data set")
    p.add_argument("--variant", help="of the pictures: rgb_merged, ...; of FreiHAND: gs, ..., evaluation")
    p.add_argument("--labels", type=Path, help="file of landmarks or pseudo-labels outside the folder")
    p.add_argument("--all", action="store_true", help="also what HanCo's meta.json calls not valid")
    p.add_argument("--no-objects", action="store_true", help="leave out HanCo's hands that hold something")
    p.add_argument("--skip-broken", action="store_true", help="count what is broken, do not stop at it")
    p.add_argument("--sheet", type=Path, help="contact sheet with the projected landmarks to write (.png)")
    p.add_argument(
        "--augmented", type=Path, help="folder for the paper's figures 4 to 7: items, augmentation"
    )

    def run(args: argparse.Namespace) -> int:
        from handcoach_train import data
        from handcoach_train.data import layouts, sheet

        print(f"{args.data}: {KINDS[data.layout(args.data, args.labels)]}")
        samples = data.load(
            args.data,
            args.variant,
            labels=args.labels,
            only_valid=not args.all,
            objects=not args.no_objects,
            skip_broken=args.skip_broken,
        )
        broken = {} if args.skip_broken else layouts.broken_pictures(samples.files)
        for line in describe(samples):
            print(line)
        if args.sheet:
            sheet.write_picture(args.sheet, sheet.contact_sheet(samples))
            print(f"contact sheet: {args.sheet}")
        if args.augmented:
            print("figures:", *sheet.figures(samples, args.augmented))
        if broken:
            raise TrainError(
                f"{len(broken)} pictures cannot be read, first: {next(iter(broken.values()))[:-1]}; "
                "--skip-broken leaves them out."
            )
        return 0

    p.set_defaults(run=run)


KINDS = {
    "hanco": "HanCo's layout",
    "freihand": "FreiHAND",
    "folder": "pictures with a file of landmarks",
    "photos": "photographs with pseudo-labels",
    "frames": "rendered full frames",
}


def describe(samples: Samples) -> list[str]:
    """What the samples are, a line for each thing."""
    import numpy as np

    from handcoach_train.data import read_image, split_by

    n = len(samples)
    people = {s for s in samples.subject if s}
    cameras = [f"{name} {count}" for name, count in sorted(Counter(samples.camera.tolist()).items()) if name]
    lines = [
        f"  hands        {n} ({int(samples.right.sum())} right, {int((~samples.right).sum())} left) in "
        f"{len(set(samples.files))} pictures of {len(set(samples.frame))} frames, "
        f"{len(set(samples.group))} sequences",
        f"  cameras      {', '.join(cameras) or 'unknown'}",
        f"  people       {len(people) or 'unknown'}",
    ]
    sizes: Counter[str] = Counter()
    outside, looked = 0.0, 0
    for i in np.random.default_rng(0).permutation(n)[:200]:
        try:
            h, w = read_image(samples.files[i]).shape[:2]
        except TrainError:
            continue
        sizes[f"{w}x{h}"] += 1
        looked += 1
        outside += float(((samples.points[i] < 0) | (samples.points[i] > [w, h])).any(1).mean())
    common = ", ".join(size for size, _ in sizes.most_common(3)) + (", ..." if len(sizes) > 3 else "")
    lines.append(f"  size         {common or 'none can be read'} (of {looked} pictures)")
    if looked:
        lines.append(
            f"  outside      {100 * outside / looked:.1f} % of the joints lie outside of these pictures"
        )
    known = np.isfinite(samples.joints).all((1, 2)) & ~samples.lifted
    guessed = f", guessed of {int(samples.lifted.sum())} more" if samples.lifted.any() else ""
    lines.append(f"  in 3D        {int(known.sum())} hands{guessed}")
    if known.any():
        joints = samples.joints[known].astype(float)
        scale = np.linalg.norm(joints[:, 9] - joints[:, 0], axis=1)
        low, middle, high = np.percentile(scale, [1, 50, 99]) * 1000
        lines.append(
            f"  scale        wrist to middle MCP {middle:.1f} mm (1 % under {low:.1f}, 1 % over {high:.1f}, "
            f"smallest {1000 * scale.min():.1f}, largest {1000 * scale.max():.1f})"
        )
        depth = np.percentile(joints[:, 0, 2], [1, 50, 99])
        lines.append(f"  distance     {depth[1]:.2f} m ({depth[0]:.2f} to {depth[2]:.2f})")
        if (scale > 0).all():
            spread = ((joints - joints[:, :1]) / scale[:, None, None]).std(0)  # (21, 3)
            tips = ", ".join(
                f"{name} {s:.2f}"
                for name, s in zip(
                    ("thumb", "index", "middle", "ring", "little"), spread[4::4].mean(1), strict=True
                )
            )
            x, y, z = spread.mean(0)
            lines.append(
                f"  spread       of landmarks, in hand lengths: x {x:.2f}, y {y:.2f}, z {z:.2f}; tips: {tips}"
            )
    for how in ("sequence", "image", "subject"):
        try:
            parts = split_by(samples, how)  # type: ignore[arg-type]
            sizes_ = " / ".join(str(len(p)) for p in parts)
            note = " (the paper's: it leaks)" if how == "image" else ""
            lines.append(f"  by {how:10}{sizes_} for training, validation and test{note}")
        except TrainError as error:
            lines.append(f"  by {how:10}not possible: {error}")
    for reason, count in samples.skipped.items():
        lines.append(f"  left out     {count} × {reason}")
    return lines
