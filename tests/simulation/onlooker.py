"""What must be true after every step of any life, by the numbers of the ledger's invariants.

 1. Each transaction sums to zero, and so do the books.
 2. Available and reserved are never negative, at every prefix.
 3. Bought = available + reserved + revenue + adjustments + paid out or about to be.
 4. A reservation ends exactly once; charged + refunded = reserved; 0 <= charged <= reserved.
 5. Billed time is the union of the connected intervals: pauses free, overlaps once.
 6. The same key twice is once; many parallel copies are once.
 7. Parallel reservations never take more than the balance.
 8. Live state = replay = snapshot + tail = lists, after every step.
 9. Any flipped bit, removed, swapped, inserted or cut off record is found, against a signed head.
10. Death at any instruction: what was acknowledged is stored; account and session together or not
    at all; whoever was replaced writes no more.
11. Followers see every position once, in order.
12. A bundle reserves all or nothing.

This module holds 1 to 4, 6, 7 and 10 to 12, which the stored events alone can tell; `endings` holds
9 and what a whole life adds up to, `world` compares the live with the stored (8), and the customers
of `clients` hold their stopwatches (5).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

from eventsourcing.persistence import StoredEvent

from domain.account import Account
from domain.aggregate import LedgerAggregate
from domain.bundle import Bundle
from domain.ledger import project
from domain.payout import Payout
from domain.postings import TrialBalance, wallet_accounts
from domain.record import Record
from domain.session import Session
from tests.fakes.stored import decode
from tests.simulation.storage import Commit

Place = tuple[UUID, int]


@dataclass(eq=False, slots=True)
class Attempt:
    """A command that somebody sent: the events it was last decided to make."""

    events: tuple[StoredEvent, ...] = ()


class Records(Protocol):
    """Where stored records are read."""

    def records(self, *, after: int, limit: int) -> tuple[Record, ...]: ...


class Watched(Protocol):
    """A store as an onlooker sees it: its records, and where each transaction ended."""

    @property
    def watched(self) -> Records: ...

    @property
    def commits(self) -> Sequence[Commit]: ...


@dataclass
class Onlooker:
    """Reads the stored ledger over everybody's shoulder, each record once, and folds it alone."""

    storage: Watched
    books: TrialBalance = field(default_factory=TrialBalance)
    aggregates: dict[UUID, LedgerAggregate] = field(default_factory=dict)
    attempts: list[Attempt] = field(default_factory=list)
    touched: set[UUID] = field(default_factory=set)
    acknowledged: int = 0

    def __post_init__(self) -> None:
        self._stored: dict[Place, tuple[str, bytes]] = {}
        self._transactions: dict[Place, Counter[str]] = {}
        self._once: set[tuple[str, ...]] = set()
        self._commits_seen = 0

    @property
    def position(self) -> int:
        return self.books.position

    def acknowledge(self, attempt: Attempt) -> None:
        """10: what is answered is stored, at the moment of the answer."""
        self.look()
        for event in attempt.events:
            assert isinstance(event.originator_id, UUID)
            place = (event.originator_id, event.originator_version)
            assert self._stored.get(place) == (event.topic, event.state), (
                f"10: answered, and not stored: {event}"
            )
        self.attempts.remove(attempt)
        self.acknowledged += 1

    def look(self) -> None:
        """Take in what was stored since; whatever does not hold is named by its number."""
        new = self.storage.watched.records(after=self.position, limit=100_000)
        commits = self.storage.commits[self._commits_seen :]
        self._commits_seen += len(commits)
        records = iter(new)
        for commit in commits:
            batch = [next(records) for _ in range(commit.last - commit.first + 1)]
            for record in batch:
                self._fold(record)
            self._check_transaction(batch)
            together = Counter(record.topic for record in batch)
            for record in batch:
                self._transactions[(record.originator_id, record.originator_version)] = together
            assert commit.epoch == commit.running, f"10: replaced, and it writes: {commit}"
        assert next(records, None) is None, "10: stored by nobody"

    def check_attempts(self) -> None:
        """10: of what was never answered, everything is there or nothing."""
        for attempt in self.attempts:
            topics = Counter(event.topic for event in attempt.events)
            for event in attempt.events:
                assert isinstance(event.originator_id, UUID)
                place = (event.originator_id, event.originator_version)
                if self._stored.get(place) != (event.topic, event.state):
                    continue
                # This one's, or a copy's in the same words: either way with all that belongs to it.
                together = self._transactions[place]
                assert topics <= together, f"10: half there: {attempt.events}"
        self.attempts.clear()

    def check_followed(self, position: int, records: Sequence[Record]) -> None:
        """11: the lists take every position once, in order."""
        places = [record.position for record in records]
        assert places == list(range(position + 1, position + 1 + len(places))), (
            f"11: at {position} came {places}"
        )

    def _fold(self, record: Record) -> None:
        assert record.position == self.position + 1, f"10: a hole before {record.position}"
        assert self.books.post(record) == (), f"1, 2 and 7: {record}"
        assert self.books.total == 0, f"1: {record}"
        aggregate = project(self.aggregates.get(record.originator_id), [decode(record)])
        assert aggregate is not None
        self.aggregates[record.originator_id] = aggregate
        self._stored[(record.originator_id, record.originator_version)] = (
            record.topic,
            record.state,
        )
        self.touched.add(record.originator_id)
        self._check_once(record)

    def _check_once(self, record: Record) -> None:
        """4 and 6: one credit a payment, one end a reservation, one effect a key."""
        fields = record.fields
        match record.topic:
            case "account.credits_purchased":
                name: tuple[str, ...] = ("6", fields["payment_id"])
            case "account.reservation_settled":
                name = ("4", fields["session_id"])
            case "account.credits_withdrawn":
                name = ("6", "taken", fields["payout_id"])
            case "account.payout_paid" | "account.payout_returned":
                name = ("6", "over", fields["payout_id"])
            case "account.credits_corrected":
                name = ("6", str(record.originator_id), fields["correction_id"])
            case "session.extended" if fields["request_id"]:
                name = ("6", str(record.originator_id), fields["request_id"])
            case _:
                return
        assert name not in self._once, f"{name[0]}: twice: {record}"
        self._once.add(name)

    def _check_transaction(self, batch: Sequence[Record]) -> None:
        """3, 4, 10 and 12, wherever a transaction ends."""
        for record in batch:
            match self.aggregates[record.originator_id]:
                case Account() as account:
                    self._check_account(account)
                case Session() as session:
                    self._check_session(session)
                case Bundle() as bundle:
                    missing = [i for i in bundle.session_ids if i not in self.aggregates]
                    assert not missing, f"12: a bundle without its sessions: {record}"
                case _:
                    continue

    def _check_account(self, account: Account) -> None:
        available, reserved = (self.books.balances[name] for name in wallet_accounts(account.id))
        held = sum(amount.value for amount in account.reserved.values())
        assert (available, reserved) == (account.available.value, held), f"3: {account}"
        for payout_id, amount in account.payouts.items():
            payout = self.aggregates.get(payout_id)
            assert isinstance(payout, Payout), f"10: taken for nobody: {account}"
            assert (payout.amount, payout.is_over) == (amount, False), f"3: {account}, {payout}"
        for session_id, amount in account.reserved.items():
            session = self.aggregates.get(session_id)
            assert isinstance(session, Session), f"10: reserved for nobody: {account}"
            assert session.is_open, f"4: reserved for a session that is over: {session}"
            assert session.reserved == amount, f"10 and 12: {account}, {session}"

    def _check_session(self, session: Session) -> None:
        account = self.aggregates[session.account_id]
        assert isinstance(account, Account)
        assert (session.id in account.reserved) == session.is_open, f"4 and 10: {session}"
        if not session.is_open:
            assert session.charged + session.refunded == session.reserved, f"4: {session}"
