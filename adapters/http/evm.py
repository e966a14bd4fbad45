"""EVM wallets: whose signature a text has (ERC-191), and addresses as people write them (ERC-55).

On the C library itself: every signed call is checked on the event loop, and by way of eth-account a
check takes twice as long.
"""

from __future__ import annotations

from functools import lru_cache

from coincurve import PublicKey
from eth_hash.auto import keccak

# The recovery id as wallets write it, and as some libraries do.
_RECOVERY_IDS = {0: b"\x00", 1: b"\x01", 27: b"\x00", 28: b"\x01"}
_HEX_DIGITS = 40
# The same wallets come again.
_REMEMBERED_MAX = 4_096


def text_signer(text: str, signature: bytes) -> str | None:
    """The address (lower case) that made these 65 bytes (r, s, recovery id); None if none did."""
    recovery_id = _RECOVERY_IDS.get(signature[64])
    if recovery_id is None:
        return None
    try:
        raw = text.encode()
        digest = keccak(b"\x19Ethereum Signed Message:\n%d%b" % (len(raw), raw))
        key = PublicKey.from_signature_and_message(signature[:64] + recovery_id, digest, None)
    except ValueError:
        # r or s is outside the curve's order, or no point has it.
        return None
    return f"0x{keccak(key.format(compressed=False)[1:])[12:].hex()}"


@lru_cache(maxsize=_REMEMBERED_MAX)
def checksummed(address: str) -> str:
    """The address with a checksum in its capitals."""
    digits = address[2:].lower()
    marks = keccak(digits.encode()).hex()[:_HEX_DIGITS]
    return "0x" + "".join(
        digit.upper() if mark > "7" else digit for digit, mark in zip(digits, marks, strict=True)
    )
