"""Every file that a benchmark writes in these tests says nothing that `schema.json` does not name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from handcoach_bench import results, schema


def unnamed(content: dict[str, Any]) -> set[str]:
    """What a file of results holds that its schema does not name."""
    rules = {"it": schema.schema()} | schema.schema()["$defs"]
    parts = [("it", content), ("machine", content["machine"])]
    parts += [("model", model) for model in content["models"].values()]
    parts += [("result", result) for result in content.get("results", [])]
    return {f"{kind}.{key}" for kind, part in parts for key in set(part) - set(rules[kind]["properties"])}


@pytest.fixture(autouse=True)
def files_are_named_by_the_schema(monkeypatch) -> Iterator[None]:
    found: set[str] = set()
    write = results.write_json

    def watched(path: Path, content: dict[str, Any]) -> None:
        write(path, content)
        if "schema" in content:
            found.update(unnamed(json.loads(json.dumps(content))))

    monkeypatch.setattr(results, "write_json", watched)
    yield
    assert not found, "schema.json does not name it"
