"""A witness: cosigns a head only if it continues the last one it cosigned of that log."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from adapters.witness.memory import WitnessMemory
from adapters.witness.request import AddCheckpoint, is_size
from domain.checkpoint import (
    Checkpoint,
    CheckpointError,
    CheckSignature,
    Sign,
    SignerKey,
    open_head,
    parse_checkpoint,
    split_note,
)
from domain.cosignature import WitnessKey, cosignature
from domain.merkle import EMPTY_ROOT, verify_consistency

BAD, FORBIDDEN, UNKNOWN, CONFLICT, INCONSISTENT = 400, 403, 404, 409, 422


class RefusedError(Exception):
    """The witness does not sign. `status` is the protocol's; `size` the one it has, with 409."""

    def __init__(self, status: int, why: str, *, size: int | None = None) -> None:
        super().__init__(why)
        self.status = status
        self.size = size


class Witness:
    """Never signs two roots of one size, or a shorter log after a longer one.

    `logs` are the keys it trusts; the name of a key is the origin it signs for, and a log that
    changes its key has several.
    """

    def __init__(
        self,
        memory: WitnessMemory,
        *,
        key: WitnessKey,
        sign: Sign,
        check: CheckSignature,
        logs: Sequence[SignerKey],
        now_s: Callable[[], int],
    ) -> None:
        self.key = key
        self._memory = memory
        self._sign = sign
        self._check = check
        self._logs = tuple(logs)
        self._now_s = now_s

    def add_checkpoint(self, data: bytes) -> str:
        """The cosignature line, once the head is on disk; `RefusedError` otherwise."""
        try:
            request = AddCheckpoint.parse(data)
            body, _ = split_note(request.note)
            head = parse_checkpoint(body)
        except ValueError as damage:
            raise RefusedError(BAD, str(damage)) from damage
        self._check_signed(head, request.note)
        if not is_size(str(head.size)) or len(head.root) != len(EMPTY_ROOT):
            raise RefusedError(BAD, "a head has a size and a root of SHA-256")
        if request.old > head.size:
            raise RefusedError(BAD, f"old size {request.old} is above {head.size}")
        with self._memory.lock:
            self._check_continues(head, request)
            self._memory.keep(head, request.note)
        return cosignature(body, self.key, self._sign, at_s=self._now_s()).text

    def _check_signed(self, head: Checkpoint, note: str) -> None:
        keys = [key for key in self._logs if key.name == head.origin]
        if not keys:
            raise RefusedError(UNKNOWN, f"no log {head.origin} here")
        try:
            open_head(note, keys=keys, check=self._check)
        except CheckpointError as broken:
            raise RefusedError(FORBIDDEN, str(broken)) from broken

    def _check_continues(self, head: Checkpoint, request: AddCheckpoint) -> None:
        last = self._memory.last(head.origin) or Checkpoint(
            origin=head.origin, size=0, root=EMPTY_ROOT
        )
        if request.old != last.size:
            raise RefusedError(CONFLICT, f"the last size was {last.size}", size=last.size)
        if head.size == last.size and head.root != last.root:
            # Two histories of one length: the very thing a witness is for.
            raise RefusedError(CONFLICT, f"another root of {last.size} events", size=last.size)
        if last.size == 0:
            is_continued = not request.proof
        else:
            is_continued = verify_consistency(
                old_size=last.size,
                old_root=last.root,
                new_size=head.size,
                new_root=head.root,
                proof=request.proof,
            )
        if not is_continued:
            raise RefusedError(
                INCONSISTENT, f"not shown to begin with the {last.size} events seen before"
            )
