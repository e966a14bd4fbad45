"""Values as the contract writes them: times as ISO text, money as decimal text."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from domain.money import Microcredits

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def iso(at_ms: int) -> str:
    """`2026-01-01T00:00:00.000Z`."""
    moment = _EPOCH + timedelta(milliseconds=at_ms)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def iso_or_none(at_ms: int | None) -> str | None:
    return None if at_ms is None else iso(at_ms)


def amount(credits: Microcredits) -> str:  # noqa: A002 (the word for it)
    return str(credits.value)
