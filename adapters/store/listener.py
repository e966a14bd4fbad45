"""Hears what other processes say through the database: the ledger has grown, a line is asked."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import LiteralString

import psycopg

from adapters.store import postgres_schema as sql
from adapters.store.postgres_connections import Connection, connect

GROWN = "ledger_events"
ASKED = "payphone_lines"
# A word that was lost with a connection is made good by looking.
POLL_S = 1.0
RETRY_S = 0.5
_LISTEN: LiteralString = "LISTEN ledger_events; LISTEN payphone_lines"

log = logging.getLogger(__name__)


class Listener:
    """One thread with one connection. Both callbacks come from it and must not raise.

    `grown(head)` says how far the ledger reaches: at the start, when it was told, and once a second
    in any case. `asked(text)` is what another process said about lines.
    """

    def __init__(
        self, url: str, *, grown: Callable[[int], None], asked: Callable[[str], None]
    ) -> None:
        self._url = url
        self._grown = grown
        self._asked = asked
        self._closing = threading.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="ledger-listener", daemon=True)
        self._thread.start()

    def wait_ready(self, timeout_s: float) -> bool:
        """Whether it hears, within that time."""
        return self._ready.wait(timeout_s)

    def close(self) -> None:
        self._closing.set()
        self._thread.join()

    def _serve(self) -> None:
        while not self._closing.is_set():
            try:
                with connect(self._url) as connection:
                    self._listen(connection)
            except psycopg.Error as failure:
                self._ready.clear()
                log.warning("not listening to the ledger", extra={"failure": str(failure)})
                self._closing.wait(RETRY_S)

    def _listen(self, connection: Connection) -> None:
        connection.execute(_LISTEN)
        self._ready.set()
        while not self._closing.is_set():
            ((head,),) = connection.execute(sql.HEAD).fetchall()
            self._grown(head or 0)
            for note in connection.notifies(timeout=POLL_S, stop_after=1):
                self._take(note)

    def _take(self, note: psycopg.Notify) -> None:
        if note.channel == ASKED:
            self._asked(note.payload)
        elif note.payload.isdecimal():
            self._grown(int(note.payload))
