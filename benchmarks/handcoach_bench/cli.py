"""`handcoach-bench`: how fast the models run on this machine, and how right they are.

Every file of `commands/` registers its command; here their errors become one sentence and an exit code.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import threading
from collections.abc import Iterator

from handcoach.errors import HandCoachError
from handcoach_bench.commands import accuracy, app, compare, inference, peers, report, roofline, training
from handcoach_bench.commands.options import repeated

COMMANDS = (inference, accuracy, training, app, peers, roofline, compare, report)


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="handcoach-bench", description="How fast the models run here, and how right they are."
    )
    commands = top.add_subparsers(dest="benchmark", required=True, metavar="BENCHMARK")
    for command in COMMANDS:
        command.add(commands)
    return top


@contextlib.contextmanager
def _ended_with_its_children() -> Iterator[None]:
    """A terminal that is closed, or `timeout`, ends as Ctrl-C does: a child that goes on would disturb what
    is measured next."""
    here = threading.current_thread() is threading.main_thread()
    names = [name for name in ("SIGTERM", "SIGHUP") if here and hasattr(signal, name)]
    before = {n: signal.signal(getattr(signal, n), signal.default_int_handler) for n in names}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    args.command = repeated(argv)
    try:
        with _ended_with_its_children():
            return int(args.run(args))
    except HandCoachError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        kept = getattr(args, "kept", False)
        said = "the same command goes on from here" if kept else "nothing was written"
        print(f"\nStopped; {getattr(args, 'stopped', said)}.", file=sys.stderr)
        return 130
