"""A participant's sound at a room server: what it sends comes in, what others send goes out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCDataChannel,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.sdp import candidate_from_sdp
from livekit.protocol.rtc import SessionDescription, SignalTarget, TrickleRequest

ANSWER_WAIT_S = 10
# No server on the internet is asked for our own address.
_QUIET = RTCConfiguration(iceServers=[])

Describe = Callable[[str, SessionDescription], Awaitable[None]]


class Media:
    """Two peer connections: ours to tell (`subscriber`), theirs to speak (`publisher`).

    `describe` sends an `offer` or an `answer`; `on_connected` hears once that sound can flow,
    `on_track` and `on_data` what the participant sends.
    """

    def __init__(
        self,
        *,
        describe: Describe,
        on_connected: Callable[[], None],
        on_track: Callable[[MediaStreamTrack], None],
        on_data: Callable[[bytes], None],
    ) -> None:
        self._describe = describe
        self._subscriber = RTCPeerConnection(_QUIET)
        self._publisher = RTCPeerConnection(_QUIET)
        self._lossy = self._subscriber.createDataChannel("_lossy", ordered=False, maxRetransmits=0)
        self._reliable = self._subscriber.createDataChannel("_reliable")
        self._offers = 0
        self._turn = asyncio.Lock()
        self._answered = asyncio.Event()
        self._early: dict[RTCPeerConnection, list[dict[str, Any]]] = {}
        self._publisher.on("track", on_track)
        self._publisher.on("datachannel", lambda channel: _listen(channel, on_data))

        def changed() -> None:
            if self._subscriber.connectionState == "connected":
                on_connected()

        self._subscriber.on("connectionstatechange", changed)

    async def offer(self) -> None:
        """Say what the participant may receive, and wait until that is agreed on."""
        async with self._turn:
            self._answered.clear()
            self._offers += 1
            await self._subscriber.setLocalDescription(await self._subscriber.createOffer())
            told = self._subscriber.localDescription
            await self._describe(
                "offer", SessionDescription(type="offer", sdp=told.sdp, id=self._offers)
            )
            async with asyncio.timeout(ANSWER_WAIT_S):
                await self._answered.wait()

    async def answered(self, answer: SessionDescription) -> None:
        await self._agree(self._subscriber, answer)
        self._answered.set()

    async def offered(self, offer: SessionDescription) -> None:
        await self._agree(self._publisher, offer)
        await self._publisher.setLocalDescription(await self._publisher.createAnswer())
        told = self._publisher.localDescription
        await self._describe("answer", SessionDescription(type="answer", sdp=told.sdp, id=offer.id))

    async def trickled(self, trickle: TrickleRequest) -> None:
        is_theirs = trickle.target == SignalTarget.PUBLISHER
        connection = self._publisher if is_theirs else self._subscriber
        candidate = json.loads(trickle.candidateInit)
        if connection.remoteDescription is None:
            self._early.setdefault(connection, []).append(candidate)
        else:
            await _add(connection, candidate)

    async def forward(self, track: MediaStreamTrack, *, stream_id: str, track_id: str) -> None:
        """Send another's sound, under the names that tell the client whose it is."""
        sender = self._subscriber.addTrack(track)
        sender._stream_id, sender._track_id = stream_id, track_id
        await self.offer()

    def send(self, data: bytes) -> None:
        if self._reliable.readyState == "open":
            self._reliable.send(data)

    async def close(self) -> None:
        await self._subscriber.close()
        await self._publisher.close()

    async def _agree(self, connection: RTCPeerConnection, told: SessionDescription) -> None:
        await connection.setRemoteDescription(RTCSessionDescription(sdp=told.sdp, type=told.type))
        for candidate in self._early.pop(connection, []):
            await _add(connection, candidate)


async def _add(connection: RTCPeerConnection, told: dict[str, Any]) -> None:
    _, _, line = told.get("candidate", "").partition(":")
    if not line:
        return
    candidate = candidate_from_sdp(line)
    if candidate.protocol != "udp":
        return
    candidate.sdpMid, candidate.sdpMLineIndex = told.get("sdpMid"), told.get("sdpMLineIndex")
    await connection.addIceCandidate(candidate)


def _listen(channel: RTCDataChannel, heard: Callable[[bytes], None]) -> None:
    channel.on("message", lambda data: heard(data if isinstance(data, bytes) else data.encode()))
