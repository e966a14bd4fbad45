"""Ledger commands on PostgreSQL: ours beside the bare library and pgbench, in one run.

    make bench TABLE=postgres

The server is a throwaway one on this machine's disk, with fsync and synchronous_commit on; client
and server share the cores. Every figure of ours has the signed log on.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import re
import subprocess
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

import psycopg

from adapters.keys import Ed25519Signer, check_signature
from adapters.store.log import MerkleLog
from adapters.store.owner import LedgerOwner
from adapters.store.postgres import PostgresRecorder, postgres_environment
from domain.account import Account
from domain.checkpoint import SignerKey
from domain.ledger import Ledger, Work
from projections.postgres import PostgresTables
from tests.bench.ledger import opened, reserve, settle
from tests.bench.report import Row, percentile_ms
from tests.fakes.cluster import SAFE, Cluster, cluster

ACCOUNTS = 200
SECONDS = 3.0
WARM_SECONDS = 1.0
IN_FLIGHT = {
    1: "",
    16: "8,000/s, 60+40 µs",
    64: "12,000/s",
    256: "15,000/s",
}
OPEN_LOOP_PER_SECOND = 2_000
PAIR = """INSERT INTO pairs VALUES (gen_random_uuid(), 1, 'account.credits_reserved', '{p}');
INSERT INTO pairs VALUES (gen_random_uuid(), 1, 'session.opened', '{p}');
"""


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Commands a second, how long each took, and CPU a command on either side."""

    per_second: float
    latencies_ms: Sequence[float]
    client_us: float = 0
    server_us: float = 0

    @property
    def text(self) -> str:
        speed = (
            f"{self.per_second:,.0f}/s  p50 {percentile_ms(self.latencies_ms, 50)}"
            f"  p99 {percentile_ms(self.latencies_ms, 99)}"
        )
        if not self.client_us:
            return speed
        return f"{speed}  CPU {self.client_us:.0f}+{self.server_us:.0f} µs"


@contextmanager
def owned(url: str) -> Iterator[LedgerOwner]:
    with Ledger(env=postgres_environment(url)) as ledger:
        recorder = ledger.recorder
        assert isinstance(recorder, PostgresRecorder)
        signer = Ed25519Signer(bytes(32))
        merkle = MerkleLog(
            recorder,
            origin="bench",
            key=SignerKey(name="bench", public=signer.public),
            sign=signer.sign,
            check=check_signature,
        )
        owner = LedgerOwner(ledger, history=recorder.history, committed=merkle.extend)
        with closing(owner):
            yield owner


def ours(server: Cluster, in_flight: int, accounts: int = ACCOUNTS) -> Figures:
    """A closed loop: every client reserves, settles, and begins again."""
    with owned(server.create_database()) as owner:
        return asyncio.run(_closed_loop(server, owner, in_flight, accounts))


async def _closed_loop(
    server: Cluster, owner: LedgerOwner, in_flight: int, accounts: int
) -> Figures:
    one = await _commands(owner, accounts)
    await _drive(one, in_flight, WARM_SECONDS)
    gc.collect()
    server_s, client_s = server_cpu_s(server), time.process_time()
    per_second, latencies = await _drive(one, in_flight, SECONDS)
    done = 2 * len(latencies)
    return Figures(
        per_second=per_second,
        latencies_ms=latencies,
        client_us=(time.process_time() - client_s) / done * 1e6,
        server_us=(server_cpu_s(server) - server_s) / done * 1e6,
    )


async def _commands(owner: LedgerOwner, accounts: int) -> Callable[[int], Awaitable[None]]:
    def open_command(index: int) -> Callable[[Work], UUID]:
        def command(work: Work) -> UUID:
            account = opened(index)
            work.add(account)
            return account.id

        return command

    ids = await asyncio.gather(*(owner.run(open_command(i)) for i in range(accounts)))

    async def one(turn: int) -> None:
        account_id, session_id = ids[turn % accounts], uuid4()
        await owner.run(lambda work: work.add(reserve(work.account(account_id), session_id)))
        await owner.run(lambda work: settle(work.account(account_id), work.session(session_id)))

    return one


async def _drive(
    one: Callable[[int], Awaitable[None]], in_flight: int, seconds: float
) -> tuple[float, list[float]]:
    latencies: list[float] = []
    began = time.perf_counter()

    async def client(turn: int) -> None:
        while (start := time.perf_counter()) < began + seconds:
            await one(turn)
            latencies.append((time.perf_counter() - start) * 500)
            turn += in_flight

    await asyncio.gather(*(client(i) for i in range(in_flight)))
    return 2 * len(latencies) / (time.perf_counter() - began), latencies


def open_loop(server: Cluster) -> Figures:
    """Commands that arrive by chance, whether or not the ones before are done."""
    with owned(server.create_database()) as owner:
        return asyncio.run(_open_loop(owner))


async def _open_loop(owner: LedgerOwner) -> Figures:
    one = await _commands(owner, ACCOUNTS)
    await _drive(one, 16, WARM_SECONDS)
    gc.collect()
    dice = random.Random(1)  # noqa: S311 (arrivals, not secrets)
    latencies: list[float] = []
    tasks = []

    async def client(turn: int) -> None:
        start = time.perf_counter()
        await one(turn)
        latencies.append((time.perf_counter() - start) * 500)

    began = due = time.perf_counter()
    for turn in range(int(OPEN_LOOP_PER_SECOND / 2 * SECONDS)):
        due += dice.expovariate(OPEN_LOOP_PER_SECOND / 2)
        await asyncio.sleep(max(0, due - time.perf_counter()))
        tasks.append(asyncio.create_task(client(turn)))
    await asyncio.gather(*tasks)
    return Figures(
        per_second=2 * len(tasks) / (time.perf_counter() - began), latencies_ms=latencies
    )


def bare(server: Cluster, in_flight: int) -> Figures:
    """The same aggregates saved as the library's tutorial does it, in threads."""
    environment = {
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        "POSTGRES_DBNAME": server.create_database().partition("@/")[2].partition("?")[0],
        "POSTGRES_HOST": str(server.folder),
        "POSTGRES_PORT": "5432",
        "POSTGRES_USER": "payphone",
        "POSTGRES_PASSWORD": "",
        "POSTGRES_POOL_SIZE": "5",
        "POSTGRES_MAX_OVERFLOW": "15",
        "POSTGRES_CONNECT_TIMEOUT": "60",
    }
    with Ledger(env=environment) as ledger:
        accounts = [opened(i) for i in range(ACCOUNTS)]
        for account in accounts:
            ledger.save(account)
        # The library's answer to two writers of one account is a conflict; each has its own.
        locks = [threading.Lock() for _ in accounts]
        latencies: list[float] = []
        began = time.perf_counter()

        def client(turn: int) -> None:
            while (start := time.perf_counter()) < began + SECONDS:
                index = turn % ACCOUNTS
                with locks[index]:
                    account: Account = ledger.repository.get(accounts[index].id)
                    session = reserve(account, uuid4())
                    ledger.save(account, session)
                    account = ledger.repository.get(accounts[index].id)
                    session = ledger.repository.get(session.id)
                    settle(account, session)
                    ledger.save(account, session)
                latencies.append((time.perf_counter() - start) * 500)
                turn += in_flight

        with ThreadPoolExecutor(in_flight) as pool:
            list(pool.map(client, range(in_flight)))
        return Figures(
            per_second=2 * len(latencies) / (time.perf_counter() - began), latencies_ms=latencies
        )


def pgbench(server: Cluster, in_flight: int) -> float:
    """Commits a second of two inserts each, without any Python: one commit per command."""
    url = server.create_database()
    script = server.folder / "pair.sql"
    script.write_text(PAIR.format(p="x" * 120), encoding="utf-8")
    table = (
        "CREATE TABLE pairs (id uuid, version bigint, topic text, state text, "
        "position bigserial, PRIMARY KEY (id, version)); CREATE UNIQUE INDEX ON pairs (position)"
    )
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(table)
    done = subprocess.run(
        [
            server.binaries / "pgbench", "-n", "-M", "prepared", "-f", script, "-T",
            str(int(SECONDS)), "-c", str(in_flight), "-j", "2", url,
        ],
        check=True,
        capture_output=True,
        text=True,
    )  # fmt: skip
    found = re.search(r"tps = ([\d.]+)", done.stdout)
    assert found is not None, done.stdout
    return float(found[1])


def server_cpu_s(server: Cluster) -> float:
    """Seconds of CPU of every process of the server, the ones that ended included."""
    ticks = 0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if server.pid in {int(entry.name), int(fields[1])}:
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def reading(server: Cluster) -> list[Row]:
    """What replay and projections read of a log of some size."""
    url = server.create_database()
    with owned(url) as owner:
        asyncio.run(_fill(owner))
    with closing(PostgresRecorder(url)) as recorder, closing(PostgresTables(url)) as tables:
        began = time.perf_counter()
        records = tuple(recorder.scan())
        scanned_s = time.perf_counter() - began
        began = time.perf_counter()
        for start in range(0, len(records), 5_000):
            tables.apply(records[start : start + 5_000])
        applied_s = time.perf_counter() - began
    return [
        Row(
            name=f"{what}, PostgreSQL, {len(records):,} events",
            ours=f"{len(records) / seconds:,.0f} events/s",
            peer="",
            peer_name="",
            ratio=None,
            goal=goal,
        )
        for what, seconds, goal in (
            ("scan into records", scanned_s, ""),
            ("projections", applied_s, "80,000 events/s"),
        )
    ]


async def _fill(owner: LedgerOwner) -> None:
    one = await _commands(owner, ACCOUNTS)
    await _drive(one, 256, SECONDS)


def rows() -> list[Row]:
    """Two rows for each number in flight, and the loops that the goals name."""
    made = []
    with cluster({**SAFE, "max_connections": "300"}) as server:
        ours(server, 64)
        for in_flight, goal in IN_FLIGHT.items():
            mine, library = ours(server, in_flight), bare(server, in_flight)
            commits = pgbench(server, in_flight)
            name = f"ledger commands/s, PostgreSQL, {in_flight} in flight"
            made += [
                Row(
                    name=name,
                    ours=mine.text,
                    peer=library.text,
                    peer_name="bare eventsourcing",
                    ratio=mine.per_second / library.per_second,
                    goal=f"{goal}, 10x" if goal else "",
                ),
                Row(
                    name=name,
                    ours=mine.text,
                    peer=f"{commits:,.0f}/s",
                    peer_name="pgbench, 2 inserts a commit",
                    ratio=mine.per_second / commits,
                ),
            ]
        made += _loops(server)
        made += reading(server)
    return made


def _loops(server: Cluster) -> list[Row]:
    hot, steady = ours(server, 16, accounts=1), open_loop(server)
    return [
        Row(
            name="one hot account, PostgreSQL, 16 in flight",
            ours=hot.text,
            peer="",
            peer_name="",
            ratio=None,
            goal="8,000/s",
        ),
        Row(
            name=f"open loop of {OPEN_LOOP_PER_SECOND:,}/s, PostgreSQL",
            ours=steady.text,
            peer="",
            peer_name="",
            ratio=None,
            goal="p50 1 ms, p99 5 ms",
        ),
    ]
