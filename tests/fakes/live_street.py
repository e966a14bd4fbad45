"""A gateway in a thread of its own, for clients that block, and an auth that signs for it."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import threading
from collections.abc import Coroutine, Mapping
from typing import Any

import jwt
import requests
from requests.auth import AuthBase

from adapters.sfu.receiver import WEBHOOK_PATH
from adapters.speech.websocket import Streams
from domain.gateway import Terms
from tests.fakes.gateway import House
from tests.fakes.street import ROOMS_KEY, ROOMS_SECRET, Street, Wallet

# Every request takes seconds to arrive, so that limits of rate never hide what is behind them.
REQUEST_MS = 3_000
TERMS = Terms(units_max=100_000, api_rate_max=1_000)
# What its first answers name: ids count up from 1 there.
OPENED = (
    ("/v1/stt/session", {"duration_minutes": 60}),
    ("/v1/tts/session", {"max_characters": 1_000}),
    ("/v1/webrtc/token", {"room_name": "r", "participant_identity": "p", "duration_minutes": 60}),
    ("/v1/agent-session", {"room_name": "r", "participant_identity": "p", "duration_minutes": 60}),
)


def is_sent_as_drawn(query: Mapping[str, object] | None) -> bool:
    """An object in a query is sent as its members: under other names, which nobody asks for."""
    return not any(isinstance(value, dict | list) for value in (query or {}).values())


class Signature(AuthBase):
    """Signs what is really sent, last of all."""

    def __init__(self, street: Street, wallet: Wallet) -> None:
        self._street = street
        self._wallet = wallet

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        path = request.path_url.partition("?")[0]
        if path == WEBHOOK_PATH:
            request.headers["Authorization"] = room_server_token(request.body or b"")
            return request
        now_s = self._street.house.clock.now_ms() // 1_000
        request.headers.update(self._wallet.headers(request.method or "", path, now_s))
        return request


def room_server_token(body: bytes | str) -> str:
    """As a LiveKit server signs a webhook."""
    raw = body.encode() if isinstance(body, str) else body
    digest = base64.b64encode(hashlib.sha256(raw).digest()).decode()
    claims = {"iss": ROOMS_KEY, "sha256": digest, "exp": 10**10}
    return jwt.encode(claims, ROOMS_SECRET, algorithm="HS256")


class LiveStreet:
    """A gateway in a thread of its own: Schemathesis calls it as any client, and blocks."""

    def __init__(self, *, opened: bool = True) -> None:
        """With `opened` there is one of each kind of session already."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self.street = Street(House(terms=TERMS))
        self.street.stream = Streams(self.street.house.booth).handle
        self.run(self.street.open())
        self.run(self.street.fund(10**15))
        for path, body in OPENED if opened else ():
            self.run(self.street.post(path, body))
        self.url = f"http://127.0.0.1:{self.street.port}"
        self.signature = Signature(self.street, self.street.alice)
        self.http = requests.Session()
        self.http.trust_env = False

    def run(self, work: Coroutine[Any, Any, object]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=30)

    def pass_time(self) -> None:
        self.run(self.street.house.clock.advance(REQUEST_MS))

    def close(self) -> None:
        self.http.close()
        self.run(self.street.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
