"""Room servers that post webhooks as the real ones do, and the gateway's door for them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from pathlib import Path
from typing import Any
from uuid import UUID

import base58
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from nacl.signing import SigningKey

from adapters.http.errors import errors_as_json
from adapters.sfu.nodes import Node, NodeKeys, StaticNodes
from adapters.sfu.receiver import WEBHOOK_PATH, Receiver
from adapters.sfu.room_key import room_key
from adapters.sfu.webhook import DTelecomWebhooks, LiveKitWebhooks, SessionAddresses
from adapters.store.room_log import SqliteTables, StoredRoomLog
from domain.errors import NoCapacityError
from domain.ledger import Work
from domain.ports.room_events import Presence, Sighting
from domain.session import Session
from domain.use_cases.open_session import SessionRequest, open_session
from domain.use_cases.publish_prices import publish_prices
from domain.use_cases.roll_call import call_the_roll
from domain.use_cases.room_events import look_after_guests
from domain.use_cases.room_reading import read_deliveries
from tests.fakes.gateway import House

# Throwaway keys, the ones of the published vectors.
API_KEY = "FAe4sisG95oZ42w7buUn5qEE4TAnfTTFPiguZUHmhiF"
API_SECRET = "1thX6LZfHDZZKUs92febYZhYRcXddmzfzF2NvTkPNE"
LIVEKIT_KEY = "APIthrowaway"
LIVEKIT_SECRET = "throwaway-secret-0123456789abcdef0123456789"
NODE = SigningKey(b"\x07" * 32)
OTHER_NODE = SigningKey(b"\x08" * 32)
MINUTE_MS = 60_000
DAY = 24 * 60 * MINUTE_MS


def name_of(signer: SigningKey) -> str:
    return base58.b58encode(bytes(signer.verify_key)).decode()


def encoded(part: object) -> str:
    raw = part if isinstance(part, bytes) else json.dumps(part, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def standard_hash(body: bytes) -> str:
    return base64.b64encode(hashlib.sha256(body).digest()).decode()


def node_token(
    body: bytes, *, now_ms: int, signer: SigningKey = NODE, header: object = None, **claims: object
) -> str:
    """As a node signs; a claim given as None is left out."""
    now = now_ms // 1000
    told = {
        "exp": now + 300,
        "iss": name_of(signer),
        "nbf": now,
        "sub": "",
        "sha256": standard_hash(body),
        **claims,
    }
    told = {name: claim for name, claim in told.items() if claim is not None}
    signing = f"{encoded(header or {'alg': 'EdDSA', 'typ': 'JWT'})}.{encoded(told)}"
    return f"{signing}.{encoded(signer.sign(signing.encode()).signature)}"


def livekit_token(body: bytes, *, now_ms: int, **claims: object) -> str:
    now = now_ms // 1000
    told = {
        "iss": LIVEKIT_KEY,
        "nbf": now,
        "exp": now + 300,
        "sha256": standard_hash(body),
        **claims,
    }
    told = {name: claim for name, claim in told.items() if claim is not None}
    signing = f"{encoded({'alg': 'HS256', 'typ': 'JWT'})}.{encoded(told)}"
    mark = hmac.digest(LIVEKIT_SECRET.encode(), signing.encode(), hashlib.sha256)
    return f"{signing}.{encoded(mark)}"


@dataclass
class Bouncer:
    """Implements `RoomService`. Fault: `down` answers nothing.

    `inside` is who is in which room of which server; `asked` the questions, server and room.
    """

    down: bool = False
    tries: int = 0
    removed: list[tuple[str, str, str]] = field(default_factory=list)
    inside: dict[tuple[str, str], list[Presence]] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)

    async def remove(self, server_url: str, sightings: Sequence[Sighting]) -> None:
        self.tries += 1
        if self.down:
            raise NoCapacityError(service="webrtc")
        self.removed += sorted({(server_url, s.room_name, s.identity) for s in sightings})

    async def present(
        self, server: str, *, server_url: str, room_name: str
    ) -> tuple[Presence, ...]:
        name = server or name_of(NODE)
        self.asked.append((name, room_name))
        if self.down:
            raise NoCapacityError(service="webrtc")
        return tuple(self.inside.get((name, room_name), ()))

    def room_name(self, account_id: UUID, asked: str) -> str:
        return asked

    def seat(
        self,
        sid: str,
        *,
        signer: SigningKey = NODE,
        identity: str = "alice",
        joined_ms: int = 0,
        is_ready: bool = True,
        told_session: str = "",
    ) -> None:
        """Put a connection into `room-1` of a node."""
        server = name_of(signer)
        there = Presence(
            connection=f"{server}/{sid}",
            identity=identity,
            joined_ms=joined_ms,
            is_ready=is_ready,
            told_session=told_session,
        )
        self.inside.setdefault((server, "room-1"), []).append(there)


class Door:
    """A gateway that sells rooms, and its door for webhooks on a loopback port."""

    def __init__(self, kind: str = "dtelecom", *, keys: NodeKeys | None = None) -> None:
        self.house = House()
        self.log = StoredRoomLog(SqliteTables(Path(":memory:")))
        self.house.gateway = replace(self.house.gateway, room_log=self.log)
        self.addresses = SessionAddresses(API_SECRET)
        self.bouncer = Bouncer()
        known = StaticNodes(
            [Node(key=bytes(n.verify_key), ws_url="wss://n.test") for n in (NODE, OTHER_NODE)]
        )
        self.webhooks = (
            LiveKitWebhooks(key=LIVEKIT_KEY, secret=LIVEKIT_SECRET)
            if kind == "livekit"
            else DTelecomWebhooks(api_key=API_KEY, nodes=keys or known, addresses=self.addresses)
        )
        self._numbers = 0

    async def open(self) -> None:
        self.house.gateway = replace(self.house.gateway, room_reader=self.webhooks)
        self.receiver = Receiver(self.house.gateway, self.webhooks)
        app = web.Application(middlewares=(errors_as_json,))
        app.router.add_post(WEBHOOK_PATH, self.receiver.receive)
        self.client = TestClient(TestServer(app))
        await self.client.start_server()
        await publish_prices(self.house.gateway)
        self.account_id = await self.house.fund("0x" + "a" * 40, 1_000_000)

    async def close(self) -> None:
        await self.client.close()
        self.log.close()

    @property
    def now_ms(self) -> int:
        return self.house.clock.now_ms()

    async def sell(self, minutes: int = 10, identity: str = "alice") -> UUID:
        request = SessionRequest(
            service="webrtc", quantity=minutes * MINUTE_MS, room_name="room-1", identity=identity
        )
        return (await open_session(self.house.gateway, self.account_id, request)).session_id

    def event(self, name: str, sid: str = "PA_1", **more: object) -> dict[str, Any]:
        """A body as a node writes it, of now; `more` replaces whole fields."""
        self._numbers += 1
        body = {
            "event": name,
            "room": {"sid": "RM_1", "name": "room-1", "key": room_key("room-1", API_KEY)},
            "participant": {"sid": sid, "identity": "alice", "state": "ACTIVE"},
            "id": f"EV_{self._numbers}",
            "createdAt": str(self.now_ms // 1000),
            **more,
        }
        if name.startswith("room_"):
            del body["participant"]
        return body

    async def post(
        self,
        body: dict[str, Any] | bytes,
        session_id: UUID | None = None,
        *,
        token: str | None = None,
        address: str | None = None,
        content_type: str = "application/webhook+json",
    ) -> tuple[int, dict[str, Any]]:
        """One webhook, well signed and to the session's address unless said otherwise."""
        raw = body if isinstance(body, bytes) else json.dumps(body, separators=(",", ":")).encode()
        if token is None:
            is_livekit = isinstance(self.webhooks, LiveKitWebhooks)
            token = (livekit_token if is_livekit else node_token)(raw, now_ms=self.now_ms)
        if address is None:
            address = self.addresses.address(str(session_id)) if session_id else ""
        answer = await self.client.post(
            WEBHOOK_PATH + (f"?s={address}" if address else ""),
            data=raw,
            headers={"Authorization": token, "Content-Type": content_type},
        )
        return answer.status, await answer.json()

    async def tell(self, session_id: UUID, name: str, sid: str = "PA_1") -> None:
        """One webhook that is believed, and what follows from it."""
        status, _ = await self.post(self.event(name, sid), session_id)
        assert status == HTTPStatus.OK
        await self.follow()

    async def follow(self, *, idle_ms: int = 0) -> None:
        """What the gateway does by itself, once: read what came, look after who is there."""
        while await read_deliveries(self.house.gateway):
            pass
        await look_after_guests(self.house.gateway, self.bouncer, idle_ms=idle_ms)

    async def roll(self) -> None:
        """Ask who is there, and look after who was found or missed."""
        await call_the_roll(self.house.gateway, self.bouncer)
        await self.follow()

    async def session(self, session_id: UUID) -> Session:
        return await self.house.books.run(lambda work: Work.session(work, session_id))
