"""A Merkle tree in pieces: a piece that begins at a multiple of its width has peaks of its own.

The peaks of the first n leaves are the roots of the full subtrees that n's binary digits name,
from the largest to the smallest; folded from the right they give the root (RFC 9162, section 2.1).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import reduce

from domain.merkle import EMPTY_ROOT, node_hash


def levels_over(leaves: list[bytes]) -> list[list[bytes]]:
    """Every full subtree over these leaf hashes: `levels[h][i]` covers i*2^h to (i+1)*2^h - 1."""
    # By whole levels, with the hash inlined: an auditor makes one of these for every event.
    sha256 = hashlib.sha256
    levels = [leaves]
    while len(levels[-1]) > 1:
        below = levels[-1]
        pairs = zip(below[::2], below[1::2], strict=False)
        levels.append([sha256(b"\x01" + left + right).digest() for left, right in pairs])
    return levels


def peaks_of(levels: Sequence[Sequence[bytes]], size: int) -> list[bytes]:
    """The peaks of the first `size` leaves."""
    peaks = []
    start = 0
    for height in range(size.bit_length() - 1, -1, -1):
        if size >> height & 1:
            peaks.append(levels[height][start >> height])
            start += 1 << height
    return peaks


def root_of(peaks: Sequence[bytes]) -> bytes:
    """The root under these peaks, largest first."""
    if not peaks:
        return EMPTY_ROOT
    return reduce(lambda right, left: node_hash(left, right), reversed(peaks))


@dataclass(slots=True)
class Spine:
    """The peaks of a tree that grows by full subtrees of one height."""

    _full: list[tuple[int, bytes]] = field(default_factory=list)

    @property
    def peaks(self) -> list[bytes]:
        return [root for _, root in self._full]

    def append(self, root: bytes) -> None:
        """Add the next full subtree; two of a height become one."""
        height = 0
        while self._full and self._full[-1][0] == height:
            _, left = self._full.pop()
            root = node_hash(left, root)
            height += 1
        self._full.append((height, root))
