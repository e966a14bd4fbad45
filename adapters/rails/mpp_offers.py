"""The challenges of the machine payments protocol: issued without memory, recognised again."""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from urllib.parse import urlsplit

from mpp import Challenge, Credential, generate_challenge_id
from mpp._parsing import ParseError, _b64_decode
from mpp.errors import (
    InvalidChallengeError,
    InvalidPayloadError,
    MalformedCredentialError,
    PaymentError,
    PaymentExpiredError,
    PaymentInsufficientError,
    VerificationError,
)
from mpp.methods.tempo import server as tempo
from mpp.server.http import PaymentRequired, Request
from mpp.server.mpp import Mpp

from adapters.rails.mpp_networks import TempoNetwork
from domain.ports.payments import Challenge as Terms
from domain.ports.payments import Purchase

_SCHEME = "payment "
_HEADER_MAX = 64 * 1024
_LABEL = b"payphone mpp challenge 1"

MALFORMED = "the credential cannot be read"
NOT_OURS = "the credential answers no challenge of this gateway"
OTHER_TERMS = "the credential was made for another purchase"
OTHER_BODY = "the credential was made for another request body"
NO_PAYMENT = "the credential holds neither a signed transaction nor a transaction's hash"
EXPIRED = "the challenge has expired"
TOO_LATE = "the transaction's time has passed"
POOR = "the wallet does not hold enough for the payment and its fee"
# What a refusal is called in problem details; what is not here has failed verification.
_PROBLEMS: dict[str, type[PaymentError]] = {
    MALFORMED: MalformedCredentialError,
    NOT_OURS: InvalidChallengeError,
    OTHER_TERMS: InvalidChallengeError,
    OTHER_BODY: InvalidChallengeError,
    NO_PAYMENT: InvalidPayloadError,
    EXPIRED: PaymentExpiredError,
    TOO_LATE: PaymentExpiredError,
    POOR: PaymentInsufficientError,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Presented:
    """A credential that answers a challenge of ours, for this very purchase.

    `request` is what the challenge asked for. `expires_at_ms` is when it expires, which nobody has
    looked at yet.
    """

    credential: Credential
    request: dict[str, object]
    expires_at_ms: int


class Offers:
    """Issues challenges with the library's server, and checks what comes back against them.

    The id of a challenge is an HMAC over all that it says, with a key made from `seed`; so it is
    known again after a restart and on every gateway of the same seed, and none is stored.
    """

    def __init__(
        self, *, pay_to: str, network: TempoNetwork, seed: bytes, lifetime_ms: int
    ) -> None:
        self._secret = hmac.new(seed, _LABEL, hashlib.sha256).hexdigest()
        self._lifetime_ms = lifetime_ms
        # One currency: the library would offer another first. It is never asked to settle.
        self._methods = tempo.charge(
            recipient=pay_to,
            chain_id=network.chain_id,
            rpc_url="http://node.invalid",
            currencies=[network.token],
            decimals=0,
        )

    async def issue(self, purchase: Purchase, *, now_ms: int) -> tuple[Challenge, Terms]:
        """A challenge that no other is equal to, and the answer that carries it."""
        at_ms = now_ms + self._lifetime_ms
        url = urlsplit(purchase.resource_url)
        mpp = Mpp(self._methods, realm=url.hostname or "", secret_key=self._secret)
        handler = mpp.tempo.charge(
            amount=str(purchase.amount.value),
            expires=datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds"),
            description=purchase.description,
            body=purchase.content,
        )
        request = Request("POST", purchase.resource_url, {}, None, route=url.path or "/")
        asked = await handler(request)
        assert isinstance(asked, PaymentRequired)  # noqa: S101 (there was nothing to accept)
        headers = dict(asked.challenge.headers.multi_items())
        challenge = Challenge.from_www_authenticate(headers["www-authenticate"])
        names = {name: "-".join(part.capitalize() for part in name.split("-")) for name in headers}
        names["www-authenticate"] = "WWW-Authenticate"
        return challenge, Terms(
            headers={names[name]: value for name, value in headers.items()},
            terms=json.loads(asked.challenge.body or b"{}"),
        )

    async def answered(self, header: str, purchase: Purchase, *, now_ms: int) -> Presented:
        """The credential in this header; ValueError with the reason where it is not for us."""
        credential = _read(header)
        ours, _ = await self.issue(purchase, now_ms=now_ms)
        echo = credential.challenge
        try:
            opaque = _b64_decode(echo.opaque) if echo.opaque else None
            request = _b64_decode(echo.request) if echo.request else {}
            known = generate_challenge_id(
                secret_key=self._secret,
                realm=echo.realm,
                method=echo.method,
                intent=echo.intent,
                request=request,
                expires=echo.expires,
                digest=echo.digest,
                opaque=opaque,
            )
            expires = datetime.fromisoformat(echo.expires or "")
        except (ParseError, ValueError, RecursionError) as error:
            raise ValueError(NOT_OURS) from error
        if not hmac.compare_digest(echo.id.encode(), known.encode()):
            raise ValueError(NOT_OURS)
        named = (echo.realm, echo.method, echo.intent, request)
        if named != (ours.realm, ours.method, ours.intent, ours.request):
            raise ValueError(OTHER_TERMS)
        if echo.digest != ours.digest:
            raise ValueError(OTHER_BODY)
        return Presented(
            credential=credential,
            request=ours.request,
            expires_at_ms=round(expires.timestamp() * 1000),
        )


def payment_in(headers: dict[str, str]) -> str | None:
    """The credential among the schemes of an `Authorization`; None where there is none."""
    offered = headers.get("authorization", "")
    schemes = (scheme.strip() for scheme in offered[: _HEADER_MAX + 1].split(","))
    return next((scheme for scheme in schemes if scheme.lower().startswith(_SCHEME)), None)


def refused(terms: Terms, reason: str) -> Terms:
    """The same challenge, with the problem of the payment that came before it."""
    kind = _PROBLEMS.get(reason)
    problem = kind() if kind is not None else VerificationError(reason)
    told = problem.to_problem_details(str(terms.terms["challengeId"]))
    return replace(terms, terms=told | {"detail": f"The payment was refused: {reason}."})


def _read(header: str) -> Credential:
    try:
        return Credential.from_authorization(header)
    except (ParseError, ValueError, RecursionError) as error:
        raise ValueError(MALFORMED) from error
