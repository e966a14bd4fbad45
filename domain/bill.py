"""A session's bill: recomputed from its events and its price book, byte for byte, by anybody.

Everything here reads records as they are stored, not aggregates, so that a verifier needs no more
than this module and `domain.merkle`. Rules: specs/billing.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from domain.money import Microcredits
from domain.postings import PostingsError, postings
from domain.pricing import PriceBook
from domain.record import Record

# The newest class version known of each event that has had more than one.
VERSIONS = {"account.credits_reserved": 2, "account.reservation_settled": 2}
ROUNDING = "ceil(quantity * microcredits / per), once, at settlement"


class BillError(ValueError):
    """The events do not make a bill: `where` it breaks, what was `expected` and `found`."""

    def __init__(self, where: str, *, expected: object, found: object) -> None:
        super().__init__(f"{where}: expected {expected}, found {found}")
        self.where = where
        self.expected = expected
        self.found = found


@dataclass(slots=True)
class _Tally:
    """What the events add up to, next to what they claim."""

    session: dict[str, Any] = field(default_factory=dict)
    book: PriceBook | None = None
    quantity: int = 0
    reserved: int = 0
    used: int = 0
    expires_at_ms: int = 0
    resumed: Record | None = None
    closed: dict[str, Any] | None = None
    account_reserved: int = 0
    account_settled: tuple[int, int] | None = None
    lines: list[dict[str, object]] = field(default_factory=list)


def statement(records: Iterable[Record]) -> dict[str, Any]:
    """The bill of one session, from its own events, its account's and its price book's.

    Raises `BillError` at the first event that contradicts the ones before it.
    """
    tally = _Tally()
    version = 0
    for record in sorted(records, key=lambda r: r.position):
        if record.topic.startswith("session."):
            version += 1
            _expect(f"position {record.position} version", version, record.originator_version)
            if tally.closed is not None:
                raise BillError("close", expected="the last event", found=record.topic)
        _check_version(record)
        _STEPS[record.topic](tally, record)
    if tally.closed is None:
        raise BillError("session", expected="a settled session", found="one that is still open")
    _check_totals(tally)
    return _document(tally)


def concerns(record: Record, session_id: str) -> bool:
    """Whether a record of the account or the price book belongs to this session's bill."""
    if record.topic in ("account.credits_reserved", "account.reservation_settled"):
        return bool(record.fields["session_id"] == session_id)
    return False


def _document(tally: _Tally) -> dict[str, Any]:
    opened, closed = tally.session, tally.closed or {}
    rate = {"microcredits": opened["rate_microcredits"], "per": opened["rate_per"]}
    return {
        "session": {
            "id": opened["id"],
            "account_id": opened["account_id"],
            "bundle_id": opened["bundle_id"],
            "service": opened["service"],
            "opened_at_ms": opened["at_ms"],
            "closed_at_ms": closed["at_ms"],
            "reason": closed["reason"],
        },
        "tariff": {
            "price_book": opened["price_book"],
            "price_book_sha256": tally.book.hash if tally.book else None,
            "unit": opened["unit"],
            **rate,
            "rounding": ROUNDING,
        },
        "lines": tally.lines,
        "totals": {
            "used": closed["used"],
            "reserved_microcredits": tally.reserved,
            "charged_microcredits": closed["charged"],
            "refunded_microcredits": closed["refunded"],
        },
    }


def _published(tally: _Tally, record: Record) -> None:
    fields = record.fields
    if tally.book is not None:
        raise BillError("price book", expected="one", found="two")
    try:
        tally.book = PriceBook.parse(fields["content"])
    except ValueError as damage:
        where = f"price book at position {record.position}"
        raise BillError(where, expected="a price book", found=str(damage)) from damage
    _expect("price book hash", fields["content_hash"], tally.book.hash)


def _opened(tally: _Tally, record: Record) -> None:
    fields = record.fields
    tally.session = {"id": str(record.originator_id), **fields}
    tally.quantity = fields["quantity"]
    tally.expires_at_ms = fields["expires_at_ms"]
    if tally.book is None:
        raise BillError("price book", expected=fields["price_book"], found="none in the evidence")
    tariff = tally.book.tariff(fields["service"])
    _expect("price book version", tally.book.version, fields["price_book"])
    _expect("unit", tariff.unit, fields["unit"])
    _expect("rate", tariff.microcredits, fields["rate_microcredits"])
    _expect("rate per", tariff.per, fields["rate_per"])
    _reserve(tally, record, fields["quantity"], fields["reserved"])


def _extended(tally: _Tally, record: Record) -> None:
    fields = record.fields
    tally.quantity += fields["quantity"]
    tally.expires_at_ms = fields["expires_at_ms"]
    _reserve(tally, record, fields["quantity"], fields["reserved"])


def _reserve(tally: _Tally, record: Record, quantity: int, reserved: int) -> None:
    tally.reserved += reserved
    _expect(
        f"reserved at position {record.position}", _price(tally, tally.quantity), tally.reserved
    )
    tally.lines.append(
        {
            "kind": "reserved",
            "at_ms": record.fields["at_ms"],
            "quantity": quantity,
            "microcredits": reserved,
            "position": record.position,
        }
    )


def _resumed(tally: _Tally, record: Record) -> None:
    if tally.resumed is not None:
        raise BillError(f"position {record.position}", expected="a paused clock", found="running")
    tally.resumed = record


def _paused(tally: _Tally, record: Record) -> None:
    fields = record.fields
    if tally.resumed is None:
        raise BillError(f"position {record.position}", expected="a running clock", found="none")
    from_ms, to_ms = tally.resumed.fields["at_ms"], fields["at_ms"]
    ran_ms = max(0, min(to_ms, tally.expires_at_ms) - from_ms)
    used_ms = min(tally.quantity, tally.used + ran_ms)
    _expect(f"used at position {record.position}", used_ms, fields["used_ms"])
    tally.lines.append(
        {
            "kind": "used",
            "from_ms": from_ms,
            "to_ms": to_ms,
            "quantity": used_ms - tally.used,
            "position": record.position,
        }
    )
    tally.used, tally.resumed = used_ms, None


def _spoken(tally: _Tally, record: Record) -> None:
    fields = record.fields
    used = fields["used_characters"]
    if not tally.used <= used <= tally.quantity:
        raise BillError(
            f"characters at position {record.position}",
            expected=f"{tally.used} to {tally.quantity}",
            found=used,
        )
    tally.lines.append(
        {
            "kind": "used",
            "at_ms": fields["at_ms"],
            "quantity": used - tally.used,
            "position": record.position,
        }
    )
    tally.used = used


def _closed(tally: _Tally, record: Record) -> None:
    fields = record.fields
    tally.closed = fields
    if tally.resumed is not None:
        raise BillError("close", expected="a paused clock", found="a running one")
    for kind in ("charged", "refunded"):
        line: dict[str, object] = {"kind": kind, "at_ms": fields["at_ms"]}
        if kind == "charged":
            line["quantity"] = fields["used"]
        tally.lines.append({**line, "microcredits": fields[kind], "position": record.position})


def _check_version(record: Record) -> None:
    known = VERSIONS.get(record.topic, 1)
    found = record.fields.get("class_version", 1)
    if type(found) is not int or not 1 <= found <= known:
        raise BillError(
            f"class_version at position {record.position}",
            expected=f"1 to {known}, or a newer Payphone to read it",
            found=found,
        )


def _check_postings(record: Record) -> None:
    try:
        postings(record)
    except PostingsError as broken:
        where = f"postings at position {record.position}"
        raise BillError(where, expected=broken.expected, found=broken.found) from broken


def _account_reserved(tally: _Tally, record: Record) -> None:
    _check_postings(record)
    tally.account_reserved += record.fields["amount"]


def _account_settled(tally: _Tally, record: Record) -> None:
    if tally.account_settled is not None:
        raise BillError("settlement", expected="one", found="two")
    _check_postings(record)
    tally.account_settled = (record.fields["charged"], record.fields["refunded"])


def _ignored(tally: _Tally, record: Record) -> None:
    """Seen running: proof for a crash, no line on a bill."""


_STEPS = {
    "price_book.published": _published,
    "session.opened": _opened,
    "session.extended": _extended,
    "session.clock_resumed": _resumed,
    "session.clock_observed": _ignored,
    "session.clock_paused": _paused,
    "session.characters_spoken": _spoken,
    "session.closed": _closed,
    "account.credits_reserved": _account_reserved,
    "account.reservation_settled": _account_settled,
}
BILL_TOPICS = frozenset(_STEPS)


def _check_totals(tally: _Tally) -> None:
    closed = tally.closed or {}
    _expect("used", tally.used, closed["used"])
    _expect("charged", _price(tally, tally.used), closed["charged"])
    _expect("charged + refunded", tally.reserved, closed["charged"] + closed["refunded"])
    _expect("reserved by the account", tally.reserved, tally.account_reserved)
    _expect(
        "settled by the account",
        (closed["charged"], closed["refunded"]),
        tally.account_settled,
    )


def _price(tally: _Tally, quantity: int) -> int:
    if tally.book is None or not tally.session:
        raise BillError("session", expected="a session opened under a price book", found="none")
    price: Microcredits = tally.book.tariff(tally.session["service"]).price(quantity)
    return price.value


def _expect(where: str, expected: object, found: object) -> None:
    if expected != found:
        raise BillError(where, expected=expected, found=found)
