"""Every event once and in order to whoever follows in this process, whichever process stored it."""

from __future__ import annotations

import threading
from collections.abc import Callable

from domain.record import Record

READ_MAX = 5_000

Sink = Callable[[tuple[Record, ...]], None]


class Feed:
    """Joins what this process stored itself with what is read of others. Any thread may call.

    A sink is called under a lock, so that no two calls of it overlap, and must not call back.
    """

    def __init__(
        self, read: Callable[[int, int], tuple[Record, ...]], *, position: int, sink: Sink
    ) -> None:
        self._read = read
        self._position = position
        self._sink = sink
        self._lock = threading.Lock()

    @property
    def position(self) -> int:
        """The last event the sink has seen."""
        return self._position

    def take(self, records: tuple[Record, ...]) -> None:
        """Pass on what was just stored, and first whatever was stored before it."""
        with self._lock:
            self._reach(records[0].position - 1)
            news = tuple(r for r in records if r.position > self._position)
            if news:
                self._pass(news)

    def reach(self, head: int) -> None:
        """Read on until `head`; nothing where that was seen already."""
        if self._position < head:
            with self._lock:
                self._reach(head)

    def _reach(self, head: int) -> None:
        while self._position < head:
            records = self._read(self._position, min(READ_MAX, head - self._position))
            if not records:
                return
            self._pass(records)

    def _pass(self, records: tuple[Record, ...]) -> None:
        self._sink(records)
        self._position = records[-1].position
