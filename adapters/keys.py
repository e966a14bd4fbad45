"""Our own keys: seeds on disk, the log's signature, and the keys customers spend sessions with."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path
from uuid import UUID

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from domain.errors import UnauthenticatedError
from domain.ports.keys import SessionKey

SEED_BYTES = 32
PUBLIC_BYTES = 32
_ALGORITHM = "EdDSA"
_NOT_OURS = "The session key is not one of this gateway's"


class KeyFileError(Exception):
    """A key file that must not be used as it is; the text says what to do."""


class Ed25519Signer:
    """Signs with one key. The same message always has the same signature."""

    def __init__(self, seed: bytes) -> None:
        self._key = SigningKey(seed)

    @property
    def public(self) -> bytes:
        return bytes(self._key.verify_key)

    def sign(self, message: bytes) -> bytes:
        return bytes(self._key.sign(message).signature)


def check_signature(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether `signature` is `public`'s over `message`; wrong sizes are a no."""
    try:
        VerifyKey(public).verify(message, signature)
    except (BadSignatureError, ValueError):
        return False
    return True


class Ed25519SessionKeys:
    """Implements `SessionKeys` as JWTs with EdDSA; the same key value is the same text."""

    def __init__(self, seed: bytes, *, issuer: str) -> None:
        self._issuer = issuer
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        self._reader = Ed25519KeyReader(self.public, issuer=issuer)

    @property
    def public(self) -> bytes:
        """32 bytes, with which anybody can check our session keys."""
        return self._private.public_key().public_bytes_raw()

    def issue(self, key: SessionKey) -> str:
        claims = {
            "iss": self._issuer,
            "sub": str(key.session_id),
            "svc": key.service,
            # Rounded up: a key must not end before the time it was paid for.
            "exp": -(-key.expires_at_ms // 1000),
            "qty": key.quantity,
        }
        return jwt.encode(claims, self._private, algorithm=_ALGORITHM)

    def read(self, token: str) -> SessionKey:
        """As `Ed25519KeyReader` does."""
        return self._reader.read(token)


class Ed25519KeyReader:
    """Implements `KeyReader` with the public key of whoever issues."""

    def __init__(self, public: bytes, *, issuer: str) -> None:
        self._issuer = issuer
        self._public = Ed25519PublicKey.from_public_bytes(public)

    def read(self, token: str) -> SessionKey:
        """The key's content, expired or not; UnauthenticatedError for anything we did not sign."""
        try:
            claims = jwt.decode(
                token,
                self._public,
                algorithms=[_ALGORITHM],
                issuer=self._issuer,
                options={"require": ["iss", "sub", "svc", "exp"], "verify_exp": False},
            )
            return SessionKey(
                session_id=UUID(claims["sub"]),
                service=str(claims["svc"]),
                expires_at_ms=int(claims["exp"]) * 1000,
                quantity=int(claims.get("qty", 0)),
            )
        except (jwt.InvalidTokenError, ValueError, TypeError) as unreadable:
            raise UnauthenticatedError(_NOT_OURS) from unreadable


def read_private(path: Path, what: str) -> str:
    """The text of a file that only its owner may read; KeyFileError names `what` it must hold."""
    try:
        mode, text = path.stat().st_mode, path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path} must hold {what} ({type(error).__name__})"
        raise KeyFileError(msg) from None
    if stat.S_IMODE(mode) & (stat.S_IRWXG | stat.S_IRWXO):
        msg = f"{path} can be read by others; run `chmod 600 {path}`, and replace it if they did"
        raise KeyFileError(msg)
    return text


def load_or_create_seed(path: Path) -> bytes:
    """The 32-byte seed in this file, made on first use; two processes agree on one.

    The file holds 64 hex digits, readable by its owner alone. KeyFileError where it holds anything
    else or others may read it.
    """
    if not path.exists():
        _create_seed(path)
    text = read_private(path, "64 hex digits")
    try:
        seed = bytes.fromhex(text)
    except ValueError as damage:
        msg = f"{path} must hold 64 hex digits; restore it, or move it away to begin with a new key"
        raise KeyFileError(msg) from damage
    if len(seed) != SEED_BYTES:
        msg = f"{path} must hold 64 hex digits (got {2 * len(seed)}); restore it or move it away"
        raise KeyFileError(msg)
    return seed


def _create_seed(path: Path) -> None:
    """Write aside, flush, and link into place: the name appears whole, and only the first wins."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f"{path.name}.{secrets.token_hex(8)}.new")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_bytes(SEED_BYTES).hex() + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(aside, path)
        except FileExistsError:
            # Another process was faster; its key is the key.
            return
        _flush_directory(path.parent)
    finally:
        aside.unlink()


def _flush_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
