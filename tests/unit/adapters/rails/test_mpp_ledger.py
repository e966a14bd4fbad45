"""What counts as our transfer in a receipt, and who sends what: against a node with a script."""

from __future__ import annotations

import pytest

from adapters.rails.mpp_networks import TEMPO
from adapters.rails.mpp_transfer import TempoTransfer
from domain.money import Microcredits
from domain.ports.payments import Absent, Proof, Settled, Uncertain
from tests.fakes.mpp_payer import PATH_USD, PAY_TO, Payer, ScriptedNode, hash_headers, memo_for

TRANSFER_WITH_MEMO = "0x57bc7354aa85aed339e000bccffabbc529466af35f0772c8f8ee1145927de7f0"
OTHER = "0x" + "33" * 20
HEAD = {"timestamp": "0x0"}


def padded(address: str) -> str:
    return "0x" + address.lower().removeprefix("0x").rjust(64, "0")


def log_of(
    transfer: TempoTransfer,
    *,
    token: str = TEMPO.token,
    payer: str | None = None,
    pay_to: str = PAY_TO,
    amount: int | None = None,
    memo: str | None = None,
) -> dict[str, object]:
    """The log of this transfer, or of one that differs from it."""
    sender = padded(payer or transfer.payer)
    return {
        "address": token,
        "topics": [TRANSFER_WITH_MEMO, sender, padded(pay_to), memo or transfer.memo],
        "data": hex(transfer.amount if amount is None else amount),
    }


def receipt_of(transfer: TempoTransfer, *logs: object, status: str = "0x1") -> dict[str, object]:
    return {"transactionHash": transfer.hash, "status": status, "logs": list(logs)}


def shown(receipt: object) -> Payer:
    """A payer at a rail whose node shows this receipt for any transaction."""
    return Payer(ScriptedNode(eth_getBlockByNumber=HEAD, eth_getTransactionReceipt=receipt))


@pytest.fixture
async def proof() -> Proof:
    return await Payer(ScriptedNode()).proof()


async def test_exactly_this_transfer_is_settled(proof: Proof) -> None:
    transfer = TempoTransfer.of(proof)
    rail = shown(receipt_of(transfer, log_of(transfer))).new_rail()

    assert await rail.lookup(proof) == Settled(
        reference=transfer.hash, payer=proof.payer, amount=Microcredits(100_000)
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"token": PATH_USD},
        {"payer": OTHER},
        {"pay_to": OTHER},
        {"amount": 99_999},
        {"memo": "0x" + "00" * 32},
    ],
    ids=str,
)
async def test_any_other_transfer_is_not_ours(proof: Proof, changes: dict[str, object]) -> None:
    transfer = TempoTransfer.of(proof)
    rail = shown(receipt_of(transfer, log_of(transfer, **changes))).new_rail()  # type: ignore[arg-type]  # one of its own arguments

    assert await rail.lookup(proof) == Absent(final=True)


async def test_a_failed_transaction_has_moved_nothing_whatever_it_logs(proof: Proof) -> None:
    transfer = TempoTransfer.of(proof)
    rail = shown(receipt_of(transfer, log_of(transfer), status="0x0")).new_rail()

    assert await rail.lookup(proof) == Absent(final=True)


async def test_a_node_that_says_nothing_leaves_it_uncertain(proof: Proof) -> None:
    rail = Payer(ScriptedNode()).new_rail(confirm_tries=1)
    reference = TempoTransfer.of(proof).hash

    assert await rail.lookup(proof) == Uncertain(reference)
    assert await rail.settle(proof) == Uncertain(reference)


async def test_a_node_of_another_chain_gives_no_payment_up(proof: Proof) -> None:
    """Nothing was ever sent there, and its time is long over."""
    late = {"timestamp": hex(TempoTransfer.of(proof).valid_before_s + 3_600)}
    node = ScriptedNode(eth_getBlockByNumber=late, eth_getTransactionReceipt=None)
    node.answers["eth_chainId"] = "0x1"

    found = await Payer(node).new_rail().lookup(proof)

    assert found == Uncertain(TempoTransfer.of(proof).hash)


async def test_what_its_payer_sent_is_not_sent_by_us() -> None:
    node = ScriptedNode(eth_getBlockByNumber=HEAD)
    payer = Payer(node)
    challenge = await payer.asked()
    sent = "0x" + "ab" * 32
    made = TempoTransfer(
        hash=sent,
        payer=payer.buyer.address.lower(),
        pay_to=PAY_TO,
        token=TEMPO.token,
        amount=100_000,
        memo=memo_for(challenge),
        valid_before_s=0,
        offered_until_ms=0,
    )
    node.answers["eth_getTransactionReceipt"] = receipt_of(made, log_of(made))
    proof = await payer.decoded(hash_headers(challenge, sent))
    node.asked.clear()

    assert isinstance(await payer.new_rail().settle(proof), Settled)
    assert not [method for method in node.asked if "send" in method]
