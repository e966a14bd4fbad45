from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from domain.errors import ConflictingRequestError
from domain.money import Microcredits
from domain.payment import Payment
from tests.fakes.stored import Journal
from tests.strategies import START_MS

ACCOUNT_ID = UUID(int=1)
AMOUNT = Microcredits(100_000)


def claimed() -> Payment:
    return Payment.claim(
        rail="cash",
        proof_key="coin 1",
        network="cash",
        chain="evm",
        payer="0xa",
        amount=AMOUNT,
        expires_at_ms=START_MS + 60_000,
        payload="{}",
        at_ms=START_MS,
    )


def topics(payment: Payment) -> list[str]:
    journal = Journal()
    journal.save(payment)
    return [record.topic.partition(".")[2] for record in journal.records]


def test_a_proof_has_one_payment_on_each_rail() -> None:
    assert claimed().id == Payment.create_id("cash", "coin 1")
    assert Payment.create_id("cash", "coin 1") != Payment.create_id("cash", "coin 2")
    assert Payment.create_id("cash", "coin 1") != Payment.create_id("other", "coin 1")


def test_the_straight_road_is_claimed_submitted_settled_credited() -> None:
    payment = claimed()

    payment.submit(at_ms=START_MS + 1)
    payment.credit(reference="tx 1", account_id=ACCOUNT_ID, at_ms=START_MS + 2)

    assert topics(payment) == ["claimed", "submitted", "settled", "credited"]
    assert (payment.state, payment.reference) == ("credited", "tx 1")
    assert payment.account_id == ACCOUNT_ID
    assert payment.changed_at_ms == START_MS + 2
    assert payment.is_over


def test_a_payment_for_credit_alone_says_nothing_of_a_purpose() -> None:
    payment = claimed()

    payment.dedicate("", at_ms=START_MS)

    assert topics(payment) == ["claimed"]


def test_a_payment_for_one_purpose_is_refused_for_another() -> None:
    payment = claimed()
    payment.dedicate("session", at_ms=START_MS)

    payment.check_same(payer="0xa", amount=AMOUNT, purpose="session")
    with pytest.raises(ConflictingRequestError):
        payment.check_same(payer="0xa", amount=AMOUNT)


def test_a_payment_in_doubt_can_still_be_credited() -> None:
    payment = claimed()
    payment.submit(at_ms=START_MS)

    payment.doubt("tx 1", at_ms=START_MS + 1)
    assert (payment.state, payment.reference, payment.is_over) == ("uncertain", "tx 1", False)
    payment.credit(reference="tx 1", account_id=ACCOUNT_ID, at_ms=START_MS + 2)

    assert payment.is_credited


def test_a_payment_refused_for_now_can_be_tried_again() -> None:
    payment = claimed()
    payment.submit(at_ms=START_MS)
    payment.reject("no gas", final=False, at_ms=START_MS + 1)
    assert (payment.state, payment.reason, payment.is_over) == ("rejected", "no gas", False)

    payment.reclaim(at_ms=START_MS + 2)
    payment.submit(at_ms=START_MS + 3)

    assert payment.state == "submitted"


def test_a_payment_refused_for_good_stays_refused() -> None:
    payment = claimed()
    payment.reject("expired", final=True, at_ms=START_MS)

    payment.reclaim(at_ms=START_MS + 1)
    payment.submit(at_ms=START_MS + 1)
    payment.doubt("tx", at_ms=START_MS + 1)
    payment.reject("other", final=False, at_ms=START_MS + 1)

    assert topics(payment) == ["claimed", "rejected"]
    assert payment.is_over
    assert not payment.is_credited


def test_a_refusal_becomes_final_once() -> None:
    payment = claimed()
    payment.reject("no gas", final=False, at_ms=START_MS)
    payment.reject("no gas", final=False, at_ms=START_MS + 1)
    payment.reject("no gas", final=True, at_ms=START_MS + 2)
    payment.reject("no gas", final=True, at_ms=START_MS + 3)

    assert topics(payment) == ["claimed", "rejected", "rejected"]


def test_the_same_proof_under_other_terms_is_refused() -> None:
    """B12."""
    payment = claimed()

    payment.check_same(payer="0xa", amount=AMOUNT)
    with pytest.raises(ConflictingRequestError):
        payment.check_same(payer="0xb", amount=AMOUNT)
    with pytest.raises(ConflictingRequestError):
        payment.check_same(payer="0xa", amount=Microcredits(1))


class PaymentLife(RuleBasedStateMachine):
    """Whatever happens in whatever order, a payment is credited at most once, and then for ever."""

    def __init__(self) -> None:
        super().__init__()
        self.journal = Journal()
        self.payment = claimed()
        self.journal.save(self.payment)
        self.at_ms = START_MS

    @rule(act=st.sampled_from(["submit", "reclaim", "doubt", "reject", "reject finally"]))
    def something_happens(self, act: str) -> None:
        self.at_ms += 1
        match act:
            case "submit":
                self.payment.submit(at_ms=self.at_ms)
            case "reclaim":
                self.payment.reclaim(at_ms=self.at_ms)
            case "doubt":
                self.payment.doubt("tx", at_ms=self.at_ms)
            case _:
                self.payment.reject("no", final=act == "reject finally", at_ms=self.at_ms)
        self.journal.save(self.payment)

    @rule()
    def the_chain_says_it_landed(self) -> None:
        # As the use case does: it looks before it credits.
        if not self.payment.is_credited:
            self.payment.credit(reference="tx", account_id=ACCOUNT_ID, at_ms=self.at_ms)
        self.journal.save(self.payment)

    @invariant()
    def is_credited_at_most_once_and_last(self) -> None:
        topics = [record.topic for record in self.journal.records]
        assert topics.count("payment.credited") == int(self.payment.is_credited)
        assert "payment.credited" not in topics[:-1]

    @invariant()
    def replays_to_the_same(self) -> None:
        assert self.journal.replay(self.payment.id) == self.payment


TestPaymentLife = PaymentLife.TestCase
