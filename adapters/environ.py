"""Reads typed values out of an environ mapping and collects what is wrong with them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

_SHOWN_LENGTH_MAX = 80


class ConfigError(Exception):
    """Every problem of a configuration at once, a line each; secrets are not in it."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(("The configuration cannot be used:", *problems)))
        self.problems = tuple(problems)


class Reader:
    """Asks for names; an unset or empty name is absent, and a bad value reads as its default."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._secret: set[str] = set()
        self._problems: list[str] = []
        self.asked: set[str] = set()

    def given(self, name: str) -> bool:
        return bool(self._environ.get(name))

    def text(self, name: str, default: str = "", *, secret: bool = False) -> str:
        self.asked.add(name)
        if secret:
            self._secret.add(name)
        return self._environ.get(name) or default

    def path(self, name: str) -> Path | None:
        text = self.text(name)
        return Path(text) if text else None

    def pattern(self, name: str, pattern: str, expected: str, default: str = "") -> str:
        value = self.text(name, default)
        if value and not re.fullmatch(pattern, value):
            self.problem(name, expected)
            return default
        return value

    def choice(self, name: str, choices: Sequence[str], *, default: str) -> str:
        value = self.text(name, default)
        if value not in choices:
            self.problem(name, f"one of {', '.join(choices)}")
            return default
        return value

    def switch(self, name: str) -> bool:
        """`1` or `true`, `0` or `false`; absent is off."""
        value = self.text(name, "0").lower()
        if value not in ("0", "1", "false", "true"):
            self.problem(name, "1 or 0")
        return value in ("1", "true")

    def count(self, name: str, *, least: int, most: int, default: int) -> int:
        value = self.text(name, str(default))
        number = int(value) if re.fullmatch(r"[0-9]{1,9}", value) else -1
        if not least <= number <= most:
            self.problem(name, f"a whole number from {least} to {most}")
            return default
        return number

    def url(
        self, name: str, *, schemes: Sequence[str], path: bool = True, secret: bool = False
    ) -> str:
        """A URL without a slash at its end; `path=False` allows scheme, host and port only."""
        value = self.text(name, secret=secret)
        expected = f"a URL ({' or '.join(schemes)})" + ("" if path else " of a host, without path")
        try:
            parts = urlsplit(value)
            host, _ = parts.hostname, parts.port
        except ValueError:
            self.problem(name, expected)
            return ""
        if not value:
            return ""
        # A database on this machine has no host: it is found at the usual socket, or at `?host=`.
        whole = parts.scheme in schemes and (bool(host) or parts.scheme.startswith("postgres"))
        bare = not (parts.path.rstrip("/") or parts.query or parts.username)
        if not whole or parts.fragment or re.search(r"\s", value) or not (path or bare):
            self.problem(name, expected)
            return ""
        return value.rstrip("/")

    def missing(self, name: str, expected: str) -> None:
        self._problems.append(f"  {name}: expected {expected}, got nothing")

    def problem(self, name: str, expected: str, *, hidden: bool = False) -> None:
        value = self._environ.get(name, "")
        if hidden or name in self._secret:
            shown = f"{len(value)} characters (not shown)"
        else:
            shown = repr(value[:_SHOWN_LENGTH_MAX])
        self._problems.append(f"  {name}: expected {expected}, got {shown}")

    def finish(self) -> None:
        """ConfigError if anything was wrong."""
        if self._problems:
            raise ConfigError(self._problems)
