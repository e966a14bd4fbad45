from __future__ import annotations

import json
from uuid import UUID

import pytest

from domain.errors import LedgerDownError
from domain.record import Record
from domain.switchboard import Switchboard

SESSION_ID = UUID(int=1)
MINE, OTHERS = UUID(int=2), UUID(int=3)


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


class Stuck(Wire):
    """A line that cannot record what it used yet."""

    caught_up = 0

    async def taken_over(self) -> None:
        raise LedgerDownError(retry_after_ms=1)

    async def catch_up(self) -> None:
        self.caught_up += 1


async def test_a_line_that_could_not_leave_is_still_asked_what_it_used() -> None:
    """B4: or its clock would run on for whoever ends the session meanwhile."""
    board, older, newer = Switchboard(), Stuck(), Wire()
    board.connect(SESSION_ID, older)

    with pytest.raises(LedgerDownError):
        await board.take_over(SESSION_ID, newer, connection_id=MINE)
    board.disconnect(SESSION_ID, newer)
    await board.catch_up(SESSION_ID)

    assert board.line(SESSION_ID) is older
    assert older.caught_up == 1


def test_sessions_do_not_share_lines() -> None:
    board, wire = Switchboard(), Wire()
    board.connect(SESSION_ID, wire)

    assert board.line(UUID(int=2)) is None
    board.disconnect(UUID(int=2), wire)
    assert board.line(SESSION_ID) is wire


class Ear(Wire):
    """A line that writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    async def catch_up(self) -> None:
        self.told.append("catch up")

    async def taken_over(self) -> None:
        self.told.append("taken over")

    def changed(self) -> None:
        self.told.append("changed")


class Trunk:
    """Other processes, that write down what they are asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, UUID | None]] = []

    async def connected(self, session_id: UUID, connection_id: UUID) -> None:
        self.asked.append(("connected", connection_id))

    async def catch_up(self, session_id: UUID) -> None:
        self.asked.append(("catch up", None))

    def disconnected(self, session_id: UUID, connection_id: UUID) -> None:
        self.asked.append(("disconnected", connection_id))


def written(topic: str, **fields: str) -> Record:
    return Record(
        position=1,
        originator_id=SESSION_ID,
        originator_version=1,
        topic=topic,
        state=json.dumps(fields).encode(),
    )


async def test_a_line_that_takes_over_makes_those_here_and_elsewhere_leave() -> None:
    """B4."""
    board, trunk, older, newer = Switchboard(), Trunk(), Ear(), Ear()
    board.join(trunk)
    await board.take_over(SESSION_ID, older, connection_id=OTHERS)

    await board.take_over(SESSION_ID, newer, connection_id=MINE)
    board.disconnect(SESSION_ID, newer)

    assert older.told == ["taken over"]
    assert trunk.asked == [("connected", OTHERS), ("connected", MINE), ("disconnected", MINE)]


async def test_a_line_is_caught_up_where_it_is() -> None:
    board, trunk, line = Switchboard(), Trunk(), Ear()
    board.join(trunk)

    await board.catch_up(SESSION_ID)
    board.connect(SESSION_ID, line)
    await board.catch_up(SESSION_ID)

    assert trunk.asked == [("catch up", None)]
    assert line.told == ["catch up"]


@pytest.mark.parametrize(
    ("record", "is_news"),
    [
        (written("session.extended"), True),
        (written("session.closed"), True),
        (written("session.clock_resumed", connection_id=str(OTHERS)), True),
        (written("session.clock_resumed", connection_id=str(MINE)), False),
        # A beat that woke its own line would never end.
        (written("session.clock_observed"), False),
        (written("session.clock_paused"), False),
    ],
)
async def test_a_line_hears_what_others_wrote_and_not_what_it_did(
    record: Record, *, is_news: bool
) -> None:
    board, line = Switchboard(), Ear()
    await board.take_over(SESSION_ID, line, connection_id=MINE)

    board.heard(record)

    assert line.told == (["changed"] if is_news else [])


async def test_a_line_leaves_for_a_newer_connection_and_not_for_its_own() -> None:
    board, line = Switchboard(), Ear()
    await board.take_over(SESSION_ID, line, connection_id=MINE)

    await board.leave(SESSION_ID, MINE)
    assert line.told == []
    await board.leave(SESSION_ID, OTHERS)

    assert line.told == ["taken over"]
