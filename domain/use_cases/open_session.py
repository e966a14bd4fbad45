"""How a session begins: priced, reserved and opened in one transaction, or not at all."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from uuid import UUID, uuid5

from domain.bundle import Bundle
from domain.errors import (
    ConflictingRequestError,
    GatewayError,
    LedgerDownError,
    NoCapacityError,
    SessionOverError,
)
from domain.gateway import Gateway
from domain.ledger import Work
from domain.ports.keys import SessionKey
from domain.ports.private import SessionDetails
from domain.ports.rooms import Join, RoomTicket
from domain.pricing import UNITS
from domain.record import canonical
from domain.session import Order, Session, hash_by_key

# A room server allows no clock skew when it checks `nbf`.
_TOKEN_SKEW_MS = 10_000
# Opened at, expires at.
_Window = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRequest:
    """What is asked for: `quantity` ms (webrtc, stt) or characters (tts), and names for people.

    `client_ip` and `region` say where the caller is, as far as is known.
    `role` tells the two webrtc sessions of a bundle apart (`agent`, `client`).
    """

    service: str
    quantity: int
    language: str = ""
    room_name: str = ""
    identity: str = ""
    metadata: str = ""
    client_ip: str = ""
    region: str = ""
    role: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """What the customer gets: a session and the token and URL to spend it with."""

    session_id: UUID
    bundle_id: UUID | None
    service: str
    role: str
    token: str
    url: str
    quantity: int
    expires_at_ms: int


async def open_session(
    gateway: Gateway,
    account_id: UUID,
    request: SessionRequest,
    *,
    request_key: str = "",
    api_key_id: UUID | None = None,
) -> Ticket:
    """Open one session. `request_key` (an Idempotency-Key) makes a repeat the same session.

    With an API key, its scope and its caps hold too.
    """
    session_id = uuid5(account_id, request_key) if request_key else gateway.new_id()
    tickets = await _open(
        gateway,
        account_id,
        (request,),
        (session_id,),
        bundle_id=None,
        keyed=bool(request_key),
        api_key_id=api_key_id,
    )
    return tickets[0]


async def open_bundle(
    gateway: Gateway,
    account_id: UUID,
    requests: Sequence[SessionRequest],
    *,
    request_key: str = "",
    api_key_id: UUID | None = None,
) -> tuple[Ticket, ...]:
    """Open the sessions of an agent session together, in the order asked."""
    bundle_id = uuid5(account_id, request_key) if request_key else gateway.new_id()
    session_ids = tuple(uuid5(bundle_id, str(index)) for index in range(len(requests)))
    return await _open(
        gateway,
        account_id,
        tuple(requests),
        session_ids,
        bundle_id=bundle_id,
        keyed=bool(request_key),
        api_key_id=api_key_id,
    )


async def _open(
    gateway: Gateway,
    account_id: UUID,
    requests: tuple[SessionRequest, ...],
    session_ids: tuple[UUID, ...],
    *,
    bundle_id: UUID | None,
    keyed: bool,
    api_key_id: UUID | None,
) -> tuple[Ticket, ...]:
    opened_at_ms, expires_at_ms = window = _planned(gateway, requests)
    opening = _Opening(
        account_id=account_id,
        orders=tuple(_order(gateway, request, expires_at_ms) for request in requests),
        session_ids=session_ids,
        bundle_id=bundle_id,
        is_keyed=keyed,
        request_hash=hash_by_key(_request_hash(requests) if keyed else "", api_key_id),
        api_key_id=api_key_id,
        units_max=gateway.terms.units_max,
        at_ms=opened_at_ms,
    )
    details = {
        session_id: SessionDetails(
            server_url=_server_url(gateway, request),
            language=request.language,
            room_name=request.room_name,
            identity=request.identity,
            metadata=request.metadata,
            role=request.role,
        )
        for session_id, request in zip(session_ids, requests, strict=True)
    }
    # Rooms before money: where no node will have the participant, nothing is reserved.
    rooms = {
        session_id: await _room(
            gateway, (account_id, session_id), details[session_id], window, request.client_ip
        )
        for session_id, request in zip(session_ids, requests, strict=True)
        if request.service == "webrtc"
    }
    sessions, details = await _open_named(gateway, opening, details, keyed=keyed)
    return tuple(
        [
            await issue_ticket(
                gateway,
                session,
                request_ip=request.client_ip,
                region=request.region,
                details=details[session.id],
                room=rooms.get(session.id) if _window(session) == window else None,
            )
            for session, request in zip(sessions, requests, strict=True)
        ]
    )


async def _open_named(
    gateway: Gateway, opening: _Opening, details: dict[UUID, SessionDetails], *, keyed: bool
) -> tuple[tuple[Session, ...], dict[UUID, SessionDetails]]:
    """Open the sessions with their names, which are gone again where nothing was opened."""
    session_ids = opening.session_ids
    # Copies one after the other, so that a refused one leaves the names of the other alone.
    async with gateway.turnstile.alone(session_ids[0]):
        # Names first: a crash in between leaves a name without a session, which costs nobody.
        known = await gateway.details.find(session_ids) if keyed else {}
        await gateway.details.put(details | known)
        try:
            return await gateway.books.run(opening), details | known
        except LedgerDownError:
            # Nobody knows whether the sessions are open.
            raise
        except GatewayError:
            await gateway.details.delete([s for s in session_ids if s not in known])
            raise


@dataclass(frozen=True, slots=True, kw_only=True)
class _Opening:
    """The command that opens sessions, one for each order, and their bundle."""

    account_id: UUID
    orders: tuple[Order, ...]
    session_ids: tuple[UUID, ...]
    bundle_id: UUID | None
    is_keyed: bool
    request_hash: str
    api_key_id: UUID | None
    units_max: int
    at_ms: int

    def __call__(self, work: Work) -> tuple[Session, ...]:
        account = work.account(self.account_id)
        repeated = self._repeated(work)
        if repeated:
            return repeated
        account.check_room(self.units_max)
        sessions = []
        for session_id, order in zip(self.session_ids, self.orders, strict=True):
            if self.api_key_id is not None:
                # Before the account: buying credits would not help where a key may not.
                work.api_key(self.api_key_id).reserve(
                    order.price, session_id=session_id, service=order.service, at_ms=self.at_ms
                )
            account.reserve(
                order.price,
                session_id=session_id,
                service=order.service,
                unit_id=self.bundle_id or session_id,
                at_ms=self.at_ms,
            )
            session = Session.open(
                order,
                session_id=session_id,
                account_id=self.account_id,
                bundle_id=self.bundle_id,
                request_hash=self.request_hash,
                at_ms=self.at_ms,
            )
            work.add(session)
            sessions.append(session)
        if self.bundle_id is not None:
            work.add(
                Bundle.open(
                    bundle_id=self.bundle_id,
                    account_id=self.account_id,
                    session_ids=self.session_ids,
                    # They all live equally long.
                    expires_at_ms=self.orders[0].expires_at_ms,
                    request_hash=self.request_hash,
                    at_ms=self.at_ms,
                )
            )
        return tuple(sessions)

    def _repeated(self, work: Work) -> tuple[Session, ...]:
        """The sessions an earlier copy of this request opened, if it did."""
        found = tuple(
            session for i in self.session_ids if (session := work.find(Session, i)) is not None
        )
        for session in found:
            session.check_same(self.request_hash)
            if not session.is_open:
                raise SessionOverError(session_id=str(session.id), reason=session.reason)
        if not found and self.is_keyed and self._is_taken(work):
            raise ConflictingRequestError(what="this Idempotency-Key")
        return found

    def _is_taken(self, work: Work) -> bool:
        """Whether the key opened a bundle where this is a session, or the other way round."""
        if self.bundle_id is not None:
            return work.find(Session, self.bundle_id) is not None
        return work.find(Bundle, self.session_ids[0]) is not None


def _planned(gateway: Gateway, requests: Sequence[SessionRequest]) -> _Window:
    """From when until when the sessions are valid, if they are opened now."""
    now_ms, terms = gateway.clock.now_ms(), gateway.terms
    clocks_ms = [r.quantity for r in requests if UNITS[r.service] == "ms"]
    # In a bundle the characters live as long as its clocks do.
    lifetime_ms = max(clocks_ms) + terms.pause_allowance_ms if clocks_ms else None
    return now_ms, now_ms + (lifetime_ms or terms.tts_lifetime_ms)


def _order(gateway: Gateway, request: SessionRequest, expires_at_ms: int) -> Order:
    return Order(
        service=request.service,
        tariff=gateway.price_book.tariff(request.service),
        price_book=gateway.price_book.version,
        quantity=request.quantity,
        expires_at_ms=expires_at_ms,
    )


async def issue_ticket(
    gateway: Gateway,
    session: Session,
    *,
    request_ip: str = "",
    region: str = "",
    details: SessionDetails | None = None,
    room: RoomTicket | None = None,
) -> Ticket:
    """A token for an open session, good until it expires; `room` is one that was got before."""
    if details is None:
        details = (await gateway.details.find([session.id])).get(
            session.id, SessionDetails(server_url="")
        )
    if session.service == "webrtc":
        if room is None:
            ids = (session.account_id, session.id)
            room = await _room(gateway, ids, details, _window(session), request_ip)
        # Whoever was sent to a node stays there, and hears the same when asking again.
        token, url = room.token, details.server_url or room.ws_url
        await gateway.details.put({session.id: replace(details, server_url=url)})
    else:
        token = gateway.keys.issue(
            SessionKey(
                session_id=session.id,
                service=session.service,
                expires_at_ms=session.expires_at_ms,
                quantity=session.quantity,
            )
        )
        url = await _speech_url(gateway, session, details, region)
    return Ticket(
        session_id=session.id,
        bundle_id=session.bundle_id,
        service=session.service,
        role=details.role,
        token=token,
        url=url,
        quantity=session.quantity,
        expires_at_ms=session.expires_at_ms,
    )


async def _speech_url(
    gateway: Gateway, session: Session, details: SessionDetails, region: str
) -> str:
    """Where the session was sent to; another server where that one is gone."""
    if any(
        server.url == details.server_url and server.service == session.service
        for server in gateway.servers.servers()
    ):
        return details.server_url
    try:
        url = gateway.servers.choose(session.service, region=region).url
    except NoCapacityError:
        # It may come back before the key expires.
        return details.server_url
    await gateway.details.put({session.id: replace(details, server_url=url)})
    return url


async def _room(
    gateway: Gateway,
    ids: tuple[UUID, UUID],
    details: SessionDetails,
    window: _Window,
    client_ip: str,
) -> RoomTicket:
    """A ticket for the account and the session of `ids`."""
    (account_id, session_id), (opened_at_ms, expires_at_ms) = ids, window
    return await gateway.rooms.ticket(
        Join(
            account_id=str(account_id),
            session_id=str(session_id),
            room_name=details.room_name,
            identity=details.identity,
            metadata=details.metadata,
            not_before_ms=opened_at_ms - _TOKEN_SKEW_MS,
            expires_at_ms=expires_at_ms,
        ),
        client_ip=client_ip,
    )


def _window(session: Session) -> _Window:
    return session.opened_at_ms, session.expires_at_ms


def _server_url(gateway: Gateway, request: SessionRequest) -> str:
    """Where it will be served, as things are; a room's node is chosen with its token."""
    if request.service == "webrtc":
        return ""
    return gateway.servers.choose(request.service, region=request.region).url


def _request_hash(requests: tuple[SessionRequest, ...]) -> str:
    """What was asked, as a fingerprint: names are personal and stay out of the log."""
    asked = [
        [r.service, r.quantity, r.language, r.room_name, r.identity, r.metadata, r.role]
        for r in requests
    ]
    return hashlib.sha256(canonical(asked)).hexdigest()
