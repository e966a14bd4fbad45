"""`make bench`: every table, one after the other, so that none disturbs another.

`python -m tests.bench ledger` makes those of the ledger only, and any table can be named.
"""

from __future__ import annotations

import argparse
import gc
import importlib

from adapters.garbage import tend_garbage
from tests.bench.report import neighbours, publish

# Names of tables and the modules here that measure them. Those that need weights come last.
LEDGER = {
    "sqlite": "ledger",
    "postgres": "ledger_postgres",
    "processes": "ledger_processes",
    "replay": "replay",
    "log": "log",
}
TABLES = {
    **LEDGER,
    "gateway": "gateway",
    "purchases": "purchases",
    "speech": "speech",
    "lag": "lag",
}


def main() -> None:
    parser = argparse.ArgumentParser(description="ours beside the bare libraries, in one run")
    parser.add_argument("tables", nargs="*", choices=["ledger", *TABLES, []], metavar="TABLE")
    asked = parser.parse_args().tables or TABLES
    names = [n for name in asked for n in (LEDGER if name == "ledger" else (name,))]
    for name in names:
        module = importlib.import_module(f"tests.bench.{TABLES[name]}")
        # What an earlier table left is neither walked through nor kept for ever.
        gc.unfreeze()
        tend_garbage()
        if name == "speech":
            # It has a table of its own form.
            module.main()
        else:
            before = neighbours()
            publish(name, module.rows(), before=before)


if __name__ == "__main__":
    main()
