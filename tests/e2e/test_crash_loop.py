"""PostgreSQL and the ledger process die under load; nothing acknowledged is lost."""

from __future__ import annotations

import random

import pytest

from tests.crash.judge import Judge
from tests.crash.loop import crash_postgres, crash_sqlite
from tests.fakes.cluster import cluster

SERVER_KILLS = 20
FILE_KILLS = 10


@pytest.mark.postgres
def test_no_acknowledged_command_is_lost_when_postgres_or_its_writer_dies() -> None:
    dice = random.Random(1)  # noqa: S311 (a loop wants repeatable dice)

    with cluster() as server:
        tally = crash_postgres(SERVER_KILLS, server, dice, lambda _done: None)

    assert tally.kills.total() == SERVER_KILLS
    assert set(tally.kills) == {"server", "ledger process"}
    assert tally.acknowledged > SERVER_KILLS
    assert tally.lost == 0


def test_no_acknowledged_command_is_lost_when_the_process_with_the_file_dies() -> None:
    dice = random.Random(1)  # noqa: S311 (a loop wants repeatable dice)

    tally = crash_sqlite(FILE_KILLS, dice, lambda _done: None)

    assert tally.acknowledged > FILE_KILLS
    assert tally.lost == 0


def test_an_answer_for_what_is_not_stored_would_be_counted(tmp_path: object) -> None:
    judge = Judge(f"{tmp_path}/ledger.db")

    judge.look()

    whole = b'[["00000000-0000-4000-8000-000000000001", 1, "00"]]\n'
    assert judge.lost(whole + b'[["half a li') == (1, 1)
    judge.close()
