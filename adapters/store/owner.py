"""The one owner of the ledger: commands in, whole batches committed, replies once durable."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar
from uuid import UUID

from eventsourcing.domain import DomainEventProtocol
from eventsourcing.persistence import IntegrityError, PersistenceError

from adapters.store.cache import AggregateCache
from adapters.store.fence import FencedError
from adapters.store.keeper import SnapshotKeeper
from domain.aggregate import LedgerAggregate
from domain.errors import BusyError, LedgerDownError
from domain.ledger import Ledger, Work
from domain.record import Record
from domain.snapshot import SnapshotStore

T = TypeVar("T")
QUEUE_MAX = 10_000
BATCH_MAX = 512
ATTEMPTS_MAX = 3

log = logging.getLogger(__name__)


class Reply(Protocol):
    """Where an answer goes, told in its own event loop: a future, or whoever asks from outside."""

    def get_loop(self) -> asyncio.AbstractEventLoop: ...

    def done(self) -> bool: ...

    def set_result(self, result: Any, /) -> None: ...  # noqa: ANN401 (any command's answer)

    def set_exception(self, exception: BaseException, /) -> None: ...


@dataclass(eq=False, slots=True)
class _Job:
    """A command, whoever waits for its answer, and what becomes of it.

    Of its batch's events those from `first` up to `end` are its own.
    """

    command: Callable[[Work], Any]
    reply: Reply
    answer: Any = None
    failure: BaseException | None = None
    first: int = 0
    end: int = 0


class LedgerOwner:
    """Implements `Books` with one thread.

    While a batch is being flushed the next one fills, so that light load makes batches of one and
    heavy load large ones. A command sees the ones before it in its batch. If a batch fails it is
    halved until the one that broke it stands alone: neighbours of a poisonous command do not pay.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        history: Callable[[Sequence[UUID]], tuple[Record, ...]],
        committed: Callable[[tuple[Record, ...]], None],
        confirm: Callable[[], None] = lambda: None,
    ) -> None:
        """`confirm` raises FencedError where another process may have written meanwhile.

        It is asked before answers that no write of our own bears out.
        """
        self._ledger = ledger
        self._confirm = confirm
        self._history = history
        self._committed = committed
        self._cache = AggregateCache()
        self._queue: deque[_Job] = deque()
        self._filled = threading.Condition()
        self._keeper: SnapshotKeeper | None = None
        if isinstance(ledger.recorder, SnapshotStore):
            self._keeper = SnapshotKeeper(ledger.recorder, events=ledger.recorder)
        self._idle = False
        self._closing = False
        self._position = ledger.position
        self._thread = threading.Thread(target=self._serve, name="ledger-owner", daemon=True)
        self._begin()

    def _begin(self) -> None:
        self._thread.start()

    @property
    def position(self) -> int:
        return self._position

    async def run(self, command: Callable[[Work], T]) -> T:
        reply: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        if not self.submit([(command, reply)]):
            raise BusyError
        # A caller that goes away does not undo a command: the reply is dropped, not the work.
        return await reply

    def submit(self, asked: Sequence[tuple[Callable[[Work], Any], Reply]]) -> int:
        """Take in commands, in order, as many as there is room for; returns how many."""
        with self._filled:
            room = 0 if self._closing else max(0, QUEUE_MAX - len(self._queue))
            self._queue.extend(_Job(command, reply) for command, reply in asked[:room])
            self._wake()
        return min(room, len(asked))

    async def history(self, originator_ids: Sequence[UUID]) -> tuple[Record, ...]:
        return await asyncio.to_thread(self._history, originator_ids)

    def close(self) -> None:
        """Commit what is queued, then stop; later commands are refused as busy."""
        with self._filled:
            self._closing = True
            self._filled.notify()
        self._thread.join()
        if self._keeper is not None:
            self._keeper.close()

    def _wake(self) -> None:
        if self._idle:
            self._filled.notify()

    def _serve(self) -> None:
        while True:
            with self._filled:
                self._idle = True
                while not self._queue and not self._closing:
                    self._filled.wait()
                self._idle = False
                if not self._queue:
                    return
                batch = self._next_batch()
            self._commit(batch)

    def _next_batch(self) -> list[_Job]:
        return [self._queue.popleft() for _ in range(min(len(self._queue), BATCH_MAX))]

    def _commit(self, batch: list[_Job], attempt: int = 1) -> None:
        overlay: dict[int, LedgerAggregate] = {}
        events: list[DomainEventProtocol[UUID]] = []
        try:
            for job in batch:
                self._decide(job, overlay, events)
            records: tuple[Record, ...] = ()
            if events:
                records = self._ledger.append(events)
            else:
                self._confirm()
        except Exception as failure:  # noqa: BLE001 (an event that cannot be written must not end the thread)
            self._retry(batch, overlay, failure, attempt)
            return
        self._show(overlay)
        self._cache.keep(overlay)
        if records:
            self._tell(records)
            for job in batch:
                # Asked by name: to check a protocol takes as long as to decide a command.
                placed = getattr(job.answer, "placed", None)
                if placed is not None:
                    job.answer = placed(records[job.first : job.end])
        _reply(batch)

    def _tell(self, records: tuple[Record, ...]) -> None:
        """Let the followers know. The events are durable: whoever fails here is behind, not us."""
        try:
            self._catch_up(records[0].position - 1)
            self._committed(records)
        except Exception:
            log.exception("a follower of the ledger failed")
        self._position = records[-1].position

    def _catch_up(self, head: int) -> None:
        """Tell of what was stored without our knowing: by another, or where a write seemed lost."""
        while self._position < head:
            missed = self._ledger.records(after=self._position, limit=head - self._position)
            self._position = missed[-1].position
            self._committed(missed)

    def _decide(
        self,
        job: _Job,
        overlay: dict[int, LedgerAggregate],
        events: list[DomainEventProtocol[UUID]],
    ) -> None:
        """Run one command over the batch so far; a refusal leaves the batch as it was."""
        work = Work(lambda aggregate_id: self._fetch(aggregate_id, overlay))
        try:
            job.answer, job.failure = job.command(work), None
        except PersistenceError:
            raise
        except Exception as refusal:  # noqa: BLE001 (whatever a command raises is its caller's)
            job.failure = refusal
            return
        made, changed = work.collect()
        job.first, job.end = len(events), len(events) + len(made)
        events.extend(made)
        for aggregate in changed:
            overlay[aggregate.id.int] = aggregate

    def _retry(
        self,
        batch: list[_Job],
        overlay: dict[int, LedgerAggregate],
        failure: Exception,
        attempt: int,
    ) -> None:
        """Decide again on fresh state, in halves, a bounded number of times for the last one."""
        self._cache.drop(overlay)
        if isinstance(failure, PersistenceError):
            # It may have been stored all the same, or another's came first: followers must see it,
            # since a command that is decided again may find its work done and write nothing.
            with contextlib.suppress(PersistenceError):
                self._catch_up(self._ledger.position)
        if isinstance(failure, FencedError):
            _refuse(batch, failure)
        elif len(batch) > 1:
            middle = len(batch) // 2
            self._commit(batch[:middle])
            self._commit(batch[middle:])
        elif isinstance(failure, IntegrityError) and attempt < ATTEMPTS_MAX:
            self._commit(batch, attempt + 1)
        elif not isinstance(failure, PersistenceError):
            # The events could not even be written down: the command's own fault.
            batch[0].failure = failure
            _reply(batch)
        else:
            log.error("ledger write failed", extra={"failure": str(failure)})
            _refuse(batch, failure)

    def _fetch(
        self, aggregate_id: UUID, overlay: dict[int, LedgerAggregate]
    ) -> LedgerAggregate | None:
        number = aggregate_id.int
        found = overlay.get(number) or self._cache.get(number)
        if found is None:
            found = self._ledger.load(aggregate_id)
            if found is not None:
                self._show({number: found})
                self._cache.keep({number: found})
        return found

    def _show(self, aggregates: dict[int, LedgerAggregate]) -> None:
        """Let the keeper of snapshots see what has changed, or was read."""
        if self._keeper is not None:
            for number, aggregate in aggregates.items():
                before = self._cache.get(number)
                self._keeper.show(aggregate, known=0 if before is None else before.version)


def _refuse(jobs: Sequence[_Job], failure: Exception) -> None:
    """The store did not take it."""
    for job in jobs:
        job.failure = LedgerDownError()
        job.failure.__cause__ = failure
    _reply(jobs)


def _reply(jobs: Sequence[_Job]) -> None:
    """Answer whoever waits; each event loop is woken once, since waking one is dear."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Job]] = {}
    for job in jobs:
        by_loop.setdefault(job.reply.get_loop(), []).append(job)
    for loop, answered in by_loop.items():
        # A loop that was closed meanwhile has nobody left to tell.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(_deliver, answered)


def _deliver(jobs: Sequence[_Job]) -> None:
    for job in jobs:
        if job.reply.done():
            continue
        if job.failure is None:
            job.reply.set_result(job.answer)
        else:
            job.reply.set_exception(job.failure)
