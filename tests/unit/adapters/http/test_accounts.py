from __future__ import annotations

import re
from typing import Any

import pytest

from adapters.http.shapes import settlement_method
from tests.fakes.street import Street

MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
AMOUNT = re.compile(r"-?(0|[1-9][0-9]*)")
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


async def opened_stt(street: Street) -> str:
    answer = await street.post("/v1/stt/session", {"duration_minutes": 1})
    return str(answer.json["session_id"])


@pytest.mark.parametrize(
    "path", ["/v1/account", "/v1/account/transactions", "/v1/account/sessions"]
)
async def test_a_wallet_that_never_paid_has_no_account(street: Street, path: str) -> None:
    answer = await street.get(path)

    assert answer.status == 404
    assert answer.json["error"] == "Account not found"


async def test_an_account_shows_what_is_there_and_what_is_free(street: Street) -> None:
    await street.fund(1_000_000)
    await opened_stt(street)

    account = (await street.get("/v1/account")).json

    assert account == {
        "id": "a4ef1204-ebe3-505b-bcad-6d32296c8e5a",
        "wallet_address": street.alice.address,
        "wallet_chain": "evm",
        "credit_balance": "1000000",
        "available_balance": "994000",
        "max_concurrent_sessions": 10,
        "max_api_rate": 5,
        "created_at": "2023-11-14T22:13:20.000Z",
    }


async def test_transactions_have_every_key_of_the_contract_in_its_type(street: Street) -> None:
    await street.fund()
    await street.post(f"/v1/sessions/{await opened_stt(street)}/end")

    answer = (await street.get("/v1/account/transactions")).json

    assert (answer["limit"], answer["offset"]) == (50, 0)
    rows = answer["transactions"]
    assert [row["type"] for row in rows] == ["refund", "reserve", "purchase"]
    for row in rows:
        assert set(row) == {
            "id",
            "amount",
            "balance_after",
            "type",
            "reference_id",
            "service",
            "description",
            "created_at",
        }
        assert UUID.fullmatch(row["id"])
        assert AMOUNT.fullmatch(row["amount"])
        assert AMOUNT.fullmatch(row["balance_after"])
        assert MOMENT.fullmatch(row["created_at"])
    assert [row["service"] for row in rows] == ["stt", "stt", None]
    assert [row["amount"] for row in rows] == ["6000", "-6000", "1000000"]


async def test_sessions_have_every_key_of_the_contract_in_its_type(street: Street) -> None:
    await street.fund()
    await street.post(
        "/v1/webrtc/token",
        {"room_name": "hall", "participant_identity": "ann", "duration_minutes": 1},
    )

    row = (await street.get("/v1/account/sessions")).json["sessions"][0]

    assert row == {
        "id": "00000000-0000-0000-0000-000000000001",
        "service": "webrtc",
        "bundle_id": None,
        "status": "active",
        "room_name": "hall",
        "server_url": "wss://node.test",
        "reserved_microcredits": "1000",
        "charged_microcredits": "0",
        "token_expires_at": "2023-11-14T23:14:20.000Z",
        "started_at": None,
        "ended_at": None,
        "settlement_method": "pending",
        "created_at": "2023-11-14T22:13:20.000Z",
    }


async def test_a_settled_session_says_how_it_was_settled(street: Street) -> None:
    await street.fund()
    await street.post(f"/v1/sessions/{await opened_stt(street)}/end")

    row = (await street.get("/v1/account/sessions")).json["sessions"][0]

    assert (row["status"], row["settlement_method"]) == ("settled", "request")


@pytest.mark.parametrize(
    ("reason", "method"),
    [
        ("", "pending"),
        ("ended", "request"),
        ("spent", "spent"),
        ("expired", "expiry"),
        ("room_finished", "webhook"),
        ("idle", "idle"),
        ("of a later release", "of a later release"),
    ],
)
def test_a_settlement_has_a_method_whatever_its_reason(reason: str, method: str) -> None:
    assert settlement_method(reason) == method


async def test_sessions_whose_names_were_deleted_are_still_listed(street: Street) -> None:
    await street.fund()
    await opened_stt(street)
    street.house.details.kept.clear()

    row = (await street.get("/v1/account/sessions")).json["sessions"][0]

    assert (row["room_name"], row["server_url"]) == (None, None)


async def test_lists_are_newest_first_and_paged(street: Street) -> None:
    await street.fund()
    ids = [await opened_stt(street) for _ in range(3)]

    answer = (await street.get("/v1/account/sessions?limit=2&offset=1")).json

    assert [row["id"] for row in answer["sessions"]] == [ids[1], ids[0]]
    assert (answer["limit"], answer["offset"]) == (2, 1)


async def test_sessions_are_filtered_by_status(street: Street) -> None:
    await street.fund()
    ended, active = await opened_stt(street), await opened_stt(street)
    await street.post(f"/v1/sessions/{ended}/end")

    async def ids(status: str) -> list[str]:
        rows = (await street.get(f"/v1/account/sessions?status={status}")).json["sessions"]
        return [row["id"] for row in rows]

    assert await ids("active") == [active]
    assert await ids("settled") == [ended]


@pytest.mark.parametrize(
    ("query", "where"),
    [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=-1", "limit"),
        ("limit=ten", "limit"),
        ("limit=", "limit"),
        ("limit=1.5", "limit"),
        ("limit=" + "9" * 3_000, "limit"),
        ("limit=%EF%BC%95", "limit"),
        ("offset=-1", "offset"),
        ("offset=1000000001", "offset"),
        ("status=open", "status"),
        ("status=", "status"),
    ],
)
async def test_a_query_that_makes_no_sense_is_malformed(
    street: Street, query: str, where: str
) -> None:
    await street.fund()

    answer = await street.get(f"/v1/account/sessions?{query}")

    assert answer.status == 400
    assert answer.json["where"] == where


async def test_lists_do_not_show_another_wallets_rows(street: Street) -> None:
    await street.fund()
    await opened_stt(street)
    await street.house.fund(street.bob.canonical, 5)

    sessions = await street.get("/v1/account/sessions", wallet=street.bob)
    transactions = await street.get("/v1/account/transactions", wallet=street.bob)

    assert sessions.json["sessions"] == []
    assert [row["amount"] for row in transactions.json["transactions"]] == ["5"]


async def test_a_list_waits_until_it_has_seen_what_was_done(street: Street) -> None:
    await street.fund()
    waited: list[int] = []

    async def caught_up(position: int) -> None:
        waited.append(position)

    street.house.views.caught_up = caught_up  # type: ignore[method-assign]  # a listening ear

    await street.get("/v1/account/transactions")

    assert waited == [street.house.books.position]


async def test_a_settled_session_has_a_bill(street: Street) -> None:
    await street.fund()
    session_id = await opened_stt(street)
    await street.post(f"/v1/sessions/{session_id}/end")

    bill: dict[str, Any] = (await street.get(f"/v1/sessions/{session_id}/bill")).json

    assert bill["statement"]["session"]["id"] == session_id


async def test_an_open_session_has_no_bill_yet(street: Street) -> None:
    await street.fund()
    session_id = await opened_stt(street)

    answer = await street.get(f"/v1/sessions/{session_id}/bill")

    assert 400 <= answer.status < 500
    assert "open" in answer.json["error"]


@pytest.mark.parametrize("session_id", ["x", "00000000-0000-0000-0000-00000000ffff"])
async def test_an_unknown_session_has_no_bill(street: Street, session_id: str) -> None:
    await street.fund()

    answer = await street.get(f"/v1/sessions/{session_id}/bill")

    assert answer.status == 404
    assert answer.json["error"] == "Session not found"


async def test_another_wallets_bill_is_not_found(street: Street) -> None:
    await street.fund()
    session_id = await opened_stt(street)
    await street.post(f"/v1/sessions/{session_id}/end")
    await street.house.fund(street.bob.canonical, 5)

    answer = await street.get(f"/v1/sessions/{session_id}/bill", wallet=street.bob)

    assert answer.status == 404
