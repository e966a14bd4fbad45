"""An answer that wants to know where its command's events stand is told, each its own."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from adapters.store.owner import LedgerOwner
from domain.account import Account
from domain.errors import NotFoundError
from domain.ledger import Ledger, Work
from domain.record import Record


@dataclass(frozen=True)
class Opened:
    wallet: str
    positions: tuple[int, ...] = ()

    def placed(self, records: Sequence[Record]) -> Opened:
        assert all(self.wallet == record.fields["wallet"] for record in records)
        return replace(self, positions=tuple(record.position for record in records))


def _open(work: Work, *, wallet: str) -> Opened:
    account_id = Account.create_id("evm", wallet)
    if work.find(Account, account_id) is None:
        work.add(Account.open(chain="evm", wallet=wallet, at_ms=1))
    return Opened(wallet)


def _refuse(work: Work) -> Account:
    return work.account(Account.create_id("evm", "nobody"))


async def test_every_command_of_a_batch_learns_its_own_place() -> None:
    owner = LedgerOwner(Ledger(env={}), history=lambda _ids: (), committed=lambda _records: None)

    answers = await asyncio.gather(
        owner.run(partial(_open, wallet="a")),
        owner.run(_refuse),
        owner.run(partial(_open, wallet="b")),
        owner.run(partial(_open, wallet="a")),
        return_exceptions=True,
    )

    owner.close()
    assert answers[0] == Opened("a", (1,))
    assert isinstance(answers[1], NotFoundError)
    assert answers[2] == Opened("b", (2,))
    assert answers[3] == Opened("a")
