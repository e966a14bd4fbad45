from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from domain.account import Account
from domain.ledger import Work
from domain.session import Session
from tests.fakes.street import Street

ROOM = {"room_name": "hall", "participant_identity": "ann", "duration_minutes": 2}
STT = {"duration_minutes": 2, "language": "en"}
TTS = {"max_characters": 50_000, "language": "es"}
ORDERS = [("/v1/webrtc/token", ROOM), ("/v1/stt/session", STT), ("/v1/tts/session", TTS)]
PATHS = [path for path, _ in ORDERS]
EXTENSIONS = {
    "/v1/webrtc/token": {"additional_minutes": 3},
    "/v1/stt/session": {"additional_minutes": 3},
    "/v1/tts/session": {"additional_characters": 50_000},
}
NOBODY = "00000000-0000-0000-0000-00000000ffff"


async def available(street: Street) -> int:
    return int((await street.get("/v1/account")).json["available_balance"])


async def session_in_ledger(street: Street, session_id: str) -> Session:
    def command(work: Work) -> Session:
        return work.session(UUID(session_id))

    return await street.house.books.run(command)


async def test_a_room_token_has_the_contracts_fields(street: Street) -> None:
    await street.fund()

    answer = await street.post("/v1/webrtc/token", ROOM)

    join = "00000000-0000-0000-0000-000000000001|hall|ann||1699999990000|1700003720000"
    assert answer.json == {
        "session_id": "00000000-0000-0000-0000-000000000001",
        "token": f"{join}|{Account.create_id('evm', street.alice.canonical)}",
        "ws_url": "wss://node.test",
        "expires_at": "2023-11-14T23:15:20.000Z",
    }


@pytest.mark.parametrize(
    ("path", "order", "server_url", "expires_at"),
    [
        ("/v1/stt/session", STT, "http://stt.test", "2023-11-14T23:15:20.000Z"),
        ("/v1/tts/session", TTS, "http://tts.test", "2023-11-14T23:13:20.000Z"),
    ],
)
async def test_a_speech_session_has_the_contracts_fields(
    street: Street, path: str, order: dict[str, Any], server_url: str, expires_at: str
) -> None:
    await street.fund()

    answer = (await street.post(path, order)).json

    key = street.house.gateway.keys.read(answer.pop("token"))
    assert (key.session_id, key.service) == (UUID(int=1), path.split("/")[2])
    assert key.quantity == order.get("max_characters", 120_000)
    assert answer == {
        "session_id": str(UUID(int=1)),
        "server_url": server_url,
        "expires_at": expires_at,
    }


@pytest.mark.parametrize(
    ("path", "order", "price"),
    [
        ("/v1/webrtc/token", ROOM, 2_000),
        ("/v1/stt/session", STT, 12_000),
        ("/v1/stt/session", {"duration_minutes": 0.5}, 3_000),
        ("/v1/tts/session", TTS, 400_000),
    ],
)
async def test_opening_reserves_the_price(
    street: Street, path: str, order: dict[str, Any], price: int
) -> None:
    await street.fund(1_000_000)

    await street.post(path, order)

    assert await available(street) == 1_000_000 - price


async def test_names_are_kept_beside_the_ledger_with_metadata_and_language(street: Street) -> None:
    await street.fund()
    await street.post("/v1/webrtc/token", {**ROOM, "metadata": '{"a":1}'})
    await street.post("/v1/stt/session", STT)

    kept = street.house.details.kept

    assert (kept[UUID(int=1)].identity, kept[UUID(int=1)].metadata) == ("ann", '{"a":1}')
    assert kept[UUID(int=2)].language == "en"


@pytest.mark.parametrize(("sent", "used"), [("203.0.113.9", "203.0.113.9"), (None, "127.0.0.1")])
async def test_a_room_is_looked_for_near_the_participant_or_else_the_caller(
    street: Street, sent: str | None, used: str
) -> None:
    await street.fund()

    await street.post("/v1/webrtc/token", {**ROOM, "client_ip": sent})

    assert street.house.rooms.joins[0][1] == used


@pytest.mark.parametrize(
    ("path", "changes", "where"),
    [
        ("/v1/webrtc/token", {"room_name": None}, "room_name"),
        ("/v1/webrtc/token", {"room_name": 5}, "room_name"),
        ("/v1/webrtc/token", {"participant_identity": "a#b"}, "participant_identity"),
        ("/v1/webrtc/token", {"metadata": {"a": 1}}, "metadata"),
        ("/v1/webrtc/token", {"client_ip": "here"}, "client_ip"),
        ("/v1/webrtc/token", {"duration_minutes": -1}, "duration_minutes"),
        ("/v1/stt/session", {"duration_minutes": 1e9}, "duration_minutes"),
        ("/v1/stt/session", {"duration_minutes": "5"}, "duration_minutes"),
        ("/v1/stt/session", {"language": 5}, "language"),
        ("/v1/tts/session", {"max_characters": 1.5}, "max_characters"),
        ("/v1/tts/session", {"max_characters": 10**8}, "max_characters"),
        ("/v1/tts/session", {"max_characters": True}, "max_characters"),
    ],
)
async def test_a_wrong_field_is_named_and_nothing_is_reserved(
    street: Street, path: str, changes: dict[str, Any], where: str
) -> None:
    await street.fund(1_000_000)

    answer = await street.post(path, {**dict(ORDERS)[path], **changes})

    assert answer.status == 400
    assert answer.json["where"] == where
    assert await available(street) == 1_000_000


async def test_fields_we_do_not_know_are_ignored(street: Street) -> None:
    await street.fund()

    answer = await street.post("/v1/stt/session", {**STT, "model": "whisper", "more": [1]})

    assert answer.status == 200


@pytest.mark.parametrize(("path", "order"), ORDERS)
async def test_without_credit_nothing_is_opened(
    street: Street, path: str, order: dict[str, Any]
) -> None:
    await street.fund(1_999)

    answer = await street.post(path, order)

    assert answer.status == 402
    assert answer.json["code"] == "insufficient_credits"
    assert (await street.get("/v1/account/sessions")).json["sessions"] == []


@pytest.mark.parametrize(("path", "order"), ORDERS)
async def test_a_wallet_without_an_account_opens_nothing(
    street: Street, path: str, order: dict[str, Any]
) -> None:
    answer = await street.post(path, order)

    assert (answer.status, answer.json["error"]) == (404, "Account not found")


@pytest.mark.parametrize(
    ("path", "order", "service"), [(path, order, path.split("/")[2]) for path, order in ORDERS[1:]]
)
async def test_a_service_without_a_server_is_told_by_name(
    street: Street, path: str, order: dict[str, Any], service: str
) -> None:
    await street.fund()
    street.house.close_service(service)

    answer = await street.post(path, order)

    assert answer.status == 503
    assert answer.json["service"] == service
    assert answer.headers["Retry-After"] == "1"


async def test_the_eleventh_session_is_refused_as_the_client_expects(street: Street) -> None:
    await street.fund(10_000_000)
    for _ in range(10):
        await street.post("/v1/stt/session", STT)
    await street.house.clock.advance(1_000)

    answer = await street.post("/v1/stt/session", STT)

    assert answer.status == 429
    assert "concurrent" in answer.json["error"].lower()
    assert answer.json["limit"] == 10


@pytest.mark.parametrize(("path", "order"), ORDERS)
async def test_the_same_idempotency_key_is_the_same_session(
    street: Street, path: str, order: dict[str, Any]
) -> None:
    await street.fund(1_000_000)
    first = await street.post(path, order, key="order-1")
    left = await available(street)

    again = await street.post(path, order, key="order-1")

    assert again.json == first.json
    assert await available(street) == left


async def test_the_same_idempotency_key_with_other_content_conflicts(street: Street) -> None:
    await street.fund()
    await street.post("/v1/stt/session", STT, key="order-1")

    answer = await street.post("/v1/stt/session", {**STT, "duration_minutes": 3}, key="order-1")

    assert answer.status == 409
    assert answer.json["code"] == "conflicting_request"


async def test_an_idempotency_key_of_another_wallet_is_another_key(street: Street) -> None:
    await street.fund()
    await street.house.fund(street.bob.canonical, 1_000_000)
    first = await street.post("/v1/stt/session", STT, key="order-1")

    other = await street.post("/v1/stt/session", STT, key="order-1", wallet=street.bob)

    assert other.json["session_id"] != first.json["session_id"]


@pytest.mark.parametrize("key", ["x" * 256, "tab\tinside", "é"])
async def test_an_idempotency_key_that_is_none_is_malformed(street: Street, key: str) -> None:
    await street.fund()

    answer = await street.post("/v1/stt/session", STT, key=key)

    assert answer.status == 400
    assert answer.json["where"] == "Idempotency-Key"


async def test_the_longest_idempotency_key_is_taken(street: Street) -> None:
    await street.fund()

    assert (await street.post("/v1/stt/session", STT, key="x" * 255)).status == 200


@pytest.mark.parametrize("path", PATHS)
async def test_an_extension_has_the_contracts_fields(street: Street, path: str) -> None:
    await street.fund()
    opened = (await street.post(path, dict(ORDERS)[path])).json
    await street.house.clock.advance(1_000)

    answer = await street.post(
        f"{path}/extend", {"session_id": opened["session_id"], **EXTENSIONS[path]}
    )

    own = {"/v1/webrtc/token": {"ws_url"}, "/v1/tts/session": {"max_characters"}}.get(path, set())
    assert set(answer.json) == {"session_id", "token", "new_expires_at"} | own
    assert answer.json["new_expires_at"] > opened["expires_at"]
    assert answer.json["token"] != opened["token"]


async def test_extending_characters_answers_the_new_total(street: Street) -> None:
    await street.fund()
    session_id = (await street.post("/v1/tts/session", TTS)).json["session_id"]

    answer = await street.post(
        "/v1/tts/session/extend", {"session_id": session_id, "additional_characters": 50_000}
    )

    assert answer.json["max_characters"] == 100_000


@pytest.mark.parametrize("path", PATHS)
async def test_extending_without_credit_changes_nothing(street: Street, path: str) -> None:
    await street.fund(400_000)
    opened = (await street.post(path, dict(ORDERS)[path])).json
    before = await session_in_ledger(street, opened["session_id"])
    left = await available(street)

    answer = await street.post(
        f"{path}/extend",
        {
            "session_id": opened["session_id"],
            **dict.fromkeys(EXTENSIONS[path], 1_440 if "tts" not in path else 10**6),
        },
    )

    assert answer.status == 402
    after = await session_in_ledger(street, opened["session_id"])
    assert (after.quantity, after.expires_at_ms) == (before.quantity, before.expires_at_ms)
    assert await available(street) == left


async def test_the_same_idempotency_key_extends_once(street: Street) -> None:
    await street.fund()
    session_id = (await street.post("/v1/stt/session", STT)).json["session_id"]
    order = {"session_id": session_id, "additional_minutes": 3}
    first = await street.post("/v1/stt/session/extend", order, key="k")
    left = await available(street)

    again = await street.post("/v1/stt/session/extend", order, key="k")

    assert again.json == first.json
    assert await available(street) == left


async def test_the_same_idempotency_key_with_another_extension_conflicts(street: Street) -> None:
    await street.fund()
    session_id = (await street.post("/v1/stt/session", STT)).json["session_id"]
    order = {"session_id": session_id, "additional_minutes": 3}
    await street.post("/v1/stt/session/extend", order, key="k")

    answer = await street.post(
        "/v1/stt/session/extend", {**order, "additional_minutes": 4}, key="k"
    )

    assert answer.status == 409


@pytest.mark.parametrize("path", PATHS)
async def test_an_unknown_session_is_not_extended(street: Street, path: str) -> None:
    await street.fund()

    answer = await street.post(f"{path}/extend", {"session_id": NOBODY, **EXTENSIONS[path]})

    assert (answer.status, answer.json["error"]) == (404, "Session not found")


@pytest.mark.parametrize("path", PATHS)
async def test_another_wallets_session_is_not_extended(street: Street, path: str) -> None:
    await street.fund()
    await street.house.fund(street.bob.canonical, 1_000_000)
    opened = (await street.post(path, dict(ORDERS)[path])).json

    answer = await street.post(
        f"{path}/extend",
        {"session_id": opened["session_id"], **EXTENSIONS[path]},
        wallet=street.bob,
    )

    assert answer.status == 404


async def test_a_session_of_another_service_is_not_extended(street: Street) -> None:
    await street.fund()
    session_id = (await street.post("/v1/tts/session", TTS)).json["session_id"]

    answer = await street.post(
        "/v1/stt/session/extend", {"session_id": session_id, "additional_minutes": 1}
    )

    assert answer.status == 404


@pytest.mark.parametrize("session_id", [None, 5, "x", "{" + NOBODY + "}", NOBODY.replace("-", "")])
async def test_an_id_that_is_none_is_malformed(street: Street, session_id: object) -> None:
    await street.fund()

    answer = await street.post(
        "/v1/stt/session/extend", {"session_id": session_id, "additional_minutes": 1}
    )

    assert (answer.status, answer.json["where"]) == (400, "session_id")


async def test_a_session_that_is_over_is_not_extended(street: Street) -> None:
    await street.fund()
    session_id = (await street.post("/v1/stt/session", STT)).json["session_id"]
    await street.post(f"/v1/sessions/{session_id}/end")

    answer = await street.post(
        "/v1/stt/session/extend", {"session_id": session_id, "additional_minutes": 1}
    )

    assert answer.status == 410
    assert answer.json["code"] == "session_over"


async def test_a_participant_stays_at_the_node_they_were_sent_to(street: Street) -> None:
    await street.fund()
    opened = (await street.post("/v1/webrtc/token", ROOM)).json
    street.house.rooms.ws_url = "wss://elsewhere.test"

    extension = {"session_id": opened["session_id"], "additional_minutes": 1}
    extended = (await street.post("/v1/webrtc/token/extend", extension)).json

    assert extended["ws_url"] == opened["ws_url"]
