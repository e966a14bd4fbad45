"""A speech server's line to one gateway process: kept up, and spoken over."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, Protocol
from uuid import UUID

import aiohttp

from adapters.fleet.clock import GatewayClock
from adapters.fleet.passes import Passes
from adapters.fleet.sessions import AwayError, Taken
from adapters.fleet.words import (
    LINK_PATH,
    Welcome,
    card_words,
    parse,
    refusal_of,
    standing_of,
    text_of,
    uuid_of,
    welcome_of,
)
from domain.errors import GatewayError
from domain.ports.speech_servers import SpeechServer
from domain.usage import Standing

ANSWER_S = 3.0
LOAD_S = 2.0
HEARTBEAT_S = 5.0
BACK_OFF_S = (0.2, 0.5, 1.0, 2.0)
MESSAGE_BYTES_MAX = 1 << 20

# A gateway that is away, is about to go, or is none.
NOT_UNDERSTOOD = (
    aiohttp.ClientError,
    OSError,
    TimeoutError,
    GatewayError,
    LookupError,
    TypeError,
    ValueError,
)

log = logging.getLogger(__name__)


class House(Protocol):
    """What a link speaks for.

    Shape:  `card` is the server as it is now; `leave` and `catch_up` return once a connection has
            reported all it used; the rest is news.
    Errors: none.
    """

    def card(self) -> SpeechServer: ...

    async def leave(self, session_id: UUID, connection_id: UUID) -> None: ...

    async def catch_up(self, session_id: UUID, connection_id: UUID) -> None: ...

    def stands(self, standing: Standing) -> None: ...

    def is_over(self, session_id: UUID, reason: str) -> None: ...

    def welcomed(self, link: Link, welcome: Welcome) -> None: ...

    def lost(self, link: Link) -> None: ...


class Link:
    """Run `keep_up` for as long as the server lives; what is said while it is down is `AwayError`.

    A gateway that does not want us (another secret, another release) is asked again all the same.
    """

    def __init__(
        self,
        url: str,
        house: House,
        *,
        name: str,
        passes: Passes,
        clock: GatewayClock,
        http: aiohttp.ClientSession,
    ) -> None:
        self.url = url
        self._house = house
        self._name = name
        self._passes = passes
        self._clock = clock
        self._http = http
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def is_up(self) -> bool:
        return self._socket is not None

    async def keep_up(self) -> None:
        failures = 0
        while True:
            try:
                await self._connect()
                failures = 0
            except NOT_UNDERSTOOD as problem:
                if failures == 0:
                    fields = {"gateway": self.url, "problem": str(problem)}
                    log.warning("gateway not reached; trying on", extra=fields)
                await asyncio.sleep(BACK_OFF_S[min(failures, len(BACK_OFF_S) - 1)])
                failures += 1

    async def take(self, session_id: UUID, connection_id: UUID) -> Taken:
        answer = await self._ask(
            {"type": "take", "session_id": str(session_id), "connection_id": str(connection_id)}
        )
        if answer.get("type") == "refused":
            raise refusal_of(answer.get("refusal"), session_id=session_id)
        return Taken(standing_of(answer.get("session")), text_of(answer, "language"))

    def tell(self, words: dict[str, object]) -> None:
        """Say something that needs no answer; nothing happens where nobody listens."""
        self._begin(self._send(words))

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._socket is not None:
            await self._socket.close()

    async def _connect(self) -> None:
        """Serve one connection to its end."""
        header = self._passes.sign(self._name, "GET", LINK_PATH, b"", now_ms=self._clock.now_ms())
        async with self._http.ws_connect(
            self.url + LINK_PATH,
            headers={"Authorization": header},
            heartbeat=HEARTBEAT_S,
            max_msg_size=MESSAGE_BYTES_MAX,
        ) as socket:
            asked_ms = self._clock.now_ms()
            await socket.send_json({"type": "hello", "card": card_words(self._house.card())})
            welcome = welcome_of(parse(await socket.receive_str(timeout=ANSWER_S)))
            self._clock.told(welcome.now_ms, asked_ms=asked_ms)
            self._socket = socket
            log.info("gateway reached", extra={"gateway": self.url})
            self._house.welcomed(self, welcome)
            load = asyncio.create_task(self._tell_load())
            try:
                async for message in socket:
                    if message.type is not aiohttp.WSMsgType.TEXT:
                        break
                    self._heard(parse(message.data))
            finally:
                load.cancel()
                self._lost()
        msg = "the line broke off"
        raise ConnectionResetError(msg)

    def _lost(self) -> None:
        self._socket = None
        for asked in self._asked.values():
            if not asked.done():
                asked.set_exception(AwayError())
        self._asked.clear()
        self._house.lost(self)

    async def _tell_load(self) -> None:
        while True:
            await asyncio.sleep(LOAD_S)
            self.tell({"type": "card", "card": card_words(self._house.card())})

    def _heard(self, words: dict[str, Any]) -> None:
        match words.get("type"):
            case "taken" | "refused":
                asked = self._asked.pop(words.get("id", 0), None)
                if asked is not None and not asked.done():
                    asked.set_result(words)
            case "leave":
                self._begin(self._done(words, self._house.leave))
            case "catch_up":
                self._begin(self._done(words, self._house.catch_up))
            case "stands":
                self._house.stands(standing_of(words.get("session")))
            case "over":
                self._house.is_over(uuid_of(words, "session_id"), text_of(words, "reason"))
            case _:
                # A newer gateway may have more to say.
                log.info("unknown word of the gateway", extra={"word": str(words.get("type"))})

    async def _done(
        self, words: dict[str, Any], act: Callable[[UUID, UUID], Awaitable[None]]
    ) -> None:
        await act(uuid_of(words, "session_id"), uuid_of(words, "connection_id"))
        await self._send({"type": "done", "id": words.get("id")})

    async def _ask(self, words: dict[str, object]) -> dict[str, Any]:
        number = next(self._numbers)
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._asked[number] = answer
        try:
            async with asyncio.timeout(ANSWER_S):
                await self._send({**words, "id": number})
                return await answer
        except TimeoutError as silent:
            raise AwayError from silent
        finally:
            self._asked.pop(number, None)

    async def _send(self, words: dict[str, object]) -> None:
        if self._socket is None:
            raise AwayError
        try:
            await self._socket.send_json(words)
        except (ConnectionError, RuntimeError) as gone:
            raise AwayError from gone

    def _begin(self, coroutine: Coroutine[Any, Any, None]) -> None:
        async def guarded() -> None:
            with suppress(AwayError):
                await coroutine

        task = asyncio.create_task(guarded())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
