"""How a session ends: what was used is charged, the rest comes back, once."""

from __future__ import annotations

from functools import partial
from uuid import UUID

from domain.gateway import Gateway
from domain.ledger import Work
from domain.session import Session
from domain.use_cases.extend_session import owned_bundle, owned_session


async def end_session(gateway: Gateway, account_id: UUID, session_id: UUID) -> Session:
    """Settle the customer's session now; a session that is over answers as it ended."""
    await gateway.books.run(partial(owned_session, account_id=account_id, session_id=session_id))
    return await settle_session(gateway, session_id, reason="ended")


async def end_bundle(gateway: Gateway, account_id: UUID, bundle_id: UUID) -> tuple[Session, ...]:
    """Settle every session of a bundle."""
    bundle = await gateway.books.run(
        partial(owned_bundle, account_id=account_id, bundle_id=bundle_id)
    )
    return tuple([await settle_session(gateway, i, reason="ended") for i in bundle.session_ids])


async def settle_session(gateway: Gateway, session_id: UUID, *, reason: str) -> Session:
    """Close a session for a reason (`ended`, `spent`, `expired`), whoever asks; safe to repeat."""
    await gateway.switchboard.catch_up(session_id)
    now_ms = gateway.clock.now_ms()
    session = await gateway.books.run(
        partial(close, session_id=session_id, reason=reason, at_ms=now_ms)
    )
    line = gateway.switchboard.line(session_id)
    if line is not None:
        line.changed()
    return session


async def settle_spent(gateway: Gateway, session_id: UUID) -> Session:
    """Settle a session if nothing of it is left or its time has passed; return it as it stands."""
    now_ms = gateway.clock.now_ms()
    session = await gateway.books.run(partial(_close_spent, session_id=session_id, at_ms=now_ms))
    line = gateway.switchboard.line(session_id)
    if line is not None and not session.is_open:
        line.changed()
    return session


def _close_spent(work: Work, *, session_id: UUID, at_ms: int) -> Session:
    session = work.session(session_id)
    if not session.is_open or not session.is_spent(at_ms):
        return session
    reason = "expired" if at_ms >= session.expires_at_ms else "spent"
    return close(work, session_id=session_id, reason=reason, at_ms=at_ms)


def close(work: Work, *, session_id: UUID, reason: str, at_ms: int) -> Session:
    """Close the session and settle its reservation, in one transaction."""
    session = work.session(session_id)
    if session.is_open:
        charged = session.close(reason, at_ms=at_ms)
        work.account(session.account_id).settle(
            session_id=session.id, service=session.service, charged=charged, at_ms=at_ms
        )
    return session
