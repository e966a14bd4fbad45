"""Where sessions that listen or speak are served."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from domain.errors import NoCapacityError
from domain.ports.speech import EngineTraits, Synthesizer, Transcriber


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechServer:
    """One server of one service (`stt` or `tts`), as it told of itself last.

    `regions` are the places it is near to, in words of the operator's; `live` are its connections
    and `capacity` how many it takes, 0 where it does not say.
    """

    service: str
    url: str
    traits: EngineTraits
    name: str = ""
    regions: frozenset[str] = frozenset()
    live: int = 0
    capacity: int = 0

    @property
    def has_room(self) -> bool:
        return self.traits.ready and (self.capacity == 0 or self.live < self.capacity)


class SpeechServers(Protocol):
    """Knows who serves what.

    Shape:  `choose` is for one new session of a caller in a region, or nowhere known ("").
    Errors: `NoCapacityError` where nobody has room.
    Source: specs/http.md, speech servers.
    """

    def choose(self, service: str, *, region: str) -> SpeechServer: ...

    def servers(self) -> Sequence[SpeechServer]: ...


class OwnServers:
    """Implements `SpeechServers` where one process does everything."""

    def __init__(
        self, transcriber: Transcriber, synthesizer: Synthesizer, *, stt_url: str, tts_url: str
    ) -> None:
        self._transcriber = transcriber
        self._synthesizer = synthesizer
        self._stt_url = stt_url
        self._tts_url = tts_url

    def choose(self, service: str, *, region: str) -> SpeechServer:
        return choose(self.servers(), service, region=region)

    def servers(self) -> Sequence[SpeechServer]:
        return (
            SpeechServer(service="stt", url=self._stt_url, traits=self._transcriber.traits),
            SpeechServer(service="tts", url=self._tts_url, traits=self._synthesizer.traits),
        )


def choose(servers: Sequence[SpeechServer], service: str, *, region: str) -> SpeechServer:
    """The least busy server with room, of those near the region if there are any."""
    able = [s for s in servers if s.service == service and s.has_room]
    near = [s for s in able if region in s.regions] if region else []
    if not able:
        raise NoCapacityError(service=service)
    return min(near or able, key=_business)


def _business(server: SpeechServer) -> tuple[float, int, str]:
    return server.live / server.capacity if server.capacity else 0.0, server.live, server.name
