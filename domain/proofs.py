"""Proofs between positions and sizes, as a log hands them out."""

from __future__ import annotations

from domain.merkle import MerkleTree
from domain.ports.log import ConsistencyProof, InclusionProof


def inclusion_of(
    tree: MerkleTree, position: int, *, size: int, checkpoint: str | None
) -> InclusionProof:
    """The proof for a position (from 1) in the tree's first `size` leaves."""
    hashes = tree.inclusion_proof(position - 1, size)
    return InclusionProof(
        position=position,
        size=size,
        leaf=tree.leaf(position - 1),
        root=tree.root(size),
        hashes=hashes,
        checkpoint=checkpoint,
    )


def consistency_of(tree: MerkleTree, *, first: int, second: int) -> ConsistencyProof:
    """The proof between two sizes of one tree."""
    return ConsistencyProof(
        first=first,
        second=second,
        hashes=tree.consistency_proof(first, second),
        first_root=tree.root(first),
        second_root=tree.root(second),
    )
