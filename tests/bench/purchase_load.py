"""The clients of `tests.bench.purchases`, in a process of their own.

    python -m tests.bench.purchase_load RAIL URL

Buys one after the other, then with many wallets at once; then says what each purchase took (JSON).
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from contextlib import AsyncExitStack

from adapters.garbage import tend_garbage
from tests.bench.purchase_shops import SHOPS, Buy, Shop, Watch

WARM = 10
# One after the other, by the first wallet.
PURCHASES = 200
# At once, each so many times.
WALLETS = 64
EACH = 2

Figures = dict[str, object]


async def load(shop: Shop, url: str) -> Figures:
    return {**await one_by_one(shop, url), **await at_once(shop, url)}


async def one_by_one(shop: Shop, url: str) -> Figures:
    watches = [Watch() for _ in range(WARM + PURCHASES)]
    async with shop.client(url, shop.wallet(0)) as buy:
        for number, watch in enumerate(watches):
            if number == WARM:
                tend_garbage()
            await buy(watch)
    counted = watches[WARM:]
    return {
        "whole_ms": [watch.whole_ms for watch in counted],
        "client_ms": [watch.whole_ms - watch.waited_ms for watch in counted],
    }


async def at_once(shop: Shop, url: str) -> Figures:
    watches: list[Watch] = []

    async def purchases(buy: Buy) -> None:
        for _ in range(EACH):
            watch = Watch()
            watches.append(watch)
            await buy(watch)

    async with AsyncExitStack() as stack:
        wallets = [shop.wallet(1 + index) for index in range(WALLETS)]
        buys = [await stack.enter_async_context(shop.client(url, wallet)) for wallet in wallets]
        began = time.perf_counter()
        await asyncio.gather(*(purchases(buy) for buy in buys))
        took_s = time.perf_counter() - began
    return {"crowd_ms": [watch.whole_ms for watch in watches], "crowd_s": took_s}


if __name__ == "__main__":
    sold = next(shop for shop in SHOPS if shop.rail == sys.argv[1])
    print(json.dumps(asyncio.run(load(sold, sys.argv[2]))))
