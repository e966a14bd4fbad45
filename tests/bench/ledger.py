"""Ledger commands on SQLite, every commit flushed: ours beside the bare library, in one run."""

from __future__ import annotations

import asyncio
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

from adapters.keys import Ed25519Signer, check_signature
from adapters.store.log import MerkleLog
from adapters.store.owner import LedgerOwner
from adapters.store.sqlite import LedgerRecorder, sqlite_environment
from domain.account import Account
from domain.checkpoint import SignerKey
from domain.ledger import Ledger, Work
from domain.money import Microcredits
from domain.pricing import DEFAULT_PRICE_BOOK
from domain.session import Order, Session
from tests.bench.report import Row, percentile_ms

ACCOUNTS = 200
SECONDS = 3.0
IN_FLIGHT = {1: "", 16: "6,000/s", 64: "10,000/s"}
ORDER = Order(
    service="stt",
    tariff=DEFAULT_PRICE_BOOK.tariff("stt"),
    price_book=DEFAULT_PRICE_BOOK.version,
    quantity=60_000,
    expires_at_ms=10**12,
)


@dataclass(frozen=True)
class Measured:
    """Commands a second, and how long one took."""

    per_second: float
    latencies_ms: Sequence[float]
    cpu_us: float

    @property
    def text(self) -> str:
        return (
            f"{self.per_second:,.0f}/s  p50 {percentile_ms(self.latencies_ms, 50)}"
            f"  p99 {percentile_ms(self.latencies_ms, 99)}  CPU {self.cpu_us:.0f} µs"
        )


def opened(index: int) -> Account:
    account = Account.open(chain="evm", wallet=f"0x{index:040x}", at_ms=1)
    account.purchase(Microcredits(10**12), payment_id=uuid4(), rail="bench", at_ms=2)
    return account


def reserve(account: Account, session_id: UUID) -> Session:
    account.reserve(ORDER.price, session_id=session_id, service="stt", unit_id=session_id, at_ms=3)
    return Session.open(
        ORDER,
        session_id=session_id,
        account_id=account.id,
        bundle_id=None,
        request_hash="",
        at_ms=3,
    )


def settle(account: Account, session: Session) -> None:
    charged = session.close("ended", at_ms=4)
    account.settle(session_id=session.id, service="stt", charged=charged, at_ms=4)


def ours(in_flight: int, folder: Path) -> Measured:
    """Reserve and settle through the owner, with the signed log on."""
    with Ledger(env=sqlite_environment(str(folder / "ours.db"))) as ledger:
        recorder = ledger.recorder
        assert isinstance(recorder, LedgerRecorder)
        signer = Ed25519Signer(bytes(32))
        merkle = MerkleLog(
            recorder,
            origin="bench",
            key=SignerKey(name="bench", public=signer.public),
            sign=signer.sign,
            check=check_signature,
        )
        owner = LedgerOwner(ledger, history=recorder.history, committed=merkle.extend)
        try:
            return asyncio.run(_ours(owner, in_flight))
        finally:
            owner.close()


async def _ours(owner: LedgerOwner, in_flight: int) -> Measured:
    def open_command(index: int) -> Callable[[Work], UUID]:
        def command(work: Work) -> UUID:
            account = opened(index)
            work.add(account)
            return account.id

        return command

    ids = await asyncio.gather(*(owner.run(open_command(i)) for i in range(ACCOUNTS)))

    async def one(turn: int) -> None:
        account_id, session_id = ids[turn % ACCOUNTS], uuid4()
        await owner.run(lambda work: work.add(reserve(work.account(account_id), session_id)))
        await owner.run(lambda work: settle(work.account(account_id), work.session(session_id)))

    return await _drive(one, in_flight)


async def _drive(one: Callable[[int], Awaitable[None]], in_flight: int) -> Measured:
    latencies: list[float] = []
    end = time.perf_counter() + SECONDS
    cpu_s = time.process_time()

    async def client(turn: int) -> None:
        while (began := time.perf_counter()) < end:
            await one(turn)
            latencies.append((time.perf_counter() - began) * 500)
            turn += in_flight

    began = time.perf_counter()
    await asyncio.gather(*(client(i) for i in range(in_flight)))
    return _measured(latencies, time.perf_counter() - began, time.process_time() - cpu_s)


def _measured(latencies: list[float], seconds: float, cpu_s: float) -> Measured:
    done = 2 * len(latencies)
    return Measured(done / seconds, latencies, cpu_s / done * 1e6)


def bare(in_flight: int, folder: Path) -> Measured:
    """The same aggregates saved as the library's tutorial does it, in threads."""
    with Ledger(env=sqlite_environment(str(folder / "bare.db"))) as ledger:
        accounts = [opened(i) for i in range(ACCOUNTS)]
        for account in accounts:
            ledger.save(account)
        # The library's answer to two writers of one account is a conflict; each has its own.
        locks = [threading.Lock() for _ in accounts]
        latencies: list[float] = []
        end = time.perf_counter() + SECONDS

        def client(turn: int) -> None:
            while (began := time.perf_counter()) < end:
                index = turn % ACCOUNTS
                with locks[index]:
                    account: Account = ledger.repository.get(accounts[index].id)
                    session = reserve(account, uuid4())
                    ledger.save(account, session)
                    account = ledger.repository.get(accounts[index].id)
                    session = ledger.repository.get(session.id)
                    settle(account, session)
                    ledger.save(account, session)
                latencies.append((time.perf_counter() - began) * 500)
                turn += in_flight

        began, cpu_s = time.perf_counter(), time.process_time()
        with ThreadPoolExecutor(in_flight) as pool:
            list(pool.map(client, range(in_flight)))
        return _measured(latencies, time.perf_counter() - began, time.process_time() - cpu_s)


def rows() -> list[Row]:
    """One row for each number in flight."""
    made = []
    for in_flight, goal in IN_FLIGHT.items():
        with tempfile.TemporaryDirectory() as folder:
            mine, library = ours(in_flight, Path(folder)), bare(in_flight, Path(folder))
        made.append(
            Row(
                name=f"ledger commands/s, SQLite FULL, {in_flight} in flight",
                ours=mine.text,
                peer=library.text,
                peer_name="bare eventsourcing",
                ratio=mine.per_second / library.per_second,
                goal=goal,
            )
        )
    return made
