"""Sessions that are over before their keys expire, as far as a speech server has heard."""

from __future__ import annotations

from collections import OrderedDict
from uuid import UUID

SESSIONS_MAX = 100_000


class Revoked:
    """Remembers why; the one heard of longest ago is forgotten first."""

    def __init__(self) -> None:
        self._reasons: OrderedDict[UUID, str] = OrderedDict()

    def add(self, session_id: UUID, reason: str) -> None:
        self._reasons[session_id] = reason
        if len(self._reasons) > SESSIONS_MAX:
            self._reasons.popitem(last=False)

    def reason(self, session_id: UUID) -> str:
        """Nothing where it may be open."""
        return self._reasons.get(session_id, "")
