from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest

from adapters.keys import Ed25519SessionKeys
from adapters.log import REDACTED, bound, configure
from domain.ports.keys import SessionKey
from tests.fakes.gateway import SESSION_KEYS_SEED, House
from tests.fakes.street import ALICE_KEY, Street, Wallet

log = logging.getLogger("payphone.test")


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """What was logged, with the root logger put back afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    configure("debug", stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_record_is_one_line_of_json(written: io.StringIO) -> None:
    log.info("session closed", extra={"used_ms": 5, "reason": "a\nb", "url": None})

    (line,) = lines(written)
    assert line.pop("at").endswith("Z")
    assert line == {
        "level": "info",
        "logger": "payphone.test",
        "message": "session closed",
        "used_ms": 5,
        "reason": "a\nb",
        "url": None,
    }


def test_lines_below_the_level_are_left_out(written: io.StringIO) -> None:
    configure("warning", written)

    log.info("quiet")
    log.warning("loud")

    assert [line["message"] for line in lines(written)] == ["loud"]


def test_no_url_is_written_by_those_who_fetch_it(written: io.StringIO) -> None:
    logging.getLogger("httpx").info("HTTP Request: POST %s", "http://node.test/our-access-key")

    assert written.getvalue() == ""


def test_bound_fields_are_on_every_line_inside(written: io.StringIO) -> None:
    with bound(session_id="s", dialect="d"):
        with bound(connection_id="c"):
            log.info("inner")
        log.info("outer")
    log.info("outside")

    inner, outer, outside = lines(written)
    assert (inner["session_id"], inner["dialect"], inner["connection_id"]) == ("s", "d", "c")
    assert "connection_id" not in outer
    assert "session_id" not in outside


async def test_tasks_do_not_share_their_fields(written: io.StringIO) -> None:
    async def one(name: str) -> None:
        with bound(session_id=name):
            await asyncio.sleep(0)
            log.info(name)

    await asyncio.gather(one("a"), one("b"))

    own = [line for line in lines(written) if line["logger"] == log.name]
    assert [(line["message"], line["session_id"]) for line in own] == [("a", "a"), ("b", "b")]


def test_a_failure_carries_its_trace(written: io.StringIO) -> None:
    try:
        _ = 1 // 0
    except ZeroDivisionError:
        log.exception("request failed")

    assert "ZeroDivisionError" in lines(written)[0]["trace"]


def test_values_of_any_type_are_written(written: io.StringIO) -> None:
    log.info("odd", extra={"where": {1, 2}, "size": 1.5, "flag": True})

    line = lines(written)[0]
    assert (line["where"], line["size"], line["flag"]) == ("{1, 2}", 1.5, True)


def test_a_long_value_is_cut(written: io.StringIO) -> None:
    log.info("long", extra={"body": "word " * 5_000})

    assert len(lines(written)[0]["body"]) <= 2_000


@pytest.mark.parametrize(
    "name",
    [
        "token",
        "session_key",
        "private_key",
        "rooms_secret",
        "authorization",
        "signature",
        "proof",
        "payload",
        "seed",
        "audio",
        "pcm",
        "transcript",
        "text",
        "metadata",
        "identity",
        "password",
    ],
)
def test_fields_that_hold_secrets_are_blanked(written: io.StringIO, name: str) -> None:
    log.info("oops", extra={name: "hush"})

    assert lines(written)[0][name] == REDACTED


@pytest.mark.parametrize("name", ["session_id", "idempotency_key", "public_key", "log_key_name"])
def test_other_fields_are_not(written: io.StringIO, name: str) -> None:
    log.info("fine", extra={name: "shown"})

    assert lines(written)[0][name] == "shown"


TOKEN = Ed25519SessionKeys(SESSION_KEYS_SEED, issuer="x").issue(
    SessionKey(session_id=UUID(int=1), service="stt", expires_at_ms=1)
)
SIGNATURE = Wallet(ALICE_KEY).headers("GET", "/v1/account", 1)["Authorization"]


@pytest.mark.parametrize("secret", [TOKEN, SIGNATURE.removeprefix("evm:"), "A" * 86 + "=="])
def test_secrets_are_found_in_messages_values_and_traces(written: io.StringIO, secret: str) -> None:
    try:
        int(secret)
    except ValueError:
        log.exception("got %s", secret, extra={"url": f"wss://x/?q={secret}&b=1"})

    assert secret not in written.getvalue()
    assert secret[:40] not in written.getvalue()


def test_addresses_transactions_and_ids_are_shown(written: io.StringIO) -> None:
    shown = {
        "wallet": "0x1a642f0E3c3aF545E7AcBD38b07251B3990914F1",
        "reference": "0x" + "ab" * 32,
        "session_id": "a4ef1204-ebe3-505b-bcad-6d32296c8e5a",
    }

    log.info("credited", extra=shown)

    assert shown.items() <= lines(written)[0].items()


async def test_a_whole_visit_leaves_no_secret_in_the_log(written: io.StringIO) -> None:
    street = Street(House())
    await street.open()
    try:
        await street.fund()
        spoken: list[str] = []
        for path, body in (
            ("/v1/stt/session", {"duration_minutes": 1}),
            ("/v1/tts/session", {"max_characters": 5}),
            ("/v1/stt/session", {"duration_minutes": "five"}),
        ):
            answer = await street.post(path, body)
            spoken += [answer.json["token"]] if answer.status == 200 else []
        street.house.books.run = None  # type: ignore[assignment,method-assign]  # a failure, logged
        await street.get("/v1/account")
    finally:
        await street.close()

    text = written.getvalue()
    assert "request failed" in text
    signed = street.alice.headers("GET", "/v1/account", 1_700_000_000)["Authorization"]
    for secret in (*spoken, signed, ALICE_KEY[2:]):
        assert secret not in text


async def test_lines_of_a_request_carry_the_id_the_client_was_told(written: io.StringIO) -> None:
    street = Street(House())
    await street.open()
    try:
        street.house.books.run = None  # type: ignore[assignment,method-assign]  # a failure, logged
        answer = await street.get("/v1/account")
    finally:
        await street.close()

    failed = [line for line in lines(written) if line["message"] == "request failed"]
    assert [line["request_id"] for line in failed] == [answer.headers["X-Request-Id"]]
    assert failed[0]["route"] == "/v1/account"
