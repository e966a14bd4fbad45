"""A caller without sound: only what is said over the socket to a room server."""

from __future__ import annotations

import asyncio
from typing import Self

import aiohttp
from livekit.protocol.models import DisconnectReason
from livekit.protocol.rtc import JoinResponse, LeaveRequest, SignalRequest, SignalResponse

_WAIT_S = 20


class RefusedError(Exception):
    """The room server let nobody in: its status."""


class QuietCaller:
    """Joins as browsers do, with the token in the URL, and stays until it leaves or is removed."""

    def __init__(
        self, socket: aiohttp.ClientWebSocketResponse, http: aiohttp.ClientSession
    ) -> None:
        self._socket = socket
        self._http = http
        self._joined: JoinResponse | None = None

    @classmethod
    async def call(cls, url: str, token: str, *, publish: str = "") -> Self:
        """RefusedError where the token is not good."""
        http = aiohttp.ClientSession()
        named = {"publish": publish} if publish else {}
        try:
            socket = await http.ws_connect(f"{url}/rtc", params={"access_token": token, **named})
        except aiohttp.WSServerHandshakeError as refused:
            await http.close()
            raise RefusedError(refused.status) from refused
        return cls(socket, http)

    async def joined(self) -> JoinResponse:
        async with asyncio.timeout(_WAIT_S):
            while self._joined is None:
                said = SignalResponse.FromString(await self._socket.receive_bytes())
                if said.WhichOneof("message") == "join":
                    self._joined = said.join
        return self._joined

    async def gone(self) -> str:
        """Wait to be sent away: why."""
        async with asyncio.timeout(_WAIT_S):
            async for message in self._socket:
                said = SignalResponse.FromString(message.data)
                if said.WhichOneof("message") == "leave":
                    await self._http.close()
                    return DisconnectReason.Name(said.leave.reason)
        raise AssertionError("the socket closed without a word")

    async def leave(self) -> None:
        request = SignalRequest(leave=LeaveRequest(reason=DisconnectReason.CLIENT_INITIATED))
        await self._socket.send_bytes(request.SerializeToString())
        await self.crash()

    async def crash(self) -> None:
        """Hang up without a word."""
        await self._socket.close()
        await self._http.close()
