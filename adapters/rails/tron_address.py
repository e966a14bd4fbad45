"""TRON addresses: base58check of 0x41 and the 20 bytes that contracts know an account by."""

from __future__ import annotations

import hashlib

import base58

_PREFIX = b"\x41"
_TEXT_LENGTH = 34
_RAW_LENGTH = 25
_CHECKED = 21


def account_of(address: str) -> bytes:
    """The 20 bytes of an address; ValueError for any other spelling, a wrong checksum included."""
    # Base58 takes quadratic time, and forgives white space at the end.
    if len(address) != _TEXT_LENGTH or not address.isascii() or not address.isalnum():
        msg = "expected a TRON address in base58"
        raise ValueError(msg)
    raw = base58.b58decode(address)
    if len(raw) != _RAW_LENGTH or not raw.startswith(_PREFIX):
        msg = "expected a TRON address: it begins with T"
        raise ValueError(msg)
    if _checksum(raw[:_CHECKED]) != raw[_CHECKED:]:
        msg = "the checksum of the TRON address is wrong"
        raise ValueError(msg)
    return raw[1:_CHECKED]


def address_of(account: bytes) -> str:
    """The address of 20 bytes."""
    raw = _PREFIX + account
    return base58.b58encode(raw + _checksum(raw)).decode("ascii")


def _checksum(raw: bytes) -> bytes:
    return hashlib.sha256(hashlib.sha256(raw).digest()).digest()[:4]
