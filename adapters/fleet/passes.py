"""Who speaks for a server of the fleet: a token over one request, signed with the shared secret."""

from __future__ import annotations

import hashlib
import hmac

import jwt

from domain.errors import UnauthenticatedError

SECRET_LENGTH_MIN = 32
LIFE_S = 60
LEEWAY_S = 60
_ALGORITHM = "HS256"
_AUDIENCE = "payphone-fleet"


class Passes:
    """Signs and checks `Authorization` of requests between gateway and speech servers.

    A pass is good for one method, path and body, for a minute (and another of clock skew). What it
    allows may be repeated without harm, so that a copy of it is worth nothing.
    """

    def __init__(self, secret: str) -> None:
        self._secret = secret

    def sign(self, name: str, method: str, path: str, body: bytes, *, now_ms: int) -> str:
        now = now_ms // 1_000
        claims = {
            "iss": name,
            "aud": _AUDIENCE,
            "sub": f"{method} {path}",
            "iat": now,
            "exp": now + LIFE_S,
            "sha256": _hashed(body),
        }
        return "Bearer " + jwt.encode(claims, self._secret, algorithm=_ALGORITHM)

    def check(self, header: str, method: str, path: str, body: bytes, *, now_ms: int) -> str:
        """The name of the server that signed it; UnauthenticatedError for anything else."""
        kind, _, token = header.partition(" ")
        if kind.lower() != "bearer":
            raise UnauthenticatedError(reason="Expected a pass of a speech server")
        try:
            claims = jwt.decode(
                token,
                self._secret,
                algorithms=[_ALGORITHM],
                audience=_AUDIENCE,
                options={"require": ["iss", "aud", "sub", "exp", "sha256"], "verify_exp": False},
            )
            is_now = int(claims["exp"]) + LEEWAY_S > now_ms // 1_000
        except (jwt.InvalidTokenError, ValueError, TypeError) as damage:
            raise UnauthenticatedError(reason="The speech server's pass is not ours") from damage
        if not is_now:
            raise UnauthenticatedError(
                reason="The speech server's pass is too old; set its machine's clock"
            )
        told = str(claims["sha256"])
        is_whole = hmac.compare_digest(told.encode(errors="replace"), _hashed(body).encode())
        if not is_whole or claims["sub"] != f"{method} {path}":
            raise UnauthenticatedError(reason="The speech server's pass is for another request")
        return str(claims["iss"])


def _hashed(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()
