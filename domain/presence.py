"""When a participant was in a room: what a room server told, in whatever order and however often.

Facts are a set. Adding one twice, or in another order, changes nothing: a connection begins at the
earliest time any fact gives it, ends at the earliest, and the stay is the union of all connections.
What a server tells may be lost; so it is asked, too, who is there. One answer without a connection
proves little: the connection ended at the first of two, unless it was seen again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from domain.aggregate import derive_id

# Told by a room server, and seen when we asked it.
FactKind = Literal["joined", "left", "finished", "present", "absent"]
ABSENCES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomFact:
    """A connection joined, left, was there or was not, or a whole room is over; times in ms.

    `connection` and `room` are the room server's own ids, new for every join and every opening of
    a room, behind the server's name and a slash; a finished room has no connection. `since_ms` is
    when a connection that left or was there had joined, 0 where nobody said.
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


def empty_since_ms(facts: Iterable[RoomFact]) -> int | None:
    """When the last one left; None where somebody is there, or nobody ever was."""
    return _last_end(_connections(facts).values())


def is_finished(facts: Iterable[RoomFact]) -> bool:
    """Whether nobody is there, and the room they were in last is over.

    Every server has rooms of its own, and tells the end of an earlier one perhaps never.
    """
    told = _Told(facts)
    found = told.connections()
    left_ms = _last_end(found.values())
    if left_ms is None:
        return False
    return all(told.room(c) in told.over for c, (_, end) in found.items() if end == left_ms)


def server_of(name: str) -> str:
    """The room server that gave a connection or a room its name."""
    return name.partition("/")[0]


_Span = tuple[int, int | None]


def _last_end(spans: Iterable[_Span]) -> int | None:
    ends = [end for _, end in spans]
    known = [end for end in ends if end is not None]
    return max(known) if known and len(known) == len(ends) else None


def _connections(facts: Iterable[RoomFact]) -> dict[str, _Span]:
    """When each connection began and ended (None: not yet), never before it began."""
    return _Told(facts).connections()


class _Told:
    """The facts, sorted by what they say; an absence alone tells of no connection."""

    def __init__(self, facts: Iterable[RoomFact]) -> None:
        self.over: dict[str, int] = {}
        self._rooms: dict[str, str] = {}
        self._guessed: dict[str, str] = {}
        self._starts: dict[str, int] = {}
        self._begun: dict[str, int] = {}
        self._ends: dict[str, int] = {}
        self._seen: dict[str, int] = {}
        self._absences: dict[str, set[int]] = {}
        for fact in facts:
            self._take(fact)

    def connections(self) -> dict[str, _Span]:
        found: dict[str, _Span] = {}
        for connection in self._rooms | self._guessed:
            # Its own word for when it joined counts only where nothing better came.
            start = self._starts.get(connection, self._begun.get(connection, 0))
            over_ms = self.over.get(self.room(connection))
            ends = (self._ends.get(connection), over_ms, self._missed_ms(connection, start))
            known = [end for end in ends if end is not None]
            found[connection] = (start, max(start, min(known)) if known else None)
        return found

    def room(self, connection: str) -> str:
        """The opening of the room it is in: what it was told, or guessed where we only asked."""
        if connection in self._rooms:
            return self._rooms[connection]
        guess = self._guessed.get(connection, "")
        # Whoever was seen after that one was over is in another.
        seen_ms = self._seen.get(connection, 0)
        return guess if self.over.get(guess, seen_ms) >= seen_ms else ""

    def _take(self, fact: RoomFact) -> None:
        name = fact.connection
        match fact.kind:
            case "finished":
                _earliest(self.over, fact.room, fact.at_ms)
            case "joined":
                self._rooms[name] = max(self._rooms.get(name, ""), fact.room)
                _earliest(self._starts, name, fact.at_ms)
            case "left":
                self._rooms[name] = max(self._rooms.get(name, ""), fact.room)
                _earliest(self._ends, name, fact.at_ms)
                _earliest(self._begun, name, fact.since_ms or fact.at_ms)
            case "present":
                self._guessed[name] = max(self._guessed.get(name, ""), fact.room)
                self._seen[name] = max(self._seen.get(name, 0), fact.at_ms)
                _earliest(self._begun, name, fact.since_ms or fact.at_ms)
            case "absent":
                self._absences.setdefault(name, set()).add(fact.at_ms)

    def _missed_ms(self, connection: str, start_ms: int) -> int | None:
        """The first of several absences since it was last seen; None before the second."""
        seen_ms = max(start_ms, self._seen.get(connection, 0))
        missed = [at_ms for at_ms in self._absences.get(connection, ()) if at_ms > seen_ms]
        return min(missed) if len(missed) >= ABSENCES else None


def _earliest(times: dict[str, int], name: str, at_ms: int) -> None:
    times[name] = min(times.get(name, at_ms), at_ms)
