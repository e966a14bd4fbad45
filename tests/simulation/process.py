"""One life of a gateway: the real owner, log and lists, stepped by one loop, dead at any time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar
from uuid import UUID

from eventsourcing.persistence import StoredEvent

from adapters.store.keeper import SnapshotKeeper
from adapters.store.sqlite import LedgerRecorder
from domain.aggregate import LedgerAggregate
from domain.gateway import Gateway
from domain.ledger import Ledger, Work
from domain.record import Record
from domain.snapshot import SnapshotStore, take
from domain.use_cases.purchase_credits import Purchases
from domain.use_cases.refund_credits import Refunds
from projections.follow import Follower
from projections.sqlite import SqliteTables
from projections.views import StoredViews
from tests.fakes.stepped import SteppedOwner
from tests.fakes.stored import MAPPER
from tests.fakes.stored_house import merkle_log
from tests.simulation.onlooker import Attempt, Onlooker
from tests.simulation.storage import Died, Storage

T = TypeVar("T")
SNAPSHOT_EVERY = 4


class SteppedKeeper(SnapshotKeeper):
    """Keeps what it is shown at once, and more often, so that a short life has snapshots too."""

    def __init__(self, recorder: LedgerRecorder) -> None:
        self._store: SnapshotStore = recorder
        self._select_events = recorder.select_events

    def show(self, aggregate: LedgerAggregate, *, known: int) -> None:
        if aggregate.version // SNAPSHOT_EVERY != known // SNAPSHOT_EVERY:
            last: Sequence[StoredEvent] = self._select_events(
                aggregate.id, gt=aggregate.version - 1, lte=aggregate.version
            )
            self._store.add_snapshots([take(aggregate, last[0])])

    def close(self) -> None:
        """There is no thread to end."""


class SimulatedOwner(SteppedOwner):
    """Tells of its death, and works while the loop has turns for it."""

    def __init__(self, *arguments: Any, died: Callable[[], None], **options: Any) -> None:  # noqa: ANN401 (the owner's own)
        self._died = died
        super().__init__(*arguments, **options)
        if self._keeper is not None:
            self._keeper.close()
        recorder = self._ledger.recorder
        assert isinstance(recorder, LedgerRecorder)
        self._keeper = SteppedKeeper(recorder)

    def forget(self) -> None:
        """Memory was short: everything is read again."""
        self._cache = type(self._cache)()

    def _work_off(self) -> None:
        try:
            super()._work_off()
        except Died:
            self.abandon()
            self._died()


class SteppedFollower(Follower):
    """Follows when the loop has a turn for it, `patience` turns late; fails when it is told to."""

    def __init__(
        self,
        tables: SqliteTables,
        *,
        read: Callable[[int, int], tuple[Record, ...]],
        head: int,
    ) -> None:
        self.patience = 0
        self.fails = False
        self._is_due = False
        super().__init__(tables, read=read, head=head)
        self._thread.join()

    @property
    def has_failed(self) -> bool:
        return self._failure is not None

    def notify(self, head: int) -> None:
        super().notify(head)
        self._wake()

    async def caught_up(self, position: int) -> None:
        self._head = max(position, self._head)
        self._wake()
        await super().caught_up(position)

    def _follow(self) -> None:
        """There is a loop for this."""

    def _wake(self) -> None:
        if not self._is_due and self._failure is None:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._turn, self.patience)

    def _turn(self, patience: int) -> None:
        if patience:
            asyncio.get_running_loop().call_soon(self._turn, patience - 1)
            return
        self._is_due = False
        if self._closing or self._failure is not None:
            return
        if self.fails:
            self._failure = OSError("the lists' disk is gone")
            self._tell(self._failure)
        elif not self._step() and self._position < self._head:
            self._wake()


class WitnessedBooks:
    """Implements `Books` over an owner, with an onlooker who notes what was asked and answered."""

    def __init__(self, owner: SimulatedOwner, onlooker: Onlooker) -> None:
        self._owner = owner
        self._onlooker = onlooker
        self.is_dead = False

    @property
    def position(self) -> int:
        return self._owner.position

    async def run(self, command: Callable[[Work], T]) -> T:
        self._check_alive()
        attempt = Attempt()
        self._onlooker.attempts.append(attempt)

        def watched(work: Work) -> T:
            # Decided again after a conflict: only the last decision counts.
            attempt.events = ()
            answer = command(work)
            attempt.events = tuple(map(MAPPER.to_stored_event, work.pending()))
            return answer

        answer = await self._owner.run(watched)
        self._check_alive()
        self._onlooker.acknowledge(attempt)
        return answer

    async def history(self, originator_ids: Sequence[UUID]) -> tuple[Record, ...]:
        return await self._owner.history(originator_ids)

    def _check_alive(self) -> None:
        if self.is_dead:
            raise asyncio.CancelledError


class Process:
    """Everything that is gone when a gateway dies. The loop it was made for drives it."""

    def __init__(
        self,
        storage: Storage,
        tables: SqliteTables,
        onlooker: Onlooker,
        world: Gateway,
        died: Callable[[], None],
    ) -> None:
        self.ledger: Ledger = storage.take_over()
        self.epoch = storage.epoch
        recorder = self.ledger.recorder
        assert isinstance(recorder, LedgerRecorder)
        self.recorder = recorder
        self.tables = tables
        self.log = merkle_log(recorder)
        self.follower = self._follower(onlooker)
        self._onlooker = onlooker
        self.owner = SimulatedOwner(
            self.ledger, history=recorder.history, committed=self._committed, died=died
        )
        self.books = WitnessedBooks(self.owner, onlooker)
        self.gateway = replace(
            world, books=self.books, views=StoredViews(tables, self.follower), log=self.log
        )
        self.purchases, self.refunds = Purchases(self.gateway), Refunds(self.gateway)

    def heal_follower(self) -> None:
        """Begin to follow again, where the lists stand."""
        self.follower.close()
        self.follower = self._follower(self._onlooker)
        self.gateway = replace(self.gateway, views=StoredViews(self.tables, self.follower))
        self.purchases, self.refunds = Purchases(self.gateway), Refunds(self.gateway)

    def die(self) -> None:
        """Nothing that it still does reaches the ledger."""
        self.books.is_dead = True
        self.owner.abandon()

    def close(self) -> None:
        self.follower.close()
        self.ledger.close()

    def _follower(self, onlooker: Onlooker) -> SteppedFollower:
        def read(after: int, limit: int) -> tuple[Record, ...]:
            records = self.ledger.records(after=after, limit=limit)
            onlooker.check_followed(after, records)
            return records

        return SteppedFollower(self.tables, read=read, head=self.ledger.position)

    def _committed(self, records: tuple[Record, ...]) -> None:
        self.log.extend(records)
        self.follower.notify(records[-1].position)
