"""Webhooks as the room servers' own kits make and read them."""

from __future__ import annotations

import base64
import hashlib

import pytest

from adapters.sfu.events import parse_event
from adapters.sfu.webhook_tokens import check_livekit
from domain.errors import UnauthenticatedError
from tests.fakes.room_server import LIVEKIT_KEY, LIVEKIT_SECRET, livekit_token, node_token
from tests.fakes.sfu_tokens import LiveKitServer

NBF, EXP = 1_700_000_000, 4_102_444_800
BODY = (
    b'{"event":"participant_joined","room":{"sid":"RM_abc","name":"room-1"},'
    b'"participant":{"sid":"PA_abc","identity":"agent-1","state":"ACTIVE",'
    b'"joinedAt":"1700000001"},"id":"EV_abcdefghijkl","createdAt":"1700000002"}'
)
NODE_SIGNATURE = (
    "DoXhoeVrmyqFZ5de1yh0pevMT5BoLhTXADtVlH6sXMmHIqZDjhJJsZGZQgHhSzvX338yrsiK0cgTkJVTSbsrDA"
)
LIVEKIT_SIGNATURE = "Pe87-mblI0YtaYGbnC3qxtt2UDNpqhd180d57z9GPjA"


def test_the_tests_node_signs_as_what_the_published_kit_accepts() -> None:
    token = node_token(BODY, now_ms=NBF * 1000, exp=EXP)

    assert token.rpartition(".")[2] == NODE_SIGNATURE


def test_the_tests_livekit_signs_as_what_the_published_kit_accepts() -> None:
    token = livekit_token(BODY, now_ms=NBF * 1000, exp=EXP)

    assert token.rpartition(".")[2] == LIVEKIT_SIGNATURE
    check_livekit(token, BODY, key=LIVEKIT_KEY, secret=LIVEKIT_SECRET.encode(), now_ms=NBF * 1000)


def test_a_webhook_signed_with_livekits_own_kit_is_believed() -> None:
    api = pytest.importorskip("livekit.api", reason="LiveKit's kit is not installed")
    digest = base64.b64encode(hashlib.sha256(BODY).digest()).decode()
    token = api.AccessToken(LIVEKIT_KEY, LIVEKIT_SECRET).with_sha256(digest).to_jwt()
    # The kit knows no other time than now.
    now_ms = _issued_ms(token)

    check_livekit(token, BODY, key=LIVEKIT_KEY, secret=LIVEKIT_SECRET.encode(), now_ms=now_ms)
    with pytest.raises(UnauthenticatedError):
        check_livekit(
            token, BODY + b" ", key=LIVEKIT_KEY, secret=LIVEKIT_SECRET.encode(), now_ms=now_ms
        )


def test_livekits_own_kit_believes_the_tests_room_server_and_no_spoilt_body() -> None:
    api = pytest.importorskip("livekit.api", reason="LiveKit's kit is not installed")
    receiver = api.WebhookReceiver(api.TokenVerifier(LIVEKIT_KEY, LIVEKIT_SECRET))
    token = LiveKitServer(LIVEKIT_KEY, LIVEKIT_SECRET).sign(BODY)

    assert receiver.receive(BODY.decode(), token).id == "EV_abcdefghijkl"
    with pytest.raises(Exception, match="hash mismatch"):
        receiver.receive(BODY.decode() + " ", token)


def test_livekits_own_kit_reads_a_webhook_as_we_do() -> None:
    api = pytest.importorskip("livekit.api", reason="LiveKit's kit is not installed")
    receiver = api.WebhookReceiver(api.TokenVerifier(LIVEKIT_KEY, LIVEKIT_SECRET))

    theirs = receiver.receive(BODY.decode(), livekit_token(BODY, now_ms=NBF * 1000, exp=EXP))
    ours = parse_event(BODY)

    assert (theirs.event, theirs.id, theirs.room.sid, theirs.participant.sid) == (
        ours.name,
        ours.event_id,
        ours.room_sid,
        ours.participant_sid,
    )
    assert (theirs.created_at * 1000, theirs.participant.joined_at * 1000) == (
        ours.created_ms,
        ours.joined_ms,
    )


def _issued_ms(token: str) -> int:
    claims = base64.urlsafe_b64decode(token.split(".")[1] + "==")
    return int(claims.partition(b'"nbf":')[2].partition(b",")[0].strip(b" }")) * 1000
