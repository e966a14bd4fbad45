"""A signed statement of the log's size and root: C2SP tlog-checkpoint inside a C2SP signed note."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

_ED25519 = b"\x01"
_KEY_BYTES = 32
_HINT_BYTES = 4
_LINES = 3

Sign = Callable[[bytes], bytes]
CheckSignature = Callable[[bytes, bytes, bytes], bool]
"""(public key, message, signature) -> whether the signature is good."""


class CheckpointError(ValueError):
    """The text is not a checkpoint signed by a key we were told to trust."""


class WrongKeyError(CheckpointError):
    """It is signed, and by none of the keys we were told to trust."""


def decode_base64(text: str) -> bytes:
    """Read base64 in its one canonical spelling; ValueError for any other.

    The usual decoder drops spare bits, so that two texts mean the same bytes: a flipped bit in one
    would go unseen.
    """
    raw = base64.b64decode(text, validate=True)
    if base64.b64encode(raw).decode() != text:
        msg = f"expected canonical base64 (got {text[:80]!r})"
        raise ValueError(msg)
    return raw


def key_hint(name: str, algorithm: bytes, public: bytes) -> bytes:
    """The first four bytes of SHA-256 over name, newline, algorithm and key."""
    return hashlib.sha256(name.encode() + b"\n" + algorithm + public).digest()[:4]


def key_text(name: str, algorithm: bytes, public: bytes) -> str:
    """The verifier key in the format of C2SP signed notes: `name+hint+key`."""
    encoded = base64.b64encode(algorithm + public).decode()
    return f"{name}+{key_hint(name, algorithm, public).hex()}+{encoded}"


def parse_key(text: str, algorithm: bytes) -> tuple[str, bytes]:
    """Read `name+hint+key` of this algorithm into name and key; otherwise CheckpointError."""
    try:
        name, hint, key = text.strip().split("+", 2)
        raw = decode_base64(key)
    except ValueError as damage:
        msg = f"expected a verifier key `name+hint+base64` (got {text[:80]!r})"
        raise CheckpointError(msg) from damage
    public = raw[1:]
    if raw[:1] != algorithm or len(public) != _KEY_BYTES:
        msg = f"not an Ed25519 verifier key of algorithm {algorithm.hex()} (got {text[:80]!r})"
        raise CheckpointError(msg)
    if key_hint(name, algorithm, public).hex() != hint:
        msg = f"not an Ed25519 verifier key: its hint does not match ({text[:80]!r})"
        raise CheckpointError(msg)
    return name, public


@dataclass(frozen=True, slots=True, kw_only=True)
class SignerKey:
    """An Ed25519 public key and the name it signs under (a URL without scheme)."""

    name: str
    public: bytes

    @property
    def hint(self) -> bytes:
        return key_hint(self.name, _ED25519, self.public)

    @property
    def text(self) -> str:
        return key_text(self.name, _ED25519, self.public)

    @classmethod
    def parse(cls, text: str) -> SignerKey:
        """Read `name+hint+key`; anything else is a CheckpointError."""
        name, public = parse_key(text, _ED25519)
        return cls(name=name, public=public)


def parse_keys(text: str) -> tuple[SignerKey, ...]:
    """Read verifier keys, one a line, newest first; a log that changed its key has several."""
    keys = tuple(SignerKey.parse(line) for line in text.splitlines() if line.strip())
    if not keys:
        msg = "expected at least one verifier key `name+hint+base64`"
        raise CheckpointError(msg)
    return keys


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The log called `origin` had `size` entries under `root`."""

    origin: str
    size: int
    root: bytes

    @property
    def body(self) -> str:
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    def signed(self, key: SignerKey, sign: Sign) -> str:
        """The whole note: body, empty line, signature line."""
        return f"{self.body}\n{signature_line(key.name, key.hint, sign(self.body.encode()))}"


def signature_line(name: str, hint: bytes, signature: bytes) -> str:
    """One line below a note's body."""
    return f"\N{EM DASH} {name} {base64.b64encode(hint + signature).decode()}\n"


def also_signed(note: str, key: SignerKey, sign: Sign) -> str:
    """The note with one more signature, as a log signs while it changes its key."""
    body, _ = split_note(note)
    return note + signature_line(key.name, key.hint, sign(body.encode()))


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteSignature:
    """One signature line, taken apart."""

    name: str
    hint: bytes
    signature: bytes

    @property
    def text(self) -> str:
        return signature_line(self.name, self.hint, self.signature)


def parse_signatures(text: str) -> tuple[NoteSignature, ...]:
    """Read whole signature lines, as a witness answers them; CheckpointError for anything else."""
    *lines, rest = text.split("\n")
    if rest or not lines:
        msg = "expected whole signature lines"
        raise CheckpointError(msg)
    return tuple(_signature(line) for line in lines)


def split_note(note: str) -> tuple[str, tuple[NoteSignature, ...]]:
    """The body of a signed note with its newline, and its signatures; CheckpointError if broken."""
    body, gap, signatures = note.partition("\n\n")
    # Split at newlines only: a note with another control character is another note.
    if not gap or not signatures.endswith("\n"):
        msg = "a signed note is a text, an empty line, and whole signature lines"
        raise CheckpointError(msg)
    return body + "\n", parse_signatures(signatures)


def _signature(line: str) -> NoteSignature:
    try:
        dash, name, encoded = line.split(" ")
        raw = decode_base64(encoded)
    except ValueError as damage:
        msg = f"no good signature: a line is `\N{EM DASH} name base64` (got {line[:80]!r})"
        raise CheckpointError(msg) from damage
    if dash != "\N{EM DASH}" or not name or len(raw) <= _HINT_BYTES:
        msg = f"no good signature: a line is `\N{EM DASH} name base64` (got {line[:80]!r})"
        raise CheckpointError(msg)
    return NoteSignature(name=name, hint=raw[:_HINT_BYTES], signature=raw[_HINT_BYTES:])


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedHead:
    """A checkpoint, and those of the trusted keys that signed it."""

    checkpoint: Checkpoint
    signers: tuple[SignerKey, ...]


def open_head(note: str, *, keys: Sequence[SignerKey], check: CheckSignature) -> SignedHead:
    """Read a checkpoint that at least one of `keys` signed; CheckpointError otherwise.

    Signatures of unknown keys count for nothing; a bad one of a known key spoils the note, as the
    format demands.
    """
    body, lines = split_note(note)
    by_hint = {(key.name, key.hint): key for key in keys}
    known = [
        (by_hint[line.name, line.hint], line) for line in lines if (line.name, line.hint) in by_hint
    ]
    if not known:
        wanted = ", ".join(f"{key.name} (key hint {key.hint.hex()})" for key in keys)
        found = ", ".join(f"{line.name} (key hint {line.hint.hex()})" for line in lines)
        msg = f"no good signature by {wanted}: it is signed by {found}"
        raise WrongKeyError(msg)
    for key, line in known:
        if not check(key.public, body.encode(), line.signature):
            msg = f"no good signature by {key.name} (key hint {key.hint.hex()})"
            raise CheckpointError(msg)
    return SignedHead(checkpoint=parse_checkpoint(body), signers=tuple(key for key, _ in known))


def open_checkpoint(note: str, *, key: SignerKey, check: CheckSignature) -> Checkpoint:
    """Read a checkpoint whose signature by `key` is good; CheckpointError otherwise."""
    return open_head(note, keys=(key,), check=check).checkpoint


def parse_checkpoint(body: str) -> Checkpoint:
    """Read the body of a note; who signed it is not looked at."""
    try:
        origin, size, root = body.split("\n")[:_LINES]
        parsed = Checkpoint(origin=origin, size=int(size), root=decode_base64(root))
    except ValueError as damage:
        msg = "a checkpoint is three lines: origin, size, root"
        raise CheckpointError(msg) from damage
    if parsed.body != body:
        msg = "a checkpoint has no further lines and no other spelling"
        raise CheckpointError(msg)
    return parsed
