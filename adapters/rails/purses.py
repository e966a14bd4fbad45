"""Payments of one wallet go to the chain together as far as it holds them all, then one by one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

# What a wallet holds of an asset, in base units.
Held = Callable[[str, str], Awaitable[int]]


class Purses:
    """Keeps whoever pays for the transactions from paying for those that must fail.

    Of several payments that a wallet cannot pay together each passes its simulation while none has
    landed, and all but the first fail in a block, for a fee all the same.
    """

    def __init__(self, held: Held) -> None:
        self._held = held
        self._asking: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()
        # Base units on their way; and that some have arrived, or will not.
        self._flying: dict[tuple[str, str], int] = {}
        self._landing = asyncio.Event()

    @asynccontextmanager
    async def covered(self, asset: str, payer: str, amount: int) -> AsyncIterator[None]:
        """Wait until the payer holds this amount beside all that is on its way from it already."""
        purse = (asset, payer)
        # One of a payer's asks at a time, so that a crowd of them asks no more.
        lock = self._asking.setdefault(purse, asyncio.Lock())
        async with lock:
            while self._flying.get(purse):
                landing = self._landing
                if await self._held(asset, payer) >= self._flying.get(purse, 0) + amount:
                    break
                await landing.wait()
            self._flying[purse] = self._flying.get(purse, 0) + amount
        try:
            yield
        finally:
            self._flying[purse] -= amount
            if not self._flying[purse]:
                del self._flying[purse]
            self._landing.set()
            self._landing = asyncio.Event()
