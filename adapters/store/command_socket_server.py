"""The owner's end of the command socket: commands of other gateways in, answers out, in groups."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import pickle
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from enum import IntEnum
from pathlib import Path
from typing import Any, Protocol, cast

from adapters.store.command_socket import (
    COMMANDS_MAX,
    FRAME_MAX,
    IN_FLIGHT_MAX,
    Frame,
    FrameReader,
    WireError,
    check_peer,
    greeting,
    packed,
)
from adapters.store.fence import FencedError
from adapters.store.owner import Reply
from domain.errors import BusyError, GatewayError
from domain.ledger import Work

CONNECTIONS_MAX = 64
FAREWELL_S = 2.0

log = logging.getLogger(__name__)


class Outcome(IntEnum):
    """What became of a command; `MOVED`: it was not done here, another owns the ledger."""

    ANSWERED = 0
    REFUSED = 1
    MOVED = 2


class Owner(Protocol):
    """Who runs the commands."""

    @property
    def position(self) -> int: ...

    def submit(self, asked: Sequence[tuple[Callable[[Work], Any], Reply]]) -> int: ...


class CommandServer:
    """Listens at a path, in a thread and an event loop of its own.

    The answers of a batch leave together. A peer that sends what is not ours is hung up on; one
    that does not read its answers is not read from; commands beyond the limits are refused as busy.
    """

    def __init__(self, address: str, owner: Owner, *, fenced: Callable[[], None]) -> None:
        """`fenced` is called where the owner found that it has been replaced; OSError if deaf."""
        self.owner = owner
        self.fenced = fenced
        self.is_leaving = False
        self.connections: set[_Connection] = set()
        self._address = Path(address)
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        listening: Future[None] = Future()
        self._thread = threading.Thread(
            target=self._serve, args=(listening,), name="ledger-socket", daemon=True
        )
        self._thread.start()
        listening.result()

    def leave(self) -> None:
        """Run no more commands: who asks is sent to the next owner."""
        self.is_leaving = True

    def close(self) -> None:
        """Hang up, once everything answered so far is on its way."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _serve(self, listening: Future[None]) -> None:
        try:
            self._loop.run_until_complete(self._listen(listening))
        finally:
            self._loop.close()

    async def _listen(self, listening: Future[None]) -> None:
        self._address.unlink(missing_ok=True)
        try:
            server = await self._loop.create_unix_server(
                lambda: _Connection(self, self._loop), self._address
            )
            self._address.chmod(0o600)
        except OSError as refused:
            listening.set_exception(refused)
            return
        listening.set_result(None)
        await self._stop.wait()
        for listener in server.sockets:
            self._loop.remove_reader(listener.fileno())
        # Who was let in and has not been introduced yet needs the server to be open until then.
        arriving = asyncio.all_tasks() - {asyncio.current_task()}
        if arriving:
            await asyncio.wait(arriving, timeout=FAREWELL_S)
        server.close()
        left = [connection.left for connection in self.connections]
        for connection in list(self.connections):
            connection.hang_up()
        if left:
            await asyncio.wait(left, timeout=FAREWELL_S)
        for connection in list(self.connections):
            connection.abort()
        await asyncio.sleep(0)
        self._address.unlink(missing_ok=True)


class _Connection(asyncio.Protocol):
    """One gateway that sends its commands here."""

    def __init__(self, server: CommandServer, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.left: asyncio.Future[None] = loop.create_future()
        self._server = server
        self._reader = FrameReader()
        self._waiting = 0
        self._answers: list[tuple[int, Outcome, Any]] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._server.connections.add(self)
        try:
            check_peer(transport.get_extra_info("socket"))
        except WireError as stranger:
            self._refuse(stranger)
            return
        if len(self._server.connections) > CONNECTIONS_MAX:
            self._refuse(WireError(f"more than {CONNECTIONS_MAX} gateways"))
            return
        self._transport.write(greeting())

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.connections.discard(self)
        if not self.left.done():
            self.left.set_result(None)

    def pause_writing(self) -> None:
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        try:
            for frame in self._reader.feed(data):
                self._take(frame)
        except WireError as broken:
            self._refuse(broken)

    def hang_up(self) -> None:
        self._flush()
        self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    @property
    def is_gone(self) -> bool:
        return self._transport.is_closing()

    def answer(self, number: int, outcome: Outcome, value: Any) -> None:  # noqa: ANN401 (any command's answer)
        """Have this sent with whatever else is answered in this turn of the loop."""
        if not self._answers:
            self.loop.call_soon(self._flush)
        self._answers.append((number, outcome, value))

    def fenced(self) -> None:
        self._server.fenced()

    def _take(self, frame: Frame) -> None:
        room = max(0, IN_FLIGHT_MAX - self._waiting)
        self._waiting += frame.count
        try:
            commands = frame.values
        except WireError as unread:
            problem = RuntimeError(f"no such command there: {unread}")
            for number in range(frame.number, frame.number + frame.count):
                self.answer(number, Outcome.REFUSED, problem)
            return
        asked = [(command, _Ask(self, frame.number + i)) for i, command in enumerate(commands)]
        taken = 0 if self._server.is_leaving else self._server.owner.submit(asked[:room])
        for _, ask in asked[taken:]:
            if self._server.is_leaving:
                self.answer(ask.number, Outcome.MOVED, None)
            else:
                ask.set_exception(BusyError())

    def _flush(self) -> None:
        answers, self._answers = self._answers, []
        self._waiting -= len(answers)
        if not answers or self.is_gone:
            return
        position = self._server.owner.position
        for start in range(0, len(answers), COMMANDS_MAX):
            self._transport.write(_answers(position, answers[start : start + COMMANDS_MAX]))

    def _refuse(self, why: WireError) -> None:
        log.warning("gateway refused", extra={"why": str(why)})
        # What was written stays: the greeting tells another release who we are.
        self._transport.close()


class _Ask:
    """A `Reply` that is sent over a connection."""

    __slots__ = ("_connection", "number")

    def __init__(self, connection: _Connection, number: int) -> None:
        self._connection = connection
        self.number = number

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self._connection.loop

    def done(self) -> bool:
        return False

    def set_result(self, result: Any, /) -> None:  # noqa: ANN401 (any command's answer)
        self._connection.answer(self.number, Outcome.ANSWERED, result)

    def set_exception(self, exception: BaseException, /) -> None:
        if isinstance(exception.__cause__, FencedError):
            self._connection.fenced()
            self._connection.answer(self.number, Outcome.MOVED, None)
        else:
            self._connection.answer(self.number, Outcome.REFUSED, _portable(exception))


def _portable(exception: BaseException) -> BaseException:
    """The exception, or one in its place that survives the journey."""
    if isinstance(exception, GatewayError):
        return exception
    try:
        again = pickle.loads(pickle.dumps(exception))  # noqa: S301 (our own)
    except Exception:  # noqa: BLE001 (whatever cannot travel is told in words)
        return RuntimeError(f"{type(exception).__name__}: {exception}")
    return cast("BaseException", again)


def _answers(position: int, answers: list[tuple[int, Outcome, Any]]) -> bytes:
    """One frame, or several where one answer cannot travel or all are too long together."""
    try:
        frame = packed(position, answers)
    except Exception as failure:  # noqa: BLE001 (a pickle can raise anything)
        problem: object = failure
    else:
        if len(frame) <= FRAME_MAX:
            return frame
        problem = f"{len(frame)} bytes are more than {FRAME_MAX}"
    if len(answers) > 1:
        return b"".join(_answers(position, [answer]) for answer in answers)
    ((number, _, _),) = answers
    return packed(
        position, [(number, Outcome.REFUSED, RuntimeError(f"no answer can be sent: {problem}"))]
    )
