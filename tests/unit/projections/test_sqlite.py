from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path
from uuid import UUID

import pytest

from domain.account import Account
from domain.errors import PaymentUncertainError
from domain.ledger import Work
from domain.money import Microcredits
from domain.payment import Payment
from domain.ports.payments import Purchase
from domain.record import Record
from domain.use_cases.close_session import end_session
from domain.use_cases.extend_session import extend_session
from domain.use_cases.open_session import SessionRequest, open_bundle, open_session
from domain.use_cases.publish_prices import publish_prices
from domain.use_cases.purchase_credits import Purchases
from projections.rows import TABLES
from projections.sqlite import SqliteTables
from projections.views import StoredViews
from tests.fakes.bills import Tale
from tests.fakes.stored_house import StoredHouse, stored_house

WALLET = "0x" + "c" * 40
ACCOUNT_ID = Account.create_id("evm", WALLET)
SPOKEN = Tale(service="tts", quantity=1_000, steps=(("speak", 210), ("wait", 5), ("speak", 333)))
CLOCKED = Tale(steps=(("resume", 1), ("wait", 9), ("extend", 60), ("pause", 1), ("resume", 2)))


@pytest.fixture
def tables() -> Iterator[SqliteTables]:
    with closing(SqliteTables(":memory:")) as opened:
        yield opened


def contents(tables: SqliteTables) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every table."""
    return {
        table: sorted(map(tuple, tables._db.execute(f"SELECT * FROM {table}")), key=repr)  # noqa: S608 (our own names)
        for table in TABLES
    }


@pytest.mark.parametrize("tale", [SPOKEN, CLOCKED], ids=["characters", "clock"])
def test_tables_rebuilt_from_nothing_equal_the_ones_that_followed(
    tables: SqliteTables, tale: Tale
) -> None:
    for record in tale.journal.records:
        tables.apply([record])
    followed = contents(tables)

    tables.clear()
    assert tables.position == 0
    assert not any(contents(tables).values())
    tables.apply(tale.journal.records)

    assert contents(tables) == followed
    assert tables.position == len(tale.journal.records)


def test_rows_and_position_move_together(tables: SqliteTables) -> None:
    tables.apply(CLOCKED.journal.records[:3])
    before = contents(tables)

    # The second application of a row collides: nothing of the batch may stay.
    with pytest.raises(sqlite3.IntegrityError):
        tables.apply([*CLOCKED.journal.records[3:5], CLOCKED.journal.records[3]])

    assert contents(tables) == before
    assert tables.position == 3


def test_clearing_that_fails_half_way_clears_nothing(tables: SqliteTables) -> None:
    tables.apply(CLOCKED.journal.records)
    before = contents(tables)

    def refuses_the_sessions(action: int, table: str | None, *_: str | None) -> int:
        dropping = action == sqlite3.SQLITE_DROP_TABLE and table == "sessions"
        return sqlite3.SQLITE_DENY if dropping else sqlite3.SQLITE_OK

    tables._db.set_authorizer(refuses_the_sessions)
    with pytest.raises(sqlite3.DatabaseError, match="not authorized"):
        tables.clear()
    tables._db.set_authorizer(None)

    assert contents(tables) == before


def test_tables_outlive_the_process(tmp_path: Path) -> None:
    with closing(SqliteTables(tmp_path / "views.db")) as before:
        before.apply(CLOCKED.journal.records)
        rows = contents(before)

    with closing(SqliteTables(tmp_path / "views.db")) as after:
        assert contents(after) == rows


def test_tables_of_another_shape_are_told_again(tmp_path: Path) -> None:
    old = sqlite3.connect(tmp_path / "views.db")
    with closing(old), old:
        old.execute("CREATE TABLE balances (account_id TEXT PRIMARY KEY, available INTEGER)")
        old.execute("CREATE TABLE position (one INTEGER PRIMARY KEY, position INTEGER)")
        old.execute("INSERT INTO position VALUES (1, 7)")

    with closing(SqliteTables(tmp_path / "views.db")) as tables:
        assert tables.position == 0
        tables.apply(CLOCKED.journal.records)
    with closing(SqliteTables(tmp_path / "views.db")) as again:
        assert again.position == len(CLOCKED.journal.records)


def test_events_no_list_shows_only_move_the_position(tables: SqliteTables) -> None:
    unseen = Record(
        position=1,
        originator_id=UUID(int=1),
        originator_version=1,
        topic="bundle.extended",
        state=b"{}",
    )

    tables.apply([unseen])

    assert tables.position == 1


@pytest.fixture
async def stored() -> AsyncIterator[StoredHouse]:
    with stored_house() as running:
        await publish_prices(running.gateway)
        await pays(running)
        yield running


async def pays(stored: StoredHouse, number: int = 1) -> None:
    purchase = Purchase(chain="evm", wallet=WALLET, amount=Microcredits(500_000), resource_url="")
    rail = stored.house.rail
    rail.purses[WALLET] += 500_000
    proof = await rail.decode(rail.coin(purchase, number=number), purchase)
    assert proof is not None
    await Purchases(stored.gateway).take(rail, proof, purchase)


async def views(stored: StoredHouse) -> StoredViews:
    found = stored.gateway.views
    assert isinstance(found, StoredViews)
    await found.caught_up(stored.owner.position)
    return found


async def test_transactions_are_listed_newest_first_with_the_balance_after_each(
    stored: StoredHouse,
) -> None:
    request = SessionRequest(service="stt", quantity=60_000)
    ticket = await open_session(stored.gateway, ACCOUNT_ID, request)
    await end_session(stored.gateway, ACCOUNT_ID, ticket.session_id)

    rows = await (await views(stored)).transactions(ACCOUNT_ID, limit=10, offset=0)

    assert [(r.kind, r.amount, r.balance_after, r.service) for r in rows] == [
        ("refund", 6_000, 500_000, "stt"),
        ("reserve", -6_000, 494_000, "stt"),
        ("purchase", 500_000, 500_000, None),
    ]
    assert [r.reference_id for r in rows[:2]] == [ticket.session_id] * 2
    assert len({r.id for r in rows}) == 3
    assert {r.at_ms for r in rows} == {stored.house.clock.now_ms()}


async def test_lists_are_cut_by_limit_and_offset(stored: StoredHouse) -> None:
    request = SessionRequest(service="stt", quantity=1_000)
    tickets = [await open_session(stored.gateway, ACCOUNT_ID, request) for _ in range(4)]
    found = await views(stored)

    rows = await found.sessions(ACCOUNT_ID, limit=2, offset=1, status=None)
    moves = await found.transactions(ACCOUNT_ID, limit=2, offset=3)

    assert [row.id for row in rows] == [tickets[2].session_id, tickets[1].session_id]
    assert [row.kind for row in moves] == ["reserve", "purchase"]


async def test_a_session_is_listed_as_it_stands(stored: StoredHouse) -> None:
    clock = stored.house.clock
    opened_at_ms = clock.now_ms()
    request = SessionRequest(service="stt", quantity=60_000)
    ticket = await open_session(stored.gateway, ACCOUNT_ID, request)
    await clock.advance(5)
    await extend_session(
        stored.gateway, ACCOUNT_ID, ticket.session_id, service="stt", quantity=60_000
    )
    started_at_ms = clock.now_ms()
    await stored.gateway.books.run(
        lambda work: work.session(ticket.session_id).resume(UUID(int=9), at_ms=started_at_ms)
    )
    found = await views(stored)

    (row,) = await found.sessions(ACCOUNT_ID, limit=9, offset=0, status="active")
    assert await found.sessions_running() == (ticket.session_id,)
    assert (row.reserved, row.charged, row.status) == (12_000, 0, "active")
    assert (row.opened_at_ms, row.started_at_ms, row.ended_at_ms) == (
        opened_at_ms,
        started_at_ms,
        None,
    )

    await clock.advance(10_000)
    await end_session(stored.gateway, ACCOUNT_ID, ticket.session_id)
    await views(stored)

    (row,) = await found.sessions(ACCOUNT_ID, limit=9, offset=0, status="settled")
    assert (row.reason, row.charged, row.started_at_ms, row.ended_at_ms) == (
        "ended",
        1_000,
        started_at_ms,
        clock.now_ms(),
    )
    assert await found.sessions_running() == ()
    assert await found.sessions(ACCOUNT_ID, limit=9, offset=0, status="active") == ()


async def test_the_sessions_of_a_bundle_name_it(stored: StoredHouse) -> None:
    tickets = await open_bundle(
        stored.gateway,
        ACCOUNT_ID,
        [SessionRequest(service=s, quantity=1_000) for s in ("webrtc", "stt", "tts")],
    )

    rows = await (await views(stored)).sessions(ACCOUNT_ID, limit=9, offset=0, status=None)

    assert {row.bundle_id for row in rows} == {tickets[0].bundle_id}
    assert {row.service for row in rows} == {"webrtc", "stt", "tts"}


async def test_nobody_sees_anothers_rows(stored: StoredHouse) -> None:
    found = await views(stored)

    assert await found.transactions(UUID(int=1), limit=9, offset=0) == ()
    assert await found.sessions(UUID(int=1), limit=9, offset=0, status=None) == ()


async def test_a_session_is_due_from_its_expiry_on(stored: StoredHouse) -> None:
    request = SessionRequest(service="stt", quantity=1_000)
    ticket = await open_session(stored.gateway, ACCOUNT_ID, request)
    found = await views(stored)

    assert await found.sessions_due(ticket.expires_at_ms - 1) == ()
    assert await found.sessions_due(ticket.expires_at_ms) == (ticket.session_id,)


async def test_a_payment_is_unfinished_until_it_is_credited_or_finally_refused(
    stored: StoredHouse,
) -> None:
    stored.house.rail.loses_answers = True

    with pytest.raises(PaymentUncertainError):
        await pays(stored, number=2)
    (unfinished,) = await (await views(stored)).payments_unfinished()
    stored.house.rail.loses_answers = False
    await pays(stored, number=2)
    await views(stored)

    assert unfinished
    assert await stored.gateway.views.payments_unfinished() == ()


@pytest.mark.parametrize(("final", "unfinished"), [(False, 1), (True, 0)])
async def test_a_refused_payment_is_unfinished_while_the_chain_may_still_take_it(
    stored: StoredHouse, *, final: bool, unfinished: int
) -> None:
    now_ms = stored.house.clock.now_ms()

    def command(work: Work) -> None:
        payment = Payment.claim(
            rail="cash",
            proof_key="coin 9",
            network="cash",
            chain="evm",
            payer=WALLET,
            amount=Microcredits(100_000),
            expires_at_ms=now_ms + 1,
            payload="{}",
            at_ms=now_ms,
        )
        payment.reject("no", final=final, at_ms=now_ms)
        work.add(payment)

    await stored.gateway.books.run(command)

    assert len(await (await views(stored)).payments_unfinished()) == unfinished


async def test_a_gateway_that_restarts_finds_its_lists_again(tmp_path: Path) -> None:
    with stored_house(tmp_path) as before:
        await publish_prices(before.gateway)
        await pays(before)
        followed = await (await views(before)).transactions(ACCOUNT_ID, limit=9, offset=0)
    (tmp_path / "views.db").unlink()

    with stored_house(tmp_path) as after:
        rebuilt = await (await views(after)).transactions(ACCOUNT_ID, limit=9, offset=0)

    assert rebuilt == followed
    assert followed
