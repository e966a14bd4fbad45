"""Lists and statements on the command line, over a ledger on disk."""

from __future__ import annotations

import json
import shutil
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from eventsourcing.persistence import StoredEvent

from adapters.store.exclusive import held
from adapters.store.postgres import PostgresRecorder
from domain.account import Account
from projections.sqlite import SqliteTables
from tests.contract.focus import problems, read
from tests.fakes.busy import Busy
from tests.fakes.log import SIGNER_KEY
from tests.fakes.stored_house import ledger_at, merkle_log
from tests.unit.adapters.cli.test_ledger import Screen, payphone, tamper

__all__ = ["payphone"]

RECORDS = tuple(Busy(accounts=2, overlap=2).records(80))
ACCOUNT = Account.create_id("evm", f"0x{0:040x}")
# Busy's clock begins at 2023-11-14T22:13:20Z.
PERIOD = ("--from", "2023-11-14", "--to", "2023-11-15")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ledger") / "data"
    folder.mkdir()
    with ledger_at(folder) as (_, recorder):
        recorder.insert_events(
            [StoredEvent(r.originator_id, r.originator_version, r.topic, r.state) for r in RECORDS]
        )
        log = merkle_log(recorder)
        log.checkpoint()
    (folder / "log.pub").write_text(SIGNER_KEY.text + "\n")
    return folder


@pytest.fixture
def data(kept: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(kept, tmp_path / "data"))


def test_a_ledger_without_lists_says_how_to_make_them(data: Path, payphone: Screen) -> None:
    text = payphone("ledger", "balances", "--data", data, status=2)

    assert "payphone ledger rebuild" in text


def test_lists_are_rebuilt_and_read(data: Path, payphone: Screen) -> None:
    text = payphone("ledger", "rebuild", "--data", data)
    assert f"rebuilt from {len(RECORDS)} events" in text

    balances = payphone("ledger", "balances", "--data", data)
    usage = payphone("ledger", "usage", "--data", data, *PERIOD)
    reservations = payphone("ledger", "reservations", "--data", data, "--account", ACCOUNT)

    assert f"as of event {len(RECORDS)}" in balances
    assert "all wallets:available" in balances
    assert "2023-11-14" in usage
    assert "stt" in reservations
    assert str(ACCOUNT) in balances
    assert str(ACCOUNT) in reservations


def test_a_folder_in_use_is_not_rebuilt(data: Path, payphone: Screen) -> None:
    with held(data):
        text = payphone("ledger", "rebuild", "--data", data, status=1)

    assert "not rebuilt:" in text
    assert "is in use by process" in text


def test_lists_that_are_behind_say_so(data: Path, payphone: Screen) -> None:
    tables = SqliteTables(data / "views.db")
    tables.apply(RECORDS[:20])
    tables.close()

    text = payphone("ledger", "balances", "--data", data)

    assert f"as of event 20, {len(RECORDS) - 20} behind" in text


def test_a_statement_is_recomputed_from_the_log(data: Path, payphone: Screen) -> None:
    out = data / "statement.json"
    payphone("ledger", "statement", "--data", data, "--account", ACCOUNT, *PERIOD, "--out", out)

    made = json.loads(out.read_text())
    assert made["statement"]["account"]["id"] == str(ACCOUNT)
    assert made["log"]["checkpoint"].startswith("gateway.test\n")
    assert made["log"]["events"] == len(RECORDS)
    kinds = {line["kind"] for line in made["statement"]["lines"]}
    assert kinds == {"purchase", "reserve", "charge", "refund"}


def test_a_wallet_names_its_account(data: Path, payphone: Screen) -> None:
    wallet = f"evm:0X{0:040X}"
    out = data / "statement.csv"

    payphone(
        *("ledger", "statement", "--data", data, "--wallet", wallet, *PERIOD),
        *("--format", "focus", "--out", out),
    )

    text = out.read_bytes().decode()
    assert problems(text) == []
    assert {row["BillingAccountId"] for row in read(text)} == {str(ACCOUNT)}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (PERIOD, "give the account with --account ID or --wallet chain:address"),
        (("--wallet", "0xabc", *PERIOD), "--wallet is chain:address"),
        (("--wallet", "evm:0xabc", *PERIOD), "no account evm:0xabc"),
        (("--account", ACCOUNT), "give the period: --from 2026-10-01 --to 2026-11-01"),
        (("--account", ACCOUNT, "--from", "May", "--to", "2023-11-15"), "expected a date"),
        (
            ("--account", ACCOUNT, "--from", "2023-11-15", "--to", "2023-11-14"),
            "--to must be later than --from",
        ),
    ],
)
def test_what_cannot_be_told_says_what_can(
    data: Path, payphone: Screen, arguments: tuple[object, ...], message: str
) -> None:
    assert message in payphone("ledger", "statement", "--data", data, *arguments, status=2)


def test_no_statement_is_made_from_a_ledger_that_somebody_was_at(
    data: Path, payphone: Screen
) -> None:
    tamper(data, "UPDATE stored_events SET state = replace(state, '1000000000', '1000000001')")

    text = payphone("ledger", "statement", "--data", data, "--account", ACCOUNT, *PERIOD, status=1)

    assert "BROKEN" in text


@pytest.fixture
def url(database: str) -> str:
    with closing(PostgresRecorder(database)) as recorder:
        recorder.insert_events(
            [StoredEvent(r.originator_id, r.originator_version, r.topic, r.state) for r in RECORDS]
        )
    return database


@pytest.mark.postgres
def test_lists_in_a_database_are_rebuilt_and_read(
    url: str, tmp_path: Path, payphone: Screen
) -> None:
    where = ("--database", url, "--data", tmp_path)
    assert "payphone ledger rebuild" in payphone("ledger", "usage", *where, status=2)

    text = payphone("ledger", "rebuild", *where)

    assert f"rebuilt from {len(RECORDS)} events" in text
    assert "all wallets:reserved" in payphone("ledger", "balances", *where)
    assert "stt" in payphone("ledger", "usage", *where)
    assert "stt" in payphone("ledger", "reservations", *where)


@pytest.mark.postgres
def test_a_statement_from_a_database_is_the_one_from_a_folder(
    url: str, data: Path, tmp_path: Path, payphone: Screen
) -> None:
    asked = ("ledger", "statement", "--account", ACCOUNT, *PERIOD)
    payphone(*asked, "--data", data, "--out", tmp_path / "folder.json")
    payphone(*asked, "--database", url, "--data", tmp_path, "--out", tmp_path / "database.json")

    folder, database = (
        json.loads((tmp_path / f"{name}.json").read_text()) for name in ("folder", "database")
    )
    assert folder["statement"] == database["statement"]
    assert database["log"]["checkpoint"] is None


@pytest.mark.postgres
def test_a_database_that_is_being_rebuilt_is_left_alone(
    url: str, tmp_path: Path, payphone: Screen
) -> None:
    with psycopg.connect(url) as other:
        other.execute("SELECT pg_advisory_lock(1346459984, 3)")

        text = payphone("ledger", "rebuild", "--database", url, "--data", tmp_path, status=1)

    assert "not rebuilt: another process is rebuilding these lists" in text
