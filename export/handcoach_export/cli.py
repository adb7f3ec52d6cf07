"""`handcoach-export`: a checkpoint or a recording becomes a model file that explains itself."""

from __future__ import annotations

import argparse
import functools
import importlib
import sys
from pathlib import Path
from typing import Any

from handcoach import defaults, model
from handcoach.errors import HandCoachError, ModelError
from handcoach.texts import LANGUAGES, Texts

IMAGES = Path("tests/data/parity")

EPILOG = """\
examples:
  handcoach-export landmarks models/checkpoints/mobilenetv2.safetensors -o models/mobilenetv2.onnx
  handcoach-export finder models/checkpoints/finder.safetensors -o models/finder.onnx

  handcoach-export quantize models/checkpoints/mobilenetv2.safetensors -o mobilenetv2.onnx \\
      --data data/any data/table --photos PHOTOS/webcam_hands/images PHOTOS/sign_digits
  handcoach-export variants models/checkpoints/mobilenetv2.safetensors --out build/models --data data/any

  handcoach record stretch --label open --source 0       (hold the posture, turn the hand a little)
  handcoach record stretch --label almost --source 0
  handcoach record stretch --label fist --source 0
  handcoach-export exercise stretch -o stretch.onnx --title "Finger stretch"
  handcoach run --exercise stretch.onnx

A file is written only if the ONNX checker and HandCoach itself accept it, and if it gives what its source
gives: within 1e-4 of PyTorch on real images, within 1e-5 of scikit-learn with equal clusters. In eight-bit
integers: if it loses at most 3 % of the PA-MPJPE on labelled hands that nothing was trained or calibrated on.
"""
VARIANTS = """\
Of a network NAME it makes int8, fp16 (weights stored as halves, computed in float) and fp32 at the size that
it was trained for, and int8 and fp16 at the other sizes. OUT then holds those that are smaller, faster or
more accurate than every other one that is kept: NAME.onnx is the default, NAME-float.onnx the float one
beside it, NAME-128.onnx another size; and the table of all, with what was removed and why: variants.md for
people, variants.json for programs.

  handcoach-export variants models/checkpoints/mobilenetv2.safetensors --out build/models \\
      --data data/any data/table --photos PHOTOS/webcam_hands/images PHOTOS/sign_digits
"""
MESSAGES = """\
--messages takes a JSON file (or the name of a built-in one: {built_in}) with any of: title, instructions,
messages, colours, labels, hold_s, repetitions, rest_s, session_s, speak_s, hand, author, licence. Like this:
  {{"labels": ["open", "fist"],
    "title": {{"en": "Finger stretch", "da": "Fingerstræk"}},
    "messages": {{"open": {{"en": "Beautiful. Hold it there."}}, "fist": {{"en": "Stretch your fingers."}}}}}}
Without --messages, a recording with the labels of a built-in exercise, in its order, takes its words.
Say what to do, never that something was bad. Labels go from best to worst; without an order, the first
recorded label is the posture to reach. At least 20 frames of each of two postures are needed.
"""


LIBRARY = """\
examples:
  handcoach-export library build/library --assets ASSETS --own 20 --choose 8 --final 10 --teachers 0
  handcoach-export library build/library --assets ASSETS --ship models/exercises
  handcoach-export library build/library --model new.onnx --ship models/exercises     renders nothing: minutes

It goes on where it was stopped. Renderings take half a second of one core each and depend on no model; what
was read of them is kept by the models' content.
"""


def parser() -> argparse.ArgumentParser:
    from handcoach_export.exercise import WEIGHTS, built_in

    raw = argparse.RawDescriptionHelpFormatter
    top = argparse.ArgumentParser(
        prog="handcoach-export", description=__doc__.split(": ", 1)[1], epilog=EPILOG, formatter_class=raw
    )
    kinds = top.add_subparsers(
        dest="kind", required=True, metavar="landmarks|finder|quantize|variants|exercise|library"
    )
    for kind, what in (("landmarks", "landmark network"), ("finder", "hand finder")):
        sub = kinds.add_parser(kind, help=f"a trained {what} (needs torch: handcoach[export])")
        sub.add_argument("checkpoint", type=Path, help="what handcoach-train wrote")
        sub.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="the .onnx file")
        sub.add_argument(
            "--images", type=Path, default=IMAGES, metavar="DIR",
            help="real pictures on which PyTorch and ONNX must agree (%(default)s)",
        )  # fmt: skip
        sub.add_argument("--name", help="name of the model (the checkpoint's)")
        sub.add_argument("--version", help="version of the model (the checkpoint's, or 1)")
    sub = kinds.add_parser(
        "quantize", help="a landmark network in eight-bit integers, judged (handcoach[export])"
    )
    sub.add_argument("checkpoint", type=Path, help="what handcoach-train wrote")
    sub.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="the .onnx file")
    sub.add_argument("--size", type=int, metavar="PIXELS", help="side of the pictures (the checkpoint's)")
    _judged(sub)
    sub = kinds.add_parser(
        "variants", help="all variants of landmark networks: judged, timed, kept or not (handcoach[export])",
        epilog=VARIANTS, formatter_class=raw,
    )  # fmt: skip
    sub.add_argument(
        "checkpoints", type=Path, nargs="+", metavar="checkpoint", help="what handcoach-train wrote"
    )
    sub.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder for the files and the table"
    )
    sub.add_argument(
        "--precisions", nargs="+", metavar="NAME", help="some of int8, fp16, fp32 (default: all)"
    )
    sub.add_argument(
        "--sizes",
        nargs="+",
        type=int,
        metavar="PIXELS",
        help="some of 128, 144, 160, 192, 224 (default: all)",
    )
    _judged(sub)
    sub = kinds.add_parser(
        "exercise", help="a recording by `handcoach record` (needs handcoach[studio])",
        epilog=MESSAGES.format(built_in=", ".join(built_in())), formatter_class=raw,
    )  # fmt: skip
    sub.add_argument("recording", type=Path, help="folder that `handcoach record` wrote")
    sub.add_argument("-o", "--output", type=Path, metavar="FILE", help="the .onnx file")
    sub.add_argument(
        "--check", type=Path, metavar="DIR",
        help="judge the recording: print what to record again, and write report.json and pictures into DIR",
    )  # fmt: skip
    sub.add_argument(
        "--lang",
        choices=LANGUAGES,
        default="en",
        help="language of its findings and pictures (default: %(default)s)",
    )
    sub.add_argument("--messages", metavar="FILE.json", help="words and settings, see below")
    sub.add_argument("--title", help="title in English; others by --messages")
    sub.add_argument("--name", help="name of the exercise (the file's)")
    sub.add_argument("--labels", nargs="+", metavar="LABEL", help="the postures to use, best first")
    sub.add_argument("--hold", type=float, dest="hold_s", metavar="S", help="seconds to hold (3)")
    sub.add_argument("--repetitions", type=int, metavar="N", help="of the posture in a session (5)")
    sub.add_argument(
        "--rest", type=float, dest="rest_s", metavar="S", help="seconds of rest between (3; 2 at least)"
    )
    sub.add_argument(
        "--session", type=float, dest="session_s", metavar="S", help="seconds that a session may last (900)"
    )
    sub.add_argument(
        "--speak",
        type=float,
        dest="speak_s",
        metavar="S",
        help="seconds between two corrections at least (0)",
    )
    sub.add_argument(
        "--hand", choices=("either", "left", "right"), help="the hand that is exercised (either)"
    )
    sub.add_argument(
        "--fingers", nargs="+", metavar="FINGER",
        help="look at these only: thumb, index, middle, ring, little (default: all)",
    )  # fmt: skip
    sub.add_argument(
        "--kept-axes", metavar="AXES",
        help="how the hand is turned counts: x keeps where it points, z where the palm looks, xyz all of it",
    )  # fmt: skip
    sub.add_argument(
        "--weights", choices=WEIGHTS,
        help="of how many people the recording is (default: few; many: ten or more): so much it says of what "
        "differs between hands of one posture, which then counts less; equal, as with --paper: all alike",
    )  # fmt: skip
    sub.add_argument(
        "--paper", action="store_true",
        help="one k-means with scikit-learn's defaults, as the paper's: a cluster for each posture",
    )  # fmt: skip
    sub.add_argument("--author", help="who made it, for the patient to see")
    sub.add_argument("--licence", help="of the exercise, for whoever passes it on")
    _library(kinds, raw)
    return top


def _judged(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--data", type=Path, nargs="+", required=True, metavar="DIR",
        help="rendered hands, split by sequence as in training: calibrated on the training split, chosen on "
        "validation, judged on test",
    )  # fmt: skip
    sub.add_argument(
        "--variant", metavar="NAME",
        help="HanCo's or FreiHAND's picture variant (default: what the checkpoint was trained on)",
    )  # fmt: skip
    sub.add_argument(
        "--photos", type=Path, nargs="+", default=[], metavar="DIR",
        help="photographs to calibrate on as well; what training holds back is left out",
    )  # fmt: skip
    sub.add_argument(
        "--count", type=int, default=400, metavar="N", help="hands to judge on (default %(default)s)"
    )
    sub.add_argument(
        "--images", type=Path, default=IMAGES, metavar="DIR",
        help="real pictures on which PyTorch and ONNX are compared (%(default)s)",
    )  # fmt: skip


def _library(kinds: Any, raw: Any) -> None:
    sub = kinds.add_parser(
        "library", help="the starter library, rendered, recorded, built and judged (needs handcoach[all])",
        epilog=LIBRARY, formatter_class=raw,
    )  # fmt: skip
    sub.add_argument(
        "work", type=Path, help="folder of what is made on the way; everything that fits is kept"
    )
    sub.add_argument(
        "--assets", type=Path, metavar="DIR",
        help="makehuman_skins/, hdri/ and godot_hands/; left out: nothing is rendered, what is there is used",
    )  # fmt: skip
    sub.add_argument(
        "--own", type=int, default=240, metavar="N", help="frames of each posture to record (%(default)s)"
    )
    sub.add_argument("--choose", type=int, default=120, metavar="N", help="to choose by (%(default)s)")
    sub.add_argument(
        "--final", type=int, default=120, metavar="N", help="to judge by in the end (%(default)s)"
    )
    sub.add_argument(
        "--teachers", type=int, default=40, metavar="N", help="of each of four single teachers (%(default)s)"
    )
    sub.add_argument(
        "--workers", type=int, default=1, metavar="N", help="processes that render (%(default)s)"
    )
    sub.add_argument(
        "--model", default=defaults.LANDMARKS, metavar="NAME|FILE", help="landmark model (%(default)s)"
    )
    sub.add_argument("--finder", default=defaults.FINDER, metavar="NAME|FILE", help="finder (%(default)s)")
    sub.add_argument("--ship", type=Path, metavar="DIR", help="put what passes, and library.md, here")


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    try:
        if args.kind == "library":
            return _make_library(args)
        if args.kind == "exercise" and args.check and not _check(args):
            return 1
        if args.kind == "exercise" and args.output is None:
            if args.check:
                return 0
            raise HandCoachError("Say what to make: -o FILE for an exercise, --check DIR for a verdict.")
        if args.kind in ("quantize", "variants"):
            return _variants(args)
        was_signed = args.kind == "exercise" and _is_signed(args.output)
        meta = _exercise(args) if args.kind == "exercise" else _network(args)
    except HandCoachError as error:
        print(error, file=sys.stderr)
        return 2
    except OSError as error:  # a full disk, a folder that is none or not ours
        where = f"{error.filename}: " if error.filename else ""
        print(f"{where}{error.strerror or error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    parity = meta["parity"]
    what = "hands" if args.kind == "exercise" else "images"
    print(
        f"{args.output}: {meta['kind']} {meta['name']}, opset {meta['opset']}, "
        f"within {parity['max_abs']:.1e} of {parity['against']} on {parity['images']} {what}"
    )
    if args.kind == "exercise":
        from handcoach.exercise_file import bounds

        quality = meta["quality"]
        frames = ", ".join(f"{count} {label}" for label, count in quality["frames"].items())
        print(f"frames: {frames}; {quality['method']}, clusters {', '.join(meta['clusters'])}")
        print(f"held-out frames right: {quality['accuracy_held_out']:.1%}; {bounds(meta['unsure'])}")
        best, *others = meta["labels"]
        print(f"to reach and hold: {best}, coming from {', '.join(others)} (--labels names them, best first)")
        if was_signed:
            print(f"the older file was signed: sign this one with handcoach exercise sign {args.output}")
    return 0


def _variants(args: argparse.Namespace) -> int:
    variants = _needing_torch("variants")
    hands = functools.partial(variants.gather, args.data, args.photos, args.count, args.variant)
    if args.kind == "quantize":
        row = variants.quantize(args.checkpoint, args.output, hands, args.images, args.size)
        print(
            f"{args.output}: {row.of} in int8 at {row.size} pixels, {row.bytes / 1e6:.1f} MB, "
            f"PA-MPJPE {row.pa_mpjpe:.2f} {row.unit} ({row.lost:+.2%})"
        )
        return 0
    given = {key: getattr(args, key) for key in ("precisions", "sizes") if getattr(args, key) is not None}
    print(variants.table(variants.make_all(args.checkpoints, args.out, hands, args.images, **given)))
    return 0


def _make_library(args: argparse.Namespace) -> int:
    """Make it and say what passes."""
    try:
        from handcoach_export import library
    except ModuleNotFoundError as error:
        raise HandCoachError(f'The library needs {error.name}: run pip install "handcoach[all]".') from error
    found = library.make(
        args.work, library.Assets(args.assets) if args.assets else None,
        library.Models(args.model, args.finder),
        {"own": args.own, "choose": args.choose, "final": args.final}
        | dict.fromkeys(library.TEACHERS, args.teachers), args.ship, args.workers,
    )  # fmt: skip
    passed = [name for name, figures in found.items() if library.passes(figures)]
    print(
        f"{len(passed)} of {len(found)} exercises pass: {', '.join(passed) or 'none'}; "
        f"see {args.work / 'library.md'}"
    )
    return 0


def _is_signed(path: Path) -> bool:
    try:
        return bool(model.read(path, "exercise").signed_by)
    except ModelError:  # there is none
        return False


def _exercise(args: argparse.Namespace) -> dict[str, Any]:
    from handcoach_export import exercise

    return exercise.build(args.recording, args.output, _settings(args), args.paper)


def _check(args: argparse.Namespace) -> bool:
    """Print the verdict on a recording; is it good enough?"""
    from handcoach_export import exercise

    report = exercise.check(args.recording, args.check, _settings(args), args.lang, paper=args.paper)
    texts = Texts(args.lang, "studio")
    print(", ".join(f"{count} frames of {label}" for label, count in report.frames.items()))
    for finding in report.findings:
        print(f"{'REFUSED' if finding.refuses else 'warning'}: {finding.say(texts)}")
    if report.measured:
        shown = report.measured
        clusters = shown["clusters"]
        print(
            f"held-out frames right: {shown['accuracy_held_out']:.1%} by {shown['held_out_by']} "
            f"(joint-angle rule {shown['angle_rule_held_out']:.1%}); "
            f"clusters by the elbow {clusters['elbow']}, by silhouette "
            f"{clusters['silhouette']}, postures {clusters['labels']}"
        )
    print(f"{'Good enough' if report.good else 'Not good enough'} for an exercise; report in {args.check}")
    return report.good


def _settings(args: argparse.Namespace) -> dict[str, Any]:
    from handcoach_export import exercise

    settings = exercise.read_settings(args.messages) if args.messages else {}
    for key in ("name", "labels", "hold_s", "repetitions", "rest_s", "session_s", "speak_s", "hand",
                "fingers", "kept_axes", "weights", "author", "licence"):  # fmt: skip
        if getattr(args, key) is not None:
            settings[key] = getattr(args, key)
    if args.title is not None:
        # A translation of another title would be wrong beside this one.
        settings["title"] = {"en": args.title}
    return settings


def _network(args: argparse.Namespace) -> dict[str, Any]:
    return _needing_torch("networks").export(
        args.kind, args.checkpoint, args.output, args.images, name=args.name, version=args.version
    )


def _needing_torch(module: str) -> Any:
    try:
        return importlib.import_module(f"handcoach_export.{module}")
    except ModuleNotFoundError as error:
        raise HandCoachError(
            f'Exporting a network needs {error.name}: run pip install "handcoach[export]".'
        ) from error
