"""Whatever is sent, the answer is a clear error; nothing is billed, nothing is lost, no trace."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from adapters.cli.customer import Customer
from tests.e2e.conftest import GatewayProcess, StartGateway

TOO_LARGE = b'{"duration_minutes": 1, "padding": "' + b"x" * 100_000 + b'"}'


@pytest.fixture
async def customer(gateway: GatewayProcess) -> AsyncIterator[Customer]:
    async with Customer(gateway.url, gateway.secret_key) as someone:
        await someone.buy("0.50")
        yield someone


async def send(
    gateway: GatewayProcess,
    method: str,
    path: str,
    *,
    headers: dict[str, str] | None = None,
    data: bytes | None = None,
) -> tuple[int, dict[str, Any]]:
    async with (
        aiohttp.ClientSession() as http,
        http.request(method, gateway.url + path, headers=headers, data=data) as reply,
    ):
        return reply.status, await reply.json()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b"null", 400),
        (b'"text"', 400),
        (b"\xff\xfe", 400),
        (b"{}", 400),
        (b'{"duration_minutes": "5"}', 400),
        (b'{"duration_minutes": true}', 400),
        (b'{"duration_minutes": -1}', 400),
        (b'{"duration_minutes": 0}', 400),
        (b'{"duration_minutes": NaN}', 400),
        (b'{"duration_minutes": 1e400}', 400),
        (b'{"duration_minutes": 1e-30}', 400),
        (b'{"duration_minutes": 99999999999999999999}', 400),
        (b'{"duration_minutes": {"a": 1}}', 400),
        (b'{"duration_minutes": 1, "language": 7}', 400),
        (b'{"duration_minutes": 1, "language": "\\ud800"}', 400),
        (b'{"duration_minutes": 1, "duration_minutes": 2}', 400),
        (b"[" * 20_000, 400),
        (TOO_LARGE, 413),
    ],
)
async def test_a_bad_body_is_refused(
    gateway: GatewayProcess, customer: Customer, body: bytes, status: int
) -> None:
    before = await customer.call("GET", "/v1/account")

    headers = customer.headers("POST", "/v1/stt/session") | {"Content-Type": "application/json"}
    answered, told = await send(gateway, "POST", "/v1/stt/session", headers=headers, data=body)

    assert answered == status
    assert isinstance(told["error"], str)
    assert await customer.call("GET", "/v1/account") == before


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"X-Timestamp": "soon"}, 401),
        ({"X-Timestamp": str(int(time.time()) - 3_600)}, 401),
        ({"X-Timestamp": str(int(time.time()) + 3_600)}, 401),
        ({"Authorization": "evm:0x00"}, 401),
        ({"Authorization": "evm:0x" + "11" * 65}, 401),
        ({"Authorization": "Bearer abc"}, 401),
        ({"X-Wallet-Address": "0x0000000000000000000000000000000000000001"}, 401),
        ({"X-Wallet-Address": "nobody"}, 401),
        ({"X-Wallet-Chain": "bitcoin"}, 401),
        ({"X-Wallet-Chain": "solana"}, 401),
    ],
)
async def test_a_bad_signature_is_refused(
    gateway: GatewayProcess, customer: Customer, change: dict[str, str], status: int
) -> None:
    headers = customer.headers("GET", "/v1/account") | change

    answered, told = await send(gateway, "GET", "/v1/account", headers=headers)

    assert answered == status
    assert isinstance(told["error"], str)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("DELETE", "/v1/account", 405),
        ("GET", "/v1/account", 401),
        ("GET", "/v1/stream", 426),
        ("POST", "/v1/sessions/not-an-id/end", 401),
    ],
)
async def test_a_wrong_road_ends_in_json(
    gateway: GatewayProcess, method: str, path: str, status: int
) -> None:
    answered, told = await send(gateway, method, path)

    assert answered == status
    assert isinstance(told["error"], str)


async def test_somebody_elses_session_is_not_found(
    gateway: GatewayProcess, customer: Customer, start: StartGateway
) -> None:
    ticket = await customer.call("POST", "/v1/stt/session", {"duration_minutes": 1})
    stranger_key = start().secret_key
    async with Customer(gateway.url, stranger_key) as stranger:
        headers = stranger.headers("POST", path := f"/v1/sessions/{ticket['session_id']}/end")

        answered, told = await send(gateway, "POST", path, headers=headers)

    assert answered == 404
    assert isinstance(told["error"], str)


async def talk(url: str, *frames: str | bytes) -> tuple[list[dict[str, Any]], int | None]:
    """Send frames; every message that came back, and the close code (None: still open)."""
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(url.replace("http", "ws", 1) + "/v1/stream") as socket,
    ):
        for frame in frames:
            if isinstance(frame, str):
                await socket.send_str(frame)
            else:
                await socket.send_bytes(frame)
        told: list[dict[str, Any]] = []
        while True:
            try:
                message = await socket.receive(timeout=1.5 if told else 15)
            except TimeoutError:
                return told, None
            if message.type is aiohttp.WSMsgType.TEXT:
                told.append(json.loads(message.data))
            elif message.type is not aiohttp.WSMsgType.BINARY:
                return told, socket.close_code


async def stt_key(customer: Customer) -> str:
    ticket = await customer.call("POST", "/v1/stt/session", {"duration_minutes": 1})
    return str(ticket["token"])


def config(key: str, **more: object) -> str:
    return json.dumps({"type": "config", "language": "en", "session_key": key, **more})


async def test_audio_before_config_closes_the_line(gateway: GatewayProcess) -> None:
    told, code = await talk(gateway.url, bytes(3_200))

    assert told[-1]["type"] == "error"
    assert code == 4400


async def test_a_config_that_never_comes_closes_the_line(gateway: GatewayProcess) -> None:
    told, code = await talk(gateway.url)

    assert told[-1]["type"] == "error"
    assert code == 4400


@pytest.mark.parametrize("key", ["", "abc", "a.b.c", "x" * 10_000])
async def test_a_bad_key_closes_the_line(gateway: GatewayProcess, key: str) -> None:
    told, code = await talk(gateway.url, config(key))

    assert told[-1]["type"] == "error"
    assert code in (4400, 4401)


async def test_a_key_of_another_service_closes_the_line(
    gateway: GatewayProcess, customer: Customer
) -> None:
    key = await stt_key(customer)

    told, code = await talk(gateway.url, json.dumps({"session_key": key, "config": {}}))

    assert "stt" in told[-1]["message"]
    assert code == 4400


@pytest.mark.parametrize(
    "frame", ["not json", "[]", '{"type": "dance"}', '{"type": "config", "language": "klingon"}']
)
async def test_nonsense_after_config_is_told_and_the_line_stays(
    gateway: GatewayProcess, customer: Customer, frame: str
) -> None:
    told, code = await talk(gateway.url, config(await stt_key(customer)), frame)

    assert [message["type"] for message in told[:2]] == ["ready", "error"]
    assert code is None


async def test_an_oversize_frame_closes_the_line(
    gateway: GatewayProcess, customer: Customer
) -> None:
    told, code = await talk(gateway.url, config(await stt_key(customer)), bytes(2 << 20))

    assert told[-1]["type"] == "error"
    assert code == 1009


async def test_nothing_left_a_stack_trace_behind(gateway: GatewayProcess) -> None:
    output = (gateway.data / "output.log").read_text()

    assert "Traceback" not in output
