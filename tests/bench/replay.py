"""Reading a log of half a million events: replayed, verified, and one account of it when cold."""

from __future__ import annotations

import gc
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
from eventsourcing.domain import DomainEventProtocol

from adapters.keys import Ed25519Signer, check_signature
from adapters.store.archive import ZipArchive, in_processes, write_archive
from adapters.store.log import MerkleLog
from adapters.store.postgres import PostgresRecorder, postgres_environment
from adapters.store.sqlite import LedgerRecorder, sqlite_environment
from adapters.store.verify import verify
from domain.account import Account
from domain.archive_audit import Run, audit_archive
from domain.checkpoint import SignerKey
from domain.ledger import Ledger, project
from domain.price_list import PublishedPriceBook
from domain.pricing import DEFAULT_PRICE_BOOK
from domain.segment import SegmentFacts, SegmentJob, _fold
from domain.session import Session
from domain.snapshot import SnapshotStore, take
from tests.bench.ledger import ORDER, opened
from tests.bench.report import Row, percentile_ms
from tests.fakes.cluster import SAFE, cluster

EVENTS = 500_000
ACCOUNTS = 200
BATCH = 4_000
BLOCK = 1 << 15
LIBRARY_EVENTS = 50_000
# One account has two events a visit: a hundred thousand in all.
HOT_VISITS = 50_000
COLD_ROUNDS = 50
_SIGNER = Ed25519Signer(bytes(32))
_HOT_ID = opened(0).id
_KEY = SignerKey(name="bench", public=_SIGNER.public)
_COPY = (
    "COPY ledger_events (notification_id, originator_id, originator_version, topic, state) "
    "FROM STDIN (FORMAT BINARY)"
)


def rows() -> list[Row]:
    """Each figure for one process and for one on every core."""
    with tempfile.TemporaryDirectory() as name, cluster(SAFE) as server:
        folder, url = Path(name), server.create_database()
        with (
            Ledger(env=sqlite_environment(str(folder / "log.db"))) as ledger,
            Ledger(env=postgres_environment(url)) as served,
        ):
            _fill(ledger)
            _copy(ledger, url)
            # Off while we read: what replay makes has no cycles.
            with _uncollected():
                made = _replay(ledger, served, folder)
            made += [_cold("SQLite", ledger), _cold("PostgreSQL", served)]
    return made


def _fill(ledger: Ledger) -> None:
    merkle = _signed(ledger)
    pending: list[DomainEventProtocol[UUID]] = []
    stored = 0
    for event in _story():
        pending.append(event)
        if len(pending) == BATCH:
            merkle.extend(ledger.append(pending))
            stored += len(pending)
            pending = []
        if stored >= EVENTS:
            break
    merkle.checkpoint()


def _signed(ledger: Ledger) -> MerkleLog:
    assert isinstance(ledger.recorder, LedgerRecorder)
    return MerkleLog(
        ledger.recorder, origin="bench", key=_KEY, sign=_SIGNER.sign, check=check_signature
    )


def _story() -> Iterator[DomainEventProtocol[UUID]]:
    """Sessions without end: reserved, opened, connected, paused, closed, settled."""
    yield from PublishedPriceBook.publish(DEFAULT_PRICE_BOOK, at_ms=0).collect_events()
    accounts = [opened(i) for i in range(ACCOUNTS)]
    for account in accounts:
        yield from account.collect_events()
    for turn in count():
        is_hot = turn < HOT_VISITS
        yield from _visit(accounts[0 if is_hot else turn % ACCOUNTS], at_ms=10_000 * turn)


def _visit(account: Account, at_ms: int) -> Iterator[DomainEventProtocol[UUID]]:
    session_id, connection_id = uuid4(), uuid4()
    account.reserve(
        ORDER.price, session_id=session_id, service="stt", unit_id=session_id, at_ms=at_ms
    )
    yield from account.collect_events()
    session = Session.open(
        ORDER,
        session_id=session_id,
        account_id=account.id,
        bundle_id=None,
        request_hash="",
        at_ms=at_ms,
    )
    session.resume(connection_id, at_ms=at_ms + 10)
    session.pause(connection_id, at_ms=at_ms + 5_000)
    charged = session.close("ended", at_ms=at_ms + 5_001)
    yield from session.collect_events()
    account.settle(session_id=session_id, service="stt", charged=charged, at_ms=at_ms + 5_001)
    yield from account.collect_events()


def _copy(ledger: Ledger, url: str) -> None:
    """The same log in PostgreSQL."""
    assert isinstance(ledger.recorder, LedgerRecorder)
    with psycopg.connect(url, autocommit=True) as connection:
        with connection.cursor().copy(_COPY) as copy:
            copy.set_types(["int8", "uuid", "int8", "text", "bytea"])
            for r in ledger.recorder.scan():
                copy.write_row(
                    (r.position, r.originator_id, r.originator_version, r.topic, r.state)
                )
        for size, note in ledger.recorder.checkpoints():
            connection.execute("INSERT INTO ledger_checkpoints VALUES (%s, %s)", (size, note))
        connection.execute("VACUUM ANALYZE")


@contextmanager
def _uncollected() -> Iterator[None]:
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _replay(ledger: Ledger, served: Ledger, folder: Path) -> list[Row]:
    filed, recorder = ledger.recorder, served.recorder
    assert isinstance(filed, LedgerRecorder)
    assert isinstance(recorder, PostgresRecorder)
    archive = folder / "log.zip"
    write_archive(
        archive, filed.scan(), heads=filed.checkpoints(), signers=[_KEY], progress=lambda _: None
    )
    library = _library(served)
    rates = {
        "replay, typed fold, PostgreSQL": (
            lambda run: _typed(recorder, run),
            "400,000 events/s",
        ),
        "fully verified, PostgreSQL": (
            lambda run: _verified(recorder, run),
            "350,000 events/s",
        ),
        "fully verified, SQLite": (lambda run: _verified(filed, run), ""),
        "offline bundle verified": (
            lambda run: _audited(archive, run),
            "600,000 events/s",
        ),
    }
    return [_row(name, work, goal, library) for name, (work, goal) in rates.items()]


def _row(name: str, work: Callable[[Run], int], goal: str, library: float) -> Row:
    cpu_s = time.process_time()
    alone = _rate(lambda: work(map))
    cpu_us = (time.process_time() - cpu_s) / EVENTS * 1e6
    every = _rate(lambda: work(in_processes))
    return Row(
        name=f"{name}, {EVENTS:,} events",
        ours=f"{alone:,.0f}/s in one process ({cpu_us:.1f} µs each), {every:,.0f} on every core",
        peer=f"{library:,.0f} events/s",
        peer_name="the library's objects",
        ratio=max(alone, every) / library,
        goal=goal,
    )


def _rate(work: Callable[[], int]) -> float:
    began = time.perf_counter()
    return work() / (time.perf_counter() - began)


def _library(served: Ledger) -> float:
    """Events of the library's own log, mapped to its events and projected on its aggregates."""

    def work() -> int:
        found: dict[UUID, object] = {}
        for start in range(1, LIBRARY_EVENTS, BATCH):
            for note in served.recorder.select_notifications(start, BATCH):
                event = served.mapper.to_domain_event(note)
                known: object = found.get(event.originator_id)
                found[event.originator_id] = project(known, [event])  # type: ignore[arg-type]  # what project gave before
        return start + BATCH - 1

    return _rate(work)


def typed(job: SegmentJob) -> SegmentFacts:
    """Books and sessions of a block, with nothing hashed."""
    facts = SegmentFacts(first=job.first)
    _fold(job.load().split(b"\n")[:-1], facts)
    facts.sessions.clear()
    return facts


def _typed(recorder: PostgresRecorder, run: Run) -> int:
    events, _, _ = recorder.extent()
    jobs = (
        SegmentJob(
            first=first,
            load=recorder.lines(first, min(BLOCK, events + 1 - first)),
            heads=(),
            keys=(),
            check=check_signature,
        )
        for first in range(1, events + 1, BLOCK)
    )
    return sum(facts.events for facts in run(typed, jobs))


def _verified(recorder: LedgerRecorder | PostgresRecorder, run: Run) -> int:
    found = verify(recorder, keys=[_KEY], check=check_signature, progress=lambda _: None, run=run)
    return found.events


def _audited(archive: Path, run: Run) -> int:
    found = audit_archive(
        ZipArchive(archive),
        keys=[_KEY],
        check=check_signature,
        run=run,
        progress=lambda _: None,
    )
    return found.history.events


def _cold(store: str, ledger: Ledger) -> Row:
    """The account of a hundred thousand events, from its snapshot and from all of them."""
    recorder = ledger.recorder
    assert isinstance(recorder, SnapshotStore)
    began = time.perf_counter()
    account = ledger.replay(_HOT_ID)
    replayed_ms = (time.perf_counter() - began) * 1_000
    assert account is not None
    (last,) = recorder.select_events(_HOT_ID, gt=account.version - 1)
    recorder.add_snapshots([take(account, last)])
    took_ms = []
    for _ in range(COLD_ROUNDS):
        began = time.perf_counter()
        loaded = ledger.load(_HOT_ID)
        took_ms.append((time.perf_counter() - began) * 1_000)
        assert loaded == account
    return Row(
        name=f"cold account of {account.version:,} events, {store}",
        ours=f"p50 {percentile_ms(took_ms, 50)}  p99 {percentile_ms(took_ms, 99)}",
        peer=f"{replayed_ms:,.0f} ms",
        peer_name="from all its events",
        ratio=replayed_ms / sorted(took_ms)[len(took_ms) // 2],
        goal="1 ms",
    )
