"""Which stored ledger a command reads, and how it is opened: never to write."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import cast

from adapters.cli.evidence import UsageError
from adapters.config import ConfigError, Settings
from adapters.store.sqlite import sqlite_environment
from adapters.store.verify import LinedLog
from domain.ledger import Ledger


def add_database(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--database",
        metavar="URL",
        default=os.environ.get("PAYPHONE_DATABASE", ""),
        help="where the ledger is, if not in the folder (default: PAYPHONE_DATABASE)",
    )


def settings_of(options: argparse.Namespace) -> Settings:
    """The settings of a gateway on this folder and database; `UsageError` for a bad URL."""
    try:
        return Settings.from_environ(
            {
                "PAYPHONE_DATA": str(options.data),
                "PAYPHONE_DATABASE": options.database,
                "PAYPHONE_SANDBOX": "1",
            }
        )
    except ConfigError as problems:
        raise UsageError("--database: expected a URL (postgresql://...)") from problems


@contextmanager
def opened(options: argparse.Namespace) -> Iterator[LinedLog]:
    """The ledger of `--database`, or of `--data` where none is given; nothing of it is changed."""
    database = settings_of(options).storage.database
    environment = _in_database(database) if database else _in_folder(options.data)
    with Ledger(env={**environment, "CREATE_TABLE": "no"}) as ledger:
        yield cast("LinedLog", ledger.recorder)


def _in_database(url: str) -> dict[str, str]:
    if find_spec("psycopg") is None:
        raise UsageError("reading PostgreSQL needs its driver: pip install 'payphone[postgres]'")
    from adapters.store.postgres import postgres_environment  # noqa: PLC0415 (an optional extra)

    return postgres_environment(url)


def _in_folder(folder: Path) -> dict[str, str]:
    path = folder / "ledger.db"
    if not path.is_file():
        raise UsageError(
            f"no ledger: {path} (give the gateway's data folder with --data, or --database)"
        )
    return sqlite_environment(f"file:{path}?mode=ro")
