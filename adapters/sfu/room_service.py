"""Asks who is in a room, and removes participants, by the room service's own calls (Twirp)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol
from urllib.parse import urlsplit
from uuid import UUID

import base58

from adapters.sfu.entries import key_bytes
from adapters.sfu.events import NAME_LENGTH_MAX, whole_number
from adapters.sfu.nodes import NodeList
from adapters.sfu.outbound import Outbound
from adapters.sfu.rooms import RoomNames
from domain.errors import NoCapacityError
from domain.ports.clock import Clock
from domain.ports.room_events import Presence, Sighting
from domain.ports.rooms import Join

REMOVE_PATH = "/twirp/livekit.RoomService/RemoveParticipant"
LIST_PATH = "/twirp/livekit.RoomService/ListParticipants"
REMOVE_TIMEOUT_MS = 5_000
LIST_TIMEOUT_MS = 2_000
# A server that was silent is not waited for again and again in one round.
BACK_OFF_MS = 30_000
TOKEN_LIFE_S = 600
# Room servers allow no clock skew.
TOKEN_SKEW_S = 10
_REMOVE_BYTES_MAX = 16 << 10
_LIST_BYTES_MAX = 4 << 20
_OK, _NOT_FOUND = 200, 404
_SCHEMES = {"wss": "https", "ws": "http"}
# Those whose media flow, and those who are gone already; the numbers are protobuf's.
_READY, _GONE = ("ACTIVE", 2), ("DISCONNECTED", 3)


class Servers(Protocol):
    """Where a room server is.

    Shape:  its name ("" for the one that is at this URL) in; name and `wss://host` out.
    Errors: `NoCapacityError` where it is none we know.
    Source: specs/http.md, rooms.
    """

    def find(self, server: str, server_url: str) -> tuple[str, str]: ...


class OneServer:
    """Implements `Servers` where there is one, whatever it was called before."""

    def __init__(self, name: str, ws_url: str) -> None:
        self._found = name, ws_url

    def find(self, server: str, server_url: str) -> tuple[str, str]:
        return self._found


class NodeServers:
    """Implements `Servers` for nodes, which are called by the keys they sign with."""

    def __init__(self, known: NodeList) -> None:
        self._known = known

    def find(self, server: str, server_url: str) -> tuple[str, str]:
        key = key_bytes(server)
        for node in self._known.nodes():
            if node.ws_url and (node.key == key if server else node.ws_url == server_url):
                return base58.b58encode(node.key).decode(), node.ws_url
        raise NoCapacityError(service="webrtc")


class TwirpRoomService:
    """Implements `RoomService`; `sign` makes an administrator's token of its claims."""

    def __init__(
        self,
        *,
        key: str,
        sign: Callable[[dict[str, object]], str],
        clock: Clock,
        outbound: Outbound,
        servers: Servers,
        names: RoomNames,
    ) -> None:
        self._key = key
        self._sign = sign
        self._clock = clock
        self._outbound = outbound
        self._servers = servers
        self._names = names
        self._silent_until: dict[str, int] = {}

    async def remove(self, server_url: str, sightings: Sequence[Sighting]) -> None:
        named = sorted({(s.room_name, s.identity) for s in sightings if s.identity})
        for room_name, identity in named:
            status, answer = await self._call(
                server_url + REMOVE_PATH,
                {"room": room_name, "identity": identity},
                bytes_max=_REMOVE_BYTES_MAX,
                timeout_ms=REMOVE_TIMEOUT_MS,
            )
            # Who is not there need not be removed.
            if status != _OK and not _is_nowhere(status, answer):
                raise NoCapacityError(service="webrtc")

    async def present(
        self, server: str, *, server_url: str, room_name: str
    ) -> tuple[Presence, ...]:
        name, url = self._servers.find(server, server_url)
        if self._silent_until.get(url, 0) > self._clock.now_ms():
            raise NoCapacityError(service="webrtc")
        try:
            status, answer = await self._call(
                url + LIST_PATH,
                {"room": room_name},
                bytes_max=_LIST_BYTES_MAX,
                timeout_ms=LIST_TIMEOUT_MS,
            )
            found = () if _is_nowhere(status, answer) else _people(status, answer, name)
        except NoCapacityError:
            self._be_patient_with(url)
            raise
        return found

    def room_name(self, account_id: UUID, asked: str) -> str:
        join = Join(
            account_id=str(account_id),
            session_id="",
            room_name=asked,
            identity="",
            metadata="",
            not_before_ms=0,
            expires_at_ms=0,
        )
        return self._names.name(join)

    def _be_patient_with(self, url: str) -> None:
        now_ms = self._clock.now_ms()
        self._silent_until = {u: ms for u, ms in self._silent_until.items() if ms > now_ms}
        self._silent_until[url] = now_ms + BACK_OFF_MS

    async def _call(
        self, ws_url: str, body: dict[str, str], *, bytes_max: int, timeout_ms: int
    ) -> tuple[int, object]:
        parts = urlsplit(ws_url)
        url = f"{_SCHEMES.get(parts.scheme, 'https')}://{parts.netloc}{parts.path}"
        try:
            return await self._outbound.post(
                url,
                body,
                bytes_max=bytes_max,
                timeout_ms=timeout_ms,
                headers={"Authorization": f"Bearer {self._token(body['room'])}"},
            )
        except ConnectionError as failure:
            raise NoCapacityError(service="webrtc") from failure

    def _token(self, room_name: str) -> str:
        now = self._clock.now_ms() // 1000
        return self._sign(
            {
                "video": {"roomAdmin": True, "room": room_name},
                "iss": self._key,
                "sub": "payphone",
                "nbf": now - TOKEN_SKEW_S,
                "exp": now + TOKEN_LIFE_S,
            }
        )


def _is_nowhere(status: int, answer: object) -> bool:
    """Whether the room service says that there is no such room or participant.

    Anybody's web server answers 404 where there is no room service.
    """
    return status == _NOT_FOUND and isinstance(answer, dict) and answer.get("code") == "not_found"


def _people(status: int, answer: object, server: str) -> tuple[Presence, ...]:
    """Those in the room, without the mirrors of who is in it on another node.

    NoCapacityError for what cannot be understood: it must not read as an empty room.
    """
    people = answer.get("participants", []) if isinstance(answer, dict) else None
    if status != _OK or not isinstance(people, list):
        raise NoCapacityError(service="webrtc")
    found = []
    for person in people:
        if not isinstance(person, dict) or not _name(person, "sid"):
            raise NoCapacityError(service="webrtc")
        if person.get("relayed") is not True and person.get("state") not in _GONE:
            found.append(_presence(person, server))
    return tuple(found)


def _presence(person: dict[str, Any], server: str) -> Presence:
    attributes = person.get("attributes")
    return Presence(
        connection=f"{server}/{person['sid']}",
        identity=_name(person, "identity"),
        # The service answers with protobuf's own names, unlike webhooks; a reader takes both.
        joined_ms=whole_number(person.get("joined_at", person.get("joinedAt"))) * 1000,
        is_ready=person.get("state") in _READY,
        told_session=_name(attributes, "session_id") if isinstance(attributes, dict) else "",
    )


def _name(fields: dict[str, Any], name: str) -> str:
    """Text that can be stored, or none."""
    value = fields.get(name)
    if not isinstance(value, str) or len(value) > NAME_LENGTH_MAX or "\x00" in value:
        return ""
    # A lone surrogate can be escaped in JSON, and stored nowhere.
    return value if value.isascii() or value == value.encode(errors="replace").decode() else ""
