"""How a session ends: what was used is charged, the rest comes back, once."""

from __future__ import annotations

from functools import partial
from uuid import UUID

from domain.gateway import Gateway
from domain.ledger import Work
from domain.ports.room_events import Guest
from domain.presence import RoomFact, Stay, stays
from domain.session import Session
from domain.use_cases.extend_session import owned_bundle, owned_session
from domain.use_cases.room_reading import read_deliveries


async def end_session(
    gateway: Gateway, account_id: UUID, session_id: UUID, *, api_key_id: UUID | None = None
) -> Session:
    """Settle the customer's session now; a session that is over answers as it ended.

    An API key ends what it opened.
    """
    await gateway.books.run(
        partial(owned_session, account_id=account_id, session_id=session_id, api_key_id=api_key_id)
    )
    return await settle_session(gateway, session_id, reason="ended")


async def end_bundle(
    gateway: Gateway, account_id: UUID, bundle_id: UUID, *, api_key_id: UUID | None = None
) -> tuple[Session, ...]:
    """Settle every session of a bundle."""
    bundle = await gateway.books.run(
        partial(owned_bundle, account_id=account_id, bundle_id=bundle_id, api_key_id=api_key_id)
    )
    return tuple([await settle_session(gateway, i, reason="ended") for i in bundle.session_ids])


async def settle_session(gateway: Gateway, session_id: UUID, *, reason: str) -> Session:
    """Close a session for a reason (`ended`, `spent`, `expired`), whoever asks; safe to repeat."""
    await gateway.switchboard.catch_up(session_id)
    facts: tuple[RoomFact, ...] = ()
    if await _is_room(gateway, session_id):
        # Who left a moment ago is not billed until now.
        await read_deliveries(gateway)
        facts = await _facts(gateway, session_id)
    now_ms = gateway.clock.now_ms()
    session = await gateway.books.run(
        partial(close, session_id=session_id, reason=reason, at_ms=now_ms, facts=facts)
    )
    await _empty_room(gateway, session, now_ms=now_ms)
    line = gateway.switchboard.line(session_id)
    if line is not None:
        line.changed()
    return session


async def settle_spent(gateway: Gateway, session_id: UUID) -> Session:
    """Settle a session if nothing of it is left or its time has passed; return it as it stands."""
    is_room = await _is_room(gateway, session_id)
    facts = await _facts(gateway, session_id) if is_room else ()
    now_ms = gateway.clock.now_ms()
    session = await gateway.books.run(
        partial(_close_spent, session_id=session_id, at_ms=now_ms, facts=facts)
    )
    await _empty_room(gateway, session, now_ms=now_ms)
    line = gateway.switchboard.line(session_id)
    if line is not None and not session.is_open:
        line.changed()
    return session


async def _is_room(gateway: Gateway, session_id: UUID) -> bool:
    session = await gateway.books.run(partial(Work.session, session_id=session_id))
    return session.service == "webrtc"


async def _facts(gateway: Gateway, session_id: UUID) -> tuple[RoomFact, ...]:
    """What is known of who was in the session's room; they come in no order and may be repeated."""
    return tuple(sighting.fact for sighting in await gateway.room_log.sightings(session_id))


async def _empty_room(gateway: Gateway, session: Session, *, now_ms: int) -> None:
    """Have whoever is still in the room of a session that is over removed, soon."""
    if session.service == "webrtc" and session.is_over:
        await gateway.room_log.later(Guest(session_id=session.id, tries=0), due_ms=now_ms)


def _close_spent(
    work: Work, *, session_id: UUID, at_ms: int, facts: tuple[RoomFact, ...]
) -> Session:
    session = work.session(session_id)
    if not session.is_open or not (
        session.is_spent(at_ms) or room_time(session, facts, at_ms=at_ms) >= session.quantity
    ):
        return session
    reason = "expired" if at_ms >= session.expires_at_ms else "spent"
    return close(work, session_id=session_id, reason=reason, at_ms=at_ms, facts=facts)


def close(
    work: Work,
    *,
    session_id: UUID,
    reason: str,
    at_ms: int,
    facts: tuple[RoomFact, ...] = (),
) -> Session:
    """Close the session and settle its reservation, in one transaction.

    `facts` are of the room it was for: a room's clock runs over the union of its stays (B7).
    """
    session = work.session(session_id)
    if session.is_open:
        if session.service == "webrtc":
            session.attend(_stays(session, facts, at_ms=at_ms))
        charged = session.close(reason, at_ms=at_ms)
        work.account(session.account_id).settle(
            session_id=session.id, service=session.service, charged=charged, at_ms=at_ms
        )
        if session.api_key_id is not None:
            work.api_key(session.api_key_id).settle(
                session_id=session.id, charged=charged, at_ms=at_ms
            )
    return session


def room_time(session: Session, facts: tuple[RoomFact, ...], *, at_ms: int) -> int:
    """The ms in the session's room until then; 0 for what is no room."""
    if session.service != "webrtc":
        return 0
    return sum(s.to_ms - s.from_ms for s in _stays(session, facts, at_ms=at_ms))


def _stays(session: Session, facts: tuple[RoomFact, ...], *, at_ms: int) -> tuple[Stay, ...]:
    until_ms = min(at_ms, session.expires_at_ms)
    return stays(facts, opened_ms=session.opened_at_ms, until_ms=until_ms)
