from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest

from domain import errors
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

EXAMPLES = [
    InsufficientCreditsError(needed=Microcredits(7), available=Microcredits(3)),
    PaymentRefusedError(rail="cash", reason="counterfeit"),
    PaymentUncertainError(rail="cash", reference="r1"),
    ConflictingRequestError(what="this Idempotency-Key"),
    SessionOverError(session_id="s1", reason="spent"),
    NotFoundError(what="Session"),
    MalformedError(where="body", expected="JSON", got="soup"),
    UnauthenticatedError(reason="no signature"),
    ConcurrencyLimitError(limit=10),
    RateLimitError(limit=5, retry_after_ms=200),
    NoCapacityError(service="stt"),
    BusyError(),
    LedgerDownError(),
    RailDownError(rail="cash"),
    SessionOpenError(session_id="s1"),
    KeyCapError(cap="day", needed=Microcredits(7), left=Microcredits(3)),
    KeyScopeError(service="stt", services="tts webrtc"),
    TooManyKeysError(limit=100),
    RefundRefusedError(
        reason="the least is 1 USD",
        least=Microcredits(7),
        most=Microcredits(9),
        fee=Microcredits(1),
    ),
    RefundsExhaustedError(limit="funds", left=Microcredits(2_500_000), retry_after_ms=1),
    RefundsExhaustedError(limit="day", left=Microcredits(0), retry_after_ms=1),
]


def refusals(kind: type[GatewayError] = GatewayError) -> Iterator[type[GatewayError]]:
    for child in kind.__subclasses__():
        yield child
        yield from refusals(child)


def test_every_refusal_is_exampled_here() -> None:
    ours = {kind for kind in refusals() if kind.__module__ == errors.__name__}

    assert ours == {type(example) for example in EXAMPLES} | {PaymentRequiredError}


def test_every_refusal_is_drawn_in_the_tree() -> None:
    tree = errors.__doc__ or ""

    assert [kind.__name__ for kind in refusals() if kind.__name__ not in tree] == []


def test_every_code_is_stable_and_its_own() -> None:
    codes = [kind.code for kind in {type(example) for example in EXAMPLES}]

    assert sorted(codes) == sorted(set(codes))
    assert set(codes) == {
        "busy",
        "concurrency_limit",
        "conflicting_request",
        "insufficient_credits",
        "key_cap",
        "key_scope",
        "ledger_down",
        "malformed",
        "no_capacity",
        "not_found",
        "payment_refused",
        "rail_down",
        "rate_limit",
        "refund_refused",
        "refunds_exhausted",
        "session_open",
        "session_over",
        "settlement_pending",
        "too_many_keys",
        "unauthenticated",
    }


@pytest.mark.parametrize("refusal", EXAMPLES, ids=lambda refusal: refusal.code)
def test_a_refusal_says_what_happened_in_words(refusal: GatewayError) -> None:
    assert str(refusal)
    assert "Error(" not in str(refusal)


@pytest.mark.parametrize(
    ("refusal", "told"),
    [
        (EXAMPLES[0], ["7 microcredits", "3 available", "at least 4 more"]),
        (EXAMPLES[1], ["cash", "counterfeit"]),
        (EXAMPLES[2], ["Do not pay again", "same payment proof"]),
        (EXAMPLES[4], ["s1", "spent", "open a new one"]),
        (EXAMPLES[6], ["body: expected JSON, got soup"]),
        (EXAMPLES[8], ["(10)", "end a session first"]),
        (EXAMPLES[9], ["5 requests per second"]),
        (EXAMPLES[10], ["No STT servers available"]),
        (EXAMPLES[13], ["cash", "nothing was charged"]),
        (EXAMPLES[15], ["3 more microcredits", "day cap", "7 are needed"]),
        (EXAMPLES[16], ["not for stt", "tts webrtc"]),
        (EXAMPLES[17], ["100", "revoke one first"]),
        (EXAMPLES[18], ["the least is 1 USD", "nothing was taken"]),
        (EXAMPLES[19], ["2.5 USD", "money that refunds are paid from", "nothing was taken"]),
        (EXAMPLES[20], ["0 USD", "one day", "nothing was taken"]),
    ],
)
def test_the_facts_are_in_the_text(refusal: GatewayError, told: list[str]) -> None:
    assert [part for part in told if part not in str(refusal)] == []


@pytest.mark.parametrize("refusal", EXAMPLES, ids=lambda refusal: refusal.code)
def test_facts_are_typed(refusal: GatewayError) -> None:
    facts = dataclasses.asdict(refusal)  # type: ignore[call-overload]  # every example is a dataclass

    assert all(isinstance(fact, int | str | dict) for fact in facts.values())
