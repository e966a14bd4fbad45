"""What a connection asks and what it is told, free of any protocol.

A dialect translates its frames into `Inbound` and `Outbound` into its frames. `Farewell` is the
last word of a connection; every connection has exactly one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID

from domain.errors import GatewayError
from domain.ports.speech import (
    HearingOptions,
    SpeechEnded,
    SpeechStarted,
    Transcript,
    VoiceOptions,
)
from domain.use_cases.meter import Extended, Over, TimeLow


@dataclass(frozen=True, slots=True, kw_only=True)
class VoiceChoice:
    """Some of how to speak; None leaves what was chosen before."""

    voice: str | None = None
    language: str | None = None
    speed: float | None = None

    def over(self, options: VoiceOptions) -> VoiceOptions:
        """These options with the choice laid over them."""
        return VoiceOptions(
            voice=options.voice if self.voice is None else self.voice,
            language=options.language if self.language is None else self.language,
            speed=options.speed if self.speed is None else self.speed,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenAsked:
    """The first message of a connection that wants its audio written down.

    An empty language means the session's own.
    """

    session_key: str = field(repr=False)
    options: HearingOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeakAsked:
    """The first message of a connection that wants texts spoken."""

    session_key: str = field(repr=False)
    choice: VoiceChoice


@dataclass(frozen=True, slots=True)
class Heard:
    """Audio: 16-bit little-endian mono PCM at 16 kHz, cut anywhere."""

    pcm: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ListenChanged:
    """Listen differently from here; an empty language keeps the one in force."""

    options: HearingOptions


@dataclass(frozen=True, slots=True)
class VoiceChanged:
    """Speak the texts that follow differently."""

    choice: VoiceChoice


@dataclass(frozen=True, slots=True)
class SayAsked:
    """Speak this text after the ones asked before, with a choice for it alone."""

    text: str = field(repr=False)
    choice: VoiceChoice


@dataclass(frozen=True, slots=True)
class FlushAsked:
    """Finish the open phrase now."""


@dataclass(frozen=True, slots=True)
class ResetAsked:
    """Forget the open phrase."""


@dataclass(frozen=True, slots=True)
class ClearAsked:
    """Fall silent now and forget the texts that wait."""


@dataclass(frozen=True, slots=True)
class PingAsked:
    """A question whether we are there."""


@dataclass(frozen=True, slots=True)
class ExtensionShown:
    """The key that an extension returned; it pays for nothing by itself."""

    session_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Misheard:
    """A frame the dialect could not read, and why."""

    refusal: GatewayError


@dataclass(frozen=True, slots=True)
class TooLarge:
    """A frame beyond the limit of the wire."""

    bytes_max: int


Inbound = (
    ListenAsked
    | SpeakAsked
    | Heard
    | ListenChanged
    | VoiceChanged
    | SayAsked
    | FlushAsked
    | ResetAsked
    | ClearAsked
    | PingAsked
    | ExtensionShown
    | Misheard
    | TooLarge
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """The engine is open and the clock runs; `remaining` is ms or characters."""

    connection_id: UUID
    language: str
    remaining: int


@dataclass(frozen=True, slots=True)
class SpeakingBegun:
    """The audio of this text comes next."""

    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Spoken:
    """One frame of 20 ms: 1,920 bytes of 16-bit little-endian mono PCM at 48 kHz."""

    frame: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class SpeakingDone:
    """The last frame of a text was sent."""


@dataclass(frozen=True, slots=True)
class Cleared:
    """Nothing more of what was asked before will be heard."""


@dataclass(frozen=True, slots=True)
class Flushed:
    """The open phrase is being finished."""


@dataclass(frozen=True, slots=True)
class WasReset:
    """The open phrase is forgotten."""


@dataclass(frozen=True, slots=True)
class Pong:
    """The answer that we are."""


@dataclass(frozen=True, slots=True)
class Refused:
    """One message was refused; the connection goes on."""

    refusal: GatewayError


@dataclass(frozen=True, slots=True, kw_only=True)
class TooFewCharacters:
    """A text needs more characters than are left beside the texts that wait; nothing is billed."""

    needed: int
    left: int


@dataclass(frozen=True, slots=True)
class TooManyTexts:
    """As many texts wait as may; the new one was not taken."""

    texts_max: int


@dataclass(frozen=True, slots=True)
class Left:
    """The peer is gone."""


@dataclass(frozen=True, slots=True)
class TakenOver:
    """A newer connection of the same session has come."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """The connection cannot be served."""

    refusal: GatewayError


@dataclass(frozen=True, slots=True)
class Failed:
    """Something broke on our side; the clock stands still."""


@dataclass(frozen=True, slots=True)
class ShuttingDown:
    """Our server stops; the clock stands still."""


Farewell = Left | TakenOver | Over | Rejected | TooLarge | Failed | ShuttingDown

Outbound = (
    Ready
    | SpeechStarted
    | SpeechEnded
    | Transcript
    | SpeakingBegun
    | Spoken
    | SpeakingDone
    | Cleared
    | Flushed
    | WasReset
    | Pong
    | Refused
    | TooFewCharacters
    | TooManyTexts
    | TimeLow
    | Extended
    | Farewell
)
