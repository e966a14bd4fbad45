"""How an event is written down: flat canonical JSON, one form for each class, read back typed."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from json.encoder import encode_basestring
from typing import Any, cast, get_type_hints
from uuid import UUID

from eventsourcing.domain import DomainEventProtocol
from eventsourcing.persistence import Mapper, MapperDeserialisationError, StoredEvent
from eventsourcing.utils import TopicError, get_topic, resolve_topic

from domain.aggregate import METADATA, event_fields, instant, picker
from domain.money import MICROCREDITS_MAX as INTEGER_MAX
from domain.money import Microcredits
from domain.record import canonical, id_text

# Derived from other fields on the way back, so that a stored event says each thing once.
DERIVED_FIELDS = METADATA


class UnknownEventError(Exception):
    """A stored event this version cannot read; a newer version wrote it, or it is damaged."""


class EventMapper(Mapper[UUID]):
    """Writes events as flat canonical JSON of strings and whole numbers, and reads them typed."""

    def to_stored_event(self, domain_event: DomainEventProtocol[UUID]) -> StoredEvent:
        topic, form, values_of = _form(type(domain_event))
        return StoredEvent(
            originator_id=domain_event.originator_id,
            originator_version=domain_event.originator_version,
            topic=topic,
            state=(form % tuple(map(_spelled, values_of(domain_event.__dict__)))).encode("utf-8"),
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


@cache
def _form(event_class: type) -> tuple[str, str, Callable[[dict[str, Any]], tuple[object, ...]]]:
    """The topic of an event, its JSON with a blank for each value, and the values in that order."""
    names = sorted(event_fields(event_class))
    blanks = dict.fromkeys(names, "%s")
    version = getattr(event_class, "class_version", 1)
    if version > 1:
        blanks["class_version"] = str(version)
    form = ",".join(f'"{name}":{blanks[name]}' for name in sorted(blanks))
    return get_topic(event_class), f"{{{form}}}", picker(names)


def _spelled(value: object) -> object:
    """The value as canonical JSON has it; a number as itself, since it is spelled the same."""
    if isinstance(value, str):
        return encode_basestring(value)
    if isinstance(value, Microcredits):
        return value.value
    if isinstance(value, UUID):
        return f'"{id_text(value)}"'
    if type(value) is int and -INTEGER_MAX <= value <= INTEGER_MAX:
        return value
    return canonical(_plain(value)).decode("utf-8")


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
    return tuple((name, _READERS[hints[name]]) for name in sorted(event_fields(event_class)))
