"""A whole gateway of fakes, with the switches a test turns."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any
from uuid import UUID

from adapters.keys import Ed25519SessionKeys
from domain.account import Account
from domain.errors import NoCapacityError
from domain.gateway import Gateway, Terms
from domain.ledger import Work
from domain.money import Microcredits
from domain.ports.payments import PaymentRail
from domain.ports.speech import (
    EngineTraits,
    HearingOptions,
    HearingStream,
    SpeechChunk,
    VoiceOptions,
)
from domain.ports.speech_servers import OwnServers
from domain.pricing import DEFAULT_PRICE_BOOK
from domain.record import Record
from domain.switchboard import Switchboard
from domain.use_cases.live_sessions import booth_in
from tests.fakes.books import MemoryBooks
from tests.fakes.careful_books import CarefulBooks
from tests.fakes.clock import ManualClock
from tests.fakes.log import MemoryLog
from tests.fakes.payouts import CashPayoutRail
from tests.fakes.private import MemoryDetails
from tests.fakes.rooms import PaperRooms
from tests.fakes.views import MemoryViews

# Throwaway: 32 bytes of 0x06.
SESSION_KEYS_SEED = b"\x06" * 32


class MuteEar:
    """A `Transcriber` that is there and has no free worker."""

    traits = EngineTraits(name="mute-ear", languages=frozenset({"en", "es"}))

    async def listen(self, options: HearingOptions) -> HearingStream:
        raise NoCapacityError(service="stt")


class MuteMouth:
    """A `Synthesizer` that is there and has no free worker."""

    traits = EngineTraits(name="mute-mouth", languages=frozenset({"en"}), voices={"af_heart": "en"})

    def check(self, options: VoiceOptions) -> None:
        return

    async def speak(self, text: str, options: VoiceOptions) -> AsyncIterator[SpeechChunk]:
        nothing: tuple[SpeechChunk, ...] = ()
        for chunk in nothing:
            yield chunk
        raise NoCapacityError(service="tts")


@dataclass
class House:
    """The fakes behind one gateway. Ids count up from 1, so that a test can name them."""

    terms: Terms = field(default_factory=Terms)
    clock: ManualClock = field(default_factory=ManualClock)
    views: MemoryViews = field(default_factory=MemoryViews)
    details: MemoryDetails = field(default_factory=MemoryDetails)
    rooms: PaperRooms = field(default_factory=PaperRooms)
    ear: Any = field(default_factory=MuteEar)
    mouth: Any = field(default_factory=MuteMouth)
    more_rails: tuple[PaymentRail, ...] = ()

    def __post_init__(self) -> None:
        self.hearers: list[Callable[[Record], None]] = []
        self.books = MemoryBooks(on_commit=self._committed)
        self.rail = CashPayoutRail(self.clock)
        ids = count(1)
        self.own_servers = OwnServers(
            self.ear, self.mouth, stt_url="http://stt.test", tts_url="http://tts.test"
        )
        self.gateway = Gateway(
            # As between processes: values only, and any of them may come twice.
            books=CarefulBooks(self.books),
            views=self.views,
            details=self.details,
            log=MemoryLog(self.books.records),
            clock=self.clock,
            keys=Ed25519SessionKeys(SESSION_KEYS_SEED, issuer="http://gateway.test"),
            rails=(self.rail, *self.more_rails),
            payouts=(self.rail,),
            rooms=self.rooms,
            servers=self.own_servers,
            switchboard=Switchboard(),
            price_book=DEFAULT_PRICE_BOOK,
            terms=self.terms,
            new_id=lambda: UUID(int=next(ids)),
        )
        self.booth = booth_in(self.gateway, self.ear, self.mouth)

    def _committed(self, records: tuple[Record, ...]) -> None:
        self.views.apply(records)
        for record in records:
            for hear in self.hearers:
                hear(record)

    def close_service(self, service: str, problem: str = "weights are missing") -> None:
        """Make the engine of `stt` or `tts` say that it is not ready."""
        engine = self.ear if service == "stt" else self.mouth
        engine.traits = replace(engine.traits, ready=False, problem=problem)

    async def fund(self, wallet: str, amount: int, *, chain: str = "evm") -> UUID:
        """Give a wallet credit as a purchase would; returns its account's id."""
        account_id = Account.create_id(chain, wallet)
        now_ms = self.clock.now_ms()

        def command(work: Work) -> None:
            account = work.find(Account, account_id)
            if account is None:
                account = Account.open(chain=chain, wallet=wallet, at_ms=now_ms)
                work.add(account)
            payment_id = UUID(int=10**9 + self.books.position)
            account.purchase(Microcredits(amount), payment_id=payment_id, rail="cash", at_ms=now_ms)

        await self.books.run(command)
        return account_id
