"""A session of characters: reports come late, twice and out of order, and are billed once (B6)."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from domain.errors import SessionOverError
from domain.pricing import Tariff
from domain.session import Order, Session
from tests.fakes.stored import Journal
from tests.strategies import START_MS, tariffs

SESSION_ID = UUID(int=2)


class SpokenCharacters(RuleBasedStateMachine):
    """What was spoken is the highest total ever reported, capped at what was bought."""

    session: Session
    tariff: Tariff

    def __init__(self) -> None:
        super().__init__()
        self.journal = Journal()
        self.now_ms = START_MS
        self.quantity = 0
        self.spoken = 0
        self.reports: list[int] = [0]

    @initialize(tariff=tariffs("character"), quantity=st.integers(1, 5_000))
    def opens(self, tariff: Tariff, quantity: int) -> None:
        self.tariff, self.quantity = tariff, quantity
        order = Order(
            service="tts",
            tariff=tariff,
            price_book="2026-1",
            quantity=quantity,
            expires_at_ms=START_MS + 10_000,
        )
        self.session = Session.open(
            order,
            session_id=SESSION_ID,
            account_id=UUID(int=1),
            bundle_id=UUID(int=3),
            request_hash="",
            at_ms=START_MS,
        )
        self.journal.save(self.session)

    @rule(characters=st.integers(0, 600))
    def speaks(self, characters: int) -> None:
        self.now_ms += 3
        total = self.reports[-1] + characters

        self.session.speak(total, at_ms=self.now_ms)

        self.reports.append(total)
        if self.session.is_open:
            self.spoken = min(total, self.quantity)
        self.journal.save(self.session)

    @rule(data=st.data())
    def an_older_report_arrives_late(self, data: st.DataObject) -> None:
        before = len(self.journal.records)

        self.session.speak(data.draw(st.integers(0, self.spoken)), at_ms=self.now_ms)

        self.journal.save(self.session)
        assert len(self.journal.records) == before

    @rule(quantity=st.integers(0, 5_000))
    def is_extended(self, quantity: int) -> None:
        if not self.session.is_open or self.spoken == self.quantity:
            with pytest.raises(SessionOverError):
                self._extend(quantity)
            return
        self._extend(quantity)

        self.quantity += quantity
        self.journal.save(self.session)

    @precondition(lambda self: self.session.is_open)
    @rule(ends=st.sampled_from([False, False, True]))
    def is_closed(self, *, ends: bool) -> None:
        if ends:
            charged = self.session.close("ended", at_ms=self.now_ms)

            self.journal.save(self.session)
            assert charged == self.tariff.price(self.spoken)
            assert charged + self.session.refunded == self.session.reserved

    @invariant()
    def bills_what_was_spoken(self) -> None:
        if hasattr(self, "session"):
            assert self.session.used == self.spoken
            assert self.session.remaining_at(self.now_ms) == self.quantity - self.spoken
            assert self.session.reserved == self.tariff.price(self.quantity)

    @invariant()
    def replays_to_the_same(self) -> None:
        if hasattr(self, "session"):
            assert self.journal.replay(SESSION_ID) == self.session

    def _extend(self, quantity: int) -> None:
        self.session.extend(
            quantity=quantity,
            expires_at_ms=self.session.expires_at_ms,
            request_id="",
            at_ms=self.now_ms,
        )


TestSpokenCharacters = SpokenCharacters.TestCase
