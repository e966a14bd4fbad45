"""Commands of four gateway processes on one PostgreSQL: through our owner, and by the bare library.

    python -m tests.bench.ledger_processes

The owner's process has the signed log on and no load of its own; the four others and the server
share the cores with it.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from contextlib import closing
from functools import partial
from typing import Any
from uuid import UUID

from adapters.keys import Ed25519Signer, check_signature
from adapters.store.lease import Leases
from adapters.store.log import MerkleLog
from adapters.store.postgres import PostgresRecorder, postgres_environment
from adapters.store.shared import SharedBooks
from domain.account import Account
from domain.checkpoint import SignerKey
from domain.ledger import Ledger, Work
from tests.bench.ledger import opened, reserve, settle
from tests.bench.report import Row, percentile_ms, publish
from tests.fakes.cluster import SAFE, Cluster, cluster

PROCESSES = 4
IN_FLIGHT = 16
ACCOUNTS = 200
SECONDS = 4.0
WARM_SECONDS = 1.0


def ours(server: Cluster) -> dict[str, Any]:
    """Four followers, and this process as the owner."""
    url = server.create_database()
    with Ledger(env=postgres_environment(url)) as ledger, closing(Leases(url)) as leases:
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
        books = SharedBooks(
            ledger,
            leases,
            committed=merkle.extend,
            became_owner=lambda: None,
            lost=lambda: None,
        )
        with closing(books):
            for index in range(ACCOUNTS):
                asyncio.run(books.run(partial(open_account, index=index)))
            return _gateways(url, "ours")


def bare(server: Cluster) -> dict[str, Any]:
    """The same aggregates saved as the library's tutorial does it, in threads of four processes."""
    database = server.create_database().partition("@/")[2].partition("?")[0]
    where = json.dumps({"POSTGRES_DBNAME": database, "POSTGRES_HOST": str(server.folder)})
    with Ledger(env=bare_environment(where)) as ledger:
        for index in range(ACCOUNTS):
            ledger.save(opened(index))
    return _gateways(where, "bare")


def _gateways(where: str, kind: str) -> dict[str, Any]:
    """Start them, let them go together, and add up what they did."""
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.bench.ledger_process", where, kind, str(index)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for index in range(PROCESSES)
    ]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    began_s = time.process_time()
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    told = [json.loads(process.communicate()[0]) for process in started]
    latencies = [latency for one in told for latency in one["latencies_ms"]]
    return {
        "per_second": sum(one["per_second"] for one in told),
        "p50": percentile_ms(latencies, 50),
        "p99": percentile_ms(latencies, 99),
        "gateway_us": sum(one["cpu_s"] for one in told) / sum(one["all"] for one in told) * 1e6,
        "owner_us": (time.process_time() - began_s) / sum(one["all"] for one in told) * 1e6,
    }


def open_account(work: Work, *, index: int) -> None:
    work.add(opened(index))


def reserve_some(work: Work, *, account_id: UUID, session_id: UUID) -> None:
    work.add(reserve(work.account(account_id), session_id))


def settle_all(work: Work, *, account_id: UUID, session_id: UUID) -> None:
    settle(work.account(account_id), work.session(session_id))


def account_id_of(turn: int) -> UUID:
    return Account.create_id("evm", f"0x{turn % ACCOUNTS:040x}")


def bare_environment(where: str) -> dict[str, str]:
    return {
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        **json.loads(where),
        "POSTGRES_PORT": "5432",
        "POSTGRES_USER": "payphone",
        "POSTGRES_PASSWORD": "",
        "POSTGRES_POOL_SIZE": "5",
        "POSTGRES_MAX_OVERFLOW": "15",
        "POSTGRES_CONNECT_TIMEOUT": "60",
    }


def rows() -> list[Row]:
    """One row: four processes through the owner beside four processes of the library."""
    with cluster({**SAFE, "max_connections": "300"}) as server:
        mine, library = ours(server), bare(server)
    return [
        Row(
            name=f"ledger commands/s, PostgreSQL, {PROCESSES} processes of {IN_FLIGHT} in flight",
            ours=f"{_text(mine)}  CPU {mine['gateway_us']:.0f}+{mine['owner_us']:.0f} µs",
            peer=_text(library),
            peer_name=f"bare eventsourcing, {PROCESSES} processes",
            ratio=mine["per_second"] / library["per_second"],
            goal="10,000/s",
        )
    ]


def _text(measured: dict[str, Any]) -> str:
    return f"{measured['per_second']:,.0f}/s  p50 {measured['p50']}  p99 {measured['p99']}"


if __name__ == "__main__":
    publish("ledger_processes", rows())
