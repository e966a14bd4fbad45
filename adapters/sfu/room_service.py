"""Removes participants by the room service's own call (Twirp: JSON over HTTP)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

import aiohttp

from domain.errors import NoCapacityError
from domain.ports.clock import Clock
from domain.ports.room_events import Sighting

REMOVE_PATH = "/twirp/livekit.RoomService/RemoveParticipant"
TIMEOUT_S = 5.0
TOKEN_LIFE_S = 600
# Room servers allow no clock skew.
TOKEN_SKEW_S = 10
_OK, _NOT_FOUND = 200, 404
_SCHEMES = {"wss": "https", "ws": "http"}


class TwirpRoomService:
    """Implements `RoomService`; `sign` makes an administrator's token of its claims."""

    def __init__(self, *, key: str, sign: Callable[[dict[str, object]], str], clock: Clock) -> None:
        self._key = key
        self._sign = sign
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None

    async def remove(self, server_url: str, sightings: Sequence[Sighting]) -> None:
        named = sorted({(s.room_name, s.identity) for s in sightings if s.identity})
        for room_name, identity in named:
            await self._remove(server_url, room_name, identity)

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def _remove(self, server_url: str, room_name: str, identity: str) -> None:
        if self._session is None:
            self._session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        parts = urlsplit(server_url)
        url = f"{_SCHEMES.get(parts.scheme, 'https')}://{parts.netloc}{REMOVE_PATH}"
        try:
            async with self._session.post(
                url,
                json={"room": room_name, "identity": identity},
                headers={"Authorization": f"Bearer {self._token(room_name)}"},
                timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
                allow_redirects=False,
            ) as answer:
                status = answer.status
        except (aiohttp.ClientError, TimeoutError, ValueError) as failure:
            raise NoCapacityError(service="webrtc") from failure
        # Who is not there need not be removed.
        if status not in (_OK, _NOT_FOUND):
            raise NoCapacityError(service="webrtc")

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
