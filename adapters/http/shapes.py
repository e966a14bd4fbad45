"""Values as the contract writes them: times as ISO text, money as decimal text."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from domain.money import Microcredits

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Why a session was settled, in the words of the contract.
_METHODS = {
    "": "pending",
    "ended": "request",
    "expired": "expiry",
    "room_finished": "webhook",
}


def iso(at_ms: int) -> str:
    """`2026-01-01T00:00:00.000Z`."""
    moment = _EPOCH + timedelta(milliseconds=at_ms)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def iso_or_none(at_ms: int | None) -> str | None:
    return None if at_ms is None else iso(at_ms)


def settlement_method(reason: str) -> str:
    """How a session was settled, `pending` before; clients type it as text that is always there."""
    return _METHODS.get(reason, reason)


def amount(credits: Microcredits) -> str:  # noqa: A002 (the word for it)
    return str(credits.value)
