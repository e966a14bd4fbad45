"""What a witness is asked: C2SP tlog-witness, add-checkpoint."""

from __future__ import annotations

import base64
from dataclasses import dataclass

from domain.checkpoint import decode_base64

PATH = "/add-checkpoint"
SIZE_TYPE = "text/x.tlog.size"
PROOF_LINES_MAX = 63
BYTES_MAX = 1 << 16
_HASH_BYTES = 32
# What any database holds in a number.
_DIGITS_MAX = 18


@dataclass(frozen=True, slots=True, kw_only=True)
class AddCheckpoint:
    """Cosign `note`: its log begins with the `old` events you saw last, as `proof` shows."""

    old: int
    proof: tuple[bytes, ...]
    note: str

    @property
    def text(self) -> str:
        hashes = "".join(f"{base64.b64encode(line).decode()}\n" for line in self.proof)
        return f"old {self.old}\n{hashes}\n{self.note}"

    @classmethod
    def parse(cls, data: bytes) -> AddCheckpoint:
        """Read what `text` wrote; ValueError for anything else."""
        head, gap, note = data.decode().partition("\n\n")
        first, *lines = head.split("\n")
        word, _, number = first.partition(" ")
        proof = tuple(decode_base64(line) for line in lines)
        if len(proof) > PROOF_LINES_MAX or any(len(line) != _HASH_BYTES for line in proof):
            msg = f"expected at most {PROOF_LINES_MAX} hashes of {_HASH_BYTES} bytes"
            raise ValueError(msg)
        if not gap or word != "old" or not is_size(number):
            msg = "expected `old N`, proof lines, an empty line and a checkpoint"
            raise ValueError(msg)
        return cls(old=int(number), proof=proof, note=note)


def is_size(text: str) -> bool:
    """Whether this is a tree's size in its one spelling."""
    is_number = text.isascii() and text.isdecimal() and len(text) <= _DIGITS_MAX
    return is_number and str(int(text)) == text
