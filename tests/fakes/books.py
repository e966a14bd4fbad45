"""The ledger in memory, behind the same port as the one on disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar
from uuid import UUID

from domain.errors import BusyError, LedgerDownError
from domain.ledger import Ledger, Work
from domain.record import Record

T = TypeVar("T")
_READ_MAX = 1_000_000


class MemoryBooks:
    """Implements `Books`: commands one at a time, each all or nothing, on the library's own store.

    Faults: `busy` refuses commands before they run; `down` loses them where they would be stored.
    `on_commit` hears every batch.
    """

    def __init__(self, on_commit: Callable[[tuple[Record, ...]], None] | None = None) -> None:
        self.ledger = Ledger(env={})
        self.busy = False
        self.down = False
        self._on_commit = on_commit

    @property
    def position(self) -> int:
        return self.ledger.position

    async def run(self, command: Callable[[Work], T]) -> T:
        if self.busy:
            raise BusyError
        work = Work(self.ledger.load)
        answer = command(work)
        events, _ = work.collect()
        if events and self.down:
            raise LedgerDownError
        if events:
            records = self.ledger.append(events)
            if self._on_commit is not None:
                self._on_commit(records)
            placed = getattr(answer, "placed", None)
            if placed is not None:
                answer = placed(records)
        return answer

    async def history(self, originator_ids: Sequence[UUID]) -> tuple[Record, ...]:
        return tuple(r for r in self.records() if r.originator_id in originator_ids)

    def records(self) -> tuple[Record, ...]:
        """Every event there is, in order."""
        return self.ledger.records(after=0, limit=_READ_MAX)
