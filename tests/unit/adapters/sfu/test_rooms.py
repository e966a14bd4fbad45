from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import base58
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from adapters.sfu.rooms import DTelecomRooms, LiveKitRooms
from domain.errors import NoCapacityError
from domain.ports.rooms import Join, Rooms

SPECS = Path(__file__).parents[4] / "specs"
VECTORS: dict[str, Any] = json.loads(
    (SPECS / "http" / "vectors" / "room_tokens.json").read_text(encoding="utf-8")
)
DTELECOM, LIVEKIT = VECTORS["dtelecom"], VECTORS["livekit"]
GRANTS = {
    "roomJoin": True,
    "room": "room-1",
    "canPublish": True,
    "canSubscribe": True,
    "canPublishData": True,
}


def join_of(vector: dict[str, Any]) -> Join:
    return Join(
        account_id="alice",
        session_id=vector["session_id"],
        metadata=vector["metadata"],
        **VECTORS["join"],
    )


def dtelecom(
    secret: str = DTELECOM["secret_32"],
    ws_url: str = "wss://node.test",
    *,
    wallets_meet: bool = True,
) -> Rooms:
    return DTelecomRooms(
        key=DTELECOM["key"],
        secret=secret,
        ws_url=ws_url,
        webhook_url=DTELECOM["webhook_url"],
        wallets_meet=wallets_meet,
    )


def livekit(ws_url: str = "wss://node.test", *, wallets_meet: bool = True) -> Rooms:
    return LiveKitRooms(
        key=LIVEKIT["key"], secret=LIVEKIT["secret"], ws_url=ws_url, wallets_meet=wallets_meet
    )


async def room_of(rooms: Rooms, **other: str) -> str:
    """The room that a token leads to."""
    ticket = await rooms.ticket(replace(join_of(DTELECOM), **other), client_ip="")
    return str(json.loads(parts(ticket.token)[1])["video"]["room"])


def parts(token: str) -> tuple[str, str, str]:
    """Header and claims as their JSON text, and the signature as it is sent."""
    header, claims, signature = token.split(".")
    return decoded(header), decoded(claims), signature


def decoded(part: str) -> str:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)).decode()


@pytest.mark.parametrize("form", ["secret_32", "secret_64"])
async def test_a_dtelecom_token_is_the_published_one_byte_for_byte(form: str) -> None:
    ticket = await dtelecom(DTELECOM[form]).ticket(join_of(DTELECOM), client_ip="")

    expected = (DTELECOM["header"], DTELECOM["claims"], DTELECOM["signature"])
    assert parts(ticket.token) == expected


async def test_a_livekit_token_is_the_published_one_byte_for_byte() -> None:
    ticket = await livekit().ticket(join_of(LIVEKIT), client_ip="")

    expected = (LIVEKIT["header"], LIVEKIT["claims"], LIVEKIT["signature"])
    assert parts(ticket.token) == expected


async def test_a_dtelecom_token_verifies_with_the_api_key_alone() -> None:
    ticket = await dtelecom().ticket(join_of(DTELECOM), client_ip="")

    public = Ed25519PublicKey.from_public_bytes(base58.b58decode(DTELECOM["key"]))
    claims = jwt.decode(ticket.token, public, algorithms=["EdDSA"], issuer=DTELECOM["key"])
    assert claims["video"] == GRANTS


async def test_a_livekit_token_verifies_and_names_the_session_in_its_attributes() -> None:
    ticket = await livekit().ticket(join_of(DTELECOM), client_ip="")

    claims = jwt.decode(
        ticket.token, LIVEKIT["secret"], algorithms=["HS256"], issuer=LIVEKIT["key"]
    )
    assert claims["video"] == GRANTS
    assert claims["attributes"] == {"session_id": DTELECOM["session_id"]}


@pytest.mark.parametrize("make", [dtelecom, livekit], ids=["dtelecom", "livekit"])
async def test_wallets_that_ask_for_one_room_never_meet(make: Callable[..., Rooms]) -> None:
    rooms = make(wallets_meet=False)
    own = await room_of(rooms)

    assert own.endswith(".room-1")
    assert await room_of(rooms, session_id="another", identity="bob") == own
    assert await room_of(rooms, account_id="bob") != own
    # A tag is in the room's name for all to see, and must not be the account's.
    assert "alice" not in own


@pytest.mark.parametrize("make", [dtelecom, livekit], ids=["dtelecom", "livekit"])
async def test_wallets_meet_where_they_may(make: Callable[..., Rooms]) -> None:
    rooms = make(wallets_meet=True)

    assert await room_of(rooms) == await room_of(rooms, account_id="bob") == "room-1"


async def test_rooms_stay_the_same_whichever_form_the_secret_has() -> None:
    short, long = (
        dtelecom(DTELECOM[form], wallets_meet=False) for form in ("secret_32", "secret_64")
    )

    assert await room_of(short) == await room_of(long)


async def test_a_name_outside_ascii_is_kept_as_it_is() -> None:
    join = Join(
        account_id="a",
        session_id="s",
        room_name="salón",
        identity="Zoë B 名",
        metadata="",
        not_before_ms=0,
        expires_at_ms=1,
    )

    ticket = await dtelecom().ticket(join, client_ip="")

    assert '"sub":"Zoë B 名"' in parts(ticket.token)[1]


async def test_a_token_never_outlives_its_session() -> None:
    join = Join(
        account_id="a",
        session_id="s",
        room_name="r",
        identity="i",
        metadata="",
        not_before_ms=1_999,
        expires_at_ms=5_999,
    )

    ticket = await dtelecom().ticket(join, client_ip="")

    claims = json.loads(parts(ticket.token)[1])
    assert (claims["nbf"], claims["exp"]) == (1, 5)


@pytest.mark.parametrize("rooms", [dtelecom(ws_url=""), livekit(ws_url="")])
async def test_without_a_node_there_is_no_capacity(rooms: Rooms) -> None:
    with pytest.raises(NoCapacityError):
        await rooms.ticket(join_of(DTELECOM), client_ip="")


def test_a_secret_of_another_key_is_refused() -> None:
    other = base58.b58encode(b"\x07" * 32).decode()

    with pytest.raises(ValueError, match="does not belong"):
        dtelecom(other)


def test_a_pair_whose_halves_disagree_is_refused() -> None:
    seed = base58.b58decode(DTELECOM["secret_32"])
    torn = base58.b58encode(seed + b"\x07" * 32).decode()

    with pytest.raises(ValueError, match="does not belong"):
        dtelecom(torn)


def test_a_secret_of_the_wrong_size_is_refused() -> None:
    with pytest.raises(ValueError, match="32 or 64 bytes"):
        dtelecom(base58.b58encode(b"\x07" * 31).decode())
