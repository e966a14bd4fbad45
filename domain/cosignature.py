"""Somebody else's word that a head was seen: C2SP tlog-cosignature, Ed25519 cosignature/v1.

A witness signs a head only after checking that it continues the last one it signed, so that a log
with a witness cannot show two histories.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from domain.checkpoint import (
    CheckpointError,
    CheckSignature,
    Sign,
    key_hint,
    key_text,
    parse_key,
    signature_line,
    split_note,
)

_ALGORITHM = b"\x04"
_TIME_BYTES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class WitnessKey:
    """The Ed25519 public key of a witness and the name it cosigns under."""

    name: str
    public: bytes

    @property
    def hint(self) -> bytes:
        return key_hint(self.name, _ALGORITHM, self.public)

    @property
    def text(self) -> str:
        return key_text(self.name, _ALGORITHM, self.public)

    @classmethod
    def parse(cls, text: str) -> WitnessKey:
        """Read `name+hint+key`; anything else is a CheckpointError."""
        name, public = parse_key(text, _ALGORITHM)
        return cls(name=name, public=public)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cosignature:
    """A witness saw this head at `at_s`, in seconds since the Unix epoch."""

    witness: WitnessKey
    at_s: int


def cosigned(note: str, key: WitnessKey, sign: Sign, *, at_s: int) -> str:
    """The note with this witness's line; an earlier one of the same witness is replaced."""
    body, lines = split_note(note)
    kept = [line for line in lines if (line.name, line.hint) != (key.name, key.hint)]
    signature = at_s.to_bytes(_TIME_BYTES, "big") + sign(_message(body, at_s))
    own = signature_line(key.name, key.hint, signature)
    return f"{body}\n" + "".join(signature_line(s.name, s.hint, s.signature) for s in kept) + own


def cosignatures(
    note: str, *, witnesses: Sequence[WitnessKey], check: CheckSignature
) -> tuple[Cosignature, ...]:
    """Which of `witnesses` cosigned; CheckpointError where one of them did not, or badly."""
    body, lines = split_note(note)
    found = []
    for witness in witnesses:
        line = next((s for s in lines if (s.name, s.hint) == (witness.name, witness.hint)), None)
        if line is None:
            msg = f"no cosignature by witness {witness.name} (key hint {witness.hint.hex()})"
            raise CheckpointError(msg)
        at_s = int.from_bytes(line.signature[:_TIME_BYTES], "big")
        if not check(witness.public, _message(body, at_s), line.signature[_TIME_BYTES:]):
            msg = f"a bad cosignature by witness {witness.name} (key hint {witness.hint.hex()})"
            raise CheckpointError(msg)
        found.append(Cosignature(witness=witness, at_s=at_s))
    return tuple(found)


def _message(body: str, at_s: int) -> bytes:
    return f"cosignature/v1\ntime {at_s}\n{body}".encode()
