"""Room, hearing and speaking in one call: opened, extended and ended together."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from aiohttp import web

from adapters.http.accounts import path_id
from adapters.http.bodies import Body, idempotency_key, malformed, read_body
from adapters.http.gate import caller_ip, caller_region
from adapters.http.identity import Doorman
from adapters.http.sessions import extended, settled
from adapters.http.shapes import iso
from domain.gateway import Gateway
from domain.use_cases.close_session import end_bundle
from domain.use_cases.extend_session import extend_bundle
from domain.use_cases.open_session import SessionRequest, Ticket, open_bundle

TTS_CHARACTERS_DEFAULT = 10_000
_ROLES = ("agent", "client")


class AgentSessions:
    """With `client_identity` two people get a room token (`agent`, `client`), without it one."""

    def __init__(self, gateway: Gateway, doorman: Doorman) -> None:
        self._gateway = gateway
        self._doorman = doorman

    async def open(self, request: web.Request) -> web.Response:
        caller = self._doorman.admit(request)
        body = await read_body(request)
        tickets = await open_bundle(
            self._gateway,
            caller.account_id,
            self._orders(body, caller_ip(request), caller_region(request)),
            request_key=idempotency_key(request, "bundle"),
            api_key_id=caller.api_key_id,
        )
        return web.json_response(
            {
                "bundle_id": str(tickets[0].bundle_id),
                "webrtc": _rooms(tickets, _room_opened),
                **{t.service: _speech_opened(t) for t in tickets if t.service != "webrtc"},
                "expires_at": iso(max(t.expires_at_ms for t in tickets)),
            }
        )

    async def extend(self, request: web.Request) -> web.Response:
        """More time for what is still open; parts that are settled are left out."""
        caller = self._doorman.admit(request)
        body = await read_body(request)
        bundle_id = body.uuid("bundle_id")
        terms = self._gateway.terms
        tickets = await extend_bundle(
            self._gateway,
            caller.account_id,
            bundle_id,
            duration_ms=body.minutes("additional_minutes", terms),
            characters=body.count(
                "additional_tts_characters", least=0, most=terms.characters_max, default=0
            ),
            request_key=idempotency_key(request, "extend"),
            api_key_id=caller.api_key_id,
        )
        answer: dict[str, object] = {"bundle_id": str(bundle_id)}
        if any(t.service == "webrtc" for t in tickets):
            answer["webrtc"] = _rooms(tickets, _room_extended)
        for ticket in tickets:
            if ticket.service == "stt":
                answer["stt"] = extended(ticket)
            elif ticket.service == "tts":
                answer["tts"] = {**extended(ticket), "max_characters": ticket.quantity}
        answer["new_expires_at"] = iso(max(t.expires_at_ms for t in tickets))
        return web.json_response(answer)

    async def end(self, request: web.Request) -> web.Response:
        caller = self._doorman.admit(request)
        bundle_id = path_id(request, "Bundle")
        sessions = await end_bundle(
            self._gateway, caller.account_id, bundle_id, api_key_id=caller.api_key_id
        )
        return web.json_response(
            {
                "bundle_id": str(bundle_id),
                "sessions": [settled(session) for session in sessions],
                "reserved_microcredits": str(sum(s.reserved.value for s in sessions)),
                "charged_microcredits": str(sum(s.charged.value for s in sessions)),
                "refunded_microcredits": str(sum(s.refunded.value for s in sessions)),
            }
        )

    def _orders(self, body: Body, own_ip: str, region: str) -> list[SessionRequest]:
        agent, client = body.name("participant_identity"), body.name("client_identity", default="")
        if client == agent:
            # The room server would throw the first of two equal names out.
            raise malformed("client_identity", "another name than participant_identity", client)
        terms = self._gateway.terms
        duration_ms = body.minutes("duration_minutes", terms)
        characters = body.count(
            "tts_max_characters", most=terms.characters_max, default=TTS_CHARACTERS_DEFAULT
        )
        language, client_ip = body.language(), body.client_ip() or own_ip

        def room(identity: str, role: str, ip: str) -> SessionRequest:
            return SessionRequest(
                service="webrtc",
                quantity=duration_ms,
                room_name=body.name("room_name"),
                identity=identity,
                metadata=body.metadata(),
                client_ip=ip,
                role=role,
            )

        rooms = (
            [room(agent, "agent", own_ip), room(client, "client", client_ip)]
            if client
            else [room(agent, "", client_ip)]
        )
        return [
            *rooms,
            SessionRequest(service="stt", quantity=duration_ms, language=language, region=region),
            SessionRequest(service="tts", quantity=characters, language=language, region=region),
        ]


def _rooms(
    tickets: Sequence[Ticket], shape: Callable[[Ticket], dict[str, object]]
) -> dict[str, object]:
    """One flat ticket, or one under each role."""
    rooms = [ticket for ticket in tickets if ticket.service == "webrtc"]
    if len(rooms) == len(_ROLES):
        # In the order they were opened in: names beside the ledger may be gone, roles with them.
        return {role: shape(ticket) for role, ticket in zip(_ROLES, rooms, strict=True)}
    [room] = rooms
    return {room.role: shape(room)} if room.role else shape(room)


def _room_opened(ticket: Ticket) -> dict[str, object]:
    return {"session_id": str(ticket.session_id), "token": ticket.token, "ws_url": ticket.url}


def _room_extended(ticket: Ticket) -> dict[str, object]:
    return {**extended(ticket), "ws_url": ticket.url}


def _speech_opened(ticket: Ticket) -> dict[str, object]:
    return {"session_id": str(ticket.session_id), "token": ticket.token, "server_url": ticket.url}
