"""The statement of an account over a period: recomputed from its events, stable once closed.

Everything here reads records as they are stored. Rules: specs/ledger.md, statements.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from domain.period import Period
from domain.postings import postings, wallet_accounts
from domain.price_list import PublishedPriceBook
from domain.pricing import PriceBook
from domain.record import Record

_PURCHASED = "account.credits_purchased"
_RESERVED = "account.credits_reserved"
_SETTLED = "account.reservation_settled"
_CORRECTED = "account.credits_corrected"
_WITHDRAWN = "account.credits_withdrawn"
_PAID_OUT = "account.payout_paid"
_RETURNED = "account.payout_returned"


class StatementError(ValueError):
    """The events do not make a statement: `where` it breaks, what was `expected` and `found`."""

    def __init__(self, where: str, *, expected: object, found: object) -> None:
        super().__init__(f"{where}: expected {expected}, found {found}")
        self.where = where
        self.expected = expected
        self.found = found


@dataclass(frozen=True, slots=True)
class Balance:
    """What a wallet has, in µcr: free, and set aside for open sessions."""

    available: int = 0
    reserved: int = 0

    def __add__(self, other: Balance) -> Balance:
        return Balance(self.available + other.available, self.reserved + other.reserved)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One movement: `moved` is what it changed, `after` what the wallet had then.

    `kind` is `purchase`, `reserve`, `charge`, `refund`, `correction`, `payout`, `payout_returned`;
    or `payout_paid`, which moves nothing, since it was taken before. `facts` are its own.
    """

    position: int
    at_ms: int
    kind: str
    moved: Balance
    after: Balance
    facts: dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """One session settled in the period; `used` ms or characters, money in µcr.

    `position` is the settlement's, `rate` is `microcredits` for every `per` units.
    """

    position: int
    session_id: str
    bundle_id: str | None
    service: str
    reason: str
    opened_at_ms: int
    closed_at_ms: int
    unit: str
    used: int
    microcredits: int
    per: int
    price_book: str
    price_book_sha256: str
    reserved: int
    charged: int
    refunded: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """An account's period, with `opening` plus its lines equal to `closing`."""

    account_id: str
    chain: str
    wallet: str
    period: Period
    opening: Balance
    closing: Balance
    lines: tuple[Line, ...]
    usage: tuple[Usage, ...]


def lines_in(account: Iterable[Record], period: Period) -> int:
    """How many events of an account a statement of the period tells."""
    return sum(period.holds(record) for record in account)


def related_ids(account: Iterable[Record], period: Period) -> tuple[UUID, ...]:
    """The payments credited and the sessions settled in the period."""
    found: dict[str, None] = {}
    for record in account:
        if period.holds(record) and record.topic in (_PURCHASED, _SETTLED):
            name = "payment_id" if record.topic == _PURCHASED else "session_id"
            found[record.fields[name]] = None
    return tuple(map(UUID, found))


def price_book_ids(sessions: Iterable[Record]) -> tuple[UUID, ...]:
    """The price books that sessions were sold under."""
    versions = {r.fields["price_book"]: None for r in sessions if r.topic == "session.opened"}
    return tuple(map(PublishedPriceBook.create_id, versions))


def statement(account: Iterable[Record], related: Iterable[Record], period: Period) -> Statement:
    """The statement from an account's records and those of its sessions, payments, price books.

    What an account did after the period changes nothing. Raises `StatementError` where what they
    tell does not fit together.
    """
    known = _Related(related)
    opening = Balance()
    lines: list[Line] = []
    usage: list[Usage] = []
    holder: dict[str, Any] | None = None
    account_id = UUID(int=0)
    for record in sorted(account, key=lambda r: r.position):
        account_id = record.originator_id
        if record.topic == "account.opened":
            holder = record.fields
        if record.position > period.through:
            continue
        if record.position <= period.after:
            opening += _moved(record)
            continue
        before = lines[-1].after if lines else opening
        lines.extend(_lines(record, before, known))
        if record.topic == _SETTLED:
            usage.append(known.usage(record))
    if holder is None:
        raise StatementError("account", expected="account.opened", found="none")
    made = Statement(
        account_id=str(account_id),
        chain=holder["chain"],
        wallet=holder["wallet"],
        period=period,
        opening=opening,
        closing=lines[-1].after if lines else opening,
        lines=tuple(lines),
        usage=tuple(usage),
    )
    _check(made)
    return made


def _moved(record: Record) -> Balance:
    """What the event's postings change of its own wallet."""
    available, reserved = wallet_accounts(record.originator_id)
    moved = postings(record)
    return Balance(
        sum(p.amount for p in moved if p.account == available),
        sum(p.amount for p in moved if p.account == reserved),
    )


def _lines(record: Record, before: Balance, known: _Related) -> list[Line]:
    moved, fields = _moved(record), record.fields
    if record.topic == _SETTLED:
        revenue = sum(p.amount for p in postings(record) if p.account.startswith("revenue:"))
        facts = {"session_id": fields["session_id"], "service": fields["service"]}
        charged = Balance(0, -revenue)
        # The rest of what the event moves is what went back.
        refunded = Balance(moved.available, moved.reserved + revenue)
        parts: list[tuple[str, Balance, dict[str, object]]] = [
            ("charge", charged, facts),
            ("refund", refunded, facts),
        ]
    elif record.topic == _PURCHASED:
        parts = [("purchase", moved, known.purchase(record))]
    elif record.topic == _RESERVED:
        facts = {"session_id": fields["session_id"], "service": fields["service"]}
        parts = [("reserve", moved, facts)]
    elif record.topic == _CORRECTED:
        names = ("correction_id", "corrects_position", "who", "why")
        parts = [("correction", moved, {name: fields[name] for name in names})]
    elif record.topic in _PAYOUTS:
        kind, said_as = _PAYOUTS[record.topic]
        parts = [(kind, moved, {said: fields[name] for said, name in said_as.items()})]
    else:
        return []
    lines = []
    for kind, part, facts_of in parts:
        before += part
        lines.append(
            Line(
                position=record.position,
                at_ms=fields["at_ms"],
                kind=kind,
                moved=part,
                after=before,
                facts=facts_of,
            )
        )
    return lines


# The line's kind, and its facts by the fields they are.
_PAYOUTS = {
    _WITHDRAWN: ("payout", {"payout_id": "payout_id", "rail": "rail"}),
    _PAID_OUT: (
        "payout_paid",
        {
            "payout_id": "payout_id",
            "rail": "rail",
            "reference": "reference",
            "paid_microcredits": "paid",
            "fee_microcredits": "fee",
        },
    ),
    _RETURNED: ("payout_returned", {"payout_id": "payout_id", "rail": "rail"}),
}


class _Related:
    """What sessions, payments and price books say of an account's events."""

    def __init__(self, records: Iterable[Record]) -> None:
        self._fields: dict[tuple[str, str], dict[str, Any]] = {}
        self._books: dict[str, PriceBook] = {}
        for record in records:
            fields = record.fields
            self._fields[str(record.originator_id), record.topic] = fields
            if record.topic == "price_book.published":
                self._books[fields["version_name"]] = PriceBook.parse(fields["content"])

    def purchase(self, record: Record) -> dict[str, object]:
        payment_id, rail = record.fields["payment_id"], record.fields["rail"]
        claimed = self._fields.get((payment_id, "payment.claimed"), {})
        settled = self._fields.get((payment_id, "payment.settled"), {})
        return {
            "payment_id": payment_id,
            "rail": rail,
            "network": claimed.get("network"),
            "reference": settled.get("reference"),
        }

    def usage(self, record: Record) -> Usage:
        fields = record.fields
        session_id: str = fields["session_id"]
        opened = self._need(session_id, "session.opened")
        closed = self._need(session_id, "session.closed")
        book = self._books.get(opened["price_book"])
        if book is None:
            raise StatementError(
                f"session {session_id}", expected=f"price book {opened['price_book']}", found="none"
            )
        tariff = book.tariff(opened["service"])
        for what, expected, found in (
            ("charged", (closed["charged"], closed["refunded"]), _settlement(fields)),
            ("price", tariff.price(closed["used"]).value, closed["charged"]),
            (
                "rate",
                (tariff.unit, tariff.microcredits, tariff.per),
                (opened["unit"], opened["rate_microcredits"], opened["rate_per"]),
            ),
        ):
            _expect(f"{what} of session {session_id}", expected, found)
        return Usage(
            position=record.position,
            session_id=session_id,
            bundle_id=opened["bundle_id"],
            service=opened["service"],
            reason=closed["reason"],
            opened_at_ms=opened["at_ms"],
            closed_at_ms=closed["at_ms"],
            unit=tariff.unit,
            used=closed["used"],
            microcredits=tariff.microcredits,
            per=tariff.per,
            price_book=book.version,
            price_book_sha256=book.hash,
            reserved=closed["charged"] + closed["refunded"],
            charged=closed["charged"],
            refunded=closed["refunded"],
        )

    def _need(self, originator_id: str, topic: str) -> dict[str, Any]:
        found = self._fields.get((originator_id, topic))
        if found is None:
            raise StatementError(f"session {originator_id}", expected=topic, found="none")
        return found


def _settlement(fields: dict[str, Any]) -> tuple[int, int]:
    return fields["charged"], fields["refunded"]


def _check(made: Statement) -> None:
    """Opening plus lines is closing, no balance is negative, and the charges are the usage's."""
    moved = sum((line.moved for line in made.lines), made.opening)
    _expect("closing balance", moved, made.closing)
    for line in made.lines:
        if min(line.after.available, line.after.reserved) < 0:
            raise StatementError(
                f"balance after position {line.position}",
                expected="none below zero",
                found=line.after,
            )
    charged = -sum(line.moved.reserved for line in made.lines if line.kind == "charge")
    _expect("charges", sum(usage.charged for usage in made.usage), charged)


def _expect(where: str, expected: object, found: object) -> None:
    if expected != found:
        raise StatementError(where, expected=expected, found=found)


def totals(made: Statement) -> dict[str, int]:
    """What was bought, put right, set aside, charged, given back and paid out, in µcr."""

    def of(kind: str, attribute: str) -> int:
        return sum(getattr(line.moved, attribute) for line in made.lines if line.kind == kind)

    sums = {
        "purchased_microcredits": of("purchase", "available"),
        "corrected_microcredits": of("correction", "available"),
        "reserved_microcredits": of("reserve", "reserved"),
        "charged_microcredits": -of("charge", "reserved"),
        "refunded_microcredits": of("refund", "available"),
    }
    if has_payouts(made):
        # Only then, so that a statement from before there were any is still told in the same bytes.
        back = of("payout_returned", "available")
        sums["paid_out_microcredits"] = -of("payout", "available") - back
    return sums


def has_payouts(made: Statement) -> bool:
    """Whether any line is of a payout."""
    return any(line.kind.startswith("payout") for line in made.lines)


def services(usage: Sequence[Usage]) -> list[dict[str, object]]:
    """The totals of each service: sessions, quantity, charge."""
    names = sorted({(u.service, u.unit) for u in usage})
    return [
        {
            "service": service,
            "unit": unit,
            "sessions": sum(u.service == service for u in usage),
            "used": sum(u.used for u in usage if u.service == service),
            "charged_microcredits": sum(u.charged for u in usage if u.service == service),
        }
        for service, unit in names
    ]
