"""Everything the program needs from the world, in one frozen value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import UUID

from domain.money import NOTHING, Microcredits
from domain.ports.books import Books
from domain.ports.clock import Clock
from domain.ports.keys import SessionKeys
from domain.ports.log import TransparencyLog
from domain.ports.payments import PaymentRail, PayoutRail
from domain.ports.private import PrivateDetails
from domain.ports.room_events import NoRoomLog, NoRoomReader, RoomLog, RoomReader
from domain.ports.rooms import Rooms
from domain.ports.speech_servers import SpeechServers
from domain.ports.views import Views
from domain.pricing import PriceBook
from domain.switchboard import Switchboard
from domain.turnstile import Turnstile

PURCHASE_MIN = Microcredits(100_000)
REFUND_MIN = Microcredits(1_000_000)
REFUND_MAX = Microcredits(100_000_000)
REFUND_DAY_MAX = Microcredits(1_000_000_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundTerms:
    """What a wallet may ask to be paid back to its chain, and what that costs (B16).

    `most` is of one refund, `day_max` of all wallets' on a day of UTC; all three with the fee.
    """

    enabled: bool = False
    least: Microcredits = REFUND_MIN
    fee: Microcredits = NOTHING
    most: Microcredits = REFUND_MAX
    day_max: Microcredits = REFUND_DAY_MAX


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The limits and allowances of this gateway (specs/billing.md); times in ms."""

    purchase_min: Microcredits = PURCHASE_MIN
    pause_allowance_ms: int = 60 * 60_000
    tts_lifetime_ms: int = 60 * 60_000
    units_max: int = 10
    api_rate_max: int = 5
    heartbeat_ms: int = 10_000
    duration_max_ms: int = 24 * 60 * 60_000
    characters_max: int = 10_000_000
    refunds: RefundTerms = field(default_factory=RefundTerms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """The ports, the price book in force and the terms; built once, by the composition root."""

    books: Books
    views: Views
    details: PrivateDetails
    log: TransparencyLog
    clock: Clock
    keys: SessionKeys
    rails: tuple[PaymentRail, ...]
    rooms: Rooms
    servers: SpeechServers
    switchboard: Switchboard
    price_book: PriceBook
    terms: Terms
    new_id: Callable[[], UUID]
    payouts: tuple[PayoutRail, ...] = ()
    turnstile: Turnstile = field(default_factory=Turnstile)
    room_log: RoomLog = field(default_factory=NoRoomLog)
    room_reader: RoomReader = field(default_factory=NoRoomReader)
