"""`payphone verify FILE`: check a bill or an archive with no database and no network."""

from __future__ import annotations

import argparse
import sys
import time
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

from rich.console import Console

from adapters.cli.bars import counted
from adapters.cli.evidence import check_terms, opened_rotations, read_keys, read_rotations
from adapters.keys import check_signature
from adapters.store.archive import ZipArchive, in_processes, is_archive
from domain.archive_audit import ArchiveVerdict, audit_archive
from domain.audit import AuditError, parse_bill, verify_bill
from domain.breaks import BrokenHistoryError
from domain.checkpoint import CheckpointError, SignerKey, parse_checkpoint, split_note
from domain.cosignature import Cosignature, WitnessKey, cosignatures
from domain.money import Microcredits
from domain.rotation import Rotation, follow, outlived

# Starting processes costs half a second; below this one is done before they are there.
_PROCESSES_FROM = 4


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("verify", help="check a bill or an archive offline")
    parser.add_argument("file", type=Path)
    parser.add_argument(
        "--key",
        action="append",
        help="the gateway's public key, from /.well-known/payphone, or a file of keys",
    )
    parser.add_argument(
        "--rotations",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="follow the log's changes of key from the keys given: its log.rotations, or the JSON "
        "of /.well-known/payphone",
    )
    parser.add_argument(
        "--witness", action="append", default=[], help="demand this witness's cosignature"
    )
    parser.add_argument(
        "--checkpoint",
        type=Path,
        action="append",
        default=[],
        help="a signed head kept from before, which an archive must continue",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print VERIFIED and exit 0, or the first thing that fails and exit 1."""
    try:
        notes = read_rotations(options.rotations)
        given = read_keys(options.key) if options.key else ()
        keys = follow(notes, trusted=given, check=check_signature)
        witnesses = tuple(WitnessKey.parse(text) for text in options.witness)
        rotations = opened_rotations(options.rotations)
        if is_archive(options.file):
            _archive(options, keys, witnesses, rotations)
        else:
            _bill(options, keys, witnesses, rotations)
    except (AuditError, BrokenHistoryError, CheckpointError, OSError, UnicodeError) as broken:
        print(f"NOT VERIFIED {broken}", file=sys.stderr)
        return 1
    return 0


def _bill(
    options: argparse.Namespace,
    keys: tuple[SignerKey, ...],
    witnesses: tuple[WitnessKey, ...],
    rotations: tuple[Rotation, ...],
) -> None:
    document = parse_bill(options.file.read_bytes())
    evidence = document.get("evidence")
    named = evidence.get("signer") if isinstance(evidence, dict) else None
    # Of several keys the one that the bill names, so that a bill from before a change still counts.
    trusted = next((key for key in keys if key.text == named), keys[0] if keys else None)
    verdict = verify_bill(document, check=check_signature, trusted=trusted)
    late = outlived(verdict.checkpoint.size, [verdict.signer], rotations)
    if late is not None:
        raise AuditError(
            "signer",
            expected=f"{late.key.text}, which signs after {late.since.size} events",
            found=verdict.signer.text,
        )
    seen = cosignatures(
        document["evidence"]["checkpoint"], witnesses=witnesses, check=check_signature
    )
    print(
        f"VERIFIED session {verdict.session_id}: charged {Microcredits(verdict.charged)}, "
        f"refunded {Microcredits(verdict.refunded)}, {verdict.events} events in the signed log "
        f"of {verdict.checkpoint.size}"
    )
    print(f"signer {verdict.signer.text}")
    _print_witnesses(seen)
    _print_advice(keys)


def _archive(
    options: argparse.Namespace,
    keys: tuple[SignerKey, ...],
    witnesses: tuple[WitnessKey, ...],
    rotations: tuple[Rotation, ...],
) -> None:
    archive = ZipArchive(options.file)
    manifest = archive.manifest
    keys_or_named = keys or manifest.signers
    known_heads = [_known_head(path) for path in options.checkpoint]
    began = time.perf_counter()
    with counted("verifying", manifest.events, Console(stderr=True)) as progress:
        verdict = audit_archive(
            archive,
            keys=keys_or_named,
            check=check_signature,
            known_heads=known_heads,
            witnesses=witnesses,
            run=in_processes if len(manifest.segments) >= _PROCESSES_FROM else map,
            progress=progress,
        )
    took_s = time.perf_counter() - began
    check_terms(chain(archive.heads(), known_heads), keys=keys_or_named, rotations=rotations)
    _print_archive(verdict, took_s)
    _print_advice(keys)


def _known_head(path: Path) -> tuple[int, str]:
    """A head as it was once published; its signature is checked with all the others."""
    note = path.read_text(encoding="utf-8")
    return parse_checkpoint(split_note(note)[0]).size, note


def _print_archive(verdict: ArchiveVerdict, took_s: float) -> None:
    history = verdict.history
    print(
        f"VERIFIED {history.events} events, {history.heads} signed heads, {history.bills} bills "
        f"recomputed, trial balance {history.total}, {history.events / took_s:,.0f} events/s"
    )
    for row, amount in history.by_kind().items():
        print(f"{amount:>20} {row}")
    print(f"root {verdict.root.hex()}")
    for signer, heads in history.signers.items():
        print(f"signer {signer} ({heads} heads)")
    _print_witnesses(verdict.cosignatures)


def _print_witnesses(found: tuple[Cosignature, ...]) -> None:
    for cosignature in found:
        seen = datetime.fromtimestamp(cosignature.at_s, UTC).isoformat()
        print(f"witness {cosignature.witness.name} saw this head at {seen}")


def _print_advice(keys: tuple[SignerKey, ...]) -> None:
    if not keys:
        print("compare the signer with the gateway's published key, or pass it with --key")
