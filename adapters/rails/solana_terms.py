"""What we ask for a purchase on Solana, and whether a payment is that."""

from __future__ import annotations

from x402.schemas import PaymentPayload, PaymentRequirements
from x402.schemas.v1 import PaymentPayloadV1

from adapters.rails.networks import SolanaNetwork
from adapters.rails.solana_transfer import SolanaTransfer, is_address, token_account
from domain.money import Microcredits
from domain.ports.payments import Purchase

SCHEME = "exact"
# How long a transaction can be trusted to live; the chain forgets its blockhash a little later.
TIMEOUT_S = 60
# What a payment may make the fee payer spend above the base fee: about two US cents.
PRIORITY_LAMPORTS_MAX = 100_000


class SolanaTerms:
    """Our one offer: this much USDC, on this network, to this address.

    `account` is where the money arrives: the token account that goes with the address.
    """

    def __init__(self, *, pay_to: str, network: SolanaNetwork) -> None:
        if not is_address(pay_to):
            msg = f"pay_to: expected a Solana address (got {pay_to!r})"
            raise ValueError(msg)
        self.pay_to = pay_to
        self._network = network
        self.account = token_account(pay_to, network.usdc)

    def of(self, purchase: Purchase, *, fee_payer: str) -> PaymentRequirements:
        """The same terms whenever they are asked for, so that nothing need be remembered."""
        return self.owed(purchase.amount, fee_payer=fee_payer)

    def owed(self, amount: Microcredits, *, fee_payer: str) -> PaymentRequirements:
        """The terms of paying `amount` to our payee."""
        return PaymentRequirements(
            scheme=SCHEME,
            network=self._network.caip2,
            asset=self._network.usdc,
            amount=str(amount.value),
            pay_to=self.pay_to,
            max_timeout_seconds=TIMEOUT_S,
            extra={"feePayer": fee_payer},
        )

    def mismatch_network(self, payment: PaymentPayload | PaymentPayloadV1) -> str | None:
        """Whether it is for another network; version 1 says no more than that in its own words."""
        if isinstance(payment, PaymentPayloadV1):
            scheme, network, ours = payment.scheme, payment.network, self._network.legacy
        else:
            scheme, network = payment.accepted.scheme, payment.accepted.network
            ours = self._network.caip2
        if (scheme, network) == (SCHEME, ours):
            return None
        return f"it was made for {scheme[:40]} on the network {network[:60]}, not {ours}"

    def mismatch_v2(self, payment: PaymentPayload, terms: PaymentRequirements) -> str | None:
        """Name the first difference between the terms a client accepted and ours."""
        ours, theirs = terms.model_dump(), payment.accepted.model_dump()
        # Clients may add to what is extra, a blockhash as a rule.
        theirs["extra"] = {"feePayer": (theirs["extra"] or {}).get("feePayer")}
        for name, wanted in ours.items():
            if theirs[name] != wanted:
                got = str(theirs[name])[:80]
                return f"it was made for {name} {got}, this purchase asks for {wanted}"
        return None

    def mismatch_signed(self, transfer: SolanaTransfer, terms: PaymentRequirements) -> str | None:
        """Compare what was signed, not what the client says it signed."""
        if transfer.mint != terms.asset:
            return f"it pays in {transfer.mint}, not in {terms.asset}"
        if transfer.destination != self.account:
            return f"it pays {transfer.destination}, not {self.account} of {terms.pay_to}"
        # More is refused too: what we credit is what was asked for, and nobody's change is ours.
        if transfer.amount != int(terms.amount):
            return f"it pays {transfer.amount} base units, this purchase costs {terms.amount}"
        if transfer.payer == terms.pay_to:
            return "it pays from the address that it pays to"
        if transfer.priority_lamports > PRIORITY_LAMPORTS_MAX:
            return f"its priority fee is above {PRIORITY_LAMPORTS_MAX} lamports"
        return None
