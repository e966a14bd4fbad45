"""For test suites of others: Hypothesis strategies of what a ledger holds, and a machine to run.

    pip install 'payphone[testing]'

Nothing of the program imports this package; it is the one place of the domain that needs
Hypothesis.

`LedgerMachine` lives through purchases, sessions, pauses, extensions and ends against a store, a
tariff or a price book of yours, and holds what it finds against a model. `check_tariff` looks at a
tariff alone. The strategies make single values; `histories` makes the records of whole ledgers.
"""

from __future__ import annotations

from domain.testing.histories import History, histories
from domain.testing.machine import LedgerMachine, check_tariff
from domain.testing.strategies import (
    START_MS,
    amounts,
    ids,
    orders,
    price_books,
    quantities,
    services,
    small_amounts,
    tariffs,
    times_ms,
    wallets,
)

__all__ = [
    "START_MS",
    "History",
    "LedgerMachine",
    "amounts",
    "check_tariff",
    "histories",
    "ids",
    "orders",
    "price_books",
    "quantities",
    "services",
    "small_amounts",
    "tariffs",
    "times_ms",
    "wallets",
]
