"""What the gateway may expect of whoever keeps the names of sessions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from uuid import UUID

import pytest

from adapters.store.postgres_details import PostgresDetails
from adapters.store.private import SqliteDetails
from domain.errors import LedgerDownError
from domain.ports.private import PrivateDetails, SessionDetails
from tests.fakes.cluster import Cluster
from tests.fakes.private import MemoryDetails

ONE, TWO, THREE = UUID(int=1), UUID(int=2), UUID(int=3)
NAMES = SessionDetails(
    server_url="http://stt.test",
    language="en",
    room_name='a "room" \u2603',
    identity="who",
    metadata="{}",
    role="agent",
)


@pytest.fixture(params=["memory", "sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def details(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PrivateDetails]:
    match request.param:
        case "memory":
            yield MemoryDetails()
        case "sqlite":
            with closing(SqliteDetails(tmp_path / "private.db")) as opened:
                yield opened
        case _:
            with closing(PostgresDetails(request.getfixturevalue("database"))) as kept:
                yield kept


async def test_what_was_put_is_found_and_nothing_else(details: PrivateDetails) -> None:
    await details.put({ONE: NAMES, TWO: SessionDetails(server_url="")})

    assert await details.find([ONE, THREE]) == {ONE: NAMES}
    assert await details.find([]) == {}


async def test_a_second_put_replaces_the_first(details: PrivateDetails) -> None:
    await details.put({ONE: NAMES})
    await details.put({ONE: SessionDetails(server_url="elsewhere")})

    assert await details.find([ONE]) == {ONE: SessionDetails(server_url="elsewhere")}


async def test_what_was_deleted_is_gone_and_deleting_nothing_is_no_error(
    details: PrivateDetails,
) -> None:
    await details.put({ONE: NAMES, TWO: NAMES})

    await details.delete([ONE, THREE])

    assert await details.find([ONE, TWO]) == {TWO: NAMES}


async def test_details_in_a_file_outlive_the_process(tmp_path: Path) -> None:
    with closing(SqliteDetails(tmp_path / "private.db")) as before:
        await before.put({ONE: NAMES})

    with closing(SqliteDetails(tmp_path / "private.db")) as after:
        assert await after.find([ONE]) == {ONE: NAMES}


@pytest.mark.postgres
async def test_a_database_that_is_down_says_so_and_is_used_again_when_it_is_back(
    server: Cluster, database: str
) -> None:
    with closing(PostgresDetails(database)) as details:
        await details.put({ONE: NAMES})
        server.kill()
        try:
            with pytest.raises(LedgerDownError):
                await details.find([ONE])
        finally:
            server.start()

        assert await details.find([ONE]) == {ONE: NAMES}
