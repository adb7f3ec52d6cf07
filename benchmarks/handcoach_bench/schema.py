"""Checks a file of results against `schema.json`, with the words of JSON Schema that it uses.

Not the package jsonschema: these lines are what the file needs, and evaluators install one package less.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

_TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict, "array": list, "string": str, "boolean": bool, "integer": int, "number": (int, float),
    "null": type(None),
}  # fmt: skip
_WORDS = {"$schema", "$id", "$defs", "$ref", "title", "description", "type", "const", "enum", "required",
          "properties", "additionalProperties", "items"}  # fmt: skip


@functools.cache
def schema() -> dict[str, Any]:
    return dict(json.loads(Path(__file__).with_name("schema.json").read_text("utf-8")))


def wrong(value: Any, rule: dict[str, Any] | None = None, where: str = "it") -> str | None:
    """What is wrong with a JSON value, or None. The first thing only."""
    rule = schema() if rule is None else rule
    if unknown := set(rule) - _WORDS:
        raise ValueError(f"schema.json uses {', '.join(sorted(unknown))}, which is not checked here")
    if "$ref" in rule:
        return wrong(value, schema()["$defs"][rule["$ref"].removeprefix("#/$defs/")], where)
    if "const" in rule and value != rule["const"]:
        return f"{where} is not {rule['const']!r}"
    if "enum" in rule and value not in rule["enum"]:
        return f"{where} is none of {', '.join(rule['enum'])}"
    if "type" in rule:
        names = [rule["type"]] if isinstance(rule["type"], str) else rule["type"]
        if not any(_is(value, name) for name in names):
            return f"{where} is not of type {' or '.join(names)}"
    if isinstance(value, list) and "items" in rule:
        inner = (wrong(item, rule["items"], f"{where}[{i}]") for i, item in enumerate(value))
        return next((said for said in inner if said), None)
    if not isinstance(value, dict):
        return None
    for key in rule.get("required", ()):
        if key not in value:
            return f"{where} has no {key}"
    for key, item in value.items():
        part = rule.get("properties", {}).get(key, rule.get("additionalProperties"))
        if part is not None and (said := wrong(item, part, key if where == "it" else f"{where}.{key}")):
            return said
    return None


def _is(value: Any, name: str) -> bool:
    return isinstance(value, _TYPES[name]) and (name == "boolean" or not isinstance(value, bool))
