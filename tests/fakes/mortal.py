"""A process that dies between any two of its steps, and the next one that finds what it left."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import repeat
from typing import TypeVar
from uuid import UUID

from domain.gateway import Gateway
from domain.ledger import Work
from domain.ports.books import Books
from domain.record import Record
from domain.turnstile import Turnstile

T = TypeVar("T")


class DiedError(BaseException):
    """The process is gone: nothing in it catches that, and what it was asked nobody answers."""


class Fuse:
    """Burns by one at every step; at its end the process dies, and stays dead.

    `turns` are how often others come first at each step, over and over.
    """

    def __init__(self) -> None:
        self.steps: int | None = None
        self.burnt = 0
        self.turns: Iterator[int] = repeat(0)

    def light(self, steps: int | None) -> None:
        """Die at the step after so many; None: live."""
        self.steps, self.burnt = steps, 0

    def step(self, _name: str = "") -> None:
        if self.steps is not None and self.burnt >= self.steps:
            raise DiedError
        self.burnt += 1

    async def pause(self) -> None:
        """Let others go first."""
        for _ in range(next(self.turns)):
            await asyncio.sleep(0)


class MortalBooks:
    """Implements `Books` over others: a process may die before a command and after it."""

    def __init__(self, books: Books, fuse: Fuse) -> None:
        self._books = books
        self._fuse = fuse

    @property
    def position(self) -> int:
        return self._books.position

    async def run(self, command: Callable[[Work], T]) -> T:
        self._fuse.step("before a command")
        await self._fuse.pause()
        answer = await self._books.run(command)
        self._fuse.step("after a command")
        await self._fuse.pause()
        return answer

    async def history(self, originator_ids: Sequence[UUID]) -> tuple[Record, ...]:
        return await self._books.history(originator_ids)


def process_of(gateway: Gateway, fuse: Fuse) -> Gateway:
    """A process of its own on the same ledger and rails: it knows nothing of the others'."""
    return replace(gateway, books=MortalBooks(gateway.books, fuse), turnstile=Turnstile())
