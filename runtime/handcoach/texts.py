"""What people read, in each language, from `locale/*.json`. No toolkit, no state."""

from __future__ import annotations

import json
from importlib import resources

from handcoach.errors import HandCoachError

LANGUAGES = ("en", "da")


class Texts:
    """One language's sentences: `texts("pause")`, `texts("of", n=1, all=5)`."""

    def __init__(self, lang: str = "en", part: str = "") -> None:
        """Args:
            part: "studio" for what only a therapist reads, `locale/studio`, in addition.

        Raises:
            HandCoachError: there is no such language.
        """
        if lang not in LANGUAGES:
            raise HandCoachError(f"There is no language {lang!r}; choose one of {', '.join(LANGUAGES)}.")
        self.lang = lang
        self._table: dict[str, str] = {}
        for folder in ("", part) if part else ("",):
            file = resources.files("handcoach").joinpath("locale", folder, f"{lang}.json")
            self._table |= json.loads(file.read_text(encoding="utf-8"))

    def __call__(self, key: str, **values: object) -> str:
        return self._table[key].format(**values) if values else self._table[key]

    def __contains__(self, key: object) -> bool:
        return key in self._table

    def keys(self) -> set[str]:
        return set(self._table)
