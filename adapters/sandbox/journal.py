"""The sandbox chain's memory on disk: its transactions in order, from which it grows again."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from eth_utils.crypto import keccak


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """A transaction and the block that it was mined in; running it again gives the same state."""

    block: int
    time_s: int
    caller: str
    to: str
    data: bytes
    value_wei: int

    @property
    def hash(self) -> bytes:
        """A name no other transaction has: there is one a block."""
        return keccak(text=self.line())

    def line(self) -> str:
        """As one line of JSON."""
        return json.dumps(
            {
                "block": self.block,
                "time_s": self.time_s,
                "caller": self.caller,
                "to": self.to,
                "data": self.data.hex(),
                "value_wei": str(self.value_wei),
            }
        )

    @classmethod
    def from_line(cls, line: str) -> Transaction:
        """Read back what `line` wrote."""
        fields = json.loads(line)
        return cls(
            block=fields["block"],
            time_s=fields["time_s"],
            caller=fields["caller"],
            to=fields["to"],
            data=bytes.fromhex(fields["data"]),
            value_wei=int(fields["value_wei"]),
        )


class Journal:
    """An append-only file of transactions; a line torn by a crash was never mined."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Iterator[Transaction]:
        """Everything written so far; cuts a torn last line off the file."""
        if not self._path.exists():
            return
        whole = self._path.read_bytes()
        kept, newline, torn = whole.rpartition(b"\n")
        if torn:
            os.truncate(self._path, len(kept) + len(newline))
        for line in kept.decode("ascii").splitlines():
            yield Transaction.from_line(line)

    def append(self, sent: Transaction) -> None:
        """Write one, and return when it is on the disk."""
        with self._path.open("ab") as file:
            file.write(sent.line().encode("ascii") + b"\n")
            file.flush()
            os.fsync(file.fileno())
