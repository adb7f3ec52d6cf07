"""Of which code and of which pictures a measurement is: digests that are quick to take."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

TRAINING = "handcoach_train"


def code(*more: str) -> dict[str, str]:
    """A digest of the Python files of the runtime, of this package and of `more` ones, by name; one that is
    not installed has none."""
    found = {}
    for package in ("handcoach", "handcoach_bench", *more):
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.origin is not None:
            folder = Path(spec.origin).parent
            digest = hashlib.sha256()
            for name in sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.py")):
                digest.update(f"{name}\n{_of_file(folder / name)}\n".encode())
            found[package] = digest.hexdigest()
    return found


def inputs(given: Mapping[str, str | Path | None], written: Path | None) -> dict[str, str]:
    """A digest of each file or folder that is there, by the name that people know it by.

    Args:
        written: the file of results, which may lie in one of the folders.
    """
    paths = {name: Path(path).absolute() for name, path in given.items() if path is not None}
    own = written.absolute() if written is not None else None
    return {name: _contents(path, own) for name, path in paths.items() if path.exists()}


def _contents(path: Path, own: Path | None) -> str:
    """Of a folder only names and sizes count: a data set has many pictures."""
    if path.is_file():
        return _of_file(path)
    files = (file for file in path.rglob("*") if file != own and file.is_file())
    known = sorted(f"{file.relative_to(path).as_posix()} {file.stat().st_size}" for file in files)
    return hashlib.sha256("\n".join(known).encode()).hexdigest()


def _of_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def differences(one: Mapping[str, Any], other: Mapping[str, Any], *, unknown: bool) -> list[str]:
    """Whose code or contents differ in two files of results, like "code of handcoach".

    Args:
        unknown: whether what only one of them knows differs too.
    """
    return [
        f"{what} of {name}"
        for what, key in (("code", "code"), ("contents", "inputs"))
        for name in {**one[key], **other[key]}
        if one[key].get(name) != other[key].get(name)
        and (unknown or (name in one[key] and name in other[key]))
    ]
