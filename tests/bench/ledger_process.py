"""One of the gateway processes of `tests.bench.ledger_processes`.

    python -m tests.bench.ledger_process WHERE KIND INDEX

It says `ready`, waits for a line, works, and prints what it measured as JSON.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from typing import Any
from uuid import uuid4

from adapters.store.lease import Leases
from adapters.store.postgres import postgres_environment
from adapters.store.shared import SharedBooks
from domain.account import Account
from domain.ledger import Ledger, Work
from tests.bench.ledger import reserve, settle
from tests.bench.ledger_processes import (
    ACCOUNTS,
    IN_FLIGHT,
    PROCESSES,
    SECONDS,
    WARM_SECONDS,
    account_id_of,
    bare_environment,
    reserve_some,
    settle_all,
)


async def gateway(url: str, index: int) -> dict[str, Any]:
    """A closed loop: every client reserves, settles, and begins again."""
    with Ledger(env=postgres_environment(url)) as ledger, closing(Leases(url)) as leases:
        books = SharedBooks(
            ledger,
            leases,
            committed=lambda _records: None,
            became_owner=lambda: None,
            lost=lambda: None,
        )

        async def one(turn: int) -> None:
            account_id, session_id = account_id_of(turn), uuid4()
            await books.run(partial(reserve_some, account_id=account_id, session_id=session_id))
            await books.run(partial(settle_all, account_id=account_id, session_id=session_id))

        with closing(books):
            await books.run(partial(Work.account, account_id=account_id_of(index)))
            assert not books.is_owner
            await asyncio.to_thread(_wait_for_go)
            measured = await _drive(one, index)
        await asyncio.sleep(0)
        return measured


async def _drive(one: Callable[[int], Awaitable[None]], index: int) -> dict[str, Any]:
    meter = _Meter()

    async def client(turn: int) -> None:
        while (start := time.perf_counter()) < meter.end:
            await one(turn)
            meter.note(start)
            turn += IN_FLIGHT * PROCESSES

    await asyncio.gather(*(client(index + i * PROCESSES) for i in range(IN_FLIGHT)))
    return meter.told


def bare_gateway(where: str, index: int) -> dict[str, Any]:
    with Ledger(env={**bare_environment(where), "CREATE_TABLE": "no"}) as ledger:
        # The library's answer to two writers of one account is a conflict; each has its own.
        own = range(index, ACCOUNTS, PROCESSES)
        locks = {turn: threading.Lock() for turn in own}
        _wait_for_go()
        meter = _Meter()

        def client(turn: int) -> None:
            while (start := time.perf_counter()) < meter.end:
                index = own[turn % len(own)]
                with locks[index]:
                    account: Account = ledger.repository.get(account_id_of(index))
                    session = reserve(account, uuid4())
                    ledger.save(account, session)
                    account = ledger.repository.get(account.id)
                    session = ledger.repository.get(session.id)
                    settle(account, session)
                    ledger.save(account, session)
                meter.note(start)
                turn += IN_FLIGHT

        with ThreadPoolExecutor(IN_FLIGHT) as pool:
            list(pool.map(client, range(IN_FLIGHT)))
        return meter.told


class _Meter:
    """Pairs of commands of one process; those of the warm-up are not counted."""

    def __init__(self) -> None:
        gc.collect()
        self._cpu_s = time.process_time()
        self._begin = time.perf_counter() + WARM_SECONDS
        self.end = self._begin + SECONDS
        self._latencies_ms: list[float] = []
        self._all = 0

    def note(self, start: float) -> None:
        now = time.perf_counter()
        self._all += 2
        if self._begin <= start and now <= self.end:
            self._latencies_ms.append((now - start) * 500)

    @property
    def told(self) -> dict[str, Any]:
        return {
            "per_second": 2 * len(self._latencies_ms) / SECONDS,
            "latencies_ms": [round(latency, 2) for latency in self._latencies_ms],
            "all": self._all,
            "cpu_s": time.process_time() - self._cpu_s,
        }


def _wait_for_go() -> None:
    print("ready", flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    if sys.argv[2] == "ours":
        told = asyncio.run(gateway(sys.argv[1], int(sys.argv[3])))
    else:
        told = bare_gateway(sys.argv[1], int(sys.argv[3]))
    print(json.dumps(told))
