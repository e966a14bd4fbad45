"""The gateway over HTTP beside a bare aiohttp handler and beside its own commands without HTTP.

    make bench TABLE=gateway

Server, load and, where it is used, PostgreSQL are processes of their own and share the cores.
Limits are set out of the way by settings. CPU is of one call: the server's, and that of the load.
"""

from __future__ import annotations

import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg

from tests.bench.gateway_calls import GET_ACCOUNT, OPEN_STT
from tests.bench.gateway_load import process_cpu_s
from tests.bench.gateway_signatures import signature_rows
from tests.bench.report import Row, percentile_ms
from tests.fakes.cluster import SAFE, cluster
from tests.fakes.room_server import NODE, name_of

IN_FLIGHT = (1, 16, 64)
SECONDS = 2.0
STEADY_PER_SECOND = 200
STEADY_SECONDS = 5.0
BURST = 10_000
BURST_LINES = 64
BURST_ROOMS = 500
# Posted a second time.
AGAIN = 1_000
SOCKETS = 1_000
IDLE_S = 20.0
# What each operation is without HTTP: all it does, and the ledger's part of it.
WITHOUT_HTTP = {GET_ACCOUNT: ("account", "account"), OPEN_STT: ("open", "reserve")}
UNLIMITED = {
    "PAYPHONE_API_RATE_MAX": "100000",
    "PAYPHONE_IP_RATE_MAX": "1000000",
    "PAYPHONE_SESSIONS_MAX": "100000",
    "PAYPHONE_SANDBOX": "1",
    "PAYPHONE_PORT": "0",
    "PAYPHONE_ROOMS_NODES": f"wss://127.0.0.1:1={name_of(NODE)}",
}

Figures = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Server:
    """A process of `tests.bench.gateway_process`, and load upon it."""

    process: subprocess.Popen[str]
    port: int

    def ask(self, do: str, **plan: object) -> Any:  # noqa: ANN401 (whatever it answers)
        """Have it do something by itself, without HTTP."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": do, **plan}) + "\n")
        self.process.stdin.flush()
        return _line(self.process)

    def load(self, **plan: object) -> Figures:
        """Load from another process; everything must be answered well."""
        told: Figures = _line(self.begin(**plan))
        wrong = {s: n for s, n in told["statuses"].items() if not s.startswith("200")}
        assert not wrong, wrong
        return told

    def begin(self, **plan: object) -> subprocess.Popen[str]:
        process = _started("gateway_load")
        assert process.stdin is not None
        plan |= {"port": self.port, "server_pid": self.process.pid}
        process.stdin.write(json.dumps(plan) + "\n")
        process.stdin.flush()
        return process

    @property
    def resident_kb(self) -> float:
        pages = Path(f"/proc/{self.process.pid}/statm").read_text(encoding="ascii").split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE") / 1_000


@contextmanager
def serving(kind: str, folder: Path, *, database: str = "") -> Iterator[Server]:
    """A gateway (`site`) or aiohttp by itself (`bare`); its log is in the folder."""
    settings = {**UNLIMITED, "PAYPHONE_DATA": str(folder / "data"), "PAYPHONE_DATABASE": database}
    with (folder / f"{kind}.log").open("ab") as said:
        process = _started("gateway_process", kind, environ=settings, said=said.fileno())
    with process:
        url = _line(process)["url"]
        yield Server(process, urlsplit(url).port or 0)


def _started(
    module: str, *arguments: str, environ: dict[str, str] | None = None, said: int | None = None
) -> subprocess.Popen[str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("PAYPHONE_")}
    return subprocess.Popen(
        [sys.executable, "-m", f"tests.bench.{module}", *arguments],
        env={**own, **(environ or {})},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=said,
        text=True,
    )


def _line(process: subprocess.Popen[str]) -> Any:  # noqa: ANN401 (JSON)
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, "the process ended; see above or its log"
    return json.loads(line)


def text(told: Figures) -> str:
    speed = (
        f"{told['per_second']:,.0f}/s  p50 {percentile_ms(told['latencies_ms'], 50)}"
        f"  p99 {percentile_ms(told['latencies_ms'], 99)}"
    )
    cpu_us = [f"{told[side]:.0f}" for side in ("server_us", "client_us") if side in told]
    return f"{speed}  CPU {'+'.join(cpu_us)} µs" if cpu_us else speed


def rows() -> list[Row]:
    """Everything on SQLite, then on PostgreSQL, with one bare server beside both."""
    made = []
    with tempfile.TemporaryDirectory() as folder, serving("bare", Path(folder)) as bare:
        with serving("site", Path(folder)) as site:
            made += operation_rows(site, bare, "SQLite")
            made += key_rows(site, "SQLite")
            made += burst_rows(site, bare, "SQLite", _sqlite_counts(Path(folder)))
            made += socket_rows(site, bare)
        with cluster({**SAFE, "max_connections": "300"}) as postgres:
            url = postgres.create_database()
            with serving("site", Path(folder), database=url) as site:
                made += operation_rows(site, bare, "PostgreSQL")
                made += burst_rows(site, bare, "PostgreSQL", _postgres_counts(url))
    return made + signature_rows()


def operation_rows(site: Server, bare: Server, store: str) -> list[Row]:
    """Closed loops of each operation beside its peers, and what HTTP adds at a steady pace."""
    made = []
    for operation, (whole, ledger) in WITHOUT_HTTP.items():
        for lines in IN_FLIGHT:
            name = f"{operation}, {store}, {lines} in flight"
            ours = site.load(operation=operation, lines=lines, seconds=SECONDS)
            peer = bare.load(operation=operation, lines=lines, seconds=SECONDS)
            made.append(_beside(name, ours, peer, "bare aiohttp"))
            site.ask("settle")
            for what in dict.fromkeys((whole, ledger)):
                peer = site.ask("loop", what=what, in_flight=lines, seconds=SECONDS)
                site.ask("settle")
                made.append(_beside(name, ours, peer, _PEERS[what]))
        made.append(_added(site, operation, whole, store))
    return made


_PEERS = {
    "account": "the ledger alone",
    "reserve": "the ledger alone",
    "open": "the use case without HTTP",
}


def _beside(name: str, ours: Figures, peer: Figures, peer_name: str) -> Row:
    return Row(
        name=name,
        ours=text(ours),
        peer=text(peer),
        peer_name=peer_name,
        ratio=ours["per_second"] / peer["per_second"],
    )


def _added(site: Server, operation: str, whole: str, store: str) -> Row:
    """Calls that come by chance, far below what there is room for."""
    pace = {"per_second": STEADY_PER_SECOND, "seconds": STEADY_SECONDS}
    ours = site.load(operation=operation, lines=32, **pace)
    without = site.ask("loop", what=whole, **pace)
    site.ask("settle")
    added_ms = statistics.median(ours["latencies_ms"]) - statistics.median(without["latencies_ms"])
    return Row(
        name=f"{operation}, {store}: {STEADY_PER_SECOND}/s by chance, p50 {added_ms:+.2f} ms",
        ours=text(ours),
        peer=text(without),
        peer_name=_PEERS[whole],
        ratio=None,
        goal="p50 +1 ms",
    )


def key_rows(site: Server, store: str) -> list[Row]:
    """API keys over HTTP, and without it."""
    tokens = site.ask("keys")
    ours = site.load(operation=GET_ACCOUNT, tokens=tokens, lines=16, seconds=SECONDS)
    signed = site.load(operation=GET_ACCOUNT, lines=16, seconds=SECONDS)
    checks = site.ask("loop", what="key", in_flight=64, seconds=SECONDS)
    return [
        _beside(f"{GET_ACCOUNT} with an API key, {store}, 16 in flight", ours, signed, "signed"),
        Row(
            name=f"API keys recognised, {store}, 64 in flight",
            ours=text(checks),
            peer="",
            peer_name="",
            ratio=None,
        ),
    ]


Counts = Callable[[], tuple[int, int]]


def burst_rows(site: Server, bare: Server, store: str, counts: Counts) -> list[Row]:
    """Signed webhooks as fast as they are answered; then some again, which change nothing."""
    burst = {
        "webhooks": site.ask("rooms", count=BURST_ROOMS),
        "lines": BURST_LINES,
        "seconds": 600,
    }
    ours = site.load(count=BURST, **burst)
    assert ours["statuses"] == {"200 stored": BURST}, ours["statuses"]
    answered = time.perf_counter()
    while counts()[1] < BURST:
        time.sleep(0.05)
    read_s = time.perf_counter() - answered
    again = site.load(count=AGAIN, **burst)
    assert again["statuses"] == {"200 duplicate": AGAIN}, again["statuses"]
    assert counts() == (BURST, BURST)
    peer = bare.load(count=BURST, **burst)
    alone = site.ask("loop", what="store", in_flight=BURST_LINES, seconds=SECONDS)
    name = f"{BURST:,} webhooks, {store}, {BURST_LINES} in flight"
    return [
        _beside(f"{name}: stored, answered", ours, peer, "bare aiohttp"),
        _beside(name, ours, alone, "the log alone"),
        Row(
            name=f"{name}: all read",
            ours=f"{BURST / (ours['seconds'] + read_s):,.0f}/s, {read_s:.1f} s after the last",
            peer="",
            peer_name="",
            ratio=None,
        ),
    ]


def _sqlite_counts(folder: Path) -> Counts:
    """How many deliveries are stored, and what was read from how many."""

    def counts() -> tuple[int, int]:
        with closing(sqlite3.connect(f"file:{folder}/data/rooms.db?mode=ro", uri=True)) as db:
            stored, read = db.execute(
                "SELECT (SELECT count(*) FROM deliveries), (SELECT count(*) FROM sightings)"
            ).fetchone()
        return stored, read

    return counts


def _postgres_counts(url: str) -> Counts:
    def counts() -> tuple[int, int]:
        with psycopg.connect(url) as db:
            row = db.execute(
                "SELECT (SELECT count(*) FROM payphone_private.deliveries), "
                "(SELECT count(*) FROM payphone_private.sightings)"
            ).fetchone()
        assert row is not None
        return row[0], row[1]

    return counts


def socket_rows(site: Server, bare: Server) -> list[Row]:
    """Speaking sessions that are connected, configured and silent."""
    openings = [
        {"session_key": token, "config": {"voice": "af_heart"}}
        for token in site.ask("tickets", service="tts", count=SOCKETS)
    ]
    (ours_kb, ours_share), (bare_kb, bare_share) = (
        _silence(server, openings) for server in (site, bare)
    )
    return [
        Row(
            name=f"{SOCKETS:,} idle WebSockets, sessions open",
            ours=f"{ours_kb:.0f} kB each  CPU {ours_share:.1%} of a core",
            peer=f"{bare_kb:.0f} kB each  CPU {bare_share:.1%} of a core",
            peer_name="bare aiohttp",
            ratio=bare_kb / ours_kb,
        )
    ]


def _silence(server: Server, openings: list[dict[str, object]]) -> tuple[float, float]:
    """Memory (kB) of each connection, and the share of a core that all of them take."""
    # Whatever the first of them loads for all is no part of one.
    with _held(server, openings[:1]):
        pass
    before_kb = server.resident_kb
    with _held(server, openings):
        each_kb = (server.resident_kb - before_kb) / len(openings)
        began, cpu_s = time.perf_counter(), process_cpu_s(server.process.pid)
        time.sleep(IDLE_S)
        share = (process_cpu_s(server.process.pid) - cpu_s) / (time.perf_counter() - began)
    return each_kb, share


@contextmanager
def _held(server: Server, openings: list[dict[str, object]]) -> Iterator[None]:
    client = server.begin(openings=openings)
    assert client.stdin is not None
    with client:
        assert _line(client) == {"ready": len(openings)}
        yield
        client.stdin.write("\n")
        client.stdin.flush()
        assert _line(client) == {"alive": len(openings)}
