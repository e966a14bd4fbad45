"""A recorder in memory with everything the ones on disk have; what the contract is measured by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from uuid import UUID

# As a module: the library takes the one factory class it finds among this module's names.
from eventsourcing import popo as library
from eventsourcing.persistence import StoredEvent

from domain.record import Record


class MemoryRecorder(library.POPOApplicationRecorder):
    """The library's own recorder, with checkpoints and snapshots beside the events."""

    def __init__(self) -> None:
        super().__init__()
        self._checkpoints: dict[int, str] = {}
        self._snapshots: dict[UUID | str, StoredEvent] = {}

    def history(self, originator_ids: Sequence[UUID]) -> tuple[Record, ...]:
        return tuple(r for r in self.scan() if r.originator_id in originator_ids)

    def scan(self) -> Iterator[Record]:
        with self._database_lock:
            stored = list(self._stored_events)
        for position, event in enumerate(stored, start=1):
            assert isinstance(event.originator_id, UUID)
            yield Record(
                position=position,
                originator_id=event.originator_id,
                originator_version=event.originator_version,
                topic=event.topic,
                state=event.state,
            )

    def add_checkpoint(self, size: int, note: str) -> None:
        self._checkpoints.setdefault(size, note)

    def put_checkpoint(self, size: int, note: str) -> None:
        self._checkpoints[size] = note

    def checkpoints(self) -> tuple[tuple[int, str], ...]:
        return tuple(sorted(self._checkpoints.items()))

    def checkpoint(self, size: int) -> str | None:
        return self._checkpoints.get(size)

    def add_snapshots(self, snapshots: Sequence[StoredEvent]) -> None:
        self._snapshots.update({s.originator_id: s for s in snapshots})

    def snapshot(self, originator_id: UUID) -> StoredEvent | None:
        return self._snapshots.get(originator_id)


class Factory(library.POPOFactory):
    """What `PERSISTENCE_MODULE=tests.fakes.memory_store` makes the library use."""

    def application_recorder(self) -> MemoryRecorder:
        return MemoryRecorder()


def memory_environment() -> dict[str, str]:
    return {"PERSISTENCE_MODULE": "tests.fakes.memory_store"}
