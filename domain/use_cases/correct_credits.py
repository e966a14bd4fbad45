"""How a mistake is put right: by a further entry that says who, why, and which one it corrects."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from uuid import UUID

from domain.account import Account
from domain.errors import MalformedError
from domain.ledger import Work
from domain.money import NOTHING, Microcredits
from domain.ports.books import Books
from domain.ports.clock import Clock

_TEXT_MAX = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """`amount` µcr to add (or, negative, to remove); `who` is an operator's name in this log.

    `correction_id` makes a repeat the same correction. `corrects_position` is the entry that was
    wrong.
    """

    correction_id: UUID
    account_id: UUID
    amount: int
    who: str
    why: str
    corrects_position: int


async def correct_credits(books: Books, clock: Clock, correction: Correction) -> Account:
    """Write the correction once; InsufficientCreditsError where reserved credit would be taken."""
    _check(correction, books.position)
    return await books.run(partial(_correct, correction=correction, at_ms=clock.now_ms()))


def _correct(work: Work, *, correction: Correction, at_ms: int) -> Account:
    size = Microcredits(abs(correction.amount))
    account = work.account(correction.account_id)
    account.correct(
        correction_id=correction.correction_id,
        added=size if correction.amount > 0 else NOTHING,
        removed=size if correction.amount < 0 else NOTHING,
        who=correction.who,
        why=correction.why,
        corrects_position=correction.corrects_position,
        at_ms=at_ms,
    )
    return account


def _check(correction: Correction, position: int) -> None:
    if correction.amount == 0:
        raise MalformedError(where="amount", expected="some credit to add or remove", got="0")
    if not 1 <= correction.corrects_position <= position:
        raise MalformedError(
            where="corrects",
            expected=f"the position of an entry, 1 to {position}",
            got=str(correction.corrects_position),
        )
    for name, text in (("who", correction.who), ("why", correction.why)):
        if not 1 <= len(text) <= _TEXT_MAX or not text.isprintable():
            raise MalformedError(
                where=name, expected=f"1 to {_TEXT_MAX} printable characters", got=repr(text[:40])
            )
