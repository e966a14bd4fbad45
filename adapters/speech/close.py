"""How a connection ends on a WebSocket: every last word has a close code and a text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

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
from domain.use_cases.meter import Over
from domain.use_cases.speech_messages import (
    Failed,
    Farewell,
    Left,
    Rejected,
    ShuttingDown,
    TakenOver,
    TooLarge,
)

NORMAL, GOING_AWAY, TOO_BIG, INTERNAL = 1000, 1001, 1009, 1011
TAKEN_OVER = 4409
# RFC 6455: a control frame carries 125 bytes, two of them are the code.
_REASON_BYTES_MAX = 123

CODES: dict[type[GatewayError], int] = {
    MalformedError: 4400,
    UnauthenticatedError: 4401,
    PaymentRequiredError: 4402,
    InsufficientCreditsError: 4402,
    PaymentRefusedError: 4402,
    KeyCapError: 4403,
    KeyScopeError: 4403,
    NotFoundError: 4404,
    ConflictingRequestError: 4409,
    RefundRefusedError: 4409,
    SessionOpenError: 4409,
    TooManyKeysError: 4409,
    SessionOverError: 4410,
    ConcurrencyLimitError: 4429,
    RateLimitError: 4429,
    PaymentUncertainError: 4503,
    NoCapacityError: 4503,
    RefundsExhaustedError: 4503,
    BusyError: 4503,
    LedgerDownError: 4503,
    RailDownError: 4503,
}


@dataclass(frozen=True, slots=True)
class Closing:
    """A close frame: `reason` is a stable code, and for refusals what it says to people."""

    code: int
    reason: str


def closing(farewell: Farewell) -> Closing:
    """The close frame of a last word."""
    code, reason = NORMAL, ""
    match farewell:
        case Left():
            pass
        case Rejected(refusal):
            code, reason = CODES[type(refusal)], f"{refusal.code}: {refusal}"
        case Over(why):
            code, reason = CODES[SessionOverError], f"{SessionOverError.code}: {why}"
        case TakenOver():
            code, reason = TAKEN_OVER, "taken_over"
        case TooLarge():
            code, reason = TOO_BIG, "too_large"
        case Failed():
            code, reason = INTERNAL, "internal"
        case ShuttingDown():
            code, reason = GOING_AWAY, "shutting_down"
        case _:
            assert_never(farewell)
    return Closing(code, _cut(reason))


def _cut(text: str) -> str:
    """As much of the text as a close frame carries, in whole characters."""
    return text.encode()[:_REASON_BYTES_MAX].decode(errors="ignore")
