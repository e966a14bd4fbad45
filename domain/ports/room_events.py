"""What a room server tells, kept from receipt to settlement, and what we can tell it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from domain.presence import RoomFact


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A webhook as it came, its signature already checked.

    `delivery_id` is the same for every copy; `session_id` is who it is about, by the address it
    was sent to, and None where only the body can tell. `body` is JSON text.
    """

    delivery_id: str
    issuer: str
    session_id: UUID | None
    received_at_ms: int
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """A fact about a session, and by what names the room server knows the participant.

    A finished room may concern sessions nobody has named: `session_id` is None then.
    """

    session_id: UUID | None
    fact: RoomFact
    room_name: str = ""
    identity: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """A session somebody was seen in a room for. `tries` are the failed removals so far."""

    session_id: UUID
    tries: int


class RoomLog(Protocol):
    """Keeps deliveries and the facts read from them.

    Shape:  `add` says whether the delivery is new; it is durable when that returns. `read` marks a
            deliveries as read and keeps what they said, in one step; again is no error. A finished
            room is among the sightings of every session that was seen in it, whichever came first.
            `guests` are sessions with sightings that are due to be looked after, until they are
            `gone`; whatever is told of them makes them due. `forget` drops what is older, but
            nothing unread.
    Errors: `LedgerDownError` where the store does not answer.
    Source: specs/http.md, webhooks.
    """

    async def add(self, delivery: Delivery) -> bool: ...

    async def unread(self, limit: int, *, after: str = "") -> tuple[Delivery, ...]:
        """In the order of their ids, from the first past `after`."""
        ...

    async def read(self, said: Sequence[tuple[Delivery, Sighting | None]]) -> None: ...

    async def sightings(self, session_id: UUID) -> tuple[Sighting, ...]: ...

    async def guests(self, limit: int, *, now_ms: int) -> tuple[Guest, ...]: ...

    async def later(self, guest: Guest, *, due_ms: int) -> None:
        """Look at this guest again then; it stays gone if it is."""
        ...

    async def gone(self, session_id: UUID) -> None: ...

    async def forget(self, before_ms: int) -> None: ...


class NoRoomLog:
    """Implements `RoomLog` where there are no rooms."""

    async def add(self, delivery: Delivery) -> bool:
        return False

    async def unread(self, limit: int, *, after: str = "") -> tuple[Delivery, ...]:
        return ()

    async def read(self, said: Sequence[tuple[Delivery, Sighting | None]]) -> None:
        return None

    async def sightings(self, session_id: UUID) -> tuple[Sighting, ...]:
        return ()

    async def guests(self, limit: int, *, now_ms: int) -> tuple[Guest, ...]:
        return ()

    async def later(self, guest: Guest, *, due_ms: int) -> None:
        return None

    async def gone(self, session_id: UUID) -> None:
        return None

    async def forget(self, before_ms: int) -> None:
        return None


class RoomReader(Protocol):
    """Understands one kind of room server's deliveries.

    Shape:  one delivery in; what it says, or None where it says nothing that is billed.
    Errors: `NoCapacityError` where nobody can tell yet whether to believe it: ask again later.
    Source: specs/http.md, webhooks.
    """

    async def sighting(self, delivery: Delivery) -> Sighting | None: ...


class RoomService(Protocol):
    """Ends what a token began.

    Shape:  removing who is not there is no error.
    Errors: `NoCapacityError` where the room server does not answer or refuses: ask again later.
    Source: specs/http.md, rooms.
    """

    async def remove(self, server_url: str, sightings: Sequence[Sighting]) -> None: ...
