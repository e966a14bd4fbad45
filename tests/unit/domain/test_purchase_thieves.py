"""What strangers make of other people's payments: nothing, and nothing is lost by their trying."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest

from domain.errors import ConflictingRequestError, PaymentRefusedError
from domain.money import Microcredits
from domain.ports.payments import Absent, Proof, Settled, Uncertain
from domain.turnstile import Turnstile
from domain.use_cases.purchase_credits import Credited, Purchases
from domain.use_cases.reconcile import reconcile
from tests.fakes.counter import AMOUNT, Counter, purchase_of


@pytest.fixture
def counter() -> Counter:
    return Counter()


def forged(counter: Counter, proof: Proof) -> Proof:
    """A stranger's copy: the same payment by its key, with a time that is over. Unsigned."""
    over_ms = counter.house.clock.now_ms() - 200_000
    asked = purchase_of()
    coin = counter.rail.coin(asked, lives_ms=-200_000)
    return replace(proof, expires_at_ms=over_ms, payload=str(coin))


async def test_a_forged_copy_voids_no_payment_under_way(counter: Counter) -> None:
    """Of a payment under way everybody can read payer and nonce; its signature is not looked at."""
    proof = await counter.proof()
    await counter.die_before_settling(proof)

    await counter.take(forged(counter, proof))

    assert await counter.balance() == AMOUNT


async def test_a_forged_copy_is_never_what_is_settled(counter: Counter) -> None:
    proof = await counter.proof()
    await counter.die_before_settling(proof)
    shown: list[str] = []
    honest = counter.rail.settle

    async def settle(presented: Proof) -> object:
        shown.append(presented.payload)
        return await honest(presented)

    counter.rail.settle = settle  # type: ignore[method-assign,assignment]  # looks at what it is given

    await counter.take(forged(counter, proof))

    assert shown == [proof.payload]


async def test_a_refused_payment_that_landed_is_credited_when_it_is_shown_again(
    counter: Counter,
) -> None:
    """A refusal then would ask for the money once more."""
    counter.rail.refuses = True
    proof = await counter.proof()
    with pytest.raises(PaymentRefusedError):
        await counter.take(proof)
    counter.rail._take(proof)

    answer = await counter.take(proof)

    assert answer.amount == Microcredits(AMOUNT)
    assert await counter.balance() == AMOUNT


async def test_a_proof_serves_one_purpose(counter: Counter) -> None:
    proof = await counter.proof()
    await counter.purchases.take(counter.rail, proof, purchase_of(), purpose="session")

    with pytest.raises(ConflictingRequestError):
        await counter.take(proof)

    assert await counter.balance() == AMOUNT


async def test_a_proof_claimed_at_another_door_for_something_else_is_refused(
    counter: Counter,
) -> None:
    """Two processes share the ledger and not the lock."""
    proof = await counter.proof()
    verify = counter.rail.verify

    async def overtaken(*_: object) -> None:
        counter.rail.verify = verify  # type: ignore[method-assign]  # only this time
        elsewhere = replace(counter.house.gateway, turnstile=Turnstile())
        await Purchases(elsewhere).take(counter.rail, proof, purchase_of())

    counter.rail.verify = overtaken  # type: ignore[method-assign,assignment]  # somebody is faster

    with pytest.raises(ConflictingRequestError):
        await counter.purchases.take(counter.rail, proof, purchase_of(), purpose="session")

    assert await counter.balance() == AMOUNT


async def test_a_payment_credited_by_another_process_meanwhile_is_not_refused(
    counter: Counter,
) -> None:
    """Our node is behind, and the facilitator says that there is no money left: it went to us."""
    proof = await counter.proof()
    await counter.die_before_settling(proof)
    look = counter.rail.lookup
    looks = 0

    async def behind(_: Proof) -> Settled | Absent | Uncertain:
        nonlocal looks
        looks += 1
        if looks == 2:
            counter.rail._take(proof)
            counter.rail.lookup = look  # type: ignore[method-assign]  # the other process sees it
            await reconcile(counter.house.gateway)
            counter.rail.lookup = behind  # type: ignore[method-assign,assignment]  # we do not
        return Absent(final=False)

    counter.rail.lookup = behind  # type: ignore[method-assign,assignment]  # a node that is late
    counter.rail.refuses = True

    answer = await counter.take(proof)

    assert answer.amount == Microcredits(AMOUNT)
    assert await counter.balance() == AMOUNT


async def test_a_payment_that_breaks_its_rail_holds_up_no_other(counter: Counter) -> None:
    broken, sound = await counter.proof(1), await counter.proof(2)
    for proof in (broken, sound):
        await counter.die_before_settling(proof)
    look = counter.rail.lookup

    async def lookup(proof: Proof) -> Settled | Absent | Uncertain:
        if proof.key == broken.key:
            raise IndexError
        return await look(proof)

    counter.rail.lookup = lookup  # type: ignore[method-assign]  # a node's answer that nobody foresaw

    with pytest.raises(ExceptionGroup, match="payments failed"):
        await reconcile(counter.house.gateway)

    assert await counter.balance() == AMOUNT


async def test_what_is_owed_to_customers_does_not_wait_for_a_broken_payment(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    await counter.die_before_settling(await counter.proof())
    asked: list[str] = []

    async def lookup(_: Proof) -> Settled | Absent | Uncertain:
        raise IndexError

    async def payouts_unfinished() -> tuple[UUID, ...]:
        asked.append("payouts")
        return ()

    monkeypatch.setattr(counter.rail, "lookup", lookup)
    monkeypatch.setattr(counter.house.views, "payouts_unfinished", payouts_unfinished)

    with pytest.raises(ExceptionGroup, match="payments failed"):
        await reconcile(counter.house.gateway)

    assert asked == ["payouts"]


async def test_a_payment_for_a_session_is_shown_again_only_where_it_came_from(
    counter: Counter,
) -> None:
    proof = await counter.proof()
    first = await at(counter, proof, "here")

    with pytest.raises(ConflictingRequestError):
        await at(counter, proof, "elsewhere")

    assert await at(counter, proof, "here") == first


async def test_a_refused_payment_for_a_session_is_nobody_elses_to_try_again(
    counter: Counter,
) -> None:
    """It stands in the log with its signature, and the money may come yet."""
    counter.rail.refuses = True
    proof = await counter.proof()
    with pytest.raises(PaymentRefusedError):
        await at(counter, proof, "here")
    counter.rail.refuses = False

    with pytest.raises(ConflictingRequestError):
        await at(counter, proof, "elsewhere")

    assert (await at(counter, proof, "here")).amount == Microcredits(AMOUNT)


async def at(counter: Counter, proof: Proof, caller: str) -> Credited:
    """The payment for a session, shown from some address."""
    return await counter.purchases.take(
        counter.rail, proof, purchase_of(), purpose="session", caller=caller
    )
