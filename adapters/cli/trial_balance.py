"""The books in rows: as they stood at a position, or as they were at a time."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from adapters.cli.evidence import UsageError
from domain.money import Microcredits
from domain.postings import TrialBalance, balance_at
from domain.record import Record

console = Console(highlight=False)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--at-time", help="what was so at 2026-11-21T15:00:00Z, say (trial-balance)"
    )
    parser.add_argument("--by-account", action="store_true", help="every wallet (trial-balance)")


def show(
    options: argparse.Namespace, books: TrialBalance, scan: Callable[[], Iterable[Record]]
) -> int:
    """Print the books of an audited ledger (specs/ledger.md, section 8); 1 if they do not balance.

    `books` are those at `--at`, or at the end; with `--at-time` the events are read again.
    """
    if options.format not in (None, "json"):
        raise UsageError("a trial balance is a table, or JSON with --format json")
    at_ms = None if options.at_time is None else parse_time(options.at_time)
    last = books.position
    if at_ms is not None:
        books = balance_at(scan(), position=last, at_ms=at_ms)
    rows = books.by_account() if options.by_account else books.by_kind()
    if options.format == "json":
        answer = {
            "position": last,
            "at_ms": at_ms,
            "events": books.events,
            "total": books.total,
            "by": "account" if options.by_account else "kind",
            "rows": rows,
        }
        print(json.dumps(answer, indent=1))
    else:
        when = "" if at_ms is None else f", of what was so at {options.at_time}"
        _print(f"trial balance at position {last}{when}", rows, books.total)
    return 0 if books.total == 0 else 1


def parse_time(text: str) -> int:
    """Ms since the Unix epoch of an ISO 8601 time with its offset; UsageError otherwise."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise UsageError(f"a time is like 2026-11-21T15:00:00Z, with its offset (got {text!r:.40})")
    return (found - _EPOCH) // timedelta(milliseconds=1)


def _print(title: str, rows: Mapping[str, int], total: int) -> None:
    table = Table("account", "µcr", "USD", title=title)
    for account, amount in rows.items():
        table.add_row(escape(account), str(amount), _usd(amount))
    table.add_section()
    table.add_row("total", str(total), _usd(total))
    console.print(table)


def _usd(amount: int) -> str:
    sign = "-" if amount < 0 else ""
    return sign + Microcredits(abs(amount)).usd
