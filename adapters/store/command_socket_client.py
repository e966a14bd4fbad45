"""A follower's end of the command socket: many commands in flight, sent in groups."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

from adapters.store.command_socket import (
    COMMANDS_MAX,
    FRAME_MAX,
    IN_FLIGHT_MAX,
    FrameReader,
    WireError,
    check_peer,
    greeting,
    packed,
)
from adapters.store.command_socket_server import Outcome
from domain.errors import BusyError
from domain.ledger import Work

T = TypeVar("T")
CONNECT_S = 2.0

log = logging.getLogger(__name__)


class MovedError(Exception):
    """Ask the owner of now: this one was replaced or is gone, and what it did nobody said."""


class CommandLink(asyncio.Protocol):
    """One connection to the owner, used in the event loop it was opened in.

    Whoever still waits when it breaks gets `MovedError`.
    """

    def __init__(self, address: str, heard: Callable[[int], None]) -> None:
        """`heard` is told the ledger's position with every answer."""
        self.address = address
        self._heard = heard
        self._loop = asyncio.get_running_loop()
        self._reader = FrameReader()
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._transport: asyncio.Transport | None = None
        self._outbox: list[tuple[Callable[[Work], Any], asyncio.Future[Any]]] = []
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._next = 1

    @classmethod
    async def open(cls, address: str, *, heard: Callable[[int], None]) -> CommandLink:
        """OSError where nobody listens, WireError where it is not ours or of another release."""
        link = cls(address, heard)
        async with asyncio.timeout(CONNECT_S):
            await link._loop.create_unix_connection(lambda: link, address)
            try:
                await link._ready
            except BaseException:  # nobody else has it yet who could close it
                link.close()
                raise
        return link

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    async def run(self, command: Callable[[Work], T]) -> T:
        if not self.is_open:
            raise MovedError
        if len(self._waiting) + len(self._outbox) >= IN_FLIGHT_MAX:
            raise BusyError
        answer: asyncio.Future[T] = self._loop.create_future()
        if not self._outbox:
            self._loop.call_soon(self._flush)
        self._outbox.append((command, answer))
        return await answer

    def close(self) -> None:
        """Hang up; who waits is told that the ledger has moved."""
        if self._transport is not None:
            self._transport.abort()
        self._fail()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        try:
            check_peer(transport.get_extra_info("socket"))
        except WireError as stranger:
            self._break(stranger)
            return
        self._transport.write(greeting())

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._ready.done():
            self._ready.set_exception(WireError("hung up without a greeting"))
        self._fail()

    def data_received(self, data: bytes) -> None:
        try:
            for frame in self._reader.feed(data):
                self._heard(frame.number)
                for number, outcome, value in frame.values:
                    self._deliver(number, outcome, value)
        except WireError as broken:
            self._break(broken)
            return
        if self._reader.is_greeted and not self._ready.done():
            self._ready.set_result(None)

    def _deliver(self, number: int, outcome: Outcome, value: Any) -> None:  # noqa: ANN401 (any command's answer)
        answer = self._waiting.pop(number, None)
        if answer is None or answer.done():
            return
        if outcome is Outcome.ANSWERED:
            answer.set_result(value)
        elif outcome is Outcome.REFUSED:
            answer.set_exception(value)
        else:
            answer.set_exception(MovedError())

    def _flush(self) -> None:
        outbox, self._outbox = self._outbox, []
        for start in range(0, len(outbox), COMMANDS_MAX):
            self._send(outbox[start : start + COMMANDS_MAX])

    def _send(self, asked: Sequence[tuple[Callable[[Work], Any], asyncio.Future[Any]]]) -> None:
        try:
            frame = packed(self._next, [command for command, _ in asked])
            if len(frame) > FRAME_MAX:
                raise ValueError(f"{len(frame)} bytes are more than {FRAME_MAX}")  # noqa: TRY301 (as a pickle that fails)
        except Exception as failure:  # noqa: BLE001 (a pickle can raise anything)
            if len(asked) > 1:
                for one in asked:
                    self._send([one])
            elif not asked[0][1].done():
                unfit = TypeError(f"a command must be a value that can be sent: {failure}")
                asked[0][1].set_exception(unfit)
            return
        for _, answer in asked:
            self._waiting[self._next] = answer
            self._next += 1
        if self._transport is not None:
            self._transport.write(frame)

    def _break(self, why: WireError) -> None:
        if self._ready.done():
            log.error("command socket broken", extra={"why": str(why)})
        else:
            self._ready.set_exception(why)
        if self._transport is not None:
            self._transport.abort()

    def _fail(self) -> None:
        waiting = [*self._waiting.values(), *(answer for _, answer in self._outbox)]
        self._waiting, self._outbox = {}, []
        for answer in waiting:
            if not answer.done():
                answer.set_exception(MovedError())
