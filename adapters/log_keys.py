"""The keys a log is signed with, in the data folder: which signs now, which did before.

`log.pub` names them, newest first, and decides; `log.key` holds the secret of the first.
`log.rotations` holds the changes between them, each signed by the key before it and the key after.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapters.keys import Ed25519Signer, KeyFileError, check_signature, load_or_create_seed
from domain.checkpoint import Checkpoint, CheckpointError, SignerKey, parse_keys
from domain.rotation import Rotation, open_rotation

SECRET = "log.key"  # noqa: S105 (a file's name)
PUBLIC = "log.pub"
ROTATIONS = "log.rotations"
_NEXT = "log.key.next"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogKeys:
    """`key` signs now; `former` did before, newest first.

    `rotations` are the notes of the changes between them, oldest first. `is_resumed`: a change that
    was cut short was finished just now.
    """

    signer: Ed25519Signer
    key: SignerKey
    former: tuple[SignerKey, ...] = ()
    rotations: tuple[str, ...] = ()
    is_resumed: bool = False

    @property
    def all(self) -> tuple[SignerKey, ...]:
        return (self.key, *self.former)

    def sign(self, message: bytes) -> bytes:
        return self.signer.sign(message)

    def since(self, key: SignerKey) -> int:
        """How many events the log had when this key began to sign."""
        opened = (open_rotation(note, check=check_signature) for note in self.rotations)
        return next((r.since.size for r in opened if r.key == key), 0)


def load_log_keys(folder: Path, *, name: str) -> LogKeys:
    """The keys in this folder, made on first use under this name; KeyFileError where they clash.

    A change of key that was cut short after its decision is finished, one before it is not begun.
    """
    listed = _listed(folder)
    signer = Ed25519Signer(load_or_create_seed(folder / SECRET))
    if not listed:
        if (folder / ROTATIONS).exists():
            msg = f"{folder / PUBLIC} is missing and {ROTATIONS} is there; restore it"
            raise KeyFileError(msg)
        listed = (SignerKey(name=name, public=signer.public),)
        _replace(folder / PUBLIC, _lines(listed))
    is_resumed = listed[0].public != signer.public
    if is_resumed:
        signer = _finished(folder, listed[0])
    return LogKeys(
        signer=signer,
        key=listed[0],
        former=listed[1:],
        rotations=_notes(folder, listed),
        is_resumed=is_resumed,
    )


def rotate_log_key(folder: Path, keys: LogKeys, *, head: Checkpoint) -> LogKeys:
    """Begin to sign with a new key at this head, the last one of the old key.

    The former secret is not kept: every head it signed has its signature, so all it could still do
    is forge. Dying at any step leaves the old key or the new one in force, never neither.
    """
    seed = load_or_create_seed(folder / _NEXT)
    signer = Ed25519Signer(seed)
    key = SignerKey(name=keys.key.name, public=signer.public)
    note = Rotation(since=head, former=keys.key, key=key).signed(
        sign_former=keys.sign, sign=signer.sign
    )
    rotations = (*keys.rotations, note)
    _replace(folder / ROTATIONS, json.dumps(rotations, indent=1) + "\n")
    # From here on the new key signs, whatever happens to this process.
    _replace(folder / PUBLIC, _lines((key, *keys.all)))
    _finished(folder, key)
    return LogKeys(signer=signer, key=key, former=keys.all, rotations=rotations)


def parse_rotations(text: str) -> tuple[str, ...]:
    """The notes in a `log.rotations`, or in what a gateway says of itself; ValueError for others.

    Their signatures are not looked at.
    """
    document: Any = json.loads(text)
    if isinstance(document, dict):
        log = document.get("log", {})
        document = log.get("rotations") if isinstance(log, dict) else None
    if not isinstance(document, list) or not all(isinstance(note, str) for note in document):
        msg = "expected a log.rotations, or the JSON of /.well-known/payphone"
        raise ValueError(msg)
    return tuple(document)


def _listed(folder: Path) -> tuple[SignerKey, ...]:
    path = folder / PUBLIC
    if not path.exists():
        return ()
    try:
        return parse_keys(path.read_text(encoding="utf-8"))
    except (CheckpointError, UnicodeError) as damage:
        raise KeyFileError(f"{path} cannot be read: {damage}; restore it") from damage


def _finished(folder: Path, key: SignerKey) -> Ed25519Signer:
    """Put the secret of the key that signs now in its place; the former one is overwritten."""
    waiting = folder / _NEXT
    if waiting.exists():
        signer = Ed25519Signer(load_or_create_seed(waiting))
        if signer.public == key.public:
            waiting.replace(folder / SECRET)
            _flush(folder)
            return signer
    msg = f"{folder / PUBLIC} names another key than {SECRET} holds; restore the key"
    raise KeyFileError(msg)


def _notes(folder: Path, listed: Sequence[SignerKey]) -> tuple[str, ...]:
    """The changes that brought these keys; one that was only prepared is none."""
    path = folder / ROTATIONS
    try:
        notes = parse_rotations(path.read_text(encoding="utf-8")) if path.exists() else ()
        known = {note: open_rotation(note, check=check_signature).key for note in notes}
    except (ValueError, RecursionError) as damage:
        raise KeyFileError(f"{path} cannot be read: {damage}; restore it") from damage
    return tuple(note for note in notes if known[note] in listed)


def _lines(keys: Sequence[SignerKey]) -> str:
    return "".join(f"{key.text}\n" for key in keys)


def _replace(path: Path, text: str) -> None:
    """Write aside, flush, and put in place: a reader sees the old file or the new one."""
    aside = path.with_name(f"{path.name}.{secrets.token_hex(8)}.new")
    try:
        with aside.open("x", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
        _flush(path.parent)
    finally:
        aside.unlink(missing_ok=True)


def _flush(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
