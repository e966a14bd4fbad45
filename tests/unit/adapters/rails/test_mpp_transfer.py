"""What a signed transaction must be, and that no transaction of a stranger breaks us."""

from __future__ import annotations

import pytest
import rlp  # type: ignore[import-untyped]  # ships no types
from eth_abi.abi import encode
from hypothesis import given
from hypothesis import strategies as st
from mpp import Challenge
from mpp.methods.tempo.intents import (
    APPROVE_SELECTOR,
    STABLECOIN_DEX,
    SWAP_EXACT_AMOUNT_OUT_SELECTOR,
)
from pytempo import Call  # type: ignore[import-untyped]  # ships no types

from adapters.rails.mpp_networks import TEMPO
from adapters.rails.mpp_transfer import TempoTransfer, read_signed
from domain.errors import PaymentRefusedError
from domain.money import Microcredits
from tests.fakes.mpp_payer import (
    HONEST,
    PATH_USD,
    Payer,
    ScriptedNode,
    Signing,
    memo_for,
    transaction_headers,
    transfer_words,
)


@pytest.fixture
def payer() -> Payer:
    return Payer(ScriptedNode())


async def refusal_of(payer: Payer, headers: dict[str, str]) -> str:
    with pytest.raises(PaymentRefusedError) as refused:
        await payer.new_rail().decode(headers, payer.purchase())
    return refused.value.reason


async def test_a_transaction_without_an_end_is_refused(payer: Payer) -> None:
    headers = await payer.pay(signing=Signing(window_s=None))

    assert "valid-before" in await refusal_of(payer, headers)


async def test_a_transaction_whose_end_is_far_is_refused(payer: Payer) -> None:
    headers = await payer.pay(signing=Signing(window_s=3_600))

    assert "valid-before" in await refusal_of(payer, headers)


async def test_a_transaction_that_waits_for_a_sponsor_is_refused(payer: Payer) -> None:
    challenge = await payer.asked()
    sponsored = "0x78" + payer.signed(challenge).removeprefix("0x76")

    await refusal_of(payer, transaction_headers(challenge, sponsored))


async def test_the_two_ways_to_write_a_signature_are_one_payment(payer: Payer) -> None:
    challenge = await payer.asked()
    raw = payer.signed(challenge)
    fields = rlp.decode(bytes.fromhex(raw[4:]))
    signature = fields[-1]
    fields[-1] = signature[:64] + bytes([signature[64] - 27])
    twin = "0x76" + rlp.encode(fields).hex()

    proof = await payer.decoded(transaction_headers(challenge, raw))

    assert twin != raw
    assert await payer.decoded(transaction_headers(challenge, twin)) == proof


async def test_dollars_that_are_bought_on_the_way_need_not_be_held(payer: Payer) -> None:
    challenge = await payer.asked()
    raw = payer.sealed(bought_and_paid(challenge))
    proof = await payer.decoded(transaction_headers(challenge, raw))
    payer.node = ScriptedNode(
        eth_getBlockByNumber={"timestamp": hex(payer.clock.now_ms() // 1000)},
        eth_getTransactionReceipt=None,
        eth_call=hex(25_000),
    )

    await payer.new_rail().verify(proof, payer.purchase())

    assert TempoTransfer.of(proof).swaps


def bought_and_paid(challenge: Challenge) -> tuple[Call, ...]:
    """Approve the exchange, buy the dollars asked for with others, and pay with them."""
    amount, most = int(challenge.request["amount"]), 200_000
    approval = encode(["address", "uint256"], [STABLECOIN_DEX, most]).hex()
    swap = encode(
        ["address", "address", "uint128", "uint128"], [PATH_USD, TEMPO.token, amount, most]
    ).hex()
    paid = transfer_words(challenge.request["recipient"], amount, memo_for(challenge))
    return (
        Call.create(to=PATH_USD, data=f"0x{APPROVE_SELECTOR}{approval}"),
        Call.create(to=STABLECOIN_DEX, data=f"0x{SWAP_EXACT_AMOUNT_OUT_SELECTOR}{swap}"),
        Call.create(to=TEMPO.token, data=paid),
    )


@pytest.mark.parametrize("raw", ["0x78c0", "0x76", "0x76c0", "0x7680", "0x76c3808080"])
def test_what_is_no_signed_transaction_is_told_so(raw: str) -> None:
    with pytest.raises(ValueError, match="transaction"):
        read_signed(raw)


@given(noise=st.binary(max_size=200), at=st.integers(0, 300))
async def test_no_transaction_of_a_stranger_breaks_it(noise: bytes, at: int) -> None:
    payer = Payer(ScriptedNode())
    challenge = await payer.asked()
    raw = bytes.fromhex(payer.signed(challenge, HONEST)[2:])
    spoilt = raw[:at] + noise + raw[at + len(noise) :]

    try:
        proof = await payer.decoded(transaction_headers(challenge, "0x" + spoilt.hex()))
    except PaymentRefusedError:
        return

    # Only what says the same of everything that we go by is a payment.
    assert proof.amount == Microcredits(100_000)
