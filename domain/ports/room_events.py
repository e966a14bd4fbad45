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
    was sent to, and None where only the body can tell. `body` is JSON text, `token` what signed it:
    both as they came, so that whoever doubts a bill can check who said what.
    """

    delivery_id: str
    issuer: str
    session_id: UUID | None
    received_at_ms: int
    body: str
    token: str = ""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence:
    """Somebody a room server says is in a room now.

    `connection` is named as in facts. `is_ready` once media flow: nobody pays before. `joined_ms`
    is 0 where it does not say. `told_session` is the session that a LiveKit token carried.
    """

    connection: str
    identity: str
    joined_ms: int
    is_ready: bool
    told_session: str = ""


class RoomLog(Protocol):
    """Keeps deliveries and the facts read from them.

    Shape:  `add` says whether the delivery is new; it is durable when that returns. `read` marks
            deliveries as read and keeps what they said, in one step; again is no error. A finished
            room is among the sightings of every session that was seen in it, whichever came first.
            `witness` keeps what we saw ourselves, without a delivery; again is no error.
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

    async def witness(self, sightings: Sequence[Sighting], *, at_ms: int) -> None: ...

    async def sightings(self, session_id: UUID) -> tuple[Sighting, ...]: ...

    async def sightings_of(self, session_ids: Sequence[UUID]) -> dict[UUID, tuple[Sighting, ...]]:
        """Those of many sessions, each with its own, if only none."""
        ...

    async def known(self, connections: Sequence[str]) -> frozenset[str]:
        """Those of these connections that some session was seen with."""
        ...

    async def note_loss(self, at_ms: int) -> None:
        """Deliveries were lost, as a room server told then."""
        ...

    async def lost_at_ms(self) -> int:
        """When that was noted last; 0 for never."""
        ...

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

    async def witness(self, sightings: Sequence[Sighting], *, at_ms: int) -> None:
        return None

    async def sightings(self, session_id: UUID) -> tuple[Sighting, ...]:
        return ()

    async def sightings_of(self, session_ids: Sequence[UUID]) -> dict[UUID, tuple[Sighting, ...]]:
        return dict.fromkeys(session_ids, ())

    async def known(self, connections: Sequence[str]) -> frozenset[str]:
        return frozenset()

    async def note_loss(self, at_ms: int) -> None:
        return None

    async def lost_at_ms(self) -> int:
        return 0

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
            `is_after_loss`: whether it says that others before it were lost.
    Errors: `NoCapacityError` where nobody can tell yet whether to believe it: ask again later.
    Source: specs/http.md, webhooks.
    """

    async def sighting(self, delivery: Delivery) -> Sighting | None: ...

    def is_after_loss(self, delivery: Delivery) -> bool: ...


class NoRoomReader:
    """Implements `RoomReader` where there are no rooms."""

    async def sighting(self, delivery: Delivery) -> Sighting | None:
        return None

    def is_after_loss(self, delivery: Delivery) -> bool:
        return False


class RoomService(Protocol):
    """Asks who is in a room, and ends what a token began.

    Shape:  removing who is not there is no error. `present` asks the server of this name, as the
            names of connections begin with it; "" is the one that customers find at `server_url`.
            A room that is not there has nobody in it. `room_name` is what the server calls the
            room that an account calls so.
    Errors: `NoCapacityError` where the room server does not answer or refuses: ask again later.
    Source: specs/http.md, rooms.
    """

    async def remove(self, server_url: str, sightings: Sequence[Sighting]) -> None: ...

    async def present(
        self, server: str, *, server_url: str, room_name: str
    ) -> tuple[Presence, ...]: ...

    def room_name(self, account_id: UUID, asked: str) -> str: ...
