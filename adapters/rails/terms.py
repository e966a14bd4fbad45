"""What we ask for a purchase on an EVM network, and whether a payment is that."""

from __future__ import annotations

from eth_utils.address import is_address, to_checksum_address
from x402.schemas import PaymentPayload, PaymentRequirements
from x402.schemas.v1 import PaymentPayloadV1

from adapters.rails.eip3009 import Authorization
from adapters.rails.networks import BaseNetwork
from domain.money import Microcredits
from domain.ports.payments import Purchase

SCHEME = "exact"
# How long a client's authorization lives; a facilitator wants some of it left.
TIMEOUT_S = 120
# How far ahead an authorization may reach, clocks that are wrong included. It bounds how long an
# uncertain payment stays so and how far back the chain is searched.
AHEAD_S_MAX = 3_600


class Terms:
    """Our one offer: this much USDC, on this network, to this address."""

    def __init__(self, *, pay_to: str, network: BaseNetwork) -> None:
        if not is_address(pay_to):
            msg = f"pay_to: expected a 0x address (got {pay_to!r})"
            raise ValueError(msg)
        self._pay_to = to_checksum_address(pay_to)
        self._network = network

    def of(self, purchase: Purchase) -> PaymentRequirements:
        """The same terms whenever they are asked for, so that nothing need be remembered."""
        return self.owed(purchase.amount)

    def owed(self, amount: Microcredits) -> PaymentRequirements:
        """The terms of paying `amount` to our payee."""
        return PaymentRequirements(
            scheme=SCHEME,
            network=self._network.caip2,
            asset=self._network.usdc,
            amount=str(amount.value),
            pay_to=self._pay_to,
            max_timeout_seconds=TIMEOUT_S,
            extra={
                "name": self._network.domain_name,
                "version": self._network.domain_version,
            },
        )

    def mismatch_v1(self, payment: PaymentPayloadV1) -> str | None:
        """Version 1 names the scheme and the network; the rest stands in the authorization."""
        if (payment.scheme, payment.network) == (SCHEME, self._network.legacy):
            return None
        return f"it is for {payment.scheme[:40]} on {payment.network[:40]}"


def mismatch_v2(payment: PaymentPayload, terms: PaymentRequirements) -> str:
    """Name the first difference between the terms a client accepted and ours."""
    ours, theirs = terms.model_dump(), payment.accepted.model_dump()
    name = next(name for name in ours if ours[name] != theirs[name])
    return f"it was made for {name} {str(theirs[name])[:80]}, this purchase asks for {ours[name]}"


def mismatch_signed(
    authorization: Authorization, terms: PaymentRequirements, *, now_s: int
) -> str | None:
    """Compare what was signed, not what the client says it signed."""
    if authorization.pay_to != terms.pay_to.lower():
        return f"it pays {authorization.pay_to}, not {terms.pay_to}"
    if authorization.value != int(terms.amount):
        return f"it pays {authorization.value} base units, this purchase costs {terms.amount}"
    if authorization.valid_before_s > now_s + AHEAD_S_MAX:
        return f"validBefore is more than {AHEAD_S_MAX} seconds ahead"
    return None
