"""How a session ends: what was used is charged, the rest comes back, once."""

from __future__ import annotations

from uuid import UUID

from domain.errors import NotFoundError
from domain.gateway import Gateway
from domain.ledger import Work
from domain.session import Session
from domain.use_cases.extend_session import owned_session


async def end_session(gateway: Gateway, account_id: UUID, session_id: UUID) -> Session:
    """Settle the customer's session now; a session that is over answers as it ended."""
    await gateway.books.run(lambda work: owned_session(work, account_id, session_id))
    return await settle_session(gateway, session_id, reason="ended")


async def end_bundle(gateway: Gateway, account_id: UUID, bundle_id: UUID) -> tuple[Session, ...]:
    """Settle every session of a bundle."""

    def command(work: Work) -> tuple[UUID, ...]:
        bundle = work.bundle(bundle_id)
        if bundle.account_id != account_id:
            raise NotFoundError(what="Bundle")
        return bundle.session_ids

    session_ids = await gateway.books.run(command)
    return tuple([await settle_session(gateway, i, reason="ended") for i in session_ids])


async def settle_session(gateway: Gateway, session_id: UUID, *, reason: str) -> Session:
    """Close a session for a reason (`ended`, `spent`, `expired`), whoever asks; safe to repeat."""
    line = gateway.switchboard.line(session_id)
    if line is not None:
        await line.catch_up()
    now_ms = gateway.clock.now_ms()
    session = await gateway.books.run(lambda work: close(work, session_id, reason, now_ms))
    if line is not None:
        line.changed()
    return session


async def settle_spent(gateway: Gateway, session_id: UUID) -> Session:
    """Settle a session if nothing of it is left or its time has passed; return it as it stands."""
    now_ms = gateway.clock.now_ms()

    def command(work: Work) -> Session:
        session = work.session(session_id)
        if not session.is_open or not session.is_spent(now_ms):
            return session
        reason = "expired" if now_ms >= session.expires_at_ms else "spent"
        return close(work, session_id, reason, now_ms)

    session = await gateway.books.run(command)
    line = gateway.switchboard.line(session_id)
    if line is not None and not session.is_open:
        line.changed()
    return session


def close(work: Work, session_id: UUID, reason: str, at_ms: int) -> Session:
    """Close the session and settle its reservation, in one transaction."""
    session = work.session(session_id)
    if session.is_open:
        charged = session.close(reason, at_ms=at_ms)
        work.account(session.account_id).settle(
            session_id=session.id, service=session.service, charged=charged, at_ms=at_ms
        )
    return session
