"""Somebody at a room server: the signalling of one connection, and what it may send and hear."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from aiohttp import web
from aiortc import MediaStreamTrack
from aiortc.contrib.media import MediaRelay
from livekit.protocol.models import (
    DataPacket,
    DisconnectReason,
    ParticipantInfo,
    Room,
    ServerInfo,
    TrackInfo,
    TrackType,
)
from livekit.protocol.rtc import (
    AddTrackRequest,
    JoinResponse,
    LeaveRequest,
    ParticipantUpdate,
    Pong,
    SessionDescription,
    SignalRequest,
    SignalResponse,
    TrackPublishedResponse,
)

from tests.fakes.sfu_media import Media
from tests.fakes.sfu_tokens import Pass

PROTOCOL = 15

log = logging.getLogger(__name__)


class Guest:
    """`sends` is the sound it publishes, ready to be given to others; `info` is how others see it.

    Refuses what its token does not grant: to speak, to listen, to send data.
    """

    def __init__(
        self,
        shown: Pass,
        identity: str,
        socket: web.WebSocketResponse,
        *,
        room: Room,
        media: bool,
    ) -> None:
        self.shown = shown
        self.socket = socket
        self.sends: dict[str, MediaStreamTrack] = {}
        now_ms = time.time_ns() // 1_000_000
        self.info = ParticipantInfo(
            sid=f"PA_{secrets.token_hex(6)}",
            identity=identity,
            name=shown.name,
            metadata=shown.metadata,
            attributes=shown.attributes,
            state=ParticipantInfo.State.JOINED,
            joined_at=now_ms // 1000,
            joined_at_ms=now_ms,
        )
        self.info.permission.can_publish = shown.may("canPublish", default=True)
        self.info.permission.can_subscribe = shown.may("canSubscribe", default=True)
        self.info.permission.can_publish_data = shown.may(
            "canPublishData", default=self.info.permission.can_publish
        )
        self._room = room
        self._wants_media = media
        self._media: Media | None = None
        self._relay = MediaRelay()
        self._published: Callable[[], None] = lambda: None
        self._announced: list[TrackInfo] = []
        self._others: dict[str, Guest] = {}
        self._given: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def welcome(
        self,
        others: Sequence[Guest],
        *,
        active: Callable[[], None],
        published: Callable[[], None],
    ) -> None:
        """Let it in. `active` is called once sound can flow, `published` when it has news."""
        self._published = published
        self._others = {other.info.sid: other for other in others}
        await self._send(
            join=JoinResponse(
                room=self._room,
                participant=self.info,
                other_participants=[other.info for other in others],
                server_version="1.9.0",
                server_info=ServerInfo(version="1.9.0", protocol=PROTOCOL),
                subscriber_primary=True,
                ping_timeout=15,
                ping_interval=5,
            )
        )
        published()
        if not self._wants_media:
            active()
            return

        def connected() -> None:
            active()
            for other in list(self._others.values()):
                self._take(other)

        self._media = Media(
            describe=self._describe,
            on_connected=connected,
            on_track=self._on_track,
            on_data=self._on_data,
        )
        self._run(self._media.offer())

    async def heard(self, message: bytes) -> bool:
        """Do what the client asks; False when it takes its leave."""
        request = SignalRequest.FromString(message)
        match request.WhichOneof("message"):
            case "leave":
                return False
            case "ping_req":
                now_ms = time.time_ns() // 1_000_000
                pong = Pong(last_ping_timestamp=request.ping_req.timestamp, timestamp=now_ms)
                await self._send(pong_resp=pong)
            case "add_track":
                await self._announce(request.add_track)
            case "offer" if self._media:
                await self._media.offered(request.offer)
            case "answer" if self._media:
                await self._media.answered(request.answer)
            case "trickle" if self._media:
                await self._media.trickled(request.trickle)
        return True

    def see(self, other: Guest) -> None:
        """Hear that another came, went or speaks."""
        if other.info.state == ParticipantInfo.State.DISCONNECTED:
            self._others.pop(other.info.sid, None)
        else:
            self._others[other.info.sid] = other
        self._run(self._see(other))

    async def dismiss(self, reason: DisconnectReason) -> None:
        leave = LeaveRequest(reason=reason, action=LeaveRequest.Action.DISCONNECT)
        await self._send(leave=leave)
        await self.socket.close()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._media is not None:
            await self._media.close()

    def receive(self, packet: bytes) -> None:
        if self._media is not None and self.info.permission.can_subscribe:
            self._media.send(packet)

    async def _see(self, other: Guest) -> None:
        await self._send(update=ParticipantUpdate(participants=[other.info]))
        self._take(other)

    def _take(self, other: Guest) -> None:
        """Have the other's sound sent here, once."""
        if self._media is None or not self.info.permission.can_subscribe:
            return
        for track_id, track in other.sends.items():
            if track_id not in self._given and self.info.state == ParticipantInfo.State.ACTIVE:
                self._given.add(track_id)
                self._run(
                    self._media.forward(
                        other._relay.subscribe(track, buffered=False),
                        stream_id=f"{other.info.sid}|{track_id}",
                        track_id=track_id,
                    )
                )

    async def _announce(self, wanted: AddTrackRequest) -> None:
        """Promise a track; without the grant nothing is promised, and nothing is taken."""
        if not self.info.permission.can_publish or wanted.type != TrackType.AUDIO:
            return
        track = TrackInfo(
            sid=f"TR_{secrets.token_hex(6)}",
            type=wanted.type,
            name=wanted.name,
            source=wanted.source,
            mime_type="audio/opus",
        )
        self._announced.append(track)
        self.info.tracks.append(track)
        self.info.is_publisher = True
        await self._send(track_published=TrackPublishedResponse(cid=wanted.cid, track=track))

    def _on_track(self, track: MediaStreamTrack) -> None:
        if self._announced:
            self.sends[self._announced.pop(0).sid] = track
            self._published()

    def _on_data(self, data: bytes) -> None:
        if not self.info.permission.can_publish_data:
            return
        packet = DataPacket.FromString(data)
        packet.participant_sid = self.info.sid
        packet.participant_identity = self.info.identity
        for other in self._others.values():
            other.receive(packet.SerializeToString())

    async def _describe(self, kind: str, description: SessionDescription) -> None:
        if kind == "offer":
            await self._send(offer=description)
        else:
            await self._send(answer=description)

    async def _send(self, **message: Any) -> None:  # noqa: ANN401 (one field of a protobuf message)
        if not self.socket.closed:
            await self.socket.send_bytes(SignalResponse(**message).SerializeToString())

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        """Beside the reading of what comes in; what goes wrong after a hang-up is no news."""

        async def run() -> None:
            try:
                await work
            except (ConnectionError, TimeoutError):
                log.info("signalling ended", exc_info=True)

        task = asyncio.ensure_future(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
