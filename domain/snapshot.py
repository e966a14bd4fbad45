"""Aggregates as of some version, kept so that a long history need not be read again.

A snapshot is disposable: it says less than the events it was made from, and whoever finds one that
is older than the code, damaged, or not of this history reads the events instead. Nothing that
checks a history (audit, replay, bills) looks at one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, runtime_checkable
from uuid import UUID

from eventsourcing.persistence import StoredEvent
from eventsourcing.utils import TopicError, get_topic, resolve_topic

from domain.aggregate import LedgerAggregate, instant
from domain.merkle import leaf_hash
from domain.money import Microcredits
from domain.pricing import Tariff
from domain.record import canonical, leaf_bytes

# An aggregate this much further than its last snapshot gets another.
SNAPSHOT_EVENTS = 100
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NOT_STATE = "_pending_events"


@runtime_checkable
class SnapshotStore(Protocol):
    """Keeps one snapshot of each aggregate, the last one added; may lose any of them at any time.

    Shape:  a snapshot is a stored event: whose, at which version, of which aggregate class (its
            topic), and the bytes of `take`.
    Errors: the library's persistence errors; nothing of the ledger depends on them.
    Source: specs/ledger.md, the batch writer.
    """

    def add_snapshots(self, snapshots: Sequence[StoredEvent]) -> None: ...

    def snapshot(self, originator_id: UUID) -> StoredEvent | None: ...


class SnapshotError(ValueError):
    """The snapshot cannot be used; read the events."""


def take(aggregate: LedgerAggregate, last: StoredEvent) -> StoredEvent:
    """The aggregate as of `last`, its latest event; ValueError where it is not of that version."""
    if (aggregate.id, aggregate.version) != (last.originator_id, last.originator_version):
        raise ValueError(f"version {last.originator_version} is not of {aggregate!r}")
    state = {n: _packed(v) for n, v in vars(aggregate).items() if n != _NOT_STATE}
    body = {
        "class_version": _class_version(type(aggregate)),
        "leaf": _leaf(last),
        "state": state,
    }
    return StoredEvent(
        originator_id=aggregate.id,
        originator_version=aggregate.version,
        topic=get_topic(type(aggregate)),
        state=canonical(body),
    )


def restore(snapshot: StoredEvent, last: StoredEvent | None) -> LedgerAggregate:
    """The aggregate again; `last` is the stored event of the snapshot's version, None if missing.

    SnapshotError where the snapshot was made by other code, of another history, or is damaged.
    """
    try:
        kind = resolve_topic(snapshot.topic)
        body = json.loads(snapshot.state)
        if body["class_version"] != _class_version(kind):
            raise SnapshotError(f"of class version {body['class_version']}")
        if last is None or body["leaf"] != _leaf(last):
            raise SnapshotError("of another history")
        state = {name: _unpacked(value) for name, value in body["state"].items()}
        if (state["_id"], state["_version"]) != (last.originator_id, last.originator_version):
            raise SnapshotError("of another version")
    except (TopicError, ValueError, TypeError, LookupError, AttributeError) as damage:
        raise SnapshotError(str(damage)) from damage
    aggregate: LedgerAggregate = object.__new__(kind)
    vars(aggregate).update(state, _pending_events=[])
    return aggregate


def _class_version(kind: type[LedgerAggregate]) -> int:
    """Raised with every change of what an aggregate remembers (specs/vectors/snapshots.jsonl)."""
    version: int = getattr(kind, "class_version", 1)
    return version


def _leaf(event: StoredEvent) -> str:
    assert isinstance(event.originator_id, UUID)  # noqa: S101 (the recorder is configured for UUIDs)
    leaf = leaf_bytes(event.originator_id, event.originator_version, event.topic, event.state)
    return leaf_hash(leaf).hex()


_PACK: Mapping[type, tuple[str, Callable[[Any], object]]] = {
    UUID: ("uuid", str),
    Microcredits: ("microcredits", lambda v: v.value),
    datetime: ("at_ms", lambda v: (v - _EPOCH) // timedelta(milliseconds=1)),
    Tariff: ("tariff", lambda v: [v.unit, v.microcredits, v.per]),
    dict: ("map", lambda v: [[_packed(key), _packed(value)] for key, value in v.items()]),
    tuple: ("tuple", lambda v: [_packed(item) for item in v]),
    set: ("set", sorted),
}
_UNPACK: Mapping[str, Callable[[Any], object]] = {
    "uuid": UUID,
    "microcredits": Microcredits,
    "at_ms": instant,
    "tariff": lambda v: Tariff(unit=v[0], microcredits=v[1], per=v[2]),
    "map": lambda pairs: {_unpacked(key): _unpacked(value) for key, value in pairs},
    "tuple": lambda items: tuple(map(_unpacked, items)),
    "set": set,
}


def _packed(value: object) -> object:
    """A value as JSON that says its type; what JSON has itself stands for itself."""
    if value is None or isinstance(value, bool | int | str):
        return value
    kind, pack = _PACK[type(value)]
    return {kind: pack(value)}


def _unpacked(value: object) -> object:
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    return _UNPACK[kind](content)
