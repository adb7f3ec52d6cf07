"""Files that somebody might send in place of an exercise. Each is made from the tiny exercise.

python tests/tiny/hostile.py FOLDER        writes them all
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import struct
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

from tiny.onnx_parts import join, node, part, parts_of, varint, with_graph, with_meta

TINY = Path(__file__).parent


def step(operator: str, inputs: list[str], output: str, *attributes: bytes) -> tuple[int, bytes]:
    body = b"".join(part(1, name) for name in inputs) + part(2, output) + part(4, operator)
    return 1, body + b"".join(part(5, attribute) for attribute in attributes)


def tensor(name: str, sizes: list[int], *rest: bytes) -> bytes:
    return b"".join(part(1, size) for size in sizes) + part(2, 1) + part(8, name) + b"".join(rest)


def outside(path: str) -> bytes:
    return tensor("w", [1], part(13, part(1, "location") + part(2, path)), part(14, 1))


def made(exercise: bytes) -> dict[str, tuple[bytes, str]]:
    """name: (bytes, words of the sentence that refuses it)."""

    def graph(*more: tuple[int, int | bytes]) -> bytes:
        return with_graph(exercise, lambda parts: parts[:0].extend(more) or parts.extend(more))

    def first(*more: tuple[int, bytes]) -> bytes:
        return with_graph(exercise, lambda parts: parts.__setitem__(slice(0, 0), more))

    def meta(**changes: object) -> bytes:
        return with_meta(exercise, lambda fields: fields.update(changes))

    def text(value: str) -> bytes:
        """The exercise with this text as its metadata."""
        entry = part(1, "handcoach") + part(2, value)
        return join([(n, entry if n == 14 else v) for n, v in parts_of(exercise)])

    plain = next(json.loads(dict(parts_of(v))[2]) for n, v in parts_of(exercise) if n == 14)
    as_json = json.dumps(plain)
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("model.onnx", bytes(30 * 2**20))
    number = part(1, "axis") + part(3, 0)
    doubling = [step("Concat", ["landmarks"] * 2, "d0", number)]
    doubling += [step("Concat", [f"d{i}"] * 2, f"d{i + 1}", number) for i in range(40)]

    def turned(inputs: str, output: str, *perm: int) -> tuple[int, bytes]:
        return step("Transpose", [inputs], output, part(1, "perm") + b"".join(part(8, axis) for axis in perm))

    hands_by_hands = [turned("landmarks", "t0", 2, 1, 0), turned("landmarks", "t1", 2, 0, 1),
                      step("MatMul", ["t1", "t0"], "t2")]  # fmt: skip
    floats = part(9, bytes(4 * 90_000))
    inner = part(1, "then_branch") + part(6, part(1, b""))
    nested = b""
    for _ in range(3000):
        nested = part(7, nested)
    signed = part(1, "handcoach-signature") + part(2, json.dumps(
        {"algorithm": "ed25519", "key": "11" * 32, "signature": "22" * 64}))  # fmt: skip

    return {
        "empty": (b"", "no graph"),
        "cut-short": (exercise[: len(exercise) // 2], "cut short"),
        "last-byte-missing": (exercise[:-1], "cut short"),
        "too-large": (exercise + part(6, bytes(5 * 2**20)), "larger than 4 MB"),
        "noise": (bytes(range(256)) * 16, "not a whole ONNX model"),
        "picture": (b"\x89PNG\r\n\x1a\n" + bytes(1000), "not a whole ONNX model"),
        "pickle": (b"\x80\x04\x95\x1d\x00\x00\x00cposix\nsystem\n(S'id'\ntR.", "not a whole ONNX model"),
        "zip-bomb": (bomb.getvalue(), "ZIP archive"),
        "huge-varint": (b"\x08" + b"\xff" * 50_000 + b"\x01", "too long"),
        "length-beyond-the-end": (b"\x3a" + varint(2**63), "cut short"),
        "a-million-fields": (exercise + part(2, b"")[:2] * 1_000_000, "too many parts"),
        "nested-messages": (exercise + nested, "there twice"),
        "two-graphs": (exercise + part(7, join([node("Loop")])), "there twice"),
        "functions": (exercise + part(25, b""), "functions"),
        "sparse": (graph((15, b"")), "sparse"),
        "other-domain": (first(node("Add", domain="com.microsoft")), "com.microsoft:Add"),
        "unknown-operator": (first(node("MadeUp")), "MadeUp"),
        "loop": (first(node("Loop", attribute=part(1, "body") + part(6, b""))), "Loop"),
        "graph-in-a-known-operator": (first(node("Add", attribute=inner)), "graph inside"),
        "file-reader": (first(node("Constant", domain="ai.onnx.ml")), "ai.onnx.ml:Constant"),
        "hands-by-hands": (first(*hands_by_hands), "all hands together"),
        "cycle": (first(step("Add", ["b", "b"], "a"), step("Add", ["a", "a"], "b")), "loop or a loose end"),
        "loose-end": (first(step("Abs", ["nowhere"], "a")), "loop or a loose end"),
        "given-twice": (first(step("Abs", ["landmarks"], "distances")), "twice"),
        "external-data": (graph((5, outside("weights.bin"))), "another file"),
        "path-out-of-the-folder": (graph((5, outside("../../../../etc/passwd"))), "another file"),
        "external-in-a-node": (
            first(node("Constant", attribute=part(1, "value") + part(5, outside("/dev/zero")))),
            "another file",
        ),
        "a-tensor-of-1-gb": (graph((5, tensor("w", [2**28]))), "larger than the file"),
        "a-tensor-of-many-small-sizes": (graph((5, tensor("w", [100] * 6))), "larger than the file"),
        "a-size-behind-a-zero": (graph((5, tensor("w", [0, 2**40]))), "larger than the file"),
        "a-million-sizes": (
            graph((5, part(1, bytes([1]) * 1_000_000) + part(2, 1) + part(8, "w"))), "too many numbers",
        ),
        "an-input-of-1-gb": (
            join([(n, with_batch(v, 2**28) if n == 7 else v) for n, v in parts_of(exercise)]), "shape",
        ),
        "doubles-forty-times": (first(*doubling), "more than an exercise needs"),
        "column-times-row": (
            with_graph(exercise, lambda parts: parts.extend([
                (5, tensor("c", [90_000, 1], floats)), (5, tensor("r", [1, 90_000], floats)),
                step("Mul", ["c", "r"], "big")])), "more than an exercise needs",
        ),
        "fills-memory": (
            with_graph(exercise, lambda parts: parts.extend([
                (5, part(1, 2) + part(2, 7) + part(8, "s") + part(9, struct.pack("<2q", 2**20, 2**20))),
                step("ConstantOfShape", ["s"], "big")])), "no exercise needs",
        ),
        "long-name": (first(node("A" * 100_000)), "too long"),
        "no-description": (join([p for p in parts_of(exercise) if p[0] != 14]), "without HandCoach's"),
        "description-twice": (exercise + part(14, part(1, "handcoach") + part(2, as_json)), "there twice"),
        "description-of-2-mb": (text(as_json + " " * 2 * 2**20), "too long"),
        "description-not-utf-8": (
            join([(n, part(1, "handcoach") + part(2, b"\xff\xfe") if n == 14 else v)
                  for n, v in parts_of(exercise)]), "not UTF-8",
        ),
        "key-twice": (text('{"kind": "finder", ' + as_json[1:]), "a key is there twice"),
        "nested-brackets": (text("[" * 500_000), "nested too deep"),
        "deep-and-wide": (text('{"a": ' + "[" * 800 + '"b",' * 200_000 + '"c"' + "]" * 800 + "}"), "format"),
        "half-a-million-lists": (text("[" + "[]," * 340_000 + "[]]"), "JSON object"),
        "nan": (text(as_json.replace('"hold_s": 1.0', '"hold_s": NaN')), "NaN is no JSON number"),
        "infinity": (text(as_json.replace('"hold_s": 1.0', '"hold_s": 1e999')), "too large"),
        "a-number-of-100000-digits": (
            text(as_json.replace('"hold_s": 1.0', '"hold_s": ' + "9" * 100_000)), "too many digits",
        ),
        "terminal-codes": (meta(title={"en": "\x1b]0;owned\x07\x1b[2J"}), "cannot be shown"),
        "reversed-text": (meta(author="\u202etxet"), "cannot be shown"),
        "half-a-character": (meta(author="\ud800"), "cannot be shown"),
        "title-of-a-megabyte": (meta(title={"en": "A" * 900_000}), "too long"),
        "a-hand-without-a-palm": (meta(reference=[[0, 0, 0]] * 21), "without a palm"),
        "newer-format": (meta(format=2), "update HandCoach"),
        "other-kind": ((TINY / "finder.onnx").read_bytes(), "kind finder"),
        "more-clusters-than-it-has": (meta(clusters=["open", "almost", "fist", "open"]), "shape"),
        "wrong-signature": (exercise + part(14, signed), "changed after it was signed"),
        "signature-that-is-none": (
            exercise + part(14, part(1, "handcoach-signature") + part(2, "{}")), "signature",
        ),
    }  # fmt: skip


def with_batch(graph: bytes, batch: int) -> bytes:
    """The graph with a fixed first size of its inputs."""

    def sized(value: bytes) -> bytes:
        (name, kind) = (dict(parts_of(value))[n] for n in (1, 2))
        element, shape = (dict(parts_of(dict(parts_of(kind))[1]))[n] for n in (1, 2))
        sizes = [v for n, v in parts_of(shape) if n == 1]
        sizes[0] = part(1, batch)
        return part(1, name) + part(2, part(1, part(1, element) + part(2, join([(1, v) for v in sizes]))))

    return join([(n, sized(v) if n == 11 else v) for n, v in parts_of(graph)])


def placed(folder: Path) -> dict[str, str]:
    """What is hostile by what it is, not by what is in it: name to words of the sentence. What this system
    has not (symbolic links, pipes, devices) is left out."""
    wanted = {"folder": "is a folder", "sparse-terabyte": "larger than 4 MB"}
    (folder / "folder.onnx").mkdir()
    with (folder / "sparse-terabyte.onnx").open("wb") as file:
        try:
            file.truncate(2**40)
        except OSError:
            file.truncate(2**30)

    def special(name: str, words: str, make: Callable[[Path], object]) -> None:
        with contextlib.suppress(OSError, AttributeError, NotImplementedError):
            make(folder / f"{name}.onnx")
            wanted[name] = words

    special("link-to-nowhere", "no model file", lambda path: path.symlink_to("nowhere.onnx"))
    special("link-to-itself", "cannot be read", lambda path: path.symlink_to(path.name))
    special("link-to-a-folder", "is a folder", lambda path: path.symlink_to(folder))
    special("pipe", "a device or a pipe", lambda path: os.mkfifo(path))
    if Path("/dev/zero").exists():
        special("device", "a device or a pipe", lambda path: path.symlink_to("/dev/zero"))
    if Path("/etc/passwd").exists():
        special("link-to-a-system-file", "not a whole ONNX", lambda path: path.symlink_to("/etc/passwd"))
    return wanted


def write(folder: Path, exercise: bytes) -> dict[str, str]:
    """Write all of them into an empty folder; file name to the words of the sentence that refuses it."""
    wanted = placed(folder)
    for name, (data, words) in made(exercise).items():
        (folder / f"{name}.onnx").write_bytes(data)
        wanted[name] = words
    return {f"{name}.onnx": words for name, words in wanted.items()}


if __name__ == "__main__":
    write(Path(sys.argv[1]), (TINY / "exercise.onnx").read_bytes())
