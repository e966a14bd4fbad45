"""Credits bought, partly spent, and the rest paid back on the chain they came from (B16)."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from domain.payout import Payout
from tests.e2e.conftest import StartGateway
from tests.e2e.refunding import (
    BARE,
    BOUGHT,
    DOOM,
    FEE,
    NET,
    ON,
    PATH,
    STEPS,
    audited,
    wallet_at,
)


async def test_what_is_left_after_a_call_goes_back_to_the_chain(start: StartGateway) -> None:
    gateway = start(**ON)
    async with wallet_at(gateway) as wallet:
        before = await wallet.on_chain()
        await wallet.customer.buy("0.90")
        ticket = await wallet.customer.call("POST", "/v1/stt/session", {"duration_minutes": 5})
        call = await wallet.customer.listen(ticket, language="en")
        await call.say(bytes(32_000))
        await call.hang_up()
        ended = await wallet.customer.call("POST", f"/v1/sessions/{ticket['session_id']}/end")
        quote = await wallet.customer.call("GET", PATH)

        refund = await wallet.ask(amount_usd=quote["max_usd"], fee_usd=quote["fee_usd"])

        left = BOUGHT - int(ended["charged_microcredits"])
        assert int(ended["charged_microcredits"]) > 0
        assert (refund["http"], refund["status"]) == (200, "paid")
        assert int(refund["net_microcredits"]) == left - FEE
        assert await wallet.on_chain() == before - BOUGHT + left - FEE
        assert await wallet.available() == 0
    assert gateway.stop() == 0
    rows = audited(gateway.data).books.by_kind()
    assert (rows["payouts:pending"], rows["revenue:payout_fee"]) == (0, FEE)
    assert rows["world:x402-base"] == -BOUGHT + left - FEE


async def test_four_copies_of_a_request_are_one_refund(start: StartGateway) -> None:
    gateway = start(**ON, **BARE)
    async with wallet_at(gateway) as wallet:
        await wallet.customer.buy("0.90")
        before = await wallet.on_chain()

        answers = await asyncio.gather(*(wallet.ask() for _ in range(4)))

        assert {answer["status"] for answer in answers} == {"paid"}
        assert len({answer["reference"] for answer in answers}) == 1
        assert await wallet.on_chain() == before + NET
        assert await wallet.available() == BOUGHT - 500_000


@pytest.mark.parametrize("steps", range(STEPS))
async def test_killed_between_any_two_steps_it_pays_once_or_takes_nothing(
    start: StartGateway, steps: int
) -> None:
    gateway = start(**ON, **BARE, PYTHONPATH=DOOM, DOOM_AFTER=str(steps))
    async with wallet_at(gateway) as wallet:
        await wallet.customer.buy("0.90")
        before = await wallet.on_chain()
        with pytest.raises(aiohttp.ClientError):
            await wallet.ask()
    gateway.process.wait(timeout=10)

    healed = start(**ON, **BARE)
    async with wallet_at(healed) as wallet:
        refund = await wallet.ask()
        refund = await wallet.outcome(refund["id"])

        assert refund["status"] == "paid"
        assert await wallet.on_chain() == before + NET
        assert await wallet.available() == BOUGHT - 500_000
    assert healed.stop() == 0
    found = audited(healed.data)
    assert found.books.by_kind()["payouts:pending"] == 0
    assert [a.state for a in found.aggregates.values() if isinstance(a, Payout)] == ["paid"]


async def test_what_was_begun_is_carried_out_without_anybody_asking_again(
    start: StartGateway,
) -> None:
    """Killed before it signed: the next process signs, sends, and tells who looks."""
    gateway = start(**ON, **BARE, PYTHONPATH=DOOM, DOOM_AFTER="2")
    async with wallet_at(gateway) as wallet:
        await wallet.customer.buy("0.90")
        before = await wallet.on_chain()
        with pytest.raises(aiohttp.ClientError):
            await wallet.ask()
    gateway.process.wait(timeout=10)
    (begun,) = (a for a in audited(gateway.data).aggregates.values() if isinstance(a, Payout))

    healed = start(**ON, **BARE)
    async with wallet_at(healed) as wallet:
        refund = await wallet.outcome(str(begun.id))

        assert (begun.state, refund["status"]) == ("requested", "paid")
        assert await wallet.on_chain() == before + NET


async def test_a_lost_answer_is_found_on_the_chain(start: StartGateway) -> None:
    gateway = start(**ON, **BARE)
    async with wallet_at(gateway) as wallet:
        await wallet.customer.buy("0.90")
        before = await wallet.on_chain()
        await wallet.break_("lose_answer")

        refund = await wallet.ask()

        assert refund["status"] == "paid"
        assert await wallet.on_chain() == before + NET


async def test_killed_while_the_chain_had_moved_it_is_found_by_the_next(
    start: StartGateway,
) -> None:
    gateway = start(**ON, **BARE)
    async with wallet_at(gateway) as wallet:
        await wallet.customer.buy("0.90")
        before = await wallet.on_chain()
        await wallet.break_("settle_delay_ms", 60_000)
        asking = asyncio.create_task(wallet.ask())
        await wallet.until_on_chain(before + NET)
        gateway.kill()
        await asyncio.gather(asking, return_exceptions=True)

    healed = start(**ON, **BARE)
    async with wallet_at(healed) as wallet:
        refund = await wallet.ask()

        assert refund["status"] == "paid"
        assert await wallet.on_chain() == before + NET


async def test_a_dark_chain_takes_nothing_from_who_has_not_asked_yet(start: StartGateway) -> None:
    gateway = start(**ON, **BARE)
    async with wallet_at(gateway) as wallet:
        await wallet.customer.buy("0.90")
        await wallet.break_("chain_unreadable")

        refused = await wallet.ask()

        assert (refused["http"], refused["code"]) == (503, "rail_down")
        assert await wallet.available() == BOUGHT


async def test_it_is_off_unless_the_operator_turns_it_on(start: StartGateway) -> None:
    gateway = start(**BARE)
    async with wallet_at(gateway) as wallet:
        await wallet.customer.buy("0.90")

        refused = await wallet.ask(fee_usd=0)

        assert (refused["http"], refused["code"]) == (409, "refund_refused")
        assert await wallet.available() == BOUGHT
