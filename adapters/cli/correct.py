"""`payphone correct`: put an account right by a further entry.

A ledger in a folder must belong to a gateway that is stopped; in a database it may be running.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path
from uuid import UUID, uuid4

from adapters.bootstrap import STARTING_PROBLEMS, idle_books
from adapters.cli.evidence import UsageError
from adapters.cli.stored import add_database, settings_of
from adapters.clock import SystemClock
from adapters.config import Settings
from domain.account import Account
from domain.errors import GatewayError
from domain.use_cases.correct_credits import Correction, correct_credits


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("correct", help="correct an account by a further entry")
    parser.add_argument("--data", type=Path, default=Path("payphone-data"), help="data folder")
    add_database(parser)
    parser.add_argument("--account", type=UUID, required=True, help="the account's id")
    parser.add_argument(
        "--amount", type=int, required=True, help="µcr to add, or, negative, to remove"
    )
    parser.add_argument(
        "--who", required=True, help="the operator, as the public log shall name them"
    )
    parser.add_argument("--why", required=True, help="the reason, for the public log")
    parser.add_argument(
        "--corrects", type=int, required=True, help="the position of the entry that was wrong"
    )
    parser.add_argument(
        "--id", type=UUID, default=None, help="name it to make a repeat the same correction"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write it; 0 with the new balance, 1 with the reason why not."""
    correction = Correction(
        correction_id=options.id or uuid4(),
        account_id=options.account,
        amount=options.amount,
        who=options.who,
        why=options.why,
        corrects_position=options.corrects,
    )
    try:
        account = _written(settings_of(options), correction)
    except (GatewayError, UsageError, *STARTING_PROBLEMS) as refusal:
        print(f"not corrected: {refusal}", file=sys.stderr)
        return 1
    print(f"correction {correction.correction_id}: available {account.available}")
    return 0


def _written(settings: Settings, correction: Correction) -> Account:
    with idle_books(settings) as books:
        return asyncio.run(correct_credits(books, SystemClock(), correction))
