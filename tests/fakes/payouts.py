"""Coins handed back over the counter: a cash rail that also pays out, and all that can fail."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from itertools import count

from domain.errors import PaymentRefusedError, RailDownError
from domain.money import Microcredits
from domain.ports.clock import Clock
from domain.ports.payments import Absent, Payout, Proof, Rejected, Settled, Uncertain
from tests.fakes.rail import CashRail

HOUSE_PURSE = "the house"
HOUSE_FUNDS = 10**9


async def _at_once() -> None:
    """Go on."""


class CashPayoutRail(CashRail):
    """A `PaymentRail` that is a `PayoutRail` too; the house pays from a purse of its own.

    The faults of `CashRail` hold for both ways. `refuses_to_sign` makes `prepare` refuse.
    `watch` is called with a name before and after every step that reaches the world, and `pause`
    awaited there. `signed` are the keys of all that was signed, `sent` all that was ever sent.
    """

    def __init__(self, clock: Clock, *, name: str = "cash", lives_ms: int = 120_000) -> None:
        super().__init__(clock, name=name)
        self.purses[HOUSE_PURSE] = HOUSE_FUNDS
        self.refuses_to_sign = False
        self.signed: list[str] = []
        self.sent: dict[str, Proof] = {}
        self.watch: Callable[[str], None] = lambda _step: None
        self.pause: Callable[[], Awaitable[None]] = _at_once
        self._lives_ms = lives_ms
        self._numbers = count(1)

    async def funds(self) -> Microcredits:
        self._raise_while_down()
        if self.unreadable:
            raise RailDownError(rail=self.name)
        return Microcredits(self.purses[HOUSE_PURSE])

    async def prepare(self, payout: Payout) -> Proof:
        await self._step("before signing")
        self._raise_while_down()
        if self.refuses_to_sign:
            raise PaymentRefusedError(rail=self.name, reason="this purse cannot be paid to")
        # A signature of its own every time, as chains want it.
        key = f"{self.name}|{HOUSE_PURSE}|{payout.refund_id}|{next(self._numbers)}"
        self.signed.append(key)
        await self._step("signed")
        return Proof(
            key=key,
            network=self.name,
            chain=payout.chain,
            payer=HOUSE_PURSE,
            amount=payout.amount,
            expires_at_ms=self._clock.now_ms() + self._lives_ms,
            payload=json.dumps({"to": payout.wallet}),
        )

    async def settle(self, proof: Proof) -> Settled | Rejected | Uncertain:
        await self._step("before sending")
        self.sent[proof.key] = proof
        answer = await super().settle(proof)
        await self._step("sent")
        return answer

    async def lookup(self, proof: Proof) -> Settled | Absent | Uncertain:
        await self._step("before looking")
        answer = await super().lookup(proof)
        await self._step("looked")
        return answer

    async def _step(self, name: str) -> None:
        self.watch(name)
        await self.pause()

    def _take(self, proof: Proof) -> None:
        before = self.purses[proof.payer]
        super()._take(proof)
        to = json.loads(proof.payload).get("to")
        if to is not None:
            self.purses[to] += before - self.purses[proof.payer]
