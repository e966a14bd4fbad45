"""`payphone verify FILE`: check a bill with no database and no network."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from adapters.keys import check_signature
from domain.audit import AuditError, parse_bill, verify_bill
from domain.checkpoint import CheckpointError, SignerKey
from domain.money import Microcredits


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("verify", help="check a bill offline")
    parser.add_argument("file", type=Path)
    parser.add_argument("--key", help="the gateway's public key, from /.well-known/payphone")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print VERIFIED and exit 0, or the first thing that fails and exit 1."""
    try:
        trusted = SignerKey.parse(options.key) if options.key else None
        document = parse_bill(options.file.read_bytes())
        verdict = verify_bill(document, check=check_signature, trusted=trusted)
    except (AuditError, CheckpointError, OSError) as broken:
        print(f"NOT VERIFIED {broken}", file=sys.stderr)
        return 1
    print(
        f"VERIFIED session {verdict.session_id}: charged {Microcredits(verdict.charged)}, "
        f"refunded {Microcredits(verdict.refunded)}, {verdict.events} events in the signed log "
        f"of {verdict.checkpoint.size}"
    )
    print(f"signer {verdict.signer.text}")
    if trusted is None:
        print("compare the signer with the gateway's published key, or pass it with --key")
    return 0
