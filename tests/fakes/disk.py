"""Stands between a recorder and its file: a write can wait, fail, or be beaten by another's."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from eventsourcing.persistence import IntegrityError, OperationalError, StoredEvent

from adapters.store.sqlite import LedgerRecorder


class Disk:
    """Faults, each as it is set until it is set back; `commits` counts the events of each write.

    `full`: no write succeeds. `beaten`: so many writes meet a conflict first. `forgets`: so many
    writes happen and are said to have failed. While `gate` is clear, writes wait; `reached` is set
    when one does.
    """

    def __init__(self, recorder: LedgerRecorder) -> None:
        self.full = False
        self.beaten = 0
        self.forgets = 0
        self.commits: list[int] = []
        self.gate = threading.Event()
        self.gate.set()
        self.reached = threading.Event()
        self._insert = recorder.insert_events
        recorder.insert_events = self._guarded  # type: ignore[method-assign]  # the point of it

    def _guarded(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int] | None:  # noqa: ANN401 (the library's signature)
        self.reached.set()
        assert self.gate.wait(timeout=10), "a test forgot to open the gate"
        if self.full:
            raise OperationalError("database or disk is full")
        if self.beaten:
            self.beaten -= 1
            raise IntegrityError("UNIQUE constraint failed")
        positions = self._insert(stored_events, **kwargs)
        self.commits.append(len(stored_events))
        if self.forgets:
            self.forgets -= 1
            raise OperationalError("disk I/O error")
        return positions
