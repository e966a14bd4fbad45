"""Webhooks that lie, come twice, or are of somebody else: each is answered, none moves money."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import UUID

import pytest
from nacl.signing import SigningKey

from adapters.sfu.room_key import room_key
from adapters.sfu.rooms import DTelecomRooms, eddsa_token, hs256_token
from adapters.sfu.webhook import DOUBTED_MAX, SessionAddresses
from domain.ports.rooms import Join
from domain.use_cases.close_session import end_session
from tests.fakes.room_server import (
    API_KEY,
    API_SECRET,
    NODE,
    Door,
    encoded,
    name_of,
    node_token,
    standard_hash,
)

STRANGER = SigningKey(b"\x55" * 32)
NESTED = b'{"event":"x","room":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    door = Door()
    await door.open()
    yield door
    await door.close()


def raw(body: dict[str, Any]) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()


def hs256(body: bytes, now_ms: int, secret: bytes) -> str:
    now = now_ms // 1000
    claims = {"iss": name_of(NODE), "nbf": now, "exp": now + 300, "sha256": standard_hash(body)}
    return hs256_token(claims, secret)


def urlsafe(body: bytes) -> str:
    # A hash that differs in the two alphabets.
    return base64.urlsafe_b64encode(hashlib.sha256(body).digest()).decode().rstrip("=")


TOKENS: dict[str, Callable[[bytes, int], str]] = {
    "hash in hex": lambda b, now: node_token(b, now_ms=now, sha256=hashlib.sha256(b).hexdigest()),
    "hash in base64url": lambda b, now: node_token(b, now_ms=now, sha256=urlsafe(b)),
    "no hash": lambda b, now: node_token(b, now_ms=now, sha256=None),
    "hash of another body": lambda b, now: node_token(b + b" ", now_ms=now),
    "an unregistered key": lambda b, now: node_token(b, now_ms=now, signer=STRANGER),
    "a node's name, another's signature": lambda b, now: node_token(
        b, now_ms=now, signer=STRANGER, iss=name_of(NODE)
    ),
    "no issuer": lambda b, now: node_token(b, now_ms=now, iss=None),
    "an issuer that is no key": lambda b, now: node_token(b, now_ms=now, iss="0OIl"),
    "an issuer that is a number": lambda b, now: node_token(b, now_ms=now, iss=7),
    "expired": lambda b, now: node_token(b, now_ms=now, exp=now // 1000 - 61),
    "no exp": lambda b, now: node_token(b, now_ms=now, exp=None),
    "no nbf": lambda b, now: node_token(b, now_ms=now, nbf=None),
    "not yet": lambda b, now: node_token(b, now_ms=now, nbf=now // 1000 + 61),
    "an hour long": lambda b, now: node_token(b, now_ms=now, exp=now // 1000 + 3_600),
    "exp as text": lambda b, now: node_token(b, now_ms=now, exp=str(now // 1000 + 60)),
    "alg none": lambda b, now: node_token(b, now_ms=now, header={"alg": "none"}),
    "HS256 with the node's public key": lambda b, now: hs256(b, now, bytes(NODE.verify_key)),
    "HS256 with the node's name": lambda b, now: hs256(b, now, name_of(NODE).encode()),
    "a room token": lambda _, now: eddsa_token(
        {"video": {}, "iss": name_of(NODE), "nbf": now // 1000, "exp": now // 1000 + 60}, NODE
    ),
    "Bearer": lambda b, now: "Bearer " + node_token(b, now_ms=now),
    "nothing": lambda *_: "",
    "garbage": lambda *_: "garbage",
    "two parts": lambda b, now: node_token(b, now_ms=now).rpartition(".")[0],
    "four parts": lambda b, now: node_token(b, now_ms=now) + ".e30",
    "claims that are a list": lambda *_: f"{encoded({'alg': 'EdDSA'})}.{encoded([])}.AAAA",
    "claims nested without end": lambda *_: (
        f"{encoded({'alg': 'EdDSA'})}.{encoded(b'[' * 6_000)}.AAAA"
    ),
    "a long header": lambda b, now: node_token(b, now_ms=now) + "A" * 7_000,
}


@pytest.mark.parametrize("case", TOKENS)
async def test_a_webhook_that_no_node_signed_is_refused(door: Door, case: str) -> None:
    session_id = await door.sell()
    body = raw(door.event("participant_joined"))

    status, told = await door.post(body, session_id, token=TOKENS[case](body, door.now_ms))
    await door.follow()

    assert (status, told["code"]) == (401, "unauthenticated")
    assert await door.log.sightings(session_id) == ()


@pytest.mark.parametrize(
    "change", [lambda b: b.replace(b"PA_1", b"PA_2"), lambda b: b.replace(b",", b", ")]
)
async def test_a_body_that_was_changed_is_refused(
    door: Door, change: Callable[[bytes], bytes]
) -> None:
    session_id = await door.sell()
    body = raw(door.event("participant_joined"))

    status, _ = await door.post(
        change(body), session_id, token=node_token(body, now_ms=door.now_ms)
    )

    assert status == 401


async def test_a_clock_a_few_seconds_ahead_is_forgiven(door: Door) -> None:
    session_id = await door.sell()
    body = raw(door.event("participant_joined"))
    token = node_token(body, now_ms=door.now_ms + 3_000)

    assert (await door.post(body, session_id, token=token))[0] == 200


async def test_an_exact_replay_is_answered_and_has_no_effect(door: Door) -> None:
    session_id = await door.sell()
    body = raw(door.event("participant_joined"))
    token = node_token(body, now_ms=door.now_ms)

    first = await door.post(body, session_id, token=token)
    await door.house.clock.advance(10_000)
    again = await door.post(body, session_id, token=token)
    await door.follow()

    assert (first, again) == ((200, {"status": "stored"}), (200, {"status": "duplicate"}))
    assert len(await door.log.sightings(session_id)) == 1


async def test_without_an_id_the_body_tells_copies_apart(door: Door) -> None:
    session_id = await door.sell()
    body = door.event("participant_joined")
    del body["id"]

    answers = [await door.post(body, session_id) for _ in range(2)]

    assert [told["status"] for _, told in answers] == ["stored", "duplicate"]


FORGED_ROOMS = {
    "a room of another API key": {"key": room_key("room-1", name_of(STRANGER))},
    "a room of another name": {"key": room_key("room-2", API_KEY)},
    "no room key": {},
    "a room key of nonsense": {"key": "\u2603|"},
}


@pytest.mark.parametrize("case", FORGED_ROOMS)
async def test_a_node_that_speaks_of_somebody_elses_room_is_refused(door: Door, case: str) -> None:
    session_id = await door.sell()
    room = {"sid": "RM_1", "name": "room-1", **FORGED_ROOMS[case]}

    status, _ = await door.post(door.event("participant_left", room=room), session_id)

    assert status == 401


async def test_the_address_of_another_session_cannot_be_guessed(door: Door) -> None:
    session_id, other_id = await door.sell(), await door.sell(identity="bob")
    mark = door.addresses.address(str(session_id)).partition(".")[2]

    for address in (f"{other_id}.{mark}", str(session_id), f"{session_id}.", "x", "\u2603.1"):
        status, _ = await door.post(door.event("participant_joined"), address=address)
        assert status == 401


async def test_without_an_address_nobody_is_concerned(door: Door) -> None:
    await door.sell()

    assert await door.post(door.event("participant_joined")) == (200, {"status": "ignored"})


async def test_the_address_in_a_token_leads_to_its_session() -> None:
    addresses = SessionAddresses(API_SECRET)
    rooms = DTelecomRooms(
        key=API_KEY,
        secret=API_SECRET,
        ws_url="wss://node.test",
        webhook_url="https://gateway.test/v1/webhooks/sfu",
        address=addresses.address,
    )
    join = Join(
        account_id="a",
        session_id=str(UUID(int=5)),
        room_name="room-1",
        identity="alice",
        metadata="",
        not_before_ms=0,
        expires_at_ms=60_000,
    )

    token = (await rooms.ticket(join, client_ip="")).token
    claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))

    base, _, address = claims["webHookURL"].partition("?s=")
    assert base == "https://gateway.test/v1/webhooks/sfu"
    assert addresses.session_of(address) == UUID(int=5)


WITHOUT_EFFECT: dict[str, dict[str, Any]] = {
    "relayed": {"participant": {"sid": "PA_1", "identity": "alice", "relayed": True}},
    "another participant": {"participant": {"sid": "PA_1", "identity": "mallory"}},
    "no connection": {"participant": {"identity": "alice"}},
    "another event": {"event": "track_published"},
}


@pytest.mark.parametrize("case", WITHOUT_EFFECT)
async def test_what_is_not_about_the_paying_participant_has_no_effect(
    door: Door, case: str
) -> None:
    session_id = await door.sell()

    status, _ = await door.post(
        door.event("participant_joined", **WITHOUT_EFFECT[case]), session_id
    )
    await door.follow()
    await door.house.clock.advance(60_000)
    await end_session(door.house.gateway, door.account_id, session_id)

    assert status == 200
    assert (await door.session(session_id)).charged.value == 0


async def test_a_session_that_was_never_sold_is_no_error(door: Door) -> None:
    status, _ = await door.post(door.event("participant_joined"), UUID(int=77))
    await door.follow()

    assert status == 200
    assert await door.log.sightings(UUID(int=77)) == ()


@pytest.mark.parametrize(
    "created", ["0", "4102444800", "-5", str(2**63), 1.5, "1 700", None, True, [], "9" * 5_000]
)
async def test_a_time_that_cannot_be_is_the_time_of_receipt(door: Door, created: object) -> None:
    session_id = await door.sell()
    await door.house.clock.advance(20_000)

    status, _ = await door.post(door.event("participant_joined", createdAt=created), session_id)
    await door.follow()
    await door.house.clock.advance(30_000)
    await end_session(door.house.gateway, door.account_id, session_id)

    assert status == 200
    assert (await door.session(session_id)).used == 30_000


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b'{"event":"a","event":"b"}',
        b'{"event":"a","createdAt":NaN}',
        b'{"event":"a","room":{"name":"\\ud800"}}',
        b'{"event":"a","participant":null}',
        b'{"event":"a","participant":[]}',
        b'{"event":"a","room":"r"}',
        b'{"event":7}',
        b'{"event":""}',
        b'{"id":"EV_1"}',
        b'{"event":"a","id":"\\u0000"}',
        b'\xff{"event":"a"}',
        b'{"event":"a","createdAt":' + b"9" * 10_000 + b"}",
        NESTED[: 200 * 1024],
    ],
    ids=range(16),
)
async def test_a_body_that_is_no_event_is_refused(door: Door, body: bytes) -> None:
    status, told = await door.post(body, await door.sell())

    assert (status, told["code"]) == (400, "malformed")


async def test_a_body_beyond_the_limit_and_another_content_type_are_refused(door: Door) -> None:
    session_id = await door.sell()
    event = door.event("participant_joined")

    assert (await door.post(b"x" * 300_000, session_id))[0] == 413
    assert (await door.post(event, session_id, content_type="text/plain"))[0] == 415
    assert (await door.post(event, session_id, content_type="application/json"))[0] == 200


class Fickle:
    """`NodeKeys` that cannot tell now. Fault: `away`."""

    def __init__(self, *, knows: bool) -> None:
        self.away = True
        self._knows = knows

    async def key_of(self, node_id: str) -> bytes | None:
        if self.away:
            raise ConnectionError
        return bytes(NODE.verify_key) if self._knows else None


@pytest.mark.parametrize("knows", [True, False])
async def test_while_the_registry_is_away_webhooks_are_kept_and_believed_later(
    knows: bool,  # noqa: FBT001 (a parameter of the test)
) -> None:
    keys = Fickle(knows=knows)
    door = Door(keys=keys)
    await door.open()
    session_id = await door.sell()

    status, _ = await door.post(door.event("participant_joined"), session_id)
    await door.follow()
    before = await door.log.sightings(session_id)
    keys.away = False
    await door.follow()
    after = await door.log.sightings(session_id)
    await door.close()

    assert (status, len(before), len(after)) == (200, 0, int(knows))


@pytest.mark.parametrize("name", ["room-1", "", "\u2603", "x" * 300])
def test_a_room_key_says_whose_room_it_is(name: str) -> None:
    assert room_key(name, API_KEY) != room_key(name + "x", API_KEY)
    assert room_key("room-1", API_KEY) == (
        "x0Sbv9mc|GlGathUVaV3ZpBlRURlZuFEV0UURxVjbVVnY3cnM0o1b1kzRzl2c0UWQGB"
    )


async def test_only_so_many_doubtful_signers_are_kept_for_one_session() -> None:
    door = Door(keys=Fickle(knows=True))
    await door.open()
    session_id = await door.sell()

    answers = [
        (await door.post(door.event("participant_joined"), session_id))[0]
        for _ in range(DOUBTED_MAX + 1)
    ]
    await door.close()

    assert answers == [200] * DOUBTED_MAX + [401]
