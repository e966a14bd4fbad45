"""What a connection that listens or speaks needs of the process it is in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from domain.ports.clock import Clock
from domain.ports.keys import KeyReader, SessionKey
from domain.ports.speech import Synthesizer, Transcriber
from domain.session import Session
from domain.switchboard import Line

Change = Callable[..., object]


class LiveSessions(Protocol):
    """Joins connections to the sessions they spend.

    Shape:  `take` gives a connection its session once every older connection of it has left;
            `change` applies a method of `Session` to it, with `at_ms`, and answers how it stands
            now (one that is over stays as it is); `settle_spent` closes it if nothing is left;
            `let_go` ends what `take` began. What is answered is a copy.
    Units:  ms.
    Errors: `take` raises `SessionOverError` where nothing is left; `BusyError` and
            `LedgerDownError` where the ledger does not answer, from `take` with the line let go.
    Source: specs/billing.md, B4 and B8.
    """

    async def take(self, key: SessionKey, line: Line, *, connection_id: UUID) -> Session: ...

    async def change(self, session_id: UUID, change: Change, *, at_ms: int) -> Session: ...

    async def settle_spent(self, session_id: UUID) -> Session: ...

    def let_go(self, session_id: UUID, line: Line) -> None: ...

    async def language(self, session_id: UUID) -> str:
        """The language the session was opened with, or nothing."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Booth:
    """The same for a gateway that speaks for itself and for a speech server far from the ledger."""

    sessions: LiveSessions
    keys: KeyReader
    clock: Clock
    transcriber: Transcriber
    synthesizer: Synthesizer
    heartbeat_ms: int
    new_id: Callable[[], UUID]
