"""TRON wallets: whose signature a text has (TronWeb's signMessageV2), and addresses (base58check).

On the C library itself, as for EVM wallets: every signed call is checked on the event loop.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

import base58
from coincurve import PublicKey
from eth_hash.auto import keccak

# The recovery id as TronWeb writes it, and as tronpy does.
_RECOVERY_IDS = {0: b"\x00", 1: b"\x01", 27: b"\x00", 28: b"\x01"}
_ADDRESS_LENGTH = 34
_PREFIX = b"\x41"
_RAW_LENGTH = 25
_CHECKED = 21
# The curve's order, halved: every signature has a twin with its s above it, that no wallet makes.
_LOW_S_MAX = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0
# The same wallets come again.
_REMEMBERED_MAX = 4_096


def text_signer(text: str, signature: bytes) -> str | None:
    """The address that made these 65 bytes (r, s, recovery id); None if none did.

    The length of the text is signed with it. TronWeb's older `signMessage` writes 32 there, always.
    """
    recovery_id = _RECOVERY_IDS.get(signature[64])
    if recovery_id is None or int.from_bytes(signature[32:64]) > _LOW_S_MAX:
        return None
    try:
        raw = text.encode()
        digest = keccak(b"\x19TRON Signed Message:\n%d%b" % (len(raw), raw))
        key = PublicKey.from_signature_and_message(signature[:64] + recovery_id, digest, None)
    except ValueError:
        # r or s is outside the curve's order, or no point has it.
        return None
    return _address(keccak(key.format(compressed=False)[1:])[12:])


@lru_cache(maxsize=_REMEMBERED_MAX)
def is_address(address: str) -> bool:
    """Whether this is base58check of 0x41 and 20 bytes: the one form that we know a wallet by."""
    # Base58 takes quadratic time, and forgives white space at the end.
    if len(address) != _ADDRESS_LENGTH or not address.isalnum():
        return False
    try:
        raw = base58.b58decode(address)
    except ValueError:
        return False
    return (
        len(raw) == _RAW_LENGTH
        and raw.startswith(_PREFIX)
        and _checksum(raw[:_CHECKED]) == raw[_CHECKED:]
    )


@lru_cache(maxsize=_REMEMBERED_MAX)
def _address(account: bytes) -> str:
    raw = _PREFIX + account
    return base58.b58encode(raw + _checksum(raw)).decode("ascii")


def _checksum(raw: bytes) -> bytes:
    return hashlib.sha256(hashlib.sha256(raw).digest()).digest()[:4]
