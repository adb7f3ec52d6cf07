"""A minimal writer of ONNX files, so that tests can change a model where onnx is not installed."""

from __future__ import annotations

import json
from collections.abc import Callable

from handcoach import onnx_file

Parts = list[tuple[int, int | bytes]]


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def part(number: int, value: int | str | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def parts_of(data: bytes) -> Parts:
    return [
        (n, bytes(v) if isinstance(v, memoryview) else v)
        for n, v in onnx_file.Wire().fields(memoryview(data))
    ]


def join(parts: Parts) -> bytes:
    return b"".join(part(number, value) for number, value in parts)


def with_meta(data: bytes, change: Callable[[dict], None]) -> bytes:
    """The model with its metadata changed."""
    parts = []
    for number, value in parts_of(data):
        if number == 14:
            meta = json.loads(dict(parts_of(value))[2])
            change(meta)
            value = part(1, "handcoach") + part(2, json.dumps(meta))
        parts.append((number, value))
    return join(parts)


def with_graph(data: bytes, change: Callable[[list], None]) -> bytes:
    """The model with the fields of its graph changed: a list of (number, value)."""
    parts = []
    for number, value in parts_of(data):
        if number == 7:
            graph = parts_of(value)
            change(graph)
            value = join(graph)
        parts.append((number, value))
    return join(parts)


def node(operator: str, *, domain: str = "", attribute: bytes = b"") -> tuple[int, bytes]:
    body = part(1, "landmarks") + part(2, "extra") + part(4, operator)
    if domain:
        body += part(7, domain)
    if attribute:
        body += part(5, attribute)
    return 1, body
