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
    NoteSignature,
    SignerKey,
    also_signed,
    open_head,
    parse_checkpoint,
    split_note,
)
from domain.cosignature import with_signatures
from domain.mapper import UnknownEventError, check_known
from domain.merkle import MerkleTree, leaf_hash
from domain.ports.log import ConsistencyProof, Evidence, InclusionProof
from domain.proofs import consistency_of, inclusion_of
from domain.record import Record, leaf_bytes

CHECKPOINT_EVENTS = 1_000
# How far back a start looks for a head that somebody else signed too.
_COSIGNED_BACK_MAX = 1_000


class DamagedLogError(Exception):
    """The stored events are not the ones this gateway signed for."""


class NewerLogError(DamagedLogError):
    """A newer release wrote to this ledger; this one would misread it."""


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
        self._told: list[Callable[[], None]] = []
        self._signs: Callable[[], bool] = lambda: True
        self._key = key
        self._sign = sign
        self._lock = threading.Lock()
        self._heads = threading.Lock()
        self._tree = MerkleTree()
        newer = self._read()
        heads = recorder.checkpoints()
        self._signed_size = self._check_last(heads, check, (key, *former))
        if newer is not None:
            # Only of a history that was signed is it worth saying who else could read it.
            raise newer
        found = _last_cosigned(heads, (key, *former))
        self._cosigned = found if found is not None and self._is_over(*found) else None

    def extend(self, records: Sequence[Record]) -> None:
        """Take in what was committed; sign a head every thousand events."""
        with self._lock:
            for record in records:
                self._tree.append(leaf_hash(record.leaf))
            due = self._tree.size - self._signed_size >= CHECKPOINT_EVENTS
        if due and self._signs():
            self.checkpoint()

    def checkpoint(self) -> tuple[int, str]:
        """The size now and its signed head; the head is kept, so that it can be held to later."""
        with self._lock:
            size, root = self._tree.size, self._tree.root()
        head = Checkpoint(origin=self._origin, size=size, root=root)
        with self._heads:
            note = self._recorder.checkpoint(size)
            is_new = note is None
            if note is None:
                note = head.signed(self._key, self._sign)
                self._recorder.add_checkpoint(size, note)
                self._signed_size = max(size, self._signed_size)
            else:
                self._check_same(note, head)
            if not self._is_signed(note):
                # A former key signed it. Whoever is given it now is told the key of today.
                note = also_signed(note, self._key, self._sign)
                self._recorder.put_checkpoint(size, note)
        if is_new:
            for tell in tuple(self._told):
                tell()
        return size, note

    def sign_while(self, is_owner: Callable[[], bool]) -> None:
        """Sign unasked only while this is so: of several processes one need do it."""
        self._signs = is_owner

    def when_signed(self, tell: Callable[[], None]) -> None:
        """Call this after every new head, in the thread that signed it; it must not raise."""
        self._told.append(tell)

    def cosign(self, size: int, signatures: Sequence[NoteSignature]) -> None:
        """Keep what witnesses signed, which the caller checked, with the head of this size."""
        with self._heads:
            note = self._recorder.checkpoint(size)
            if note is None or not signatures:
                return
            note = with_signatures(note, signatures)
            self._recorder.put_checkpoint(size, note)
            if self._cosigned is None or size >= self._cosigned[0]:
                self._cosigned = (size, note)

    async def cosigned(self) -> str | None:
        """The newest head that witnesses signed too."""
        found = self._cosigned
        return None if found is None else found[1]

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
        size, note = self._head_over(max(positions, default=0))
        with self._lock:
            proofs = {p: self._tree.inclusion_proof(p - 1, size) for p in positions}
        return Evidence(checkpoint=note, signer=self._key.text, size=size, proofs=proofs)

    def _head_over(self, position: int) -> tuple[int, str]:
        """A head that covers this position: one with witnesses where there is one, or a new one."""
        found = self._cosigned
        if found is not None and 0 < position <= found[0] and self._is_signed(found[1]):
            return found
        return self.checkpoint()

    def _is_signed(self, note: str) -> bool:
        """Whether our key of today is among its signatures, which we put there ourselves."""
        return any(
            (line.name, line.hint) == (self._key.name, self._key.hint)
            for line in split_note(note)[1]
        )

    def _is_over(self, size: int, note: str) -> bool:
        """Whether a kept note is over the events there are."""
        if not 0 < size <= self._tree.size:
            return False
        head = Checkpoint(origin=self._origin, size=size, root=self._tree.root(size))
        return split_note(note)[0] == head.body

    def _check_same(self, note: str, head: Checkpoint) -> None:
        if parse_checkpoint(split_note(note)[0]) != head:
            msg = f"the head kept for {head.size} events is not over the events there are: edited"
            raise DamagedLogError(msg)

    def _read(self) -> NewerLogError | None:
        """Hash every event; the first that a newer release wrote, if one did."""
        newer = None
        try:
            for record in self._recorder.scan():
                if record.position != self._tree.size + 1:
                    msg = f"position {self._tree.size + 1} is missing before {record.position}"
                    raise DamagedLogError(msg)
                if newer is None:
                    newer = _newer(record)
                self._tree.append(leaf_hash(record.leaf))
        except DataError as damage:
            raise DamagedLogError(str(damage)) from damage
        return newer

    def _check_last(
        self,
        heads: Sequence[tuple[int, str]],
        check: CheckSignature,
        keys: Sequence[SignerKey],
    ) -> int:
        if not heads:
            return 0
        size, note = heads[-1]
        try:
            head = open_head(note, keys=keys, check=check).checkpoint
        except CheckpointError as broken:
            msg = f"the last signed head (size {size}) does not verify: {broken}"
            raise DamagedLogError(msg) from broken
        if head.size != size:
            msg = f"the head kept for {size} events is over {head.size}: edited"
            raise DamagedLogError(msg)
        if head.size > self._tree.size:
            msg = f"the log was signed at {head.size} events and has {self._tree.size}: truncated"
            raise DamagedLogError(msg)
        if self._tree.root(head.size) != head.root:
            msg = f"the first {head.size} events are not the ones that were signed: edited"
            raise DamagedLogError(msg)
        return head.size


def _last_cosigned(
    heads: Sequence[tuple[int, str]], keys: Sequence[SignerKey]
) -> tuple[int, str] | None:
    """The newest kept head with a signature that is none of our own."""
    own = {(key.name, key.hint) for key in keys}
    for size, note in reversed(heads[-_COSIGNED_BACK_MAX:]):
        try:
            lines = split_note(note)[1]
        except CheckpointError:
            # Only the last one is checked at a start; an auditor finds this one.
            continue
        if any((line.name, line.hint) not in own for line in lines):
            return size, note
    return None


def _newer(record: Record) -> NewerLogError | None:
    try:
        check_known(record.topic, record.state)
    except UnknownEventError as unknown:
        return NewerLogError(f"position {record.position}: {unknown}")
    return None
