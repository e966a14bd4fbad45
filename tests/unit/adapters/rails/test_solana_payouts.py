"""Dollars back on Solana: once, to the customer, or not at all."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from solders.keypair import Keypair

from adapters.rails.networks import SOLANA
from adapters.rails.solana_chain import SolanaReader
from adapters.rails.solana_payouts import SolanaPayouts
from domain.errors import PaymentRefusedError, RailDownError
from domain.money import Microcredits
from domain.ports.payments import Absent, Payout, Rejected, Settled
from tests.fakes.solana_sandbox import BUYER, MUCH, PAY_TO, TILL, SolanaSandbox

AMOUNT = 70_000


@pytest.fixture
def cluster() -> SolanaSandbox:
    cluster = SolanaSandbox()
    cluster.chain.fund(PAY_TO, 500_000)
    return cluster


def payouts(cluster: SolanaSandbox, wallet: Keypair = TILL) -> SolanaPayouts:
    chain = SolanaReader(cluster.node)
    return SolanaPayouts(cluster.rail, wallet, network=SOLANA, chain=chain)


def payout(*, amount: int = AMOUNT, to: str = "", refund_id: UUID | None = None) -> Payout:
    return Payout(
        refund_id=refund_id or uuid4(),
        chain="solana",
        wallet=to or str(BUYER.pubkey()),
        amount=Microcredits(amount),
    )


async def test_the_funds_are_what_the_wallet_holds(cluster: SolanaSandbox) -> None:
    assert await payouts(cluster).funds() == Microcredits(500_000)


async def test_a_wallet_without_an_account_has_no_funds(cluster: SolanaSandbox) -> None:
    assert await payouts(cluster, Keypair()).funds() == Microcredits(0)


async def test_preparing_moves_nothing(cluster: SolanaSandbox) -> None:
    await payouts(cluster).prepare(payout())

    assert cluster.chain.balance(str(BUYER.pubkey())) == MUCH


async def test_a_payout_moves_exactly_the_amount_to_the_customer(cluster: SolanaSandbox) -> None:
    back = payouts(cluster)

    settled = await back.settle(proof := await back.prepare(payout()))

    assert isinstance(settled, Settled)
    assert (settled.payer, settled.amount) == (PAY_TO, Microcredits(AMOUNT))
    assert cluster.chain.balance(str(BUYER.pubkey())) == MUCH + AMOUNT
    assert await back.lookup(proof) == settled


async def test_settling_again_moves_nothing(cluster: SolanaSandbox) -> None:
    back = payouts(cluster)
    proof = await back.prepare(payout())
    first = await back.settle(proof)

    assert await back.settle(proof) == first
    assert cluster.chain.balance(str(BUYER.pubkey())) == MUCH + AMOUNT


async def test_a_lost_answer_is_looked_up(cluster: SolanaSandbox) -> None:
    cluster.faults.lose_answer = True
    back = payouts(cluster)

    assert isinstance(await back.settle(await back.prepare(payout())), Settled)


async def test_two_payouts_of_one_amount_at_one_moment_are_two(cluster: SolanaSandbox) -> None:
    back = payouts(cluster)

    first, second = [await back.prepare(payout()) for _ in range(2)]

    assert first.key != second.key


async def test_a_payout_that_has_expired_moves_nothing_ever(cluster: SolanaSandbox) -> None:
    back = payouts(cluster)
    proof = await back.prepare(payout())
    cluster.expire()

    assert isinstance(await back.settle(proof), Rejected)
    assert await back.lookup(proof) == Absent(final=True)


async def test_more_than_there_is_moves_nothing(cluster: SolanaSandbox) -> None:
    back = payouts(cluster)

    outcome = await back.settle(await back.prepare(payout(amount=500_001)))

    assert outcome == Rejected("the wallet does not hold enough USDC")


async def test_a_customer_without_a_token_account_is_not_paid(cluster: SolanaSandbox) -> None:
    with pytest.raises(PaymentRefusedError, match="no account"):
        await payouts(cluster).prepare(payout(to=str(Keypair().pubkey())))


async def test_nothing_is_prepared_while_the_chain_cannot_be_read(cluster: SolanaSandbox) -> None:
    await cluster.rail.fee_payer()
    cluster.faults.chain_unreadable = True

    with pytest.raises(RailDownError):
        await payouts(cluster).prepare(payout())
    with pytest.raises(RailDownError):
        await payouts(cluster).funds()
