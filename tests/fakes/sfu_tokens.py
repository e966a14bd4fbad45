"""The two kinds of room server: whose tokens they let in, and how they sign what they tell.

Written with PyJWT, apart from what signs and checks in the program: each can be wrong alone.
"""

from __future__ import annotations

import base64
import hashlib
import time
from dataclasses import dataclass, field
from typing import Any, Protocol

import base58
import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

WEBHOOK_LIFE_S = 300


class RefusedTokenError(Exception):
    """The token opens nothing here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """What a token says. `tenant` is whose room it is, `hook` where its events go."""

    tenant: str
    identity: str
    name: str
    metadata: str
    attributes: dict[str, str]
    grants: dict[str, Any]
    hook: str

    @property
    def room(self) -> str:
        return str(self.grants.get("room", ""))

    def may(self, grant: str, *, default: bool = False) -> bool:
        return self.grants.get(grant, default) is True


class Vendor(Protocol):
    """What is different between the two.

    `in_order` servers send one webhook after the other, and again where that failed.
    """

    name: str
    in_order: bool

    def read(self, token: str) -> Pass: ...

    def sign(self, body: bytes) -> str: ...


@dataclass(slots=True)
class DTelecomNode:
    """Lets in whom any of its clients sent; clients are API keys, as in the registry."""

    seed: bytes
    clients: set[str]
    name: str = "dtelecom"
    in_order: bool = False

    @property
    def key(self) -> str:
        """In base58, as the registry has it."""
        return base58.b58encode(self._signer.public_key().public_bytes_raw()).decode()

    @property
    def _signer(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.seed)

    def read(self, token: str) -> Pass:
        try:
            issuer = jwt.decode(token, options={"verify_signature": False}).get("iss")
            if issuer not in self.clients:
                raise RefusedTokenError("no client of the registry")
            key = Ed25519PublicKey.from_public_bytes(base58.b58decode(issuer))
            # No leeway, as the vendor's kit has none.
            claims = jwt.decode(token, key, algorithms=["EdDSA"], options={"require": ["exp"]})
        except jwt.InvalidTokenError as wrong:
            raise RefusedTokenError(str(wrong)) from wrong
        return _pass(claims)

    def sign(self, body: bytes) -> str:
        now = int(time.time())
        claims = {"exp": now + WEBHOOK_LIFE_S, "iss": self.key, "nbf": now, "sub": ""}
        return jwt.encode(claims | {"sha256": _hash(body)}, self._signer, algorithm="EdDSA")


@dataclass(slots=True)
class LiveKitServer:
    """Lets in whom the one key sent, and tells one URL everything."""

    key: str
    secret: str = field(repr=False)
    hook: str = ""
    name: str = "livekit"
    in_order: bool = True

    def read(self, token: str) -> Pass:
        try:
            claims = jwt.decode(
                token,
                self.secret,
                algorithms=["HS256"],
                issuer=self.key,
                leeway=60,
                options={"require": ["exp"]},
            )
        except jwt.InvalidTokenError as wrong:
            raise RefusedTokenError(str(wrong)) from wrong
        return _pass(claims | {"webHookURL": self.hook})

    def sign(self, body: bytes) -> str:
        now = int(time.time())
        claims = {"iss": self.key, "nbf": now, "exp": now + WEBHOOK_LIFE_S, "sha256": _hash(body)}
        return jwt.encode(claims, self.secret, algorithm="HS256")


def _pass(claims: dict[str, Any]) -> Pass:
    return Pass(
        tenant=claims.get("iss", ""),
        identity=claims.get("sub", ""),
        name=claims.get("name", ""),
        metadata=claims.get("metadata", ""),
        attributes=claims.get("attributes", {}),
        grants=claims.get("video", {}),
        hook=claims.get("webHookURL", ""),
    )


def _hash(body: bytes) -> str:
    return base64.b64encode(hashlib.sha256(body).digest()).decode()
