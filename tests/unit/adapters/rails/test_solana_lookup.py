"""What became of a Solana payment: found wherever it is, and over only when it can be."""

from __future__ import annotations

import json

import pytest
from solders.instruction import Instruction
from x402.schemas import SettleResponse

from adapters.rails.networks import SOLANA
from adapters.rails.solana_chain import Paid, SolanaReader
from adapters.rails.solana_transfer import MEMO_PROGRAM, SolanaTransfer
from adapters.sandbox.solana_facilitator import FaultyFacilitator, Payload, Requirements
from domain.ports.payments import Absent, Settled, Uncertain
from tests.fakes.solana_sandbox import PAY_TO, SolanaSandbox, Told

PRICE = 100_000


@pytest.fixture
def cluster() -> SolanaSandbox:
    return SolanaSandbox()


async def test_a_node_that_is_late_may_not_say_that_a_payment_is_over(
    cluster: SolanaSandbox,
) -> None:
    """Of two nodes behind one address one knows the end, and the other has not come so far."""
    ahead = {"context": {"slot": cluster.chain.slot() + 10_000}, "value": False}
    proof = await cluster.proof()
    cluster.expire()

    found = await cluster.new_rail(rpc=Told(cluster.node, isBlockhashValid=ahead)).lookup(proof)

    assert found == Uncertain("")


async def test_what_expired_unseen_is_over_only_after_a_while(cluster: SolanaSandbox) -> None:
    """The chain calls it invalid long before; nodes are late, and not all alike."""
    proof = await cluster.proof()
    cluster.clock.advance(150_000)
    early = await cluster.rail.lookup(proof)
    cluster.clock.advance(40_000)

    assert (early, await cluster.rail.lookup(proof)) == (Absent(final=False), Absent(final=True))


async def test_a_node_of_another_cluster_gives_no_payment_up(cluster: SolanaSandbox) -> None:
    """There no blockhash of ours is known, so that every one looks over."""
    told = Told(cluster.node, getGenesisHash="EtWTRABZaYq6iMfeYKouRu166VU2xqa1wcaWoxPkrZBG")
    proof = await cluster.proof()
    cluster.expire()

    assert await cluster.new_rail(rpc=told).lookup(proof) == Uncertain("")


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


async def test_what_failed_is_no_payment_whatever_the_balances_say(
    cluster: SolanaSandbox,
) -> None:
    proof = await cluster.proof()
    settled = await cluster.rail.settle(proof)
    assert isinstance(settled, Settled)
    how = {"encoding": "base64", "commitment": "confirmed"}
    told = await cluster.node.call("getTransaction", [settled.reference, how])
    assert isinstance(told, dict)
    told["meta"]["err"] = "AccountInUse"
    rail = cluster.new_rail(rpc=Told(cluster.node, getTransaction=told))

    assert await rail.lookup(proof) == Absent(final=True)


async def test_a_payment_is_found_behind_many_others(cluster: SolanaSandbox) -> None:
    proof = await cluster.proof_of(cluster.transaction(PRICE))
    await cluster.rail.settle(proof)
    for amount in range(1, 30):
        cluster.spend(amount)
    told = Told(cluster.node)

    assert isinstance(await cluster.new_rail(rpc=told).lookup(proof), Settled)
    # The others' memos say that they are others.
    assert told.asked.count("getTransaction") == 1


async def test_a_payment_is_found_pages_back_or_the_search_says_that_it_gave_up(
    cluster: SolanaSandbox,
) -> None:
    proof = await cluster.proof_of(cluster.transaction(PRICE))
    await cluster.rail.settle(proof)
    for amount in range(1, 206):
        cluster.carry(cluster.transaction(amount))
    transfer = SolanaTransfer.parse(json.loads(proof.payload)["payload"])

    found = await SolanaReader(cluster.node).find(transfer, since_s=0)

    assert isinstance(found, Paid)
    with pytest.raises(ConnectionError, match="too many"):
        await SolanaReader(cluster.node, pages_max=1).find(transfer, since_s=0)


async def test_what_landed_before_it_can_have_is_not_searched(cluster: SolanaSandbox) -> None:
    for amount in range(1, 206):
        cluster.carry(cluster.transaction(amount))
    told = Told(cluster.node)
    proof = await cluster.proof()
    transfer = SolanaTransfer.parse(json.loads(proof.payload)["payload"])

    found = await SolanaReader(told).find(transfer, since_s=cluster.clock.at_ms // 1000 + 1)

    assert found is None
    assert told.asked.count("getSignaturesForAddress") == 1


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


@pytest.mark.parametrize("hint", ["", "anything", "1" * 64])
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
