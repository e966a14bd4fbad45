"""One service at a time: open a room, speech to text or text to speech, extend it, end it."""

from __future__ import annotations

from aiohttp import web

from adapters.http.accounts import path_id
from adapters.http.bodies import idempotency_key, read_body
from adapters.http.gate import caller_ip, caller_region
from adapters.http.identity import Caller, Doorman
from adapters.http.shapes import amount, iso, iso_or_none, settlement_method
from domain.gateway import Gateway
from domain.session import Session
from domain.use_cases.close_session import end_session
from domain.use_cases.extend_session import extend_session
from domain.use_cases.open_session import SessionRequest, Ticket, open_session


class Sessions:
    """Each handler reads the body, runs one use case, and writes its ticket down."""

    def __init__(self, gateway: Gateway, doorman: Doorman) -> None:
        self._gateway = gateway
        self._doorman = doorman

    async def open_webrtc(self, request: web.Request) -> web.Response:
        caller = self._doorman.admit(request)
        body = await read_body(request)
        ticket = await self._open(
            request,
            caller,
            SessionRequest(
                service="webrtc",
                quantity=body.minutes("duration_minutes", self._gateway.terms),
                room_name=body.name("room_name"),
                identity=body.name("participant_identity"),
                metadata=body.metadata(),
                client_ip=body.client_ip() or caller_ip(request),
            ),
        )
        return web.json_response(
            {
                "session_id": str(ticket.session_id),
                "token": ticket.token,
                "ws_url": ticket.url,
                "expires_at": iso(ticket.expires_at_ms),
            }
        )

    async def open_stt(self, request: web.Request) -> web.Response:
        caller = self._doorman.admit(request)
        body = await read_body(request)
        order = SessionRequest(
            service="stt",
            quantity=body.minutes("duration_minutes", self._gateway.terms),
            language=body.language(),
            region=caller_region(request),
        )
        return _speech_opened(await self._open(request, caller, order))

    async def open_tts(self, request: web.Request) -> web.Response:
        caller = self._doorman.admit(request)
        body = await read_body(request)
        order = SessionRequest(
            service="tts",
            quantity=body.count("max_characters", most=self._gateway.terms.characters_max),
            language=body.language(),
            region=caller_region(request),
        )
        return _speech_opened(await self._open(request, caller, order))

    async def extend_webrtc(self, request: web.Request) -> web.Response:
        ticket = await self._extend_clock(request, "webrtc")
        return web.json_response({**extended(ticket), "ws_url": ticket.url})

    async def extend_stt(self, request: web.Request) -> web.Response:
        return web.json_response(extended(await self._extend_clock(request, "stt")))

    async def extend_tts(self, request: web.Request) -> web.Response:
        caller = self._doorman.admit(request)
        body = await read_body(request)
        ticket = await extend_session(
            self._gateway,
            caller.account_id,
            body.uuid("session_id"),
            service="tts",
            quantity=body.count("additional_characters", most=self._gateway.terms.characters_max),
            request_key=idempotency_key(request, "extend"),
            api_key_id=caller.api_key_id,
        )
        return web.json_response({**extended(ticket), "max_characters": ticket.quantity})

    async def end(self, request: web.Request) -> web.Response:
        """Settle now; a session that is over answers as it ended."""
        caller = self._doorman.admit(request)
        session_id = path_id(request, "Session")
        session = await end_session(
            self._gateway, caller.account_id, session_id, api_key_id=caller.api_key_id
        )
        return web.json_response(settled(session))

    async def _open(self, request: web.Request, caller: Caller, order: SessionRequest) -> Ticket:
        return await open_session(
            self._gateway,
            caller.account_id,
            order,
            request_key=idempotency_key(request, "session"),
            api_key_id=caller.api_key_id,
        )

    async def _extend_clock(self, request: web.Request, service: str) -> Ticket:
        caller = self._doorman.admit(request)
        body = await read_body(request)
        return await extend_session(
            self._gateway,
            caller.account_id,
            body.uuid("session_id"),
            service=service,
            quantity=body.minutes("additional_minutes", self._gateway.terms),
            request_key=idempotency_key(request, "extend"),
            api_key_id=caller.api_key_id,
        )


def extended(ticket: Ticket) -> dict[str, object]:
    return {
        "session_id": str(ticket.session_id),
        "token": ticket.token,
        "new_expires_at": iso(ticket.expires_at_ms),
    }


def settled(session: Session) -> dict[str, object]:
    """How a session ended: charged and refunded are all that was reserved."""
    return {
        "session_id": str(session.id),
        "service": session.service,
        "status": "settled",
        "reason": session.reason,
        "unit": session.tariff.unit,
        "used": session.used,
        "reserved_microcredits": amount(session.reserved),
        "charged_microcredits": amount(session.charged),
        "refunded_microcredits": amount(session.refunded),
        "settlement_method": settlement_method(session.reason),
        "ended_at": iso_or_none(session.closed_at_ms),
    }


def _speech_opened(ticket: Ticket) -> web.Response:
    return web.json_response(
        {
            "session_id": str(ticket.session_id),
            "token": ticket.token,
            "server_url": ticket.url,
            "expires_at": iso(ticket.expires_at_ms),
        }
    )
