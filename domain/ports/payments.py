"""How money arrives: a rail offers terms, checks a proof, settles it, and looks it up again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

from domain.errors import PaymentRefusedError
from domain.money import Microcredits


@dataclass(frozen=True, slots=True, kw_only=True)
class Purchase:
    """What a buyer asked for: `amount` of credit for one wallet.

    `chain` is `evm`, `solana` or `tron`; `wallet` is in canonical form (EVM lower case), None where
    it is whoever pays. `content` is the request's body as it was sent, for rails that bind a
    payment to it.
    """

    chain: str
    wallet: str | None
    amount: Microcredits
    resource_url: str
    content: bytes = b""
    description: str = "Payphone credits"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """A payment as presented, decoded and matched to our terms, nothing verified yet.

    `key` names the payment the same way on every route and for every encoding of it (EVM: network,
    asset, payer, nonce), so that claiming it is unique. `payload` is the text the rail needs to
    settle or look it up again after a restart; it holds no secret.
    `expires_at_ms` is when the chain stops accepting it. `paid` says that its money had moved
    before we saw it, so that to refuse it would be to keep it.
    """

    key: str
    network: str
    chain: str
    payer: str
    amount: Microcredits
    # No part of which payment it is: some chains' proofs say it only by when they were seen.
    expires_at_ms: int = field(compare=False)
    payload: str
    paid: bool = False


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
class Outcome:
    """What became of a payment, for its receipt; the same again for every repeat of its proof.

    `reference` is the transaction, as far as it is known. `at_ms` is when it was decided, and
    `position` where its credit stands in the log; both None while nothing is decided. `reason` says
    why there is no success, and `payload` the payment as it was kept, where it was.
    """

    success: bool
    payer: str
    amount: Microcredits
    reference: str
    at_ms: int | None = None
    position: int | None = None
    reason: str = ""
    payload: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What the payer is told beside the answer: `headers`, and `facts` for its JSON body."""

    headers: dict[str, str]
    facts: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Payout:
    """Money to send back: `amount` to a customer's wallet, in canonical form, once per refund."""

    refund_id: UUID
    chain: str
    wallet: str
    amount: Microcredits


class PaymentRail(Protocol):
    """One way to pay.

    Shape:  challenge -> (client pays) -> decode -> verify -> settle; lookup at any later time.
    Units:  whole microcredits; one base unit of a 6-decimal dollar token is one microcredit.
    Errors: `MalformedError` from decode; `PaymentRefusedError` from decode (terms do not match)
            and verify; `RailDownError` from challenge, decode and verify only, where nothing was
            sent; `PaymentUncertainError` from decode where its payer says that it sent it and the
            chain does not show it, and from verify where the chain shows it used and not yet how.
            settle and lookup answer, they never raise: an outage is `Uncertain`.
    Source: specs/payments.

    `protocol` says how it is spoken to, and so at which path: `x402`, `mpp` or `tron`. `networks`
    are the names of its chain (CAIP-2 first).
    """

    name: str
    protocol: str
    networks: tuple[str, ...]

    def serves(self, chain: str) -> bool:
        """Whether wallets of this chain can pay here."""
        ...

    async def challenge(
        self,
        purchase: Purchase,
        *,
        refusal: PaymentRefusedError | None = None,
        beside: Sequence[PaymentRail] = (),
    ) -> Challenge:
        """The terms for this purchase, and why the payment it came with was refused.

        The terms of rails of the same protocol stand `beside` ours. Nothing is stored for it:
        whoever asks and does not pay costs us nothing.
        """
        ...

    async def decode(self, headers: dict[str, str], purchase: Purchase) -> Proof | None:
        """The proof in these headers (names in lower case), or None where there is none.

        A proof that was credited decodes as it did, whatever the time is: its repeat is answered.
        """
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

    def receipt(self, outcome: Outcome, purchase: Purchase) -> Receipt:
        """What the payer is told of an outcome, in the rail's own words."""
        ...


class PayoutRail(Protocol):
    """A rail that can also pay back: the same machine with our own wallet as the payer.

    Shape:  prepare -> (the proof is written down) -> settle; lookup at any later time.
    Units:  as `PaymentRail`.
    Errors: `RailDownError` from funds and prepare, where nothing was sent. settle and lookup answer
            as for any proof.
    Source: specs/payments/refunds.md.
    """

    name: str

    async def funds(self) -> Microcredits:
        """What the wallet that pays back holds now."""
        ...

    async def prepare(self, payout: Payout) -> Proof:
        """Sign the payment and send nothing.

        `payer` is our wallet. What it says can move this amount to this customer and nothing else,
        at most once, and not after `expires_at_ms`.
        """
        ...

    async def settle(self, proof: Proof) -> Settled | Rejected | Uncertain: ...

    async def lookup(self, proof: Proof) -> Settled | Absent | Uncertain: ...
