"""Refunds to the chain, whatever fails in whatever order: once or not at all (B16)."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Coroutine, Sequence
from itertools import cycle, repeat
from typing import Any
from uuid import UUID

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from domain.account import Account
from domain.errors import GatewayError
from domain.gateway import RefundTerms, Terms
from domain.money import Microcredits
from domain.payout import DAY_MS, Payout
from domain.postings import PAYOUTS_PENDING, TrialBalance
from domain.use_cases.reconcile import reconcile
from domain.use_cases.refund_credits import RefundRequest, Refunds
from tests.fakes.gateway import House
from tests.fakes.mortal import DiedError, Fuse, process_of
from tests.fakes.payouts import HOUSE_FUNDS, HOUSE_PURSE
from tests.fakes.stored import replay_all

WALLETS = tuple(f"0x{n:040x}" for n in (1, 2))
BOUGHT = 10_000_000
FEE = 50_000
PROOF_MS = 120_000
FAULTS = ("down", "loses_answers", "refuses", "unreadable", "refuses_to_sign")
TERMS = RefundTerms(
    enabled=True,
    least=Microcredits(1_000_000),
    fee=Microcredits(FEE),
    most=Microcredits(5_000_000),
    day_max=Microcredits(9_000_000),
)
wallets = st.sampled_from(WALLETS)
# More steps than any of these takes: then nobody dies.
fuses = st.none() | st.integers(0, 25)
amounts = st.integers(900_000, 5_100_000)
# Who comes when, where several are at it.
orders = st.lists(st.integers(0, 4), min_size=1, max_size=8)


class RefundLife(RuleBasedStateMachine):
    """Two processes on one ledger; requests, copies, sweeps, deaths and outages in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.house = House(terms=Terms(refunds=TERMS))
        self.rail = self.house.rail
        for wallet in WALLETS:
            self.run(self.house.fund(wallet, BOUGHT))
        self.fuse = Fuse()
        self.rail.watch, self.rail.pause = self.fuse.step, self.fuse.pause
        self.processes = [process_of(self.house.gateway, self.fuse) for _ in range(2)]

    def teardown(self) -> None:
        try:
            self.heal()
        finally:
            self.loop.close()

    def run(self, work: Coroutine[Any, Any, object]) -> None:
        """To its end, to a refusal or to the death of its process, which is then another."""
        with contextlib.suppress(GatewayError, DiedError):
            self.loop.run_until_complete(work)

    @rule(
        wallet=wallets,
        amount=amounts,
        key=st.integers(0, 5),
        copies=st.integers(1, 3),
        fuse=fuses,
        which=st.integers(0, 1),
        order=orders,
    )
    def asks(
        self,
        wallet: str,
        amount: int,
        key: int,
        copies: int,
        fuse: int | None,
        which: int,
        order: list[int],
    ) -> None:
        """Copies of one request, over both processes, of which one dies on the way."""
        account_id = Account.create_id("evm", wallet)
        request = RefundRequest(
            payout_id=Payout.create_id(account_id, str(key)),
            account_id=account_id,
            amount=Microcredits(amount),
            fee=Microcredits(FEE),
        )

        async def all_at_once() -> None:
            asked = (Refunds(self.processes[(which + n) % 2]).ask(request) for n in range(copies))
            await asyncio.gather(*asked, return_exceptions=True)

        self._do(all_at_once(), fuse, order)

    @rule(fuse=fuses, which=st.integers(0, 1))
    def sweeps(self, fuse: int | None, which: int) -> None:
        self._do(reconcile(self.processes[which]), fuse)

    @rule(fuse=fuses, order=orders)
    def both_sweep(self, fuse: int | None, order: list[int]) -> None:
        async def both() -> None:
            await asyncio.gather(*map(reconcile, self.processes), return_exceptions=True)

        self._do(both(), fuse, order)

    @rule(fault=st.sampled_from(FAULTS))
    def something_breaks_or_is_mended(self, fault: str) -> None:
        setattr(self.rail, fault, not getattr(self.rail, fault))

    @rule()
    def all_is_mended(self) -> None:
        for fault in FAULTS:
            setattr(self.rail, fault, False)

    @rule(ms=st.sampled_from([1_000, PROOF_MS // 2, PROOF_MS, 30 * 60_000, DAY_MS]))
    def time_passes(self, ms: int) -> None:
        self.loop.run_until_complete(self.house.clock.advance(ms))

    @precondition(lambda self: self.rail.sent)
    @rule(data=st.data())
    def what_was_sent_lands_after_all(self, data: st.DataObject) -> None:
        """Whatever we made of it: until it expires, a chain may take it."""
        proof = self.rail.sent[data.draw(st.sampled_from(sorted(self.rail.sent)))]
        if not self.rail._is_expired(proof):
            self.rail._take(proof)

    @invariant()
    def nothing_is_paid_twice_nor_what_failed(self) -> None:
        landed = Counter(UUID(key.split("|")[2]) for key in self.rail.till)
        for payout in self.payouts():
            times = landed.pop(payout.id, 0)
            assert times <= 1, f"paid {times} times: {payout}"
            assert times == 0 or payout.proof_key in self.rail.till, f"not as written: {payout}"
            assert payout.state != "paid" or times == 1, f"paid by nobody: {payout}"
            assert payout.state != "failed" or times == 0, f"paid and given back: {payout}"
        assert not landed, f"paid and not written down: {landed}"

    @invariant()
    def no_credit_is_lost_and_none_is_doubled(self) -> None:
        aggregates = replay_all(self.house.books.records())
        books = TrialBalance()
        for record in self.house.books.records():
            assert books.post(record) == ()
        assert books.total == 0
        pending = 0
        for wallet in WALLETS:
            account = aggregates[Account.create_id("evm", wallet)]
            assert isinstance(account, Account)
            mine = [p for p in self.payouts() if p.account_id == account.id]
            taken = sum(p.amount.value for p in mine if p.state != "failed")
            assert account.available.value == BOUGHT - taken == account.bought["cash"].value
            assert account.payouts == {p.id: p.amount for p in mine if not p.is_over}
            pending += sum(p.amount.value for p in mine if not p.is_over)
        assert books.balances[PAYOUTS_PENDING] == pending
        assert sum(self.rail.purses.values()) == HOUSE_FUNDS

    @invariant()
    def a_day_keeps_its_limit(self) -> None:
        days: Counter[int] = Counter()
        for payout in self.payouts():
            if payout.state != "failed":
                days[payout.requested_at_ms // DAY_MS] += payout.amount.value
        assert all(amount <= TERMS.day_max.value for amount in days.values())

    def heal(self) -> None:
        """With everything mended and time passed, every payout is over and no µcr astray."""
        self.fuse.light(None)
        self.all_is_mended()
        for _ in range(2):
            self.loop.run_until_complete(reconcile(self.processes[0]))
            self.time_passes(2 * PROOF_MS)
        assert [p for p in self.payouts() if not p.is_over] == []
        assert self.house.views._payouts == set()
        paid = sum(p.net.value for p in self.payouts() if p.state == "paid")
        assert self.rail.purses[HOUSE_PURSE] == HOUSE_FUNDS - paid
        self.nothing_is_paid_twice_nor_what_failed()
        self.no_credit_is_lost_and_none_is_doubled()

    def payouts(self) -> list[Payout]:
        found = replay_all(self.house.books.records()).values()
        return [aggregate for aggregate in found if isinstance(aggregate, Payout)]

    def _do(
        self, work: Coroutine[Any, Any, object], fuse: int | None, order: Sequence[int] = (0,)
    ) -> None:
        self.fuse.light(fuse)
        self.fuse.turns = cycle(order)
        self.run(work)
        if fuse is not None:
            # Whoever died is replaced; so is the other, which is harder on what they forget.
            self.processes = [process_of(self.house.gateway, self.fuse) for _ in self.processes]
        self.fuse.light(None)
        self.fuse.turns = repeat(0)


TestRefundLife = RefundLife.TestCase
TestRefundLife.settings = settings(stateful_step_count=25)
