"""When a participant was in a room: what a room server told, in whatever order and however often.

Facts are a set. Adding one twice, or in another order, changes nothing: a connection begins at the
earliest time any fact gives it, ends at the earliest, and the stay is the union of all connections.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from domain.aggregate import derive_id

FactKind = Literal["joined", "left", "finished"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomFact:
    """A connection joined or left, or a whole room is over; times in ms.

    `connection` and `room` are the room server's own ids, new for every join and every opening of
    a room; a finished room has no connection. `since_ms` is when a connection that left had
    joined, 0 where nobody said.
    """

    kind: FactKind
    connection: str
    room: str
    at_ms: int
    since_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stay:
    """One stretch of time, with the connection that began it."""

    connection_id: UUID
    from_ms: int
    to_ms: int


def stays(facts: Iterable[RoomFact], *, opened_ms: int, until_ms: int) -> tuple[Stay, ...]:
    """The union of all connections inside that window, disjoint and in order.

    A connection of which no end is known lasts until the end of the window.
    """
    spans = sorted(
        (max(opened_ms, start), min(until_ms, until_ms if end is None else end), connection)
        for connection, (start, end) in _connections(facts).items()
    )
    merged: list[Stay] = []
    for start, end, connection in spans:
        if end <= start:
            continue
        if merged and start <= merged[-1].to_ms:
            last = merged[-1]
            merged[-1] = Stay(
                connection_id=last.connection_id,
                from_ms=last.from_ms,
                to_ms=max(last.to_ms, end),
            )
        else:
            name = derive_id("connection", connection)
            merged.append(Stay(connection_id=name, from_ms=start, to_ms=end))
    return tuple(merged)


def live_connections(facts: Iterable[RoomFact]) -> frozenset[str]:
    """The connections of which no end is known."""
    return frozenset(c for c, (_, end) in _connections(facts).items() if end is None)


def is_finished(facts: Iterable[RoomFact]) -> bool:
    """Whether somebody was there, and every room they were in is over."""
    seen: set[str] = set()
    over: set[str] = set()
    for fact in facts:
        (over if fact.kind == "finished" else seen).add(fact.room)
    return bool(seen) and seen <= over


def _connections(facts: Iterable[RoomFact]) -> dict[str, tuple[int, int | None]]:
    """When each connection began and ended (None: not yet), never before it began."""
    starts: dict[str, int] = {}
    ends: dict[str, int] = {}
    begun: dict[str, int] = {}
    rooms: dict[str, str] = {}
    over: dict[str, int] = {}
    for fact in facts:
        if fact.kind == "finished":
            _earliest(over, fact.room, fact.at_ms)
            continue
        rooms[fact.connection] = max(rooms.get(fact.connection, ""), fact.room)
        if fact.kind == "joined":
            _earliest(starts, fact.connection, fact.at_ms)
        else:
            _earliest(ends, fact.connection, fact.at_ms)
            _earliest(begun, fact.connection, fact.since_ms or fact.at_ms)
    found: dict[str, tuple[int, int | None]] = {}
    for connection, room in rooms.items():
        # Its own word for when it joined counts only where nothing better came.
        start = starts.get(connection, begun.get(connection, 0))
        known = [end for end in (ends.get(connection), over.get(room)) if end is not None]
        found[connection] = (start, max(start, min(known)) if known else None)
    return found


def _earliest(times: dict[str, int], name: str, at_ms: int) -> None:
    times[name] = min(times.get(name, at_ms), at_ms)
