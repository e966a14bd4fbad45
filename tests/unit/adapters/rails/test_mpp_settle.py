"""What becomes of a payment on a real Tempo chain: sent by us, sent by its payer, or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from eth_account import Account
from mpp.methods.tempo.attribution import encode as memo_of
from pytempo import Call  # type: ignore[import-untyped]  # ships no types

from adapters.rails.mpp_networks import TEMPO
from adapters.rails.mpp_offers import POOR
from domain.errors import PaymentRefusedError, PaymentUncertainError, RailDownError
from domain.money import Microcredits
from domain.ports.payments import Absent, Proof, Rejected, Settled, Uncertain
from tests.fakes.mpp_payer import (
    PAY_TO,
    STRANGERS_KEY,
    Signing,
    hash_headers,
    memo_for,
    transaction_headers,
    transfer_words,
)
from tests.fakes.mpp_sandbox import Tempo, tempo
from tests.fakes.shop import MUCH

pytestmark = pytest.mark.anvil

PRICE = 100_000
STRANGER = Account.from_key(STRANGERS_KEY).address


@pytest.fixture
async def chain() -> AsyncIterator[Tempo]:
    async with tempo() as running:
        yield running


async def pushed(chain: Tempo, signing: Signing | None = None) -> dict[str, str]:
    """The headers of a payment that its payer has sent already."""
    challenge = await chain.payer.asked()
    sent = await chain.sent(chain.payer.signed(challenge, signing or Signing()))
    return hash_headers(challenge, sent)


async def test_what_its_payer_sent_is_paid_and_settles_without_being_sent(chain: Tempo) -> None:
    proof = await chain.payer.decoded(await pushed(chain))
    rail = chain.payer.new_rail()

    await rail.verify(proof, chain.payer.purchase())
    outcome = await rail.settle(proof)

    assert proof.paid
    assert outcome == Settled(
        reference=proof.key.split("|")[1], payer=proof.payer, amount=Microcredits(PRICE)
    )
    assert await chain.received() == PRICE


async def test_shown_both_ways_it_is_one_payment(chain: Tempo) -> None:
    challenge = await chain.payer.asked()
    raw = chain.payer.signed(challenge)
    signed = await chain.payer.decoded(transaction_headers(challenge, raw))

    sent = await chain.payer.decoded(hash_headers(challenge, await chain.sent(raw)))

    assert (sent.key, sent.payer, sent.amount) == (signed.key, signed.payer, signed.amount)


async def test_what_its_payer_sent_meanwhile_still_verifies_and_settles(chain: Tempo) -> None:
    purchase = chain.payer.purchase(MUCH)
    challenge = await chain.payer.asked(purchase)
    raw = chain.payer.signed(challenge)
    proof = await chain.payer.decoded(transaction_headers(challenge, raw), purchase)
    await chain.sent(raw)
    rail = chain.payer.new_rail()

    # The wallet is empty now, and that is no reason to refuse.
    await rail.verify(proof, purchase)

    assert isinstance(await rail.settle(proof), Settled)
    assert await chain.received() == MUCH


async def test_a_sent_payment_is_taken_after_its_challenge_expired(chain: Tempo) -> None:
    headers = await pushed(chain)
    chain.clock.advance(3_600_000)
    rail = chain.payer.new_rail()

    proof = await chain.payer.decoded(headers)
    await rail.verify(proof, chain.payer.purchase())

    assert isinstance(await rail.lookup(proof), Settled)


async def test_a_hash_that_the_chain_does_not_show_yet_is_uncertain(chain: Tempo) -> None:
    """Its payer says that it has paid: a challenge would ask for the money twice."""
    headers = hash_headers(await chain.payer.asked(), "0x" + "ab" * 32)

    with pytest.raises(PaymentUncertainError):
        await chain.payer.decoded(headers)


async def test_a_hash_that_the_chain_never_came_to_know_is_refused(chain: Tempo) -> None:
    headers = hash_headers(await chain.payer.asked(), "0x" + "ab" * 32)
    chain.clock.advance(601_000)

    with pytest.raises(PaymentRefusedError, match="does not know"):
        await chain.payer.decoded(headers)


async def test_a_hash_shown_for_another_challenge_is_refused(chain: Tempo) -> None:
    challenge = await chain.payer.asked()
    sent = await chain.sent(chain.payer.signed(challenge))

    with pytest.raises(PaymentRefusedError, match="answers this challenge"):
        await chain.payer.decoded(hash_headers(await chain.payer.asked(), sent))


async def test_a_sent_transaction_for_another_host_is_refused(chain: Tempo) -> None:
    challenge = await chain.payer.asked()
    memo = memo_of(challenge_id=challenge.id, server_id="other.test")
    sent = await chain.sent(chain.payer.signed(challenge, Signing(memo=memo)))

    with pytest.raises(PaymentRefusedError, match="answers this challenge"):
        await chain.payer.decoded(hash_headers(challenge, sent))


@pytest.mark.parametrize(
    "signing",
    [Signing(amount=PRICE - 1), Signing(pay_to=STRANGER), Signing(plain=True)],
    ids=["less", "recipient", "no memo"],
)
async def test_a_sent_transaction_that_moved_anything_else_is_refused(
    chain: Tempo, signing: Signing
) -> None:
    headers = await pushed(chain, signing)

    with pytest.raises(PaymentRefusedError, match="answers this challenge"):
        await chain.payer.decoded(headers)


async def test_a_sent_transaction_of_other_money_is_refused(chain: Tempo) -> None:
    headers = await pushed(chain, Signing(token="0x20c0000000000000000000000000000000000000"))

    with pytest.raises(PaymentRefusedError, match="answers this challenge"):
        await chain.payer.decoded(headers)


async def test_a_sent_transaction_that_failed_is_refused(chain: Tempo) -> None:
    headers = await pushed(chain, Signing(amount=10 * MUCH))

    with pytest.raises(PaymentRefusedError, match="failed"):
        await chain.payer.decoded(headers)


async def test_a_source_other_than_who_paid_is_refused(chain: Tempo) -> None:
    challenge = await chain.payer.asked()
    sent = await chain.sent(chain.payer.signed(challenge))
    source = f"did:pkh:eip155:{TEMPO.chain_id}:{STRANGER}"

    with pytest.raises(PaymentRefusedError, match="answers this challenge"):
        await chain.payer.decoded(hash_headers(challenge, sent, source=source))


async def test_a_source_that_is_no_account_is_refused(chain: Tempo) -> None:
    challenge = await chain.payer.asked()
    sent = await chain.sent(chain.payer.signed(challenge))

    with pytest.raises(PaymentRefusedError, match="no account"):
        await chain.payer.decoded(hash_headers(challenge, sent, source="did:key:z6Mk"))


async def test_one_transaction_that_pays_two_challenges_is_two_payments(chain: Tempo) -> None:
    one, other = await chain.payer.asked(), await chain.payer.asked()
    calls = tuple(
        Call.create(to=TEMPO.token, data=transfer_words(PAY_TO, PRICE, memo_for(challenge)))
        for challenge in (one, other)
    )
    sent = await chain.sent(chain.payer.sealed(calls))

    first = await chain.payer.decoded(hash_headers(one, sent))
    second = await chain.payer.decoded(hash_headers(other, sent))

    assert first.key != second.key
    assert isinstance(await chain.payer.new_rail().lookup(first), Settled)
    assert isinstance(await chain.payer.new_rail().lookup(second), Settled)
    assert await chain.received() == 2 * PRICE


async def test_a_wallet_that_cannot_pay_its_fee_is_refused_before_anything_is_sent(
    chain: Tempo,
) -> None:
    proof = await chain.payer.proof(MUCH, Signing(fee_token=TEMPO.token))

    with pytest.raises(PaymentRefusedError, match=POOR):
        await chain.payer.new_rail().verify(proof, chain.payer.purchase(MUCH))


async def test_a_wallet_without_the_dollars_that_its_fee_is_in_is_refused(chain: Tempo) -> None:
    other_dollar = "0x20c0000000000000000000000000000000000001"
    proof = await chain.payer.proof(PRICE, Signing(fee_token=other_dollar))

    with pytest.raises(PaymentRefusedError, match=POOR):
        await chain.payer.new_rail().verify(proof, chain.payer.purchase())


async def test_somebody_else_may_pay_the_fee(chain: Tempo) -> None:
    await chain.chain.fund(STRANGER, MUCH)
    challenge = await chain.payer.asked(chain.payer.purchase(MUCH))
    raw = chain.payer.signed(challenge, Signing(sponsor=STRANGERS_KEY, fee_token=TEMPO.token))
    purchase = chain.payer.purchase(MUCH)
    proof = await chain.payer.decoded(transaction_headers(challenge, raw), purchase)
    rail = chain.payer.new_rail()

    await rail.verify(proof, purchase)

    assert proof.payer == chain.payer.buyer.address.lower()
    assert isinstance(await rail.settle(proof), Settled)
    assert await chain.received() == MUCH


async def test_a_fee_in_the_same_dollars_can_be_paid(chain: Tempo) -> None:
    proof = await chain.payer.proof(PRICE, Signing(fee_token=TEMPO.token))
    rail = chain.payer.new_rail()

    await rail.verify(proof, chain.payer.purchase())

    assert isinstance(await rail.settle(proof), Settled)
    assert await chain.received() == PRICE


async def test_a_transaction_that_fails_on_the_chain_is_rejected_for_good(chain: Tempo) -> None:
    proof = await chain.payer.proof(10 * MUCH)
    rail = chain.payer.new_rail()

    outcome = await rail.settle(proof)

    assert isinstance(outcome, Rejected)
    assert await rail.lookup(proof) == Absent(final=True)


async def test_a_transaction_that_failed_does_not_verify(chain: Tempo) -> None:
    proof = await chain.payer.proof(10 * MUCH)
    rail = chain.payer.new_rail()
    await rail.settle(proof)

    with pytest.raises(PaymentRefusedError, match="failed on the chain"):
        await rail.verify(proof, chain.payer.purchase(10 * MUCH))


async def test_a_chain_that_goes_away_meanwhile_takes_no_payment(chain: Tempo) -> None:
    rail = chain.payer.new_rail()
    await rail.challenge(chain.payer.purchase())
    proof = await chain.payer.proof()
    chain.faults.chain_unreadable = True

    with pytest.raises(RailDownError):
        await rail.verify(proof, chain.payer.purchase())


async def test_what_the_chain_does_not_take_is_rejected_with_its_words(chain: Tempo) -> None:
    proof = await poor_strangers_proof(chain)

    outcome = await chain.payer.new_rail().settle(proof)

    assert isinstance(outcome, Rejected)
    assert "does not take it" in outcome.reason


async def poor_strangers_proof(chain: Tempo) -> Proof:
    """A payment of somebody who has nothing, not even for the fee."""
    return await chain.payer.proof(PRICE, Signing(key=STRANGERS_KEY, fee_token=TEMPO.token))


async def test_success_that_the_chain_does_not_show_is_not_believed(chain: Tempo) -> None:
    proof = await chain.payer.proof()
    chain.faults.feign_success = True

    outcome = await chain.payer.new_rail(confirm_tries=2).settle(proof)

    assert isinstance(outcome, Uncertain)
    assert await chain.received() == 0


async def test_a_denied_success_is_found_on_the_chain(chain: Tempo) -> None:
    proof = await chain.payer.proof()
    chain.faults.deny_success = True

    assert isinstance(await chain.payer.new_rail().settle(proof), Settled)


async def test_sent_twice_it_moves_once(chain: Tempo) -> None:
    proof = await chain.payer.proof()
    chain.faults.send_twice = True

    assert isinstance(await chain.payer.new_rail().settle(proof), Settled)
    assert await chain.received() == PRICE


async def test_payments_that_overtake_one_another_all_land(chain: Tempo) -> None:
    rail = chain.payer.new_rail()
    proofs = [await chain.payer.proof() for _ in range(2)]
    chain.faults.reorder = True

    outcomes = await asyncio.gather(*map(rail.settle, proofs))

    assert all(isinstance(outcome, Settled) for outcome in outcomes)
    assert await chain.received() == 2 * PRICE


async def test_two_payments_in_a_row_by_one_wallet_both_land(chain: Tempo) -> None:
    rail = chain.payer.new_rail()

    outcomes = [await rail.settle(await chain.payer.proof()) for _ in range(2)]

    assert all(isinstance(outcome, Settled) for outcome in outcomes)
    assert await chain.received() == 2 * PRICE
