"""API keys over HTTP: a wallet issues, sees and revokes them, a program spends with them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from adapters.http.bearer import read_token, token_of
from domain.gateway import Terms
from tests.fakes.gateway import House
from tests.fakes.street import Answer, Street

STT = {"duration_minutes": 1}
ROOM = {"room_name": "hall", "participant_identity": "ann", "duration_minutes": 1}


@pytest.fixture
async def street() -> AsyncIterator[Street]:
    """Where nobody is in a hurry: the clock stands, so that a rate would run out."""
    opened = Street(House(terms=Terms(api_rate_max=100)))
    await opened.open()
    await opened.fund()
    yield opened
    await opened.close()


@pytest.fixture
async def slow_street() -> AsyncIterator[Street]:
    """Where a wallet makes four requests, and then has to wait."""
    opened = Street(House(terms=Terms(api_rate_max=2)))
    await opened.open()
    await opened.fund()
    yield opened
    await opened.close()


async def new_key(street: Street, **wishes: object) -> str:
    answer = await street.post("/v1/keys", wishes)
    assert answer.status == 200, answer.text
    return str(answer.json["key"])


async def call(
    street: Street, key: str, method: str, path: str, body: object = None, *, repeat: str = ""
) -> Answer:
    headers = {"Authorization": f"Bearer {key}"}
    more = {"Idempotency-Key": repeat} if repeat else {}
    return await street.call(method, path, body, headers=headers | more)


async def test_a_key_has_the_fields_of_the_specification(street: Street) -> None:
    answer = await street.post(
        "/v1/keys",
        {
            "services": ["stt", "tts"],
            "daily_limit_microcredits": "7000",
            "total_limit_microcredits": 50_000,
            "expires_at": "2023-11-15T00:00:00Z",
            "label": "laptop",
        },
    )

    shown = answer.json
    assert read_token(shown.pop("key")) is not None
    listed = {
        "id": "00000000-0000-0000-0000-000000000001",
        "label": "laptop",
        "status": "active",
        "services": ["stt", "tts"],
        "daily_limit_microcredits": "7000",
        "total_limit_microcredits": "50000",
        "spent_today_microcredits": "0",
        "spent_microcredits": "0",
        "reserved_microcredits": "0",
        "expires_at": "2023-11-15T00:00:00.000Z",
        "created_at": "2023-11-14T22:13:20.000Z",
        "revoked_at": None,
    }
    assert shown == listed
    assert (await street.get("/v1/keys")).json == {"keys": [listed]}


async def test_a_key_without_wishes_has_no_limit(street: Street) -> None:
    shown = (await street.post("/v1/keys", {})).json

    limits = ("daily_limit_microcredits", "total_limit_microcredits", "expires_at", "label")
    assert [shown[name] for name in limits] == [None] * 4
    assert shown["services"] == ["stt", "tts", "webrtc"]


async def test_two_keys_have_nothing_in_common(street: Street) -> None:
    one, other = [read_token(await new_key(street)) for _ in range(2)]

    assert one is not None
    assert other is not None
    assert one[0] != other[0]
    assert one[1] != other[1]


async def test_a_key_opens_extends_and_ends_and_its_owner_sees_it(street: Street) -> None:
    key = await new_key(street, daily_limit_microcredits="20000")
    opened = await call(street, key, "POST", "/v1/stt/session", STT)
    session = {"session_id": opened.json["session_id"], "additional_minutes": 1}

    extended = await call(street, key, "POST", "/v1/stt/session/extend", session)
    shown = (await street.get("/v1/keys")).json["keys"][0]
    ended = await call(street, key, "POST", f"/v1/sessions/{session['session_id']}/end")

    assert (opened.status, extended.status, ended.status) == (200, 200, 200)
    assert (shown["spent_today_microcredits"], shown["reserved_microcredits"]) == ("12000", "12000")
    assert ended.json["refunded_microcredits"] == "12000"
    assert (await street.get("/v1/keys")).json["keys"][0]["spent_microcredits"] == "0"


async def test_a_key_opens_extends_and_ends_an_agent_session(street: Street) -> None:
    key = await new_key(street)
    opened = await call(street, key, "POST", "/v1/agent-session", ROOM)
    bundle = {"bundle_id": opened.json["bundle_id"], "additional_minutes": 1}

    extended = await call(street, key, "POST", "/v1/agent-session/extend", bundle)
    spent = (await street.get("/v1/keys")).json["keys"][0]["spent_microcredits"]
    ended = await call(street, key, "POST", f"/v1/agent-session/{bundle['bundle_id']}/end")

    assert (opened.status, extended.status, ended.status) == (200, 200, 200)
    assert spent == ended.json["reserved_microcredits"] == "94000"


@pytest.mark.parametrize(
    "path", ["/v1/account", "/v1/account/transactions", "/v1/account/sessions"]
)
async def test_a_key_reads_what_its_wallet_reads(street: Street, path: str) -> None:
    key = await new_key(street)

    answer = await call(street, key, "GET", path)

    assert answer.status == 200
    assert answer.json == (await street.get(path)).json


async def test_a_key_whose_cap_is_nothing_only_reads(street: Street) -> None:
    key = await new_key(street, total_limit_microcredits=0)

    refused = await call(street, key, "POST", "/v1/stt/session", STT)

    assert (refused.status, refused.json["code"]) == (403, "key_cap")
    assert (refused.json["cap"], refused.json["needed"]) == ("total", "6000")
    assert (await call(street, key, "GET", "/v1/account")).status == 200


async def test_a_key_for_one_service_opens_no_other(street: Street) -> None:
    key = await new_key(street, services=["tts"])

    refused = await call(street, key, "POST", "/v1/stt/session", STT)

    assert (refused.status, refused.json["code"]) == (403, "key_scope")
    assert refused.json["services"] == "tts"


async def test_a_key_makes_sees_and_revokes_no_keys(street: Street) -> None:
    key = await new_key(street)
    key_id = (await street.get("/v1/keys")).json["keys"][0]["id"]

    answers = [
        await call(street, key, "POST", "/v1/keys", {}),
        await call(street, key, "GET", "/v1/keys"),
        await call(street, key, "POST", f"/v1/keys/{key_id}/revoke"),
    ]

    assert [(a.status, a.json["code"]) for a in answers] == [(401, "unauthenticated")] * 3
    assert len((await street.get("/v1/keys")).json["keys"]) == 1


async def test_a_revoked_key_is_refused_at_once(street: Street) -> None:
    key = await new_key(street)
    key_id = (await street.get("/v1/keys")).json["keys"][0]["id"]

    revoked = [await street.post(f"/v1/keys/{key_id}/revoke") for _ in range(2)]

    assert revoked[0].json == revoked[1].json
    assert revoked[0].json["status"] == "revoked"
    assert revoked[0].json["revoked_at"] == "2023-11-14T22:13:20.000Z"
    refused = await call(street, key, "GET", "/v1/account")
    assert (refused.status, "revoked" in refused.json["error"]) == (401, True)


async def test_another_wallets_key_is_not_found(street: Street) -> None:
    await new_key(street)
    key_id = (await street.get("/v1/keys")).json["keys"][0]["id"]
    await street.house.fund(street.bob.canonical, 1)

    answer = await street.post(f"/v1/keys/{key_id}/revoke", wallet=street.bob)

    assert answer.status == 404
    assert (await street.get("/v1/keys", wallet=street.bob)).json == {"keys": []}


async def test_a_wallet_without_an_account_has_no_keys(street: Street) -> None:
    made = await street.post("/v1/keys", {}, wallet=street.bob)
    listed = await street.get("/v1/keys", wallet=street.bob)

    assert [(a.status, a.json["error"]) for a in (made, listed)] == [(404, "Account not found")] * 2


async def test_an_expired_key_says_so(street: Street) -> None:
    key = await new_key(street, expires_at="2023-11-14T22:14:00.000Z")
    await street.house.clock.advance(60_000)

    refused = await call(street, key, "GET", "/v1/account")

    assert (refused.status, "expired" in refused.json["error"]) == (401, True)
    assert (await street.get("/v1/keys")).json["keys"][0]["status"] == "expired"


async def test_a_repeat_is_the_same_key_whose_secret_is_not_shown_again(street: Street) -> None:
    """B12."""
    first = await street.post("/v1/keys", {"label": "a"}, key="once")

    again = await street.post("/v1/keys", {"label": "a"}, key="once")

    assert again.json == {**first.json, "key": None}
    assert (await street.post("/v1/keys", {"label": "b"}, key="once")).status == 409


async def test_a_session_asked_for_again_with_a_key_is_the_same(street: Street) -> None:
    """B12."""
    key = await new_key(street, total_limit_microcredits="6000")

    answers = [
        await call(street, key, "POST", "/v1/stt/session", STT, repeat="once") for _ in range(2)
    ]

    assert answers[0].json == answers[1].json


@pytest.mark.parametrize(
    "spoil",
    [
        lambda key: key[:-1],
        lambda key: key + "A",
        lambda key: key[:-43] + "A" * 43,
        lambda key: key.replace("pp_0", "pp_f", 1),
        lambda _: "pp_",
        lambda key: key.upper().replace("PP_", "pp_"),
    ],
    ids=["shorter", "longer", "other secret", "other id", "nothing", "upper case"],
)
async def test_what_is_not_quite_the_key_is_refused(street: Street, spoil: Any) -> None:  # noqa: ANN401 (a function of the table)
    key = await new_key(street)

    answer = await call(street, spoil(key), "GET", "/v1/account")

    assert (answer.status, answer.json["code"]) == (401, "unauthenticated")


async def test_a_key_and_its_wallet_share_one_rate(slow_street: Street) -> None:
    key = await new_key(slow_street)

    answers = [
        await slow_street.get("/v1/account"),
        await call(slow_street, key, "GET", "/v1/account"),
        await slow_street.get("/v1/account"),
        await call(slow_street, key, "GET", "/v1/account"),
    ]

    assert [a.status for a in answers] == [200, 200, 200, 429]


async def test_secrets_are_tried_no_faster_than_the_rate(slow_street: Street) -> None:
    found = read_token(await new_key(slow_street))
    assert found is not None
    wrong = token_of(found[0], "A" * 43)

    statuses = [(await call(slow_street, wrong, "GET", "/v1/account")).status for _ in range(5)]

    assert statuses == [401] * 4 + [429]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("services", []),
        ("services", "stt"),
        ("services", ["stt", "fax"]),
        ("services", [["stt"]]),
        ("daily_limit_microcredits", -1),
        ("daily_limit_microcredits", "1.5"),
        ("daily_limit_microcredits", 1.5),
        ("daily_limit_microcredits", True),
        ("total_limit_microcredits", "9007199254740992"),
        ("total_limit_microcredits", "\u0661"),
        ("expires_at", "tomorrow"),
        ("expires_at", "2023-02-30T00:00:00Z"),
        ("expires_at", "2024-01-01T00:00:00+01:00"),
        ("expires_at", "2001-01-01T00:00:00Z"),
        ("expires_at", 1_800_000_000),
        ("label", "two\nlines"),
    ],
)
async def test_a_wish_that_cannot_be_is_named(street: Street, field: str, value: object) -> None:
    answer = await street.post("/v1/keys", {field: value})

    assert (answer.status, answer.json["code"], answer.json["where"]) == (400, "malformed", field)
    assert (await street.get("/v1/keys")).json == {"keys": []}
