"""A disputed session: its bill recomputed from the ledger, and held beside the one it was given."""

from __future__ import annotations

import base64
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from domain.audit import AuditError, bill_document, parse_bill
from domain.bill import BillError, statement
from domain.breaks import BrokenHistoryError
from domain.checkpoint import CheckpointError, parse_checkpoint, split_note
from domain.merkle import MerkleTree
from domain.record import Record, canonical

console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)
_SHOWN_MAX = 160


def recompute(records: Sequence[Record]) -> dict[str, Any]:
    """The session's statement; `BrokenHistoryError` at the first event that contradicts others."""
    try:
        return statement(records)
    except BillError as broken:
        wrong = _first_wrong(records)
        raise BrokenHistoryError(
            wrong.position,
            f"{wrong.topic}: {broken.where}",
            expected=broken.expected,
            found=broken.found,
        ) from broken


def _first_wrong(records: Sequence[Record]) -> Record:
    """The last record of the shortest beginning that cannot be the beginning of any bill."""

    def is_wrong(count: int) -> bool:
        try:
            statement(records[:count])
        except BillError as broken:
            # A beginning lacks its end, and that is all that it may lack.
            return broken.where != "session"
        return False

    count = bisect_left(range(len(records)), x=True, key=is_wrong)
    return records[min(count, len(records)) - 1]


def compare(path: Path, records: Sequence[Record], tree: MerkleTree) -> int:
    """Recompute the bill under the head it names; 1 with the first event or value that differs."""
    issued = parse_bill(path.read_bytes())
    recomputed = _recomputed(issued, records, tree)
    for where, name, ours, theirs in _differences(recomputed, issued):
        errors.print(f"[red]DIFFERS[/red] {escape(where)}", soft_wrap=True)
        for label, value in (
            ("field", name or "all of it"),
            ("expected", f"{_short(ours)} (the ledger's)"),
            ("found", f"{_short(theirs)} (the bill's)"),
        ):
            errors.print(f"  {label:<9} {escape(value)}", soft_wrap=True)
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
) -> Iterator[tuple[str, str, object, object]]:
    """Where, which field, what we have and what they have.

    Events first, by position: what is wrong in one makes the statement wrong too.
    """
    events = theirs["evidence"].get("events")
    by_position = (
        {event.get("position"): event for event in events if isinstance(event, dict)}
        if isinstance(events, list)
        else {}
    )
    for event in ours["evidence"]["events"]:
        where = f"event at position {event['position']} ({event['topic']})"
        for difference in _unequal("", event, by_position.pop(event["position"], None)):
            yield where, *difference
    for position, event in by_position.items():
        yield f"event at position {position}", "", None, event
    for difference in _unequal("", ours, theirs):
        yield "bill", *difference


def _unequal(name: str, ours: object, theirs: object) -> Iterator[tuple[str, object, object]]:
    """The fields in which two values differ, the first first; types count."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for inner in sorted(ours.keys() | theirs.keys(), key=str):
            dotted = f"{name}.{inner}" if name else str(inner)
            yield from _unequal(dotted, ours.get(inner), theirs.get(inner))
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for index, (left, right) in enumerate(zip(ours, theirs, strict=True)):
            yield from _unequal(f"{name}[{index}]", left, right)
    elif type(ours) is not type(theirs) or ours != theirs:
        yield name, ours, theirs


def _short(value: object) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= _SHOWN_MAX else text[: _SHOWN_MAX - 1] + "…"
