"""What a room server tells becomes billed time; whoever outstays a session is removed (B7)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from uuid import UUID

from domain.errors import GatewayError, MalformedError, NoCapacityError
from domain.gateway import Gateway
from domain.ledger import Work
from domain.ports.private import SessionDetails
from domain.ports.room_events import Delivery, Guest, RoomReader, RoomService, Sighting
from domain.presence import (
    RoomFact,
    empty_since_ms,
    is_finished,
    live_connections,
    server_of,
)
from domain.session import Session
from domain.use_cases.close_session import room_time, settle_session, settle_spent
from domain.use_cases.roll_call import is_deserted

READ_MAX = 256
GUESTS_MAX = 1_000
# A room that nothing is heard of is looked at this often.
LOOK_MS = 60_000
REMOVALS_MAX = 8
REMOVAL_WAIT_MS = 5_000
# What nobody can say within this time whether to believe is not believed.
DOUBT_MS = 60 * 60_000
# Longer than any session can live and any room server can repeat itself.
KEPT_MS = 30 * 24 * 60 * 60_000

log = logging.getLogger(__name__)


async def read_deliveries(gateway: Gateway, reader: RoomReader) -> int:
    """Read what came and was not read yet; safe to repeat and to interrupt. How many were read."""
    count, after = 0, ""
    # All of them, page by page: those nobody can judge yet hold up no others.
    while deliveries := await gateway.room_log.unread(READ_MAX, after=after):
        after = deliveries[-1].delivery_id
        if any(reader.is_after_loss(delivery) for delivery in deliveries):
            await gateway.room_log.note_loss(gateway.clock.now_ms())
        said = []
        for delivery in deliveries:
            try:
                said.append((delivery, await reader.sighting(delivery)))
            except MalformedError:
                # Stored by a release that understood it.
                said.append((delivery, None))
            except NoCapacityError:
                if delivery.received_at_ms < gateway.clock.now_ms() - DOUBT_MS:
                    said.append((delivery, None))
        if said:
            await gateway.room_log.read(await _believed(gateway, said))
        count += len(said)
    return count


async def _believed(
    gateway: Gateway, said: Sequence[tuple[Delivery, Sighting | None]]
) -> list[tuple[Delivery, Sighting | None]]:
    """The same, without sightings of sessions or participants that are none of ours."""
    ids = {s.session_id for _, s in said if s is not None and s.session_id is not None}
    session_ids = tuple(sorted(ids))
    details = await gateway.details.find(session_ids)
    rooms = await gateway.books.run(partial(_rooms, session_ids=session_ids))
    believed: list[tuple[Delivery, Sighting | None]] = []
    for delivery, sighting in said:
        found = sighting
        if sighting is not None and (session_id := sighting.session_id) is not None:
            known = details.get(session_id) if session_id in rooms else None
            if known is None or not _is_of(sighting, known):
                fields = {"session_id": str(session_id), "known": known is not None}
                log.warning("room event without effect", extra=fields)
                found = None
        believed.append((delivery, found))
    return believed


def _rooms(work: Work, *, session_ids: tuple[UUID, ...]) -> frozenset[UUID]:
    """Those of the sessions that are for a room."""
    found = [work.find(Session, session_id) for session_id in session_ids]
    return frozenset(s.id for s in found if s is not None and s.service == "webrtc")


def _is_of(sighting: Sighting, details: SessionDetails) -> bool:
    """A second, publish-only connection of the same token is called `identity#something`."""
    if sighting.fact.kind == "finished":
        return True
    return sighting.identity.partition("#")[0] == details.identity


async def look_after_guests(gateway: Gateway, service: RoomService, *, idle_ms: int = 0) -> int:
    """Settle the rooms that are spent, expired, over or idle, and remove who outstays a session.

    Idle is a room that nobody was in for `idle_ms` (0: none ever is). Removing may fail; it is
    tried again, a bounded number of times, and nothing waits for it.
    """
    guests = await gateway.room_log.guests(GUESTS_MAX, now_ms=gateway.clock.now_ms())
    for guest in guests:
        try:
            await _look_after(gateway, service, guest, idle_ms=idle_ms)
        except GatewayError as refusal:
            fields = {"session_id": str(guest.session_id), "problem": str(refusal)}
            log.warning("room not settled; again later", extra=fields)
    return len(guests)


async def _look_after(
    gateway: Gateway, service: RoomService, guest: Guest, *, idle_ms: int
) -> None:
    sightings = await gateway.room_log.sightings(guest.session_id)
    facts = tuple(sighting.fact for sighting in sightings)
    if len({server_of(connection) for connection in live_connections(facts)}) > 1:
        log.warning("participant on several servers", extra={"session_id": str(guest.session_id)})
    session = await settle_spent(gateway, guest.session_id)
    if session.is_open and is_finished(facts):
        session = await settle_session(gateway, guest.session_id, reason="room_finished")
    idle_at_ms = _idle_at_ms(facts, idle_ms=idle_ms)
    if session.is_open and idle_at_ms is not None and idle_at_ms <= gateway.clock.now_ms():
        # Who came back may have been lost on the way to us.
        if await is_deserted(gateway, service, session.id, account_id=session.account_id):
            session = await settle_session(gateway, guest.session_id, reason="idle")
        idle_at_ms = None
    if session.is_open:
        due_ms = _next_look_ms(session, facts, now_ms=gateway.clock.now_ms())
        due_ms = due_ms if idle_at_ms is None else min(due_ms, idle_at_ms)
        await gateway.room_log.later(guest, due_ms=due_ms)
    elif await _is_removed(gateway, service, guest, sightings):
        await gateway.room_log.gone(guest.session_id)


def _idle_at_ms(facts: tuple[RoomFact, ...], *, idle_ms: int) -> int | None:
    """When a room that nobody is in any more counts as idle, if it ever does."""
    empty_ms = empty_since_ms(facts) if idle_ms else None
    return None if empty_ms is None else empty_ms + idle_ms


def _next_look_ms(session: Session, facts: tuple[RoomFact, ...], *, now_ms: int) -> int:
    """When the session is spent or expired at the earliest, or after a while."""
    left_ms = session.quantity - room_time(session, facts, at_ms=now_ms)
    return min(now_ms + LOOK_MS, now_ms + left_ms, session.expires_at_ms)


async def _is_removed(
    gateway: Gateway, service: RoomService, guest: Guest, sightings: Sequence[Sighting]
) -> bool:
    """Whether nobody is left to remove, or it was tried often enough."""
    live = live_connections(sighting.fact for sighting in sightings)
    outstaying = [s for s in sightings if s.fact.connection in live]
    if not outstaying:
        return True
    details = (await gateway.details.find([guest.session_id])).get(guest.session_id)
    try:
        await service.remove(details.server_url if details else "", outstaying)
    except GatewayError as refusal:
        tries = guest.tries + 1
        fields = {"session_id": str(guest.session_id), "tries": tries, "problem": str(refusal)}
        log.warning("participant not removed", extra=fields)
        due_ms = gateway.clock.now_ms() + REMOVAL_WAIT_MS * 2**guest.tries
        again = Guest(session_id=guest.session_id, tries=tries)
        await gateway.room_log.later(again, due_ms=due_ms)
        return tries >= REMOVALS_MAX
    return True
