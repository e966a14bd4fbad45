"""How money arrives: a rail offers terms, checks a proof, settles it, and looks it up again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from domain.money import Microcredits


@dataclass(frozen=True, slots=True, kw_only=True)
class Purchase:
    """What a buyer asked for: `amount` of credit for one wallet.

    `chain` is `evm`, `solana` or `tron`; `wallet` is in canonical form (EVM lower case).
    """

    chain: str
    wallet: str
    amount: Microcredits
    resource_url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """A payment as presented, decoded and matched to our terms, nothing verified yet.

    `key` names the payment the same way on every route and for every encoding of it (EVM: network,
    asset, payer, nonce), so that claiming it is unique. `payload` is the text the rail needs to
    settle or look it up again after a restart; it holds no secret.
    `expires_at_ms` is when the chain stops accepting it.
    """

    key: str
    network: str
    chain: str
    payer: str
    amount: Microcredits
    expires_at_ms: int
    payload: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """The money is ours: `reference` is the transaction id on `network`."""

    reference: str
    payer: str
    amount: Microcredits


@dataclass(frozen=True, slots=True)
class Rejected:
    """Nothing moved and nothing will."""

    reason: str


@dataclass(frozen=True, slots=True)
class Uncertain:
    """It may have moved; only the chain can tell."""

    reference: str


@dataclass(frozen=True, slots=True)
class Absent:
    """The chain does not know it. `final`: it can no longer land (expired or cancelled)."""

    final: bool


@dataclass(frozen=True, slots=True)
class Challenge:
    """What an unpaid request is answered with: `headers` on a 402, `terms` for its JSON body."""

    headers: dict[str, str]
    terms: dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What the payer is told beside the answer, as headers."""

    headers: dict[str, str]


class PaymentRail(Protocol):
    """One way to pay.

    Shape:  challenge -> (client pays) -> decode -> verify -> settle; lookup at any later time.
    Units:  whole microcredits; one base unit of a 6-decimal dollar token is one microcredit.
    Errors: `MalformedError` from decode; `PaymentRefusedError` from decode (terms do not match)
            and verify; `RailDownError` from challenge and verify only, where nothing was sent.
            settle and lookup answer, they never raise: an outage is `Uncertain`.
    Source: specs/payments/x402.md.
    """

    name: str

    def serves(self, chain: str) -> bool:
        """Whether wallets of this chain can pay here."""
        ...

    async def challenge(self, purchase: Purchase, *, error: str) -> Challenge:
        """The terms for this purchase; stateless, the same again for the same purchase."""
        ...

    async def decode(self, headers: dict[str, str], purchase: Purchase) -> Proof | None:
        """The proof in these headers (names in lower case), or None where there is none."""
        ...

    async def verify(self, proof: Proof, purchase: Purchase) -> None:
        """Return when the proof is good now; sends nothing."""
        ...

    async def settle(self, proof: Proof) -> Settled | Rejected | Uncertain:
        """Move the money and confirm it by reading the chain; safe to repeat."""
        ...

    async def lookup(self, proof: Proof) -> Settled | Absent | Uncertain:
        """What the chain says of it; `Uncertain` where the chain cannot be read."""
        ...

    def receipt(self, *, success: bool, payer: str, reference: str, reason: str = "") -> Receipt:
        """The rail's receipt headers for an outcome."""
        ...
