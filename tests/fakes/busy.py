"""A long history told by numbers alone: many wallets, and sessions that overlap."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

from domain.account import Account
from domain.postings import MONEY_TOPICS, following
from domain.price_list import PublishedPriceBook
from domain.pricing import DEFAULT_PRICE_BOOK
from domain.record import Record, canonical
from tests.strategies import START_MS

_BOUGHT = 10**9
_MINUTE_MS = 60_000


class Busy:
    """Writes records one after another; `overlap` sessions are open at any time.

    With `class_version` 1 money events are as releases before double entry wrote them.
    """

    def __init__(self, *, accounts: int = 500, overlap: int = 200, class_version: int = 2) -> None:
        self._class_version = class_version
        self._accounts = [Account.create_id("evm", f"0x{n:040x}") for n in range(accounts)]
        self._overlap = overlap
        self._versions: dict[UUID, int] = {}
        self._position = 0
        self._now_ms = START_MS

    def records(self, events: int) -> Iterator[Record]:
        """At least `events` of them, to the end of a whole command."""
        yield self._published()
        for number, account in enumerate(self._accounts):
            yield from self._bought(account, number)
        open_sessions: list[tuple[UUID, UUID, int]] = []
        number = 0
        while self._position < events:
            number += 1
            account = self._accounts[number * 7919 % len(self._accounts)]
            session = UUID(int=(number * 0x9E3779B97F4A7C15F39CC0605CEDC835) % 2**128)
            yield from self._opened(account, session)
            open_sessions.append((account, session, self._now_ms))
            if len(open_sessions) > self._overlap:
                yield from self._spent(*open_sessions.pop(0), number)

    def _published(self) -> Record:
        book = DEFAULT_PRICE_BOOK
        return self._record(
            PublishedPriceBook.create_id(book.version),
            "price_book.published",
            version_name=book.version,
            content=book.content,
            content_hash=book.hash,
        )

    def _bought(self, account: UUID, number: int) -> Iterator[Record]:
        payment = UUID(int=10**6 + number)
        wallet = f"0x{number:040x}"
        yield self._record(
            payment,
            "payment.claimed",
            rail="cash",
            proof_key=f"{number:064x}",
            network="cash",
            chain="evm",
            payer=wallet,
            amount=_BOUGHT,
            expires_at_ms=self._now_ms + _MINUTE_MS,
            payload="",
        )
        yield self._record(account, "account.opened", chain="evm", wallet=wallet)
        yield self._record(
            account,
            "account.credits_purchased",
            payment_id=str(payment),
            rail="cash",
            amount=_BOUGHT,
        )
        yield self._record(payment, "payment.credited", account_id=str(account))

    def _opened(self, account: UUID, session: UUID) -> Iterator[Record]:
        tariff = DEFAULT_PRICE_BOOK.tariff("stt")
        price = tariff.price(_MINUTE_MS).value
        yield self._record(
            account,
            "account.credits_reserved",
            session_id=str(session),
            service="stt",
            unit_id=str(session),
            amount=price,
        )
        yield self._record(
            session,
            "session.opened",
            account_id=str(account),
            bundle_id=None,
            service="stt",
            price_book=DEFAULT_PRICE_BOOK.version,
            unit=tariff.unit,
            rate_microcredits=tariff.microcredits,
            rate_per=tariff.per,
            quantity=_MINUTE_MS,
            reserved=price,
            expires_at_ms=self._now_ms + 10**9,
            request_hash="",
        )

    def _spent(self, account: UUID, session: UUID, since_ms: int, number: int) -> Iterator[Record]:
        used_ms = 5_000 + number % 50_000
        yield self._record(session, "session.clock_resumed", connection_id=str(UUID(int=number)))
        self._now_ms += used_ms
        yield self._record(session, "session.clock_observed")
        yield self._record(session, "session.clock_paused", used_ms=used_ms)
        tariff = DEFAULT_PRICE_BOOK.tariff("stt")
        charged = tariff.price(used_ms).value
        refunded = tariff.price(_MINUTE_MS).value - charged
        yield self._record(
            session,
            "session.closed",
            reason="ended",
            used=used_ms,
            charged=charged,
            refunded=refunded,
        )
        yield self._record(
            account,
            "account.reservation_settled",
            session_id=str(session),
            service="stt",
            charged=charged,
            refunded=refunded,
        )

    def _record(self, originator: UUID, topic: str, **fields: object) -> Record:
        self._position += 1
        self._versions[originator] = version = self._versions.get(originator, 0) + 1
        fields["at_ms"] = self._now_ms
        if topic in MONEY_TOPICS and self._class_version > 1:
            fields["class_version"] = self._class_version
            fields["postings"] = following(topic, originator, fields)
        return Record(
            position=self._position,
            originator_id=originator,
            originator_version=version,
            topic=topic,
            state=canonical(fields),
        )
