"""The two seams of a speech protocol: a wire that moves frames, a dialect that means them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol

from domain.use_cases.speech_messages import Inbound, Outbound

Frame = str | bytes


class Wire(Protocol):
    """One accepted connection.

    Shape:  `frames` yields what the peer sends and ends when it is gone; `send` one frame.
    Errors: `send` raises ConnectionError when the peer is gone or does not read for long.
            It is whole or not at all, and may be called by several tasks at a time.
    Source: RFC 6455.
    """

    def frames(self) -> AsyncGenerator[Frame, None]: ...

    async def send(self, frame: Frame) -> None: ...

    async def close(self, code: int, reason: str) -> None:
        """End the connection; safe to repeat, and when the peer is gone."""
        ...


class Dialect(Protocol):
    """A pure codec, one instance a connection.

    Shape:  a frame in, at most one message out; a message in, any number of frames out.
    Errors: a GatewayError for a frame that means nothing (`decode`); none (`encode`).
    Source: specs/speech/.
    """

    @property
    def name(self) -> str: ...

    def decode(self, frame: Frame) -> Inbound | None: ...

    def encode(self, message: Outbound) -> tuple[Frame, ...]: ...
