"""The dTelecom registry's accounts on Solana: where they lie, and what is in their bytes."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import base58

KEY_BYTES = 32
NODE_BYTES = 334
_NODE_TAG = hashlib.sha256(b"account:NodeEntry").digest()[:8]
_DOMAIN_BYTES_MAX = 253
_DOMAIN_AT = 8 + 2 * KEY_BYTES
_KEY_TEXT_MAX = 44
_SEED_NAME_MAX = 32
# Of a few hundred nodes each signs again and again.
_REMEMBERED_MAX = 1_024

# The curve of Ed25519: -x^2 + y^2 = 1 + d x^2 y^2 over the integers modulo p.
_P = 2**255 - 19
_D = -121_665 * pow(121_666, -1, _P) % _P


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeEntry:
    """A node as registered: who signs for it, the host it answers at, and what it says of itself.

    `active` is what the registry's keeper switched; `online` is a number the node reports.
    """

    key: bytes
    domain: str
    online: int
    active: bool


@lru_cache(maxsize=_REMEMBERED_MAX)
def key_bytes(text: str) -> bytes | None:
    """The 32 bytes of a Solana address in base58, or None."""
    # Base58 takes quadratic time, and forgives white space at the end.
    if not text.isalnum() or len(text) > _KEY_TEXT_MAX:
        return None
    try:
        key = base58.b58decode(text)
    except ValueError:
        return None
    return key if len(key) == KEY_BYTES else None


def read_node(data: bytes, *, parent: bytes) -> NodeEntry | None:
    """The node in an account's bytes, or None.

    A client's entry may lie at the very address where a node's would: its size and its tag differ.
    An entry of another registry has another parent.
    """
    if len(data) != NODE_BYTES or data[:8] != _NODE_TAG or data[8:40] != parent:
        return None
    (length,) = struct.unpack_from("<I", data, _DOMAIN_AT)
    if length > _DOMAIN_BYTES_MAX:
        return None
    behind = _DOMAIN_AT + 4 + length
    try:
        domain = data[_DOMAIN_AT + 4 : behind].decode()
    except UnicodeDecodeError:
        return None
    online, active = struct.unpack_from("<iB", data, behind)
    return NodeEntry(key=data[40:72], domain=domain, online=online, active=active == 1)


def registry_address(*, authority: bytes, name: str, program: bytes) -> bytes:
    """Where the registry of this authority and name lies; ValueError for too long a name."""
    if len(name.encode()) > _SEED_NAME_MAX:
        msg = f"a registry's name has at most {_SEED_NAME_MAX} bytes"
        raise ValueError(msg)
    return _derived((authority, name.encode()), program)


def entry_address(key: bytes, *, registry: bytes, program: bytes) -> bytes:
    """Where the entry of this key lies, a node's as well as a client's."""
    return _derived((key, registry), program)


def _derived(seeds: Sequence[bytes], program: bytes) -> bytes:
    """The first hash, counting a byte down, that is no point of the curve: nobody has its key."""
    for bump in range(255, -1, -1):
        hashed = hashlib.sha256(
            b"".join((*seeds, bytes([bump]), program, b"ProgramDerivedAddress"))
        ).digest()
        if not _is_point(hashed):
            return hashed
    msg = "no address can be derived from these seeds"
    raise ValueError(msg)


def _is_point(compressed: bytes) -> bool:
    y = int.from_bytes(compressed, "little") & (2**255 - 1)
    # x^2 = u / v; that is a square when u * v is one.
    u, v = (y * y - 1) % _P, (_D * y * y + 1) % _P
    return pow(u * v % _P, (_P - 1) // 2, _P) in (0, 1)
