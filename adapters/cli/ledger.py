"""`payphone ledger`: the auditor's tools, over a stored ledger."""

from __future__ import annotations

import argparse
import json
import sqlite3
from pathlib import Path
from uuid import UUID

from eventsourcing.persistence import PersistenceError
from rich.console import Console
from rich.markup import escape

from adapters.cli import evidence, trial_balance, views
from adapters.cli import statement as statements
from adapters.cli.bars import counted
from adapters.cli.evidence import UsageError, read_keys
from adapters.cli.replay import compare, recompute
from adapters.cli.rooms import rooms
from adapters.cli.stored import add_database, opened
from adapters.keys import check_signature
from adapters.log_keys import ROTATIONS
from adapters.store.archive import in_processes
from adapters.store.audit import Audit, audit, session_records
from adapters.store.stored import NewerSchemaError, StoredLog
from adapters.store.verify import PROCESSES_FROM, LinedLog, verify
from domain.audit import AuditError, bill_document
from domain.breaks import BrokenHistoryError
from domain.checkpoint import CheckpointError, SignerKey, open_head
from domain.session import Session

console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("ledger", help="replay, verify and read a stored ledger")
    parser.add_argument("action", choices=sorted(_ACTIONS))
    parser.add_argument("--data", type=Path, default=Path("payphone-data"), help="data folder")
    add_database(parser)
    parser.add_argument(
        "--key",
        action="append",
        help="the signer's public key or a file of them, newest first (default: log.pub)",
    )
    parser.add_argument("--session", type=UUID, help="a session id (bill, replay, rooms)")
    parser.add_argument("--bill", type=Path, help="a bill as it was issued, to compare (replay)")
    parser.add_argument("--at", type=int, help="stop at this position (trial-balance)")
    parser.add_argument("--position", type=int, help="the event to prove (proof)")
    parser.add_argument("--size", type=int, help="in the log of this many events (proof)")
    parser.add_argument("--first", type=int, help="the size of the older log (consistency)")
    parser.add_argument("--second", type=int, help="the size of the newer log (consistency)")
    parser.add_argument("--out", type=Path, help="write to this file instead of the screen")
    trial_balance.add_arguments(parser)
    statements.add_arguments(parser)
    views.add_arguments(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Do it; 0 when everything holds, 1 with the first break, 2 when asked for wrongly."""
    try:
        with opened(options) as recorder:
            return _ACTIONS[options.action](options, recorder)
    except (BrokenHistoryError, AuditError) as broken:
        errors.print(f"[red]BROKEN[/red] {escape(str(broken))}", soft_wrap=True)
    except CheckpointError as broken:
        errors.print(f"[red]WRONG KEY[/red] {escape(str(broken))}", soft_wrap=True)
    except (PersistenceError, sqlite3.Error) as damage:
        text = escape(str(damage))
        errors.print(f"[red]DAMAGED[/red] the database cannot be read: {text}", soft_wrap=True)
    except NewerSchemaError as newer:
        errors.print(f"[red]NEWER[/red] {escape(str(newer))}", soft_wrap=True)
    except (UsageError, OSError, UnicodeError) as problem:
        errors.print(escape(str(problem)), soft_wrap=True)
        return 2
    return 1


def _audited(options: argparse.Namespace, recorder: StoredLog) -> Audit:
    keys = _keys(options)
    with counted("replaying", recorder.max_notification_id() or 0, errors) as progress:
        return audit(
            recorder.scan(),
            checkpoints=recorder.checkpoints(),
            key=keys[0] if keys else None,
            former=keys[1:],
            check=check_signature,
            progress=progress,
            until=options.at,
        )


def _keys(options: argparse.Namespace) -> tuple[SignerKey, ...]:
    """The log's keys, newest first; none where nobody named one."""
    if options.key:
        return read_keys(options.key)
    path = options.data / "log.pub"
    return read_keys([str(path)]) if path.is_file() else ()


def _verify(options: argparse.Namespace, recorder: LinedLog) -> int:
    keys = _keys(options)
    total = recorder.max_notification_id() or 0
    with counted("verifying", total, errors) as progress:
        found = verify(
            recorder,
            keys=keys,
            check=check_signature,
            progress=progress,
            run=in_processes if total >= PROCESSES_FROM else map,
        )
    kept = [path for path in [options.data / ROTATIONS] if path.is_file()]
    evidence.check_terms(
        recorder.checkpoints(), keys=keys, rotations=evidence.opened_rotations(kept)
    )
    console.print(
        f"[green]VERIFIED[/green] {found.events} events, {found.heads} signed heads, "
        f"{found.bills} bills recomputed, trial balance {found.total}"
    )
    console.print(f"root {found.root.hex()}")
    for key in keys:
        console.print(f"signer {key.text}", soft_wrap=True)
    if not keys:
        console.print("no public key given: signatures not checked")
    covered = max((size for size, _ in recorder.checkpoints()), default=0)
    if covered < found.events:
        console.print(f"{found.events - covered} events are not under a signed head yet")
    return 0


def _replay(options: argparse.Namespace, recorder: StoredLog) -> int:
    found = _audited(options, recorder)
    if options.session is None:
        for kind in sorted({type(a).__name__ for a in found.aggregates.values()}):
            count = sum(type(a).__name__ == kind for a in found.aggregates.values())
            console.print(f"{count:>8} {kind}")
        console.print(f"{found.events:>8} events, every aggregate rebuilt")
        return 0
    session = _session(options, found)
    records = session_records(recorder.scan(), session)
    if options.bill is not None:
        return compare(options.bill, records, evidence.tree_of(recorder))
    _write(options, json.dumps(recompute(records), indent=1))
    return 0


def _trial_balance(options: argparse.Namespace, recorder: StoredLog) -> int:
    found = _audited(options, recorder)
    return trial_balance.show(options, found.books, recorder.scan)


def _bill(options: argparse.Namespace, recorder: StoredLog) -> int:
    found = _audited(options, recorder)
    session = _session(options, found)
    records = session_records(recorder.scan(), session)
    keys = _keys(options)
    if not keys:
        raise UsageError("a bill names its signer: give --key, or keep log.pub in the data folder")
    last = max(record.position for record in records)
    note = next((note for size, note in recorder.checkpoints() if size >= last), None)
    if note is None:
        raise UsageError(
            "no signed head covers this session yet; ask the gateway for the bill once"
        )
    head = open_head(note, keys=keys, check=check_signature)
    tree = evidence.tree_of(recorder)
    size = head.checkpoint.size
    document = bill_document(
        records,
        checkpoint=note,
        signer=head.signers[0].text,
        proofs={r.position: tree.inclusion_proof(r.position - 1, size) for r in records},
    )
    _write(options, json.dumps(document, indent=1))
    return 0


def _proof(options: argparse.Namespace, recorder: StoredLog) -> int:
    _write(options, evidence.proof(options, recorder))
    return 0


def _consistency(options: argparse.Namespace, recorder: StoredLog) -> int:
    _write(options, evidence.consistency(options, recorder))
    return 0


def _export(options: argparse.Namespace, recorder: StoredLog) -> int:
    return evidence.export(options, recorder, _keys(options))


def _session(options: argparse.Namespace, found: Audit) -> Session:
    session = found.aggregates.get(options.session) if options.session else None
    if not isinstance(session, Session):
        raise UsageError(f"no session {options.session} (give one with --session)")
    if session.is_open:
        raise UsageError(f"session {session.id} is still open: it has no bill before its end")
    return session


def _write(options: argparse.Namespace, text: str) -> None:
    if options.out is None:
        print(text)
    else:
        options.out.write_text(text + "\n", encoding="utf-8")


_ACTIONS = {
    "balances": views.balances,
    "bill": _bill,
    "consistency": _consistency,
    "export": _export,
    "proof": _proof,
    "rebuild": views.rebuild_lists,
    "replay": _replay,
    "reservations": views.reservations,
    "rooms": rooms,
    "statement": statements.run,
    "trial-balance": _trial_balance,
    "usage": views.usage,
    "verify": _verify,
}
