"""Dollars sent back on a real Tempo chain: this amount, to this wallet, once and not later."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID

import pytest

from adapters.rails.mpp_networks import TEMPO
from adapters.rails.mpp_payout import TempoPayouts
from adapters.rails.mpp_transfer import TempoTransfer
from domain.errors import RailDownError
from domain.money import Microcredits
from domain.ports.payments import Absent, Payout, Rejected, Settled
from tests.fakes.mpp_payer import THROWAWAY_KEY, ScriptedNode
from tests.fakes.mpp_sandbox import Tempo, tempo
from tests.fakes.sandbox import JumpingClock

CUSTOMER = "0x4444444444444444444444444444444444444444"
PAYOUT = Payout(refund_id=UUID(int=7), chain="evm", wallet=CUSTOMER, amount=Microcredits(300_000))


@pytest.fixture
async def chain() -> AsyncIterator[Tempo]:
    async with tempo() as running:
        yield running


def payouts_of(chain: Tempo) -> TempoPayouts:
    return TempoPayouts(secret_key=THROWAWAY_KEY, network=TEMPO, rpc=chain.chain, clock=chain.clock)


@pytest.mark.anvil
async def test_preparing_moves_nothing_and_says_what_will_move(chain: Tempo) -> None:
    payouts = payouts_of(chain)

    proof = await payouts.prepare(PAYOUT)

    transfer = TempoTransfer.of(proof)
    assert (transfer.pay_to, transfer.amount) == (CUSTOMER, 300_000)
    assert (proof.payer, proof.amount) == (payouts.wallet, Microcredits(300_000))
    assert bytes.fromhex(transfer.memo[2:]).endswith(UUID(int=7).bytes)
    assert await chain.chain.balance(CUSTOMER) == 0


@pytest.mark.anvil
async def test_settling_pays_exactly_once(chain: Tempo) -> None:
    payouts = payouts_of(chain)
    proof = await payouts.prepare(PAYOUT)

    outcomes = [await payouts.settle(proof) for _ in range(2)]

    assert (
        outcomes
        == [
            Settled(
                reference=TempoTransfer.of(proof).hash,
                payer=payouts.wallet,
                amount=Microcredits(300_000),
            )
        ]
        * 2
    )
    assert await chain.chain.balance(CUSTOMER) == 300_000


@pytest.mark.anvil
async def test_the_funds_are_what_the_wallet_holds_less_what_was_paid_and_its_fee(
    chain: Tempo,
) -> None:
    payouts = payouts_of(chain)
    before = await payouts.funds()

    await payouts.settle(await payouts.prepare(PAYOUT))

    assert before == Microcredits(1_000_000)
    assert 0 < 700_000 - (await payouts.funds()).value < 20_000


@pytest.mark.anvil
async def test_what_was_not_sent_may_land_until_its_time_and_never_after(chain: Tempo) -> None:
    payouts = payouts_of(chain)
    proof = await payouts.prepare(PAYOUT)
    assert await payouts.lookup(proof) == Absent(final=False)

    chain.clock.advance(90_000)

    assert await payouts.lookup(proof) == Absent(final=True)
    assert isinstance(await payouts.settle(proof), Rejected)
    assert await chain.chain.balance(CUSTOMER) == 0


@pytest.mark.anvil
async def test_two_refunds_of_one_amount_are_two_payments(chain: Tempo) -> None:
    payouts = payouts_of(chain)
    other = Payout(
        refund_id=UUID(int=8), chain="evm", wallet=CUSTOMER, amount=Microcredits(300_000)
    )

    for payout in (PAYOUT, other):
        await payouts.settle(await payouts.prepare(payout))

    assert await chain.chain.balance(CUSTOMER) == 600_000


@pytest.mark.parametrize("answers", [{}, {"eth_chainId": "0x1"}], ids=["silent", "another chain"])
async def test_without_its_node_nothing_is_prepared(answers: dict[str, str]) -> None:
    node = ScriptedNode(eth_gasPrice="0x1", eth_getBlockByNumber={"timestamp": "0x1"}, **answers)
    if not answers:
        node.answers.clear()
    payouts = TempoPayouts(secret_key=THROWAWAY_KEY, network=TEMPO, rpc=node, clock=JumpingClock())

    with pytest.raises(RailDownError):
        await payouts.prepare(PAYOUT)


async def test_without_its_node_the_funds_are_not_known() -> None:
    payouts = TempoPayouts(
        secret_key=THROWAWAY_KEY, network=TEMPO, rpc=ScriptedNode(), clock=JumpingClock()
    )

    with pytest.raises(RailDownError):
        await payouts.funds()
