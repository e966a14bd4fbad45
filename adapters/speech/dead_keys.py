"""Session keys whose session is over: clients that reconnect for ever are told so cheaply."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import AsyncGenerator
from contextlib import aclosing

from domain.errors import SessionOverError
from domain.ports.clock import Clock
from domain.use_cases.speech_messages import (
    Farewell,
    Inbound,
    ListenAsked,
    Misheard,
    Rejected,
    SpeakAsked,
)

KEYS_MAX = 10_000
# The ledger has the last word: what a crash left of a session may be given back to it.
MEMORY_MS = 60_000


class DeadKeys:
    """Remembers for a minute which sessions are over: a dead key costs one ledger command in it.

    Keys are kept as hashes; the one longest unseen is forgotten first.
    """

    def __init__(self) -> None:
        self._over: OrderedDict[bytes, tuple[int, str, str]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._over)

    def refusal(self, session_key: str, *, at_ms: int) -> SessionOverError | None:
        """What the ledger said of this key not long ago, if it said that its session is over."""
        name = _hashed(session_key)
        until_ms, session_id, reason = self._over.get(name, (0, "", ""))
        if at_ms >= until_ms:
            return None
        self._over.move_to_end(name)
        # A new one each time: an error that is raised again drags its old traces along.
        return SessionOverError(session_id=session_id, reason=reason)

    def remember(self, session_key: str, refusal: SessionOverError, *, at_ms: int) -> None:
        name = _hashed(session_key)
        self._over[name] = (at_ms + MEMORY_MS, refusal.session_id, refusal.reason)
        self._over.move_to_end(name)
        if len(self._over) > KEYS_MAX:
            self._over.popitem(last=False)


class Visit:
    """One connection: the key it came with, and what became of it."""

    def __init__(self, dead: DeadKeys, clock: Clock) -> None:
        self._dead = dead
        self._clock = clock
        self._session_key = ""
        self._was_known = False

    async def screened(self, inbound: AsyncGenerator[Inbound, None]) -> AsyncGenerator[Inbound]:
        """The same messages; a dead key becomes the refusal it earned before."""
        async with aclosing(inbound) as messages:
            async for message in messages:
                if isinstance(message, ListenAsked | SpeakAsked) and not self._session_key:
                    self._session_key = message.session_key
                    now_ms = self._clock.now_ms()
                    refusal = self._dead.refusal(message.session_key, at_ms=now_ms)
                    if refusal is not None:
                        self._was_known = True
                        yield Misheard(refusal)
                        return
                yield message

    def ended(self, farewell: Farewell) -> None:
        """Learn from how the connection ended."""
        match farewell:
            case Rejected(SessionOverError() as refusal) if self._session_key:
                # Hearing our own words again is no news, or the memory would never end.
                if not self._was_known:
                    now_ms = self._clock.now_ms()
                    self._dead.remember(self._session_key, refusal, at_ms=now_ms)
            case _:
                pass


def _hashed(session_key: str) -> bytes:
    return hashlib.sha256(session_key.encode(errors="replace")).digest()
