"""A signed statement of the log's size and root: C2SP tlog-checkpoint inside a C2SP signed note."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass

_ED25519 = b"\x01"
_KEY_BYTES = 32
_LINES = 3

Sign = Callable[[bytes], bytes]
CheckSignature = Callable[[bytes, bytes, bytes], bool]
"""(public key, message, signature) -> whether the signature is good."""


class CheckpointError(ValueError):
    """The text is not a checkpoint signed by the key we were told to trust."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class SignerKey:
    """An Ed25519 public key and the name it signs under (a URL without scheme)."""

    name: str
    public: bytes

    @property
    def hint(self) -> bytes:
        """The first four bytes of SHA-256 over name, newline, algorithm and key."""
        return hashlib.sha256(self.name.encode() + b"\n" + _ED25519 + self.public).digest()[:4]

    @property
    def text(self) -> str:
        """The verifier key in the format of C2SP signed notes: `name+hint+key`."""
        key = base64.b64encode(_ED25519 + self.public).decode()
        return f"{self.name}+{self.hint.hex()}+{key}"

    @classmethod
    def parse(cls, text: str) -> SignerKey:
        """Read `name+hint+key`; anything else is a CheckpointError."""
        try:
            name, hint, key = text.strip().split("+", 2)
            raw = decode_base64(key)
        except ValueError as damage:
            msg = f"expected a verifier key `name+hint+base64` (got {text[:80]!r})"
            raise CheckpointError(msg) from damage
        parsed = cls(name=name, public=raw[1:])
        if raw[:1] != _ED25519 or len(parsed.public) != _KEY_BYTES or parsed.hint.hex() != hint:
            msg = f"not an Ed25519 verifier key, or its hint does not match ({text[:80]!r})"
            raise CheckpointError(msg)
        return parsed


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
        signature = base64.b64encode(key.hint + sign(self.body.encode())).decode()
        return f"{self.body}\n\N{EM DASH} {key.name} {signature}\n"


def open_checkpoint(note: str, *, key: SignerKey, check: CheckSignature) -> Checkpoint:
    """Read a checkpoint whose signature by `key` is good; CheckpointError otherwise."""
    body, gap, signatures = note.partition("\n\n")
    body += "\n"
    # Split at newlines only: a note with another control character is another note.
    *lines, rest = signatures.split("\n")
    if not gap or rest:
        msg = "a signed note is a text, an empty line, and whole signature lines"
        raise CheckpointError(msg)
    if not any(_signature_holds(line, body=body, key=key, check=check) for line in lines):
        msg = f"no good signature by {key.name} (key hint {key.hint.hex()})"
        raise CheckpointError(msg)
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


def _signature_holds(line: str, *, body: str, key: SignerKey, check: CheckSignature) -> bool:
    dash, _, rest = line.partition(" ")
    name, _, encoded = rest.rpartition(" ")
    if dash != "\N{EM DASH}" or name != key.name:
        return False
    try:
        raw = decode_base64(encoded)
    except ValueError:
        return False
    return raw[:4] == key.hint and check(key.public, body.encode(), raw[4:])
