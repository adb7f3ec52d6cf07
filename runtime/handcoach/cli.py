"""`handcoach`, the command of patients and therapists. Its names and JSON fields are a promise to others."""

from __future__ import annotations

import argparse
import errno
import io
import json
import locale
import math
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from handcoach import exercise_commands
from handcoach.defaults import EXERCISE, FINDER, LANDMARKS
from handcoach.errors import HandCoachError
from handcoach.texts import LANGUAGES

if TYPE_CHECKING:
    from handcoach.camera import Source
    from handcoach.exercise import Exercise, Posture
    from handcoach.hand import Frame, Hand
    from handcoach.pipeline import Pipeline
    from handcoach.tracker import Track

RECORD_SECONDS = 10.0
# Stills carry no time; where they are tracked as a movement, they are taken to be this far apart.
STILLS_PER_S = 30.0

_REASONS = {
    "no_hand": "no hand",
    "too_dark": "no hand: too dark",
    "too_bright": "no hand: too bright",
    "too_near": "no hand: too near",
    "too_far": "no hand: too far away",
    "half_out": "no hand: half out of view",
}

_EPILOG = """\
examples:
  handcoach studio                                 make an exercise of your own, for therapists
  handcoach demo                                   watch the coach at work, no camera needed
  handcoach run                                    exercise with camera 0
  handcoach run --exercise stretch.onnx            the file that your therapist made
  handcoach run --source 1 --hand left             another camera, the left hand
  handcoach run --no-thumb                         the thumb may do what it likes
  handcoach landmarks clip.mp4 --json              21 joints of every frame, for other programs
  handcoach assess photos/ --exercise finger-stretch
  handcoach record mine --label open --source 0    show a posture for 10 seconds
  handcoach exercise list                          exercises by name; show, check and sign exercise files
  handcoach tune                                   find the fastest model for this laptop
  handcoach doctor                                 what works here, and how to mend what does not

Ask any command for its own help: handcoach assess --help.
A research and education tool, not a medical device. No picture is stored unless you ask, nothing is sent.
"""

_STUDIO_EPILOG = """\
for therapists: describe the exercise, show each posture for ten seconds, see whether the recording is good
enough, write what the patient reads, try it, and save one file that the patient runs. What you begin is kept
in your user folder until you delete it: the joints' positions only, unless you also tick pictures.

examples:
  handcoach studio
  handcoach studio --source 1 --lang da

Checking and saving need more than recording: pip install "handcoach[studio]".
"""

_LANDMARKS_EPILOG = """\
fields of --json, one object per line for every frame:
  index      number of the frame, from 0
  file       path of the image (folders and images only)
  t          seconds since the start (stills: 0; with --tracked: index / 30)
  found      whether there is a hand
and where there is one:
  side       left or right, the person's own
  score      0 to 1, how sure it is that this is a hand
  landmarks  21 x [x, y, z]: wrist at 0, wrist to middle knuckle is 1; x right, y down, z away from the camera
  points     21 x [x, y] in pixels
  flexion    index, middle, ring, little: degrees of MCP, PIP and DIP, 0 straight; null without a palm

example:
  handcoach landmarks clip.mp4 --json | head -1
"""

_TUNE_EPILOG = """\
The first `handcoach run` does this by itself, in the background; `handcoach doctor` shows the choice. It is
made anew when HandCoach, its models or the laptop change. --model and --threads of the other commands
overrule it. What is stored is one small file with these times, in {folder}

examples:
  handcoach tune
  handcoach tune --fps 60 --json      for a faster camera, as one JSON object
"""

_ASSESS_EPILOG = """\
fields of --json: those of `handcoach landmarks`, and
  posture    one of the exercise's labels, or unsure; null without a hand
and where there is a hand:
  cluster    number of the nearest cluster (-1: none)
  distances  to every cluster, in units of wrist to middle knuckle
  margin     0 to 1, how much nearer this posture is than the next one
  message    what the coach says

example:
  handcoach assess photos/ --exercise finger-stretch
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the exit code: 0, 1 where a check fails, 2 for something to mend, 130 after Ctrl-C."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by a shell, or never there as under pythonw
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A file's name may have letters that a pipe's code page lacks.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        args = parser().parse_args(argv)
        code = args.command(args)
        sys.stdout.flush()
        return int(code)
    except HandCoachError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except OSError as error:  # a folder that may not be entered, a name that is too long, a full disk
        if _nobody_reads(error):
            # The reader has seen enough (`| head`). Nothing may be flushed into the closed pipe at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        what = error.filename if error.filename is not None else "A file"
        print(f"{what} cannot be used ({error.strerror or error}): choose another.", file=sys.stderr)
        return 2


def _nobody_reads(error: OSError) -> bool:
    """Whether a pipe was closed at its other end; Windows says so by EINVAL."""
    windows = sys.platform == "win32" and error.errno == errno.EINVAL and error.filename is None
    return isinstance(error, BrokenPipeError) or windows


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = argparse.ArgumentParser(
        prog="handcoach",
        description="A coach for hand exercises that watches through the webcam.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"handcoach {_version()}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(name: str, run: Any, text: str, epilog: str | None = None) -> argparse.ArgumentParser:
        sub = commands.add_parser(
            name,
            help=text,
            description=text[0].upper() + text[1:] + ".",
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        sub.set_defaults(command=run)
        return sub

    sub = command("demo", _demo, "coach on a bundled clip; without a display, write it as a video")
    sub.add_argument(
        "--output", "--out", dest="out", metavar="FILE",
        help="write the view as this video file and open no window",
    )  # fmt: skip
    sub.add_argument("--source", metavar="FILE", help="a video in place of the bundled clip")
    _exercise(sub)
    _language(sub)

    sub = command("run", _run, "exercise with the camera, in a window")
    sub.add_argument("--source", default="0", help="camera number, video, image or folder (default: 0)")
    _exercise(sub)
    _hand(sub)
    _thumb(sub)
    _model(sub)
    _language(sub)

    sub = command(
        "studio", _studio, "make an exercise of your own, step by step, in a window", _STUDIO_EPILOG
    )
    sub.add_argument("--source", default="0", help="camera number or video (default: 0)")
    _language(sub)

    sub = command("landmarks", _landmarks, "find the 21 joints of the hand in every frame", _LANDMARKS_EPILOG)
    _reading(sub)

    sub = command("assess", _assess, "judge the hand's posture in every frame", _ASSESS_EPILOG)
    _reading(sub)
    _exercise(sub)
    _thumb(sub)
    _language(sub)

    sub = command(
        "record",
        _record,
        "add the landmarks of a source, all showing one posture, to a recording; no picture is stored",
        "example, an exercise of your own in four lines:\n"
        "  handcoach record mine --label open --source open.mp4\n"
        "  handcoach record mine --label fist --source fist.mp4\n"
        "  handcoach-export exercise mine -o mine.onnx\n"
        "  handcoach run --exercise mine.onnx\n",
    )
    sub.add_argument("out", metavar="OUT", help="folder of the recording; new, or one to add to")
    sub.add_argument("--label", required=True, help="name of the posture, for example open")
    sub.add_argument("--source", required=True, help="camera number, video, image or folder")
    sub.add_argument(
        "--seconds",
        type=_positive,
        default=RECORD_SECONDS,
        metavar="S",
        help=f"how long to record from a camera (default: {RECORD_SECONDS:g})",
    )
    sub.add_argument(
        "--replace", action="store_true", help="record the posture again: what was recorded goes"
    )
    _hand(sub)
    _models(sub)

    sub = command("exercise", None, "list, show, check, sign and verify exercise files")
    exercise_commands.add(sub, language)

    from handcoach import places

    sub = command("tune", _tune, "find the model and the number of threads that are fastest on this laptop",
                  _TUNE_EPILOG.format(folder=places.user_folder()))  # fmt: skip
    sub.add_argument("--fps", type=_positive_rate, default=None, metavar="N",
                     help="pictures a second of the camera (default: 30)")  # fmt: skip
    sub.add_argument("--json", action="store_true", help="one JSON object on standard output")

    sub = command("doctor", _doctor, "check versions, models, camera and display, with a cure for what fails")
    return top


def _version() -> str:
    try:
        return metadata.version("handcoach")
    except metadata.PackageNotFoundError:
        return "(not installed)"


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < 86400:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds above 0")
    return value


def _positive_rate(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 1 <= value <= 1000:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of pictures a second from 1 to 1000")
    return value


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 64:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of threads from 1 to 64")
    return int(text)


def _thumb(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--no-thumb", dest="thumb", action="store_false",
        help="leave the thumb out of the verdict, for a hand whose thumb cannot open; in vain where the "
        "exercise is about the thumb",
    )  # fmt: skip


def _model(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--model",
        default=None,
        metavar="NAME|FILE",
        help="landmark model: name of a shipped one or an .onnx file (default: what handcoach tune chose)",
    )
    sub.add_argument(
        "--threads", type=_count, default=None, metavar="N",
        help="processor threads for the models (default: what handcoach tune chose)",
    )  # fmt: skip


def _hand(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--hand",
        choices=("left", "right", "auto"),
        default="auto",
        help="the person's hand; auto looks for itself (default); in photographs the hand that is named is "
        "believed, not checked",
    )


def _exercise(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--exercise",
        default=EXERCISE,
        metavar="NAME|FILE",
        help="name of a shipped exercise or an .onnx file (default: %(default)s)",
    )


def _language(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--lang", choices=LANGUAGES, default=None, help="language (default: the system's)")


def _models(sub: argparse.ArgumentParser) -> None:
    _model(sub)
    sub.add_argument(
        "--finder",
        default=FINDER,
        metavar="NAME|FILE",
        help="hand finder: name of a shipped one or an .onnx file (default: %(default)s)",
    )


def _reading(sub: argparse.ArgumentParser) -> None:
    """What landmarks and assess share."""
    sub.add_argument("source", metavar="SOURCE", help="camera number, video, image or folder of images")
    _models(sub)
    _hand(sub)
    how = sub.add_mutually_exclusive_group()
    how.add_argument(
        "--still",
        dest="still",
        action="store_true",
        default=None,
        help="frames are independent (default for images and folders)",
    )
    how.add_argument(
        "--tracked",
        dest="still",
        action="store_false",
        help="frames are one movement: follow and smooth (default for videos and cameras)",
    )
    sub.add_argument("--json", action="store_true", help="one JSON object per frame on standard output")


def language(chosen: str | None) -> str:
    """The chosen language, else the system's, else English."""
    if chosen:
        return chosen
    system = os.environ.get("LC_ALL") or os.environ.get("LC_MESSAGES") or os.environ.get("LANG")
    try:
        code = (system or locale.getlocale()[0] or "en")[:2].lower()
    except ValueError:  # Python cannot read some systems' names
        code = "en"
    return code if code in LANGUAGES else "en"


# --- commands ---


def _demo(args: argparse.Namespace) -> int:
    from handcoach import demo

    return demo.main(language(args.lang), args.out, args.source, args.exercise)


def _run(args: argparse.Namespace) -> int:
    from handcoach import exercise_file, model, tune
    from handcoach.camera import is_camera
    from handcoach.ui.app import run_window

    # What was typed wrongly is said here, before a window opens; what goes wrong later is said in it.
    file = exercise_file.read(args.exercise)
    name, _, _ = tune.choice(args.model, args.threads)
    model.find(name, "landmarks")
    model.find(FINDER, "finder")
    if not is_camera(args.source):
        _open(args.source).close()
    print(f"{file.name}: {exercise_file.signature_line(file)}.")
    _warn_of_another_model(args.exercise, name)
    return run_window(args.source, args.exercise, args.hand, language(args.lang), thumb=args.thumb,
                      model=args.model, threads=args.threads)  # fmt: skip


def _tune(args: argparse.Namespace) -> int:
    from handcoach import tune

    if not args.json:
        print(f"Trying the models, {tune.BUDGET_S:g} seconds at most ...", file=sys.stderr)
    tuned = tune.tune(args.fps or tune.FPS)
    assert tuned is not None  # nobody gives up here
    print(json.dumps(asdict(tuned)) if args.json else "\n".join([*tune.lines(tuned), tune.summary(tuned)]))
    return 0


def _studio(args: argparse.Namespace) -> int:
    from handcoach import model
    from handcoach.camera import is_camera
    from handcoach.ui.studio.app import run_studio

    model.find(LANDMARKS, "landmarks")
    model.find(FINDER, "finder")
    if not is_camera(args.source):
        with _open(args.source) as source:
            if source.still:
                raise HandCoachError(f"{args.source} does not move: give a camera's number or a video.")
    return run_studio(args.source, language(args.lang))


def _doctor(args: argparse.Namespace) -> int:
    from handcoach import doctor

    return doctor.main()


def _landmarks(args: argparse.Namespace) -> int:
    from handcoach import pipeline, tune

    name, threads, _ = tune.choice(args.model, args.threads)
    with _open(args.source) as source:
        line = pipeline.load(
            None, name, args.finder, hand=args.hand, still=_still(args, source), threads=threads
        )
        return _report(source, line, as_json=args.json, lang="en")


def _warn_of_another_model(exercise: str, landmarks: str) -> None:
    from handcoach import exercise_file

    warning = exercise_file.other_model(exercise_file.read(exercise), landmarks)
    if warning:
        print(warning, file=sys.stderr)


def _assess(args: argparse.Namespace) -> int:
    from handcoach import pipeline, tune
    from handcoach.texts import Texts

    name, threads, _ = tune.choice(args.model, args.threads)
    _warn_of_another_model(args.exercise, name)
    with _open(args.source) as source:
        line = pipeline.load(
            args.exercise, name, args.finder, hand=args.hand, still=_still(args, source), threads=threads,
            thumb=args.thumb,
        )  # fmt: skip
        if line.judge.thumb_needed:
            print(Texts(language(args.lang))("thumb_needed"), file=sys.stderr)
        return _report(source, line, as_json=args.json, lang=language(args.lang))


def _record(args: argparse.Namespace) -> int:
    import numpy as np

    from handcoach import model, pipeline, quality, recorder, recording, tune

    runs, threads, _ = tune.choice(args.model, args.threads)
    name = model.family(model.read(model.find(runs, "landmarks"), "landmarks"))
    recording.check(Path(args.out), args.label, name)
    early: BaseException | None = None
    seen: list[tuple[Any, float, tuple[float, float], str]] = []  # landmarks, time, view and side
    count, other, began = 0, 0, None
    with _open(args.source) as source:
        line = pipeline.load(None, runs, args.finder, hand=args.hand, still=source.still, threads=threads)
        wait = recorder.COUNTDOWN_S if source.live else 0.0
        try:
            for frame in _with_progress(source):
                if began is None:  # the camera works
                    began = frame.t + wait
                    if source.live:
                        print(f"In {wait:g} seconds, show the posture for {args.seconds:g} seconds.",
                              file=sys.stderr)  # fmt: skip
                if source.live and frame.t - began > args.seconds:
                    break
                track, _ = line.step(frame)
                if frame.t < began:  # the hand is on its way
                    continue
                count += 1
                if track.mismatch:
                    other += 1
                elif track.hand is not None:
                    view = quality.view(frame.image, track.hand.points)
                    seen.append((track.hand.canonical, frame.t, view, track.hand.side))
        except (KeyboardInterrupt, HandCoachError) as error:  # a camera that drops out, or Ctrl-C
            if len(seen) < quality.MIN_FRAMES:
                print("It ended early, and nothing was recorded.", file=sys.stderr)
                raise
            early = error
        _tell_skipped(source)
    landmarks, times, views = ([one[n] for one in seen] for n in range(3))
    if other > len(landmarks):
        raise HandCoachError(
            f"{other} of the {count} frames of {args.source} show the other hand, and nothing was recorded: "
            f"show the {args.hand} hand, or leave out --hand."
        )
    if not landmarks:
        raise HandCoachError(
            f"No hand was found in the {count} frames of {args.source}, and nothing was recorded: show the "
            "whole hand in good light."
        )
    ((most, n),) = Counter(side for *_, side in seen).most_common(1)
    hand = most if n > 0.9 * len(landmarks) else "either"
    total = recording.add(
        args.out, args.label, np.stack(landmarks), np.array(times), hand=hand, landmark_model=name,
        view=np.array(views), replace=args.replace,
    )  # fmt: skip
    print(f"{args.label}: {len(landmarks)} of {count} frames showed a hand ({hand}).")
    if other:
        print(f"{other} frames with the other hand were left out.")
    print(f"{args.out} has {total} frames of {args.label} now.")
    if early is not None:
        print("It ended early: what was seen until then is kept.", file=sys.stderr)
        raise early
    return 0


# --- the frames of landmarks and assess ---


def _open(spec: str) -> Source:
    from handcoach.camera import open_source

    return open_source(spec)


def _still(args: argparse.Namespace, source: Source) -> bool:
    return source.still if args.still is None else bool(args.still)


def _report(source: Source, line: Pipeline, *, as_json: bool, lang: str) -> int:
    """Print every frame, then a summary; the exit code."""
    counts: Counter[str] = Counter()
    frames, began, code = 0, time.monotonic(), 0
    try:
        for frame in _with_progress(source):
            if source.still and not line.tracker.still:
                frame = replace(frame, t=frame.index / STILLS_PER_S)
            track, posture = line.step(frame)
            frames += 1
            if track.hand is None:
                counts["no hand"] += 1
            else:
                counts[posture.label if posture else "hand"] += 1
            if as_json:
                print(json.dumps(as_fields(frame, track, posture, line.exercise, lang)), flush=True)
            else:
                print(_as_text(frame, track, posture, line.exercise, lang), flush=source.live)
    except KeyboardInterrupt:  # the usual end of a camera: say what was seen until now
        code = 130
    _tell_skipped(source)
    if not as_json:
        print(_summary(frames, counts, line.exercise, time.monotonic() - began))
    return code


def as_fields(
    frame: Frame, track: Track, posture: Posture | None, exercise: Exercise | None, lang: str
) -> dict[str, Any]:
    """The JSON object of a frame; see the commands' help."""
    fields: dict[str, Any] = {"index": frame.index}
    if frame.file is not None:
        fields["file"] = frame.file
    fields |= {"t": round(frame.t, 4), "found": track.hand is not None}
    hand = track.hand
    if hand is not None:
        fields |= {
            "side": hand.side,
            "score": round(hand.score, 4),
            "landmarks": [[round(v, 5) for v in joint] for joint in hand.landmarks.tolist()],
            "points": [[round(v, 2) for v in point] for point in hand.points.tolist()],
            "flexion": _flexion(hand),
        }
    if exercise is not None:
        fields["posture"] = posture.label if posture else None
        if posture is not None:
            fields |= {
                "cluster": posture.cluster,
                "distances": [round(d, 5) if math.isfinite(d) else None for d in posture.distances.tolist()],
                "margin": round(posture.margin, 4),
                "message": exercise.message(posture.label, lang),
            }
    return fields


def _flexion(hand: Hand) -> list[list[float]] | None:
    from handcoach import angles
    from handcoach.hand import DegenerateHandError

    try:
        joints = angles.flexion(hand.canonical)
    except DegenerateHandError:
        return None
    return [[round(degrees, 1) for degrees in finger] for finger in joints.tolist()]


def _as_text(
    frame: Frame, track: Track, posture: Posture | None, exercise: Exercise | None, lang: str
) -> str:
    where = Path(frame.file).name if frame.file is not None else f"{frame.t:8.2f} s"
    start = f"{frame.index:5d}  {where}  "
    if track.hand is None:
        return start + _REASONS[track.reason or "no_hand"]
    hand = f"{track.hand.side} hand {track.hand.score:.2f}"
    if posture is None or exercise is None:
        return start + hand
    message = exercise.message(posture.label, lang)
    return f"{start}{posture.label}  (margin {posture.margin:.2f}, {hand})  {message}"


def _summary(frames: int, counts: Counter[str], exercise: Exercise | None, seconds: float) -> str:
    def share(name: str) -> str:
        return f"{name} {counts[name]} ({100 * counts[name] / max(frames, 1):.0f} %)"

    names = [*exercise.labels, "unsure"] if exercise is not None else ["hand"]
    speed = f", {frames / seconds:.0f} frames/s" if seconds > 0 else ""
    return f"{frames} frames{speed}: " + ", ".join(share(name) for name in [*names, "no hand"])


def _tell_skipped(source: Source) -> None:
    if source.skipped and not source.live:  # a camera that wakes up gives no picture for a while
        frames = "1 frame" if source.skipped == 1 else f"{source.skipped} frames"
        print(f"{frames} could not be decoded: skipped.", file=sys.stderr)


def _with_progress(source: Source) -> Iterator[Frame]:
    """The frames, with a bar on the terminal where nothing else is printed there."""
    total = source.total
    if total is None or not sys.stderr.isatty() or sys.stdout.isatty():
        yield from source
        return
    shown = 0.0
    try:
        for frame in source:
            yield frame
            now = time.monotonic()
            if now - shown > 0.1:
                shown, done = now, min(frame.index + 1, total)
                bar = "#" * (30 * done // total)
                print(f"\r[{bar:<30}] {done}/{total}", end="", file=sys.stderr, flush=True)
    finally:
        print("\r" + " " * 60 + "\r", end="", file=sys.stderr, flush=True)
