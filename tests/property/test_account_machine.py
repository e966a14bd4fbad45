"""An account against the plainest model there is: two numbers and a dict."""

from __future__ import annotations

from uuid import UUID, uuid5

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from domain.account import Account
from domain.aggregate import NAMESPACE
from domain.errors import ConcurrencyLimitError, InsufficientCreditsError
from domain.money import Microcredits
from tests.fakes.stored import Journal
from tests.strategies import START_MS

UNITS_MAX = 3
WALLET = "0x" + "11" * 20


class AccountLife(RuleBasedStateMachine):
    """Any mixture of purchases, reservations and settlements (B3, B8)."""

    def __init__(self) -> None:
        super().__init__()
        self.journal = Journal()
        self.account = Account.open(chain="evm", wallet=WALLET, at_ms=START_MS)
        self.now_ms = START_MS
        self.available = 0
        self.bought = 0
        self.charged = 0
        self.held: dict[UUID, int] = {}
        self.units: dict[UUID, UUID] = {}
        self.count = 0
        self._save()

    @rule(amount=st.integers(0, 10**6))
    def buys(self, amount: int) -> None:
        self.account.purchase(
            Microcredits(amount), payment_id=self._id(), rail="cash", at_ms=self._later()
        )

        self.available += amount
        self.bought += amount
        self._save()

    @rule(amount=st.integers(0, 10**6), bundled=st.booleans())
    def reserves(self, amount: int, *, bundled: bool) -> None:
        session_id = self._id()
        unit_id = uuid5(NAMESPACE, "bundle") if bundled else session_id
        before = len(self.journal.records)

        if amount > self.available:
            with pytest.raises(InsufficientCreditsError) as refusal:
                self._reserve(amount, session_id, unit_id)
            self._save()
            assert refusal.value.needed == Microcredits(amount)
            assert refusal.value.available == Microcredits(self.available)
            assert len(self.journal.records) == before
            return
        self._reserve(amount, session_id, unit_id)
        self.available -= amount
        self.held[session_id] = amount
        self.units[session_id] = unit_id
        self._save()

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def reserves_more_for_the_same(self, data: st.DataObject) -> None:
        session_id = data.draw(st.sampled_from(sorted(self.held)))
        amount = data.draw(st.integers(0, self.available))

        self._reserve(amount, session_id, self.units[session_id])

        self.available -= amount
        self.held[session_id] += amount
        self._save()

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def settles(self, data: st.DataObject) -> None:
        session_id = data.draw(st.sampled_from(sorted(self.held)))
        held = self.held.pop(session_id)
        charged = data.draw(st.integers(0, held))
        del self.units[session_id]

        refunded = self.account.settle(
            session_id=session_id,
            service="stt",
            charged=Microcredits(charged),
            at_ms=self._later(),
        )

        assert refunded == Microcredits(held - charged)
        self.available += held - charged
        self.charged += charged
        self._save()

    @rule()
    def asks_for_room(self) -> None:
        if len(set(self.units.values())) >= UNITS_MAX:
            with pytest.raises(ConcurrencyLimitError):
                self.account.check_room(UNITS_MAX)
        else:
            self.account.check_room(UNITS_MAX)

    @invariant()
    def agrees_with_the_model(self) -> None:
        assert self.account.available.value == self.available
        assert {i: r.value for i, r in self.account.reserved.items()} == self.held
        assert self.account.units_open == len(set(self.units.values()))

    @invariant()
    def conserves_credits(self) -> None:
        assert self.bought == self.account.balance.value + self.charged

    @invariant()
    def replays_to_the_same(self) -> None:
        assert self.journal.replay(self.account.id) == self.account

    @invariant()
    def has_a_twin_that_is_its_own(self) -> None:
        twin = self.account.clone()
        twin.purchase(Microcredits(1), payment_id=UUID(int=0), rail="cash", at_ms=self.now_ms)
        twin.reserve(
            Microcredits(1), session_id=UUID(int=1), service="stt", unit_id=UUID(int=1), at_ms=0
        )

        assert not self.account.pending_events
        assert UUID(int=1) not in self.account.reserved

    def _reserve(self, amount: int, session_id: UUID, unit_id: UUID) -> None:
        self.account.reserve(
            Microcredits(amount),
            session_id=session_id,
            service="stt",
            unit_id=unit_id,
            at_ms=self._later(),
        )

    def _save(self) -> None:
        self.journal.save(self.account)

    def _id(self) -> UUID:
        self.count += 1
        return uuid5(NAMESPACE, str(self.count))

    def _later(self) -> int:
        self.now_ms += 7
        return self.now_ms


TestAccountLife = AccountLife.TestCase
