"""The event-sourced application: how events are written, read back, and changed together."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from functools import cache
from typing import Any, TypeVar, cast, get_type_hints
from uuid import UUID

from eventsourcing.application import AggregateNotFoundError, Application
from eventsourcing.domain import CanMutateAggregate, DomainEventProtocol
from eventsourcing.persistence import (
    InfrastructureFactory,
    Mapper,
    MapperDeserialisationError,
    StoredEvent,
)
from eventsourcing.utils import Environment, EnvType, TopicError, get_topic, resolve_topic

from domain.account import Account
from domain.aggregate import LedgerAggregate, instant
from domain.bundle import Bundle
from domain.errors import NotFoundError
from domain.money import MICROCREDITS_MAX as INTEGER_MAX
from domain.money import Microcredits
from domain.payment import Payment
from domain.price_list import PublishedPriceBook
from domain.record import Record, canonical
from domain.session import Session

AGGREGATES = (Account, Bundle, Payment, PublishedPriceBook, Session)
# Derived from other fields on the way back, so that a stored event says each thing once.
DERIVED_FIELDS = frozenset({"originator_id", "originator_version", "timestamp", "originator_topic"})
_A = TypeVar("_A", bound=LedgerAggregate)


class UnknownEventError(Exception):
    """A stored event this version cannot read; a newer version wrote it, or it is damaged."""


class EventMapper(Mapper[UUID]):
    """Writes events as flat canonical JSON of strings and whole numbers, and reads them typed."""

    def to_stored_event(self, domain_event: DomainEventProtocol[UUID]) -> StoredEvent:
        state = {
            name: _plain(value)
            for name, value in vars(domain_event).items()
            if name not in DERIVED_FIELDS
        }
        version = getattr(type(domain_event), "class_version", 1)
        if version > 1:
            state["class_version"] = version
        return StoredEvent(
            originator_id=domain_event.originator_id,
            originator_version=domain_event.originator_version,
            topic=get_topic(type(domain_event)),
            state=canonical(state),
        )

    def to_domain_event(self, stored_event: StoredEvent) -> DomainEventProtocol[UUID]:
        try:
            event_class = resolve_topic(stored_event.topic)
        except (TopicError, ValueError) as unknown:
            msg = f"unknown event {stored_event.topic!r}: written by a newer version of Payphone"
            raise UnknownEventError(msg) from unknown
        try:
            state = json.loads(stored_event.state)
            version = state.pop("class_version", 1)
            known = getattr(event_class, "class_version", 1)
            if version > known:
                msg = f"{stored_event.topic} in version {version}: written by a newer Payphone"
                raise UnknownEventError(msg)
            while version < known:
                getattr(event_class, f"upcast_v{version}_v{version + 1}")(state)
                version += 1
            values: dict[str, Any] = {
                name: read(state[name]) for name, read in _readers(event_class)
            }
        except (KeyError, TypeError, ValueError, AttributeError) as damage:
            msg = (
                f"{stored_event.topic} of {stored_event.originator_id} version "
                f"{stored_event.originator_version} cannot be read: {damage!r}"
            )
            raise MapperDeserialisationError(msg) from damage
        values["originator_id"] = stored_event.originator_id
        values["originator_version"] = stored_event.originator_version
        values["timestamp"] = instant(values["at_ms"])
        values["originator_topic"] = stored_event.topic.partition(".")[0]
        event = object.__new__(event_class)
        event.__dict__.update(values)
        return cast("DomainEventProtocol[UUID]", event)


def _plain(value: object) -> object:
    match value:
        case Microcredits():
            return value.value
        case UUID():
            return str(value)
        case tuple():
            return [_plain(item) for item in value]
        case None | bool() | str():
            return value
        case int() if abs(value) <= INTEGER_MAX:
            return value
    msg = f"events hold strings, whole numbers below 2^53, ids and money (got {value!r:.60})"
    raise TypeError(msg)


_READERS: dict[object, Callable[[Any], object]] = {
    int: int,
    str: str,
    bool: bool,
    UUID: UUID,
    Microcredits: Microcredits,
    UUID | None: lambda value: None if value is None else UUID(value),
    tuple[UUID, ...]: lambda values: tuple(UUID(value) for value in values),
}


@cache
def _readers(event_class: type) -> tuple[tuple[str, Callable[[Any], object]], ...]:
    """How each stored field of an event becomes its typed value again."""
    hints = get_type_hints(event_class)
    return tuple(
        (field.name, _READERS[hints[field.name]])
        for field in fields(event_class)
        if field.name not in DERIVED_FIELDS
    )


def project(
    aggregate: LedgerAggregate | None, events: Iterable[DomainEventProtocol[UUID]]
) -> LedgerAggregate | None:
    """The library's projector without its per-event protocol check, which is 70 % of a replay."""
    for event in events:
        aggregate = cast("CanMutateAggregate[UUID]", event).mutate(aggregate)
    return aggregate


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
        """The aggregate as of its last event, or None."""
        try:
            return cast(
                "LedgerAggregate",
                self.repository.get(aggregate_id, projector_func=cast("Any", project)),
            )
        except AggregateNotFoundError:
            return None

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
        self._held: dict[UUID, LedgerAggregate] = {}

    def account(self, account_id: UUID) -> Account:
        return self._need(Account, account_id)

    def session(self, session_id: UUID) -> Session:
        return self._need(Session, session_id)

    def bundle(self, bundle_id: UUID) -> Bundle:
        return self._need(Bundle, bundle_id)

    def payment(self, payment_id: UUID) -> Payment:
        return self._need(Payment, payment_id)

    def find(self, kind: type[_A], aggregate_id: UUID) -> _A | None:
        """The aggregate of this kind with this id, or None."""
        held = self._held.get(aggregate_id)
        if held is None:
            found = self._fetch(aggregate_id)
            if found is None:
                return None
            held = self._held[aggregate_id] = found.clone()
        return held if isinstance(held, kind) else None

    def add(self, aggregate: LedgerAggregate) -> None:
        """Take in a new aggregate."""
        self._held[aggregate.id] = aggregate

    def collect(self) -> tuple[list[DomainEventProtocol[UUID]], dict[UUID, LedgerAggregate]]:
        """The events of this command, and the aggregates they came from, with nothing pending."""
        events: list[DomainEventProtocol[UUID]] = []
        changed: dict[UUID, LedgerAggregate] = {}
        for aggregate_id, aggregate in self._held.items():
            pending = aggregate.collect_events()
            if pending:
                events.extend(pending)
                changed[aggregate_id] = aggregate
        return events, changed

    def _need(self, kind: type[_A], aggregate_id: UUID) -> _A:
        found = self.find(kind, aggregate_id)
        if found is None:
            raise NotFoundError(what=kind.__name__)
        return found
