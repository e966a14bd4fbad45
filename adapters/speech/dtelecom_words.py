"""What the dTelecom dialect says: JSON text frames, and audio as it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import assert_never

from adapters.speech.dialect import Frame
from domain.errors import GatewayError, SessionOverError
from domain.money import Microcredits
from domain.ports.speech import SpeechEnded, SpeechStarted, Transcript
from domain.use_cases.meter import Extended, Over, TimeLow
from domain.use_cases.speech_messages import (
    Cleared,
    Failed,
    Farewell,
    Flushed,
    Left,
    Outbound,
    Pong,
    Ready,
    Refused,
    Rejected,
    ShuttingDown,
    SpeakingBegun,
    SpeakingDone,
    Spoken,
    TakenOver,
    TooFewCharacters,
    TooLarge,
    TooManyTexts,
    WasReset,
)

_Body = Mapping[str, object]
_RECONNECT = "connect again with the same session key"


def words(message: Outbound, *, speaks: bool) -> tuple[Frame, ...]:
    """The frames of a message, on a connection that counts characters (`speaks`) or ms."""
    match message:
        case Spoken(frame):
            return (frame,)
        case Ready() | TimeLow() | Extended():
            bodies = [_state(message, speaks=speaks)]
        case SpeechStarted() | SpeechEnded() | Transcript():
            bodies = [_heard(message)]
        case Refused() | TooFewCharacters() | TooManyTexts():
            bodies = [_refused(message)]
        case SpeakingBegun() | SpeakingDone() | Cleared() | Flushed() | WasReset() | Pong():
            bodies = [_done(message)]
        case _:
            bodies = _last_words(message, speaks=speaks)
    return tuple(json.dumps(body, separators=(",", ":")) for body in bodies)


def _state(message: Ready | TimeLow | Extended, *, speaks: bool) -> _Body:
    match message:
        case Ready():
            return {
                "type": "ready",
                "client_id": str(message.connection_id),
                "language": message.language,
                **_quantity("remaining", message.remaining, speaks=speaks),
            }
        case TimeLow(remaining_ms):
            return {"type": "session_expiring", "remaining_seconds": remaining_ms / 1_000}
        case Extended(remaining, expires_at_ms):
            return {
                "type": "session_extended",
                **_quantity("remaining", remaining, speaks=speaks),
                "expires_at": _instant(expires_at_ms),
            }


def _heard(event: SpeechStarted | SpeechEnded | Transcript) -> _Body:
    match event:
        case SpeechStarted():
            return {"type": "vad_event", "event": "speech_start"}
        case SpeechEnded():
            return {"type": "vad_event", "event": "speech_end"}
        case Transcript():
            return {
                "type": "transcription",
                "text": event.text,
                "is_final": event.is_final,
                "language": event.language,
                "latency_ms": event.latency_ms,
                "start": event.start_ms / 1_000,
                "end": event.end_ms / 1_000,
            }


def _done(
    message: SpeakingBegun | SpeakingDone | Cleared | Flushed | WasReset | Pong,
) -> _Body:
    match message:
        case SpeakingBegun(text):
            return {"type": "generating", "text": text}
        case SpeakingDone():
            return {"type": "done"}
        case Cleared():
            return {"type": "cleared"}
        case Flushed():
            return {"type": "flushed"}
        case WasReset():
            return {"type": "reset"}
        case Pong():
            return {"type": "pong"}


def _refused(message: Refused | TooFewCharacters | TooManyTexts) -> _Body:
    match message:
        case Refused(refusal):
            return _refusal(refusal)
        case TooFewCharacters(needed=needed, left=left):
            text = (
                f"The text needs {needed} characters and {left} are left; "
                "extend the session or send a shorter text"
            )
            return _error("insufficient_characters", text, {"needed": needed, "left": left})
        case TooManyTexts(texts_max):
            text = f"{texts_max} texts are waiting already; wait for a done before sending more"
            return _error("too_many_texts", text, {"limit": texts_max})


def _last_words(farewell: Farewell, *, speaks: bool) -> list[_Body]:
    """An `error` for clients that only read messages, then why the session is over."""
    bodies: list[_Body] = []
    match farewell:
        case Left():
            pass
        case Rejected(refusal):
            bodies = [_refusal(refusal)]
            if isinstance(refusal, SessionOverError):
                bodies.append({"type": "session_expired", "reason": refusal.reason})
        case Over(reason, used, charged):
            text = f"The session is over ({reason}); open a new one"
            ended = {
                "type": "session_expired",
                "reason": reason,
                **_quantity("used", used, speaks=speaks),
                "charged_microcredits": str(charged),
            }
            bodies = [_error(SessionOverError.code, text, {"reason": reason}), ended]
        case TakenOver():
            text = "A newer connection uses this session key; this one is closed"
            bodies = [_error("taken_over", text)]
        case TooLarge(bytes_max):
            text = f"A frame may have {bytes_max} bytes; send smaller ones"
            bodies = [_error("too_large", text, {"limit": bytes_max})]
        case Failed():
            text = f"Something broke on our side and the clock is stopped; {_RECONNECT}"
            bodies = [_error("internal", text)]
        case ShuttingDown():
            bodies = [_error("shutting_down", f"The server is stopping; {_RECONNECT}")]
        case _:
            assert_never(farewell)
    return bodies


def _quantity(what: str, quantity: int, *, speaks: bool) -> _Body:
    if speaks:
        return {f"{what}_characters": quantity}
    return {f"{what}_seconds": quantity / 1_000}


def _refusal(refusal: GatewayError) -> _Body:
    facts = {name: _plain(fact) for name, fact in vars(refusal).items()}
    return _error(refusal.code, str(refusal), facts)


def _error(code: str, text: str, facts: _Body | None = None) -> _Body:
    """Clients look for the text under either name."""
    return {**(facts or {}), "type": "error", "message": text, "error": text, "code": code}


def _plain(fact: object) -> object:
    return str(fact.value) if isinstance(fact, Microcredits) else fact


def _instant(at_ms: int) -> str:
    at = datetime.fromtimestamp(at_ms // 1_000, UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at_ms % 1_000:03d}Z"
