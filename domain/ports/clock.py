"""What time it is, asked rather than taken."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """Milliseconds since the Unix epoch, never going backwards within a process.

    Shape:  a number now; a sleep until a number.
    Units:  ms.
    Errors: none.
    Source: specs/billing.md, B4.
    """

    def now_ms(self) -> int: ...

    async def sleep_until(self, at_ms: int) -> None: ...
