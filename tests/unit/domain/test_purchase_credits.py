from __future__ import annotations

import asyncio
from functools import partial

import pytest

from domain.account import Account
from domain.errors import (
    ConflictingRequestError,
    LedgerDownError,
    MalformedError,
    PaymentRefusedError,
    RailDownError,
)
from domain.money import Microcredits
from domain.payment import Payment
from domain.ports.payments import Proof, Rejected, Settled, Uncertain
from domain.use_cases.purchase_credits import Credited, Purchases, credit, rail_named
from tests.fakes.clock import settle
from tests.fakes.counter import AMOUNT, OTHER, PURSE, WALLET, Counter, purchase_of
from tests.fakes.rail import HEADER, CashRail

ACCOUNT_ID = Account.create_id("evm", WALLET)


@pytest.fixture
def counter() -> Counter:
    return Counter()


async def test_a_payment_becomes_credit(counter: Counter) -> None:
    answer = await counter.take(await counter.proof())

    assert answer == Credited(
        account_id=ACCOUNT_ID,
        chain="evm",
        payer=WALLET,
        amount=Microcredits(AMOUNT),
        reference=f"receipt cash|{WALLET}|1",
        at_ms=counter.house.clock.now_ms(),
        payload=counter.rail.coin(purchase_of())[HEADER],
    )
    assert answer.position == 4
    assert await counter.balance() == AMOUNT


async def test_the_claim_is_written_before_anything_irreversible(counter: Counter) -> None:
    await counter.take(await counter.proof())

    assert counter.topics() == [
        "payment.claimed",
        "payment.submitted",
        "payment.settled",
        "payment.credited",
        "account.opened",
        "account.credits_purchased",
    ]


async def test_nothing_is_settled_where_the_claim_cannot_be_written(counter: Counter) -> None:
    counter.house.books.down = True

    with pytest.raises(LedgerDownError):
        await counter.take(await counter.proof())

    assert counter.rail.settles_asked == 0


async def test_a_second_payment_adds_to_the_first(counter: Counter) -> None:
    await counter.take(await counter.proof(1))
    await counter.take(await counter.proof(2))

    assert await counter.balance() == 2 * AMOUNT


async def test_the_same_proof_again_is_the_first_answer(counter: Counter) -> None:
    """B12."""
    proof = await counter.proof()
    first = await counter.take(proof)
    written = len(counter.topics())

    again = await counter.take(proof)

    assert again == first
    assert len(counter.topics()) == written
    assert counter.rail.settles_asked == 1


async def test_parallel_copies_are_credited_once(counter: Counter) -> None:
    """B12."""
    proof = await counter.proof()

    answers = await asyncio.gather(*(counter.take(proof) for _ in range(8)))

    assert len({answer.reference for answer in answers}) == 1
    assert await counter.balance() == AMOUNT
    assert counter.rail.settles_asked == 1


async def test_copies_at_two_doors_are_credited_once(counter: Counter) -> None:
    """B12: two processes share the ledger and not the lock."""
    proof = await counter.proof()
    doors = [Purchases(counter.house.gateway) for _ in range(2)]

    await asyncio.gather(*(door.take(counter.rail, proof, purchase_of()) for door in doors))

    assert await counter.balance() == AMOUNT
    assert counter.rail.purses[WALLET] == PURSE - AMOUNT


async def test_another_wallet_in_the_body_is_refused_before_anything(counter: Counter) -> None:
    """B11."""
    with pytest.raises(MalformedError, match="the wallet that signed the payment"):
        await counter.take(await counter.proof(), purchase_of(OTHER))

    assert counter.topics() == []
    assert counter.rail.settles_asked == 0


async def test_the_same_proof_with_another_amount_is_refused(counter: Counter) -> None:
    """B12."""
    await counter.take(await counter.proof())
    dearer = await counter.proof(amount=AMOUNT + 1)

    with pytest.raises(ConflictingRequestError, match="payment proof"):
        await counter.take(dearer, purchase_of(amount=AMOUNT + 1))

    assert await counter.balance() == AMOUNT


async def test_a_bad_proof_leaves_no_trace(counter: Counter) -> None:
    counter.rail.purses[WALLET] = 0

    with pytest.raises(PaymentRefusedError, match="purse does not hold enough"):
        await counter.take(await counter.proof())

    assert counter.topics() == []


async def test_an_unreachable_rail_leaves_the_proof_usable(counter: Counter) -> None:
    counter.rail.down = True
    proof = await counter.proof()
    with pytest.raises(RailDownError):
        await counter.take(proof)

    counter.rail.down = False
    await counter.take(proof)

    assert await counter.balance() == AMOUNT


async def test_crediting_twice_changes_nothing(counter: Counter) -> None:
    await counter.take(await counter.proof())
    payment_id = Payment.create_id("cash", f"cash|{WALLET}|1")
    written = len(counter.topics())

    again = await counter.house.books.run(
        partial(credit, payment_id=payment_id, reference="another", at_ms=1)
    )

    assert again.reference == f"receipt cash|{WALLET}|1"
    assert len(counter.topics()) == written


def test_a_rail_is_found_by_its_name(counter: Counter) -> None:
    assert rail_named(counter.house.gateway, "cash") is counter.rail
    with pytest.raises(RailDownError):
        rail_named(counter.house.gateway, "gone")


def test_account_ids_tell_chains_apart() -> None:
    assert Account.create_id("evm", "x") != Account.create_id("solana", "x")


async def test_a_caller_who_goes_away_does_not_stop_the_money(counter: Counter) -> None:
    taking = asyncio.create_task(counter.take(await counter.proof()))
    await asyncio.sleep(0)
    taking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await taking

    await counter.purchases.drain()

    assert await counter.balance() == AMOUNT


class SlowRail:
    """Settles when the gate opens."""

    def __init__(self, rail: CashRail) -> None:
        self.name = rail.name
        self.gate = asyncio.Event()
        self._rail = rail

    def __getattr__(self, name: str) -> object:
        return getattr(self._rail, name)

    async def settle(self, proof: Proof) -> Settled | Rejected | Uncertain:
        await self.gate.wait()
        return await self._rail.settle(proof)


async def test_shutdown_waits_for_the_money_under_way(counter: Counter) -> None:
    rail = SlowRail(counter.rail)
    taking = asyncio.create_task(
        counter.purchases.take(rail, await counter.proof(), purchase_of())  # type: ignore[arg-type]  # all the rest is the rail's
    )
    await settle()
    taking.cancel()
    draining = asyncio.create_task(counter.purchases.drain())
    await settle()
    assert not draining.done()

    rail.gate.set()
    await draining

    assert await counter.balance() == AMOUNT


async def test_draining_nothing_returns(counter: Counter) -> None:
    await counter.purchases.drain()
