from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from uuid import UUID

import pytest

from adapters.fleet.outbox import Outbox
from adapters.fleet.words import Welcome
from domain.usage import Usage

ONE, TWO = UUID(int=1), UUID(int=2)


def usage(session_id: UUID = ONE, to_ms: int = 2) -> Usage:
    return Usage(
        session_id=session_id, connection_id=UUID(int=7), from_ms=1, to_ms=to_ms, runs=True
    )


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    with closing(Outbox(tmp_path / "outbox.db")) as opened:
        yield opened


async def test_reports_outlive_the_process_and_keep_their_order(tmp_path: Path) -> None:
    path, reports = tmp_path / "outbox.db", [usage(to_ms=n) for n in range(2, 12)]
    with closing(Outbox(path)) as outbox:
        await asyncio.gather(*(outbox.add(report) for report in reports))
        await outbox.sent([number for number, _ in outbox.batch(3)])

    with closing(Outbox(path)) as outbox:
        await asyncio.wait_for(outbox.wait(), timeout=1)

        assert [report for _, report in outbox.batch(100)] == reports[3:]


async def test_what_was_sent_is_gone_for_good(tmp_path: Path, outbox: Outbox) -> None:
    await outbox.add(usage())

    await outbox.sent([number for number, _ in outbox.batch(10)])

    assert len(outbox) == 0
    with closing(Outbox(tmp_path / "outbox.db")) as again:
        assert again.batch(10) == []


async def test_draining_a_session_waits_for_what_is_left_of_it_alone(outbox: Outbox) -> None:
    await outbox.add(usage(ONE))
    await outbox.add(usage(TWO))
    waiting = asyncio.create_task(outbox.drained(ONE, wait_s=5))
    await asyncio.sleep(0)

    await outbox.sent([outbox.batch(1)[0][0]])

    assert await waiting
    assert len(outbox) == 1
    assert not await outbox.drained(TWO, wait_s=0.01)


async def test_a_report_that_cannot_be_kept_fails_and_the_next_is_kept(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.db")
    outbox.close()

    with pytest.raises(Exception, match="closed"):
        await outbox.add(usage())


def test_the_gateway_is_known_at_the_next_start(tmp_path: Path, outbox: Outbox) -> None:
    assert outbox.known_gateway() is None
    outbox.keep_welcome(Welcome(now_ms=1, issuer="gateway.test", public_key="aa"))

    with closing(Outbox(tmp_path / "outbox.db")) as again:
        assert again.known_gateway() == ("gateway.test", "aa")
