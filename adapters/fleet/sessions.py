"""Sessions of live connections, far from their ledger: spent here, reported, and answered for."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from adapters.fleet.outbox import Outbox
from adapters.fleet.revoked import Revoked
from domain.booth import Change
from domain.errors import SessionOverError
from domain.money import Microcredits
from domain.ports.clock import Clock
from domain.ports.keys import SessionKey
from domain.pricing import DEFAULT_PRICE_BOOK, Tariff
from domain.session import Order, Session
from domain.switchboard import Line, Switchboard
from domain.usage import Standing, Usage

# What an older connection left unsent is waited for so long before a newer one is let in.
SETTLE_S = 2.0
_NOBODY = UUID(int=0)


class AwayError(ConnectionError):
    """No gateway answers now."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A session as the gateway gave it to a connection, and the language it was opened with."""

    standing: Standing
    language: str


class Gateways(Protocol):
    """Leads to the gateway.

    Shape:  `take` makes every other connection of the session leave and answers how it stands;
            `gone` says that a connection has ended.
    Errors: `AwayError` where no gateway answers; what the gateway refuses with.
    Source: specs/fleet.md.
    """

    async def take(self, session_id: UUID, connection_id: UUID) -> Taken: ...

    def gone(self, session_id: UUID, connection_id: UUID) -> None: ...


@dataclass(slots=True)
class _Held:
    """A session that is spent here. `told_ms` is where the last report of its clock ended."""

    session: Session
    connection_id: UUID
    language: str
    told_ms: int = 0


class RemoteSessions:
    """Implements `LiveSessions` with copies. What changes a copy is reported, and never waits.

    Where no gateway answers, a session key is believed by itself: by its signature, its expiry and
    what was heard of sessions that are over. What is used meanwhile is reported later; it was
    reserved when the key was issued, so that nobody loses more than the work of this server.
    """

    def __init__(
        self, gateways: Gateways, outbox: Outbox, revoked: Revoked, *, clock: Clock
    ) -> None:
        self._gateways = gateways
        self._outbox = outbox
        self._revoked = revoked
        self._clock = clock
        self._switchboard = Switchboard()
        self._held: dict[UUID, _Held] = {}
        self._lines: dict[UUID, tuple[UUID, Line]] = {}

    @property
    def connections(self) -> Mapping[UUID, UUID]:
        """The session of each connection that was let in."""
        return {held.connection_id: session_id for session_id, held in self._held.items()}

    def line(self, connection_id: UUID) -> Line | None:
        return self._lines.get(connection_id, (None, None))[1]

    async def take(self, key: SessionKey, line: Line, *, connection_id: UUID) -> Session:
        self._check(key)
        session_id = key.session_id
        self._lines[connection_id] = (session_id, line)
        try:
            await self._switchboard.take_over(session_id, line, connection_id=connection_id)
            # The newer one counts on from what the older one used.
            await self._outbox.drained(session_id, wait_s=SETTLE_S)
            taken = await self._taken(key, connection_id)
        except BaseException:  # a connection that gives up leaves no line behind either
            self.let_go(session_id, line)
            raise
        session = copy_of(taken.standing)
        self._held[session_id] = _Held(session, connection_id, taken.language)
        return copy(session)

    async def change(self, session_id: UUID, change: Change, *, at_ms: int) -> Session:
        held = self._held[session_id]
        if held.session.is_open:
            was_running = held.session.is_running
            change(held.session, at_ms=at_ms)
            usage = _usage(held, was_running=was_running, at_ms=at_ms)
            if usage is not None:
                await self._outbox.add(usage)
        return copy(held.session)

    async def settle_spent(self, session_id: UUID) -> Session:
        held, now_ms = self._held[session_id], self._clock.now_ms()
        session = held.session
        if not session.is_open or not session.is_spent(now_ms):
            return copy(session)
        await self._outbox.add(_last(held, at_ms=now_ms))
        await self._outbox.drained(session_id, wait_s=SETTLE_S)
        if session.is_open and session.is_spent(now_ms):
            # Nobody has answered: by what is known here it is over.
            session.close("expired" if now_ms >= session.expires_at_ms else "spent", at_ms=now_ms)
        return copy(session)

    def let_go(self, session_id: UUID, line: Line) -> None:
        self._switchboard.disconnect(session_id, line)
        for connection_id in [c for c, (_, other) in self._lines.items() if other is line]:
            del self._lines[connection_id]
            self._gateways.gone(session_id, connection_id)
        if self._switchboard.line(session_id) is None:
            self._held.pop(session_id, None)

    async def language(self, session_id: UUID) -> str:
        return self._held[session_id].language

    def heard(self, standing: Standing) -> None:
        """The gateway says how a session stands: it may have been extended, or ended."""
        if not standing.is_open:
            self._revoked.add(standing.session_id, standing.reason)
        held = self._held.get(standing.session_id)
        if held is None or not held.session.is_open:
            return
        if _brought_up_to_date(held.session, standing):
            line = self._switchboard.line(standing.session_id)
            if line is not None:
                line.changed()

    def _check(self, key: SessionKey) -> None:
        """What can be known without asking anybody."""
        session_id = str(key.session_id)
        if key.expires_at_ms <= self._clock.now_ms():
            raise SessionOverError(session_id=session_id, reason="expired")
        if reason := self._revoked.reason(key.session_id):
            raise SessionOverError(session_id=session_id, reason=reason)

    async def _taken(self, key: SessionKey, connection_id: UUID) -> Taken:
        try:
            return await self._gateways.take(key.session_id, connection_id)
        except AwayError:
            return Taken(self._believed(key), "")

    def _believed(self, key: SessionKey) -> Standing:
        """How a session stands by its key, and by what this server saw of it."""
        held, now_ms = self._held.get(key.session_id), self._clock.now_ms()
        tariff = DEFAULT_PRICE_BOOK.tariff(key.service)
        return Standing(
            session_id=key.session_id,
            service=key.service,
            unit=tariff.unit,
            rate_microcredits=tariff.microcredits,
            rate_per=tariff.per,
            price_book=DEFAULT_PRICE_BOOK.version,
            quantity=max(key.quantity, held.session.quantity if held else 0),
            used=held.session.used if held else 0,
            opened_at_ms=held.session.opened_at_ms if held else now_ms,
            expires_at_ms=key.expires_at_ms,
            is_open=True,
            reason="",
            charged=0,
        )


def copy_of(standing: Standing) -> Session:
    """A session of its own that stands as the ledger's does; nothing of it is ever stored."""
    tariff = Tariff(
        unit=standing.unit, microcredits=standing.rate_microcredits, per=standing.rate_per
    )
    order = Order(
        service=standing.service,
        tariff=tariff,
        price_book=standing.price_book,
        quantity=standing.quantity,
        expires_at_ms=standing.expires_at_ms,
    )
    session = Session.open(
        order,
        session_id=standing.session_id,
        account_id=_NOBODY,
        bundle_id=None,
        request_hash="",
        at_ms=standing.opened_at_ms,
    )
    session.used = standing.used
    _forget_events(session)
    return session


def _brought_up_to_date(session: Session, standing: Standing) -> bool:
    """Let a copy have what was decided in the ledger; whether that was news."""
    is_news = not standing.is_open
    if (session.quantity, session.expires_at_ms) != (standing.quantity, standing.expires_at_ms):
        session.quantity, session.expires_at_ms = standing.quantity, standing.expires_at_ms
        session.reserved = session.tariff.price(standing.quantity)
        is_news = True
    if not standing.is_open:
        session.close(standing.reason, at_ms=session.observed_at_ms)
        session.used, session.charged = standing.used, Microcredits(standing.charged)
    _forget_events(session)
    return is_news


def _usage(held: _Held, *, was_running: bool, at_ms: int) -> Usage | None:
    """What a change used, or nothing."""
    session = held.session
    changed = _forget_events(session)
    if not changed:
        return None
    if session.tariff.unit == "character":
        return _report(held, from_ms=at_ms, to_ms=at_ms, characters=session.used)
    if session.is_running:
        from_ms = held.told_ms if was_running else session.observed_at_ms
        held.told_ms = session.observed_at_ms
        return _report(held, from_ms=from_ms, to_ms=held.told_ms, runs=True)
    from_ms, held.told_ms = held.told_ms, max(held.told_ms, at_ms)
    return _report(held, from_ms=min(from_ms, at_ms), to_ms=at_ms)


def _last(held: _Held, *, at_ms: int) -> Usage:
    """The report that asks for the session to be settled."""
    session = held.session
    if session.tariff.unit == "character":
        return _report(held, from_ms=at_ms, to_ms=at_ms, characters=session.used, is_spent=True)
    from_ms = held.told_ms or at_ms
    return _report(held, from_ms=from_ms, to_ms=at_ms, runs=session.is_running, is_spent=True)


def _report(
    held: _Held,
    *,
    from_ms: int,
    to_ms: int,
    runs: bool = False,
    characters: int = 0,
    is_spent: bool = False,
) -> Usage:
    return Usage(
        session_id=held.session.id,
        connection_id=held.connection_id,
        from_ms=from_ms,
        to_ms=to_ms,
        runs=runs,
        characters=characters,
        is_spent=is_spent,
    )


def _forget_events(session: Session) -> bool:
    """Whether there were any; a copy has no ledger to bring them to."""
    return bool(session.collect_events())
