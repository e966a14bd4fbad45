from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from domain.errors import ConflictingRequestError
from domain.money import NOTHING, Microcredits
from domain.payout import DAY_MS, Payout, PayoutDay
from tests.fakes.stored import Journal

ACCOUNT_ID = UUID(int=1)
NOW_MS = 1_700_000_000_000


def requested(*, amount: int = 100, fee: int = 10) -> Payout:
    return Payout.request(
        payout_id=Payout.create_id(ACCOUNT_ID, "k"),
        account_id=ACCOUNT_ID,
        rail="cash",
        chain="evm",
        wallet="0xa",
        amount=Microcredits(amount),
        fee=Microcredits(fee),
        who="ops",
        why="a test",
        at_ms=NOW_MS,
    )


def sign(payout: Payout, key: str = "coin 1") -> None:
    payout.prepare(
        proof_key=key,
        network="cash",
        payer="the house",
        expires_at_ms=NOW_MS + 1,
        payload=f"proof of {key}",
        at_ms=NOW_MS,
    )


def test_its_id_derives_from_its_account_and_key() -> None:
    one = Payout.create_id(ACCOUNT_ID, "k")

    assert one == requested().id
    assert one != Payout.create_id(ACCOUNT_ID, "l")
    assert one != Payout.create_id(UUID(int=2), "k")


def test_what_the_wallet_gets_is_what_is_left_after_the_fee() -> None:
    assert requested(amount=100, fee=10).net == Microcredits(90)


def test_only_the_first_proof_is_kept() -> None:
    payout = requested()

    sign(payout, "coin 1")
    sign(payout, "coin 2")

    assert (payout.proof_key, payout.payload) == ("coin 1", "proof of coin 1")
    assert [type(e).__name__ for e in payout.collect_events()] == ["Requested", "Prepared"]


def test_nothing_is_submitted_that_was_not_prepared() -> None:
    payout = requested()

    payout.submit(at_ms=NOW_MS)
    payout.doubt("tx", at_ms=NOW_MS)

    assert payout.state == "requested"


def test_nothing_is_paid_that_was_not_prepared() -> None:
    with pytest.raises(AssertionError, match="not prepared"):
        requested().pay("tx", at_ms=NOW_MS)


def test_a_doubt_keeps_what_is_known_of_the_transaction() -> None:
    payout = requested()
    sign(payout)
    payout.submit(at_ms=NOW_MS)

    payout.doubt("tx", at_ms=NOW_MS + 1)

    assert (payout.state, payout.reference, payout.changed_at_ms) == ("uncertain", "tx", NOW_MS + 1)


@pytest.mark.parametrize(
    ("rail", "amount", "fee"), [("gold", 100, 10), ("cash", 101, 10), ("cash", 100, 11)]
)
def test_another_request_is_not_the_same(rail: str, amount: int, fee: int) -> None:
    with pytest.raises(ConflictingRequestError):
        requested().check_same(rail=rail, amount=Microcredits(amount), fee=Microcredits(fee))


@pytest.mark.parametrize("rail", ["", "cash"])
def test_a_request_for_whichever_rail_is_the_same(rail: str) -> None:
    requested().check_same(rail=rail, amount=Microcredits(100), fee=Microcredits(10))


class PayoutLife(RuleBasedStateMachine):
    """Everything that can be asked of a payout, in any order, any number of times."""

    def __init__(self) -> None:
        super().__init__()
        self.journal = Journal()
        self.payout = requested()
        self.over = ""
        self.proof = ""
        self._save()

    @rule(key=st.sampled_from(["one", "two"]))
    def is_signed(self, key: str) -> None:
        sign(self.payout, key)
        if not self.proof and not self.over:
            self.proof = key
        self._save()

    @rule()
    def is_sent(self) -> None:
        self.payout.submit(at_ms=NOW_MS)
        self._save()

    @rule(reference=st.sampled_from(["", "tx"]))
    def is_doubted(self, reference: str) -> None:
        self.payout.doubt(reference, at_ms=NOW_MS)
        self._save()

    @rule()
    def is_paid(self) -> None:
        if not self.proof and not self.over:
            return
        assert self.payout.pay("tx", at_ms=NOW_MS) == (not self.over)
        self.over = self.over or "paid"
        self._save()

    @rule()
    def has_failed(self) -> None:
        assert self.payout.fail("it expired", at_ms=NOW_MS) == (not self.over)
        self.over = self.over or "failed"
        self._save()

    @invariant()
    def ends_once_with_the_first_proof(self) -> None:
        assert self.payout.is_over == bool(self.over)
        assert self.payout.proof_key == self.proof
        topics = [record.topic for record in self.journal.records]
        assert topics.count("payout.paid") + topics.count("payout.failed") == bool(self.over)
        if self.over:
            assert topics[-1] == f"payout.{self.over}"

    @invariant()
    def replays_to_the_same(self) -> None:
        assert self.journal.replay(self.payout.id) == self.payout

    def _save(self) -> None:
        self.journal.save(self.payout)


TestPayoutLife = PayoutLife.TestCase


def test_a_day_is_of_utc() -> None:
    midnight = NOW_MS - NOW_MS % DAY_MS

    assert PayoutDay.create_id(midnight) == PayoutDay.create_id(midnight + DAY_MS - 1)
    assert PayoutDay.create_id(midnight) != PayoutDay.create_id(midnight - 1)
    assert PayoutDay.open(at_ms=NOW_MS).id == PayoutDay.create_id(midnight)
    assert PayoutDay.open(at_ms=NOW_MS).day_ms == midnight


def test_what_is_left_of_a_day_is_never_less_than_nothing() -> None:
    day = PayoutDay.open(at_ms=NOW_MS)

    day.count(Microcredits(70), payout_id=UUID(int=1), at_ms=NOW_MS)
    after_one = day.left_of(Microcredits(100))
    day.count(Microcredits(70), payout_id=UUID(int=2), at_ms=NOW_MS)
    after_two = day.left_of(Microcredits(100))
    day.give_back(Microcredits(70), payout_id=UUID(int=1), at_ms=NOW_MS)

    assert (after_one, after_two) == (Microcredits(30), NOTHING)
    assert day.left_of(Microcredits(100)) == Microcredits(30)
