"""Books as they are when several processes share a ledger, with nothing left to luck."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from uuid import UUID

from domain.errors import BusyError, GatewayError, LedgerDownError
from domain.ledger import Work
from domain.ports.books import Books
from domain.record import Record

T = TypeVar("T")


class CarefulBooks:
    """Implements `Books` over others: what passes is pickled, and every command is asked twice.

    Twice, since an owner that dies takes answers along, and whoever waited for one asks the next
    owner: the second time must answer as the first did, and make no further event (B12).
    """

    def __init__(self, books: Books) -> None:
        self._books = books

    @property
    def position(self) -> int:
        return self._books.position

    async def run(self, command: Callable[[Work], T]) -> T:
        sent = pickle.dumps(command)
        answer, refusal = await self._ask(sent)
        if not isinstance(refusal, BusyError | LedgerDownError):
            position = self._books.position
            again = await self._ask(sent)
            assert self._books.position == position, f"{command} does more the second time"
            assert _facts(again) == _facts((answer, refusal)), f"{command} answers otherwise"
        if refusal is not None:
            raise refusal
        return answer  # type: ignore[no-any-return]  # what the command answers

    async def history(self, originator_ids: Sequence[UUID]) -> tuple[Record, ...]:
        return await self._books.history(originator_ids)

    async def _ask(self, sent: bytes) -> tuple[Any, GatewayError | None]:
        try:
            answer, refusal = await self._books.run(pickle.loads(sent)), None  # noqa: S301 (our own)
        except GatewayError as refused:
            answer, refusal = None, refused
        return pickle.loads(pickle.dumps((answer, refusal)))  # type: ignore[no-any-return]  # noqa: S301 (our own)


def _facts(told: tuple[Any, GatewayError | None]) -> tuple[Any, ...]:
    answer, refusal = told
    return answer, type(refusal), None if refusal is None else vars(refusal)
