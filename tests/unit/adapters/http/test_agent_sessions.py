from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from tests.fakes.street import Street

SINGLE = {"room_name": "hall", "participant_identity": "agent", "duration_minutes": 16}
# What a real application sends: free text as a name, its own loopback as the client's address.
DUAL = {**SINGLE, "client_identity": "Zoë B 名", "client_ip": "127.0.0.1", "language": "ja"}
PATH = "/v1/agent-session"


async def available(street: Street) -> int:
    return int((await street.get("/v1/account")).json["available_balance"])


async def test_with_a_client_both_get_a_room_token(street: Street) -> None:
    await street.fund()

    answer = (await street.post(PATH, DUAL)).json

    assert set(answer) == {"bundle_id", "webrtc", "stt", "tts", "expires_at"}
    assert set(answer["webrtc"]) == {"agent", "client"}
    for part in answer["webrtc"].values():
        assert set(part) == {"session_id", "token", "ws_url"}
    for service in ("stt", "tts"):
        assert set(answer[service]) == {"session_id", "token", "server_url"}
    assert "|agent|" in answer["webrtc"]["agent"]["token"]
    assert "|Zoë B 名|" in answer["webrtc"]["client"]["token"]
    assert answer["expires_at"] == "2023-11-14T23:29:20.000Z"


async def test_without_a_client_there_is_one_flat_room_token(street: Street) -> None:
    await street.fund()

    answer = (await street.post(PATH, SINGLE)).json

    assert set(answer["webrtc"]) == {"session_id", "token", "ws_url"}


@pytest.mark.parametrize(("order", "price"), [(DUAL, 208_000), (SINGLE, 192_000)])
async def test_the_whole_bundle_is_reserved_with_ten_thousand_characters(
    street: Street, order: dict[str, Any], price: int
) -> None:
    await street.fund(500_000)

    await street.post(PATH, order)

    assert await available(street) == 500_000 - price


async def test_the_speech_keys_are_of_their_services(street: Street) -> None:
    await street.fund()

    answer = (await street.post(PATH, DUAL)).json

    keys = street.house.gateway.keys
    for service in ("stt", "tts"):
        key = keys.read(answer[service]["token"])
        assert (str(key.session_id), key.service) == (answer[service]["session_id"], service)


async def test_each_room_token_is_routed_by_its_own_place(street: Street) -> None:
    await street.fund()

    await street.post(PATH, {**DUAL, "client_ip": "203.0.113.9"})

    assert [ip for _, ip in street.house.rooms.joins] == ["127.0.0.1", "203.0.113.9"]


async def test_a_single_room_token_is_routed_by_the_clients_place(street: Street) -> None:
    await street.fund()

    await street.post(PATH, {**SINGLE, "client_ip": "203.0.113.9"})

    assert [ip for _, ip in street.house.rooms.joins] == ["203.0.113.9"]


async def test_the_metadata_is_in_both_room_tokens(street: Street) -> None:
    await street.fund()

    await street.post(PATH, {**DUAL, "metadata": "m"})

    assert [join.metadata for join, _ in street.house.rooms.joins] == ["m", "m"]


async def test_two_participants_of_one_name_are_refused(street: Street) -> None:
    await street.fund(1_000_000)

    answer = await street.post(PATH, {**DUAL, "client_identity": "agent"})

    assert (answer.status, answer.json["where"]) == (400, "client_identity")
    assert await available(street) == 1_000_000


@pytest.mark.parametrize("service", ["stt", "tts"])
async def test_if_one_service_is_missing_nothing_is_opened(street: Street, service: str) -> None:
    await street.fund(1_000_000)
    street.house.close_service(service)

    answer = await street.post(PATH, DUAL)

    assert answer.status == 503
    assert await available(street) == 1_000_000
    assert (await street.get("/v1/account/sessions")).json["sessions"] == []


async def test_without_credit_for_all_nothing_is_opened(street: Street) -> None:
    await street.fund(207_999)

    answer = await street.post(PATH, DUAL)

    assert answer.status == 402
    assert await available(street) == 207_999


async def test_the_rows_carry_the_bundle(street: Street) -> None:
    await street.fund()
    bundle_id = (await street.post(PATH, DUAL)).json["bundle_id"]

    rows = (await street.get("/v1/account/sessions")).json["sessions"]

    assert [row["bundle_id"] for row in rows] == [bundle_id] * 4
    assert sorted(row["service"] for row in rows) == ["stt", "tts", "webrtc", "webrtc"]


async def test_a_bundle_counts_once_against_the_limit(street: Street) -> None:
    await street.fund(10_000_000)
    for _ in range(10):
        assert (await street.post(PATH, {**DUAL, "duration_minutes": 1})).status == 200
    await street.house.clock.advance(1_000)

    assert (await street.post(PATH, DUAL)).status == 429


async def test_the_same_idempotency_key_is_the_same_bundle(street: Street) -> None:
    await street.fund()
    first = await street.post(PATH, DUAL, key="k")

    assert (await street.post(PATH, DUAL, key="k")).json == first.json


async def test_a_key_used_for_a_session_may_be_used_for_a_bundle(street: Street) -> None:
    await street.fund()
    await street.post("/v1/stt/session", {"duration_minutes": 1}, key="k")

    assert (await street.post(PATH, DUAL, key="k")).status == 200


async def test_extending_moves_every_part(street: Street) -> None:
    await street.fund()
    opened = (await street.post(PATH, DUAL)).json
    left = await available(street)

    answer = await street.post(
        f"{PATH}/extend",
        {
            "bundle_id": opened["bundle_id"],
            "additional_minutes": 1,
            "additional_tts_characters": 5_000,
        },
    )

    later = "2023-11-14T23:30:20.000Z"
    body = answer.json
    for part in (*body["webrtc"].values(), body["stt"], body["tts"]):
        assert part["new_expires_at"] == later
        assert part["token"]
    assert set(body["webrtc"]) == {"agent", "client"}
    assert body["webrtc"]["agent"]["ws_url"] == "wss://node.test"
    assert body["webrtc"]["agent"]["session_id"] == opened["webrtc"]["agent"]["session_id"]
    assert body["tts"]["max_characters"] == 15_000
    assert await available(street) == left - 8_000 - 40_000


async def test_extending_a_single_bundle_answers_flat(street: Street) -> None:
    await street.fund()
    bundle_id = (await street.post(PATH, SINGLE)).json["bundle_id"]

    body = (
        await street.post(f"{PATH}/extend", {"bundle_id": bundle_id, "additional_minutes": 1})
    ).json

    assert set(body["webrtc"]) == {"session_id", "token", "ws_url", "new_expires_at"}
    assert body["tts"]["max_characters"] == 10_000


async def test_settled_parts_are_left_out_of_an_extension(street: Street) -> None:
    await street.fund()
    opened = (await street.post(PATH, DUAL)).json
    for part in (opened["stt"], opened["webrtc"]["agent"]):
        await street.post(f"/v1/sessions/{part['session_id']}/end")

    body = (
        await street.post(
            f"{PATH}/extend", {"bundle_id": opened["bundle_id"], "additional_minutes": 1}
        )
    ).json

    assert "stt" not in body
    assert set(body["webrtc"]) == {"client"}


async def test_two_rooms_whose_names_were_deleted_are_still_told_apart(street: Street) -> None:
    await street.fund()
    opened = (await street.post(PATH, DUAL)).json
    rooms = opened["webrtc"]
    await street.house.details.delete([UUID(room["session_id"]) for room in rooms.values()])

    body = (
        await street.post(
            f"{PATH}/extend", {"bundle_id": opened["bundle_id"], "additional_minutes": 1}
        )
    ).json

    extended = {role: room["session_id"] for role, room in body["webrtc"].items()}
    assert extended == {role: room["session_id"] for role, room in rooms.items()}


async def test_a_bundle_with_nothing_left_is_not_extended(street: Street) -> None:
    await street.fund()
    bundle_id = (await street.post(PATH, DUAL)).json["bundle_id"]
    await street.post(f"{PATH}/{bundle_id}/end")

    answer = await street.post(f"{PATH}/extend", {"bundle_id": bundle_id, "additional_minutes": 1})

    assert answer.status == 404


@pytest.mark.parametrize("path", [f"{PATH}/extend", f"{PATH}/%s/end"])
async def test_a_foreign_bundle_is_not_found(street: Street, path: str) -> None:
    await street.fund()
    await street.house.fund(street.bob.canonical, 1_000_000)
    bundle_id = (await street.post(PATH, DUAL)).json["bundle_id"]

    answer = await street.post(
        path.replace("%s", bundle_id),
        {"bundle_id": bundle_id, "additional_minutes": 1},
        wallet=street.bob,
    )

    assert (answer.status, answer.json["error"]) == (404, "Bundle not found")


async def test_ending_a_bundle_settles_all_and_adds_up(street: Street) -> None:
    await street.fund(1_000_000)
    bundle_id = (await street.post(PATH, DUAL)).json["bundle_id"]

    body = (await street.post(f"{PATH}/{bundle_id}/end")).json

    assert len(body["sessions"]) == 4
    assert {part["status"] for part in body["sessions"]} == {"settled"}
    totals = [body[f"{kind}_microcredits"] for kind in ("reserved", "charged", "refunded")]
    assert totals == ["208000", "0", "208000"]
    assert await available(street) == 1_000_000


@pytest.mark.parametrize("bundle_id", ["x", "extend2", "00000000-0000-0000-0000-00000000ffff"])
async def test_an_unknown_bundle_is_not_ended(street: Street, bundle_id: str) -> None:
    await street.fund()

    answer = await street.post(f"{PATH}/{bundle_id}/end")

    assert (answer.status, answer.json["error"]) == (404, "Bundle not found")


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"room_name": ""}, "room_name"),
        ({"participant_identity": None}, "participant_identity"),
        ({"client_identity": 5}, "client_identity"),
        ({"client_identity": ""}, "client_identity"),
        ({"tts_max_characters": 0}, "tts_max_characters"),
        ({"tts_max_characters": "10000"}, "tts_max_characters"),
        ({"duration_minutes": None}, "duration_minutes"),
        ({"client_ip": "nowhere"}, "client_ip"),
    ],
)
async def test_a_wrong_field_is_named(street: Street, changes: dict[str, Any], where: str) -> None:
    await street.fund()

    answer = await street.post(PATH, {**DUAL, **changes})

    assert (answer.status, answer.json["where"]) == (400, where)
