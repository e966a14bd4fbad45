"""Webhooks of room servers: whom to believe, and what they say about whom."""

from __future__ import annotations

import hashlib
import hmac
import logging
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from adapters.sfu.events import RoomEvent, parse_event
from adapters.sfu.nodes import NodeKeys
from adapters.sfu.room_key import is_room_key
from adapters.sfu.webhook_tokens import check_livekit, node_signer
from domain.errors import MalformedError, NoCapacityError, UnauthenticatedError
from domain.ports.room_events import Delivery, RoomReader, Sighting
from domain.presence import FactKind, RoomFact

KINDS: dict[str, FactKind] = {
    "participant_joined": "joined",
    "participant_left": "left",
    "room_finished": "finished",
}

DOUBTED_MAX = 50
DOUBTED_SESSIONS_MAX = 10_000

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Posted:
    """A webhook as it came in; `address` is the part of the URL that names the session, or ""."""

    authorization: str
    address: str
    body: bytes
    received_at_ms: int


class Webhooks(RoomReader, Protocol):
    """Believes or refuses what is posted, and reads what was believed.

    Shape:  `believed` gives the delivery to store, or None for what concerns nobody here.
    Errors: `UnauthenticatedError`, `MalformedError`.
    Source: specs/http.md, webhooks.
    """

    async def believed(self, posted: Posted) -> Delivery | None: ...


class SessionAddresses:
    """The unguessable part of a webhook's URL: the session, and our own mark on it."""

    def __init__(self, secret: str) -> None:
        self._key = hashlib.sha256(b"payphone webhook address\n" + secret.encode()).digest()

    def address(self, session_id: str) -> str:
        mark = hmac.digest(self._key, session_id.encode(), hashlib.sha256)
        return f"{session_id}.{mark[:16].hex()}"

    def session_of(self, address: str) -> UUID | None:
        """None where the mark is not ours; compared in constant time."""
        session_id = address.partition(".")[0]
        if not hmac.compare_digest(self.address(session_id).encode(), address.encode()):
            return None
        try:
            return UUID(session_id)
        except ValueError:
            return None


class DTelecomWebhooks:
    """Implements `Webhooks`: signed by a node, sent to the session's own address, about our rooms.

    Nodes are third parties: one that lies costs a customer no more than the reservation.
    `require_room_key` refuses events of rooms that do not say whose they are.
    """

    def __init__(
        self,
        *,
        api_key: str,
        nodes: NodeKeys,
        addresses: SessionAddresses,
        require_room_key: bool = True,
    ) -> None:
        self._api_key = api_key
        self._nodes = nodes
        self._addresses = addresses
        self._require_room_key = require_room_key
        self._doubted: dict[UUID, int] = {}

    async def believed(self, posted: Posted) -> Delivery | None:
        issuer = node_signer(posted.authorization, posted.body, now_ms=posted.received_at_ms)
        event = parse_event(posted.body)
        if not posted.address:
            # Every token of ours names an address: this one is about somebody else's room.
            log.warning("webhook without an address", extra={"issuer": issuer})
            return None
        session_id = self._addresses.session_of(posted.address)
        if session_id is None:
            raise UnauthenticatedError(reason="The webhook's address is not one of ours")
        self._check_room(event)
        try:
            is_node = await self._nodes.key_of(issuer) is not None
        except ConnectionError:
            # It comes only once: kept, and believed or not when somebody can tell.
            is_node = self._is_worth_keeping(session_id)
        if not is_node:
            raise UnauthenticatedError(reason="The webhook's signer is no node")
        return _delivery(posted, event, issuer=issuer, session_id=session_id)

    async def sighting(self, delivery: Delivery) -> Sighting | None:
        event = parse_event(delivery.body)
        if event.is_relayed or delivery.session_id is None:
            return None
        try:
            if await self._nodes.key_of(delivery.issuer) is None:
                return None
        except ConnectionError as unknown:
            raise NoCapacityError(service="webrtc") from unknown
        return _sighting(delivery, event, delivery.session_id)

    def is_after_loss(self, delivery: Delivery) -> bool:
        return _is_after_loss(delivery)

    def _is_worth_keeping(self, session_id: UUID) -> bool:
        """Anybody can sign with a key nobody has heard of; so only so many for one session."""
        if len(self._doubted) >= DOUBTED_SESSIONS_MAX:
            self._doubted.clear()
        self._doubted[session_id] = self._doubted.get(session_id, 0) + 1
        return self._doubted[session_id] <= DOUBTED_MAX

    def _check_room(self, event: RoomEvent) -> None:
        """Somebody with an API key of their own can have a room and a person of any name."""
        if not event.room_key and not self._require_room_key:
            return
        if not is_room_key(event.room_key, event.room_name, self._api_key):
            raise UnauthenticatedError(reason="The webhook is about a room of another API key")


class LiveKitWebhooks:
    """Implements `Webhooks`: signed with our secret; the session comes back in the attributes."""

    def __init__(self, *, key: str, secret: str) -> None:
        self._key = key
        self._secret = secret.encode()

    async def believed(self, posted: Posted) -> Delivery | None:
        check_livekit(
            posted.authorization,
            posted.body,
            key=self._key,
            secret=self._secret,
            now_ms=posted.received_at_ms,
        )
        event = parse_event(posted.body)
        if event.name not in KINDS and not event.dropped:
            return None
        return _delivery(posted, event, issuer=self._key, session_id=None)

    async def sighting(self, delivery: Delivery) -> Sighting | None:
        event = parse_event(delivery.body)
        try:
            session_id = UUID(event.told_session) if event.told_session else None
        except ValueError:
            return None
        if session_id is None and KINDS.get(event.name) != "finished":
            return None
        return _sighting(delivery, event, session_id)

    def is_after_loss(self, delivery: Delivery) -> bool:
        return _is_after_loss(delivery)


def _is_after_loss(delivery: Delivery) -> bool:
    """A server that drops deliveries counts them in the next one."""
    if "numDropped" not in delivery.body:
        return False
    try:
        return parse_event(delivery.body).dropped > 0
    except MalformedError:
        return False


def _delivery(
    posted: Posted, event: RoomEvent, *, issuer: str, session_id: UUID | None
) -> Delivery:
    name = event.event_id or hashlib.sha256(posted.body).hexdigest()
    # A node tells everybody of their room's end, each at their own address.
    copy = f"{issuer}\n{session_id}\n{name}" if session_id else f"{issuer}\n{name}"
    return Delivery(
        delivery_id=hashlib.sha256(copy.encode()).hexdigest(),
        issuer=issuer,
        session_id=session_id,
        received_at_ms=posted.received_at_ms,
        body=_text(posted.body),
        token=posted.authorization,
    )


def _text(body: bytes) -> str:
    text = body.decode("utf-8")
    if "\x00" in text:
        raise MalformedError(where="body", expected="JSON", got="a zero byte")
    return text


def _sighting(delivery: Delivery, event: RoomEvent, session_id: UUID | None) -> Sighting | None:
    """Ids of rooms and connections are a server's own: no server speaks for another's."""
    kind = KINDS.get(event.name)
    if kind is None or not (event.room_sid if kind == "finished" else event.participant_sid):
        return None
    at_ms = event.at_ms(delivery.received_at_ms)
    return Sighting(
        session_id=session_id,
        fact=RoomFact(
            kind=kind,
            connection=("" if kind == "finished" else f"{delivery.issuer}/{event.participant_sid}"),
            room=f"{delivery.issuer}/{event.room_sid}",
            at_ms=at_ms,
            since_ms=event.joined_ms if 0 < event.joined_ms <= at_ms else 0,
        ),
        room_name=event.room_name,
        identity=event.identity,
    )
