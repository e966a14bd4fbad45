"""Every refusal there is, held against the HTTP table and against what the clients make of it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from adapters.http.errors import STATUS, refused
from domain.errors import (
    BusyError,
    ConcurrencyLimitError,
    ConflictingRequestError,
    GatewayError,
    InsufficientCreditsError,
    KeyCapError,
    KeyScopeError,
    LedgerDownError,
    MalformedError,
    NoCapacityError,
    NotFoundError,
    PaymentRefusedError,
    PaymentRequiredError,
    PaymentUncertainError,
    RailDownError,
    RateLimitError,
    RefundRefusedError,
    RefundsExhaustedError,
    SessionOpenError,
    SessionOverError,
    TooManyKeysError,
    UnauthenticatedError,
)
from domain.money import Microcredits

# One of each, as it is raised.
SAMPLES: tuple[GatewayError, ...] = (
    BusyError(),
    ConcurrencyLimitError(limit=10),
    ConflictingRequestError(what="this proof"),
    InsufficientCreditsError(needed=Microcredits(7), available=Microcredits(2)),
    KeyCapError(cap="day", needed=Microcredits(7), left=Microcredits(2)),
    KeyScopeError(service="stt", services="tts"),
    LedgerDownError(),
    MalformedError(where="a", expected="b", got="c"),
    NoCapacityError(service="stt"),
    NotFoundError(what="Session"),
    PaymentRefusedError(rail="x402", reason="expired"),
    PaymentRequiredError("Payment required"),
    PaymentUncertainError(rail="x402", reference="0xabc"),
    RailDownError(rail="x402"),
    RateLimitError(limit=5, retry_after_ms=1_001),
    RefundRefusedError(
        reason="it is less than the least",
        least=Microcredits(2),
        most=Microcredits(7),
        fee=Microcredits(1),
    ),
    RefundsExhaustedError(limit="day", left=Microcredits(7), retry_after_ms=60_000),
    SessionOpenError(session_id="s"),
    SessionOverError(session_id="s", reason="spent"),
    TooManyKeysError(limit=100),
    UnauthenticatedError("The signature is wrong"),
)


def refusals(kind: type[GatewayError] = GatewayError) -> Iterator[type[GatewayError]]:
    """The whole tree below GatewayError, as far as this program defines it."""
    for below in kind.__subclasses__():
        if below.__module__.split(".")[0] in ("domain", "adapters", "engines", "projections"):
            yield below
        yield from refusals(below)


def test_every_refusal_has_a_status() -> None:
    assert set(refusals()) == set(STATUS)


def test_every_refusal_has_a_sample() -> None:
    assert {type(sample) for sample in SAMPLES} == set(STATUS)


def test_codes_are_stable_words_and_all_different() -> None:
    codes = [kind.code for kind in STATUS]

    assert len(set(codes)) == len(codes)
    assert all(code.replace("_", "").isalpha() and code.islower() for code in codes)


# What the published client makes of a status: its own error classes.
STATUSES_IT_KNOWS = {400, 401, 402, 404, 429, 503}
STATUSES_OF_OURS = {403, 409, 410}


def test_statuses_are_the_contracts_and_three_of_our_own() -> None:
    assert set(STATUS.values()) == STATUSES_IT_KNOWS | STATUSES_OF_OURS


@pytest.mark.parametrize("refusal", SAMPLES, ids=lambda refusal: refusal.code)
def test_a_refusal_is_json_with_plain_text_and_its_code(refusal: GatewayError) -> None:
    answer = refused(refusal)

    body = json.loads(answer.text or "")
    assert answer.content_type == "application/json"
    assert isinstance(body["error"], str)
    assert body["error"]
    assert body["code"] == refusal.code
    assert answer.status == STATUS[type(refusal)]


@pytest.mark.parametrize("refusal", SAMPLES, ids=lambda refusal: refusal.code)
def test_only_the_concurrency_limit_speaks_of_concurrency(refusal: GatewayError) -> None:
    speaks = "concurrent" in str(refusal).lower()

    assert speaks == isinstance(refusal, ConcurrencyLimitError)


@pytest.mark.parametrize("refusal", SAMPLES, ids=lambda refusal: refusal.code)
def test_where_waiting_helps_it_is_said_how_long(refusal: GatewayError) -> None:
    answer = refused(refusal)

    waits = answer.status == 503 or isinstance(refusal, RateLimitError)
    assert ("Retry-After" in answer.headers) == waits


@pytest.mark.parametrize(
    ("retry_after_ms", "seconds"), [(0, "1"), (1, "1"), (1_000, "1"), (1_001, "2"), (5_000, "5")]
)
def test_waiting_is_told_in_whole_seconds_rounded_up(retry_after_ms: int, seconds: str) -> None:
    answer = refused(RateLimitError(limit=5, retry_after_ms=retry_after_ms))

    assert answer.headers["Retry-After"] == seconds


@pytest.mark.parametrize("service", ["stt", "tts", "webrtc"])
def test_a_missing_server_is_named_by_its_service(service: str) -> None:
    text = str(NoCapacityError(service=service))

    assert text.startswith(f"No {service.upper()} servers available")


def test_facts_are_in_the_body_and_money_is_decimal_text() -> None:
    body = json.loads(refused(SAMPLES[3]).text or "")

    assert (body["needed"], body["available"]) == ("7", "2")
