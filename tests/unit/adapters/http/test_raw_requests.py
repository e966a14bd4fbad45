"""Requests no library would send: each gets one answer, in JSON, that a browser may read."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesParser
from typing import Any

import pytest

from adapters.http.bodies import BODY_BYTES_MAX
from adapters.http.server import HEADER_BYTES_MAX, HEADERS_MAX
from tests.fakes.street import Street

OPEN = "/v1/stt/session"
ASKED = b'{"duration_minutes": 1}'
CHUNKED = "Transfer-Encoding: chunked"


@dataclass(frozen=True)
class Raw:
    """What came back, byte for byte."""

    status: int
    headers: Message
    body: bytes

    @property
    def json(self) -> Any:  # noqa: ANN401 (decoded JSON)
        return json.loads(self.body)


async def exchange(street: Street, sent: bytes) -> Raw:
    """Send these bytes and read the first answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", street.port, limit=1 << 20)
    writer.write(sent)
    async with asyncio.timeout(5):
        head = await reader.readuntil(b"\r\n\r\n")
        line, _, rest = head.partition(b"\r\n")
        headers = BytesParser().parsebytes(rest, headersonly=True)
        length = 0 if sent.startswith(b"HEAD") else int(headers.get("Content-Length", "0"))
        body = await reader.readexactly(length)
    writer.transport.abort()
    return Raw(int(line.split()[1]), headers, body)


def request(method: str, path: str, *lines: str, body: bytes = b"") -> bytes:
    head = [f"{method} {path} HTTP/1.1", "Host: gateway.test", *lines, "", ""]
    return "\r\n".join(head).encode() + body


def signed(street: Street, method: str, path: str, *, over: str = "") -> list[str]:
    """Alice's headers over this path, or over another one."""
    now_s = street.house.clock.now_ms() // 1_000
    return [f"{n}: {v}" for n, v in street.alice.headers(method, over or path, now_s).items()]


def chunks(*parts: bytes) -> bytes:
    return b"".join(f"{len(p):x}\r\n".encode() + p + b"\r\n" for p in (*parts, b""))


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("X-Long: " + "a" * (HEADER_BYTES_MAX + 1), "longer than"),
        ("\r\n".join(f"X-{i}: a" for i in range(HEADERS_MAX)), "more than 128 headers"),
        ("Broken", "not HTTP"),
        ("X-Cut: a\rb", "not HTTP"),
        ("Content-Length: 1\r\nContent-Length: 2", "not HTTP"),
        (f"Content-Length: 1\r\n{CHUNKED}", "not HTTP"),
        ("Expect: tea", "100-continue"),
    ],
)
async def test_what_is_wrong_with_the_headers_is_told(street: Street, line: str, told: str) -> None:
    answer = await exchange(street, request("GET", "/v1/pricing", line))

    assert answer.status == 400
    assert answer.json["code"] == "bad_request"
    assert told in answer.json["error"]


async def test_too_long_an_address_is_told(street: Street) -> None:
    answer = await exchange(street, request("GET", "/v1/pricing?" + "a" * HEADER_BYTES_MAX))

    assert (answer.status, answer.json["code"]) == (400, "bad_request")


async def test_an_answer_to_what_is_no_request_can_be_read_by_a_page(street: Street) -> None:
    answer = await exchange(street, b"hello\r\n\r\n")

    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["X-Request-Id"]
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Server"] == "Payphone"


async def test_too_large_a_body_is_refused_as_soon_as_it_is_announced(street: Street) -> None:
    headers = signed(street, "POST", OPEN)

    answer = await exchange(
        street, request("POST", OPEN, *headers, f"Content-Length: {BODY_BYTES_MAX + 1}")
    )

    assert (answer.status, answer.json["code"]) == (413, "too_large")


async def test_too_large_a_body_in_pieces_is_refused(street: Street) -> None:
    headers = signed(street, "POST", OPEN)
    pieces = chunks(*[b" " * 30_000] * 3)

    answer = await exchange(street, request("POST", OPEN, *headers, CHUNKED, body=pieces))

    assert (answer.status, answer.json["code"]) == (413, "too_large")


async def test_a_body_in_pieces_is_a_body(street: Street) -> None:
    await street.fund()
    headers = signed(street, "POST", OPEN)
    pieces = chunks(ASKED[:5], ASKED[5:])

    answer = await exchange(street, request("POST", OPEN, *headers, CHUNKED, body=pieces))

    assert answer.status == 200


async def test_a_body_may_be_asked_for_first(street: Street) -> None:
    headers = signed(street, "POST", OPEN)
    length = f"Content-Length: {len(ASKED)}"

    answer = await exchange(street, request("POST", OPEN, *headers, length, "Expect: 100-continue"))

    assert answer.status == 100


@pytest.mark.parametrize(
    "path", ["/v1/pricing/", "//v1/pricing", "/v1//pricing", "/v1/./pricing", "/v1/a/../pricing"]
)
async def test_a_path_is_what_it_is_and_is_not_put_right(street: Street, path: str) -> None:
    answer = await exchange(street, request("GET", path))

    assert (answer.status, answer.json["code"]) == (404, "no_such_route")


@pytest.mark.parametrize(("over", "status"), [("/v1/%61ccount", 200), ("/v1/account", 401)])
async def test_an_encoded_path_is_signed_as_it_is_sent(
    street: Street, over: str, status: int
) -> None:
    await street.fund()
    sent = "/v1/%61ccount?limit=1"

    answer = await exchange(street, request("GET", sent, *signed(street, "GET", sent, over=over)))

    assert answer.status == status


@pytest.mark.parametrize("method", ["DELETE", "TRACE", "PROPFIND"])
async def test_a_method_nobody_answers_is_told_the_ones_there_are(
    street: Street, method: str
) -> None:
    answer = await exchange(street, request(method, "/v1/account"))

    assert (answer.status, answer.json["code"]) == (405, "method_not_allowed")
    assert answer.headers["Allow"] == "GET,HEAD"


@pytest.mark.parametrize(("path", "status"), [("/v1/pricing", 200), ("/nowhere", 404)])
async def test_a_head_is_the_get_without_its_body(street: Street, path: str, status: int) -> None:
    head = await exchange(street, request("HEAD", path))
    got = await exchange(street, request("GET", path))

    assert (head.status, got.status) == (status, status)
    assert head.headers["Content-Type"] == got.headers["Content-Type"]
    assert head.body == b""


async def test_a_head_is_signed_as_head(street: Street) -> None:
    await street.fund()

    as_head = await exchange(
        street, request("HEAD", "/v1/account", *signed(street, "HEAD", "/v1/account"))
    )
    as_get = await exchange(
        street, request("HEAD", "/v1/account", *signed(street, "GET", "/v1/account"))
    )

    assert (as_head.status, as_get.status) == (200, 401)
