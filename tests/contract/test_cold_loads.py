"""A long account is read from its snapshot: a handful of rows, however much it has been through."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from eventsourcing.persistence import StoredEvent

from adapters.store.postgres import postgres_environment
from adapters.store.sqlite import sqlite_environment
from domain.account import Account
from domain.ledger import Ledger
from domain.money import Microcredits
from domain.snapshot import take
from tests.strategies import START_MS

EVENTS = 100_000
SINCE = 7


class CountedReads:
    """Notes how many rows each reading of events brought."""

    def __init__(self, ledger: Ledger) -> None:
        self.rows: list[int] = []
        self._select = ledger.recorder.select_events
        ledger.recorder.select_events = self._counted  # type: ignore[method-assign]  # the point of it

    def _counted(self, *arguments: Any, **options: Any) -> Sequence[StoredEvent]:  # noqa: ANN401 (the library's signature)
        events = list(self._select(*arguments, **options))
        self.rows.append(len(events))
        return events


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def environment(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    if request.param == "sqlite":
        return sqlite_environment(str(tmp_path / "ledger.db"))
    return postgres_environment(request.getfixturevalue("database"))


def buy(account: Account, times: int) -> None:
    for number in range(times):
        account.purchase(
            Microcredits(1), payment_id=UUID(int=number), rail="cash", at_ms=START_MS + number
        )


def test_an_account_of_a_hundred_thousand_events_costs_a_handful_of_rows(
    environment: dict[str, str],
) -> None:
    with Ledger(env=environment) as ledger:
        account = Account.open(chain="evm", wallet="0x" + "1" * 40, at_ms=START_MS)
        buy(account, EVENTS - 1)
        ledger.append(account.collect_events())
        (last,) = ledger.recorder.select_events(account.id, gt=EVENTS - 1)
        ledger.recorder.add_snapshots([take(account, last)])  # type: ignore[attr-defined]  # ours has them
        buy(account, SINCE)
        ledger.append(account.collect_events())
        reads = CountedReads(ledger)

        loaded = ledger.load(account.id)

    assert loaded == account
    assert account.version == EVENTS + SINCE
    # The event that the snapshot was made of, which it is held against, and what came since.
    assert reads.rows == [1 + SINCE]
