"""Money without a chain: coins on a counter, and everything that can go wrong with them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence

from domain.errors import MalformedError, PaymentRefusedError, RailDownError
from domain.money import Microcredits
from domain.ports.clock import Clock
from domain.ports.payments import (
    Absent,
    Challenge,
    Outcome,
    PaymentRail,
    Proof,
    Purchase,
    Receipt,
    Rejected,
    Settled,
    Uncertain,
)

HEADER = "payment-cash"


class CashRail:
    """A deterministic `PaymentRail` under the same contract suite as the real ones.

    `purses` is what each wallet holds; `till` is what was taken, by proof key. Faults, each as it
    is set until it is set back: `down` (nothing is reached), `loses_answers` (settling moves the
    money and says so to nobody), `refuses` (settling moves nothing and says so), `unreadable`
    (nobody can look into the till). `settles_asked` counts the calls to settle.
    """

    def __init__(self, clock: Clock, *, name: str = "cash") -> None:
        self.name = name
        self.protocol = "x402"
        self.networks: tuple[str, ...] = (name,)
        self.purses: defaultdict[str, int] = defaultdict(int)
        self.till: dict[str, Settled] = {}
        self.settles_asked = 0
        self.down = False
        self.loses_answers = False
        self.refuses = False
        self.unreadable = False
        self._clock = clock

    def coin(
        self, purchase: Purchase, *, number: int = 1, lives_ms: int = 120_000
    ) -> dict[str, str]:
        """The headers of an honest payment for this purchase; equal numbers are one payment."""
        coin = {
            "payer": purchase.wallet,
            "amount": purchase.amount.value,
            "number": number,
            "expires_at_ms": self._clock.now_ms() + lives_ms,
        }
        return {HEADER: json.dumps(coin)}

    def serves(self, chain: str) -> bool:
        return chain == "evm"

    async def challenge(
        self,
        purchase: Purchase,
        *,
        refusal: PaymentRefusedError | None = None,
        beside: Sequence[PaymentRail] = (),
    ) -> Challenge:
        self._raise_while_down()
        return Challenge(
            headers={"PAYMENT-REQUIRED": f"cash {purchase.amount.value}"},
            terms={
                "accepts": [self.name, *[rail.name for rail in beside]],
                "amount": str(purchase.amount.value),
            },
        )

    async def decode(self, headers: dict[str, str], purchase: Purchase) -> Proof | None:
        if HEADER not in headers:
            return None
        try:
            coin = json.loads(headers[HEADER])
            amount = Microcredits(coin["amount"])
            proof = Proof(
                key=f"{self.name}|{coin['payer']}|{coin['number']}",
                network=self.name,
                chain="evm",
                payer=str(coin["payer"]),
                amount=amount,
                expires_at_ms=int(coin["expires_at_ms"]),
                payload=headers[HEADER],
            )
        except (ValueError, KeyError, TypeError) as error:
            raise MalformedError(where=HEADER, expected="a coin", got="none") from error
        if amount != purchase.amount:
            raise PaymentRefusedError(rail=self.name, reason="another amount than was asked for")
        return proof

    async def verify(self, proof: Proof, purchase: Purchase) -> None:
        self._raise_while_down()
        if self.unreadable:
            raise RailDownError(rail=self.name)
        if proof.key in self.till:
            raise PaymentRefusedError(rail=self.name, reason="this coin was already used")
        if self._is_expired(proof):
            raise PaymentRefusedError(rail=self.name, reason="the coin has expired")
        if self.purses[proof.payer] < proof.amount.value:
            raise PaymentRefusedError(rail=self.name, reason="the purse does not hold enough")

    async def settle(self, proof: Proof) -> Settled | Rejected | Uncertain:
        self.settles_asked += 1
        if self.refuses:
            return Rejected("the till is shut")
        if not self.down and not self._is_expired(proof):
            self._take(proof)
        if self.loses_answers:
            return Uncertain(f"receipt {proof.key}")
        found = await self.lookup(proof)
        if isinstance(found, Absent):
            return Rejected("the coin has expired") if found.final else Uncertain("")
        return found

    async def lookup(self, proof: Proof) -> Settled | Absent | Uncertain:
        if self.unreadable:
            return Uncertain("")
        if proof.key in self.till:
            return self.till[proof.key]
        return Absent(final=self._is_expired(proof))

    def receipt(self, outcome: Outcome, purchase: Purchase) -> Receipt:
        words = (outcome.success, outcome.payer, outcome.reference, outcome.reason)
        return Receipt(headers={"PAYMENT-RESPONSE": " ".join(map(str, words))})

    def _take(self, proof: Proof) -> None:
        if proof.key in self.till or self.purses[proof.payer] < proof.amount.value:
            return
        self.purses[proof.payer] -= proof.amount.value
        self.till[proof.key] = Settled(
            reference=f"receipt {proof.key}", payer=proof.payer, amount=proof.amount
        )

    def _is_expired(self, proof: Proof) -> bool:
        return self._clock.now_ms() >= proof.expires_at_ms

    def _raise_while_down(self) -> None:
        if self.down:
            raise RailDownError(rail=self.name)
