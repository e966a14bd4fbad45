"""Which Solana payments are good now: the chain says, and the facilitator."""

from __future__ import annotations

import base64

import pytest
from solders.hash import Hash
from solders.keypair import Keypair
from x402.schemas import SupportedResponse

from adapters.rails.networks import SOLANA
from adapters.rails.solana_signer import SolanaFacilitator, SolanaSigner
from adapters.rails.solana_transfer import token_account
from adapters.sandbox.solana_facilitator import FaultyFacilitator
from adapters.sandbox.solana_rpc import SolanaNode
from domain.errors import PaymentRefusedError, PaymentUncertainError, RailDownError
from domain.ports.payments import Settled
from tests.fakes.solana_sandbox import FEE_PAYER, MUCH, PAY_TO, SolanaSandbox, Told

PRICE = 100_000


@pytest.fixture
def cluster() -> SolanaSandbox:
    return SolanaSandbox()


async def test_a_payment_that_somebody_else_carried_is_ours_while_it_is_fresh(
    cluster: SolanaSandbox,
) -> None:
    transaction = cluster.transaction()
    reference = cluster.carry(transaction)
    proof = await cluster.proof_of(transaction)

    await cluster.rail.verify(proof, cluster.purchase())

    settled = await cluster.rail.settle(proof)
    assert isinstance(settled, Settled)
    assert settled.reference == reference


async def test_a_payment_carried_long_ago_buys_nothing_now(cluster: SolanaSandbox) -> None:
    transaction = cluster.transaction()
    cluster.carry(transaction)
    cluster.expire()

    with pytest.raises(PaymentRefusedError, match="expired"):
        await cluster.rail.verify(await cluster.proof_of(transaction), cluster.purchase())


async def test_a_payment_that_failed_on_the_chain_is_not_tried_again(
    cluster: SolanaSandbox,
) -> None:
    transaction = cluster.transaction(MUCH + 1)
    cluster.carry(transaction)
    proof = await cluster.proof_of(transaction, MUCH + 1)

    with pytest.raises(PaymentRefusedError, match="already used"):
        await cluster.rail.verify(proof, cluster.purchase(MUCH + 1))


async def test_a_payment_on_its_way_to_being_confirmed_is_neither_refused_nor_sold(
    cluster: SolanaSandbox,
) -> None:
    transaction = cluster.transaction()
    cluster.carry(transaction)
    rail = cluster.new_rail(rpc=Told(cluster.node, getSignaturesForAddress=[]))

    with pytest.raises(PaymentUncertainError):
        await rail.verify(await cluster.proof_of(transaction), cluster.purchase())


async def test_a_fee_payer_who_does_not_settle_for_us_is_refused(cluster: SolanaSandbox) -> None:
    stranger = Keypair().pubkey()
    headers = cluster.presented(
        cluster.transaction(fee_payer=stranger), extra={"feePayer": str(stranger)}
    )
    proof = await cluster.rail.decode(headers, cluster.purchase())
    assert proof is not None

    with pytest.raises(PaymentRefusedError, match="fee payer"):
        await cluster.rail.verify(proof, cluster.purchase())


async def test_a_blockhash_that_nobody_knows_is_refused(cluster: SolanaSandbox) -> None:
    proof = await cluster.proof_of(cluster.transaction(blockhash=Hash.new_unique()))

    with pytest.raises(PaymentRefusedError, match="expired"):
        await cluster.rail.verify(proof, cluster.purchase())


async def test_a_wallet_without_a_token_account_is_refused(cluster: SolanaSandbox) -> None:
    poor = Keypair()
    proof = await cluster.proof_of(cluster.transaction(payer=poor))

    with pytest.raises(PaymentRefusedError, match="would refuse"):
        await cluster.rail.verify(proof, cluster.purchase())


async def test_a_wallet_with_too_little_is_told_so(cluster: SolanaSandbox) -> None:
    proof = await cluster.proof_of(cluster.transaction(MUCH + 1), MUCH + 1)

    with pytest.raises(PaymentRefusedError, match="does not hold enough USDC"):
        await cluster.rail.verify(proof, cluster.purchase(MUCH + 1))


async def test_a_fee_payer_without_lamports_is_our_trouble(cluster: SolanaSandbox) -> None:
    poor = Keypair()
    node = SolanaNode(cluster.chain)
    facilitator = SolanaFacilitator(SolanaSigner(poor, node.answer), SOLANA.caip2)
    rail = cluster.new_rail(facilitator=facilitator)
    headers = cluster.presented(
        cluster.transaction(fee_payer=poor.pubkey()), extra={"feePayer": str(poor.pubkey())}
    )
    proof = await rail.decode(headers, cluster.purchase())
    assert proof is not None

    with pytest.raises(RailDownError):
        await rail.verify(proof, cluster.purchase())


@pytest.mark.parametrize("change", ["none", "given away", "of another token", "no token account"])
async def test_a_payee_without_a_token_account_takes_no_payments(
    cluster: SolanaSandbox, change: str
) -> None:
    """Payments create no accounts, so each would fail after it was signed."""
    account = token_account(PAY_TO, SOLANA.usdc)
    told = await cluster.node.call("getAccountInfo", [account, {"encoding": "base64"}])
    assert isinstance(told, dict)
    value = told["value"]
    raw = bytearray(base64.b64decode(value["data"][0]))
    raw[32 if change == "given away" else 0] ^= 1
    value["data"][0] = base64.b64encode(raw).decode()
    if change == "no token account":
        value["owner"] = "1" * 32
    answer = {"value": None if change == "none" else value}
    rail = cluster.new_rail(rpc=Told(cluster.node, getAccountInfo=answer))

    with pytest.raises(RailDownError):
        await rail.challenge(cluster.purchase())


async def test_a_facilitator_without_solana_takes_no_payments(cluster: SolanaSandbox) -> None:
    class Elsewhere(FaultyFacilitator):
        def get_supported(self) -> SupportedResponse:
            return SupportedResponse(kinds=[], extensions=[], signers={})

    elsewhere = Elsewhere(cluster.own, cluster.clock, cluster.faults)

    with pytest.raises(RailDownError):
        await cluster.new_rail(facilitator=elsewhere).challenge(cluster.purchase())


async def test_a_facilitator_that_changes_its_fee_payer_is_asked_anew(
    cluster: SolanaSandbox,
) -> None:
    class Changing(FaultyFacilitator):
        def get_supported(self) -> SupportedResponse:
            return self._inner.get_supported()

    changing = Changing(cluster.own, cluster.clock, cluster.faults)
    rail = cluster.new_rail(facilitator=changing)
    proof = await cluster.proof()
    await rail.verify(proof, cluster.purchase())
    new = Keypair()
    cluster.chain.fund(str(new.pubkey()), 0, lamports=10**9)
    signer = SolanaSigner(new, SolanaNode(cluster.chain).answer)
    changing._inner = SolanaFacilitator(signer, SOLANA.caip2)

    with pytest.raises(PaymentRefusedError, match="fee_payer_not_managed"):
        await rail.verify(proof, cluster.purchase())

    assert await rail.fee_payer() == str(new.pubkey())


async def test_no_sale_to_a_facilitator_that_cannot_ask_its_node(cluster: SolanaSandbox) -> None:
    def silent(method: str, _params: list[object]) -> object:
        raise ConnectionError(method)

    facilitator = SolanaFacilitator(SolanaSigner(FEE_PAYER, silent), SOLANA.caip2)
    rail = cluster.new_rail(facilitator=facilitator)

    with pytest.raises(RailDownError):
        await rail.verify(await cluster.proof(), cluster.purchase())
