"""Which connection is spending which session now, here and in the gateway's other processes."""

from __future__ import annotations

from typing import Protocol
from uuid import UUID

from domain.record import Record

# What another process may have written about a session that its line must look at.
_TELLING = frozenset({"session.extended", "session.closed", "session.clock_resumed"})


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


class Trunk(Protocol):
    """Leads to the lines of this gateway's other processes.

    Shape:  `connected` says that a line of this session is here now, and makes the one in another
            process leave; `catch_up` makes it record what was used. Both return once it has, or
            where nobody has such a line or answers: they help billing to be exact, and it is never
            too high without them.
    Errors: none.
    Source: specs/billing.md, B4.
    """

    async def connected(self, session_id: UUID, connection_id: UUID) -> None: ...

    async def catch_up(self, session_id: UUID) -> None: ...

    def disconnected(self, session_id: UUID, connection_id: UUID) -> None: ...


class NoTrunk:
    """A `Trunk` where there is one process."""

    async def connected(self, session_id: UUID, connection_id: UUID) -> None:
        return

    async def catch_up(self, session_id: UUID) -> None:
        return

    def disconnected(self, session_id: UUID, connection_id: UUID) -> None:
        return


class Switchboard:
    """One line a session; the newest is the one, those before it are on their way out."""

    def __init__(self) -> None:
        self._trunk: Trunk = NoTrunk()
        # Oldest first: one that was told to leave stays until what it used is recorded.
        self._lines: dict[UUID, tuple[Line, ...]] = {}
        # Of the lines that took over, and are known to other processes.
        self._connection_ids: dict[UUID, UUID] = {}

    def join(self, trunk: Trunk) -> None:
        """From now on, lines in other processes are reached over this trunk."""
        self._trunk = trunk

    def line(self, session_id: UUID) -> Line | None:
        """The session's line in this process."""
        return next(reversed(self._lines.get(session_id, ())), None)

    def connect(self, session_id: UUID, line: Line) -> Line | None:
        """Put a line in place; return the one it replaces."""
        previous = self.line(session_id)
        self._lines[session_id] = (*self._lines.get(session_id, ()), line)
        return previous

    async def take_over(self, session_id: UUID, line: Line, *, connection_id: UUID) -> None:
        """Put a line in place; when this returns, an older one has recorded what it used and left.

        Whatever happens, `disconnect` the line afterwards.
        """
        older = self._lines.get(session_id, ())
        self.connect(session_id, line)
        self._connection_ids[session_id] = connection_id
        for previous in older:
            await previous.taken_over()
            self.disconnect(session_id, previous)
        await self._trunk.connected(session_id, connection_id)

    def disconnect(self, session_id: UUID, line: Line) -> None:
        """Take a line out; others of the session stay."""
        is_newest = self.line(session_id) is line
        lines = tuple(other for other in self._lines.pop(session_id, ()) if other is not line)
        if lines:
            self._lines[session_id] = lines
        if is_newest:
            connection_id = self._connection_ids.pop(session_id, None)
            if connection_id is not None:
                self._trunk.disconnected(session_id, connection_id)

    async def catch_up(self, session_id: UUID) -> None:
        """Have the session's line, wherever it is, record what was used so far."""
        lines = self._lines.get(session_id, ())
        for line in lines:
            await line.catch_up()
        if not lines:
            await self._trunk.catch_up(session_id)

    def heard(self, record: Record) -> None:
        """Something was written, by whichever process: the line it concerns looks again."""
        line = self.line(record.originator_id)
        if line is None or record.topic not in _TELLING:
            return
        # Its own start is no news to a line; another's is that it was taken over.
        own = self._connection_ids.get(record.originator_id)
        if record.topic != "session.clock_resumed" or record.fields["connection_id"] != str(own):
            line.changed()

    async def leave(self, session_id: UUID, connection_id: UUID) -> None:
        """Another process has a newer connection: the line here, if it is another one, leaves."""
        line = self.line(session_id)
        if line is not None and self._connection_ids.get(session_id) != connection_id:
            await line.taken_over()
