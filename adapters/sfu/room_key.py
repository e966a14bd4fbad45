"""The key of a dTelecom room: its name and the API key it belongs to, in bit-packed base62.

Room names mean nothing without it: everybody with an API key of their own can have a room of any
name, and a node truly signs what happens there.
"""

from __future__ import annotations

import hmac
import string
from functools import lru_cache

_DIGITS = string.ascii_uppercase + string.ascii_lowercase + string.digits
# Six bits have 64 values for 62 digits: those that begin with four ones are written as five bits.
_SHORT = 0b011110
# One API key for ever, and rooms of which several events come.
_REMEMBERED_MAX = 1_024


def room_key(room_name: str, api_key: str) -> str:
    """As a node writes it into `room.key`."""
    return f"{_base62(room_name.encode())}|{_base62(api_key.encode())}"


def is_room_key(found: str, room_name: str, api_key: str) -> bool:
    """Whether the room is of this name and of this API key; in constant time."""
    return hmac.compare_digest(found.encode(), room_key(room_name, api_key).encode())


@lru_cache(maxsize=_REMEMBERED_MAX)
def _base62(raw: bytes) -> str:
    value, bits = int.from_bytes(raw), 8 * len(raw)
    digits = []
    while bits > 0:
        taken = min(6, bits)
        digit = value & ((1 << taken) - 1)
        if digit & _SHORT == _SHORT:
            if bits > taken or digit >> 5:
                taken -= 1
            digit &= 0b011111
        digits.append(_DIGITS[digit])
        value >>= taken
        bits -= taken
    return "".join(digits)
