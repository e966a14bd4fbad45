"""A disputed bill beside the ledger it was made from."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from domain.audit import AuditError, bill_document, parse_bill
from domain.checkpoint import CheckpointError, parse_checkpoint, split_note
from domain.merkle import MerkleTree
from domain.record import Record, canonical

console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)
_SHOWN_MAX = 160


def compare(path: Path, records: Sequence[Record], tree: MerkleTree) -> int:
    """Recompute the bill under the head it names; 1 with the first event or value that differs."""
    issued = parse_bill(path.read_bytes())
    recomputed = _recomputed(issued, records, tree)
    for where, ours, theirs in _differences(recomputed, issued):
        errors.print(
            f"[red]DIFFERS[/red] {escape(where)}: the ledger has {_short(ours)}, "
            f"the bill {_short(theirs)}",
            soft_wrap=True,
        )
        return 1
    size = len(canonical(recomputed))
    console.print(
        f"[green]SAME[/green] the bill is the ledger's, byte for byte: {len(records)} events, "
        f"{size} bytes in canonical form"
    )
    return 0


def _recomputed(
    issued: dict[str, Any], records: Sequence[Record], tree: MerkleTree
) -> dict[str, Any]:
    """The bill as this ledger makes it, under the signed head that the issued one carries."""
    try:
        note, signer = issued["evidence"]["checkpoint"], issued["evidence"]["signer"]
        head = parse_checkpoint(split_note(note)[0])
    except (CheckpointError, LookupError, TypeError, AttributeError) as damage:
        raise AuditError("checkpoint", expected="a signed head", found=repr(damage)) from damage
    last = max(record.position for record in records)
    if not last <= head.size <= tree.size:
        raise AuditError("checkpoint size", expected=f"{last} to {tree.size}", found=head.size)
    if tree.root(head.size) != head.root:
        ours = base64.b64encode(tree.root(head.size)).decode()
        theirs = base64.b64encode(head.root).decode()
        raise AuditError(f"root over {head.size} events", expected=ours, found=theirs)
    return bill_document(
        tuple(records),
        checkpoint=note,
        signer=signer,
        proofs={r.position: tree.inclusion_proof(r.position - 1, head.size) for r in records},
    )


def _differences(
    ours: dict[str, Any], theirs: dict[str, Any]
) -> Iterator[tuple[str, object, object]]:
    """Events first, by position: what is wrong in one makes the statement wrong too."""
    events = theirs["evidence"].get("events")
    by_position = (
        {event.get("position"): event for event in events if isinstance(event, dict)}
        if isinstance(events, list)
        else {}
    )
    for event in ours["evidence"]["events"]:
        where = f"event at position {event['position']} ({event['topic']})"
        yield from _unequal(where, event, by_position.pop(event["position"], None))
    for position, event in by_position.items():
        yield f"event at position {position}", None, event
    yield from _unequal("bill", ours, theirs)


def _unequal(where: str, ours: object, theirs: object) -> Iterator[tuple[str, object, object]]:
    """The places where two values differ, the first first; types count."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for name in sorted(ours.keys() | theirs.keys(), key=str):
            yield from _unequal(f"{where}.{name}", ours.get(name), theirs.get(name))
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for index, (left, right) in enumerate(zip(ours, theirs, strict=True)):
            yield from _unequal(f"{where}[{index}]", left, right)
    elif type(ours) is not type(theirs) or ours != theirs:
        yield where, ours, theirs


def _short(value: object) -> str:
    text = "nothing" if value is None else str(value)
    return escape(text if len(text) <= _SHOWN_MAX else text[: _SHOWN_MAX - 1] + "…")
