"""When everything is over: what a whole life adds up to, and whether a liar would be found (9)."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from adapters.keys import check_signature
from adapters.store.audit import Audit, BrokenLedgerError, audit, bills
from domain.account import Account
from domain.payout import Payout
from domain.record import Record
from domain.session import Session
from tests.fakes.log import SIGNER_KEY
from tests.fakes.payouts import HOUSE_PURSE

if TYPE_CHECKING:
    from tests.simulation.world import World


def check_ending(world: World) -> bytes:
    """The log's root; AssertionError or BrokenLedgerError where anything does not hold."""
    recorder = world.storage.recorder
    records = tuple(recorder.scan())
    heads = recorder.checkpoints()
    found = _audited(records, heads)
    sessions = [a for a in found.aggregates.values() if isinstance(a, Session)]
    taken = [s for s in world.rail.till.values() if s.payer != HOUSE_PURSE]
    given = [s for s in world.rail.till.values() if s.payer == HOUSE_PURSE]
    payouts = [a for a in found.aggregates.values() if isinstance(a, Payout)]
    paid = sum(s.amount.value for s in taken) - sum(s.amount.value for s in given)

    assert -found.books.balances["world:cash"] == paid, "3: paid is not what was credited"
    assert len(given) == sum(payout.state == "paid" for payout in payouts), "6: paid out twice"
    assert not [p for p in payouts if not p.is_over], "3: credit that is on its way for ever"
    assert found.books.balances["payouts:pending"] == 0, "3: taken, and for nothing"
    assert not [s for s in sessions if s.is_open], "4: a session that nobody ends"
    assert sum(1 for _ in bills(records, found.aggregates)) == len(sessions)
    for account in found.aggregates.values():
        if isinstance(account, Account):
            assert account.reserved == {}, f"4: {account}"
    assert found.aggregates == world.onlooker.aggregates
    _check_known(world, found.aggregates)
    _check_tampering(records, heads, world.dice)
    return found.root


def _check_known(world: World, aggregates: Mapping[UUID, object]) -> None:
    """Every session a customer was given is there, and billed as its stopwatch says."""
    for session_id, life in world.lives.items():
        session = aggregates[session_id]
        assert isinstance(session, Session)
        life.check(session, world.clock.now_ms())


def _check_tampering(
    records: Sequence[Record], heads: Sequence[tuple[int, str]], dice: random.Random
) -> None:
    """9: one lie, chosen by the dice, is found against the head that was signed."""
    at = dice.randrange(len(records))
    lies = list(records)
    match dice.choice(("flipped", "removed", "swapped", "inserted", "cut off")):
        case "flipped":
            state = bytearray(lies[at].state)
            state[dice.randrange(len(state))] ^= 1 << dice.randrange(8)
            lies[at] = replace(lies[at], state=bytes(state))
        case "removed":
            del lies[at]
        case "swapped":
            other = at - 1
            lies[at], lies[other] = (
                replace(lies[other], position=lies[at].position),
                replace(lies[at], position=lies[other].position),
            )
        case "inserted":
            lies.insert(at, lies[at])
        case _:
            del lies[at:]
    with pytest.raises(BrokenLedgerError):
        _audited(lies, heads)


def _audited(records: Sequence[Record], heads: Sequence[tuple[int, str]]) -> Audit:
    return audit(
        records,
        checkpoints=heads,
        key=SIGNER_KEY,
        check=check_signature,
        progress=lambda _done: None,
    )
