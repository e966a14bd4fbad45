"""No dollar lost on Solana and none counted twice, whatever the facilitator says or does not."""

from __future__ import annotations

import asyncio

import pytest
from solders.keypair import Keypair
from x402.schemas import SettleResponse

from adapters.rails.networks import SOLANA
from adapters.rails.solana_signer import SolanaFacilitator, SolanaSigner
from adapters.sandbox.solana_facilitator import FaultyFacilitator, Payload, Requirements
from adapters.sandbox.solana_rpc import SolanaNode
from domain.ports.payments import Absent, Proof, Rejected, Settled, Uncertain
from tests.fakes.solana_sandbox import FEE_PAYER, MUCH, SolanaSandbox, Told

PRICE = 100_000


@pytest.fixture
def cluster() -> SolanaSandbox:
    return SolanaSandbox()


class NaiveSigner(SolanaSigner):
    """As the library's: what is confirmed is paid, whether it failed or not."""

    def simulate_transaction(self, tx_base64: str, network: str) -> None: ...

    def confirm_transaction(
        self, signature: str, network: str, timeout_seconds: int = 30
    ) -> None: ...


async def test_a_good_payment_is_settled_and_named(cluster: SolanaSandbox) -> None:
    proof = await cluster.proof()
    await cluster.rail.verify(proof, cluster.purchase())

    settled = await cluster.rail.settle(proof)

    assert isinstance(settled, Settled)
    landed = cluster.chain.find(settled.reference)
    assert landed is not None
    assert landed.ran.error is None
    assert cluster.received() == PRICE


async def test_money_spent_between_verify_and_settle_is_no_payment(cluster: SolanaSandbox) -> None:
    proof = await cluster.proof(MUCH)
    await cluster.rail.verify(proof, cluster.purchase(MUCH))
    cluster.spend(1)

    outcome = await cluster.rail.settle(proof)

    assert outcome == Rejected("the wallet does not hold enough USDC")
    assert cluster.received() == 0


async def test_a_transaction_that_failed_on_the_chain_is_no_payment_whoever_says_so(
    cluster: SolanaSandbox,
) -> None:
    """The library's own signer takes confirmed for paid, and its facilitator reports success."""
    naive = NaiveSigner(FEE_PAYER, SolanaNode(cluster.chain).answer)
    facilitator = SolanaFacilitator(naive, SOLANA.caip2)
    proof = await cluster.proof(MUCH)
    cluster.spend(1)
    rail = cluster.new_rail(facilitator=facilitator)

    outcome = await rail.settle(proof)

    assert outcome == Rejected("the transaction failed on the chain, or has expired")
    assert await rail.lookup(proof) == Absent(final=True)
    assert cluster.received() == 0


async def test_our_own_facilitator_tells_a_failed_transaction_from_a_late_one(
    cluster: SolanaSandbox,
) -> None:
    class Trusting(SolanaSigner):
        def simulate_transaction(self, tx_base64: str, network: str) -> None: ...

    facilitator = SolanaFacilitator(
        Trusting(FEE_PAYER, SolanaNode(cluster.chain).answer), SOLANA.caip2
    )
    payment = await cluster.pay(cluster.purchase(MUCH))
    cluster.spend(1)

    answer = await facilitator.settle(payment, payment.accepted)

    assert not answer.success
    assert answer.error_reason == "transaction_failed"
    assert "Custom" in (answer.error_message or "")


async def test_success_that_is_only_said_is_not_believed(cluster: SolanaSandbox) -> None:
    cluster.faults.feign_success = True
    proof = await cluster.proof()

    assert isinstance(await cluster.rail.settle(proof), Uncertain)
    assert await cluster.rail.lookup(proof) == Absent(final=False)


async def test_a_lost_answer_is_found_among_the_payers_transactions(
    cluster: SolanaSandbox,
) -> None:
    cluster.faults.lose_answer = True
    proof = await cluster.proof()

    outcome = await cluster.rail.settle(proof)

    assert isinstance(outcome, Settled)
    assert cluster.received() == PRICE


async def test_a_denied_success_is_found_on_the_chain(cluster: SolanaSandbox) -> None:
    cluster.faults.deny_success = True

    assert isinstance(await cluster.rail.settle(await cluster.proof()), Settled)


async def test_an_answer_slower_than_we_wait_loses_nothing() -> None:
    class Slow(FaultyFacilitator):
        async def settle(self, payload: Payload, requirements: Requirements) -> SettleResponse:
            await super().settle(payload, requirements)
            await asyncio.Event().wait()
            raise AssertionError

    cluster = SolanaSandbox()
    slow = Slow(cluster.own, cluster.clock, cluster.faults)
    rail = cluster.new_rail(facilitator=slow, settle_timeout_ms=200)

    assert isinstance(await rail.settle(await cluster.proof()), Settled)
    assert cluster.received() == PRICE


async def test_a_payment_sent_twice_is_paid_once(cluster: SolanaSandbox) -> None:
    cluster.faults.send_twice = True

    assert isinstance(await cluster.rail.settle(await cluster.proof()), Settled)
    assert cluster.received() == PRICE


async def test_a_copy_that_has_landed_unseen_is_uncertain_and_not_rejected(
    cluster: SolanaSandbox,
) -> None:
    """The facilitator's simulation fails because it is paid, and our node is late to list it."""
    transaction = cluster.transaction()
    cluster.carry(transaction)
    proof = await cluster.proof_of(transaction)
    rail = cluster.new_rail(rpc=Told(cluster.node, getSignaturesForAddress=[]))

    assert isinstance(await rail.settle(proof), Uncertain)


async def test_a_facilitator_that_forgot_is_asked_again_and_nothing_moves_twice(
    cluster: SolanaSandbox,
) -> None:
    proof = await cluster.proof()
    first = await cluster.rail.settle(proof)
    forgetful = SolanaFacilitator(
        SolanaSigner(FEE_PAYER, SolanaNode(cluster.chain).answer), SOLANA.caip2
    )

    assert await cluster.new_rail(facilitator=forgetful).settle(proof) == first
    assert cluster.received() == PRICE


async def test_payments_that_reach_the_chain_in_another_order_are_all_paid(
    cluster: SolanaSandbox,
) -> None:
    cluster.faults.reorder = True
    proofs = [await cluster.proof_of(cluster.transaction(amount), amount) for amount in (1, 2)]

    outcomes = await asyncio.gather(*(cluster.rail.settle(proof) for proof in proofs))

    assert all(isinstance(outcome, Settled) for outcome in outcomes)
    assert cluster.received() == 3


async def test_many_wallets_at_once_lose_nothing(cluster: SolanaSandbox) -> None:
    proofs: list[Proof] = []
    for number in range(1, 33):
        buyer = Keypair.from_seed(bytes([number + 100]) * 32)
        cluster.chain.fund(str(buyer.pubkey()), PRICE)
        proofs.append(await cluster.proof_of(cluster.transaction(payer=buyer)))

    outcomes = await asyncio.gather(*(cluster.rail.settle(proof) for proof in proofs))

    assert all(isinstance(outcome, Settled) for outcome in outcomes)
    assert cluster.received() == 32 * PRICE
