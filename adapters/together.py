"""Writes that come together share one wait for the disk."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")

BATCH_MAX = 512


class Together(Generic[T, R]):
    """Items, written in the order they came, a batch while the next ones gather.

    `write` runs in a worker thread, one batch at a time, and answers one result an item. Whoever
    added one waits until it is written, and is told what went wrong with its batch; one who goes
    away takes nothing back. `written` hears of every batch, in the loop. Use it from one loop.
    """

    def __init__(
        self,
        write: Callable[[Sequence[T]], Sequence[R]],
        *,
        written: Callable[[Sequence[R], Sequence[T]], None] | None = None,
    ) -> None:
        self._write = write
        self._written = written
        self._waiting: list[tuple[T, asyncio.Future[R]]] = []
        self._writing: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        """How many wait for the batch after this one."""
        return len(self._waiting)

    async def add(self, item: T) -> R:
        answer: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, answer))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write_all())
        return await answer

    async def settled(self) -> None:
        """Until all that was added is written or has failed, whoever still waits for it."""
        if self._writing is not None:
            await asyncio.shield(self._writing)

    async def _write_all(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:BATCH_MAX], self._waiting[BATCH_MAX:]
            items = [item for item, _ in batch]
            try:
                results = await asyncio.to_thread(self._write, items)
            except Exception as failure:  # noqa: BLE001 (whoever waits gets it)
                for _, answer in batch:
                    if not answer.done():
                        answer.set_exception(failure)
                continue
            if self._written is not None:
                self._written(results, items)
            for (_, answer), result in zip(batch, results, strict=True):
                if not answer.done():
                    answer.set_result(result)
