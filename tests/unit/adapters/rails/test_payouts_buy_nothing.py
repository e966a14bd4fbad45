"""What we pay back is public once it is sent: shown to us as a payment, it buys nothing."""

from __future__ import annotations

import base64
import json
from uuid import UUID

import pytest
from eth_account import Account

from adapters.rails.chain import EvmChainReader
from adapters.rails.networks import BASE, SOLANA
from adapters.rails.solana_chain import SolanaReader
from adapters.rails.solana_payouts import SolanaPayouts
from adapters.rails.x402_payouts import X402Payouts
from domain.errors import PaymentRefusedError
from domain.money import Microcredits
from domain.ports.payments import Payout, Proof
from tests.fakes.sandbox import Sandbox
from tests.fakes.solana_sandbox import BUYER, TILL, SolanaSandbox
from tests.fakes.tron_sandbox import BUYER as TRON_BUYER
from tests.fakes.tron_sandbox import tron_sandbox

PRICE = 100_000


def payout(chain: str, wallet: str) -> Payout:
    return Payout(refund_id=UUID(int=1), chain=chain, wallet=wallet, amount=Microcredits(PRICE))


def header(payment: object) -> dict[str, str]:
    return {"payment-signature": base64.b64encode(json.dumps(payment).encode()).decode("ascii")}


def shown(proof: Proof) -> dict[str, str]:
    """A payout as an x402 payment, with the terms that it was made for."""
    return header(json.loads(proof.payload))


def with_our_terms(proof: Proof, pay_to: str) -> dict[str, str]:
    """The same, said to be what we ask our customers for."""
    payment = json.loads(proof.payload)
    payment["accepted"]["payTo"] = pay_to
    return header(payment)


async def test_a_payout_on_base_buys_nothing() -> None:
    sandbox = Sandbox()
    till = Account.create()
    chain = EvmChainReader(sandbox.node)
    payouts = X402Payouts(sandbox.rail, till, network=BASE, chain=chain, clock=sandbox.clock)
    proof = await payouts.prepare(payout("evm", sandbox.buyer.address.lower()))
    asked = await sandbox.rail.asked(sandbox.purchase(PRICE))

    for headers in (shown(proof), with_our_terms(proof, asked.terms.pay_to)):
        with pytest.raises(PaymentRefusedError):
            await sandbox.rail.decode(headers, sandbox.purchase(PRICE))


async def test_a_payout_on_solana_buys_nothing() -> None:
    cluster = SolanaSandbox()
    chain = SolanaReader(cluster.node)
    payouts = SolanaPayouts(cluster.rail, TILL, network=SOLANA, chain=chain)
    proof = await payouts.prepare(payout("solana", str(BUYER.pubkey())))
    asked = await cluster.rail.asked(cluster.purchase(PRICE))

    for headers in (shown(proof), with_our_terms(proof, asked.terms.pay_to)):
        with pytest.raises(PaymentRefusedError):
            await cluster.rail.decode(headers, cluster.purchase(PRICE))


@pytest.mark.anvil
async def test_a_payout_on_tron_buys_nothing() -> None:
    async with tron_sandbox() as sandbox:
        proof = await sandbox.new_payout().prepare(payout("tron", TRON_BUYER))
        asked = await sandbox.rail.challenge(sandbox.purchase(PRICE))
        accepted = asked.terms["accepts"][0]  # type: ignore[index]  # as the protocol has it
        payment = {
            "x402Version": 2,
            "accepted": accepted,
            "payload": json.loads(proof.payload),
        }

        with pytest.raises(PaymentRefusedError):
            await sandbox.rail.decode(header(payment), sandbox.purchase(PRICE))
