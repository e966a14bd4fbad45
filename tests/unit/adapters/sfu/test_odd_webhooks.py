"""B7, B8: the odd cases of rooms, each answered and each billed as it should be."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest
from nacl.signing import SigningKey

from adapters.sfu.nodes import Node, StaticNodes
from adapters.sfu.room_key import room_key
from adapters.sfu.rooms import eddsa_token
from adapters.sfu.webhook import DTelecomWebhooks
from adapters.sfu.webhook_tokens import node_signer
from adapters.store.room_log import SqliteTables, StoredRoomLog
from domain.errors import LedgerDownError
from domain.ports.room_events import Delivery
from domain.use_cases.close_session import end_session
from domain.use_cases.extend_session import extend_session
from domain.use_cases.open_session import SessionRequest, open_bundle, open_session
from domain.use_cases.reconcile import settle_due_sessions
from domain.use_cases.room_reading import DOUBT_MS
from tests.fakes.room_server import (
    API_KEY,
    MINUTE_MS,
    NODE,
    OTHER_NODE,
    Door,
    name_of,
    node_token,
)
from tests.fakes.street import Street


async def tell_from(door: Door, node: SigningKey, session_id: UUID, name: str, sid: str) -> None:
    body = json.dumps(door.event(name, sid)).encode()
    await door.post(body, session_id, token=node_token(body, now_ms=door.now_ms, signer=node))
    await door.follow()


async def used(door: Door, session_id: UUID) -> int:
    await end_session(door.house.gateway, door.account_id, session_id)
    return (await door.session(session_id)).used


async def test_a_header_without_end_is_refused(door: Door) -> None:
    session_id = await door.sell()
    address = door.addresses.address(str(session_id))

    reader, writer = await asyncio.open_connection("127.0.0.1", door.client.port)
    head = f"POST /v1/webhooks/sfu?s={address} HTTP/1.1\r\nHost: x\r\nAuthorization: "
    writer.write(head.encode() + b"A" * (1 << 20))
    status = (await reader.readline()).split()[1]
    writer.close()

    assert status == b"400"


async def test_a_customers_own_room_token_signs_no_webhook(door: Door) -> None:
    session_id = await door.sell()
    own = SigningKey(bytes(range(32)))
    claims = {
        "video": {"roomJoin": True, "room": "room-1"},
        "iss": API_KEY,
        "sub": "alice",
        "nbf": door.now_ms // 1000,
        "exp": door.now_ms // 1000 + 60,
    }

    status, _ = await door.post(
        door.event("participant_left"), session_id, token=eddsa_token(claims, own)
    )

    assert (name_of(own), status) == (API_KEY, 401)


async def test_what_was_stored_still_proves_who_said_it(door: Door) -> None:
    session_id = await door.sell()
    await door.post(door.event("participant_joined"), session_id)

    (kept,) = await door.log.unread(10)

    signer = node_signer(kept.token, kept.body.encode(), now_ms=kept.received_at_ms)
    assert signer == kept.issuer == name_of(NODE)


class FullDisk(StoredRoomLog):
    async def add(self, delivery: Delivery) -> bool:
        raise LedgerDownError


async def test_what_cannot_be_stored_is_to_be_sent_again(door: Door) -> None:
    session_id = await door.sell()
    with closing(FullDisk(SqliteTables(Path(":memory:")))) as full:
        door.receiver.gateway = replace(door.house.gateway, room_log=full)

        status, told = await door.post(door.event("participant_joined"), session_id)

    assert (status, told["code"]) == (503, "ledger_down")


@pytest.mark.parametrize(
    ("room", "is_believed"),
    [({}, True), ({"key": room_key("room-1", name_of(OTHER_NODE))}, False)],
)
async def test_a_room_without_a_key_is_believed_where_that_was_switched_on(
    door: Door, room: dict[str, str], *, is_believed: bool
) -> None:
    session_id = await door.sell()
    door.receiver.webhooks = DTelecomWebhooks(
        api_key=API_KEY,
        nodes=StaticNodes([Node(key=bytes(NODE.verify_key), ws_url="wss://n.test")]),
        addresses=door.addresses,
        require_room_key=False,
    )
    room = {"sid": "RM_1", "name": "room-1", **room}

    status, _ = await door.post(door.event("participant_joined", room=room), session_id)

    assert status == (200 if is_believed else 401)


async def test_a_flood_of_bad_signatures_is_refused_unread(street: Street) -> None:
    headers = {"Authorization": "a.b.c", "Content-Type": "application/webhook+json"}

    statuses = [
        (await street.call("POST", "/v1/webhooks/sfu", headers=headers, body={})).status
        for _ in range(42)
    ]

    assert statuses == [401] * 40 + [429] * 2


@pytest.fixture
async def street(door: Door) -> AsyncIterator[Street]:
    opened = Street(door.house)
    await opened.open()
    yield opened
    await opened.close()


async def test_the_address_of_a_session_for_speech_is_no_room(door: Door) -> None:
    request = SessionRequest(service="stt", quantity=MINUTE_MS)
    ticket = await open_session(door.house.gateway, door.account_id, request)

    await door.tell(ticket.session_id, "participant_joined")

    assert await door.log.sightings(ticket.session_id) == ()


async def test_who_joins_an_expired_session_is_removed_and_not_charged(door: Door) -> None:
    session_id = await door.sell(minutes=1)
    session = await door.session(session_id)
    await door.house.clock.advance(session.expires_at_ms - door.now_ms + 1_000)

    await door.tell(session_id, "participant_joined")

    session = await door.session(session_id)
    assert (session.reason, session.charged.value) == ("expired", 0)
    assert door.bouncer.removed == [("wss://node.test", "room-1", "alice")]


async def test_a_token_that_was_never_used_costs_nothing_at_expiry(door: Door) -> None:
    session_id = await door.sell(minutes=1)
    session = await door.session(session_id)
    await door.house.clock.advance(session.expires_at_ms - door.now_ms)

    await settle_due_sessions(door.house.gateway)

    session = await door.session(session_id)
    assert (session.reason, session.charged.value) == ("expired", 0)
    assert session.refunded == session.reserved


async def test_who_left_without_our_hearing_of_it_stays_until_expiry(door: Door) -> None:
    session_id = await door.sell(minutes=120)
    await door.tell(session_id, "participant_joined")
    session = await door.session(session_id)
    await door.house.clock.advance(session.expires_at_ms - door.now_ms + 10 * MINUTE_MS)

    await settle_due_sessions(door.house.gateway)

    session = await door.session(session_id)
    assert (session.charged, session.refunded.value) == (session.reserved, 0)


async def test_who_left_and_was_never_told_to_have_joined_pays_from_when_they_did(
    door: Door,
) -> None:
    session_id = await door.sell()
    joined_s = door.now_ms // 1000 + 10
    await door.house.clock.advance(40_000)
    told = {"sid": "PA_1", "identity": "alice", "joinedAt": str(joined_s)}

    await door.post(door.event("participant_left", participant=told), session_id)
    await door.follow()

    assert await used(door, session_id) == 30_000


async def test_a_node_that_invents_a_past_is_paid_from_the_opening_at_most(door: Door) -> None:
    await door.house.clock.advance(20 * MINUTE_MS)
    session_id = await door.sell()
    await door.house.clock.advance(30_000)
    long_ago = str(door.now_ms // 1000 - 9 * 60)
    told = {"sid": "PA_1", "identity": "alice", "joinedAt": "1"}

    await door.post(door.event("participant_joined", createdAt=long_ago), session_id)
    await door.post(door.event("participant_left", participant=told), session_id)
    await door.follow()

    assert await used(door, session_id) == 30_000


async def test_of_two_words_for_joining_the_earlier_counts(door: Door) -> None:
    session_id = await door.sell()
    await door.tell(session_id, "participant_joined")
    await door.house.clock.advance(10_000)
    await door.tell(session_id, "participant_joined")
    await door.house.clock.advance(10_000)

    assert await used(door, session_id) == 20_000


async def test_who_is_on_two_nodes_at_once_pays_once_and_it_is_logged(
    door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    session_id = await door.sell()
    with caplog.at_level(logging.WARNING):
        await door.tell(session_id, "participant_joined", "PA_1")
        alone = [record.message for record in caplog.records]
        await tell_from(door, OTHER_NODE, session_id, "participant_joined", "PA_2")
    await door.house.clock.advance(10_000)

    assert await used(door, session_id) == 10_000
    assert alone == []
    assert [record.message for record in caplog.records] == ["participant on several servers"]


async def test_time_bought_in_the_room_counts_at_once(door: Door) -> None:
    session_id = await door.sell(minutes=1)
    await door.tell(session_id, "participant_joined")
    await door.house.clock.advance(30_000)

    await extend_session(
        door.house.gateway, door.account_id, session_id, service="webrtc", quantity=MINUTE_MS
    )
    await door.house.clock.advance(60_000)
    await door.follow()

    assert (await door.session(session_id)).is_open
    assert await used(door, session_id) == 90_000


async def test_the_two_in_a_bundles_room_settle_each_for_themselves(door: Door) -> None:
    requests = [
        SessionRequest(
            service="webrtc", quantity=10 * MINUTE_MS, room_name="room-1", identity=name, role=name
        )
        for name in ("agent", "client")
    ]
    tickets = await open_bundle(door.house.gateway, door.account_id, requests)
    agent, client = (ticket.session_id for ticket in tickets)
    for session_id, name in ((agent, "agent"), (client, "client")):
        there = {"sid": f"PA_{name}", "identity": name}
        await door.post(door.event("participant_joined", participant=there), session_id)
    await door.house.clock.advance(20_000)

    await door.tell(client, "room_finished")

    settled = await door.session(client)
    assert (settled.reason, settled.used) == ("room_finished", 20_000)
    assert (await door.session(agent)).is_open


async def test_one_event_told_at_two_addresses_concerns_both(door: Door) -> None:
    first, second = await door.sell(), await door.sell()
    for session_id, sid in ((first, "PA_1"), (second, "PA_2")):
        await door.tell(session_id, "participant_joined", sid)
    over = door.event("room_finished")

    told = [(await door.post(over, i))[1]["status"] for i in (first, second, first)]
    await door.follow()

    assert told == ["stored", "stored", "duplicate"]
    reasons = {(await door.session(session_id)).reason for session_id in (first, second)}
    assert reasons == {"room_finished"}


async def test_an_address_of_ours_that_names_no_session_is_refused(door: Door) -> None:
    address = door.addresses.address("nobody")

    status, _ = await door.post(door.event("participant_joined"), address=address)

    assert status == 401


async def test_what_a_later_release_cannot_understand_is_read_as_nothing(door: Door) -> None:
    session_id = await door.sell()
    odd = Delivery(
        delivery_id="odd",
        issuer=name_of(NODE),
        session_id=session_id,
        received_at_ms=door.now_ms,
        body="[]",
    )
    await door.log.add(odd)

    await door.follow()

    assert await door.log.unread(10) == ()
    assert await door.log.sightings(session_id) == ()


class Away:
    """`NodeKeys` that never can tell."""

    async def key_of(self, node_id: str) -> bytes | None:
        raise ConnectionError


async def test_what_nobody_can_judge_for_an_hour_is_not_believed() -> None:
    door = Door(keys=Away())
    await door.open()
    session_id = await door.sell()
    await door.post(door.event("participant_joined"), session_id)

    await door.house.clock.advance(DOUBT_MS)
    await door.follow()
    doubted = await door.log.unread(10)
    await door.house.clock.advance(1)
    await door.follow()

    assert (len(doubted), await door.log.unread(10)) == (1, ())
    assert await door.log.sightings(session_id) == ()
    await door.close()


async def test_a_ledger_that_is_busy_settles_rooms_at_a_later_look(door: Door) -> None:
    session_id = await door.sell(minutes=1)
    await door.tell(session_id, "participant_joined")
    await door.house.clock.advance(MINUTE_MS)

    door.house.books.busy = True
    await door.follow()
    door.house.books.busy = False
    await door.follow()

    assert (await door.session(session_id)).reason == "spent"
