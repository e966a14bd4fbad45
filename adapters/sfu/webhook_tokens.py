"""Who signed a webhook: a token in `Authorization` over the hash of the body.

The algorithm is what we are configured for, never what the token says.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from typing import Any

from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from adapters.sfu.entries import key_bytes
from domain.errors import UnauthenticatedError

TOKEN_LENGTH_MAX = 8_192
LEEWAY_S = 60
# A room server's tokens live five minutes.
LIFE_S_MAX = 600
_PARTS = 3


def node_signer(token: str, body: bytes, *, now_ms: int) -> str:
    """The base58 key that signed this body with Ed25519; whose it is, is another question.

    UnauthenticatedError where anything about the token or the body's hash is wrong.
    """
    signed, claims, signature = _parts(token, "EdDSA")
    issuer = claims.get("iss")
    key = key_bytes(issuer) if isinstance(issuer, str) else None
    if key is None:
        raise _refused("issuer")
    try:
        VerifyKey(key).verify(signed, signature)
    except (ValueError, BadSignatureError) as wrong:
        raise _refused("signature") from wrong
    _check_hash(claims, body)
    begins, ends = _seconds(claims, "nbf"), _seconds(claims, "exp")
    if begins is None or ends is None or ends - begins > LIFE_S_MAX:
        raise _refused("times")
    _check_times(begins, ends, now_ms)
    return str(issuer)


def check_livekit(token: str, body: bytes, *, key: str, secret: bytes, now_ms: int) -> None:
    """Refuse what was not signed by a LiveKit server with our key and secret over this body."""
    signed, claims, signature = _parts(token, "HS256")
    if claims.get("iss") != key:
        raise _refused("issuer")
    if not hmac.compare_digest(hmac.digest(secret, signed, hashlib.sha256), signature):
        raise _refused("signature")
    _check_hash(claims, body)
    ends = _seconds(claims, "exp")
    if ends is None:
        raise _refused("times")
    _check_times(_seconds(claims, "nbf") or 0, ends, now_ms)


def _parts(token: str, algorithm: str) -> tuple[bytes, dict[str, Any], bytes]:
    """What was signed, the claims, the signature."""
    parts = token.split(".")
    if len(token) > TOKEN_LENGTH_MAX or len(parts) != _PARTS or not token.isascii():
        raise _refused("form")
    try:
        header, claims = (json.loads(_decoded(part)) for part in parts[:2])
        signature = _decoded(parts[2])
    except (ValueError, RecursionError) as damage:
        raise _refused("form") from damage
    if not (isinstance(header, dict) and isinstance(claims, dict)):
        raise _refused("form")
    if header.get("alg") != algorithm:
        raise _refused("algorithm")
    return f"{parts[0]}.{parts[1]}".encode(), claims, signature


def _decoded(part: str) -> bytes:
    if "=" in part or "+" in part or "/" in part:
        raise ValueError("not base64url without padding")
    return base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)


def _check_hash(claims: dict[str, Any], body: bytes) -> None:
    """Standard base64 with padding; hex and base64url are of no room server."""
    told = claims.get("sha256")
    try:
        found = base64.b64decode(told, validate=True) if isinstance(told, str) else b""
    except (binascii.Error, ValueError) as damage:
        raise _refused("body hash") from damage
    if not hmac.compare_digest(found, hashlib.sha256(body).digest()):
        raise _refused("body hash")


def _seconds(claims: dict[str, Any], name: str) -> int | None:
    value = claims.get(name)
    return value if type(value) is int else None


def _check_times(begins: int, ends: int, now_ms: int) -> None:
    now = now_ms // 1000
    if not begins - LEEWAY_S <= now <= ends + LEEWAY_S:
        raise _refused("times")


def _refused(what: str) -> UnauthenticatedError:
    return UnauthenticatedError(reason=f"The webhook's token is not good: {what}")
