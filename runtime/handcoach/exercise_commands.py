"""`handcoach exercise`: its arguments and what it prints. The work is done in `exercise_file.py`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

from handcoach.errors import HandCoachError

EPILOG = """\
examples:
  handcoach exercise list                                 what is there, by name
  handcoach exercise show stretch.onnx --picture it.png   what it says, and the hand to imitate
  handcoach exercise check stretch.onnx                   before it is handed to a patient
  handcoach exercise key                                  your fingerprint (makes your key the first time)
  handcoach exercise sign stretch.onnx
  handcoach exercise verify stretch.onnx --by FINGERPRINT

A signature shows that a file is as its maker signed it: one that was changed since is refused everywhere.
Tell your patients your fingerprint in person. A file without a signature runs as well, and `show` says so.
Exercises in {folder} are known by name.
Exit codes: 0 done, 1 a check failed, 2 refused (one sentence on standard error says why).
"""


def add(sub: argparse.ArgumentParser, default_language: Callable[[str | None], str]) -> None:
    """Add the commands below `handcoach exercise`.

    Args:
        default_language: the language for what --lang says, which may be None.
    """
    from handcoach import places

    sub.epilog = EPILOG.format(folder=places.exercises_folder())
    kinds = sub.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(
        name: str,
        run: Callable[[argparse.Namespace], int],
        text: str,
        what: str | None = "name or .onnx file",
    ) -> argparse.ArgumentParser:
        one = kinds.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        one.set_defaults(command=run)
        if what is not None:
            one.add_argument("file", metavar="FILE", help=what)
        return one

    def speaks(one: argparse.ArgumentParser) -> None:
        one.add_argument("--lang", type=default_language, default=default_language(None), metavar="CODE",
                         help="language, for example en or da (default: the system's)")  # fmt: skip

    one = command("list", _list, "the shipped exercises and those in your folder", None)
    one.add_argument("--json", action="store_true", help="one JSON object per exercise")
    speaks(one)
    one = command("show", _show, "what an exercise says, asks and was made from")
    one.add_argument("--json", action="store_true", help="one JSON object")
    one.add_argument("--picture", type=Path, metavar="OUT.png", help="also draw the hand to imitate")
    speaks(one)
    command("check", _check, "run an exercise and hold it against what it says of itself")
    command("sign", _sign, "sign an exercise with your key",
            "the .onnx file, or the name of one of your own; it is signed in place")  # fmt: skip
    one = command("verify", _verify, "say who signed an exercise")
    one.add_argument("--by", metavar="FINGERPRINT", help="refuse every key but this one")
    command("key", _key, "show your key's fingerprint; the first time, make the key", None)


def _list(args: argparse.Namespace) -> int:
    from handcoach import contract, exercise_file, places
    from handcoach.exercise import text_of

    entries = exercise_file.known()
    if args.json:
        for entry in entries:
            fields = exercise_file.as_fields(entry.file) if entry.file else {"file": str(entry.path)}
            found = {"known_as": entry.path.stem, "shipped": entry.shipped, "problem": entry.problem or None}
            print(json.dumps(found | fields))
        return 0
    width = max((len(entry.path.stem) for entry in entries), default=0)
    shipped = {entry.path.stem for entry in entries if entry.shipped}
    for entry in entries:
        if entry.file is None:
            print(f"{entry.path.stem:<{width}}  REFUSED: {entry.problem}")
            continue
        title = contract.one_line(text_of(entry.file.meta["title"], args.lang))
        where = "shipped" if entry.shipped else str(entry.path)
        if not entry.shipped and entry.path.stem in shipped:
            where += ", by this path: the name is a shipped exercise's"
        signed = f", signed {entry.file.signed_by}" if entry.file.signed_by else ""
        print(f"{entry.path.stem:<{width}}  {title}  ({where}{signed})")
    print(f"Your own exercises are known by name if they lie in {places.exercises_folder()}.")
    return 0


def _show(args: argparse.Namespace) -> int:
    from handcoach import exercise_file, places

    file = exercise_file.read(args.file)
    if args.picture is not None:
        try:
            places.save(args.picture, exercise_file.picture(file))
        except OSError as error:
            raise HandCoachError(
                f"{args.picture} cannot be written ({error.strerror or error}): choose another place."
            ) from error
    if args.json:
        print(json.dumps(exercise_file.as_fields(file)))
    else:
        print(exercise_file.describe(file, args.lang))
    return 0


def _check(args: argparse.Namespace) -> int:
    from handcoach import exercise_file

    worst = 0
    for check in exercise_file.check(exercise_file.read(args.file)):
        print(f"{check.level:<4}  {check.text}", file=sys.stdout if check.level == "ok" else sys.stderr)
        worst = max(worst, int(check.level == "fail"))
    return worst


def _sign(args: argparse.Namespace) -> int:
    from handcoach import exercise_file, model

    path = Path(args.file)
    if not path.exists():  # of the names only one's own: nobody shall sign a shipped file unawares
        own = {file.stem: file for file in model.own_exercises()}
        path = own.get(args.file, path)
    print(f"{path} is signed with your key {exercise_file.sign(path)}.")
    return 0


def _verify(args: argparse.Namespace) -> int:
    from handcoach import exercise_file

    file = exercise_file.read(args.file)
    key = exercise_file.verify(file, args.by)
    print(f"{file.path} is unchanged since it was signed with the key {key}.")
    return 0


def _key(args: argparse.Namespace) -> int:
    from handcoach import signature

    if signature.make_key():
        print(
            f"Made your key in {signature.key_file()}: keep it to yourself, and keep a copy.", file=sys.stderr
        )
    print(signature.own_fingerprint())
    return 0
