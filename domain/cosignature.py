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
    NoteSignature,
    Sign,
    key_hint,
    key_text,
    parse_key,
    split_note,
)

_ALGORITHM = b"\x04"
_TIME_BYTES = 8
_TIME_MAX_S = 2**63 - 1


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


def cosignature(body: str, key: WitnessKey, sign: Sign, *, at_s: int) -> NoteSignature:
    """What the witness signs over the body of a checkpoint, as a line."""
    signature = at_s.to_bytes(_TIME_BYTES, "big") + sign(_message(body, at_s))
    return NoteSignature(name=key.name, hint=key.hint, signature=signature)


def cosigned(note: str, key: WitnessKey, sign: Sign, *, at_s: int) -> str:
    """The note with this witness's line; an earlier one of the same witness is replaced."""
    return with_signatures(note, [cosignature(split_note(note)[0], key, sign, at_s=at_s)])


def with_signatures(note: str, more: Sequence[NoteSignature]) -> str:
    """The note with these lines at its end, each in place of an earlier one of the same key."""
    body, lines = split_note(note)
    replaced = {(line.name, line.hint) for line in more}
    kept = [line for line in lines if (line.name, line.hint) not in replaced]
    return f"{body}\n" + "".join(line.text for line in (*kept, *more))


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
        is_good = at_s <= _TIME_MAX_S and check(
            witness.public, _message(body, at_s), line.signature[_TIME_BYTES:]
        )
        if not is_good:
            msg = f"a bad cosignature by witness {witness.name} (key hint {witness.hint.hex()})"
            raise CheckpointError(msg)
        found.append(Cosignature(witness=witness, at_s=at_s))
    return tuple(found)


def _message(body: str, at_s: int) -> bytes:
    return f"cosignature/v1\ntime {at_s}\n{body}".encode()
