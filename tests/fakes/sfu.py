"""A small room server that real clients join: signalling, sound, webhooks and the room service.

It speaks the part of LiveKit's protocol that a caller with one microphone needs, and is meant for
handfuls of people on loopback.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import WSMsgType, web
from google.protobuf.json_format import MessageToDict
from livekit.protocol.models import DisconnectReason, ParticipantInfo, Room

from adapters.sfu.room_key import room_key
from tests.fakes.sfu_guest import Guest
from tests.fakes.sfu_tokens import Pass, RefusedTokenError, Vendor
from tests.fakes.sfu_webhooks import Herald

SERVICE = "/twirp/livekit.RoomService"


@dataclass(slots=True, kw_only=True)
class Visit:
    """One connection, as the room server measured it; `None` while it lasts.

    The seconds are those its webhooks name.
    """

    identity: str
    sid: str
    joined_s: int | None = None
    left_s: int | None = None


@dataclass(slots=True)
class OpenRoom:
    """A room with somebody in it, or lately left by all."""

    info: Room
    tenant: str
    guests: dict[str, Guest] = field(default_factory=dict)
    hooks: set[str] = field(default_factory=set)
    ending: asyncio.TimerHandle | None = None


class Sfu:
    """One node, or one LiveKit server. Without `media` a guest is there once it has joined.

    `departure_s` is how long an empty room waits for somebody. `removed` are the names that the
    room service was told to remove, `visits` all connections so far.
    """

    def __init__(self, vendor: Vendor, *, media: bool, departure_s: float = 0.5) -> None:
        self.vendor = vendor
        self.herald = Herald(vendor)
        self.visits: list[Visit] = []
        self.removed: list[tuple[str, str]] = []
        self.asked_near: list[str] = []
        self.host = ""
        self._media = media
        self._departure_s = departure_s
        self._rooms: dict[tuple[str, str], OpenRoom] = {}
        self._lives: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Sfu]:
        app = web.Application()
        app.router.add_get("/rtc", self._join)
        app.router.add_get("/rtc/validate", self._validate)
        app.router.add_post(f"{SERVICE}/RemoveParticipant", self._remove)
        app.router.add_post(f"{SERVICE}/ListParticipants", self._list)
        app.router.add_post("/relevants", self._relevants)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.host = f"127.0.0.1:{runner.addresses[0][1]}"
            yield self
        finally:
            await self._close()
            await runner.cleanup()

    @property
    def url(self) -> str:
        return f"ws://{self.host}"

    def here(self, identity: str) -> list[Guest]:
        """The guests of that name, in whatever room."""
        return [
            guest
            for room in self._rooms.values()
            for guest in room.guests.values()
            if guest.info.identity == identity
        ]

    async def _close(self) -> None:
        for room in list(self._rooms.values()):
            for guest in list(room.guests.values()):
                await guest.dismiss(DisconnectReason.SERVER_SHUTDOWN)
        if self._lives:
            await asyncio.wait(self._lives, timeout=5)
        for room in self._rooms.values():
            if room.ending is not None:
                room.ending.cancel()
        await self.herald.close()

    def _admit(self, request: web.Request) -> Pass:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        try:
            return self.vendor.read(token or request.query.get("access_token", ""))
        except RefusedTokenError as refused:
            raise web.HTTPUnauthorized(text=f"invalid token: {refused}") from None

    def _admit_guest(self, request: web.Request) -> Pass:
        shown = self._admit(request)
        if not (shown.may("roomJoin") and shown.room and shown.identity):
            raise web.HTTPUnauthorized(text="the token joins no room")
        return shown

    async def _validate(self, request: web.Request) -> web.Response:
        self._admit_guest(request)
        return web.Response(text="success")

    async def _join(self, request: web.Request) -> web.StreamResponse:
        shown = self._admit_guest(request)
        suffix = request.query.get("publish", "")
        identity = shown.identity + (f"#{suffix}" if suffix else "")
        socket = web.WebSocketResponse(heartbeat=20)
        await socket.prepare(request)
        room = self._room(shown)
        for other in [g for g in room.guests.values() if g.info.identity == identity]:
            await other.dismiss(DisconnectReason.DUPLICATE_IDENTITY)
        guest = Guest(shown, identity, socket, room=room.info, media=self._media)
        visit = Visit(identity=identity, sid=guest.info.sid)
        self.visits.append(visit)
        life = asyncio.ensure_future(self._live(guest, room, visit))
        self._lives.add(life)
        life.add_done_callback(self._lives.discard)
        await life
        return socket

    async def _live(self, guest: Guest, room: OpenRoom, visit: Visit) -> None:
        """From the first message to the last; whoever hangs up, the others are told."""

        def active() -> None:
            if visit.joined_s is None:
                guest.info.state = ParticipantInfo.State.ACTIVE
                visit.joined_s = self._tell("participant_joined", room, guest)

        try:
            others = [g for g in room.guests.values() if g is not guest]
            room.guests[guest.info.sid] = guest
            await guest.welcome(others, active=active, published=lambda: self._spread(room, guest))
            async for message in guest.socket:
                if message.type is not WSMsgType.BINARY or not await guest.heard(message.data):
                    break
        finally:
            room.guests.pop(guest.info.sid, None)
            guest.info.state = ParticipantInfo.State.DISCONNECTED
            if visit.joined_s is not None:
                visit.left_s = self._tell("participant_left", room, guest)
            self._spread(room, guest)
            await guest.close()
            self._maybe_end(room)

    def _spread(self, room: OpenRoom, about: Guest) -> None:
        """Tell the others in the room what has become of one of them."""
        for guest in room.guests.values():
            if guest is not about:
                guest.see(about)

    def _room(self, shown: Pass) -> OpenRoom:
        """API keys have rooms of their own: a name means nothing without whose it is."""
        place = (shown.tenant, shown.room)
        if place not in self._rooms:
            now = int(time.time())
            info = Room(
                sid=f"RM_{secrets.token_hex(6)}",
                name=shown.room,
                empty_timeout=300,
                creation_time=now,
            )
            self._rooms[place] = OpenRoom(info, shown.tenant)
        room = self._rooms[place]
        if room.ending is not None:
            room.ending.cancel()
            room.ending = None
        room.hooks.add(shown.hook)
        return room

    def _maybe_end(self, room: OpenRoom) -> None:
        if room.guests:
            return

        def end() -> None:
            self._rooms.pop((room.tenant, room.info.name), None)
            for hook in room.hooks:
                self._post("room_finished", room, hook)

        room.ending = asyncio.get_running_loop().call_later(self._departure_s, end)

    def _tell(self, event: str, room: OpenRoom, guest: Guest) -> int:
        return self._post(event, room, guest.shown.hook, guest.info)

    def _post(
        self, event: str, room: OpenRoom, hook: str, participant: ParticipantInfo | None = None
    ) -> int:
        return self.herald.tell(
            event,
            hook=hook,
            room=room.info,
            room_key=room_key(room.info.name, room.tenant),
            participant=participant,
        )

    async def _remove(self, request: web.Request) -> web.Response:
        room, body = await self._administered(request)
        self.removed.append((body.get("room", ""), body.get("identity", "")))
        found = [] if room is None else list(room.guests.values())
        found = [g for g in found if g.info.identity == body.get("identity")]
        if not found:
            return web.json_response({"code": "not_found", "msg": "no participant"}, status=404)
        for guest in found:
            await guest.dismiss(DisconnectReason.PARTICIPANT_REMOVED)
        return web.json_response({})

    async def _list(self, request: web.Request) -> web.Response:
        room, _ = await self._administered(request)
        guests = [] if room is None else room.guests.values()
        shown = [MessageToDict(g.info, preserving_proto_field_name=True) for g in guests]
        return web.json_response({"participants": shown})

    async def _administered(self, request: web.Request) -> tuple[OpenRoom | None, dict[str, Any]]:
        """The room that the caller is an administrator of, and what is asked about it."""
        shown = self._admit(request)
        body: dict[str, Any] = await request.json()
        if not shown.may("roomAdmin") or shown.room != body.get("room"):
            raise web.HTTPForbidden(text='{"code":"permission_denied","msg":"no administrator"}')
        return self._rooms.get((shown.tenant, shown.room)), body

    async def _relevants(self, request: web.Request) -> web.Response:
        self.asked_near.append((await request.json())["ip"])
        return web.json_response([{"domain": self.host}])
