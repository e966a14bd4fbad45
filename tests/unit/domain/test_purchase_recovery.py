"""A payment that was begun and whose end was not seen is finished once, or refused for good."""

from __future__ import annotations

import pytest

from domain.errors import PaymentRefusedError, PaymentUncertainError
from domain.money import Microcredits
from domain.payment import Payment
from domain.ports.payments import Proof, Rejected
from domain.use_cases.reconcile import reconcile
from tests.fakes.counter import AMOUNT, PURSE, WALLET, Counter, purchase_of


@pytest.fixture
def counter() -> Counter:
    return Counter()


async def test_a_lost_answer_is_uncertain_and_never_a_refusal(counter: Counter) -> None:
    counter.rail.loses_answers = True

    with pytest.raises(PaymentUncertainError) as doubt:
        await counter.take(await counter.proof())

    assert doubt.value.reference
    assert await counter.balance() == 0
    assert counter.topics()[-1] == "payment.became_uncertain"


async def test_the_payer_who_asks_again_after_a_lost_answer_is_credited_once(
    counter: Counter,
) -> None:
    counter.rail.loses_answers = True
    proof = await counter.proof()
    with pytest.raises(PaymentUncertainError):
        await counter.take(proof)

    counter.rail.loses_answers = False
    answer = await counter.take(proof)

    assert answer.amount == Microcredits(AMOUNT)
    assert await counter.balance() == AMOUNT
    assert counter.rail.purses[WALLET] == PURSE - AMOUNT


async def test_a_lost_answer_is_found_by_the_sweep(counter: Counter) -> None:
    counter.rail.loses_answers = True
    with pytest.raises(PaymentUncertainError):
        await counter.take(await counter.proof())

    counter.rail.loses_answers = False
    await reconcile(counter.house.gateway)
    await reconcile(counter.house.gateway)

    assert await counter.balance() == AMOUNT
    assert await counter.house.views.payments_unfinished() == ()


async def test_a_chain_that_cannot_be_read_stays_uncertain(counter: Counter) -> None:
    counter.rail.loses_answers = True
    proof = await counter.proof()
    with pytest.raises(PaymentUncertainError):
        await counter.take(proof)
    counter.rail.unreadable = True

    with pytest.raises(PaymentUncertainError):
        await counter.take(proof)
    await reconcile(counter.house.gateway)

    assert await counter.balance() == 0
    counter.rail.unreadable = counter.rail.loses_answers = False
    await reconcile(counter.house.gateway)
    assert await counter.balance() == AMOUNT


async def test_a_payment_never_sent_is_sent_when_it_is_asked_for_again(counter: Counter) -> None:
    """The process died between the claim and the settlement."""
    proof = await counter.proof()
    await counter.die_before_settling(proof)

    await counter.take(proof)

    assert await counter.balance() == AMOUNT


async def test_a_payment_never_sent_is_sent_by_the_sweep(counter: Counter) -> None:
    proof = await counter.proof()
    await counter.die_before_settling(proof)

    await reconcile(counter.house.gateway)

    assert await counter.balance() == AMOUNT


async def test_a_payment_never_sent_that_expired_is_refused_for_good(counter: Counter) -> None:
    proof = await counter.proof(lives_ms=1_000)
    await counter.die_before_settling(proof)
    await counter.house.clock.advance(1_000)

    await reconcile(counter.house.gateway)

    assert await counter.house.views.payments_unfinished() == ()
    with pytest.raises(PaymentRefusedError, match="never settled and has expired"):
        await counter.take(proof)
    assert counter.rail.settles_asked == 0


async def test_a_refusal_for_now_is_told_and_can_be_tried_again(counter: Counter) -> None:
    counter.rail.refuses = True
    proof = await counter.proof()
    with pytest.raises(PaymentRefusedError, match="the till is shut"):
        await counter.take(proof)

    counter.rail.refuses = False
    await counter.take(proof)

    assert await counter.balance() == AMOUNT


async def test_a_refused_payment_that_lands_after_all_is_credited(counter: Counter) -> None:
    """We refused it, but it is signed: anybody may send it until it expires."""
    counter.rail.refuses = True
    proof = await counter.proof()
    with pytest.raises(PaymentRefusedError):
        await counter.take(proof)
    await reconcile(counter.house.gateway)
    assert await counter.balance() == 0

    counter.rail._take(proof)
    await reconcile(counter.house.gateway)

    assert await counter.balance() == AMOUNT
    assert await counter.house.views.payments_unfinished() == ()


async def test_a_refusal_of_what_the_chain_holds_is_overruled(counter: Counter) -> None:
    """A facilitator says no, and the chain says yes."""
    proof = await counter.proof()
    await counter.die_before_settling(proof)
    counter.rail._take(proof)
    counter.rail.refuses = True

    answer = await counter.take(proof)

    assert answer.amount == Microcredits(AMOUNT)
    assert await counter.balance() == AMOUNT


async def test_a_settlement_refused_while_the_chain_has_it_is_credited(counter: Counter) -> None:
    class Liar:
        """Settles, and says that it did not."""

        name = counter.rail.name

        def __getattr__(self, name: str) -> object:
            return getattr(counter.rail, name)

        async def settle(self, proof: Proof) -> object:
            await counter.rail.settle(proof)
            return Rejected("invalid_transaction_state")

    await counter.purchases.take(Liar(), await counter.proof(), purchase_of())  # type: ignore[arg-type]  # all the rest is the rail's

    assert await counter.balance() == AMOUNT


async def test_a_refusal_is_final_once_the_proof_has_expired(counter: Counter) -> None:
    counter.rail.refuses = True
    proof = await counter.proof(lives_ms=1_000)
    with pytest.raises(PaymentRefusedError):
        await counter.take(proof)
    assert len(await counter.house.views.payments_unfinished()) == 1

    await counter.house.clock.advance(1_000)
    await reconcile(counter.house.gateway)

    assert await counter.house.views.payments_unfinished() == ()
    assert await counter.balance() == 0


async def test_a_payment_of_a_rail_that_is_gone_waits(counter: Counter) -> None:
    counter.rail.loses_answers = True
    with pytest.raises(PaymentUncertainError):
        await counter.take(await counter.proof())
    counter.rail.name = "renamed"

    await reconcile(counter.house.gateway)

    assert await counter.house.views.payments_unfinished() == (
        Payment.create_id("cash", f"cash|{WALLET}|1"),
    )


async def test_a_credited_payment_in_a_stale_list_is_left_alone(counter: Counter) -> None:
    await counter.take(await counter.proof())
    counter.house.views._payments.add(Payment.create_id("cash", f"cash|{WALLET}|1"))
    written = len(counter.topics())

    await reconcile(counter.house.gateway)

    assert len(counter.topics()) == written
