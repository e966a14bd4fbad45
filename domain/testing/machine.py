"""A life of a ledger for a store, tariff or price book of one's own: subclass, give it, run it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar
from uuid import UUID

from eventsourcing.persistence import ApplicationRecorder, IntegrityError
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from domain.account import Account
from domain.errors import InsufficientCreditsError, SessionOverError
from domain.ledger import EventMapper, Ledger, Work
from domain.money import MICROCREDITS_MAX
from domain.postings import PAYOUTS_PENDING, TrialBalance, wallet_accounts
from domain.pricing import DEFAULT_PRICE_BOOK, QUANTITY_MAX, PriceBook, Tariff
from domain.record import Record
from domain.session import Order
from domain.testing import commands
from domain.testing.strategies import START_MS

T = TypeVar("T")
WALLETS = tuple(f"0x{n:040x}" for n in range(1, 4))
QUANTITY_STEP = 60_000
ALLOWANCE_MS = 600_000
RECORDS_MAX = 1_000_000


class _StoreLedger(Ledger):
    """The real ledger over a recorder that somebody else made."""

    def __init__(self, recorder: ApplicationRecorder) -> None:
        self._given = recorder
        super().__init__(env={})

    def construct_recorder(self) -> ApplicationRecorder:
        return self._given


@dataclass(slots=True)
class _Known:
    """What the model knows of one session: plain numbers and intervals."""

    account_id: UUID
    service: str
    quantity: int
    expires_at_ms: int
    since_ms: int | None = None
    intervals: list[tuple[int, int]] = field(default_factory=list)
    spoken: int = 0
    is_open: bool = True

    def used(self, now_ms: int) -> int:
        """Billed is the union of the intervals, cut at expiry, or what was spoken."""
        if self.service == "tts":
            return min(self.spoken, self.quantity)
        running = [] if self.since_ms is None else [(self.since_ms, now_ms)]
        ran = sum(
            max(0, min(to_ms, self.expires_at_ms) - from_ms)
            for from_ms, to_ms in (*self.intervals, *running)
        )
        return min(ran, self.quantity)


class LedgerMachine(RuleBasedStateMachine):
    """Purchases, payouts, sessions, their pauses, extensions and ends, held against a plain model.

    Override `open_recorder` with any recorder of the `eventsourcing` library, and `reopen_recorder`
    where it can be closed and found again; or `run` and `records` to bring `Books` of your own;
    or `price_book`. After every step: the books balance, no wallet is negative, nothing bought is
    lost, billed is what was used and no more, and what is stored is what was written, in order.
    """

    price_book: PriceBook = DEFAULT_PRICE_BOOK

    def __init__(self) -> None:
        super().__init__()
        self.now_ms = START_MS
        self._recorder = self.open_recorder()
        self._ledger = _StoreLedger(self._recorder)
        self._mapper = EventMapper(transcoder=None)  # type: ignore[arg-type]  # it writes its own JSON
        self._written: list[tuple[UUID, int, str, bytes]] = []
        self._bought: dict[UUID, int] = {}
        self._sessions: dict[UUID, _Known] = {}
        # By payout: whose, how much, and whether it is under way, paid or failed.
        self._payouts: dict[UUID, tuple[UUID, int, str]] = {}
        self._count = 0

    def open_recorder(self) -> ApplicationRecorder:
        """An empty store; it is asked for once for every life."""
        raise NotImplementedError("give LedgerMachine a store: override open_recorder")

    def reopen_recorder(self, recorder: ApplicationRecorder) -> ApplicationRecorder:
        """The same store after a restart; left as it is where a store lives in memory."""
        return recorder

    def run(self, command: Callable[[Work], T]) -> T:
        """Run a command, all or nothing, and return its answer once it is stored."""
        work = Work(self._ledger.load)
        answer = command(work)
        events, _ = work.collect()
        if events:
            self._ledger.append(events)
        return answer

    def records(self) -> tuple[Record, ...]:
        """Everything that is stored, by position."""
        return self._ledger.records(after=0, limit=RECORDS_MAX)

    @initialize(amount=st.integers(1, 10**6))
    def somebody_buys(self, amount: int) -> None:
        self._buy(WALLETS[0], amount)

    @rule(wallet=st.sampled_from(WALLETS), amount=st.integers(1, 10**6))
    def buys(self, wallet: str, amount: int) -> None:
        self._buy(wallet, amount)

    @rule(data=st.data(), service=st.sampled_from(("stt", "tts", "webrtc")))
    def opens(self, data: st.DataObject, service: str) -> None:
        account_id = data.draw(st.sampled_from(sorted(self._bought)))
        order = Order(
            service=service,
            tariff=self.price_book.tariff(service),
            price_book=self.price_book.version,
            quantity=data.draw(st.integers(1, 20 * QUANTITY_STEP)),
            expires_at_ms=self.now_ms + ALLOWANCE_MS,
        )
        session_id = self._id()
        opening = partial(
            commands.open_session,
            account_id=account_id,
            session_id=session_id,
            order=order,
            at_ms=self.now_ms,
        )
        if order.price.value > self._available(account_id):
            self._refuses(InsufficientCreditsError, opening)
            return
        self._do(opening)
        self._sessions[session_id] = _Known(
            account_id, service, order.quantity, order.expires_at_ms
        )

    @precondition(lambda self: self._sessions)
    @rule(data=st.data())
    def connects_or_speaks(self, data: st.DataObject) -> None:
        session_id, known = self._choose(data)
        if known.service == "tts":
            total = data.draw(st.integers(known.spoken, known.spoken + QUANTITY_STEP))
            self._do(partial(commands.speak, session_id=session_id, total=total, at_ms=self.now_ms))
            if known.is_open:
                known.spoken = min(total, known.quantity)
            return
        connecting = partial(commands.resume, session_id=session_id, at_ms=self.now_ms)
        if self._is_over(known):
            self._refuses(SessionOverError, connecting)
            return
        self._do(connecting)
        if known.since_ms is None:
            known.since_ms = self.now_ms

    @precondition(lambda self: self._sessions)
    @rule(data=st.data())
    def disconnects(self, data: st.DataObject) -> None:
        session_id, known = self._choose(data)
        self._do(partial(commands.pause, session_id=session_id, at_ms=self.now_ms))
        self._stop(known)

    @precondition(lambda self: self._sessions)
    @rule(data=st.data(), quantity=st.integers(1, QUANTITY_STEP))
    def extends(self, data: st.DataObject, quantity: int) -> None:
        session_id, known = self._choose(data)
        tariff = self.price_book.tariff(known.service)
        more = tariff.price(known.quantity + quantity) - tariff.price(known.quantity)
        extending = partial(
            commands.extend, session_id=session_id, quantity=quantity, at_ms=self.now_ms
        )
        if self._is_over(known):
            self._refuses(SessionOverError, extending)
        elif more.value > self._available(known.account_id):
            self._refuses(InsufficientCreditsError, extending)
        else:
            self._do(extending)
            known.quantity += quantity

    @precondition(lambda self: self._sessions)
    @rule(data=st.data())
    def ends(self, data: st.DataObject) -> None:
        session_id, known = self._choose(data)
        self._do(partial(commands.close_session, session_id=session_id, at_ms=self.now_ms))
        self._stop(known)
        known.is_open = False

    @rule(data=st.data())
    def asks_for_money_back(self, data: st.DataObject) -> None:
        account_id = data.draw(st.sampled_from(sorted(self._bought)))
        available = self._available(account_id)
        if not available:
            return
        amount, payout_id = data.draw(st.integers(1, available)), self._id()
        self._do(
            partial(
                commands.withdraw,
                account_id=account_id,
                payout_id=payout_id,
                amount=amount,
                at_ms=self.now_ms,
            )
        )
        self._payouts[payout_id] = (account_id, amount, "under way")

    @precondition(lambda self: self._payouts)
    @rule(data=st.data(), outcome=st.sampled_from(("paid", "failed")))
    def money_went_back_or_cannot(self, data: st.DataObject, outcome: str) -> None:
        payout_id = data.draw(st.sampled_from(sorted(self._payouts)))
        account_id, amount, state = self._payouts[payout_id]
        self._do(partial(commands.sign_payout, payout_id=payout_id, at_ms=self.now_ms))
        end = commands.pay_out if outcome == "paid" else commands.take_back
        self._do(partial(end, payout_id=payout_id, at_ms=self.now_ms))
        if state == "under way":
            self._payouts[payout_id] = (account_id, amount, outcome)

    @rule(ms=st.integers(0, ALLOWANCE_MS // 4))
    def time_passes(self, ms: int) -> None:
        self.now_ms += ms

    @rule()
    def is_started_anew(self) -> None:
        self._recorder = self.reopen_recorder(self._recorder)
        self._ledger = _StoreLedger(self._recorder)

    @rule(data=st.data())
    def is_written_to_by_a_stale_writer(self, data: st.DataObject) -> None:
        """Two writers read the same account; the second to write is told, and stores nothing."""
        account_id = data.draw(st.sampled_from(sorted(self._bought)))
        stale = Work(self._ledger.load)
        late = partial(commands.purchase, account_id=account_id, amount=1, at_ms=self.now_ms)
        late(stale, payment_id=self._id())
        events, _ = stale.collect()
        self._do(partial(late, payment_id=self._id()))
        self._bought[account_id] += 1
        try:
            self._ledger.append(events)
        except IntegrityError:
            return
        raise AssertionError("a version was stored twice: the second writer must be refused")

    @invariant()
    def the_store_holds_what_was_written(self) -> None:
        records = self.records()
        assert [r.position for r in records] == list(range(1, len(records) + 1)), (
            "positions count from 1 without holes"
        )
        assert [
            (r.originator_id, r.originator_version, r.topic, r.state) for r in records
        ] == self._written, "what is stored is what was written, in order"

    @invariant()
    def the_books_balance(self) -> None:
        books = TrialBalance()
        for record in self.records():
            assert books.post(record) == (), f"out of balance, or a wallet below zero: {record}"
        assert books.total == 0
        for account_id, bought in self._bought.items():
            available, reserved = (books.balances[n] for n in wallet_accounts(account_id))
            spent = self._charged(account_id) + self._gone(account_id)
            assert available + reserved + spent == bought, "bought = available + reserved + spent"
            assert available == self._available(account_id), "what is free is what the model says"
        pending = sum(amount for _, amount, state in self._payouts.values() if state == "under way")
        assert books.balances[PAYOUTS_PENDING] == pending, "pending: what is under way, and no more"

    @invariant()
    def billed_is_what_was_used(self) -> None:
        for session_id, known in self._sessions.items():
            session = self.run(partial(commands.find_session, session_id=session_id))
            price = self.price_book.tariff(known.service).price
            assert session.used_at(self.now_ms) == known.used(self.now_ms), "used: the intervals"
            assert session.reserved == price(known.quantity), "reserved: the price of the whole"
            if not known.is_open:
                assert session.charged == price(known.used(self.now_ms)), "charged: what was used"
                assert session.charged + session.refunded == session.reserved

    def _buy(self, wallet: str, amount: int) -> None:
        account_id = Account.create_id("evm", wallet)
        if account_id not in self._bought:
            self._do(partial(commands.open_account, wallet=wallet, at_ms=self.now_ms))
        self._do(
            partial(
                commands.purchase,
                account_id=account_id,
                amount=amount,
                payment_id=self._id(),
                at_ms=self.now_ms,
            )
        )
        self._bought[account_id] = self._bought.get(account_id, 0) + amount

    def _do(self, command: Callable[[Work], None]) -> None:
        """Run it, and remember the events that must be stored from here on."""
        made: list[tuple[UUID, int, str, bytes]] = []

        def noted(work: Work) -> None:
            made.clear()
            command(work)
            for event in work.pending():
                stored = self._mapper.to_stored_event(event)
                made.append(
                    (event.originator_id, stored.originator_version, stored.topic, stored.state)
                )

        self.run(noted)
        self._written += made

    def _refuses(self, kind: type[Exception], command: Callable[[Work], None]) -> None:
        try:
            self.run(command)
        except kind:
            return
        raise AssertionError(f"expected a refusal: {kind.__name__}")

    def _choose(self, data: st.DataObject) -> tuple[UUID, _Known]:
        session_id = data.draw(st.sampled_from(sorted(self._sessions)))
        return session_id, self._sessions[session_id]

    def _is_over(self, known: _Known) -> bool:
        spent = known.used(self.now_ms) == known.quantity or self.now_ms >= known.expires_at_ms
        return spent or not known.is_open

    def _stop(self, known: _Known) -> None:
        if known.since_ms is not None:
            known.intervals.append((known.since_ms, self.now_ms))
            known.since_ms = None

    def _available(self, account_id: UUID) -> int:
        held = sum(
            self.price_book.tariff(known.service).price(known.quantity).value
            for known in self._sessions.values()
            if known.account_id == account_id and known.is_open
        )
        gone = self._charged(account_id) + self._gone(account_id)
        return self._bought[account_id] - held - gone

    def _gone(self, account_id: UUID) -> int:
        """What was taken for payouts and did not come back."""
        found = self._payouts.values()
        return sum(a for whose, a, state in found if whose == account_id and state != "failed")

    def _charged(self, account_id: UUID) -> int:
        return sum(
            self.price_book.tariff(known.service).price(known.used(self.now_ms)).value
            for known in self._sessions.values()
            if known.account_id == account_id and not known.is_open
        )

    def _id(self) -> UUID:
        self._count += 1
        return UUID(int=self._count)


def check_tariff(tariff: Tariff, quantity: int) -> None:
    """AssertionError where a price is not the exact one rounded up, or more costs less."""
    exact = quantity * tariff.microcredits
    if exact + tariff.microcredits > MICROCREDITS_MAX * tariff.per:
        # More than a log can write down: there is no such price.
        return
    price = tariff.price(quantity).value
    assert price * tariff.per >= exact, "never less than the exact price"
    assert (price - 1) * tariff.per < exact or price == 0, "rounded up once, to the next whole"
    if quantity < QUANTITY_MAX:
        assert tariff.price(quantity + 1).value >= price, "more never costs less"
    half = quantity // 2
    parts = tariff.price(half).value + tariff.price(quantity - half).value
    assert 0 <= parts - price <= 1, "two halves cost the whole, but for one rounding"
