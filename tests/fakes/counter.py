"""A customer at the counter: one wallet, a purse of coins, and a gateway that sells credit."""

from __future__ import annotations

from functools import partial

from domain.account import Account
from domain.ledger import Work
from domain.money import Microcredits
from domain.ports.payments import Proof, Purchase
from domain.use_cases.purchase_credits import Credited, Purchases, _claim
from tests.fakes.gateway import House

WALLET = "0x" + "a" * 40
OTHER = "0x" + "b" * 40
AMOUNT = 250_000
PURSE = 10 * AMOUNT


class Counter:
    """Buys for one wallet and looks at what came of it."""

    def __init__(self) -> None:
        self.house = House()
        self.rail = self.house.rail
        self.rail.purses[WALLET] = PURSE
        self.purchases = Purchases(self.house.gateway)

    async def proof(
        self, number: int = 1, *, amount: int = AMOUNT, lives_ms: int = 120_000
    ) -> Proof:
        """An honest payment; equal numbers are one payment."""
        asked = purchase_of(amount=amount)
        coin = self.rail.coin(asked, number=number, lives_ms=lives_ms)
        proof = await self.rail.decode(coin, asked)
        assert proof is not None
        return proof

    async def take(self, proof: Proof, purchase: Purchase | None = None) -> Credited:
        return await self.purchases.take(self.rail, proof, purchase or purchase_of())

    async def balance(self) -> int:
        """What the wallet may spend, in µcr."""

        def command(work: Work) -> int:
            account = work.find(Account, Account.create_id("evm", WALLET))
            return 0 if account is None else account.available.value

        return await self.house.books.run(command)

    def topics(self) -> list[str]:
        """What happened, in order."""
        return [record.topic for record in self.house.books.records()]

    async def die_before_settling(self, proof: Proof) -> None:
        """Leave in the ledger what a process leaves that dies right after its claim."""
        now_ms = self.house.clock.now_ms()
        await self.house.books.run(partial(_claim, rail=self.rail.name, proof=proof, at_ms=now_ms))


def purchase_of(wallet: str = WALLET, amount: int = AMOUNT) -> Purchase:
    return Purchase(chain="evm", wallet=wallet, amount=Microcredits(amount), resource_url="")
