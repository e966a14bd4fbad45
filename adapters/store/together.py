"""Writes that come together share one wait for the disk."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Mapping
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Together(Generic[K, V]):
    """Values by key, written while the next ones gather. Of one key's the latest is written.

    `write` runs in a worker thread, one at a time. Whoever put something waits until it is written,
    and is told what went wrong. Use it from one event loop.
    """

    def __init__(self, write: Callable[[Mapping[K, V]], None]) -> None:
        self._write = write
        self._gathered: dict[K, V] = {}
        self._written: asyncio.Future[None] | None = None
        self._writing: asyncio.Task[None] | None = None

    async def put(self, values: Mapping[K, V]) -> None:
        if self._written is None or self._written.done():
            self._written = asyncio.get_running_loop().create_future()
        written = self._written
        self._gathered.update(values)
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write_all())
        # One who goes away does not take the answer from the others.
        await asyncio.shield(written)

    async def _write_all(self) -> None:
        while self._gathered and self._written is not None:
            values, written = self._gathered, self._written
            self._gathered, self._written = {}, None
            try:
                await asyncio.to_thread(self._write, values)
            except Exception as failure:  # noqa: BLE001 (whoever waits gets it)
                written.set_exception(failure)
                # Nobody may be left who waits for it.
                written.exception()
            else:
                written.set_result(None)
