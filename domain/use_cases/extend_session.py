"""How a session goes on: more is reserved first, then it counts, also on the live connection."""

from __future__ import annotations

from functools import partial
from uuid import UUID

from domain.bundle import Bundle
from domain.errors import NotFoundError
from domain.gateway import Gateway
from domain.ledger import Work
from domain.session import Session
from domain.use_cases.open_session import Ticket, issue_ticket


async def extend_session(
    gateway: Gateway,
    account_id: UUID,
    session_id: UUID,
    *,
    service: str,
    quantity: int,
    request_key: str = "",
    api_key_id: UUID | None = None,
) -> Ticket:
    """Buy `quantity` more ms or characters; InsufficientCreditsError changes nothing."""
    session = await gateway.books.run(
        partial(
            _extend_session,
            account_id=account_id,
            session_id=session_id,
            service=service,
            quantity=quantity,
            tts_lifetime_ms=gateway.terms.tts_lifetime_ms,
            request_id=request_key or str(gateway.new_id()),
            api_key_id=api_key_id,
            at_ms=gateway.clock.now_ms(),
        )
    )
    _tell(gateway, session)
    return await issue_ticket(gateway, session)


async def extend_bundle(
    gateway: Gateway,
    account_id: UUID,
    bundle_id: UUID,
    *,
    duration_ms: int,
    characters: int,
    request_key: str = "",
    api_key_id: UUID | None = None,
) -> tuple[Ticket, ...]:
    """Extend every open session of a bundle together, or none.

    Clocks get `duration_ms` more, characters `characters` more, and all of them live that much
    longer. A bundle with nothing left open is not found.
    """
    sessions = await gateway.books.run(
        partial(
            _extend_bundle,
            account_id=account_id,
            bundle_id=bundle_id,
            duration_ms=duration_ms,
            characters=characters,
            request_id=request_key or str(gateway.new_id()),
            api_key_id=api_key_id,
            at_ms=gateway.clock.now_ms(),
        )
    )
    for session in sessions:
        _tell(gateway, session)
    return tuple([await issue_ticket(gateway, session) for session in sessions])


def owned_session(
    work: Work,
    *,
    account_id: UUID,
    session_id: UUID,
    service: str | None = None,
    api_key_id: UUID | None = None,
) -> Session:
    """The account's session; somebody else's, or one of another service, is not found.

    Nor is one that was not opened with this API key, where a key asks.
    """
    session = work.session(session_id)
    if (
        session.account_id != account_id
        or service not in (None, session.service)
        or api_key_id not in (None, session.api_key_id)
    ):
        raise NotFoundError(what="Session")
    return session


def owned_bundle(
    work: Work, *, account_id: UUID, bundle_id: UUID, api_key_id: UUID | None = None
) -> Bundle:
    """The account's bundle; somebody else's is not found, nor what another API key opened."""
    bundle = work.bundle(bundle_id)
    if bundle.account_id != account_id or (
        api_key_id is not None and work.session(bundle.session_ids[0]).api_key_id != api_key_id
    ):
        raise NotFoundError(what="Bundle")
    return bundle


def _extend_session(
    work: Work,
    *,
    account_id: UUID,
    session_id: UUID,
    service: str,
    quantity: int,
    tts_lifetime_ms: int,
    request_id: str,
    api_key_id: UUID | None,
    at_ms: int,
) -> Session:
    session = owned_session(
        work,
        account_id=account_id,
        session_id=session_id,
        service=service,
        api_key_id=api_key_id,
    )
    later_ms = (
        session.expires_at_ms + quantity
        if session.tariff.unit == "ms"
        else max(session.expires_at_ms, at_ms + tts_lifetime_ms)
    )
    _extend(work, session, quantity, later_ms, request_id, api_key_id, at_ms)
    return session


def _extend_bundle(
    work: Work,
    *,
    account_id: UUID,
    bundle_id: UUID,
    duration_ms: int,
    characters: int,
    request_id: str,
    api_key_id: UUID | None,
    at_ms: int,
) -> tuple[Session, ...]:
    bundle = owned_bundle(work, account_id=account_id, bundle_id=bundle_id, api_key_id=api_key_id)
    sessions = [work.session(session_id) for session_id in bundle.session_ids]
    running = [s for s in sessions if s.is_open and not s.is_spent(at_ms)]
    if not running:
        raise NotFoundError(what="Open session of this bundle")
    is_repeat = request_id in bundle.request_ids
    bundle.extend(
        expires_at_ms=bundle.expires_at_ms + duration_ms, request_id=request_id, at_ms=at_ms
    )
    for session in running:
        if is_repeat and request_id not in session.extensions:
            continue  # It had nothing left then, and was bought more since.
        # A repeat changes none of them; the same key for other amounts is refused by each.
        more = duration_ms if session.tariff.unit == "ms" else characters
        later_ms = session.expires_at_ms + duration_ms
        _extend(work, session, more, later_ms, request_id, api_key_id, at_ms)
    return tuple(running)


def _extend(
    work: Work,
    session: Session,
    quantity: int,
    later_ms: int,
    request_id: str,
    api_key_id: UUID | None,
    at_ms: int,
) -> None:
    more = session.extend(
        quantity=quantity, expires_at_ms=later_ms, request_id=request_id, at_ms=at_ms
    )
    if more:
        if api_key_id is not None:
            work.api_key(api_key_id).reserve(
                more, session_id=session.id, service=session.service, at_ms=at_ms
            )
        work.account(session.account_id).reserve(
            more,
            session_id=session.id,
            service=session.service,
            unit_id=session.bundle_id or session.id,
            at_ms=at_ms,
        )


def _tell(gateway: Gateway, session: Session) -> None:
    line = gateway.switchboard.line(session.id)
    if line is not None:
        line.changed()
