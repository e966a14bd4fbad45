"""A gateway's worth of commands in a process of its own, sharing one ledger with others.

    python -m tests.fakes.teller URL NAME TTL_MS IN_FLIGHT

It prints `owner` or `follower` when that changes, and `paid KEY` when a payment was credited; each
key is paid once, by one command. `failed CODE` is a refusal.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from itertools import count

from adapters.store.lease import TTL_MS, Leases
from adapters.store.postgres import postgres_environment
from adapters.store.shared import SharedBooks
from domain.account import Account
from domain.errors import GatewayError
from domain.ledger import Ledger, Work
from domain.money import Microcredits
from domain.payment import Payment
from domain.use_cases.purchase_credits import credit

WALLET = "0x" + "a" * 40
ACCOUNT_ID = Account.create_id("evm", WALLET)
RAIL = "cash"


def pay(work: Work, *, key: str) -> int:
    """Credit one microcredit for this key; the balance."""
    payment_id = Payment.create_id(RAIL, key)
    if work.find(Payment, payment_id) is None:
        claimed = Payment.claim(
            rail=RAIL,
            proof_key=key,
            network="test",
            chain="evm",
            payer=WALLET,
            amount=Microcredits(1),
            expires_at_ms=1,
            payload="",
            at_ms=1,
        )
        work.add(claimed)
    credit(work, payment_id=payment_id, reference="tx", at_ms=2)
    return work.account(ACCOUNT_ID).available.value


@contextmanager
def shared(
    url: str, *, ttl_ms: int = TTL_MS, heard: list[str] | None = None
) -> Iterator[SharedBooks]:
    """Books of one process; `heard` gets its callbacks."""
    news = [] if heard is None else heard
    with Ledger(env=postgres_environment(url)) as ledger, closing(Leases(url)) as leases:
        books = SharedBooks(
            ledger,
            leases,
            committed=lambda records: news.append(f"committed {records[-1].position}"),
            became_owner=lambda: news.append("owner"),
            lost=lambda: news.append("lost"),
            ttl_ms=ttl_ms,
        )
        with closing(books):
            yield books


def say(*words: object) -> None:
    print(*words, flush=True)


async def _pay_on(books: SharedBooks, name: str, numbers: Iterator[int]) -> None:
    while True:
        key = f"{name}-{next(numbers)}"
        try:
            await books.run(partial(pay, key=key))
        except GatewayError as refusal:
            say("failed", refusal.code)
        else:
            say("paid", key)


async def _watch(books: SharedBooks) -> None:
    was = None
    while True:
        if books.is_owner is not was:
            was = books.is_owner
            say("owner" if was else "follower")
        await asyncio.sleep(0.01)


async def work(books: SharedBooks, name: str, in_flight: int) -> None:
    """Pay and pay, for ever."""
    numbers = count()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_watch(books))
        for _ in range(in_flight):
            tasks.create_task(_pay_on(books, name, numbers))


if __name__ == "__main__":
    with suppress(KeyboardInterrupt), shared(sys.argv[1], ttl_ms=int(sys.argv[3])) as own:
        asyncio.run(work(own, sys.argv[2], int(sys.argv[4])))
