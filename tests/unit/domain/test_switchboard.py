from __future__ import annotations

from uuid import UUID

from domain.switchboard import Switchboard

SESSION_ID = UUID(int=1)


class Wire:
    """A line that is only plugged in and out."""

    async def catch_up(self) -> None: ...

    async def taken_over(self) -> None: ...

    def changed(self) -> None: ...


def test_the_newest_line_is_the_line() -> None:
    """B4."""
    board, older, newer = Switchboard(), Wire(), Wire()

    assert board.connect(SESSION_ID, older) is None
    assert board.connect(SESSION_ID, newer) is older
    assert board.line(SESSION_ID) is newer


def test_an_older_line_that_leaves_takes_nobody_with_it() -> None:
    board, older, newer = Switchboard(), Wire(), Wire()
    board.connect(SESSION_ID, older)
    board.connect(SESSION_ID, newer)

    board.disconnect(SESSION_ID, older)
    assert board.line(SESSION_ID) is newer
    board.disconnect(SESSION_ID, newer)

    assert board.line(SESSION_ID) is None


def test_sessions_do_not_share_lines() -> None:
    board, wire = Switchboard(), Wire()
    board.connect(SESSION_ID, wire)

    assert board.line(UUID(int=2)) is None
    board.disconnect(UUID(int=2), wire)
    assert board.line(SESSION_ID) is wire
