"""The key of a log that is kept in PostgreSQL."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from adapters.__main__ import main
from adapters.keys import check_signature
from adapters.log_keys import load_log_keys
from adapters.store.lease import Leases
from adapters.store.postgres import PostgresRecorder
from domain.checkpoint import open_head

pytestmark = pytest.mark.postgres


def rotated(folder: Path, database: str) -> int:
    return main(["log", "rotate-key", "--data", str(folder), "--database", database])


def test_the_head_in_the_database_gets_the_new_signature(tmp_path: Path, database: str) -> None:
    old = load_log_keys(tmp_path, name="gateway.test").key

    assert rotated(tmp_path, database) == 0

    new = load_log_keys(tmp_path, name="").key
    with closing(PostgresRecorder(database)) as recorder:
        ((_, note),) = recorder.checkpoints()
    assert open_head(note, keys=[old, new], check=check_signature).signers == (old, new)


def test_a_gateway_on_another_machine_is_in_the_way(
    tmp_path: Path, database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    key = load_log_keys(tmp_path, name="gateway.test").key
    with closing(PostgresRecorder(database)), closing(Leases(database)) as leases:
        assert leases.acquire("owner", address="elsewhere") is not None

        assert rotated(tmp_path, database) == 1

    assert "a gateway writes to this database (elsewhere): stop them all" in capsys.readouterr().err
    assert load_log_keys(tmp_path, name="").key == key


def test_a_database_that_is_not_there_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    load_log_keys(tmp_path, name="gateway.test")

    assert rotated(tmp_path, "postgresql://nobody@127.0.0.1:9/none") == 1
    assert capsys.readouterr().err.startswith("cannot do it: ")
