from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import pytest
from eventsourcing.persistence import OperationalError

from adapters.store import cache as cache_module
from adapters.store import owner as owner_module
from adapters.store.owner import LedgerOwner
from adapters.store.sqlite import LedgerRecorder
from domain.account import Account
from domain.errors import BusyError, InsufficientCreditsError, LedgerDownError, NotFoundError
from domain.ledger import Ledger, Work
from domain.money import Microcredits
from domain.record import Record
from tests.fakes.disk import Disk
from tests.fakes.stored_house import ledger_at

POOL_SIZE = 5
AT_MS = 1_700_000_000_000
WALLET = "0x" + "a" * 40
ACCOUNT_ID = Account.create_id("evm", WALLET)


@dataclass
class Place:
    ledger: Ledger
    recorder: LedgerRecorder
    owner: LedgerOwner
    disk: Disk
    heard: list[Record] = field(default_factory=list)


@contextlib.contextmanager
def running(folder: Path | None = None) -> Iterator[Place]:
    with ledger_at(folder) as (ledger, recorder):
        heard: list[Record] = []
        disk = Disk(recorder)
        owner = LedgerOwner(ledger, history=recorder.history, committed=heard.extend)
        try:
            yield Place(ledger, recorder, owner, disk, heard)
        finally:
            disk.gate.set()
            owner.close()


@pytest.fixture
def place() -> Iterator[Place]:
    with running() as started:
        yield started


def opens(amount: int = 1_000, wallet: str = WALLET) -> Callable[[Work], Account]:
    def command(work: Work) -> Account:
        account = Account.open(chain="evm", wallet=wallet, at_ms=AT_MS)
        work.add(account)
        account.purchase(
            Microcredits(amount), payment_id=UUID(int=amount), rail="cash", at_ms=AT_MS
        )
        return account

    return command


def reserves(amount: int, number: int) -> Callable[[Work], int]:
    def command(work: Work) -> int:
        account = work.account(ACCOUNT_ID)
        account.reserve(
            Microcredits(amount),
            session_id=UUID(int=number),
            service="stt",
            unit_id=UUID(int=number),
            at_ms=AT_MS,
        )
        return account.available.value

    return command


def available(work: Work) -> int:
    return work.account(ACCOUNT_ID).available.value


async def hold(place: Place, command: Callable[[Work], object]) -> asyncio.Task[object]:
    """Start a command and leave it inside its write, so that what follows fills the next batch."""
    place.disk.reached.clear()
    place.disk.gate.clear()
    task = asyncio.create_task(place.owner.run(command))
    await asyncio.to_thread(place.disk.reached.wait, 10)
    return task


async def queue(place: Place, *commands: Callable[[Work], object]) -> list[asyncio.Task[object]]:
    tasks = [asyncio.create_task(place.owner.run(command)) for command in commands]
    await asyncio.sleep(0)
    return tasks


async def test_a_command_answers_once_its_events_are_stored(place: Place) -> None:
    account = await place.owner.run(opens(1_000))

    assert account.available == Microcredits(1_000)
    assert place.ledger.load(ACCOUNT_ID) == account
    assert place.owner.position == place.ledger.position == 2


async def test_commands_that_come_during_a_write_share_the_next_one(place: Place) -> None:
    first = await hold(place, opens(1_000))
    others = await queue(place, *(reserves(10, n) for n in range(20)))

    place.disk.gate.set()
    await asyncio.gather(first, *others)

    assert place.disk.commits == [2, 20]


async def test_a_command_sees_the_ones_before_it_in_its_batch(place: Place) -> None:
    first = await hold(place, opens(100))
    others = await queue(place, *(reserves(30, n) for n in range(5)))

    place.disk.gate.set()
    await first
    answers = await asyncio.gather(*others, return_exceptions=True)

    assert answers[:3] == [70, 40, 10]
    assert [type(answer) for answer in answers[3:]] == [InsufficientCreditsError] * 2
    assert await place.owner.run(available) == 10


async def test_a_refused_command_leaves_no_trace(place: Place) -> None:
    await place.owner.run(opens(100))

    def changes_its_mind(work: Work) -> None:
        work.account(ACCOUNT_ID).purchase(
            Microcredits(1), payment_id=UUID(int=5), rail="cash", at_ms=AT_MS
        )
        raise NotFoundError(what="Session")

    with pytest.raises(NotFoundError):
        await place.owner.run(changes_its_mind)

    assert await place.owner.run(available) == 100
    assert place.owner.position == 2


async def test_a_refusal_does_not_reach_its_neighbours(place: Place) -> None:
    first = await hold(place, opens(100))
    others = await queue(place, reserves(60, 1), reserves(60, 2), reserves(40, 3))

    place.disk.gate.set()
    await first
    answers = await asyncio.gather(*others, return_exceptions=True)

    assert answers[0] == 40
    assert isinstance(answers[1], InsufficientCreditsError)
    assert answers[2] == 0
    assert place.disk.commits == [2, 2]


def unwritable(work: Work) -> None:
    """A lone surrogate is no Unicode: a JSON body can carry one, the log cannot."""
    work.account(ACCOUNT_ID).purchase(
        Microcredits(1), payment_id=UUID(int=5), rail="\ud800", at_ms=AT_MS
    )


async def test_an_event_that_cannot_be_written_down_fails_alone(place: Place) -> None:
    first = await hold(place, opens(100))
    others = await queue(place, reserves(10, 1), unwritable, reserves(10, 2))

    place.disk.gate.set()
    await first
    answers = await asyncio.gather(*others, return_exceptions=True)

    assert answers[0] == 90
    assert isinstance(answers[1], UnicodeEncodeError)
    assert answers[2] == 80


async def test_a_command_that_cannot_be_stored_fails_alone(place: Place) -> None:
    await place.owner.run(opens(100))
    first = await hold(place, reserves(10, 1))
    # The second opens an account that is there: its first version collides, whatever is retried.
    others = await queue(place, reserves(10, 2), opens(5), reserves(10, 3))

    place.disk.gate.set()
    await first
    answers = await asyncio.gather(*others, return_exceptions=True)

    assert answers[0] == 80
    assert isinstance(answers[1], LedgerDownError)
    assert answers[2] == 70


async def test_a_conflict_is_decided_again_on_fresh_state(tmp_path: Path) -> None:
    with running(tmp_path) as one, running(tmp_path) as other:
        await one.owner.run(opens(100))
        assert await other.owner.run(available) == 100
        await one.owner.run(reserves(70, 1))

        # The other still holds the account as it was; it must not spend what is gone.
        with pytest.raises(InsufficientCreditsError):
            await other.owner.run(reserves(40, 2))
        left = await other.owner.run(reserves(30, 3))

    assert left == 0


async def test_a_conflict_that_does_not_end_is_given_up(place: Place) -> None:
    await place.owner.run(opens(100))
    place.disk.beaten = 100

    with pytest.raises(LedgerDownError):
        await place.owner.run(reserves(10, 1))

    assert place.disk.beaten == 100 - owner_module.ATTEMPTS_MAX
    place.disk.beaten = 0
    assert await place.owner.run(available) == 100


async def test_a_full_disk_refuses_and_loses_nothing(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    await place.owner.run(opens(100))
    place.disk.full = True

    with pytest.raises(LedgerDownError) as refusal:
        await place.owner.run(reserves(10, 1))

    assert isinstance(refusal.value.__cause__, OperationalError)
    assert "ledger write failed" in caplog.messages
    assert place.owner.position == 2
    # Reading goes on, and so does writing once there is room.
    assert await place.owner.run(available) == 100
    place.disk.full = False
    assert await place.owner.run(reserves(10, 1)) == 90


async def test_a_database_at_its_limit_refuses_and_loses_nothing(tmp_path: Path) -> None:
    with running(tmp_path) as place:
        await place.owner.run(opens(10**9))
        limit_pages(place.recorder, 6)

        stored, refusal = 0, None
        while refusal is None and stored < 1_000:
            try:
                await place.owner.run(reserves(1, stored))
                stored += 1
            except LedgerDownError as down:
                refusal = down

        assert refusal is not None
        assert "full" in str(refusal.__cause__)
        assert stored > 0
        assert await place.owner.run(available) == 10**9 - stored
        limit_pages(place.recorder, 1_000_000)
        assert await place.owner.run(reserves(1, 5_000)) == 10**9 - stored - 1
        account = place.ledger.load(ACCOUNT_ID)
        assert isinstance(account, Account)
        assert account.available.value == 10**9 - stored - 1


def limit_pages(recorder: LedgerRecorder, pages: int) -> None:
    """Let the file grow to so many pages on every connection there is."""
    with contextlib.ExitStack() as stack:
        for _ in range(POOL_SIZE):
            connection = stack.enter_context(recorder.datastore.get_connection(commit=False))
            connection.cursor().execute(f"PRAGMA max_page_count={pages}")


async def test_an_aggregate_that_cannot_be_read_refuses_its_command_alone(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    unreadable = UUID(int=77)
    load = place.ledger.load

    def loads(aggregate_id: UUID) -> object:
        if aggregate_id == unreadable:
            raise OperationalError("disk I/O error")
        return load(aggregate_id)

    monkeypatch.setattr(place.ledger, "load", loads)
    first = await hold(place, opens(100))
    others = await queue(
        place, reserves(10, 1), lambda work: work.account(unreadable), reserves(10, 2)
    )

    place.disk.gate.set()
    await first
    answers = await asyncio.gather(*others, return_exceptions=True)

    assert answers[0] == 90
    assert isinstance(answers[1], LedgerDownError)
    assert answers[2] == 80


async def test_a_full_queue_refuses_without_doing_anything(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner_module, "QUEUE_MAX", 2)
    first = await hold(place, opens(100))
    others = await queue(place, reserves(10, 1), reserves(10, 2), reserves(10, 3))

    place.disk.gate.set()
    await first
    answers = await asyncio.gather(*others, return_exceptions=True)

    assert answers[:2] == [90, 80]
    assert isinstance(answers[2], BusyError)
    assert await place.owner.run(available) == 80


async def test_a_batch_has_a_limit(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owner_module, "BATCH_MAX", 3)
    first = await hold(place, opens(100))
    others = await queue(place, *(reserves(1, n) for n in range(7)))

    place.disk.gate.set()
    await asyncio.gather(first, *others)

    assert place.disk.commits == [2, 3, 3, 1]


async def test_a_command_is_done_though_its_caller_went_away(place: Place) -> None:
    await place.owner.run(opens(100))
    task = await hold(place, reserves(10, 1))

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    place.disk.gate.set()

    assert await place.owner.run(available) == 90


async def test_closing_commits_what_is_queued_and_takes_no_more(place: Place) -> None:
    first = await hold(place, opens(100))
    others = await queue(place, reserves(10, 1), reserves(10, 2))

    closing = asyncio.create_task(asyncio.to_thread(place.owner.close))
    place.disk.gate.set()
    await asyncio.gather(first, *others, closing)

    account = place.ledger.load(ACCOUNT_ID)
    assert isinstance(account, Account)
    assert account.available == Microcredits(80)
    with pytest.raises(BusyError):
        await place.owner.run(available)


async def test_followers_hear_every_event_once_and_in_order(place: Place) -> None:
    await place.owner.run(opens(100))
    await asyncio.gather(*(place.owner.run(reserves(1, n)) for n in range(9)))

    assert [record.position for record in place.heard] == list(range(1, 12))
    assert tuple(place.heard) == tuple(place.recorder.scan())
    assert await place.owner.history([ACCOUNT_ID]) == tuple(place.heard)


async def test_a_follower_that_fails_stops_nobody(caplog: pytest.LogCaptureFixture) -> None:
    def fails(records: tuple[Record, ...]) -> None:
        raise OSError(f"no space left to sign a head over {len(records)}")

    with ledger_at() as (ledger, recorder):
        owner = LedgerOwner(ledger, history=recorder.history, committed=fails)
        with contextlib.closing(owner), caplog.at_level(logging.ERROR):
            await asyncio.wait_for(owner.run(opens(100)), 10)
            await asyncio.wait_for(owner.run(reserves(10, 1)), 10)

            assert await owner.run(available) == 90
    assert "a follower of the ledger failed" in caplog.messages


async def test_a_command_that_only_reads_writes_nothing(place: Place) -> None:
    await place.owner.run(opens(100))

    await place.owner.run(available)

    assert place.disk.commits == [2]


async def test_an_aggregate_that_was_forgotten_is_loaded_again(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "CACHE_MAX", 1)
    await place.owner.run(opens(100))
    await place.owner.run(opens(5, wallet="0x" + "b" * 40))

    assert await place.owner.run(reserves(10, 1)) == 90
