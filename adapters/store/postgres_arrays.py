"""Arrays in PostgreSQL's binary form, made at once rather than value by value."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from psycopg.abc import AdaptContext
from psycopg.adapt import Dumper
from psycopg.pq import Format

UUIDS, BIGINTS, TEXTS, BYTES = 2950, 20, 25, 17
"""The types of elements, as every server numbers them."""
_HEADER = struct.Struct("!iiIii")
_LENGTH = struct.Struct("!I").pack


@dataclass(frozen=True, slots=True)
class PackedArray:
    """One dimension from index 1, no nulls; the statement's cast says what it is an array of."""

    data: bytes

    @classmethod
    def of(cls, element: int, values: Sequence[bytes]) -> PackedArray:
        """`values` as the server's `recv` function of that type reads them."""
        parts = [_HEADER.pack(1, 0, element, len(values), 1)]
        for value in values:
            parts += (_LENGTH(len(value)), value)
        return cls(b"".join(parts))


class _Dumper(Dumper):
    format = Format.BINARY

    def dump(self, obj: PackedArray) -> bytes:
        return obj.data


def register_arrays(context: AdaptContext) -> None:
    """Let this connection send packed arrays."""
    context.adapters.register_dumper(PackedArray, _Dumper)
