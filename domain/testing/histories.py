"""Whole ledgers: what a gateway could have written, in an order in which it could have happened."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

from eventsourcing.persistence import StoredEvent
from hypothesis import strategies as st

from domain.account import Account
from domain.aggregate import LedgerAggregate
from domain.ledger import EventMapper
from domain.money import Microcredits
from domain.payout import Payout
from domain.pricing import DEFAULT_PRICE_BOOK, UNITS, PriceBook
from domain.record import Record
from domain.session import Order, Session
from domain.testing.strategies import START_MS

T = TypeVar("T")
ACCOUNTS_MAX = 3
PURSE_MAX = 10**7
QUANTITY_MAX = 120_000
STEP_MS_MAX = 30_000
_MAPPER = EventMapper(transcoder=None)  # type: ignore[arg-type]  # it writes its own JSON


@dataclass(frozen=True, slots=True)
class History:
    """The records of a ledger by position, and the aggregates they add up to."""

    records: tuple[Record, ...]
    aggregates: dict[UUID, LedgerAggregate]

    @property
    def events(self) -> tuple[StoredEvent, ...]:
        """As a recorder takes them."""
        return tuple(
            StoredEvent(
                originator_id=record.originator_id,
                originator_version=record.originator_version,
                topic=record.topic,
                state=record.state,
            )
            for record in self.records
        )


class _Writer:
    """Draws one step after the other, and numbers the events that come of it."""

    def __init__(self, draw: st.DrawFn, price_book: PriceBook) -> None:
        self.draw = draw
        self.price_book = price_book
        self.now_ms = START_MS
        self.records: list[Record] = []
        self.accounts: list[Account] = []
        self.sessions: list[Session] = []
        self.payouts: list[Payout] = []
        for number in range(draw(st.integers(1, ACCOUNTS_MAX))):
            account = Account.open(chain="evm", wallet=f"0x{number + 1:040x}", at_ms=START_MS)
            self.accounts.append(account)
            self.buy(account)

    def step(self) -> None:
        self.now_ms += self.draw(st.integers(0, STEP_MS_MAX))
        account = self.pick(self.accounts)
        alive = [session for session in self.sessions if session.is_open]
        acts: list[Callable[[], None]] = [
            lambda: self.buy(account),
            lambda: self.open(account),
            lambda: self.withdraw(account),
        ]
        if alive:
            session = self.pick(alive)
            acts += [lambda: self.use(session), lambda: self.close(session)]
        unpaid = [payout for payout in self.payouts if not payout.is_over]
        if unpaid:
            payout = self.pick(unpaid)
            acts += [lambda: self.sign(payout), lambda: self.end(payout)]
        self.pick(acts)()

    def pick(self, choices: Sequence[T]) -> T:
        # By its place: an aggregate has no hash, which Hypothesis asks for.
        return choices[self.draw(st.integers(0, len(choices) - 1))]

    def buy(self, account: Account) -> None:
        amount = Microcredits(self.draw(st.integers(1, PURSE_MAX)))
        payment_id = UUID(int=len(self.records) + 1)
        account.purchase(amount, payment_id=payment_id, rail="cash", at_ms=self.now_ms)
        self.save(account)

    def open(self, account: Account) -> None:
        service = self.draw(st.sampled_from(sorted(UNITS)))
        order = Order(
            service=service,
            tariff=self.price_book.tariff(service),
            price_book=self.price_book.version,
            quantity=self.draw(st.integers(1, QUANTITY_MAX)),
            expires_at_ms=self.now_ms + self.draw(st.integers(1, 20 * STEP_MS_MAX)),
        )
        if order.price > account.available:
            return
        session_id = UUID(int=(1 << 64) + len(self.records))
        account.reserve(
            order.price,
            session_id=session_id,
            service=service,
            unit_id=session_id,
            at_ms=self.now_ms,
        )
        session = Session.open(
            order,
            session_id=session_id,
            account_id=account.id,
            bundle_id=None,
            request_hash="",
            at_ms=self.now_ms,
        )
        self.sessions.append(session)
        self.save(account, session)

    def use(self, session: Session) -> None:
        if session.tariff.unit == "character":
            session.speak(self.draw(st.integers(0, session.quantity)), at_ms=self.now_ms)
        elif session.is_running:
            session.pause(session.id, at_ms=self.now_ms)
        elif not session.is_spent(self.now_ms):
            session.resume(session.id, at_ms=self.now_ms)
        self.save(session)

    def close(self, session: Session) -> None:
        account = next(a for a in self.accounts if a.id == session.account_id)
        charged = session.close("ended", at_ms=self.now_ms)
        account.settle(
            session_id=session.id, service=session.service, charged=charged, at_ms=self.now_ms
        )
        self.save(session, account)

    def withdraw(self, account: Account) -> None:
        if not account.available:
            return
        amount = Microcredits(self.draw(st.integers(1, account.available.value)))
        payout = Payout.request(
            payout_id=Payout.create_id(account.id, str(len(self.payouts))),
            account_id=account.id,
            rail="cash",
            chain=account.chain,
            wallet=account.wallet,
            amount=amount,
            fee=Microcredits(self.draw(st.integers(0, amount.value))),
            who="",
            why="",
            at_ms=self.now_ms,
        )
        account.withdraw(amount, payout_id=payout.id, rail="cash", at_ms=self.now_ms)
        self.payouts.append(payout)
        self.save(account, payout)

    def sign(self, payout: Payout) -> None:
        payout.prepare(
            proof_key=f"coin of {payout.id}",
            network="cash",
            payer="the house",
            expires_at_ms=self.now_ms + STEP_MS_MAX,
            payload="{}",
            at_ms=self.now_ms,
        )
        payout.submit(at_ms=self.now_ms)
        self.save(payout)

    def end(self, payout: Payout) -> None:
        account = next(a for a in self.accounts if a.id == payout.account_id)
        if payout.state == "requested" or self.draw(st.booleans()):
            payout.fail("it expired", at_ms=self.now_ms)
            account.take_back(payout_id=payout.id, rail="cash", at_ms=self.now_ms)
        else:
            payout.pay("receipt", at_ms=self.now_ms)
            account.pay_out(
                payout_id=payout.id,
                rail="cash",
                fee=payout.fee,
                reference="receipt",
                at_ms=self.now_ms,
            )
        self.save(payout, account)

    def save(self, *aggregates: Account | Payout | Session) -> None:
        for aggregate in aggregates:
            for event in aggregate.collect_events():
                stored = _MAPPER.to_stored_event(event)
                self.records.append(
                    Record(
                        position=len(self.records) + 1,
                        originator_id=event.originator_id,
                        originator_version=stored.originator_version,
                        topic=stored.topic,
                        state=stored.state,
                    )
                )


@st.composite
def histories(
    draw: st.DrawFn, *, steps_max: int = 30, price_book: PriceBook = DEFAULT_PRICE_BOOK
) -> History:
    """A ledger of up to so many steps, sold under this price book."""
    writer = _Writer(draw, price_book)
    for _ in range(draw(st.integers(0, steps_max))):
        writer.step()
    aggregates: list[LedgerAggregate] = [*writer.accounts, *writer.sessions, *writer.payouts]
    return History(tuple(writer.records), {a.id: a for a in aggregates})
