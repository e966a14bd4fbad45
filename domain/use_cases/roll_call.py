"""What room servers failed to tell is found by asking them who is there (B7)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from domain.errors import GatewayError
from domain.gateway import Gateway
from domain.ports.private import SessionDetails
from domain.ports.room_events import Presence, RoomService, Sighting
from domain.ports.views import ReservationRow
from domain.presence import RoomFact, live_connections, server_of

# Rooms asked about at a time, and open sessions looked up at a time.
ASKING_MAX = 8
PAGE = 500
# A server that finds more unknown connections of one participant is not believed further.
STRANGERS_MAX = 8

_NO_DETAILS = SessionDetails(server_url="")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRoom:
    """An open session, who pays for it, and what is known of its room.

    `is_newest` of those for one identity in one room: a connection of which nobody told is its.
    """

    session_id: UUID
    account_id: UUID
    details: SessionDetails
    sightings: tuple[Sighting, ...]
    is_newest: bool

    @property
    def facts(self) -> tuple[RoomFact, ...]:
        return tuple(sighting.fact for sighting in self.sightings)


async def call_the_roll(gateway: Gateway, service: RoomService) -> int:
    """Ask about every open room, even where nobody was seen, and keep what is new; how many.

    Safe to repeat and to interrupt. A server that does not answer leaves all as it is.
    """
    free, unasked = asyncio.Semaphore(ASKING_MAX), 0

    async def ask(room: OpenRoom) -> None:
        nonlocal unasked
        async with free:
            is_answered = await find_out(gateway, service, room)
        unasked += not is_answered

    sessions = await _sessions(gateway, None)
    for start in range(0, len(sessions), PAGE):
        rooms = await _rooms(gateway, sessions[start : start + PAGE], among=sessions)
        async with asyncio.TaskGroup() as tasks:
            for room in rooms:
                tasks.create_task(ask(room))
    if sessions:
        log.info("roll called", extra={"rooms": len(sessions), "unasked": unasked})
    return len(sessions)


async def is_deserted(
    gateway: Gateway, service: RoomService, session_id: UUID, *, account_id: UUID
) -> bool:
    """Whether the room server, asked now, knows of nobody there; keeps what it says otherwise."""
    sessions = await _sessions(gateway, account_id)
    own = [session for session in sessions if session.row.session_id == session_id]
    for room in await _rooms(gateway, own, among=sessions):
        is_answered = await find_out(gateway, service, room)
        facts = [sighting.fact for sighting in await gateway.room_log.sightings(session_id)]
        return is_answered and not live_connections(facts)
    return False


async def is_succeeded(gateway: Gateway, session_id: UUID, *, account_id: UUID) -> bool:
    """Whether the same participant is in the same room now, for another session that is open."""
    known = (await gateway.details.find([session_id])).get(session_id)
    if known is None:
        return False
    others = [
        sold
        for sold in await _sessions(gateway, account_id)
        if sold.row.session_id != session_id
        and (sold.details.room_name, sold.details.identity) == (known.room_name, known.identity)
    ]
    seen = await gateway.room_log.sightings_of([sold.row.session_id for sold in others])
    return any(live_connections(s.fact for s in sightings) for sightings in seen.values())


async def find_out(gateway: Gateway, service: RoomService, room: OpenRoom) -> bool:
    """Ask who is in this room and keep what is new; False where a server gave no answer."""
    is_answered = True
    for server in _servers(room):
        name = _name_there(room, server) or service.room_name(
            room.account_id, room.details.room_name
        )
        asked_ms = gateway.clock.now_ms()
        try:
            people = await service.present(
                server, server_url=room.details.server_url, room_name=name
            )
        except GatewayError:
            is_answered = False
            continue
        strangers = _strangers(room, people)
        if strangers:
            # Of another session of the same participant, perhaps one that is over.
            strangers -= await gateway.room_log.known(sorted(strangers))
        news = _news(room, people, strangers=strangers, server=server, at_ms=asked_ms)
        if news:
            fields = {"session_id": str(room.session_id), "news": sorted(f.kind for f in news)}
            log.info("room found otherwise than told", extra=fields)
            seen = [_sighting(room, fact, people, name) for fact in news]
            await gateway.room_log.witness(seen, at_ms=asked_ms)
    return is_answered


@dataclass(frozen=True, slots=True)
class _Sold:
    row: ReservationRow
    details: SessionDetails

    @property
    def participant(self) -> tuple[UUID, str, str]:
        return self.row.account_id, self.details.room_name, self.details.identity


async def _sessions(gateway: Gateway, account_id: UUID | None) -> list[_Sold]:
    """The open sessions for rooms, of one account or all, the oldest first."""
    found: list[_Sold] = []
    offset = 0
    while rows := await gateway.views.reservations(
        account_id=account_id, limit=PAGE, offset=offset
    ):
        offset += len(rows)
        rooms = [row for row in rows if row.service == "webrtc"]
        details = await gateway.details.find([row.session_id for row in rooms])
        found += [_Sold(row, details.get(row.session_id, _NO_DETAILS)) for row in rooms]
    return found


async def _rooms(
    gateway: Gateway, sessions: Sequence[_Sold], *, among: Sequence[_Sold]
) -> list[OpenRoom]:
    newest = {sold.participant: sold.row.session_id for sold in among}
    sightings = await gateway.room_log.sightings_of([sold.row.session_id for sold in sessions])
    return [
        OpenRoom(
            session_id=sold.row.session_id,
            account_id=sold.row.account_id,
            details=sold.details,
            sightings=sightings[sold.row.session_id],
            is_newest=newest[sold.participant] == sold.row.session_id,
        )
        for sold in sessions
    ]


def _servers(room: OpenRoom) -> list[str]:
    """Those with live connections, else the last one that told of any, else the one we sent to."""
    live = {server_of(connection) for connection in live_connections(room.facts)}
    if live:
        return sorted(live)
    told = [fact for fact in room.facts if fact.connection]
    return [server_of(max(told, key=_when).connection)] if told else [""]


def _name_there(room: OpenRoom, server: str) -> str:
    """What this server called the room last."""
    named = [s for s in room.sightings if s.room_name and server_of(s.fact.connection) == server]
    return max(named, key=lambda s: _when(s.fact)).room_name if named else ""


def _strangers(room: OpenRoom, people: Sequence[Presence]) -> set[str]:
    """Ready connections of this participant that nobody told us of."""
    known = {fact.connection for fact in room.facts}
    found = [
        person.connection
        for person in people
        if person.is_ready and person.connection not in known and _is_of(person, room)
    ]
    return set(found[:STRANGERS_MAX])


def _is_of(person: Presence, room: OpenRoom) -> bool:
    """A second connection of the same token is called `identity#something`."""
    if person.told_session:
        return person.told_session == str(room.session_id)
    identity = room.details.identity
    return bool(identity) and room.is_newest and person.identity.partition("#")[0] == identity


def _news(
    room: OpenRoom, people: Sequence[Presence], *, strangers: set[str], server: str, at_ms: int
) -> list[RoomFact]:
    """What an answer adds to the facts, which do not grow by what they say already."""
    facts = room.facts
    live = live_connections(facts)
    # Also those that only we missed; who was told to have left is gone.
    possible = live_connections(fact for fact in facts if fact.kind != "absent")
    found = [
        RoomFact(
            kind="present",
            connection=person.connection,
            room=_room_there(facts, server_of(person.connection)),
            at_ms=at_ms,
            since_ms=person.joined_ms if 0 < person.joined_ms <= at_ms else 0,
        )
        for person in people
        if person.connection in strangers
        or (person.connection in possible and _is_missed(facts, person.connection))
    ]
    there = {person.connection for person in people}
    return found + [
        RoomFact(kind="absent", connection=connection, room=_room_there(facts, server), at_ms=at_ms)
        for connection in sorted(live - there)
        if server_of(connection) == server
    ]


def _is_missed(facts: Sequence[RoomFact], connection: str) -> bool:
    """Whether the last time we asked it was not there."""
    asked = [f for f in facts if f.connection == connection and f.kind in ("present", "absent")]
    return bool(asked) and max(asked, key=_when).kind == "absent"


def _room_there(facts: Sequence[RoomFact], server: str) -> str:
    """The opening of the room it probably is: the last that was told of and is not over."""
    over = {fact.room for fact in facts if fact.kind == "finished"}
    told = [f for f in facts if f.connection and server_of(f.room) == server and f.room not in over]
    return max(told, key=_when).room if told else f"{server}/"


def _sighting(
    room: OpenRoom, fact: RoomFact, people: Sequence[Presence], room_name: str
) -> Sighting:
    """The fact, with the name that whoever it is about can be removed by."""
    names = {s.fact.connection: s.identity for s in room.sightings}
    names |= {person.connection: person.identity for person in people}
    return Sighting(
        session_id=room.session_id,
        fact=fact,
        room_name=room_name,
        identity=names[fact.connection],
    )


def _when(fact: RoomFact) -> int:
    return fact.at_ms
