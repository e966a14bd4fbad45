"""How a customer gets the statement of a period, and an auditor the same one from the log."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from uuid import UUID

from domain.checkpoint import parse_checkpoint, split_note
from domain.errors import MalformedError
from domain.focus import focus_csv
from domain.gateway import Gateway
from domain.ledger import Work
from domain.merkle import MerkleTree
from domain.period import HOUR_MS, Period
from domain.record import Record
from domain.statement import Statement, lines_in, price_book_ids, related_ids, statement
from domain.statement_document import MadeFrom, csv_text, json_text

PERIOD_MS_MAX = 366 * 24 * HOUR_MS
LINES_MAX = 10_000
_IDS_MAX = 1_000
History = Callable[[Sequence[UUID]], Awaitable[tuple[Record, ...]]]
FORMATS: dict[str, Callable[[Statement, MadeFrom], str]] = {
    "json": json_text,
    "csv": csv_text,
    "focus": lambda made, source: focus_csv(made, provider=source.origin),
}


async def read_statement(
    gateway: Gateway, account_id: UUID, *, from_ms: int, to_ms: int, form: str
) -> str:
    """The statement as text, with the log it follows from; `MalformedError` for too long a one."""
    await gateway.books.run(partial(Work.account, account_id=account_id))
    head = gateway.books.position
    await gateway.views.caught_up(head)
    after = await gateway.views.cut(from_ms)
    through = await gateway.views.cut(to_ms)
    # The lists may have gone on meanwhile.
    now = max(head, after or 0)
    period = Period(
        from_ms=from_ms,
        to_ms=to_ms,
        after=now if after is None else after,
        through=now if through is None else through,
        closed=through is not None,
    )
    account = await gateway.books.history([account_id])
    await asyncio.to_thread(_check_length, account, period)
    related = await gather_related(gateway.books.history, account, period)
    made = await asyncio.to_thread(statement, account, related, period)
    source = await _made_from(gateway, period)
    return await asyncio.to_thread(FORMATS[form], made, source)


async def gather_related(
    history: History, account: Sequence[Record], period: Period
) -> tuple[Record, ...]:
    """The records that a statement needs besides the account's own."""
    ids = await asyncio.to_thread(related_ids, account, period)
    found: list[Record] = []
    for start in range(0, len(ids), _IDS_MAX):
        found += await history(ids[start : start + _IDS_MAX])
    books = await asyncio.to_thread(price_book_ids, found)
    return (*found, *await history(books))


def _check_length(account: Sequence[Record], period: Period) -> None:
    lines = lines_in(account, period)
    if lines > LINES_MAX:
        raise MalformedError(
            where="from", expected=f"a period of at most {LINES_MAX} entries", got=str(lines)
        )


async def _made_from(gateway: Gateway, period: Period) -> MadeFrom:
    evidence = await gateway.log.prove([period.through] if period.through else [])
    head = parse_checkpoint(split_note(evidence.checkpoint)[0])
    first_root = MerkleTree().root()
    hashes: tuple[bytes, ...] = ()
    if period.through:
        proof = await gateway.log.consistency(first=period.through, second=evidence.size)
        first_root, hashes = proof.first_root, proof.hashes
    return MadeFrom(
        origin=head.origin,
        through_root=first_root,
        events=evidence.size,
        root=head.root,
        checkpoint=evidence.checkpoint,
        consistency=hashes,
    )
