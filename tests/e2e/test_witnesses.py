"""A gateway, two witnesses and an auditor, each a process of its own; then the gateway forges."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from adapters.cli.customer import Customer
from adapters.keys import check_signature
from adapters.log_keys import LogKeys, load_log_keys
from domain.checkpoint import Checkpoint, open_checkpoint
from domain.cosignature import WitnessKey, cosignatures
from domain.merkle import MerkleTree, leaf_hash
from tests.e2e.conftest import ROOT, GatewayProcess, StartGateway
from tests.e2e.test_crashes import payphone
from tests.fakes.stored_house import ledger_at

WAIT_MS = 20_000


@dataclass
class WitnessProcess:
    """A running `payphone witness`."""

    process: subprocess.Popen[bytes]
    url: str
    key: str
    output: Path


StartWitness = Callable[..., WitnessProcess]


@pytest.fixture
def witness(tmp_path: Path) -> Iterator[StartWitness]:
    """Start witnesses, each in a folder of its own; all are ended."""
    started: list[WitnessProcess] = []

    def begin(name: str, log: Path, *, port: str = "0") -> WitnessProcess:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        ready = folder / "ready.json"
        ready.unlink(missing_ok=True)
        output = folder / "output.log"
        with output.open("ab") as file:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "adapters", "witness", "--name", name, "--port", port),
                    *("--data", str(folder), "--origin-key", str(log), "--ready-file", str(ready)),
                ],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + WAIT_MS / 1_000
        while not ready.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                pytest.fail(f"the witness did not start:\n{output.read_text()[-2000:]}")
            try:
                process.wait(timeout=0.05)
            except subprocess.TimeoutExpired:
                continue
        told = json.loads(ready.read_text())
        started.append(WitnessProcess(process, told["url"], told["key"], output))
        return started[-1]

    yield begin
    for running in started:
        if running.process.poll() is None:
            running.process.kill()
            running.process.wait()


def asked(*witnesses: WitnessProcess) -> str:
    return ",".join(f"{w.url}={w.key}" for w in witnesses)


async def settled(gateway: GatewayProcess) -> str:
    """Buy, open a session and end it; its id."""
    async with Customer(gateway.url, gateway.secret_key) as customer:
        await customer.buy("0.10")
        ticket = await customer.call("POST", "/v1/stt/session", {"duration_minutes": 1})
        await customer.call("POST", f"/v1/sessions/{ticket['session_id']}/end", {})
        return str(ticket["session_id"])


async def bill_of(gateway: GatewayProcess, session: str) -> dict[str, Any]:
    async with Customer(gateway.url, gateway.secret_key) as customer:
        return await customer.call("GET", f"/v1/sessions/{session}/bill")


async def cosigned_bill(
    gateway: GatewayProcess, session: str, *witnesses: WitnessProcess
) -> dict[str, Any]:
    """The bill as soon as its head carries these witnesses' lines."""
    for _ in range(WAIT_MS // 100):
        bill = await bill_of(gateway, session)
        if all(f"\N{EM DASH} {w.key.partition('+')[0]} " in checkpoint(bill) for w in witnesses):
            return bill
        await asyncio.sleep(0.1)
    raise AssertionError("the witnesses never cosigned")


def checkpoint(bill: dict[str, Any]) -> str:
    return str(bill["evidence"]["checkpoint"])


async def logged(output: Path, words: str) -> None:
    for _ in range(WAIT_MS // 100):
        if words in await asyncio.to_thread(output.read_text):
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"never said: {words}")


async def test_a_bill_with_two_witnesses_verifies_and_a_forked_history_is_refused(
    start: StartGateway, witness: StartWitness, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    keys = load_log_keys(data, name="gateway.test")
    first, second = (witness(name, data / "log.pub") for name in ("first.test", "second.test"))
    environ = {"PAYPHONE_WITNESSES": asked(first, second)}
    gateway = start(**environ)
    session = await settled(gateway)

    bill = await cosigned_bill(gateway, session, first, second)
    (tmp_path / "bill.json").write_text(json.dumps(bill))
    honest = verified(tmp_path / "bill.json", keys, first, second)
    assert honest.returncode == 0, honest.stderr
    assert "witness first.test saw this head at" in honest.stdout
    assert "witness second.test saw this head at" in honest.stdout
    async with ClientSession() as http, http.get(f"{gateway.url}/v1/log/checkpoint?cosigned") as a:
        kept = await a.text()
    seen = cosignatures(
        kept, witnesses=[WitnessKey.parse(w.key) for w in (first, second)], check=check_signature
    )
    assert len(seen) == 2
    watch = ("--kept", str(tmp_path / "watched"), "--key", keys.key.text, "--entries")
    watched = payphone("log", "follow", gateway.url, *watch, "--witness", first.key)
    assert (watched.returncode, "the first head kept" in watched.stdout) == (0, True)
    assert "continues the" in payphone("log", "follow", gateway.url, *watch).stdout
    assert gateway.stop() == 0
    (tmp_path / "kept").write_text(kept)

    fork(data, keys)
    forked = start(**environ)
    await settled(forked)
    await logged(forked.data / "output.log", "a witness does not cosign")
    assert "it has seen another history of" in (data / "output.log").read_text()
    forged = await bill_of(forked, session)
    assert "first.test" not in checkpoint(forged)
    await logged(first.output, '"status": 422')
    (tmp_path / "bill.json").write_text(json.dumps(forged))
    refused = verified(tmp_path / "bill.json", keys, first)
    assert refused.returncode == 1
    assert "no cosignature by witness first.test" in refused.stderr
    assert verified(tmp_path / "bill.json", keys).returncode == 0
    watched = payphone("log", "follow", forked.url, *watch)
    assert watched.returncode == 1
    assert "another history: expected a log that begins with root" in watched.stderr
    assert forked.stop() == 0

    archive = tmp_path / "log.zip"
    assert payphone("ledger", "export", "--data", str(data), "--out", str(archive)).returncode == 0
    assert payphone("verify", str(archive)).returncode == 0
    named = payphone("verify", str(archive), "--checkpoint", str(tmp_path / "kept"))
    head = open_checkpoint(kept, key=keys.key, check=check_signature)
    assert named.returncode == 1
    assert f"position {head.size}: signed head: expected root {head.root.hex()}" in named.stderr


async def test_a_witness_that_is_down_costs_its_line_only(
    start: StartGateway, witness: StartWitness, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    keys = load_log_keys(data, name="gateway.test")
    up, down = (witness(name, data / "log.pub") for name in ("up.test", "down.test"))
    down.process.kill()
    down.process.wait()

    gateway = start(PAYPHONE_WITNESSES=asked(up, down))
    bill = await cosigned_bill(gateway, await settled(gateway), up)

    assert "down.test" not in checkpoint(bill)
    (tmp_path / "bill.json").write_text(json.dumps(bill))
    assert verified(tmp_path / "bill.json", keys, up).returncode == 0
    again = witness("down.test", data / "log.pub", port=down.url.rpartition(":")[2])
    assert again.key == down.key
    bill = await cosigned_bill(gateway, await settled(gateway), up, again)
    (tmp_path / "bill.json").write_text(json.dumps(bill))
    assert verified(tmp_path / "bill.json", keys, up, again).returncode == 0


async def test_bills_from_before_and_after_a_change_of_key_verify(
    start: StartGateway, tmp_path: Path
) -> None:
    gateway = start(PAYPHONE_LOG_NAME="gateway.test")
    data, old = gateway.data, load_log_keys(gateway.data, name="")
    before = await bill_of(gateway, await settled(gateway))
    archive = tmp_path / "before.zip"
    running = payphone("log", "rotate-key", "--data", str(data))
    assert (running.returncode, "is in use by process" in running.stderr) == (1, True)
    assert gateway.stop() == 0
    assert payphone("ledger", "export", "--data", str(data), "--out", str(archive)).returncode == 0

    assert payphone("log", "rotate-key", "--data", str(data)).returncode == 0
    gateway = start()
    after = await bill_of(gateway, await settled(gateway))
    async with ClientSession() as http, http.get(f"{gateway.url}/.well-known/payphone") as answer:
        told = await answer.json()
    assert gateway.stop() == 0

    new = load_log_keys(data, name="")
    assert [known["key"] for known in told["log"]["keys"]] == [new.key.text, old.key.text]
    assert told["log"]["keys"][0]["since"] > told["log"]["keys"][1]["since"] == 0
    assert before["evidence"]["signer"] == old.key.text
    assert after["evidence"]["signer"] == new.key.text
    for name, document in (("before", before), ("after", after), ("told", told)):
        (tmp_path / f"{name}.json").write_text(json.dumps(document))
    assert verified(tmp_path / "before.json", old).returncode == 0
    assert verified(tmp_path / "after.json", new).returncode == 0
    assert verified(tmp_path / "after.json", old).returncode == 1
    followed = ("--key", old.key.text, "--rotations", str(tmp_path / "told.json"))
    assert payphone("verify", str(tmp_path / "after.json"), *followed).returncode == 0
    assert payphone("verify", str(tmp_path / "before.json"), *followed).returncode == 0
    assert payphone("verify", str(archive), "--key", old.key.text).returncode == 0
    assert payphone("ledger", "verify", "--data", str(data)).returncode == 0


def verified(
    bill: Path, keys: LogKeys, *witnesses: WitnessProcess
) -> subprocess.CompletedProcess[str]:
    demanded = [part for w in witnesses for part in ("--witness", w.key)]
    return payphone("verify", str(bill), "--key", keys.key.text, *demanded)


def fork(data: Path, keys: LogKeys) -> None:
    """What a dishonest operator does: edit the past, and sign every head anew with the real key."""
    connection = sqlite3.connect(data / "ledger.db")
    with connection:
        changed = connection.execute(
            "UPDATE stored_events SET state = "
            "CAST(replace(state, '\"at_ms\":1', '\"at_ms\":2') AS BLOB) "
            "WHERE topic = 'account.opened'"
        )
        assert changed.rowcount == 1
    connection.close()
    tree = MerkleTree()
    with ledger_at(data) as (_, recorder):
        for record in recorder.scan():
            tree.append(leaf_hash(record.leaf))
        for size, _ in recorder.checkpoints():
            head = Checkpoint(origin=keys.key.name, size=size, root=tree.root(size))
            recorder.put_checkpoint(size, head.signed(keys.key, keys.sign))
    (data / "views.db").unlink()
