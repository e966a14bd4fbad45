"""The event-sourced application: how events are written, read back, and changed together."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, TypeVar, cast, runtime_checkable
from uuid import UUID

from eventsourcing.application import AggregateNotFoundError, Application
from eventsourcing.domain import CanMutateAggregate, DomainEventProtocol
from eventsourcing.persistence import InfrastructureFactory, Mapper, StoredEvent
from eventsourcing.utils import Environment, EnvType

from domain.account import Account
from domain.aggregate import LedgerAggregate
from domain.api_key import ApiKey, KeyRing
from domain.bundle import Bundle
from domain.errors import NotFoundError
from domain.mapper import DERIVED_FIELDS, EventMapper, UnknownEventError
from domain.payment import Payment
from domain.payout import Payout, PayoutDay
from domain.price_list import PublishedPriceBook
from domain.record import Record
from domain.session import Session
from domain.snapshot import SnapshotError, SnapshotStore, restore

__all__ = [
    "AGGREGATES",
    "DERIVED_FIELDS",
    "EventMapper",
    "Ledger",
    "UnknownEventError",
    "Work",
    "project",
]

AGGREGATES = (
    Account,
    ApiKey,
    Bundle,
    KeyRing,
    Payment,
    Payout,
    PayoutDay,
    PublishedPriceBook,
    Session,
)
_A = TypeVar("_A", bound=LedgerAggregate)


def project(
    aggregate: LedgerAggregate | None, events: Iterable[DomainEventProtocol[UUID]]
) -> LedgerAggregate | None:
    """The library's projector without its per-event protocol check, which is 70 % of a replay."""
    for event in events:
        aggregate = cast("CanMutateAggregate[UUID]", event).mutate(aggregate)
    return aggregate


@runtime_checkable
class RecordReader(Protocol):
    """A store that gives records as they are, without the library's notifications between."""

    def records(self, *, after: int, limit: int) -> tuple[Record, ...]: ...


class Ledger(Application[UUID]):
    """Every event there is, in one order; `position` counts from 1 without holes."""

    name = "ledger"

    def construct_env(self, name: str, env: EnvType | None = None) -> Environment:
        """Only what was passed in.

        The library would merge the process environment, where a stray variable (a compressor, a
        cipher) makes history unreadable.
        """
        return Environment(name, dict(env or {}))

    def construct_factory(self, env: Environment) -> InfrastructureFactory:
        return InfrastructureFactory.construct(env)

    def construct_mapper(self) -> Mapper[UUID]:
        return EventMapper(self.construct_transcoder())

    def load(self, aggregate_id: UUID) -> LedgerAggregate | None:
        """The aggregate as of its last event, or None; from its snapshot if there is a good one."""
        if isinstance(self.recorder, SnapshotStore):
            snapshot = self.recorder.snapshot(aggregate_id)
            if snapshot is not None:
                with contextlib.suppress(SnapshotError):
                    return self._go_on(snapshot)
        return self.replay(aggregate_id)

    def replay(self, aggregate_id: UUID) -> LedgerAggregate | None:
        """The aggregate as every one of its events has it, or None; no snapshot is looked at."""
        try:
            return cast(
                "LedgerAggregate",
                self.repository.get(aggregate_id, projector_func=cast("Any", project)),
            )
        except AggregateNotFoundError:
            return None

    def _go_on(self, snapshot: StoredEvent) -> LedgerAggregate | None:
        """What the snapshot remembers and what happened since."""
        version = snapshot.originator_version
        events = self.recorder.select_events(snapshot.originator_id, gt=version - 1)
        remembered = restore(snapshot, events[0] if events else None)
        return project(remembered, map(self.mapper.to_domain_event, events[1:]))

    def append(self, events: Sequence[DomainEventProtocol[UUID]]) -> tuple[Record, ...]:
        """Store events in one transaction; return them with their positions."""
        stored = [self.mapper.to_stored_event(event) for event in events]
        positions = self.recorder.insert_events(stored)
        assert positions is not None, "application recorders number what they insert"  # noqa: S101 (states what cannot be otherwise)
        return tuple(
            _record(position, event) for position, event in zip(positions, stored, strict=True)
        )

    def records(self, *, after: int, limit: int) -> tuple[Record, ...]:
        """Events in order, from the first past `after`."""
        if isinstance(self.recorder, RecordReader):
            return self.recorder.records(after=after, limit=limit)
        notes = self.recorder.select_notifications(after, limit, inclusive_of_start=False)
        return tuple(_record(note.id, note) for note in notes)

    @property
    def position(self) -> int:
        """The position of the last event; 0 when there is none."""
        return self.recorder.max_notification_id() or 0


def _record(position: int, stored: StoredEvent) -> Record:
    assert isinstance(stored.originator_id, UUID)  # noqa: S101 (the recorder is configured for UUIDs)
    return Record(
        position=position,
        originator_id=stored.originator_id,
        originator_version=stored.originator_version,
        topic=stored.topic,
        state=stored.state,
    )


class Work:
    """What one command sees and changes: copies, so that a refused command leaves no trace."""

    def __init__(self, fetch: Callable[[UUID], LedgerAggregate | None]) -> None:
        self._fetch = fetch
        # By the ids' numbers: a UUID hashes and compares in Python.
        self._held: dict[int, LedgerAggregate] = {}

    def account(self, account_id: UUID) -> Account:
        return self._need(Account, account_id)

    def session(self, session_id: UUID) -> Session:
        return self._need(Session, session_id)

    def bundle(self, bundle_id: UUID) -> Bundle:
        return self._need(Bundle, bundle_id)

    def payment(self, payment_id: UUID) -> Payment:
        return self._need(Payment, payment_id)

    def payout(self, payout_id: UUID) -> Payout:
        return self._need(Payout, payout_id)

    def api_key(self, key_id: UUID) -> ApiKey:
        return self._need(ApiKey, key_id)

    def find(self, kind: type[_A], aggregate_id: UUID) -> _A | None:
        """The aggregate of this kind with this id, or None."""
        held = self._held.get(aggregate_id.int)
        if held is None:
            found = self._fetch(aggregate_id)
            if found is None:
                return None
            held = self._held[aggregate_id.int] = found.clone()
        return held if isinstance(held, kind) else None

    def add(self, aggregate: LedgerAggregate) -> None:
        """Take in a new aggregate."""
        self._held[aggregate.id.int] = aggregate

    def pending(self) -> list[DomainEventProtocol[UUID]]:
        """The events of this command so far."""
        return [event for held in self._held.values() for event in held.pending_events]

    def collect(self) -> tuple[list[DomainEventProtocol[UUID]], list[LedgerAggregate]]:
        """The events of this command, and the aggregates they came from, with nothing pending."""
        events: list[DomainEventProtocol[UUID]] = []
        changed: list[LedgerAggregate] = []
        for aggregate in self._held.values():
            if aggregate.pending_events:
                events.extend(aggregate.collect_events())
                changed.append(aggregate)
        return events, changed

    def _need(self, kind: type[_A], aggregate_id: UUID) -> _A:
        found = self.find(kind, aggregate_id)
        if found is None:
            raise NotFoundError(what=kind.__name__)
        return found
