"""A statement as a file: JSON that names the log it was made from, and CSV for a spreadsheet."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from domain.bill import ROUNDING
from domain.money import MICROCREDITS_PER_USD
from domain.record import canonical
from domain.statement import Balance, Line, Statement, Usage, has_payouts, services, totals

FORMAT = "payphone-statement-1"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# What a spreadsheet takes for the beginning of a formula.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")
_COLUMNS = (
    "position",
    "time",
    "kind",
    "session_id",
    "service",
    "available_microcredits",
    "reserved_microcredits",
    "available_after",
    "reserved_after",
    "usd",
    "payment_id",
    "rail",
    "network",
    "reference",
    "correction_id",
    "corrects_position",
    "who",
    "why",
    "bundle_id",
    "reason",
    "opened_at",
    "closed_at",
    "unit",
    "used",
    "rate_microcredits",
    "rate_per",
    "price_book",
    "price_book_sha256",
    "rounding",
    "root",
)
# Where there are payouts, so that no other sheet changes by them.
_PAYOUT_COLUMNS = ("payout_id", "paid_microcredits", "fee_microcredits")


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeFrom:
    """The log a statement was made from.

    `through_root` is the root of the events up to the end of the period; `root` that of all
    `events` there were, signed in `checkpoint` where such a head was signed; `consistency` leads
    from the first to the second.
    """

    origin: str
    through_root: bytes
    events: int
    root: bytes
    checkpoint: str | None
    consistency: tuple[bytes, ...]


def document(made: Statement, source: MadeFrom) -> dict[str, Any]:
    """The whole file. `statement` of a closed period is the same for ever, `log` is of today."""
    content = _content(made, source)
    return {
        "format": FORMAT,
        "statement": content,
        "statement_sha256": _sha256(content),
        "log": {
            "origin": source.origin,
            "events": source.events,
            "root": _base64(source.root),
            "checkpoint": source.checkpoint,
            "consistency": [_base64(h) for h in source.consistency],
        },
    }


def _sha256(content: dict[str, Any]) -> str:
    """Of its canonical JSON, a row at a time: encoded in one go it would hold up every thread."""
    digest = hashlib.sha256()
    for number, (name, value) in enumerate(sorted(content.items())):
        digest.update(b"," if number else b"{")
        digest.update(canonical(name) + b":")
        if not isinstance(value, list):
            digest.update(canonical(value))
            continue
        digest.update(b"[")
        for index, row in enumerate(value):
            digest.update((b"," if index else b"") + canonical(row))
        digest.update(b"]")
    digest.update(b"}")
    return digest.hexdigest()


def json_text(made: Statement, source: MadeFrom) -> str:
    return json.dumps(document(made, source), indent=1, ensure_ascii=False) + "\n"


def csv_text(made: Statement, source: MadeFrom) -> str:
    """One row a line, between a row of the opening and one of the closing balance."""
    usage = {u.position: u for u in made.usage}
    period = made.period
    rows: list[dict[str, object]] = [
        {"kind": "opening", "position": period.after, "time": iso(period.from_ms)}
        | _after(made.opening)
    ]
    rows += [_row(line, usage.get(line.position)) for line in made.lines]
    rows.append(
        {"kind": "closing", "position": period.through, "time": iso(period.to_ms)}
        | _after(made.closing)
        | {"root": _base64(source.through_root)}
    )
    columns = (*_COLUMNS, *_PAYOUT_COLUMNS) if has_payouts(made) else _COLUMNS
    return sheet(columns, rows)


def sheet(columns: Sequence[str], rows: Iterable[dict[str, object]]) -> str:
    """CSV by RFC 4180; a text that a spreadsheet would run gets an apostrophe before it."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_cell(row.get(column)) for column in columns])
    return text.getvalue()


def iso(at_ms: int) -> str:
    """`2026-10-01T00:00:00.000Z`."""
    moment = _EPOCH + timedelta(milliseconds=at_ms)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def usd(microcredits: int) -> str:
    """Microcredits as dollars, exact: `-0.025`."""
    whole, part = divmod(abs(microcredits), MICROCREDITS_PER_USD)
    text = f"{whole}.{part:06d}".rstrip("0").rstrip(".")
    return f"-{text}" if microcredits < 0 else text


def _cell(value: object) -> object:
    if isinstance(value, str) and value.startswith(_FORMULA_STARTS):
        return "'" + value
    return "" if value is None else value


def _content(made: Statement, source: MadeFrom) -> dict[str, Any]:
    period = made.period
    return {
        "account": {"id": made.account_id, "chain": made.chain, "wallet": made.wallet},
        "period": {
            "from": iso(period.from_ms),
            "to": iso(period.to_ms),
            "closed": period.closed,
            "after_position": period.after,
            "through_position": period.through,
            "through_root": _base64(source.through_root),
        },
        "opening": _balance(made.opening),
        "lines": [_line(line) for line in made.lines],
        "usage": [_usage(usage) for usage in made.usage],
        "services": services(made.usage),
        "totals": totals(made),
        "closing": _balance(made.closing),
    }


def _line(line: Line) -> dict[str, object]:
    return {
        "position": line.position,
        "at_ms": line.at_ms,
        "kind": line.kind,
        "available_microcredits": line.moved.available,
        "reserved_microcredits": line.moved.reserved,
        **_after(line.after),
        **line.facts,
    }


def _usage(usage: Usage) -> dict[str, object]:
    return {
        "position": usage.position,
        "session_id": usage.session_id,
        "bundle_id": usage.bundle_id,
        "service": usage.service,
        "reason": usage.reason,
        "opened_at_ms": usage.opened_at_ms,
        "closed_at_ms": usage.closed_at_ms,
        "unit": usage.unit,
        "used": usage.used,
        "tariff": {
            "price_book": usage.price_book,
            "price_book_sha256": usage.price_book_sha256,
            "microcredits": usage.microcredits,
            "per": usage.per,
            "rounding": ROUNDING,
        },
        "reserved_microcredits": usage.reserved,
        "charged_microcredits": usage.charged,
        "refunded_microcredits": usage.refunded,
    }


def _row(line: Line, usage: Usage | None) -> dict[str, object]:
    row = {
        **line.facts,
        "position": line.position,
        "time": iso(line.at_ms),
        "kind": line.kind,
        "available_microcredits": line.moved.available,
        "reserved_microcredits": line.moved.reserved,
        "usd": Money(usd(line.moved.available + line.moved.reserved)),
        **_after(line.after),
    }
    if usage is None or line.kind != "charge":
        return row
    return row | {
        "bundle_id": usage.bundle_id,
        "reason": usage.reason,
        "opened_at": iso(usage.opened_at_ms),
        "closed_at": iso(usage.closed_at_ms),
        "unit": usage.unit,
        "used": usage.used,
        "rate_microcredits": usage.microcredits,
        "rate_per": usage.per,
        "price_book": usage.price_book,
        "price_book_sha256": usage.price_book_sha256,
        "rounding": ROUNDING,
    }


@dataclass(frozen=True, slots=True)
class Money:
    """A number written out; unlike other text it may begin with a minus."""

    text: str

    def __str__(self) -> str:
        return self.text


def _balance(balance: Balance) -> dict[str, int]:
    return {
        "available_microcredits": balance.available,
        "reserved_microcredits": balance.reserved,
    }


def _after(balance: Balance) -> dict[str, object]:
    return {"available_after": balance.available, "reserved_after": balance.reserved}


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
