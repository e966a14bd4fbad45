"""Who runs a command: the one owner of the ledger, who commits whole batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol, Self, TypeVar
from uuid import UUID

from domain.record import Record

if TYPE_CHECKING:
    from domain.ledger import Work

T = TypeVar("T")


class Placed(Protocol):
    """An answer that says where what its command wrote stands in the log."""

    def placed(self, records: Sequence[Record]) -> Self:
        """The same answer, knowing these records: the command's own, which are durable now."""
        ...


class Books(Protocol):
    """Runs commands against the ledger, one at a time, each all or nothing.

    Shape:  a command is a value that may cross a process: a module-level function and its
            arguments, ids and times among them. It may run more than once, and then changes
            nothing and gives the first answer. What it returns comes back once it is durable, and
            where that is `Placed`, knowing where.
    Errors: whatever the command raises; `BusyError` when the queue is full (nothing was done);
            `LedgerDownError` where it was not done or nobody can tell: ask the same again.
    Source: specs/billing.md; design of the batch writer in specs/ledger.md.
    """

    @property
    def position(self) -> int:
        """The position of the last durable event."""
        ...

    async def run(self, command: Callable[[Work], T]) -> T: ...

    async def history(self, originator_ids: Sequence[UUID]) -> tuple[Record, ...]:
        """Every record of these aggregates, by position."""
        ...
