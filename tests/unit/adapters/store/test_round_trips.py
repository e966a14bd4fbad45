"""What a batch costs the database, counted: it does not depend on the machine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from eventsourcing import sqlite as library

from adapters.store import sqlite
from adapters.store.owner import LedgerOwner
from adapters.store.postgres import PostgresRecorder, postgres_environment
from domain.account import Account
from domain.ledger import Ledger, Work
from domain.money import Microcredits
from tests.fakes.stored_house import ledger_at

COMMANDS = 20


def opens(number: int) -> Callable[[Work], UUID]:
    def command(work: Work) -> UUID:
        account = Account.open(chain="evm", wallet=f"0x{number:040x}", at_ms=1)
        account.purchase(Microcredits(100), payment_id=UUID(int=number), rail="cash", at_ms=1)
        work.add(account)
        return account.id

    return command


@contextmanager
def counted_statements(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Every statement that any connection of psycopg sends."""
    sent: list[str] = []
    execute = psycopg.Connection.execute

    def count(connection: Any, query: Any, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401 (passed on as it is)
        sent.append(str(query))
        return execute(connection, query, *arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(psycopg.Connection, "execute", count)
        yield sent


@pytest.mark.postgres
async def test_a_batch_is_one_statement_on_postgresql(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Ledger(env=postgres_environment(database)) as ledger:
        recorder = ledger.recorder
        assert isinstance(recorder, PostgresRecorder)
        batches: list[int] = []
        owner = LedgerOwner(
            ledger, history=recorder.history, committed=lambda records: batches.append(len(records))
        )
        with closing(owner):
            # The first batch connects, and reads which accounts there are not.
            ids = [await owner.run(opens(number)) for number in range(COMMANDS)]
            batches.clear()

            with counted_statements(monkeypatch) as sent:
                await asyncio.gather(*(owner.run(reserves(account_id)) for account_id in ids))

    assert sum(batches) == COMMANDS
    assert len(sent) == len(batches) < COMMANDS
    assert all("ledger_append" in statement for statement in sent)


def reserves(account_id: UUID) -> Callable[[Work], None]:
    def command(work: Work) -> None:
        work.account(account_id).reserve(
            Microcredits(1), session_id=UUID(int=1), service="stt", unit_id=UUID(int=1), at_ms=2
        )

    return command


async def test_a_batch_is_one_transaction_on_sqlite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[sqlite.WritingTransaction] = []

    class Counted(sqlite.WritingTransaction):
        def __enter__(self) -> library.SQLiteCursor:
            begun.append(self)
            return super().__enter__()

    monkeypatch.setattr(sqlite, "WritingTransaction", Counted)
    with ledger_at(tmp_path) as (ledger, recorder):
        batches: list[int] = []
        owner = LedgerOwner(
            ledger, history=recorder.history, committed=lambda records: batches.append(len(records))
        )
        with closing(owner):
            ids = [await owner.run(opens(number)) for number in range(COMMANDS)]
            batches.clear()
            begun.clear()

            await asyncio.gather(*(owner.run(reserves(account_id)) for account_id in ids))

    assert sum(batches) == COMMANDS
    assert len(begun) == len(batches) < COMMANDS
