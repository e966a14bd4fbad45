"""`make crash N=1000`: kill PostgreSQL and the ledger process under load, and look what is lost."""

from __future__ import annotations

import argparse
import json
import random
import secrets
import signal
import sys
from pathlib import Path

from rich.progress import Progress

from tests.crash.loop import Tally, crash_postgres, crash_sqlite
from tests.fakes.cluster import cluster

REPORT = Path("build") / "crash.json"
# One kill in so many is of a process that keeps its ledger in SQLite.
SQLITE_SHARE = 4


def main() -> int:
    """Kill so many times; 0 where nothing that was acknowledged is missing."""
    parser = argparse.ArgumentParser(description="kills under load, and what was lost")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    options = parser.parse_args()
    # However it is stopped, its server goes with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    dice = random.Random(options.seed)  # noqa: S311 (a loop wants repeatable dice)
    on_sqlite = options.kills // SQLITE_SHARE
    print(f"seed {options.seed}; {options.kills} kills, {on_sqlite} of them on SQLite")
    with Progress() as progress:
        task = progress.add_task("kills", total=options.kills)
        with cluster() as server:
            postgres = crash_postgres(
                options.kills - on_sqlite,
                server,
                dice,
                lambda done: progress.update(task, completed=done),
            )
        before = postgres.kills.total()
        sqlite = crash_sqlite(
            on_sqlite, dice, lambda done: progress.update(task, completed=before + done)
        )
    return _report([postgres, sqlite], options.seed)


def _report(tallies: list[Tally], seed: int) -> int:
    for tally in tallies:
        kills = ", ".join(f"{count} of the {what}" for what, count in tally.kills.items())
        print(
            f"{tally.store}: killed {kills or 'nobody'}; {tally.acknowledged} acknowledged, "
            f"{tally.lost} lost; {tally.events} events, {tally.signed_heads} signed heads held; "
            f"{tally.took_s:.0f} s"
        )
    REPORT.parent.mkdir(exist_ok=True)
    report = {"seed": seed, "stores": [tally.as_json() for tally in tallies]}
    REPORT.write_text(json.dumps(report, indent=1) + "\n")
    return 1 if any(tally.lost for tally in tallies) else 0


if __name__ == "__main__":
    sys.exit(main())
