"""`payphone ledger rooms`: what room servers told of a session, for whoever disputes its bill."""

from __future__ import annotations

import argparse
import json
from contextlib import closing

from adapters.cli.evidence import UsageError
from adapters.cli.stored import settings_of
from adapters.store.room_evidence import evidence_in_file, room_evidence
from adapters.store.stored import StoredLog


def rooms(options: argparse.Namespace, _recorder: StoredLog) -> int:
    """Print deliveries and facts as JSON; `UsageError` where there are none."""
    if options.session is None:
        raise UsageError("give the session with --session ID")
    found = _read(options)
    if not found["deliveries"] and not found["asked"]:
        raise UsageError(
            f"nothing is kept of session {options.session}: deliveries are for 30 days"
        )
    text = json.dumps(found, indent=1)
    if options.out is None:
        print(text)
    else:
        options.out.write_text(text + "\n", encoding="utf-8")
    return 0


def _read(options: argparse.Namespace) -> dict[str, object]:
    database = settings_of(options).storage.database
    if database:
        # Only who keeps the ledger there has the driver.
        from adapters.store.postgres_connections import Readers  # noqa: PLC0415 (an extra)

        with closing(Readers(database)) as readers:
            return room_evidence(readers.read, options.session)
    path = options.data / "rooms.db"
    if not path.is_file():
        raise UsageError(f"no deliveries: {path} (this gateway never had rooms)")
    with evidence_in_file(path) as select:
        return room_evidence(select, options.session)
