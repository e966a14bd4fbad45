"""A session's billing while a connection is live: its clock, its characters, its warnings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from uuid import UUID

from domain.booth import Booth, Change
from domain.errors import BusyError, LedgerDownError, MalformedError, SessionOverError
from domain.session import Session
from domain.switchboard import Line

WARN_MS = (60_000, 10_000)
# A clock that was not seen for so many heartbeats is taken for one that nobody watches.
BEATS_MISSED_MAX = 3


@dataclass(frozen=True, slots=True)
class TimeLow:
    """Paid time runs out in `remaining_ms`, unless extended."""

    remaining_ms: int


@dataclass(frozen=True, slots=True)
class Extended:
    """More was bought; `remaining` is ms or characters."""

    remaining: int
    expires_at_ms: int


@dataclass(frozen=True, slots=True)
class Over:
    """The session is settled: why, what was used (ms or characters) and charged (µcr)."""

    reason: str
    used: int
    charged: int


@dataclass(frozen=True, slots=True)
class Replaced:
    """A newer connection spends the session, in another process."""


MeterNotice = TimeLow | Extended | Over | Replaced


class Meter:
    """Joins one connection to one session in the ledger.

    A clocked session (`unit` is `ms`) runs between `start` and `stop`; characters are counted by
    `spend`. `watch` yields what the peer must be told and ends after `Over` or `Replaced`. Every
    call is safe to repeat. What is known here is a copy: the ledger decides.
    """

    def __init__(self, booth: Booth, session: Session, connection_id: UUID) -> None:
        self._booth = booth
        self._session = session
        self._connection_id = connection_id
        self._spoken = session.used if session.tariff.unit == "character" else 0
        self._wake = asyncio.Event()
        self._beaten_at_ms = 0
        # Whether the session's clock is to run for this connection.
        self._runs = False

    @property
    def session_id(self) -> UUID:
        return self._session.id

    @property
    def remaining(self) -> int:
        """ms or characters left now, by what this connection knows."""
        if self._session.tariff.unit == "character":
            return max(0, self._session.quantity - self._spoken)
        return self._session.remaining_at(self._booth.clock.now_ms())

    @property
    def expires_at_ms(self) -> int:
        return self._session.expires_at_ms

    async def start(self) -> None:
        """The connection is ready, from here time is paid for; SessionOverError if none is left."""
        if self._session.tariff.unit == "ms":
            await self._change(partial(Session.resume, connection_id=self._connection_id))
            self._runs = True
        else:
            await self._change(Session.check_open)
        if not self._session.is_open:
            raise SessionOverError(session_id=str(self.session_id), reason=self._session.reason)

    async def stop(self, at_ms: int | None = None) -> None:
        """The connection is gone since `at_ms` (now): record what was used; time stands still."""
        self._runs = False
        if self._session.tariff.unit == "ms":
            change = partial(Session.pause, connection_id=self._connection_id)
        else:
            change = partial(Session.speak, used_characters=self._spoken)
        await self._change(change, at_ms)

    async def catch_up(self) -> None:
        """Record durably what was used so far."""
        if self._session.tariff.unit == "ms":
            change = partial(_observe, connection_id=self._connection_id)
        else:
            change = partial(Session.speak, used_characters=self._spoken)
        await self._change(change)

    def spend(self, characters: int) -> None:
        """Count characters whose audio began to be sent; recorded by the next `catch_up`."""
        self._spoken = min(self._spoken + characters, self._session.quantity)
        if self._spoken >= self._session.quantity:
            self._wake.set()

    def changed(self) -> None:
        """Somebody extended or ended the session; look again."""
        self._wake.set()

    async def watch(self) -> AsyncGenerator[MeterNotice, None]:
        """Beat durably, warn before the end, settle at it; runs until the session is over.

        A ledger that is busy or away is asked again; meanwhile what is known here counts. One that
        stays away until others would stop the clock, or until the session is spent, ends the watch
        with its `LedgerDownError`.
        """
        known = self._session
        self._beaten_at_ms = self._booth.clock.now_ms()
        warned_ms = self._left_ms(self._booth.clock.now_ms()) + 1
        while True:
            await self._beat()
            session, now_ms = self._session, self._booth.clock.now_ms()
            if not session.is_open:
                yield Over(session.reason, session.used, session.charged.value)
                return
            if self.remaining == 0 or session.is_spent(now_ms):
                await self._settle()
                continue
            if self._runs and session.connection_id != self._connection_id:
                if session.is_running:
                    yield Replaced()
                    return
                # Not heard of for so long that the clock was stopped without us.
                await self._resume()
                continue
            if (session.quantity, session.expires_at_ms) != (known.quantity, known.expires_at_ms):
                known, warned_ms = session, self._left_ms(now_ms) + 1
                yield Extended(self.remaining, session.expires_at_ms)
            due_ms = next((w for w in WARN_MS[::-1] if self._left_ms(now_ms) <= w), None)
            if due_ms is not None and due_ms < warned_ms:
                warned_ms = due_ms
                yield TimeLow(self._left_ms(now_ms))
            await self._sleep(now_ms)

    async def _beat(self) -> None:
        try:
            await self.catch_up()
        except LedgerDownError as down:
            away_ms = self._booth.clock.now_ms() - self._beaten_at_ms
            if away_ms >= BEATS_MISSED_MAX * self._booth.heartbeat_ms:
                raise
            await self._wait(down.retry_after_ms)
        except BusyError as busy:
            await self._wait(busy.retry_after_ms)
        else:
            self._beaten_at_ms = self._booth.clock.now_ms()

    async def _resume(self) -> None:
        """Start the clock again; where it cannot be, the next round sees why."""
        try:
            await self.start()
        except (BusyError, LedgerDownError) as later:
            await self._wait(later.retry_after_ms)
        except SessionOverError:
            return

    async def _wait(self, pause_ms: int) -> None:
        await self._booth.clock.sleep_until(self._booth.clock.now_ms() + pause_ms)

    async def _settle(self) -> None:
        """Settle what is spent; an extension that came first is seen, and goes on."""
        await self._beat()
        with suppress(BusyError):
            self._session = await self._booth.sessions.settle_spent(self.session_id)

    def _left_ms(self, now_ms: int) -> int:
        """Time until the session ends by itself: paid time for clocks, validity for characters."""
        valid_ms = self._session.expires_at_ms - now_ms
        if self._session.tariff.unit == "ms":
            return min(self._session.remaining_at(now_ms), valid_ms)
        return valid_ms

    async def _sleep(self, now_ms: int) -> None:
        """Until the next beat, warning or end, or until somebody knocks."""
        left_ms = self._left_ms(now_ms)
        warnings = [left_ms - w for w in WARN_MS if left_ms > w]
        wait_ms = min([self._booth.heartbeat_ms, left_ms, *warnings])
        sleep = asyncio.ensure_future(self._booth.clock.sleep_until(now_ms + max(1, wait_ms)))
        knock = asyncio.ensure_future(self._wake.wait())
        try:
            await asyncio.wait((sleep, knock), return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleep.cancel()
            knock.cancel()
            self._wake.clear()

    async def _change(self, change: Change, at_ms: int | None = None) -> None:
        now_ms = self._booth.clock.now_ms() if at_ms is None else at_ms
        self._session = await self._booth.sessions.change(self.session_id, change, at_ms=now_ms)


def _observe(session: Session, *, connection_id: UUID, at_ms: int) -> None:
    if not session.is_spent(at_ms):
        session.observe(connection_id, at_ms=at_ms)


async def connect_session(
    booth: Booth, token: str, *, service: str, connection_id: UUID, line: Line
) -> Meter:
    """Give a connection its meter: the key is checked, and an older connection gives way first.

    `UnauthenticatedError` for a key that is not ours, `MalformedError` for one of another service,
    `SessionOverError` where nothing is left. On any of them the line is not connected.
    """
    key = booth.keys.read(token)
    if key.service != service:
        raise MalformedError(
            where="session_key", expected=f"a key of a {service} session", got=f"{key.service}"
        )
    session = await booth.sessions.take(key, line, connection_id=connection_id)
    return Meter(booth, session, connection_id)
