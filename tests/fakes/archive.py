"""Archives in memory: as a gateway would write them, and as a forger would."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from domain.archive import Manifest, SegmentEntry
from domain.checkpoint import Checkpoint, Sign, SignerKey
from domain.merkle import MerkleTree, leaf_hash
from domain.record import Record
from tests.fakes.log import SIGNER, SIGNER_KEY

WIDTH = 8


def heads_over(
    records: Sequence[Record],
    sizes: Sequence[int],
    *,
    key: SignerKey = SIGNER_KEY,
    sign: Sign = SIGNER.sign,
) -> list[tuple[int, str]]:
    """Heads of these sizes as signed over these records."""
    tree = MerkleTree()
    for record in records:
        tree.append(leaf_hash(record.leaf))
    return [
        (size, Checkpoint(origin=key.name, size=size, root=tree.root(size)).signed(key, sign))
        for size in sizes
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryArchive:
    """Implements `Archive`; its manifest agrees with its leaves, whatever they are."""

    leaves: Sequence[bytes]
    signed: Sequence[tuple[int, str]]
    signers: tuple[SignerKey, ...] = (SIGNER_KEY,)

    @property
    def manifest(self) -> Manifest:
        segments = []
        for first in range(0, len(self.leaves), WIDTH):
            piece = self.leaves[first : first + WIDTH]
            tree = MerkleTree()
            for leaf in piece:
                tree.append(leaf_hash(leaf))
            segments.append(
                SegmentEntry(
                    first=first + 1,
                    events=len(piece),
                    sha256=hashlib.sha256(_joined(piece)).hexdigest(),
                    root=tree.root(),
                )
            )
        return Manifest(
            origin=SIGNER_KEY.name,
            segment_events=WIDTH,
            signers=self.signers,
            segments=tuple(segments),
        )

    def heads(self) -> Iterator[tuple[int, str]]:
        yield from self.signed

    def loader(self, index: int) -> Callable[[], bytes]:
        data = _joined(self.leaves[index * WIDTH : (index + 1) * WIDTH])
        return lambda: data


def _joined(leaves: Sequence[bytes]) -> bytes:
    return b"".join(leaf + b"\n" for leaf in leaves)
