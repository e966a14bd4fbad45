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


class TransparencyLog(Protocol):
    """Proves entries under a head that is signed and kept.

    Shape:  positions (from 1) in, one proof each out, all under the same checkpoint.
    Errors: ValueError for a position the log does not have.
    Source: specs/ledger.md, the log.
    """

    async def prove(self, positions: Sequence[int]) -> Evidence: ...
