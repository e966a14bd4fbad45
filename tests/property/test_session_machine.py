"""A clocked session against intervals on a timeline: billed is what was run, and no more."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID, uuid5

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from domain.aggregate import NAMESPACE
from domain.errors import ConflictingRequestError, SessionOverError
from domain.money import NOTHING, Microcredits
from domain.pricing import Tariff
from domain.session import Order, Session
from tests.fakes.stored import Journal
from tests.strategies import START_MS, tariffs

ACCOUNT_ID = UUID(int=1)
SESSION_ID = UUID(int=2)
PERIODS_MS = st.integers(0, 20_000)


def connection(number: int) -> UUID:
    return uuid5(NAMESPACE, f"connection {number}")


class BillingClock(RuleBasedStateMachine):
    """Connections come, go, repeat themselves, overtake one another and crash (B4, B5, B8-B10)."""

    session: Session
    tariff: Tariff

    def __init__(self) -> None:
        super().__init__()
        self.journal = Journal()
        self.now_ms = START_MS
        self.connections = 0
        self.intervals: list[tuple[int, int]] = []
        self.since_ms: int | None = None
        self.seen_ms = START_MS
        self.quantity = 0
        self.expires_at_ms = 0
        self.keyed: dict[str, int] = {}

    @initialize(tariff=tariffs("ms"), quantity=st.integers(1, 60_000), allowance_ms=PERIODS_MS)
    def opens(self, tariff: Tariff, quantity: int, allowance_ms: int) -> None:
        self.tariff = tariff
        self.quantity = quantity
        self.expires_at_ms = START_MS + quantity + allowance_ms
        order = Order(
            service="stt",
            tariff=tariff,
            price_book="2026-1",
            quantity=quantity,
            expires_at_ms=self.expires_at_ms,
        )
        self.session = Session.open(
            order,
            session_id=SESSION_ID,
            account_id=ACCOUNT_ID,
            bundle_id=None,
            request_hash="",
            at_ms=START_MS,
        )
        self._save()

    @rule(ms=PERIODS_MS)
    def time_passes(self, ms: int) -> None:
        self.now_ms += ms

    @rule()
    def a_connection_is_ready(self) -> None:
        newer = connection(self.connections + 1)

        if self._is_over():
            with pytest.raises(SessionOverError):
                self.session.resume(newer, at_ms=self.now_ms)
            return
        self.session.resume(newer, at_ms=self.now_ms)

        self.connections += 1
        self._stand_still(self.now_ms)
        self.since_ms = self.seen_ms = self.now_ms
        self._save()

    @precondition(lambda self: self.since_ms is not None)
    @rule()
    def the_connection_says_ready_again(self) -> None:
        if self._is_over():
            return

        self._changes_nothing(
            lambda: self.session.resume(connection(self.connections), at_ms=self.now_ms)
        )

    @rule()
    def the_connection_is_gone(self) -> None:
        if not self.session.is_open:
            return

        self.session.pause(connection(self.connections), at_ms=self.now_ms)

        self._stand_still(self.now_ms)
        self._save()

    @precondition(lambda self: self.connections > 1)
    @rule(data=st.data())
    def an_older_connection_notices_late(self, data: st.DataObject) -> None:
        older = connection(data.draw(st.integers(1, self.connections - 1)))

        self._changes_nothing(lambda: self.session.pause(older, at_ms=self.now_ms))
        self._changes_nothing(lambda: self.session.observe(older, at_ms=self.now_ms))

    @rule()
    def the_clock_is_seen_running(self) -> None:
        self.session.observe(connection(self.connections), at_ms=self.now_ms)

        if self.since_ms is not None:
            self.seen_ms = max(self.seen_ms, self.now_ms)
        self._save()

    @rule()
    def the_process_dies_and_comes_back(self) -> None:
        self.session.recover()

        self._stand_still(self.seen_ms)
        self._save()
        self._changes_nothing(self.session.recover)

    @rule(quantity=st.integers(0, 60_000), keyed=st.booleans())
    def is_extended(self, quantity: int, *, keyed: bool) -> None:
        request_id = f"key {len(self.keyed)}" if keyed else ""

        if self._is_over():
            with pytest.raises(SessionOverError):
                self._extend(quantity, request_id)
            return
        reserved = self.session.reserved
        more = self._extend(quantity, request_id)

        assert self.session.reserved == reserved + more
        self.quantity += quantity
        self.expires_at_ms += quantity
        if keyed:
            self.keyed[request_id] = quantity
        self._save()

    @precondition(lambda self: self.keyed and not self._is_over())
    @rule(data=st.data())
    def an_extension_is_repeated(self, data: st.DataObject) -> None:
        request_id = data.draw(st.sampled_from(sorted(self.keyed)))

        self._changes_nothing(lambda: self._extend(self.keyed[request_id], request_id))

        assert self._extend(self.keyed[request_id], request_id) == NOTHING
        with pytest.raises(ConflictingRequestError):
            self._extend(self.keyed[request_id] + 1, request_id)

    # Rarely: a history that ends at once proves little.
    @rule(reason=st.sampled_from(["", "", "", "ended", "spent", "expired"]))
    def is_closed(self, reason: str) -> None:
        if not reason:
            return
        was_open = self.session.is_open
        charged = self.session.close(reason, at_ms=self.now_ms)

        if was_open:
            self._stand_still(self.now_ms)
        self._save()
        self._changes_nothing(lambda: self.session.close("again", at_ms=self.now_ms + 1))
        assert charged == self.session.charged == self.tariff.price(self._ran_ms())
        assert self.session.charged + self.session.refunded == self.session.reserved
        self._changes_nothing(lambda: self.session.observe(connection(1), at_ms=self.now_ms))

    @invariant()
    def bills_running_time_only(self) -> None:
        if hasattr(self, "session"):
            used = self._ran_ms()
            assert self.session.used_at(self.now_ms) == used
            assert self.session.remaining_at(self.now_ms) == self.quantity - used

    @invariant()
    def reserves_the_price_of_the_whole(self) -> None:
        if hasattr(self, "session"):
            assert self.session.reserved == self.tariff.price(self.quantity)

    @invariant()
    def replays_to_the_same(self) -> None:
        if hasattr(self, "session"):
            assert self.journal.replay(SESSION_ID) == self.session

    def _ran_ms(self) -> int:
        """The union of the intervals, cut at expiry, capped at what was bought."""
        running = [] if self.since_ms is None else [(self.since_ms, self.now_ms)]
        ran = sum(
            max(0, min(to_ms, self.expires_at_ms) - from_ms)
            for from_ms, to_ms in (*self.intervals, *running)
        )
        return min(ran, self.quantity)

    def _is_over(self) -> bool:
        return (
            not self.session.is_open
            or self._ran_ms() == self.quantity
            or self.now_ms >= self.expires_at_ms
        )

    def _stand_still(self, at_ms: int) -> None:
        if self.since_ms is not None:
            self.intervals.append((self.since_ms, at_ms))
            self.since_ms = None

    def _extend(self, quantity: int, request_id: str) -> Microcredits:
        return self.session.extend(
            quantity=quantity,
            expires_at_ms=self.session.expires_at_ms + quantity,
            request_id=request_id,
            at_ms=self.now_ms,
        )

    def _changes_nothing(self, act: Callable[[], object]) -> None:
        before = len(self.journal.records)
        act()
        self._save()
        assert len(self.journal.records) == before

    def _save(self) -> None:
        self.journal.save(self.session)


TestBillingClock = BillingClock.TestCase
