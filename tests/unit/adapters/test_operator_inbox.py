from __future__ import annotations

import asyncio
import json
import stat
from pathlib import Path
from uuid import UUID

import pytest

from adapters.operator_inbox import LOOK_MS, Inbox
from domain.account import Account
from domain.money import Microcredits
from domain.payout import Payout
from domain.use_cases.refund_credits import RefundRequest
from tests.fakes.gateway import House

WALLET = "0x" + "a" * 40
ACCOUNT_ID = Account.create_id("evm", WALLET)


def request(amount: int = 400_000, *, account_id: UUID = ACCOUNT_ID) -> RefundRequest:
    return RefundRequest(
        payout_id=Payout.create_id(account_id, "operator:1"),
        account_id=account_id,
        amount=Microcredits(amount),
        fee=Microcredits(1_000),
        rail="cash",
        who="ops-1",
        why='a "test" of µcr',
    )


@pytest.fixture
async def house() -> House:
    house = House()
    await house.fund(WALLET, 1_000_000)
    return house


@pytest.fixture
def inbox(tmp_path: Path) -> Inbox:
    return Inbox(tmp_path)


def topics(house: House) -> list[str]:
    return [r.topic for r in house.books.records() if r.topic.startswith("payout.")]


async def test_what_is_left_there_is_written_into_the_ledger(house: House, inbox: Inbox) -> None:
    inbox.leave(request())
    waiting = inbox.is_waiting(request().payout_id)

    taken = await inbox.work_off(house.gateway)

    assert (waiting, taken, inbox.is_waiting(request().payout_id)) == (True, 1, False)
    asked = next(r for r in house.books.records() if r.topic == "payout.requested").fields
    assert (asked["amount"], asked["fee"], asked["who"], asked["why"]) == (
        400_000,
        1_000,
        "ops-1",
        'a "test" of µcr',
    )


async def test_nobody_else_can_read_it(inbox: Inbox) -> None:
    inbox.leave(request())

    (path,) = (inbox.data / "operator" / "refunds").iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


async def test_a_request_that_is_taken_twice_is_one_refund(house: House, inbox: Inbox) -> None:
    """The process died after it had written it, and before it had deleted it."""
    for _ in range(2):
        inbox.leave(request())
        await inbox.work_off(house.gateway)

    assert topics(house) == ["payout.requested"]


async def test_a_refusal_is_told_and_the_next_is_taken(house: House, inbox: Inbox) -> None:
    stranger = request(account_id=UUID(int=7))
    inbox.leave(stranger)
    inbox.leave(request(1_000_001))
    await inbox.work_off(house.gateway)

    assert inbox.refusal(stranger.payout_id) == "Account not found"
    assert "1 USD are available" in inbox.refusal(request().payout_id)
    inbox.leave(request())
    assert inbox.refusal(request().payout_id) == ""
    await inbox.work_off(house.gateway)
    assert topics(house) == ["payout.requested"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        json.dumps({"payout_id": "1", "rail": "", "who": "", "why": ""}),
        json.dumps({"payout_id": "no id", "rail": "", "who": "ops", "why": ""}),
        " " * 70_000,
    ],
)
async def test_what_is_no_request_is_put_aside(house: House, inbox: Inbox, text: str) -> None:
    inbox.leave(request())
    (path,) = (inbox.data / "operator" / "refunds").iterdir()
    path.write_text(text)

    await inbox.work_off(house.gateway)

    assert not path.exists()
    assert inbox.refusal(request().payout_id)
    assert topics(house) == []


@pytest.mark.parametrize("fault", ["busy", "down"])
async def test_while_the_ledger_cannot_be_written_it_stays(
    house: House, inbox: Inbox, fault: str
) -> None:
    inbox.leave(request())
    setattr(house.books, fault, True)

    taken = await inbox.work_off(house.gateway)
    setattr(house.books, fault, False)

    assert (taken, inbox.is_waiting(request().payout_id)) == (0, True)
    assert await inbox.work_off(house.gateway) == 1


async def test_the_owner_looks_in_and_pays_at_once(house: House, inbox: Inbox) -> None:
    is_owner = False
    attending = asyncio.create_task(inbox.attend(house.gateway, is_owner=lambda: is_owner))
    inbox.leave(request())
    await house.clock.advance(5 * LOOK_MS)
    before = topics(house)
    is_owner = True
    await house.clock.advance(2 * LOOK_MS)

    attending.cancel()
    await asyncio.gather(attending, return_exceptions=True)
    assert before == []
    assert topics(house)[-1] == "payout.paid"
    assert house.rail.purses[WALLET] == 399_000


async def test_a_failure_is_told_and_the_looking_goes_on(
    house: House, inbox: Inbox, caplog: pytest.LogCaptureFixture
) -> None:
    no_file = inbox.data / "operator" / "refunds" / "a.json"
    no_file.mkdir(parents=True)
    attending = asyncio.create_task(inbox.attend(house.gateway, is_owner=lambda: True))
    await house.clock.advance(LOOK_MS)
    no_file.rmdir()
    inbox.leave(request())
    await house.clock.advance(2 * LOOK_MS)

    attending.cancel()
    await asyncio.gather(attending, return_exceptions=True)
    assert "inbox failed" in caplog.text
    assert topics(house)[-1] == "payout.paid"
