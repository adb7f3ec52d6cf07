"""What an ablation trains, and its table."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from pathlib import Path

from handcoach_train.errors import TrainError
from handcoach_train.networks import load_checkpoint

COLUMNS = ("score", "pa", "points", "real_points", "presence", "right")


@dataclass(frozen=True)
class Variant:
    """A name, and what is added to the common command."""

    name: str
    set: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()

    @property
    def changes(self) -> str:
        """For the table."""
        return ", ".join([*self.set, " ".join(self.arguments)] if self.arguments else self.set) or "nothing"


@dataclass(frozen=True)
class Spec:
    """Steps of every variant, arguments of every command, and the variants."""

    steps: int
    arguments: tuple[str, ...]
    variants: tuple[Variant, ...]

    def command(self, variant: Variant, out: Path) -> list[str]:
        """Of `handcoach-train`, for this variant."""
        sets = [word for s in variant.set for word in ("--set", s)]
        return ["landmarks", *self.arguments, *variant.arguments, *sets, "--steps", str(self.steps),
                "--name", "network", "--out", str(folder(out, variant))]  # fmt: skip


def folder(out: Path, variant: Variant) -> Path:
    """Of a variant's run."""
    return out / variant.name.replace(" ", "-")


def read_spec(path: Path) -> Spec:
    """The variants that a TOML file names.

    Raises:
        TrainError: no such file, or not of this form.
    """
    try:
        content = tomllib.loads(path.read_text())
    except FileNotFoundError as error:
        raise TrainError(f"{path} does not exist: give a file of variants.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TrainError(f"{path} is not TOML: {error}.") from error
    variants = content.get("variants")
    steps, arguments = content.get("steps"), content.get("arguments", [])
    if not isinstance(steps, int) or not _words(arguments) or not isinstance(variants, dict) or not variants:
        raise TrainError(
            f"{path} needs steps, a number, arguments, a list, and [variants.NAME] of each variant."
        )
    for name, v in variants.items():
        if not isinstance(v, dict) or {*v} - {"set", "arguments"} or not all(_words(w) for w in v.values()):
            raise TrainError(f"{path}: a variant, as {name}, may hold set and arguments, lists of words.")
        if not name.replace(" ", "-").replace("-", "").replace("_", "").isalnum():
            raise TrainError(f"{path}: {name!r} cannot be the name of a folder: take letters and digits.")
    if len({name.replace(" ", "-") for name in variants}) < len(variants):
        raise TrainError(f"{path}: two variants would share a folder: give one of them another name.")
    return Spec(steps, tuple(arguments), tuple(
        Variant(name, tuple(v.get("set", [])), tuple(v.get("arguments", []))) for name, v in variants.items()
    ))  # fmt: skip


def _words(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(word, str) for word in value)


def table(spec: Spec, out: Path) -> str:
    """Markdown: the validation figures of the best checkpoint of every variant that has one."""
    rows = [
        f"Best checkpoint of {spec.steps} steps each, on validation data; lower is better but for presence "
        "and right. `pa`: landmarks after Procrustes, in units of wrist to middle MCP; `points`, "
        "`real_points`: in sides of the cut-out, on renders and on photographs; `score`: `pa` and "
        "`real_points` together.\n",
        f"| variant | changes | {' | '.join(COLUMNS)} | minutes |",
        f"|---|---|{'---:|' * (len(COLUMNS) + 1)}",
    ]
    for variant in spec.variants:
        run = folder(out, variant)
        if not (run / "network.safetensors").is_file():
            continue
        accuracy = load_checkpoint(run / "network.safetensors")[1]["accuracy"]
        last = json.loads((run / "log.jsonl").read_text().splitlines()[-1])
        cells = [f"{accuracy[c]:.4f}" if c in accuracy else "" for c in COLUMNS]
        rows.append(f"| {variant.name} | {variant.changes} | {' | '.join(cells)} | {last['minutes']:.1f} |")
    return "\n".join(rows) + "\n"
