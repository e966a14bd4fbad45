"""Many wallets through the real commands and the real store: no coin is lost and none is doubled.

Rules of specs/billing.md in play: B3, B8, B9, B11, B12, B14; and the invariants of specs/ledger.md.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Sequence
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from domain.account import Account
from domain.aggregate import LedgerAggregate
from domain.errors import (
    ConcurrencyLimitError,
    ConflictingRequestError,
    InsufficientCreditsError,
    NotFoundError,
    PaymentUncertainError,
    SessionOverError,
)
from domain.gateway import Terms
from domain.ledger import Work
from domain.money import Microcredits
from domain.ports.payments import Proof, Purchase
from domain.session import Session
from domain.use_cases.close_session import end_bundle, end_session
from domain.use_cases.extend_session import extend_bundle, extend_session
from domain.use_cases.open_session import SessionRequest, Ticket, open_bundle, open_session
from domain.use_cases.publish_prices import publish_prices
from domain.use_cases.purchase_credits import Purchases
from domain.use_cases.reconcile import reconcile
from tests.fakes.stored import replay_all
from tests.fakes.stored_house import stored_house
from tests.property.ledger_checks import check_books, check_lists

T = TypeVar("T")
WALLETS = ["0x" + digit * 40 for digit in "abc"]
UNITS_MAX = 3
TERMS = Terms(units_max=UNITS_MAX, pause_allowance_ms=30_000, tts_lifetime_ms=60_000)
wallets = st.sampled_from(WALLETS)
minutes_ms = st.integers(1, 30).map(lambda minutes: minutes * 60_000)


class LedgerLife(RuleBasedStateMachine):
    """Purchases, sessions, bundles, clocks, ends and sweeps in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.stack = contextlib.ExitStack()
        self.stored = self.stack.enter_context(stored_house(terms=TERMS))
        self.house, self.gateway = self.stored.house, self.stored.gateway
        self.purchases = Purchases(self.gateway)
        self.coins = 0
        self.keys = 0
        self.paid: list[tuple[Proof, Purchase]] = []
        self.bought: dict[str, int] = dict.fromkeys(WALLETS, 0)
        self.sessions: list[tuple[str, Ticket]] = []
        self.agent_sessions: list[tuple[str, UUID]] = []
        self.keyed: list[tuple[str, str, SessionRequest, Ticket]] = []
        self.do(publish_prices(self.gateway))

    def teardown(self) -> None:
        self.stack.close()
        self.loop.close()

    @rule(wallet=wallets, amount=st.integers(100_000, 400_000), answer_lost=st.booleans())
    def buys(self, wallet: str, amount: int, *, answer_lost: bool) -> None:
        self.coins += 1
        self.house.rail.purses[wallet] += amount
        self.house.rail.loses_answers = answer_lost
        purchase = Purchase(
            chain="evm", wallet=wallet, amount=Microcredits(amount), resource_url=""
        )
        headers = self.house.rail.coin(purchase, number=self.coins)
        proof = self.do(self.house.rail.decode(headers, purchase))
        assert proof is not None

        taking = self.purchases.take(self.house.rail, proof, purchase)
        if answer_lost:
            with pytest.raises(PaymentUncertainError):
                self.do(taking)
            self.house.rail.loses_answers = False
            self.do(reconcile(self.gateway))
        else:
            assert self.do(taking).amount == Microcredits(amount)

        self.bought[wallet] += amount
        self.paid.append((proof, purchase))

    @precondition(lambda self: self.paid)
    @rule(data=st.data())
    def pays_with_the_same_proof_again(self, data: st.DataObject) -> None:
        proof, purchase = data.draw(st.sampled_from(self.paid))
        before = self.stored.owner.position

        copies = [self.purchases.take(self.house.rail, proof, purchase) for _ in range(3)]
        answers = self.do(together(copies))

        assert {answer.amount for answer in answers} == {purchase.amount}
        assert self.stored.owner.position == before

    @rule(
        wallet=wallets,
        service=st.sampled_from(["stt", "tts", "webrtc"]),
        quantity=minutes_ms,
        keyed=st.booleans(),
    )
    def opens_a_session(self, wallet: str, service: str, quantity: int, *, keyed: bool) -> None:
        quantity //= 100 if service == "tts" else 1
        request = SessionRequest(service=service, quantity=quantity, room_name="room")
        self.keys += 1
        request_key = f"key {self.keys}" if keyed else ""
        opening = open_session(self.gateway, account_id(wallet), request, request_key=request_key)

        refusal = self._refusal(wallet, [request])
        if refusal is not None:
            self._refuses(refusal, opening)
            return
        ticket = self.do(opening)
        self.sessions.append((wallet, ticket))
        if keyed:
            self.keyed.append((wallet, request_key, request, ticket))

    @precondition(lambda self: self.keyed)
    @rule(data=st.data())
    def opens_with_the_same_key_again(self, data: st.DataObject) -> None:
        wallet, key, request, ticket = data.draw(st.sampled_from(self.keyed))
        opening = open_session(self.gateway, account_id(wallet), request, request_key=key)
        before = self.stored.owner.position

        if self._session(ticket.session_id).is_open:
            assert self.do(opening).session_id == ticket.session_id
        else:
            self._refuses(SessionOverError, opening)
        other = SessionRequest(service=request.service, quantity=request.quantity + 1)
        self._refuses(
            ConflictingRequestError,
            open_session(self.gateway, account_id(wallet), other, request_key=key),
        )
        assert self.stored.owner.position == before

    @rule(wallet=wallets, duration_ms=minutes_ms, characters=st.integers(1, 20_000))
    def opens_a_bundle(self, wallet: str, duration_ms: int, characters: int) -> None:
        requests = [
            SessionRequest(service="webrtc", quantity=duration_ms, role="agent"),
            SessionRequest(service="stt", quantity=duration_ms),
            SessionRequest(service="tts", quantity=characters),
        ]
        opening = open_bundle(self.gateway, account_id(wallet), requests)

        refusal = self._refusal(wallet, requests)
        if refusal is not None:
            self._refuses(refusal, opening)
            return
        tickets = self.do(opening)
        self.sessions += [(wallet, ticket) for ticket in tickets]
        assert tickets[0].bundle_id is not None
        self.agent_sessions.append((wallet, tickets[0].bundle_id))

    @rule(wallet=wallets, quantity=minutes_ms, copies=st.integers(2, 6))
    def many_sessions_race_for_one_balance(self, wallet: str, quantity: int, copies: int) -> None:
        request = SessionRequest(service="tts", quantity=quantity // 10)
        price = self.gateway.price_book.tariff("tts").price(request.quantity).value
        available, units = self._standing(wallet)
        openings = [open_session(self.gateway, account_id(wallet), request) for _ in range(copies)]

        answers = self.do(together(openings, return_exceptions=True))

        opened = [answer for answer in answers if isinstance(answer, Ticket)]
        assert len(opened) == min(copies, available // price, max(0, UNITS_MAX - units))
        self.sessions += [(wallet, ticket) for ticket in opened]

    @precondition(lambda self: self.sessions)
    @rule(data=st.data(), quantity=st.integers(1, 60_000))
    def extends_a_session(self, data: st.DataObject, quantity: int) -> None:
        wallet, ticket = data.draw(st.sampled_from(self.sessions))
        self.keys += 1
        request_key = f"key {self.keys}"
        session = self._session(ticket.session_id)
        price = session.tariff.price(session.quantity + quantity) - session.reserved

        def extending() -> Coroutine[Any, Any, Ticket]:
            return extend_session(
                self.gateway,
                account_id(wallet),
                session.id,
                service=session.service,
                quantity=quantity,
                request_key=request_key,
            )

        if not session.is_open or session.is_spent(self.gateway.clock.now_ms()):
            self._refuses(SessionOverError, extending())
        elif price.value > self._standing(wallet)[0]:
            self._refuses(InsufficientCreditsError, extending())
        else:
            assert self.do(extending()).quantity == session.quantity + quantity
            before = self.stored.owner.position
            assert self.do(extending()).quantity == session.quantity + quantity
            assert self.stored.owner.position == before

    @precondition(lambda self: self.agent_sessions)
    @rule(data=st.data(), duration_ms=minutes_ms, characters=st.integers(0, 5_000))
    def extends_a_bundle(self, data: st.DataObject, duration_ms: int, characters: int) -> None:
        wallet, bundle_id = data.draw(st.sampled_from(self.agent_sessions))
        before = self.stored.owner.position

        try:
            self.do(
                extend_bundle(
                    self.gateway,
                    account_id(wallet),
                    bundle_id,
                    duration_ms=duration_ms,
                    characters=characters,
                )
            )
        except (NotFoundError, InsufficientCreditsError):
            assert self.stored.owner.position == before

    @precondition(lambda self: self.sessions)
    @rule(data=st.data(), connection=st.integers(1, 3))
    def connects(self, data: st.DataObject, connection: int) -> None:
        _, ticket = data.draw(st.sampled_from(self.sessions))
        now_ms = self.gateway.clock.now_ms()

        def command(work: Work) -> None:
            session = work.session(ticket.session_id)
            if not session.is_open or session.is_spent(now_ms):
                return
            if session.tariff.unit == "ms":
                session.resume(UUID(int=connection), at_ms=now_ms)
            else:
                session.speak(session.used + 100 * connection, at_ms=now_ms)

        self.do(self.gateway.books.run(command))

    @precondition(lambda self: self.sessions)
    @rule(data=st.data(), connection=st.integers(1, 3))
    def disconnects(self, data: st.DataObject, connection: int) -> None:
        _, ticket = data.draw(st.sampled_from(self.sessions))
        now_ms = self.gateway.clock.now_ms()

        def command(work: Work) -> None:
            work.session(ticket.session_id).pause(UUID(int=connection), at_ms=now_ms)

        self.do(self.gateway.books.run(command))

    @rule(ms=st.integers(0, 600_000))
    def time_passes(self, ms: int) -> None:
        self.do(self.house.clock.advance(ms))

    @rule()
    def is_swept(self) -> None:
        self.do(reconcile(self.gateway))

        now_ms = self.gateway.clock.now_ms()
        late = [t.session_id for _, t in self.sessions if t.expires_at_ms <= now_ms]
        for session in map(self._session, late):
            assert not session.is_open or session.expires_at_ms > now_ms

    @precondition(lambda self: self.sessions)
    @rule(data=st.data())
    def ends_a_session(self, data: st.DataObject) -> None:
        wallet, ticket = data.draw(st.sampled_from(self.sessions))
        ending = [
            end_session(self.gateway, account_id(wallet), ticket.session_id) for _ in range(2)
        ]

        one, two = self.do(together(ending))

        assert one.charged + one.refunded == one.reserved
        assert (one.charged, one.closed_at_ms) == (two.charged, two.closed_at_ms)

    @precondition(lambda self: self.agent_sessions)
    @rule(data=st.data())
    def ends_a_bundle(self, data: st.DataObject) -> None:
        wallet, bundle_id = data.draw(st.sampled_from(self.agent_sessions))

        sessions = self.do(end_bundle(self.gateway, account_id(wallet), bundle_id))

        assert not any(session.is_open for session in sessions)

    @precondition(lambda self: self.sessions)
    @rule(data=st.data())
    def touches_what_is_anothers(self, data: st.DataObject) -> None:
        wallet, ticket = data.draw(st.sampled_from(self.sessions))
        stranger = account_id(WALLETS[WALLETS.index(wallet) - 1])

        self._refuses(NotFoundError, end_session(self.gateway, stranger, ticket.session_id))

    @invariant()
    def the_books_balance_and_the_replay_agrees(self) -> None:
        records = self.stored.records()
        aggregates = check_books(records, bought=sum(self.bought.values()), units_max=UNITS_MAX)

        assert self.stored.owner.position == len(records)
        for aggregate_id, aggregate in aggregates.items():
            fetching = self.gateway.books.run(partial(fetch, aggregate_id=aggregate_id))
            assert self.do(fetching) == aggregate

    @invariant()
    def the_lists_agree(self) -> None:
        self.do(self.gateway.views.caught_up(self.stored.owner.position))
        self.do(check_lists(self.gateway.views, replay_all(self.stored.records())))

    def do(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(coroutine)

    def _refuses(self, kind: type[Exception], attempt: Coroutine[Any, Any, object]) -> None:
        """The refusal comes, and nothing was written."""
        before = self.stored.owner.position
        with pytest.raises(kind):
            self.do(attempt)
        assert self.stored.owner.position == before

    def _refusal(self, wallet: str, requests: Sequence[SessionRequest]) -> type[Exception] | None:
        if not self.bought[wallet]:
            return NotFoundError
        available, units = self._standing(wallet)
        if units >= UNITS_MAX:
            return ConcurrencyLimitError
        price = sum(
            self.gateway.price_book.tariff(r.service).price(r.quantity).value for r in requests
        )
        return InsufficientCreditsError if price > available else None

    def _standing(self, wallet: str) -> tuple[int, int]:
        """Available µcr and open units, from the events alone."""
        account = replay_all(self.stored.records()).get(account_id(wallet))
        if not isinstance(account, Account):
            return 0, 0
        return account.available.value, account.units_open

    def _session(self, session_id: UUID) -> Session:
        return self.do(self.gateway.books.run(lambda work: work.session(session_id)))


def account_id(wallet: str) -> UUID:
    return Account.create_id("evm", wallet)


def fetch(work: Work, aggregate_id: UUID) -> object:
    """What the owner holds, whatever it is."""
    return work.find(LedgerAggregate, aggregate_id)


async def together(
    coroutines: Sequence[Coroutine[Any, Any, T]], *, return_exceptions: bool = False
) -> list[Any]:
    answers: list[Any] = await asyncio.gather(*coroutines, return_exceptions=return_exceptions)
    return answers


LedgerLife.TestCase.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)
TestLedgerLife = LedgerLife.TestCase
