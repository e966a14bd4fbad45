"""Who did not buy a way into a room does not get in, nor onto its bill (B7)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import base58
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.e2e.room_street import RoomStreet, room_street
from tests.fakes.sfu_caller import QuietCaller, RefusedError

# Throwaway: 32 bytes of 0x09. A customer of dTelecom's, as we are, with an API key of her own.
EVE = Ed25519PrivateKey.from_private_bytes(b"\x09" * 32)
EVE_KEY = base58.b58encode(EVE.public_key().public_bytes_raw()).decode()


@pytest.fixture
async def street(tmp_path: Path) -> AsyncIterator[RoomStreet]:
    async with room_street(tmp_path, clients=[EVE_KEY]) as street:
        yield street


@pytest.fixture
async def shared_street(tmp_path: Path) -> AsyncIterator[RoomStreet]:
    async with room_street(tmp_path, PAYPHONE_ROOMS_SHARED="1") as street:
        yield street


def order(identity: str) -> dict[str, object]:
    return {
        "room_name": "lesson",
        "participant_identity": identity,
        "duration_minutes": 1,
        "client_ip": "127.0.0.1",
    }


async def others_seen(street: RoomStreet) -> list[list[str]]:
    """Whom each of two wallets' guests finds in the room they asked for by the same name."""
    found = []
    for identity in ("alice", "bob"):
        customer = await street.customer()
        sold = await customer.call("POST", "/v1/webrtc/token", order(identity))
        caller = await QuietCaller.call(sold["ws_url"], sold["token"])
        street.stack.push_async_callback(caller.crash)
        found.append([p.identity for p in (await caller.joined()).other_participants])
    return found


async def test_two_wallets_that_ask_for_one_room_never_meet(street: RoomStreet) -> None:
    assert await others_seen(street) == [[], []]


async def test_two_wallets_meet_where_the_operator_lets_them(shared_street: RoomStreet) -> None:
    assert await others_seen(shared_street) == [[], ["alice"]]


def claims_of(token: str) -> dict[str, Any]:
    found: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return found


async def test_nobody_else_gets_time_onto_the_bill(street: RoomStreet) -> None:
    """Eve's room is there, the node truly signs, and it posts to our session's own address."""
    customer = await street.customer()
    sold = await customer.call("POST", "/v1/webrtc/token", order("alice"))
    forged = jwt.encode(claims_of(sold["token"]) | {"iss": EVE_KEY}, EVE, algorithm="EdDSA")

    eve = await QuietCaller.call(sold["ws_url"], forged)
    await eve.joined()
    status = await street.told("participant_joined", "alice")
    await eve.leave()
    await asyncio.sleep(0.5)
    ended = await customer.call("POST", f"/v1/sessions/{sold['session_id']}/end")

    assert status == 401
    assert (ended["used"], ended["charged_microcredits"]) == (0, "0")


async def test_a_token_of_nobodys_opens_no_room(street: RoomStreet) -> None:
    customer = await street.customer()
    sold = await customer.call("POST", "/v1/webrtc/token", order("alice"))
    stranger = Ed25519PrivateKey.from_private_bytes(b"\x0a" * 32)

    for forged in (
        jwt.encode(claims_of(sold["token"]), stranger, algorithm="EdDSA"),
        jwt.encode(claims_of(sold["token"]) | {"nbf": 4_000_000_000}, EVE, algorithm="EdDSA"),
    ):
        with pytest.raises(RefusedError):
            await QuietCaller.call(sold["ws_url"], forged)
