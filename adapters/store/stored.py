"""What the log and the auditor's tools ask of a recorder, whichever store it keeps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol
from uuid import UUID

from eventsourcing.persistence import Notification

from domain.record import Record


class NewerSchemaError(Exception):
    """The tables were made by a newer Payphone."""


class StoredLog(Protocol):
    """Events in order, and the signed heads over them.

    Shape:  `scan` gives every record with whatever positions the store has, lowest first;
            `checkpoints` gives (size, note), smallest first.
    Errors: the library's `PersistenceError` where the store cannot be read.
    Source: specs/ledger.md, sections 1 and 5.
    """

    def max_notification_id(self) -> int | None: ...

    def select_notifications(self, start: int | None, limit: int) -> Sequence[Notification]: ...

    def history(self, originator_ids: Sequence[UUID]) -> tuple[Record, ...]: ...

    def records(self, *, after: int, limit: int) -> tuple[Record, ...]: ...

    def scan(self) -> Iterator[Record]: ...

    def checkpoints(self) -> tuple[tuple[int, str], ...]: ...

    def checkpoint(self, size: int) -> str | None: ...

    def add_checkpoint(self, size: int, note: str) -> None:
        """Keep a signed head; the first one of a size stays."""
        ...

    def put_checkpoint(self, size: int, note: str) -> None:
        """Keep a signed head in place of the one of its size: the same with more signatures."""
        ...
