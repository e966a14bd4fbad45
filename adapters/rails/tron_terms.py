"""What we ask for a purchase on TRON, and whether a permit is an answer to that."""

from __future__ import annotations

import asyncio
import hmac
import logging
import re
import secrets
from dataclasses import dataclass, replace

from bankofai.x402.types import FeeInfo, PaymentRequirements, PaymentRequirementsExtra

from adapters.rails.tron_address import account_of
from adapters.rails.tron_facilitator import TronFacilitator
from adapters.rails.tron_networks import TronNetwork
from adapters.rails.tron_permit import Permit
from domain.errors import RailDownError
from domain.ports.clock import Clock

_log = logging.getLogger(__name__)

SCHEME = "exact_permit"
# How long a permit lives: as long as an outage can leave a payment undecided, and no longer.
LIFE_S = 600
# Our clock may be ahead of the chain's and the facilitator's.
SKEW_S = 60
# A quote that does not say how long it holds.
_QUOTE_S = 60
_QUOTE_S_MAX = 3_600
_FLAT = "flat"
_NONCE_BYTES = 16
_WHOLE = re.compile(r"0|[1-9][0-9]{0,18}")
_LABEL = b"payphone: nonces of TRON permits"
_TOKEN_NAME, _TOKEN_VERSION = "Tether USD", "1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """What carrying a permit costs the payer, in base units, and who gets it and may carry it."""

    fee: int
    fee_to: str
    caller: str


class Quotes:
    """The facilitator's fee, asked for once for as long as it holds.

    More than `fee_max` is not passed on to payers: the rail is down until an operator decides.
    """

    def __init__(
        self,
        *,
        rail: str,
        network: TronNetwork,
        facilitator: TronFacilitator,
        clock: Clock,
        fee_max: int,
    ) -> None:
        self._rail = rail
        self._network = network
        self._facilitator = facilitator
        self._clock = clock
        self._fee_max = fee_max
        self._quote: Quote | None = None
        self._until_ms = 0
        self._asking = asyncio.Lock()

    async def current(self, *, amount: int, pay_to: str) -> Quote:
        """The quote that holds now; RailDownError where there is none."""
        async with self._asking:
            if self._quote is None or self._clock.now_ms() >= self._until_ms:
                self._quote = None
                self._quote = await self._asked(amount, pay_to)
            return self._quote

    async def _asked(self, amount: int, pay_to: str) -> Quote:
        asked = PaymentRequirements(
            scheme=SCHEME,
            network=self._network.name,
            amount=str(amount),
            asset=self._network.usdt,
            payTo=pay_to,
        )
        try:
            answers = await self._facilitator.fee_quote([asked])
            answer = next(
                answer
                for answer in answers
                if (answer.scheme, answer.network, answer.asset)
                == (asked.scheme, asked.network, asked.asset)
            )
            quote = self._read(answer.fee)
        except Exception as error:  # A facilitator may fail in any way; nothing was sent.
            _log.warning(
                "no fee quoted", extra={"rail": self._rail, "failure": type(error).__name__}
            )
            raise RailDownError(rail=self._rail) from error
        if quote.fee > self._fee_max:
            _log.error(
                "the facilitator asks for more than PAYPHONE_TRON_FEE_MAX",
                extra={"rail": self._rail, "fee": quote.fee, "fee_max": self._fee_max},
            )
            raise RailDownError(rail=self._rail)
        now_s = self._clock.now_ms() // 1000
        until_s = min(answer.expires_at or now_s + _QUOTE_S, now_s + _QUOTE_S_MAX)
        # A fee that is not the same for every amount holds for this one only.
        self._until_ms = until_s * 1000 if answer.pricing == _FLAT else 0
        return quote

    @staticmethod
    def _read(fee: FeeInfo) -> Quote:
        if not _WHOLE.fullmatch(fee.fee_amount):
            msg = "the fee is no whole number"
            raise ValueError(msg)
        quote = Quote(fee=int(fee.fee_amount), fee_to=fee.fee_to, caller=fee.caller or "")
        # Nobody is the zero address, so nobody could carry or be paid.
        if not any(account_of(quote.caller)) or not any(account_of(quote.fee_to)):
            msg = "the quote names nobody"
            raise ValueError(msg)
        return quote


class Permits:
    """Makes permits to be signed, and knows them again without having kept them.

    The nonce is a code over all the rest, made with a key that only this gateway has. Who signs a
    permit of other terms cannot know the nonce that it would need.
    """

    def __init__(self, *, seed: bytes, network: TronNetwork, clock: Clock) -> None:
        self._key = hmac.digest(seed, _LABEL, "sha256")
        self._network = network
        self._clock = clock

    def issue(self, *, quote: Quote, amount: int, pay_to: str, buyer: str = "") -> Permit:
        """A permit that nobody has asked for before."""
        return self._made(secrets.token_bytes(16), quote, amount, pay_to, buyer)

    def issue_for(
        self, payment_id: bytes, *, quote: Quote, amount: int, pay_to: str, buyer: str
    ) -> Permit:
        """A permit with this id; of all with one id and buyer, at most one can land."""
        permit = self._made(payment_id, quote, amount, pay_to, buyer)
        return replace(permit, nonce=self._code(b"payout", payment_id))

    def is_ours(self, permit: Permit) -> bool:
        """Whether we asked for exactly this; its buyer is whoever signed it."""
        return hmac.compare_digest(self._nonce(permit).to_bytes(32), permit.nonce.to_bytes(32))

    def _made(
        self, payment_id: bytes, quote: Quote, amount: int, pay_to: str, buyer: str
    ) -> Permit:
        now_s = self._clock.now_ms() // 1000
        permit = Permit(
            payment_id=payment_id,
            nonce=0,
            valid_after_s=now_s - SKEW_S,
            valid_before_s=now_s + LIFE_S,
            buyer=buyer,
            caller=quote.caller,
            asset=self._network.usdt,
            amount=amount,
            pay_to=pay_to,
            fee_to=quote.fee_to,
            fee=quote.fee,
        )
        return replace(permit, nonce=self._nonce(permit))

    def _nonce(self, permit: Permit) -> int:
        said = (
            *(self._network.name, permit.payment_id.hex(), permit.amount, permit.asset),
            *(permit.pay_to, permit.fee, permit.fee_to, permit.caller),
            *(permit.valid_after_s, permit.valid_before_s),
        )
        return self._code(b"purchase", "|".join(map(str, said)).encode())

    def _code(self, purpose: bytes, said: bytes) -> int:
        code = hmac.digest(self._key, purpose + b"|" + said, "sha256")
        return int.from_bytes(code[:_NONCE_BYTES])


def requirements_of(permit: Permit, network: TronNetwork) -> PaymentRequirements:
    """The terms that a permit answers, as the protocol writes them."""
    return PaymentRequirements(
        scheme=SCHEME,
        network=network.name,
        amount=str(permit.amount),
        asset=permit.asset,
        payTo=permit.pay_to,
        maxTimeoutSeconds=LIFE_S,
        extra=PaymentRequirementsExtra(
            name=_TOKEN_NAME,
            version=_TOKEN_VERSION,
            fee=FeeInfo(feeTo=permit.fee_to, feeAmount=str(permit.fee), caller=permit.caller),
        ),
    )


def mismatch(permit: Permit, *, amount: int, pay_to: str, network: TronNetwork) -> str | None:
    """Compare what was signed with what this purchase needs."""
    if permit.asset != network.usdt:
        return f"it pays with {permit.asset}, not USDT ({network.usdt})"
    if permit.pay_to != pay_to:
        return f"it pays {permit.pay_to}, not {pay_to}"
    if permit.amount != amount:
        return f"it pays {permit.amount} base units, this purchase costs {amount}"
    return None
