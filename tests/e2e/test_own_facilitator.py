"""Our own facilitator on anvil: every way to lose money or gas, and that we lose none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import pytest
from eth_abi.abi import encode
from eth_account import Account
from eth_utils.crypto import keccak
from x402.mechanisms.evm.constants import ERC6492_MAGIC_VALUE

from adapters.clock import SystemClock
from adapters.rails.chain import WrongChainError
from adapters.rails.networks import BASE, BASE_SEPOLIA
from adapters.rails.x402_payouts import X402Payouts
from domain.errors import PaymentRefusedError, RailDownError
from domain.money import Microcredits
from domain.ports.payments import Absent, Payout, Rejected, Settled, Uncertain
from tests.fakes.base_anvil import OwnShop, own_shop
from tests.fakes.sandbox import PAY_TO, changed, sign, signed_again

PRICE = 100_000
REFUND = UUID(int=7)
# Of secp256k1.
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
WALLET_CODE = Path(__file__).parents[1] / "fakes" / "smart_wallet.hex"


@pytest.fixture
async def shop() -> AsyncIterator[OwnShop]:
    async with own_shop() as opened:
        yield opened


async def test_a_payment_is_verified_carried_and_confirmed(shop: OwnShop) -> None:
    proof = await shop.proof()

    await shop.rail.verify(proof, shop.purchase())
    settled = await shop.rail.settle(proof)

    assert isinstance(settled, Settled)
    assert (await shop.received(), await shop.gas_sent()) == (PRICE, 1)
    assert await shop.rail.lookup(proof) == settled


async def test_four_copies_at_once_cost_the_gas_of_one(shop: OwnShop) -> None:
    payment = await shop.pay()

    answers = await asyncio.gather(
        *(shop.facilitator.settle(payment, payment.accepted) for _ in range(4))
    )

    assert [answer.success for answer in answers].count(True) == 1
    assert (await shop.received(), await shop.gas_sent()) == (PRICE, 1)


async def test_a_settlement_that_nobody_waits_for_any_more_still_goes_alone() -> None:
    async with own_shop("--block-time", "1") as shop:
        payment = await shop.pay()
        first = asyncio.create_task(shop.facilitator.settle(payment, payment.accepted))
        await shop.node.heard("eth_sendRawTransaction", 1)
        first.cancel()

        answer = await shop.facilitator.settle(payment, payment.accepted)

        assert answer.error_reason == "invalid_exact_evm_nonce_already_used"
        assert (await shop.received(), await shop.gas_sent()) == (PRICE, 1)


async def test_eight_payments_at_once_all_land(shop: OwnShop) -> None:
    payments = [await shop.pay() for _ in range(8)]

    answers = await asyncio.gather(
        *(shop.facilitator.settle(payment, payment.accepted) for payment in payments)
    )

    assert [answer.success for answer in answers] == [True] * 8
    assert (await shop.received(), await shop.gas_sent()) == (8 * PRICE, 8)


async def test_a_wallet_that_signs_more_than_it_holds_costs_the_gas_of_what_it_pays() -> None:
    """Each is good by itself, and all but one would fail in a block at our expense."""
    async with own_shop("--block-time", "1", funds=PRICE) as shop:
        await shop.chain.pass_time(1)
        payments = [await shop.pay() for _ in range(8)]

        answers = await asyncio.gather(
            *(shop.facilitator.settle(payment, payment.accepted) for payment in payments)
        )

        assert [answer.success for answer in answers].count(True) == 1
        assert (await shop.received(), await shop.gas_sent()) == (PRICE, 1)


async def test_a_replay_is_told_as_one_and_costs_no_gas(shop: OwnShop) -> None:
    payment = await shop.pay()
    await shop.facilitator.settle(payment, payment.accepted)

    again = await shop.facilitator.settle(payment, payment.accepted)

    assert (again.success, again.error_reason) == (
        False,
        "invalid_exact_evm_nonce_already_used",
    )
    assert await shop.gas_sent() == 1


async def test_a_bad_payment_that_goes_straight_to_settlement_costs_no_gas(shop: OwnShop) -> None:
    honest = await shop.pay()
    poor = Account.create()
    bad = (
        signed_again(honest, Account.create()),
        signed_again(honest, shop.buyer, validBefore="1"),
        signed_again(changed(honest, **{"from": poor.address}), poor),
        changed(honest, value="1"),
    )

    answers = [await shop.facilitator.settle(payment, payment.accepted) for payment in bad]

    assert [answer.success for answer in answers] == [False] * 4
    assert (await shop.received(), await shop.gas_sent()) == (0, 0)


async def test_the_twin_of_a_signature_is_the_same_payment_and_carries_nothing(
    shop: OwnShop,
) -> None:
    payment = await shop.pay()
    twin = payment.model_copy(deep=True)
    twin.payload["signature"] = twin_of(payment.payload["signature"])
    proof, twin_proof = await shop.decoded(payment), await shop.decoded(twin)

    with pytest.raises(PaymentRefusedError, match="signature"):
        await shop.rail.verify(twin_proof, shop.purchase())
    answer = await shop.facilitator.settle(twin, twin.accepted)

    assert twin_proof.key == proof.key
    assert (answer.success, await shop.gas_sent()) == (False, 0)


async def test_a_payment_that_somebody_carries_between_our_steps_is_ours(shop: OwnShop) -> None:
    payment = await shop.pay()
    proof = await shop.decoded(payment)
    await shop.rail.verify(proof, shop.purchase())
    transaction = await shop.chain.submit(payment)

    settled = await shop.rail.settle(proof)

    assert settled == Settled(reference=transaction, payer=proof.payer, amount=Microcredits(PRICE))
    assert (await shop.received(), await shop.gas_sent()) == (PRICE, 0)


async def test_without_gas_it_verifies_settles_nothing_and_says_so(shop: OwnShop) -> None:
    proof = await shop.proof()
    assert await shop.facilitator.problem() == ""
    await shop.chain.give_gas(shop.gas_key.address, 1)

    await shop.rail.verify(proof, shop.purchase())
    outcome = await shop.rail.settle(proof)

    assert isinstance(outcome, Uncertain)
    assert await shop.received() == 0
    assert shop.gas_key.address in await shop.facilitator.problem()


async def test_gas_that_comes_later_settles_what_waited(shop: OwnShop) -> None:
    proof = await shop.proof()
    await shop.chain.give_gas(shop.gas_key.address, 1)
    await shop.rail.settle(proof)
    await shop.chain.give_gas(shop.gas_key.address)

    assert isinstance(await shop.rail.settle(proof), Settled)


async def test_gas_dearer_than_our_limit_is_not_bought(shop: OwnShop) -> None:
    proof = await shop.proof()
    await shop.chain.anvil.call("anvil_setNextBlockBaseFeePerGas", [hex(60 * 10**9)])
    await shop.chain.anvil.call("evm_mine", [])

    assert isinstance(await shop.rail.settle(proof), Uncertain)
    assert "is the most we pay" in await shop.facilitator.problem()
    assert await shop.gas_sent() == 0


async def test_a_silent_node_is_no_refusal(shop: OwnShop) -> None:
    payment = await shop.pay()
    proof = await shop.decoded(payment)
    shop.node.deaf.add("eth_call")

    with pytest.raises(ConnectionError):
        await shop.facilitator.verify(payment, payment.accepted)
    with pytest.raises(RailDownError):
        await shop.rail.verify(proof, shop.purchase())
    assert isinstance(await shop.rail.settle(proof), Uncertain)
    assert await shop.gas_sent() == 0


async def test_a_deployed_contract_wallet_pays_as_itself(shop: OwnShop) -> None:
    wallet = Account.create().address
    await shop.chain.place(wallet, bytes.fromhex(WALLET_CODE.read_text("ascii").strip()))
    adopt = keccak(text="adopt(address)")[:4] + encode(["address"], [shop.buyer.address])
    await shop.chain.send(shop.buyer.address, wallet, adopt)
    await shop.chain.mint(wallet, PRICE)
    payment = changed(await shop.pay(), **{"from": wallet})
    signature = sign(payment.payload["authorization"], shop.buyer) + b"\x01"
    payment.payload["signature"] = "0x" + signature.hex()
    proof = await shop.decoded(payment)

    await shop.rail.verify(proof, shop.purchase())
    settled = await shop.rail.settle(proof)

    assert isinstance(settled, Settled)
    assert settled.payer == wallet.lower()


async def test_a_wallet_that_is_not_deployed_is_refused(shop: OwnShop) -> None:
    payment = changed(await shop.pay(), **{"from": Account.create().address})
    payment.payload["signature"] += "01"

    with pytest.raises(PaymentRefusedError, match="not deployed"):
        await shop.rail.verify(await shop.decoded(payment), shop.purchase())


async def test_nobody_makes_us_pay_for_deploying_a_wallet(shop: OwnShop) -> None:
    payment = changed(await shop.pay(), **{"from": Account.create().address})
    inner = bytes.fromhex(payment.payload["signature"][2:])
    # ERC-6492: a factory, what to call it with, the signature, and a word that says so.
    wrapped = encode(
        ["address", "bytes", "bytes"], ["0x" + "fa" * 20, b"deploy", inner]
    ) + bytes.fromhex(ERC6492_MAGIC_VALUE.hex())
    payment.payload["signature"] = "0x" + wrapped.hex()

    with pytest.raises(PaymentRefusedError):
        await shop.rail.verify(await shop.decoded(payment), shop.purchase())
    answer = await shop.facilitator.settle(payment, payment.accepted)

    assert (answer.success, await shop.gas_sent()) == (False, 0)


async def test_a_node_of_another_chain_is_no_use(shop: OwnShop) -> None:
    await shop.chain.anvil.call("anvil_setChainId", [BASE_SEPOLIA.chain_id])
    shop.restart()

    with pytest.raises(RailDownError):
        await shop.rail.challenge(shop.purchase())
    with pytest.raises(WrongChainError):
        await shop.reader.check_chain()
    assert str(BASE_SEPOLIA.chain_id) in await shop.facilitator.problem()


async def test_what_has_expired_on_the_chain_is_over(shop: OwnShop) -> None:
    proof = await shop.proof()
    await shop.chain.pass_time(200)

    assert isinstance(await shop.rail.settle(proof), Rejected)
    assert await shop.rail.lookup(proof) == Absent(final=True)
    assert await shop.gas_sent() == 0


async def test_a_refund_is_paid_once_however_often_it_is_prepared(shop: OwnShop) -> None:
    till = Account.create()
    await shop.chain.mint(till.address, 3 * PRICE)
    payouts = X402Payouts(shop.rail, till, network=BASE, chain=shop.reader, clock=SystemClock())
    payout = Payout(refund_id=REFUND, chain="evm", wallet=PAY_TO, amount=Microcredits(PRICE))
    first, second = await payouts.prepare(payout), await payouts.prepare(payout)

    settled = await payouts.settle(first)
    again = await payouts.settle(second)

    assert first.key == second.key
    assert isinstance(settled, Settled)
    assert again == settled
    assert await payouts.funds() == Microcredits(2 * PRICE)
    assert await shop.received() == PRICE


def twin_of(signature: str) -> str:
    """The other signature of the same key over the same words: its s beyond half the order."""
    raw = bytes.fromhex(signature[2:])
    high_s = ORDER - int.from_bytes(raw[32:64])
    other_v = 27 + (28 - raw[64])
    return "0x" + (raw[:32] + high_s.to_bytes(32) + bytes([other_v])).hex()
