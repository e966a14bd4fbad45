"""Reads canonical leaves without a JSON decoder.

One pattern for every version of an event proves that a leaf is spelled canonically, has the fields
and types of its event, and finds the few values that money depends on. What no pattern knows
(escaped text, anything damaged) takes the slow road, which decides.
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

from domain.aggregate import LedgerEvent, event_fields
from domain.ledger import AGGREGATES, DERIVED_FIELDS, EventMapper, UnknownEventError
from domain.money import Microcredits
from domain.postings import Postings, PostingsError, postings
from domain.record import Record, canonical, nesting

Values = Sequence[bytes]
"""The wanted fields of an event in the order of `WANTED`, as they are spelled.

Postings are empty where nothing is left to check: the event is of a version that does not say them,
or took the slow road, which compares them.
"""

WANTED: Mapping[bytes, tuple[str, ...]] = {
    b"account.credits_corrected": ("added", "corrects_position", "postings", "removed"),
    b"account.credits_purchased": ("amount", "postings", "rail"),
    b"account.credits_reserved": ("amount", "postings", "session_id"),
    b"account.credits_withdrawn": ("amount", "postings"),
    b"account.payout_paid": ("fee", "paid", "postings", "rail"),
    b"account.payout_returned": ("amount", "postings"),
    b"account.reservation_settled": ("charged", "postings", "refunded", "service", "session_id"),
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

TOPIC_MARK = b'"topic":"'
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
    # Only where they end: whoever wants them compares every byte with what must stand there.
    Postings: (r"\[(?:\[[^\]]*\],?)*\]", "{}"),
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
    """How the leaves of one event look. `begins` says that it is an aggregate's first.

    `older` are the patterns of its versions before this one, newest first, each with the wanted
    fields it has.
    """

    topic: bytes
    aggregate: str
    begins: bool
    pattern: re.Pattern[bytes]
    older: tuple[tuple[re.Pattern[bytes], frozenset[str]], ...]


@cache
def shapes() -> Mapping[bytes, Shape]:
    """The shape of every event, by topic."""
    found = {}
    for aggregate in AGGREGATES:
        for event_class in vars(aggregate).values():
            if not isinstance(event_class, type) or not issubclass(event_class, LedgerEvent):
                continue
            topic = getattr(event_class, "TOPIC", None)
            if topic is not None:
                newest = getattr(event_class, "class_version", 1)
                found[topic.encode()] = Shape(
                    topic=topic.encode(),
                    aggregate=aggregate.TOPIC,
                    begins=issubclass(event_class, AggregateCreated),
                    pattern=_pattern(topic, event_class, newest),
                    older=tuple(
                        (_pattern(topic, event_class, version), _names(event_class, version))
                        for version in range(newest - 1, 0, -1)
                    ),
                )
    return found


def _names(event_class: type, version: int) -> frozenset[str]:
    """The fields an event had in this class version."""
    newest: int = getattr(event_class, "class_version", 1)
    later = {
        name
        for added in range(version + 1, newest + 1)
        for name in getattr(event_class, f"ADDED_IN_V{added}")
    }
    names = {field.name for field in fields(cast("Any", event_class))}
    return frozenset(names - DERIVED_FIELDS - later)


def _pattern(topic: str, event_class: type, version: int) -> re.Pattern[bytes]:
    hints = get_type_hints(event_class)
    wanted = WANTED.get(topic.encode(), ())
    spelled = {}
    for name in _names(event_class, version):
        inner, outer = _SPELLED[hints[name]]
        group = f"({inner})" if name in wanted else f"(?:{inner})"
        spelled[name] = outer.format(group)
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
    older = _read_older(line)
    if older is not None:
        return older
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
    strange = record.fields.keys() - event_fields(type(event))
    if strange - {"class_version"}:
        raise LeafError("content", expected=f"the fields of {record.topic}", found=sorted(strange))
    if topic not in shapes():
        raise LeafError("topic", expected="an event of the ledger", found=record.topic)
    try:
        postings(record)
    except PostingsError as broken:
        raise LeafError("postings", expected=broken.expected, found=broken.found) from broken
    values = tuple(_spelled(getattr(event, name)) for name in WANTED.get(topic, ()))
    return shapes()[topic], str(record.originator_id).encode(), record.originator_version, values


def _read_older(line: bytes) -> tuple[Shape, bytes, int, Values] | None:
    """A leaf of an event's older version, if it is one that a pattern knows."""
    topic = line[line.rfind(TOPIC_MARK) + len(TOPIC_MARK) : -2]
    shape = shapes().get(topic)
    for pattern, names in () if shape is None else shape.older:
        found = pattern.fullmatch(line)
        if found is not None and shape is not None:
            originator, version, *values = found.groups()
            said = iter(values)
            wanted = (next(said) if name in names else b"" for name in WANTED.get(topic, ()))
            return shape, originator, int(version), tuple(wanted)
    return None


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
        case Postings():
            return b""
    return str(value).encode()
