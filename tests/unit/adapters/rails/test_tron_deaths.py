"""A process that dies between any two steps of a purchase on TRON: one credit, or none."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace

import pytest

from adapters.rails.tron import TronRail
from domain.account import Account
from domain.errors import PaymentRefusedError, PaymentUncertainError
from domain.gateway import Gateway
from domain.ledger import Work
from domain.ports.payments import (
    Absent,
    Challenge,
    Outcome,
    PaymentRail,
    Proof,
    Purchase,
    Receipt,
    Rejected,
    Settled,
    Uncertain,
)
from domain.use_cases.purchase_credits import Purchases
from domain.use_cases.reconcile import reconcile
from tests.fakes.gateway import House
from tests.fakes.mortal import DiedError, Fuse, process_of
from tests.fakes.tron_sandbox import BUYER, LONG_MS, TronSandbox, tron_sandbox

pytestmark = pytest.mark.anvil

PRICE = 100_000
# Commands (before, after) and steps of the rail (before, after) of one purchase.
STEPS = 11


class Watched:
    """The rail, with a fuse that burns before and after whatever it does."""

    def __init__(self, rail: TronRail, fuse: Fuse) -> None:
        self.name, self.protocol, self.networks = rail.name, rail.protocol, rail.networks
        self._rail = rail
        self._fuse = fuse

    def serves(self, chain: str) -> bool:
        return self._rail.serves(chain)

    async def challenge(
        self,
        purchase: Purchase,
        *,
        refusal: PaymentRefusedError | None = None,
        beside: Sequence[PaymentRail] = (),
    ) -> Challenge:
        return await self._rail.challenge(purchase, refusal=refusal, beside=beside)

    async def decode(self, headers: dict[str, str], purchase: Purchase) -> Proof | None:
        return await self._rail.decode(headers, purchase)

    async def verify(self, proof: Proof, purchase: Purchase) -> None:
        self._fuse.step("before verify")
        await self._rail.verify(proof, purchase)
        self._fuse.step("after verify")

    async def settle(self, proof: Proof) -> Settled | Rejected | Uncertain:
        self._fuse.step("before settle")
        settled = await self._rail.settle(proof)
        self._fuse.step("after settle")
        return settled

    async def lookup(self, proof: Proof) -> Settled | Absent | Uncertain:
        return await self._rail.lookup(proof)

    def receipt(self, outcome: Outcome, purchase: Purchase) -> Receipt:
        return self._rail.receipt(outcome, purchase)


@dataclass
class Till:
    """A ledger and the TRON rail before it."""

    house: House
    sandbox: TronSandbox

    def gateway(self, fuse: Fuse | None = None) -> Gateway:
        """A process without memory."""
        lit = fuse or Fuse()
        rail = Watched(self.sandbox.new_rail(), lit)
        whole = replace(self.house.gateway, rails=(rail,), clock=self.sandbox.clock)
        return process_of(whole, lit)

    async def bought(self, proof: Proof, *, steps: int | None = None) -> bool:
        """Whether a process that takes this payment lives longer than so many steps."""
        fuse = Fuse()
        fuse.light(steps)
        gateway = self.gateway(fuse)
        purchases = Purchases(gateway)
        try:
            await purchases.take(gateway.rails[0], proof, self.sandbox.purchase(PRICE))
        except DiedError:
            return False
        finally:
            await purchases.drain()
        return True

    async def credit(self) -> int:
        def command(work: Work) -> int:
            account = work.find(Account, Account.create_id("tron", BUYER))
            return account.available.value if account is not None else 0

        return await self.house.books.run(command)


@pytest.fixture
async def till() -> AsyncIterator[Till]:
    async with tron_sandbox() as sandbox:
        yield Till(House(), sandbox)


@pytest.mark.parametrize("steps", range(STEPS))
async def test_who_shows_a_payment_again_after_a_death_is_credited_once(
    till: Till, steps: int
) -> None:
    proof = await till.sandbox.proof(PRICE)
    lived = await till.bought(proof, steps=steps)

    again = await till.bought(proof)

    assert again
    assert await till.credit() == await till.sandbox.received() == PRICE
    assert lived == (steps >= STEPS - 1), "STEPS is as many as there are, and one more"


@pytest.mark.parametrize("steps", range(STEPS))
async def test_a_death_that_nobody_follows_up_ends_in_one_credit_or_none(
    till: Till, steps: int
) -> None:
    await till.bought(await till.sandbox.proof(PRICE), steps=steps)

    await reconcile(till.gateway())
    till.sandbox.clock.advance(LONG_MS)
    await reconcile(till.gateway())

    assert await till.credit() == await till.sandbox.received()
    assert await till.credit() in (0, PRICE)


async def test_a_chain_that_cannot_be_read_is_read_later(till: Till) -> None:
    proof = await till.sandbox.proof(PRICE)
    gateway = till.gateway()
    rail = till.sandbox.rail
    # It goes dark after the payment was verified.
    await rail.verify(proof, till.sandbox.purchase(PRICE))
    dark = replace(gateway, rails=(_Dark(till.sandbox),))
    with pytest.raises(PaymentUncertainError):
        await Purchases(dark).take(dark.rails[0], proof, till.sandbox.purchase(PRICE))

    await reconcile(till.gateway())

    assert await till.credit() == await till.sandbox.received() == PRICE


class _Dark(Watched):
    """Verifies by day and settles by night."""

    def __init__(self, sandbox: TronSandbox) -> None:
        super().__init__(sandbox.rail, Fuse())
        self._faults = sandbox.faults

    async def settle(self, proof: Proof) -> Settled | Rejected | Uncertain:
        self._faults.chain_unreadable = True
        try:
            return await super().settle(proof)
        finally:
            self._faults.chain_unreadable = False
