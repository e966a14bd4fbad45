"""Joins what segments say into what the whole history says, and finds its first break."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from domain.bill import BillError, statement
from domain.breaks import BrokenHistoryError
from domain.leaves import parse_leaf
from domain.plain_bill import (
    OPENED,
    SETTLED,
    Rate,
    SessionEvent,
    is_whole,
    opened_at,
    plain_rate,
)
from domain.postings import PAYOUTS_PENDING
from domain.price_list import PublishedPriceBook
from domain.pricing import PriceBook
from domain.ranges import Spine, root_of
from domain.record import Record, canonical
from domain.segment import SegmentFacts

_COMMAND_EVENTS_MAX = 1_000

ReadLine = Callable[[int], bytes]
"""The leaf at a position, for the one bill that does not add up."""

Books = dict[bytes, tuple[int, PriceBook]]
"""Published price books by version, each with its position."""


@dataclass(slots=True)
class History:
    """Everything up to `events`, joined from segments of `width` events, the last of fewer.

    `signers` counts heads by verifier key; `signed` is the size of the last.
    """

    width: int
    events: int = 0
    bills: int = 0
    heads: int = 0
    signed: int = 0
    signers: Counter[str] = field(default_factory=Counter)
    rows: Counter[str] = field(default_factory=Counter)
    aggregates: dict[bytes, tuple[int, str]] = field(default_factory=dict)
    wallets: dict[bytes, tuple[int, int]] = field(default_factory=dict)
    books: Books = field(default_factory=dict)
    sessions: dict[bytes, list[SessionEvent]] = field(default_factory=dict)
    _spine: Spine = field(default_factory=Spine)
    _last_peaks: list[bytes] = field(default_factory=list)

    @property
    def root(self) -> bytes:
        return root_of([*self._spine.peaks, *self._last_peaks])

    @property
    def total(self) -> int:
        """The sum of every account of the chart; zero."""
        wallets = sum(available + reserved for available, reserved in self.wallets.values())
        return wallets + sum(self.rows.values())

    def by_kind(self) -> dict[str, int]:
        """The books in a few rows: rails, available, reserved, revenue by service."""
        wallets = self.wallets.values()
        return dict(
            sorted(
                {
                    **self.rows,
                    "wallets:available": sum(available for available, _ in wallets),
                    "wallets:reserved": sum(reserved for _, reserved in wallets),
                }.items()
            )
        )

    def join(self, facts: SegmentFacts, read: ReadLine, *, keep: bool = True) -> None:
        """Take in the next segment whole, or raise `BrokenHistoryError` and change nothing.

        The position of a break is exact where the segment ends with it. Without `keep` it is only
        tried, and nothing changes either way.
        """
        if facts.first != self.events + 1:
            raise BrokenHistoryError(
                self.events + 1, "gap", expected=self.events + 1, found=facts.first
            )
        self._check_aggregates(facts)
        wallets = self._joined_wallets(facts)
        self._check_pending(facts)
        books = self._joined_books(facts)
        sessions, settled = self._joined_sessions(facts, books, read)
        rates = dict(facts.rates)
        for events in settled.values():
            rate = plain_rate(events)
            assert rate is not None, "bills that do not add up were refused"  # noqa: S101 (states what cannot be otherwise)
            rates.setdefault(rate, opened_at(events))
        _check_rates(rates, books)
        self._check_heads(facts)
        if facts.broken is not None:
            position, kind, expected, found = facts.broken
            raise BrokenHistoryError(position, kind, expected=expected, found=found)
        if not keep:
            return
        self.wallets.update(wallets)
        self.books = books
        self.sessions.update(sessions)
        for session in settled:
            self.sessions.pop(session, None)
        self._take(facts, bills=len(settled))

    def finish(self) -> None:
        """Say what can only be said at the end."""
        for session, events in self.sessions.items():
            # What one command wrote stands together; only the last may be cut in two.
            is_old = self.events - events[0][0] > _COMMAND_EVENTS_MAX
            if all(topic != OPENED for _, topic, _, _ in events) and (
                is_old or any(topic == SETTLED for _, topic, _, _ in events)
            ):
                raise BrokenHistoryError(
                    events[0][0],
                    f"session {session.decode()}",
                    expected="an open session",
                    found="money moved for one that is not",
                )

    def _take(self, facts: SegmentFacts, bills: int) -> None:
        for originator, (_, last, aggregate) in facts.aggregates.items():
            self.aggregates[originator] = (last, aggregate)
        self.rows.update(facts.rows)
        self.bills += facts.bills + bills
        self.events += facts.events
        for head in facts.heads:
            self.heads += 1
            self.signed = head.size
            self.signers.update(key.text for key in head.signers)
        if facts.events == self.width:
            self._spine.append(facts.peaks[0])
        else:
            self._last_peaks = facts.peaks

    def _check_aggregates(self, facts: SegmentFacts) -> None:
        for originator, (first, _, aggregate) in facts.aggregates.items():
            before, known_as = self.aggregates.get(originator, (0, aggregate))
            if first != before + 1:
                raise BrokenHistoryError(
                    facts.first + facts.events - 1,
                    f"version of {aggregate} {originator.decode()}",
                    expected=before + 1,
                    found=first,
                )
            if known_as != aggregate:
                raise BrokenHistoryError(
                    facts.first + facts.events - 1,
                    f"aggregate {originator.decode()}",
                    expected=f"an event of a {known_as}",
                    found=f"one of a {aggregate}",
                )

    def _joined_wallets(self, facts: SegmentFacts) -> dict[bytes, tuple[int, int]]:
        joined = {}
        for account, moved in facts.wallets.items():
            available, reserved = self.wallets.get(account, (0, 0))
            for name, lowest in (
                ("available", available + moved.available_min),
                ("reserved", reserved + moved.reserved_min),
            ):
                if lowest < 0:
                    raise BrokenHistoryError(
                        facts.first + facts.events - 1,
                        "books",
                        expected="no wallet below zero",
                        found=f"wallet:{account.decode()}:{name} {lowest}",
                    )
            joined[account] = (available + moved.available, reserved + moved.reserved)
        return joined

    def _check_pending(self, facts: SegmentFacts) -> None:
        lowest = self.rows[PAYOUTS_PENDING] + facts.pending.available_min
        if lowest < 0:
            raise BrokenHistoryError(
                facts.first + facts.events - 1,
                "books",
                expected="nothing paid out that was not taken",
                found=f"{PAYOUTS_PENDING} {lowest}",
            )

    def _joined_books(self, facts: SegmentFacts) -> Books:
        if not facts.books:
            return self.books
        joined = dict(self.books)
        for position, (content, content_hash, version) in facts.books:
            try:
                book = PriceBook.parse(content.decode())
            except ValueError as damage:
                raise BrokenHistoryError(
                    position, "price book", expected="a price book", found=damage
                ) from damage
            if version in joined or book.hash != content_hash.decode():
                raise BrokenHistoryError(
                    position,
                    f"price book {version.decode()}",
                    expected=f"one, with hash {book.hash}",
                    found=f"hash {content_hash.decode()}" if version not in joined else "two",
                )
            joined[version] = (position, book)
        return joined

    def _joined_sessions(
        self, facts: SegmentFacts, books: Books, read: ReadLine
    ) -> tuple[dict[bytes, list[SessionEvent]], dict[bytes, list[SessionEvent]]]:
        """Sessions still open, and those that this segment settled."""
        still_open, settled = {}, {}
        for session, more in facts.sessions.items():
            events = [*self.sessions.get(session, ()), *more]
            first_own = next((e for e in events if e[1].startswith(b"session.")), None)
            if first_own is not None and first_own[1] != OPENED:
                raise BrokenHistoryError(
                    first_own[0],
                    f"session {session.decode()}",
                    expected="an open session",
                    found=f"{first_own[1].decode()} after its settlement",
                )
            if not is_whole(events):
                still_open[session] = events
            elif plain_rate(events) is not None:
                settled[session] = events
            else:
                raise _explained(session, events, books, read)
        return still_open, settled

    def _check_heads(self, facts: SegmentFacts) -> None:
        for head in facts.heads:
            root = root_of([*self._spine.peaks, *head.peaks])
            if root != head.root:
                raise BrokenHistoryError(
                    head.size,
                    "signed head",
                    expected=f"root {head.root.hex()} over {head.size} events",
                    found=f"root {root.hex()}",
                )


def _check_rates(rates: dict[Rate, int], books: Books) -> None:
    """Every rate a bill was computed at is the published one."""
    for (version, service, unit, microcredits, per), position in rates.items():
        published, book = books.get(version, (position, None))
        if book is None or published >= position:
            raise BrokenHistoryError(
                position, "price book", expected=f"{version.decode()}, published", found="none"
            )
        try:
            tariff = book.tariff(service.decode())
        except LookupError as missing:
            raise BrokenHistoryError(
                position, "price book", expected=f"a tariff for {service.decode()}", found=missing
            ) from missing
        if (tariff.unit.encode(), tariff.microcredits, tariff.per) != (unit, microcredits, per):
            raise BrokenHistoryError(
                position,
                f"rate of {service.decode()}",
                expected=f"{tariff.microcredits} per {tariff.per} {tariff.unit}",
                found=f"{microcredits} per {per} {unit.decode()}",
            )


def _explained(
    session: bytes, events: Sequence[SessionEvent], books: Books, read: ReadLine
) -> BrokenHistoryError:
    """Which number of this bill does not follow."""
    where, position = f"bill of session {session.decode()}", events[-1][0]
    lines = ((at, read(at)) for at in range(events[0][0], position + 1))
    # What was seen running is no part of the sums, but of the versions that the bill counts.
    mentions = [parse_leaf(line, position=at) for at, line in lines if session in line]
    positions = {at for at, _, _, _ in events}
    records = [
        record
        for record in mentions
        if record.position in positions or str(record.originator_id).encode() == session
    ]
    opening = next(record for record in records if record.topic == "session.opened")
    opened = opening.fields
    for record in records:
        is_of_account = record.topic.startswith("account.")
        if is_of_account and str(record.originator_id) != opened["account_id"]:
            # Of two that disagree, the later one: up to the earlier the history held.
            return BrokenHistoryError(
                max(record.position, opening.position),
                where,
                expected=f"an event of account {opened['account_id']}",
                found=f"one of account {record.originator_id}",
            )
    published = books.get(opened["price_book"].encode())
    try:
        statement([*([] if published is None else [_book_record(published[1])]), *records])
    except BillError as broken:
        where = f"{where}: {broken.where}"
        return BrokenHistoryError(position, where, expected=broken.expected, found=broken.found)
    except (ValueError, LookupError) as damage:
        return BrokenHistoryError(position, where, expected="values with a price", found=damage)
    return BrokenHistoryError(
        position, where, expected="numbers that follow from each other", found="some that do not"
    )


def _book_record(book: PriceBook) -> Record:
    fields = {"content": book.content, "content_hash": book.hash, "version_name": book.version}
    return Record(
        position=0,
        originator_id=PublishedPriceBook.create_id(book.version),
        originator_version=1,
        topic="price_book.published",
        state=canonical(fields),
    )
