"""The sentences of the window in each language, from `locale/*.json`. No toolkit, no state."""

from __future__ import annotations

import json
from importlib import resources

from handcoach.errors import HandCoachError

LANGUAGES = ("en", "da")


class Texts:
    """One language's sentences: `texts("pause")`, `texts("of", n=1, all=5)`."""

    def __init__(self, lang: str = "en") -> None:
        """Raises:
        HandCoachError: there is no such language.
        """
        if lang not in LANGUAGES:
            raise HandCoachError(f"There is no language {lang!r}; choose one of {', '.join(LANGUAGES)}.")
        self.lang = lang
        text = resources.files("handcoach").joinpath("locale", f"{lang}.json").read_text(encoding="utf-8")
        self._table: dict[str, str] = json.loads(text)

    def __call__(self, key: str, **values: object) -> str:
        return self._table[key].format(**values) if values else self._table[key]

    def keys(self) -> set[str]:
        return set(self._table)
