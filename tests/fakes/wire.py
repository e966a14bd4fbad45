"""A wire in memory: the test is the peer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

from adapters.speech.dialect import Frame


class MemoryWire:
    """Implements `Wire`. `sent` is what the peer got, `closed` the close frame, if one came.

    Faults: `gone` makes every send fail; `reading` is an event that sends wait for.
    """

    def __init__(self) -> None:
        self.sent: list[Frame] = []
        self.closed: tuple[int, str] | None = None
        self.gone = False
        self.reading = asyncio.Event()
        self.reading.set()
        self._incoming: asyncio.Queue[Frame | None] = asyncio.Queue()

    def push(self, *frames: Frame | dict[str, Any]) -> None:
        """The peer sends; a dict goes as JSON."""
        for frame in frames:
            self._incoming.put_nowait(json.dumps(frame) if isinstance(frame, dict) else frame)

    def hang_up(self) -> None:
        self._incoming.put_nowait(None)

    @property
    def said(self) -> list[dict[str, Any]]:
        """The text frames the peer got, read."""
        return [json.loads(frame) for frame in self.sent if isinstance(frame, str)]

    @property
    def types(self) -> list[str]:
        return [message["type"] for message in self.said]

    @property
    def audio(self) -> list[bytes]:
        return [frame for frame in self.sent if isinstance(frame, bytes)]

    async def frames(self) -> AsyncGenerator[Frame, None]:
        while (frame := await self._incoming.get()) is not None:
            yield frame

    async def send(self, frame: Frame) -> None:
        if self.gone or self.closed:
            msg = "the peer is gone"
            raise ConnectionResetError(msg)
        self.sent.append(frame)
        await self.reading.wait()

    async def close(self, code: int, reason: str) -> None:
        if self.closed is None:
            self.closed = (code, reason)
