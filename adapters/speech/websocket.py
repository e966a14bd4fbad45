"""Speech over plain WebSockets: who answers the route, and aiohttp's socket as a wire."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from aiohttp import WSMsgType, hdrs, web

from adapters.speech.dialect import Frame
from adapters.speech.drive import FRAME_BYTES_MAX, Connections, drive
from adapters.speech.dtelecom import DTelecomDialect
from domain.booth import Booth

# Together with aiohttp's wait of half of it, a dead peer is noticed within 22.5 s.
HEARTBEAT_S = 15.0
SEND_S_MAX = 10.0
CLOSE_S_MAX = 2.0
# A server that stops is replaced or back within so many seconds.
_SHUT_S = "5"
# Above our own limit, so that we and not the library answer what is a little too large.
_SOCKET_BYTES_MAX = 4 * FRAME_BYTES_MAX


class WebSocketWire:
    """An accepted WebSocket. A peer that does not read for `send_s_max` seconds is dropped."""

    def __init__(
        self,
        socket: web.WebSocketResponse,
        transport: asyncio.Transport | None,
        *,
        send_s_max: float = SEND_S_MAX,
    ) -> None:
        self._socket = socket
        self._transport = transport
        self._send_s_max = send_s_max

    async def frames(self) -> AsyncGenerator[Frame, None]:
        while True:
            try:
                message = await self._socket.receive()
            except ConnectionError:
                return  # A ping that could not be answered: the peer is gone.
            if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                return
            frame: Frame = message.data
            yield frame

    async def send(self, frame: Frame) -> None:
        try:
            async with asyncio.timeout(self._send_s_max):
                if isinstance(frame, str):
                    await self._socket.send_str(frame)
                else:
                    await self._socket.send_bytes(frame)
        except TimeoutError as stuck:
            self._abort()
            msg = f"the peer did not read for {self._send_s_max} s"
            raise ConnectionAbortedError(msg) from stuck

    async def close(self, code: int, reason: str) -> None:
        try:
            # Twice: once to be rid of our frames, once for the peer's answer.
            async with asyncio.timeout(2 * CLOSE_S_MAX):
                await self._socket.close(code=code, message=reason.encode())
        except (ConnectionError, TimeoutError):
            self._abort()

    def _abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


class Streams:
    """Answers GET /v1/stream, and can end everything it answers.

    At most `live_max` connections at a time, 0: as many as come.
    """

    def __init__(self, booth: Booth, *, live_max: int = 0) -> None:
        self._booth = booth
        self._live_max = live_max
        self._connections = Connections()

    @property
    def live(self) -> int:
        """How many connections are served now."""
        return len(self._connections)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Serve one WebSocket to its end; what is none gets JSON with status 400, 426 or 503."""
        socket = web.WebSocketResponse(
            heartbeat=HEARTBEAT_S,
            max_msg_size=_SOCKET_BYTES_MAX,
            timeout=CLOSE_S_MAX,
            compress=False,
        )
        if self._connections.closed:
            refusal = _no(503, "shutting_down", "The server is stopping; connect again")
            refusal.headers[hdrs.RETRY_AFTER] = _SHUT_S
            return refusal
        if self._live_max and self.live >= self._live_max:
            return _no(503, "no_capacity", "Every place of this server is taken; connect elsewhere")
        if not socket.can_prepare(request).ok:
            return _not_a_websocket(request)
        await socket.prepare(request)
        wire = WebSocketWire(socket, request.transport)
        await drive(self._booth, wire, DTelecomDialect(), self._connections)
        return socket

    async def close(self) -> None:
        """Stop every clock, tell every peer (close code 1001), and take no more; safe to repeat."""
        await self._connections.close()


def _not_a_websocket(request: web.Request) -> web.Response:
    if request.headers.get(hdrs.UPGRADE, "").strip().lower() == "websocket":
        return _no(400, "malformed", "This WebSocket handshake is not one of RFC 6455, version 13")
    refusal = _no(
        426, "upgrade_required", "This is a WebSocket endpoint; connect with Upgrade: websocket"
    )
    refusal.headers[hdrs.UPGRADE] = "websocket"
    refusal.headers[hdrs.CONNECTION] = "Upgrade"
    return refusal


def _no(status: int, code: str, text: str) -> web.Response:
    return web.json_response({"error": text, "code": code}, status=status)
