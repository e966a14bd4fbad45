"""Rooms are settled when they are over; whoever outstays a session is removed (B7)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from uuid import UUID

from domain.errors import GatewayError
from domain.gateway import Gateway
from domain.ports.room_events import Guest, RoomService, Sighting
from domain.presence import (
    RoomFact,
    empty_since_ms,
    is_finished,
    live_connections,
    server_of,
)
from domain.session import Session
from domain.use_cases.close_session import room_time, settle_session, settle_spent
from domain.use_cases.roll_call import is_deserted, is_succeeded

GUESTS_MAX = 1_000
# A room that nothing is heard of is looked at this often.
LOOK_MS = 60_000
REMOVALS_MAX = 8
REMOVAL_WAIT_MS = 5_000
# Longer than any session can live and any room server can repeat itself.
KEPT_MS = 30 * 24 * 60 * 60_000

log = logging.getLogger(__name__)


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
    elif await _is_removed(gateway, service, guest, sightings, account_id=session.account_id):
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
    gateway: Gateway,
    service: RoomService,
    guest: Guest,
    sightings: Sequence[Sighting],
    *,
    account_id: UUID,
) -> bool:
    """Whether nobody is left to remove, or it was tried often enough."""
    live = live_connections(sighting.fact for sighting in sightings)
    outstaying = [s for s in sightings if s.fact.connection in live]
    if not outstaying:
        return True
    if await is_succeeded(gateway, guest.session_id, account_id=account_id):
        # Servers remove by name, and whoever has it now has paid for being there.
        await gateway.room_log.later(guest, due_ms=gateway.clock.now_ms() + LOOK_MS)
        return False
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
