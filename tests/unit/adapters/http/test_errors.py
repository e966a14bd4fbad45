from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any, NoReturn

import aiohttp
import pytest
from aiohttp import web

from adapters.http import bodies
from adapters.http.bodies import BODY_BYTES_MAX
from tests.fakes.street import Street


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/v1/nothing", 404),
        ("GET", "/v1/account/", 404),
        ("GET", "/<script>", 404),
        ("POST", "/v1/account", 405),
        ("DELETE", "/v1/credits/purchase", 405),
        ("PATCH", "/v1/account", 405),
    ],
)
async def test_a_wrong_route_is_told_in_json(
    street: Street, method: str, path: str, status: int
) -> None:
    answer = await street.call(method, path)

    assert answer.status == status
    assert answer.headers["Content-Type"].startswith("application/json")
    assert isinstance(answer.json["error"], str)


async def test_a_wrong_method_is_told_the_right_ones(street: Street) -> None:
    answer = await street.call("DELETE", "/v1/credits/purchase")

    assert answer.headers["Allow"] == "POST"


@pytest.mark.parametrize("chunked", [False, True])
async def test_too_large_a_body_is_refused(
    street: Street,
    chunked: bool,  # noqa: FBT001 (a parameter of the test)
) -> None:
    body = b'{"a": "' + b"x" * BODY_BYTES_MAX + b'"}'

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 1_000):
            yield body[start : start + 1_000]

    answer = await street.call("POST", "/v1/credits/purchase", raw=pieces() if chunked else body)

    assert answer.status == 413
    assert answer.json["code"] == "too_large"


async def test_the_largest_body_there_may_be_is_read(street: Street) -> None:
    body = b'{"a": "' + b"x" * (BODY_BYTES_MAX - 9) + b'"}'

    answer = await street.call("POST", "/v1/credits/purchase", raw=body)

    assert answer.json["where"] == "wallet_chain"


async def test_a_body_that_is_not_what_it_says_is_malformed(street: Street) -> None:
    answer = await street.call(
        "POST", "/v1/credits/purchase", raw=b"not gzip", headers={"Content-Encoding": "gzip"}
    )

    assert answer.status == 400
    assert answer.json["where"] == "body"


async def test_a_refusal_carries_its_facts(street: Street) -> None:
    await street.fund(100)

    answer = await street.post("/v1/stt/session", {"duration_minutes": 1})

    assert answer.status == 402
    assert answer.json == {
        "error": "Insufficient credits: needs 6000 microcredits, 100 available; "
        "buy at least 5900 more",
        "code": "insufficient_credits",
        "needed": "6000",
        "available": "100",
    }


async def test_a_failure_is_answered_without_detail_and_logged_once(
    street: Street, caplog: pytest.LogCaptureFixture
) -> None:
    async def run(_command: Callable[..., Any]) -> NoReturn:
        msg = "the secret inside"
        raise RuntimeError(msg)

    street.house.books.run = run  # type: ignore[assignment,method-assign]  # fault injection

    answer = await street.get("/v1/account")

    assert answer.status == 500
    assert answer.json["code"] == "internal"
    assert "secret" not in answer.text
    errors = [r for r in caplog.records if r.levelno >= logging.ERROR]
    assert [r.message for r in errors] == ["request failed"]
    assert errors[0].exc_info is not None


@pytest.mark.parametrize("fault", ["busy", "down"])
async def test_a_ledger_that_cannot_write_says_when_to_come_back(
    street: Street, fault: str
) -> None:
    await street.fund()
    setattr(street.house.books, fault, True)

    answer = await street.post("/v1/stt/session", {"duration_minutes": 1})

    assert answer.status == 503
    assert int(answer.headers["Retry-After"]) >= 1


async def raw_exchange(street: Street, sent: bytes) -> tuple[str, Any]:
    """Send these bytes; the status line and the JSON that came back."""
    reader, writer = await asyncio.open_connection("127.0.0.1", street.port)
    try:
        writer.write(sent)
        head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), timeout=10)).decode()
        length = next(
            int(line.partition(":")[2])
            for line in head.splitlines()
            if line.lower().startswith("content-length")
        )
        return head.splitlines()[0], json.loads(await reader.readexactly(length))
    finally:
        writer.transport.abort()
        with suppress(ConnectionError):
            await writer.wait_closed()


@pytest.mark.parametrize(
    "sent",
    [
        b"hello\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nbad header\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + b"x" * 20_000 + b"\r\n\r\n",
        b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
    ],
)
async def test_what_is_not_http_is_refused_in_json_and_is_no_error_of_ours(
    street: Street, sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    status, body = await raw_exchange(street, sent)

    assert " 400 " in status
    assert body["code"] == "bad_request"
    assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []


async def test_a_client_that_goes_away_mid_body_is_no_error_of_ours(
    street: Street, caplog: pytest.LogCaptureFixture
) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", street.port)
    writer.write(b"POST /v1/credits/purchase HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{")
    await writer.drain()

    writer.transport.abort()
    while street.connections:  # noqa: ASYNC110 (the library has no event for it)
        await asyncio.sleep(0)

    assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []
    assert (await street.call("GET", "/v1/pricing")).status == 200


async def test_a_failure_in_the_middle_of_an_answer_cuts_the_line(
    street: Street, caplog: pytest.LogCaptureFixture
) -> None:
    async def half(request: web.Request) -> NoReturn:
        answer = web.StreamResponse(headers={"Content-Length": "99"})
        await answer.prepare(request)
        await answer.write(b"half")
        msg = "in the middle"
        raise RuntimeError(msg)

    street.stream = half

    with pytest.raises(aiohttp.ClientPayloadError):
        await street.call("GET", "/v1/stream")

    assert [r.message for r in caplog.records if r.levelno >= logging.WARNING] == ["request failed"]


async def test_a_body_that_does_not_come_is_not_waited_for(
    street: Street, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "BODY_WAIT_S", 0)

    status, body = await raw_exchange(
        street, b"POST /v1/credits/purchase HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"
    )

    assert " 408 " in status
    assert body["code"] == "request_timeout"
