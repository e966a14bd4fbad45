"""The transparency log of a process that may not be the one who writes it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from adapters.store.feed import Feed
from domain.ports.log import ConsistencyProof, Evidence, InclusionProof, TransparencyLog


class FollowedLog:
    """Implements `TransparencyLog`: brings the tree up to what is asked about, then answers.

    Any process may sign. All have the same key and the tree follows from the stored events alone,
    so that two heads of one size are the same text; the first one kept stays.
    """

    def __init__(self, log: TransparencyLog, feed: Feed, *, head: Callable[[], int]) -> None:
        self._log = log
        self._feed = feed
        self._head = head

    @property
    def size(self) -> int:
        return self._log.size

    async def prove(self, positions: Sequence[int]) -> Evidence:
        await self._reach(None)
        return await self._log.prove(positions)

    async def cosigned(self) -> str | None:
        return await self._log.cosigned()

    async def inclusion(self, position: int, *, size: int) -> InclusionProof:
        await self._reach(size)
        return await self._log.inclusion(position, size=size)

    async def consistency(self, *, first: int, second: int) -> ConsistencyProof:
        await self._reach(second)
        return await self._log.consistency(first=first, second=second)

    async def entries(self, *, start: int, count: int) -> tuple[bytes, ...]:
        await self._reach(start + count - 1)
        return await self._log.entries(start=start, count=count)

    async def _reach(self, size: int | None) -> None:
        """Have at least that many events, or all there are; nothing is waited for."""
        if size is None or size > self._log.size:
            await asyncio.to_thread(lambda: self._feed.reach(self._head()))
