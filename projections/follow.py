"""Keeps tables up with the log: in batches, rows and position together, waiting on request."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable
from typing import Protocol

from domain.errors import LedgerDownError
from domain.record import Record

BATCH_MAX = 5_000
RETRY_S = 0.05
# How long a store that does not answer is left alone.
DOWN_S = 0.5

log = logging.getLogger(__name__)


class MissingRecordsError(Exception):
    """The batch does not follow on what the tables have seen; somebody else cleared them."""


class Tables(Protocol):
    """What a follower fills; `MissingRecordsError` from `apply` makes it look where they stand."""

    @property
    def position(self) -> int: ...

    def apply(self, records: tuple[Record, ...]) -> None: ...

    def clear(self) -> None: ...


class Follower:
    """One thread that reads what is new and applies it; `notify` tells it there is something.

    Followers of several processes may fill the same tables: each goes on from where they stand.
    While the store does not answer (`LedgerDownError` from the tables or from `read`), whoever
    waits is told so, and the follower tries again. Anything else stops it.
    """

    def __init__(
        self,
        tables: Tables,
        *,
        read: Callable[[int, int], tuple[Record, ...]],
        head: int,
    ) -> None:
        self._tables = tables
        self._read = read
        seen = tables.position
        if seen > head and not read(seen - 1, 1):
            # Tables of another or a longer history: theirs is not this log's past. The log itself
            # is asked, since with other processes it may have grown since `head` was read.
            tables.clear()
        self._position = tables.position
        self._head = head
        self._moved = threading.Condition()
        self._closing = False
        self._failure: Exception | None = None
        self._waiters: list[tuple[int, asyncio.AbstractEventLoop, asyncio.Future[None]]] = []
        self._thread = threading.Thread(target=self._follow, name="projections", daemon=True)
        self._thread.start()

    def notify(self, head: int) -> None:
        """The log has grown to this position."""
        with self._moved:
            self._head = max(head, self._head)
            self._moved.notify()

    async def caught_up(self, position: int) -> None:
        """Return once the tables have seen `position`."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        with self._moved:
            if self._position >= position:
                return
            if self._failure is not None:
                raise self._failure
            waiter = (position, loop, done)
            self._waiters.append(waiter)
            self._head = max(position, self._head)
            self._moved.notify()
        try:
            await done
        finally:
            with self._moved:
                self._waiters = [w for w in self._waiters if w is not waiter]

    def close(self) -> None:
        with self._moved:
            self._closing = True
            self._moved.notify()
        self._thread.join()

    def _follow(self) -> None:
        while self._await_news():
            try:
                moved = self._step()
            except LedgerDownError as failure:
                log.warning("projection waits for the store", extra={"failure": str(failure)})
                self._tell(failure)
                self._pause(DOWN_S)
                continue
            except MissingRecordsError:
                moved = False
            except Exception as failure:
                log.exception("projection stopped")
                self._failure = failure
                self._tell(failure)
                return
            if not moved:
                # Announced and not there yet, or begun anew: look again soon, without spinning.
                self._pause(RETRY_S)

    def _await_news(self) -> bool:
        """Wait until there is something to do; False when it is time to go."""
        with self._moved:
            while self._position >= self._head and not self._closing:
                self._moved.wait()
            return not self._closing

    def _step(self) -> bool:
        """Apply what comes next, unless another process did; whether the tables have moved."""
        before, seen = self._position, self._tables.position
        records = () if seen > before else self._read(seen, BATCH_MAX)
        if records:
            self._tables.apply(records)
            seen = records[-1].position
        self._advance(seen)
        return seen > before

    def _pause(self, duration_s: float) -> None:
        with self._moved:
            if not self._closing:
                self._moved.wait(duration_s)

    def _advance(self, position: int) -> None:
        with self._moved:
            self._position = position
            ready = [waiter for waiter in self._waiters if waiter[0] <= position]
            self._waiters = [waiter for waiter in self._waiters if waiter[0] > position]
        for _, loop, done in ready:
            _wake(loop, done, None)

    def _tell(self, failure: Exception) -> None:
        """Tell whoever waits; the lists are behind from here, the ledger is not touched."""
        with self._moved:
            waiters, self._waiters = self._waiters, []
        for _, loop, done in waiters:
            _wake(loop, done, failure)


def _wake(
    loop: asyncio.AbstractEventLoop, done: asyncio.Future[None], failure: Exception | None
) -> None:
    # A loop that was closed meanwhile has nobody left to tell.
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(_finish, done, failure)


def _finish(done: asyncio.Future[None], failure: Exception | None) -> None:
    if done.done():
        return
    if failure is None:
        done.set_result(None)
    else:
        done.set_exception(failure)
