"""Follows a log from outside: each head must continue the one that was kept from before."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapters.keys import check_signature
from domain.breaks import BrokenHistoryError
from domain.checkpoint import Checkpoint, CheckpointError, SignerKey, decode_base64, open_head
from domain.cosignature import WitnessKey, cosignatures
from domain.merkle import MerkleTree, leaf_hash, verify_consistency

ENTRIES = 1_000

Fetch = Callable[[str], bytes]
"""The answer to GET of a path; OSError where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """The head of today, and the size of the one it continues (None: it is the first)."""

    note: str
    head: Checkpoint
    since: int | None


def follow_log(
    fetch: Fetch,
    *,
    kept: str | None,
    keys: Sequence[SignerKey],
    witnesses: Sequence[WitnessKey] = (),
    entries: bool = False,
) -> Followed:
    """The log's newest head, shown to continue `kept`; `BrokenHistoryError` where it does not.

    With witnesses it is the newest head that they all cosigned. With `entries` every entry is
    fetched and hashed: the tree is made of what is served, and nothing else.
    """
    path = "/v1/log/checkpoint?cosigned" if witnesses else "/v1/log/checkpoint"
    note = fetch(path).decode()
    head = open_head(note, keys=keys, check=check_signature).checkpoint
    try:
        cosignatures(note, witnesses=witnesses, check=check_signature)
    except CheckpointError as broken:
        raise BrokenHistoryError(
            head.size, "witness", expected="its good cosignature", found=broken
        ) from broken
    since = None
    if kept is not None:
        before = open_head(kept, keys=keys, check=check_signature).checkpoint
        _check_continued(fetch, before, head)
        since = before.size
    if entries:
        _check_entries(fetch, head)
    return Followed(note=note, head=head, since=since)


def _check_continued(fetch: Fetch, before: Checkpoint, head: Checkpoint) -> None:
    if head.origin != before.origin:
        raise BrokenHistoryError(before.size, "origin", expected=before.origin, found=head.origin)
    if head.size < before.size:
        raise BrokenHistoryError(
            head.size + 1,
            "truncated",
            expected=f"{before.size} events, which were signed for",
            found=head.size,
        )
    proof: tuple[bytes, ...] = ()
    if 0 < before.size < head.size:
        proof = _proof(fetch(f"/v1/log/proof?first={before.size}&second={head.size}"))
    is_same = before.size == 0 or verify_consistency(
        old_size=before.size,
        old_root=before.root,
        new_size=head.size,
        new_root=head.root,
        proof=proof,
    )
    if not is_same:
        raise BrokenHistoryError(
            before.size,
            "another history",
            expected=f"a log that begins with root {before.root.hex()} over {before.size} events",
            found=f"root {head.root.hex()} over {head.size}, and no proof that it does",
        )


def _proof(data: bytes) -> tuple[bytes, ...]:
    try:
        answer: dict[str, Any] = json.loads(data)
        return tuple(decode_base64(line) for line in answer["proof"])
    except (ValueError, TypeError, LookupError, RecursionError):
        # What cannot be read proves nothing.
        return ()


def _check_entries(fetch: Fetch, head: Checkpoint) -> None:
    tree = MerkleTree()
    while tree.size < head.size:
        count = min(ENTRIES, head.size - tree.size)
        lines = fetch(f"/v1/log/entries?start={tree.size + 1}&count={count}").split(b"\n")[:-1]
        if not lines or len(lines) > count:
            raise BrokenHistoryError(
                tree.size + 1, "entries", expected=f"up to {count}", found=len(lines)
            )
        for line in lines:
            tree.append(leaf_hash(line))
    if tree.root() != head.root:
        raise BrokenHistoryError(
            head.size,
            "entries",
            expected=f"root {head.root.hex()} over {head.size} events",
            found=f"root {tree.root().hex()}",
        )


def keep(path: Path, note: str) -> None:
    """Put the head in place of the one before, whole."""
    part = path.with_name(path.name + ".part")
    part.write_text(note, encoding="utf-8")
    part.replace(path)
