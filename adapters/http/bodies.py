"""JSON bodies, read strictly: what we know must have its type, and every refusal says where."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import re
import unicodedata
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from uuid import UUID

from aiohttp import web

from domain.errors import MalformedError
from domain.gateway import Terms
from domain.money import MICROCREDITS_MAX, Microcredits
from domain.pricing import MS_PER_MINUTE

BODY_BYTES_MAX = 64 * 1024
BODY_WAIT_S = 15
DEPTH_MAX = 16
NAME_LENGTH_MAX = 128
METADATA_LENGTH_MAX = 4_096
IDEMPOTENCY_KEY_LENGTH_MAX = 255
_LANGUAGE = re.compile(r"[A-Za-z]{1,8}(-[A-Za-z0-9]{1,8})*")
_DIGITS = re.compile(r"[0-9]{1,16}")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{3})?Z")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SHOWN_LENGTH_MAX = 60
# Control characters, line and paragraph separators; joiners and the like are parts of names.
_NOT_IN_NAMES = ("Cc", "Zl", "Zp")


class Body:
    """A JSON object, taken apart field by field; `null` is the same as absent.

    Fields nobody asks for are ignored. Raises `MalformedError` that names the field.
    """

    def __init__(self, fields: Mapping[str, object]) -> None:
        self._fields = fields

    def has(self, name: str) -> bool:
        """Whether the field is there and not null."""
        return self._fields.get(name) is not None

    def text(self, name: str, *, length_max: int, default: str | None = None) -> str:
        """Text of 1 to `length_max` characters, or the default where it is absent."""
        value = self._fields.get(name)
        if value is None and default is not None:
            return default
        expected = f"text of 1 to {length_max} characters"
        if not isinstance(value, str) or not 1 <= len(value) <= length_max:
            raise malformed(name, expected, value)
        if "\x00" in value or any("\ud800" <= c <= "\udfff" for c in value):
            raise MalformedError(where=name, expected="text of whole characters", got="broken text")
        return value

    def name(self, name: str, *, default: str | None = None) -> str:
        """A label for people, on one line, and without `#`, which room servers give a meaning."""
        value = self.text(name, length_max=NAME_LENGTH_MAX, default=default)
        if "#" in value or any(unicodedata.category(c) in _NOT_IN_NAMES for c in value):
            raise malformed(name, "one line of text without #", value)
        return value

    def metadata(self) -> str:
        return self.text("metadata", length_max=METADATA_LENGTH_MAX, default="")

    def language(self) -> str:
        """A language code as any of our services writes it (`en`, `pt-BR`, `auto`), or nothing."""
        value = self.text("language", length_max=35, default="")
        if value and not _LANGUAGE.fullmatch(value):
            raise malformed("language", "a language code such as en, pt-BR or auto", value)
        return value

    def client_ip(self) -> str:
        """Where the participant is, for choosing a node; private addresses are fine."""
        value = self.text("client_ip", length_max=64, default="")
        if value:
            try:
                ipaddress.ip_address(value)
            except ValueError as unreadable:
                raise malformed("client_ip", "an IP address", value) from unreadable
        return value

    def uuid(self, name: str) -> UUID:
        value = self.text(name, length_max=36)
        found = read_uuid(value)
        if found is None:
            raise malformed(name, "a UUID", value)
        return found

    def count(self, name: str, *, least: int = 1, most: int, default: int | None = None) -> int:
        """A whole number; `1e4` and `5.0` are whole, `true` and `"5"` are no numbers."""
        if default is not None and self._fields.get(name) is None:
            return default
        expected = f"a whole number from {least} to {most}"
        value = self._number(name, expected)
        if not least <= value <= most or value != value.to_integral_value():
            raise malformed(name, expected, self._fields[name])
        return int(value)

    def minutes(self, name: str, terms: Terms) -> int:
        """A duration in minutes, fractions allowed, as whole ms."""
        minutes_max = terms.duration_max_ms // MS_PER_MINUTE
        expected = f"a number of minutes above 0, at most {minutes_max}"
        value = self._number(name, expected)
        if not 0 < value <= minutes_max:
            raise malformed(name, expected, self._fields[name])
        duration_ms = int((value * MS_PER_MINUTE).to_integral_value(ROUND_HALF_UP))
        if duration_ms < 1:
            raise malformed(name, expected, self._fields[name])
        return duration_ms

    def choices(self, name: str, known: Collection[str]) -> frozenset[str]:
        """Some of the words there are, at least one; all of them where it is absent."""
        value = self._fields.get(name)
        if value is None:
            return frozenset(known)
        if not isinstance(value, list) or not value or any(item not in known for item in value):
            raise malformed(name, f"a list of some of {', '.join(known)}", value)
        return frozenset(value)

    def microcredits(self, name: str, *, default: Microcredits) -> Microcredits:
        """Whole microcredits, as decimal text (as we write them) or as a number."""
        value = self._fields.get(name)
        if value is None:
            return default
        if isinstance(value, str) and _DIGITS.fullmatch(value):
            value = int(value)
        if type(value) is not int or not 0 <= value <= MICROCREDITS_MAX:
            raise malformed(name, f"whole microcredits from 0 to {MICROCREDITS_MAX}", value)
        return Microcredits(value)

    def time_ms(self, name: str, *, default: int) -> int:
        """A moment of UTC as we write it (`2026-01-01T00:00:00.000Z`), in ms since the epoch."""
        value = self._fields.get(name)
        if value is None:
            return default
        expected = "a time of UTC such as 2026-01-01T00:00:00Z"
        if not isinstance(value, str) or not _TIME.fullmatch(value):
            raise malformed(name, expected, value)
        try:
            return (datetime.fromisoformat(value) - _EPOCH) // timedelta(milliseconds=1)
        except ValueError as unreadable:
            raise malformed(name, expected, value) from unreadable

    def usd(self, name: str, *, least: Microcredits, most: Microcredits) -> Microcredits:
        """Dollars with at most six decimal places, within bounds."""
        expected = f"dollars from {least.usd} to {most.usd} with at most 6 decimal places"
        value = self._number(name, expected)
        # The bounds first: a number with a huge exponent must not be written out.
        if not Decimal(least.usd) <= value <= Decimal(most.usd):
            raise malformed(name, expected, self._fields[name])
        try:
            return Microcredits.from_usd(str(value))
        except ValueError as unreadable:
            raise malformed(name, expected, self._fields[name]) from unreadable

    def _number(self, name: str, expected: str) -> Decimal:
        value = self._fields.get(name)
        if isinstance(value, bool) or not isinstance(value, int | Decimal):
            raise malformed(name, expected, value)
        return Decimal(value)


async def read_body(request: web.Request) -> Body:
    """The request's JSON object; anything else is a `MalformedError`, too much of it a 413."""
    announced = request.content_length or 0
    if announced > BODY_BYTES_MAX:
        raise web.HTTPRequestEntityTooLarge(max_size=BODY_BYTES_MAX, actual_size=announced)
    try:
        async with asyncio.timeout(BODY_WAIT_S):
            raw = await request.read()
    except TimeoutError as late:
        raise web.HTTPRequestTimeout from late
    except web.RequestPayloadError as damage:
        raise MalformedError(
            where="body", expected="a complete body in its stated encoding", got="a broken one"
        ) from damage
    return parse_body(raw)


def parse_body(raw: bytes) -> Body:
    """Read a JSON object whose keys are unique and whose numbers are finite."""
    try:
        value = json.loads(
            raw.decode("utf-8"),
            parse_float=Decimal,
            parse_constant=_no_constant,
            object_pairs_hook=_unique,
        )
    except (ValueError, ArithmeticError, RecursionError) as unreadable:
        got = f"{len(raw)} bytes that are not" if raw else "nothing"
        raise MalformedError(where="body", expected="a JSON object", got=got) from unreadable
    if not isinstance(value, dict):
        raise malformed("body", "a JSON object", value)
    _check_depth(value)
    return Body(value)


def idempotency_key(request: web.Request, kind: str) -> str:
    """The `Idempotency-Key` under what it is a key of, so that kinds never collide; or nothing."""
    key = request.headers.get("Idempotency-Key", "")
    if not key:
        return ""
    if len(key) > IDEMPOTENCY_KEY_LENGTH_MAX or not (key.isascii() and key.isprintable()):
        expected = f"1 to {IDEMPOTENCY_KEY_LENGTH_MAX} printable ASCII characters"
        raise malformed("Idempotency-Key", expected, key)
    return f"{kind}:{key}"


def read_uuid(text: str) -> UUID | None:
    """The UUID in its usual form, or None; braces, URNs and missing dashes are not usual."""
    try:
        found = UUID(text)
    except ValueError:
        return None
    return found if str(found) == text.lower() else None


def query_count(request: web.Request, name: str, *, least: int, most: int, default: int) -> int:
    """A whole number in the query string."""
    text = request.query.get(name)
    if text is None:
        return default
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= len(str(most)) else -1
    if not least <= number <= most:
        raise malformed(name, f"a whole number from {least} to {most}", text)
    return number


def malformed(where: str, expected: str, got: object) -> MalformedError:
    """A refusal that shows what came, cut short and never by the kilobyte."""
    return MalformedError(where=where, expected=expected, got=_shown(got))


def _shown(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    text = str(value) if isinstance(value, Decimal) else json.dumps(value)
    return text if len(text) <= _SHOWN_LENGTH_MAX else f"{len(text)} characters"


def _no_constant(text: str) -> object:
    msg = f"{text} is not JSON"
    raise ValueError(msg)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        msg = "a key twice"
        raise ValueError(msg)
    return found


def _check_depth(value: object) -> None:
    """Refuse towers of brackets, level by level, without recursion of our own."""
    level = [value]
    for _ in range(DEPTH_MAX):
        inner: list[object] = []
        for item in level:
            if isinstance(item, dict):
                inner.extend(item.values())
            elif isinstance(item, list):
                inner.extend(item)
        if not inner:
            return
        level = inner
    raise MalformedError(
        where="body", expected=f"at most {DEPTH_MAX} levels of nesting", got="more"
    )
