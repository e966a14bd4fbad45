"""Writes snapshots behind the owner's back: late, in batches, and never in anybody's way."""

from __future__ import annotations

import logging
import threading
from uuid import UUID

from eventsourcing.persistence import AggregateRecorder, StoredEvent

from domain.aggregate import LedgerAggregate
from domain.snapshot import SNAPSHOT_EVENTS, SnapshotError, SnapshotStore, restore, take

# A busy account gets a snapshot at most once in this time, whatever happens to it.
PAUSE_S = 1.0
WAITING_MAX = 10_000

log = logging.getLogger(__name__)


class SnapshotKeeper:
    """One thread that keeps what the owner shows it; its failures cost time at a cold load only.

    It is shown aggregates that nobody changes any more, since a command changes copies.
    """

    def __init__(self, store: SnapshotStore, events: AggregateRecorder) -> None:
        self._store = store
        self._select_events = events.select_events
        self._waiting: dict[UUID, LedgerAggregate] = {}
        self._moved = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._serve, name="snapshots", daemon=True)
        self._thread.start()

    def show(self, aggregate: LedgerAggregate, *, known: int) -> None:
        """An aggregate that had `known` events when it was shown before; 0 if it was just read."""
        if aggregate.version // SNAPSHOT_EVENTS == known // SNAPSHOT_EVENTS:
            return
        with self._moved:
            if len(self._waiting) < WAITING_MAX:
                self._waiting[aggregate.id] = aggregate
                self._moved.notify()

    def close(self) -> None:
        """Write what was shown, then stop."""
        with self._moved:
            self._closing = True
            self._moved.notify()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            with self._moved:
                while not self._waiting and not self._closing:
                    self._moved.wait()
                if not self._waiting:
                    return
                self._moved.wait_for(lambda: self._closing, PAUSE_S)
                shown, self._waiting = self._waiting, {}
            try:
                self._keep(list(shown.values()))
            except Exception:
                # Whatever is wrong with a snapshot, the events are there: the ledger goes on.
                log.exception("snapshots not written")

    def _keep(self, shown: list[LedgerAggregate]) -> None:
        made = []
        for aggregate in shown:
            known = self._store.snapshot(aggregate.id)
            if known is None or not self._is_good(known, aggregate):
                (last,) = self._events(aggregate.id, aggregate.version)
                made.append(take(aggregate, last))
        if made:
            self._store.add_snapshots(made)

    def _is_good(self, known: StoredEvent, aggregate: LedgerAggregate) -> bool:
        """Whether this snapshot is near enough; one that cannot be used is said and replaced."""
        if aggregate.version - known.originator_version >= SNAPSHOT_EVENTS:
            return False
        try:
            restore(known, next(iter(self._events(aggregate.id, known.originator_version)), None))
        except SnapshotError as unusable:
            log.warning(
                "snapshot replaced",
                extra={"aggregate": str(aggregate.id), "why": str(unusable)},
            )
            return False
        return True

    def _events(self, aggregate_id: UUID, version: int) -> list[StoredEvent]:
        return list(self._select_events(aggregate_id, gt=version - 1, lte=version))
