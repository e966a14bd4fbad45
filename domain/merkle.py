"""The Merkle tree of RFC 9162 (section 2.1): hashing, and inclusion and consistency proofs."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

_HASH_BYTES = 32
_PAIR_BYTES = 2 * _HASH_BYTES
EMPTY_ROOT = hashlib.sha256(b"").digest()


def leaf_hash(data: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


class MerkleTree:
    """An append-only tree over leaf hashes that answers for every size it ever had.

    `_levels[h]` holds, 32 bytes each, the roots of the full subtrees over leaves i*2^h to
    (i+1)*2^h - 1, so a proof reads a logarithmic number of stored hashes and recomputes only the
    ragged right edge. Packed, a million leaves take 64 MB; as objects they took three times that.
    """

    def __init__(self) -> None:
        self._levels: list[bytearray] = [bytearray()]

    @property
    def size(self) -> int:
        return len(self._levels[0]) // _HASH_BYTES

    def append(self, leaf: bytes) -> None:
        """Add one leaf hash (32 bytes)."""
        levels = self._levels
        level = levels[0]
        level += leaf
        height = 0
        while not len(level) % _PAIR_BYTES:
            height += 1
            if height == len(levels):
                levels.append(bytearray())
            parent = hashlib.sha256(b"\x01" + level[-_PAIR_BYTES:]).digest()
            level = levels[height]
            level += parent

    def leaf(self, index: int) -> bytes:
        return self._node(0, index)

    def root(self, size: int | None = None) -> bytes:
        """The root over the first `size` leaves (all by default)."""
        size = self.size if size is None else size
        self._check_size(size)
        return EMPTY_ROOT if size == 0 else self._subtree(0, size)

    def inclusion_proof(self, index: int, size: int) -> tuple[bytes, ...]:
        """The audit path of leaf `index` (from 0) in the tree of `size` leaves."""
        self._check_size(size)
        if not 0 <= index < size:
            msg = f"leaf {index} is not in a tree of {size}"
            raise ValueError(msg)
        path: list[bytes] = []
        start, end = 0, size
        while end - start > 1:
            split = start + _largest_power_below(end - start)
            if index < split:
                path.append(self._subtree(split, end))
                end = split
            else:
                path.append(self._subtree(start, split))
                start = split
        return tuple(reversed(path))

    def consistency_proof(self, old_size: int, new_size: int) -> tuple[bytes, ...]:
        """Proof that the tree of `old_size` leaves is a prefix of the one of `new_size`."""
        self._check_size(new_size)
        if not 0 < old_size <= new_size:
            msg = f"no consistency proof from size {old_size} to {new_size}"
            raise ValueError(msg)
        path: list[bytes] = []
        start, end, whole = 0, new_size, True
        while end != old_size:
            split = start + _largest_power_below(end - start)
            if old_size <= split:
                path.append(self._subtree(split, end))
                end = split
            else:
                path.append(self._subtree(start, split))
                start, whole = split, False
        if not whole:
            path.append(self._subtree(start, end))
        return tuple(reversed(path))

    def _subtree(self, start: int, end: int) -> bytes:
        """The hash over leaves start to end; start is a multiple of the width, as in RFC 9162."""
        height = (end - start - 1).bit_length()
        if end - start == 1 << height:
            return self._node(height, start >> height)
        split = start + _largest_power_below(end - start)
        return node_hash(self._subtree(start, split), self._subtree(split, end))

    def _node(self, height: int, index: int) -> bytes:
        at = index * _HASH_BYTES
        return bytes(self._levels[height][at : at + _HASH_BYTES])

    def _check_size(self, size: int) -> None:
        if not 0 <= size <= self.size:
            msg = f"the tree has {self.size} leaves (asked for {size})"
            raise ValueError(msg)


def verify_inclusion(
    leaf: bytes, *, index: int, size: int, proof: Sequence[bytes], root: bytes
) -> bool:
    """Whether `proof` shows `leaf` at `index` of the tree of `size` leaves under `root`."""
    if not 0 <= index < size:
        return False
    position, last, current = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if position & 1 or position == last:
            current = node_hash(sibling, current)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            current = node_hash(current, sibling)
        position, last = position >> 1, last >> 1
    return last == 0 and current == root


def verify_consistency(
    *, old_size: int, old_root: bytes, new_size: int, new_root: bytes, proof: Sequence[bytes]
) -> bool:
    """Whether the tree of `new_size` leaves begins with the tree of `old_size`."""
    if not 0 < old_size <= new_size:
        return False
    if old_size == new_size:
        return not proof and old_root == new_root
    path = [old_root, *proof] if old_size & (old_size - 1) == 0 else list(proof)
    if not path:
        return False
    position, last = old_size - 1, new_size - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if position & 1 or position == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        position, last = position >> 1, last >> 1
    return last == 0 and old == old_root and new == new_root


def _largest_power_below(width: int) -> int:
    """The largest power of two smaller than `width`."""
    return 1 << ((width - 1).bit_length() - 1)
