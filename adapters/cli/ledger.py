"""`payphone ledger`: the auditor's tools, over a stored ledger."""

from __future__ import annotations

import argparse
import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

from eventsourcing.persistence import PersistenceError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from adapters.keys import check_signature
from adapters.store.audit import Audit, BrokenLedgerError, audit, bills, session_records
from adapters.store.sqlite import LedgerRecorder, sqlite_environment
from domain.audit import bill_document
from domain.bill import statement
from domain.checkpoint import CheckpointError, SignerKey, open_checkpoint
from domain.ledger import Ledger
from domain.merkle import MerkleTree, leaf_hash
from domain.money import Microcredits
from domain.session import Session

console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("ledger", help="replay, verify and read a stored ledger")
    parser.add_argument("action", choices=sorted(_ACTIONS))
    parser.add_argument("--data", type=Path, default=Path("payphone-data"), help="data folder")
    parser.add_argument("--key", help="the signer's public key (default: log.pub in the folder)")
    parser.add_argument("--session", type=UUID, help="a session id (bill, replay)")
    parser.add_argument("--at", type=int, help="stop at this position (trial-balance)")
    parser.add_argument("--out", type=Path, help="write to this file instead of the screen")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Do it; 0 when everything holds, 1 with the first break otherwise."""
    try:
        with _opened(options.data) as recorder:
            return _ACTIONS[options.action](options, recorder)
    except BrokenLedgerError as broken:
        errors.print(f"[red]BROKEN[/red] {broken}", soft_wrap=True)
    except CheckpointError as broken:
        errors.print(f"[red]WRONG KEY[/red] {broken}", soft_wrap=True)
    except (PersistenceError, sqlite3.Error) as damage:
        errors.print(f"[red]DAMAGED[/red] the database cannot be read: {damage}", soft_wrap=True)
    except FileNotFoundError as missing:
        errors.print(f"no ledger: {missing}", soft_wrap=True)
    return 1


@contextmanager
def _opened(folder: Path) -> Iterator[LedgerRecorder]:
    path = folder / "ledger.db"
    if not path.is_file():
        raise FileNotFoundError(f"{path} (give the gateway's data folder with --data)")
    environment = sqlite_environment(f"file:{path}?mode=ro") | {"CREATE_TABLE": "no"}
    with Ledger(env=environment) as ledger:
        assert isinstance(ledger.recorder, LedgerRecorder)  # noqa: S101 (configured above)
        yield ledger.recorder


def _audited(options: argparse.Namespace, recorder: LedgerRecorder) -> Audit:
    total = recorder.max_notification_id() or 0
    with Progress(
        TextColumn("replaying"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=errors,
        transient=True,
    ) as bar:
        task = bar.add_task("", total=total)
        return audit(
            recorder.scan(),
            checkpoints=recorder.checkpoints(),
            key=_key(options),
            check=check_signature,
            progress=lambda done: bar.update(task, completed=done),
            until=options.at,
        )


def _key(options: argparse.Namespace) -> SignerKey | None:
    if options.key:
        return SignerKey.parse(options.key)
    path = options.data / "log.pub"
    return SignerKey.parse(path.read_text()) if path.is_file() else None


def _verify(options: argparse.Namespace, recorder: LedgerRecorder) -> int:
    found = _audited(options, recorder)
    count = sum(1 for _ in bills(recorder.scan(), found.aggregates))
    key = _key(options)
    console.print(
        f"[green]VERIFIED[/green] {found.events} events, {found.checkpoints} signed heads, "
        f"{count} bills recomputed, trial balance {found.books.total}"
    )
    console.print(f"root {found.root.hex()}")
    console.print(f"signer {key.text}" if key else "no public key given: signatures not checked")
    return 0


def _replay(options: argparse.Namespace, recorder: LedgerRecorder) -> int:
    found = _audited(options, recorder)
    if options.session is None:
        for kind in sorted({type(a).__name__ for a in found.aggregates.values()}):
            count = sum(type(a).__name__ == kind for a in found.aggregates.values())
            console.print(f"{count:>8} {kind}")
        console.print(f"{found.events:>8} events, every aggregate rebuilt")
        return 0
    session = _session(options, found)
    _write(options, json.dumps(statement(session_records(recorder.scan(), session)), indent=1))
    return 0


def _trial_balance(options: argparse.Namespace, recorder: LedgerRecorder) -> int:
    found = _audited(options, recorder)
    table = Table("account", "µcr", "USD", title=f"trial balance at position {found.events}")
    for account, amount in found.books.by_kind().items():
        sign = "-" if amount < 0 else ""
        table.add_row(account, str(amount), sign + Microcredits(abs(amount)).usd)
    table.add_section()
    table.add_row("total", str(found.books.total), Microcredits(abs(found.books.total)).usd)
    console.print(table)
    return 0 if found.books.total == 0 else 1


def _bill(options: argparse.Namespace, recorder: LedgerRecorder) -> int:
    found = _audited(options, recorder)
    session = _session(options, found)
    records = session_records(recorder.scan(), session)
    key = _key(options)
    if key is None:
        errors.print("a bill names its signer: give --key, or keep log.pub in the data folder")
        return 1
    last = max(record.position for record in records)
    note = next((note for size, note in recorder.checkpoints() if size >= last), None)
    if note is None:
        errors.print("no signed head covers this session yet; ask the gateway for the bill once")
        return 1
    size = open_checkpoint(note, key=key, check=check_signature).size
    tree = MerkleTree()
    for record in recorder.scan():
        tree.append(leaf_hash(record.leaf))
    document = bill_document(
        records,
        checkpoint=note,
        signer=key.text,
        proofs={r.position: tree.inclusion_proof(r.position - 1, size) for r in records},
    )
    _write(options, json.dumps(document, indent=1))
    return 0


def _session(options: argparse.Namespace, found: Audit) -> Session:
    session = found.aggregates.get(options.session) if options.session else None
    if not isinstance(session, Session):
        raise FileNotFoundError(f"session {options.session} (give one with --session)")
    return session


def _write(options: argparse.Namespace, text: str) -> None:
    if options.out is None:
        print(text)
    else:
        options.out.write_text(text + "\n", encoding="utf-8")


_ACTIONS = {
    "bill": _bill,
    "replay": _replay,
    "trial-balance": _trial_balance,
    "verify": _verify,
}
