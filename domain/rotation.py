"""How a log changes its key: the former key names the new one, and the new one signs too.

A head with two signatures would prove nothing: anybody can sign what is published. So the former
key signs a text that names its heir.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from domain.checkpoint import (
    Checkpoint,
    CheckpointError,
    CheckSignature,
    NoteSignature,
    Sign,
    SignerKey,
    decode_base64,
    signature_line,
    split_note,
)

# No checkpoint begins so and goes on with a size: neither can be taken for the other.
_TITLE = "payphone-log-key-1"
_NAMES = ("origin", "size", "root", "former", "key")


class RotationError(CheckpointError):
    """A change of key that the former key did not sign for, or that does not follow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """From the head `since` on, `key` signs for the log where `former` did."""

    since: Checkpoint
    former: SignerKey
    key: SignerKey

    @property
    def body(self) -> str:
        head = self.since
        values = (
            head.origin,
            str(head.size),
            base64.b64encode(head.root).decode(),
            self.former.text,
            self.key.text,
        )
        lines = (f"{name} {value}" for name, value in zip(_NAMES, values, strict=True))
        return "".join(f"{line}\n" for line in (_TITLE, *lines))

    def signed(self, *, sign_former: Sign, sign: Sign) -> str:
        """The whole note, with the signatures of both keys."""
        body = self.body.encode()
        return (
            f"{self.body}\n"
            + signature_line(self.former.name, self.former.hint, sign_former(body))
            + signature_line(self.key.name, self.key.hint, sign(body))
        )


def open_rotation(note: str, *, check: CheckSignature) -> Rotation:
    """Read a change of key that both its keys signed; RotationError otherwise.

    Whether the former key is one to trust, the caller must know.
    """
    body, lines = split_note(note)
    rotation = _parse(body)
    for key in (rotation.former, rotation.key):
        if not any(_is_signed(body, key, line, check) for line in lines):
            msg = f"this change of key is not signed by {key.name} (key hint {key.hint.hex()})"
            raise RotationError(msg)
    return rotation


def follow(
    notes: Sequence[str], *, trusted: Sequence[SignerKey], check: CheckSignature
) -> tuple[SignerKey, ...]:
    """The trusted keys and all that follow from them, newest first; RotationError at a forgery.

    `notes` are changes of key, oldest first. Those before the first trusted key are read over.
    """
    known = list(trusted)
    heirs: dict[SignerKey, SignerKey] = {}
    size = 0
    for note in notes:
        rotation = open_rotation(note, check=check)
        if heirs.setdefault(rotation.former, rotation.key) != rotation.key:
            msg = f"the key {rotation.former.text} named two keys to follow it"
            raise RotationError(msg)
        if rotation.since.size < size:
            msg = f"a key follows at size {rotation.since.size}, after one at size {size}"
            raise RotationError(msg)
        size = rotation.since.size
        if rotation.former in known and rotation.key not in known:
            known.insert(known.index(rotation.former), rotation.key)
    return tuple(known)


def outlived(
    size: int, signers: Iterable[SignerKey], rotations: Iterable[Rotation]
) -> Rotation | None:
    """The change of key after which none of these signers may sign a head of this size."""
    ends = {rotation.former: rotation for rotation in rotations}
    over = [ends.get(signer) for signer in signers]
    past = [end for end in over if end is not None and end.since.size < size]
    return past[0] if past and len(past) == len(over) else None


def _is_signed(body: str, key: SignerKey, line: NoteSignature, check: CheckSignature) -> bool:
    is_own = (line.name, line.hint) == (key.name, key.hint)
    return is_own and check(key.public, body.encode(), line.signature)


def _parse(body: str) -> Rotation:
    title, *lines = body.removesuffix("\n").split("\n")
    fields = dict(line.partition(" ")[::2] for line in lines)
    if title != _TITLE or tuple(fields) != _NAMES:
        msg = f"a change of key is `{_TITLE}` with the lines {', '.join(_NAMES)}"
        raise RotationError(msg)
    try:
        rotation = Rotation(
            since=Checkpoint(
                origin=fields["origin"],
                size=int(fields["size"]),
                root=decode_base64(fields["root"]),
            ),
            former=SignerKey.parse(fields["former"]),
            key=SignerKey.parse(fields["key"]),
        )
    except ValueError as damage:
        msg = f"a change of key cannot be read: {damage}"
        raise RotationError(msg) from damage
    if rotation.body != body or rotation.former == rotation.key:
        msg = "a change of key names two keys and has no other spelling"
        raise RotationError(msg)
    if {rotation.former.name, rotation.key.name} != {rotation.since.origin}:
        msg = f"a change of key keeps the log's name {rotation.since.origin}"
        raise RotationError(msg)
    return rotation
