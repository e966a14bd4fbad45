"""Session keys: what a customer shows a speech server to be served."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol
from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionKey:
    """What a good key says: which session, for which service, until when.

    `quantity` is what was bought when it was issued (ms or characters), for a server that can ask
    nobody; 0 where the key does not say.
    """

    session_id: UUID
    service: str
    expires_at_ms: int
    quantity: int = 0


class KeyReader(Protocol):
    """Reads session keys, as `SessionKeys` does."""

    def read(self, token: str) -> SessionKey: ...


class SessionKeys(KeyReader, Protocol):
    """Issues and reads session keys.

    Shape:  a signed JWT out of a `SessionKey`, and back.
    Units:  ms in the value, whole seconds (rounded up) in the token.
    Errors: `UnauthenticatedError` for anything that is not a key of ours; expiry is not checked
            here, the session itself knows.
    Source: specs/http.md, session keys.
    """

    def issue(self, key: SessionKey) -> str: ...
