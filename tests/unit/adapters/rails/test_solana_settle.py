"""No dollar lost on Solana and none counted twice, whatever the facilitator says or does not."""

from __future__ import annotations

import asyncio

import pytest
from solders.hash import Hash
from solders.instruction import Instruction
from solders.keypair import Keypair
from x402.schemas import SettleResponse, SupportedResponse

from adapters.rails.networks import SOLANA
from adapters.rails.rpc import Rpc
from adapters.rails.solana_signer import SolanaFacilitator, SolanaSigner
from adapters.rails.solana_transfer import MEMO_PROGRAM
from adapters.sandbox.solana_facilitator import FaultyFacilitator, Payload, Requirements
from adapters.sandbox.solana_rpc import SolanaNode
from domain.errors import PaymentRefusedError, RailDownError
from domain.ports.payments import Absent, Proof, Rejected, Settled, Uncertain
from tests.fakes.solana_sandbox import FEE_PAYER, MUCH, PAY_TO, SolanaSandbox

PRICE = 100_000


@pytest.fixture
def cluster() -> SolanaSandbox:
    return SolanaSandbox()


def spend(cluster: SolanaSandbox, amount: int) -> None:
    """The buyer moves money elsewhere."""
    elsewhere = str(Keypair().pubkey())
    cluster.chain.fund(elsewhere, 0)
    cluster.carry(cluster.transaction(amount, to=elsewhere))


class NaiveSigner(SolanaSigner):
    """As the library's: what is confirmed is paid, whether it failed or not."""

    def simulate_transaction(self, tx_base64: str, network: str) -> None: ...

    def confirm_transaction(
        self, signature: str, network: str, timeout_seconds: int = 30
    ) -> None: ...


class Told:
    """A node whose answers are changed on the way."""

    def __init__(self, node: Rpc, **answers: object) -> None:
        self._node = node
        self._answers = answers
        self.asked: list[str] = []

    async def call(self, method: str, params: list[object]) -> object:
        self.asked.append(method)
        answer = self._answers.get(method, self)
        return await self._node.call(method, params) if answer is self else answer


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
    spend(cluster, 1)

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
    spend(cluster, 1)
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
    spend(cluster, 1)

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

    with pytest.raises(RailDownError):
        await rail.verify(await cluster.proof_of(transaction), cluster.purchase())


async def test_a_node_that_is_late_may_not_say_that_a_payment_is_over(
    cluster: SolanaSandbox,
) -> None:
    """Of two nodes behind one address one knows the end, and the other has not come so far."""
    ahead = {"context": {"slot": cluster.chain.slot() + 10_000}, "value": False}
    proof = await cluster.proof()
    cluster.expire()

    found = await cluster.new_rail(rpc=Told(cluster.node, isBlockhashValid=ahead)).lookup(proof)

    assert found == Uncertain("")


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


async def test_a_payee_without_a_token_account_takes_no_payments() -> None:
    """Payments create no accounts, so each would fail after it was signed."""
    cluster = SolanaSandbox()
    told = Told(cluster.node, getAccountInfo={"value": None})

    with pytest.raises(RailDownError):
        await cluster.new_rail(rpc=told).challenge(cluster.purchase())


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


async def test_what_expired_unseen_is_over_only_after_a_while(cluster: SolanaSandbox) -> None:
    """The chain calls it invalid long before; nodes are late, and not all alike."""
    proof = await cluster.proof()
    cluster.clock.advance(150_000)
    early = await cluster.rail.lookup(proof)
    cluster.clock.advance(40_000)

    assert (early, await cluster.rail.lookup(proof)) == (Absent(final=False), Absent(final=True))


async def test_a_blockhash_that_is_still_good_is_never_over(cluster: SolanaSandbox) -> None:
    """Slots can be slow: the chain's count matters, not the clock's."""
    told = Told(cluster.node, isBlockhashValid={"value": True})
    proof = await cluster.proof()
    cluster.expire()

    assert await cluster.new_rail(rpc=told).lookup(proof) == Absent(final=False)


async def test_a_transaction_announced_and_not_shown_leaves_it_uncertain(
    cluster: SolanaSandbox,
) -> None:
    proof = await cluster.proof()
    await cluster.rail.settle(proof)
    cluster.expire()
    told = Told(cluster.node, getTransaction=None)

    assert await cluster.new_rail(rpc=told).lookup(proof) == Uncertain("")


@pytest.mark.parametrize("gained", ["99999", "100001"])
async def test_our_account_must_have_gained_exactly_the_amount(
    cluster: SolanaSandbox, gained: str
) -> None:
    proof = await cluster.proof()
    settled = await cluster.rail.settle(proof)
    assert isinstance(settled, Settled)
    how = {"encoding": "base64", "commitment": "confirmed"}
    told = await cluster.node.call("getTransaction", [settled.reference, how])
    assert isinstance(told, dict)
    for held in told["meta"]["postTokenBalances"]:
        if held["owner"] == PAY_TO:
            held["uiTokenAmount"]["amount"] = gained
    rail = cluster.new_rail(rpc=Told(cluster.node, getTransaction=told))

    assert await rail.lookup(proof) == Absent(final=True)


async def test_a_payment_is_found_behind_many_others(cluster: SolanaSandbox) -> None:
    proof = await cluster.proof_of(cluster.transaction(PRICE))
    await cluster.rail.settle(proof)
    for amount in range(1, 30):
        spend(cluster, amount)
    told = Told(cluster.node)

    assert isinstance(await cluster.new_rail(rpc=told).lookup(proof), Settled)
    # The others' memos say that they are others.
    assert told.asked.count("getTransaction") == 1


async def test_a_payment_without_a_memo_is_found_too(cluster: SolanaSandbox) -> None:
    bare = [*cluster.fees(), cluster.transfer(PRICE)]
    proof = await cluster.proof_of(cluster.transaction(steps=bare))
    cluster.faults.lose_answer = True

    assert isinstance(await cluster.rail.settle(proof), Settled)


async def test_a_payment_whose_memo_is_no_text_is_found_too(cluster: SolanaSandbox) -> None:
    """The memo program refuses it; the transaction fails, and is over."""
    steps = [*cluster.fees(), cluster.transfer(PRICE), Instruction(MEMO_PROGRAM, b"\xff", [])]
    transaction = cluster.transaction(steps=steps)
    cluster.carry(transaction)

    assert await cluster.rail.lookup(await cluster.proof_of(transaction)) == Absent(final=True)


@pytest.mark.parametrize("hint", ["", "anything", "1" * 88])
async def test_a_wrong_name_from_the_facilitator_misleads_nobody(
    cluster: SolanaSandbox, hint: str
) -> None:
    class Liar(FaultyFacilitator):
        async def settle(self, payload: Payload, requirements: Requirements) -> SettleResponse:
            answer = await super().settle(payload, requirements)
            return answer.model_copy(update={"transaction": hint})

    liar = Liar(cluster.own, cluster.clock, cluster.faults)
    proof = await cluster.proof()

    assert isinstance(await cluster.new_rail(facilitator=liar).settle(proof), Settled)


async def test_the_name_of_another_payment_is_no_payment(cluster: SolanaSandbox) -> None:
    first = await cluster.rail.settle(await cluster.proof())
    assert isinstance(first, Settled)

    class Liar(FaultyFacilitator):
        async def settle(self, payload: Payload, requirements: Requirements) -> SettleResponse:
            return SettleResponse(success=True, transaction=first.reference, network=SOLANA.caip2)

    liar = Liar(cluster.own, cluster.clock, cluster.faults)

    outcome = await cluster.new_rail(facilitator=liar).settle(await cluster.proof())

    assert outcome == Uncertain(first.reference)


async def test_no_sale_to_a_facilitator_that_cannot_ask_its_node(cluster: SolanaSandbox) -> None:
    def silent(method: str, _params: list[object]) -> object:
        raise ConnectionError(method)

    facilitator = SolanaFacilitator(SolanaSigner(FEE_PAYER, silent), SOLANA.caip2)
    rail = cluster.new_rail(facilitator=facilitator)

    with pytest.raises(RailDownError):
        await rail.verify(await cluster.proof(), cluster.purchase())


async def test_many_wallets_at_once_lose_nothing(cluster: SolanaSandbox) -> None:
    proofs: list[Proof] = []
    for number in range(1, 33):
        buyer = Keypair.from_seed(bytes([number + 100]) * 32)
        cluster.chain.fund(str(buyer.pubkey()), PRICE)
        proofs.append(await cluster.proof_of(cluster.transaction(payer=buyer)))

    outcomes = await asyncio.gather(*(cluster.rail.settle(proof) for proof in proofs))

    assert all(isinstance(outcome, Settled) for outcome in outcomes)
    assert cluster.received() == 32 * PRICE
