"""Reads what peers send: JSON objects whose fields are checked where they are taken."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Never

from domain.errors import MalformedError

_NAME_LENGTH_MAX = 256


@dataclass(frozen=True, slots=True)
class Fields:
    """A JSON object; `where` names it in refusals. Values of a peer are never echoed whole."""

    values: Mapping[str, object]
    where: str = ""

    @classmethod
    def parse(cls, text: str) -> Fields:
        """Read a JSON object; anything else is a MalformedError."""
        try:
            values = json.loads(text, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as damage:
            raise MalformedError(
                where="frame", expected="a JSON object", got="text that is not JSON"
            ) from damage
        if not isinstance(values, dict):
            raise MalformedError(where="frame", expected="a JSON object", got=_kind(values))
        return cls(values)

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def text(self, name: str) -> str:
        """A text that must be there."""
        value = self.values.get(name)
        if not isinstance(value, str):
            raise self._wrong(name, "text")
        try:
            value.encode()
        except UnicodeEncodeError as lone:
            raise MalformedError(
                where=self._path(name), expected="valid Unicode", got="half a surrogate pair"
            ) from lone
        return value

    def name(self, name: str) -> str | None:
        """A short text, or None where it is absent or null."""
        if self.values.get(name) is None:
            return None
        value = self.text(name)
        if len(value) > _NAME_LENGTH_MAX:
            raise MalformedError(
                where=self._path(name),
                expected=f"at most {_NAME_LENGTH_MAX} characters",
                got=f"{len(value)}",
            )
        return value

    def number(self, name: str) -> float | None:
        """A number, or None where it is absent or null."""
        value = self.values.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._wrong(name, "a number")
        try:
            return float(value)
        except OverflowError as huge:
            raise MalformedError(
                where=self._path(name), expected="a number", got="one too large to use"
            ) from huge

    def fields(self, name: str) -> Fields:
        """An object inside, empty where it is absent or null."""
        value = self.values.get(name)
        if value is None:
            return Fields({}, self._path(name))
        if not isinstance(value, dict):
            raise self._wrong(name, "an object")
        return Fields(value, self._path(name))

    def _wrong(self, name: str, expected: str) -> MalformedError:
        got = _kind(self.values[name]) if name in self.values else "nothing"
        return MalformedError(where=self._path(name), expected=expected, got=got)

    def _path(self, name: str) -> str:
        return f"{self.where}.{name}" if self.where else name


def _refuse_constant(name: str) -> Never:
    msg = f"{name} is not JSON"
    raise ValueError(msg)


def _kind(value: object) -> str:
    kinds = {dict: "an object", list: "an array", str: "text", bool: "a boolean"}
    return "null" if value is None else kinds.get(type(value), "a number")
