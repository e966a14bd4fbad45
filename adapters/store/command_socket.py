"""How commands travel between gateways of one host: a greeting, then frames of pickled values.

A socket lies in a folder that only its user can enter, and each side checks that the other runs as
the same user: whoever could speak here could as well change this process in memory.
"""

from __future__ import annotations

import hashlib
import pickle
import socket
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from os import geteuid
from pathlib import Path
from typing import Any

import domain

PROTOCOL = 1
# Commands of one frame at most, and bytes: an answer may be an account with all that it holds.
COMMANDS_MAX = 256
FRAME_MAX = 16 << 20
# Commands without an answer on one connection.
IN_FLIGHT_MAX = 10_000
GREETING_MAX = 200
# Bytes that follow; the number of the first command, or the ledger's position; how many values.
_HEAD = struct.Struct(">IQH")
_CREDENTIALS = struct.Struct("3i")


class WireError(Exception):
    """What came over the socket is not ours."""


class OtherReleaseError(WireError):
    """The other side runs other code: the same command might mean something else there."""


@dataclass(frozen=True, slots=True)
class Frame:
    """`count` values, pickled; `number` is the first command's, or the ledger's position."""

    number: int
    count: int
    body: bytes

    @property
    def values(self) -> tuple[Any, ...]:
        """WireError where they cannot be read."""
        try:
            values = pickle.loads(self.body)  # noqa: S301 (both sides are one user and one release, checked)
        except Exception as damage:  # a pickle can raise anything
            raise WireError(f"a frame cannot be read: {damage!r}") from damage
        if not isinstance(values, tuple) or len(values) != self.count:
            raise WireError(f"a frame holds {type(values).__name__}, not {self.count} values")
        return values


@cache
def greeting() -> bytes:
    """What each side says first: the protocol, and the very code that decides commands."""
    code = hashlib.sha256()
    root = Path(domain.__path__[0])
    for path in sorted(root.rglob("*.py")):
        code.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    release = f"{version('payphone')}+{code.hexdigest()[:16]}"
    return f"payphone-ledger/{PROTOCOL} {release}\n".encode()


def check_peer(other: socket.socket) -> None:
    """WireError unless the other side runs as our user."""
    packed = other.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, user, _ = _CREDENTIALS.unpack(packed)
    if user != geteuid():
        raise WireError(f"the other side runs as user {user}, not {geteuid()}")


def packed(number: int, values: Sequence[Any]) -> bytes:
    """One frame; whatever pickle raises where a value is none."""
    body = pickle.dumps(tuple(values), protocol=pickle.HIGHEST_PROTOCOL)
    return _HEAD.pack(len(body), number, len(values)) + body


class FrameReader:
    """Bytes in, as they come; whole frames out, after a greeting that is the same as ours."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._is_greeted = False

    @property
    def is_greeted(self) -> bool:
        return self._is_greeted

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Every frame that is complete; WireError for what is none."""
        self._buffer += data
        if not self._is_greeted and not self._greet():
            return
        start = 0
        while len(self._buffer) - start >= _HEAD.size:
            size, number, count = _HEAD.unpack_from(self._buffer, start)
            if size > FRAME_MAX:
                raise WireError(f"a frame of {size} bytes, more than {FRAME_MAX}")
            end = start + _HEAD.size + size
            if len(self._buffer) < end:
                break
            yield Frame(number, count, bytes(self._buffer[start + _HEAD.size : end]))
            start = end
        del self._buffer[:start]

    def _greet(self) -> bool:
        line, end, rest = self._buffer.partition(b"\n")
        if end and line + end == greeting():
            self._buffer, self._is_greeted = rest, True
            return True
        if end and line.startswith(b"payphone-ledger/") and len(line) < GREETING_MAX:
            raise OtherReleaseError(
                f"the other gateway runs {line.decode(errors='replace')!r}, this one "
                f"{greeting().decode().strip()!r}: run the same release everywhere"
            )
        if end or len(self._buffer) > GREETING_MAX:
            raise WireError(f"no greeting: {bytes(self._buffer[:40])!r}")
        return False
