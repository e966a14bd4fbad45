"""API keys against the plainest model there is: a list of what each reserved on which day."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from domain.api_key import DAY_MS, ApiKey, KeyScope
from domain.errors import KeyCapError, SessionOverError, UnauthenticatedError
from domain.gateway import Terms
from domain.ledger import Work
from domain.money import Microcredits
from domain.use_cases.api_keys import issue_key, revoke_key
from domain.use_cases.close_session import settle_session
from domain.use_cases.extend_session import extend_session
from domain.use_cases.open_session import SessionRequest, open_session
from tests.fakes.gateway import House

HOUR_MS = 60 * 60_000
MINUTE_MS = 60_000
PER_MINUTE = 6_000
DAY_MAX, TOTAL_MAX = 40_000, 90_000
KEYS = (0, 1)
T = TypeVar("T")
minutes = st.integers(1, 4)


@dataclass
class Held:
    """An open session: by which key, and what that key reserved for it on which days."""

    key: int
    minutes: int
    reserved: list[tuple[int, int]] = field(default_factory=list)


class KeysLife(RuleBasedStateMachine):
    """Two keys of one wallet open, extend and settle in any order over days (B15)."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.house = House(terms=Terms(units_max=1_000, pause_allowance_ms=DAY_MS))
        self.gateway = self.house.gateway
        self.account_id = self.run(self.house.fund("0x" + "a" * 40, 10**9))
        scope = KeyScope(
            services=frozenset({"stt"}),
            day_max=Microcredits(DAY_MAX),
            total_max=Microcredits(TOTAL_MAX),
        )
        issue = partial(issue_key, self.gateway, self.account_id, scope, label="", secret="s")
        self.keys = [self.run(issue()).key.id for _ in KEYS]
        self.held: dict[UUID, Held] = {}
        # What each key was charged for reservations of which day.
        self.charged: list[list[tuple[int, int]]] = [[] for _ in KEYS]
        self.revoked: set[int] = set()

    def teardown(self) -> None:
        self.loop.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    @property
    def today(self) -> int:
        return self.house.clock.now_ms() // DAY_MS

    @rule(key=st.sampled_from(KEYS), more=minutes)
    def opens(self, key: int, more: int) -> None:
        order = SessionRequest(service="stt", quantity=more * MINUTE_MS)
        ask = open_session(self.gateway, self.account_id, order, api_key_id=self.keys[key])

        if self.refuses(key, more * PER_MINUTE, ask):
            return

        session_id = max(self.ids())
        self.held[session_id] = Held(key, more, [(self.today, more * PER_MINUTE)])

    @precondition(lambda self: self.held)
    @rule(data=st.data(), more=minutes, by_wallet=st.booleans())
    def extends(self, data: st.DataObject, more: int, *, by_wallet: bool) -> None:
        session_id = data.draw(st.sampled_from(sorted(self.held)))
        held = self.held[session_id]
        ask = extend_session(
            self.gateway,
            self.account_id,
            session_id,
            service="stt",
            quantity=more * MINUTE_MS,
            api_key_id=None if by_wallet else self.keys[held.key],
        )

        try:
            if by_wallet:
                self.run(ask)
            elif self.refuses(held.key, more * PER_MINUTE, ask):
                return
        except SessionOverError:
            return
        held.minutes += more
        if not by_wallet:
            held.reserved.append((self.today, more * PER_MINUTE))

    @precondition(lambda self: self.held)
    @rule(data=st.data(), used_ms=st.integers(0, 10 * MINUTE_MS))
    def settles(self, data: st.DataObject, used_ms: int) -> None:
        session_id = data.draw(st.sampled_from(sorted(self.held)))
        self.run(self.house.books.run(partial(_use, session_id=session_id, used_ms=used_ms)))

        session = self.run(settle_session(self.gateway, session_id, reason="ended"))

        held = self.held.pop(session_id)
        left = session.charged.value
        for day, amount in held.reserved:
            self.charged[held.key].append((day, min(left, amount)))
            left -= min(left, amount)

    @rule(hours=st.integers(1, 20))
    def time_passes(self, hours: int) -> None:
        self.run(self.house.clock.advance(hours * HOUR_MS))

    @precondition(lambda self: not self.revoked)
    @rule()
    def is_revoked(self) -> None:
        self.run(revoke_key(self.gateway, self.account_id, self.keys[1]))
        self.revoked.add(1)

    @invariant()
    def no_cap_is_passed_on_any_day(self) -> None:
        for key in KEYS:
            counted = self.counted(key)
            assert sum(amount for _, amount in counted) <= TOTAL_MAX
            for day in {day for day, _ in counted}:
                assert sum(amount for on, amount in counted if on == day) <= DAY_MAX

    @invariant()
    def agrees_with_the_model(self) -> None:
        for key in KEYS:
            found, counted = self.key(key), self.counted(key)
            today = sum(amount for day, amount in counted if day == self.today)
            assert found.spent.value == sum(amount for _, amount in counted)
            assert found.spent_on_day_of(self.house.clock.now_ms()).value == today

    def refuses(self, key: int, amount: int, ask: Coroutine[Any, Any, object]) -> bool:
        """Ask; whether it was refused, which it must be where the model says so and only there."""
        counted = self.counted(key)
        total = sum(n for _, n in counted)
        today = sum(n for day, n in counted if day == self.today)
        fits = total + amount <= TOTAL_MAX and today + amount <= DAY_MAX
        try:
            self.run(ask)
        except UnauthenticatedError:
            assert key in self.revoked
            return True
        except KeyCapError:
            assert not fits
            return True
        assert fits
        assert key not in self.revoked
        return False

    def counted(self, key: int) -> list[tuple[int, int]]:
        """What counts under the caps of this key: of which day, and how much."""
        held = [part for h in self.held.values() if h.key == key for part in h.reserved]
        return [*self.charged[key], *held]

    def key(self, key: int) -> ApiKey:
        return self.run(self.house.books.run(partial(Work.api_key, key_id=self.keys[key])))

    def ids(self) -> list[UUID]:
        return [r.originator_id for r in self.house.books.records() if r.topic == "session.opened"]


def _use(work: Work, *, session_id: UUID, used_ms: int) -> None:
    """Let the session's clock have run from its opening on, as far as it can."""
    session = work.session(session_id)
    begin_ms = session.observed_at_ms
    session.resume(session_id, at_ms=min(begin_ms, session.expires_at_ms - 1))
    session.pause(session_id, at_ms=begin_ms + used_ms)


TestKeysLife = KeysLife.TestCase
TestKeysLife.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)
