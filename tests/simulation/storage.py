"""What outlives a process: the stored ledger, and all that can go wrong on the way to it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from eventsourcing.persistence import IntegrityError, OperationalError, StoredEvent

from adapters.store.fence import FencedError
from adapters.store.sqlite import LedgerRecorder, sqlite_environment
from domain.ledger import Ledger


class Died(BaseException):
    """The process is gone at this instruction; nothing of it runs on."""


@dataclass(frozen=True, slots=True)
class Commit:
    """One transaction: its positions, the epoch of whoever wrote it, and the one that ran."""

    first: int
    last: int
    epoch: int
    running: int


class Storage:
    """A real store, opened by one process after the other, and the faults of its disk.

    `full`: no write succeeds. `conflicts`: so many writes meet another's first. `forgets`: so many
    writes happen and are said to have failed. `dies`: at the next write, `before` or `after` it,
    the process is gone. `lies`: so many snapshots read are stale, missing, damaged or another's.
    """

    def __init__(self, dice: random.Random) -> None:
        self.epoch = 0
        self.checks_epoch = True
        self.commits: list[Commit] = []
        self._dice = dice
        self._environment = sqlite_environment(f"file:{uuid4().hex}?mode=memory&cache=shared")
        self._kept: dict[UUID, list[StoredEvent]] = {}
        self.heal()
        # Held open, since a ledger in memory lives as long as somebody looks at it.
        self.watched = Ledger(env=self._environment)

    @property
    def recorder(self) -> LedgerRecorder:
        """The onlooker's, without faults."""
        assert isinstance(self.watched.recorder, LedgerRecorder)
        return self.watched.recorder

    def heal(self) -> None:
        """No faults from here on."""
        self.full = False
        self.conflicts = self.forgets = self.lies = 0
        self.dies = ""

    def take_over(self) -> Ledger:
        """The ledger for a new process; whoever had it before can write no more."""
        self.epoch += 1
        ledger = Ledger(env=self._environment)
        assert isinstance(ledger.recorder, LedgerRecorder)
        self._stand_between(ledger.recorder, self.epoch)
        return ledger

    def close(self) -> None:
        self.watched.close()

    def _stand_between(self, recorder: LedgerRecorder, epoch: int) -> None:
        insert, add, read = recorder.insert_events, recorder.add_snapshots, recorder.snapshot

        def insert_events(events: Sequence[StoredEvent], **_: Any) -> Sequence[int]:  # noqa: ANN401 (the library's signature)
            self._fail_before(epoch)
            positions = insert(events)
            self.commits.append(Commit(positions[0], positions[-1], epoch, self.epoch))
            self._fail_after()
            return positions

        def add_snapshots(snapshots: Sequence[StoredEvent]) -> None:
            for made in snapshots:
                assert isinstance(made.originator_id, UUID)
                self._kept.setdefault(made.originator_id, []).append(made)
            add(snapshots)

        def snapshot(originator_id: UUID) -> StoredEvent | None:
            if not self.lies:
                return read(originator_id)
            self.lies -= 1
            return self._lie(originator_id)

        recorder.insert_events = insert_events  # type: ignore[method-assign, assignment]  # the point of it
        recorder.add_snapshots = add_snapshots  # type: ignore[method-assign]  # the point of it
        recorder.snapshot = snapshot  # type: ignore[method-assign]  # the point of it

    def _fail_before(self, epoch: int) -> None:
        if self.dies == "before":
            raise Died
        if self.checks_epoch and epoch != self.epoch:
            raise FencedError(f"epoch {epoch} is over, {self.epoch} runs")
        if self.full:
            raise OperationalError("database or disk is full")
        if self.conflicts:
            self.conflicts -= 1
            raise IntegrityError("UNIQUE constraint failed")

    def _fail_after(self) -> None:
        if self.dies == "after":
            raise Died
        if self.forgets:
            self.forgets -= 1
            raise OperationalError("disk I/O error")

    def _lie(self, originator_id: UUID) -> StoredEvent | None:
        """A snapshot as it may be found: old, cut short, another's, or none."""
        own = self._kept.get(originator_id, [])
        others = [kept[-1] for other, kept in self._kept.items() if other != originator_id]
        match self._dice.choice(("none", "stale", "cut", "another's")):
            case "stale" if own:
                return self._dice.choice(own)
            case "cut" if own:
                last = own[-1]
                return StoredEvent(
                    originator_id=originator_id,
                    originator_version=last.originator_version,
                    topic=last.topic,
                    state=last.state[: self._dice.randrange(len(last.state))],
                )
            case "another's" if others:
                other = self._dice.choice(others)
                return StoredEvent(
                    originator_id=originator_id,
                    originator_version=other.originator_version,
                    topic=other.topic,
                    state=other.state,
                )
        return None
