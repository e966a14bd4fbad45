"""Every expected no, as one tree; a failure that is nobody's fault is not in it.

GatewayError                        code, facts; the caller can act
├── PaymentRequiredError
│   ├── InsufficientCreditsError    needed, available
│   └── PaymentRefusedError         rail, reason
├── PaymentUncertainError           the chain may have moved; ask again, never pay again
├── ConflictingRequestError         same key, other content
├── RefundRefusedError              reason, least, most, fee
├── RefundsExhaustedError           limit, left, retry_after_ms
├── SessionOverError                session_id
├── SessionOpenError                session_id
├── NotFoundError                   also what is not yours: existence is not confirmed
├── MalformedError                  where, expected, got
├── UnauthenticatedError            reason
├── ConcurrencyLimitError           limit
├── RateLimitError                  limit, retry_after_ms
├── KeyScopeError                   service, services
├── KeyCapError                     cap, needed, left
├── TooManyKeysError                limit
├── NoCapacityError                 service, retry_after_ms
├── BusyError                       retry_after_ms
├── LedgerDownError                 retry_after_ms
└── RailDownError                   rail, retry_after_ms
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from domain.money import Microcredits


class GatewayError(Exception):
    """An expected refusal. `code` is stable; the fields are facts; the text is for people."""

    code: ClassVar[str]

    def __reduce__(self) -> tuple[object, ...]:
        # An exception pickles the arguments it was made with; ours have facts instead.
        return _blank, (type(self),), vars(self)


def _blank(kind: type[GatewayError]) -> GatewayError:
    return kind.__new__(kind)


class PaymentRequiredError(GatewayError):
    """More credit is needed before this can be done."""

    code = "payment_required"


@dataclass(eq=False)
class InsufficientCreditsError(PaymentRequiredError):
    """The account cannot cover the reservation; buy `needed - available` more."""

    code = "insufficient_credits"
    needed: Microcredits
    available: Microcredits

    def __str__(self) -> str:
        short = self.needed.value - self.available.value
        return (
            f"Insufficient credits: needs {self.needed.value} microcredits, "
            f"{self.available.value} available; buy at least {short} more"
        )


@dataclass(eq=False)
class PaymentRefusedError(PaymentRequiredError):
    """The rail did not accept the payment; nothing moved."""

    code = "payment_refused"
    rail: str
    reason: str

    def __str__(self) -> str:
        return f"Payment refused on {self.rail}: {self.reason}"


@dataclass(eq=False)
class PaymentUncertainError(GatewayError):
    """The payment was sent and its outcome is not known yet; repeat the same proof later."""

    code = "settlement_pending"
    rail: str
    reference: str
    retry_after_ms: int = 5_000

    def __str__(self) -> str:
        return (
            "The payment was sent and is not confirmed yet. Do not pay again: repeat the same "
            "request with the same payment proof"
        )


@dataclass(eq=False)
class ConflictingRequestError(GatewayError):
    """The same key came with other content than the first time."""

    code = "conflicting_request"
    what: str

    def __str__(self) -> str:
        return f"{self.what} was already used with other content; use a new one"


@dataclass(eq=False)
class RefundRefusedError(GatewayError):
    """Nothing was taken; a refund may be of `least` to `most` now, and costs `fee`."""

    code = "refund_refused"
    reason: str
    least: Microcredits
    most: Microcredits
    fee: Microcredits

    def __str__(self) -> str:
        return f"No refund: {self.reason}; nothing was taken"


@dataclass(eq=False)
class RefundsExhaustedError(GatewayError):
    """More than may be paid out now: `limit` is `day` (all wallets') or `funds`."""

    code = "refunds_exhausted"
    limit: str
    left: Microcredits
    retry_after_ms: int

    def __str__(self) -> str:
        why = {
            "day": "of what may be refunded on one day",
            "funds": "of the money that refunds are paid from",
        }[self.limit]
        return f"Only {self.left.usd} USD are left {why}; nothing was taken, ask again later"


@dataclass(eq=False)
class SessionOverError(GatewayError):
    """The session is settled, spent or expired."""

    code = "session_over"
    session_id: str
    reason: str

    def __str__(self) -> str:
        return f"Session {self.session_id} is over ({self.reason}); open a new one"


@dataclass(eq=False)
class SessionOpenError(GatewayError):
    """The session has no bill yet: it is still open."""

    code = "session_open"
    session_id: str

    def __str__(self) -> str:
        return f"Session {self.session_id} is still open; end it first"


@dataclass(eq=False)
class NotFoundError(GatewayError):
    """There is no such thing, or it is somebody else's."""

    code = "not_found"
    what: str

    def __str__(self) -> str:
        return f"{self.what} not found"


@dataclass(eq=False)
class MalformedError(GatewayError):
    """The request cannot be understood."""

    code = "malformed"
    where: str
    expected: str
    got: str

    def __str__(self) -> str:
        return f"{self.where}: expected {self.expected}, got {self.got}"


@dataclass(eq=False)
class UnauthenticatedError(GatewayError):
    """We do not know who is asking."""

    code = "unauthenticated"
    reason: str

    def __str__(self) -> str:
        return self.reason


@dataclass(eq=False)
class ConcurrencyLimitError(GatewayError):
    """Too many open sessions; end one first."""

    code = "concurrency_limit"
    limit: int

    def __str__(self) -> str:
        return f"Concurrent session limit reached ({self.limit}); end a session first"


@dataclass(eq=False)
class RateLimitError(GatewayError):
    """Too many requests a second."""

    code = "rate_limit"
    limit: int
    retry_after_ms: int

    def __str__(self) -> str:
        return f"Rate limit exceeded ({self.limit} requests per second); slow down"


@dataclass(eq=False)
class KeyScopeError(GatewayError):
    """The API key was not issued for this; `services` are those it was issued for."""

    code = "key_scope"
    service: str
    services: str

    def __str__(self) -> str:
        return f"This API key is not for {self.service}; it is for {self.services}"


@dataclass(eq=False)
class KeyCapError(GatewayError):
    """The API key may not spend so much: its cap of the UTC `day`, or in `total`."""

    code = "key_cap"
    cap: str
    needed: Microcredits
    left: Microcredits

    def __str__(self) -> str:
        return (
            f"This API key may spend {self.left.value} more microcredits by its {self.cap} cap, "
            f"and {self.needed.value} are needed"
        )


@dataclass(eq=False)
class TooManyKeysError(GatewayError):
    """The wallet has as many working API keys as it may have; revoke one first."""

    code = "too_many_keys"
    limit: int

    def __str__(self) -> str:
        return f"There are {self.limit} working API keys already; revoke one first"


@dataclass(eq=False)
class NoCapacityError(GatewayError):
    """No server or worker for this service is free."""

    code = "no_capacity"
    service: str
    retry_after_ms: int = 1_000

    def __str__(self) -> str:
        return f"No {self.service.upper()} servers available; retry later"


@dataclass(eq=False)
class BusyError(GatewayError):
    """The ledger's queue is full; nothing was done."""

    code = "busy"
    retry_after_ms: int = 200

    def __str__(self) -> str:
        return "The gateway is busy and did nothing; retry shortly"


@dataclass(eq=False)
class LedgerDownError(GatewayError):
    """The ledger cannot be written (a full disk, a lost database), or its owner's answer was lost.

    Whether anything was done is seen by asking again.
    """

    code = "ledger_down"
    retry_after_ms: int = 5_000

    def __str__(self) -> str:
        return (
            "The ledger cannot be reached right now; repeat the same request later, with the same "
            "Idempotency-Key if it has one"
        )


@dataclass(eq=False)
class RailDownError(GatewayError):
    """The rail could not be reached; nothing was sent, the proof stays usable."""

    code = "rail_down"
    rail: str
    retry_after_ms: int = 5_000

    def __str__(self) -> str:
        return (
            f"The payment network {self.rail} cannot be reached; nothing was charged, retry later"
        )
