"""The dTelecom dialect: speech to text and text to speech on one URL; the first frame decides."""

from __future__ import annotations

from adapters.speech.dialect import Frame
from adapters.speech.dtelecom_words import words
from adapters.speech.fields import Fields
from domain.errors import MalformedError, UnauthenticatedError
from domain.ports.speech import HearingOptions
from domain.use_cases.speech_messages import (
    ClearAsked,
    ExtensionShown,
    FlushAsked,
    Heard,
    Inbound,
    ListenAsked,
    ListenChanged,
    Outbound,
    PingAsked,
    ResetAsked,
    SayAsked,
    SpeakAsked,
    VoiceChanged,
    VoiceChoice,
)

_LISTENING: dict[str, Inbound] = {
    "flush": FlushAsked(),
    "reset": ResetAsked(),
    "ping": PingAsked(),
}
_SPEAKING: dict[str, Inbound] = {
    "flush": FlushAsked(),
    "clear": ClearAsked(),
    "ping": PingAsked(),
}
_TYPE_SHOWN_MAX = 40


class DTelecomDialect:
    """Knows after the first frame whether the connection listens (counts time) or speaks."""

    name = "dtelecom"

    def __init__(self) -> None:
        self._opened = False
        self._speaks = False

    def decode(self, frame: Frame) -> Inbound:
        """One message a frame; MalformedError or UnauthenticatedError for what is none."""
        if not self._opened:
            return self._open(frame)
        if isinstance(frame, str):
            message = Fields.parse(frame)
            return _asked_of_mouth(message) if self._speaks else _asked_of_ear(message)
        if self._speaks:
            raise MalformedError(
                where="frame", expected="text: this session speaks", got="a binary frame"
            )
        return Heard(frame)

    def encode(self, message: Outbound) -> tuple[Frame, ...]:
        return words(message, speaks=self._speaks)

    def _open(self, frame: Frame) -> Inbound:
        if not isinstance(frame, str):
            raise MalformedError(
                where="first frame", expected="a config message", got="a binary frame"
            )
        message = Fields.parse(frame)
        listens = "type" in message
        if listens and (kind := message.text("type")) != "config":
            raise MalformedError(
                where="first frame", expected="a config message", got=f"type {_shown(kind)}"
            )
        if "session_key" not in message:
            raise UnauthenticatedError(reason="The first message must carry session_key")
        key = message.text("session_key")
        asked: Inbound = (
            ListenAsked(session_key=key, options=_options(message))
            if listens
            else SpeakAsked(session_key=key, choice=_choice(message.fields("config")))
        )
        self._opened, self._speaks = True, not listens
        return asked


def _asked_of_ear(message: Fields) -> Inbound:
    kind = message.text("type")
    if kind == "config":
        return ListenChanged(_options(message))
    return _control(kind, message, _LISTENING)


def _asked_of_mouth(message: Fields) -> Inbound:
    """Texts and configs have no type here; a config is also understood with one."""
    if "type" in message:
        kind = message.text("type")
        if kind == "config":
            inside = message.fields("config") if "config" in message else message
            return VoiceChanged(_choice(inside))
        return _control(kind, message, _SPEAKING)
    if "config" in message and "text" not in message:
        return VoiceChanged(_choice(message.fields("config")))
    return SayAsked(message.text("text"), _choice(message))


def _control(kind: str, message: Fields, plain: dict[str, Inbound]) -> Inbound:
    if kind == "extend":
        return ExtensionShown(message.text("session_key"))
    if kind in plain:
        return plain[kind]
    known = " | ".join(("config", "extend", *plain))
    raise MalformedError(where="type", expected=known, got=_shown(kind))


def _options(message: Fields) -> HearingOptions:
    """Without a model, none is forced."""
    return HearingOptions(
        language=message.name("language") or "", model=message.name("model") or ""
    )


def _choice(message: Fields) -> VoiceChoice:
    return VoiceChoice(
        voice=message.name("voice"),
        language=message.name("lang_code"),
        speed=message.number("speed"),
    )


def _shown(text: str) -> str:
    return ascii(text[:_TYPE_SHOWN_MAX])
