from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from uuid import UUID

import pytest

from adapters.store.private import SqliteDetails
from domain.ports.private import SessionDetails

ONE, TWO, THREE = UUID(int=1), UUID(int=2), UUID(int=3)
NAMES = SessionDetails(
    server_url="http://stt.test",
    language="en",
    room_name='a "room" \u2603',
    identity="who",
    metadata="{}",
    role="agent",
)


@pytest.fixture
def details(tmp_path: Path) -> Iterator[SqliteDetails]:
    with closing(SqliteDetails(tmp_path / "private.db")) as opened:
        yield opened


async def test_what_was_put_is_found_and_nothing_else(details: SqliteDetails) -> None:
    await details.put({ONE: NAMES, TWO: SessionDetails(server_url="")})

    assert await details.find([ONE, THREE]) == {ONE: NAMES}
    assert await details.find([]) == {}


async def test_a_second_put_replaces_the_first(details: SqliteDetails) -> None:
    await details.put({ONE: NAMES})
    await details.put({ONE: SessionDetails(server_url="elsewhere")})

    assert await details.find([ONE]) == {ONE: SessionDetails(server_url="elsewhere")}


async def test_what_was_deleted_is_gone_and_deleting_nothing_is_no_error(
    details: SqliteDetails,
) -> None:
    await details.put({ONE: NAMES, TWO: NAMES})

    await details.delete([ONE, THREE])

    assert await details.find([ONE, TWO]) == {TWO: NAMES}


async def test_details_outlive_the_process(tmp_path: Path) -> None:
    with closing(SqliteDetails(tmp_path / "private.db")) as before:
        await before.put({ONE: NAMES})

    with closing(SqliteDetails(tmp_path / "private.db")) as after:
        assert await after.find([ONE]) == {ONE: NAMES}
