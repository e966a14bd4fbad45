"""How a room server tells what happens: its own words, signed, and sent as its kind sends."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from google.protobuf.json_format import MessageToDict
from livekit.protocol.models import ParticipantInfo, Room
from livekit.protocol.webhook import WebhookEvent

from tests.fakes.sfu_tokens import Vendor

TIMEOUT_S = 10
RETRIES_MAX = 4
AGAIN = frozenset({429, *range(500, 600)})


@dataclass(frozen=True, slots=True)
class Told:
    """A webhook and what came of it: `status` of the last try, 0 where nobody answered."""

    event: str
    identity: str
    at_s: int
    tries: int
    status: int


@dataclass(slots=True)
class Herald:
    """Posts webhooks. dTelecom: each once, in no order; LiveKit: in order, and again.

    Faults: `answers_lost` so many answers do not come back; what is named in `swallowed` is never
    sent.
    """

    vendor: Vendor
    retry_wait_s: float = 0.2
    answers_lost: int = 0
    swallowed: set[str] = field(default_factory=set)
    told: list[Told] = field(default_factory=list)
    _session: aiohttp.ClientSession | None = None
    _running: set[asyncio.Task[None]] = field(default_factory=set)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    def tell(
        self,
        event: str,
        *,
        hook: str,
        room: Room,
        room_key: str,
        participant: ParticipantInfo | None = None,
    ) -> int:
        """Send it off; the second it says that this happened in."""
        at_s = int(time.time())
        told = WebhookEvent(
            event=event, id=f"EV_{secrets.token_hex(6)}", created_at=at_s, room=room
        )
        if participant is not None:
            told.participant.CopyFrom(participant)
        fields = MessageToDict(told)
        if self.vendor.name == "dtelecom":
            _as_dtelecom(fields, room_key)
        body = json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()
        identity = participant.identity if participant is not None else ""
        task = asyncio.create_task(self._send(event, identity, at_s, hook, body))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return at_s

    async def drain(self) -> None:
        while self._running:
            await asyncio.gather(*self._running)

    async def close(self) -> None:
        await self.drain()
        if self._session is not None:
            await self._session.close()

    async def _send(self, event: str, identity: str, at_s: int, hook: str, body: bytes) -> None:
        if not hook or event in self.swallowed:
            return
        headers = {
            # The bare token; what is sent again has the same.
            "Authorization": self.vendor.sign(body),
            "Content-Type": "application/webhook+json",
        }
        tries_max = RETRIES_MAX + 1 if self.vendor.in_order else 1
        if not self.vendor.in_order:
            tries, status = await self._post(hook, body, headers, tries_max)
        else:
            async with self._turn:
                tries, status = await self._post(hook, body, headers, tries_max)
        self.told.append(Told(event, identity, at_s, tries, status))

    async def _post(
        self, hook: str, body: bytes, headers: dict[str, str], tries_max: int
    ) -> tuple[int, int]:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S))
        status = 0
        for number in range(1, tries_max + 1):
            try:
                async with self._session.post(hook, data=body, headers=headers) as answer:
                    status = answer.status
                if self.answers_lost:
                    self.answers_lost -= 1
                    status = 0
            except (aiohttp.ClientError, TimeoutError):
                status = 0
            if status and status not in AGAIN:
                return number, status
            if number < tries_max:
                await asyncio.sleep(self.retry_wait_s * 2**number)
        return tries_max, status


def _as_dtelecom(fields: dict[str, Any], room_key: str) -> None:
    """An older protocol: rooms say whose they are, and nothing is told in ms or attributes."""
    fields["room"]["key"] = room_key
    fields["room"].pop("creationTimeMs", None)
    fields["room"].pop("departureTimeout", None)
    for name in ("joinedAtMs", "attributes", "kind", "disconnectReason"):
        fields.get("participant", {}).pop(name, None)
