"""Deliberate bugs, one at a time: what a simulator is worth is what it finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any
from uuid import UUID

from eventsourcing.domain import DomainEventProtocol

from adapters.store import owner as owner_module
from adapters.store.cache import AggregateCache
from domain.account import Account
from domain.ledger import Ledger
from domain.money import NOTHING
from domain.payment import Payment
from domain.payout import Payout
from domain.ports.payments import Proof
from domain.record import Record
from domain.session import Session
from domain.snapshot import restore
from domain.use_cases import pay_out
from projections.sqlite import SqliteTables
from tests.simulation.storage import Storage


@contextmanager
def _swapped(place: Any, name: str, broken: object) -> Iterator[None]:  # noqa: ANN401 (any part of the program)
    """The program with one of its parts replaced."""
    whole = place.__dict__[name]
    setattr(place, name, broken)
    try:
        yield
    finally:
        setattr(place, name, whole)


def _answers_early() -> AbstractContextManager[None]:
    """Answers go out before their events are stored."""
    whole = owner_module.LedgerOwner._decide

    def decide(self: Any, job: Any, *rest: Any) -> None:  # noqa: ANN401 (the owner's own)
        whole(self, job, *rest)
        owner_module._deliver([job])

    return _swapped(owner_module.LedgerOwner, "_decide", decide)


def _splits_transactions() -> AbstractContextManager[None]:
    """Each aggregate's events are stored in a transaction of their own."""
    whole = Ledger.append

    def append(self: Ledger, events: Sequence[DomainEventProtocol[UUID]]) -> tuple[Record, ...]:
        stored: list[Record] = []
        for owner_id in dict.fromkeys(event.originator_id for event in events):
            stored += whole(self, [e for e in events if e.originator_id == owner_id])
        return tuple(stored)

    return _swapped(Ledger, "append", append)


def _forgets_refunds() -> AbstractContextManager[None]:
    """What was reserved and not used does not come back."""
    whole = Account.settle

    def settle(self: Account, **values: Any) -> object:  # noqa: ANN401 (the account's own)
        held = self.reserved[values["session_id"]]
        return whole(self, **{**values, "charged": held})

    return _swapped(Account, "settle", settle)


def _credits_twice() -> AbstractContextManager[None]:
    """A payment that was credited does not know it."""
    return _swapped(Payment, "is_credited", property(lambda _: False))


def _signs_again() -> AbstractContextManager[None]:
    """What was signed for a payout is forgotten, and something else is sent instead."""
    whole = pay_out._proof_of

    def proof_of(payout: Payout) -> Proof:
        return replace(whole(payout), key=f"{payout.proof_key}|{payout.version}")

    return _swapped(pay_out, "_proof_of", proof_of)


def _is_not_fenced() -> AbstractContextManager[None]:
    """Whoever was replaced may go on writing."""
    whole = Storage.__init__

    def make(self: Storage, *arguments: Any) -> None:  # noqa: ANN401 (the storage's own)
        whole(self, *arguments)
        self.checks_epoch = False

    return _swapped(Storage, "__init__", make)


def _keeps_stale_copies() -> AbstractContextManager[None]:
    """After a conflict the copies at hand stay, and are decided on again."""
    return _swapped(AggregateCache, "drop", lambda _self, _numbers: None)


def _believes_snapshots() -> AbstractContextManager[None]:
    """A snapshot is taken for the whole truth: what happened since is not read."""

    def go_on(self: Ledger, snapshot: Any) -> object:  # noqa: ANN401 (the ledger's own)
        version = snapshot.originator_version
        events = self.recorder.select_events(snapshot.originator_id, gt=version - 1, lte=version)
        return restore(snapshot, events[0] if events else None)

    return _swapped(Ledger, "_go_on", go_on)


def _loses_rows() -> AbstractContextManager[None]:
    """The lists move on past the last event of a batch without taking it in."""
    whole = SqliteTables.apply

    def apply(self: SqliteTables, records: Sequence[Record]) -> None:
        whole(self, records)
        if len(records) > 1:
            with self._lock, self._db:
                self._db.execute(
                    "DELETE FROM transactions WHERE position = ?", (records[-1].position,)
                )

    return _swapped(SqliteTables, "apply", apply)


def _bills_our_crashes() -> AbstractContextManager[None]:
    """A clock found running is billed to its end, whenever it was last seen."""

    def recover(self: Session) -> None:
        if self.is_running:
            at_ms = self.expires_at_ms
            self._clock_paused(used_ms=self.used_at(at_ms), at_ms=at_ms)

    return _swapped(Session, "recover", recover)


def _spends_reserved() -> AbstractContextManager[None]:
    """A refusal for want of credit comes only when the whole balance would not do."""
    whole = Account.reserve

    def reserve(self: Account, amount: Any, **values: Any) -> None:  # noqa: ANN401 (the account's own)
        available = self.available
        self.available = self.balance
        try:
            whole(self, amount if amount <= available else NOTHING, **values)
        finally:
            self.available = available - amount if amount <= available else available

    return _swapped(Account, "reserve", reserve)


def _never_answers() -> AbstractContextManager[None]:
    """Refused commands are not answered."""
    whole = owner_module._deliver

    def deliver(jobs: Sequence[Any]) -> None:
        whole([job for job in jobs if job.failure is None])

    return _swapped(owner_module, "_deliver", deliver)


BUGS: Mapping[str, Callable[[], AbstractContextManager[None]]] = {
    "answers before it has stored": _answers_early,
    "stores a command in two transactions": _splits_transactions,
    "forgets refunds": _forgets_refunds,
    "credits twice": _credits_twice,
    "signs a payout again": _signs_again,
    "is not fenced": _is_not_fenced,
    "keeps stale copies after a conflict": _keeps_stale_copies,
    "believes an old snapshot": _believes_snapshots,
    "loses rows of the lists": _loses_rows,
    "bills its own crashes": _bills_our_crashes,
    "opens without a reservation": _spends_reserved,
    "never answers a refusal": _never_answers,
}
