"""A past made up from a seed: every kind of event that a list shows, in any order that can be."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from uuid import UUID

from domain.account import Account
from domain.money import Microcredits
from domain.payment import Payment
from domain.payout import Payout
from domain.pricing import DEFAULT_PRICE_BOOK
from domain.session import Order, Session
from tests.fakes.stored import Journal
from tests.strategies import START_MS

ACCOUNTS = 3


@dataclass
class Past:
    """`journal.records` is what a ledger would hold after so many steps."""

    seed: int
    steps: int = 300
    journal: Journal = field(default_factory=Journal)
    now_ms: int = START_MS

    def __post_init__(self) -> None:
        self._dice = random.Random(self.seed)  # noqa: S311 (a test wants repeatable dice)
        self.sessions: list[Session] = []
        self.payments: list[Payment] = []
        self.payouts: list[Payout] = []
        self.accounts = [
            Account.open(chain="evm", wallet=f"0x{n:040x}", at_ms=self.now_ms)
            for n in range(ACCOUNTS)
        ]
        for account in self.accounts:
            self._purchase(account)
        for _ in range(self.steps):
            self.now_ms += self._dice.randrange(5_000)
            steps = [self._open, self._live, self._live, self._live, self._pay, self._pay_out]
            self._dice.choice(steps)()

    @property
    def account(self) -> Account:
        """One of them; the first twice as often as any other."""
        return self._dice.choice([self.accounts[0], *self.accounts])

    def _purchase(self, account: Account) -> None:
        number = len(self.journal.records)
        account.purchase(
            Microcredits(10**9), payment_id=UUID(int=number), rail="cash", at_ms=self.now_ms
        )
        self.journal.save(account)

    def _open(self) -> None:
        account, session_id = self.account, UUID(int=self._dice.getrandbits(128), version=4)
        service = self._dice.choice(["stt", "tts", "webrtc"])
        order = Order(
            service=service,
            tariff=DEFAULT_PRICE_BOOK.tariff(service),
            price_book=DEFAULT_PRICE_BOOK.version,
            quantity=60_000,
            expires_at_ms=self.now_ms + self._dice.randrange(1, 600_000),
        )
        self._reserve(account, session_id, service, order.price)
        session = Session.open(
            order,
            session_id=session_id,
            account_id=account.id,
            bundle_id=self._dice.choice([None, UUID(int=7)]),
            request_hash="",
            at_ms=self.now_ms,
        )
        self.sessions.append(session)
        self.journal.save(session)

    def _reserve(
        self, account: Account, session_id: UUID, service: str, amount: Microcredits
    ) -> None:
        account.reserve(
            amount, session_id=session_id, service=service, unit_id=session_id, at_ms=self.now_ms
        )
        self.journal.save(account)

    def _live(self) -> None:
        alive = [s for s in self.sessions[-8:] if s.is_open]
        if not alive:
            return
        session = self._dice.choice(alive)
        step = self._dice.choice(["resume", "pause", "speak", "extend", "close"])
        connection_id = UUID(int=1)
        account = next(a for a in self.accounts if a.id == session.account_id)
        if step == "close" or session.is_spent(self.now_ms):
            charged = session.close("ended", at_ms=self.now_ms)
            account.settle(
                session_id=session.id, service=session.service, charged=charged, at_ms=self.now_ms
            )
            self.journal.save(session, account)
        elif step == "extend":
            more = session.extend(
                quantity=1_000,
                expires_at_ms=session.expires_at_ms + 1_000,
                request_id="",
                at_ms=self.now_ms,
            )
            self._reserve(account, session.id, session.service, more)
        elif session.service == "tts":
            session.speak(self._dice.randrange(60_000), at_ms=self.now_ms)
        elif step == "resume":
            session.resume(connection_id, at_ms=self.now_ms)
        elif step == "pause":
            session.pause(connection_id, at_ms=self.now_ms)
        self.journal.save(session)

    def _pay_out(self) -> None:
        alive = [payout for payout in self.payouts[-4:] if not payout.is_over]
        if not alive or self._dice.random() < 1 / 2:
            account, amount = self.account, Microcredits(self._dice.randrange(2, 100_000))
            payout = Payout.request(
                payout_id=Payout.create_id(account.id, str(len(self.payouts))),
                account_id=account.id,
                rail="cash",
                chain="evm",
                wallet=account.wallet,
                amount=amount,
                fee=Microcredits(self._dice.randrange(2)),
                who="",
                why="",
                at_ms=self.now_ms,
            )
            account.withdraw(amount, payout_id=payout.id, rail="cash", at_ms=self.now_ms)
            self.payouts.append(payout)
            self.journal.save(account, payout)
            return
        payout = self._dice.choice(alive)
        account = next(a for a in self.accounts if a.id == payout.account_id)
        match self._dice.choice(["sign", "pay", "pay", "fail"]):
            case "pay" if payout.state == "submitted":
                payout.pay("0xfeed", at_ms=self.now_ms)
                account.pay_out(
                    payout_id=payout.id,
                    rail="cash",
                    fee=payout.fee,
                    reference="0xfeed",
                    at_ms=self.now_ms,
                )
            case "fail":
                payout.fail("it expired", at_ms=self.now_ms)
                account.take_back(payout_id=payout.id, rail="cash", at_ms=self.now_ms)
            case _:
                payout.prepare(
                    proof_key=f"coin of {payout.id}",
                    network="cash",
                    payer="the house",
                    expires_at_ms=self.now_ms + 60_000,
                    payload="{}",
                    at_ms=self.now_ms,
                )
                payout.submit(at_ms=self.now_ms)
        self.journal.save(payout, account)

    def _pay(self) -> None:
        open_payments = [p for p in self.payments[-4:] if not p.is_over]
        if not open_payments or self._dice.random() < 1 / 2:
            payment = Payment.claim(
                rail="cash",
                proof_key=f"coin {len(self.payments)}",
                network="cash",
                chain="evm",
                payer="0xa",
                amount=Microcredits(100_000),
                expires_at_ms=self.now_ms + 60_000,
                payload="{}",
                at_ms=self.now_ms,
            )
            payment.submit(at_ms=self.now_ms)
            self.payments.append(payment)
        else:
            payment = self._dice.choice(open_payments)
            if self._dice.random() < 1 / 2:
                payment.credit(reference="tx", account_id=self.account.id, at_ms=self.now_ms)
            else:
                payment.reject("refused", final=self._dice.random() < 1 / 2, at_ms=self.now_ms)
        self.journal.save(payment)
