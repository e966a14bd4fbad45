"""An API key as text: `pp_`, its id so that it can be found, and its secret."""

from __future__ import annotations

import re
import secrets
from uuid import UUID

SCHEME = "Bearer pp_"
_SECRET_BYTES = 32
_TOKEN = re.compile(r"pp_([0-9a-f]{32})_([A-Za-z0-9_-]{43})")


def new_secret() -> str:
    """256 random bits, in base64url."""
    return secrets.token_urlsafe(_SECRET_BYTES)


def token_of(key_id: UUID, secret: str) -> str:
    return f"pp_{key_id.hex}_{secret}"


def read_token(text: str) -> tuple[UUID, str] | None:
    """The key's id and its secret, or None for what is no key of ours."""
    found = _TOKEN.fullmatch(text)
    return (UUID(found[1]), found[2]) if found else None
