from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest

from adapters.store import shared
from adapters.store.command_socket_client import CommandLink, MovedError
from adapters.store.command_socket_server import Outcome
from adapters.store.lease import Leases
from adapters.store.postgres import PostgresRecorder, postgres_environment
from adapters.store.shared import SharedBooks
from domain.errors import BusyError, LedgerDownError, NotFoundError
from domain.ledger import Ledger, Work
from domain.payment import Payment
from domain.record import Record
from tests.fakes.teller import ACCOUNT_ID, RAIL, pay

pytestmark = pytest.mark.postgres

TTL_MS = 600
TURN_S = 0.01
PATIENCE = 1_000
UNKNOWN = partial(Work.payment, payment_id=Payment.create_id(RAIL, "unknown"))


class Process:
    """What one gateway has of the shared ledger, and what its callbacks said."""

    def __init__(self, url: str, failures: Sequence[Exception]) -> None:
        self.news: list[str] = []
        self.records: list[Record] = []
        self._failures = list(failures)
        self._ledger = Ledger(env=postgres_environment(url))
        self._leases = Leases(url)
        self.books = SharedBooks(
            self._ledger,
            self._leases,
            committed=self.records.extend,
            became_owner=self._become_owner,
            lost=lambda: self.news.append("lost"),
            ttl_ms=TTL_MS,
        )

    async def pay(self, key: str) -> int:
        return await self.books.run(partial(pay, key=key))

    def close(self) -> None:
        self.books.close()
        self._leases.close()
        self._ledger.close()

    def _become_owner(self) -> None:
        if self._failures:
            raise self._failures.pop()
        self.news.append(f"owner at {self._ledger.position}")


@asynccontextmanager
async def process(url: str, failures: Sequence[Exception] = ()) -> AsyncIterator[Process]:
    started = Process(url, failures)
    try:
        yield started
    finally:
        await asyncio.to_thread(started.close)


@asynccontextmanager
async def owner_and_follower(url: str) -> AsyncIterator[tuple[Process, Process]]:
    async with process(url) as owner:
        await owner.pay("first")
        async with process(url) as follower:
            yield owner, follower


async def until(what: Callable[[], Any]) -> None:
    for _ in range(PATIENCE):
        if what():
            return
        await asyncio.sleep(TURN_S)
    raise AssertionError("it never came to that")


async def test_a_follower_has_its_commands_run_by_the_owner(database: str) -> None:
    async with owner_and_follower(database) as (owner, follower):
        assert await follower.pay("second") == 2
        assert (owner.books.is_owner, follower.books.is_owner) == (True, False)

    assert follower.records == []


async def test_every_process_knows_the_position_of_its_own_writes(database: str) -> None:
    async with owner_and_follower(database) as (owner, follower):
        before = owner.books.position
        assert follower.books.position == before

        await follower.pay("second")

        assert before < follower.books.position == owner.books.position


async def test_everybody_reads_the_same_history(database: str) -> None:
    async with owner_and_follower(database) as (owner, follower):
        theirs = await follower.books.history([ACCOUNT_ID])

        assert theirs == await owner.books.history([ACCOUNT_ID])
        assert [r.topic for r in theirs] == ["account.opened", "account.credits_purchased"]


async def test_a_refusal_reaches_a_follower(database: str) -> None:
    async with owner_and_follower(database) as (_, follower):
        with pytest.raises(NotFoundError, match="Payment not found"):
            await follower.books.run(UNKNOWN)


async def test_an_owner_that_leaves_hands_over_everything(database: str) -> None:
    async with owner_and_follower(database) as (owner, follower):
        await follower.pay("second")
        head = owner.books.position

        await asyncio.to_thread(owner.books.close)

        assert await follower.pay("third") == 3
        assert owner.news == ["owner at 0", "lost"]
        assert follower.news == [f"owner at {head}"]
        assert [r.position for r in owner.records] == list(range(1, head + 1))
        assert follower.records[0].position == head + 1


async def test_a_follower_whose_folder_was_swept_out_can_still_take_over(
    database: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "mkdtemp", lambda prefix: f"{tmp_path}/{prefix}gone")
    async with process(database) as started:
        assert await started.pay("first") == 1


async def test_a_closed_process_refuses_commands(database: str) -> None:
    async with owner_and_follower(database) as (_, follower):
        await asyncio.to_thread(follower.books.close)

        with pytest.raises(BusyError):
            await follower.pay("second")


async def test_commands_wait_for_an_owner_a_bounded_time(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared, "WAIT_S", 0.1)
    with closing(PostgresRecorder(database)), closing(Leases(database)) as leases:
        leases.acquire("somebody else", address="/nowhere")
        async with process(database) as waiting:
            with pytest.raises(LedgerDownError) as down:
                await waiting.pay("first")

    assert isinstance(down.value.__cause__, FileNotFoundError)


async def test_a_bounded_number_of_commands_wait_for_an_owner(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared, "WAIT_S", 0.3)
    monkeypatch.setattr(shared, "WAITING_MAX", 2)
    with closing(PostgresRecorder(database)), closing(Leases(database)) as leases:
        leases.acquire("somebody else", address="/nowhere")
        async with process(database) as waiting:
            told = await asyncio.gather(
                *(waiting.pay(str(i)) for i in range(3)), return_exceptions=True
            )

    assert [type(one) for one in told] == [LedgerDownError, LedgerDownError, BusyError]


async def test_a_process_that_may_not_own_the_ledger_leaves_it_to_others(database: str) -> None:
    damage = ValueError("the log is damaged")
    async with process(database, [damage]) as unfit, process(database) as fit:
        await until(lambda: fit.books.is_owner)

        assert await unfit.pay("first") == 1
        assert not unfit.books.is_owner


async def test_a_process_that_could_not_take_over_for_a_moment_tries_again(database: str) -> None:
    async with process(database, failures=[LedgerDownError()]) as started:
        assert await started.pay("first") == 1
        assert started.news == ["owner at 0"]


async def test_an_owner_whose_epoch_is_over_takes_the_lease_anew_and_answers(
    database: str,
) -> None:
    async with owner_and_follower(database) as (owner, follower):
        with psycopg.connect(database) as connection:
            connection.execute("UPDATE ledger_leases SET epoch = epoch + 1")

        told = await asyncio.gather(owner.pay("second"), follower.pay("third"))

        assert sorted(told) == [2, 3]


async def test_an_owner_that_finds_another_in_its_place_follows_until_there_is_none(
    database: str,
) -> None:
    async with owner_and_follower(database) as (owner, follower):
        with psycopg.connect(database) as connection:
            connection.execute(
                "UPDATE ledger_leases SET epoch = epoch + 1, owner = 'other', address = '/nowhere',"
                " expires_at = clock_timestamp() + interval '400 milliseconds'"
            )
        await until(lambda: "lost" in owner.news)

        assert [await follower.pay("second"), await owner.pay("third")] == [2, 3]
        assert owner.books.is_owner != follower.books.is_owner


async def test_busy_is_not_said_of_a_command_that_may_have_been_done(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = [BusyError(), MovedError()]

    async def fail(_link: CommandLink, _command: object) -> None:
        raise told.pop()

    async with owner_and_follower(database) as (_, follower):
        await follower.pay("second")
        monkeypatch.setattr(CommandLink, "run", fail)

        with pytest.raises(LedgerDownError):
            await follower.pay("third")


async def test_an_answer_lost_on_the_way_is_looked_up(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost: list[object] = []

    def lose_the_first(link: CommandLink, number: int, outcome: Outcome, value: object) -> None:
        if lost:
            deliver(link, number, outcome, value)
            return
        lost.append(value)
        link.close()

    deliver = CommandLink._deliver
    async with owner_and_follower(database) as (owner, follower):
        monkeypatch.setattr(CommandLink, "_deliver", lose_the_first)

        assert await follower.pay("second") == 2

        credited = [r for r in owner.records if r.topic == "payment.credited"]
        assert lost == [2]
        assert len(credited) == 2
