"""Which recogniser takes a phrase. Pure: a request, a table of engines, and who is busy."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from domain.errors import MalformedError

AUTO: Final = "auto"
ALL_ROUND: Final = "whisper"
"""The engine that knows every language: it detects, and it is the fallback."""


@dataclass(frozen=True, slots=True)
class Capability:
    """An engine that is installed and loaded, and the languages it knows (ISO 639-1)."""

    name: str
    languages: frozenset[str]


def language_of(asked: str, table: Sequence[Capability]) -> str:
    """`auto` or a code some engine knows, from `en`, `EN-us` or nothing; else `MalformedError`."""
    code = asked.strip().lower().replace("_", "-").split("-")[0]
    if code in ("", AUTO, "multi"):
        return AUTO
    if not any(code in engine.languages for engine in table):
        raise MalformedError("language", "auto or an ISO 639-1 code such as en", asked[:40])
    return code


def route(
    *, model: str, language: str, table: Sequence[Capability], busy: Collection[str] = ()
) -> str:
    """Name the engine, by the first rule that applies.

    1. A model that was asked for by name is taken, or the request is malformed.
    2. Language detection goes to the engine that knows every language.
    3. Among the engines that know the language, one that is free, in the table's order.
    4. Otherwise the first that knows it, and the phrase waits there.
    """
    names = [engine.name for engine in table]
    wanted = model.strip().lower()
    if wanted:
        if wanted not in names:
            raise MalformedError("model", " or ".join(names) or "no model is loaded", model[:40])
        if not _knows(table, wanted, language):
            raise MalformedError("language", f"a language {wanted} knows", language)
        return wanted
    if language == AUTO:
        return ALL_ROUND if ALL_ROUND in names else names[0]
    able = [name for name in names if _knows(table, name, language)]
    if not able:
        raise MalformedError("language", "a language some engine knows", language)
    return next((name for name in able if name not in busy), able[0])


def _knows(table: Sequence[Capability], name: str, language: str) -> bool:
    return any(
        engine.name == name and (language == AUTO or language in engine.languages)
        for engine in table
    )
