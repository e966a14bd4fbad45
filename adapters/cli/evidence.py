"""What an auditor takes away: proofs and archives of a stored log."""

from __future__ import annotations

import argparse
import base64
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console

from adapters.cli.bars import counted
from adapters.keys import check_signature
from adapters.log_keys import parse_rotations
from adapters.store.archive import write_archive
from adapters.store.stored import StoredLog
from domain.breaks import BrokenHistoryError
from domain.checkpoint import SignerKey, parse_keys, split_note
from domain.merkle import MerkleTree, leaf_hash
from domain.proofs import consistency_of, inclusion_of
from domain.rotation import Rotation, RotationError, open_rotation, outlived

console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)


class UsageError(Exception):
    """What was asked for cannot be; the text says what can."""


def read_keys(given: Sequence[str]) -> tuple[SignerKey, ...]:
    """Verifier keys from the command line: each is a key, or a file of keys, newest first."""
    found: list[SignerKey] = []
    for text in given:
        path = Path(text)
        found.extend(parse_keys(path.read_text(encoding="utf-8") if path.is_file() else text))
    return tuple(found)


def read_rotations(paths: Sequence[Path]) -> tuple[str, ...]:
    """Changes of key from files: a `log.rotations`, or what /.well-known/payphone answered."""
    notes: list[str] = []
    for path in paths:
        try:
            found = parse_rotations(path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as damage:
            raise RotationError(f"{path}: {damage}") from damage
        notes.extend(note for note in found if note not in notes)
    return tuple(notes)


def opened_rotations(paths: Sequence[Path]) -> tuple[Rotation, ...]:
    """The changes of key in these files, each signed by both its keys."""
    return tuple(open_rotation(note, check=check_signature) for note in read_rotations(paths))


def check_terms(
    heads: Iterable[tuple[int, str]],
    *,
    keys: Sequence[SignerKey],
    rotations: Sequence[Rotation],
) -> None:
    """That no former key signed alone after its time; `BrokenHistoryError` at the first such head.

    The signatures themselves were checked.
    """
    for size, note in heads if rotations else ():
        lines = {(line.name, line.hint) for line in split_note(note)[1]}
        late = outlived(size, [key for key in keys if (key.name, key.hint) in lines], rotations)
        if late is not None:
            raise BrokenHistoryError(
                size,
                "retired key",
                expected=f"a signature by {late.key.text}, which signs after {late.since.size}",
                found=f"only one by {late.former.text}",
            )


def proof(options: argparse.Namespace, recorder: StoredLog) -> str:
    """That a position stands in the log of a size; the last signed one unless told."""
    tree, heads = tree_of(recorder), dict(recorder.checkpoints())
    size = options.size or max((s for s in heads if s <= tree.size), default=tree.size)
    _check("--size", size, most=tree.size)
    _check("--position", options.position, most=size)
    found = inclusion_of(tree, options.position, size=size, checkpoint=heads.get(size))
    return json.dumps(
        {
            "position": found.position,
            "size": found.size,
            "leaf_hash": _text(found.leaf),
            "root": _text(found.root),
            "proof": [_text(h) for h in found.hashes],
            "checkpoint": found.checkpoint,
        },
        indent=1,
    )


def consistency(options: argparse.Namespace, recorder: StoredLog) -> str:
    """That the log of one size begins with the log of another."""
    tree, heads = tree_of(recorder), dict(recorder.checkpoints())
    second = options.second or tree.size
    _check("--second", second, most=tree.size)
    _check("--first", options.first, most=second)
    found = consistency_of(tree, first=options.first, second=second)
    return json.dumps(
        {
            "first": found.first,
            "second": found.second,
            "first_root": _text(found.first_root),
            "second_root": _text(found.second_root),
            "proof": [_text(h) for h in found.hashes],
            "checkpoints": [heads.get(found.first), heads.get(found.second)],
        },
        indent=1,
    )


def export(options: argparse.Namespace, recorder: StoredLog, keys: tuple[SignerKey, ...]) -> int:
    """Write everything up to the last signed head into one file that verifies by itself."""
    if options.out is None:
        raise UsageError("give a file or a folder to write to with --out")
    if not keys:
        raise UsageError("an archive names its signers: give --key, or keep log.pub in the folder")
    heads = recorder.checkpoints()
    events = heads[-1][0] if heads else 0
    if events == 0:
        raise UsageError("nothing is signed yet: ask the gateway for /v1/log/checkpoint once")
    path: Path = options.out
    if path.is_dir():
        path = path / f"log-{events}.zip"
    with counted("writing", events, errors) as progress:
        manifest = write_archive(
            path, recorder.scan(), heads=heads, signers=keys, progress=progress
        )
    unsigned = (recorder.max_notification_id() or 0) - events
    if unsigned:
        errors.print(f"{unsigned} events after the last signed head were left out")
    console.print(
        f"{path}: {manifest.events} events in {len(manifest.segments)} segments, "
        f"{len(heads)} signed heads; check it with `payphone verify {path.name}`",
        soft_wrap=True,
    )
    return 0


def tree_of(recorder: StoredLog) -> MerkleTree:
    """The tree over every stored event; `BrokenHistoryError` where one is missing."""
    tree = MerkleTree()
    with counted("hashing", recorder.max_notification_id() or 0, errors) as progress:
        for record in recorder.scan():
            if record.position != tree.size + 1:
                raise BrokenHistoryError(
                    tree.size + 1, "gap", expected=tree.size + 1, found=record.position
                )
            tree.append(leaf_hash(record.leaf))
            if tree.size % 1_000 == 0:
                progress(tree.size)
    return tree


def _check(name: str, value: int | None, *, most: int) -> None:
    if value is None or not 1 <= value <= most:
        raise UsageError(f"{name} is a whole number from 1 to {most} (got {value})")


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
