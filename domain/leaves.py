"""Reads canonical leaves without a JSON decoder.

One pattern for every event of this version proves that a leaf is spelled canonically, has the
fields and types of its event, and finds the few values that money depends on. What no pattern knows
(older event versions, escaped text, anything damaged) takes the slow road, which decides.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, cast, get_type_hints
from uuid import UUID

from eventsourcing.domain import AggregateCreated
from eventsourcing.persistence import MapperDeserialisationError, StoredEvent

from domain.aggregate import LedgerEvent
from domain.ledger import AGGREGATES, DERIVED_FIELDS, EventMapper, UnknownEventError
from domain.money import Microcredits
from domain.record import Record, canonical, nesting

Values = Sequence[bytes]
"""The wanted fields of an event in the order of `WANTED`, as they are spelled."""

WANTED: Mapping[bytes, tuple[str, ...]] = {
    b"account.credits_purchased": ("amount", "rail"),
    b"account.credits_reserved": ("amount", "session_id"),
    b"account.reservation_settled": ("charged", "refunded", "service", "session_id"),
    b"price_book.published": ("content", "content_hash", "version_name"),
    b"session.opened": (
        *("account_id", "expires_at_ms", "price_book", "quantity", "rate_microcredits"),
        *("rate_per", "reserved", "service", "unit"),
    ),
    b"session.extended": ("expires_at_ms", "quantity", "reserved"),
    b"session.clock_resumed": ("at_ms",),
    b"session.clock_paused": ("at_ms", "used_ms"),
    b"session.characters_spoken": ("used_characters",),
    b"session.closed": ("charged", "refunded", "used"),
}
"""By topic; each in the order of its name, as canonical JSON has them."""

_ID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
# Up to 15 digits, all below 2^53; larger ones take the slow road, which knows the limit.
_WHOLE = "0|[1-9][0-9]{0,14}"
# Text that needs no escape and is spelled in ASCII; any other takes the slow road.
_TEXT = r'[^"\\\x00-\x1f\x80-\xff]*'
_SPELLED: Mapping[object, tuple[str, str]] = {
    int: (f"{_WHOLE}|-[1-9][0-9]{{0,14}}", "{}"),
    Microcredits: (_WHOLE, "{}"),
    bool: ("true|false", "{}"),
    str: (_TEXT, '"{}"'),
    UUID: (_ID, '"{}"'),
    UUID | None: (f'null|"{_ID}"', "{}"),
    tuple[UUID, ...]: (rf'\[(?:"{_ID}"(?:,"{_ID}")*)?\]', "{}"),
}
_FOUND_MAX = 120
_LEVELS_MAX = 32


class LeafError(ValueError):
    """The leaf is not one of ours: what `kind` of break, what was `expected` and `found`."""

    def __init__(self, kind: str, *, expected: object, found: object) -> None:
        super().__init__(f"{kind}: expected {expected}, found {found}")
        self.kind = kind
        self.expected = expected
        self.found = found


@dataclass(frozen=True, slots=True)
class Shape:
    """How the leaves of one event look. `begins` says that it is an aggregate's first."""

    topic: bytes
    aggregate: str
    begins: bool
    pattern: re.Pattern[bytes]


@cache
def shapes() -> Mapping[bytes, Shape]:
    """The shape of every event of this version, by topic."""
    found = {}
    for aggregate in AGGREGATES:
        for event_class in vars(aggregate).values():
            if not isinstance(event_class, type) or not issubclass(event_class, LedgerEvent):
                continue
            topic = getattr(event_class, "TOPIC", None)
            if topic is not None:
                found[topic.encode()] = Shape(
                    topic=topic.encode(),
                    aggregate=aggregate.TOPIC,
                    begins=issubclass(event_class, AggregateCreated),
                    pattern=_pattern(topic, event_class),
                )
    return found


def _pattern(topic: str, event_class: type) -> re.Pattern[bytes]:
    hints = get_type_hints(event_class)
    wanted = WANTED.get(topic.encode(), ())
    spelled = {}
    for name in (field.name for field in fields(event_class) if field.name not in DERIVED_FIELDS):
        inner, outer = _SPELLED[hints[name]]
        group = f"({inner})" if name in wanted else f"(?:{inner})"
        spelled[name] = outer.format(group)
    version = getattr(event_class, "class_version", 1)
    if version > 1:
        spelled["class_version"] = str(version)
    state = ",".join(f'"{name}":{spelled[name]}' for name in sorted(spelled))
    leaf = (
        rf'\{{"originator_id":"({_ID})","originator_version":([1-9][0-9]{{0,14}}),'
        rf'"state":\{{{state}\}},"topic":"{re.escape(topic)}"\}}'
    )
    return re.compile(leaf.encode("latin-1"))


_LEAF_FIELDS = {"originator_id", "originator_version", "state", "topic"}
_MAPPER = EventMapper(transcoder=None)  # type: ignore[arg-type]  # it writes its own JSON


def read_slowly(line: bytes) -> tuple[Shape, bytes, int, Values]:
    """Any leaf this version knows: its shape, originator, version, wanted values; or LeafError."""
    record = parse_leaf(line, position=0)
    topic = record.topic.encode()
    try:
        event = _MAPPER.to_domain_event(
            StoredEvent(
                originator_id=record.originator_id,
                originator_version=record.originator_version,
                topic=record.topic,
                state=record.state,
            )
        )
    except UnknownEventError as unknown:
        raise LeafError(
            "newer event", expected="an event this version of Payphone knows", found=unknown
        ) from unknown
    except (MapperDeserialisationError, ValueError, TypeError, LookupError) as damage:
        raise LeafError("content", expected=f"a valid {record.topic}", found=damage) from damage
    strange = record.fields.keys() - {field.name for field in fields(cast("Any", event))}
    if strange - {"class_version"}:
        raise LeafError("content", expected=f"the fields of {record.topic}", found=sorted(strange))
    if topic not in shapes():
        raise LeafError("topic", expected="an event of the ledger", found=record.topic)
    values = tuple(_spelled(getattr(event, name)) for name in WANTED.get(topic, ()))
    return shapes()[topic], str(record.originator_id).encode(), record.originator_version, values


def parse_leaf(line: bytes, *, position: int) -> Record:
    """The record a leaf's bytes stand for; LeafError where they are not spelled canonically."""
    try:
        is_flat = nesting(line) <= _LEVELS_MAX
        leaf: dict[str, Any] = json.loads(line.decode("utf-8")) if is_flat else {}
        record = Record(
            position=position,
            originator_id=UUID(leaf["originator_id"]),
            originator_version=leaf["originator_version"],
            topic=leaf["topic"],
            state=canonical(leaf["state"]),
        )
        is_whole = type(record.originator_version) is int and record.originator_version > 0
        is_known = leaf.keys() == _LEAF_FIELDS and isinstance(leaf["state"], dict)
        is_same = is_whole and is_known and record.leaf == line
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        is_same = False
    if not is_same:
        shown = line[:_FOUND_MAX].decode("utf-8", "replace")
        raise LeafError("leaf", expected="a leaf in canonical JSON", found=shown or "nothing")
    return record


def _spelled(value: Any) -> bytes:  # noqa: ANN401 (a field of any type)
    match value:
        case Microcredits():
            return str(value.value).encode()
        case bool():
            return b"true" if value else b"false"
        case None:
            return b"null"
    return str(value).encode()
