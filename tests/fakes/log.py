"""The transparency log in memory, signed with a throwaway key."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from adapters.keys import Ed25519Signer
from domain.checkpoint import Checkpoint, SignerKey
from domain.merkle import MerkleTree, leaf_hash
from domain.ports.log import ConsistencyProof, Evidence, InclusionProof
from domain.proofs import consistency_of, inclusion_of
from domain.record import Record

# Throwaway: 32 bytes of 0x05.
SIGNER = Ed25519Signer(b"\x05" * 32)
SIGNER_KEY = SignerKey(name="gateway.test", public=SIGNER.public)


class MemoryLog:
    """Implements `TransparencyLog` by building the tree anew each time."""

    def __init__(self, records: Callable[[], tuple[Record, ...]]) -> None:
        self._records = records

    @property
    def size(self) -> int:
        return len(self._records())

    async def prove(self, positions: Sequence[int]) -> Evidence:
        tree = self._tree()
        head = Checkpoint(origin=SIGNER_KEY.name, size=tree.size, root=tree.root())
        return Evidence(
            checkpoint=head.signed(SIGNER_KEY, SIGNER.sign),
            signer=SIGNER_KEY.text,
            size=tree.size,
            proofs={p: tree.inclusion_proof(p - 1, tree.size) for p in positions},
        )

    async def cosigned(self) -> str | None:
        return None

    async def inclusion(self, position: int, *, size: int) -> InclusionProof:
        return inclusion_of(self._tree(), position, size=size, checkpoint=None)

    async def consistency(self, *, first: int, second: int) -> ConsistencyProof:
        return consistency_of(self._tree(), first=first, second=second)

    async def entries(self, *, start: int, count: int) -> tuple[bytes, ...]:
        return tuple(r.leaf for r in self._records()[start - 1 : start - 1 + count])

    def _tree(self) -> MerkleTree:
        tree = MerkleTree()
        for record in self._records():
            tree.append(leaf_hash(record.leaf))
        return tree
