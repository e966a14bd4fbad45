"""A refund whose process dies, whose answer is lost or whose chain is dark: once or not at all."""

from __future__ import annotations

from dataclasses import replace

import pytest

from domain.errors import RailDownError
from domain.money import Microcredits
from domain.ports.payments import Payout, Proof
from domain.use_cases.pay_out import SIGN_WAIT_MS, finish_payout
from domain.use_cases.reconcile import reconcile
from domain.use_cases.refund_credits import Refunds
from tests.fakes.mortal import DiedError, Fuse, process_of
from tests.fakes.window import BOUGHT, FEE, WALLET, Window

AMOUNT = 3_000_000
NET = AMOUNT - FEE
# Commands (before, after) and steps of the rail (before, after) of one refund.
STEPS = 23
# So many are over when the credit is taken, and when what was signed is written down.
TAKEN, SIGNED = 8, 14


@pytest.fixture
async def window() -> Window:
    return await Window().open()


async def died_after(window: Window, steps: int) -> bool:
    """Whether a process that asks for a refund dies after so many steps."""
    fuse = Fuse()
    window.rail.watch = fuse.step
    fuse.light(steps)
    mortal = Refunds(process_of(window.house.gateway, fuse))
    try:
        await mortal.ask(window.request(AMOUNT))
    except DiedError:
        return True
    finally:
        await mortal.drain()
        fuse.light(None)
    return False


@pytest.mark.parametrize("steps", range(STEPS))
async def test_death_between_any_two_steps_pays_once_or_takes_nothing(
    window: Window, steps: int
) -> None:
    died = await died_after(window, steps)
    began = bool(window.topics())

    await reconcile(window.house.gateway)

    assert window.rail.purses[WALLET] == (NET if began else 0)
    assert await window.available() == BOUGHT - (AMOUNT if began else 0)
    assert window.topics().count("payout.paid") == int(began)
    assert died == (steps < STEPS - 1), "STEPS is as many as there are, and one more"


@pytest.mark.parametrize("steps", range(STEPS))
async def test_who_asks_again_after_a_death_is_answered_and_paid_once(
    window: Window, steps: int
) -> None:
    await died_after(window, steps)

    refund = await window.ask(AMOUNT)

    assert refund.state == "paid"
    assert window.rail.purses[WALLET] == NET
    assert await window.available() == BOUGHT - AMOUNT


async def test_a_lost_answer_is_found_on_the_chain(window: Window) -> None:
    window.rail.loses_answers = True
    uncertain = await window.ask(AMOUNT)
    assert (uncertain.state, window.rail.purses[WALLET]) == ("uncertain", NET)

    await reconcile(window.house.gateway)

    assert window.topics()[-1] == "payout.paid"
    assert (window.rail.purses[WALLET], window.rail.settles_asked) == (NET, 1)


async def test_a_chain_that_cannot_be_read_decides_nothing(window: Window) -> None:
    window.rail.loses_answers = True
    await window.ask(AMOUNT)
    window.rail.unreadable = True

    await window.house.clock.advance(10**9)
    await reconcile(window.house.gateway)
    assert window.topics()[-1] == "payout.became_uncertain"

    window.rail.unreadable = False
    await reconcile(window.house.gateway)
    assert window.topics()[-1] == "payout.paid"


async def test_a_refusal_is_tried_again_with_the_same_proof(window: Window) -> None:
    window.rail.refuses = True
    assert (await window.ask(AMOUNT)).state == "uncertain"

    window.rail.refuses = False
    await reconcile(window.house.gateway)

    assert window.rail.purses[WALLET] == NET
    assert len(window.rail.signed) == 1


async def test_credit_comes_back_when_the_proof_can_never_land(window: Window) -> None:
    window.rail.refuses = True
    await window.ask(AMOUNT)
    assert await window.available() == BOUGHT - AMOUNT

    await window.house.clock.advance(10**6)
    await reconcile(window.house.gateway)

    refund = await window.ask(AMOUNT)
    assert (refund.state, await window.available()) == ("failed", BOUGHT)
    assert "expired" in refund.reason
    assert window.books()["payouts:pending"] == 0
    assert await window.house.views.payouts_unfinished() == ()


async def test_credit_that_came_back_can_be_asked_for_again_under_another_key(
    window: Window,
) -> None:
    window.rail.refuses_to_sign = True
    failed = await window.ask(AMOUNT)
    window.rail.refuses_to_sign = False

    paid = await window.ask(AMOUNT, key="again")

    assert (failed.state, paid.state) == ("failed", "paid")
    assert "cannot be paid to" in failed.reason
    assert window.rail.purses[WALLET] == NET


async def test_while_nothing_can_be_signed_it_waits_and_then_gives_up(window: Window) -> None:
    await died_after(window, TAKEN)
    assert window.topics() == ["payout.requested"]
    window.rail.down = True

    await window.house.clock.advance(SIGN_WAIT_MS - 1)
    await reconcile(window.house.gateway)
    assert window.topics() == ["payout.requested"]

    await window.house.clock.advance(1)
    await reconcile(window.house.gateway)
    assert await window.available() == BOUGHT
    assert window.rail.signed == []


async def test_of_two_that_sign_only_the_first_written_down_is_sent(window: Window) -> None:
    """Two processes find the same request; each signs, one is heard."""
    refund = await window.refunds.ask(window.request(AMOUNT, key="other"))
    assert refund.state == "paid"
    await died_after(window, TAKEN)
    ahead = process_of(window.house.gateway, Fuse())

    def overtaken(step: str) -> None:
        if step == "signed":
            window.rail.watch = lambda _: None
            # The other process does all of it while this one holds its signature.
            other = finish_payout(ahead, window.request(AMOUNT).payout_id)
            with pytest.raises(StopIteration):
                other.send(None)

    window.rail.watch = overtaken
    await reconcile(window.house.gateway)

    assert window.rail.purses[WALLET] == 2 * NET
    assert len(window.rail.signed) == 3
    assert window.topics().count("payout.prepared") == 2


async def test_what_was_signed_and_expired_unsent_is_given_back(window: Window) -> None:
    await died_after(window, SIGNED)
    assert window.topics()[-1] == "payout.prepared"

    await window.house.clock.advance(10**6)
    await reconcile(window.house.gateway)

    assert window.topics()[-1] == "payout.failed"
    assert (await window.available(), window.rail.till) == (BOUGHT, {})


async def test_who_may_not_sign_does_not_give_back_what_another_signed(window: Window) -> None:
    await died_after(window, TAKEN)
    ahead = process_of(window.house.gateway, Fuse())

    def overtaken(_step: str) -> None:
        window.rail.watch = lambda _: None
        window.rail.loses_answers = True
        with pytest.raises(StopIteration):
            finish_payout(ahead, window.request(AMOUNT).payout_id).send(None)
        window.rail.refuses_to_sign = True

    window.rail.watch = overtaken
    await reconcile(window.house.gateway)
    assert window.topics()[-1] == "payout.became_uncertain"

    window.rail.loses_answers = False
    await reconcile(window.house.gateway)
    assert window.topics()[-1] == "payout.paid"
    assert (window.rail.purses[WALLET], await window.available()) == (NET, BOUGHT - AMOUNT)


class Overtaken(Fuse):
    """Before the step of this number, another process does all that is left."""

    def __init__(self, window: Window, step: int) -> None:
        super().__init__()
        self._other = process_of(window.house.gateway, Fuse())
        self._payout_id = window.request(AMOUNT).payout_id
        self._at = step

    def step(self, _name: str = "") -> None:
        self._at -= 1
        if self._at == 0:
            with pytest.raises(StopIteration):
                # Nothing of it waits for anything, so that it ends where it begins.
                finish_payout(self._other, self._payout_id).send(None)


@pytest.mark.parametrize("step", range(1, 9))
async def test_who_is_overtaken_finds_it_done(window: Window, step: int) -> None:
    await died_after(window, TAKEN)
    behind = process_of(window.house.gateway, Overtaken(window, step))

    refund = await finish_payout(behind, window.request(AMOUNT).payout_id)

    assert refund.state == "paid"
    assert window.rail.purses[WALLET] == NET
    assert window.topics().count("payout.paid") == 1


async def test_a_rail_at_fault_is_told_and_holds_up_no_other(
    window: Window, monkeypatch: pytest.MonkeyPatch
) -> None:
    await died_after(window, TAKEN)
    window.rail.loses_answers = True
    assert (await window.ask(AMOUNT, key="other")).state == "uncertain"

    async def signs_too_much(order: Payout) -> Proof:
        return replace(await prepare(order), amount=order.amount + Microcredits(1))

    prepare = window.rail.prepare
    monkeypatch.setattr(window.rail, "prepare", signs_too_much)
    with pytest.raises(ExceptionGroup, match="payouts failed") as told:
        await reconcile(window.house.gateway)

    assert "a rail signs what it was asked to" in str(told.value.exceptions[0])
    other = await window.refunds.find(window.account_id, window.request(key="other").payout_id)
    assert other.state == "paid"
    assert window.rail.purses[WALLET] == NET


async def test_a_rail_that_is_gone_leaves_what_was_sent_and_gives_back_what_was_not(
    window: Window,
) -> None:
    window.rail.loses_answers = True
    sent = await window.ask(AMOUNT, key="sent")
    await died_after(window, TAKEN)
    window.rail.name = "renamed"

    with pytest.raises(RailDownError):
        await finish_payout(window.house.gateway, sent.payout_id)
    await reconcile(window.house.gateway)

    unsent = await window.refunds.find(window.account_id, window.request().payout_id)
    assert (unsent.state, await window.available()) == ("failed", BOUGHT - AMOUNT)
    assert await window.house.views.payouts_unfinished() == (sent.payout_id,)
