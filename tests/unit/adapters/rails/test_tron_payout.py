"""Money back on TRON: signed by us, carried like any permit, at most once a refund."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest
from coincurve import PrivateKey

from adapters.rails.tron_permit import wallet_of
from domain.errors import MalformedError, RailDownError
from domain.money import Microcredits
from domain.ports.payments import Absent, Payout, Rejected, Settled
from tests.fakes.tron_sandbox import TronSandbox, tron_sandbox

pytestmark = pytest.mark.anvil

HELD = 1_000_000
BACK = 250_000
CUSTOMER = wallet_of(PrivateKey(b"\x55" * 32))


@pytest.fixture
async def sandbox() -> AsyncIterator[TronSandbox]:
    async with tron_sandbox() as opened:
        await opened.network.fund(opened.network.pay_to, HELD)
        yield opened


def payout_of(
    amount: int = BACK, *, wallet: str = CUSTOMER, refund_id: UUID | None = None
) -> Payout:
    return Payout(
        refund_id=refund_id or uuid4(), chain="tron", wallet=wallet, amount=Microcredits(amount)
    )


async def test_a_refund_moves_exactly_its_amount_to_the_customer(sandbox: TronSandbox) -> None:
    payout = sandbox.new_payout()

    settled = await payout.settle(await payout.prepare(payout_of()))

    assert isinstance(settled, Settled)
    assert await sandbox.network.balance(CUSTOMER) == BACK
    assert await sandbox.received() == HELD - BACK - 100


async def test_preparing_moves_nothing(sandbox: TronSandbox) -> None:
    payout = sandbox.new_payout()

    proof = await payout.prepare(payout_of())

    assert await payout.lookup(proof) == Absent(final=False)
    assert await sandbox.received() == HELD
    assert proof.payer == payout.wallet == sandbox.network.pay_to


async def test_a_refund_prepared_twice_lands_once(sandbox: TronSandbox) -> None:
    payout, wanted = sandbox.new_payout(), payout_of()
    first = await payout.prepare(wanted)
    sandbox.clock.advance(5_000)
    second = await sandbox.new_payout().prepare(wanted)

    settled = [await payout.settle(proof) for proof in (first, second)]

    assert settled[0] == settled[1]
    assert await sandbox.network.balance(CUSTOMER) == BACK


async def test_two_refunds_are_two_payments(sandbox: TronSandbox) -> None:
    payout = sandbox.new_payout()
    for _ in range(2):
        await payout.settle(await payout.prepare(payout_of()))

    assert await sandbox.network.balance(CUSTOMER) == 2 * BACK


async def test_a_refund_outlives_a_restart(sandbox: TronSandbox) -> None:
    payout = sandbox.new_payout()
    settled = await payout.settle(proof := await payout.prepare(payout_of()))

    assert await sandbox.new_payout().lookup(proof) == settled


async def test_a_refund_that_was_not_sent_in_time_can_never_land(sandbox: TronSandbox) -> None:
    payout = sandbox.new_payout()
    proof = await payout.prepare(payout_of())
    sandbox.clock.advance(800_000)

    assert await payout.lookup(proof) == Absent(final=True)
    assert isinstance(await payout.settle(proof), Rejected)


async def test_the_hot_wallet_has_what_it_holds(sandbox: TronSandbox) -> None:
    assert await sandbox.new_payout().funds() == Microcredits(HELD)


async def test_a_hot_wallet_that_allowed_nothing_has_nothing_to_pay_with(
    sandbox: TronSandbox,
) -> None:
    await sandbox.network.fund(CUSTOMER, HELD)

    assert await sandbox.new_payout(key=b"\x55" * 32).funds() == Microcredits(0)


async def test_a_chain_that_cannot_be_read_shows_no_funds(sandbox: TronSandbox) -> None:
    sandbox.faults.chain_unreadable = True

    with pytest.raises(RailDownError):
        await sandbox.new_payout().funds()


async def test_a_facilitator_that_is_down_prepares_nothing(sandbox: TronSandbox) -> None:
    sandbox.faults.facilitator_down = True

    with pytest.raises(RailDownError):
        await sandbox.new_payout().prepare(payout_of())


@pytest.mark.parametrize("wallet", ["", "0x" + "11" * 20, CUSTOMER[:-1], CUSTOMER.lower()])
async def test_a_refund_goes_to_a_tron_address(sandbox: TronSandbox, wallet: str) -> None:
    with pytest.raises(MalformedError):
        await sandbox.new_payout().prepare(payout_of(wallet=wallet))
