"""A customer at the window where money is paid back: one wallet that bought ten dollars."""

from __future__ import annotations

from domain.account import Account
from domain.gateway import RefundTerms, Terms
from domain.ledger import Work
from domain.money import Microcredits
from domain.payout import Payout
from domain.postings import TrialBalance
from domain.use_cases.pay_out import Refund
from domain.use_cases.refund_credits import RefundRequest, Refunds
from tests.fakes.gateway import House

WALLET = "0x" + "a" * 40
OTHER = "0x" + "b" * 40
BOUGHT = 10_000_000
FEE = 50_000
TERMS = RefundTerms(
    enabled=True,
    least=Microcredits(1_000_000),
    fee=Microcredits(FEE),
    most=Microcredits(8_000_000),
    day_max=Microcredits(12_000_000),
)


class Window:
    """Where one wallet that bought ten dollars asks for them."""

    def __init__(self, terms: RefundTerms = TERMS, house: House | None = None) -> None:
        self.house = house or House(terms=Terms(refunds=terms))
        self.rail = self.house.rail
        self.refunds = Refunds(self.house.gateway)
        self.account_id = Account.create_id("evm", WALLET)

    async def open(self, *, bought: int = BOUGHT) -> Window:
        await self.house.fund(WALLET, bought)
        return self

    def request(
        self, amount: int = 3_000_000, *, key: str = "k", fee: int = FEE, rail: str = ""
    ) -> RefundRequest:
        return RefundRequest(
            payout_id=Payout.create_id(self.account_id, key),
            account_id=self.account_id,
            amount=Microcredits(amount),
            fee=Microcredits(fee),
            rail=rail,
        )

    async def ask(self, amount: int = 3_000_000, *, key: str = "k", fee: int = FEE) -> Refund:
        return await self.refunds.ask(self.request(amount, key=key, fee=fee))

    async def account(self) -> Account:
        def command(work: Work) -> Account:
            return work.account(self.account_id)

        return await self.house.books.run(command)

    async def available(self) -> int:
        return (await self.account()).available.value

    def books(self) -> dict[str, int]:
        books = TrialBalance()
        for record in self.house.books.records():
            assert books.post(record) == ()
        assert books.total == 0
        return books.by_kind()

    def topics(self) -> list[str]:
        return [r.topic for r in self.house.books.records() if r.topic.startswith("payout.")]
