"""Dollars back to a customer: signed by us, carried and looked up as any payment."""

from __future__ import annotations

import json
from uuid import UUID

import pytest
from eth_account import Account
from eth_account.signers.local import LocalAccount

from adapters.rails.chain import EvmChainReader
from adapters.rails.networks import BASE
from adapters.rails.x402_payouts import X402Payouts
from domain.errors import PaymentRefusedError, RailDownError
from domain.money import Microcredits
from domain.ports.payments import Absent, Payout, Settled, Uncertain
from tests.fakes.sandbox import Sandbox

CUSTOMER = "0x3333333333333333333333333333333333333333"
HELD = 1_000_000
OWED = 250_000


@pytest.fixture
def till(sandbox: Sandbox) -> LocalAccount:
    """Our wallet, with a dollar in it."""
    account: LocalAccount = Account.create()
    sandbox.chain.mint(account.address, HELD)
    return account


@pytest.fixture
def payouts(sandbox: Sandbox, till: LocalAccount) -> X402Payouts:
    return X402Payouts(
        sandbox.rail,
        till,
        network=BASE,
        chain=EvmChainReader(sandbox.node),
        clock=sandbox.clock,
    )


def owed(refund: int = 1, amount: int = OWED, wallet: str = CUSTOMER) -> Payout:
    return Payout(
        refund_id=UUID(int=refund), chain="evm", wallet=wallet, amount=Microcredits(amount)
    )


async def test_it_pays_exactly_what_is_owed(sandbox: Sandbox, payouts: X402Payouts) -> None:
    proof = await payouts.prepare(owed())

    settled = await payouts.settle(proof)

    assert isinstance(settled, Settled)
    assert sandbox.chain.balance(CUSTOMER) == OWED
    assert await payouts.lookup(proof) == settled
    assert await payouts.funds() == Microcredits(HELD - OWED)


async def test_preparing_sends_nothing(sandbox: Sandbox, payouts: X402Payouts) -> None:
    proof = await payouts.prepare(owed())

    assert await payouts.lookup(proof) == Absent(final=False)
    assert sandbox.chain.balance(CUSTOMER) == 0


async def test_what_is_prepared_says_who_pays_whom(
    payouts: X402Payouts, till: LocalAccount
) -> None:
    proof = await payouts.prepare(owed())

    authorization = json.loads(proof.payload)["payload"]["authorization"]
    assert proof.payer == till.address.lower()
    assert (authorization["to"], authorization["value"]) == (CUSTOMER, str(OWED))
    assert proof.expires_at_ms == int(authorization["validBefore"]) * 1000


async def test_a_refund_prepared_again_later_is_still_one_payment(
    sandbox: Sandbox, payouts: X402Payouts
) -> None:
    first = await payouts.prepare(owed())
    sandbox.clock.advance(60_000)
    second = await payouts.prepare(owed())

    settled = await payouts.settle(first)
    again = await payouts.settle(second)

    assert second.key == first.key
    assert again == settled
    assert sandbox.chain.balance(CUSTOMER) == OWED


async def test_two_refunds_are_two_payments(sandbox: Sandbox, payouts: X402Payouts) -> None:
    for refund in (1, 2):
        await payouts.settle(await payouts.prepare(owed(refund)))

    assert sandbox.chain.balance(CUSTOMER) == 2 * OWED


async def test_an_answer_that_is_lost_pays_once(sandbox: Sandbox, payouts: X402Payouts) -> None:
    proof = await payouts.prepare(owed())
    sandbox.faults.lose_answer = True

    assert isinstance(await payouts.settle(proof), Settled)
    assert sandbox.chain.balance(CUSTOMER) == OWED


async def test_more_than_the_wallet_holds_is_not_paid(
    sandbox: Sandbox, payouts: X402Payouts
) -> None:
    proof = await payouts.prepare(owed(amount=HELD + 1))

    outcome = await payouts.settle(proof)

    assert not isinstance(outcome, Settled | Uncertain)
    assert sandbox.chain.balance(CUSTOMER) == 0


async def test_after_its_time_it_can_never_land(sandbox: Sandbox, payouts: X402Payouts) -> None:
    proof = await payouts.prepare(owed())

    sandbox.clock.at_ms = proof.expires_at_ms + 61_000

    assert await payouts.lookup(proof) == Absent(final=True)


async def test_an_address_that_nobody_has_is_refused(payouts: X402Payouts) -> None:
    with pytest.raises(PaymentRefusedError, match="zero address"):
        await payouts.prepare(owed(wallet="0x" + "00" * 20))


async def test_a_chain_that_cannot_be_read_tells_no_funds(
    sandbox: Sandbox, payouts: X402Payouts
) -> None:
    sandbox.faults.chain_unreadable = True

    with pytest.raises(RailDownError):
        await payouts.funds()
