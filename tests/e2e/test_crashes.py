"""The server dies by SIGKILL at the worst moments; afterwards the books balance."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

from adapters.cli.customer import Customer
from adapters.store.audit import Audit, audit
from adapters.store.sqlite import LedgerRecorder, sqlite_environment
from domain.ledger import Ledger
from domain.session import Session
from tests.e2e.conftest import ROOT, StartGateway
from tests.e2e.payer import Payer

HEARTBEAT_MS = 10_000


def replayed(data: Path) -> Audit:
    """The ledger as an auditor sees it; any break is an error."""
    with Ledger(env=sqlite_environment(str(data / "ledger.db"))) as ledger:
        recorder = ledger.recorder
        assert isinstance(recorder, LedgerRecorder)
        return audit(
            recorder.scan(),
            checkpoints=recorder.checkpoints(),
            key=None,
            check=lambda _key, _message, _signature: False,
            progress=lambda _done: None,
        )


def payphone(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "adapters", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def transactions(journal: Path) -> int:
    return journal.read_bytes().count(b"\n")


async def until_moved(journal: Path, before: int) -> None:
    """Wait until the chain has one more transaction than `before`, for ten seconds at most."""
    for _ in range(200):
        if transactions(journal) > before:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("the chain never moved")


async def test_death_between_settle_and_credit_credits_once(start: StartGateway) -> None:
    gateway = start("settle_delay_ms=60000")
    journal = gateway.data / "sandbox.journal"
    payer = Payer(gateway.url, gateway.secret_key)
    proof = await payer.proof()
    before = transactions(journal)
    buying = asyncio.create_task(payer.post(payer.body(), proof))
    await until_moved(journal, before)
    gateway.kill()
    await asyncio.gather(buying, return_exceptions=True)

    healed = start()
    again = await Payer(healed.url, healed.secret_key).post(payer.body(), proof)

    async with Customer(healed.url, healed.secret_key) as customer:
        account = await customer.call("GET", "/v1/account")
    assert again.status_code == 200
    assert account["credit_balance"] == "100000"
    assert healed.stop() == 0
    assert replayed(healed.data).books.total == 0


async def test_death_during_a_call_pauses_it_at_the_last_heartbeat(start: StartGateway) -> None:
    gateway = start()
    async with Customer(gateway.url, gateway.secret_key) as customer:
        await customer.buy("0.10")
        ticket = await customer.call("POST", "/v1/stt/session", {"duration_minutes": 5})
        call = await customer.listen(ticket, language="en")
        await call.say(bytes(32_000))
        gateway.kill()
        await call.hang_up()

    healed = start()
    async with Customer(healed.url, healed.secret_key) as customer:
        rows = await customer.call("GET", "/v1/account/sessions?status=active")
        # The key of before still opens the line, on the new server's address.
        moved = ticket | {"server_url": healed.url}
        again = await customer.listen(moved, language="en")
        await again.hang_up()
        ended = await customer.call("POST", f"/v1/sessions/{ticket['session_id']}/end")

    assert [row["id"] for row in rows["sessions"]] == [ticket["session_id"]]
    # Nothing of the seconds since the last heartbeat is billed; there was none after the start.
    assert 300_000 - again.remaining_s * 1_000 < HEARTBEAT_MS
    assert int(ended["charged_microcredits"]) + int(ended["refunded_microcredits"]) == 30_000
    assert healed.stop() == 0
    found = replayed(healed.data)
    assert found.books.total == 0
    sessions = [a for a in found.aggregates.values() if isinstance(a, Session)]
    assert [s.is_running for s in sessions] == [False]


async def test_an_operator_puts_an_account_right_while_the_gateway_is_stopped(
    start: StartGateway,
) -> None:
    gateway = start()
    async with Customer(gateway.url, gateway.secret_key) as customer:
        account = await customer.buy("0.10")
    words = (
        *("correct", "--data", str(gateway.data), "--account", account["account_id"]),
        *("--amount", "-25000", "--who", "ops-1", "--why", "test", "--corrects", "2"),
        *("--id", "00000000-0000-4000-8000-000000000001"),
    )
    while_running = payphone(*words)
    assert gateway.stop() == 0

    done = [payphone(*words), payphone(*words)]

    assert while_running.returncode == 1
    assert "in use by process" in while_running.stderr
    assert [d.returncode for d in done] == [0, 0], done[0].stderr
    assert "available 75000" in done[1].stdout
    found = replayed(gateway.data)
    assert found.books.by_kind()["adjustments"] == 25_000
    assert found.books.total == 0


async def test_the_auditors_tools_agree_after_a_crash(start: StartGateway) -> None:
    gateway = start()
    async with Customer(gateway.url, gateway.secret_key) as customer:
        await customer.buy("0.10")
        await customer.call("POST", "/v1/stt/session", {"duration_minutes": 5})
    gateway.kill()

    for action in ("verify", "trial-balance", "replay"):
        done = payphone("ledger", action, "--data", str(gateway.data))
        assert done.returncode == 0, done.stderr
