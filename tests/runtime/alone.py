"""Run one `handcoach` command as on a patient's laptop: no training stack, no network, no stray file.

    python alone.py FOLDER MODELS ARGUMENTS...

The training libraries cannot be imported, whether they are installed or not; opening a socket, starting a
process, and opening a file for writing outside FOLDER end the run with exit code 99.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

ABSENT = ("torch", "torchvision", "sklearn", "skl2onnx", "onnx", "handcoach_train", "handcoach_export")
FORBIDDEN = (
    "socket.",
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "webbrowser.",
)
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class Blocker:
    """An import hook: these packages do not exist."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name.partition(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"No module named {name!r} (blocked by the test)", name=name)


def watch(allowed: Path) -> None:
    def hook(event: str, args: tuple) -> None:
        bad = event.startswith(FORBIDDEN)
        if event == "open" and isinstance(args[0], (str, bytes)):
            path = Path.cwd() / os.fsdecode(args[0])
            bad = (
                bool((args[2] or 0) & WRITING)
                and not path.resolve().is_relative_to(allowed)
                and str(path) != os.devnull
            )
        if bad:
            print(f"FORBIDDEN: {event} {args!r}", file=sys.stderr, flush=True)
            os._exit(99)

    sys.addaudithook(hook)


def main() -> int:
    folder, models, *arguments = sys.argv[1:]
    sys.dont_write_bytecode = True
    sys.meta_path.insert(0, Blocker())
    watch(Path(folder).resolve())
    import handcoach.model

    if models != "-":
        handcoach.model.models_dir = lambda: Path(models)
    if arguments == ["import everything"]:
        import importlib
        import pkgutil

        import handcoach

        for module in pkgutil.walk_packages(handcoach.__path__, "handcoach."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
        return 0
    from handcoach.cli import main as command

    return command(arguments)


if __name__ == "__main__":
    sys.exit(main())
