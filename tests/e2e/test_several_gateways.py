"""Several `payphone serve` on one PostgreSQL: any of them does, and any of them may die."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import UUID

import aiohttp
import psycopg
import pytest

from adapters.cli.customer import Customer, GatewayRefusedError
from adapters.log_keys import load_log_keys
from tests.e2e.conftest import ROOT, GatewayProcess, start_gateway

pytestmark = pytest.mark.postgres

NAMES = ("one", "two", "three")
FAILOVER_S_MAX = 5.0
RATE = 6_000 / 60_000


def payphone(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "adapters", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def gateways(tmp_path: Path, database: str) -> Iterator[list[GatewayProcess]]:
    """Three that start at once, over one data folder that none of them has seen."""

    def start(name: str) -> GatewayProcess:
        return start_gateway(tmp_path / "data", name=name, PAYPHONE_DATABASE=database)

    with ThreadPoolExecutor() as threads:
        started = list(threads.map(start, NAMES))
    yield started
    for gateway in started:
        if gateway.process.poll() is None:
            gateway.kill()


def owner_of(database: str, gateways: list[GatewayProcess]) -> GatewayProcess:
    """The process that has the lease: the one whose socket the others know."""
    with psycopg.connect(database) as connection:
        row = connection.execute("SELECT address FROM ledger_leases").fetchone()
    assert row is not None
    for gateway in gateways:
        sockets = Path(f"/proc/{gateway.process.pid}/net/unix").read_text()
        fds = Path(f"/proc/{gateway.process.pid}/fd")
        inodes = [line.split()[6] for line in sockets.splitlines() if line.endswith(row[0])]
        held = {str(fd.readlink()) for fd in fds.iterdir() if fd.is_symlink()}
        if any(f"socket:[{inode}]" in held for inode in inodes):
            return gateway
    pytest.fail("nobody listens at the owner's address")


def verified(database: str, data: Path) -> str:
    done = payphone("ledger", "verify", "--database", database, "--data", str(data))
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


async def test_any_gateway_does_the_next_step_of_a_story(
    gateways: list[GatewayProcess], database: str, tmp_path: Path
) -> None:
    one, two, three = gateways
    async with (
        Customer(one.url, one.secret_key) as first,
        Customer(two.url, one.secret_key) as second,
        Customer(three.url, one.secret_key) as third,
    ):
        await first.buy("0.50")
        ticket = await second.call("POST", "/v1/stt/session", {"duration_minutes": 5})
        call = await third.listen(ticket | {"server_url": three.url}, language="en")
        await call.say(bytes(32_000))
        await call.hang_up()
        ended = await first.call("POST", f"/v1/sessions/{ticket['session_id']}/end")
        rows = await second.call("GET", "/v1/account/sessions")
        bill = await third.call("GET", f"/v1/sessions/{ticket['session_id']}/bill")
        account = await third.call("GET", "/v1/account")
    path = tmp_path / "bill.json"
    path.write_text(json.dumps(bill))
    proved = payphone("verify", str(path), "--key", str(one.data / "log.pub"))

    # The wallets are kept in the folder they share; each has chains of its own.
    wallets = [
        {name: told for name, told in gateway.ready["sandbox"].items() if "rpc_url" not in name}
        for gateway in (one, three)
    ]
    assert wallets[0] == wallets[1]
    assert rows["sessions"][0]["id"] == ticket["session_id"]
    assert rows["sessions"][0]["status"] == "settled"
    charged = int(ended["charged_microcredits"])
    assert 0 < charged < 30_000
    assert int(account["credit_balance"]) == 500_000 - charged
    assert proved.returncode == 0, proved.stdout + proved.stderr
    assert [gateway.stop() for gateway in gateways] == [0, 0, 0]
    assert "trial balance 0" in verified(database, one.data)


async def test_an_owner_that_is_killed_is_replaced_and_its_calls_cost_no_more(
    gateways: list[GatewayProcess], database: str
) -> None:
    async with Customer(gateways[0].url, gateways[0].secret_key) as customer:
        await customer.buy("0.50")
    owner = owner_of(database, gateways)
    rest = [gateway for gateway in gateways if gateway is not owner]
    async with (
        Customer(owner.url, owner.secret_key) as doomed,
        Customer(rest[0].url, owner.secret_key) as customer,
        Customer(rest[1].url, owner.secret_key) as other,
    ):
        ticket = await customer.call("POST", "/v1/stt/session", {"duration_minutes": 5})
        call = await doomed.listen(ticket | {"server_url": owner.url}, language="en")
        await call.say(bytes(32_000))

        owner.kill()
        killed = time.monotonic()
        await customer.call("POST", "/v1/stt/session", {"duration_minutes": 5})
        took_s = time.monotonic() - killed
        await call.hang_up()
        again = await other.listen(ticket | {"server_url": rest[1].url}, language="en")
        await again.hang_up()
        ended = await other.call("POST", f"/v1/sessions/{ticket['session_id']}/end")

    print(f"a command after the owner was killed took {took_s:.1f} s")
    assert took_s < FAILOVER_S_MAX
    # What ran since the last heartbeat is ours to lose; there was none after the start.
    assert 300_000 - again.remaining_s * 1_000 < 1_000
    assert int(ended["charged_microcredits"]) < 1_000 * RATE + 500
    assert [gateway.stop() for gateway in rest] == [0, 0]
    assert "trial balance 0" in verified(database, owner.data)


async def test_an_extension_and_an_end_elsewhere_reach_the_live_call(
    gateways: list[GatewayProcess],
) -> None:
    one, two, three = gateways
    async with (
        Customer(one.url, one.secret_key) as first,
        Customer(two.url, one.secret_key) as second,
        aiohttp.ClientSession() as http,
    ):
        await first.buy("0.50")
        ticket = await first.call("POST", "/v1/stt/session", {"duration_minutes": 5})
        socket = await http.ws_connect(three.url.replace("http", "ws", 1) + "/v1/stream")
        await socket.send_json({"type": "config", "session_key": ticket["token"]})
        await socket.receive(timeout=30)

        await second.call(
            "POST",
            "/v1/stt/session/extend",
            {"session_id": ticket["session_id"], "additional_minutes": 1},
        )
        extended = await socket.receive(timeout=5)
        await first.call("POST", f"/v1/sessions/{ticket['session_id']}/end")
        told = [message.data async for message in socket if message.type is aiohttp.WSMsgType.TEXT]
        await socket.close()

    assert "extended" in extended.data
    assert "session_expired" in told[-1]


async def test_a_newer_connection_elsewhere_takes_over_and_time_is_billed_once(
    gateways: list[GatewayProcess],
) -> None:
    one, two, three = gateways
    async with Customer(one.url, one.secret_key) as customer:
        await customer.buy("0.50")
        ticket = await customer.call("POST", "/v1/stt/session", {"duration_minutes": 5})
        began = time.monotonic()
        older = await customer.listen(ticket | {"server_url": two.url}, language="en")
        newer = await customer.listen(ticket | {"server_url": three.url}, language="en")
        with pytest.raises(GatewayRefusedError):
            await asyncio.wait_for(older.finish(), timeout=10)
        await older.hang_up()
        await newer.say(bytes(64_000))
        await newer.hang_up()
        ended = await customer.call("POST", f"/v1/sessions/{ticket['session_id']}/end")
        took_ms = (time.monotonic() - began) * 1_000

    assert 0 < int(ended["charged_microcredits"]) <= took_ms * RATE + 1


async def test_an_operator_corrects_an_account_while_the_gateways_run(
    gateways: list[GatewayProcess], database: str
) -> None:
    async with Customer(gateways[0].url, gateways[0].secret_key) as customer:
        bought = await customer.buy("0.10")
        done = payphone(
            *("correct", "--data", str(gateways[0].data), "--database", database),
            *("--account", bought["account_id"], "--amount", "-25000", "--who", "ops-1"),
            *("--why", "test", "--corrects", "2"),
        )
        account = await customer.call("GET", "/v1/account")

    assert done.returncode == 0, done.stderr
    assert account["credit_balance"] == "75000"


@pytest.mark.parametrize(
    ("command", "code", "told"),
    [
        (("serve", "--sandbox", "--no-fetch", "--port", "0"), 1, "cannot start: cannot use"),
        (("correct", "--account", str(UUID(int=1)), "--amount", "1", "--who", "a", "--why", "b",
          "--corrects", "1"), 1, "not corrected: cannot use the database"),
        (("ledger", "verify"), 1, "the database cannot be read"),
    ],
)  # fmt: skip
def test_a_database_that_is_not_there_is_said_without_a_trace(
    command: tuple[str, ...], code: int, told: str, tmp_path: Path
) -> None:
    load_log_keys(tmp_path, name="gateway.test")

    done = payphone(
        *command, "--data", str(tmp_path), "--database", "postgresql://u:hush@127.0.0.1:1/none"
    )

    assert done.returncode == code
    assert told in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert "hush" not in done.stdout + done.stderr


def test_a_database_of_a_newer_release_is_left_alone(database: str, tmp_path: Path) -> None:
    with psycopg.connect(database) as connection:
        connection.execute("CREATE TABLE ledger_schema (version integer PRIMARY KEY)")
        connection.execute("INSERT INTO ledger_schema VALUES (99)")

    serving = payphone(
        *("serve", "--sandbox", "--no-fetch", "--port", "0"),
        *("--data", str(tmp_path), "--database", database),
    )
    reading = payphone("ledger", "verify", "--data", str(tmp_path), "--database", database)

    assert serving.returncode == 1
    assert "version 99" in serving.stderr
    assert reading.returncode == 1
    assert "version 99" in reading.stderr
    assert "Traceback" not in serving.stderr + reading.stderr
