"""Which connection is spending which session right now, in this process."""

from __future__ import annotations

from typing import Protocol
from uuid import UUID


class Line(Protocol):
    """One live connection of a session, as the rest of the gateway may speak to it."""

    async def catch_up(self) -> None:
        """Record what was used so far, durably."""
        ...

    async def taken_over(self) -> None:
        """A newer connection of the same session has come; tell the peer and leave."""
        ...

    def changed(self) -> None:
        """The session was extended or ended; look again."""
        ...


class Switchboard:
    """At most one line a session; the newest is the one."""

    def __init__(self) -> None:
        self._lines: dict[UUID, Line] = {}

    def line(self, session_id: UUID) -> Line | None:
        return self._lines.get(session_id)

    def connect(self, session_id: UUID, line: Line) -> Line | None:
        """Put a line in place; return the one it replaces."""
        previous = self._lines.get(session_id)
        self._lines[session_id] = line
        return previous

    def disconnect(self, session_id: UUID, line: Line) -> None:
        """Take a line out, unless a newer one has its place."""
        if self._lines.get(session_id) is line:
            del self._lines[session_id]
