"""The operator's command over a ledger whose gateway is stopped, and beside one that runs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import pytest

from adapters.log_keys import load_log_keys
from adapters.operator_inbox import Inbox
from adapters.store.exclusive import held
from domain.account import Account
from domain.ledger import Work
from domain.money import Microcredits
from domain.payout import Payout
from tests.fakes.stored import replay_all
from tests.fakes.stored_house import StoredHouse, stored_house
from tests.unit.adapters.cli.test_ledger import Screen

WALLET = "0x" + "a" * 40
ADDRESS = "0xAaAaAaAaAaAaAaAaAaAaAaAaAaAaAaAaAaAaAaAa"
ACCOUNT_ID = Account.create_id("evm", WALLET)
ID = "00000000-0000-4000-8000-000000000001"
WHY = ("--why", "the call was cut off")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A wallet bought a dollar over cash."""
    folder = tmp_path / "data"
    folder.mkdir()
    load_log_keys(folder, name="gateway.test")
    with stored_house(folder) as stored:
        stored.house.books = stored.owner  # type: ignore[assignment]  # the same port
        asyncio.run(stored.house.fund(WALLET, 1_000_000))
    return folder


@pytest.fixture
def payphone(capsys: pytest.CaptureFixture[str]) -> Screen:
    return Screen(capsys)


def payouts(data: Path) -> list[Payout]:
    with stored_house(data) as stored:
        return [a for a in replay_all(stored.records()).values() if isinstance(a, Payout)]


def test_it_is_written_and_waits_for_the_gateway(data: Path, payphone: Screen) -> None:
    said = payphone(
        *("refund", "--data", data, "--account", ACCOUNT_ID, "--amount", "0.4", "--fee", "0.1"),
        *("--who", "ops-1", *WHY),
    )

    (payout,) = payouts(data)
    assert "1 USD available" in said
    assert "0.4 USD of credit, 0.1 of it kept, the rest to be paid over cash" in said
    assert "the gateway pays it when it starts" in said
    assert (payout.state, payout.rail, payout.net.value) == ("requested", "cash", 300_000)
    assert payout.wallet == WALLET


def test_a_wallet_is_named_by_chain_and_address_in_any_spelling(
    data: Path, payphone: Screen
) -> None:
    for address in (WALLET, ADDRESS):
        payphone(*("refund", "--data", data, "--wallet", f"evm:{address}", "--amount", "0.1", *WHY))

    assert {payout.account_id for payout in payouts(data)} == {ACCOUNT_ID}


def test_all_is_everything_and_a_repeat_is_the_same(data: Path, payphone: Screen) -> None:
    words = ("refund", "--data", data, "--account", ACCOUNT_ID, "--amount", "all", "--id", ID)

    said = [payphone(*words, *WHY) for _ in range(2)]

    (payout,) = payouts(data)
    assert payout.amount.value == 1_000_000
    assert all(f"refund {ID}: 1 USD of credit" in text for text in said)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--account", ACCOUNT_ID, "--amount", "1.1", *WHY), "1 USD are available"),
        (("--account", ACCOUNT_ID, "--amount", "0.1", "--fee", "0.1", *WHY), "nothing would be"),
        (("--account", ACCOUNT_ID, "--amount", "0.1", "--rail", "gold", *WHY), "over gold"),
        (("--account", ACCOUNT_ID, "--amount", "ten", *WHY), "--amount: expected a dollar"),
        (("--account", ACCOUNT_ID, "--amount", "1", "--fee", "-1", *WHY), "--fee: expected"),
        (("--account", ACCOUNT_ID, "--amount", "1", "--why", ""), "--why: expected 1 to 200"),
        (("--account", ID, "--amount", "1", *WHY), "there is no account"),
        (("--wallet", WALLET, "--amount", "1", *WHY), "--wallet: expected evm:0x"),
        (("--wallet", "evm:0x12", "--amount", "1", *WHY), "--wallet: expected evm:0x"),
    ],
)
def test_what_cannot_be_is_told_and_nothing_is_written(
    data: Path, payphone: Screen, words: tuple[object, ...], reason: str
) -> None:
    said = payphone("refund", "--data", data, *words, status=1)

    assert f"not refunded: {reason}" in said or reason in said
    assert payouts(data) == []


def test_where_there_is_no_ledger_it_says_so(tmp_path: Path, payphone: Screen) -> None:
    said = payphone(
        *("refund", "--data", tmp_path, "--account", ACCOUNT_ID, "--amount", "1", *WHY), status=1
    )

    assert "not refunded: no ledger" in said


@contextmanager
def gateway_on(data: Path, *faults: str) -> Iterator[None]:
    """A gateway that runs: it holds the folder, looks into its inbox, and pays, if it can."""
    stop = threading.Event()

    async def run() -> None:
        with held(data), stored_house(data) as stored:
            inbox = Inbox(data)
            for fault in faults:
                setattr(stored.house.rail, fault, True)
            up.set()
            attending = asyncio.create_task(inbox.attend(stored.gateway, is_owner=lambda: True))
            while not stop.is_set():
                await asyncio.sleep(0.01)
                await stored.house.clock.advance(1_000)
            attending.cancel()
            await asyncio.gather(attending, return_exceptions=True)

    up = threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    up.wait()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_a_gateway_that_runs_is_handed_it_and_pays(data: Path, payphone: Screen) -> None:
    with gateway_on(data):
        said = payphone(
            *("refund", "--data", data, "--account", ACCOUNT_ID, "--amount", "0.4", "--id", ID),
            *("--wait", *WHY),
        )

    assert f"refund {ID}: 0.4 USD of credit" in said
    assert "paid 0.4 USD: cash receipt cash|" in said
    assert [payout.state for payout in payouts(data)] == ["paid"]


def test_a_gateway_that_is_busy_takes_it_later(
    data: Path, payphone: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.cli.refund._TAKEN_WAIT_S", 0.1)
    with held(data):
        said = payphone(
            *("refund", "--data", data, "--account", ACCOUNT_ID, "--amount", "0.4", "--id", ID),
            *("--wait", *WHY),
        )

    assert "its gateway is busy and takes it in later" in said
    assert Inbox(data).is_waiting(Payout.create_id(ACCOUNT_ID, f"operator:{ID}"))


def test_a_refund_that_takes_long_is_asked_for_again(
    data: Path, payphone: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.cli.refund._PAID_WAIT_S", 0.1)
    words = ("refund", "--data", data, "--account", ACCOUNT_ID, "--amount", "0.4", "--id", ID)
    with gateway_on(data, "loses_answers", "unreadable"):
        late = payphone(*words, "--wait", *WHY, status=1)
    with gateway_on(data):
        paid = payphone(*words, "--wait", *WHY)

    assert f"still under way (uncertain): ask again with --id {ID}" in late
    assert "paid 0.4 USD" in paid


def test_a_gateway_that_refuses_is_heard(data: Path, payphone: Screen) -> None:
    with gateway_on(data):
        said = payphone(
            *("refund", "--data", data, "--account", ACCOUNT_ID, "--amount", "2", *WHY), status=1
        )

    assert "not refunded: No refund: 1 USD are available" in said


def test_a_refund_that_fails_is_told(data: Path, payphone: Screen) -> None:
    """The rail it was bought over is not one that this gateway pays back over."""
    words = ("refund", "--data", data, "--account", ACCOUNT_ID, "--amount", "0.4", "--id", ID)
    with stored_house(data) as stored:
        asyncio.run(buys_gold(stored))
    with gateway_on(data):
        said = payphone(*words, "--rail", "gold", "--wait", *WHY, status=1)

    assert "not paid, and all credit is back: no wallet of ours pays back" in said


async def buys_gold(stored: StoredHouse) -> None:
    def command(work: Work) -> None:
        work.account(ACCOUNT_ID).purchase(
            Microcredits(500_000), payment_id=UUID(int=5), rail="gold", at_ms=0
        )

    await stored.owner.run(command)
