"""`payphone refund`: pay credits back to their wallet's own chain.

The payout is written into the ledger, and the gateway carries it out: at once where it runs, else
when it starts.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID, uuid4

from eventsourcing.persistence import StoredEvent
from rich.console import Console

from adapters.bootstrap import STARTING_PROBLEMS, idle_books
from adapters.cli.evidence import UsageError
from adapters.cli.stored import add_database, opened, settings_of
from adapters.clock import SystemClock
from adapters.http.identity import canonical_wallet, shown_wallet
from adapters.operator_inbox import Inbox
from adapters.store.exclusive import FolderInUseError
from domain.account import Account
from domain.aggregate import LedgerAggregate
from domain.errors import GatewayError
from domain.ledger import EventMapper, project
from domain.money import Microcredits
from domain.payout import Payout
from domain.use_cases.refund_credits import RefundRequest, best_rail, write_operators_refund

_POLL_S = 0.25
# A running gateway looks into its inbox once a second.
_TAKEN_WAIT_S = 20.0
_PAID_WAIT_S = 300.0
_TEXT_MAX = 200


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("refund", help="pay credits back to their wallet's chain")
    parser.add_argument("--data", type=Path, default=Path("payphone-data"), help="data folder")
    add_database(parser)
    whose = parser.add_mutually_exclusive_group(required=True)
    whose.add_argument("--account", type=UUID, help="the account's id")
    whose.add_argument("--wallet", metavar="CHAIN:ADDRESS", help="its wallet (evm:0x…)")
    parser.add_argument(
        "--amount", required=True, metavar="USD", help="dollars of credit to take, or `all`"
    )
    parser.add_argument("--fee", default="0", metavar="USD", help="dollars of it to keep (0)")
    parser.add_argument("--rail", default="", help="over which; the one to get most over")
    parser.add_argument(
        "--who", default="operator", help="the operator, as the public log shall name them"
    )
    parser.add_argument("--why", required=True, help="the reason, for the public log")
    parser.add_argument(
        "--id", type=UUID, default=None, help="name it to make a repeat the same refund"
    )
    parser.add_argument("--wait", action="store_true", help="until it is paid or has failed")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write it; 0 where it is on its way (with `--wait`: paid), 1 with the reason why not."""
    console = Console(stderr=True, highlight=False)
    try:
        request = _request(options)
        stage = _hand_in(options, request, console)
    except (GatewayError, UsageError, *STARTING_PROBLEMS) as refusal:
        print(f"not refunded: {refusal}", file=sys.stderr)
        return 1
    print(
        f"refund {options.id}: {request.amount.usd} USD of credit, "
        f"{request.fee.usd} of it kept, the rest to be paid over {request.rail}"
    )
    if stage:
        print(stage)
        return 0
    return _waited(options, request.payout_id, console) if options.wait else 0


def _request(options: argparse.Namespace) -> RefundRequest:
    """What is asked for, with everything filled in that the ledger says."""
    account_id = options.account or _account_of(options.wallet)
    account = _stored(options, account_id)
    if not isinstance(account, Account):
        raise UsageError(f"there is no account {account_id} in this ledger")
    rail = options.rail or best_rail(account)
    for name in ("who", "why"):
        if not 1 <= len(getattr(options, name)) <= _TEXT_MAX:
            raise UsageError(f"--{name}: expected 1 to {_TEXT_MAX} characters")
    asked = options.id or uuid4()
    payout_id = Payout.create_id(account_id, f"operator:{asked}")
    known = _stored(options, payout_id)
    if options.amount == "all":
        # A repeat asks for what it asked the first time, of which now nothing is left.
        amount = known.amount if isinstance(known, Payout) else account.payable(rail)
    else:
        amount = _usd(options.amount, "--amount")
    options.id = asked
    wallet = shown_wallet(account.chain, account.wallet)
    print(f"{account.chain} {wallet}: {account.available.usd} USD available", file=sys.stderr)
    return RefundRequest(
        payout_id=payout_id,
        account_id=account_id,
        amount=amount,
        fee=_usd(options.fee, "--fee"),
        rail=known.rail if isinstance(known, Payout) and not options.rail else rail,
        who=options.who,
        why=options.why,
    )


def _account_of(wallet: str) -> UUID:
    chain, _, address = wallet.partition(":")
    known = chain in ("evm", "solana", "tron")
    canonical = canonical_wallet(chain, address) if known else None
    if canonical is None:
        raise UsageError("--wallet: expected evm:0x…, solana:… or tron:T…")
    return Account.create_id(chain, canonical)


def _usd(text: str, option: str) -> Microcredits:
    try:
        return Microcredits.from_usd(text)
    except ValueError as unreadable:
        raise UsageError(f"{option}: {unreadable}") from unreadable


def _hand_in(options: argparse.Namespace, request: RefundRequest, console: Console) -> str:
    """Into the ledger, by our hand or the gateway's; what it waits for, "" where one runs."""
    settings = settings_of(options)
    try:
        with idle_books(settings) as books:
            asyncio.run(write_operators_refund(books, SystemClock(), request))
    except FolderInUseError:
        inbox = Inbox(options.data)
        inbox.leave(request)
        with _told(console, "the gateway takes it in"):
            _until(lambda: not inbox.is_waiting(request.payout_id), _TAKEN_WAIT_S)
        if inbox.is_waiting(request.payout_id):
            return (
                f"left in {options.data}: its gateway is busy and takes it in later, if this is "
                "the user that it runs as"
            )
        if inbox.refusal(request.payout_id):
            raise UsageError(inbox.refusal(request.payout_id)) from None
        return ""
    return "" if settings.storage.database else "the gateway pays it when it starts"


def _waited(options: argparse.Namespace, payout_id: UUID, console: Console) -> int:
    """Follow the ledger until the payout is over; 0 where it was paid."""

    def is_over() -> bool:
        found = _stored(options, payout_id)
        return found is not None and found.is_over

    with _told(console, "waiting for the chain"):
        _until(is_over, _PAID_WAIT_S)
    payout = _stored(options, payout_id)
    if isinstance(payout, Payout) and payout.state == "paid":
        print(f"paid {payout.net.usd} USD: {payout.network} {payout.reference}")
        return 0
    if isinstance(payout, Payout) and payout.state == "failed":
        print(f"not paid, and all credit is back: {payout.reason}", file=sys.stderr)
        return 1
    state = payout.state if isinstance(payout, Payout) else "not taken in"
    print(f"still under way ({state}): ask again with --id {options.id}", file=sys.stderr)
    return 1


def _stored(options: argparse.Namespace, aggregate_id: UUID) -> LedgerAggregate | None:
    """What the ledger knows of it now; read only."""
    mapper = EventMapper(transcoder=None)  # type: ignore[arg-type]  # it writes its own JSON
    with opened(options) as log:
        records = log.history([aggregate_id])
    stored = (
        StoredEvent(
            originator_id=record.originator_id,
            originator_version=record.originator_version,
            topic=record.topic,
            state=record.state,
        )
        for record in records
    )
    return project(None, map(mapper.to_domain_event, stored))


def _until(is_done: Callable[[], bool], wait_s: float) -> None:
    deadline = time.monotonic() + wait_s
    while not is_done() and time.monotonic() < deadline:
        asyncio.run(asyncio.sleep(_POLL_S))


@contextmanager
def _told(console: Console, what: str) -> Iterator[None]:
    with console.status(what):
        yield
