"""The transparency log: signed heads, and proofs that an event stands in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """A signed checkpoint, the key it is signed with, and inclusion proofs by position."""

    checkpoint: str
    signer: str
    size: int
    proofs: dict[int, tuple[bytes, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class InclusionProof:
    """`hashes` lead from the `leaf` at `position` to the `root` of the first `size` events.

    `checkpoint` is the signed head of that size, where one was signed.
    """

    position: int
    size: int
    leaf: bytes
    root: bytes
    hashes: tuple[bytes, ...]
    checkpoint: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsistencyProof:
    """`hashes` show that the first `second` events begin with the first `first`."""

    first: int
    second: int
    first_root: bytes
    second_root: bytes
    hashes: tuple[bytes, ...]


class TransparencyLog(Protocol):
    """Proves entries under a head that is signed and kept.

    Shape:  positions count from 1, sizes from 0. `prove` proves each position under one head: the
            newest one that witnesses signed too, where it covers them, or else a new one over
            everything there is; the other questions may name any size the log had. `cosigned` is
            the newest head with a witness, if there is one. `entries` gives the leaves' canonical
            bytes, fewer than asked for at the end.
    Errors: ValueError for a position or size the log does not have.
    Source: specs/ledger.md, the log.
    """

    @property
    def size(self) -> int:
        """How many events it holds."""
        ...

    async def prove(self, positions: Sequence[int]) -> Evidence: ...

    async def cosigned(self) -> str | None: ...

    async def inclusion(self, position: int, *, size: int) -> InclusionProof: ...

    async def consistency(self, *, first: int, second: int) -> ConsistencyProof: ...

    async def entries(self, *, start: int, count: int) -> tuple[bytes, ...]: ...
