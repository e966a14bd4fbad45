from __future__ import annotations

import pytest

from adapters.http.site import Part
from adapters.keys import check_signature
from domain.checkpoint import SignerKey, open_checkpoint
from domain.pricing import DEFAULT_PRICE_BOOK
from tests.fakes.street import Street


async def test_prices_are_told_as_people_quote_them(street: Street) -> None:
    prices = (await street.call("GET", "/v1/pricing")).json

    assert prices == {
        "webrtc": {"unit": "minute", "microcredits": "1000", "usd": 0.001},
        "stt": {"unit": "minute", "microcredits": "6000", "usd": 0.006},
        "tts": {"unit": "1k_characters", "microcredits": "8000", "usd": 0.008},
        "currency": "USD",
        "microcredits_per_usd": "1000000",
        "min_purchase_usd": 0.1,
        "price_book": DEFAULT_PRICE_BOOK.version,
    }


async def test_servers_are_told_with_what_they_can_do(street: Street) -> None:
    status = (await street.call("GET", "/v1/servers/status")).json

    assert status["stt"] == {
        "available": True,
        "servers": [
            {
                "name": None,
                "url": "http://stt.test",
                "regions": [],
                "live": 0,
                "capacity": None,
                "engine": "mute-ear",
                "ready": True,
                "problem": None,
                "languages": ["en", "es"],
                "voices": [],
            }
        ],
    }
    assert status["tts"]["servers"][0]["voices"] == ["af_heart"]


async def test_a_server_without_weights_is_not_available_and_says_why(street: Street) -> None:
    street.house.close_service("stt", problem="run `payphone models fetch`")

    status = (await street.call("GET", "/v1/servers/status")).json

    assert status["stt"]["available"] is False
    assert status["stt"]["servers"][0]["problem"] == "run `payphone models fetch`"
    assert status["tts"]["available"] is True


@pytest.mark.parametrize(
    ("parts", "status", "word"),
    [
        ([Part(name="ledger", vital=True), Part(name="stt")], 200, "ok"),
        ([Part(name="ledger", vital=True), Part(name="stt", problem="no")], 200, "degraded"),
        ([Part(name="ledger", problem="disk", vital=True), Part(name="stt")], 503, "down"),
    ],
)
async def test_only_a_vital_part_takes_the_gateway_down(
    street: Street, parts: list[Part], status: int, word: str
) -> None:
    street.parts[:] = parts

    answer = await street.call("GET", "/internal/health")

    assert (answer.status, answer.json["status"]) == (status, word)
    assert answer.json["parts"] == {p.name: p.problem or "ok" for p in parts}
    assert ("error" in answer.json) == (status == 503)
    assert ("Retry-After" in answer.headers) == (status == 503)


async def test_the_checkpoint_verifies_with_the_key_that_is_told(street: Street) -> None:
    told = (await street.call("GET", "/.well-known/payphone")).json["log"]

    answer = await street.call("GET", "/v1/log/checkpoint")

    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    head = open_checkpoint(answer.text, key=SignerKey.parse(told["signer"]), check=check_signature)
    assert head.size == street.house.books.position


async def test_the_price_book_that_is_told_has_the_hash_that_is_told(street: Street) -> None:
    book = (await street.call("GET", "/.well-known/payphone")).json["price_book"]

    assert book.pop("sha256") == DEFAULT_PRICE_BOOK.hash
    assert book["version"] == DEFAULT_PRICE_BOOK.version
    assert book["tariffs"]["stt"] == {"microcredits": 6000, "per": 60000, "unit": "ms"}


async def test_ways_to_pay_and_the_sandbox_are_told(street: Street) -> None:
    told = (await street.call("GET", "/.well-known/payphone")).json

    assert told["rails"] == [{"name": "cash", "networks": ["cash"]}]
    assert told["sandbox"] is True
    assert told["url"] == "http://gateway.test"


async def test_the_stream_is_answered_by_whoever_was_given(street: Street) -> None:
    assert (await street.call("GET", "/v1/stream")).text == "the stream"


async def test_a_log_without_a_witness_has_no_cosigned_head(street: Street) -> None:
    answer = await street.call("GET", "/v1/log/checkpoint?cosigned")

    assert (answer.status, answer.json["code"]) == (404, "not_found")
