"""The transparency log over the stored events: its tree, its signed heads, its proofs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from uuid import UUID

from eventsourcing.persistence import DataError

from adapters.store.stored import StoredLog
from domain.checkpoint import (
    Checkpoint,
    CheckpointError,
    CheckSignature,
    SignerKey,
    open_head,
)
from domain.merkle import MerkleTree, leaf_hash
from domain.ports.log import ConsistencyProof, Evidence, InclusionProof
from domain.proofs import consistency_of, inclusion_of
from domain.record import Record, leaf_bytes

CHECKPOINT_EVENTS = 1_000


class DamagedLogError(Exception):
    """The stored events are not the ones this gateway signed for."""


class MerkleLog:
    """Implements `TransparencyLog` over a recorder.

    The tree lives in memory and is rebuilt from the events at start, where it is held against the
    last signed head: a gateway does not go on from a history it did not sign. `former` are keys it
    signed with before; they open old heads and sign no new one.
    """

    def __init__(
        self,
        recorder: StoredLog,
        *,
        origin: str,
        key: SignerKey,
        sign: Callable[[bytes], bytes],
        check: CheckSignature,
        former: Sequence[SignerKey] = (),
    ) -> None:
        self._recorder = recorder
        self._origin = origin
        self._key = key
        self._sign = sign
        self._lock = threading.Lock()
        self._tree = MerkleTree()
        self._read()
        self._signed_size = self._check_last(check, (key, *former))

    def extend(self, records: Sequence[Record]) -> None:
        """Take in what was committed; sign a head every thousand events."""
        with self._lock:
            for record in records:
                self._tree.append(leaf_hash(record.leaf))
            due = self._tree.size - self._signed_size >= CHECKPOINT_EVENTS
        if due:
            self.checkpoint()

    def checkpoint(self) -> tuple[int, str]:
        """The size now and its signed head; the head is kept, so that it can be held to later."""
        with self._lock:
            size, root = self._tree.size, self._tree.root()
        note = self._recorder.checkpoint(size)
        if note is None:
            head = Checkpoint(origin=self._origin, size=size, root=root)
            note = head.signed(self._key, self._sign)
            self._recorder.add_checkpoint(size, note)
            self._signed_size = max(size, self._signed_size)
        return size, note

    @property
    def size(self) -> int:
        with self._lock:
            return self._tree.size

    async def prove(self, positions: Sequence[int]) -> Evidence:
        return await asyncio.to_thread(self._prove, positions)

    async def inclusion(self, position: int, *, size: int) -> InclusionProof:
        return await asyncio.to_thread(self._inclusion, position, size)

    async def consistency(self, *, first: int, second: int) -> ConsistencyProof:
        with self._lock:
            return consistency_of(self._tree, first=first, second=second)

    async def entries(self, *, start: int, count: int) -> tuple[bytes, ...]:
        return await asyncio.to_thread(self._entries, start, count)

    def _inclusion(self, position: int, size: int) -> InclusionProof:
        note = self._recorder.checkpoint(size)
        with self._lock:
            return inclusion_of(self._tree, position, size=size, checkpoint=note)

    def _entries(self, start: int, count: int) -> tuple[bytes, ...]:
        # Only what the tree has: an event is in the log once a head can cover it.
        count = min(count, self.size + 1 - start)
        if count < 1:
            return ()
        notes = self._recorder.select_notifications(start, count)
        return tuple(
            leaf_bytes(
                UUID(str(note.originator_id)), note.originator_version, note.topic, note.state
            )
            for note in notes
        )

    def _prove(self, positions: Sequence[int]) -> Evidence:
        size, note = self.checkpoint()
        with self._lock:
            proofs = {p: self._tree.inclusion_proof(p - 1, size) for p in positions}
        return Evidence(checkpoint=note, signer=self._key.text, size=size, proofs=proofs)

    def _read(self) -> None:
        try:
            for record in self._recorder.scan():
                if record.position != self._tree.size + 1:
                    msg = f"position {self._tree.size + 1} is missing before {record.position}"
                    raise DamagedLogError(msg)
                self._tree.append(leaf_hash(record.leaf))
        except DataError as damage:
            raise DamagedLogError(str(damage)) from damage

    def _check_last(self, check: CheckSignature, keys: Sequence[SignerKey]) -> int:
        heads = self._recorder.checkpoints()
        if not heads:
            return 0
        size, note = heads[-1]
        try:
            head = open_head(note, keys=keys, check=check).checkpoint
        except CheckpointError as broken:
            msg = f"the last signed head (size {size}) does not verify: {broken}"
            raise DamagedLogError(msg) from broken
        if head.size > self._tree.size:
            msg = f"the log was signed at {head.size} events and has {self._tree.size}: truncated"
            raise DamagedLogError(msg)
        if self._tree.root(head.size) != head.root:
            msg = f"the first {head.size} events are not the ones that were signed: edited"
            raise DamagedLogError(msg)
        return head.size
