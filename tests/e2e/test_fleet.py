"""A gateway and its speech servers in processes of their own: any of them may die."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import pytest

from adapters.cli.customer import Customer, GatewayRefusedError
from tests.e2e.conftest import ROOT, GatewayProcess, start_gateway, start_process

# Throwaway: nothing but these tests knows it.
SECRET = "a throwaway secret of the fleet's tests"
RATE = 6_000 / 60_000
CHANGE_S_MAX = 15.0
CALLS = 12
LOAD_S = 12.0

_T = TypeVar("_T")
Begin = Callable[..., GatewayProcess]


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    """Start members of one fleet by role; whatever still runs is ended."""
    started: list[GatewayProcess] = []

    def member(
        role: str, *words: str, name: str = "", port: int = 0, **environ: str
    ) -> GatewayProcess:
        environ = {"PAYPHONE_FLEET_SECRET": SECRET, **environ}
        if role == "gateway":
            data = tmp_path / "data"
            running = start_gateway(data, name=name, role=role, port=port, **environ)
        else:
            running = start_process(
                tmp_path / (name or role), role, "--no-fetch", *words, name=name, **environ
            )
        started.append(running)
        return running

    yield member
    for running in started:
        if running.process.poll() is None:
            running.kill()


def verified(data: Path, *more: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "adapters", "ledger", "verify", "--data", str(data), *more],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


async def until(happens: Callable[[], Awaitable[_T]]) -> _T:
    """Ask again until something is so."""
    deadline = time.monotonic() + CHANGE_S_MAX
    while True:
        found = await happens()
        if found:
            return found
        assert time.monotonic() < deadline, "it did not come to be"
        await asyncio.sleep(0.1)


async def servers(gateway: GatewayProcess, service: str) -> list[dict[str, Any]]:
    async with (
        aiohttp.ClientSession() as http,
        http.get(gateway.url + "/v1/servers/status") as answer,
    ):
        return list((await answer.json())[service]["servers"])


async def test_a_sentence_is_spoken_and_heard_by_servers_of_their_own(begin: Begin) -> None:
    gateway = begin("gateway")
    for service in ("stt", "tts"):
        begin(service, "--gateway", gateway.url, "--regions", "eu")
    async with Customer(gateway.url, gateway.secret_key) as customer:
        await customer.buy("0.50")
        agent = await customer.call(
            "POST",
            "/v1/agent-session",
            {
                "room_name": "r",
                "participant_identity": "a",
                "duration_minutes": 5,
                "tts_max_characters": 100,
            },
        )
        spoken = await customer.speak(agent["tts"], "Hello from a server.", voice="af_heart")
        call = await customer.listen(agent["stt"], language="en")
        began = time.monotonic()
        await call.say(bytes(64_000))
        await call.hang_up()
        ran_ms = (time.monotonic() - began) * 1_000
        ended = await customer.call("POST", f"/v1/agent-session/{agent['bundle_id']}/end")
    used = {session["service"]: session["used"] for session in ended["sessions"]}

    assert len(spoken.pcm) > 48_000
    assert agent["stt"]["server_url"] != agent["tts"]["server_url"] != gateway.url
    assert used["tts"] == len("Hello from a server.")
    assert 0 < used["stt"] <= ran_ms + 50
    assert gateway.stop() == 0
    assert "trial balance 0" in verified(gateway.data)


async def test_without_a_server_nothing_is_sold(begin: Begin) -> None:
    gateway = begin("gateway")
    stranger = begin("stt", "--gateway", gateway.url, PAYPHONE_FLEET_SECRET="x" * 40)
    async with Customer(gateway.url, gateway.secret_key) as customer:
        await customer.buy("0.50")
        with pytest.raises(GatewayRefusedError, match="No STT servers available"):
            await customer.call("POST", "/v1/stt/session", {"duration_minutes": 5})
        account = await customer.call("GET", "/v1/account")

    assert await servers(gateway, "stt") == []
    assert account["available_balance"] == "500000"
    assert stranger.stop() == 0


async def test_a_gateway_that_is_killed_and_comes_back_bills_every_second_of_a_call(
    begin: Begin,
) -> None:
    gateway = begin("gateway")
    server = begin("stt", "--gateway", gateway.url)
    async with Customer(gateway.url, gateway.secret_key) as customer:
        await customer.buy("0.50")
        ticket = await customer.call("POST", "/v1/stt/session", {"duration_minutes": 5})
        before = time.monotonic()
        call = await customer.listen(ticket, language="en")
        answered = time.monotonic()

        gateway.kill()
        await call.say(bytes(96_000))
        await asyncio.sleep(2)
        leaving = time.monotonic()
        await call.hang_up()
        gone = time.monotonic()
        again = begin("gateway", port=int(gateway.url.rpartition(":")[2]))
        await until(lambda: servers(again, "stt"))
        await until(lambda: _started(customer, ticket))
        ended = await customer.call("POST", f"/v1/sessions/{ticket['session_id']}/end")

    assert (leaving - answered) * 1_000 - 50 <= ended["used"] <= (gone - before) * 1_000 + 50
    assert [server.stop(), again.stop()] == [0, 0]
    assert "trial balance 0" in verified(gateway.data)


async def test_a_call_of_a_server_that_is_killed_goes_on_at_another(begin: Begin) -> None:
    gateway = begin("gateway")
    first = begin("stt", "--gateway", gateway.url, name="first")
    async with Customer(gateway.url, gateway.secret_key) as customer:
        await customer.buy("0.50")
        ticket = await customer.call("POST", "/v1/stt/session", {"duration_minutes": 5})
        began = time.monotonic()
        call = await customer.listen(ticket, language="en")
        second = begin("stt", "--gateway", gateway.url, name="second")
        await call.say(bytes(64_000))

        first.kill()
        await call.hang_up()
        ticket |= await customer.call(
            "POST",
            "/v1/stt/session/extend",
            {"session_id": ticket["session_id"], "additional_minutes": 1},
        )
        again = await customer.listen(ticket | {"server_url": second.url}, language="en")
        await again.say(bytes(64_000))
        await again.hang_up()
        ended = await customer.call("POST", f"/v1/sessions/{ticket['session_id']}/end")
        ran_ms = (time.monotonic() - began) * 1_000

    assert 6 * 60_000 - again.remaining_s * 1_000 < ran_ms
    assert 900 < ended["used"] < ran_ms
    assert [second.stop(), gateway.stop()] == [0, 0]
    assert "trial balance 0" in verified(gateway.data)


async def test_what_happens_to_a_session_reaches_its_server(begin: Begin) -> None:
    gateway = begin("gateway")
    one, two = (begin("stt", "--gateway", gateway.url, name=name) for name in ("one", "two"))
    async with (
        Customer(gateway.url, gateway.secret_key) as customer,
        aiohttp.ClientSession() as http,
    ):
        await customer.buy("0.50")
        ticket = await customer.call("POST", "/v1/stt/session", {"duration_minutes": 5})
        older = await customer.listen(ticket | {"server_url": one.url}, language="en")
        socket = await http.ws_connect(two.url.replace("http", "ws", 1) + "/v1/stream")
        await socket.send_json({"type": "config", "session_key": ticket["token"]})
        ready = await socket.receive_json(timeout=30)
        with pytest.raises(GatewayRefusedError):
            await asyncio.wait_for(older.finish(), timeout=10)
        await older.hang_up()
        await customer.call(
            "POST",
            "/v1/stt/session/extend",
            {"session_id": ticket["session_id"], "additional_minutes": 1},
        )
        extended = await socket.receive_json(timeout=5)
        ended = await customer.call("POST", f"/v1/sessions/{ticket['session_id']}/end")
        told = [json.loads(message.data) async for message in socket]
        dead = await http.ws_connect(one.url.replace("http", "ws", 1) + "/v1/stream")
        await dead.send_json({"type": "config", "session_key": ticket["token"]})
        refused = await dead.receive_json(timeout=5)
        await socket.close()
        await dead.close()

    assert ready["type"] == "ready"
    assert extended["type"] == "session_extended"
    assert told[-1]["type"] == "session_expired"
    assert refused["code"] == "session_over"
    assert int(ended["charged_microcredits"]) < 60_000 * RATE


async def _started(customer: Customer, ticket: dict[str, Any]) -> bool:
    """Whether the ledger has heard of the session's clock, and that it stands."""
    listed = await customer.call("GET", "/v1/account/sessions")
    row = next(s for s in listed["sessions"] if s["id"] == ticket["session_id"])
    return row["started_at"] is not None


async def _keep_calling(
    customer: Customer, ticket: dict[str, Any], servers: Sequence[GatewayProcess], until: float
) -> int:
    """Speak silence until then, at the next server whenever one breaks off; ms of it that ran."""
    ran_s, number = 0.0, 0
    while time.monotonic() < until:
        try:
            server = servers[number % len(servers)]
            call = await customer.listen(ticket | {"server_url": server.url}, language="en")
        except (aiohttp.ClientError, GatewayRefusedError, OSError):
            number += 1
            await asyncio.sleep(0.2)
            continue
        began = time.monotonic()
        try:
            while time.monotonic() < until:
                await call.say(bytes(6_400))
        except (aiohttp.ClientError, OSError):
            number += 1
        finally:
            ran_s += time.monotonic() - began
            await call.hang_up()
    return int(ran_s * 1_000)


@pytest.mark.postgres
async def test_one_gateway_and_one_server_die_under_load_and_no_session_is_lost(
    begin: Begin, database: str
) -> None:
    gateways = [
        begin("gateway", name=name, PAYPHONE_DATABASE=database, PAYPHONE_SESSIONS_MAX="100")
        for name in ("one", "two")
    ]
    both = ",".join(gateway.url for gateway in gateways)
    running = [begin("stt", "--gateway", both, name=name) for name in ("first", "second")]
    async with (
        Customer(gateways[0].url, gateways[0].secret_key) as doomed,
        Customer(gateways[1].url, gateways[0].secret_key) as customer,
    ):
        await doomed.buy("1.00")
        opened = [
            await (doomed, customer)[number % 2].call(
                "POST", "/v1/stt/session", {"duration_minutes": 5}
            )
            for number in range(CALLS)
        ]
        end = time.monotonic() + LOAD_S
        calls = [
            asyncio.create_task(
                _keep_calling(customer, ticket, running[number % 2 :] + running, end)
            )
            for number, ticket in enumerate(opened)
        ]
        await asyncio.sleep(LOAD_S / 3)
        gateways[0].kill()
        running[0].kill()
        ran_ms = await asyncio.gather(*calls)
        ended = [await until(lambda ticket=ticket: _ended(customer, ticket)) for ticket in opened]
        account = await customer.call("GET", "/v1/account")
        listed = await customer.call("GET", f"/v1/account/sessions?limit={2 * CALLS}")

    both_ways = list(zip(ended, ran_ms, strict=True))
    for settlement, ms in both_ways:
        # What the dead server ran since its last report is ours to lose.
        assert 1_000 < settlement["used"] <= ms + 100, [(s["used"], m) for s, m in both_ways]
    assert {session["status"] for session in listed["sessions"]} == {"settled"}
    charged = sum(int(settlement["charged_microcredits"]) for settlement in ended)
    assert account["available_balance"] == str(1_000_000 - charged)
    assert [running[1].stop(), gateways[1].stop()] == [0, 0]
    assert "trial balance 0" in verified(gateways[1].data, "--database", database)


async def _ended(customer: Customer, ticket: dict[str, Any]) -> dict[str, Any] | None:
    """The settlement, once there is an owner that settles."""
    try:
        return await customer.call("POST", f"/v1/sessions/{ticket['session_id']}/end")
    except GatewayRefusedError:
        return None
