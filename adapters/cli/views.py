"""`payphone ledger balances|usage|reservations|rebuild`: the lists, read and made anew."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from adapters.cli.bars import counted
from adapters.cli.evidence import UsageError
from adapters.cli.statement import account_of, bounds
from adapters.cli.stored import settings_of
from adapters.store.exclusive import FolderInUseError
from adapters.store.stored import StoredLog
from domain.errors import LedgerDownError
from domain.money import Microcredits

if TYPE_CHECKING:
    from adapters.bootstrap.views import ListsAsTheyAre

console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)
LIMIT = 50
_PIPED_WIDTH = 160
_ID_WIDTH = 36
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST_MS = 253_402_214_400_000
Fill = Callable[[argparse.Namespace, "ListsAsTheyAre"], Coroutine[Any, Any, Table]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--limit", type=int, default=LIMIT, help="rows (balances, usage, …)")
    parser.add_argument("--offset", type=int, default=0, help="rows to skip (balances, usage, …)")


def balances(options: argparse.Namespace, recorder: StoredLog) -> int:
    return _show(options, recorder, _balances)


def usage(options: argparse.Namespace, recorder: StoredLog) -> int:
    return _show(options, recorder, _usage)


def reservations(options: argparse.Namespace, recorder: StoredLog) -> int:
    return _show(options, recorder, _reservations)


def rebuild_lists(options: argparse.Namespace, recorder: StoredLog) -> int:
    """Make them anew; 1 where somebody else has them in hand."""
    from adapters.bootstrap import views as parts  # noqa: PLC0415 (as below)

    began = time.monotonic()
    try:
        with counted("rebuilding", recorder.max_notification_id() or 0, errors) as progress:
            seen = parts.rebuild(
                options.data, settings_of(options).storage.database, recorder, progress
            )
    except (FolderInUseError, LedgerDownError, parts.RebuildError) as reason:
        errors.print(f"not rebuilt: {escape(str(reason))}", soft_wrap=True)
        return 1
    console.print(f"rebuilt from {seen} events in {time.monotonic() - began:.1f} s")
    return 0


def _show(options: argparse.Namespace, recorder: StoredLog, fill: Fill) -> int:
    # A gateway's every part comes with it; `payphone ledger verify` needs none of them.
    from adapters.bootstrap import views as parts  # noqa: PLC0415 (slow)

    if options.limit < 1 or options.offset < 0:
        raise UsageError("--limit is 1 or more, --offset 0 or more")
    head = recorder.max_notification_id() or 0
    try:
        with parts.stored_lists(options.data, settings_of(options).storage.database) as lists:
            table = asyncio.run(fill(options, lists))
            behind = f", {head - lists.position} behind" if head > lists.position else ""
            table.caption = f"as of event {lists.position}{behind}"
    except parts.NoTablesError as missing:
        hint = "start the gateway once, or `payphone ledger rebuild`"
        raise UsageError(f"{missing}: {hint}") from missing
    except LedgerDownError as down:
        errors.print(escape(str(down)), soft_wrap=True)
        return 1
    # Whoever reads it through a pipe wants every id whole.
    Console(highlight=False, width=None if sys.stdout.isatty() else _PIPED_WIDTH).print(table)
    return 0


async def _balances(options: argparse.Namespace, lists: ListsAsTheyAre) -> Table:
    table = Table(
        Column("account", min_width=_ID_WIDTH),
        "available",
        "reserved",
        "USD",
        "last event",
        title="balances",
    )
    for row in await lists.views.balances(
        account_id=account_of(options), limit=options.limit, offset=options.offset
    ):
        usd = Microcredits(row.available + row.reserved).usd
        table.add_row(
            str(row.account_id), str(row.available), str(row.reserved), usd, str(row.position)
        )
    table.add_section()
    for account, amount in (await lists.views.trial_balance()).items():
        if account.startswith("wallets:"):
            table.add_row(f"all {account}", str(amount), "", Microcredits(amount).usd, "")
    return table


async def _usage(options: argparse.Namespace, lists: ListsAsTheyAre) -> Table:
    asked = options.since is not None or options.until is not None
    from_ms, to_ms = bounds(options) if asked else (0, _LATEST_MS)
    table = Table(
        "day",
        Column("account", min_width=_ID_WIDTH),
        "service",
        "sessions",
        "used",
        "charged",
        title="usage",
    )
    for row in await lists.views.usage(
        account_id=account_of(options),
        from_ms=from_ms,
        to_ms=to_ms,
        limit=options.limit,
        offset=options.offset,
    ):
        table.add_row(
            _moment(row.day_ms)[:10],
            str(row.account_id),
            row.service,
            str(row.sessions),
            str(row.used),
            str(row.charged),
        )
    return table


async def _reservations(options: argparse.Namespace, lists: ListsAsTheyAre) -> Table:
    table = Table(
        Column("session", min_width=_ID_WIDTH),
        Column("account", min_width=_ID_WIDTH),
        "service",
        "amount",
        "since",
        title="open reservations",
    )
    for row in await lists.views.reservations(
        account_id=account_of(options), limit=options.limit, offset=options.offset
    ):
        table.add_row(
            str(row.session_id),
            str(row.account_id),
            row.service,
            str(row.amount),
            _moment(row.since_ms),
        )
    return table


def _moment(at_ms: int) -> str:
    return (_EPOCH + timedelta(milliseconds=at_ms)).strftime("%Y-%m-%d %H:%M:%S")
