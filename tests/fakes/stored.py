"""Aggregates written to records and read back, without a store."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from uuid import UUID

from eventsourcing.domain import DomainEventProtocol
from eventsourcing.persistence import StoredEvent

from domain.aggregate import LedgerAggregate
from domain.ledger import EventMapper, project
from domain.postings import following
from domain.record import Record, canonical

MAPPER = EventMapper(transcoder=None)  # type: ignore[arg-type]  # it writes its own JSON


class Journal:
    """Takes the pending events of aggregates, in order, as a store would number them."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def save(self, *aggregates: LedgerAggregate) -> None:
        for aggregate in aggregates:
            for event in aggregate.collect_events():
                self.records.append(encode(event, position=len(self.records) + 1))

    def replay(self, aggregate_id: UUID) -> LedgerAggregate | None:
        """The aggregate as its stored events tell it."""
        return project(None, map(decode, self.of(aggregate_id)))

    def of(self, aggregate_id: UUID) -> Sequence[Record]:
        return [r for r in self.records if r.originator_id == aggregate_id]


def encode(event: DomainEventProtocol[UUID], *, position: int) -> Record:
    stored = MAPPER.to_stored_event(event)
    return Record(
        position=position,
        originator_id=event.originator_id,
        originator_version=stored.originator_version,
        topic=stored.topic,
        state=stored.state,
    )


def retold(record: Record, **fields: object) -> Record:
    """The event with other fields, as the keeper of a log could tell it.

    Its postings are made to follow, unless they are among the fields or nothing can follow.
    """
    state = {**record.fields, **fields}
    if "postings" in state and "postings" not in fields:
        with contextlib.suppress(TypeError):
            state["postings"] = following(record.topic, record.originator_id, state)
    return replace(record, state=canonical(state))


def decode(record: Record) -> DomainEventProtocol[UUID]:
    return MAPPER.to_domain_event(
        StoredEvent(
            originator_id=record.originator_id,
            originator_version=record.originator_version,
            topic=record.topic,
            state=record.state,
        )
    )


def replay_all(records: Iterable[Record]) -> dict[UUID, LedgerAggregate]:
    """Every aggregate there is, folded from records alone."""
    found: dict[UUID, LedgerAggregate] = {}
    for record in records:
        aggregate = project(found.get(record.originator_id), [decode(record)])
        assert aggregate is not None
        found[record.originator_id] = aggregate
    return found
