"""The one owner of the ledger: commands in, whole batches committed, replies once durable."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import UUID

from eventsourcing.domain import DomainEventProtocol
from eventsourcing.persistence import IntegrityError, PersistenceError

from domain.aggregate import LedgerAggregate
from domain.errors import BusyError, LedgerDownError
from domain.ledger import Ledger, Work
from domain.record import Record

T = TypeVar("T")
QUEUE_MAX = 10_000
BATCH_MAX = 512
CACHE_MAX = 100_000
ATTEMPTS_MAX = 3

log = logging.getLogger(__name__)


@dataclass(eq=False, slots=True)
class _Job:
    command: Callable[[Work], Any]
    reply: Future[Any] = field(default_factory=Future)


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
    ) -> None:
        self._ledger = ledger
        self._history = history
        self._committed = committed
        self._cache: OrderedDict[UUID, LedgerAggregate] = OrderedDict()
        self._queue: deque[_Job] = deque()
        self._filled = threading.Condition()
        self._closing = False
        self._position = ledger.position
        self._thread = threading.Thread(target=self._serve, name="ledger-owner", daemon=True)
        self._thread.start()

    @property
    def position(self) -> int:
        return self._position

    async def run(self, command: Callable[[Work], T]) -> T:
        job = _Job(command)
        with self._filled:
            if self._closing or len(self._queue) >= QUEUE_MAX:
                raise BusyError
            self._queue.append(job)
            self._filled.notify()
        # A caller that goes away does not undo a command: the reply is dropped, not the work.
        result: T = await asyncio.shield(asyncio.wrap_future(job.reply))
        return result

    async def history(self, originator_ids: Sequence[UUID]) -> tuple[Record, ...]:
        return await asyncio.to_thread(self._history, originator_ids)

    def close(self) -> None:
        """Commit what is queued, then stop; later commands are refused as busy."""
        with self._filled:
            self._closing = True
            self._filled.notify()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            with self._filled:
                while not self._queue and not self._closing:
                    self._filled.wait()
                if not self._queue:
                    return
                batch = [self._queue.popleft() for _ in range(min(len(self._queue), BATCH_MAX))]
            self._commit(batch)

    def _commit(self, batch: list[_Job], attempt: int = 1) -> None:
        overlay: dict[UUID, LedgerAggregate] = {}
        events: list[DomainEventProtocol[UUID]] = []
        answers: list[tuple[_Job, Any]] = []
        try:
            for job in batch:
                self._decide(job, overlay, events, answers)
            records = self._ledger.append(events) if events else ()
        except Exception as failure:  # noqa: BLE001 (an event that cannot be written must not end the thread)
            self._retry(batch, overlay, failure, attempt)
            return
        self._remember(overlay)
        if records:
            self._position = records[-1].position
            self._tell(records)
        for job, answer in answers:
            _reply(job, answer)

    def _tell(self, records: tuple[Record, ...]) -> None:
        """Let the followers know. The events are durable: whoever fails here is behind, not us."""
        try:
            self._committed(records)
        except Exception:
            log.exception("a follower of the ledger failed")

    def _decide(
        self,
        job: _Job,
        overlay: dict[UUID, LedgerAggregate],
        events: list[DomainEventProtocol[UUID]],
        answers: list[tuple[_Job, Any]],
    ) -> None:
        """Run one command over the batch so far; a refusal leaves the batch as it was."""
        work = Work(lambda aggregate_id: self._fetch(aggregate_id, overlay))
        try:
            answer = job.command(work)
        except PersistenceError:
            raise
        except Exception as refusal:  # noqa: BLE001 (whatever a command raises is its caller's)
            answers.append((job, refusal))
            return
        made, changed = work.collect()
        events.extend(made)
        overlay.update(changed)
        answers.append((job, _Value(answer)))

    def _retry(
        self,
        batch: list[_Job],
        overlay: dict[UUID, LedgerAggregate],
        failure: Exception,
        attempt: int,
    ) -> None:
        """Decide again on fresh state, in halves, a bounded number of times for the last one."""
        for aggregate_id in overlay:
            self._cache.pop(aggregate_id, None)
        if len(batch) > 1:
            middle = len(batch) // 2
            self._commit(batch[:middle])
            self._commit(batch[middle:])
        elif isinstance(failure, IntegrityError) and attempt < ATTEMPTS_MAX:
            self._commit(batch, attempt + 1)
        elif not isinstance(failure, PersistenceError):
            # The events could not even be written down: the command's own fault.
            _reply(batch[0], failure)
        else:
            log.error("ledger write failed", extra={"failure": str(failure)})
            refusal = LedgerDownError()
            refusal.__cause__ = failure
            _reply(batch[0], refusal)

    def _fetch(
        self, aggregate_id: UUID, overlay: dict[UUID, LedgerAggregate]
    ) -> LedgerAggregate | None:
        found = overlay.get(aggregate_id) or self._cache.get(aggregate_id)
        if found is None:
            found = self._ledger.load(aggregate_id)
            if found is not None:
                self._remember({aggregate_id: found})
        return found

    def _remember(self, aggregates: dict[UUID, LedgerAggregate]) -> None:
        for aggregate_id, aggregate in aggregates.items():
            self._cache[aggregate_id] = aggregate
            self._cache.move_to_end(aggregate_id)
        while len(self._cache) > CACHE_MAX:
            self._cache.popitem(last=False)


@dataclass(frozen=True, slots=True)
class _Value:
    """Tells what a command returned from what it raised."""

    value: Any


def _reply(job: _Job, answer: _Value | BaseException) -> None:
    if not job.reply.set_running_or_notify_cancel():
        return
    if isinstance(answer, _Value):
        job.reply.set_result(answer.value)
    else:
        job.reply.set_exception(answer)
