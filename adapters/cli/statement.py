"""`payphone ledger statement`: an account's period, recomputed from the log alone."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from uuid import UUID

from rich.console import Console

from adapters.cli.bars import counted
from adapters.cli.evidence import UsageError, read_keys
from adapters.keys import check_signature
from adapters.store.audit import Audit, audit
from adapters.store.stored import StoredLog
from domain.account import Account
from domain.breaks import BrokenHistoryError
from domain.checkpoint import parse_checkpoint, split_note
from domain.merkle import MerkleTree, leaf_hash
from domain.period import Cuts, Period, parse_hour
from domain.record import Record
from domain.statement import Statement, StatementError, statement
from domain.statement_document import MadeFrom
from domain.use_cases.read_statement import FORMATS, gather_related

errors = Console(stderr=True, highlight=False)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--account", type=UUID, help="an account's id")
    parser.add_argument("--wallet", help="or the wallet, as chain:address (evm:0x…)")
    parser.add_argument(
        "--from", dest="since", help="a date or full hour of UTC (statement, usage)"
    )
    parser.add_argument("--to", dest="until", help="and the one at which it ends, not included")
    parser.add_argument(
        "--format", choices=sorted(FORMATS), help="json, csv, … (statement), json (trial-balance)"
    )


def account_of(options: argparse.Namespace) -> UUID | None:
    """The account asked for, by id or by wallet; None where nobody was named."""
    if options.wallet is None:
        account_id: UUID | None = options.account
        return account_id
    chain, colon, wallet = options.wallet.partition(":")
    if not colon or not chain or not wallet:
        raise UsageError("--wallet is chain:address, for example evm:0x…")
    return Account.create_id(chain, wallet.lower() if chain == "evm" else wallet)


def bounds(options: argparse.Namespace) -> tuple[int, int]:
    """From and to in ms, in this order."""
    if options.since is None or options.until is None:
        raise UsageError("give the period: --from 2026-10-01 --to 2026-11-01")
    try:
        from_ms, to_ms = parse_hour(options.since), parse_hour(options.until)
    except ValueError as unreadable:
        raise UsageError(str(unreadable)) from unreadable
    if from_ms >= to_ms:
        raise UsageError("--to must be later than --from")
    return from_ms, to_ms


def run(options: argparse.Namespace, recorder: StoredLog) -> int:
    """Audit the log, then tell the period; the same text as the gateway's for a closed one."""
    account_id = account_of(options)
    if account_id is None:
        raise UsageError("give the account with --account ID or --wallet chain:address")
    walk = _Walk(Cuts(bounds(options)))
    found = _audited(options, recorder, walk)
    if not isinstance(found.aggregates.get(account_id), Account):
        raise UsageError(f"no account {options.wallet or account_id}")
    period = walk.cuts.period()
    try:
        made = _statement(recorder, account_id, period)
    except StatementError as broken:
        raise BrokenHistoryError(
            period.through, broken.where, expected=broken.expected, found=broken.found
        ) from broken
    text = FORMATS[options.format or "json"](made, _source(recorder, walk.tree, period))
    if options.out is None:
        print(text, end="")
    else:
        # As it is, since CSV has line ends of its own.
        Path(options.out).write_text(text, encoding="utf-8", newline="")
    return 0


class _Walk:
    """What the statement needs of every record, picked up while the audit reads them."""

    def __init__(self, cuts: Cuts) -> None:
        self.cuts = cuts
        self.tree = MerkleTree()

    def past(self, records: Iterator[Record]) -> Iterator[Record]:
        for record in records:
            # The audit first: it names what is wrong with a record that has no time.
            yield record
            self.cuts.see(record)
            self.tree.append(leaf_hash(record.leaf))


def _audited(options: argparse.Namespace, recorder: StoredLog, walk: _Walk) -> Audit:
    keys = read_keys(options.key or _published(options.data))
    with counted("replaying", recorder.max_notification_id() or 0, errors) as progress:
        return audit(
            walk.past(recorder.scan()),
            checkpoints=recorder.checkpoints(),
            key=keys[0] if keys else None,
            former=keys[1:],
            check=check_signature,
            progress=progress,
        )


def _published(folder: Path) -> Sequence[str]:
    path = folder / "log.pub"
    return [str(path)] if path.is_file() else []


def _statement(recorder: StoredLog, account_id: UUID, period: Period) -> Statement:
    async def history(ids: Sequence[UUID]) -> tuple[Record, ...]:
        return recorder.history(ids) if ids else ()

    account = recorder.history([account_id])
    related = asyncio.run(gather_related(history, account, period))
    return statement(account, related, period)


def _source(recorder: StoredLog, tree: MerkleTree, period: Period) -> MadeFrom:
    """The newest signed head that covers the period, or else the log as it stands."""
    heads = [(size, note) for size, note in recorder.checkpoints() if size >= period.through]
    size, note = heads[-1] if heads else (tree.size, None)
    through = period.through
    return MadeFrom(
        origin="unsigned" if note is None else parse_checkpoint(split_note(note)[0]).origin,
        through_root=tree.root(through),
        events=size,
        root=tree.root(size),
        checkpoint=note,
        consistency=tree.consistency_proof(through, size) if through else (),
    )
