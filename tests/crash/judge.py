"""Reads a killed ledger from outside, and holds it against what was acknowledged."""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import dataclass, field
from uuid import UUID

import psycopg

from adapters.keys import check_signature
from adapters.store.audit import audit
from adapters.store.postgres import PostgresRecorder
from adapters.store.sqlite import LedgerRecorder
from domain.ledger import Ledger
from domain.record import Record
from tests.crash.load import environment
from tests.fakes.log import SIGNER_KEY
from tests.simulation.onlooker import Onlooker, Place
from tests.simulation.storage import Commit

RECORDS_MAX = 1_000_000
BATCHES = "SELECT first, last, epoch, hash, chain FROM ledger_batches WHERE last > %s ORDER BY last"


@dataclass
class Transactions:
    """What an onlooker asks of a store: the records, and where each transaction ended."""

    found: tuple[Record, ...] = ()
    commits: list[Commit] = field(default_factory=list)

    @property
    def watched(self) -> Transactions:
        return self

    def records(self, *, after: int, limit: int) -> tuple[Record, ...]:
        return tuple(record for record in self.found[:limit] if record.position > after)


class BrokenChainError(AssertionError):
    """The table of batches does not say what the events say."""


class Judge:
    """One ledger's, over all lives of its processes. Each look reads what is new and checks it."""

    def __init__(self, store: str) -> None:
        self._store = store
        self._ledger = Ledger(env=environment(store))
        self._transactions = Transactions()
        self._onlooker = Onlooker(self._transactions)
        self._digests: dict[Place, str] = {}
        self._chain = b""

    @property
    def events(self) -> int:
        return self._onlooker.position

    def look(self) -> None:
        """Take in what is stored; AssertionError where an invariant or the chain breaks."""
        after = self.events
        if self._store.startswith("postgresql:"):
            records = self._read_batches(after)
        else:
            records = self._ledger.records(after=after, limit=RECORDS_MAX)
        if records and not self._store.startswith("postgresql:"):
            # SQLite keeps no batches: all that is new must hold where it ends.
            self._transactions.commits.append(Commit(after + 1, records[-1].position, 0, 0))
        for record in records:
            digest = hashlib.sha256(record.state).hexdigest()
            self._digests[(record.originator_id, record.originator_version)] = digest
        self._transactions.found = records
        self._onlooker.look()
        assert self.events == after + len(records)

    def lost(self, answers: bytes) -> tuple[int, int]:
        """How many commands were acknowledged in whole lines, and how many are not there."""
        acknowledged = lost = 0
        for line in answers.split(b"\n")[:-1]:
            acknowledged += 1
            events = json.loads(line)
            lost += any(self._digests.get((UUID(i), v)) != digest for i, v, digest in events)
        return acknowledged, lost

    def close(self) -> int:
        """The whole history audited from its first event; how many signed heads held."""
        recorder = self._ledger.recorder
        assert isinstance(recorder, PostgresRecorder | LedgerRecorder)
        records = tuple(recorder.scan())
        found = audit(
            records,
            checkpoints=recorder.checkpoints(),
            key=SIGNER_KEY,
            check=check_signature,
            progress=lambda _done: None,
        )
        assert found.books.total == 0
        assert found.aggregates == self._onlooker.aggregates
        self._ledger.close()
        return found.checkpoints

    def _read_batches(self, after: int) -> tuple[Record, ...]:
        """What is new, by the chain over the batches, computed again outside the database.

        The batches first: a server may still finish what a process sent before it was killed.
        """
        with psycopg.connect(self._store, autocommit=True) as connection:
            rows = connection.execute(BATCHES, (after,)).fetchall()
        head = rows[-1][1] if rows else after
        records = self._ledger.records(after=after, limit=head - after) if rows else ()
        expected = after + 1
        for first, last, epoch, stored_hash, stored_chain in rows:
            batch = records[first - after - 1 : last - after]
            leaves = b"".join(record.leaf + b"\n" for record in batch)
            digest = hashlib.sha256(leaves).digest()
            chained = self._chain + digest + struct.pack(">qq", first, last)
            self._chain = hashlib.sha256(chained).digest()
            if (first, digest, self._chain) != (expected, bytes(stored_hash), bytes(stored_chain)):
                raise BrokenChainError(f"batch {first} to {last}")
            expected = last + 1
            self._transactions.commits.append(Commit(first, last, epoch, epoch))
        return records
