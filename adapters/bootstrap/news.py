"""Who hears what was written to the ledger, by whichever process."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from adapters.bootstrap.parts import Told
from adapters.fleet.hub import Fleet
from domain.record import Record
from domain.session import Session
from domain.switchboard import Switchboard

_CLOSED = Session.Closed.TOPIC


def teller(switchboard: Switchboard, fleet: Fleet, loop: asyncio.AbstractEventLoop) -> Told:
    """Let live lines hear what was written about their sessions, in the loop they live in.

    Speech servers hear which sessions are over, whoever served them.
    """

    def told(records: tuple[Record, ...]) -> None:
        news = [
            r
            for r in records
            if r.topic == _CLOSED or switchboard.line(r.originator_id) is not None
        ]
        if news:
            # A loop that was closed meanwhile has no lines.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(_hear, switchboard, fleet, news)

    return told


def _hear(switchboard: Switchboard, fleet: Fleet, records: Sequence[Record]) -> None:
    for record in records:
        switchboard.heard(record)
        if record.topic == _CLOSED:
            fleet.over(record)
