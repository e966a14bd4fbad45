"""One account's life, told event by event, for statements of it."""

from __future__ import annotations

from uuid import UUID

from domain.account import Account
from domain.money import NOTHING, Microcredits
from domain.payment import Payment
from domain.payout import Payout
from domain.period import Cuts, Period
from domain.price_list import PublishedPriceBook
from domain.pricing import DEFAULT_PRICE_BOOK, PriceBook
from domain.record import Record
from domain.session import Order, Session
from domain.statement import Statement, statement
from domain.statement_document import MadeFrom
from tests.fakes.stored import Journal

# 2026-10-01T00:00:00Z.
OCTOBER_MS = 1_790_812_800_000
NOVEMBER_MS = OCTOBER_MS + 31 * 86_400_000
SOURCE = MadeFrom(
    origin="gateway.test",
    through_root=b"",
    events=0,
    root=b"",
    checkpoint=None,
    consistency=(),
)


class Tale:
    """One account's life, told event by event."""

    def __init__(self, book: PriceBook = DEFAULT_PRICE_BOOK) -> None:
        self.journal = Journal()
        self.book = book
        self.journal.save(PublishedPriceBook.publish(book, at_ms=OCTOBER_MS - 9))
        self.account = Account.open(chain="evm", wallet="0x" + "a" * 40, at_ms=OCTOBER_MS - 9)
        self._sessions = 0

    def buys(self, amount: int, *, at_ms: int) -> None:
        payment = Payment.claim(
            rail="x402",
            proof_key=str(at_ms),
            network="eip155:8453",
            chain="evm",
            payer=self.account.wallet,
            amount=Microcredits(amount),
            expires_at_ms=at_ms,
            payload="",
            at_ms=at_ms,
        )
        payment.credit(reference="0xfeed", account_id=self.account.id, at_ms=at_ms)
        self.account.purchase(Microcredits(amount), payment_id=payment.id, rail="x402", at_ms=at_ms)
        self.journal.save(payment, self.account)

    def opens(self, service: str = "stt", *, at_ms: int, quantity: int = 60_000) -> Session:
        self._sessions += 1
        order = Order(
            service=service,
            tariff=self.book.tariff(service),
            price_book=self.book.version,
            quantity=quantity,
            expires_at_ms=at_ms + 10**9,
        )
        session_id = UUID(int=self._sessions)
        self.account.reserve(
            order.price, session_id=session_id, service=service, unit_id=session_id, at_ms=at_ms
        )
        session = Session.open(
            order,
            session_id=session_id,
            account_id=self.account.id,
            bundle_id=None,
            request_hash="",
            at_ms=at_ms,
        )
        self.journal.save(self.account, session)
        return session

    def closes(self, session: Session, *, used_ms: int = 0, at_ms: int) -> None:
        if used_ms:
            session.resume(UUID(int=9), at_ms=at_ms - used_ms)
            session.pause(UUID(int=9), at_ms=at_ms)
        charged = session.close("ended", at_ms=at_ms)
        self.account.settle(
            session_id=session.id, service=session.service, charged=charged, at_ms=at_ms
        )
        self.journal.save(session, self.account)

    def corrects(self, *, removed: int, position: int, at_ms: int) -> None:
        self.account.correct(
            correction_id=UUID(int=at_ms),
            added=NOTHING,
            removed=Microcredits(removed),
            who="ops-1",
            why="=1+1",
            corrects_position=position,
            at_ms=at_ms,
        )
        self.journal.save(self.account)

    def withdraws(self, amount: int, *, fee: int = 0, at_ms: int) -> Payout:
        payout = Payout.request(
            payout_id=Payout.create_id(self.account.id, str(at_ms)),
            account_id=self.account.id,
            rail="x402",
            chain="evm",
            wallet=self.account.wallet,
            amount=Microcredits(amount),
            fee=Microcredits(fee),
            who="",
            why="",
            at_ms=at_ms,
        )
        self.account.withdraw(payout.amount, payout_id=payout.id, rail="x402", at_ms=at_ms)
        self.journal.save(self.account, payout)
        return payout

    def is_paid(self, payout: Payout, *, at_ms: int) -> None:
        self.account.pay_out(
            payout_id=payout.id, rail="x402", fee=payout.fee, reference="0xback", at_ms=at_ms
        )
        self.journal.save(self.account)

    def takes_back(self, payout: Payout, *, at_ms: int) -> None:
        self.account.take_back(payout_id=payout.id, rail="x402", at_ms=at_ms)
        self.journal.save(self.account)

    def between(self, from_ms: int = OCTOBER_MS, to_ms: int = NOVEMBER_MS) -> Statement:
        return told(self.journal.records, self.account.id, from_ms, to_ms)


def told(records: list[Record], account_id: UUID, from_ms: int, to_ms: int) -> Statement:
    account = [r for r in records if r.originator_id == account_id]
    others = [r for r in records if r.originator_id != account_id]
    return statement(account, others, cut(records, from_ms, to_ms))


def cut(records: list[Record], from_ms: int, to_ms: int) -> Period:
    cuts = Cuts((from_ms, to_ms))
    for record in records:
        cuts.see(record)
    return cuts.period()
