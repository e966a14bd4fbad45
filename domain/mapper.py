"""How an event is written down: flat canonical JSON, one form for each class, read back typed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import cache, lru_cache
from json.encoder import encode_basestring
from operator import attrgetter
from types import NoneType
from typing import Any, cast, get_type_hints
from uuid import UUID

from eventsourcing.domain import DomainEventProtocol
from eventsourcing.persistence import Mapper, MapperDeserialisationError, StoredEvent
from eventsourcing.utils import TopicError, get_topic, resolve_topic

from domain.aggregate import METADATA, event_fields, instant, picker
from domain.money import MICROCREDITS_MAX as INTEGER_MAX
from domain.money import Microcredits
from domain.postings import Postings
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
        event_class = _class_of(stored_event.topic)
        try:
            state = json.loads(stored_event.state)
            version = state.pop("class_version", 1)
            known = getattr(event_class, "class_version", 1)
            _check_version(stored_event.topic, version, known)
            if version < known:
                # As the library has it: an upcast may need to know whose event it is.
                state["originator_id"] = stored_event.originator_id
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
        event: object = object.__new__(event_class)
        event.__dict__.update(values)
        return cast("DomainEventProtocol[UUID]", event)


def check_known(topic: str, state: bytes) -> None:
    """`UnknownEventError` for an event of a newer release; says nothing of its content.

    For whoever goes through a whole history: no JSON is read.
    """
    known = getattr(_class_of(topic), "class_version", 1)
    found = _VERSION.search(state)
    if found is not None:
        _check_version(topic, int(found[1]), known)


# Inside a string its first quote would be escaped, and its last one too.
_VERSION = re.compile(rb'"class_version":([0-9]{1,15})')


@lru_cache(maxsize=256)
def _class_of(topic: str) -> type:
    try:
        found: type = resolve_topic(topic)
    except (TopicError, ValueError) as unknown:
        msg = f"unknown event {topic!r}: written by a newer version of Payphone"
        raise UnknownEventError(msg) from unknown
    return found


def _check_version(topic: str, version: object, known: int) -> None:
    if type(version) is not int or version < 1:
        raise ValueError(f"a class version is a whole number from 1 (got {version!r:.40})")
    if version > known:
        msg = (
            f"{topic} in version {version}: written by a newer Payphone, needed to read it "
            f"(this one knows version {known})"
        )
        raise UnknownEventError(msg)


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
    spell = _SPELL.get(type(value))
    if spell is not None:
        return spell(value)
    if type(value) is int and -INTEGER_MAX <= value <= INTEGER_MAX:
        return value
    return canonical(_plain(value)).decode("utf-8")


_SPELL: dict[type, Callable[[Any], object]] = {
    str: encode_basestring,
    UUID: lambda value: f'"{id_text(value)}"',
    Microcredits: attrgetter("value"),
    NoneType: lambda _: "null",
    Postings: attrgetter("spelled"),
}


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
    Postings: Postings.read,
}


@cache
def _readers(event_class: type) -> tuple[tuple[str, Callable[[Any], object]], ...]:
    """How each stored field of an event becomes its typed value again."""
    hints = get_type_hints(event_class)
    return tuple((name, _READERS[hints[name]]) for name in sorted(event_fields(event_class)))
