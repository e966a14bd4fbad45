"""What gateway and speech servers say to each other, as JSON (specs/fleet.md)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

from domain.errors import (
    BusyError,
    GatewayError,
    LedgerDownError,
    MalformedError,
    NotFoundError,
    SessionOverError,
)
from domain.ports.speech import EngineTraits
from domain.ports.speech_servers import SpeechServer
from domain.pricing import UNITS
from domain.usage import Standing, Usage

LINK_PATH = "/internal/fleet"
EVENTS_PATH = "/internal/events"
# Together less than the site takes in one body.
REPORTS_MAX = 128
_INTEGER_MAX = 2**53

Words = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Welcome:
    """What a server must know to serve: the gateway's time, and whose session keys are good."""

    now_ms: int
    issuer: str
    public_key: str


def parse(text: str) -> dict[str, Any]:
    """One JSON object; MalformedError for anything else."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as damage:
        raise MalformedError(where="message", expected="JSON", got=text[:40]) from damage
    if not isinstance(found, dict):
        raise MalformedError(where="message", expected="a JSON object", got=type(found).__name__)
    return found


def usage_words(usage: Usage) -> dict[str, object]:
    return {name: _plain(value) for name, value in asdict(usage).items()}


def usage_of(words: object) -> Usage:
    found = _object(words, "event")
    return Usage(
        session_id=uuid_of(found, "session_id"),
        connection_id=uuid_of(found, "connection_id"),
        from_ms=count_of(found, "from_ms"),
        to_ms=count_of(found, "to_ms"),
        runs=_switch(found, "runs"),
        characters=count_of(found, "characters"),
        is_spent=_switch(found, "is_spent"),
    )


def standing_words(standing: Standing) -> dict[str, object]:
    return {name: _plain(value) for name, value in asdict(standing).items()}


def standing_of(words: object) -> Standing:
    found = _object(words, "session")
    return Standing(
        session_id=uuid_of(found, "session_id"),
        service=text_of(found, "service"),
        unit=text_of(found, "unit"),
        rate_microcredits=count_of(found, "rate_microcredits"),
        rate_per=count_of(found, "rate_per"),
        price_book=text_of(found, "price_book"),
        quantity=count_of(found, "quantity"),
        used=count_of(found, "used"),
        opened_at_ms=count_of(found, "opened_at_ms"),
        expires_at_ms=count_of(found, "expires_at_ms"),
        is_open=_switch(found, "is_open"),
        reason=text_of(found, "reason"),
        charged=count_of(found, "charged"),
    )


def card_words(server: SpeechServer) -> dict[str, object]:
    traits = server.traits
    return {
        "service": server.service,
        "url": server.url,
        "regions": sorted(server.regions),
        "live": server.live,
        "capacity": server.capacity,
        "engine": traits.name,
        "languages": sorted(traits.languages),
        "voices": traits.voices,
        "ready": traits.ready,
        "problem": traits.problem,
    }


def card_of(words: object, *, name: str) -> SpeechServer:
    """What a server says of itself; MalformedError names what is wrong."""
    found = _object(words, "card")
    service = text_of(found, "service")
    if service not in UNITS or service == "webrtc":
        raise MalformedError(where="service", expected="stt or tts", got=service[:40])
    url = text_of(found, "url")
    if not url.startswith(("http://", "https://")) or url.endswith("/"):
        raise MalformedError(where="url", expected="http(s)://host, no slash at its end", got=url)
    voices = _object(found.get("voices"), "voices")
    return SpeechServer(
        service=service,
        url=url,
        name=name,
        regions=frozenset(_texts(found, "regions")),
        live=count_of(found, "live"),
        capacity=count_of(found, "capacity"),
        traits=EngineTraits(
            name=text_of(found, "engine"),
            languages=frozenset(_texts(found, "languages")),
            voices={str(voice): str(language) for voice, language in voices.items()},
            ready=_switch(found, "ready"),
            problem=text_of(found, "problem"),
        ),
    )


def refusal_words(refusal: GatewayError) -> dict[str, object]:
    return {
        "code": refusal.code,
        "text": str(refusal),
        "reason": getattr(refusal, "reason", ""),
        "retry_after_ms": getattr(refusal, "retry_after_ms", 0),
    }


def refusal_of(words: object, *, session_id: UUID) -> GatewayError:
    """The same refusal, as far as a customer's connection can tell the difference."""
    found = _object(words, "refusal")
    match text_of(found, "code"):
        case SessionOverError.code:
            return SessionOverError(session_id=str(session_id), reason=text_of(found, "reason"))
        case NotFoundError.code:
            return NotFoundError(what="Session")
        case BusyError.code:
            return BusyError(retry_after_ms=count_of(found, "retry_after_ms"))
        case _:
            return LedgerDownError()


def welcome_of(words: Words) -> Welcome:
    return Welcome(
        now_ms=count_of(words, "now_ms"),
        issuer=text_of(words, "issuer"),
        public_key=text_of(words, "public_key"),
    )


def uuid_of(words: Words, name: str) -> UUID:
    value = words.get(name)
    try:
        return UUID(value if isinstance(value, str) else "")
    except ValueError:
        raise MalformedError(where=name, expected="a UUID", got=str(value)[:40]) from None


def count_of(words: Words, name: str) -> int:
    value = words.get(name)
    if type(value) is not int or not 0 <= value < _INTEGER_MAX:
        raise MalformedError(where=name, expected="a whole number", got=str(value)[:40])
    return value


def text_of(words: Words, name: str) -> str:
    value = words.get(name)
    if not isinstance(value, str):
        raise MalformedError(where=name, expected="text", got=str(value)[:40])
    return value


def _switch(words: Words, name: str) -> bool:
    value = words.get(name)
    if not isinstance(value, bool):
        raise MalformedError(where=name, expected="true or false", got=str(value)[:40])
    return value


def _texts(words: Words, name: str) -> list[str]:
    value = words.get(name)
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise MalformedError(where=name, expected="a list of texts", got=str(value)[:40])
    return value


def _object(words: object, name: str) -> Words:
    if not isinstance(words, dict):
        raise MalformedError(where=name, expected="an object", got=str(words)[:40])
    return words


def _plain(value: object) -> object:
    return str(value) if isinstance(value, UUID) else value
