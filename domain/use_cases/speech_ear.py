"""How a connection listens: audio to the engine, what it heard to the peer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from domain.errors import MalformedError
from domain.ports.speech import HearingOptions, HearingStream
from domain.use_cases.speech_messages import (
    FlushAsked,
    Flushed,
    Heard,
    Inbound,
    ListenChanged,
    Outbound,
    ResetAsked,
    WasReset,
)


class EngineStoppedError(Exception):
    """An engine ended a stream that nobody closed: our failure."""


class Ear:
    """One open stream of a transcriber. A slow engine makes `take` wait, and nothing is dropped."""

    def __init__(
        self,
        stream: HearingStream,
        options: HearingOptions,
        *,
        say: Callable[[Outbound], Awaitable[None]],
        say_ready: Callable[[str], Awaitable[None]],
    ) -> None:
        self._stream = stream
        self._options = options
        self._say = say
        self._say_ready = say_ready

    @property
    def language(self) -> str:
        return self._options.language

    def start(self, begin: Callable[[Callable[[], Awaitable[None]]], object]) -> None:
        begin(self._relay)

    async def take(self, message: Inbound) -> None:
        """Do what was asked; MalformedError for what an ear cannot do."""
        match message:
            case Heard(pcm):
                await self._stream.hear(pcm)
            case FlushAsked():
                await self._stream.flush()
                await self._say(Flushed())
            case ResetAsked():
                await self._stream.reset()
                await self._say(WasReset())
            case ListenChanged(options):
                asked = replace(options, language=options.language or self.language)
                await self._stream.configure(asked)
                self._options = asked
                await self._say_ready(self.language)
            case _:
                raise MalformedError(
                    where="message",
                    expected="audio or a control message of a listening connection",
                    got=type(message).__name__,
                )

    async def finish(self) -> None:
        """Nothing is owed to a caller whose time is up."""

    async def close(self) -> None:
        await self._stream.close()

    async def _relay(self) -> None:
        async for event in self._stream.events():
            await self._say(event)
        msg = "the transcriber ended its stream before it was closed"
        raise EngineStoppedError(msg)
